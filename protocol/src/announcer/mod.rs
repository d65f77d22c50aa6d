//! Keeping one peer announced to several beacons: which request goes to which of them when, and what its answer means.
//!
//! A state machine like the others here: time and randomness come in, requests and deadlines go out. Out of scope:
//! sending. The host asks [`Announcer::due`] for requests until there are none, hands the outcome of each to
//! [`Announcer::answered`], in whatever order, and asks again at [`Announcer::next_deadline`].
//!
//! The rules are those of the specification, section 11, by number:
//! 1. Every beacon has its own state, its own tickets and its own pace: none waits for another, and none is given up.
//! 2. A beacon is asked for its time first. Then a new ticket goes to it whenever its `announceAfterMs` is over, a
//!    little later at random; sooner only where the ticket before would be in the last sixth of its life by then.
//! 3. A ticket that was sent and not answered may have been accepted: it is sent again, unchanged, which a beacon takes
//!    for the same announce. A new one might come too soon.
//! 4. After a failure the beacon is tried again after a wait that doubles, up to [`BACK_OFF_MAX`], is spread at random,
//!    and while the beacon still lists the peer is at most half of the time for which it does; `Retry-After` is heeded up
//!    to [`RETRY_AFTER_MAX`]. A ticket that is refused for its life or its dates is replaced by one that fits.
//! 5. A ticket is dated by the clock of the beacon that it is for, **but never later than most clocks say**: the median of
//!    the beacons' clocks, and of this machine's where theirs are even in number. A wrong clock here is thereby corrected.
//!    The limit stops a beacon that lies about the time to collect tickets that begin in an hour, with which it could show
//!    a peer that is gone, or make a peer leave that is there. A ticket from the past helps nobody, so a beacon whose clock
//!    is slow gets one. A liar gains nothing by being the first to answer: a beacon that was not heard of yet counts as
//!    one that agrees with this machine, and one that does not agree gets its first ticket when all were heard of, be it
//!    that they failed. Where only one beacon ever tells the time, no ticket is dated later than this machine's clock and
//!    the 15 s by which clocks may differ.
//! 6. A beacon that answers with `listed: false` has no place for the peer. This is not a failure: the beacon is asked
//!    again at its pace, because a place may be free then, and asking sooner gains nothing.
//! 7. A peer that goes says so once to each beacon to which it ever announced itself, with a ticket to leave that is newer
//!    than every other. An announce under way is waited for, because it could bring the peer back; nobody waits long
//!    for goodbyes, because a ticket ends by itself.
//! 8. A beacon that was [found](crate::lan), not configured, has no vote about the time: its clock dates its own tickets,
//!    no later than rule 5 allows by the configured ones alone, and they wait for nothing that it says.
//!
//! Moments have two times, because they are about two things: waits are measured with a steady clock, which nobody
//! sets, and the machine's wall clock, which may be wrong and jump, is one clock among several that tell the date.

mod beacon;
mod clock;
mod exchange;
mod identity;
mod pace;
mod status;

use std::time::Duration;

use beacon::{Asked, Beacon, Next};
use clock::{ClockOffset, Clocks};

pub use clock::Moment;
pub use exchange::{NotAReply, REFUSED, Reply, Request, RequestOutcome, RequestProblem, Verdict};
pub use identity::Identity;
pub use pace::{BACK_OFF_MAX, LIFETIME_MAX, LIFETIME_MIN, RETRY_AFTER_MAX, TicketPacing, WAIT_MIN};
pub use status::BeaconStatus;

use crate::ticket::{Nonce, Purpose};

/// Keeps one peer announced to its beacons, which it knows by their numbers.
#[derive(Debug)]
pub struct Announcer {
    identity: Identity,
    pacing: TicketPacing,
    beacons: Vec<Beacon>,
    /// How many of them are configured: the first ones.
    configured: usize,
    stopping: bool,
}

impl Announcer {
    /// Begins to announce to as many beacons as `beacons` says, at once.
    pub fn new(identity: Identity, pacing: TicketPacing, beacons: usize) -> Self {
        Self {
            identity,
            pacing,
            beacons: std::iter::repeat_with(|| Beacon::new(pacing)).take(beacons).collect(),
            configured: beacons,
            stopping: false,
        }
    }

    /// Begins to announce to a beacon that was found, at once. Such beacons have places of their own, from 0 on, taken in
    /// that order; the number of a beacon is that of its place behind those of the configured ones. A place is taken again
    /// once [`Announcer::is_busy`] says that it is not busy.
    ///
    /// What a beacon that was found says of the time counts for the tickets that it gets, and for no others (rule 8).
    pub fn begin_found(&mut self, place: usize) {
        if self.stopping {
            return;
        }
        let number = self.configured.saturating_add(place);
        let next = self.beacons.len();
        match self.beacons.get_mut(number) {
            Some(beacon) => *beacon = Beacon::new(self.pacing),
            None if number == next => self.beacons.push(Beacon::new(self.pacing)),
            None => {}
        }
    }

    /// Ends the announcing to a beacon that was found, without a goodbye: nobody answers there.
    pub fn end_found(&mut self, place: usize) {
        if let Some(beacon) = self.beacons.get_mut(self.configured.saturating_add(place)) {
            *beacon = Beacon::at_rest(self.pacing);
        }
    }

    /// Returns whether the beacon in a place lists the peer by its last answer, or is still to answer.
    pub fn is_busy(&self, place: usize) -> bool {
        self.beacons.get(self.configured.saturating_add(place)).is_some_and(|beacon| {
            matches!(beacon.status, BeaconStatus::Listed { .. }) || matches!(beacon.next, Next::Await { .. })
        })
    }

    /// Returns the beacons whose clocks count for all tickets.
    fn voters(&self) -> impl Iterator<Item = &Beacon> {
        self.beacons.iter().take(self.configured)
    }

    /// Returns a request that is due, and the number of the beacon that it is for. Each must be answered, and until it is
    /// there is no other for this beacon. `nonce` must be another one in every call.
    pub fn due(&mut self, now: Moment, nonce: &Nonce) -> Option<(usize, Request)> {
        let trusted = self.trusted(now);
        let machine = now.machine();
        let identity = &self.identity;
        let waits_for_clocks = !self.has_heard_of_all();
        self.beacons.iter_mut().enumerate().find_map(|(number, beacon)| {
            let date = beacon.dated_by(trusted).time_at(now.steady);
            let (asked, request) = match beacon.next {
                Next::AskTime { at } if at <= now.steady => (Asked::Time, Request::Time),
                Next::Announce { at } if at <= now.steady && !(waits_for_clocks && beacon.disagrees_with(machine)) => {
                    (Asked::Announce, Request::Announce(beacon.announce(identity, date, nonce)))
                }
                Next::Leave => (Asked::Leave, Request::Leave(beacon.mint(identity, Purpose::Leave, date, nonce))),
                _ => return None,
            };
            beacon.next = Next::Await { asked, since: now.steady };
            Some((number, request))
        })
    }

    /// Returns when [`Announcer::due`] next has something, by the steady clock, if no answer comes before that.
    pub fn next_deadline(&self, now: Moment) -> Option<Duration> {
        let machine = now.machine();
        let waits_for_clocks = !self.has_heard_of_all();
        let deadlines = self.beacons.iter().filter_map(|beacon| match beacon.next {
            Next::Announce { .. } if waits_for_clocks && beacon.disagrees_with(machine) => None,
            Next::AskTime { at } | Next::Announce { at } => Some(at),
            Next::Leave => Some(now.steady),
            Next::Await { .. } | Next::Nothing => None,
        });
        deadlines.min()
    }

    /// Takes the outcome of the last request to a beacon. Returns the beacon's status, if that is news.
    pub fn answered(
        &mut self,
        now: Moment,
        number: usize,
        outcome: RequestOutcome,
        random: u8,
    ) -> Option<&BeaconStatus> {
        let beacon = self.beacons.get_mut(number)?;
        let Next::Await { asked, since } = beacon.next else { return None };
        let before = beacon.status.clone();
        beacon.heard_of = true;
        if let RequestOutcome::Reply(Reply { server_time: Some(time), .. }) = &outcome {
            // It read its clock somewhere between the two.
            beacon.clock = Some(ClockOffset::new(*time, since + now.steady.saturating_sub(since) / 2));
        }
        let trusted = self.trusted(now);
        let (interval, stopping) = (self.pacing.interval, self.stopping);
        let beacon = self.beacons.get_mut(number)?;
        let next = match asked {
            Asked::Time => beacon.told_time(now.steady, outcome, random),
            Asked::Announce => beacon.judged(now.steady, since, outcome, trusted, interval, random),
            Asked::Leave => beacon.left(outcome),
        };
        beacon.next = match next {
            Next::AskTime { .. } | Next::Announce { .. } if stopping => beacon.last(),
            next => next,
        };
        (!beacon.status.is_like(&before)).then_some(&beacon.status)
    }

    /// Ends the announcing: from now on the only request to a beacon is to leave, if anything was announced to it, after
    /// the request that is under way is answered.
    pub fn stop(&mut self) {
        self.stopping = true;
        for beacon in &mut self.beacons {
            // An announce under way could arrive after the request to leave, and bring the peer back.
            if !matches!(beacon.next, Next::Await { asked: Asked::Announce | Asked::Leave, .. }) {
                beacon.next = beacon.last();
            }
        }
    }

    /// Returns whether nothing will ever be due again.
    pub fn is_done(&self) -> bool {
        self.beacons.iter().all(|beacon| beacon.next == Next::Nothing)
    }

    /// Returns the status of each beacon, in the order of their numbers.
    pub fn statuses(&self) -> impl Iterator<Item = &BeaconStatus> {
        self.beacons.iter().map(|beacon| &beacon.status)
    }

    /// Returns by how many milliseconds this machine's clock is behind what most clocks say; negative if it is ahead.
    pub fn clock_is_behind(&self, now: Moment) -> i64 {
        self.trusted(now).ahead_of(now.machine())
    }

    /// Returns by how many milliseconds the only beacon that tells the time says that this machine's clock is behind, if
    /// that is more than clocks may differ: one alone is not believed.
    pub fn unconfirmed_clock_is_behind(&self, now: Moment) -> Option<i64> {
        self.clocks(now).alone_ahead()
    }

    fn has_heard_of_all(&self) -> bool {
        self.voters().all(|beacon| beacon.heard_of)
    }

    /// Returns the clock that no ticket is dated later than (rule 5).
    fn trusted(&self, now: Moment) -> ClockOffset {
        self.clocks(now).trusted()
    }

    fn clocks(&self, now: Moment) -> Clocks {
        // One that was heard of and does not know the time says nothing about it.
        let clocks = self.voters().filter(|beacon| beacon.clock.is_some() || !beacon.heard_of);
        Clocks::new(now.machine(), clocks.map(|beacon| beacon.clock))
    }
}
