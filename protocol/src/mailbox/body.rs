//! The bodies of requests. Each is the object that it says, nothing else, nothing twice, and at most
//! [`BODY_MAX_BYTES`] long.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::envelope::{AckWithDeposit, Signed};
use super::limits::{ACKS_MAX, BODY_MAX_BYTES};
use super::proof::Proof;
use super::record::{
    Card, Claim, Close, Collect, Deposit, Policy, Prekeys, RecordError, SlotQuestion, malformed, read_all,
};
use crate::base64;
use crate::fields::Fields;

fn read(body: &[u8]) -> Result<Fields<'_>, RecordError> {
    if body.len() > BODY_MAX_BYTES {
        return Err(RecordError::BodyTooLarge);
    }
    let text = str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?;
    Ok(Fields::parse(text)?)
}

/// Reads a body of one record alone.
fn read_one<'a>(body: &'a [u8], field: &'static str) -> Result<&'a str, RecordError> {
    let mut fields = read(body)?;
    let record = fields.json(field)?;
    fields.end()?;
    Ok(record)
}

fn read_proof(fields: &mut Fields<'_>) -> Result<Option<Proof>, RecordError> {
    fields.optional_object("proof")?.map(|proof| read_all(proof, Proof::read)).transpose()
}

/// Holds what opens a mailbox or changes it: `{"card":{…},"policy":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBody {
    /// The card.
    pub card: Signed<Card>,
    /// The policy.
    pub policy: Signed<Policy>,
}

impl PutBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let mut fields = read(body)?;
        let (card, policy) = (fields.json("card")?, fields.json("policy")?);
        fields.end()?;
        Ok(Self { card: Signed::parse(card)?, policy: Signed::parse(policy)? })
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

impl<'a> DepositBody<'a> {
    /// Parses a body, and checks that the deposit is of these sealed bytes.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, those of [`Signed::parse`] and those of [`Deposit::check_sealed`].
    pub fn parse(body: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = read(body)?;
        let (deposit, sealed, proof) = (fields.json("deposit")?, fields.text("sealed")?, read_proof(&mut fields)?);
        fields.end()?;
        let deposit = Signed::<Deposit>::parse(deposit)?;
        let bytes = base64::decode(&sealed).ok_or_else(|| malformed("sealed must be base64"))?;
        deposit.payload().check_sealed(&bytes)?;
        Ok(Self { deposit, sealed, proof })
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

impl CollectBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`] and [`AckWithDeposit::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let mut fields = read(body)?;
        let (collect, acks) = (fields.json("collect")?, fields.optional_items("acks")?.unwrap_or_default());
        fields.end()?;
        Ok(Self { collect: Signed::parse(collect)?, acks: read_acks(&acks)? })
    }
}

/// Parses the body of acknowledgements alone, `{"acks":[…]}`, which anybody may carry.
///
/// # Errors
/// `BODY_TOO_LARGE`, and those of [`AckWithDeposit::parse`].
pub fn parse_acks(body: &[u8]) -> Result<Vec<AckWithDeposit>, RecordError> {
    let mut fields = read(body)?;
    let acks = fields.items("acks")?;
    fields.end()?;
    read_acks(&acks)
}

fn read_acks(acks: &[&RawValue]) -> Result<Vec<AckWithDeposit>, RecordError> {
    if acks.len() > ACKS_MAX {
        return Err(malformed("acks must be at most 64"));
    }
    acks.iter().map(|ack| AckWithDeposit::parse(ack.get())).collect()
}

/// Parses the body of a sender's question for its slot, `{"slot":{…}}`.
///
/// # Errors
/// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
pub fn parse_slot(body: &[u8]) -> Result<Signed<SlotQuestion>, RecordError> {
    Signed::parse(read_one(body, "slot")?)
}

/// Parses the body of new prekeys, `{"prekeys":{…}}`.
///
/// # Errors
/// As [`parse_slot`].
pub fn parse_prekeys(body: &[u8]) -> Result<Signed<Prekeys>, RecordError> {
    Signed::parse(read_one(body, "prekeys")?)
}

/// Parses the body that closes a mailbox, `{"close":{…}}`.
///
/// # Errors
/// As [`parse_slot`].
pub fn parse_close(body: &[u8]) -> Result<Signed<Close>, RecordError> {
    Signed::parse(read_one(body, "close")?)
}

/// Holds a question for a prekey: `{"claim":{…},"proof"?:{…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimBody {
    /// The question.
    pub claim: Signed<Claim>,
    /// A stranger's proof of work, over the claim's nonce.
    pub proof: Option<Proof>,
}

impl ClaimBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, and those of [`Signed::parse`].
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let mut fields = read(body)?;
        let (claim, proof) = (fields.json("claim")?, read_proof(&mut fields)?);
        fields.end()?;
        Ok(Self { claim: Signed::parse(claim)?, proof })
    }
}
