//! `rendezvous outbox`: tries again what waits, messages and what was left in mailboxes, and says what has been read.

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::text;
use rendezvous_messenger::user::{Door, Outgoing as Message, OutgoingState, UserError};
use rendezvous_protocol::retalk::user::UserId;
use serde_json::{Value, json};

use super::deposit::explain;
use crate::account::Account;
use crate::ending::{Ending, Report};
use crate::name::Name;
use crate::recipient::PendingMessage;
use crate::sending::{Sending, Settled};
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous outbox
  rendezvous outbox bob --json
  rendezvous outbox --cancel ID
      gives a message up. One that a relay has may arrive all the same

Asks relays for receipts, leaves again what none of them has taken, and shows
what still waits, messages and deposits in mailboxes. A receipt is the
recipient's own signature, or encrypted: a relay cannot make one. Messages'
receipts come with `rendezvous receive`.

Exit codes:
  0  nothing waits
  3  something still waits: for a relay, for room, or for its recipient

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_RELAY            --server
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                              the passphrase of the identity";

/// Arguments of `outbox`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct OutboxArguments {
    /// One contact alone.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Give a message up, by its id.
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "resend"])]
    cancel: Option<String>,
    /// Send a message again at once, by its id, also one that was refused.
    #[arg(long, value_name = "ID", conflicts_with = "name")]
    resend: Option<String>,
    /// Relay of messages, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why nothing is given up, or sent again.
#[derive(Debug, thiserror::Error)]
enum OutboxError {
    /// No such message.
    #[error("no message {} is in the outbox: `rendezvous outbox --json` has their ids", text::printable(.id))]
    Unknown {
        /// What was given.
        id: String,
    },
    /// No identity to look into.
    #[error("there are no messages here: `rendezvous init` makes an identity")]
    NoMessages,
    /// Nobody of that name, in either book.
    #[error("there is no contact {}", text::printable(.name))]
    ContactUnknown {
        /// What was given.
        name: String,
    },
}

impl Cause for OutboxError {}

/// Collects what is shown.
#[derive(Default)]
struct Shown {
    rows: Vec<Vec<String>>,
    values: Vec<Value>,
    waiting: usize,
}

/// Looks after messages, where there is an identity, and after deposits, where there are keys for mailboxes.
pub(crate) fn outbox(
    arguments: &OutboxArguments,
    account: Option<&mut Account<'_>>,
    session: Option<&Session<'_>>,
) -> Result<Report, Failure> {
    let mut shown = Shown::default();
    if arguments.cancel.is_some() || arguments.resend.is_some() {
        let account = account.ok_or(OutboxError::NoMessages)?;
        return change(arguments, account);
    }
    let mut is_known = arguments.name.is_none();
    if let Some(account) = account {
        let peer = arguments.name.as_deref().map(|name| account.user.contact(name)).transpose()?.flatten();
        is_known |= peer.is_some();
        if arguments.name.is_none() || peer.is_some() {
            show_messages(account, peer.map(|peer| peer.id), &mut shown)?;
        }
    }
    if let Some(session) = session {
        let names = match arguments.name.as_deref().map(str::parse::<Name>) {
            None => session.store.contacts()?,
            Some(Ok(name)) if session.store.contacts()?.contains(&name) => vec![name],
            Some(_) => Vec::new(),
        };
        is_known |= !names.is_empty();
        show_deposits(session, names, &mut shown)?;
    }
    if let (false, Some(name)) = (is_known, &arguments.name) {
        return Err(OutboxError::ContactUnknown { name: name.clone() }.into());
    }
    let Shown { rows, values, waiting } = shown;
    let value = json!({ "ok": true, "waiting": waiting, "messages": values });
    let text = if rows.is_empty() { "nothing waits\n".to_owned() } else { text::table(&rows) };
    let ending = if waiting == 0 { Ending::Done } else { Ending::Waiting };
    Ok(Report::new(arguments.json, &value, text, ending))
}

/// Gives a message up, or sends it again.
fn change(arguments: &OutboxArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    if let Some(id) = &arguments.cancel {
        if !account.user.cancel(id)? {
            return Err(OutboxError::Unknown { id: id.clone() }.into());
        }
        let value = json!({ "ok": true, "id": id, "state": "cancelled" });
        return Ok(Report::done(arguments.json, &value, format!("{} is given up\n", text::printable(id))));
    }
    let id = arguments.resend.as_deref().unwrap_or_default();
    let now = account.now()?;
    let relay = account.network.relay()?;
    let message = account.user.resend(&relay, id, now)?;
    let message = message.ok_or_else(|| OutboxError::Unknown { id: id.to_owned() })?;
    let (row, value) = message_line(&message, account)?;
    let is_stored = matches!(message.state, OutgoingState::Stored);
    let ending = if is_stored { Ending::Done } else { Ending::Waiting };
    Ok(Report::new(arguments.json, &value, text::table(&[row]), ending))
}

/// Tries again what is due of messages, and shows those that are not acknowledged.
fn show_messages(account: &mut Account<'_>, to: Option<UserId>, shown: &mut Shown) -> Result<(), Failure> {
    if !account.user.outbox()?.is_empty() && account.network.url().is_some() {
        let now = account.now()?;
        let relay = account.network.relay()?;
        match account.user.maintain(&relay, now) {
            Ok(_) => {}
            // What waits is shown all the same.
            Err(UserError::Relay(error)) => account.log.note(format_args!("{error}")),
            Err(error) => return Err(error.into()),
        }
    }
    for message in account.user.outbox()? {
        if to.is_none_or(|to| to == message.to) {
            let (row, value) = message_line(&message, account)?;
            shown.rows.push(row);
            shown.values.push(value);
            shown.waiting += 1;
        }
    }
    Ok(())
}

fn message_line(message: &Message, account: &Account<'_>) -> Result<(Vec<String>, Value), Failure> {
    let Message { id, to, created_at, tried_at, state, door } = message;
    let name = account.name_of(*to)?;
    let problem = match state {
        OutgoingState::NotStored { code: problem } | OutgoingState::Failed { reason: problem } => Some(problem),
        _ => None,
    };
    let value = json!({
        "id": id, "contact": name, "to": to.to_string(), "state": state_name(state), "problem": problem,
        "createdAt": created_at, "triedAt": tried_at, "door": door.as_ref().map(Door::name),
        "why": door.as_ref().and_then(Door::why).map(ToString::to_string),
    });
    let state = text::printable(&state.to_string());
    // What was so when it was tried may be over.
    let state = match tried_at.filter(|_| problem.is_some()) {
        Some(tried_at) => format!("not left yet, tried at {}: {state}", text::date(tried_at)),
        None => state,
    };
    let door = door.as_ref().map(|door| format!(", {}", describe(door))).unwrap_or_default();
    let what = format!("{state}{door}, written {}", text::date(*created_at));
    Ok((vec![text::printable(&name), text::printable(id), what], value))
}

/// Says by which door a message goes, and why.
pub(super) fn describe(door: &Door) -> String {
    match door {
        Door::Mailbox => "by mailbox".to_owned(),
        Door::Retalk { why } => {
            format!("by the door for retalk's users, because {}", text::printable(&why.to_string()))
        }
    }
}

/// Returns what scripts call the state of a message.
pub(super) const fn state_name(state: &OutgoingState) -> &'static str {
    match state {
        OutgoingState::Queued => "queued",
        OutgoingState::Encrypted => "encrypted",
        OutgoingState::Stored => "stored",
        OutgoingState::NotStored { .. } => "not-stored",
        OutgoingState::Failed { .. } => "waiting",
        OutgoingState::Refused => "refused",
    }
}

/// Tries again what was to be left in mailboxes, and shows what has become of it.
fn show_deposits(session: &Session<'_>, names: Vec<Name>, shown: &mut Shown) -> Result<(), Failure> {
    let owner = session.owner_key()?;
    for name in names {
        let mut sending = Sending::load(session, &name)?;
        let mut settled = Settled::default();
        if !sending.outgoing.is_empty() {
            sending.refresh_card()?;
            sending.ask_for_receipts()?;
            settled = sending.settle()?;
            sending.deliver(&owner)?;
        }
        // What a relay has said while things were left.
        let Settled { read, ended } = sending.settle()?;
        settled.read.extend(read);
        settled.ended.extend(ended);
        shown.waiting += sending.outgoing.len();
        let mut show = |messages: &[PendingMessage], state: &str| {
            for message in messages {
                let (row, value) = line(message, state);
                shown.rows.push(row);
                shown.values.push(value);
            }
        };
        show(&settled.read, "read");
        show(&settled.ended, "ended");
        show(&sending.outgoing, "waiting");
    }
    Ok(())
}

fn line(outgoing: &PendingMessage, state: &str) -> (Vec<String>, Value) {
    let PendingMessage { contact, sequence, content_id, expires_at, taken, problem, .. } = outgoing;
    let value = json!({
        "contact": contact, "state": state, "sequence": sequence, "contentId": content_id, "relays": taken,
        "problem": problem, "endsAt": expires_at,
    });
    let what = match state {
        "read" => "read".to_owned(),
        "ended" => "ended before it was read".to_owned(),
        _ if taken.is_empty() => explain(problem.as_deref()),
        _ => format!("left at {}, not read yet", taken.join(" ")),
    };
    (vec![contact.to_string(), content_id.to_string(), what], value)
}
