//! Presence tickets: "this peer is here until then", signed by the peer itself.
//!
//! Parsing settles the shape, [`Ticket::verify`] everything that depends on the verifier: its clock, the community it
//! asked for, its rules, the signature. Only a [`VerifiedTicket`] can enter a roster or a capsule.

use std::fmt;
use std::time::Duration;

use crate::base64;
use crate::canonical::quoted;
use crate::code::Code;
use crate::community::Community;
use crate::fields::{FieldError, Fields};
use crate::key::{PrivateKey, PublicKey};
use crate::limits::{
    CAPSULE_TICKET_MAX_LIFETIME, CLOCK_SKEW, DATA_MAX_BYTES, NONCE_MAX_BYTES, NONCE_MIN_BYTES, PEER_ID_MAX_BYTES,
    TICKET_MAX_LIFETIME, USER_ID_MAX_BYTES,
};
use crate::sorted_set::SortedSet;
use crate::time::{UnixMillis, saturating_millis};

const VERSION: u64 = 1;
const ALGORITHM: &str = "ed25519";

/// Says why a ticket is refused. [`TicketError::code`] is the name of each on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Shape, types, lengths or base64.
    #[error("{0}")]
    Malformed(String),
    /// Another version than 1.
    #[error("version {found} of tickets is not supported, only {VERSION}")]
    UnsupportedVersion {
        /// What the ticket says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    #[error("only the algorithm {ALGORITHM} is supported")]
    UnsupportedAlgorithm,
    /// Signed for another community than the one asked for.
    #[error("the ticket is for the community {ticket}, not for {asked}")]
    CommunityMismatch {
        /// The community in the payload.
        ticket: Community,
        /// The community asked for.
        asked: Community,
    },
    /// Lives longer than the verifier allows.
    #[error("the ticket lives {} ms, at most {} are allowed", saturating_millis(*.lifetime), saturating_millis(*.limit))]
    LifetimeTooLong {
        /// From `issuedAt` to `expiresAt`.
        lifetime: Duration,
        /// The verifier's limit.
        limit: Duration,
    },
    /// Issued in the verifier's future, by more than clocks may differ.
    #[error(
        "issuedAt is {} ms ahead of this clock, at most {} are allowed",
        saturating_millis(issued_at.since(*.now)),
        saturating_millis(CLOCK_SKEW)
    )]
    NotYetValid {
        /// The ticket's.
        issued_at: UnixMillis,
        /// The verifier's clock.
        now: UnixMillis,
    },
    /// Over.
    #[error("the ticket expired {} ms ago", saturating_millis(now.since(*.expires_at)))]
    Expired {
        /// The ticket's.
        expires_at: UnixMillis,
        /// The verifier's clock.
        now: UnixMillis,
    },
    /// There is a list of trusted keys, and this key is not on it.
    #[error("this public key is not on the list of trusted ones")]
    UntrustedPublicKey,
    /// The key has been revoked: whoever signs with it may have stolen it.
    #[error("this public key has been revoked")]
    RevokedPublicKey,
    /// The community lists keys alone whose owner has confirmed an address of e-mail.
    #[error("this community lists registered keys alone: GET /register says how this one is registered")]
    RegistrationRequired,
    /// Not a signature of this key over this payload.
    #[error("the signature does not fit the payload and the public key")]
    SignatureInvalid,
}

impl TicketError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => Code::Malformed.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm.as_str(),
            Self::CommunityMismatch { .. } => Code::CommunityMismatch.as_str(),
            Self::LifetimeTooLong { .. } => Code::LifetimeTooLong.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
            Self::UntrustedPublicKey => Code::UntrustedPublicKey.as_str(),
            Self::RevokedPublicKey => Code::RevokedPublicKey.as_str(),
            Self::RegistrationRequired => Code::RegistrationRequired.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
        }
    }
}

/// Says what a ticket is presented for. One that says "I leave" must never be taken for one that says "I am here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be listed: `leave` must be absent.
    Presence,
    /// To be removed: `leave` must be `true`.
    Leave,
}

/// Holds the name of a peer: 1 to 128 bytes of printable ASCII without `"`, `\`, `<`, `>`, `&`, no space at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Box<str>);

impl PeerId {
    /// Takes a name that follows the rule above.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |byte: u8| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
        let fits = (1..=PEER_ID_MAX_BYTES).contains(&text.len());
        (fits && text.bytes().all(allowed) && text.trim_matches(' ').len() == text.len()).then(|| Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for PeerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Holds the application's name for the user: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId(Box<str>);

impl UserId {
    /// Takes a name that follows the rule above.
    pub fn new(text: &str) -> Option<Self> {
        is_text(text, USER_ID_MAX_BYTES).then(|| Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Holds what the peer says about itself, in a form of the application's own: 1 to 512 bytes of UTF-8 without control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerData(Box<str>);

impl PeerData {
    /// Takes a text that follows the rule above.
    pub fn new(text: &str) -> Option<Self> {
        is_text(text, DATA_MAX_BYTES).then(|| Self(text.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Holds 12 to 32 bytes that make two tickets of one millisecond differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// Takes 12 to 32 bytes.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (NONCE_MIN_BYTES..=NONCE_MAX_BYTES).contains(&bytes.len()).then_some(Self(bytes))
    }
}

/// Holds what a peer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Returns the peer.
    pub peer_id: PeerId,
    /// Its user.
    pub user_id: UserId,
    /// What the peer says about itself. Absent in a ticket to leave.
    pub data: Option<PeerData>,
    /// When the ticket begins. Moves forward from ticket to ticket of one peer.
    pub issued_at: UnixMillis,
    /// When the ticket ends: from this millisecond on it is good for nothing.
    pub expires_at: UnixMillis,
    /// Chosen at random.
    pub nonce: Nonce,
    /// The only community that the ticket is good for; any, where absent.
    pub community: Option<Community>,
    /// What the ticket is for.
    pub purpose: Purpose,
}

impl Payload {
    /// Writes the bytes that are signed: the payload as [`canonical`](crate::canonical::canonical) writes it, without
    /// the way over a tree of values, because this is done for every request. Of all fields only `data` and `userId` may
    /// have characters that are escaped.
    pub fn signed_bytes(&self) -> String {
        let Self { issued_at, expires_at, .. } = self;
        let community = self.community.as_ref().map(|name| format!(r#""community":"{name}","#)).unwrap_or_default();
        let data = self.data.as_ref().map(|data| format!(r#""data":{},"#, quoted(data.as_str()))).unwrap_or_default();
        let leave = if self.purpose == Purpose::Leave { r#""leave":true,"# } else { "" };
        let nonce = base64::encode(&self.nonce.0);
        let peer_id = self.peer_id.as_str();
        let user_id = quoted(self.user_id.as_str());
        format!(
            r#"{{{community}{data}"expiresAt":{expires_at},"issuedAt":{issued_at},{leave}"nonce":"{nonce}","peerId":"{peer_id}","userId":{user_id}}}"#
        )
    }
}

/// Holds a ticket of the right shape, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    payload: Payload,
    public_key: PublicKey,
    signature: [u8; 64],
}

/// Holds what a verifier asks of a ticket.
#[derive(Clone, Copy, Debug)]
pub struct TicketRules<'a> {
    /// The community asked for.
    pub community: &'a Community,
    /// The longest life allowed.
    pub max_lifetime: Duration,
    /// The only keys allowed; any, where absent.
    pub trusted_keys: Option<&'a SortedSet<PublicKey>>,
    /// Keys that are refused, trusted or not; none, where absent.
    pub revoked_keys: Option<&'a SortedSet<PublicKey>>,
}

impl<'a> TicketRules<'a> {
    /// Makes the default rules of a beacon and of those who ask it: 180 seconds of life, any key.
    pub const fn new(community: &'a Community) -> Self {
        Self { community, max_lifetime: TICKET_MAX_LIFETIME, trusted_keys: None, revoked_keys: None }
    }

    /// Makes the default rules for tickets in capsules: 7 days of life, any key.
    pub const fn in_capsule(community: &'a Community) -> Self {
        Self { max_lifetime: CAPSULE_TICKET_MAX_LIFETIME, ..Self::new(community) }
    }
}

fn malformed(detail: &str) -> TicketError {
    TicketError::Malformed(detail.to_owned())
}

fn read_payload(mut fields: Fields<'_>, purpose: Purpose) -> Result<Payload, TicketError> {
    let community = fields.optional_text("community")?;
    let data = fields.optional_text("data")?;
    let (issued_at, expires_at) = (fields.time("issuedAt")?, fields.time("expiresAt")?);
    let leave = fields.optional_flag("leave")?;
    let (nonce, peer_id, user_id) = (fields.text("nonce")?, fields.text("peerId")?, fields.text("userId")?);
    fields.end()?;
    if leave.is_some() != (purpose == Purpose::Leave) || leave == Some(false) {
        return Err(malformed("payload.leave must be true in a ticket to leave, and absent in any other"));
    }
    if data.is_some() && purpose == Purpose::Leave {
        return Err(malformed("payload.data must be absent in a ticket to leave"));
    }
    if issued_at >= expires_at {
        return Err(malformed("payload.expiresAt must be later than payload.issuedAt"));
    }
    let community = community.as_deref().map(Community::new).transpose();
    Ok(Payload {
        peer_id: PeerId::new(&peer_id).ok_or_else(|| {
            malformed(
                "payload.peerId must be 1 to 128 bytes of printable ASCII without \" \\ < > &, no space at either end",
            )
        })?,
        user_id: UserId::new(&user_id)
            .ok_or_else(|| malformed("payload.userId must be 1 to 128 bytes of UTF-8 without control characters"))?,
        data: data
            .as_deref()
            .map(|data| {
                PeerData::new(data)
                    .ok_or_else(|| malformed("payload.data must be 1 to 512 bytes of UTF-8 without control characters"))
            })
            .transpose()?,
        issued_at,
        expires_at,
        nonce: base64::decode(&nonce)
            .and_then(Nonce::new)
            .ok_or_else(|| malformed("payload.nonce must be the base64 of 12 to 32 bytes"))?,
        community: community.map_err(|error| TicketError::Malformed(format!("payload.community: {error}")))?,
        purpose,
    })
}

impl From<FieldError> for TicketError {
    fn from(error: FieldError) -> Self {
        Self::Malformed(format!("ticket: {error}"))
    }
}

impl Ticket {
    /// Parses JSON of the exact shape of a ticket, in any layout and order of keys.
    ///
    /// # Errors
    /// `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
    pub fn parse(json: &str, purpose: Purpose) -> Result<Self, TicketError> {
        let mut fields = Fields::parse(json)?;
        let (version, algorithm) = (fields.number("version")?, fields.text("algorithm")?);
        let (public_key, signature) = (fields.text("publicKey")?, fields.text("signature")?);
        let payload = fields.object("payload")?;
        fields.end()?;
        let public_key =
            base64::decode_array(&public_key).ok_or_else(|| malformed("publicKey must be the base64 of 32 bytes"))?;
        let signature =
            base64::decode_array(&signature).ok_or_else(|| malformed("signature must be the base64 of 64 bytes"))?;
        let payload = read_payload(payload, purpose)?;
        if version != VERSION {
            return Err(TicketError::UnsupportedVersion { found: version });
        }
        if algorithm != ALGORITHM {
            return Err(TicketError::UnsupportedAlgorithm);
        }
        Ok(Self { payload, public_key: PublicKey::from_bytes(public_key), signature })
    }

    /// Signs `payload`.
    pub fn sign(payload: Payload, key: &PrivateKey) -> Self {
        let signature = key.sign(payload.signed_bytes().as_bytes());
        Self { payload, public_key: key.public_key(), signature }
    }

    /// Returns the payload, which was signed.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Returns the key that signed it, or so it says.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Writes the normal form: keys sorted by byte, no white space.
    pub fn to_json(&self) -> String {
        self.normal_form(&self.payload.signed_bytes())
    }

    /// Writes the normal form. `payload` is in its own already, and nothing else of a ticket needs escaping.
    fn normal_form(&self, payload: &str) -> String {
        let public_key = base64::encode(self.public_key.as_bytes());
        let signature = base64::encode(&self.signature);
        format!(
            r#"{{"algorithm":"{ALGORITHM}","payload":{payload},"publicKey":"{public_key}","signature":"{signature}","version":{VERSION}}}"#
        )
    }

    /// Checks everything that [`Ticket::parse`] could not, in the order of the specification: the signature, which
    /// costs a hundred times the rest, comes last.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn verify(self, rules: &TicketRules<'_>, now: UnixMillis) -> Result<VerifiedTicket, TicketError> {
        let unverified = self.check(rules, now)?;
        let signature_fits = unverified.verify_signature();
        unverified.accept(signature_fits)
    }

    /// Checks everything that [`Ticket::verify`] does but the signature, for a host that verifies signatures by itself.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(self, rules: &TicketRules<'_>, now: UnixMillis) -> Result<Unverified, TicketError> {
        let Payload { issued_at, expires_at, .. } = self.payload;
        if let Some(community) = &self.payload.community
            && community != rules.community
        {
            return Err(TicketError::CommunityMismatch { ticket: community.clone(), asked: rules.community.clone() });
        }
        let lifetime = expires_at.since(issued_at);
        if lifetime > rules.max_lifetime {
            return Err(TicketError::LifetimeTooLong { lifetime, limit: rules.max_lifetime });
        }
        if issued_at > now.after(CLOCK_SKEW) {
            return Err(TicketError::NotYetValid { issued_at, now });
        }
        if expires_at <= now {
            return Err(TicketError::Expired { expires_at, now });
        }
        if rules.trusted_keys.is_some_and(|keys| !keys.contains(&self.public_key)) {
            return Err(TicketError::UntrustedPublicKey);
        }
        if rules.revoked_keys.is_some_and(|keys| keys.contains(&self.public_key)) {
            return Err(TicketError::RevokedPublicKey);
        }
        if !self.public_key.may_have_made(&self.signature) {
            return Err(TicketError::SignatureInvalid);
        }
        let message = self.payload.signed_bytes();
        let json = self.normal_form(&message).into();
        Ok(Unverified { message, ticket: VerifiedTicket { ticket: self, json } })
    }
}

/// Holds a ticket of which everything is checked but the signature. The host verifies the signature, because a
/// runtime's own code may be faster: by the plain equation of RFC 8032 for key, signature and message. The rest of the
/// one acceptance rule has been checked: see [`PublicKey::may_have_made`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    message: String,
    /// Not given to anybody before the signature is verified.
    ticket: VerifiedTicket,
}

impl Unverified {
    /// Returns the key.
    pub const fn public_key(&self) -> PublicKey {
        self.ticket.ticket.public_key
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.ticket.ticket.signature
    }

    /// Returns the bytes that are signed.
    pub const fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Returns the normal form of the whole ticket: what is signed, by which key, and the signature.
    pub fn as_json(&self) -> &str {
        &self.ticket.json
    }

    /// Verifies the signature, for a host that has nothing faster.
    pub fn verify_signature(&self) -> bool {
        self.public_key().verify(self.message(), self.signature()).is_ok()
    }

    /// Takes the outcome: whether the signature fits.
    ///
    /// # Errors
    /// [`TicketError::SignatureInvalid`], if it does not.
    pub fn accept(self, signature_fits: bool) -> Result<VerifiedTicket, TicketError> {
        if signature_fits { Ok(self.ticket) } else { Err(TicketError::SignatureInvalid) }
    }
}

/// Holds a ticket that was good when it was checked, with its normal form ready to be copied into answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTicket {
    ticket: Ticket,
    json: Box<str>,
}

impl VerifiedTicket {
    /// Takes back a ticket that this program verified earlier, in the normal form that it wrote itself: handed over
    /// from the Worker to the community's object, or read from that object's own storage. Never for input from
    /// anywhere else: the signature is not checked.
    ///
    /// # Errors
    /// Those of [`Ticket::parse`].
    pub fn trusted(json: &str, purpose: Purpose) -> Result<Self, TicketError> {
        Ok(Self { ticket: Ticket::parse(json, purpose)?, json: json.into() })
    }

    /// Returns the payload, which was signed.
    pub const fn payload(&self) -> &Payload {
        &self.ticket.payload
    }

    /// The peer.
    pub const fn peer_id(&self) -> &PeerId {
        &self.ticket.payload.peer_id
    }

    /// Returns the key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.ticket.public_key
    }

    /// Returns its signature.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.ticket.signature
    }

    /// Returns the normal form.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}
