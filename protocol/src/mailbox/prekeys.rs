//! The prekeys that one mailbox serves.
//!
//! A one-time key is served once: it is taken out before it is answered, and remembered, so that its owner's next upload
//! does not bring it back. Whoever may not have one, by any limit, gets the fallback: a claim is never an error while there
//! is a fallback.

use std::collections::VecDeque;

use serde::Serialize;

use super::bytes::Bytes;
use super::envelope::Verified;
use super::limits::{
    CLAIM_WINDOW, CLAIMS_MAX, CLAIMS_PER_KEY, CLAIMS_PER_SITE, ONE_TIME_KEYS_HELD, ONE_TIME_KEYS_SERVED,
};
use super::record::{Claim, Prekey, Prekeys, RecordError, read_all, read_objects};
use crate::fields::{Fields, bytes_of};
use crate::key::PublicKey;
use crate::time::UnixMillis;

/// Holds what a claim is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The owner's identity key.
    pub curve25519: Bytes<32>,
    /// A key that nobody else was or will be served.
    pub one_time: Option<Prekey>,
    /// The key for when there is no other.
    pub fallback: Prekey,
}

/// Holds the prekeys of one mailbox. It is stored as it serialises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pool {
    claims: VecDeque<Served>,
    curve25519: Bytes<32>,
    expires_at: UnixMillis,
    fallback: Prekey,
    /// The oldest first.
    one_time: VecDeque<Prekey>,
    revision: u64,
    /// The beginnings of keys that were served, the oldest first.
    served: VecDeque<Bytes<8>>,
    /// That of the newest record: the very same record again changes nothing.
    signature: Bytes<64>,
}

/// Notes a claim that got a one-time key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Served {
    at: UnixMillis,
    key: PublicKey,
    nonce: Bytes<16>,
    /// A salted hash.
    site: Bytes<8>,
}

impl Served {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            at: fields.time("at")?,
            key: fields.key("key")?,
            nonce: fields.bytes("nonce")?,
            site: fields.bytes("site")?,
        })
    }
}

fn beginning(key: &Bytes<32>) -> Bytes<8> {
    Bytes(key.0.first_chunk().copied().unwrap_or_default())
}

impl Pool {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let served = fields.texts("served")?;
        Ok(Self {
            claims: read_objects(fields, "claims", Served::read)?.into(),
            curve25519: fields.bytes("curve25519")?,
            expires_at: fields.time("expiresAt")?,
            fallback: read_all(fields.object("fallback")?, Prekey::read)?,
            one_time: read_objects(fields, "oneTime", Prekey::read)?.into(),
            revision: fields.number("revision")?,
            served: served.iter().map(|key| bytes_of(key, "served")).collect::<Result<_, _>>()?,
            signature: fields.bytes("signature")?,
        })
    }

    /// Makes the pool of an owner's first prekeys.
    pub(super) fn new(record: &Verified<Prekeys>) -> Self {
        let Prekeys { curve25519, expires_at, fallback, revision, .. } = record.payload();
        let mut pool = Self {
            claims: VecDeque::new(),
            curve25519: *curve25519,
            expires_at: *expires_at,
            fallback: fallback.clone(),
            one_time: VecDeque::new(),
            revision: *revision,
            served: VecDeque::new(),
            signature: record.signature(),
        };
        pool.add(record);
        pool
    }

    /// Returns whether this is the newest record.
    pub(super) fn is_of(&self, record: &Verified<Prekeys>) -> bool {
        self.revision == record.payload().revision && self.signature == record.signature()
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn len(&self) -> usize {
        self.one_time.len()
    }

    pub(super) fn has_ended(&self, now: UnixMillis) -> bool {
        self.expires_at <= now
    }

    /// Adds the one-time keys of a newer record, as many as there is room for, and replaces the rest. Keys of another
    /// identity go: they are signed together with it.
    pub(super) fn add(&mut self, record: &Verified<Prekeys>) {
        let Prekeys { curve25519, expires_at, fallback, revision, one_time, .. } = record.payload();
        if self.curve25519 != *curve25519 {
            self.one_time.clear();
        }
        (self.curve25519, self.expires_at, self.fallback) = (*curve25519, *expires_at, fallback.clone());
        (self.revision, self.signature) = (*revision, record.signature());
        for prekey in one_time {
            let is_known = self.served.contains(&beginning(&prekey.key))
                || self.one_time.iter().any(|held| held.key == prekey.key);
            if !is_known && self.one_time.len() < ONE_TIME_KEYS_HELD {
                self.one_time.push_back(prekey.clone());
            }
        }
    }

    /// Answers a claim; `may_have_one_time` says whether its key is that of a contact or an invite. A claim that is sent
    /// again gets no second key.
    pub(super) fn claim(
        &mut self,
        now: UnixMillis,
        claim: &Verified<Claim>,
        site: Bytes<8>,
        may_have_one_time: bool,
    ) -> Claimed {
        // One from a clock that was ahead counts no longer than one from now.
        self.claims.retain(|served| served.at.after(CLAIM_WINDOW) > now && served.at <= now.after(CLAIM_WINDOW));
        let (key, nonce) = (claim.public_key(), claim.payload().nonce);
        let count = |is_it: &dyn Fn(&Served) -> bool| self.claims.iter().filter(|served| is_it(served)).count();
        let is_within_limits = self.claims.len() < CLAIMS_MAX
            && count(&|served| served.key == key && served.nonce == nonce) == 0
            && count(&|served| served.key == key) < CLAIMS_PER_KEY
            && count(&|served| served.site == site) < CLAIMS_PER_SITE;
        let one_time = if may_have_one_time && is_within_limits { self.one_time.pop_front() } else { None };
        if let Some(prekey) = &one_time {
            self.claims.push_back(Served { at: now, key, nonce, site });
            self.served.push_back(beginning(&prekey.key));
            if self.served.len() > ONE_TIME_KEYS_SERVED {
                self.served.pop_front();
            }
        }
        Claimed { curve25519: self.curve25519, one_time, fallback: self.fallback.clone() }
    }
}
