//! Capsules: signed snapshots of who is online, for any static host.
//!
//! A capsule is a file `peers.json` with a signature inside, over the canonical JSON of what it says, and another one
//! beside it in `peers.json.sig`, over the exact bytes of the file. The one inside is what older clients check; it
//! cannot be checked before the file is parsed, and does not cover fields added later. The one beside it can and does,
//! so it is checked first here.
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
use crate::canonical::canonical;
use crate::community::Community;
use crate::key::{PrivateKey, PublicKey};
use crate::limits::{CAPSULE_MAX_BYTES, CAPSULE_MAX_PEERS, CLOCK_SKEW};
use crate::object::Object;
use crate::ticket::{PeerId, Purpose, Ticket, TicketRules, VerifiedTicket};
use crate::time::{UnixMillis, saturating_millis};

const VERSION: u64 = 1;
const ALGORITHM: &str = "ed25519";

/// Why a capsule is refused. [`CapsuleError::code`] names each.
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
    /// Not the JSON of a capsule.
    #[error("{0}")]
    Malformed(String),
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
    /// A name for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Malformed(_) => "MALFORMED",
            Self::UnsupportedVersion { .. } => "UNSUPPORTED_VERSION",
            Self::UnsupportedAlgorithm => "UNSUPPORTED_ALGORITHM",
            Self::CommunityMismatch { .. } => "COMMUNITY_MISMATCH",
            Self::DetachedSignatureMissing | Self::DetachedSignatureInvalid | Self::EmbeddedSignatureInvalid => {
                "SIGNATURE_INVALID"
            }
            Self::Rollback { .. } => "ROLLBACK",
            Self::NotYetValid { .. } => "NOT_YET_VALID",
            Self::Expired { .. } => "EXPIRED",
        }
    }
}

/// The two files of a capsule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleFiles {
    /// `peers.json`.
    pub json: String,
    /// `peers.json.sig`.
    pub signature: String,
}

/// Makes a capsule of `tickets`, in their order. The same arguments give the same bytes. Readers refuse one without a
/// lifetime, and one of more than [`CAPSULE_MAX_PEERS`] tickets.
///
/// One ticket a line, so that two capsules can be compared line by line.
pub fn sign(
    community: &Community,
    issued_at: UnixMillis,
    lifetime: Duration,
    tickets: &[VerifiedTicket],
    key: &PrivateKey,
) -> CapsuleFiles {
    let expires_at = issued_at.after(lifetime);
    let peers: Vec<&str> = tickets.iter().map(VerifiedTicket::as_json).collect();
    // A ticket's normal form is its canonical JSON, and so is this: the keys are in order.
    let signed = format!(
        r#"{{"community":"{community}","expiresAt":{expires_at},"issuedAt":{issued_at},"peers":[{}],"version":{VERSION}}}"#,
        peers.join(",")
    );
    let embedded = base64::encode(&key.sign(signed.as_bytes()));
    let lines = if peers.is_empty() { String::new() } else { format!("\n{}\n", peers.join(",\n")) };
    let json = format!(
        "{{\"version\":{VERSION},\"community\":\"{community}\",\"issuedAt\":{issued_at},\"expiresAt\":{expires_at},\n\
         \"peers\":[{lines}],\n\"signature\":\"{embedded}\",\"algorithm\":\"{ALGORITHM}\"}}\n"
    );
    let signature = format!("{}\n", base64::encode(&key.sign(json.as_bytes())));
    CapsuleFiles { json, signature }
}

/// What a reader asks of a capsule.
#[derive(Clone, Copy, Debug)]
pub struct CapsuleRules<'a> {
    /// The publisher's key.
    pub public_key: PublicKey,
    /// What each ticket in it has to fulfil at the capsule's `issuedAt`; the community is also the capsule's.
    pub tickets: TicketRules<'a>,
    /// `issuedAt` of the newest capsule seen from this key for this community.
    pub newest_seen: Option<UnixMillis>,
}

/// Whether a ticket in a capsule is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Good when the capsule was issued, and now.
    Live,
    /// Good when the capsule was issued, but not now: a hint, to be tried after the live ones.
    RecentlySeen,
}

/// A capsule whose signatures fit and whose time is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// Its good tickets, in its order, for each peer the first.
    pub peers: Vec<(VerifiedTicket, Standing)>,
    /// How many others there were, by code.
    pub refused: BTreeMap<&'static str, usize>,
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
}

impl CapsuleFields<'_> {
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
    /// Checks a capsule, `json` being the bytes of `peers.json` and `signature` those of `peers.json.sig`: the
    /// detached signature, the shape, version, algorithm, community, the embedded signature, rollback and times; then
    /// each ticket by itself.
    ///
    /// # Errors
    /// The first rule that the capsule breaks. A bad ticket in it is no error.
    pub fn verify(
        json: &[u8],
        signature: Option<&[u8]>,
        rules: &CapsuleRules<'_>,
        now: UnixMillis,
    ) -> Result<Self, CapsuleError> {
        if json.len() > CAPSULE_MAX_BYTES {
            return Err(CapsuleError::TooLarge);
        }
        let detached = signature.ok_or(CapsuleError::DetachedSignatureMissing)?;
        check_detached(json, detached, rules.public_key).ok_or(CapsuleError::DetachedSignatureInvalid)?;
        let fields = parse(json)?;
        if fields.version != VERSION {
            return Err(CapsuleError::UnsupportedVersion { found: fields.version });
        }
        if fields.algorithm != ALGORITHM {
            return Err(CapsuleError::UnsupportedAlgorithm);
        }
        let asked = rules.tickets.community.as_str();
        if fields.community != asked {
            return Err(CapsuleError::CommunityMismatch { capsule: fields.community, asked: asked.to_owned() });
        }
        base64::decode_array(&fields.signature)
            .and_then(|embedded| rules.public_key.verify(fields.signed_bytes().ok()?.as_bytes(), &embedded).ok())
            .ok_or(CapsuleError::EmbeddedSignatureInvalid)?;
        let CapsuleFields { issued_at, expires_at, .. } = fields;
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
        let mut capsule = Self { issued_at, expires_at, peers: Vec::new(), refused: BTreeMap::new() };
        let mut seen: BTreeSet<PeerId> = BTreeSet::new();
        for peer in &fields.peers {
            let ticket = Ticket::parse(peer.get(), Purpose::Presence)
                .and_then(|ticket| ticket.verify(&rules.tickets, issued_at))
                .map_err(|error| error.code())
                .and_then(|ticket| seen.insert(ticket.peer_id().clone()).then_some(ticket).ok_or(DUPLICATE));
            match ticket {
                Ok(ticket) => {
                    let standing = standing(&ticket, now);
                    capsule.peers.push((ticket, standing));
                }
                Err(code) => *capsule.refused.entry(code).or_default() += 1,
            }
        }
        Ok(capsule)
    }

    /// How many of its peers have this standing.
    pub fn count(&self, standing: Standing) -> usize {
        self.peers.iter().filter(|(_, other)| *other == standing).count()
    }
}

fn parse(json: &[u8]) -> Result<CapsuleFields<'_>, CapsuleError> {
    let Object(fields): Object<CapsuleFields<'_>> =
        serde_json::from_slice(json).map_err(|error| CapsuleError::Malformed(format!("capsule: {error}")))?;
    if fields.issued_at >= fields.expires_at {
        return Err(CapsuleError::Malformed("expiresAt must be later than issuedAt".to_owned()));
    }
    if fields.peers.len() > CAPSULE_MAX_PEERS {
        return Err(CapsuleError::Malformed(format!("a capsule has at most {CAPSULE_MAX_PEERS} peers")));
    }
    Ok(fields)
}

fn check_detached(json: &[u8], signature: &[u8], key: PublicKey) -> Option<()> {
    let text = str::from_utf8(signature).ok()?;
    let signature = base64::decode_array(text.strip_suffix('\n').unwrap_or(text))?;
    key.verify(json, &signature).ok()
}

fn standing(ticket: &VerifiedTicket, now: UnixMillis) -> Standing {
    let payload = ticket.payload();
    if payload.expires_at > now && payload.issued_at <= now.after(CLOCK_SKEW) {
        Standing::Live
    } else {
        Standing::RecentlySeen
    }
}
