//! The bodies of requests. Each is the object that it says, nothing else, nothing twice, and at most
//! [`BODY_MAX_BYTES`] long.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::{AckWithDeposit, Signed};
use super::limits::{ACKS_MAX, BODY_MAX_BYTES};
use super::proof::Proof;
use super::record::{Card, Claim, Close, Collect, Deposit, Policy, Prekeys, RecordError, SlotQuestion, malformed};
use crate::base64;
use crate::object::{Object, present};

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RecordError> {
    if body.len() > BODY_MAX_BYTES {
        return Err(RecordError::BodyTooLarge);
    }
    let text = str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?;
    let Object(fields) =
        serde_json::from_str(text).map_err(|error| RecordError::Malformed(format!("body: {error}")))?;
    Ok(fields)
}

/// Holds what opens a mailbox or changes it: `{"card":{…},"policy":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBody {
    /// The card.
    pub card: Signed<Card>,
    /// The policy.
    pub policy: Signed<Policy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutFields<'a> {
    #[serde(borrow)]
    card: &'a RawValue,
    #[serde(borrow)]
    policy: &'a RawValue,
}

impl PutBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let PutFields { card, policy } = read(body)?;
        Ok(Self { card: Signed::parse(card.get())?, policy: Signed::parse(policy.get())? })
    }
}

/// Holds a message: `{"deposit":{…},"sealed":"…","proof"?:{…}}`, the sealed bytes being those that the deposit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepositBody<'a> {
    /// What the sender signed.
    pub deposit: Signed<Deposit>,
    /// The sealed bytes, in base64 as they came.
    pub sealed: Cow<'a, str>,
    /// A stranger's proof of work.
    pub proof: Option<Proof>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DepositFields<'a> {
    #[serde(borrow)]
    deposit: &'a RawValue,
    #[serde(borrow)]
    sealed: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    proof: Option<Object<Proof>>,
}

impl<'a> DepositBody<'a> {
    /// Parses a body, and checks that the deposit is of these sealed bytes.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, those of [`Signed::parse`] and those of [`Deposit::check_sealed`].
    pub fn parse(body: &'a [u8]) -> Result<Self, RecordError> {
        let DepositFields { deposit, sealed, proof } = read(body)?;
        let deposit = Signed::<Deposit>::parse(deposit.get())?;
        let bytes = base64::decode(&sealed).ok_or_else(|| malformed("sealed must be base64"))?;
        deposit.payload().check_sealed(&bytes)?;
        Ok(Self { deposit, sealed, proof: proof.map(|Object(proof)| proof) })
    }
}

/// Holds a question for what waits, and acknowledgements of what came before: `{"collect":{…},"acks"?:[…]}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectBody {
    /// The question.
    pub collect: Signed<Collect>,
    /// Acknowledgements, at most 64.
    pub acks: Vec<AckWithDeposit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectFields<'a> {
    #[serde(borrow)]
    collect: &'a RawValue,
    #[serde(default, borrow)]
    acks: Vec<&'a RawValue>,
}

impl CollectBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`] and [`AckWithDeposit::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let CollectFields { collect, acks } = read(body)?;
        Ok(Self { collect: Signed::parse(collect.get())?, acks: read_acks(&acks)? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcksFields<'a> {
    #[serde(borrow)]
    acks: Vec<&'a RawValue>,
}

/// Parses the body of acknowledgements alone, `{"acks":[…]}`, which anybody may carry.
///
/// # Errors
/// `BODY_TOO_LARGE`, and those of [`AckWithDeposit::parse`].
pub fn parse_acks(body: &[u8]) -> Result<Vec<AckWithDeposit>, RecordError> {
    let AcksFields { acks } = read(body)?;
    read_acks(&acks)
}

fn read_acks(acks: &[&RawValue]) -> Result<Vec<AckWithDeposit>, RecordError> {
    if acks.len() > ACKS_MAX {
        return Err(malformed("acks must be at most 64"));
    }
    acks.iter().map(|ack| AckWithDeposit::parse(ack.get())).collect()
}

macro_rules! body_of_one {
    ($(#[$doc:meta])* $parse:ident, $name:ident, $fields:ident, $record:ident) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $fields<'a> {
            #[serde(borrow)]
            $name: &'a RawValue,
        }

        $(#[$doc])*
        ///
        /// # Errors
        /// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
        pub fn $parse(body: &[u8]) -> Result<Signed<$record>, RecordError> {
            let $fields { $name } = read(body)?;
            Signed::parse($name.get())
        }
    };
}

body_of_one!(
    /// Parses the body of a sender's question for its slot, `{"slot":{…}}`.
    parse_slot, slot, SlotFields, SlotQuestion
);
body_of_one!(
    /// Parses the body of new prekeys, `{"prekeys":{…}}`.
    parse_prekeys, prekeys, PrekeysFields, Prekeys
);
body_of_one!(
    /// Parses the body that closes a mailbox, `{"close":{…}}`.
    parse_close, close, CloseFields, Close
);

/// Holds a question for a prekey: `{"claim":{…},"proof"?:{…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimBody {
    /// The question.
    pub claim: Signed<Claim>,
    /// A stranger's proof of work, over the claim's nonce.
    pub proof: Option<Proof>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimFields<'a> {
    #[serde(borrow)]
    claim: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    proof: Option<Object<Proof>>,
}

impl ClaimBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let ClaimFields { claim, proof } = read(body)?;
        Ok(Self { claim: Signed::parse(claim.get())?, proof: proof.map(|Object(proof)| proof) })
    }
}
