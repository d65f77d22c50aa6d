//! `POST /announce` and `POST /leave`: from a ticket to the call of its community's object.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::origin::is_foreign;
use rendezvous_protocol::request::{Exclusion, RequestError, TicketBody, signs_community};
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

use crate::call::{Call, OBJECT_TIMEOUT, ObjectError};
use crate::edge::Edge;
use crate::edge::head::Head;
use crate::edge::list_answer::{Caller, Wanted};
use crate::edge::step::{Bringer, ReadBody, Relay, Step, Unanswered, Verify};
use crate::problem::Problem;
use crate::query::parameter;
use crate::registration;

impl Edge {
    /// Begins `POST /announce` and `POST /leave`.
    pub(super) fn take_ticket(&mut self, now: UnixMillis, head: &Head<'_>, query: &str, purpose: Purpose) -> Step {
        let is_foreign = purpose == Purpose::Presence && is_foreign(self.config.origins.as_ref(), head.origin);
        let bringer = Bringer { client: self.client(head), purpose, is_foreign };
        let community = parameter(query, "community");
        match self.take_request(now, bringer.client) {
            Ok(()) => Step::ReadBody(ReadBody { community, bringer }),
            Err(limited) => self.rate_limited(now, limited, community.as_deref()),
        }
    }

    fn conclude(
        &mut self,
        now: UnixMillis,
        verified: Result<VerifiedTicket, TicketError>,
        caller: Caller,
        community: Community,
        bringer: Bringer,
    ) -> Step {
        match verified {
            Ok(ticket) if bringer.is_foreign => {
                let expires_at = ticket.payload().expires_at;
                let wanted = Wanted::Announced { expires_at, claim: caller.claim, random: self.spread.next() };
                self.answer_from_list(now, community, wanted)
            }
            Ok(ticket) => {
                let attempt = self.spares.first(now, &community);
                let call = Call::hand_over(community.clone(), bringer.client, ticket);
                Step::Relay(Relay { call, community, attempt, deadline: now.after(OBJECT_TIMEOUT) })
            }
            Err(error) => self.refuse(now, error, community, caller),
        }
    }

    /// Says what is wrong with a ticket, with the community's list: a peer that is refused still finds others.
    fn refuse(&mut self, now: UnixMillis, error: TicketError, community: Community, caller: Caller) -> Step {
        self.answer_from_list(now, community, Wanted::Refusal { problem: Problem::Ticket(error), caller })
    }
}

impl ReadBody {
    /// Goes on with the body, of at most [`BODY_MAX_BYTES`](rendezvous_protocol::limits::BODY_MAX_BYTES), or with why
    /// there is none.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = self.read(edge, now, body);
        edge.counted(step)
    }

    fn read(self, edge: &mut Edge, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Step {
        let Self { community, bringer } = self;
        let parsed = body.as_deref().map_err(Clone::clone).and_then(|body| {
            let body = TicketBody::parse(body)?;
            let community = edge.community(community.as_deref(), body.community.as_deref())?;
            Ok((body.ticket, community))
        });
        let (json, community) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(Problem::from(error).answer_without_list(now)),
        };
        if let Err(limited) = edge.admit(now, bringer.client, &community) {
            return edge.rate_limited(now, limited, Some(community.as_str()));
        }
        // Goodbyes are ours alone: their clients read every status.
        let told = |claim, signs_community| Caller {
            claim,
            signs_community: signs_community || bringer.purpose == Purpose::Leave,
        };
        let ticket = match Ticket::parse(json, bringer.purpose) {
            Ok(ticket) => ticket,
            Err(error) => {
                let caller = told(Exclusion::Nobody, signs_community(json));
                return edge.refuse(now, error, community, caller);
            }
        };
        let claim = Exclusion::Claim(ticket.payload().peer_id.as_str().to_owned(), ticket.public_key());
        let caller = told(claim, ticket.payload().community.is_some());
        let checked = registration::check_ticket(edge.gate.as_deref(), &edge.config, ticket, &community, now);
        match checked {
            Ok(ticket) if edge.signatures.contains(&ticket) => {
                edge.conclude(now, ticket.accept(true), caller, community, bringer)
            }
            Ok(ticket) => Step::Verify(Verify { ticket, caller, community, bringer }),
            Err(error) => edge.refuse(now, error, community, caller),
        }
    }
}

impl Verify {
    /// Goes on with whether the signature is one of the key over the message.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, holds: bool) -> Step {
        let Self { ticket, caller, community, bringer } = self;
        let verified = ticket.accept(holds);
        if let Ok(ticket) = &verified {
            edge.signatures.insert(ticket);
        }
        let step = edge.conclude(now, verified, caller, community, bringer);
        edge.counted(step)
    }
}

impl Relay {
    /// Goes on where no answer came.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        match edge.next_attempt(now, self.attempt, &self.community, error) {
            Some(attempt) => Step::Relay(Self { attempt, ..self }),
            None => {
                let step = edge.failed(now, &self.community, error);
                edge.counted(step)
            }
        }
    }
}

impl Unanswered {
    /// Goes on where no answer came.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        let step = edge.failed(now, &self.community, error);
        edge.counted(step)
    }
}
