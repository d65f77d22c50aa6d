//! `rendezvous outbox`: tries again what waits, and says what has been read.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use serde_json::{Value, json};

use super::deposit::explain;
use crate::contact::Outgoing;
use crate::ending::{Ending, Report};
use crate::name::Name;
use crate::sending::{Sending, Settled};
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous outbox
  rendezvous outbox bob --json

Asks relays for receipts, leaves again what none of them has taken, and shows
what still waits. A receipt is the recipient's own signature: a relay cannot
make one.

Exit codes:
  0  nothing waits
  3  something still waits: for a relay, for room, or for its recipient

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file";

/// Arguments of `outbox`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct OutboxArguments {
    /// One contact alone.
    #[arg(value_name = "NAME")]
    name: Option<Name>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn outbox(arguments: &OutboxArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let owner = session.owner_key()?;
    let names = match &arguments.name {
        Some(name) => vec![name.clone()],
        None => session.store.contacts()?,
    };
    let (mut rows, mut values, mut waiting) = (Vec::new(), Vec::new(), 0);
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
        waiting += sending.outgoing.len();
        let mut show = |messages: &[Outgoing], state: &str| {
            for message in messages {
                let (row, value) = line(message, state);
                rows.push(row);
                values.push(value);
            }
        };
        show(&settled.read, "read");
        show(&settled.ended, "ended");
        show(&sending.outgoing, "waiting");
    }
    let value = json!({ "ok": true, "waiting": waiting, "messages": values });
    let text = if rows.is_empty() { "nothing waits\n".to_owned() } else { text::table(&rows) };
    let ending = if waiting == 0 { Ending::Done } else { Ending::Waiting };
    Ok(Report::new(arguments.json, &value, text, ending))
}

fn line(outgoing: &Outgoing, state: &str) -> (Vec<String>, Value) {
    let Outgoing { contact, sequence, content_id, expires_at, taken, problem, .. } = outgoing;
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
