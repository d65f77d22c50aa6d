//! Requests to a relay, and its answers, which may be slow, broken or hostile.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, header};
use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::fetch::{Fetcher, parse_url};
use rendezvous_capsule::text;
use rendezvous_protocol::retalk::request::{MessageKind, Tool, signed_body};
use rendezvous_protocol::retalk::user::{Identity, UserId};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use vodozemac::olm::Account;

/// Bytes of an answer: a relay of this project hands over 4 MiB of messages, and the fields around each.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Characters of what a relay says that are shown.
const TEXT_MAX_CHARS: usize = 300;

/// Characters of a relay's name for why it has not stored a message.
const CODE_MAX_CHARS: usize = 64;

/// Holds what came back of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Says that nothing came back, or not all of it. The request may have been served all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TransportError {
    /// Why, without the relay's address.
    pub reason: String,
}

/// Carries a request to a relay, and its answer back.
pub trait Transport {
    /// Posts JSON to an address. Redirects are answers like others.
    ///
    /// # Errors
    /// [`TransportError`].
    fn post(&self, url: &str, body: &str) -> Result<Answer, TransportError>;
}

/// Carries requests over HTTP.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    fetcher: Fetcher,
    timeout: Duration,
}

impl HttpTransport {
    /// Makes a transport that allows so long for each request.
    pub const fn new(fetcher: Fetcher, timeout: Duration) -> Self {
        Self { fetcher, timeout }
    }
}

impl Transport for HttpTransport {
    fn post(&self, url: &str, body: &str) -> Result<Answer, TransportError> {
        let failed = |reason: &dyn fmt::Display| TransportError { reason: reason.to_string() };
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.as_bytes().to_vec())
            .map_err(|error| failed(&error))?;
        let response = self.fetcher.send(request, ANSWER_MAX_BYTES, self.timeout).map_err(|error| failed(&error))?;
        Ok(Answer { status: response.status().as_u16(), body: response.into_body() })
    }
}

/// Says what went wrong at a relay. What the relay itself says is made printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Not an address that can be asked.
    #[error("a relay's address begins with https:// or http://, has a host, and no user, password, space or fragment")]
    AddressInvalid,
    /// No answer, or the relay's own fault. The request may have been served all the same.
    #[error("the relay cannot be reached: {reason}")]
    Unreached {
        /// Why.
        reason: String,
    },
    /// A refusal.
    #[error("server error from {tool}: {text}")]
    Refused {
        /// What was asked for.
        tool: &'static str,
        /// What the relay says.
        text: String,
    },
    /// Something else than an answer of a relay.
    #[error("the relay does not answer {tool} as a relay does: {reason}")]
    Unreadable {
        /// What was asked for.
        tool: &'static str,
        /// What does not fit.
        reason: String,
    },
}

impl Cause for RelayError {
    fn exit(&self) -> Exit {
        match self {
            Self::AddressInvalid => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
            Self::Unreached { .. } | Self::Unreadable { .. } => Exit::Unreachable,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::AddressInvalid => None,
            Self::Unreached { .. } => Some("NO_CONNECTION"),
            Self::Refused { .. } => Some("REFUSED"),
            Self::Unreadable { .. } => Some("NOT_A_RELAY"),
        }
    }
}

/// Names a relay by the address that its users wrote, byte for byte: requests are signed for it.
#[derive(Clone, Copy)]
pub struct Relay<'a> {
    url: &'a str,
    transport: &'a dyn Transport,
}

impl fmt::Debug for Relay<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Relay").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<'a> Relay<'a> {
    /// Takes an address.
    ///
    /// # Errors
    /// [`RelayError::AddressInvalid`].
    pub fn new(url: &'a str, transport: &'a dyn Transport) -> Result<Self, RelayError> {
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#');
        if !is_plain || parse_url(url).is_err() {
            return Err(RelayError::AddressInvalid);
        }
        Ok(Self { url, transport })
    }

    /// Returns the address.
    pub const fn url(&self) -> &'a str {
        self.url
    }

    /// Asks, signed by the account's key.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &SignedRequest<'_>) -> Result<T, RelayError> {
        let tool = request.tool.name();
        let unreached = |reason: String| RelayError::Unreached { reason };
        let body = request.body(self.url);
        let answer = self.transport.post(self.url, &body).map_err(|error| unreached(shown(&error.reason)))?;
        match answer.status {
            200 => {}
            429 | 500.. => return Err(unreached(format!("HTTP status {}", answer.status))),
            status => {
                return Err(match serde_json::from_slice::<ErrorAnswer>(&answer.body) {
                    Ok(ErrorAnswer { error }) => RelayError::Refused { tool, text: shown(&error) },
                    Err(_) => RelayError::Unreadable { tool, reason: format!("HTTP status {status}") },
                });
            }
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| RelayError::Unreadable { tool, reason: shown(&error.to_string()) })
    }
}

/// Returns a text of a stranger as a terminal may show it, and not all of a long one.
fn shown(text: &str) -> String {
    text::printable(&text.chars().take(TEXT_MAX_CHARS).collect::<String>())
}

/// Holds what is asked for, and by whom.
pub(crate) struct SignedRequest<'a> {
    pub(crate) tool: &'a Tool,
    pub(crate) identity: &'a Identity,
    pub(crate) account: &'a Account,
    pub(crate) now: UnixMillis,
    pub(crate) nonce: &'a str,
}

impl SignedRequest<'_> {
    fn body(&self, audience: &str) -> String {
        let sign = |text: &str| self.account.sign(text).to_base64();
        signed_body(self.tool, self.identity, audience, self.now, self.nonce, sign)
    }
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// Holds how many keys a relay has of the user.
#[derive(Debug, Deserialize)]
pub(crate) struct Counted {
    pub(crate) unclaimed: u64,
    pub(crate) has_fallback: bool,
}

/// Holds a peer's keys as a relay tells them, of which nothing is checked.
#[derive(Debug, Deserialize)]
pub(crate) struct ToldKeys {
    identity_key: String,
    signing_key: String,
}

impl ToldKeys {
    /// Returns the keys if they are those of this user: the id is their hash.
    pub(crate) fn of(&self, user: UserId) -> Option<Identity> {
        Identity::parse(&self.identity_key, &self.signing_key).filter(|identity| identity.user_id() == user)
    }
}

/// Holds a prekey as a relay hands it out, with its owner's keys.
#[derive(Debug, Deserialize)]
pub(crate) struct Claimed {
    #[serde(flatten)]
    pub(crate) keys: ToldKeys,
    pub(crate) one_time_key: String,
}

/// Holds what a relay says of a message that was sent to it.
#[derive(Debug, Deserialize)]
struct SentAnswer {
    stored: Option<bool>,
    code: Option<String>,
    refused: Option<bool>,
    sig: Option<String>,
}

/// Says what a relay did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It holds the message.
    Stored,
    /// It has no room, for this reason.
    NotStored(String),
    /// The recipient has refused the body, by this signature, of which nothing is checked.
    BodyRefused(String),
}

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answer = SentAnswer::deserialize(deserializer)?;
        Ok(if answer.refused == Some(true) {
            Self::BodyRefused(answer.sig.unwrap_or_default())
        } else if answer.stored == Some(false) {
            let code = answer.code.unwrap_or_else(|| "NOT_STORED".to_owned());
            Self::NotStored(text::printable(&code.chars().take(CODE_MAX_CHARS).collect::<String>()))
        } else {
            Self::Stored
        })
    }
}

/// Holds a message as a relay hands it over, of which nothing is checked.
#[derive(Debug, Deserialize)]
pub(crate) struct HandedOver {
    pub(crate) from: String,
    pub(crate) mtype: u64,
    pub(crate) body: String,
}

impl HandedOver {
    /// Returns the sender and the kind, if they are any.
    pub(crate) fn header(&self) -> Option<(UserId, MessageKind)> {
        Some((self.from.parse().ok()?, MessageKind::of(self.mtype)?))
    }
}
