//! The layout in which rosters are stored, and handed from a community's object to the Worker.
//!
//! JSON, version 1, times in milliseconds, bytes in base64. Tickets are in their normal form, so that what is read
//! back is what was verified:
//!
//! ```json
//! {"version":1,"takenAt":0,"salt":"<16 bytes>",
//!  "records":[{"acceptedAt":0,"network":"<8 bytes>","ticket":{}}],
//!  "departed":[{"peerId":"","publicKey":"<32 bytes>","issuedAt":0,"acceptedAt":0,"forgetAt":0}]}
//! ```
//!
//! Out of scope: checking signatures. A snapshot is read only from where this program alone writes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base64;
use crate::key::PublicKey;
use crate::network::{NetworkHash, NetworkSalt};
use crate::roster::{Departed, Record, Roster, RosterLimits};
use crate::ticket::{PeerId, Purpose, VerifiedTicket};
use crate::time::UnixMillis;

const VERSION: u64 = 1;

/// Why stored bytes are not a roster.
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

/// A roster as it was at one moment, with the salt of its network hashes.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was taken. Of two, the later one is right.
    pub taken_at: UnixMillis,
    /// The salt.
    pub salt: NetworkSalt,
    /// The roster.
    pub roster: Roster,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotFields<'a> {
    version: u64,
    taken_at: UnixMillis,
    salt: String,
    #[serde(borrow)]
    records: Vec<RecordFields<'a>>,
    departed: Vec<DepartedFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordFields<'a> {
    accepted_at: UnixMillis,
    network: String,
    #[serde(borrow)]
    ticket: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DepartedFields {
    peer_id: String,
    public_key: String,
    issued_at: UnixMillis,
    accepted_at: UnixMillis,
    forget_at: UnixMillis,
}

/// What the Worker keeps of a roster for a few seconds to answer readers with.
#[derive(Debug)]
pub struct Listing {
    /// Peers that were present and are not in the excerpt.
    beyond: usize,
    /// Different after every change of the roster and every start of its object.
    pub tag: String,
    /// A roster of [`Roster::excerpt`].
    pub roster: Roster,
    /// The tickets of the answer that most readers get, and of which revision and how many they are at most.
    joined: Option<((u64, usize), String)>,
}

#[derive(Serialize, Deserialize)]
struct ListingFields<'a> {
    total: usize,
    tag: String,
    #[serde(borrow)]
    records: Vec<RecordFields<'a>>,
}

impl Snapshot {
    /// Writes a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Json`] if a ticket is not in its normal form, which none in a roster is.
    pub fn encode(taken_at: UnixMillis, salt: &NetworkSalt, roster: &Roster) -> Result<String, SnapshotError> {
        let fields = SnapshotFields {
            version: VERSION,
            taken_at,
            salt: base64::encode(salt.as_bytes()),
            records: roster.records().map(RecordFields::new).collect::<Result<_, _>>()?,
            departed: roster.departed().map(DepartedFields::new).collect(),
        };
        Ok(serde_json::to_string(&fields)?)
    }

    /// Reads a snapshot, less what has ended by `now`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(text: &str, limits: RosterLimits, now: UnixMillis) -> Result<Self, SnapshotError> {
        let fields: SnapshotFields<'_> = serde_json::from_str(text)?;
        if fields.version != VERSION {
            return Err(SnapshotError::Version(fields.version));
        }
        let salt = base64::decode_array(&fields.salt).ok_or(SnapshotError::Field("salt"))?;
        let records = read_records(&fields.records)?;
        let departed = fields.departed.iter().map(DepartedFields::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            taken_at: fields.taken_at,
            salt: NetworkSalt::from_bytes(salt),
            roster: Roster::restore(limits, now, records, departed),
        })
    }
}

impl Listing {
    /// The tickets of [`Roster::fresh`], in their normal form, with a comma between each two. They are put together once
    /// for all readers who exclude nobody that is listed, until something expires.
    pub fn tickets(&mut self, now: UnixMillis, limit: usize, exclude: Option<&str>) -> Cow<'_, str> {
        self.roster.expire(now);
        if exclude.is_some_and(|peer_id| self.roster.holds(peer_id)) {
            return Cow::Owned(join(&self.roster.fresh(now, limit, exclude)));
        }
        let wanted = (self.roster.revision(), limit);
        let joined = match self.joined.take() {
            Some((of, joined)) if of == wanted => joined,
            _ => join(&self.roster.fresh(now, limit, None)),
        };
        let (_, joined) = self.joined.insert((wanted, joined));
        Cow::Borrowed(joined)
    }

    /// How many peers are present: those in the excerpt now, and those beyond it when it was made.
    pub fn total(&self) -> usize {
        self.beyond + self.roster.len()
    }

    /// Writes a listing that can give any answer of up to `limit` peers. `started_at` is when the object started.
    ///
    /// # Errors
    /// As for [`Snapshot::encode`].
    pub fn encode(
        roster: &mut Roster,
        now: UnixMillis,
        limit: usize,
        started_at: UnixMillis,
    ) -> Result<String, SnapshotError> {
        roster.expire(now);
        let fields = ListingFields {
            total: roster.len(),
            tag: format!("{started_at}-{}", roster.revision()),
            records: roster.excerpt(now, limit).into_iter().map(RecordFields::new).collect::<Result<_, _>>()?,
        };
        Ok(serde_json::to_string(&fields)?)
    }

    /// Reads a listing, less what has ended by `now`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(text: &str, limits: RosterLimits, now: UnixMillis) -> Result<Self, SnapshotError> {
        let fields: ListingFields<'_> = serde_json::from_str(text)?;
        let records = read_records(&fields.records)?;
        Ok(Self {
            beyond: fields.total.saturating_sub(records.len()),
            tag: fields.tag,
            roster: Roster::restore(limits, now, records, []),
            joined: None,
        })
    }
}

fn join(records: &[&Record]) -> String {
    records.iter().map(|record| record.ticket.as_json()).collect::<Vec<_>>().join(",")
}

fn read_records(fields: &[RecordFields<'_>]) -> Result<Vec<Record>, SnapshotError> {
    fields.iter().map(RecordFields::read).collect()
}

impl<'a> RecordFields<'a> {
    fn new(record: &'a Record) -> Result<Self, SnapshotError> {
        Ok(Self {
            accepted_at: record.accepted_at,
            network: base64::encode(&record.network.to_bytes()),
            ticket: serde_json::from_str(record.ticket.as_json())?,
        })
    }

    fn read(&self) -> Result<Record, SnapshotError> {
        let network = base64::decode_array(&self.network).ok_or(SnapshotError::Field("network"))?;
        Ok(Record {
            ticket: VerifiedTicket::trusted(self.ticket.get(), Purpose::Presence)
                .map_err(|_| SnapshotError::Field("ticket"))?,
            accepted_at: self.accepted_at,
            network: NetworkHash::from_bytes(network),
        })
    }
}

impl DepartedFields {
    fn new(departed: &Departed) -> Self {
        Self {
            peer_id: departed.peer_id.as_str().to_owned(),
            public_key: departed.public_key.to_string(),
            issued_at: departed.issued_at,
            accepted_at: departed.accepted_at,
            forget_at: departed.forget_at,
        }
    }

    fn read(&self) -> Result<Departed, SnapshotError> {
        Ok(Departed {
            peer_id: PeerId::new(&self.peer_id).ok_or(SnapshotError::Field("peerId"))?,
            public_key: PublicKey::from_text(&self.public_key).map_err(|_| SnapshotError::Field("publicKey"))?,
            issued_at: self.issued_at,
            accepted_at: self.accepted_at,
            forget_at: self.forget_at,
        })
    }
}
