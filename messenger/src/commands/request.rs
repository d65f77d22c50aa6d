//! `rendezvous request`: redeems a code that somebody has given.

use std::path::Path;

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::{STANDARD, read_file};
use rendezvous_capsule::text;
use rendezvous_messenger::user::{Outgoing, OutgoingState};
use rendezvous_protocol::retalk::user::{UserId, UserIdInvalid};
use serde_json::json;

use super::outbox::state_name;
use crate::account::Account;
use crate::ending::{Ending, Report};
use crate::line;

/// Bytes that are read of a code.
const CODE_MAX_BYTES: usize = 1024;

const HELP: &str = "\
Examples:
  rendezvous request f1041c25c87351d8550b31cc6b13ab04 --code CODE --peer bob
      saves Bob, who has made the code, and asks him to save you
  rendezvous request f1041c25c87351d8550b31cc6b13ab04 --code - <code.txt
      from the standard input: others can see arguments in process lists

First the relay is asked for the keys of the id: nothing is saved, and no code
leaves, where it has others (PIN MISMATCH). The request is encrypted: no relay
sees the code. Bob's program takes it when he runs `rendezvous receive` or
`rendezvous invite watch`, and says so, encrypted too: then `rendezvous outbox`
does not have it any more, and he has you as a contact. One whose code is not
good stays there: \"its recipient refuses it\".

Exit codes:
  0  a relay has it
  2  refused, and not kept: PIN MISMATCH, no such user, not a code
  3  it waits in the outbox

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store
  RENDEZVOUS_RELAY  --server
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                    the passphrase's file, or the passphrase itself";

/// Arguments of `request`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct RequestArguments {
    /// The id of whoever has made the code.
    #[arg(value_name = "ID")]
    id: String,
    /// The code; - is the standard input.
    #[arg(long, value_name = "CODE")]
    code: String,
    /// What you call them. [default: the name that they are saved under, else the id]
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why nobody is asked.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    /// Not an id.
    #[error("{text} is not an id: {error}", text = text::printable(.text))]
    Id {
        /// What was given.
        text: String,
        /// What it must be.
        error: UserIdInvalid,
    },
    /// The code cannot be read.
    #[error("the code cannot be read from the standard input: {0}")]
    Read(std::io::Error),
}

impl Cause for RequestError {}

impl RequestArguments {
    fn id(&self) -> Result<UserId, RequestError> {
        self.id.to_ascii_lowercase().parse().map_err(|error| RequestError::Id { text: self.id.clone(), error })
    }

    fn code(&self) -> Result<String, RequestError> {
        if self.code != STANDARD {
            return Ok(self.code.clone());
        }
        let bytes = read_file(Path::new(STANDARD), CODE_MAX_BYTES).map_err(RequestError::Read)?;
        // What is no text is no code either.
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

pub(crate) fn request(arguments: &RequestArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let (to, code) = (arguments.id()?, arguments.code()?);
    let now = account.now()?;
    let relay = account.network.relay()?;
    let Outgoing { id, state, .. } = account.user.request_contact(&relay, to, &code, arguments.peer.as_deref(), now)?;
    let name = text::printable(&account.name_of(to)?);
    let is_stored = state == OutgoingState::Stored;
    if is_stored {
        account.log.note(format_args!(
            "{name} is saved, and asked to save you; `rendezvous outbox` has it until that is done"
        ));
    } else {
        let state = text::printable(&state.to_string());
        account.log.note(format_args!("{name} is saved; the request {id} waits in the outbox: {state}"));
    }
    let value = json!({ "id": id, "to": to.to_string(), "state": state_name(&state) });
    let is_for_script = arguments.json || account.is_retalk;
    let text = if is_for_script { line::ascii(&value) } else { String::new() };
    Ok(Report::new(false, &value, text, if is_stored { Ending::Done } else { Ending::Waiting }))
}
