//! From a request under `/goop2/` to what it needs next.

use std::net::IpAddr;
use std::sync::Arc;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::goop2::{GuestId, Presence, Relay};
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::Answer;
use crate::edge::{Edge, Head, Step, Upgrade, preflight};
use crate::goop2::connection::{GuestConnection, GuestKind};
use crate::goop2::refusal::{Refusal, text};
use crate::goop2::room::{GuestOpening, GuestRefusal, RoomCall};
use crate::query::parameter;

const GET: &str = "GET, HEAD, OPTIONS";
const GET_ALONE: &str = "GET, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// Says what a request of goop2's peers needs next.
#[derive(Debug)]
#[must_use]
pub enum GuestStep {
    /// The request's body.
    ReadPresence(ReadPresence),
    /// A room's answer.
    Ask(AskRoom),
    /// A connection that stays.
    Open(OpenGuest),
}

/// Takes a request of which `rest` is the path after `/goop2/`.
pub(crate) fn take(edge: &mut Edge, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str) -> Step {
    route(edge, now, head, rest, query).unwrap_or_else(|refusal| Step::Answer(refusal.answer()))
}

fn route(edge: &mut Edge, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str) -> Result<Step, Refusal> {
    let (name, path) = rest.split_once('/').ok_or(Refusal::NotFound)?;
    let door = edge.door().ok_or(Refusal::NotFound)?;
    let community = Community::new(name).ok().filter(|community| door.opens(community)).ok_or(Refusal::NotFound)?;
    let reads = matches!(head.method, "GET" | "HEAD");
    let answer = match path {
        _ if head.method == "OPTIONS" => preflight(),
        // Any page in the world can make its visitors' browsers ask.
        "publish" | "ws" if head.origin.is_some() => return Err(Refusal::OfPage),
        "healthz" if reads => text(200, "ok"),
        "api/capabilities" if reads => {
            Answer::ok(&Capabilities { relay: door.relay().is_some(), ..Capabilities::default() }, None)
        }
        "relay" if reads => {
            let relay = door.relay().ok_or(Refusal::NotFound)?;
            Answer::ok(&RelayFields { peer_id: relay.id().as_str(), addrs: relay.addresses() }, None)
        }
        "publish" if head.method == "POST" => {
            let relay = door.relay().cloned();
            let client = admit(edge, now, head)?;
            let (address, network) = (client.address, client.hand_over());
            return Ok(step(GuestStep::ReadPresence(ReadPresence { community, address, network, relay })));
        }
        "peers.json" if reads => {
            admit(edge, now, head)?;
            return Ok(step(GuestStep::Ask(AskRoom { community, call: RoomCall::List })));
        }
        "events" | "ws" if head.method == "GET" => {
            let relay = door.relay().cloned();
            let client = admit(edge, now, head)?;
            let kind = match (path, head.upgrade) {
                ("events", _) => GuestKind::Stream,
                (_, Upgrade::WebSocket) if parameter(query, "probe").as_deref() == Some("1") => GuestKind::Probe,
                (_, Upgrade::WebSocket) => {
                    let id = parameter(query, "peer_id").and_then(|id| GuestId::new(&id)).ok_or(Refusal::PeerId)?;
                    GuestKind::Socket(id)
                }
                _ => return Err(Refusal::UpgradeRequired),
            };
            let (address, network) = (client.address, client.hand_over());
            return Ok(step(GuestStep::Open(OpenGuest { community, kind, address, network, relay })));
        }
        "publish" => return Err(Refusal::MethodNotAllowed { allow: POST }),
        "healthz" | "api/capabilities" | "relay" | "peers.json" => {
            return Err(Refusal::MethodNotAllowed { allow: GET });
        }
        "events" | "ws" => return Err(Refusal::MethodNotAllowed { allow: GET_ALONE }),
        _ => return Err(Refusal::NotFound),
    };
    Ok(Step::Answer(answer))
}

fn step(step: GuestStep) -> Step {
    Step::Guest(Box::new(step))
}

/// Counts a request, and returns who sends it.
fn admit(edge: &mut Edge, now: UnixMillis, head: &Head<'_>) -> Result<Client, Refusal> {
    let client = edge.client(head);
    let limited = |limited: RateLimited| Refusal::TooMany { retry_after: limited.retry_after() };
    edge.take_request(now, client).map_err(limited)?;
    Ok(client)
}

/// Waits for a message.
pub struct ReadPresence {
    community: Community,
    /// Of the client: for the message's addresses, and for nothing else.
    address: Option<IpAddr>,
    network: HandedOver,
    relay: Option<Arc<Relay>>,
}

impl std::fmt::Debug for ReadPresence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the client's address, which is for nobody to read.
        formatter.debug_struct("ReadPresence").field("community", &self.community).finish_non_exhaustive()
    }
}

impl ReadPresence {
    /// Goes on with the body, of at most
    /// [`GUEST_BODY_MAX_BYTES`](rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES), or with why there is none.
    pub fn resume(self, edge: &mut Edge, body: Result<Vec<u8>, RequestError>) -> Step {
        let Self { community, address, network, relay } = self;
        let presence =
            body.map_err(Refusal::from).and_then(|body| Ok(Presence::parse(&body, address, relay.as_deref())?));
        let next = match presence {
            Ok(presence) => {
                let call = RoomCall::Publish { presence: Box::new(presence), network };
                step(GuestStep::Ask(AskRoom { community, call }))
            }
            Err(refusal) => Step::Answer(refusal.answer()),
        };
        edge.counted(next)
    }
}

/// Waits for a room's answer, which is the client's.
#[derive(Debug)]
pub struct AskRoom {
    community: Community,
    call: RoomCall,
}

impl AskRoom {
    /// Returns whose room it is.
    pub const fn community(&self) -> &Community {
        &self.community
    }

    /// Returns what the room is asked.
    pub fn into_call(self) -> RoomCall {
        self.call
    }
}

/// Waits for whether a room has a place for a connection.
pub struct OpenGuest {
    community: Community,
    kind: GuestKind,
    address: Option<IpAddr>,
    network: HandedOver,
    relay: Option<Arc<Relay>>,
}

impl std::fmt::Debug for OpenGuest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the client's address, which is for nobody to read.
        let mut fields = formatter.debug_struct("OpenGuest");
        fields.field("community", &self.community).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl OpenGuest {
    /// Returns whose room it is.
    pub const fn community(&self) -> &Community {
        &self.community
    }

    /// Returns what the room is told. A probe asks for nothing that takes a place.
    pub fn opening(&self) -> Option<GuestOpening> {
        let guest = match &self.kind {
            GuestKind::Probe => return None,
            GuestKind::Socket(id) => Some(id.clone()),
            GuestKind::Stream => None,
        };
        Some(GuestOpening { network: self.network, guest })
    }

    /// Returns whether the client reads from a WebSocket, not from an event stream.
    pub fn is_socket(&self) -> bool {
        self.kind != GuestKind::Stream
    }

    /// Opens the connection.
    pub fn admitted(self, now: UnixMillis) -> GuestConnection {
        GuestConnection::new(now, self.kind, self.address, self.relay)
    }
}

impl GuestRefusal {
    /// Returns the answer where there is no place.
    pub fn answer(&self) -> Answer {
        self.0.answer()
    }
}

/// `GET /api/capabilities`: what a server of goop2's own may have, and this door has not.
#[derive(Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "goop2's shape")]
struct Capabilities {
    encryption: bool,
    registration: bool,
    credits: bool,
    templates: bool,
    bridge: bool,
    relay: bool,
}

/// `GET /relay`.
#[derive(Serialize)]
struct RelayFields<'a> {
    peer_id: &'a str,
    addrs: &'a [String],
}
