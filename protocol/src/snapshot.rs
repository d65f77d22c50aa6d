//! The layout in which rosters are stored.
//!
//! JSON, version 2, times in milliseconds, bytes in base64, absent what is not there. Tickets are in their normal form,
//! so that what is read back is what was verified:
//!
//! ```json
//! {"version":2,"takenAt":0,"secret":"<16 bytes>",
//!  "records":[{"acceptedAt":0,"since":0,"returned":true,"path":"<24 bytes>","broughtAt":0,"ticket":{}}],
//!  "departed":[{"peerId":"","publicKey":"<32 bytes>","issuedAt":0,"path":"<24 bytes>","broughtAt":0,"forgetAt":0,
//!               "last":{"acceptedAt":0,"since":0,"mayReturn":true}}]}
//! ```
//!
//! Version 1 is read too: in it a record has one hash of a network and no tenure, and counts as present since its last
//! announce, in a provider, site and household of its own.
//!
//! Out of scope: checking signatures. A snapshot is read only from where this program alone writes.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base64;
use crate::fields::{FieldError, Fields};
use crate::key::PublicKey;
use crate::network::NetworkPath;
use crate::roster::{Counts, Departed, Departure, Record, Roster, RosterLimits};
use crate::secret::Secret;
use crate::ticket::{PeerId, Purpose, VerifiedTicket};
use crate::time::UnixMillis;

const VERSION: u64 = 2;

/// Says why stored bytes are not a roster.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the JSON of a snapshot.
    #[error("not a snapshot: {0}")]
    Json(#[from] FieldError),
    /// A layout that this version does not know.
    #[error("version {0} of snapshots is not known")]
    Version(u64),
    /// A field whose bytes or name are not of its kind.
    #[error("{0} is not what it should be")]
    Field(&'static str),
}

/// Holds a roster as it was at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken. Of two, the later one is right.
    pub taken_at: UnixMillis,
    /// The roster.
    pub roster: Roster,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotFields<'a> {
    version: u64,
    taken_at: UnixMillis,
    secret: String,
    records: Vec<RecordFields<'a>>,
    departed: Vec<DepartedFields>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordFields<'a> {
    accepted_at: UnixMillis,
    since: UnixMillis,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    returned: bool,
    path: String,
    brought_at: UnixMillis,
    ticket: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DepartedFields {
    peer_id: String,
    public_key: String,
    issued_at: UnixMillis,
    path: String,
    brought_at: UnixMillis,
    forget_at: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<DepartureFields>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DepartureFields {
    accepted_at: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<UnixMillis>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    may_return: bool,
}

impl Snapshot {
    /// Writes a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Json`] if a ticket is not in its normal form, which none in a roster is.
    pub fn encode(taken_at: UnixMillis, roster: &Roster) -> Result<String, SnapshotError> {
        let departed = roster.departed().map(DepartedFields::new).collect();
        Self::write(taken_at, roster, roster.records().collect(), departed)
    }

    /// Writes a snapshot of these records and departures of a roster alone.
    ///
    /// # Errors
    /// As [`Snapshot::encode`].
    pub(crate) fn encode_part(
        taken_at: UnixMillis,
        roster: &Roster,
        records: Vec<&Record>,
        departed: &[&Departed],
    ) -> Result<String, SnapshotError> {
        Self::write(taken_at, roster, records, departed.iter().copied().map(DepartedFields::new).collect())
    }

    fn write(
        taken_at: UnixMillis,
        roster: &Roster,
        records: Vec<&Record>,
        departed: Vec<DepartedFields>,
    ) -> Result<String, SnapshotError> {
        let fields = SnapshotFields {
            version: VERSION,
            taken_at,
            secret: base64::encode(roster.secret().as_bytes()),
            records: records.into_iter().map(RecordFields::new).collect::<Result<_, _>>()?,
            departed,
        };
        Ok(serde_json::to_string(&fields).map_err(FieldError::Json)?)
    }

    /// Reads a snapshot, less what has ended by `now`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(text: &str, limits: RosterLimits, now: UnixMillis) -> Result<Self, SnapshotError> {
        let Parts { taken_at, secret, records, departed } = Parts::decode(text)?;
        Ok(Self { taken_at, roster: Roster::restore(limits, secret, now, records, departed) })
    }
}

/// Holds what a snapshot is made of, what has ended too.
pub(crate) struct Parts {
    taken_at: UnixMillis,
    pub(crate) secret: Secret,
    pub(crate) records: Vec<Record>,
    pub(crate) departed: Vec<Departed>,
}

impl Parts {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub(crate) fn decode(text: &str) -> Result<Self, SnapshotError> {
        let mut fields = Fields::parse(text)?;
        let layout = match fields.number("version")? {
            VERSION => Layout::Current,
            1 => Layout::First,
            other => return Err(SnapshotError::Version(other)),
        };
        let taken_at = fields.time("takenAt")?;
        let name = if layout == Layout::First { "salt" } else { "secret" };
        let secret = base64::decode_array(&fields.text(name)?).ok_or(SnapshotError::Field(name))?;
        let records = read_items(&mut fields, "records", |fields| read_record(fields, layout))?;
        let departed = read_items(&mut fields, "departed", |fields| read_departed(fields, layout))?;
        Ok(Self { taken_at, secret: Secret::from_bytes(secret), records, departed })
    }
}

/// Says which version a snapshot has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    First,
    Current,
}

impl<'a> RecordFields<'a> {
    fn new(record: &'a Record) -> Result<Self, SnapshotError> {
        let Record { ticket, accepted_at, since, returned, counts } = record;
        Ok(Self {
            accepted_at: *accepted_at,
            since: *since,
            returned: *returned,
            path: base64::encode(&counts.path.to_bytes()),
            brought_at: counts.brought_at,
            ticket: write_ticket(ticket)?,
        })
    }
}

impl DepartedFields {
    fn new(departed: &Departed) -> Self {
        Self {
            peer_id: departed.peer_id.as_str().to_owned(),
            public_key: departed.public_key.to_string(),
            issued_at: departed.issued_at,
            path: base64::encode(&departed.counts.path.to_bytes()),
            brought_at: departed.counts.brought_at,
            forget_at: departed.forget_at,
            last: departed.last.map(|Departure { accepted_at, since, may_return }| DepartureFields {
                accepted_at,
                since,
                may_return,
            }),
        }
    }
}

fn read_items<T>(
    fields: &mut Fields<'_>,
    field: &'static str,
    read: impl Fn(Fields<'_>) -> Result<T, SnapshotError>,
) -> Result<Vec<T>, SnapshotError> {
    fields.items(field)?.into_iter().map(|item| read(Fields::parse(item.get())?)).collect()
}

fn read_record(mut fields: Fields<'_>, layout: Layout) -> Result<Record, SnapshotError> {
    let ticket = read_ticket(fields.json("ticket")?)?;
    let accepted_at = fields.time("acceptedAt")?;
    if layout == Layout::First {
        let network = base64::decode_array(&fields.text("network")?).ok_or(SnapshotError::Field("network"))?;
        let counts = Counts { path: first_version_path(network), brought_at: accepted_at };
        return Ok(Record { ticket, accepted_at, since: accepted_at, returned: false, counts });
    }
    let (since, returned) = (fields.time("since")?, fields.optional_flag("returned")?.unwrap_or_default());
    Ok(Record { ticket, accepted_at, since, returned, counts: read_counts(&mut fields)? })
}

fn read_departed(mut fields: Fields<'_>, layout: Layout) -> Result<Departed, SnapshotError> {
    let peer_id = PeerId::new(&fields.text("peerId")?).ok_or(SnapshotError::Field("peerId"))?;
    let public_key = PublicKey::from_text(&fields.text("publicKey")?).map_err(|_| SnapshotError::Field("publicKey"))?;
    let (issued_at, forget_at) = (fields.time("issuedAt")?, fields.time("forgetAt")?);
    let (last, counts) = if layout == Layout::First {
        let accepted_at = fields.time("acceptedAt")?;
        // Where it counted was not kept: all such departures count together.
        let counts = Counts { path: first_version_path([0; 8]), brought_at: accepted_at };
        (Some(Departure { accepted_at, since: None, may_return: true }), counts)
    } else {
        (fields.optional_object("last")?.map(read_departure).transpose()?, read_counts(&mut fields)?)
    };
    Ok(Departed { peer_id, public_key, issued_at, last, counts, forget_at })
}

fn read_departure(mut fields: Fields<'_>) -> Result<Departure, FieldError> {
    let (accepted_at, since) = (fields.time("acceptedAt")?, fields.optional_time("since")?);
    Ok(Departure { accepted_at, since, may_return: fields.optional_flag("mayReturn")?.unwrap_or_default() })
}

fn first_version_path(network: [u8; 8]) -> NetworkPath {
    let mut bytes = [0; 24];
    bytes.as_chunks_mut::<8>().0.fill(network);
    NetworkPath::from_bytes(bytes)
}

fn read_counts(fields: &mut Fields<'_>) -> Result<Counts, SnapshotError> {
    Ok(Counts { path: read_path(&fields.text("path")?)?, brought_at: fields.time("broughtAt")? })
}

pub(crate) fn read_path(path: &str) -> Result<NetworkPath, SnapshotError> {
    base64::decode_array(path).map(NetworkPath::from_bytes).ok_or(SnapshotError::Field("path"))
}

pub(crate) fn read_ticket(json: &str) -> Result<VerifiedTicket, SnapshotError> {
    VerifiedTicket::trusted(json, Purpose::Presence).map_err(|_| SnapshotError::Field("ticket"))
}

/// Returns a ticket in its normal form, to be written as it stands.
pub(crate) fn write_ticket(ticket: &VerifiedTicket) -> Result<&RawValue, FieldError> {
    Ok(serde_json::from_str(ticket.as_json())?)
}
