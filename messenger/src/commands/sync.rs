//! `rendezvous sync` and `rendezvous register`: keys and messages, brought up to date at the relay.

use std::time::Duration;

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_messenger::user::{Maintained, ProblemCause};
use serde_json::json;

use crate::account::Account;
use crate::ending::{Ending, Report};

const SYNC_HELP: &str = "\
Examples:
  rendezvous sync
      keys, acknowledgements that are due, and everything once more that nobody
      has acknowledged: after a relay has lost its state, say

Nothing is fetched: `rendezvous receive` does that.

Exit codes:
  0  relays have every message; which of them are read, `outbox` says
  2  refused: PIN MISMATCH, say
  3  a message waits: the relay has no room, say, or its recipient refuses it";

const REGISTER_HELP: &str = "\
Examples:
  rendezvous register
  rendezvous register --server https://other.example.org
      moves to another relay, which is saved. Contacts and sessions go on; those
      who write to you have to be told of it

Publishes the keys with which others begin to write, as `send` and `receive` do
too, and sends again what is due. The exit codes are those of `sync`.";

/// Arguments of `sync`.
#[derive(Args, Debug)]
#[command(after_long_help = SYNC_HELP)]
pub(crate) struct SyncArguments {
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `register`.
#[derive(Args, Debug)]
#[command(after_long_help = REGISTER_HELP)]
pub(crate) struct RegisterArguments {
    /// Relay to go by, saved for later commands.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn sync(arguments: &SyncArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    let maintained = account.user.sync(&relay, now, Duration::ZERO)?;
    Ok(report(arguments.json, account, &maintained))
}

pub(crate) fn register(arguments: &RegisterArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    let maintained = account.user.maintain(&relay, now)?;
    if let Some(server) = &arguments.server {
        let mut profile = account.user.profile()?;
        profile.relay = Some(server.clone());
        account.user.set_profile(&profile)?;
    }
    Ok(report(arguments.json, account, &maintained))
}

fn report(json: bool, account: &Account<'_>, maintained: &Maintained) -> Report {
    let Maintained { unclaimed, published, is_fallback_rotated, resent, waiting, refused, acknowledged, problems } =
        maintained;
    for problem in problems {
        account.log.note(format_args!("{}", text::printable(&problem.to_string())));
    }
    let relay = account.network.url().unwrap_or_default();
    let value = json!({
        "relay": relay, "unclaimed": unclaimed, "published": published, "replenished": *published > 0,
        "fallback_rotated": is_fallback_rotated, "resent": resent, "waiting": waiting, "refused": refused,
        "acknowledged": acknowledged,
    });
    let lines = text::fields(&[
        ("relay", &relay),
        ("one-time keys", &format!("{unclaimed} were there, {published} were added")),
        ("sent again", resent),
        ("waiting for a relay", waiting),
        ("refused for good", refused),
    ]);
    let is_for_script = json || account.is_retalk;
    if problems.iter().any(|problem| matches!(problem.cause, ProblemCause::PinMismatch)) {
        return Report::refused(is_for_script, &value, lines);
    }
    let ending = if waiting + refused == 0 { Ending::Done } else { Ending::Waiting };
    Report::new(is_for_script, &value, lines, ending)
}
