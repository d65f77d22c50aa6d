//! What one mailbox keeps in storage. Rows are JSON with these fields; each has a name of its own, and each message a
//! number. No address is among them: where a stranger's message came from is a salted hash.

use std::borrow::Cow;

use serde::Serialize;

use super::bytes::{Bytes, ContentId};
use super::record::{RecordError, read_all, read_objects, read_u32};
use super::window::Window;
use crate::fields::{FieldError, Fields, bytes_of};
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// The names of rows.
pub(super) const OPEN: &str = "open";
pub(super) const CLOSED: &str = "closed";
pub(super) const LEASES: &str = "leases";
pub(super) const PREKEYS: &str = "prekeys";
pub(super) const SLOT: &str = "slot ";

/// Says that a mailbox is open: its records, and what is remembered about the owner's deeds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenRow<'a> {
    /// Revisions of a mailbox that was here before end with this one.
    pub(super) above: u64,
    pub(super) card: Cow<'a, str>,
    pub(super) collect_days: u64,
    pub(super) collected_on: u64,
    pub(super) policy: Cow<'a, str>,
    pub(super) secret: Bytes<16>,
    /// The beginnings of the keys.
    pub(super) struck_off: Cow<'a, [Bytes<8>]>,
}

impl<'a> OpenRow<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, RecordError> {
        let struck_off = fields.texts("struckOff")?;
        let struck_off = struck_off.iter().map(|key| bytes_of(key, "struckOff")).collect::<Result<_, _>>()?;
        Ok(Self {
            above: fields.number("above")?,
            card: fields.text("card")?,
            collect_days: fields.number("collectDays")?,
            collected_on: fields.number("collectedOn")?,
            policy: fields.text("policy")?,
            secret: fields.bytes("secret")?,
            struck_off: Cow::Owned(struck_off),
        })
    }
}

/// Says that a mailbox is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClosedRow {
    pub(super) closed_at: UnixMillis,
    /// Nobody closed it: nobody collected.
    pub(super) lapsed: bool,
    /// The highest of its revisions.
    pub(super) revision: u64,
}

impl ClosedRow {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let lapsed = fields.optional_flag("lapsed")?.ok_or(FieldError::Missing("lapsed"))?;
        Ok(Self { closed_at: fields.time("closedAt")?, lapsed, revision: fields.number("revision")? })
    }
}

/// Holds what is remembered of a listed slot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack: Option<Cow<'a, str>>,
    pub(super) day: u64,
    pub(super) deposits: u64,
    pub(super) refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused_since: Option<UnixMillis>,
    pub(super) window: Cow<'a, Window>,
}

impl<'a> SlotRow<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, RecordError> {
        Ok(Self {
            ack: fields.optional_text("ack")?,
            day: fields.number("day")?,
            deposits: fields.number("deposits")?,
            refused: fields.number("refused")?,
            refused_since: fields.optional_time("refusedSince")?,
            window: Cow::Owned(read_all(fields.object("window")?, Window::read)?),
        })
    }
}

/// Holds what is known of a message that waits, but the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) content_id: ContentId,
    pub(super) ends_at: UnixMillis,
    /// Where a stranger's came from. One of a contact has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<Bytes<24>>,
    pub(super) received_at: UnixMillis,
    pub(super) sequence: u64,
    pub(super) size: u32,
    pub(super) slot: PublicKey,
}

impl Message {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let path = fields.optional_text("path")?.map(|path| bytes_of(&path, "path")).transpose()?;
        Ok(Self {
            content_id: fields.bytes("contentId")?,
            ends_at: fields.time("endsAt")?,
            path,
            received_at: fields.time("receivedAt")?,
            sequence: fields.number("sequence")?,
            size: read_u32(fields, "size")?,
            slot: fields.key("slot")?,
        })
    }
}

/// Holds what a collector was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lease {
    pub(super) collector: Bytes<16>,
    pub(super) numbers: Vec<u64>,
    pub(super) until: UnixMillis,
}

impl Lease {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            collector: fields.bytes("collector")?,
            numbers: fields.wholes("numbers")?,
            until: fields.time("until")?,
        })
    }
}

/// Holds what collectors were given.
#[derive(Debug, Serialize)]
pub(super) struct LeasesRow<'a> {
    pub(super) leases: Cow<'a, [Lease]>,
}

impl LeasesRow<'_> {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { leases: Cow::Owned(read_objects(fields, "leases", Lease::read)?) })
    }
}

/// Writes a row.
pub(super) fn text<T: Serialize>(row: &T) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(row).unwrap_or_default()
}

/// Reads a row.
pub(super) fn read<'a, T>(
    text: &'a str,
    read: fn(&mut Fields<'a>) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    read_all(Fields::parse(text)?, read)
}
