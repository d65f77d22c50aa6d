//! The door for retalk's users.

use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::call::ObjectError;
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::mailbox::{self, CountedAs};
use crate::note::Note;
use crate::retalk::{self, AskRetalk, ReadRetalk, RetalkStep, VerifyRetalk};

impl Edge {
    /// Returns the same edge with a door for retalk's users. Where a host has none, nothing of the door is reached.
    #[must_use]
    pub fn with_retalk(self, door: retalk::Door) -> Self {
        Self { retalk: Some((door, Self::take_retalk)), ..self }
    }

    /// Takes a request that comes by the door for retalk's users: a path that is no other route.
    fn take_retalk(&mut self, now: UnixMillis, head: &Head<'_>, path: &str, query: &str) -> Option<Step> {
        match retalk::route(head.method, path, head.origin.is_some()) {
            retalk::Routed::Answer(answer) => Some(Step::Answer(answer)),
            retalk::Routed::NotFound => None,
            retalk::Routed::Counted => {
                let whole = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
                let host = head.host.or_else(|| retalk::host_of(head.url));
                let door = self.retalk.as_ref().map(|(door, _)| door);
                let audiences = door.map(|door| door.audiences(host, &whole)).unwrap_or_default();
                let client = self.client(head);
                let requests = mailbox::requests_of_body(head.body_bytes);
                let path = client.rate_path(&self.secret);
                let limited: retalk::Limited = self.requests.take_several(now, path, requests).err();
                let counted = CountedAs { path, requests };
                let read = ReadRetalk { audiences, network: client.hand_over(), counted, limited };
                Some(Step::Retalk(Box::new(RetalkStep::ReadBody(read))))
            }
        }
    }

    /// Goes on with the body of a request of retalk's users, of at most [`ReadRetalk::most`] bytes, or with why there is none.
    pub fn read_retalk(&mut self, now: UnixMillis, read: ReadRetalk, body: Result<Vec<u8>, RequestError>) -> Step {
        let verify = read.resume(now, body, &mut self.requests).map(RetalkStep::Verify);
        self.counted(retalk_step(verify))
    }

    /// Goes on with whether the signatures of a request of retalk's users fit.
    pub fn retalk_verified(&mut self, now: UnixMillis, verify: VerifyRetalk, fit: bool) -> Step {
        let next = verify.resume(now, fit, &mut self.requests, &mut self.renewals);
        self.counted(retalk_step(next))
    }

    /// Goes on where the mailbox of one of retalk's users has not answered. `is_send` is [`AskRetalk::is_send`].
    pub fn retalk_failed(&mut self, now: UnixMillis, is_send: bool, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(AskRetalk::failed(now, is_send)))
    }
}

fn retalk_step(next: Result<RetalkStep, Answer>) -> Step {
    next.map_or_else(Step::Answer, |step| Step::Retalk(Box::new(step)))
}
