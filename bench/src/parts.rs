//! `parts`: what an announce cannot do without, each part alone, on one thread and without a network.
//!
//! A server of announces parses a body, verifies a signature, changes a roster and excerpts it. The sum of these, and of
//! HTTP (`respond`), is what the native program is held against.

use std::hint::black_box;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{ANSWER_LIMIT, ROSTER_CAPACITY};
use rendezvous_protocol::network::Client;
use rendezvous_protocol::peer_list::Excerpt;
use rendezvous_protocol::request::TicketBody;
use rendezvous_protocol::roster::{Excluded, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketRules};
use serde::Serialize;

use crate::Failure;
use crate::drive::processor_time;
use crate::workload::{self, Kind};

/// How long the tickets live.
const LIFETIME: Duration = Duration::from_secs(180);

#[derive(Args)]
pub(crate) struct PartsArguments {
    /// Announces.
    #[arg(long)]
    requests: usize,
    /// Networks that they come from, in turn.
    #[arg(long, default_value_t = 1_000)]
    networks: usize,
}

/// Holds the processor time of each part for one announce, in microseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    requests: usize,
    parse_micros: f64,
    verify_micros: f64,
    roster_micros: f64,
    answer_bytes: usize,
}

pub(crate) fn run(arguments: &PartsArguments) -> Result<(), Failure> {
    let requests = arguments.requests.max(1);
    let bodies = workload::bodies(Kind::Announce, ROSTER_CAPACITY + requests, 1, LIFETIME)?;
    let community = Community::new("bench").map_err(|error| Failure::Ticket(error.to_string()))?;
    let rules = TicketRules::new(&community);
    let now = workload::now()?;
    let wrong = |error: &dyn std::fmt::Display| Failure::Ticket(error.to_string());

    let started = processor_time();
    let mut unverified = Vec::with_capacity(bodies.len());
    for body in &bodies {
        let body = TicketBody::parse(body).map_err(|error| wrong(&error))?;
        let ticket = Ticket::parse(body.ticket, Purpose::Presence).map_err(|error| wrong(&error))?;
        unverified.push(ticket.check(&rules, now).map_err(|error| wrong(&error))?);
    }
    let parse = processor_time().saturating_sub(started);

    let started = processor_time();
    let mut verified = Vec::with_capacity(unverified.len());
    for ticket in unverified {
        let holds = ticket.verify_signature();
        verified.push(ticket.accept(holds).map_err(|error| wrong(&error))?);
    }
    let verify = processor_time().saturating_sub(started);

    let clients = (0..arguments.networks.max(1)).map(|number| {
        let address = workload::address(number);
        let address = address.parse().map_err(|_| Failure::Address(address))?;
        Ok(Client { address: Some(address), autonomous_system: None })
    });
    let clients: Vec<_> = clients.collect::<Result<_, Failure>>()?;
    let mut roster = Roster::new(RosterLimits::default(), Secret::from_bytes([1; 16]));
    let mut answer_bytes = 0;
    let mut started = Duration::ZERO;
    for (number, (ticket, client)) in verified.into_iter().zip(clients.iter().cycle()).enumerate() {
        if number == ROSTER_CAPACITY {
            started = processor_time();
        }
        let path = client.hand_over().hashed(roster.secret());
        let (peer_id, key, seed) = (ticket.peer_id().clone(), ticket.public_key(), roster.seed(now, Some(&ticket)));
        roster.expire(now);
        roster.announce(now, ticket, path).map_err(|refused| Failure::Ticket(format!("{refused:?}")))?;
        let caller = Excluded::Claim(peer_id.as_str(), &key);
        let excerpt = Excerpt::of_records(&roster.answer(now, ANSWER_LIMIT, caller, seed));
        answer_bytes = black_box(&excerpt).peers.len();
    }
    let roster = processor_time().saturating_sub(started);

    let micros = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count as f64;
    let parts = Parts {
        requests,
        parse_micros: micros(parse, bodies.len()),
        verify_micros: micros(verify, bodies.len()),
        roster_micros: micros(roster, requests),
        answer_bytes,
    };
    println!("{}", serde_json::to_string(&parts)?);
    Ok(())
}
