//! `capsule publish`: asks every beacon, and makes a capsule out of what holds.

use std::time::Duration;

use clap::Args;

use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::host::Host;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::publication::{HOW, Interruptions, Pace, PublicationArguments, PublishSettings, Publisher, VARIABLES};
use crate::values::parse_cadence;

const PUBLISH_HELP: &str = "\
Examples:
  capsule publish --key capsule-key.pem \\
    --beacon https://a.example.org,https://b.example.org
  RENDEZVOUS_CAPSULE_PRIVATE_KEY=\"$(cat capsule-key.pem)\" \\
    capsule publish --beacon https://a.example.org --json
  capsule publish --key capsule-key.pem --beacon https://a.example.org \\
    --cadence github-actions --host github-pages --lifetime 2h
      refuses a --lifetime that readers of that host would see end too early
  capsule publish --key capsule-key.pem --beacon https://a.example.org \\
    --include node.json --probe my-server=https://my-server.example.org/healthz
      a server of one's own first, while it answers
  AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... AWS_REGION=eu-central-1 \\
    capsule publish --key capsule-key.pem --beacon https://a.example.org \\
    --to s3://bucket/capsules
  capsule publish --key old-key.pem --revoked revoked.json --farewell \\
    --beacon https://a.example.org
      the last capsule of a key that revokes itself";

const EXIT_CODES: &str = "\
Exit codes:
  0  the capsule is written
  1  refused: too few good tickets or beacons with such, or far fewer peers than
     before, or the clock has gone back, or the key has revoked itself; what is
     there stays
  2  usage: a wrong argument or variable, a key that cannot be read, a place
     that cannot be written to; or --run failed, and the capsule is written
  3  could not reach: no beacon answered, or not the bucket; what is there stays";

fn help() -> String {
    [PUBLISH_HELP, HOW, Host::table().trim_end(), VARIABLES, EXIT_CODES].join("\n\n")
}

/// Arguments of `publish`.
#[derive(Args, Debug)]
#[command(after_long_help = help())]
pub(crate) struct PublishArguments {
    #[command(flatten)]
    pub(crate) publication: PublicationArguments,
    /// How often the program is run: refuse a --lifetime that is too short for it. `github-actions` is 30m, as observed.
    #[arg(long, value_name = "DURATION", value_parser = parse_cadence)]
    pub(crate) cadence: Option<Duration>,
    /// This is the key's last capsule: --revoked has the key itself. It is written however few peers there are.
    #[arg(long)]
    pub(crate) farewell: bool,
    /// Print one line of JSON instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn publish(
    arguments: &PublishArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    clock.check_signing()?;
    let pace = Pace::Once { cadence: arguments.cadence, farewell: arguments.farewell };
    let publisher = Publisher::new(PublishSettings::new(&arguments.publication, pace, environment)?, log)?;
    let report = publisher.round(|| clock.now(), Interruptions::Held, log)?;
    let exit = report.exit();
    Ok(if arguments.json { Outcome::json(&report, exit) } else { Outcome::text(report.to_text(), exit) })
}
