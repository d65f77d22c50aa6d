//! The door for goop2's peers.

use std::sync::Arc;

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::call::ObjectError;
use crate::edge::Edge;
use crate::edge::head::{Head, Upgrade};
use crate::edge::step::{ReadHeaders, Step};
use crate::goop2::{self, Asked, Door, GuestConnection, GuestHost, GuestStep, ReadPresence};
use crate::methods::preflight;
use crate::note::Note;
use crate::problem::{Problem, internal};

impl Edge {
    /// Returns the same edge with a door for goop2's peers. Where a host has none, nothing of the door is reached.
    #[must_use]
    pub fn with_goop2(self, door: Door) -> Self {
        Self { goop2: Some((door, Self::take_guest)), ..self }
    }

    /// Takes a request that comes by the door for goop2's peers.
    fn take_guest(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str, is_described: bool) -> Step {
        let Some((door, _)) = &self.goop2 else { return Step::Answer(Problem::NotFound.answer_without_list(now)) };
        if head.method == "OPTIONS" {
            return Step::Answer(preflight("GET, POST, OPTIONS"));
        }
        if !is_described && goop2::needs_headers(head.method, rest) {
            return Step::ReadHeaders(ReadHeaders::of_live(head));
        }
        let (is_websocket, is_of_page) = (head.upgrade == Upgrade::WebSocket, head.origin.is_some());
        let templates = self.templates.as_ref().map(|(catalogue, _)| Arc::clone(catalogue));
        match goop2::route(door, Asked { method: head.method, rest, query, is_websocket, is_of_page, templates }) {
            goop2::Routed::Answer(answer) => Step::Answer(answer),
            goop2::Routed::Templates(catalogue, path) => self.take_template(now, head, &catalogue, path),
            goop2::Routed::Counted(request) => {
                let client = self.client(head);
                let path = client.rate_path(&self.secret);
                let is_opening = request.opens();
                if is_opening && let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
                    return Step::Answer(goop2::too_many(retry_after));
                }
                let mut taken = self.take_request(now, client);
                if is_opening {
                    taken = taken.and_then(|()| self.live.openings.take(now, path));
                }
                let (pings, most_pushes) = (self.platform.pings(), self.platform.live_frames(&self.config));
                match taken {
                    Ok(()) => {
                        let host = GuestHost { pings, most_pushes };
                        Step::Guest(Box::new(request.of(client, path.address, host)))
                    }
                    Err(limited) => Step::Answer(goop2::too_many(limited.retry_after())),
                }
            }
        }
    }

    /// Goes on with the body of a guest's message, of at most
    /// [`GUEST_BODY_MAX_BYTES`](rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES), or with why there is none.
    pub fn read_presence(&mut self, read: ReadPresence, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = match read.resume(body) {
            Ok(ask) => Step::Guest(Box::new(GuestStep::Ask(ask))),
            Err(answer) => Step::Answer(answer),
        };
        self.counted(step)
    }

    /// Goes on where the object of a community has not answered one of goop2's peers.
    pub fn guest_failed(&mut self, now: UnixMillis, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(internal(now)))
    }

    /// Takes that a connection of goop2's door has ended.
    pub fn close_guest(&mut self, now: UnixMillis, connection: &GuestConnection) {
        if connection.closed_by().is_some_and(CloseCode::is_penalised) {
            self.live.penalties.add(now, connection.address_hash());
        }
    }
}
