//! A request: `{"tool":NAME,"args":{…,"auth":{…}}}`, in both dialects, and what of it is signed. It is read in both, and
//! written in the newer one.
//!
//! The dialects differ in the names of three fields of `auth`. What is signed is the same: the tool, the address of the relay
//! as the user wrote it, who asks, when, a nonce, and a hash of the arguments as Python writes them. The arguments are read
//! into types of their own, and written from these: what is not understood cannot be signed.

use std::borrow::Cow;
use std::fmt::Display;

use super::limits::{
    BODY_MAX_BYTES, MESSAGE_MAX_BYTES, NONCE_BYTES, ONE_TIME_KEYS_MAX, PEER_MAX_BYTES, TIMESTAMP_MAX_DIGITS,
    TIMESTAMP_SKEW,
};
use super::python_json::{object, quoted};
use super::user::{Identity, UserId, decode_array, hex, refusal_text};
use crate::base64;
use crate::code::Code;
use crate::fields::{FieldError, Fields};
use crate::mailbox::bytes::{bytes_of_hex, sha256};
use crate::mailbox::limits::PREKEY_ID_MAX_BYTES;
use crate::time::{UnixMillis, saturating_millis};

/// Says why a request is refused before its mailbox is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes than a body may have.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// Something of another shape than the specification has.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// Another tool than those that there are.
    #[error("there is no such tool")]
    ToolUnknown,
    /// Fields of both dialects, or not all of one.
    #[error("auth has the fields of neither dialect")]
    DialectUnknown,
    /// The id is another's.
    #[error("the id in auth is not that of the keys in auth")]
    NotTheOwner,
    /// Keys of another user are to be published.
    #[error("the keys to be published are not those in auth")]
    OtherKeys,
    /// The sender's clock, or the request, is wrong by more than is allowed.
    #[error(
        "stale timestamp: it is {seconds} s {} this relay's clock, which allows {} s",
        if *.is_ahead { "ahead of" } else { "behind" },
        TIMESTAMP_SKEW.as_secs()
    )]
    Stale {
        /// By how much.
        seconds: u64,
        /// Whether the timestamp is in the relay's future.
        is_ahead: bool,
    },
    /// A signature does not fit: by these keys, over these arguments, for any address of this relay.
    #[error("bad signature: it is not one by these keys over these arguments for an address of this relay")]
    SignatureInvalid,
}

impl RequestError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::Malformed(_) | Self::ToolUnknown | Self::DialectUnknown => Code::Malformed.as_str(),
            Self::NotTheOwner | Self::OtherKeys => Code::NotTheOwner.as_str(),
            Self::Stale { is_ahead: true, .. } => Code::NotYetValid.as_str(),
            Self::Stale { is_ahead: false, .. } => Code::Expired.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
        }
    }
}

impl From<FieldError> for RequestError {
    fn from(error: FieldError) -> Self {
        malformed(&error)
    }
}

fn malformed(what: &dyn Display) -> RequestError {
    RequestError::Malformed(what.to_string())
}

/// Holds a public key that others begin a session with, and its name. Neither has a character that needs an escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prekey {
    /// The name, which its owner chose.
    pub id: String,
    /// The key, as its owner wrote it.
    pub key: String,
}

impl Prekey {
    /// Takes a name and a key in base64. Absent is what is neither.
    pub fn parse(id: &str, key: &str) -> Option<Self> {
        let is_id = (1..=PREKEY_ID_MAX_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte));
        (is_id && decode_array::<32>(key).is_some()).then(|| Self { id: id.to_owned(), key: key.to_owned() })
    }
}

/// Says which of Olm's two kinds a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// One that begins a session.
    PreKey,
    /// One in a session that both sides have.
    Normal,
}

impl MessageKind {
    /// Returns the number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::PreKey => 0,
            Self::Normal => 1,
        }
    }

    /// Returns the kind of a number on the wire. Absent is what is none.
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::PreKey),
            1 => Some(Self::Normal),
            _ => None,
        }
    }
}

/// Says what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// To take the caller's prekeys, and so to open a mailbox.
    PublishKeys {
        /// One-time keys, in ascending order of their names.
        one_time: Vec<Prekey>,
        /// The key for when there is no other; absent, the one before stays.
        fallback: Option<Prekey>,
    },
    /// To say how many one-time keys are left of the caller.
    CountKeys,
    /// To tell the keys of a peer.
    GetKeys {
        /// The name, which need not be anybody's.
        peer: String,
    },
    /// To hand out a prekey of a peer.
    ClaimKey {
        /// The name, which need not be anybody's.
        peer: String,
    },
    /// To leave a message.
    SendMessage {
        /// The name of the recipient, which need not be anybody's.
        to: String,
        /// Its kind.
        kind: MessageKind,
        /// The ciphertext, in base64.
        body: String,
    },
    /// To hand over what waits for the caller.
    ReadMessages {
        /// The name of the only sender whose messages are wanted.
        peer: Option<String>,
        /// Whether they stay. What was signed tells an absent flag from a false one.
        keep: Option<bool>,
    },
    /// To refuse a body to whoever sends it.
    Nack {
        /// Its SHA-256, as text.
        hash: [u8; 32],
        /// The caller's signature of that, which the sender is shown.
        signature: String,
    },
}

impl Tool {
    /// Returns the name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PublishKeys { .. } => "publish_keys",
            Self::CountKeys => "count_keys",
            Self::GetKeys { .. } => "get_keys",
            Self::ClaimKey { .. } => "claim_key",
            Self::SendMessage { .. } => "send_message",
            Self::ReadMessages { .. } => "read_messages",
            Self::Nack { .. } => "nack",
        }
    }

    fn read(name: &str, args: &mut Fields<'_>, identity: &Identity) -> Result<Self, RequestError> {
        Ok(match name {
            "publish_keys" => Self::read_publish(args, identity)?,
            "count_keys" => Self::CountKeys,
            "get_keys" => Self::GetKeys { peer: peer(args.text("peer")?)? },
            "claim_key" => Self::ClaimKey { peer: peer(args.text("peer")?)? },
            "send_message" => {
                let kind = MessageKind::of(args.number("mtype")?);
                let body = args.text("body")?.into_owned();
                if body.is_empty() || body.len() > MESSAGE_MAX_BYTES || base64::decode(&body).is_none() {
                    return Err(malformed(&format_args!(
                        "the field body must be base64 with padding of {MESSAGE_MAX_BYTES} characters at most"
                    )));
                }
                let kind = kind.ok_or_else(|| malformed(&"the field mtype must be 0 or 1"))?;
                Self::SendMessage { to: peer(args.text("to")?)?, kind, body }
            }
            "read_messages" => {
                // A client that finds the flag's name in an error takes this for a relay that does not know it, and lets its
                // messages be removed. So this error does not name its field.
                let keep = args.optional_flag("peek").map_err(|_| malformed(&"a flag must be true or false"))?;
                Self::ReadMessages { peer: args.optional_text("peer")?.map(peer).transpose()?, keep }
            }
            "nack" => {
                let hash = bytes_of_hex(&args.text("hash")?);
                let hash = hash.ok_or_else(|| malformed(&"the field hash must be 64 characters of 0-9 a-f"))?;
                let signature = args.text("sig")?.into_owned();
                if decode_array::<64>(&signature).is_none() {
                    return Err(malformed(&"the field sig must be the base64 of 64 bytes"));
                }
                Self::Nack { hash, signature }
            }
            _ => return Err(RequestError::ToolUnknown),
        })
    }

    fn read_publish(args: &mut Fields<'_>, identity: &Identity) -> Result<Self, RequestError> {
        let (identity_key, signing_key) = (args.text("identity_key")?, args.text("signing_key")?);
        if identity_key != identity.identity_key() || signing_key != identity.signing_key() {
            return Err(RequestError::OtherKeys);
        }
        let one_time = prekeys("one_time_keys", args.object("one_time_keys")?)?;
        let fallback = match args.json("fallback_key")? {
            "null" => None,
            json => {
                let mut prekeys = prekeys("fallback_key", Fields::parse(json)?)?;
                let (first, is_one) = (prekeys.pop(), prekeys.is_empty());
                Some(first.filter(|_| is_one).ok_or_else(|| malformed(&"the field fallback_key must have one key"))?)
            }
        };
        Ok(Self::PublishKeys { one_time, fallback })
    }

    /// Writes the arguments as Python does, in the order of their names.
    fn to_python(&self, identity: &Identity) -> String {
        let prekeys = |prekeys: &[Prekey]| object(prekeys.iter().map(|prekey| (&*prekey.id, quoted(&prekey.key))));
        match self {
            Self::PublishKeys { one_time, fallback } => {
                let fallback = fallback.as_ref().map(std::slice::from_ref).map(prekeys);
                object([
                    ("fallback_key", fallback.unwrap_or_else(|| "null".to_owned())),
                    ("identity_key", quoted(identity.identity_key())),
                    ("one_time_keys", prekeys(one_time)),
                    ("signing_key", quoted(identity.signing_key())),
                ])
            }
            Self::CountKeys => object([]),
            Self::GetKeys { peer } | Self::ClaimKey { peer } => object([("peer", quoted(peer))]),
            Self::SendMessage { to, kind, body } => {
                object([("body", quoted(body)), ("mtype", kind.number().to_string()), ("to", quoted(to))])
            }
            Self::ReadMessages { peer, keep } => {
                let keep = keep.map(|keep| ("peek", keep.to_string()));
                object(keep.into_iter().chain(peer.as_deref().map(|peer| ("peer", quoted(peer)))))
            }
            Self::Nack { hash, signature } => object([("hash", quoted(&hex(hash))), ("sig", quoted(signature))]),
        }
    }
}

fn peer(name: Cow<'_, str>) -> Result<String, RequestError> {
    if name.len() > PEER_MAX_BYTES {
        return Err(malformed(&format_args!("a peer's name has {PEER_MAX_BYTES} bytes at most")));
    }
    Ok(name.into_owned())
}

/// The points of small order of Curve25519, and the other spellings of two of them, without the bit that RFC 7748 (section 5)
/// ignores: of order 4, 1 and 2, p and p + 1, and of order 8. Of a session with one, all zeros come.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    of_prime(0xec),
    of_prime(0xed),
    of_prime(0xee),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// Returns the 32 bytes of p, but for the lowest.
const fn of_prime(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (lowest, 0x7f);
    bytes
}

/// Returns whether no session begins with a prekey.
fn has_small_order(prekey: &Prekey) -> bool {
    let Some([bytes @ .., last]) = decode_array::<32>(&prekey.key) else { return false };
    SMALL_ORDER.iter().any(|[known @ .., top]| *known == bytes && *top == last & 0x7f)
}

/// Reads an object of keys by their names.
fn prekeys(field: &'static str, mut fields: Fields<'_>) -> Result<Vec<Prekey>, RequestError> {
    let found = fields
        .take_texts(field)?
        .iter()
        .map(|(id, key)| Prekey::parse(id, key))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            malformed(&"a prekey has a name of 1 to 32 of A-Z a-z 0-9 + / = _ - and is 32 bytes in base64")
        })?;
    if found.len() > ONE_TIME_KEYS_MAX {
        return Err(malformed(&format_args!("more than {ONE_TIME_KEYS_MAX} one-time keys")));
    }
    // Whoever claims one could not write to its owner, and does not see who is to blame.
    if found.iter().any(has_small_order) {
        return Err(malformed(&"a prekey is a point of small order"));
    }
    // By code point, as Python sorts, which is the order of bytes. A sort would be 5 kB of code.
    let mut prekeys: Vec<Prekey> = Vec::new();
    for prekey in found {
        match prekeys.binary_search_by(|other| other.id.cmp(&prekey.id)) {
            Ok(_) => return Err(malformed(&"two prekeys have one name")),
            Err(position) => prekeys.insert(position, prekey),
        }
    }
    Ok(prekeys)
}

/// Writes the body of a request: `sign` returns the user's signature of a text, in base64 without padding. `audience` is the
/// relay's address as the user wrote it; `nonce` is 16 to 64 of `A-Z a-z 0-9 - _`, and no other request's.
pub fn signed_body(
    tool: &Tool,
    identity: &Identity,
    audience: &str,
    now: UnixMillis,
    nonce: &str,
    sign: impl FnOnce(&str) -> String,
) -> String {
    let (name, user, timestamp) = (tool.name(), identity.user_id().to_string(), (now.as_u64() / 1_000).to_string());
    let args = tool.to_python(identity);
    let hash = hex(&sha256(&[args.as_bytes()]));
    let signature = sign(&format!("{name}|{audience}|{user}|{timestamp}|{nonce}|{hash}"));
    body((name, &args), identity, &timestamp, nonce, &signature)
}

/// Writes a body of a tool's name and its arguments as Python writes them.
fn body((name, args): (&str, &str), identity: &Identity, timestamp: &str, nonce: &str, signature: &str) -> String {
    let auth = object([
        ("fingerprint", quoted(&identity.user_id().to_string())),
        ("identity_key", quoted(identity.identity_key())),
        ("nonce", quoted(nonce)),
        ("signature", quoted(signature)),
        ("signing_key", quoted(identity.signing_key())),
        ("timestamp", quoted(timestamp)),
    ]);
    let rest = args.strip_prefix('{').unwrap_or(args);
    let comma = if rest == "}" { "" } else { "," };
    format!(r#"{{"tool":{},"args":{{"auth":{auth}{comma}{rest}}}"#, quoted(name))
}

/// Holds a request of which the signatures have not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    tool: Tool,
    user: UserId,
    identity: Identity,
    seconds: u64,
    nonce: String,
    /// What is signed, but for the relay's address between the two.
    signed: (String, String),
    signature: [u8; 64],
}

impl Unverified {
    /// Reads a body, and checks what can be checked without the clock.
    ///
    /// # Errors
    /// All of [`RequestError`] but the last two.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > BODY_MAX_BYTES {
            return Err(RequestError::BodyTooLarge);
        }
        let body = str::from_utf8(body).map_err(|error| malformed(&error))?;
        let mut fields = Fields::parse(body)?;
        let (name, mut args) = (fields.text("tool")?, fields.object("args")?);
        fields.end()?;
        let mut auth = args.object("auth")?;
        let (id, timestamp, signature) = match (auth.optional_text("user_id")?, auth.optional_text("fingerprint")?) {
            (Some(id), None) => (id, auth.text("ts")?, auth.text("sig")?),
            (None, Some(id)) => (id, auth.text("timestamp")?, auth.text("signature")?),
            _ => return Err(RequestError::DialectUnknown),
        };
        let (identity_key, signing_key) = (auth.text("identity_key")?, auth.text("signing_key")?);
        let nonce = auth.text("nonce")?.into_owned();
        auth.end()?;

        let identity = Identity::parse(&identity_key, &signing_key);
        let identity = identity.ok_or_else(|| malformed(&"each key in auth must be 32 bytes in base64"))?;
        let user = identity.user_id();
        if id.parse() != Ok(user) {
            return Err(RequestError::NotTheOwner);
        }
        let is_time = (1..=TIMESTAMP_MAX_DIGITS).contains(&timestamp.len())
            && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = if is_time { timestamp.parse().ok() } else { None };
        let seconds = seconds.ok_or_else(|| malformed(&"the timestamp in auth must be whole seconds, as text"))?;
        if !NONCE_BYTES.contains(&nonce.len())
            || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(malformed(&"the nonce in auth must be 16 to 64 of A-Z a-z 0-9 - _"));
        }
        let signature = decode_array(&signature);
        let signature = signature.ok_or_else(|| malformed(&"the signature in auth must be 64 bytes in base64"))?;

        let tool = Tool::read(&name, &mut args, &identity)?;
        args.end()?;
        let hash = hex(&sha256(&[tool.to_python(&identity).as_bytes()]));
        let signed = (format!("{}|", tool.name()), format!("|{user}|{timestamp}|{nonce}|{hash}"));
        Ok(Self { tool, user, identity, seconds, nonce, signed, signature })
    }

    /// Checks the time.
    ///
    /// # Errors
    /// [`RequestError::Stale`].
    pub fn check(self, now: UnixMillis) -> Result<Self, RequestError> {
        let (now, most) = (now.as_u64() / 1_000, saturating_millis(TIMESTAMP_SKEW) / 1_000);
        let seconds = now.abs_diff(self.seconds);
        if seconds > most { Err(RequestError::Stale { seconds, is_ahead: self.seconds > now }) } else { Ok(self) }
    }

    /// Returns whether a message is to be left.
    pub const fn is_send(&self) -> bool {
        matches!(self.tool, Tool::SendMessage { .. })
    }

    /// Returns whether the signatures fit, for one of the addresses of the relay. The one that a client signs is the one that
    /// its user wrote, and nothing in the request says which.
    pub fn verify_signatures(&self, audiences: &[String]) -> bool {
        let (before, after) = &self.signed;
        let key = self.identity.public_key();
        let is_signed = audiences.iter().any(|audience| {
            let message = [before.as_str(), audience, after].concat();
            key.verify(message.as_bytes(), &self.signature).is_ok()
        });
        let is_nack_signed = match &self.tool {
            Tool::Nack { hash, signature } => self.identity.has_refused(hash, signature),
            _ => true,
        };
        is_signed && is_nack_signed
    }

    /// Returns of each signature the key, the signature and what is signed, one after the other, for a host that has something
    /// faster: one for each of the addresses, and behind them that of a refusal.
    pub fn signatures(&self, audiences: &[String]) -> Vec<Vec<u8>> {
        let key = self.identity.public_key().as_bytes().as_slice();
        let (before, after) = &self.signed;
        let signed = audiences
            .iter()
            .map(|audience| [key, &self.signature, before.as_bytes(), audience.as_bytes(), after.as_bytes()].concat());
        let nack = self.nack().map(|(text, signature)| [key, &signature, text.as_bytes()].concat());
        signed.chain(nack).collect()
    }

    /// Returns how many [`Unverified::signatures`] are.
    pub fn signature_count(&self, audiences: &[String]) -> usize {
        audiences.len() + usize::from(matches!(self.tool, Tool::Nack { .. }))
    }

    /// Returns whether the signatures fit, where `each` says it of each of [`Unverified::signatures`] by the plain equation. What
    /// the one acceptance rule asks besides is checked here.
    pub fn fit(&self, each: &[bool]) -> bool {
        let key = self.identity.public_key();
        let (of_addresses, is_nack_signed) = match (self.nack(), each) {
            (None, all) => (all, true),
            (Some((_, signature)), [rest @ .., last]) => (rest, *last && key.may_have_made(&signature)),
            (Some(_), []) => return false,
        };
        key.may_have_made(&self.signature) && of_addresses.contains(&true) && is_nack_signed
    }

    /// Returns what is signed of a refusal, and the signature.
    fn nack(&self) -> Option<(String, [u8; 64])> {
        let Tool::Nack { hash, signature } = &self.tool else { return None };
        Some((refusal_text(self.user, hash), decode_array(signature)?))
    }

    /// Takes whether the signatures fit.
    ///
    /// # Errors
    /// [`RequestError::SignatureInvalid`].
    pub fn accept(self, fit: bool) -> Result<Verified, RequestError> {
        if fit { Ok(Verified(self)) } else { Err(RequestError::SignatureInvalid) }
    }
}

/// Holds a request that its sender has signed, for this relay and about now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Unverified);

impl Verified {
    /// Reads what [`Verified::to_body`] wrote of a request that was verified: nothing is verified again.
    ///
    /// # Errors
    /// [`RequestError`], where the text is another.
    pub fn trusted(body: &str) -> Result<Self, RequestError> {
        Unverified::parse(body.as_bytes()).map(Self)
    }

    /// Writes the request as a body in the newer dialect, in one line.
    pub fn to_body(&self) -> String {
        let Unverified { tool, identity, seconds, nonce, signature, .. } = &self.0;
        let (args, signature) = (tool.to_python(identity), base64::encode(signature));
        body((tool.name(), &args), identity, &seconds.to_string(), nonce, &signature)
    }

    /// Returns what is asked for.
    pub const fn tool(&self) -> &Tool {
        &self.0.tool
    }

    /// Returns who asks.
    pub const fn user(&self) -> UserId {
        self.0.user
    }

    /// Returns the keys of who asks.
    pub const fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Returns when it was signed, by the sender's clock, to the second.
    pub const fn signed_at(&self) -> UnixMillis {
        UnixMillis::saturating(self.0.seconds.saturating_mul(1_000))
    }

    /// Returns what no other request of this user has.
    pub fn nonce(&self) -> &str {
        &self.0.nonce
    }

    /// Returns whose mailbox is asked; absent where that is a name that nobody can have.
    pub fn mailbox(&self) -> Option<UserId> {
        match self.tool() {
            Tool::GetKeys { peer } | Tool::ClaimKey { peer } | Tool::SendMessage { to: peer, .. } => peer.parse().ok(),
            _ => Some(self.user()),
        }
    }
}
