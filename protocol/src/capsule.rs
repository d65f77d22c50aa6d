//! Capsules: signed snapshots of who is online, for any static host.
//!
//! A capsule is a file `peers.json` with a signature inside, over the canonical JSON of what it says, and another one
//! beside it in `peers.json.sig`, over the exact bytes of the file. The one inside is what older clients check; it
//! cannot be checked before the file is parsed, and does not cover fields added later. The one beside it can and does,
//! so it is checked first here.
//!
//! Whom a reader believes is either one publisher's key, or a root that says which publishers there are and how many of
//! them have to sign, those after the first in `peers.json.sigs`. Revocations come out of a capsule as a value:
//! the caller remembers it, and hands it in with the next one.
//!
//! A capsule outlives its tickets, because static hosts serve stale copies. So each ticket has to be good at the
//! capsule's `issuedAt`, and what the reader learns is whether it is good *now* too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::answer::DUPLICATE;
use crate::base64;
use crate::beacon_url::BeaconUrl;
use crate::canonical::canonical;
use crate::code::Code;
use crate::community::Community;
use crate::fields::{json_detail, shortened};
use crate::key::{PrivateKey, PublicKey};
use crate::limits::{CAPSULE_MAX_BYTES, CAPSULE_MAX_PEERS, CLOCK_SKEW};
use crate::merge::Entry;
use crate::object::{Object, present};
use crate::revocation::{RevocationError, RevocationFields, Revocations};
use crate::root::Root;
use crate::signatures::{Signatures, SignaturesError};
use crate::ticket::{Payload, PeerId, Purpose, Ticket, TicketRules, VerifiedTicket};
use crate::time::{UnixMillis, saturating_millis};

const VERSION: u64 = 1;
const ALGORITHM: &str = "ed25519";

/// Says why a capsule is refused. [`CapsuleError::code`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// Larger than any capsule may be.
    #[error("the file is longer than {CAPSULE_MAX_BYTES} bytes")]
    TooLarge,
    /// There is no signature beside the file.
    #[error("the detached signature is missing")]
    DetachedSignatureMissing,
    /// The signature beside the file is not one of this key over these bytes.
    #[error("the detached signature does not fit the file and the public key")]
    DetachedSignatureInvalid,
    /// The root, as far as the reader knows it, is over.
    #[error("the root expired {} ms ago, and no newer one is known", saturating_millis(now.since(*.expires_at)))]
    RootExpired {
        /// The root's.
        expires_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// The only key that the reader trusts has revoked itself.
    #[error("the publisher's key has revoked itself: nothing that it signs counts any more")]
    RevokedPublicKey,
    /// The file of further signatures is not a signatures file.
    #[error("{0}")]
    CosignaturesMalformed(#[from] SignaturesError),
    /// Too few of the root's publishers signed.
    #[error("{signed} of the root's publishers have signed the capsule, {threshold} have to")]
    ThresholdNotMet {
        /// How many signed, revoked ones not counted.
        signed: usize,
        /// How many have to.
        threshold: usize,
    },
    /// Not the JSON of a capsule.
    #[error("{0}")]
    Malformed(String),
    /// The list of revocations is malformed.
    #[error("capsule: {0}")]
    RevocationsMalformed(#[from] RevocationError),
    /// Another version than 1.
    #[error("version {found} of capsules is not supported, only {VERSION}")]
    UnsupportedVersion {
        /// What the capsule says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    #[error("only the algorithm {ALGORITHM} is supported")]
    UnsupportedAlgorithm,
    /// For another community than the one asked for.
    #[error("the capsule is for the community {capsule:?}, not for {asked:?}")]
    CommunityMismatch {
        /// What the capsule says.
        capsule: String,
        /// What was asked for.
        asked: String,
    },
    /// The root is for another community than the one asked for, and says nothing about who may publish for this one.
    #[error("the root is for the community {root}, not for {asked}")]
    RootOfAnotherCommunity {
        /// What the root says.
        root: Community,
        /// What was asked for.
        asked: Community,
    },
    /// The signature inside the file does not fit what it says.
    #[error("the embedded signature does not fit the capsule and the public key")]
    EmbeddedSignatureInvalid,
    /// Older than one already seen by the same key for the same community.
    #[error("the capsule was issued at {issued_at}, and one of {newest_seen} has been seen: this is an older copy")]
    Rollback {
        /// The capsule's.
        issued_at: UnixMillis,
        /// That of the newest capsule seen.
        newest_seen: UnixMillis,
    },
    /// Issued in the reader's future, by more than clocks may differ. It would make the right ones look rolled back.
    #[error("the capsule was issued {} ms ahead of this clock", saturating_millis(issued_at.since(*.now)))]
    NotYetValid {
        /// The capsule's.
        issued_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Over.
    #[error("the capsule expired {} ms ago", saturating_millis(now.since(*.expires_at)))]
    Expired {
        /// The capsule's.
        expires_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
}

impl CapsuleError {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Malformed(_) => Code::Malformed.as_str(),
            Self::CosignaturesMalformed(error) => error.code(),
            Self::RevocationsMalformed(error) => error.code(),
            Self::RootExpired { .. } => Code::RootExpired.as_str(),
            Self::RevokedPublicKey => Code::RevokedPublicKey.as_str(),
            Self::ThresholdNotMet { .. } => Code::ThresholdNotMet.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm.as_str(),
            Self::CommunityMismatch { .. } | Self::RootOfAnotherCommunity { .. } => Code::CommunityMismatch.as_str(),
            Self::DetachedSignatureMissing | Self::DetachedSignatureInvalid | Self::EmbeddedSignatureInvalid => {
                Code::SignatureInvalid.as_str()
            }
            Self::Rollback { .. } => Code::Rollback.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
        }
    }
}

/// Holds the two files of a capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleFiles {
    /// `peers.json`.
    pub json: String,
    /// `peers.json.sig`.
    pub signature: String,
}

/// Holds what a capsule is to say.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Whom it is for.
    pub community: &'a Community,
    /// When it is issued.
    pub issued_at: UnixMillis,
    /// From then to its end. Readers refuse a capsule without a lifetime.
    pub lifetime: Duration,
    /// Its tickets, in this order. Readers refuse more than [`CAPSULE_MAX_PEERS`].
    pub entries: &'a [Entry],
    /// The beacons that the entries' `listed_by` are positions in. Where there are none, nothing is said of origins.
    pub beacons: &'a [BeaconUrl],
    /// What is revoked. Readers refuse more than [`crate::limits::REVOCATIONS_MAX`] of each.
    pub revocations: &'a Revocations,
}

/// Makes a capsule. The same arguments give the same bytes.
///
/// One ticket a line, so that two capsules can be compared line by line.
pub fn sign(contents: &Contents<'_>, key: &PrivateKey) -> CapsuleFiles {
    let Contents { community, issued_at, .. } = contents;
    let (expires_at, peers) = (contents.expires_at(), contents.tickets());
    // A ticket's normal form is its canonical JSON, and so is this: the keys are in order.
    let signed = format!(
        r#"{{"community":"{community}","expiresAt":{expires_at},"issuedAt":{issued_at},"peers":[{}],"version":{VERSION}}}"#,
        peers.join(",")
    );
    let json = contents.json_with(&key.sign(signed.as_bytes()));
    let signature = detached_signature(json.as_bytes(), key);
    CapsuleFiles { json, signature }
}

/// Returns the content of `peers.json.sig` for these bytes.
pub(crate) fn detached_signature(json: &[u8], key: &PrivateKey) -> String {
    format!("{}\n", base64::encode(&key.sign(json)))
}

impl Contents<'_> {
    /// Returns how many bytes `peers.json` has. Readers refuse more than [`CAPSULE_MAX_BYTES`].
    pub fn json_bytes(&self) -> usize {
        // All signatures are equally long.
        self.json_with(&[0; 64]).len()
    }

    fn expires_at(&self) -> UnixMillis {
        self.issued_at.after(self.lifetime)
    }

    fn tickets(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.ticket.as_json()).collect()
    }

    /// Writes `peers.json` with this embedded signature.
    fn json_with(&self, embedded: &[u8; 64]) -> String {
        let Self { community, issued_at, .. } = self;
        let (expires_at, peers) = (self.expires_at(), self.tickets());
        let lines = if peers.is_empty() { String::new() } else { format!("\n{}\n", peers.join(",\n")) };
        let (further, embedded) = (self.further_fields(), base64::encode(embedded));
        format!(
            "{{\"version\":{VERSION},\"community\":\"{community}\",\"issuedAt\":{issued_at},\"expiresAt\":{expires_at},\n\
             \"peers\":[{lines}],\n{further}\"signature\":\"{embedded}\",\"algorithm\":\"{ALGORITHM}\"}}\n"
        )
    }

    /// Writes the fields that only the detached signature covers, a line each. A field that says nothing is left out.
    fn further_fields(&self) -> String {
        let mut fields = String::new();
        if !self.revocations.is_empty() {
            fields.push_str(&format!("\"revoked\":{},\n", self.revocations.to_json()));
        }
        if !self.beacons.is_empty() {
            let peers: Vec<&[usize]> = self.entries.iter().map(|entry| entry.listed_by.as_slice()).collect();
            let beacons: Vec<&str> = self.beacons.iter().map(BeaconUrl::as_str).collect();
            let origins = canonical(&json!({ "beacons": beacons, "peers": peers }));
            fields.push_str(&format!("\"origins\":{origins},\n"));
        }
        fields
    }
}

/// Says whom a reader believes.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// One publisher's key.
    Key(PublicKey),
    /// A root, the newest that the reader has verified.
    Root(&'a Root),
}

/// Holds the files of a capsule as they were fetched; absent where there is no such file.
#[derive(Clone, Copy, Debug)]
pub struct CapsuleBytes<'a> {
    /// `peers.json`.
    pub json: &'a [u8],
    /// `peers.json.sig`.
    pub signature: Option<&'a [u8]>,
    /// `peers.json.sigs`. Looked at only by those who trust a root.
    pub cosignatures: Option<&'a [u8]>,
}

/// Holds what a reader asks of a capsule.
#[derive(Clone, Copy, Debug)]
pub struct CapsuleRules<'a> {
    /// Whom the reader believes.
    pub trust: Trust<'a>,
    /// What each ticket in it has to fulfil at the capsule's `issuedAt`, [`TicketRules::in_capsule`] by default; the
    /// community is also the capsule's.
    pub tickets: TicketRules<'a>,
    /// `issuedAt` of the newest capsule seen for this community from this key, or under this `rootVersion` of this
    /// root.
    pub newest_seen: Option<UnixMillis>,
    /// What the reader remembers as revoked: ticket keys of every source that it has, publisher keys only of those that
    /// this key, or publishers under this `rootVersion` of this root, have revoked.
    pub revoked: Option<&'a Revocations>,
}

impl<'a> CapsuleRules<'a> {
    /// Makes the default rules: nothing seen, nothing revoked, tickets of up to 7 days.
    pub const fn new(trust: Trust<'a>, community: &'a Community) -> Self {
        Self { trust, tickets: TicketRules::in_capsule(community), newest_seen: None, revoked: None }
    }
}

/// Says whether a ticket in a capsule is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketStatus {
    /// Good when the capsule was issued, and now.
    Live,
    /// Good when the capsule was issued, but not now: a hint, to be tried after the live ones.
    RecentlySeen,
}

impl TicketStatus {
    /// Returns what a ticket is worth at `now` that was good when its capsule was issued.
    pub fn of(payload: &Payload, now: UnixMillis) -> Self {
        if payload.expires_at > now && payload.issued_at <= now.after(CLOCK_SKEW) {
            Self::Live
        } else {
            Self::RecentlySeen
        }
    }

    /// Returns a name for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::RecentlySeen => "recentlySeen",
        }
    }
}

/// Holds a capsule whose signatures fit and whose time is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// Its good tickets, in its order, for each peer the first.
    pub peers: Vec<(VerifiedTicket, TicketStatus)>,
    /// How many others there were, by code.
    pub refused: BTreeMap<&'static str, usize>,
    /// The trusted keys whose signatures counted.
    pub publishers: BTreeSet<PublicKey>,
    /// What it revokes, to be remembered.
    pub revocations: Revocations,
    /// Which beacons listed what, where it says so. Nothing is decided by it.
    pub origins: Option<Result<Origins, OriginsMalformed>>,
}

/// Holds what a capsule says besides its tickets, once its signatures fit and its time is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// How many tickets it has, good or not.
    pub peers: usize,
    /// What it revokes.
    pub revocations: Revocations,
}

/// Holds which beacons listed the peers of a capsule, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// The URLs of the beacons.
    pub beacons: Vec<String>,
    /// For each of [`Capsule::peers`], in order, the positions in `beacons` of those that listed it; none for a peer
    /// that the publisher included itself.
    pub listed_by: Vec<Vec<usize>>,
}

impl Origins {
    /// Reads the field `origins` of a capsule with so many `peers`: each of those has its list of positions.
    ///
    /// # Errors
    /// [`OriginsMalformed`].
    pub fn parse(json: &str, peers: usize) -> Result<Self, OriginsMalformed> {
        let malformed = |reason: String| OriginsMalformed { reason };
        let Object(fields): Object<OriginFields> =
            serde_json::from_str(json).map_err(|error| malformed(json_detail(&error)))?;
        let OriginFields { beacons, peers: listed_by } = fields;
        if listed_by.len() != peers {
            return Err(malformed(format!("there are {peers} peers, and origins of {}", listed_by.len())));
        }
        if listed_by.iter().flatten().any(|beacon| *beacon >= beacons.len()) {
            return Err(malformed(format!("there is a position beyond the {} beacons", beacons.len())));
        }
        Ok(Self { beacons, listed_by })
    }
}

/// Says why the origins of a capsule make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("origins: {reason}")]
pub struct OriginsMalformed {
    /// Why.
    pub reason: String,
}

/// Fields that are not here are allowed, and ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapsuleFields<'a> {
    version: u64,
    community: String,
    issued_at: UnixMillis,
    expires_at: UnixMillis,
    #[serde(borrow)]
    peers: Vec<&'a RawValue>,
    signature: String,
    algorithm: String,
    #[serde(default, deserialize_with = "present")]
    revoked: Option<Object<RevocationFields>>,
    #[serde(borrow, default, deserialize_with = "present")]
    origins: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OriginFields {
    beacons: Vec<String>,
    peers: Vec<Vec<usize>>,
}

impl CapsuleFields<'_> {
    /// Checks everything but the tickets: version, algorithm, community, embedded signature, rollback and times.
    fn check(&self, public_key: PublicKey, rules: &CapsuleRules<'_>, now: UnixMillis) -> Result<(), CapsuleError> {
        if self.version != VERSION {
            return Err(CapsuleError::UnsupportedVersion { found: self.version });
        }
        if self.algorithm != ALGORITHM {
            return Err(CapsuleError::UnsupportedAlgorithm);
        }
        let asked = rules.tickets.community;
        // A root says who may publish for its own community, and for no other.
        if let Trust::Root(root) = rules.trust
            && root.community() != asked
        {
            let (root, asked) = (root.community().clone(), asked.clone());
            return Err(CapsuleError::RootOfAnotherCommunity { root, asked });
        }
        if self.community != asked.as_str() {
            let (capsule, asked) = (shortened(&self.community), asked.as_str().to_owned());
            return Err(CapsuleError::CommunityMismatch { capsule, asked });
        }
        base64::decode_array(&self.signature)
            .and_then(|embedded| public_key.verify(self.signed_bytes().ok()?.as_bytes(), &embedded).ok())
            .ok_or(CapsuleError::EmbeddedSignatureInvalid)?;
        let Self { issued_at, expires_at, .. } = *self;
        if let Some(newest_seen) = rules.newest_seen
            && issued_at < newest_seen
        {
            return Err(CapsuleError::Rollback { issued_at, newest_seen });
        }
        if issued_at > now.after(CLOCK_SKEW) {
            return Err(CapsuleError::NotYetValid { issued_at, now });
        }
        if expires_at <= now {
            return Err(CapsuleError::Expired { expires_at, now });
        }
        Ok(())
    }

    fn signed_bytes(&self) -> Result<String, CapsuleError> {
        let peers = self.peers.iter().map(|peer| serde_json::from_str(peer.get())).collect::<Result<Vec<Value>, _>>();
        Ok(canonical(&json!({
            "version": self.version,
            "community": self.community,
            "issuedAt": self.issued_at,
            "expiresAt": self.expires_at,
            "peers": peers.map_err(|error| CapsuleError::Malformed(error.to_string()))?,
        })))
    }
}

impl Capsule {
    /// Checks a capsule: the detached signatures, the shape, version, algorithm, community, the embedded signature,
    /// rollback and times; then each ticket by itself.
    ///
    /// # Errors
    /// The first rule that the capsule breaks. A bad ticket in it is not an error.
    pub fn verify(files: CapsuleBytes<'_>, rules: &CapsuleRules<'_>, now: UnixMillis) -> Result<Self, CapsuleError> {
        let (fields, publishers, revocations) = check_all_but_tickets(files, rules, now)?;
        let remembered = rules.revoked.into_iter().flat_map(|revoked| &revoked.ticket_keys);
        let own = rules.tickets.revoked_keys.into_iter().flatten();
        let revoked_keys = revocations.ticket_keys.iter().chain(remembered).chain(own).copied().collect();
        let tickets = TicketRules { revoked_keys: Some(&revoked_keys), ..rules.tickets };
        let CapsuleFields { issued_at, expires_at, peers, origins, .. } = fields;
        let checked = check_tickets(&peers, &tickets, issued_at);
        let origins = origins.map(|origins| {
            let mut origins = Origins::parse(origins.get(), peers.len())?;
            let mut good = checked.iter().map(Result::is_ok);
            origins.listed_by.retain(|_| good.next() == Some(true));
            Ok(origins)
        });
        let (mut peers, mut refused) = (Vec::new(), BTreeMap::new());
        for ticket in checked {
            match ticket {
                Ok(ticket) => {
                    let status = TicketStatus::of(ticket.payload(), now);
                    peers.push((ticket, status));
                }
                Err(code) => *refused.entry(code).or_default() += 1,
            }
        }
        Ok(Self { issued_at, expires_at, peers, refused, publishers, revocations, origins })
    }

    /// Returns how many of its peers have this status.
    pub fn count(&self, status: TicketStatus) -> usize {
        self.peers.iter().filter(|(_, other)| *other == status).count()
    }
}

impl Frame {
    /// Checks everything that [`Capsule::verify`] does but the tickets, however many of which may be bad in a capsule
    /// that holds.
    ///
    /// # Errors
    /// Those of [`Capsule::verify`].
    pub fn verify(files: CapsuleBytes<'_>, rules: &CapsuleRules<'_>, now: UnixMillis) -> Result<Self, CapsuleError> {
        let (fields, _, revocations) = check_all_but_tickets(files, rules, now)?;
        let CapsuleFields { issued_at, expires_at, peers, .. } = fields;
        Ok(Self { issued_at, expires_at, peers: peers.len(), revocations })
    }
}

/// Checks a capsule but for its tickets. Returns what the file says, whose signatures count, and what is revoked.
fn check_all_but_tickets<'a>(
    files: CapsuleBytes<'a>,
    rules: &CapsuleRules<'_>,
    now: UnixMillis,
) -> Result<(CapsuleFields<'a>, BTreeSet<PublicKey>, Revocations), CapsuleError> {
    if files.json.len() > CAPSULE_MAX_BYTES {
        return Err(CapsuleError::TooLarge);
    }
    let (public_key, publishers) = check_publishers(files, rules, now)?;
    let (fields, revocations) = parse(files.json)?;
    fields.check(public_key, rules, now)?;
    Ok((fields, publishers, revocations))
}

fn parse(json: &[u8]) -> Result<(CapsuleFields<'_>, Revocations), CapsuleError> {
    let Object(mut fields): Object<CapsuleFields<'_>> = serde_json::from_slice(json)
        .map_err(|error| CapsuleError::Malformed(format!("capsule: {}", json_detail(&error))))?;
    if fields.issued_at >= fields.expires_at {
        return Err(CapsuleError::Malformed("expiresAt must be later than issuedAt".to_owned()));
    }
    if fields.peers.len() > CAPSULE_MAX_PEERS {
        return Err(CapsuleError::Malformed(format!("a capsule has at most {CAPSULE_MAX_PEERS} peers")));
    }
    let revocations = match fields.revoked.take() {
        Some(Object(revoked)) => revoked.try_into()?,
        None => Revocations::default(),
    };
    Ok((fields, revocations))
}

/// Returns each ticket, or the code of what is wrong with it, in the capsule's order.
fn check_tickets(
    peers: &[&RawValue],
    rules: &TicketRules<'_>,
    issued_at: UnixMillis,
) -> Vec<Result<VerifiedTicket, &'static str>> {
    let mut seen: BTreeSet<PeerId> = BTreeSet::new();
    let check = |peer: &&RawValue| {
        let ticket = Ticket::parse(peer.get(), Purpose::Presence).and_then(|ticket| ticket.verify(rules, issued_at));
        let ticket = ticket.map_err(|error| error.code())?;
        if seen.insert(ticket.peer_id().clone()) { Ok(ticket) } else { Err(DUPLICATE) }
    };
    peers.iter().map(check).collect()
}

/// Checks everything that is signed over the exact bytes. Returns the key that made the detached signature, and all
/// whose signatures count.
fn check_publishers(
    files: CapsuleBytes<'_>,
    rules: &CapsuleRules<'_>,
    now: UnixMillis,
) -> Result<(PublicKey, BTreeSet<PublicKey>), CapsuleError> {
    let revoked = |key: &PublicKey| rules.revoked.is_some_and(|revoked| revoked.publisher_keys.contains(key));
    match rules.trust {
        Trust::Key(key) => {
            if revoked(&key) {
                return Err(CapsuleError::RevokedPublicKey);
            }
            let publishers = BTreeSet::from([key]);
            Ok((detached_signer(files, &publishers)?, publishers))
        }
        Trust::Root(root) => {
            // In the same words as the root's own check, and under the capsule's name for it.
            if root.check_expiry(now).is_err() {
                return Err(CapsuleError::RootExpired { expires_at: root.expires_at(), now });
            }
            let role = root.publisher_keys();
            let trusted: BTreeSet<PublicKey> = role.keys().iter().filter(|key| !revoked(key)).copied().collect();
            let signer = detached_signer(files, &trusted)?;
            let cosignatures = files.cosignatures.map(Signatures::parse).transpose()?.unwrap_or_default();
            let mut publishers = cosignatures.signers(files.json, &trusted);
            publishers.insert(signer);
            if publishers.len() < role.threshold() {
                return Err(CapsuleError::ThresholdNotMet { signed: publishers.len(), threshold: role.threshold() });
            }
            Ok((signer, publishers))
        }
    }
}

/// Returns the one of `keys` that made `peers.json.sig`.
fn detached_signer(files: CapsuleBytes<'_>, keys: &BTreeSet<PublicKey>) -> Result<PublicKey, CapsuleError> {
    let text = str::from_utf8(files.signature.ok_or(CapsuleError::DetachedSignatureMissing)?).ok();
    let signature = text.and_then(|text| base64::decode_array(text.strip_suffix('\n').unwrap_or(text)));
    let fits = |signature| keys.iter().find(|key| key.verify(files.json, &signature).is_ok()).copied();
    signature.and_then(fits).ok_or(CapsuleError::DetachedSignatureInvalid)
}
