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

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base64;
use crate::key::PublicKey;
use crate::network::NetworkPath;
use crate::object::present;
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
    Json(#[from] serde_json::Error),
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

#[derive(Deserialize)]
struct VersionField {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotFields<'a> {
    version: u64,
    taken_at: UnixMillis,
    secret: String,
    #[serde(borrow)]
    records: Vec<RecordFields<'a>>,
    departed: Vec<DepartedFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordFields<'a> {
    accepted_at: UnixMillis,
    since: UnixMillis,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    returned: bool,
    path: String,
    brought_at: UnixMillis,
    #[serde(borrow)]
    ticket: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DepartedFields {
    peer_id: String,
    public_key: String,
    issued_at: UnixMillis,
    path: String,
    brought_at: UnixMillis,
    forget_at: UnixMillis,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    last: Option<DepartureFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DepartureFields {
    accepted_at: UnixMillis,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    since: Option<UnixMillis>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    may_return: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstVersionFields<'a> {
    taken_at: UnixMillis,
    salt: String,
    #[serde(borrow)]
    records: Vec<FirstVersionRecordFields<'a>>,
    departed: Vec<FirstVersionDepartedFields>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstVersionRecordFields<'a> {
    accepted_at: UnixMillis,
    network: String,
    #[serde(borrow)]
    ticket: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirstVersionDepartedFields {
    peer_id: String,
    public_key: String,
    issued_at: UnixMillis,
    accepted_at: UnixMillis,
    forget_at: UnixMillis,
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

    /// Writes a snapshot of these records of a roster alone.
    ///
    /// # Errors
    /// As [`Snapshot::encode`].
    pub(crate) fn encode_records(
        taken_at: UnixMillis,
        roster: &Roster,
        records: Vec<&Record>,
    ) -> Result<String, SnapshotError> {
        Self::write(taken_at, roster, records, Vec::new())
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
        Ok(serde_json::to_string(&fields)?)
    }

    /// Reads the secret and the records, those that have ended too.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub(crate) fn decode_records(text: &str) -> Result<(Secret, Vec<Record>), SnapshotError> {
        let (_, secret, records, _) = serde_json::from_str::<SnapshotFields<'_>>(text)?.read()?;
        Ok((secret, records))
    }

    /// Reads a snapshot, less what has ended by `now`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(text: &str, limits: RosterLimits, now: UnixMillis) -> Result<Self, SnapshotError> {
        let (taken_at, secret, records, departed) = match serde_json::from_str::<VersionField>(text)?.version {
            VERSION => serde_json::from_str::<SnapshotFields<'_>>(text)?.read()?,
            1 => serde_json::from_str::<FirstVersionFields<'_>>(text)?.read()?,
            other => return Err(SnapshotError::Version(other)),
        };
        Ok(Self { taken_at, roster: Roster::restore(limits, secret, now, records, departed) })
    }
}

type Parts = (UnixMillis, Secret, Vec<Record>, Vec<Departed>);

impl SnapshotFields<'_> {
    fn read(&self) -> Result<Parts, SnapshotError> {
        let records = self.records.iter().map(RecordFields::read).collect::<Result<_, _>>()?;
        let departed = self.departed.iter().map(DepartedFields::read).collect::<Result<_, _>>()?;
        Ok((self.taken_at, read_secret(&self.secret, "secret")?, records, departed))
    }
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
            ticket: serde_json::from_str(ticket.as_json())?,
        })
    }

    fn read(&self) -> Result<Record, SnapshotError> {
        Ok(Record {
            ticket: read_ticket(self.ticket)?,
            accepted_at: self.accepted_at,
            since: self.since,
            returned: self.returned,
            counts: read_counts(&self.path, self.brought_at)?,
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

    fn read(&self) -> Result<Departed, SnapshotError> {
        let last = self.last.as_ref();
        Ok(Departed {
            peer_id: read_peer_id(&self.peer_id)?,
            public_key: read_public_key(&self.public_key)?,
            issued_at: self.issued_at,
            last: last.map(|last| Departure {
                accepted_at: last.accepted_at,
                since: last.since,
                may_return: last.may_return,
            }),
            counts: read_counts(&self.path, self.brought_at)?,
            forget_at: self.forget_at,
        })
    }
}

impl FirstVersionFields<'_> {
    fn read(&self) -> Result<Parts, SnapshotError> {
        let records = self.records.iter().map(FirstVersionRecordFields::read).collect::<Result<_, _>>()?;
        let departed = self.departed.iter().map(FirstVersionDepartedFields::read).collect::<Result<_, _>>()?;
        Ok((self.taken_at, read_secret(&self.salt, "salt")?, records, departed))
    }
}

impl FirstVersionRecordFields<'_> {
    fn read(&self) -> Result<Record, SnapshotError> {
        let network: [u8; 8] = base64::decode_array(&self.network).ok_or(SnapshotError::Field("network"))?;
        Ok(Record {
            ticket: read_ticket(self.ticket)?,
            accepted_at: self.accepted_at,
            since: self.accepted_at,
            returned: false,
            counts: Counts { path: first_version_path(network), brought_at: self.accepted_at },
        })
    }
}

impl FirstVersionDepartedFields {
    fn read(&self) -> Result<Departed, SnapshotError> {
        let Self { issued_at, accepted_at, forget_at, .. } = *self;
        Ok(Departed {
            peer_id: read_peer_id(&self.peer_id)?,
            public_key: read_public_key(&self.public_key)?,
            issued_at,
            last: Some(Departure { accepted_at, since: None, may_return: true }),
            // Where it counted was not kept: all such departures count together.
            counts: Counts { path: first_version_path([0; 8]), brought_at: accepted_at },
            forget_at,
        })
    }
}

fn first_version_path(network: [u8; 8]) -> NetworkPath {
    let mut bytes = [0; 24];
    bytes.as_chunks_mut::<8>().0.fill(network);
    NetworkPath::from_bytes(bytes)
}

fn read_secret(text: &str, field: &'static str) -> Result<Secret, SnapshotError> {
    base64::decode_array(text).map(Secret::from_bytes).ok_or(SnapshotError::Field(field))
}

fn read_counts(path: &str, brought_at: UnixMillis) -> Result<Counts, SnapshotError> {
    Ok(Counts { path: read_path(path)?, brought_at })
}

pub(crate) fn read_path(path: &str) -> Result<NetworkPath, SnapshotError> {
    base64::decode_array(path).map(NetworkPath::from_bytes).ok_or(SnapshotError::Field("path"))
}

pub(crate) fn read_ticket(json: &RawValue) -> Result<VerifiedTicket, SnapshotError> {
    VerifiedTicket::trusted(json.get(), Purpose::Presence).map_err(|_| SnapshotError::Field("ticket"))
}

fn read_peer_id(text: &str) -> Result<PeerId, SnapshotError> {
    PeerId::new(text).ok_or(SnapshotError::Field("peerId"))
}

fn read_public_key(text: &str) -> Result<PublicKey, SnapshotError> {
    PublicKey::from_text(text).map_err(|_| SnapshotError::Field("publicKey"))
}
