//! The way of a record from text to something that may be acted on: [`Signed`] has the right shape, [`Unverified`] has
//! everything checked but the signature, [`Verified`] is good.
//!
//! The host verifies signatures, because a runtime's own code may be faster; the rest of the one acceptance rule
//! ([`PublicKey::may_have_made`]) is checked here.

use super::bytes::Bytes;
use super::record::{Ack, Deposit, Record, RecordError, RecordRules, malformed};
pub use crate::envelope::Signed;
use crate::fields::{FieldError, Fields};
use crate::key::PublicKey;

impl<T: Record> Signed<T> {
    /// Checks everything but the signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(self, rules: &RecordRules<'_>) -> Result<Unverified<T>, RecordError> {
        self.payload().check(&self.public_key(), rules)?;
        self.check_points()
    }

    /// Checks of the signature what shows without the message.
    fn check_points(self) -> Result<Unverified<T>, RecordError> {
        if !self.public_key().may_have_made(self.signature()) {
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
        self.record.signed.public_key()
    }

    /// Returns the signature.
    pub const fn signature(&self) -> &[u8; 64] {
        self.record.signed.signature()
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
        self.signed.payload()
    }

    /// Returns the key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.signed.public_key()
    }

    /// Returns the signature.
    pub const fn signature(&self) -> Bytes<64> {
        Bytes(*self.signed.signature())
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
        let Ack { mailbox, slot, through, .. } = ack.payload();
        let deposit = of.payload();
        let is_it = deposit.mailbox == *mailbox && of.public_key() == *slot && deposit.sequence == *through;
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
