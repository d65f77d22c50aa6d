//! The door for hivemind-rendezvous' users.

use std::sync::Arc;

use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::call::ObjectError;
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::hivemind::{self, HivemindDoor, HivemindStep, ReadHivemind, VerifyHivemind};
use crate::mailbox;
use crate::note::Note;

impl Edge {
    /// Returns the same edge with a door for hivemind-rendezvous' users. Where a host has none, nothing of it is reached.
    #[must_use]
    pub fn with_hivemind(self, door: Arc<HivemindDoor>) -> Self {
        Self { hivemind: Some((door, Self::take_hivemind)), ..self }
    }

    /// Takes a request of hivemind-rendezvous' users, if it is one.
    fn take_hivemind(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Option<Step> {
        let door = Arc::clone(&self.hivemind.as_ref()?.0);
        let wanted = match hivemind::route(head.method, path, head.origin.is_some())? {
            hivemind::Routed::Refused(answer) => return Some(Step::Answer(answer)),
            hivemind::Routed::Name => None,
            hivemind::Routed::Wanted(wanted) => Some(wanted),
        };
        let client = self.client(head);
        let requests = mailbox::requests_of_body(head.body_bytes);
        if let Err(limited) = self.requests.take_several(now, client.rate_path(&self.secret), requests) {
            return Some(Step::Answer(hivemind::too_many(limited.retry_after())));
        }
        Some(match wanted {
            None => Step::Answer(door.name_answer()),
            Some(wanted) => {
                let read = ReadHivemind { door, wanted, network: client.hand_over() };
                Step::Hivemind(Box::new(HivemindStep::ReadBody(read)))
            }
        })
    }

    /// Goes on with the body of a request of hivemind-rendezvous' users, of at most [`ReadHivemind::most`] bytes, or with why
    /// there is none.
    pub fn read_hivemind(&mut self, now: UnixMillis, read: ReadHivemind, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = read.resume(now, body);
        self.counted(step.map_or_else(Step::Answer, |step| Step::Hivemind(Box::new(step))))
    }

    /// Goes on with whether the signature of [`VerifyHivemind::proof`] fits.
    pub fn hivemind_verified(&mut self, verify: VerifyHivemind, fits: bool) -> Step {
        let ask = verify.resume(fits).map(HivemindStep::Ask);
        self.counted(ask.map_or_else(Step::Answer, |step| Step::Hivemind(Box::new(step))))
    }

    /// Goes on where an object of hivemind-rendezvous' users has not answered.
    pub fn hivemind_failed(&mut self, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(hivemind::failed()))
    }
}
