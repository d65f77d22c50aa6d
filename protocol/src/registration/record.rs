//! What a ticket key signs to be registered, in the envelope of every record that is signed for others.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::email::EmailAddress;
use super::limits::{BODY_MAX_BYTES, REGISTRATION_LIFETIME};
use crate::code::Code;
use crate::community::Community;
use crate::envelope::{ALGORITHM, Payload, Signed, VERSION, names_envelope_errors};
use crate::fields::Fields;
use crate::key::{PrivateKey, PublicKey};
use crate::limits::CLOCK_SKEW;
use crate::origin::Origin;
use crate::time::{UnixMillis, saturating_millis};

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
    #[error("the registration is for {}, which is not this beacon{}", audience.as_str(), sign_for(own.as_ref()))]
    Misdirected {
        /// Whom it is for.
        audience: Origin,
        /// Whom to sign for instead: the first of the beacon's origins.
        own: Option<Origin>,
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

fn sign_for(own: Option<&Origin>) -> String {
    own.map(|own| format!(": sign it for {}", own.as_str())).unwrap_or_default()
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

names_envelope_errors!(RegistrationError);

fn malformed(detail: &str) -> RegistrationError {
    RegistrationError::Malformed(detail.to_owned())
}

/// Holds what a ticket key signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationPayload {
    /// The beacon that it is for.
    pub audience: Origin,
    /// Where the key is to be listed.
    pub community: Community,
    /// Where the mail goes.
    pub email: EmailAddress,
    /// When it was signed. Of two for one key and community the later one counts.
    pub issued_at: UnixMillis,
}

impl Payload for RegistrationPayload {
    type Error = RegistrationError;
    const DOMAIN: &'static str = "rendezvous-registration-v1:";
    const PURPOSE: &'static str = "register";

    fn read(fields: &mut Fields<'_>) -> Result<Self, RegistrationError> {
        let audience = fields.text("audience")?;
        let audience = Origin::parse(&audience).filter(|origin| origin.as_str() == audience);
        let community = Community::new(&fields.text("community")?);
        Ok(Self {
            audience: audience.ok_or_else(|| malformed("audience must be an origin as browsers write it"))?,
            community: community.map_err(|error| RegistrationError::Malformed(format!("community: {error}")))?,
            // Not what is there instead: it may be most of somebody's address.
            email: EmailAddress::parse(&fields.text("email")?).ok_or_else(|| {
                malformed(
                    "email must be an address such as name@a.example of at most 254 bytes of ASCII, without quotes and \
                     white space",
                )
            })?,
            issued_at: fields.time("issuedAt")?,
        })
    }

    fn check_shape(&self) -> Result<(), RegistrationError> {
        // The types say all of it.
        Ok(())
    }
}

/// Holds a registration whose key has signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration(Signed<RegistrationPayload>);

impl fmt::Debug for Registration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text that was signed, in which the address is.
        let mut fields = formatter.debug_struct("Registration");
        fields.field("payload", self.payload()).field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl Registration {
    /// Signs `payload`.
    ///
    /// # Errors
    /// [`RegistrationError::Malformed`], if no reader would take it.
    pub fn sign(payload: RegistrationPayload, key: &PrivateKey) -> Result<Self, RegistrationError> {
        Signed::sign(payload, key).map(Self)
    }

    /// Reads JSON of the exact shape of a registration, in any layout and order of keys, and verifies it for a beacon at these
    /// origins.
    ///
    /// # Errors
    /// The first rule that it breaks, in the order of [`RegistrationError`]; the signature, which costs most, comes last.
    pub fn verify(json: &str, audiences: &[Origin], now: UnixMillis) -> Result<Self, RegistrationError> {
        let signed = Signed::<RegistrationPayload>::parse(json)?;
        let RegistrationPayload { audience, issued_at, .. } = signed.payload();
        if !audiences.contains(audience) {
            return Err(RegistrationError::Misdirected { audience: audience.clone(), own: audiences.first().cloned() });
        }
        if *issued_at > now.after(CLOCK_SKEW) {
            return Err(RegistrationError::NotYetValid { ahead: issued_at.since(now) });
        }
        if issued_at.after(REGISTRATION_LIFETIME) <= now {
            return Err(RegistrationError::Expired { age: now.since(*issued_at) });
        }
        signed.verify_signature()?;
        Ok(Self(signed))
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

    /// Writes the bytes that are signed.
    pub fn signed_bytes(&self) -> String {
        self.0.signed_bytes()
    }

    /// Writes the normal form: keys sorted by byte, no white space.
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// Returns what was signed.
    pub const fn payload(&self) -> &RegistrationPayload {
        self.0.payload()
    }

    /// Returns the key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }
}
