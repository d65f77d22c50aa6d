//! The messages of a socket, each one JSON object as text.
//!
//! What a client sends is read strictly: no unknown field, nothing twice, nothing of another type. Clients ignore fields
//! and messages that they do not know.

use std::borrow::Cow;

use serde::Serialize;

use crate::base64;
use crate::fields::{FieldError, Fields};
use crate::key::PublicKey;
use crate::limits::{
    LIVE_CLIENT_MESSAGE_MAX_BYTES, LIVE_ID_MAX_BYTES, LIVE_ID_MIN_BYTES, LIVE_SIGNAL_DATA_MAX_BYTES,
    LIVE_SIGNAL_MESSAGE_MAX_BYTES,
};
use crate::live::changes::Claim;
use crate::live::signal::{Signal, SignalKind};
use crate::ticket::PeerId;
use crate::time::UnixMillis;

/// What a client sends where nothing else was sent for a while.
pub const PING: &str = "ping";

/// The answer to [`PING`].
pub const PONG: &str = "pong";

/// Holds a message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// `ping`.
    Ping,
    /// `{"t":"ack","seq"}`: everything up to this sequence number has been read.
    Acknowledge(u64),
    /// `{"t":"announce","id"?,"ticket","seq"?}`.
    Announce(TicketMessage<'a>),
    /// `{"t":"leave","id"?,"ticket","seq"?}`.
    Leave(TicketMessage<'a>),
    /// `{"t":"bind","id"?,"audience","peerId","publicKey","signature","seq"?}`.
    Bind(BindMessage),
    /// `{"t":"signal","id","kind","re"?,"to","toKey","from","fromKey","at","data","signature","ticket"?}`.
    Signal(Box<Signal<'a>>),
}

/// Holds a ticket that is to be listed, or to end what is listed.
#[derive(Debug, PartialEq, Eq)]
pub struct TicketMessage<'a> {
    /// The name that the answer repeats.
    pub id: Option<String>,
    /// The ticket, not parsed yet.
    pub ticket: &'a str,
    /// Acknowledges as `ack` does.
    pub sequence: Option<u64>,
}

/// Holds what a client signs to bind its connection, with what it leaves for the beacon to fill in left out.
#[derive(Debug, PartialEq, Eq)]
pub struct BindMessage {
    /// The name that the answer repeats.
    pub id: Option<String>,
    /// The origin that the client dialled.
    pub audience: String,
    /// The name of the claim.
    pub peer_id: PeerId,
    /// The key of the claim.
    pub public_key: PublicKey,
    /// The signature over [`Binding::signed_bytes`](super::Binding::signed_bytes).
    pub signature: [u8; 64],
    /// Acknowledges as `ack` does.
    pub sequence: Option<u64>,
}

/// Says why a message cannot be read, to the client that sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not an object with a `t` that a client sends.
    #[error("a message is ping, or an object with t: announce, leave, bind, ack or signal")]
    Unknown,
    /// More bytes than a message of its kind may have.
    #[error("a message has at most {LIVE_CLIENT_MESSAGE_MAX_BYTES} bytes, a signal {LIVE_SIGNAL_MESSAGE_MAX_BYTES}")]
    TooLong,
    /// A field is missing, one too many, or of another type.
    #[error("{0}")]
    Fields(String),
    /// The name of the message.
    #[error("id must be 8 to 32 of A-Z a-z 0-9 _ -")]
    Id,
    /// The name of the claim.
    #[error("peerId, to and from must be names that a ticket can have")]
    PeerId,
    /// The key of the claim.
    #[error("publicKey, toKey and fromKey must be the base64 of 32 bytes")]
    PublicKey,
    /// The signature.
    #[error("signature must be the base64 of 64 bytes")]
    Signature,
    /// What a signal is.
    #[error("kind must be offer, answer or candidate")]
    Kind,
    /// Which offer a signal belongs to.
    #[error("re must be the base64 of 32 bytes in an answer or a candidate, and absent in an offer")]
    Re,
    /// What a signal says.
    #[error("data must be 1 to {LIVE_SIGNAL_DATA_MAX_BYTES} bytes")]
    Data,
    /// The sender's ticket.
    #[error("ticket must be an object")]
    Ticket,
}

impl From<FieldError> for MessageError {
    fn from(error: FieldError) -> Self {
        Self::Fields(error.to_string())
    }
}

impl<'a> ClientMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn parse(text: &'a str) -> Result<Self, MessageError> {
        if text == PING {
            return Ok(Self::Ping);
        }
        if text.len() > LIVE_SIGNAL_MESSAGE_MAX_BYTES {
            return Err(MessageError::TooLong);
        }
        let tagged = Fields::parse(text).and_then(|mut fields| Ok((fields.text("t")?, fields)));
        let (kind, mut fields) = match tagged {
            Ok((kind, _)) if text.len() > LIVE_CLIENT_MESSAGE_MAX_BYTES && kind != "signal" => {
                return Err(MessageError::TooLong);
            }
            Ok(tagged) => tagged,
            Err(_) if text.len() > LIVE_CLIENT_MESSAGE_MAX_BYTES => return Err(MessageError::TooLong),
            Err(_) => return Err(MessageError::Unknown),
        };
        match &*kind {
            "ack" => {
                let sequence = fields.number("seq")?;
                fields.end()?;
                Ok(Self::Acknowledge(sequence))
            }
            "announce" => ticket(fields).map(Self::Announce),
            "leave" => ticket(fields).map(Self::Leave),
            "bind" => bind(fields).map(Self::Bind),
            "signal" => signal(fields).map(Box::new).map(Self::Signal),
            _ => Err(MessageError::Unknown),
        }
    }
}

fn ticket(mut fields: Fields<'_>) -> Result<TicketMessage<'_>, MessageError> {
    let (id, ticket, sequence) = (fields.optional_text("id")?, fields.json("ticket")?, fields.optional_number("seq")?);
    fields.end()?;
    Ok(TicketMessage { id: check_id(id)?, ticket, sequence })
}

fn bind(mut fields: Fields<'_>) -> Result<BindMessage, MessageError> {
    let (id, sequence) = (fields.optional_text("id")?, fields.optional_number("seq")?);
    let [audience, peer_id, public_key, signature] = fields.named(["audience", "peerId", "publicKey", "signature"])?;
    fields.end()?;
    Ok(BindMessage {
        id: check_id(id)?,
        audience: audience.into_owned(),
        peer_id: PeerId::new(&peer_id).ok_or(MessageError::PeerId)?,
        public_key: base64::decode_array(&public_key).map(PublicKey::from_bytes).ok_or(MessageError::PublicKey)?,
        signature: base64::decode_array(&signature).ok_or(MessageError::Signature)?,
        sequence,
    })
}

fn signal(mut fields: Fields<'_>) -> Result<Signal<'_>, MessageError> {
    let [id, kind, to, to_key, from, from_key, data, signature] =
        fields.named(["id", "kind", "to", "toKey", "from", "fromKey", "data", "signature"])?;
    let (re, at, ticket) = (fields.optional_text("re")?, fields.time("at")?, fields.optional_json("ticket")?);
    fields.end()?;
    let re = re.map(|re| base64::decode_array(&re).ok_or(MessageError::Re)).transpose()?;
    let kind = match (&*kind, re) {
        ("offer", None) => SignalKind::Offer,
        ("answer", Some(offer)) => SignalKind::Answer(offer),
        ("candidate", Some(offer)) => SignalKind::Candidate(offer),
        ("offer" | "answer" | "candidate", _) => return Err(MessageError::Re),
        _ => return Err(MessageError::Kind),
    };
    if !is_id(&id) {
        return Err(MessageError::Id);
    }
    if !(1..=LIVE_SIGNAL_DATA_MAX_BYTES).contains(&data.len()) {
        return Err(MessageError::Data);
    }
    if ticket.is_some_and(|ticket| !ticket.starts_with('{')) {
        return Err(MessageError::Ticket);
    }
    Ok(Signal {
        id: id.into_owned(),
        kind,
        to: claim(&to, &to_key)?,
        from: claim(&from, &from_key)?,
        at,
        data: data.into_owned(),
        signature: base64::decode_array(&signature).ok_or(MessageError::Signature)?,
        ticket,
    })
}

fn claim(peer_id: &str, public_key: &str) -> Result<Claim, MessageError> {
    let public_key = base64::decode_array(public_key).map(PublicKey::from_bytes).ok_or(MessageError::PublicKey)?;
    Ok(Claim { public_key, peer_id: PeerId::new(peer_id).ok_or(MessageError::PeerId)? })
}

fn check_id(id: Option<Cow<'_, str>>) -> Result<Option<String>, MessageError> {
    if id.as_deref().is_none_or(is_id) { Ok(id.map(Cow::into_owned)) } else { Err(MessageError::Id) }
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (LIVE_ID_MIN_BYTES..=LIVE_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(allowed)
}

/// Writes a message of the beacon.
pub trait BeaconMessage: Serialize {
    /// Returns the message as text.
    fn to_text(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The first message on a socket and in an event stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "t", rename = "hello")]
pub struct Hello<'a> {
    /// The version of these messages, 1.
    pub version: u32,
    /// The community.
    pub community: &'a str,
    /// The beacon's clock.
    pub server_time: UnixMillis,
    /// What a binding signs, base64 of 16 bytes; absent in an event stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Bytes that the beacon sends without an acknowledgement; absent in an event stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_bytes: Option<usize>,
    /// After so many frames the connection ends, and the client opens another one; absent, it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_after_frames: Option<u32>,
}

impl BeaconMessage for Hello<'_> {}

/// The answer to an announce that is not refused.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "t", rename = "announced")]
pub struct AnnouncedMessage<'a> {
    /// The `id` of the message that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub re: Option<&'a str>,
    /// Whether the ticket is new.
    pub accepted: bool,
    /// Whether the claim is listed.
    pub listed: bool,
    /// When the ticket ends.
    pub expires_at: UnixMillis,
    /// After how many milliseconds to announce again.
    pub announce_after_ms: u64,
    /// Whether the connection is bound to the claim.
    pub bound: bool,
}

impl BeaconMessage for AnnouncedMessage<'_> {}

/// The answer to a leave.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename = "left")]
pub struct LeftMessage<'a> {
    /// The `id` of the message that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub re: Option<&'a str>,
    /// Whether the claim was listed.
    pub left: bool,
}

impl BeaconMessage for LeftMessage<'_> {}

/// The answer to a bind.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename = "bound")]
pub struct BoundMessage<'a> {
    /// The `id` of the message that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub re: Option<&'a str>,
    /// What opens a relay, where there is one for the client: JSON, an array of `RTCIceServer` (W3C WebRTC, section 4.2.4).
    #[serde(skip)]
    pub ice_servers: Option<&'a str>,
}

impl BeaconMessage for BoundMessage<'_> {
    fn to_text(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        match (self.ice_servers, text.strip_suffix('}')) {
            (Some(servers), Some(before)) => [before, ",\"iceServers\":", servers, "}"].concat(),
            _ => text,
        }
    }
}

/// The answer to a signal that was handed to the receiver's connection.
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename = "delivered")]
pub struct DeliveredMessage<'a> {
    /// The `id` of the signal.
    pub re: &'a str,
}

impl BeaconMessage for DeliveredMessage<'_> {}

/// Says what is wrong with a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "t", rename = "error")]
pub struct ErrorMessage<'a> {
    /// The `id` of the message that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub re: Option<&'a str>,
    /// The cause, for programs.
    pub code: &'a str,
    /// The cause, for people.
    pub detail: String,
    /// After how many milliseconds the same is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl BeaconMessage for ErrorMessage<'_> {}

/// Says why a socket is closed, and with that what the client does next: 4100 to 4199 it opens another one after a wait,
/// 4200 to 4299 at once if at all, 4500 to 4599 not within the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The beacon ends.
    GoingAway,
    /// A binary message.
    Unsupported,
    /// A message of too many bytes.
    TooLong,
    /// The beacon has failed.
    Internal,
    /// The connection has lasted long enough, or nothing was heard from the client.
    Again,
    /// The client did not read, or did not acknowledge.
    Slow,
    /// The client sent too many messages.
    TooFast,
    /// A newcomer needed the place.
    LiveFull,
    /// A newer connection is bound to the same claim.
    Replaced,
    /// The client sent too many messages that cannot be read.
    Malformed,
    /// The client's key is revoked, or not a trusted one.
    KeyRefused,
}

impl CloseCode {
    const ALL: [Self; 11] = [
        Self::GoingAway,
        Self::Unsupported,
        Self::TooLong,
        Self::Internal,
        Self::Again,
        Self::Slow,
        Self::TooFast,
        Self::LiveFull,
        Self::Replaced,
        Self::Malformed,
        Self::KeyRefused,
    ];

    /// Returns the code with this number; [`CloseCode::Internal`] where none has it.
    pub fn from_u16(number: u16) -> Self {
        Self::ALL.into_iter().find(|code| code.as_u16() == number).unwrap_or(Self::Internal)
    }

    /// Returns the number (RFC 6455, section 7.4).
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Unsupported => 1003,
            Self::TooLong => 1009,
            Self::Internal => 1011,
            Self::Again => 4100,
            Self::Slow => 4108,
            Self::TooFast => 4129,
            Self::LiveFull => 4153,
            Self::Replaced => 4209,
            Self::Malformed => 4500,
            Self::KeyRefused => 4503,
        }
    }

    /// Returns the reason that is sent with it, at most 123 bytes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "GOING_AWAY",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooLong => "TOO_LONG",
            Self::Internal => "INTERNAL",
            Self::Again => "AGAIN",
            Self::Slow => "SLOW",
            Self::TooFast => "TOO_FAST",
            Self::LiveFull => "LIVE_FULL",
            Self::Replaced => "REPLACED",
            Self::Malformed => "MALFORMED",
            Self::KeyRefused => "KEY_REFUSED",
        }
    }

    /// Returns whether the client did what no right one does, so that its address is refused for a while.
    pub const fn is_penalised(self) -> bool {
        matches!(self, Self::Unsupported | Self::TooLong | Self::TooFast | Self::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_clients_are_read_as_they_are_specified() {
        assert_eq!(ClientMessage::parse("ping"), Ok(ClientMessage::Ping));
        assert_eq!(ClientMessage::parse(r#"{"seq":7,"t":"ack"}"#), Ok(ClientMessage::Acknowledge(7)));
        assert_eq!(
            ClientMessage::parse(r#"{"t":"announce","id":"abcdefgh","ticket":{"a":1},"seq":3}"#),
            Ok(ClientMessage::Announce(TicketMessage {
                id: Some("abcdefgh".to_owned()),
                ticket: r#"{"a":1}"#,
                sequence: Some(3)
            }))
        );
        assert_eq!(
            ClientMessage::parse(r#"{"t":"leave","ticket":1}"#),
            Ok(ClientMessage::Leave(TicketMessage { id: None, ticket: "1", sequence: None }))
        );
        let bind = format!(
            r#"{{"t":"bind","audience":"https://a.example","peerId":"p","publicKey":"{}","signature":"{}"}}"#,
            base64::encode(&[1; 32]),
            base64::encode(&[2; 64])
        );
        let expected = BindMessage {
            id: None,
            audience: "https://a.example".to_owned(),
            peer_id: PeerId::new("p").unwrap(),
            public_key: PublicKey::from_bytes([1; 32]),
            signature: [2; 64],
            sequence: None,
        };
        assert_eq!(ClientMessage::parse(&bind), Ok(ClientMessage::Bind(expected)));
    }

    #[test]
    fn anything_else_is_refused() {
        let key = base64::encode(&[1; 32]);
        let signature = base64::encode(&[2; 64]);
        for text in [
            String::new(),
            "Ping".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"["ack",1]"#.to_owned(),
            r#"{"t":1}"#.to_owned(),
            r#"{"t":"hello"}"#.to_owned(),
            r#"{"t":"ack"}"#.to_owned(),
            r#"{"t":"ack","seq":-1}"#.to_owned(),
            r#"{"t":"ack","seq":1.5}"#.to_owned(),
            r#"{"t":"ack","seq":1,"more":1}"#.to_owned(),
            r#"{"t":"ack","seq":1,"seq":2}"#.to_owned(),
            r#"{"t":"announce"}"#.to_owned(),
            r#"{"t":"announce","ticket":1,"id":null}"#.to_owned(),
            r#"{"t":"announce","ticket":1,"id":"short"}"#.to_owned(),
            format!(r#"{{"t":"announce","ticket":1,"id":"{}"}}"#, "a".repeat(33)),
            r#"{"t":"announce","ticket":1,"id":"with space"}"#.to_owned(),
            r#"{"t":"announce","ticket":1,"seq":null}"#.to_owned(),
            format!(r#"{{"t":"bind","audience":"a","peerId":"","publicKey":"{key}","signature":"{signature}"}}"#),
            format!(
                r#"{{"t":"bind","audience":"a","peerId":"p","publicKey":"{signature}","signature":"{signature}"}}"#
            ),
            format!(r#"{{"t":"bind","audience":"a","peerId":"p","publicKey":"{key}","signature":"{key}"}}"#),
            format!(r#"{{"t":"bind","peerId":"p","publicKey":"{key}","signature":"{signature}"}}"#),
        ] {
            assert!(ClientMessage::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_signal_may_be_longer_than_any_other_message() {
        let padded = |start: &str, bytes: usize| format!("{start}{}", " ".repeat(bytes - start.len()));
        let ack = r#"{"t":"ack","seq":1}"#;
        assert_eq!(ClientMessage::parse(&padded(ack, 4_096)), Ok(ClientMessage::Acknowledge(1)));
        assert_eq!(ClientMessage::parse(&padded(ack, 4_097)), Err(MessageError::TooLong));
        assert_eq!(ClientMessage::parse(&"a".repeat(4_096)), Err(MessageError::Unknown));
        assert_eq!(ClientMessage::parse(&"a".repeat(4_097)), Err(MessageError::TooLong));
        let signal = r#"{"t":"signal"}"#;
        assert!(matches!(ClientMessage::parse(&padded(signal, 12_288)), Err(MessageError::Fields(_))));
        assert_eq!(ClientMessage::parse(&padded(signal, 12_289)), Err(MessageError::TooLong));
    }

    #[test]
    fn messages_of_the_beacon_are_pinned() {
        let time = UnixMillis::saturating(1_700_000_000_000);
        let hello = Hello {
            version: 1,
            community: "mainnet",
            server_time: time,
            challenge: Some("AQ==".to_owned()),
            ack_bytes: Some(262_144),
            reconnect_after_frames: None,
        };
        let announced = AnnouncedMessage {
            re: Some("abcdefgh"),
            accepted: true,
            listed: true,
            expires_at: time,
            announce_after_ms: 7,
            bound: false,
        };
        let error = ErrorMessage { re: None, code: "TOO_FAST", detail: "too fast".to_owned(), retry_after_ms: Some(1) };
        let servers = r#"[{"urls":["turn:a.example"]}]"#;
        for (text, expected) in [
            (
                hello.to_text(),
                r#"{"t":"hello","version":1,"community":"mainnet","serverTime":1700000000000,"challenge":"AQ==","ackBytes":262144}"#,
            ),
            (
                announced.to_text(),
                r#"{"t":"announced","re":"abcdefgh","accepted":true,"listed":true,"expiresAt":1700000000000,"announceAfterMs":7,"bound":false}"#,
            ),
            (LeftMessage { re: None, left: true }.to_text(), r#"{"t":"left","left":true}"#),
            (BoundMessage { re: Some("abcdefgh"), ice_servers: None }.to_text(), r#"{"t":"bound","re":"abcdefgh"}"#),
            (
                BoundMessage { re: None, ice_servers: Some(servers) }.to_text(),
                r#"{"t":"bound","iceServers":[{"urls":["turn:a.example"]}]}"#,
            ),
            (DeliveredMessage { re: "abcdefgh" }.to_text(), r#"{"t":"delivered","re":"abcdefgh"}"#),
            (error.to_text(), r#"{"t":"error","code":"TOO_FAST","detail":"too fast","retryAfterMs":1}"#),
        ] {
            assert_eq!(text, expected);
        }
    }
}
