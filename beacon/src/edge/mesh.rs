//! The door for another fleet's envelopes.

use std::sync::Arc;

use rendezvous_protocol::time::UnixMillis;

use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::mesh::{self, EnvelopeDoor, EnvelopeRequest};

impl Edge {
    /// Returns the same edge with a door for another fleet's envelopes. Where a host has none, nothing of it is reached.
    #[must_use]
    pub fn with_envelopes(self, door: Arc<EnvelopeDoor>) -> Self {
        Self { envelopes: Some((door, Self::take_envelope)), ..self }
    }

    /// Takes a request at the door for another fleet's envelopes. Whose it is shows in the body, which its network has to
    /// pay for like any other.
    fn take_envelope(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Option<Step> {
        let (door, _) = self.envelopes.as_ref()?;
        let request = match EnvelopeRequest::route(door, head.method, path)? {
            Ok(request) => request,
            Err(answer) => return Some(Step::Answer(answer)),
        };
        let client = self.client(head);
        Some(match self.take_request(now, client) {
            Ok(()) => Step::Envelope(request),
            Err(limited) => Step::Answer(mesh::too_many(limited.retry_after())),
        })
    }
}
