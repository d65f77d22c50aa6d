//! One peer, its beacons and the lines between them, over one simulated clock. The beacons have real rosters.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::announcer::{
    Announcer, Identity, Moment, Reply, Request, RequestOutcome, RequestProblem, TicketPacing,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::limits::{CLOCK_SKEW, TICKET_MAX_LIFETIME};
use rendezvous_protocol::network::Client;
use rendezvous_protocol::roster::{Excluded, Left, Refused, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId, VerifiedTicket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde_json::{Value, json};

/// The true time at which every history begins.
pub(crate) const START: i64 = 1_700_000_000_000;
pub(crate) const PEER: &str = "node";

/// Rounded up: what is due at a moment is not due before it.
pub(crate) fn millis(duration: Duration) -> u64 {
    saturating_millis(duration + Duration::from_nanos(999_999))
}

pub(crate) fn identity() -> Identity {
    Identity {
        key: PrivateKey::from_seed(&[1; 32]),
        peer_id: PeerId::new(PEER).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        community: Community::new("mainnet").unwrap(),
    }
}

pub(crate) const PACING: TicketPacing = TicketPacing { lifetime: TICKET_MAX_LIFETIME, interval: Duration::ZERO };

/// What a clock that showed `start` when the steady clock began shows now.
fn time_by(start: i64, steady: Duration) -> UnixMillis {
    UnixMillis::saturating(u64::try_from(start + signed(saturating_millis(steady))).unwrap_or(0))
}

pub(crate) fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

pub(crate) fn moment(steady: u64, ahead: i64) -> Moment {
    Moment { steady: Duration::from_millis(steady), wall: time_by(START + ahead, Duration::from_millis(steady)) }
}

pub(crate) fn nonce(number: u64) -> Nonce {
    Nonce::new([number.to_be_bytes(); 2].concat()).unwrap()
}

/// Numbers that look random, the same in every run.
pub(crate) fn hash(of: u64) -> u64 {
    let mut mixed = of.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(crate) fn reply(value: &Value) -> RequestOutcome {
    RequestOutcome::Reply(Reply::parse(value.to_string().as_bytes()).unwrap())
}

pub(crate) fn no_connection() -> RequestOutcome {
    let problem = RequestProblem { code: "NO_CONNECTION".into(), detail: String::new() };
    RequestOutcome::Failed { problem, retry_after: None }
}

/// What can happen between a peer and a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Good,
    /// Nothing arrives.
    Dead,
    /// What is asked is done, but the answer never arrives.
    Mute,
}

/// A beacon by the book, or a liar.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Its clock, against the true time.
    pub(crate) ahead: i64,
    /// By how much more it claims to be ahead.
    pub(crate) lie: i64,
    /// For the request and for the answer.
    pub(crate) delay: u64,
    /// How long the peer waits for an answer that does not come.
    pub(crate) patience: u64,
    /// While the link is not good.
    pub(crate) outage: std::ops::Range<u64>,
    pub(crate) outage_is: Link,
}

pub(crate) const SERVER: Server =
    Server { ahead: 0, lie: 0, delay: 50, patience: 10_000, outage: 0..0, outage_is: Link::Good };

impl Server {
    pub(crate) fn link(&self, at: u64) -> Link {
        if self.outage.contains(&at) { self.outage_is } else { Link::Good }
    }
}

pub(crate) struct Served {
    pub(crate) roster: Roster,
    /// When requests were made, and what they were.
    pub(crate) requests: Vec<(u64, Request)>,
    /// Codes of what it refused.
    pub(crate) refused: Vec<String>,
    /// When it listed the peer first.
    pub(crate) listed_at: Option<u64>,
    /// When it did not list it any more.
    pub(crate) gaps: Vec<u64>,
}

pub(crate) const SECRET: Secret = Secret::from_bytes([1; 16]);

/// One peer and its beacons, over one simulated clock.
pub(crate) struct World {
    pub(crate) servers: Vec<Server>,
    pub(crate) served: Vec<Served>,
    pub(crate) announcer: Announcer,
    /// The peer's wall clock, against the true time: at first, and from a moment on.
    pub(crate) ahead: (i64, u64, i64),
    pub(crate) answers: BTreeMap<(u64, u64), (usize, RequestOutcome)>,
    pub(crate) arrivals: BTreeMap<(u64, u64), (usize, Request)>,
    pub(crate) events: u64,
}

impl World {
    pub(crate) fn new(servers: Vec<Server>, ahead: (i64, u64, i64)) -> Self {
        let served = || Served {
            roster: Roster::new(RosterLimits::default(), SECRET),
            requests: Vec::new(),
            refused: Vec::new(),
            listed_at: None,
            gaps: Vec::new(),
        };
        Self {
            served: servers.iter().map(|_| served()).collect(),
            announcer: Announcer::new(identity(), PACING, servers.len()),
            servers,
            ahead,
            answers: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            events: 0,
        }
    }

    pub(crate) fn moment(&self, at: u64) -> Moment {
        let (before, jump, after) = self.ahead;
        moment(at, if at < jump { before } else { after })
    }

    /// Lives until `end`, and looks at every list four times a second and at every event.
    pub(crate) fn run(&mut self, end: u64) {
        let mut at = 0;
        while at <= end {
            self.step(at);
            let ahead = |events: &BTreeMap<(u64, u64), _>| events.keys().next().map(|(time, _)| *time);
            let arrival = self.arrivals.keys().next().map(|(time, _)| *time);
            let deadline = self.announcer.next_deadline(self.moment(at)).map(millis);
            let next = [ahead(&self.answers), arrival, deadline, Some(at / 250 * 250 + 250)];
            // A deadline that has passed would be one that `due` does not know of.
            assert!(deadline.is_none_or(|deadline| deadline > at), "{at}: {deadline:?}");
            at = next.into_iter().flatten().min().unwrap();
        }
    }

    pub(crate) fn step(&mut self, at: u64) {
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= at) {
            let (number, answer) = entry.remove();
            self.events += 1;
            // The same for one beacon, whatever the others do.
            let random = hash(self.served[number].requests.len() as u64 * 64 + number as u64).to_be_bytes()[0];
            self.announcer.answered(self.moment(at), number, answer, random);
        }
        while let Some((number, request)) = self.announcer.due(self.moment(at), &nonce(self.events)) {
            self.events += 1;
            self.served[number].requests.push((at, request.clone()));
            let server = &self.servers[number];
            if server.link(at) == Link::Dead {
                self.answers.insert((at + server.patience, self.events), (number, no_connection()));
            } else {
                self.arrivals.insert((at + server.delay, self.events), (number, request));
            }
        }
        while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= at) {
            let (number, request) = entry.remove();
            self.events += 1;
            let answer = self.serve(at, number, &request);
            let server = &self.servers[number];
            let (delay, answer) = match server.link(at) {
                Link::Good => (server.delay, answer),
                _ => (server.patience, no_connection()),
            };
            self.answers.insert((at + delay.max(1), self.events), (number, answer));
        }
        for (server, served) in self.servers.iter().zip(&mut self.served) {
            let clock = time_by(START + server.ahead, Duration::from_millis(at));
            let seed = served.roster.seed(clock, None);
            match (served.roster.answer(clock, 1, Excluded::Nobody, seed).is_empty(), served.listed_at) {
                (false, None) => served.listed_at = Some(at),
                (true, Some(_)) => served.gaps.push(at),
                _ => {}
            }
        }
    }

    pub(crate) fn serve(&mut self, at: u64, number: usize, request: &Request) -> RequestOutcome {
        let server = &self.servers[number];
        let served = &mut self.served[number];
        let clock = time_by(START + server.ahead, Duration::from_millis(at));
        let claimed = time_by(START + server.ahead + server.lie, Duration::from_millis(at));
        let mut refuse = |code: &str, retry_after: Option<Duration>| {
            served.refused.push(code.to_owned());
            let retry_after = retry_after.map(millis);
            reply(&json!({ "ok": false, "code": code, "serverTime": claimed, "retryAfterMs": retry_after }))
        };
        let path = Client::default().hand_over().hashed(&SECRET);
        let ticket = match request {
            Request::Time => return reply(&json!({ "ok": true, "serverTime": claimed })),
            Request::Announce(ticket) => VerifiedTicket::trusted(&ticket.to_json(), Purpose::Presence).unwrap(),
            Request::Leave(ticket) => {
                let ticket = VerifiedTicket::trusted(&ticket.to_json(), Purpose::Leave).unwrap();
                let left = served.roster.leave(clock, &ticket, path) == Left::Left;
                return reply(&json!({ "ok": true, "left": left }));
            }
        };
        let Payload { issued_at, expires_at, .. } = *ticket.payload();
        if server.lie != 0 && hash(at).is_multiple_of(2) {
            return refuse(if server.lie > 0 { "EXPIRED" } else { "NOT_YET_VALID" }, None);
        }
        if expires_at.since(issued_at) > TICKET_MAX_LIFETIME {
            return refuse("LIFETIME_TOO_LONG", None);
        }
        if issued_at > clock.after(CLOCK_SKEW) {
            return refuse("NOT_YET_VALID", None);
        }
        match served.roster.announce(clock, ticket, path) {
            Ok(_) => {
                let announce_after = 45_000 + hash(at) % 30_001;
                reply(&json!({ "ok": true, "serverTime": claimed, "announceAfterMs": announce_after }))
            }
            Err(refused @ Refused::AnnounceTooSoon { retry_after }) => refuse(refused.code(), Some(retry_after)),
            Err(refused) => refuse(refused.code(), None),
        }
    }
}

impl Served {
    pub(crate) fn tickets(&self) -> impl Iterator<Item = (u64, &Ticket)> {
        self.requests.iter().filter_map(|(at, request)| match request {
            Request::Announce(ticket) | Request::Leave(ticket) => Some((*at, ticket)),
            Request::Time => None,
        })
    }

    /// The latest that a ticket was dated, against the true time.
    pub(crate) fn latest_date(&self) -> Option<i64> {
        let ahead = |(at, ticket): (u64, &Ticket)| signed(ticket.payload().issued_at.as_u64()) - START - signed(at);
        self.tickets().map(ahead).max()
    }
}

pub(crate) const MINUTES: u64 = 60_000;

pub(crate) const HOUR: i64 = 3_600_000;

/// A beacon by the book, with a clock as machines have it.
pub(crate) fn honest() -> impl Strategy<Value = Server> {
    (-1_000..1_000_i64, 0..1_500_u64).prop_map(|(ahead, delay)| Server { ahead, delay, ..SERVER })
}

pub(crate) fn wall_clock() -> impl Strategy<Value = (i64, u64, i64)> {
    (-12 * HOUR..12 * HOUR, 0..12 * MINUTES, -12 * HOUR..12 * HOUR)
}
