//! What a ticket key signs to be registered.

use std::time::Duration;

use super::email::EmailAddress;
use super::limits::{BODY_MAX_BYTES, REGISTRATION_LIFETIME};
use crate::base64;
use crate::canonical::quoted;
use crate::code::Code;
use crate::community::Community;
use crate::fields::{FieldError, Fields};
use crate::key::{PrivateKey, PublicKey};
use crate::limits::CLOCK_SKEW;
use crate::origin::Origin;
use crate::time::{UnixMillis, saturating_millis};

/// Stands before the payload, so that no registration is a ticket, a capsule or anything else that is signed.
const DOMAIN: &str = "rendezvous-registration-v1:register\n";

const ALGORITHM: &str = "ed25519";

const VERSION: u64 = 1;

/// Says why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// More bytes than a request body may have.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// Shape, types, lengths or base64.
    #[error("{0}")]
    Malformed(String),
    /// Another version than 1.
    #[error("version {found} of registrations is not supported, only {VERSION}")]
    UnsupportedVersion {
        /// What the registration says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    #[error("only the algorithm {ALGORITHM} is supported")]
    UnsupportedAlgorithm,
    /// Signed for another beacon.
    #[error("the registration is for {audience}, which is not this beacon")]
    Misdirected {
        /// Whom it is for.
        audience: String,
    },
    /// From the reader's future, by more than clocks may differ.
    #[error("issuedAt is {} ms ahead of this clock", saturating_millis(*.ahead))]
    NotYetValid {
        /// By how much.
        ahead: Duration,
    },
    /// Too old to be taken.
    #[error(
        "the registration is {} ms old, it is taken for {} ms",
        saturating_millis(*.age),
        saturating_millis(REGISTRATION_LIFETIME)
    )]
    Expired {
        /// Since `issuedAt`.
        age: Duration,
    },
    /// Not a signature of this key over this payload.
    #[error("the signature does not fit the payload and the public key")]
    SignatureInvalid,
}

impl RegistrationError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::Malformed(_) => Code::Malformed.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::UnsupportedAlgorithm => Code::UnsupportedAlgorithm.as_str(),
            Self::Misdirected { .. } => Code::MisdirectedRequest.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
        }
    }
}

impl From<FieldError> for RegistrationError {
    fn from(error: FieldError) -> Self {
        Self::Malformed(error.to_string())
    }
}

fn malformed(detail: &str) -> RegistrationError {
    RegistrationError::Malformed(detail.to_owned())
}

/// Holds what a ticket key signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The beacon that it is for.
    pub audience: Origin,
    /// Where the key is to be listed.
    pub community: Community,
    /// Where the mail goes.
    pub email: EmailAddress,
    /// When it was signed. Of two for one key and community the later one counts.
    pub issued_at: UnixMillis,
}

impl Payload {
    /// Writes the bytes that are signed: the domain, and the payload as canonical JSON.
    pub fn signed_bytes(&self) -> String {
        format!("{DOMAIN}{}", self.to_json())
    }

    fn to_json(&self) -> String {
        let Self { audience, community, email, issued_at } = self;
        let (audience, email) = (quoted(audience.as_str()), quoted(email.as_str()));
        format!(r#"{{"audience":{audience},"community":"{community}","email":{email},"issuedAt":{issued_at}}}"#)
    }

    fn read(mut fields: Fields<'_>) -> Result<Self, RegistrationError> {
        let (audience, community) = (fields.text("audience")?, fields.text("community")?);
        let (email, issued_at) = (fields.text("email")?, fields.time("issuedAt")?);
        fields.end()?;
        let audience = Origin::parse(&audience).filter(|origin| origin.as_str() == audience);
        let community = Community::new(&community);
        Ok(Self {
            audience: audience.ok_or_else(|| malformed("payload.audience must be an origin, as browsers write it"))?,
            community: community.map_err(|error| RegistrationError::Malformed(format!("payload.community: {error}")))?,
            // Not what is there instead: it may be most of somebody's address.
            email: EmailAddress::parse(&email).ok_or_else(|| {
                malformed(
                    "payload.email must be an address such as name@a.example of at most 254 bytes of ASCII, without quotes \
                     and white space",
                )
            })?,
            issued_at,
        })
    }
}

/// Holds a registration whose key has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    payload: Payload,
    public_key: PublicKey,
    signature: [u8; 64],
}

impl Registration {
    /// Signs `payload`.
    pub fn sign(payload: Payload, key: &PrivateKey) -> Self {
        let signature = key.sign(payload.signed_bytes().as_bytes());
        Self { payload, public_key: key.public_key(), signature }
    }

    /// Reads JSON of the exact shape of a registration, in any layout and order of keys, and verifies it for a beacon at these
    /// origins.
    ///
    /// # Errors
    /// The first rule that it breaks, in the order of [`RegistrationError`]; the signature, which costs most, comes last.
    pub fn verify(json: &str, audiences: &[Origin], now: UnixMillis) -> Result<Self, RegistrationError> {
        let registration = Self::parse(json)?;
        let Payload { audience, issued_at, .. } = &registration.payload;
        if !audiences.contains(audience) {
            return Err(RegistrationError::Misdirected { audience: audience.as_str().to_owned() });
        }
        if *issued_at > now.after(CLOCK_SKEW) {
            return Err(RegistrationError::NotYetValid { ahead: issued_at.since(now) });
        }
        if issued_at.after(REGISTRATION_LIFETIME) <= now {
            return Err(RegistrationError::Expired { age: now.since(*issued_at) });
        }
        let signed = registration.payload.signed_bytes();
        let outcome = registration.public_key.verify(signed.as_bytes(), &registration.signature);
        outcome.map_err(|_| RegistrationError::SignatureInvalid)?;
        Ok(registration)
    }

    fn parse(json: &str) -> Result<Self, RegistrationError> {
        let mut fields = Fields::parse(json)?;
        let (version, algorithm) = (fields.number("version")?, fields.text("algorithm")?);
        let (public_key, signature) = (fields.text("publicKey")?, fields.text("signature")?);
        let payload = fields.object("payload")?;
        fields.end()?;
        let public_key =
            base64::decode_array(&public_key).ok_or_else(|| malformed("publicKey must be the base64 of 32 bytes"))?;
        let signature =
            base64::decode_array(&signature).ok_or_else(|| malformed("signature must be the base64 of 64 bytes"))?;
        let payload = Payload::read(payload)?;
        if version != VERSION {
            return Err(RegistrationError::UnsupportedVersion { found: version });
        }
        if algorithm != ALGORITHM {
            return Err(RegistrationError::UnsupportedAlgorithm);
        }
        Ok(Self { payload, public_key: PublicKey::from_bytes(public_key), signature })
    }

    /// Reads the body of a request, `{"registration":{…}}`, and verifies what is in it.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Registration::verify`].
    pub fn verify_body(body: &[u8], audiences: &[Origin], now: UnixMillis) -> Result<Self, RegistrationError> {
        if body.len() > BODY_MAX_BYTES {
            return Err(RegistrationError::BodyTooLarge);
        }
        let text = str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?;
        let mut fields = Fields::parse(text)?;
        let registration = fields.json("registration")?;
        fields.end()?;
        Self::verify(registration, audiences, now)
    }

    /// Writes the normal form: keys sorted by byte, no white space.
    pub fn to_json(&self) -> String {
        let payload = self.payload.to_json();
        let (public_key, signature) = (self.public_key, base64::encode(&self.signature));
        format!(
            r#"{{"algorithm":"{ALGORITHM}","payload":{payload},"publicKey":"{public_key}","signature":"{signature}","version":{VERSION}}}"#
        )
    }

    /// Returns what was signed.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Returns the key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }
}
