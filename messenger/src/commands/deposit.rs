//! `rendezvous mailbox deposit`: leaves a message for somebody.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::{STANDARD, read_file};
use rendezvous_capsule::secret;
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_duration;
use rendezvous_protocol::mailbox::limits::{DEPOSIT_MAX_LIFETIME, DEPOSIT_MIN_LIFETIME};
use serde_json::json;

use crate::ending::{Ending, Report};
use crate::name::Name;
use crate::recipient::PendingMessage;
use crate::sending::Sending;
use crate::session::Session;

/// Bytes that are read of a content; what is too long for a message is refused when it is sealed.
const CONTENT_MAX_BYTES: usize = 128 * 1024;

/// How often a relay is asked whether the recipient has the message.
const ASK_EVERY: Duration = Duration::from_secs(2);

const HELP: &str = "\
Examples:
  rendezvous mailbox deposit bob photo.jpg --wait 10m
      until Bob has it, or ten minutes have passed
  echo 'See you at eight' | rendezvous mailbox deposit bob
  rendezvous mailbox deposit bob note.txt --ttl 12h --json

The message is written down first, then left at two relays of the mailbox. What
none of them takes now waits in the outbox: `rendezvous outbox` tries again.

Exit codes:
  0  a relay has taken it; with --wait: the recipient has it
  3  it waits in the outbox, because no relay answers, or because as many
     messages wait as the recipient allows; with --wait: it is not read yet

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file";

/// Arguments of `deposit`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct DepositArguments {
    /// The contact.
    #[arg(value_name = "NAME")]
    name: Name,
    /// File with the message, of any bytes; - is the standard input.
    #[arg(value_name = "FILE", default_value = STANDARD)]
    file: PathBuf,
    /// How long relays keep it for, from 1h to 7days.
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime, default_value = "7days")]
    ttl: Duration,
    /// Wait until the recipient has it, at most for so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text)?;
    if (DEPOSIT_MIN_LIFETIME..=DEPOSIT_MAX_LIFETIME).contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err("must be from 1h to 7days".to_owned())
    }
}

/// The content cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be read from {}: {error}", secret::path(.path))]
struct ContentError {
    path: PathBuf,
    error: std::io::Error,
}

impl Cause for ContentError {}

fn read(path: &Path) -> Result<Vec<u8>, ContentError> {
    read_file(path, CONTENT_MAX_BYTES).map_err(|error| ContentError { path: path.to_owned(), error })
}

pub(crate) fn deposit(arguments: &DepositArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let DepositArguments { name, file, ttl, wait, json } = arguments;
    let owner = session.owner_key()?;
    let mut sending = Sending::load(session, name)?;
    let content = read(file)?;
    sending.refresh_card()?;
    if !sending.outgoing.is_empty() {
        sending.ask_for_receipts()?;
        sending.settle()?;
    }
    let mut message = sending.write(&owner, content, *ttl)?;
    sending.deliver(&owner)?;
    sending.settle_with(&mut message)?;
    if let Some(wait) = wait {
        let begun = Instant::now();
        loop {
            sending.ask_for_receipts()?;
            sending.settle_with(&mut message)?;
            message = sending.follow(message);
            let left = wait.saturating_sub(begun.elapsed());
            if sending.has(&message) || message.ended_unread || message.expires_at <= session.now()? || left.is_zero() {
                break;
            }
            session.store.unlocked(|| std::thread::sleep(ASK_EVERY.min(left)))?;
            sending = Sending::load(session, name)?;
            sending.deliver(&owner)?;
        }
    }
    let message = sending.follow(message);
    let is_read = sending.has(&message);
    let PendingMessage { content_id, expires_at, taken, problem, .. } = message;
    let is_taken = is_read || !taken.is_empty();
    let value = json!({
        "ok": true, "contact": name, "contentId": content_id, "taken": is_taken, "read": is_read, "relays": taken,
        "problem": problem, "endsAt": expires_at,
    });
    let text = match (is_read, is_taken) {
        (true, _) => format!("{name} has it\n"),
        (_, true) => format!("left at {}, until {}\n", taken.join(" "), text::date(expires_at)),
        _ => format!("it waits in the outbox: {}\n", explain(problem.as_deref())),
    };
    let is_done = if wait.is_some() { is_read } else { is_taken };
    Ok(Report::new(*json, &value, text, if is_done { Ending::Done } else { Ending::Waiting }))
}

/// Says for what a message waits.
pub(super) fn explain(problem: Option<&str>) -> String {
    match problem {
        None => "no relay was asked yet".to_owned(),
        Some("UNACKNOWLEDGED_LIMIT") => "as many messages wait there as the recipient allows (UNACKNOWLEDGED_LIMIT)".to_owned(),
        Some("MAILBOX_FULL") => "there is no room in the mailbox (MAILBOX_FULL)".to_owned(),
        Some("SLOT_UNKNOWN") => {
            "the recipient does not take messages over this slot any more: ask for a new invite (SLOT_UNKNOWN)".to_owned()
        }
        Some("MAILBOX_UNKNOWN" | "MAILBOX_CLOSED") => "there is no such mailbox at the relay any more".to_owned(),
        Some("SEQUENCE_TAKEN") => {
            "another message was left under its number, from a copy of this store: ask for a new invite (SEQUENCE_TAKEN)"
                .to_owned()
        }
        Some("NOT_YET_VALID" | "EXPIRED") => "this clock and the relay's differ: set this one".to_owned(),
        Some(code) => text::printable(code),
    }
}
