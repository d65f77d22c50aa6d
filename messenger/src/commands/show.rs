//! `rendezvous mailbox show`: what is known of the own mailbox, without asking anybody.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::message_addresses::MailboxAddress;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::ending::Report;
use crate::own::{OwnMailbox, Slot, SlotKind};
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous mailbox show
  rendezvous mailbox show --json | jq -r .mailbox
  rendezvous mailbox show --json | jq -r .data
      what `capsule announce --data` says, to `rendezvous who`, of a mailbox

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store";

/// Arguments of `show`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct ShowArguments {
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn show(arguments: &ShowArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let mailbox = session.mailbox()?;
    report(arguments.json, &mailbox, session)
}

/// Shows a mailbox.
pub(super) fn report(json: bool, mailbox: &OwnMailbox, session: &Session<'_>) -> Result<Report, Failure> {
    let owner = session.owner_key()?.public_key();
    let now = session.now()?;
    let (address, lagging) = (Address::of(&owner), mailbox.lagging());
    let slots: Vec<Value> = mailbox.slots.iter().filter_map(as_json).collect();
    // The store has none but origins.
    let relays = mailbox.relays.iter().filter_map(|relay| Origin::parse(relay)).collect();
    let data = MailboxAddress { mailbox: address, relays }.to_string();
    let value = json!({
        "ok": true, "mailbox": address, "owner": owner, "relays": mailbox.relays, "missing": lagging,
        "revision": mailbox.revision, "expiresAt": mailbox.expires_at, "readers": mailbox.readers,
        "requests": mailbox.requests, "slots": slots, "shown": mailbox.shown().len(), "data": data,
    });
    let requests = match (mailbox.requests.open, mailbox.requests.difficulty) {
        (false, _) => "closed: only contacts and invites may write".to_owned(),
        (true, 0) => "open to everybody".to_owned(),
        (true, bits) => format!("open to everybody, for a proof of work of {bits} bits"),
    };
    let mut lines = text::fields(&[
        ("mailbox", &address),
        ("owner key", &owner),
        ("relays", &mailbox.relays.join(" ")),
        ("until", &text::date(mailbox.expires_at)),
        ("requests", &requests),
        ("in a ticket", &data),
    ]);
    for relay in lagging {
        lines.push_str(&format!("\n{relay} does not have the newest records: `rendezvous mailbox open` tries again\n"));
    }
    for (title, rows) in [
        ("contacts", mailbox.slots.iter().filter_map(contact).collect()),
        ("invites", mailbox.slots.iter().filter_map(|slot| invite(slot, now)).collect()),
        ("readers", mailbox.readers.iter().map(|key| vec![format!("  {key}")]).collect::<Vec<_>>()),
    ] {
        if !rows.is_empty() {
            lines.push_str(&format!("\n{title}\n{}", text::table(&rows)));
        }
    }
    Ok(Report::done(json, &value, lines))
}

fn as_json(slot: &Slot) -> Option<Value> {
    let Slot { key, name, limit, kind, from, .. } = slot;
    match kind {
        SlotKind::Contact => Some(json!({ "name": name, "slot": key, "limit": limit, "from": from })),
        SlotKind::Invite { expires_at } => {
            Some(json!({ "name": name, "slot": key, "limit": limit, "inviteEndsAt": expires_at }))
        }
        SlotKind::EndedInvite { .. } | SlotKind::Former { .. } | SlotKind::Stranger { .. } => None,
    }
}

fn name(slot: &Slot) -> String {
    slot.name.as_ref().map(|name| format!("  {name}")).unwrap_or_default()
}

fn contact(slot: &Slot) -> Option<Vec<String>> {
    let from = slot.from.map_or("has not written yet".to_owned(), |key| format!("key {key}"));
    (slot.kind == SlotKind::Contact).then(|| vec![name(slot), format!("at most {} waiting", slot.limit), from])
}

fn invite(slot: &Slot, now: UnixMillis) -> Option<Vec<String>> {
    match slot.kind {
        SlotKind::Invite { expires_at } if expires_at > now => {
            let ends = format!("ends {}", text::distance(expires_at, now));
            Some(vec![name(slot), format!("at most {} waiting", slot.limit), ends])
        }
        SlotKind::Invite { .. } => Some(vec![name(slot), String::new(), "has ended".to_owned()]),
        _ => None,
    }
}
