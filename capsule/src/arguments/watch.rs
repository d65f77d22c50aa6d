//! Arguments and help of `watch`.

use std::time::Duration;

use clap::Args;

use crate::arguments::PublicationArguments;
use crate::arguments::publish::{HOW, VARIABLES};
use crate::host::Host;
use crate::settings::parse_duration;

const WATCH_HELP: &str = "\
Examples:
  capsule watch --every 5m --key capsule-key.pem \\
    --beacon https://a.example.org,https://b.example.org --out /srv/www/capsules
      as a service, beside the web server
  AWS_ENDPOINT_URL=https://ACCOUNT.r2.cloudflarestorage.com AWS_REGION=auto \\
    capsule watch --every 5m --key capsule-key.pem \\
    --beacon https://a.example.org --to s3://bucket/capsules --host r2
  capsule watch --every 5m --key capsule-key.pem --host ipfs --run \\
    'ipfs name publish --ttl 5m \"$(ipfs add -rQ \"$CAPSULE_PLACE\")\"' \\
    --beacon https://a.example.org --lifetime 30m

Publishes for ever, each time as `capsule publish` does, with all its options.
  A round that fails leaves the last good capsule, and writes nothing. It is
  tried again after 5 s, twice as long after each failure, never longer than
  --every, and sooner where the last good capsule is about to end. A round whose
  --run fails is tried again like that too.
  --revoked and --include are read again for each round.
  Shows one line that changes where the standard error is a terminal; else it
  says a line there when something changes. With --json it prints a line a
  round.
  On SIGTERM or SIGINT it ends at once; a write that is under way, and --run
  after it, it lets end. A second one ends it in the middle of that.";

const EXIT_CODES: &str = "\
Exit codes:
  0  it published until it was stopped, or tried to
  2  usage: a wrong argument or variable, a key that cannot be read, a directory
     that cannot be made";

fn help() -> String {
    [WATCH_HELP, HOW, Host::table().trim_end(), VARIABLES, EXIT_CODES].join("\n\n")
}

/// Arguments of `watch`.
#[derive(Args, Debug)]
#[command(after_long_help = help())]
pub(crate) struct WatchArguments {
    /// Time from the beginning of one round to the next, from 1s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) publication: PublicationArguments,
    /// Print a line of JSON for each round.
    #[arg(long)]
    pub(crate) json: bool,
}
