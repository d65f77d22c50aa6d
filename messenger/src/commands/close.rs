//! `rendezvous mailbox close`: ends the own mailbox.

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::mailbox::bytes::Address;
use serde_json::json;

use crate::ending::{Ending, Report};
use crate::own::OwnMailbox;
use crate::session::Session;
use crate::store::StoreError;

const HELP: &str = "\
Examples:
  rendezvous mailbox close --yes
      every relay deletes what waits, and tells whoever writes that the mailbox
      is closed. Collect before. Opened again, it has the same address

Exit codes:
  3  a relay could not be told: run it again

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store";

/// Arguments of `close`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct CloseArguments {
    /// Do it: without this, nothing happens.
    #[arg(long)]
    yes: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why nothing is closed.
#[derive(Debug, thiserror::Error)]
#[error("this deletes all that waits in the mailbox: if that is meant, say --yes")]
struct NotMeant;

impl Cause for NotMeant {}

pub(crate) fn close(arguments: &CloseArguments, session: &Session<'_>) -> Result<Report, Failure> {
    if !arguments.yes {
        return Err(NotMeant.into());
    }
    let owner = session.owner_key()?;
    // Also one that was closed before, for a relay that could not be told then.
    let mut mailbox: OwnMailbox = session.store.mailbox()?.ok_or(StoreError::NoMailbox)?;
    let (address, close) = (Address::of(&owner.public_key()), mailbox.close(&owner)?.to_json());
    let (mut closed, mut left, mut last) = (Vec::new(), Vec::new(), None);
    for origin in &mailbox.relays {
        match session.relay(origin)?.close(address, &close) {
            Ok(()) => closed.push(origin.clone()),
            // Told before, or never opened there.
            Err(error) if matches!(error.refusal(), Some(Code::MailboxClosed | Code::MailboxUnknown)) => {
                closed.push(origin.clone());
            }
            Err(error) => {
                session.log.note(format_args!("{error}"));
                left.push(origin.clone());
                last = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (closed.is_empty(), last) {
        return Err(error.into());
    }
    // Whoever opens it again goes on above what closed it.
    mailbox.exceed(mailbox.revision.saturating_add(1), session.now()?);
    mailbox.is_closed = true;
    session.store.set_mailbox(&mailbox)?;
    let value = json!({ "ok": true, "mailbox": address, "closed": closed, "missing": left });
    let ending = if left.is_empty() { Ending::Done } else { Ending::Waiting };
    Ok(Report::new(arguments.json, &value, format!("closed at {}\n", closed.join(" ")), ending))
}
