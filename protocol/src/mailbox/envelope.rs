//! The envelope of every record, and its way from text to something that may be acted on: [`Signed`] has the right shape,
//! [`Unverified`] has everything checked but the signature, [`Verified`] is good.
//!
//! The host verifies signatures, because a runtime's own code may be faster; the rest of the one acceptance rule
//! ([`PublicKey::may_have_made`]) is checked here.

use std::fmt::Display;

use super::bytes::Bytes;
use super::record::{Ack, Deposit, Record, RecordError, RecordRules, malformed, read_all, read_bytes, read_key};
use crate::fields::{FieldError, Fields};
use crate::key::{PrivateKey, PublicKey};

/// Stands before the purpose, so that no record is a ticket, a capsule or anything else that is signed.
const DOMAIN: &str = "rendezvous-mailbox-v1:";

/// Holds what stands around every payload.
struct Envelope<'a> {
    is_ed25519: bool,
    payload: &'a str,
    public_key: PublicKey,
    signature: Bytes<64>,
    version: u64,
}

impl<'a> Envelope<'a> {
    fn parse(json: &'a str) -> Result<Self, RecordError> {
        let mut fields = Fields::parse(json)?;
        let envelope = Self {
            is_ed25519: fields.text("algorithm")? == "ed25519",
            payload: fields.json("payload")?,
            public_key: read_key(&mut fields, "publicKey")?,
            signature: read_bytes(&mut fields, "signature")?,
            version: fields.number("version")?,
        };
        fields.end()?;
        Ok(envelope)
    }
}

/// Holds a record of the right shape, of which nothing else is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    payload: T,
    /// Canonical JSON.
    payload_json: String,
    public_key: PublicKey,
    signature: Bytes<64>,
}

fn in_record(purpose: &str, error: &dyn Display) -> RecordError {
    RecordError::Malformed(format!("{purpose}: {error}"))
}

impl<T: Record> Signed<T> {
    /// Parses JSON of the exact shape of the record, in any layout and order of keys.
    ///
    /// # Errors
    /// `MALFORMED`, then `UNSUPPORTED_VERSION` and `UNSUPPORTED_ALGORITHM`.
    pub fn parse(json: &str) -> Result<Self, RecordError> {
        let envelope = Envelope::parse(json).map_err(|error| in_record(T::PURPOSE, &error))?;
        let payload = Fields::parse(envelope.payload).map_err(RecordError::from);
        let payload = payload.and_then(|fields| read_all(fields, T::read));
        let payload = payload.map_err(|error| in_record(T::PURPOSE, &error))?;
        payload.check_shape()?;
        let Envelope { is_ed25519, public_key, signature, version, .. } = envelope;
        if version != 1 {
            return Err(RecordError::UnsupportedVersion { found: version });
        }
        if !is_ed25519 {
            return Err(RecordError::UnsupportedAlgorithm);
        }
        let payload_json = canonical(&payload)?;
        Ok(Self { payload, payload_json, public_key, signature })
    }

    /// Signs `payload`.
    ///
    /// # Errors
    /// [`RecordError::Malformed`], if no reader would take it.
    pub fn sign(payload: T, key: &PrivateKey) -> Result<Self, RecordError> {
        payload.check_shape()?;
        let payload_json = canonical(&payload)?;
        let mut signed = Self { payload, payload_json, public_key: key.public_key(), signature: Bytes([0; 64]) };
        signed.signature = Bytes(key.sign(signed.signed_bytes().as_bytes()));
        Ok(signed)
    }

    /// Returns the payload, which was signed, or so the record says.
    pub const fn payload(&self) -> &T {
        &self.payload
    }

    /// Returns the key that signed it, or so the record says.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Writes the bytes that are signed: the domain and the purpose, a line feed, and the payload as canonical JSON.
    pub fn signed_bytes(&self) -> String {
        format!("{DOMAIN}{}\n{}", T::PURPOSE, self.payload_json)
    }

    /// Writes the normal form: keys sorted by byte, no white space.
    pub fn to_json(&self) -> String {
        let Self { payload_json, public_key, signature, .. } = self;
        format!(
            r#"{{"algorithm":"ed25519","payload":{payload_json},"publicKey":"{public_key}","signature":"{signature}","version":1}}"#
        )
    }

    /// Checks everything but the signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(self, rules: &RecordRules<'_>) -> Result<Unverified<T>, RecordError> {
        self.payload.check(&self.public_key, rules)?;
        self.check_points()
    }

    /// Checks of the signature what shows without the message.
    fn check_points(self) -> Result<Unverified<T>, RecordError> {
        if !self.public_key.may_have_made(&self.signature.0) {
            return Err(RecordError::SignatureInvalid);
        }
        Ok(Unverified { message: self.signed_bytes(), record: Verified { json: self.to_json(), signed: self } })
    }

    /// Checks everything, for a host that has nothing faster for signatures.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn verify(self, rules: &RecordRules<'_>) -> Result<Verified<T>, RecordError> {
        let unverified = self.check(rules)?;
        let signature_fits = unverified.verify_signature();
        unverified.accept(signature_fits)
    }
}

/// The fields of every payload are declared in the order of canonical JSON; the tests of the vectors hold them to it.
fn canonical<T: Record>(payload: &T) -> Result<String, RecordError> {
    serde_json::to_string(payload).map_err(|error| in_record(T::PURPOSE, &error))
}

/// Holds a record of which everything is checked but the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<T> {
    message: String,
    /// Not given to anybody before the signature is verified.
    record: Verified<T>,
}

impl<T> Unverified<T> {
    /// Returns the key.
    pub const fn public_key(&self) -> PublicKey {
        self.record.signed.public_key
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.record.signed.signature.0
    }

    /// Returns the bytes that are signed.
    pub const fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Verifies the signature, for a host that has nothing faster.
    pub fn verify_signature(&self) -> bool {
        self.public_key().verify(self.message(), self.signature()).is_ok()
    }

    /// Takes the outcome: whether the signature fits.
    ///
    /// # Errors
    /// [`RecordError::SignatureInvalid`], if it does not.
    pub fn accept(self, signature_fits: bool) -> Result<Verified<T>, RecordError> {
        if signature_fits { Ok(self.record) } else { Err(RecordError::SignatureInvalid) }
    }
}

/// Holds a record that was good when it was checked, with its normal form ready to be copied into answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    signed: Signed<T>,
    json: String,
}

impl<T: Record> Verified<T> {
    /// Takes back a record that this program verified earlier, in the normal form that it wrote itself: handed over to the
    /// mailbox, or read from its own storage. Never for input from anywhere else: the signature is not checked.
    ///
    /// # Errors
    /// Those of [`Signed::parse`].
    pub fn trusted(json: &str) -> Result<Self, RecordError> {
        Ok(Self { signed: Signed::parse(json)?, json: json.to_owned() })
    }
}

impl<T> Verified<T> {
    /// Returns the payload, which was signed.
    pub const fn payload(&self) -> &T {
        &self.signed.payload
    }

    /// Returns the key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.signed.public_key
    }

    /// Returns the signature.
    pub const fn signature(&self) -> Bytes<64> {
        self.signed.signature
    }

    /// Returns the normal form.
    pub fn as_json(&self) -> &str {
        &self.json
    }
}

/// Holds an acknowledgement as it travels: with the deposit that it reaches up to. Without that, one thief of a reader key
/// could acknowledge what nobody ever sent, and a slot whose every sequence is acknowledged is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckWithDeposit {
    /// The acknowledgement.
    pub ack: Signed<Ack>,
    /// The deposit whose sequence is `through`.
    pub of: Signed<Deposit>,
}

impl AckWithDeposit {
    /// Parses `{"ack":{…},"of":{…}}`.
    ///
    /// # Errors
    /// Those of [`Signed::parse`], and [`RecordError::OtherDeposit`].
    pub fn parse(json: &str) -> Result<Self, RecordError> {
        let read = || {
            let mut fields = Fields::parse(json)?;
            let both = (fields.json("ack")?, fields.json("of")?);
            fields.end()?;
            Ok::<_, FieldError>(both)
        };
        let (ack, of) = read()
            .map_err(|_| malformed("an acknowledgement travels as {\"ack\":{…},\"of\":{…}}, of being a deposit"))?;
        let (ack, of) = (Signed::<Ack>::parse(ack)?, Signed::<Deposit>::parse(of)?);
        let Ack { mailbox, slot, through, .. } = ack.payload;
        let is_it = of.payload.mailbox == mailbox && of.public_key == slot && of.payload.sequence == through;
        if is_it { Ok(Self { ack, of }) } else { Err(RecordError::OtherDeposit) }
    }

    /// Checks everything but the two signatures. The deposit may have ended since.
    ///
    /// # Errors
    /// [`RecordError::SignatureInvalid`].
    pub fn check(self) -> Result<UnverifiedAck, RecordError> {
        Ok(UnverifiedAck { ack: self.ack.check_points()?, of: self.of.check_points()? })
    }

    /// Checks everything, for a host that has nothing faster for signatures.
    ///
    /// # Errors
    /// [`RecordError::SignatureInvalid`].
    pub fn verify(self) -> Result<VerifiedAck, RecordError> {
        let unverified = self.check()?;
        let signatures_fit = unverified.ack.verify_signature() && unverified.of.verify_signature();
        unverified.accept(signatures_fit)
    }
}

/// Holds an acknowledgement of which everything is checked but two signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedAck {
    /// The acknowledgement.
    pub ack: Unverified<Ack>,
    /// The deposit that it reaches up to.
    pub of: Unverified<Deposit>,
}

impl UnverifiedAck {
    /// Takes the outcome: whether *both* signatures fit.
    ///
    /// # Errors
    /// [`RecordError::SignatureInvalid`], if not.
    pub fn accept(self, signatures_fit: bool) -> Result<VerifiedAck, RecordError> {
        Ok(VerifiedAck { ack: self.ack.accept(signatures_fit)?, of: self.of.accept(signatures_fit)? })
    }
}

/// Holds an acknowledgement that was good when it was checked, and what it travels on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAck {
    ack: Verified<Ack>,
    of: Verified<Deposit>,
}

impl VerifiedAck {
    /// Takes back what this program verified earlier, as [`VerifiedAck::to_json`] wrote it. Never for input from anywhere
    /// else: the signatures are not checked.
    ///
    /// # Errors
    /// Those of [`AckWithDeposit::parse`].
    pub fn trusted(json: &str) -> Result<Self, RecordError> {
        let AckWithDeposit { ack, of } = AckWithDeposit::parse(json)?;
        let (ack_json, of_json) = (ack.to_json(), of.to_json());
        Ok(Self { ack: Verified { signed: ack, json: ack_json }, of: Verified { signed: of, json: of_json } })
    }

    /// Returns the acknowledgement.
    pub const fn ack(&self) -> &Verified<Ack> {
        &self.ack
    }

    /// Writes how it travels: `{"ack":{…},"of":{…}}`, on one line.
    pub fn to_json(&self) -> String {
        format!(r#"{{"ack":{},"of":{}}}"#, self.ack.as_json(), self.of.as_json())
    }
}
