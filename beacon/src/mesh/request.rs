//! From a request at the door to what the store is asked.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::bytes::{ContentId, hex};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, retry_after_header};
use crate::mesh::door::EnvelopeDoor;
use crate::mesh::envelope::Envelope;

/// The header in which a peer says by its address whose key its MAC is by.
pub const URL_HEADER: &str = "X-Peer-Url";

/// The header with the MAC of the body.
pub const HMAC_HEADER: &str = "X-Peer-HMAC";

const PUSH: &str = "/api/mesh/dm/replicate-envelope";
const COLLECT: &str = "/v1/tokens/collect";

/// Bytes of a body.
const BODY_MAX_BYTES: usize = 65_536;

/// Bytes of a token.
const TOKEN_MAX_BYTES: usize = 1_024;

/// Acknowledgements in one collect.
const ACKS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Push,
    Collect,
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct EnvelopeRequest {
    door: Arc<EnvelopeDoor>,
    what: What,
}

/// Holds what the store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeCall(pub(crate) Asked);

/// Says what the store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To take an envelope of the peer with this number.
    Push { peer: usize, envelope: Box<Envelope> },
    /// To hand over what waits in a mailbox, when it has taken acknowledgements, which are identifiers of messages.
    Collect { mailbox: String, acks: Vec<String> },
}

/// Refuses in the fleet's shape.
pub(crate) fn refusal(status: u16, detail: &str) -> Answer {
    Answer { status, ..Answer::of_json(json!({ "ok": false, "detail": detail }).to_string()) }
}

/// Refuses a network that makes too many requests.
pub(crate) fn too_many(retry_after: Duration) -> Answer {
    refusal(429, "Too many requests of this network").with_headers(vec![retry_after_header(retry_after)])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectBody {
    token: String,
    #[serde(default)]
    acks: Vec<String>,
}

impl EnvelopeRequest {
    /// Returns whether a request is one of this door: absent, if it is not; else what it waits for, or its refusal.
    pub(crate) fn route(door: &Arc<EnvelopeDoor>, method: &str, path: &str) -> Option<Result<Self, Answer>> {
        let what = match path {
            PUSH => What::Push,
            COLLECT => What::Collect,
            _ => return None,
        };
        if method == "POST" {
            return Some(Ok(Self { door: Arc::clone(door), what }));
        }
        Some(Err(refusal(405, "this path takes POST").with_headers(vec![("Allow", "POST".to_owned())])))
    }

    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        BODY_MAX_BYTES
    }

    /// Goes on with the two headers, which are empty where they are not there, and with the body or why there is none.
    ///
    /// # Errors
    /// The answer, where the request is refused.
    pub fn resume(
        self,
        now: UnixMillis,
        url: &str,
        mac: &str,
        body: Result<Vec<u8>, RequestError>,
    ) -> Result<EnvelopeCall, Answer> {
        let body = body.map_err(|error| match error {
            RequestError::BodyTooLarge => refusal(413, "Request body too large (max 64KB)"),
            RequestError::BodyTimeout => refusal(408, "The body did not come in time"),
            RequestError::BodiesFull => refusal(429, "Too many bodies are arriving"),
            _ => refusal(400, "The body broke off"),
        })?;
        match self.what {
            What::Push => {
                let peer = self.door.peer_of(url, mac, &body);
                let peer = peer.ok_or_else(|| refusal(403, "Invalid or missing peer HMAC"))?;
                let envelope = Envelope::parse(now, &body).map_err(|error| refusal(400, &error.to_string()))?;
                Ok(EnvelopeCall(Asked::Push { peer, envelope: Box::new(envelope) }))
            }
            What::Collect => {
                let read: Option<CollectBody> = serde_json::from_slice(&body).ok();
                let is_right = |body: &CollectBody| {
                    (1..=TOKEN_MAX_BYTES).contains(&body.token.len()) && body.acks.len() <= ACKS_MAX
                };
                let body = read.filter(is_right);
                let CollectBody { token, acks } =
                    body.ok_or_else(|| refusal(400, "a token of 1 to 1024 bytes, and acks, at most 64 texts"))?;
                let digest = ContentId::of(token.as_bytes());
                let mailbox = hex(&digest.0);
                Ok(EnvelopeCall(Asked::Collect { mailbox, acks }))
            }
        }
    }
}
