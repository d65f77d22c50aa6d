//! Keeping one peer announced to several beacons: what to send to which of them when, and what its answer means.
//!
//! A state machine like the others here: time and randomness come in, requests and deadlines go out. Out of scope:
//! sending. The host asks [`Announcer::due`] for requests until there are none, hands back what came of each to
//! [`Announcer::answered`], in whatever order, and asks again at [`Announcer::next_deadline`].
//!
//! The rules:
//! 1. Every beacon has its own state, its own tickets and its own pace: none waits for another, and none is given up.
//! 2. A beacon is asked for its time first. Then a new ticket goes to it whenever its `announceAfterMs` is over, a
//!    little later at random; sooner only where the ticket before would be in the last sixth of its life by then.
//! 3. A ticket that was sent and not answered may have been accepted: it is sent again, unchanged, which a beacon takes
//!    for the same announce. A new one might come too soon.
//! 4. After a failure the beacon is tried again after a wait that doubles, up to [`BACK_OFF_MAX`], is spread at random,
//!    and while it still lists the peer is at most half of what is left of that; `Retry-After` is heeded up to
//!    [`RETRY_AFTER_MAX`]. A ticket that is refused for its life or its dates is replaced by one that fits.
//! 5. A ticket is dated by the clock of the beacon that it is for, **but never later than what most clocks say**: the
//!    median of the beacons' clocks, and of this machine's where theirs are even in number. So a wrong clock here is
//!    corrected. What the limit stops: a beacon that lies about the time to collect tickets that begin in an hour, with
//!    which it could show a peer that is gone, or make a peer leave that is there. A ticket from the past helps nobody,
//!    so a beacon whose clock is slow gets one. So that a liar gains nothing by being the first to answer, a beacon
//!    that was not heard of yet counts as one that agrees with this machine, and one that does not agree gets its first
//!    ticket when all were heard of, be it that they failed. Where only one beacon ever answers, it is believed.
//! 6. A beacon that answers with `listed: false` has no place for the peer. That is no failure: it is asked again at its
//!    pace, because a place may be free then, and asking sooner gains nothing.
//!
//! Moments have two times, because they are about two things: waits are measured with a steady clock, which nobody
//! sets, and the machine's wall clock, which may be wrong and jump, is one clock among several about the date.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::community::Community;
use crate::key::PrivateKey;
use crate::limits::CLOCK_SKEW;
use crate::object::Object;
use crate::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use crate::time::{UnixMillis, saturating_millis};

/// The longest wait after a failure: as long as the usual one between two announces, so that trying costs a beacon no
/// more than succeeding.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The longest time that a beacon can send this peer away for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The least wait between two requests to one beacon, whatever it asks for, but for those of rule 4 that adapt a ticket.
pub const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait after the first failure. It doubles from here.
const BACK_OFF_FIRST: Duration = Duration::from_secs(2);

/// Shortest life of a ticket: a beacon that allows less is one that allows none.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// Longest life of a ticket that any beacon can be set to allow.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Characters of a `detail` that are kept.
const DETAIL_MAX_CHARS: usize = 300;
/// Characters of a `code`.
const CODE_MAX_CHARS: usize = 40;

/// Now, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since some fixed moment: never goes back, and nobody sets it.
    pub steady: Duration,
    /// What this machine takes for the date and time.
    pub wall: UnixMillis,
}

/// Who is to be announced.
#[derive(Debug)]
pub struct Identity {
    /// What its tickets are signed with.
    pub key: PrivateKey,
    /// The peer.
    pub peer_id: PeerId,
    /// Its user.
    pub user_id: UserId,
    /// Where. Every ticket names it, so that none can be carried elsewhere.
    pub community: Community,
}

/// How often, as far as it is not the beacon's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketPacing {
    /// Life of a ticket.
    pub lifetime: Duration,
    /// The least between two announces to one beacon, where it asks for less.
    pub interval: Duration,
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /healthz`: what time is it?
    Time,
    /// `POST /announce`, with a ticket.
    Announce(Ticket),
    /// `POST /leave`, with a ticket to leave.
    Leave(Ticket),
}

impl Request {
    /// The body to send, if there is one.
    pub fn body(&self) -> Option<String> {
        match self {
            Self::Time => None,
            Self::Announce(ticket) | Self::Leave(ticket) => Some(format!("{{\"ticket\":{}}}", ticket.to_json())),
        }
    }
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestProblem {
    /// A name for scripts: one of a beacon's codes, or one of the host's.
    pub code: String,
    /// For people. Written by a stranger, where a beacon wrote it.
    pub detail: String,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The beacon said something.
    Reply(Reply),
    /// Nobody knows whether the beacon did what it was asked: no connection, no whole answer, or one that it failed.
    Failed {
        /// How it failed.
        problem: RequestProblem,
        /// When the server wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

/// What a beacon said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its clock.
    pub server_time: Option<UnixMillis>,
    /// Whether it did what it was asked.
    pub verdict: Verdict,
}

/// Whether a beacon did what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Done {
        /// When it wants the next announce.
        announce_after: Option<Duration>,
        /// After an announce: whether the peer has a place in its list.
        listed: bool,
        /// After a request to leave: whether there was somebody to remove.
        left: Option<bool>,
    },
    /// It refused.
    Refused {
        /// Why.
        problem: RequestProblem,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
}

/// No answer of a beacon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a beacon's: {0}")]
pub struct NotAReply(String);

/// Every field but `ok` is optional. One with the wrong type counts as absent, except `listed`: only absent, as version
/// 0.1.0 has it, or `true` is a place.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyFields {
    ok: bool,
    #[serde(default)]
    server_time: Value,
    #[serde(default)]
    announce_after_ms: Value,
    #[serde(default)]
    listed: Value,
    #[serde(default)]
    left: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    retry_after_ms: Value,
}

impl Reply {
    /// Reads the body of any answer of a beacon, errors included. The peers in it are not looked at.
    ///
    /// # Errors
    /// [`NotAReply`], if it is not JSON with an `ok`.
    pub fn parse(body: &[u8]) -> Result<Self, NotAReply> {
        let Object(fields): Object<ReplyFields> =
            serde_json::from_slice(body).map_err(|error| NotAReply(error.to_string()))?;
        let millis = |value: &Value| value.as_u64().map(Duration::from_millis);
        let verdict = if fields.ok {
            Verdict::Done {
                announce_after: millis(&fields.announce_after_ms),
                listed: fields.listed.is_null() || fields.listed.as_bool() == Some(true),
                left: fields.left.as_bool(),
            }
        } else {
            let is_code = |code: &&str| {
                code.len() <= CODE_MAX_CHARS && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            };
            let code = fields.code.as_str().filter(is_code).unwrap_or("REFUSED");
            let detail = fields.detail.as_str().unwrap_or("it does not say why");
            let problem =
                RequestProblem { code: code.to_owned(), detail: detail.chars().take(DETAIL_MAX_CHARS).collect() };
            Verdict::Refused { problem, retry_after: millis(&fields.retry_after_ms) }
        };
        Ok(Self { server_time: fields.server_time.as_u64().and_then(UnixMillis::new), verdict })
    }

    /// Whether it refuses.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.verdict, Verdict::Refused { .. })
    }

    /// The same with the time in a header for coming back, where the body has none.
    #[must_use]
    pub fn or_retry_after(mut self, header: Option<Duration>) -> Self {
        if let Verdict::Refused { retry_after, .. } = &mut self.verdict {
            *retry_after = retry_after.or(header);
        }
        self
    }

    /// For an answer that is a refusal, although no beacon's.
    pub fn refused(code: &str, detail: String, retry_after: Option<Duration>) -> Self {
        let problem = RequestProblem { code: code.to_owned(), detail };
        Self { server_time: None, verdict: Verdict::Refused { problem, retry_after } }
    }
}

/// How things stand with one beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeaconStatus {
    /// Nothing is known yet.
    Unknown,
    /// It lists the peer.
    Listed {
        /// When the ticket ends that it lists. There will be another before that.
        until: UnixMillis,
    },
    /// It answered, and has no place for the peer.
    Unlisted {
        /// When it is asked again.
        retry_in: Duration,
    },
    /// The last request did not work.
    Failing {
        /// Why.
        problem: RequestProblem,
        /// Whether the beacon answered at all.
        answered: bool,
        /// How many did not work, one after the other. 0 where the request only had to be adapted.
        failures: u32,
        /// When the next one is made.
        retry_in: Duration,
        /// When the ticket ends with which it still lists the peer, if it does.
        listed_until: Option<UnixMillis>,
    },
    /// It was told that the peer goes.
    Left {
        /// Whether it removed the peer: not if there was none to remove, and not if it did not answer.
        left: bool,
        /// Why nobody knows.
        problem: Option<RequestProblem>,
    },
}

impl BeaconStatus {
    /// Whether there is nothing in this that was not in `earlier`, but times and numbers.
    fn is_like(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Unknown, Self::Unknown)
            | (Self::Listed { .. }, Self::Listed { .. })
            | (Self::Unlisted { .. }, Self::Unlisted { .. }) => true,
            (Self::Failing { problem, .. }, Self::Failing { problem: before, .. }) => problem.code == before.code,
            _ => false,
        }
    }
}

/// The offset of a clock from the steady one: the time that the clock showed when the steady clock began, in milliseconds
/// since 1970. Negative for a clock that is further back than the steady clock has run.
type ClockOffset = i64;

fn clock_offset(time: UnixMillis, steady: Duration) -> ClockOffset {
    signed(time.as_u64()).saturating_sub(signed(saturating_millis(steady)))
}

/// What a clock shows at a moment of the steady one.
fn time_by(clock_offset: ClockOffset, steady: Duration) -> UnixMillis {
    let millis = clock_offset.saturating_add(signed(saturating_millis(steady)));
    UnixMillis::saturating(u64::try_from(millis).unwrap_or(0))
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// What is done next with a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    AskTime { at: Duration },
    Announce { at: Duration },
    Leave,
    Await { asked: Asked, since: Duration },
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
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
struct Beacon {
    next: Next,
    /// Its clock.
    clock_offset: Option<ClockOffset>,
    /// Whether it has answered, or failed to.
    heard_of: bool,
    /// Life of the tickets that it gets.
    lifetime: Duration,
    /// Whether it ever got a ticket.
    announced: bool,
    /// Sent, and not judged yet.
    unanswered: Option<Ticket>,
    /// The last one that it took, be it over by now.
    listed_ticket: Option<ListedTicket>,
    failures: u32,
    status: BeaconStatus,
}

impl Beacon {
    /// The clock that its tickets are dated by (rule 5).
    fn dated_by(&self, trusted: ClockOffset) -> ClockOffset {
        self.clock_offset.map_or(trusted, |own| own.min(trusted))
    }

    /// Whether it is known by this beacon's clock that it is wrong or the machine's is.
    fn disagrees_with(&self, machine: ClockOffset) -> bool {
        self.clock_offset.is_some_and(|own| own.abs_diff(machine) > saturating_millis(CLOCK_SKEW))
    }

    /// Whether it gets that ticket, which it did not answer, once more.
    fn is_sent_again(&self, ticket: &Ticket, date: UnixMillis) -> bool {
        let Payload { issued_at, expires_at, .. } = ticket.payload();
        let is_old = date.since(*issued_at) * 2 >= expires_at.since(*issued_at);
        !is_old && *issued_at <= date.after(CLOCK_SKEW)
    }

    fn mint(&self, identity: &Identity, purpose: Purpose, date: UnixMillis, nonce: &Nonce) -> Ticket {
        // Only newer ones are taken (rule 2 of the roster). One that is far newer than now was never good.
        let taken = self.listed_ticket.map(|listed_ticket| listed_ticket.issued_at);
        let sent = self.unanswered.as_ref().map(|ticket| ticket.payload().issued_at);
        let newest = taken.into_iter().chain(sent).filter(|newest| *newest <= date.after(CLOCK_SKEW)).max();
        let issued_at = newest.map_or(date, |newest| newest.after(Duration::from_millis(1)).max(date));
        let payload = Payload {
            peer_id: identity.peer_id.clone(),
            user_id: identity.user_id.clone(),
            issued_at,
            expires_at: issued_at.after(self.lifetime),
            nonce: nonce.clone(),
            community: Some(identity.community.clone()),
            purpose,
        };
        Ticket::sign(payload, &identity.key)
    }

    fn is_listed(&self, now: Duration) -> Option<ListedTicket> {
        self.listed_ticket.filter(|listed_ticket| listed_ticket.until > now)
    }

    /// The time to the next attempt (rule 4). `random` spreads those who failed together.
    fn wait(&self, now: Duration, retry_after: Option<Duration>, random: u8) -> Duration {
        let times = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let doubled = BACK_OFF_FIRST.saturating_mul(times).min(BACK_OFF_MAX);
        let mut wait = doubled / 2 + part(doubled / 2, random);
        if let Some(listed_ticket) = self.is_listed(now) {
            wait = wait.min((listed_ticket.until.saturating_sub(now) / 2).max(WAIT_MIN));
        }
        match retry_after {
            Some(asked) => wait.max(asked.min(RETRY_AFTER_MAX) + part(WAIT_MIN, random)),
            None => wait,
        }
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
        let retry_in = self.wait(now, retry_after, random);
        self.set_failing(now, problem, answered, retry_in);
        retry_in
    }

    fn set_failing(&mut self, now: Duration, problem: RequestProblem, answered: bool, retry_in: Duration) {
        let listed_until = self.is_listed(now).map(|listed_ticket| listed_ticket.expires_at);
        self.status = BeaconStatus::Failing { problem, answered, failures: self.failures, retry_in, listed_until };
    }

    /// Its ticket is listed: notes until when, and returns when the next one is sent (rule 2).
    fn listed(&mut self, now: Duration, since: Duration, ticket: &Ticket, pace: AskedPace, random: u8) -> Duration {
        let Payload { issued_at, expires_at, .. } = *ticket.payload();
        let left = pace.server_time.map_or(self.lifetime, |time| expires_at.since(time)).min(self.lifetime);
        self.listed_ticket = Some(ListedTicket { issued_at, expires_at, until: since + left });
        self.failures = 0;
        self.status = BeaconStatus::Listed { until: expires_at };
        let asked = pace.announce_after.unwrap_or(left / 3).max(pace.interval).min(self.lifetime);
        let latest = since + left * 5 / 6;
        (now + asked + part(asked / 8, random)).min(latest).max(now + WAIT_MIN)
    }

    /// It has no place for the peer: notes that, and returns when the next ticket is sent (rule 6).
    fn unlisted(&mut self, now: Duration, pace: AskedPace, random: u8) -> Duration {
        if let Some(listed_ticket) = &mut self.listed_ticket {
            listed_ticket.until = listed_ticket.until.min(now);
        }
        self.failures = 0;
        let asked = pace.announce_after.unwrap_or(self.lifetime / 3).max(pace.interval).min(self.lifetime);
        let retry_in = (asked + part(asked / 8, random)).max(WAIT_MIN);
        self.status = BeaconStatus::Unlisted { retry_in };
        now + retry_in
    }
}

struct AskedPace {
    server_time: Option<UnixMillis>,
    announce_after: Option<Duration>,
    interval: Duration,
}

/// `random` 256ths of `whole`.
fn part(whole: Duration, random: u8) -> Duration {
    whole * u32::from(random) / 256
}

/// Keeps one peer announced to its beacons, which it knows by their numbers.
#[derive(Debug)]
pub struct Announcer {
    identity: Identity,
    interval: Duration,
    beacons: Vec<Beacon>,
    stopping: bool,
}

impl Announcer {
    /// Begins to announce to as many beacons as `beacons` says, at once.
    pub fn new(identity: Identity, pacing: TicketPacing, beacons: usize) -> Self {
        let beacon = || Beacon {
            next: Next::AskTime { at: Duration::ZERO },
            clock_offset: None,
            heard_of: false,
            lifetime: pacing.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX),
            announced: false,
            unanswered: None,
            listed_ticket: None,
            failures: 0,
            status: BeaconStatus::Unknown,
        };
        Self {
            identity,
            interval: pacing.interval,
            beacons: std::iter::repeat_with(beacon).take(beacons).collect(),
            stopping: false,
        }
    }

    /// A request that is due, and the number of the beacon that it is for. Each must be answered, and until it is
    /// there is no other for this beacon. `nonce` must be another one in every call.
    pub fn due(&mut self, now: Moment, nonce: &Nonce) -> Option<(usize, Request)> {
        let trusted = self.trusted(now);
        let machine = clock_offset(now.wall, now.steady);
        let identity = &self.identity;
        let waits_for_clocks = !self.has_heard_of_all();
        self.beacons.iter_mut().enumerate().find_map(|(number, beacon)| {
            let date = time_by(beacon.dated_by(trusted), now.steady);
            let (asked, request) = match beacon.next {
                Next::AskTime { at } if at <= now.steady => (Asked::Time, Request::Time),
                Next::Announce { at } if at <= now.steady && !(waits_for_clocks && beacon.disagrees_with(machine)) => {
                    let again = beacon.unanswered.clone().filter(|ticket| beacon.is_sent_again(ticket, date));
                    let ticket = again.unwrap_or_else(|| beacon.mint(identity, Purpose::Presence, date, nonce));
                    beacon.announced = true;
                    beacon.unanswered = Some(ticket.clone());
                    (Asked::Announce, Request::Announce(ticket))
                }
                Next::Leave => {
                    let ticket = beacon.mint(identity, Purpose::Leave, date, nonce);
                    (Asked::Leave, Request::Leave(ticket))
                }
                _ => return None,
            };
            beacon.next = Next::Await { asked, since: now.steady };
            Some((number, request))
        })
    }

    /// When [`Announcer::due`] next has something, by the steady clock, if no answer comes before that.
    pub fn next_deadline(&self, now: Moment) -> Option<Duration> {
        let machine = clock_offset(now.wall, now.steady);
        let waits_for_clocks = !self.has_heard_of_all();
        let deadlines = self.beacons.iter().filter_map(|beacon| match beacon.next {
            Next::Announce { .. } if waits_for_clocks && beacon.disagrees_with(machine) => None,
            Next::AskTime { at } | Next::Announce { at } => Some(at),
            Next::Leave => Some(now.steady),
            Next::Await { .. } | Next::Nothing => None,
        });
        deadlines.min()
    }

    /// What came of the last request to a beacon. Returns how things stand with it, if that is news.
    pub fn answered(
        &mut self,
        now: Moment,
        number: usize,
        answer: RequestOutcome,
        random: u8,
    ) -> Option<&BeaconStatus> {
        let beacon = self.beacons.get_mut(number)?;
        let Next::Await { asked, since } = beacon.next else { return None };
        let before = beacon.status.clone();
        beacon.heard_of = true;
        if let RequestOutcome::Reply(Reply { server_time: Some(time), .. }) = &answer {
            // It read its clock somewhere between the two.
            beacon.clock_offset = Some(clock_offset(*time, since + now.steady.saturating_sub(since) / 2));
        }
        let trusted = self.trusted(now);
        let (interval, stopping) = (self.interval, self.stopping);
        let beacon = self.beacons.get_mut(number)?;
        let next = match asked {
            Asked::Time => beacon.told_time(now.steady, answer, random),
            Asked::Announce => beacon.judged(now.steady, since, answer, trusted, interval, random),
            Asked::Leave => {
                let (left, problem) = match answer {
                    RequestOutcome::Reply(Reply { verdict: Verdict::Done { left, .. }, .. }) => {
                        (left == Some(true), None)
                    }
                    RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, .. }, .. })
                    | RequestOutcome::Failed { problem, .. } => (false, Some(problem)),
                };
                beacon.status = BeaconStatus::Left { left, problem };
                Next::Nothing
            }
        };
        beacon.next = match next {
            Next::AskTime { .. } | Next::Announce { .. } if stopping => beacon.last(),
            next => next,
        };
        (!beacon.status.is_like(&before)).then_some(&beacon.status)
    }

    /// Ends it: from now on the only request to a beacon is to leave, if anything was announced to it, after what is
    /// under way is answered.
    pub fn stop(&mut self) {
        self.stopping = true;
        for beacon in &mut self.beacons {
            // An announce under way could arrive after the request to leave, and bring the peer back.
            if !matches!(beacon.next, Next::Await { asked: Asked::Announce | Asked::Leave, .. }) {
                beacon.next = beacon.last();
            }
        }
    }

    /// Whether nothing will ever be due again.
    pub fn is_done(&self) -> bool {
        self.beacons.iter().all(|beacon| beacon.next == Next::Nothing)
    }

    /// How things stand with each beacon.
    pub fn statuses(&self) -> impl Iterator<Item = &BeaconStatus> {
        self.beacons.iter().map(|beacon| &beacon.status)
    }

    /// By how many milliseconds this machine's clock is behind what most clocks say; negative if it is ahead.
    pub fn clock_is_behind(&self, now: Moment) -> i64 {
        self.trusted(now).saturating_sub(clock_offset(now.wall, now.steady))
    }

    fn has_heard_of_all(&self) -> bool {
        self.beacons.iter().all(|beacon| beacon.heard_of)
    }

    /// The clock that no ticket is dated later than (rule 5).
    fn trusted(&self, now: Moment) -> ClockOffset {
        let own = clock_offset(now.wall, now.steady);
        let clock = |beacon: &Beacon| if beacon.heard_of { beacon.clock_offset } else { Some(own) };
        let mut clocks: Vec<_> = self.beacons.iter().filter_map(clock).collect();
        if clocks.len().is_multiple_of(2) {
            clocks.push(own);
        }
        let middle = clocks.len() / 2;
        clocks.sort_unstable();
        clocks.get(middle).copied().unwrap_or(own)
    }
}

impl Beacon {
    fn told_time(&mut self, now: Duration, answer: RequestOutcome, random: u8) -> Next {
        match answer {
            // One that does not know what time it is may still take tickets.
            RequestOutcome::Reply(_) => Next::Announce { at: now },
            RequestOutcome::Failed { problem, retry_after } => {
                Next::AskTime { at: now + self.failed(now, problem, false, retry_after, random) }
            }
        }
    }

    fn judged(
        &mut self,
        now: Duration,
        since: Duration,
        answer: RequestOutcome,
        trusted: ClockOffset,
        interval: Duration,
        random: u8,
    ) -> Next {
        let at = match answer {
            RequestOutcome::Failed { problem, retry_after } => {
                now + self.failed(now, problem, false, retry_after, random)
            }
            RequestOutcome::Reply(Reply { server_time, verdict: Verdict::Done { announce_after, listed, .. } }) => {
                let pace = AskedPace { server_time, announce_after, interval };
                match self.unanswered.take() {
                    Some(ticket) if listed => self.listed(now, since, &ticket, pace, random),
                    Some(_) => self.unlisted(now, pace, random),
                    None => now + WAIT_MIN,
                }
            }
            RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, retry_after }, .. }) => {
                // These two say nothing about the ticket.
                let judged = !matches!(problem.code.as_str(), "THROTTLED" | "INTERNAL");
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

    /// Whether another ticket, now, will be judged otherwise than this one.
    fn adapt(&mut self, now: Duration, ticket: &Ticket, problem: &RequestProblem, trusted: ClockOffset) -> bool {
        match problem.code.as_str() {
            // It does not say in numbers how long is not too long.
            "LIFETIME_TOO_LONG" if self.lifetime / 2 >= LIFETIME_MIN => {
                self.lifetime /= 2;
                true
            }
            // Its clock is known by now. If that did not help, waiting may.
            "NOT_YET_VALID" | "EXPIRED" if self.failures == 0 => {
                let issued_at = ticket.payload().issued_at;
                let date = time_by(self.dated_by(trusted), now);
                let differs = date.since(issued_at).max(issued_at.since(date)) >= CLOCK_SKEW / 2;
                if differs {
                    self.failures = 1;
                }
                differs
            }
            _ => false,
        }
    }

    /// What is left to do when the peer goes. A beacon that refused all tickets may list one of an earlier run.
    const fn last(&self) -> Next {
        match self.status {
            BeaconStatus::Left { .. } => Next::Nothing,
            _ if self.announced => Next::Leave,
            _ => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::limits::{ANNOUNCE_INTERVAL, TICKET_MAX_LIFETIME};
    use crate::network::Client;
    use crate::roster::{Excluded, Left, Refused, Roster, RosterLimits};
    use crate::secret::Secret;
    use crate::ticket::VerifiedTicket;

    /// The true time at which every history begins.
    const START: i64 = 1_700_000_000_000;
    const PEER: &str = "node";

    /// Rounded up: what is due at a moment is not due before it.
    fn millis(duration: Duration) -> u64 {
        saturating_millis(duration + Duration::from_nanos(999_999))
    }

    fn identity() -> Identity {
        Identity {
            key: PrivateKey::from_seed(&[1; 32]),
            peer_id: PeerId::new(PEER).unwrap(),
            user_id: UserId::new("user").unwrap(),
            community: Community::new("mainnet").unwrap(),
        }
    }

    const PACING: TicketPacing = TicketPacing { lifetime: TICKET_MAX_LIFETIME, interval: Duration::ZERO };

    fn moment(steady: u64, ahead: i64) -> Moment {
        Moment { steady: Duration::from_millis(steady), wall: time_by(START + ahead, Duration::from_millis(steady)) }
    }

    fn nonce(number: u64) -> Nonce {
        Nonce::new([number.to_be_bytes(); 2].concat()).unwrap()
    }

    /// Numbers that look random, the same in every run.
    fn hash(of: u64) -> u64 {
        let mut mixed = of.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn reply(value: &Value) -> RequestOutcome {
        RequestOutcome::Reply(Reply::parse(value.to_string().as_bytes()).unwrap())
    }

    fn no_connection() -> RequestOutcome {
        let problem = RequestProblem { code: "NO_CONNECTION".into(), detail: String::new() };
        RequestOutcome::Failed { problem, retry_after: None }
    }

    /// What can happen between a peer and a beacon.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Line {
        Good,
        /// Nothing arrives.
        Dead,
        /// What is asked is done, but the answer never arrives.
        Deaf,
    }

    /// A beacon by the book, or a liar.
    #[derive(Clone, Debug)]
    struct Host {
        /// Its clock, against the true time.
        ahead: i64,
        /// By how much more it claims to be ahead.
        lie: i64,
        /// For the request and for the answer.
        delay: u64,
        /// How long the peer waits for an answer that does not come.
        patience: u64,
        /// While the line is not good.
        outage: std::ops::Range<u64>,
        outage_is: Line,
    }

    const HOST: Host = Host { ahead: 0, lie: 0, delay: 50, patience: 10_000, outage: 0..0, outage_is: Line::Good };

    impl Host {
        fn line(&self, at: u64) -> Line {
            if self.outage.contains(&at) { self.outage_is } else { Line::Good }
        }
    }

    struct Served {
        roster: Roster,
        /// When requests were made, and what they were.
        requests: Vec<(u64, Request)>,
        /// Codes of what it refused.
        refused: Vec<String>,
        /// When it listed the peer first.
        listed_at: Option<u64>,
        /// When it did not list it any more.
        gaps: Vec<u64>,
    }

    const SECRET: Secret = Secret::from_bytes([1; 16]);

    /// One peer and its beacons, over one simulated clock.
    struct World {
        hosts: Vec<Host>,
        served: Vec<Served>,
        announcer: Announcer,
        /// The peer's wall clock, against the true time: at first, and from a moment on.
        ahead: (i64, u64, i64),
        answers: BTreeMap<(u64, u64), (usize, RequestOutcome)>,
        arrivals: BTreeMap<(u64, u64), (usize, Request)>,
        events: u64,
    }

    impl World {
        fn new(hosts: Vec<Host>, ahead: (i64, u64, i64)) -> Self {
            let served = || Served {
                roster: Roster::new(RosterLimits::default(), SECRET),
                requests: Vec::new(),
                refused: Vec::new(),
                listed_at: None,
                gaps: Vec::new(),
            };
            Self {
                served: hosts.iter().map(|_| served()).collect(),
                announcer: Announcer::new(identity(), PACING, hosts.len()),
                hosts,
                ahead,
                answers: BTreeMap::new(),
                arrivals: BTreeMap::new(),
                events: 0,
            }
        }

        fn moment(&self, at: u64) -> Moment {
            let (before, jump, after) = self.ahead;
            moment(at, if at < jump { before } else { after })
        }

        /// Lives until `end`, and looks at every list four times a second and at every event.
        fn run(&mut self, end: u64) {
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

        fn step(&mut self, at: u64) {
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
                let host = &self.hosts[number];
                if host.line(at) == Line::Dead {
                    self.answers.insert((at + host.patience, self.events), (number, no_connection()));
                } else {
                    self.arrivals.insert((at + host.delay, self.events), (number, request));
                }
            }
            while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= at) {
                let (number, request) = entry.remove();
                self.events += 1;
                let answer = self.serve(at, number, &request);
                let host = &self.hosts[number];
                let (delay, answer) = match host.line(at) {
                    Line::Good => (host.delay, answer),
                    _ => (host.patience, no_connection()),
                };
                self.answers.insert((at + delay.max(1), self.events), (number, answer));
            }
            for (host, served) in self.hosts.iter().zip(&mut self.served) {
                let clock = time_by(START + host.ahead, Duration::from_millis(at));
                let seed = served.roster.seed(clock, None);
                match (served.roster.answer(clock, 1, Excluded::Nobody, seed).is_empty(), served.listed_at) {
                    (false, None) => served.listed_at = Some(at),
                    (true, Some(_)) => served.gaps.push(at),
                    _ => {}
                }
            }
        }

        fn serve(&mut self, at: u64, number: usize, request: &Request) -> RequestOutcome {
            let host = &self.hosts[number];
            let served = &mut self.served[number];
            let clock = time_by(START + host.ahead, Duration::from_millis(at));
            let claimed = time_by(START + host.ahead + host.lie, Duration::from_millis(at));
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
            if host.lie != 0 && hash(at).is_multiple_of(2) {
                return refuse(if host.lie > 0 { "EXPIRED" } else { "NOT_YET_VALID" }, None);
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
        fn tickets(&self) -> impl Iterator<Item = (u64, &Ticket)> {
            self.requests.iter().filter_map(|(at, request)| match request {
                Request::Announce(ticket) | Request::Leave(ticket) => Some((*at, ticket)),
                Request::Time => None,
            })
        }

        /// The latest that a ticket was dated, against the true time.
        fn latest_date(&self) -> Option<i64> {
            let ahead = |(at, ticket): (u64, &Ticket)| signed(ticket.payload().issued_at.as_u64()) - START - signed(at);
            self.tickets().map(ahead).max()
        }
    }

    const MINUTES: u64 = 60_000;
    const HOUR: i64 = 3_600_000;

    /// A beacon by the book, with a clock as machines have it.
    fn honest() -> impl Strategy<Value = Host> {
        (-1_000..1_000_i64, 0..1_500_u64).prop_map(|(ahead, delay)| Host { ahead, delay, ..HOST })
    }

    fn wall_clock() -> impl Strategy<Value = (i64, u64, i64)> {
        (-12 * HOUR..12 * HOUR, 0..12 * MINUTES, -12 * HOUR..12 * HOUR)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// With any number of beacons, whatever the clock here says and however it jumps.
        #[test]
        fn a_peer_is_listed_at_once_and_for_good_and_no_ticket_is_refused(
            hosts in prop::collection::vec(honest(), 1..5),
            ahead in wall_clock(),
        ) {
            let mut world = World::new(hosts, ahead);
            world.run(12 * MINUTES);
            for (host, served) in world.hosts.iter().zip(&world.served) {
                prop_assert!(served.listed_at.is_some_and(|at| at <= 7_000 + 3 * host.delay), "{:?}", served.listed_at);
                prop_assert_eq!(&served.gaps, &[0_u64; 0]);
                prop_assert_eq!(&served.refused, &[""; 0]);
                // One each 45 to 85 s and no more.
                prop_assert!((8..=17).contains(&served.tickets().count()), "{}", served.tickets().count());
            }
        }

        /// More than a minute without the beacon, or without its answers, is not noticed on its list.
        #[test]
        fn an_outage_of_75_seconds_makes_no_gap(
            host in honest(),
            begin in 5_000..6 * MINUTES,
            length in 0..75_000_u64,
            patience in 1..10_000_u64,
            outage_is in prop_oneof![Just(Line::Dead), Just(Line::Deaf)],
        ) {
            let host = Host { outage: begin..begin + length, outage_is, patience, ..host };
            let mut world = World::new(vec![host, HOST], (0, 0, 0));
            world.run(10 * MINUTES);
            for served in &world.served {
                prop_assert!(served.listed_at.is_some());
                prop_assert_eq!(&served.gaps, &[0_u64; 0]);
                // Above all no ANNOUNCE_TOO_SOON, though it may have taken tickets that it never answered.
                prop_assert_eq!(&served.refused, &[""; 0]);
            }
        }

        /// A beacon that is back is found within the longest wait.
        #[test]
        fn a_beacon_that_comes_back_lists_the_peer_again(host in honest(), begin in 0..2 * MINUTES, patience in 1..10_000_u64) {
            let back = begin + 20 * MINUTES;
            let host = Host { outage: begin..back, outage_is: Line::Dead, patience, ..host };
            let mut world = World::new(vec![host], (0, 0, 0));
            world.run(back + 2 * MINUTES);
            let [served] = &world.served[..] else { panic!() };
            let last_gap = served.gaps.last().copied().or(served.listed_at).unwrap();
            prop_assert!(last_gap <= back + millis(BACK_OFF_MAX) + patience + 4_000, "{last_gap}");
            let gaps: Vec<_> = served.requests.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
            // The longest is the usual one: 75 s, an eighth of that, and the ways there and back.
            prop_assert!(gaps.iter().all(|gap| *gap <= 85_000 + patience + 4_000), "{gaps:?}");
        }

        /// Whatever another beacon does, the requests to this one are made at the same moments.
        #[test]
        fn a_failing_beacon_delays_no_other(
            host in honest(),
            lie in -2 * HOUR..2 * HOUR,
            patience in 1..30_000_u64,
            outage_is in prop_oneof![Just(Line::Dead), Just(Line::Deaf), Just(Line::Good)],
        ) {
            let moments = |other: Host| {
                let mut world = World::new(vec![host.clone(), other], (0, 0, 0));
                world.run(6 * MINUTES);
                world.served[0].requests.iter().map(|(at, _)| *at).collect::<Vec<_>>()
            };
            let bad = Host { lie, patience, outage: 0..u64::MAX, outage_is, ..HOST };
            prop_assert_eq!(moments(bad), moments(HOST));
        }

        /// What one liar among several gets: nothing that it could use later, and nobody else is harmed. With two
        /// beacons that takes a clock here that is right, with more it does not.
        #[test]
        fn a_beacon_that_lies_about_the_time_gets_no_ticket_from_the_future(
            mut hosts in prop::collection::vec(honest(), 1..4),
            liar in honest(),
            lie in prop_oneof![-12 * HOUR..-HOUR / 60, HOUR / 60..12 * HOUR],
            place in 0..4_usize,
            ahead in wall_clock(),
        ) {
            let place = place.min(hosts.len());
            hosts.insert(place, Host { lie, ..liar });
            let ahead = if hosts.len() == 2 { (500, 0, 500) } else { ahead };
            // It cannot know what is wrong here before it has seen a ticket.
            prop_assume!([ahead.0, ahead.2].iter().all(|ahead| lie.abs_diff(*ahead) > 20_000));
            let mut world = World::new(hosts, ahead);
            world.run(8 * MINUTES);
            for (host, served) in world.hosts.iter().zip(&world.served) {
                prop_assert!(served.latest_date().is_none_or(|latest| latest <= 3_500), "{:?}", served.latest_date());
                if host.lie == 0 {
                    prop_assert!(served.listed_at.is_some_and(|at| at <= 10_000), "{:?}", served.listed_at);
                    prop_assert_eq!(&served.gaps, &[0_u64; 0]);
                }
            }
        }

        /// A ticket from the past can be of use to nobody but that beacon.
        #[test]
        fn a_beacon_whose_clock_is_slow_gets_tickets_by_its_clock(
            hosts in prop::collection::vec(honest(), 2..4),
            slow in honest(),
            ahead in -12 * HOUR..0,
        ) {
            let mut world = World::new([vec![Host { ahead, ..slow }], hosts].concat(), (0, 0, 0));
            world.run(8 * MINUTES);
            for served in &world.served {
                prop_assert!(served.listed_at.is_some_and(|at| at <= 10_000), "{:?}", served.listed_at);
                prop_assert_eq!(&served.gaps, &[0_u64; 0]);
                prop_assert_eq!(&served.refused, &[""; 0]);
            }
        }

        #[test]
        fn waits_after_failures_are_bounded_whatever_a_server_asks_for(
            answers in prop::collection::vec((any::<bool>(), any::<Option<u64>>(), any::<u8>()), 1..60),
        ) {
            let mut announcer = Announcer::new(identity(), PACING, 1);
            let mut at = 0;
            for (refuses, retry_after, random) in answers {
                let (number, _) = announcer.due(moment(at, 0), &nonce(at)).unwrap();
                prop_assert!(announcer.due(moment(at, 0), &nonce(at)).is_none());
                let retry_after = retry_after.map(Duration::from_millis);
                let problem = RequestProblem { code: "THROTTLED".into(), detail: String::new() };
                let answer = if refuses {
                    RequestOutcome::Reply(Reply::refused("THROTTLED", String::new(), retry_after))
                } else {
                    RequestOutcome::Failed { problem, retry_after }
                };
                let was_time = announcer.beacons[0].announced;
                announcer.answered(moment(at, 0), number, answer, random);
                let wait = announcer.next_deadline(moment(at, 0)).unwrap() - Duration::from_millis(at);
                let most = if retry_after.is_some() { RETRY_AFTER_MAX + WAIT_MIN } else { BACK_OFF_MAX };
                prop_assert!(wait <= most, "{wait:?}");
                prop_assert!(wait >= WAIT_MIN || !was_time, "{wait:?}");
                at += millis(wait);
            }
        }

        #[test]
        fn a_reply_is_read_or_refused_whatever_it_is(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reply::parse(&body);
        }
    }

    /// The next request to the only beacon, when it is due.
    fn next(announcer: &mut Announcer, at: &mut u64) -> Request {
        *at = (*at).max(millis(announcer.next_deadline(moment(*at, 0)).unwrap()));
        announcer.due(moment(*at, 0), &nonce(*at)).unwrap().1
    }

    fn ticket_of(request: Request) -> Ticket {
        match request {
            Request::Announce(ticket) | Request::Leave(ticket) => ticket,
            Request::Time => panic!("no ticket"),
        }
    }

    fn done(at: u64) -> RequestOutcome {
        reply(&json!({ "ok": true, "serverTime": START + at as i64, "announceAfterMs": 45_000 }))
    }

    fn refusal(at: u64, code: &str) -> RequestOutcome {
        reply(&json!({ "ok": false, "code": code, "detail": "why", "serverTime": START + at as i64 }))
    }

    /// An announcer for one beacon that has told it the time.
    fn with_one_beacon() -> Announcer {
        let mut announcer = Announcer::new(identity(), PACING, 1);
        assert_eq!(next(&mut announcer, &mut 0), Request::Time);
        assert_eq!(announcer.answered(moment(0, 0), 0, done(0), 0), None);
        announcer
    }

    #[test]
    fn a_ticket_is_for_the_community_alone_and_is_sent_as_the_wire_says() {
        let request = next(&mut with_one_beacon(), &mut 0);
        let body = request.body().unwrap();
        let ticket = ticket_of(request);
        assert_eq!(body, format!("{{\"ticket\":{}}}", ticket.to_json()));
        let community = Community::new("mainnet").unwrap();
        assert_eq!(ticket.payload().community.as_ref(), Some(&community));
        assert!(ticket.verify(&crate::ticket::TicketRules::new(&community), moment(0, 0).wall).is_ok());
    }

    #[test]
    fn a_ticket_that_was_not_answered_is_sent_again_until_half_of_its_life_is_over() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        let first = ticket_of(next(&mut announcer, &mut at));
        while at < 90_000 {
            announcer.answered(moment(at, 0), 0, no_connection(), 255);
            let again = ticket_of(next(&mut announcer, &mut at));
            assert_eq!(again == first, at < 90_000, "{at}");
        }
    }

    #[test]
    fn news_is_what_changes_and_nothing_else() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        let mut say = |answer: fn(u64) -> RequestOutcome| {
            next(&mut announcer, &mut at);
            announcer.answered(moment(at, 0), 0, answer(at), 0).is_some()
        };
        assert!(say(done));
        assert!(!say(done));
        assert!(say(|_| no_connection()));
        assert!(!say(|_| no_connection()));
        assert!(say(|at| refusal(at, "THROTTLED")));
        assert!(say(done));
    }

    fn no_place(at: u64) -> RequestOutcome {
        let body = json!({ "ok": true, "accepted": false, "listed": false, "serverTime": START + at as i64, "announceAfterMs": 45_000 });
        reply(&body)
    }

    #[test]
    fn a_beacon_without_a_place_is_asked_again_at_its_pace_with_another_ticket() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        let mut tickets = Vec::new();
        for (answer, news) in
            [(no_place as fn(u64) -> RequestOutcome, true), (no_place, false), (done, true), (no_place, true)]
        {
            tickets.push(ticket_of(next(&mut announcer, &mut at)).payload().issued_at);
            let status = announcer.answered(moment(at, 0), 0, answer(at), 0).cloned();
            assert_eq!(status.is_some(), news, "{status:?}");
            assert_eq!(announcer.next_deadline(moment(at, 0)).map(millis), Some(at + 45_000));
        }
        assert!(tickets.is_sorted_by(|one, other| one < other), "{tickets:?}");
        let status = announcer.statuses().next().cloned();
        assert_eq!(status, Some(BeaconStatus::Unlisted { retry_in: Duration::from_secs(45) }));
        // It was not a failure, and the ticket before is not listed any more.
        next(&mut announcer, &mut at);
        let status = announcer.answered(moment(at, 0), 0, no_connection(), 0).cloned();
        let Some(BeaconStatus::Failing { failures: 1, listed_until: None, .. }) = status else { panic!("{status:?}") };
        // A peer that goes says so even where it has no place.
        announcer.stop();
        assert!(matches!(announcer.due(moment(at, 0), &nonce(at)), Some((0, Request::Leave(_)))));
    }

    #[test]
    fn after_a_success_waits_begin_again() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        let mut waits = Vec::new();
        for fails in [true, true, true, false, true] {
            next(&mut announcer, &mut at);
            announcer.answered(moment(at, 0), 0, if fails { no_connection() } else { done(at) }, 0);
            waits.push(millis(announcer.next_deadline(moment(at, 0)).unwrap()) - at);
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 45_000, 1_000]);
    }

    #[test]
    fn while_it_is_listed_it_waits_at_most_half_of_what_is_left() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        next(&mut announcer, &mut at);
        announcer.answered(moment(at, 0), 0, done(at), 0);
        let mut waits = Vec::new();
        while at < 180_000 {
            next(&mut announcer, &mut at);
            announcer.answered(moment(at, 0), 0, no_connection(), 255);
            waits.push((announcer.next_deadline(moment(at, 0)).unwrap() - Duration::from_millis(at)).as_secs());
        }
        assert_eq!(waits, [1, 3, 7, 15, 31, 36, 18, 9, 4, 2, 1, 1, 1, 59]);
    }

    #[test]
    fn a_beacon_read_its_clock_in_the_middle_between_request_and_answer() {
        let mut announcer = Announcer::new(identity(), PACING, 1);
        next(&mut announcer, &mut 0);
        announcer.answered(moment(10_000, 0), 0, done(5_000), 0);
        assert_eq!(announcer.clock_is_behind(moment(10_000, 0)), 0);
    }

    #[test]
    fn a_shorter_life_is_found_and_kept() {
        let (mut announcer, mut at) = (with_one_beacon(), 0);
        for expected in [180, 90, 45, 22] {
            let ticket = ticket_of(next(&mut announcer, &mut at));
            let payload = ticket.payload();
            assert_eq!((at, payload.expires_at.since(payload.issued_at).as_secs()), (0, expected));
            announcer.answered(
                moment(at, 0),
                0,
                if expected > 40 { refusal(at, "LIFETIME_TOO_LONG") } else { done(at) },
                0,
            );
        }
        // The beacon asked for 45 s, when the ticket would be over.
        let ticket = ticket_of(next(&mut announcer, &mut at));
        assert_eq!(at, 22_500 * 5 / 6);
        assert_eq!(ticket.payload().expires_at.since(ticket.payload().issued_at).as_millis(), 22_500);
    }

    #[test]
    fn no_beacon_can_make_it_run_hot() {
        // Refuses every life, every date, and asks for everything at once.
        for code in ["LIFETIME_TOO_LONG", "EXPIRED", "NOT_YET_VALID", "ANNOUNCE_TOO_SOON", "NO_SUCH_CODE"] {
            let (mut announcer, mut at, mut requests) = (with_one_beacon(), 0, 0);
            while at < 60_000 {
                next(&mut announcer, &mut at);
                requests += 1;
                let serving = reply(&json!({
                    "ok": false, "code": code, "retryAfterMs": 0, "serverTime": START + signed(hash(at) % 100_000_000),
                }));
                announcer.answered(moment(at, 0), 0, serving, 0);
            }
            assert!(requests < 20, "{code}: {requests}");
        }
        let (mut announcer, mut at, mut requests) = (with_one_beacon(), 0, 0);
        while at < 60_000 {
            next(&mut announcer, &mut at);
            requests += 1;
            announcer.answered(moment(at, 0), 0, reply(&json!({ "ok": true, "announceAfterMs": 0 })), 0);
        }
        assert_eq!(requests, 61);
    }

    #[test]
    fn the_host_may_ask_for_fewer_announces_but_not_for_so_few_that_tickets_end() {
        for (interval, expected) in [(0, 45_000), (100, 100_000), (1_000_000, 150_000)] {
            let pacing = TicketPacing { interval: Duration::from_secs(interval), ..PACING };
            let mut announcer = Announcer::new(identity(), pacing, 1);
            for answer in [done(0), done(0)] {
                next(&mut announcer, &mut 0);
                announcer.answered(moment(0, 0), 0, answer, 0);
            }
            assert_eq!(announcer.next_deadline(moment(0, 0)).map(millis), Some(expected));
        }
        // Nonsense is no life, and no reason to fail.
        for lifetime in [Duration::ZERO, Duration::MAX] {
            let mut announcer = Announcer::new(identity(), TicketPacing { lifetime, interval: Duration::MAX }, 1);
            for answer in [done(0), reply(&json!({ "ok": true, "announceAfterMs": u64::MAX, "serverTime": u64::MAX }))]
            {
                next(&mut announcer, &mut 0);
                announcer.answered(moment(0, 0), 0, answer, 255);
            }
            assert!(announcer.next_deadline(moment(0, 0)).unwrap() <= LIFETIME_MAX);
        }
    }

    #[test]
    fn who_stops_leaves_with_newer_tickets_and_after_what_is_under_way() {
        let mut announcer = Announcer::new(identity(), PACING, 3);
        let ask = |announcer: &mut Announcer| announcer.due(moment(0, 0), &nonce(0));
        for number in 0..3 {
            assert_eq!(ask(&mut announcer), Some((number, Request::Time)));
        }
        // One never answers, one answers its first announce, one has not answered it yet.
        announcer.answered(moment(0, 0), 1, done(0), 0);
        let first = ticket_of(ask(&mut announcer).unwrap().1);
        announcer.answered(moment(0, 0), 1, done(0), 0);
        announcer.answered(moment(0, 0), 2, done(0), 0);
        let unanswered = ticket_of(ask(&mut announcer).unwrap().1);

        announcer.stop();
        announcer.stop();
        let (number, leave) = ask(&mut announcer).unwrap();
        let leave = ticket_of(leave);
        assert_eq!((number, leave.payload().purpose), (1, Purpose::Leave));
        assert!(leave.payload().issued_at > first.payload().issued_at);
        assert_eq!(ask(&mut announcer), None);
        let answer = reply(&json!({ "ok": true, "left": true }));
        let status = announcer.answered(moment(0, 0), 1, answer, 0);
        assert_eq!(status, Some(&BeaconStatus::Left { left: true, problem: None }));
        assert!(!announcer.is_done());

        announcer.answered(moment(0, 0), 2, no_connection(), 0);
        let (number, leave) = ask(&mut announcer).unwrap();
        assert!(ticket_of(leave).payload().issued_at > unanswered.payload().issued_at);
        announcer.answered(moment(0, 0), number, no_connection(), 0);
        assert_eq!(announcer.answered(moment(0, 0), 0, done(0), 0), None);
        announcer.stop();
        assert!(announcer.is_done());
        assert_eq!((ask(&mut announcer), announcer.next_deadline(moment(0, 0))), (None, None));
    }

    #[test]
    fn the_first_to_answer_is_not_believed_before_the_others_had_their_say() {
        let mut announcer = Announcer::new(identity(), PACING, 3);
        for number in 0..3 {
            assert_eq!(announcer.due(moment(0, 0), &nonce(0)), Some((number, Request::Time)));
        }
        announcer.answered(moment(0, 0), 0, done(HOUR as u64), 0);
        assert_eq!(announcer.due(moment(0, 0), &nonce(0)), None);
        assert_eq!(announcer.clock_is_behind(moment(0, 0)), 0);
        announcer.answered(moment(0, 0), 1, done(HOUR as u64), 0);
        announcer.answered(moment(0, 0), 2, no_connection(), 0);
        assert_eq!(announcer.clock_is_behind(moment(0, 0)), HOUR);
        let ticket = ticket_of(announcer.due(moment(0, 0), &nonce(0)).unwrap().1);
        assert_eq!(ticket.payload().issued_at.as_u64(), (START + HOUR) as u64);
    }

    #[test]
    fn a_server_without_the_time_gets_tickets_all_the_same() {
        let mut announcer = Announcer::new(identity(), PACING, 1);
        next(&mut announcer, &mut 0);
        let not_found = RequestOutcome::Reply(Reply::refused("HTTP_STATUS", "HTTP status 404".into(), None));
        assert_eq!(announcer.answered(moment(0, 0), 0, not_found, 0), None);
        assert!(matches!(next(&mut announcer, &mut 0), Request::Announce(_)));
    }

    #[test]
    fn replies_are_read_leniently() {
        let parse = |text: &str| Reply::parse(text.as_bytes());
        let refused = |code: &str, detail: &str| Reply::refused(code, detail.to_owned(), None).verdict;
        let done = |listed| Verdict::Done { announce_after: None, listed, left: None };
        assert_eq!(
            parse(r#"{"ok":true,"accepted":true,"serverTime":7,"announceAfterMs":45000,"peers":[{}]}"#).unwrap(),
            Reply {
                server_time: UnixMillis::new(7),
                verdict: Verdict::Done { announce_after: Some(ANNOUNCE_INTERVAL), listed: true, left: None },
            }
        );
        for (text, verdict) in [
            (r#"{"ok":false,"code":"EXPIRED","detail":"it ended"}"#, refused("EXPIRED", "it ended")),
            (r#"{"ok":false,"code":"<b>","detail":7}"#, refused("REFUSED", "it does not say why")),
            (r#"{"ok":true,"serverTime":9007199254740992}"#, done(true)),
            (r#"{"ok":true,"serverTime":"7","left":1}"#, done(true)),
            (r#"{"ok":true,"listed":true}"#, done(true)),
            (r#"{"ok":true,"listed":null}"#, done(true)),
            (r#"{"ok":true,"accepted":false,"listed":false}"#, done(false)),
            (r#"{"ok":true,"listed":"true"}"#, done(false)),
            (r#"{"ok":false,"listed":true,"code":"STALE_TICKET","detail":"old"}"#, refused("STALE_TICKET", "old")),
        ] {
            assert_eq!(parse(text).unwrap(), Reply { server_time: None, verdict }, "{text}");
        }
        let long = format!(r#"{{"ok":false,"code":"{}","detail":"{}"}}"#, "A".repeat(41), "é".repeat(5_000));
        assert_eq!(parse(&long).unwrap().verdict, refused("REFUSED", &"é".repeat(DETAIL_MAX_CHARS)));
        for text in ["", "[]", "null", "{}", r#"{"ok":1}"#, r#"{"ok":true,"ok":true}"#, "<html>", r#"[true]"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
