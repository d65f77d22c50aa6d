//! What is signed in the directory. The fields of each record stand in the order in which canonical JSON has them.
//!
//! Signed bytes begin with `rendezvous-directory-v1:` and the purpose, so that no record is another, or anything else that
//! is signed: an origin key may sign capsules too.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::address::{host, is_address};
use super::limits::{
    BEACON_ID_BYTES, BEACONS_MAX, BODY_MAX_BYTES, CAPSULES_MAX, DESCRIPTION_MAX_BYTES, ENTRY_MAX_BYTES,
    ENTRY_MAX_LIFETIME, EXCHANGE_SKEW, TAG_MAX_BYTES, TAGS_MAX,
};
use crate::code::Code;
use crate::community::Community;
use crate::envelope::{Payload, names_envelope_errors};
use crate::fields::Fields;
use crate::key::{PrivateKey, PublicKey};
use crate::limits::CLOCK_SKEW;
use crate::live::{Position, PositionInvalid};
use crate::mailbox::bytes::Bytes;
use crate::origin::Origin;
use crate::sorted_set::{SortedSet, are_distinct};
use crate::time::{UnixMillis, saturating_millis};

/// Stands before the purpose, so that no record is a ticket, a capsule or anything else that is signed.
const DOMAIN: &str = "rendezvous-directory-v1:";

/// Says why a record, or a body that carries one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than a request body may have.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// More bytes than an entry may have.
    #[error("the entry has {found} bytes in its normal form, at most {ENTRY_MAX_BYTES} are allowed")]
    EntryTooLarge {
        /// How many it has.
        found: usize,
    },
    /// Shape, types, lengths or base64.
    #[error("{0}")]
    Malformed(String),
    /// Two beacons whose names belong to one owner.
    #[error("two beacons are of one registrable domain, {domain}")]
    OneDomain {
        /// The domain.
        domain: String,
    },
    /// Another version than 1.
    #[error("version {found} of records is not supported, only 1")]
    UnsupportedVersion {
        /// What the record says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    #[error("only the algorithm ed25519 is supported")]
    UnsupportedAlgorithm,
    /// Signed for another hub.
    #[error("the exchange is for {audience}, which is not this hub")]
    Misdirected {
        /// Whom it is for.
        audience: String,
    },
    /// An entry that lives too long.
    #[error(
        "it lives {} ms, at most {} are allowed",
        saturating_millis(*.lifetime),
        saturating_millis(ENTRY_MAX_LIFETIME)
    )]
    LifetimeTooLong {
        /// From `updated` to `expiresAt`.
        lifetime: Duration,
    },
    /// From the reader's future, by more than clocks may differ.
    #[error("its time is {} ms ahead of this clock", saturating_millis(time.since(*.now)))]
    NotYetValid {
        /// The record's.
        time: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Over.
    #[error("it ended {} ms ago", saturating_millis(now.since(*.ended_at)))]
    Expired {
        /// When it ended.
        ended_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Not a signature of this key over this payload, or not one of the root's publisher.
    #[error("a signature does not fit the payload and its public key")]
    SignatureInvalid,
}

impl RecordError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::EntryTooLarge { .. } | Self::Malformed(_) | Self::OneDomain { .. } => Code::Malformed.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm.as_str(),
            Self::Misdirected { .. } => Code::MisdirectedRequest.as_str(),
            Self::LifetimeTooLong { .. } => Code::LifetimeTooLong.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
        }
    }
}

names_envelope_errors!(RecordError);

pub(super) fn malformed(detail: &str) -> RecordError {
    RecordError::Malformed(detail.to_owned())
}

fn require(holds: bool, detail: fmt::Arguments<'_>) -> Result<(), RecordError> {
    if holds { Ok(()) } else { Err(RecordError::Malformed(detail.to_string())) }
}

/// Returns the registrable domain of a name of the DNS, by a Public Suffix List; the name itself, where it has none. Such
/// lists change, so that whoever has one brings it along.
pub type DomainOf = fn(&str) -> &str;

/// Returns whether a name can be the last segment of a path. The URL standard takes both of the others out of the path: nobody
/// could ask for them.
pub(super) fn is_segment(name: &str) -> bool {
    !matches!(name, "." | "..")
}

fn read_name(fields: &mut Fields<'_>) -> Result<String, RecordError> {
    let name = fields.text("name")?;
    Community::new(&name).map_err(|error| RecordError::Malformed(format!("name: {error}")))?;
    require(is_segment(&name), format_args!("name: neither . nor .. can be a segment of a path"))?;
    Ok(name.into_owned())
}

fn read_texts(fields: &mut Fields<'_>, field: &'static str) -> Result<Vec<String>, RecordError> {
    Ok(fields.texts(field)?.into_iter().map(Cow::into_owned).collect())
}

/// Says who may join a community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever has an invite.
    InviteOnly,
}

/// Holds a beacon of a community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedBeacon {
    /// Random bytes that the origin gave the beacon. Whoever could choose them would choose the beacon's rank.
    pub id: Bytes<BEACON_ID_BYTES>,
    /// Where it is.
    pub url: String,
}

impl ListedBeacon {
    fn read(mut fields: Fields<'_>) -> Result<Self, RecordError> {
        let beacon = Self { id: fields.bytes("id")?, url: fields.text("url")?.into_owned() };
        fields.end()?;
        Ok(beacon)
    }
}

/// Names the root of a community's capsules, and shows that a publisher of that root agrees to be named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedRoot {
    /// A key of the root's `publisherKeys`. Whether it is one shows to whoever has the root.
    pub public_key: PublicKey,
    /// The SHA-256 of the root file that readers begin with.
    pub sha256: Bytes<32>,
    /// That key's signature: see [`Entry::endorsed_bytes`]. Every reader refuses an entry without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Bytes<64>>,
}

impl NamedRoot {
    fn read(mut fields: Fields<'_>) -> Result<Self, RecordError> {
        let root = Self {
            public_key: fields.key("publicKey")?,
            sha256: fields.bytes("sha256")?,
            signature: Some(fields.bytes("signature")?),
        };
        fields.end()?;
        Ok(root)
    }
}

/// Holds what an origin says of a community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Who may join.
    pub access: Access,
    /// The beacons among which its clients choose: see [`placement`](super::placement).
    pub beacons: Vec<ListedBeacon>,
    /// The addresses of its capsules.
    pub capsules: Vec<String>,
    /// What it is about; may be empty.
    pub description: String,
    /// When the entry ends.
    pub expires_at: UnixMillis,
    /// The community's name, a label that others may use too.
    pub name: String,
    /// The root of its capsules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<NamedRoot>,
    /// Words by which it is found.
    pub tags: Vec<String>,
    /// When the origin wrote it. A later one takes its place.
    pub updated: UnixMillis,
}

impl Entry {
    /// Writes the bytes that a publisher key of the root signs, of an entry that names one: a purpose of its own, or whoever
    /// endorses would have signed an entry of its own; the origin's key, or anybody could put the same payload under another;
    /// and the payload without the signature that is to be made.
    pub fn endorsed_bytes(&self, origin: &PublicKey) -> String {
        let mut entry = self.clone();
        if let Some(root) = &mut entry.root {
            root.signature = None;
        }
        // Texts, numbers and their like can always be written.
        let payload = serde_json::to_string(&entry).unwrap_or_default();
        format!("{DOMAIN}endorsement\n{origin}\n{payload}")
    }

    /// Returns the entry as one of `origin` that names this root, endorsed by a publisher key of it.
    #[must_use]
    pub fn endorsed(mut self, origin: &PublicKey, sha256: Bytes<32>, publisher: &PrivateKey) -> Self {
        let root = NamedRoot { public_key: publisher.public_key(), sha256, signature: None };
        self.root = Some(root.clone());
        let signature = Bytes(publisher.sign(self.endorsed_bytes(origin).as_bytes()));
        self.root = Some(NamedRoot { signature: Some(signature), ..root });
        self
    }

    /// Verifies the endorsement, where there is a root. It says nothing of whether the key is one of the root's.
    ///
    /// # Errors
    /// [`RecordError::SignatureInvalid`].
    pub fn verify_endorsement(&self, origin: &PublicKey) -> Result<(), RecordError> {
        let Some(NamedRoot { public_key, signature, .. }) = &self.root else { return Ok(()) };
        let signature = signature.as_ref().ok_or(RecordError::SignatureInvalid)?;
        let outcome = public_key.verify(self.endorsed_bytes(origin).as_bytes(), &signature.0);
        outcome.map_err(|_| RecordError::SignatureInvalid)
    }

    /// Checks that no two beacons are of one registrable domain. A hub does, so that no list of one owner's names looks like
    /// several beacons; a reader, which has no Public Suffix List, need not.
    ///
    /// # Errors
    /// [`RecordError::OneDomain`].
    pub fn check_domains(&self, domain_of: DomainOf) -> Result<(), RecordError> {
        let mut seen = SortedSet::new();
        for beacon in &self.beacons {
            let domain = domain_of(host(&beacon.url));
            if !seen.insert(domain) {
                return Err(RecordError::OneDomain { domain: domain.to_owned() });
            }
        }
        Ok(())
    }
}

fn is_tag(text: &str) -> bool {
    (1..=TAG_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl Payload for Entry {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "entry";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let access = match &*fields.text("access")? {
            "open" => Access::Open,
            "invite-only" => Access::InviteOnly,
            _ => return Err(malformed("access must be open or invite-only")),
        };
        Ok(Self {
            access,
            beacons: fields.objects("beacons")?.into_iter().map(ListedBeacon::read).collect::<Result<_, _>>()?,
            capsules: read_texts(fields, "capsules")?,
            description: fields.text("description")?.into_owned(),
            expires_at: fields.time("expiresAt")?,
            name: read_name(fields)?,
            root: fields.optional_object("root")?.map(NamedRoot::read).transpose()?,
            tags: read_texts(fields, "tags")?,
            updated: fields.time("updated")?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        require(self.updated < self.expires_at, format_args!("expiresAt must be later than updated"))?;
        let is_endorsed = self.root.as_ref().is_none_or(|root| root.signature.is_some());
        require(is_endorsed, format_args!("root must have the signature of one of its publisher keys"))?;
        require(
            self.beacons.len() <= BEACONS_MAX
                && self.beacons.iter().all(|beacon| is_address(&beacon.url))
                && are_distinct(&mut self.beacons.iter().map(|beacon| beacon.id.0.as_slice()))
                && are_distinct(&mut self.beacons.iter().map(|beacon| beacon.url.as_bytes())),
            format_args!(
                "beacons must be at most {BEACONS_MAX}, with addresses such as https://a.example, no id and no address twice"
            ),
        )?;
        require(
            self.capsules.len() <= CAPSULES_MAX
                && self.capsules.iter().all(|url| is_address(url))
                && are_distinct(&mut self.capsules.iter().map(String::as_bytes)),
            format_args!(
                "capsules must be at most {CAPSULES_MAX} addresses such as https://a.example/peers.json, none twice"
            ),
        )?;
        require(
            self.description.len() <= DESCRIPTION_MAX_BYTES && !self.description.chars().any(char::is_control),
            format_args!("description must have at most {DESCRIPTION_MAX_BYTES} bytes and no control characters"),
        )?;
        require(
            self.tags.len() <= TAGS_MAX
                && self.tags.iter().all(|tag| is_tag(tag))
                && are_distinct(&mut self.tags.iter().map(String::as_bytes)),
            format_args!("tags must be at most {TAGS_MAX}, each 1 to {TAG_MAX_BYTES} of a-z 0-9 -, none twice"),
        )
    }
}

/// Takes an origin's entry of this name away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// The name.
    pub name: String,
    /// When the origin wrote it.
    pub updated: UnixMillis,
}

impl Payload for Tombstone {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "tombstone";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        Ok(Self { name: read_name(fields)?, updated: fields.time("updated")? })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        Ok(())
    }
}

/// Asks another hub for what has changed there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The origin of the hub that is asked.
    pub audience: String,
    /// When it was signed.
    pub issued_at: UnixMillis,
    /// Chosen at random.
    pub nonce: Bytes<16>,
    /// How far the asking hub has come; absent where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Position>,
}

impl Exchange {
    /// Checks what depends on the hub that is asked, but not the signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, now: UnixMillis, audiences: &[Origin]) -> Result<(), RecordError> {
        if !audiences.iter().any(|origin| origin.as_str() == self.audience) {
            return Err(RecordError::Misdirected { audience: self.audience.clone() });
        }
        if self.issued_at > now.after(EXCHANGE_SKEW) {
            return Err(RecordError::NotYetValid { time: self.issued_at, now });
        }
        let ended_at = self.issued_at.after(EXCHANGE_SKEW);
        if ended_at < now { Err(RecordError::Expired { ended_at, now }) } else { Ok(()) }
    }
}

impl Payload for Exchange {
    type Error = RecordError;
    const DOMAIN: &'static str = DOMAIN;
    const PURPOSE: &'static str = "exchange";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RecordError> {
        let since = fields.optional_text("since")?.map(|since| since.parse());
        Ok(Self {
            audience: fields.text("audience")?.into_owned(),
            issued_at: fields.time("issuedAt")?,
            nonce: fields.bytes("nonce")?,
            since: since.transpose().map_err(|error: PositionInvalid| RecordError::Malformed(error.to_string()))?,
        })
    }

    fn check_shape(&self) -> Result<(), RecordError> {
        let is_origin = Origin::parse(&self.audience).is_some_and(|origin| origin.as_str() == self.audience);
        require(is_origin, format_args!("audience must be an origin as browsers write it"))
    }
}

/// Checks the times of a record that a hub is given: `updated` is not ahead of the clock, and an entry does not live too
/// long. Whether it has ended is asked apart, because what has ended is remembered.
pub(super) fn check_times(
    updated: UnixMillis,
    expires_at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<(), RecordError> {
    if let Some(lifetime) = expires_at.map(|expires_at| expires_at.since(updated))
        && lifetime > ENTRY_MAX_LIFETIME
    {
        return Err(RecordError::LifetimeTooLong { lifetime });
    }
    if updated > now.after(CLOCK_SKEW) {
        return Err(RecordError::NotYetValid { time: updated, now });
    }
    let forgotten_at = updated.after(ENTRY_MAX_LIFETIME);
    if forgotten_at <= now { Err(RecordError::Expired { ended_at: forgotten_at, now }) } else { Ok(()) }
}
