//! `rendezvous mailbox open`: makes the own mailbox, and has relays hold it.

use clap::Args;
use rendezvous_capsule::environment::{Environment, RELAYS};
use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::text;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::limits::RELAYS_MAX;
use serde_json::json;

use crate::ending::Report;
use crate::own::OwnMailbox;
use crate::relay::{MailboxRelayError, parse_relay};
use crate::session::Session;
use crate::store::random;

const HELP: &str = "\
Examples:
  rendezvous mailbox open --relay https://relay.example.org
      makes a key and a mailbox, and prints its address
  rendezvous mailbox open --relay https://a.example --relay https://b.example
      at two relays: one may be down. With another list later, it moves
  rendezvous mailbox open
      renews it, at the relays that hold it: after 90 days without a collect
      or a renewal a relay deletes a mailbox

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_RELAYS           --relay, with commas
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file; of a new key: it is encrypted";

/// Arguments of `open`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct OpenArguments {
    /// A relay that is to hold the mailbox, by its origin; up to four times.
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl OpenArguments {
    /// Returns whether a relay is named, here or in the variable: without one no key is made for a mailbox, nor for one at relays
    /// that are none.
    pub(crate) fn names_relays(&self, environment: &Environment) -> Result<bool, Failure> {
        Ok(!relays(&self.relay, environment)?.is_empty())
    }
}

/// Says why no mailbox is opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    /// Nowhere to open it.
    #[error("no relay to open a mailbox at: give --relay https://relay.example.org, or set RENDEZVOUS_RELAYS")]
    NoRelay,
    /// Too many.
    #[error("{count} relays are more than {RELAYS_MAX}")]
    TooManyRelays {
        /// How many.
        count: usize,
    },
}

impl Cause for OpenError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(crate) fn open(arguments: &OpenArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let owner = session.owner_key()?;
    let now = session.now()?;
    let found: Option<OwnMailbox> = session.store.mailbox()?;
    let is_new = found.is_none();
    let mut mailbox = match found {
        Some(mailbox) => mailbox,
        None => OwnMailbox::new(random()?, now),
    };
    let relays = relays(&arguments.relay, session.environment)?;
    if !relays.is_empty() {
        mailbox.relays = relays;
    }
    if mailbox.relays.is_empty() {
        return Err(OpenError::NoRelay.into());
    }
    if mailbox.wants_sealing_keys(now) {
        mailbox.add_sealing_keys(random()?, random()?, now);
    }
    mailbox.is_closed = false;
    mailbox.revise(now);
    session.store.set_mailbox(&mailbox)?;
    let mut problems = session.publish(&mut mailbox, &owner)?;
    let lagging = mailbox.lagging();
    if lagging.len() == mailbox.relays.len()
        && let Some(problem) = problems.pop()
    {
        return Err(problem.into());
    }
    for problem in &problems {
        session.log.note(format_args!("{problem}: it gets the mailbox's records with the next command"));
    }
    let address = Address::of(&owner.public_key());
    let open_at: Vec<_> = mailbox.relays.iter().filter(|relay| !lagging.contains(relay)).collect();
    let value = json!({
        "ok": true, "mailbox": address, "owner": owner.public_key(), "relays": open_at, "missing": lagging,
        "revision": mailbox.revision, "expiresAt": mailbox.expires_at,
    });
    let open_at = open_at.into_iter().cloned().collect::<Vec<_>>().join(" ");
    let mut lines = text::fields(&[
        ("mailbox", &address),
        ("open at", &open_at),
        ("until", &text::date(mailbox.expires_at)),
        ("store", &session.store.directory().display()),
    ]);
    if is_new {
        lines.push_str("\nLet somebody write to you: rendezvous mailbox invite new NAME\n");
    }
    Ok(Report::done(arguments.json, &value, lines))
}

/// Returns the relays that are named, each once: the arguments, or the variable.
fn relays(arguments: &[String], environment: &Environment) -> Result<Vec<String>, Failure> {
    let parse = |text: &str| parse_relay(text).map(|origin| origin.as_str().to_owned());
    let named = if arguments.is_empty() {
        environment.list(RELAYS, parse)?
    } else {
        arguments.iter().map(|text| parse(text)).collect::<Result<_, MailboxRelayError>>()?
    };
    let mut relays: Vec<String> = Vec::new();
    for relay in named {
        if !relays.contains(&relay) {
            relays.push(relay);
        }
    }
    match relays.len() {
        0..=RELAYS_MAX => Ok(relays),
        count => Err(OpenError::TooManyRelays { count }.into()),
    }
}
