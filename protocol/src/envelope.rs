//! The envelope of every record that an author signs, of a mailbox, of the directory or of registration:
//! `{"algorithm":"ed25519","payload":{…},"publicKey":"…","signature":"…","version":1}`.
//!
//! In scope: its shape and its normal form, the bytes that are signed, and the signature. Out of scope: what a payload
//! says, and whether it counts here and now.
//!
//! Tickets are not among them: they were there first, and what a peer signs is the payload alone, without a domain. Nor are
//! capsules and roots, which are files with the signature in another one, and signals, which have no payload of their own.

use std::fmt::Display;

use serde::Serialize;

use crate::fields::{FieldError, Fields};
use crate::key::{PrivateKey, PublicKey};
use crate::mailbox::bytes::Bytes;

pub(crate) const ALGORITHM: &str = "ed25519";
pub(crate) const VERSION: u64 = 1;

/// Says what is wrong with an envelope, or with the shape of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Shape, types, lengths or base64.
    Malformed {
        /// What the record is for.
        purpose: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Another version than 1.
    UnsupportedVersion {
        /// What the record says.
        found: u64,
    },
    /// Another algorithm than `ed25519`.
    UnsupportedAlgorithm,
    /// Not a signature of this key over this payload.
    SignatureInvalid,
}

/// Implements, for an error that has a variant for each, that it says what is wrong with an envelope, or with the fields of
/// what is in it. What the record is for it leaves out: whoever reads it knows.
macro_rules! names_envelope_errors {
    ($error:ident) => {
        impl From<$crate::envelope::EnvelopeError> for $error {
            fn from(error: $crate::envelope::EnvelopeError) -> Self {
                use $crate::envelope::EnvelopeError;

                match error {
                    EnvelopeError::Malformed { purpose: _, detail } => Self::Malformed(detail),
                    EnvelopeError::UnsupportedVersion { found } => Self::UnsupportedVersion { found },
                    EnvelopeError::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
                    EnvelopeError::SignatureInvalid => Self::SignatureInvalid,
                }
            }
        }

        impl From<$crate::fields::FieldError> for $error {
            fn from(error: $crate::fields::FieldError) -> Self {
                Self::Malformed(error.to_string())
            }
        }
    };
}

pub(crate) use names_envelope_errors;

/// Holds the payload of a record. Its fields are declared in the order of canonical JSON; the tests of the vectors hold them
/// to it.
pub trait Payload: Serialize + Sized {
    /// Says why a record is refused.
    type Error: From<EnvelopeError> + Display;

    /// What the signed bytes begin with, so that no record is a ticket, a capsule or anything else that is signed.
    const DOMAIN: &'static str;

    /// What stands after it, so that no record is one of another kind.
    const PURPOSE: &'static str;

    /// Reads the payload from its fields; it has no others.
    ///
    /// # Errors
    /// Shape, types, lengths or base64.
    fn read(fields: &mut Fields<'_>) -> Result<Self, Self::Error>;

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first rule that it breaks.
    fn check_shape(&self) -> Result<(), Self::Error>;
}

/// Reads a payload from JSON that nobody has signed yet.
///
/// # Errors
/// [`EnvelopeError::Malformed`], and those of [`Payload::check_shape`].
pub fn read_payload<T: Payload>(json: &str) -> Result<T, T::Error> {
    let mut fields = begin(T::PURPOSE, json)?;
    let payload = T::read(&mut fields).map_err(|error| malformed(T::PURPOSE, &error))?;
    end(T::PURPOSE, fields)?;
    payload.check_shape()?;
    Ok(payload)
}

// What is the same for every kind of record is compiled once: a Worker is uploaded whole.

fn begin<'a>(purpose: &'static str, json: &'a str) -> Result<Fields<'a>, EnvelopeError> {
    Fields::parse(json).map_err(|error| malformed(purpose, &error))
}

fn end(purpose: &'static str, fields: Fields<'_>) -> Result<(), EnvelopeError> {
    fields.end().map_err(|error| malformed(purpose, &error))
}

fn malformed(purpose: &'static str, error: &dyn Display) -> EnvelopeError {
    EnvelopeError::Malformed { purpose, detail: error.to_string() }
}

fn canonical<T: Payload>(payload: &T) -> Result<String, EnvelopeError> {
    serde_json::to_string(payload).map_err(|error| malformed(T::PURPOSE, &error))
}

/// Holds what stands around a payload, and the payload as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Envelope {
    /// Canonical JSON.
    payload_json: String,
    public_key: PublicKey,
    signature: Bytes<64>,
}

impl Envelope {
    fn sign(domain: &str, purpose: &str, payload_json: String, key: &PrivateKey) -> Self {
        let mut envelope = Self { payload_json, public_key: key.public_key(), signature: Bytes([0; 64]) };
        envelope.signature = Bytes(key.sign(envelope.signed_bytes(domain, purpose).as_bytes()));
        envelope
    }

    fn signed_bytes(&self, domain: &str, purpose: &str) -> String {
        [domain, purpose, "\n", &self.payload_json].concat()
    }

    fn to_json(&self) -> String {
        let Self { payload_json, public_key, signature } = self;
        format!(
            r#"{{"algorithm":"{ALGORITHM}","payload":{payload_json},"publicKey":"{public_key}","signature":"{signature}","version":{VERSION}}}"#
        )
    }
}

/// Holds the parts of an envelope whose payload nobody has read yet.
struct Parts<'a> {
    is_ed25519: bool,
    payload: &'a str,
    public_key: PublicKey,
    signature: Bytes<64>,
    version: u64,
}

impl<'a> Parts<'a> {
    fn parse(purpose: &'static str, json: &'a str) -> Result<Self, EnvelopeError> {
        Self::read(json).map_err(|error| malformed(purpose, &error))
    }

    fn read(json: &'a str) -> Result<Self, FieldError> {
        let mut fields = Fields::parse(json)?;
        let parts = Self {
            is_ed25519: fields.text("algorithm")? == ALGORITHM,
            payload: fields.json("payload")?,
            public_key: fields.key("publicKey")?,
            signature: fields.bytes("signature")?,
            version: fields.number("version")?,
        };
        fields.end()?;
        Ok(parts)
    }

    /// Takes the payload as canonical JSON, once its shape is known to be right.
    fn with_payload(self, payload_json: String) -> Result<Envelope, EnvelopeError> {
        let Self { is_ed25519, payload: _, public_key, signature, version } = self;
        if version != VERSION {
            return Err(EnvelopeError::UnsupportedVersion { found: version });
        }
        if !is_ed25519 {
            return Err(EnvelopeError::UnsupportedAlgorithm);
        }
        Ok(Envelope { payload_json, public_key, signature })
    }
}

/// Holds a record of the right shape, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    payload: T,
    envelope: Envelope,
}

impl<T: Payload> Signed<T> {
    /// Parses JSON of the exact shape of the record, in any layout and order of keys.
    ///
    /// # Errors
    /// `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
    pub fn parse(json: &str) -> Result<Self, T::Error> {
        let parts = Parts::parse(T::PURPOSE, json)?;
        let payload = read_payload::<T>(parts.payload)?;
        let payload_json = canonical(&payload)?;
        let envelope = parts.with_payload(payload_json)?;
        Ok(Self { payload, envelope })
    }

    /// Signs `payload`.
    ///
    /// # Errors
    /// Those of [`Payload::check_shape`], if no reader would take it.
    pub fn sign(payload: T, key: &PrivateKey) -> Result<Self, T::Error> {
        payload.check_shape()?;
        let envelope = Envelope::sign(T::DOMAIN, T::PURPOSE, canonical(&payload)?, key);
        Ok(Self { payload, envelope })
    }

    /// Writes the bytes that are signed: the domain and the purpose, a line feed, and the payload as canonical JSON.
    pub fn signed_bytes(&self) -> String {
        self.envelope.signed_bytes(T::DOMAIN, T::PURPOSE)
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`EnvelopeError::SignatureInvalid`].
    pub fn verify_signature(&self) -> Result<(), T::Error> {
        let Envelope { public_key, signature, .. } = &self.envelope;
        let outcome = public_key.verify(self.signed_bytes().as_bytes(), &signature.0);
        outcome.map_err(|_| EnvelopeError::SignatureInvalid.into())
    }
}

impl<T> Signed<T> {
    /// Returns the payload, which was signed, or so the record says.
    pub const fn payload(&self) -> &T {
        &self.payload
    }

    /// Returns the key that signed it, or so the record says.
    pub const fn public_key(&self) -> PublicKey {
        self.envelope.public_key
    }

    /// Returns the signature, or what the record says is one.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.envelope.signature.0
    }

    /// Writes the normal form: keys sorted by byte, no white space.
    pub fn to_json(&self) -> String {
        self.envelope.to_json()
    }
}
