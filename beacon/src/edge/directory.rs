//! Requests about the directory.

use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::directory::{self, DirectoryStep, HubCall, ReadRecord, Wanted};
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::step::Step;
use crate::methods::preflight;
use crate::own_names::audiences;
use crate::problem::HubProblem;

impl Edge {
    /// Returns the same edge, of a host that has a hub. Where a host has none, nothing of the directory is reached.
    #[must_use]
    pub fn with_directory(self) -> Self {
        Self { directory: Some(Self::take_directory), ..self }
    }

    /// Takes a request about the directory, if it is one.
    fn take_directory(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str) -> Option<Step> {
        let method = if head.method == "OPTIONS" { "GET" } else { head.method };
        let wanted = directory::route(method, rest, query)?;
        if head.method == "OPTIONS" {
            return Some(Step::Answer(preflight("GET, POST, PUT, OPTIONS")));
        }
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Some(Step::Answer(HubProblem::RateLimited(limited).answer(now)));
        }
        let step = match wanted {
            Wanted::Refused(problem) => return Some(Step::Answer(problem.answer(now))),
            Wanted::List(call) => DirectoryStep::Ask(Box::new(call)),
            Wanted::Put(name) => DirectoryStep::ReadBody(ReadRecord::new(Some(name), Vec::new())),
            Wanted::Exchange => {
                DirectoryStep::ReadBody(ReadRecord::new(None, audiences(&self.config, &self.platform, head)))
            }
        };
        Some(Step::Directory(Box::new(step)))
    }

    /// Goes on with the body of a request about the directory, of at most [`ReadRecord::most`] bytes, or with why there is
    /// none.
    pub fn read_record(&mut self, now: UnixMillis, read: ReadRecord, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = read.resume(now, body);
        self.counted(step.map_or_else(Step::Answer, |step| Step::Directory(Box::new(step))))
    }

    /// Goes on with what came of verifying one.
    pub fn record_verified(&mut self, verified: Result<HubCall, Answer>) -> Step {
        let step = verified.map(|call| DirectoryStep::Ask(Box::new(call)));
        self.counted(step.map_or_else(Step::Answer, |step| Step::Directory(Box::new(step))))
    }
}
