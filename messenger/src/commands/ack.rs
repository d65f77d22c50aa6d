//! `rendezvous mailbox ack`: acknowledges what `collect` has shown, after the caller's own commit.

use std::collections::BTreeSet;

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::bytes::{Bytes, ContentId};
use serde_json::json;

use super::collect::acknowledge;
use crate::ending::{Ending, Report};
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous mailbox ack --all
      all that `rendezvous mailbox collect` has shown: relays let it go, and
      whoever sent it gets your signature for it
  rendezvous mailbox ack 'vTUuJbT2T1n0IQ2N3o5FTuL5mKaw2dIJSvcCr3B4nXk='
      one message, by the content id that collect shows

Exit codes:
  3  a relay could not be told: it is when it hands the message over again

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file";

/// Arguments of `ack`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct AckArguments {
    /// Content ids of messages that were shown.
    #[arg(value_name = "ID", value_parser = parse_content_id, required_unless_present = "all")]
    ids: Vec<ContentId>,
    /// All that were shown and could be read.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_content_id(text: &str) -> Result<ContentId, String> {
    base64::decode_array(text).map(Bytes).ok_or_else(|| "must be a content id, as collect shows it".to_owned())
}

/// Nothing of that name was shown.
#[derive(Debug, thiserror::Error)]
#[error("{id} was not shown by `rendezvous mailbox collect`, or is acknowledged already")]
struct NotShown {
    id: ContentId,
}

impl Cause for NotShown {}

pub(crate) fn ack(arguments: &AckArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let owner = session.owner_key()?;
    let mut mailbox = session.mailbox()?;
    let now = session.now()?;
    let ids: Vec<ContentId> = if arguments.all {
        mailbox.shown().iter().filter(|shown| shown.is_readable()).map(|shown| shown.content_id).collect()
    } else {
        arguments.ids.clone()
    };
    let (mut slots, mut is_changed) = (BTreeSet::new(), false);
    for id in &ids {
        let (slot, changes_policy) = mailbox.accept_shown(*id, now)?.ok_or(NotShown { id: *id })?;
        slots.insert(slot);
        is_changed |= changes_policy;
    }
    if is_changed {
        mailbox.revise(now);
    }
    session.store.set_mailbox(&mailbox)?;
    let all_have_records = session.publish_and_say(&mut mailbox, &owner)?;
    let problems = acknowledge(session, &mut mailbox, &owner, &slots)?;
    let value = json!({ "ok": true, "acknowledged": ids, "complete": problems.is_empty() });
    let ending = if problems.is_empty() && all_have_records { Ending::Done } else { Ending::Waiting };
    Ok(Report::new(arguments.json, &value, format!("acknowledged: {}\n", ids.len()), ending))
}
