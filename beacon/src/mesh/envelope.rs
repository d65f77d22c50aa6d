//! An envelope of that fleet: what this relay reads of it, and in what bounds.

use std::time::Duration;

use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Bytes of an envelope as it is handed over. Of what this relay does not read there may be as much as of the rest.
const ENVELOPE_MAX_BYTES: usize = 16_384;

const CIPHERTEXT_MAX_BYTES: usize = 8_192;

/// Bytes of an identifier, and of the label of a sender.
const LABEL_MAX_BYTES: usize = 128;

/// How old an envelope may be, and how far ahead of this clock. When it ends has nothing to do with that.
const OLDEST: Duration = Duration::from_secs(3_600);
const AHEAD: Duration = Duration::from_secs(300);

/// Says by whom an envelope is meant to be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeliveryClass {
    Request,
    Shared,
    Own,
}

impl DeliveryClass {
    pub(crate) const ALL: [Self; 3] = [Self::Request, Self::Shared, Self::Own];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Shared => "shared",
            Self::Own => "self",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Returns how many of the class may wait in a mailbox.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Request | Self::Own => 12,
            Self::Shared => 48,
        }
    }
}

/// Holds an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// 64 characters of lower-case hexadecimal.
    pub(crate) mailbox: String,
    pub(crate) msg_id: String,
    pub(crate) sender: String,
    pub(crate) class: DeliveryClass,
    /// The envelope as it came.
    pub(crate) json: String,
}

/// Says why an envelope is not taken, in words of theirs where they have some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("Invalid JSON body")]
    NotJson,
    #[error("envelope must be an object")]
    NotObject,
    #[error("envelope missing required fields")]
    Missing,
    #[error("mailbox_key must be 64 lower-case hexadecimal digits")]
    Mailbox,
    #[error("msg_id and sender_block_ref must be at most 128 bytes")]
    Label,
    #[error("ciphertext must be at most 8192 bytes, and the envelope 16384")]
    TooLong,
    #[error("timestamp must be a number of seconds, at most an hour ago")]
    Time,
    #[error("delivery_class must be request, shared or self")]
    Class,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
}

/// The fields that are read. Which kind of value each is, is judged one by one.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    msg_id: Option<&'a RawValue>,
    mailbox_key: Option<&'a RawValue>,
    sender_block_ref: Option<&'a RawValue>,
    ciphertext: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    delivery_class: Option<&'a RawValue>,
}

fn text(value: Option<&RawValue>) -> Option<String> {
    value.and_then(|value| serde_json::from_str(value.get()).ok())
}

impl Envelope {
    /// Parses the body of a push.
    pub(crate) fn parse(now: UnixMillis, body: &[u8]) -> Result<Self, EnvelopeError> {
        let is_object = |json: &str| json.trim_start().starts_with('{');
        let body = str::from_utf8(body).ok().filter(|body| is_object(body)).ok_or(EnvelopeError::NotJson)?;
        let Body { envelope } = serde_json::from_str(body).map_err(|_| EnvelopeError::NotJson)?;
        let json = envelope.map(RawValue::get).filter(|json| is_object(json)).ok_or(EnvelopeError::NotObject)?;
        let (envelope, sent_at) = Self::read(json)?;
        let since = |moment: f64| moment - now.as_u64() as f64 / 1_000.0;
        let is_now = |moment: &f64| since(*moment) > -OLDEST.as_secs_f64() && since(*moment) < AHEAD.as_secs_f64();
        sent_at.filter(is_now).ok_or(EnvelopeError::Time).map(|_| envelope)
    }

    /// Returns whether two texts say the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let value = |it: &Self| serde_json::from_str::<Value>(&it.json).ok();
        self.json == other.json || value(self) == value(other)
    }

    /// Reads an envelope that this relay has taken, whenever that was.
    pub(crate) fn trusted(json: &str) -> Result<Self, EnvelopeError> {
        Self::read(json).map(|(envelope, _)| envelope)
    }

    /// Reads an envelope, and when it says that it was sent.
    fn read(json: &str) -> Result<(Self, Option<f64>), EnvelopeError> {
        let read: Read<'_> = serde_json::from_str(json).map_err(|_| EnvelopeError::NotObject)?;
        let required = |value| text(value).filter(|text| !text.is_empty()).ok_or(EnvelopeError::Missing);
        let (msg_id, mailbox) = (required(read.msg_id)?, required(read.mailbox_key)?);
        let (sender, ciphertext) = (required(read.sender_block_ref)?, required(read.ciphertext)?);
        if mailbox.len() != 64 || !mailbox.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(EnvelopeError::Mailbox);
        }
        if msg_id.len() > LABEL_MAX_BYTES || sender.len() > LABEL_MAX_BYTES {
            return Err(EnvelopeError::Label);
        }
        if ciphertext.len() > CIPHERTEXT_MAX_BYTES || json.len() > ENVELOPE_MAX_BYTES {
            return Err(EnvelopeError::TooLong);
        }
        let seconds = read.timestamp.and_then(|value| serde_json::from_str::<f64>(value.get()).ok());
        let class =
            text(read.delivery_class).and_then(|name| DeliveryClass::parse(&name)).ok_or(EnvelopeError::Class)?;
        Ok((Self { mailbox, msg_id, sender, class, json: json.to_owned() }, seconds))
    }
}
