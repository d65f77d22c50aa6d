//! Requests: what a deposit and a retrieval say, and in which order they are judged.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::{MailboxId, RsaKey};
use super::limits::{BODY_MAX_BYTES, MESSAGE_LASTS};
use super::proof::{Proof, is_current, seconds_of};
use super::refused::Refused;
use crate::base64;
use crate::canonical::quoted;
use crate::mailbox::bytes::{Bytes, sha256};
use crate::time::UnixMillis;

/// Holds what is deposited, once the depositor's proof is known to hold, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Where it is to wait.
    pub mailbox: MailboxId,
    /// The payload as a JSON text, quotes and all, as it is handed over.
    pub quoted_payload: String,
    /// The SHA-256 of the payload.
    pub content: Bytes<32>,
    /// How long it is to wait.
    pub lifetime: Duration,
    /// Who left it, if that was proved.
    pub depositor: Option<Proof>,
}

/// Holds a deposit of which nobody has looked at the depositor's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedDeposit {
    deposit: Deposit,
    /// What is wrong with the payload. The depositor's proof is judged before it.
    judged: Result<(), Refused>,
}

/// Holds a question for what waits, of whose proof nobody has looked at the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedRetrieval {
    proof: Proof,
}

/// The fields of both requests. Which type each has is judged one by one.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    target_pubkey: Option<&'a RawValue>,
    ttl: Option<&'a RawValue>,
    depositor_pubkey: Option<&'a RawValue>,
    depositor_timestamp: Option<&'a RawValue>,
    depositor_signature: Option<&'a RawValue>,
    pubkey: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    signature: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Refused> {
        if body.is_empty() {
            return Err(Refused::EmptyBody);
        }
        if body.len() > BODY_MAX_BYTES {
            return Err(Refused::BodyTooLarge);
        }
        let json: &RawValue = serde_json::from_slice(body).map_err(|_| Refused::BodyNotJson)?;
        let is_object = json.get().starts_with('{');
        serde_json::from_str(json.get()).ok().filter(|_| is_object).ok_or(Refused::BodyMalformed)
    }
}

/// Reads a text. Absent, `null` and empty are the same.
fn text(value: Option<&RawValue>) -> Result<Option<String>, Refused> {
    let Some(value) = value else { return Ok(None) };
    let text: Option<String> = serde_json::from_str(value.get()).map_err(|_| Refused::BodyMalformed)?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn required(value: Option<&RawValue>) -> Result<String, Refused> {
    text(value)?.ok_or(Refused::FieldMissing)
}

/// Reads a number of seconds, which may be a text. Absent and `null` are the same.
fn seconds(value: Option<&RawValue>, otherwise: Refused) -> Result<Option<u64>, Refused> {
    let Some(json) = value.map(RawValue::get).filter(|json| *json != "null") else { return Ok(None) };
    let digits = if json.starts_with('"') { serde_json::from_str(json).ok() } else { Some(json.to_owned()) };
    digits.and_then(|digits| seconds_of(&digits)).ok_or(otherwise).map(Some)
}

impl UnverifiedDeposit {
    /// Parses the body of a deposit. `relay_name` is what clients sign for.
    ///
    /// # Errors
    /// [`Refused`], the first that is to be said. What is wrong with the payload is said later.
    pub fn parse(now: UnixMillis, body: &[u8], relay_name: &str) -> Result<Self, Refused> {
        let body = Body::parse(body)?;
        let (payload, target) = (text(body.payload)?, text(body.target_pubkey)?);
        let (payload, target) = payload.zip(target).ok_or(Refused::FieldMissing)?;
        let lifetime = match seconds(body.ttl, Refused::LifetimeInvalid)? {
            None => MESSAGE_LASTS,
            Some(0) => return Err(Refused::LifetimeInvalid),
            Some(seconds) => Duration::from_secs(seconds).min(MESSAGE_LASTS),
        };
        let key = RsaKey::parse(&target).ok_or(Refused::KeyInvalid)?;
        let depositor = (
            text(body.depositor_pubkey)?,
            seconds(body.depositor_timestamp, Refused::BodyMalformed)?,
            text(body.depositor_signature)?,
        );
        let depositor = match depositor {
            (Some(key), Some(seconds), Some(signature)) => {
                let key = RsaKey::parse(&key).filter(|_| is_current(seconds, now));
                let proof = key.and_then(|key| Proof::new(key, seconds, &signature, relay_name));
                Some(proof.ok_or(Refused::DepositorInvalid)?)
            }
            // One that is not whole counts as none.
            _ => None,
        };
        let judged = judge_payload(&payload, &target);
        let content = Bytes(sha256(&[payload.as_bytes()]));
        let quoted_payload = quoted(&payload);
        Ok(Self { deposit: Deposit { mailbox: key.mailbox(), quoted_payload, content, lifetime, depositor }, judged })
    }

    /// Returns the depositor's proof, if there is one.
    pub const fn proof(&self) -> Option<&Proof> {
        self.deposit.depositor.as_ref()
    }

    /// Goes on with whether the signature of the depositor's proof fits. Without a proof it does.
    ///
    /// # Errors
    /// [`Refused`], if it does not, or for what is wrong with the payload.
    pub fn accept(self, fits: bool) -> Result<Deposit, Refused> {
        if !fits {
            return Err(Refused::DepositorInvalid);
        }
        self.judged.map(|()| self.deposit)
    }
}

impl UnverifiedRetrieval {
    /// Parses the body of a retrieval. `relay_name` is what clients sign for.
    ///
    /// # Errors
    /// [`Refused`], the first that is to be said.
    pub fn parse(now: UnixMillis, body: &[u8], relay_name: &str) -> Result<Self, Refused> {
        let body = Body::parse(body)?;
        let (key, signature) = (required(body.pubkey)?, required(body.signature)?);
        let seconds = seconds(body.timestamp, Refused::BodyMalformed)?.ok_or(Refused::FieldMissing)?;
        let key = RsaKey::parse(&key).ok_or(Refused::KeyInvalid)?;
        if !is_current(seconds, now) {
            return Err(Refused::TimestampInvalid);
        }
        let proof = Proof::new(key, seconds, &signature, relay_name).ok_or(Refused::SignatureInvalid)?;
        Ok(Self { proof })
    }

    /// Returns its proof.
    pub const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Goes on with whether the signature fits.
    ///
    /// # Errors
    /// [`Refused::SignatureInvalid`], if it does not.
    pub fn accept(self, fits: bool) -> Result<Proof, Refused> {
        if fits { Ok(self.proof) } else { Err(Refused::SignatureInvalid) }
    }
}

/// The fields of a payload that are read.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    msg_type: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sealed<'a> {
    #[serde(borrow)]
    recipient_fingerprint: Option<&'a RawValue>,
}

/// Checks that a payload is one that relays keep, and sealed for this key if it says for which. It is not read any further.
fn judge_payload(payload: &str, target: &str) -> Result<(), Refused> {
    let is_object = |json: &str| json.trim_start().starts_with('{');
    let message: Option<Message<'_>> = serde_json::from_str(payload).ok().filter(|_| is_object(payload));
    let message = message.ok_or(Refused::PayloadInvalid)?;
    let kind: Option<String> = message.msg_type.and_then(|kind| serde_json::from_str(kind.get()).ok());
    let is_intercom = kind.is_some_and(|kind| kind == "intercom");
    let sealed = message.payload.filter(|_| is_intercom).ok_or(Refused::PayloadNotIntercom)?.get();
    // It may be JSON in a text.
    let inner: Option<String> = if sealed.starts_with('"') { serde_json::from_str(sealed).ok() } else { None };
    let sealed = inner.as_deref().unwrap_or(sealed);
    if !is_object(sealed) {
        return Ok(());
    }
    let Sealed { recipient_fingerprint } = serde_json::from_str(sealed).map_err(|_| Refused::PayloadInvalid)?;
    let Some(fingerprint) = recipient_fingerprint else { return Ok(()) };
    let fingerprint: Option<String> = serde_json::from_str(fingerprint.get()).ok();
    let fingerprint = fingerprint.and_then(|text| base64::decode(&text)).ok_or(Refused::FingerprintInvalid)?;
    if fingerprint == sha256(&[target.as_bytes()]) { Ok(()) } else { Err(Refused::FingerprintMismatch) }
}
