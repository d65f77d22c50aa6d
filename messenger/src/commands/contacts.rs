//! `rendezvous contacts`: everybody whom the user can write to.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_messenger::user::Contact as Peer;
use serde_json::json;

use super::outbox::describe;
use super::verify;
use crate::account::Account;
use crate::ending::Report;
use crate::line;
use crate::recipient::Recipient;
use crate::store::Store;

const HELP: &str = "\
Examples:
  rendezvous contacts
      name, id, whether the keys are known, and by which door messages go; then
      those known by an invite alone
  rendezvous contacts --remove bob
      forgets the name of an id. `rendezvous contact remove bob` forgets the
      keys to a mailbox";

/// Arguments of `contacts`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct ContactsArguments {
    /// Forget this one: a saved name or an id.
    #[arg(long, value_name = "PEER")]
    pub(crate) remove: Option<String>,
    /// Print one line of JSON for each.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Lists those who are known, of both books.
pub(crate) fn list(
    arguments: &ContactsArguments,
    account: Option<&Account<'_>>,
    store: Option<&Store>,
) -> Result<Report, Failure> {
    let is_retalk = account.is_some_and(|account| account.is_retalk);
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for contact in account.map(|account| account.user.contacts()).transpose()?.into_iter().flatten() {
        lines.push_str(&line::ascii(&verify::as_json(&contact)));
        let Peer { id, name, identity, is_blocked, door, .. } = contact;
        let state = if is_blocked {
            "blocked"
        } else if identity.is_some() {
            "verified"
        } else {
            "unverified"
        };
        let name = name.map_or_else(|| "(unnamed)".to_owned(), |name| text::printable(&name));
        let mut row = vec![name, id.to_string(), state.to_owned()];
        if !is_retalk {
            row.push(describe(&door));
        }
        rows.push(row);
    }
    for name in store.map(Store::contacts).transpose()?.into_iter().flatten() {
        let Some(contact) = store.map(|store| store.contact::<Recipient>(&name)).transpose()?.flatten() else {
            continue;
        };
        let (mailbox, relays) = (contact.mailbox(), contact.relays());
        lines.push_str(&line::ascii(&json!({ "name": name, "mailbox": mailbox, "relays": relays })));
        rows.push(vec![name.to_string(), mailbox.to_string(), "mailbox".to_owned()]);
    }
    Ok(Report::text(if arguments.json { lines } else { line::columns(&rows, is_retalk) }))
}

/// Forgets the name of one of them.
pub(crate) fn remove(json: bool, peer: &str, account: &mut Account<'_>) -> Result<Report, Failure> {
    let id = account.peer(peer)?.id;
    let is_removed = account.user.remove(id)?;
    account.log.note(format_args!("removed {} ({id})", text::printable(peer)));
    let value = json!({ "ok": true, "fingerprint": id.to_string(), "removed": is_removed });
    Ok(Report::text(if json { line::ascii(&value) } else { String::new() }))
}
