//! The way of a record of the directory from text to something that may be acted on: [`Signed`] has the right shape,
//! [`VerifiedRecord`] is good.

use super::limits::{BODY_MAX_BYTES, ENTRY_MAX_BYTES};
use super::record::{DomainOf, Entry, RecordError, Tombstone, check_times, malformed};
pub use crate::envelope::Signed;
use crate::fields::Fields;
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// Holds what an origin says of one name: a record of the right shape, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What it says of the community.
    Entry(Box<Signed<Entry>>),
    /// That it says nothing any more.
    Tombstone(Signed<Tombstone>),
}

impl Record {
    /// Parses `{"entry":{…}}` or `{"tombstone":{…}}`.
    ///
    /// # Errors
    /// [`RecordError`], as far as it shows without a clock and without checking signatures.
    pub fn parse(json: &str) -> Result<Self, RecordError> {
        let mut fields = Fields::parse(json)?;
        let (entry, tombstone) = (fields.optional_json("entry")?, fields.optional_json("tombstone")?);
        fields.end()?;
        match (entry, tombstone) {
            (Some(entry), None) => Self::parse_entry(entry),
            (None, Some(tombstone)) => Ok(Self::Tombstone(Signed::parse(tombstone)?)),
            _ => Err(malformed("a record is {\"entry\":{…}} or {\"tombstone\":{…}}")),
        }
    }

    /// Parses an entry alone.
    ///
    /// # Errors
    /// As [`Record::parse`].
    pub fn parse_entry(json: &str) -> Result<Self, RecordError> {
        let entry = Signed::<Entry>::parse(json)?;
        let found = entry.to_json().len();
        if found > ENTRY_MAX_BYTES {
            return Err(RecordError::EntryTooLarge { found });
        }
        Ok(Self::Entry(Box::new(entry)))
    }

    /// Parses the body of a request.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Record::parse`].
    pub fn parse_body(body: &[u8]) -> Result<Self, RecordError> {
        if body.len() > BODY_MAX_BYTES {
            return Err(RecordError::BodyTooLarge);
        }
        Self::parse(str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?)
    }

    /// Returns the name that it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Entry(entry) => &entry.payload().name,
            Self::Tombstone(tombstone) => &tombstone.payload().name,
        }
    }

    /// Returns the origin's key.
    pub fn origin(&self) -> PublicKey {
        match self {
            Self::Entry(entry) => entry.public_key(),
            Self::Tombstone(tombstone) => tombstone.public_key(),
        }
    }

    /// Returns when the origin wrote it.
    pub fn updated(&self) -> UnixMillis {
        match self {
            Self::Entry(entry) => entry.payload().updated,
            Self::Tombstone(tombstone) => tombstone.payload().updated,
        }
    }

    /// Returns when it says nothing of a community any more: for a tombstone, never.
    fn expires_at(&self) -> Option<UnixMillis> {
        match self {
            Self::Entry(entry) => Some(entry.payload().expires_at),
            Self::Tombstone(_) => None,
        }
    }

    /// Writes `{"entry":{…}}` or `{"tombstone":{…}}` in the normal form.
    pub fn to_json(&self) -> String {
        match self {
            Self::Entry(entry) => format!(r#"{{"entry":{}}}"#, entry.to_json()),
            Self::Tombstone(tombstone) => format!(r#"{{"tombstone":{}}}"#, tombstone.to_json()),
        }
    }

    /// Checks everything that a hub asks of a record before it may remember it. An entry that has ended is good: what it took
    /// the place of must not come back.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn verify(self, now: UnixMillis, domain_of: DomainOf) -> Result<VerifiedRecord, RecordError> {
        check_times(self.updated(), self.expires_at(), now)?;
        if let Self::Entry(entry) = &self {
            entry.payload().check_domains(domain_of)?;
        }
        self.verify_signatures()
    }

    /// Checks everything that a reader asks of a record that it is given as one that counts now.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn verify_for_reader(self, now: UnixMillis) -> Result<VerifiedRecord, RecordError> {
        self.check_for_reader(now)?;
        self.verify_signatures()
    }

    /// Checks of such a record what depends on the reader, but no signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check_for_reader(&self, now: UnixMillis) -> Result<(), RecordError> {
        check_times(self.updated(), self.expires_at(), now)?;
        match self.expires_at() {
            Some(ended_at) if ended_at <= now => Err(RecordError::Expired { ended_at, now }),
            _ => Ok(()),
        }
    }

    fn verify_signatures(self) -> Result<VerifiedRecord, RecordError> {
        match &self {
            Self::Entry(entry) => {
                entry.verify_signature()?;
                entry.payload().verify_endorsement(&entry.public_key())?;
            }
            Self::Tombstone(tombstone) => tombstone.verify_signature()?,
        }
        Ok(VerifiedRecord { json: self.to_json(), record: self })
    }
}

/// Holds a record that was good when it was checked, with its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord {
    record: Record,
    json: String,
}

impl VerifiedRecord {
    /// Takes back a record that this program verified earlier, in the form that it wrote itself, from its own storage. Never
    /// for input from anywhere else: signatures are not checked.
    ///
    /// # Errors
    /// Those of [`Record::parse`].
    pub fn trusted(json: &str) -> Result<Self, RecordError> {
        Ok(Self { record: Record::parse(json)?, json: json.to_owned() })
    }

    /// Returns the record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the entry, if it is one that has not ended.
    pub fn current(&self, now: UnixMillis) -> Option<&Signed<Entry>> {
        match &self.record {
            Record::Entry(entry) if entry.payload().expires_at > now => Some(entry),
            Record::Entry(_) | Record::Tombstone(_) => None,
        }
    }

    /// Returns `{"entry":{…}}` or `{"tombstone":{…}}` in the normal form.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Returns whether this record takes the place of another one of its origin, and, of all of an origin's records, which go
    /// first. Total: of two that differ one wins, at every hub the same one, whatever the origin signed.
    pub fn rank(&self) -> (UnixMillis, bool, &str) {
        (self.record.updated(), matches!(self.record, Record::Tombstone(_)), &self.json)
    }
}
