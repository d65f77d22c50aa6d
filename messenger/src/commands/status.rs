//! `rendezvous status`: what is known without asking anybody.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::{secret, text};
use rendezvous_messenger::user::{Admission, MailboxStatus, Status};
use serde_json::json;

use crate::account::Account;
use crate::ending::Report;

const HELP: &str = "\
Examples:
  rendezvous status
  rendezvous status --json | jq .outbox

No relay is asked. `rendezvous sync` says how many one-time keys are left there,
and a relay whose clock differs from this one says by how much.";

/// Arguments of `status`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct StatusArguments {
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn status(arguments: &StatusArguments, account: &Account<'_>) -> Result<Report, Failure> {
    let status = &account.user.status()?;
    let Status {
        outbox,
        inbox,
        incoming,
        acknowledgements_due,
        sessions,
        contacts,
        blocked,
        fallback_made_at,
        mailbox,
        contacts_with_mailbox,
    } = status;
    let (profile, id) = (account.user.profile()?, account.user.id());
    let strangers = match profile.admission {
        Admission::Everybody => "may write",
        Admission::Contacts => "are refused",
    };
    let value = json!({
        "ok": true, "user_id": id.to_string(), "name": profile.name, "directory": account.directory,
        "relay": account.network.url(), "outbox": outbox, "inbox": inbox, "unopened": incoming, "acknowledgementsDue": acknowledgements_due,
        "fallbackMadeAt": fallback_made_at, "sessions": sessions, "contacts": contacts, "blocked": blocked,
        "strangers": strangers, "contactsWithMailbox": contacts_with_mailbox,
        "mailbox": mailbox.as_ref().map(|mailbox| json!({
            "address": mailbox.address, "open": mailbox.is_open, "refused": mailbox.refused,
        })),
    });
    let mailbox = match mailbox {
        None => "none: no contact has a program that takes messages by mailboxes, as far as is known".to_owned(),
        Some(MailboxStatus { refused: Some(code), .. }) => format!("refused by the relay: {}", text::printable(code)),
        Some(MailboxStatus { is_open: false, .. }) => "not opened yet".to_owned(),
        Some(MailboxStatus { address, .. }) => address.clone(),
    };
    let now = account.now()?;
    let fallback = fallback_made_at.map_or_else(|| "none yet".to_owned(), |at| text::distance(at, now));
    let lines = text::fields(&[
        ("id", &id),
        ("name", &text::printable(&profile.name)),
        ("store", &secret::path(&account.directory)),
        ("relay", &account.network.url().unwrap_or("none")),
        ("outbox", &outbox),
        ("inbox", &inbox),
        ("not opened yet", &incoming),
        ("acknowledgements due", &acknowledgements_due),
        ("fallback key made", &fallback),
        ("sessions", &sessions),
        ("contacts", &contacts),
        ("of these by mailbox", &contacts_with_mailbox),
        ("own mailbox", &mailbox),
        ("blocked", &blocked),
        ("strangers", &strangers),
    ]);
    Ok(Report::done(arguments.json, &value, lines))
}
