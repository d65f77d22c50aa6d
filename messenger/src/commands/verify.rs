//! `rendezvous verify`: whether a relay has the keys that a contact's id stands for.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_messenger::user::Contact;
use serde_json::json;

use crate::account::Account;
use crate::ending::Report;
use crate::line;

const HELP: &str = "\
Examples:
  rendezvous verify bob
      asks the relay for Bob's keys, and keeps them if they are those that his
      id is the fingerprint of; else it says PIN MISMATCH, and exits with 2

`send` and `receive` check the same each time that they need keys.";

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct VerifyArguments {
    /// The contact: a saved name or an id.
    #[arg(value_name = "PEER")]
    peer: String,
    /// Relay to ask, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn verify(arguments: &VerifyArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let now = account.now()?;
    let id = account.peer(&arguments.peer)?.id;
    let relay = account.network.relay()?;
    let contact = account.user.verify(&relay, id, now)?;
    if arguments.json {
        return Ok(Report::text(line::ascii(&as_json(&contact))));
    }
    account.log.note(format_args!("verified {} ({id})", text::printable(&arguments.peer)));
    Ok(Report::text(String::new()))
}

/// A contact, by the names of retalk's fields.
pub(super) fn as_json(contact: &Contact) -> serde_json::Value {
    let Contact { id, name, pin, identity, is_blocked, door } = contact;
    let identity = identity.as_ref();
    json!({
        "name": name.as_deref().unwrap_or_default(), "fingerprint": id.to_string(),
        "identity_key": identity.map(|keys| keys.identity_key()).unwrap_or_default(),
        "signing_key": identity.map(|keys| keys.signing_key()).unwrap_or_default(),
        "verified": identity.is_some(), "pin": pin, "blocked": is_blocked,
        "door": door.name(), "why": door.why().map(ToString::to_string),
    })
}
