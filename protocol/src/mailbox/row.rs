//! What one mailbox keeps in storage. Rows are JSON with these fields; each has a name of its own, and each message a
//! number. No address is among them: where a stranger's message came from is a salted hash.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::bytes::{Bytes, ContentId};
use super::window::Window;
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// The names of rows.
pub(super) const OPEN: &str = "open";
pub(super) const CLOSED: &str = "closed";
pub(super) const LEASES: &str = "leases";
pub(super) const PREKEYS: &str = "prekeys";
pub(super) const SLOT: &str = "slot ";

/// Says that a mailbox is open: its records, and what is remembered about the owner's deeds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OpenRow<'a> {
    /// Revisions of a mailbox that was here before end with this one.
    pub(super) above: u64,
    #[serde(borrow)]
    pub(super) card: Cow<'a, str>,
    pub(super) collect_days: u64,
    pub(super) collected_on: u64,
    #[serde(borrow)]
    pub(super) policy: Cow<'a, str>,
    pub(super) secret: Bytes<16>,
    /// The beginnings of the keys.
    pub(super) struck_off: Cow<'a, [Bytes<8>]>,
}

/// Says that a mailbox is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClosedRow {
    pub(super) closed_at: UnixMillis,
    /// Nobody closed it: nobody collected.
    pub(super) lapsed: bool,
    /// The highest of its revisions.
    pub(super) revision: u64,
}

/// Holds what is remembered of a listed slot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SlotRow<'a> {
    #[serde(borrow)]
    pub(super) ack: Option<Cow<'a, str>>,
    pub(super) day: u64,
    pub(super) deposits: u64,
    pub(super) refused: u64,
    pub(super) refused_since: Option<UnixMillis>,
    pub(super) window: Cow<'a, Window>,
}

/// Holds what is known of a message that waits, but the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Message {
    pub(super) content_id: ContentId,
    pub(super) ends_at: UnixMillis,
    /// Where a stranger's came from. One of a contact has none.
    pub(super) path: Option<Bytes<24>>,
    pub(super) received_at: UnixMillis,
    pub(super) sequence: u64,
    pub(super) size: u32,
    pub(super) slot: PublicKey,
}

/// Holds what a collector was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    pub(super) collector: Bytes<16>,
    pub(super) numbers: Vec<u64>,
    pub(super) until: UnixMillis,
}

/// Writes a row.
pub(super) fn text<T: Serialize>(row: &T) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(row).unwrap_or_default()
}
