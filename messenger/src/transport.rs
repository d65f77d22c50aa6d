//! Requests to a relay, and its answers, which may be slow, broken or hostile.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, header};
use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::fetch::{FetchError, Fetcher, parse_url};
use rendezvous_capsule::stream::Stream;
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

/// How a relay's refusal begins that has no keys of a peer.
const UNKNOWN_PEER: &str = "unknown peer";

/// How a relay's refusal begins that has verified a signature for its own addresses, and found none that fits.
const BAD_SIGNATURE: &str = "bad signature";

/// Holds what came back of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// When the relay wants to be asked again, if it says so in seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Carries a request to a relay, and its answer back.
pub trait Transport {
    /// Sends JSON, or nothing, to an address, and takes an answer of at most `max_bytes`. Redirects are answers like others.
    ///
    /// # Errors
    /// [`FetchError`], if nothing came back, or not all of it. The request may have been served all the same.
    fn send(&self, method: Method, url: &str, body: &str, max_bytes: usize) -> Result<Answer, FetchError>;
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

impl HttpTransport {
    /// Opens a connection to the host of an address, on which nothing is sent.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn connect(&self, url: &str) -> Result<Stream, FetchError> {
        self.fetcher.connect(url, self.timeout)
    }

    /// Returns the time for each request.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Transport for HttpTransport {
    fn send(&self, method: Method, url: &str, body: &str, max_bytes: usize) -> Result<Answer, FetchError> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.as_bytes().to_vec())
            .map_err(|error| FetchError::BadUrl { reason: error.to_string() })?;
        let response = self.fetcher.send(request, max_bytes, self.timeout)?;
        let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            body: response.into_body(),
        })
    }
}

/// Says why a relay has not answered a request that it may answer later. The request may have been served all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// Not asked, as the program wants it.
    #[error("held back until its recipient is seen present")]
    Held,
    /// No answer, or not all of it.
    #[error("the relay cannot be reached: {reason}")]
    NoAnswer {
        /// Why, without the relay's address.
        reason: String,
    },
    /// Too many requests (429).
    #[error("the relay has had too many requests from this network{}", come_back(*.retry_after))]
    TooManyRequests {
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The relay's own fault (5xx).
    #[error("the relay cannot answer: HTTP status {status}")]
    Fault {
        /// The status.
        status: u16,
    },
}

fn come_back(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!(": again in {}", text::duration(wait))).unwrap_or_default()
}

/// Says what went wrong at a relay. What the relay itself says is made printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// Not an address that can be asked.
    #[error("a relay's address begins with https:// or http://, has a host, and no user, password, space or fragment")]
    AddressInvalid,
    /// No answer for now.
    #[error("{cause}")]
    Unreached {
        /// Why.
        cause: Unreached,
    },
    /// The door for messages is closed: nothing takes a request there (404, 405).
    #[error(
        "this relay takes no messages at the address that it was asked at: its operator opens the door for them \
         (DOORS=v1,retalk)"
    )]
    TakesNoMessages,
    /// The relay knows itself by other addresses.
    #[error(
        "this relay does not take the address that it was asked at for its own, so it can verify no request: use the one \
         that its operator gives (EXTERNAL_URLS there)"
    )]
    OtherAddress,
    /// Nobody has published keys under the id.
    #[error("the relay has no keys of {peer}: they have not used it yet, or the id is wrong")]
    PeerUnknown {
        /// The id.
        peer: String,
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
            Self::Refused { .. } | Self::TakesNoMessages | Self::OtherAddress | Self::PeerUnknown { .. } => {
                Exit::Refused
            }
            Self::Unreached { .. } | Self::Unreadable { .. } => Exit::Unreachable,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::AddressInvalid | Self::Unreached { cause: Unreached::Held } => None,
            Self::Unreached { cause: Unreached::NoAnswer { .. } } => Some("NO_CONNECTION"),
            Self::Unreached { cause: Unreached::TooManyRequests { .. } } => Some("THROTTLED"),
            Self::Unreached { cause: Unreached::Fault { .. } } => Some("HTTP_STATUS"),
            Self::TakesNoMessages => Some("TAKES_NO_MESSAGES"),
            Self::OtherAddress => Some("OTHER_ADDRESS"),
            Self::PeerUnknown { .. } => Some("PEER_UNKNOWN"),
            Self::Refused { .. } => Some("REFUSED"),
            Self::Unreadable { .. } => Some("NOT_A_RELAY"),
        }
    }
}

/// Names a relay by the address that its users wrote, byte for byte: requests are signed for it.
#[derive(Clone, Copy)]
pub struct Relay<'a> {
    url: &'a str,
    /// Absent, where nothing is to leave.
    transport: Option<&'a dyn Transport>,
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
        Ok(Self { url, transport: Some(transport) })
    }

    /// Returns the same relay as one that is not asked: each request fails as [`Unreached::Held`]. A message that is sent by it
    /// stays in the outbox.
    #[must_use]
    pub const fn held(self) -> Self {
        Self { transport: None, ..self }
    }

    /// Returns the address.
    pub const fn url(&self) -> &'a str {
        self.url
    }

    /// Returns what carries requests to the relay, if it is asked at all.
    pub(crate) const fn transport(&self) -> Option<&'a dyn Transport> {
        self.transport
    }

    /// Asks, signed by the account's key.
    pub(crate) fn ask<T: DeserializeOwned>(&self, request: &SignedRequest<'_>) -> Result<T, RelayError> {
        let tool = request.tool.name();
        let body = request.body(self.url);
        let transport = self.transport.ok_or(RelayError::Unreached { cause: Unreached::Held })?;
        let answer = transport.send(Method::POST, self.url, &body, ANSWER_MAX_BYTES).map_err(|error| {
            RelayError::Unreached { cause: Unreached::NoAnswer { reason: shown(&error.to_string()) } }
        })?;
        match answer.status {
            200 => {}
            429 => {
                let cause = Unreached::TooManyRequests { retry_after: answer.retry_after };
                return Err(RelayError::Unreached { cause });
            }
            status @ 500.. => return Err(RelayError::Unreached { cause: Unreached::Fault { status } }),
            status => {
                return Err(match serde_json::from_slice::<ErrorAnswer>(&answer.body) {
                    Ok(ErrorAnswer { error }) => refusal(request.tool, &error),
                    Err(_) if matches!(status, 404 | 405) => RelayError::TakesNoMessages,
                    Err(_) => RelayError::Unreadable { tool, reason: format!("HTTP status {status}") },
                });
            }
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| RelayError::Unreadable { tool, reason: shown(&error.to_string()) })
    }
}

/// Tells what a refusal means by how its text begins, which is all that the wire has for it.
fn refusal(tool: &Tool, text: &str) -> RelayError {
    match tool {
        Tool::GetKeys { peer } | Tool::ClaimKey { peer } if text.starts_with(UNKNOWN_PEER) => {
            RelayError::PeerUnknown { peer: peer.clone() }
        }
        // The keys are this program's own: what differs can only be the address that the relay signs for.
        _ if text.starts_with(BAD_SIGNATURE) => RelayError::OtherAddress,
        _ => RelayError::Refused { tool: tool.name(), text: shown(text) },
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives this answer to everything.
    struct Always(Answer);

    impl Transport for Always {
        fn send(&self, _: Method, _: &str, _: &str, _: usize) -> Result<Answer, FetchError> {
            Ok(self.0.clone())
        }
    }

    fn said(tool: &Tool, status: u16, retry_after: Option<u64>, body: &str) -> RelayError {
        let retry_after = retry_after.map(Duration::from_secs);
        let transport = Always(Answer { status, retry_after, body: body.as_bytes().to_vec() });
        let account = Account::new();
        let identity =
            Identity::parse(&account.curve25519_key().to_base64(), &account.ed25519_key().to_base64()).unwrap();
        let now = UnixMillis::saturating(1_700_006_400_000);
        let request = SignedRequest { tool, identity: &identity, account: &account, now, nonce: "00" };
        Relay::new("https://relay.example", &transport).unwrap().ask::<Counted>(&request).unwrap_err()
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let peer = || "00112233445566778899aabbccddeeff".to_owned();
        let claim = Tool::ClaimKey { peer: peer() };
        let unknown = format!(r#"{{"error":"unknown peer or no published keys: {}"}}"#, peer());
        for (tool, status, retry_after, body, expected) in [
            (&Tool::CountKeys, 405, None, r#"{"ok":false,"code":"METHOD"}"#, RelayError::TakesNoMessages),
            (&Tool::CountKeys, 404, None, "<html>", RelayError::TakesNoMessages),
            (&Tool::CountKeys, 401, None, r#"{"error":"bad signature"}"#, RelayError::OtherAddress),
            (&claim, 404, None, &unknown, RelayError::PeerUnknown { peer: peer() }),
            (
                &Tool::CountKeys,
                429,
                Some(12),
                "",
                RelayError::Unreached {
                    cause: Unreached::TooManyRequests { retry_after: Some(Duration::from_secs(12)) },
                },
            ),
            (&Tool::CountKeys, 503, None, "", RelayError::Unreached { cause: Unreached::Fault { status: 503 } }),
        ] {
            assert_eq!(said(tool, status, retry_after, body), expected);
        }
        let text = said(&Tool::CountKeys, 429, Some(12), "").to_string();
        assert_eq!(text, "the relay has had too many requests from this network: again in 12s");
    }
}
