//! Requests about mailboxes, connections to them, and pushes of other relays.

use std::sync::Arc;

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::network::RatePath;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::call::ObjectError;
use crate::edge::head::{Head, Upgrade};
use crate::edge::step::{ReadHeaders, Step};
use crate::edge::{Edge, Replication};
use crate::mailbox::{
    self, CountedAs, ListenerConnection, MailboxStep, OpenListener, Peers, ReadPush, ReadRecords, Routed, VerifyRecords,
};
use crate::methods::preflight;
use crate::network_shares::NetworkShares;
use crate::note::Note;
use crate::own_names::audiences;
use crate::problem::Problem;

impl Edge {
    /// Returns the same edge, of a relay with peers. Where a host has none, nothing of replication is reached.
    #[must_use]
    pub fn with_replication(self, peers: Arc<Peers>) -> Self {
        let replication = Replication { peers, take: Self::take_push, read: NetworkShares::default() };
        Self { replication: Some(replication), ..self }
    }

    /// Takes a request that comes by the door for mailboxes. `is_described` says whether its head has every header.
    pub(super) fn take_mail(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, is_described: bool) -> Step {
        if head.method == "OPTIONS" {
            return Step::Answer(preflight("GET, POST, PUT, OPTIONS"));
        }
        let request = match mailbox::route(head.method, rest) {
            Routed::Counted(request) => request,
            Routed::Live(_) if !is_described => return Step::ReadHeaders(ReadHeaders::of_live(head)),
            Routed::Live(mailbox) => {
                let opened = self.open_listener(now, head, mailbox);
                return mailbox_step(
                    opened.map(MailboxStep::Listen).map_err(|problem| problem.answer_about_mailbox(now)),
                );
            }
            Routed::Refused(problem) => return Step::Answer(problem.answer_about_mailbox(now)),
        };
        let client = self.client(head);
        let counted = CountedAs { path: client.rate_path(&self.secret), requests: request.requests(head.body_bytes) };
        if let Err(limited) = self.requests.take_several(now, counted.path, counted.requests) {
            return Step::Answer(Problem::RateLimited(limited).answer_about_mailbox(now));
        }
        let audiences = audiences(&self.config, &self.platform, head);
        let relay_key = self.replication.as_ref().map(|replication| replication.peers.public_key());
        mailbox_step(request.begin(now, &self.config, client.hand_over(), audiences, counted, relay_key))
    }

    /// Goes on with the body of a request about a mailbox, of at most [`ReadRecords::most`] bytes, or with why there is none.
    pub fn read_records(&mut self, now: UnixMillis, read: ReadRecords, body: Result<Vec<u8>, RequestError>) -> Step {
        let CountedAs { path, requests } = read.counted();
        let next = read.resume(now, body).and_then(|verify| {
            // Few bytes can be many signatures, which are most of the work.
            let more = verify.requests().saturating_sub(requests);
            match self.requests.take_several(now, path, more) {
                Ok(()) => Ok(MailboxStep::Verify(verify)),
                Err(limited) => Err(Problem::RateLimited(limited).answer_about_mailbox(now)),
            }
        });
        self.counted(mailbox_step(next))
    }

    /// Goes on with whether all signatures of a request about a mailbox fit.
    pub fn records_verified(&mut self, now: UnixMillis, verify: VerifyRecords, fit: bool) -> Step {
        self.counted(mailbox_step(verify.resume(now, fit)))
    }

    /// Goes on where an object of a mailbox has not answered.
    pub fn mailbox_failed(&mut self, now: UnixMillis, error: &ObjectError) -> Step {
        let problem = if *error == ObjectError::TimedOut { Problem::Unavailable } else { Problem::Internal };
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(problem.answer_about_mailbox(now)))
    }

    /// Opens a connection to a mailbox, if the client may have another one.
    fn open_listener(&mut self, now: UnixMillis, head: &Head<'_>, mailbox: Address) -> Result<OpenListener, Problem> {
        let client = self.client(head);
        let path = client.rate_path(&self.secret);
        self.take_request(now, client).map_err(Problem::RateLimited)?;
        self.take_live_opening(now, head, path)?;
        // By the rule for connections of `GET /live`.
        let (network, limits) = (client.hand_over().hashed(&self.secret), self.config.live_limits);
        let place = self.live.listeners.take(network, 1, |held| !limits.are_taken(held.household, held.site));
        let place = place.ok_or(Problem::ListenersFull)?;
        Ok(OpenListener {
            mailbox,
            audiences: audiences(&self.config, &self.platform, head),
            address: path.address,
            _place: place,
        })
    }

    /// Checks that another connection to a mailbox may be opened.
    fn take_live_opening(&mut self, now: UnixMillis, head: &Head<'_>, path: RatePath) -> Result<(), Problem> {
        if let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
            return Err(Problem::LivePenalty { retry_after });
        }
        self.live.openings.take(now, path).map_err(Problem::RateLimited)?;
        if head.upgrade == Upgrade::WebSocket { Ok(()) } else { Err(Problem::SocketRequired) }
    }

    /// Takes that a connection to a mailbox has ended, and why.
    pub fn close_listener(&mut self, now: UnixMillis, connection: &ListenerConnection, code: CloseCode) {
        if code.is_penalised() {
            self.live.penalties.add(now, connection.address());
        }
    }

    /// Takes a push of a peer. Who it is shows in the body, which its network has to pay for like any other.
    fn take_push(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        if head.method != "POST" {
            // Not for pages: there is no answer to a preflight.
            let problem = Problem::MethodNotAllowed { allow: "POST" };
            return Step::Answer(problem.answer_about_mailbox(now));
        }
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Step::Answer(Problem::RateLimited(limited).answer_about_mailbox(now));
        }
        let Some(Replication { peers, read, .. }) = &self.replication else {
            return Step::Answer(Problem::NotFound.answer_without_list(now));
        };
        let read = ReadPush::begin(Arc::clone(peers), client.hand_over(), read, &self.secret);
        let step = read.map(MailboxStep::Replicate);
        mailbox_step(step.map_err(|problem| problem.answer_about_mailbox(now)))
    }
}

fn mailbox_step(next: Result<MailboxStep, Answer>) -> Step {
    next.map_or_else(Step::Answer, |step| Step::Mailbox(Box::new(step)))
}
