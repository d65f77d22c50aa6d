//! From a request under `/goop2/` to what it needs next.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::goop2::{CircuitRelay, GuestId, Presence};
use rendezvous_protocol::network::{Client, HandedOver, NetworkHash};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::answer::Answer;
use crate::circuit_relay;
use crate::goop2::call::{GuestOpening, RoomCall};
use crate::goop2::connection::{GuestConnection, GuestHost, GuestKind};
use crate::goop2::door::Door;
use crate::goop2::refusal::{Refusal, text};
use crate::goop2::room::GuestRefusal;
use crate::methods::{GET, GET_ALONE, POST};
use crate::problem::SWITCHING_PROTOCOLS;
use crate::query::parameter;
use crate::templates::{self, Catalogue};

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

/// Holds what a request under `/goop2/` says of itself, and what else it may ask for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The path after `/goop2/`.
    pub(crate) rest: &'a str,
    pub(crate) query: &'a str,
    /// Whether the connection is to become a WebSocket.
    pub(crate) is_websocket: bool,
    /// Whether a page sends it.
    pub(crate) is_of_page: bool,
    /// What the beacon offers of templates, absent where it offers none.
    pub(crate) templates: Option<Arc<Catalogue>>,
}

/// Says what a request comes to.
pub(crate) enum Routed<'a> {
    /// An answer that costs nothing.
    Answer(Answer),
    /// Something of the beacon's templates, at this path without its first slash.
    Templates(Arc<Catalogue>, &'a str),
    /// Something that counts for the client's rate limit.
    Counted(GuestRequest),
}

/// Says what a client wants that is within its rate limit.
pub(crate) struct GuestRequest {
    community: Community,
    relay: Option<Arc<CircuitRelay>>,
    what: What,
}

enum What {
    Publish,
    List,
    Open(GuestKind),
}

impl GuestRequest {
    /// Returns whether this opens a connection, which counts as one of `GET /live` does.
    pub(crate) const fn opens(&self) -> bool {
        matches!(self.what, What::Open(_))
    }

    /// Returns the step of a client's request. By `address_hash` the client is remembered if it has to be refused.
    pub(crate) fn of(self, client: Client, address_hash: NetworkHash, host: GuestHost) -> GuestStep {
        let Self { community, relay, what } = self;
        let (address, network) = (client.address, client.hand_over());
        match what {
            What::Publish => GuestStep::ReadPresence(ReadPresence { community, address, network, relay }),
            What::List => GuestStep::Ask(AskRoom { community, call: RoomCall::List }),
            What::Open(kind) => {
                GuestStep::Open(OpenGuest { community, kind, host, address, address_hash, network, relay })
            }
        }
    }
}

/// Returns the answer to a client over its rate limit, or that has to wait.
pub(crate) fn too_many(retry_after: Duration) -> Answer {
    Refusal::TooMany { retry_after }.answer()
}

/// Returns whether a request is one of which more has to be known than most hosts describe: whether it upgrades, and whether a
/// page sends it.
pub(crate) fn needs_headers(method: &str, rest: &str) -> bool {
    method == "GET" && rest.ends_with("/ws")
}

/// Takes a request.
pub(crate) fn route<'a>(door: &Door, asked: Asked<'a>) -> Routed<'a> {
    routed(door, asked).unwrap_or_else(|refusal| Routed::Answer(refusal.answer()))
}

fn routed<'a>(door: &Door, asked: Asked<'a>) -> Result<Routed<'a>, Refusal> {
    let Asked { method, rest, query, is_websocket, is_of_page, templates } = asked;
    let (name, path) = rest.split_once('/').ok_or(Refusal::NotFound)?;
    let community = Community::new(name).ok().filter(|community| door.opens(community)).ok_or(Refusal::NotFound)?;
    let has_templates = templates.is_some();
    if let Some(catalogue) = templates.filter(|_| templates::is_route(path)) {
        return Ok(Routed::Templates(catalogue, path));
    }
    let reads = matches!(method, "GET" | "HEAD");
    let what = match path {
        // Any page in the world can make its visitors' browsers ask.
        "publish" | "ws" if is_of_page => return Err(Refusal::OfPage),
        "healthz" if reads => return Ok(Routed::Answer(text(200, "ok"))),
        "api/capabilities" if reads => {
            let (templates, relay) = (has_templates, door.relay().is_some());
            let capabilities = Capabilities { templates, relay, ..Capabilities::default() };
            return Ok(Routed::Answer(Answer::ok(&capabilities, None)));
        }
        "relay" if reads => {
            return Ok(Routed::Answer(circuit_relay::answer(door.relay().ok_or(Refusal::NotFound)?)));
        }
        "publish" if method == "POST" => What::Publish,
        "peers.json" if reads => What::List,
        "events" if method == "GET" => What::Open(GuestKind::Stream),
        "ws" if method == "GET" && !is_websocket => return Err(Refusal::UpgradeRequired),
        "ws" if method == "GET" && parameter(query, "probe").as_deref() == Some("1") => What::Open(GuestKind::Probe),
        "ws" if method == "GET" => {
            let id = parameter(query, "peer_id").and_then(|id| GuestId::new(&id)).ok_or(Refusal::PeerId)?;
            What::Open(GuestKind::Socket(id))
        }
        "publish" => return Err(Refusal::MethodNotAllowed { allow: POST }),
        "healthz" | "api/capabilities" | "relay" | "peers.json" => {
            return Err(Refusal::MethodNotAllowed { allow: GET });
        }
        "events" | "ws" => return Err(Refusal::MethodNotAllowed { allow: GET_ALONE }),
        _ => return Err(Refusal::NotFound),
    };
    Ok(Routed::Counted(GuestRequest { community, relay: door.relay().cloned(), what }))
}

/// Waits for a message.
pub struct ReadPresence {
    community: Community,
    /// Of the client: for the message's addresses, and for nothing else.
    address: Option<IpAddr>,
    network: HandedOver,
    relay: Option<Arc<CircuitRelay>>,
}

impl fmt::Debug for ReadPresence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client's address, which is for nobody to read.
        formatter.debug_struct("ReadPresence").field("community", &self.community).finish_non_exhaustive()
    }
}

impl ReadPresence {
    /// Goes on with the body, or with why there is none.
    pub(crate) fn resume(self, body: Result<Vec<u8>, RequestError>) -> Result<AskRoom, Answer> {
        let Self { community, address, network, relay } = self;
        let presence =
            body.map_err(Refusal::from).and_then(|body| Ok(Presence::parse(&body, address, relay.as_deref())?));
        let presence = Box::new(presence.map_err(|refusal| refusal.answer())?);
        Ok(AskRoom { community, call: RoomCall::Publish { presence, network } })
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
    host: GuestHost,
    address: Option<IpAddr>,
    address_hash: NetworkHash,
    network: HandedOver,
    relay: Option<Arc<CircuitRelay>>,
}

impl fmt::Debug for OpenGuest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    /// Reads the status with which an object answers an opening: whether the connection is open. Any other answer is the
    /// client's.
    pub const fn is_opened(status: u16) -> bool {
        status == SWITCHING_PROTOCOLS
    }

    /// Returns whether the client reads from a WebSocket, not from an event stream.
    pub fn is_socket(&self) -> bool {
        self.kind != GuestKind::Stream
    }

    /// Opens the connection.
    pub fn admitted(self, now: UnixMillis) -> GuestConnection {
        GuestConnection::new(now, self.kind, self.host, (self.address, self.address_hash), self.relay)
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
