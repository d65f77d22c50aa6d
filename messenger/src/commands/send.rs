//! `rendezvous send`: one message to one user.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::{STANDARD, read_file};
use rendezvous_capsule::secret;
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_duration;
use rendezvous_messenger::transport::RelayError;
use rendezvous_messenger::user::{Outgoing, OutgoingState, Problem, UserError};
use serde_json::json;

use crate::account::{Account, MAINTAIN_EVERY};
use crate::ending::{Ending, Report};
use crate::line;

/// Bytes that are read of a text; what is too long for a message is refused before it is encrypted.
const TEXT_MAX_BYTES: usize = 1024 * 1024;

/// How often --wait asks whether the recipient has the message.
const ASK_EVERY: Duration = Duration::from_secs(2);

const HELP: &str = "\
Examples:
  rendezvous send bob 'See you at eight'
  git log -1 | rendezvous send bob -
      from the standard input, without the line feed at its end
  rendezvous send bob --file notes.txt --wait 10m
      until Bob has it, or ten minutes have passed

PEER is a name that `rendezvous add` saved, or an id. The message is encrypted
and written down first, then left at the relay. It stays in the outbox until the
recipient's program says, encrypted too, that it has it; what is not
acknowledged after two minutes is sent again by --wait, and by the next command.

Exit codes:
  0  a relay has it; with --wait: the recipient has it
  2  refused, and not kept: PIN MISMATCH, too long, no such peer; with --wait:
     `rendezvous outbox --cancel` has given it up
  3  it waits in the outbox: no relay answers, or there is no room; with --wait:
     it is not acknowledged yet

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store
  RENDEZVOUS_RELAY  --server
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                    the passphrase's file, or the passphrase itself";

/// Arguments of `send`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP, override_usage = "rendezvous send [OPTIONS] PEER TEXT\n       rendezvous send [OPTIONS] --peer PEER TEXT\n       rendezvous send [OPTIONS] PEER --file FILE")]
pub(crate) struct SendArguments {
    /// The peer, if not in --peer, and the text, if not in --file; - is the standard input.
    #[arg(value_name = "PEER TEXT", num_args = 0..=2)]
    words: Vec<String>,
    /// The peer.
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
    /// File with the text; - is the standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Wait until the recipient has it, at most for so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why nothing is sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// Not one peer and one text.
    #[error("one peer and one text: `rendezvous send PEER TEXT`, or --peer PEER, or --file FILE")]
    Words,
    /// The text cannot be read.
    #[error("the text cannot be read from {}: {error}", secret::path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something else than text.
    #[error("{} is not text (UTF-8): `rendezvous mailbox deposit` takes any bytes", secret::path(.path))]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Cause for SendError {}

impl SendArguments {
    /// Returns the peer and the text.
    fn message(&self) -> Result<(&str, String), Failure> {
        let (peer, text) = match (&*self.words, &self.peer, &self.file) {
            ([peer, text], None, None) => (peer, Some(text)),
            ([text], Some(peer), None) => (peer, Some(text)),
            ([peer], None, Some(_)) | ([], Some(peer), Some(_)) => (peer, None),
            _ => return Err(SendError::Words.into()),
        };
        let text = match (text, &self.file) {
            (Some(text), _) if text == STANDARD => read(Path::new(STANDARD))?,
            (Some(text), _) => text.clone(),
            (None, Some(file)) => read(file)?,
            (None, None) => return Err(SendError::Words.into()),
        };
        Ok((peer, text))
    }
}

fn read(path: &Path) -> Result<String, SendError> {
    let bytes = read_file(path, TEXT_MAX_BYTES).map_err(|error| SendError::Read { path: path.to_owned(), error })?;
    let mut text = String::from_utf8(bytes).map_err(|_| SendError::NotText { path: path.to_owned() })?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

pub(crate) fn send(arguments: &SendArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let (peer, text) = arguments.message()?;
    let to = account.peer(peer)?.id;
    let now = account.now()?;
    let relay = account.network.relay()?;
    match account.user.maintain(&relay, now) {
        Ok(maintained) => say(&maintained.problems, account),
        // The message is kept all the same, and says so.
        Err(UserError::Relay(RelayError::Unreached { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let Outgoing { id, state, .. } = account.user.send(&relay, to, &text, now)?;
    let fate = match arguments.wait {
        Some(most) => wait(account, &id, most)?,
        None => Fate::Waits(state),
    };
    match &fate {
        Fate::Acknowledged => account.log.note(format_args!("{} has it", text::printable(peer))),
        Fate::Cancelled => account.log.note(format_args!("{id} was given up by `rendezvous outbox --cancel`")),
        Fate::Waits(OutgoingState::Stored) => match arguments.wait.map(text::duration) {
            Some(most) => account.log.note(format_args!("not acknowledged within {most}: {id} stays in the outbox")),
            None => account.log.note(format_args!("sent to {}", text::printable(peer))),
        },
        Fate::Waits(state) => {
            account.log.note(format_args!("{id} waits in the outbox: {}", text::printable(&state.to_string())));
        }
    }
    let is_waited_for = arguments.wait.is_some();
    // retalk prints that from 0.0.2 on, where the peer is named by --peer.
    let is_for_script = arguments.json || (account.is_retalk && arguments.peer.is_some());
    let value = json!({ "id": id, "to": to.to_string(), "state": fate.name() });
    let text = if is_for_script { line::ascii(&value) } else { String::new() };
    Ok(match fate {
        Fate::Cancelled => Report::refused(false, &value, text),
        Fate::Acknowledged => Report::text(text),
        Fate::Waits(OutgoingState::Stored) if !is_waited_for => Report::text(text),
        Fate::Waits(_) => Report::new(false, &value, text, Ending::Waiting),
    })
}

/// Says what became of a message.
enum Fate {
    /// Its recipient has it.
    Acknowledged,
    /// It was given up, by another run of this program.
    Cancelled,
    /// It is in the outbox.
    Waits(OutgoingState),
}

impl Fate {
    /// Returns what scripts call it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Cancelled => "cancelled",
            Self::Waits(state) => super::outbox::state_name(state),
        }
    }
}

/// Waits until a message is acknowledged, given up or refused for good. What comes meanwhile is kept for the next `receive`,
/// and what is due is sent again.
fn wait(account: &mut Account<'_>, id: &str, most: Duration) -> Result<Fate, Failure> {
    let begun = Instant::now();
    let mut maintained = begun;
    loop {
        let now = account.now()?;
        let relay = account.network.relay()?;
        let mut has_room = false;
        match account.user.receive(&relay, now) {
            Ok(report) => has_room = report.acknowledged > 0,
            Err(error) => account.log.note(format_args!("{error}")),
        }
        // An acknowledgement makes room for a message that waits for earlier ones.
        if has_room || maintained.elapsed() >= MAINTAIN_EVERY {
            maintained = Instant::now();
            match account.user.maintain(&relay, now) {
                Ok(report) => say(&report.problems, account),
                Err(error) => account.log.note(format_args!("{error}")),
            }
        }
        let outgoing = account.user.outbox()?.into_iter().find(|outgoing| outgoing.id == id);
        let left = most.saturating_sub(begun.elapsed());
        match outgoing {
            None if account.user.is_cancelled(id)? => return Ok(Fate::Cancelled),
            None => return Ok(Fate::Acknowledged),
            Some(Outgoing { state, .. }) if left.is_zero() || state == OutgoingState::Refused => {
                return Ok(Fate::Waits(state));
            }
            Some(_) => std::thread::sleep(ASK_EVERY.min(left)),
        }
    }
}

fn say(problems: &[Problem], account: &Account<'_>) {
    for problem in problems {
        account.log.note(format_args!("{}", text::printable(&problem.to_string())));
    }
}
