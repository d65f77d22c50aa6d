//! What is signed about a mailbox. The fields of each record stand in the order in which canonical JSON has them.
//!
//! Two kinds. A **portable** record is good at every relay, and a replay of it changes nothing there: [`Card`], [`Policy`],
//! [`Deposit`], [`Ack`], [`Prekeys`], [`Close`]. The one exception is a stranger's [`Deposit`], which comes in again once its
//! message has gone: whoever reads it tells by its content id. A **bound** record is good at one relay and for a moment:
//! [`Collect`], [`Claim`], [`SlotQuestion`], [`Live`], and [`Replicate`], which relays sign and nobody else.
//!
//! An owner key must never sign presence tickets, whose bytes begin with `{`; every record's begin with its purpose, so that
//! none is another.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bytes::{Address, Bytes, ContentId};
use super::limits::{
    ACK_LOOKS_OLDER_MOST, COLLECT_MAX_MESSAGES, CONTACT_LIMIT_MAX, CONTACTS_MAX, DEPOSIT_MAX_LIFETIME,
    DEPOSIT_MIN_LIFETIME, DIFFICULTY_MAX, INVITE_LIMIT_MAX, INVITES_MAX, MISSING_MAX, ONE_TIME_KEYS_MAX,
    ORIGIN_MAX_BYTES, PREKEY_ID_MAX_BYTES, READERS_MAX, RECEIPT_MARGIN, RECORD_MAX_LIFETIME, RELAYS_MAX, REQUEST_SKEW,
    SEALED_BYTES, SEALING_KEY_MAX_LIFETIME, SEALING_KEYS_MAX,
};
use crate::base64;
use crate::code::Code;
use crate::envelope::{EnvelopeError, Payload};
use crate::fields::{FieldError, Fields, bytes_of};
use crate::key::PublicKey;
use crate::limits::CLOCK_SKEW;
use crate::origin::Origin;
use crate::sorted_set::are_distinct;
use crate::time::{UnixMillis, saturating_millis};

/// Stands before the purpose, so that no record is a ticket, a capsule or anything else that is signed.
const DOMAIN: &str = "rendezvous-mailbox-v1:";

/// Says why a record, or a request that carries one, is refused before the mailbox is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than a request body may have.
    #[error("the body is longer than {} bytes", super::limits::BODY_MAX_BYTES)]
    BodyTooLarge,
    /// Shape, types, lengths or base64.
    #[error("{0}")]
    Malformed(String),
    /// Another version than 1.
    #[error("version {found} of records is not supported, only 1")]
    UnsupportedVersion {
        /// What the record says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    #[error("only the algorithm ed25519 is supported")]
    UnsupportedAlgorithm,
    /// Sealed bytes of a length that none have, or of another length than the deposit says.
    #[error("sealed has {found} bytes, size says {size}: both must be 2048, 8192, 32768 or 131072")]
    SizeNotABucket {
        /// What the deposit says.
        size: u32,
        /// What is there.
        found: usize,
    },
    /// Other bytes than those that were signed.
    #[error("contentId is not the SHA-256 of sealed")]
    ContentMismatch,
    /// Signed for another relay.
    #[error("the record is for {audience}, which is not this relay")]
    Misdirected {
        /// Whom it is for.
        audience: String,
    },
    /// Lives longer than its kind may.
    #[error("it lives {} ms, at most {} are allowed", saturating_millis(*.lifetime), saturating_millis(*.limit))]
    LifetimeTooLong {
        /// From `issuedAt` to `expiresAt`.
        lifetime: Duration,
        /// The longest life.
        limit: Duration,
    },
    /// Lives shorter than its kind may.
    #[error("it lives {} ms, at least {} are needed", saturating_millis(*.lifetime), saturating_millis(*.limit))]
    LifetimeTooShort {
        /// From `issuedAt` to `expiresAt`.
        lifetime: Duration,
        /// The shortest life.
        limit: Duration,
    },
    /// From the reader's future, by more than clocks may differ.
    #[error("issuedAt is {} ms ahead of this clock", saturating_millis(issued_at.since(*.now)))]
    NotYetValid {
        /// The record's.
        issued_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Over.
    #[error("it ended {} ms ago", saturating_millis(now.since(*.ended_at)))]
    Expired {
        /// When the record ended.
        ended_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Signed by a key that the mailbox is not named after.
    #[error("the key is not the owner's: it does not hash to the address of the mailbox")]
    NotTheOwner,
    /// A push with other items than those that were signed.
    #[error("items is not the SHA-256 of the items that are there")]
    OtherItems,
    /// An acknowledgement with another deposit than the one that it reaches up to.
    #[error("of must be the deposit of the same mailbox and slot whose sequence is through")]
    OtherDeposit,
    /// Not a signature of this key over this payload.
    #[error("the signature does not fit the payload and the public key")]
    SignatureInvalid,
}

impl RecordError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::Malformed(_) | Self::OtherDeposit => Code::Malformed.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm.as_str(),
            Self::SizeNotABucket { .. } => Code::SizeNotABucket.as_str(),
            Self::ContentMismatch | Self::OtherItems => Code::ContentMismatch.as_str(),
            Self::Misdirected { .. } => Code::MisdirectedRequest.as_str(),
            Self::LifetimeTooLong { .. } => Code::LifetimeTooLong.as_str(),
            Self::LifetimeTooShort { .. } => Code::LifetimeTooShort.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
            Self::NotTheOwner => Code::NotTheOwner.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
        }
    }
}

pub(super) fn malformed(detail: &str) -> RecordError {
    RecordError::Malformed(detail.to_owned())
}

fn require(holds: bool, detail: &str) -> Result<(), RecordError> {
    if holds { Ok(()) } else { Err(malformed(detail)) }
}

/// Says by what a record is judged that it does not hold itself.
#[derive(Clone, Copy, Debug)]
pub struct RecordRules<'a> {
    /// The relay's clock.
    pub now: UnixMillis,
    /// The origins that the relay answers to.
    pub audiences: &'a [Origin],
}

/// Holds the payload of a record about a mailbox.
pub trait Record: Payload<Error = RecordError> {
    /// Returns the mailbox that the record is about.
    fn mailbox(&self) -> Address;

    /// Checks what depends on the signer and on the reader, but not the signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    fn check(&self, signer: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError>;
}

impl From<FieldError> for RecordError {
    fn from(error: FieldError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<EnvelopeError> for RecordError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Malformed { purpose, detail } => Self::Malformed(format!("{purpose}: {detail}")),
            EnvelopeError::UnsupportedVersion { found } => Self::UnsupportedVersion { found },
            EnvelopeError::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
            EnvelopeError::SignatureInvalid => Self::SignatureInvalid,
        }
    }
}

fn read_address(fields: &mut Fields<'_>) -> Result<Address, RecordError> {
    fields.text("mailbox")?.parse().map_err(|error| RecordError::Malformed(format!("mailbox: {error}")))
}

/// Reads a whole number below 2^53, which every JSON reader has exactly.
pub(super) fn read_whole(fields: &mut Fields<'_>, field: &'static str) -> Result<u64, RecordError> {
    Ok(fields.time(field)?.as_u64())
}

/// Reads a number that is small wherever it is right.
pub(super) fn read_u32(fields: &mut Fields<'_>, field: &'static str) -> Result<u32, RecordError> {
    let number = u32::try_from(fields.number(field)?);
    number.map_err(|_| RecordError::Malformed(format!("{field} must be below 2^32")))
}

fn read_u8(fields: &mut Fields<'_>, field: &'static str) -> Result<u8, RecordError> {
    let number = u8::try_from(fields.number(field)?);
    number.map_err(|_| RecordError::Malformed(format!("{field} must be at most 255")))
}

fn read_keys(fields: &mut Fields<'_>, field: &'static str) -> Result<Vec<PublicKey>, RecordError> {
    let key = |text: Cow<'_, str>| Ok(PublicKey::from_bytes(bytes_of(&text, field)?.0));
    fields.texts(field)?.into_iter().map(key).collect()
}

/// Reads an array of objects.
pub(super) fn read_objects<T>(
    fields: &mut Fields<'_>,
    field: &'static str,
    read: fn(&mut Fields<'_>) -> Result<T, RecordError>,
) -> Result<Vec<T>, RecordError> {
    fields.objects(field)?.into_iter().map(|item| read_all(item, read)).collect()
}

/// Reads an object that has no other fields than those that are asked for.
pub(super) fn read_all<'a, T>(
    mut fields: Fields<'a>,
    read: fn(&mut Fields<'a>) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    let value = read(&mut fields)?;
    fields.end()?;
    Ok(value)
}

fn is_origin(text: &str) -> bool {
    text.len() <= ORIGIN_MAX_BYTES && Origin::parse(text).is_some_and(|origin| origin.as_str() == text)
}

fn check_life(
    issued_at: UnixMillis,
    expires_at: UnixMillis,
    limit: Duration,
    now: UnixMillis,
) -> Result<(), RecordError> {
    let lifetime = expires_at.since(issued_at);
    if lifetime > limit {
        return Err(RecordError::LifetimeTooLong { lifetime, limit });
    }
    if issued_at > now.after(CLOCK_SKEW) {
        return Err(RecordError::NotYetValid { issued_at, now });
    }
    if expires_at <= now {
        return Err(RecordError::Expired { ended_at: expires_at, now });
    }
    Ok(())
}

fn check_owner(mailbox: Address, signer: &PublicKey) -> Result<(), RecordError> {
    if Address::of(signer) == mailbox { Ok(()) } else { Err(RecordError::NotTheOwner) }
}

/// Holds what everybody may know of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// When the card ends.
    pub expires_at: UnixMillis,
    /// When the card begins.
    pub issued_at: UnixMillis,
    /// The mailbox.
    pub mailbox: Address,
    /// Keys that collect and acknowledge beside the owner's.
    pub readers: Vec<PublicKey>,
    /// The origins of the relays that hold the mailbox, as browsers write them.
    pub relays: Vec<String>,
    /// What is asked of strangers.
    pub requests: Requests,
    /// Goes up with every change.
    pub revision: u64,
    /// Keys to which messages are sealed.
    pub sealing: Vec<SealingKey>,
}

/// Says what is asked of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// The zero bits of their proof of work.
    pub difficulty: u8,
    /// Whether they may write at all.
    pub open: bool,
}

impl Requests {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let open = fields.optional_flag("open")?.ok_or(FieldError::Missing("open"))?;
        Ok(Self { difficulty: read_u8(fields, "difficulty")?, open })
    }
}

/// Holds a key to which messages are sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingKey {
    /// When it ends.
    pub expires_at: UnixMillis,
    /// The base64 of 32 bytes (suite 0, X25519) or 1,216 (suite 1, X-Wing).
    pub key: String,
    /// The suite.
    pub suite: u8,
}

impl SealingKey {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let (expires_at, key) = (fields.time("expiresAt")?, fields.text("key")?.into_owned());
        Ok(Self { expires_at, key, suite: read_u8(fields, "suite")? })
    }
}

impl Card {
    /// Returns whether the card names the relay with these origins.
    pub fn names(&self, relay: &[Origin]) -> bool {
        relay.iter().any(|origin| self.relays.iter().any(|named| named == origin.as_str()))
    }
}

impl Payload for Card {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "card";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            expires_at: fields.time("expiresAt")?,
            issued_at: fields.time("issuedAt")?,
            mailbox: read_address(fields)?,
            readers: read_keys(fields, "readers")?,
            relays: fields.texts("relays")?.into_iter().map(Cow::into_owned).collect(),
            requests: read_all(fields.object("requests")?, Requests::read)?,
            revision: read_whole(fields, "revision")?,
            sealing: read_objects(fields, "sealing", SealingKey::read)?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.issued_at < self.expires_at, "expiresAt must be later than issuedAt")?;
        require(self.revision >= 1, "revision must be 1 at least")?;
        require(
            self.readers.len() <= READERS_MAX
                && are_distinct(&mut self.readers.iter().map(|key| key.as_bytes().as_slice())),
            "readers must be at most 8 keys, none twice",
        )?;
        require(
            self.relays.len() <= RELAYS_MAX
                && are_distinct(&mut self.relays.iter().map(String::as_bytes))
                && self.relays.iter().all(|it| is_origin(it)),
            "relays must be at most 4 origins as browsers write them, of at most 300 bytes, none twice",
        )?;
        require(self.requests.difficulty <= DIFFICULTY_MAX, "requests.difficulty must be at most 28")?;
        let is_key = |SealingKey { key, suite, .. }: &SealingKey| {
            let bytes = base64::decode(key).map_or(0, |bytes| bytes.len());
            matches!((*suite, bytes), (0, 32) | (1, 1_216))
        };
        require(
            (1..=SEALING_KEYS_MAX).contains(&self.sealing.len())
                && self.sealing.iter().all(is_key)
                && are_distinct(&mut self.sealing.iter().map(|sealing| sealing.key.as_bytes())),
            "sealing must be 1 to 3 keys, none twice, of 32 bytes for suite 0 and 1216 for suite 1",
        )
    }
}

impl Record for Card {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, signer: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_life(self.issued_at, self.expires_at, RECORD_MAX_LIFETIME, rules.now)?;
        for sealing in &self.sealing {
            let (lifetime, limit) = (sealing.expires_at.since(self.issued_at), SEALING_KEY_MAX_LIFETIME);
            if lifetime > limit {
                return Err(RecordError::LifetimeTooLong { lifetime, limit });
            }
        }
        check_owner(self.mailbox, signer)
    }
}

/// Holds who may write: only the owner and the relays see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Slot keys of those whom the owner knows.
    pub contacts: Vec<Contact>,
    /// When the policy ends.
    pub expires_at: UnixMillis,
    /// Slot keys that the owner gave away, for a time.
    pub invites: Vec<Invite>,
    /// When the policy begins.
    pub issued_at: UnixMillis,
    /// The mailbox.
    pub mailbox: Address,
    /// Goes up with every change.
    pub revision: u64,
}

/// Holds a slot that is there until it is struck off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// The slot key.
    pub key: PublicKey,
    /// Messages that may wait.
    pub limit: u8,
}

impl Contact {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { key: fields.key("key")?, limit: read_u8(fields, "limit")? })
    }
}

/// Holds a slot that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// When it ends.
    pub expires_at: UnixMillis,
    /// The slot key.
    pub key: PublicKey,
    /// Messages that may wait.
    pub limit: u8,
}

impl Invite {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let (expires_at, key) = (fields.time("expiresAt")?, fields.key("key")?);
        Ok(Self { expires_at, key, limit: read_u8(fields, "limit")? })
    }
}

impl Policy {
    /// Returns every slot key with its limit, and when it ends, if it does by itself.
    pub fn slots(&self) -> impl Iterator<Item = (PublicKey, u8, Option<UnixMillis>)> {
        let contacts = self.contacts.iter().map(|contact| (contact.key, contact.limit, None));
        contacts.chain(self.invites.iter().map(|invite| (invite.key, invite.limit, Some(invite.expires_at))))
    }
}

impl Payload for Policy {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "policy";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            contacts: read_objects(fields, "contacts", Contact::read)?,
            expires_at: fields.time("expiresAt")?,
            invites: read_objects(fields, "invites", Invite::read)?,
            issued_at: fields.time("issuedAt")?,
            mailbox: read_address(fields)?,
            revision: read_whole(fields, "revision")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.issued_at < self.expires_at, "expiresAt must be later than issuedAt")?;
        require(self.revision >= 1, "revision must be 1 at least")?;
        let is_limit = |limit: u8, most: u8| (1..=most).contains(&limit);
        require(
            self.contacts.len() <= CONTACTS_MAX && self.contacts.iter().all(|it| is_limit(it.limit, CONTACT_LIMIT_MAX)),
            "contacts must be at most 256, each with a limit of 1 to 32",
        )?;
        require(
            self.invites.len() <= INVITES_MAX && self.invites.iter().all(|it| is_limit(it.limit, INVITE_LIMIT_MAX)),
            "invites must be at most 32, each with a limit of 1 to 8",
        )?;
        let (contacts, invites) = (self.contacts.iter().map(|it| &it.key), self.invites.iter().map(|it| &it.key));
        require(
            are_distinct(&mut contacts.chain(invites).map(|key| key.as_bytes().as_slice())),
            "a slot key stands in a policy once",
        )
    }
}

impl Record for Policy {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, signer: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_life(self.issued_at, self.expires_at, RECORD_MAX_LIFETIME, rules.now)?;
        check_owner(self.mailbox, signer)
    }
}

/// Holds what a sender signs of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deposit {
    /// The SHA-256 of the sealed bytes.
    pub content_id: ContentId,
    /// When the message ends.
    pub expires_at: UnixMillis,
    /// When the message begins.
    pub issued_at: UnixMillis,
    /// The mailbox.
    pub mailbox: Address,
    /// The number of the message in its slot, from 1 on.
    pub sequence: u64,
    /// The length of the sealed bytes.
    pub size: u32,
}

impl Deposit {
    /// Checks that these are the bytes that the sender signed.
    ///
    /// # Errors
    /// [`RecordError::SizeNotABucket`] and [`RecordError::ContentMismatch`].
    pub fn check_sealed(&self, sealed: &[u8]) -> Result<(), RecordError> {
        if !SEALED_BYTES.contains(&self.size) || u32::try_from(sealed.len()) != Ok(self.size) {
            return Err(RecordError::SizeNotABucket { size: self.size, found: sealed.len() });
        }
        if ContentId::of(sealed) == self.content_id { Ok(()) } else { Err(RecordError::ContentMismatch) }
    }
}

impl Payload for Deposit {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "deposit";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            content_id: fields.bytes("contentId")?,
            expires_at: fields.time("expiresAt")?,
            issued_at: fields.time("issuedAt")?,
            mailbox: read_address(fields)?,
            sequence: read_whole(fields, "sequence")?,
            size: read_u32(fields, "size")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.issued_at < self.expires_at, "expiresAt must be later than issuedAt")?;
        require(self.sequence >= 1, "sequence must be 1 at least")
    }
}

impl Record for Deposit {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, _: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_life(self.issued_at, self.expires_at, DEPOSIT_MAX_LIFETIME, rules.now)?;
        let (lifetime, limit) = (self.expires_at.since(self.issued_at), DEPOSIT_MIN_LIFETIME);
        if lifetime < limit { Err(RecordError::LifetimeTooShort { lifetime, limit }) } else { Ok(()) }
    }
}

/// Holds what a recipient has of a slot: everything up to `through` but what is `missing`. It is the sender's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// When it was signed, in whole minutes.
    pub at: UnixMillis,
    /// The mailbox.
    pub mailbox: Address,
    /// Sequences below `through` that have not come, ascending.
    pub missing: Vec<u64>,
    /// The slot key.
    pub slot: PublicKey,
    /// The highest sequence that has come.
    pub through: u64,
}

impl Ack {
    /// Returns whether the recipient has that sequence.
    pub fn covers(&self, sequence: u64) -> bool {
        (1..=self.through).contains(&sequence) && !self.missing.contains(&sequence)
    }

    /// Returns whether this is the receipt of a message that it covers and that ends then. A recipient gives up numbers whose
    /// messages have ended, and from then on covers them, too: such a message ended unread, as far as anybody knows.
    pub fn is_receipt_until(&self, expires_at: UnixMillis) -> bool {
        self.at.after(RECEIPT_MARGIN) < expires_at
    }

    /// Returns whether this is from before a message that was issued then. If it covers the message's number, it is the
    /// acknowledgement of another one that had it.
    pub fn is_from_before(&self, issued_at: UnixMillis) -> bool {
        self.at.after(ACK_LOOKS_OLDER_MOST) < issued_at
    }
}

impl Payload for Ack {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "ack";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            at: fields.time("at")?,
            mailbox: read_address(fields)?,
            missing: fields.wholes("missing")?,
            slot: fields.key("slot")?,
            through: read_whole(fields, "through")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.at.as_u64().is_multiple_of(60_000), "at must be a whole minute")?;
        require(self.through >= 1, "through must be 1 at least")?;
        let is_ascending = self.missing.is_sorted_by(|one, next| one < next);
        let are_inside = self.missing.iter().all(|sequence| (1..self.through).contains(sequence));
        require(
            self.missing.len() <= MISSING_MAX && is_ascending && are_inside,
            "missing must be at most 32 sequences from 1 to below through, ascending",
        )
    }
}

impl Record for Ack {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    /// A mailbox's card says who may acknowledge, so the mailbox checks the signer. An acknowledgement never ends.
    fn check(&self, _: &PublicKey, _: &RecordRules<'_>) -> Result<(), RecordError> {
        Ok(())
    }
}

/// Holds keys by which a sender begins an Olm session with somebody who is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prekeys {
    /// The identity key.
    pub curve25519: Bytes<32>,
    /// When the keys end.
    pub expires_at: UnixMillis,
    /// The key for when no other is left.
    pub fallback: Prekey,
    /// When the keys begin.
    pub issued_at: UnixMillis,
    /// The mailbox.
    pub mailbox: Address,
    /// Keys that are each served once.
    pub one_time: Vec<Prekey>,
    /// Goes up with every change.
    pub revision: u64,
}

/// Holds one key, which is signed by itself, so that whoever claims it need not believe the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prekey {
    /// The key's name among its owner's, 1 to 32 of `A-Z a-z 0-9 + / _ -`.
    pub id: String,
    /// The key.
    pub key: Bytes<32>,
    /// The owner's signature over [`Prekeys::prekey_signed_bytes`].
    pub signature: Bytes<64>,
    /// When the owner made it.
    pub since: UnixMillis,
}

impl Prekey {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            id: fields.text("id")?.into_owned(),
            key: fields.bytes("key")?,
            signature: fields.bytes("signature")?,
            since: fields.time("since")?,
        })
    }
}

/// Says what a prekey is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrekeyKind {
    /// One session.
    OneTime,
    /// Any number of sessions.
    Fallback,
}

impl Prekeys {
    /// Writes the bytes that the owner signs of one key: a relay can neither swap it nor pass one kind off for the other.
    pub fn prekey_signed_bytes(
        mailbox: Address,
        curve25519: &Bytes<32>,
        kind: PrekeyKind,
        Prekey { id, key, since, .. }: &Prekey,
    ) -> String {
        let kind = if kind == PrekeyKind::OneTime { "one-time" } else { "fallback" };
        format!("rendezvous-prekey-v1\n{mailbox}\n{curve25519}\n{id}\n{key}\n{kind}\n{since}")
    }
}

impl Payload for Prekeys {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "prekeys";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            curve25519: fields.bytes("curve25519")?,
            expires_at: fields.time("expiresAt")?,
            fallback: read_all(fields.object("fallback")?, Prekey::read)?,
            issued_at: fields.time("issuedAt")?,
            mailbox: read_address(fields)?,
            one_time: read_objects(fields, "oneTime", Prekey::read)?,
            revision: read_whole(fields, "revision")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.issued_at < self.expires_at, "expiresAt must be later than issuedAt")?;
        require(self.revision >= 1, "revision must be 1 at least")?;
        let is_id = |id: &str| {
            (1..=PREKEY_ID_MAX_BYTES).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/_-".contains(&byte))
        };
        let mut keys = self.one_time.iter().chain([&self.fallback]);
        require(keys.all(|prekey| is_id(&prekey.id)), "the id of a prekey is 1 to 32 of A-Z a-z 0-9 + / _ -")?;
        require(
            self.one_time.len() <= ONE_TIME_KEYS_MAX
                && are_distinct(&mut self.one_time.iter().map(|prekey| prekey.key.0.as_slice())),
            "oneTime must be at most 100 keys, none twice",
        )
    }
}

impl Record for Prekeys {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, signer: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_life(self.issued_at, self.expires_at, RECORD_MAX_LIFETIME, rules.now)?;
        check_owner(self.mailbox, signer)
    }
}

/// Holds the owner's word that a mailbox ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Close {
    /// The mailbox.
    pub mailbox: Address,
    /// Higher than every revision before it, so that one from the past closes nothing that came after.
    pub revision: u64,
}

impl Payload for Close {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "close";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { mailbox: read_address(fields)?, revision: read_whole(fields, "revision")? })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.revision >= 1, "revision must be 1 at least")
    }
}

impl Record for Close {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, signer: &PublicKey, _: &RecordRules<'_>) -> Result<(), RecordError> {
        check_owner(self.mailbox, signer)
    }
}

fn check_bound(audience: &str, issued_at: UnixMillis, rules: &RecordRules<'_>) -> Result<(), RecordError> {
    if !rules.audiences.iter().any(|origin| origin.as_str() == audience) {
        return Err(RecordError::Misdirected { audience: audience.to_owned() });
    }
    let now = rules.now;
    if issued_at > now.after(REQUEST_SKEW) {
        return Err(RecordError::NotYetValid { issued_at, now });
    }
    let ended_at = issued_at.after(REQUEST_SKEW);
    if ended_at < now { Err(RecordError::Expired { ended_at, now }) } else { Ok(()) }
}

/// Asks for what waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collect {
    /// The origin of the relay.
    pub audience: String,
    /// Whoever asks again under the same name gets its own again.
    pub collector: Bytes<16>,
    /// When it was signed.
    pub issued_at: UnixMillis,
    /// Messages in the answer, 1 to 100.
    pub limit: u32,
    /// The mailbox.
    pub mailbox: Address,
    /// Sealed bytes in the answer; but one message at least, if there is one.
    pub max_bytes: u64,
    /// Chosen at random.
    pub nonce: Bytes<16>,
}

impl Payload for Collect {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "collect";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            audience: fields.text("audience")?.into_owned(),
            collector: fields.bytes("collector")?,
            issued_at: fields.time("issuedAt")?,
            limit: read_u32(fields, "limit")?,
            mailbox: read_address(fields)?,
            max_bytes: read_whole(fields, "maxBytes")?,
            nonce: fields.bytes("nonce")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(is_origin(&self.audience), "audience must be an origin as browsers write it, of at most 300 bytes")?;
        require((1..=COLLECT_MAX_MESSAGES).contains(&self.limit), "limit must be 1 to 100")
    }
}

impl Record for Collect {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, _: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_bound(&self.audience, self.issued_at, rules)
    }
}

/// Holds what a record says that says no more than who asks, of which relay and when.
struct Bound {
    audience: String,
    issued_at: UnixMillis,
    mailbox: Address,
    nonce: Bytes<16>,
}

impl Bound {
    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self {
            audience: fields.text("audience")?.into_owned(),
            issued_at: fields.time("issuedAt")?,
            mailbox: read_address(fields)?,
            nonce: fields.bytes("nonce")?,
        })
    }
}

/// Makes such a record.
macro_rules! bound_record {
    ($(#[$doc:meta])* $name:ident, $purpose:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The origin of the relay.
            pub audience: String,
            /// When it was signed.
            pub issued_at: UnixMillis,
            /// The mailbox.
            pub mailbox: Address,
            /// Chosen at random.
            pub nonce: Bytes<16>,
        }

        impl Payload for $name {
            type Error = RecordError;
            const DOMAIN: &'static str = DOMAIN;
            const PURPOSE: &'static str = $purpose;

            fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
                let Bound { audience, issued_at, mailbox, nonce } = Bound::read(fields)?;
                Ok(Self { audience, issued_at, mailbox, nonce })
            }

            fn check_shape(&self) -> Result<(), RecordError> {
                require(is_origin(&self.audience), "audience must be an origin as browsers write it, of at most 300 bytes")
            }
        }

        impl Record for $name {
            fn mailbox(&self) -> Address {
                self.mailbox
            }

            fn check(&self, _: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
                check_bound(&self.audience, self.issued_at, rules)
            }
        }
    };
}

bound_record!(
    /// Asks for a prekey; signed by a slot key.
    Claim, "claim"
);
bound_record!(
    /// Asks what became of a slot's messages; signed by the slot key.
    SlotQuestion, "slot"
);
bound_record!(
    /// Opens a connection on which news is told; signed by the owner, a reader or a slot key.
    Live, "live"
);

/// Says of a push which relay makes it, to which, and what is in it; signed by the key of the relay that pushes. What is
/// pushed proves itself: this only says whose budget it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicate {
    /// The origin of the relay that is pushed to.
    pub audience: String,
    /// When it was signed.
    pub issued_at: UnixMillis,
    /// The SHA-256 of the text of the array of items, as it is in the body.
    pub items: Bytes<32>,
    /// The mailbox that all items are about.
    pub mailbox: Address,
    /// Chosen at random.
    pub nonce: Bytes<16>,
}

impl Payload for Replicate {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "replicate";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let items = fields.bytes("items")?;
        let Bound { audience, issued_at, mailbox, nonce } = Bound::read(fields)?;
        Ok(Self { audience, issued_at, items, mailbox, nonce })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(is_origin(&self.audience), "audience must be an origin as browsers write it")
    }
}

impl Record for Replicate {
    fn mailbox(&self) -> Address {
        self.mailbox
    }

    fn check(&self, _: &PublicKey, rules: &RecordRules<'_>) -> Result<(), RecordError> {
        check_bound(&self.audience, self.issued_at, rules)
    }
}
