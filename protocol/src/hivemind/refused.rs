//! Why a request is not served, in the words of hivemind-rendezvous where it has some.

use super::limits::{BODY_MAX_BYTES, TIMESTAMP_SKEW_SECONDS};
use crate::code::Code;

/// Says why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A body of no bytes.
    #[error("the body is empty")]
    EmptyBody,
    /// More bytes than a body may have.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// A body that is not JSON.
    #[error("the body is not JSON")]
    BodyNotJson,
    /// Something else than an object, or a field of another type or length.
    #[error("the body is not an object with fields of their types")]
    BodyMalformed,
    /// A field that has to be there is absent, `null` or empty.
    #[error("a field is missing")]
    FieldMissing,
    /// A lifetime that is not a whole number of seconds from 1.
    #[error("ttl is not a whole number from 1")]
    LifetimeInvalid,
    /// A key that is not a public RSA key of 2,048 to 4,096 bits in PEM.
    #[error("the key is not a public RSA key of 2048 to 4096 bits in PEM")]
    KeyInvalid,
    /// A depositor's proof that does not hold.
    #[error("the depositor's proof does not hold")]
    DepositorInvalid,
    /// A payload that is not a JSON object.
    #[error("the payload is not a JSON object")]
    PayloadInvalid,
    /// A payload of another kind than those that relays keep.
    #[error("the payload is not an intercom message")]
    PayloadNotIntercom,
    /// A fingerprint that is not a text in base64.
    #[error("recipient_fingerprint is not base64")]
    FingerprintInvalid,
    /// A fingerprint of another key than the recipient's.
    #[error("recipient_fingerprint is that of another key")]
    FingerprintMismatch,
    /// A timestamp too far from the relay's clock.
    #[error("the timestamp is more than {TIMESTAMP_SKEW_SECONDS} s from this relay's clock")]
    TimestampInvalid,
    /// A proof that has served already.
    #[error("the proof has served already")]
    Replayed,
    /// A signature that does not fit.
    #[error("the signature does not fit")]
    SignatureInvalid,
    /// No room in the mailbox, or in all unopened ones.
    #[error("there is no room for the message")]
    Full,
    /// More proofs than are remembered.
    #[error("too many proofs of this key in two minutes")]
    TooManyProofs,
}

impl Refused {
    /// Returns the word on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::EmptyBody => "empty_body",
            Self::BodyTooLarge => "payload_too_large",
            Self::BodyNotJson => "invalid_json",
            Self::BodyMalformed => "invalid_body",
            Self::FieldMissing => "missing_fields",
            Self::LifetimeInvalid => "invalid_ttl",
            Self::KeyInvalid => "invalid_pubkey",
            Self::DepositorInvalid => "invalid_depositor_signature",
            Self::PayloadInvalid => "invalid_payload",
            Self::PayloadNotIntercom => "payload_must_be_intercom",
            Self::FingerprintInvalid => "invalid_recipient_fingerprint",
            Self::FingerprintMismatch => "recipient_fingerprint_mismatch",
            Self::TimestampInvalid | Self::Replayed => "replay_detected",
            Self::SignatureInvalid => "invalid_signature",
            Self::Full => "mailbox_full",
            Self::TooManyProofs => "rate_limit_exceeded",
        }
    }

    /// Returns the code by which refusals are counted.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::DepositorInvalid | Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
            Self::FingerprintMismatch => Code::ContentMismatch.as_str(),
            Self::TimestampInvalid => Code::Expired.as_str(),
            Self::Replayed => Code::Replayed.as_str(),
            Self::Full => Code::MailboxFull.as_str(),
            Self::TooManyProofs => Code::Throttled.as_str(),
            Self::EmptyBody
            | Self::BodyNotJson
            | Self::BodyMalformed
            | Self::FieldMissing
            | Self::LifetimeInvalid
            | Self::KeyInvalid
            | Self::PayloadInvalid
            | Self::PayloadNotIntercom
            | Self::FingerprintInvalid => Code::Malformed.as_str(),
        }
    }
}
