//! What is known of one beacon, what it gets next, and what its answers change.

use std::time::Duration;

use super::clock::ClockOffset;
use super::exchange::{Reply, RequestOutcome, RequestProblem, Verdict};
use super::identity::Identity;
use super::pace::{LIFETIME_MAX, LIFETIME_MIN, TicketPacing, WAIT_MIN, back_off, between_announces};
use super::status::BeaconStatus;
use crate::code::Code;
use crate::limits::CLOCK_SKEW;
use crate::ticket::{Nonce, Payload, Purpose, Ticket};
use crate::time::UnixMillis;

/// What is done next with a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    AskTime { at: Duration },
    Announce { at: Duration },
    Leave,
    Await { asked: Asked, since: Duration },
    Nothing,
}

/// The request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Time,
    Announce,
    Leave,
}

/// The ticket that a beacon lists.
#[derive(Clone, Copy, Debug)]
struct ListedTicket {
    issued_at: UnixMillis,
    expires_at: UnixMillis,
    /// When it ends by the steady clock.
    until: Duration,
}

#[derive(Debug)]
pub(super) struct Beacon {
    pub(super) next: Next,
    /// The beacon's clock.
    pub(super) clock: Option<ClockOffset>,
    /// Whether the beacon has answered, or failed to.
    pub(super) heard_of: bool,
    pub(super) status: BeaconStatus,
    /// Life of the tickets that the beacon gets.
    lifetime: Duration,
    /// Whether the beacon ever got a ticket.
    announced: bool,
    /// The ticket that was sent, and is not judged yet.
    unanswered: Option<Ticket>,
    /// The last ticket that the beacon took, though it may be over by now.
    listed: Option<ListedTicket>,
    failures: u32,
}

impl Beacon {
    pub(super) fn new(pacing: TicketPacing) -> Self {
        Self {
            next: Next::AskTime { at: Duration::ZERO },
            clock: None,
            heard_of: false,
            status: BeaconStatus::Unknown,
            lifetime: pacing.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX),
            announced: false,
            unanswered: None,
            listed: None,
            failures: 0,
        }
    }

    /// Makes one that gets nothing.
    pub(super) fn at_rest(pacing: TicketPacing) -> Self {
        Self { next: Next::Nothing, ..Self::new(pacing) }
    }

    /// Returns the clock that the beacon's tickets are dated by (rule 5).
    pub(super) fn dated_by(&self, trusted: ClockOffset) -> ClockOffset {
        self.clock.map_or(trusted, |own| own.min(trusted))
    }

    /// Returns whether this beacon's clock shows that it is wrong or the machine's is.
    pub(super) fn disagrees_with(&self, machine: ClockOffset) -> bool {
        self.clock.is_some_and(|own| own.differs_from(machine, CLOCK_SKEW))
    }

    /// Returns the ticket to announce with: the last one once more (rule 3), or a new one.
    pub(super) fn announce(&mut self, identity: &Identity, date: UnixMillis, nonce: &Nonce) -> Ticket {
        let again = self.unanswered.clone().filter(|ticket| is_sent_again(ticket, date));
        let ticket = again.unwrap_or_else(|| self.mint(identity, Purpose::Presence, date, nonce));
        self.announced = true;
        self.unanswered = Some(ticket.clone());
        ticket
    }

    /// Signs a new ticket that begins at `date`, or later where the beacon may know a newer one.
    pub(super) fn mint(&self, identity: &Identity, purpose: Purpose, date: UnixMillis, nonce: &Nonce) -> Ticket {
        // Only newer ones are taken (rule 2 of the roster). One that is far newer than now was never good.
        let taken = self.listed.map(|listed| listed.issued_at);
        let sent = self.unanswered.as_ref().map(|ticket| ticket.payload().issued_at);
        let newest = taken.into_iter().chain(sent).filter(|newest| *newest <= date.after(CLOCK_SKEW)).max();
        let issued_at = newest.map_or(date, |newest| newest.after(Duration::from_millis(1)).max(date));
        let payload = Payload {
            peer_id: identity.peer_id.clone(),
            user_id: identity.user_id.clone(),
            data: identity.data.clone().filter(|_| purpose == Purpose::Presence),
            issued_at,
            expires_at: issued_at.after(self.lifetime),
            nonce: nonce.clone(),
            community: Some(identity.community.clone()),
            purpose,
        };
        Ticket::sign(payload, &identity.key)
    }

    /// Takes what came of the question for the time.
    pub(super) fn told_time(&mut self, now: Duration, outcome: RequestOutcome, random: u8) -> Next {
        match outcome {
            // One that does not know what time it is may still take tickets.
            RequestOutcome::Reply(_) => Next::Announce { at: now },
            RequestOutcome::Failed { problem, retry_after } => {
                Next::AskTime { at: now + self.failed(now, problem, false, retry_after, random) }
            }
        }
    }

    /// Takes what came of an announce that was sent at `since`.
    pub(super) fn judged(
        &mut self,
        now: Duration,
        since: Duration,
        outcome: RequestOutcome,
        trusted: ClockOffset,
        interval: Duration,
        random: u8,
    ) -> Next {
        let at = match outcome {
            RequestOutcome::Failed { problem, retry_after } => {
                now + self.failed(now, problem, false, retry_after, random)
            }
            RequestOutcome::Reply(Reply { server_time, verdict: Verdict::Done { announce_after, listed, .. } }) => {
                let asked = AskedPace { server_time, announce_after, interval };
                match self.unanswered.take() {
                    Some(ticket) if listed => self.listed(now, since, &ticket, asked, random),
                    Some(_) => self.unlisted(now, asked, random),
                    None => now + WAIT_MIN,
                }
            }
            RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, retry_after }, .. }) => {
                // These two say nothing about the ticket.
                let judged = !matches!(Code::parse(&problem.code), Some(Code::Throttled | Code::Internal));
                let ticket = if judged { self.unanswered.take() } else { None };
                if ticket.is_some_and(|ticket| self.adapt(now, &ticket, &problem, trusted)) {
                    self.set_failing(now, problem, true, Duration::ZERO);
                    now
                } else {
                    now + self.failed(now, problem, true, retry_after, random)
                }
            }
        };
        Next::Announce { at }
    }

    /// Takes what came of the request to leave.
    pub(super) fn left(&mut self, outcome: RequestOutcome) -> Next {
        let (left, problem) = match outcome {
            RequestOutcome::Reply(Reply { verdict: Verdict::Done { left, .. }, .. }) => (left == Some(true), None),
            RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, .. }, .. })
            | RequestOutcome::Failed { problem, .. } => (false, Some(problem)),
        };
        self.status = BeaconStatus::Left { left, problem };
        Next::Nothing
    }

    /// Returns what is left to do when the peer goes. A beacon that refused all tickets may list one of an earlier run.
    pub(super) const fn last(&self) -> Next {
        match self.status {
            BeaconStatus::Left { .. } => Next::Nothing,
            _ if self.announced => Next::Leave,
            _ => Next::Nothing,
        }
    }

    fn is_listed(&self, now: Duration) -> Option<ListedTicket> {
        self.listed.filter(|listed| listed.until > now)
    }

    fn failed(
        &mut self,
        now: Duration,
        problem: RequestProblem,
        answered: bool,
        retry_after: Option<Duration>,
        random: u8,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let listed_for = self.is_listed(now).map(|listed| listed.until.saturating_sub(now));
        let retry_in = back_off(self.failures, listed_for, retry_after, random);
        self.set_failing(now, problem, answered, retry_in);
        retry_in
    }

    fn set_failing(&mut self, now: Duration, problem: RequestProblem, answered: bool, retry_in: Duration) {
        let listed_until = self.is_listed(now).map(|listed| listed.expires_at);
        self.status = BeaconStatus::Failing { problem, answered, failures: self.failures, retry_in, listed_until };
    }

    /// Notes until when the beacon lists the ticket, and returns when the next one is sent (rule 2).
    fn listed(&mut self, now: Duration, since: Duration, ticket: &Ticket, asked: AskedPace, random: u8) -> Duration {
        let Payload { issued_at, expires_at, .. } = *ticket.payload();
        let left = asked.server_time.map_or(self.lifetime, |time| expires_at.since(time)).min(self.lifetime);
        self.listed = Some(ListedTicket { issued_at, expires_at, until: since + left });
        self.failures = 0;
        self.status = BeaconStatus::Listed { until: expires_at };
        let wait = between_announces(asked.announce_after, left, asked.interval, self.lifetime, random);
        let latest = since + left * 5 / 6;
        (now + wait).min(latest).max(now + WAIT_MIN)
    }

    /// Notes that the beacon has no place for the peer, and returns when the next ticket is sent (rule 6).
    fn unlisted(&mut self, now: Duration, asked: AskedPace, random: u8) -> Duration {
        if let Some(listed) = &mut self.listed {
            listed.until = listed.until.min(now);
        }
        self.failures = 0;
        let wait = between_announces(asked.announce_after, self.lifetime, asked.interval, self.lifetime, random);
        let retry_in = wait.max(WAIT_MIN);
        self.status = BeaconStatus::Unlisted { retry_in };
        now + retry_in
    }

    /// Returns whether another ticket, now, will be judged otherwise than this one.
    fn adapt(&mut self, now: Duration, ticket: &Ticket, problem: &RequestProblem, trusted: ClockOffset) -> bool {
        match Code::parse(&problem.code) {
            // It does not say in numbers how long is not too long.
            Some(Code::LifetimeTooLong) if self.lifetime / 2 >= LIFETIME_MIN => {
                self.lifetime /= 2;
                true
            }
            // Its clock is known by now. If that did not help, waiting may.
            Some(Code::NotYetValid | Code::Expired) if self.failures == 0 => {
                let issued_at = ticket.payload().issued_at;
                let date = self.dated_by(trusted).time_at(now);
                let differs = date.since(issued_at).max(issued_at.since(date)) >= CLOCK_SKEW / 2;
                if differs {
                    self.failures = 1;
                }
                differs
            }
            _ => false,
        }
    }
}

/// The pace that an answer asks for.
#[derive(Clone, Copy)]
struct AskedPace {
    server_time: Option<UnixMillis>,
    announce_after: Option<Duration>,
    interval: Duration,
}

/// Returns whether a ticket that was not answered is sent once more.
fn is_sent_again(ticket: &Ticket, date: UnixMillis) -> bool {
    let Payload { issued_at, expires_at, .. } = ticket.payload();
    let is_old = date.since(*issued_at) * 2 >= expires_at.since(*issued_at);
    !is_old && *issued_at <= date.after(CLOCK_SKEW)
}
