//! One relay: its requests, and its answers, which may be slow, broken or hostile.

use std::fmt;

use http::{Method, StatusCode};
use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::fetch::{FetchError, is_considered, parse_url};
use rendezvous_capsule::text;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::record::{Card, RecordRules};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::transport::{Answer, Transport};

/// Bytes of an answer with messages: 2 MiB of sealed bytes in base64, and their deposits.
const MESSAGES_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of every other answer.
const ANSWER_MAX_BYTES: usize = 256 * 1024;

/// Characters of what a relay says that are shown.
const DETAIL_MAX_CHARS: usize = 300;

/// What went wrong at a relay.
#[derive(Debug, thiserror::Error)]
pub enum MailboxRelayError {
    /// Not the address of a relay.
    #[error("a relay is an origin, like https://relay.example.org, without a path")]
    NotAnOrigin,
    /// No answer.
    #[error("{relay}: {error}")]
    Unreachable {
        /// The relay.
        relay: String,
        /// Why.
        error: FetchError,
    },
    /// A refusal, by the rules.
    #[error("{relay} refuses: {code}{}", said(.detail))]
    Refused {
        /// The relay.
        relay: String,
        /// The name of the rule.
        code: String,
        /// What the relay says.
        detail: String,
    },
    /// Something else than an answer of a relay.
    #[error("{relay} does not answer as a relay does: {reason}")]
    NotARelay {
        /// The relay.
        relay: String,
        /// What does not fit.
        reason: String,
    },
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

impl Cause for MailboxRelayError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotAnOrigin => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
            Self::Unreachable { .. } | Self::NotARelay { .. } => Exit::Unreachable,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::NotAnOrigin => None,
            Self::Unreachable { error, .. } => Some(error.code()),
            Self::Refused { code, .. } => Code::parse(code).map(Code::as_str),
            Self::NotARelay { .. } => Some("NOT_A_RELAY"),
        }
    }
}

impl MailboxRelayError {
    /// Returns the code of a refusal.
    pub fn refusal(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Code::parse(code),
            _ => None,
        }
    }

    /// Returns a name for scripts and for what is remembered of a message.
    pub fn name(&self) -> String {
        match self {
            Self::Refused { code, .. } => code.clone(),
            other => other.code().unwrap_or("BAD_URL").to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

/// What a relay says of itself.
#[derive(Debug, Deserialize)]
pub struct AboutRelay {
    /// Whom it takes requests for.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The doors that are open.
    #[serde(default)]
    pub doors: Vec<String>,
}

#[derive(Deserialize)]
struct CardAnswer {
    card: Box<RawValue>,
}

/// What becomes of a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DepositAnswer {
    /// Taken in just now.
    pub accepted: bool,
    /// Held already.
    pub duplicate: bool,
    /// Acknowledged already, by `ack`.
    pub acknowledged: bool,
    /// Over, and not taken in again.
    pub ended: bool,
    /// The recipient's word.
    pub ack: Option<Box<RawValue>>,
}

/// A message as a relay hands it over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedOverMessage {
    /// What its sender signed.
    pub deposit: Box<RawValue>,
    /// The sealed bytes, in base64.
    pub sealed: String,
    /// When it came, to the minute.
    pub received_at: Option<u64>,
}

/// What waits.
#[derive(Debug, Deserialize)]
pub struct CollectAnswer {
    /// The oldest first.
    pub messages: Vec<HandedOverMessage>,
    /// Whether there are more.
    #[serde(default)]
    pub more: bool,
}

#[derive(Deserialize)]
struct SlotAnswer {
    ack: Option<Box<RawValue>>,
}

/// A relay.
#[derive(Clone)]
pub struct MailboxRelay<'a> {
    origin: Origin,
    transport: &'a dyn Transport,
}

impl fmt::Debug for MailboxRelay<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MailboxRelay").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Takes the address of a relay, in any spelling of its origin; a slash at the end changes nothing.
pub fn parse_relay(text: &str) -> Result<Origin, MailboxRelayError> {
    let text = text.trim().trim_end_matches('/');
    parse_url(text).map_err(|_| MailboxRelayError::NotAnOrigin)?;
    Origin::parse(text).ok_or(MailboxRelayError::NotAnOrigin)
}

impl<'a> MailboxRelay<'a> {
    /// Makes one of its origin.
    ///
    /// # Errors
    /// [`MailboxRelayError::NotAnOrigin`].
    pub fn new(origin: &str, transport: &'a dyn Transport) -> Result<Self, MailboxRelayError> {
        Ok(Self { origin: parse_relay(origin)?, transport })
    }

    /// Returns its origin.
    pub fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// Asks what the relay is.
    pub fn about(&self) -> Result<AboutRelay, MailboxRelayError> {
        self.call(Method::GET, "/v1/relay", "", ANSWER_MAX_BYTES)
    }

    /// Opens a mailbox or changes it.
    pub fn put(&self, mailbox: Address, card: &str, policy: &str) -> Result<(), MailboxRelayError> {
        self.tell(Method::PUT, mailbox, "", &format!(r#"{{"card":{card},"policy":{policy}}}"#))
    }

    /// Returns the card of a mailbox, of which nothing is verified.
    pub fn card(&self, mailbox: Address) -> Result<String, MailboxRelayError> {
        let answer: CardAnswer = self.call(Method::GET, &path(mailbox, ""), "", ANSWER_MAX_BYTES)?;
        Ok(answer.card.get().to_owned())
    }

    /// Returns the revision of the card that the relay has of a mailbox, if its owner has signed it.
    pub fn revision(&self, mailbox: Address, now: UnixMillis) -> Option<u64> {
        let card = Signed::<Card>::parse(&self.card(mailbox).ok()?).ok()?;
        let card = card.verify(&RecordRules { now, audiences: &[] }).ok()?;
        (card.payload().mailbox == mailbox).then(|| card.payload().revision)
    }

    /// Leaves a message.
    pub fn deposit(&self, mailbox: Address, deposit: &str, sealed: &str) -> Result<DepositAnswer, MailboxRelayError> {
        // Base64 has nothing in it that JSON would escape.
        let body = format!(r#"{{"deposit":{deposit},"sealed":"{sealed}"}}"#);
        self.call(Method::POST, &path(mailbox, "/messages"), &body, ANSWER_MAX_BYTES)
    }

    /// Asks for what waits.
    pub fn collect(&self, mailbox: Address, collect: &str) -> Result<CollectAnswer, MailboxRelayError> {
        let body = format!(r#"{{"collect":{collect}}}"#);
        self.call(Method::POST, &path(mailbox, "/collect"), &body, MESSAGES_MAX_BYTES)
    }

    /// Hands over acknowledgements.
    pub fn acknowledge(&self, mailbox: Address, acks: &[String]) -> Result<(), MailboxRelayError> {
        self.tell(Method::POST, mailbox, "/acks", &format!(r#"{{"acks":[{}]}}"#, acks.join(",")))
    }

    /// Asks for the acknowledgement of a slot, of which nothing is verified.
    pub fn receipt(&self, mailbox: Address, slot: &str) -> Result<Option<String>, MailboxRelayError> {
        let body = format!(r#"{{"slot":{slot}}}"#);
        let answer: SlotAnswer = self.call(Method::POST, &path(mailbox, "/slot"), &body, ANSWER_MAX_BYTES)?;
        Ok(answer.ack.map(|ack| ack.get().to_owned()))
    }

    /// Returns the address of the connections on which the news of a mailbox are told.
    pub fn live_url(&self, mailbox: Address) -> String {
        format!("{}{}", self.origin(), path(mailbox, "/live"))
    }

    /// Ends a mailbox.
    pub fn close(&self, mailbox: Address, close: &str) -> Result<(), MailboxRelayError> {
        self.tell(Method::POST, mailbox, "/close", &format!(r#"{{"close":{close}}}"#))
    }

    fn tell(&self, method: Method, mailbox: Address, end: &str, body: &str) -> Result<(), MailboxRelayError> {
        self.call::<serde::de::IgnoredAny>(method, &path(mailbox, end), body, ANSWER_MAX_BYTES).map(drop)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &str,
        max_bytes: usize,
    ) -> Result<T, MailboxRelayError> {
        let relay = self.origin().to_owned();
        let not_a_relay = |reason: String| MailboxRelayError::NotARelay { relay: relay.clone(), reason };
        let answer = self.transport.send(method, &format!("{relay}{path}"), body, max_bytes);
        let Answer { status, retry_after, body } =
            answer.map_err(|error| MailboxRelayError::Unreachable { relay: relay.clone(), error })?;
        let body = &body;
        let status = StatusCode::from_u16(status).map_err(|error| not_a_relay(error.to_string()))?;
        if status.is_success() {
            return serde_json::from_slice(body).map_err(|error| not_a_relay(shortened(&error.to_string())));
        }
        match serde_json::from_slice::<Problem>(body) {
            // Whoever answers so may do better the next time.
            Ok(Problem { code, detail }) if !status.is_server_error() => {
                Err(MailboxRelayError::Refused { relay, code: shortened(&code), detail: shortened(&detail) })
            }
            _ if status.is_redirection() => {
                Err(not_a_relay("it redirects elsewhere, which is not followed".to_owned()))
            }
            _ if !is_considered(status) => {
                Err(MailboxRelayError::Unreachable { relay, error: FetchError::Status { status, retry_after } })
            }
            _ => Err(not_a_relay(format!("HTTP status {status}"))),
        }
    }
}

fn path(mailbox: Address, end: &str) -> String {
    format!("/v1/mailboxes/{mailbox}{end}")
}

/// What a stranger says, as a terminal may show it.
fn shortened(text: &str) -> String {
    let beginning: String = text.chars().take(DETAIL_MAX_CHARS).collect();
    text::printable(&beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_an_origin() {
        for (text, origin) in [
            ("https://relay.example", "https://relay.example"),
            (" https://Relay.example:443/ ", "https://relay.example"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("http://[::1]:8787/", "http://[::1]:8787"),
        ] {
            assert_eq!(parse_relay(text).unwrap().as_str(), origin);
        }
        for bad in ["", "relay.example", "ftp://relay.example", "https://relay.example/v1", "https://u:p@relay.example"]
        {
            let error = parse_relay(bad).unwrap_err().to_string();
            assert!(error.starts_with("a relay is an origin"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_a_relay_says_cannot_move_a_cursor() {
        assert_eq!(shortened("a\u{1b}[2J\u{9b}\u{202e}b\n"), "a\\u{1b}[2J\\u{9b}\\u{202e}b\\n");
        assert_eq!(shortened(&"x".repeat(1_000)).len(), DETAIL_MAX_CHARS);
    }
}
