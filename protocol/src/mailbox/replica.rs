//! What one relay pushes to another: records that their authors signed, about one mailbox, with who pushes them.
//!
//! Nothing here is believed because of who brings it: each item is checked as if its author had brought it. What says
//! whose push it is ([`Replicate`]) only says whose budget it takes.

use serde_json::value::RawValue;

use super::body::DepositBody;
use super::bytes::{Bytes, sha256};
use super::envelope::{AckWithDeposit, Signed};
use super::limits::{REPLICATE_MAX_BYTES, REPLICATE_MAX_ITEMS};
use super::record::{Card, Policy, RecordError, Replicate, malformed};
use crate::fields::Fields;

/// Holds one item of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `{"card":{…}}`.
    Card(Box<Signed<Card>>),
    /// `{"policy":{…}}`.
    Policy(Box<Signed<Policy>>),
    /// `{"ack":{…},"of":{…}}`.
    Ack(Box<AckWithDeposit>),
    /// `{"deposit":{…},"sealed":"…","proof"?:{…}}`.
    Deposit(Box<DepositBody<'a>>),
}

impl<'a> Item<'a> {
    fn parse(json: &'a str) -> Result<Self, RecordError> {
        let mut fields = Fields::parse(json)?;
        if let Some(card) = fields.optional_json("card")? {
            fields.end()?;
            return Signed::parse(card).map(|card| Self::Card(Box::new(card)));
        }
        if let Some(policy) = fields.optional_json("policy")? {
            fields.end()?;
            return Signed::parse(policy).map(|policy| Self::Policy(Box::new(policy)));
        }
        if fields.optional_json("ack")?.is_some() {
            return AckWithDeposit::parse(json).map(|ack| Self::Ack(Box::new(ack)));
        }
        DepositBody::parse(json.as_bytes()).map(|deposit| Self::Deposit(Box::new(deposit)))
    }
}

/// Holds a push: `{"relay":{…},"items":[…]}`, the items being those that its relay signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicateBody<'a> {
    /// Whose push it is, and of what.
    pub relay: Signed<Replicate>,
    /// The texts of the items, at most 64.
    items: Vec<&'a str>,
}

impl<'a> ReplicateBody<'a> {
    /// Parses a body, and checks that its items are those that were signed. The items themselves are not looked at yet:
    /// that is for whoever may push.
    ///
    /// # Errors
    /// `BODY_TOO_LARGE`, those of [`Signed::parse`], and [`RecordError::OtherItems`].
    pub fn parse(body: &'a [u8]) -> Result<Self, RecordError> {
        if body.len() > REPLICATE_MAX_BYTES {
            return Err(RecordError::BodyTooLarge);
        }
        let text = str::from_utf8(body).map_err(|_| malformed("body: not UTF-8"))?;
        let mut fields = Fields::parse(text)?;
        let (relay, items) = (fields.json("relay")?, fields.json("items")?);
        fields.end()?;
        let relay = Signed::<Replicate>::parse(relay)?;
        if digest_of(items) != relay.payload().items {
            return Err(RecordError::OtherItems);
        }
        let items: Vec<&RawValue> = serde_json::from_str(items).map_err(|_| malformed("items must be an array"))?;
        if items.is_empty() || items.len() > REPLICATE_MAX_ITEMS {
            return Err(malformed("items must be 1 to 64"));
        }
        Ok(Self { relay, items: items.into_iter().map(RawValue::get).collect() })
    }

    /// Parses the items, each for itself: what is wrong with one is not another's.
    pub fn items(&self) -> impl Iterator<Item = Result<Item<'a>, RecordError>> {
        self.items.iter().map(|json| Item::parse(json))
    }
}

/// Returns what a relay signs of the items that it pushes: `items` is the text of their array.
pub fn digest_of(items: &str) -> Bytes<32> {
    Bytes(sha256(&[items.as_bytes()]))
}
