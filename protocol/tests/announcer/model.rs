//! One beacon and the rules of the specification, section 11, written down as plain numbers. Both clocks are right.

use std::time::Duration;

use rendezvous_protocol::announcer::{BeaconStatus, Reply, RequestOutcome, RequestProblem};
use serde_json::json;

use crate::world::{START, reply};

/// Refusals that are about the ticket, its life, its dates, and about neither.
pub(crate) const CODES: &[&str] = &["STALE_TICKET", "LIFETIME_TOO_LONG", "EXPIRED", "THROTTLED", "INTERNAL"];

/// What comes of a request. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Done { after: Option<u64>, listed: bool },
    Failed { retry_after: Option<u64> },
    Refused { code: &'static str, after: Option<u64> },
}

impl Event {
    /// The same for the announcer, from a beacon that read its clock at `read_at`.
    pub(crate) fn outcome(self, read_at: u64) -> RequestOutcome {
        let time = START as u64 + read_at;
        match self {
            Self::Done { after: Some(after), listed } => {
                reply(&json!({ "ok": true, "serverTime": time, "announceAfterMs": after, "listed": listed }))
            }
            Self::Done { after: None, listed } => reply(&json!({ "ok": true, "serverTime": time, "listed": listed })),
            Self::Failed { retry_after } => {
                let problem = RequestProblem { code: "NO_CONNECTION".into(), detail: String::new() };
                RequestOutcome::Failed { problem, retry_after: retry_after.map(Duration::from_millis) }
            }
            Self::Refused { code, after } => {
                let body = json!({ "ok": false, "code": code, "serverTime": time, "retryAfterMs": after }).to_string();
                RequestOutcome::Reply(Reply::parse(body.as_bytes()).unwrap())
            }
        }
    }
}

/// What is said of a beacon, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Listed,
    Unlisted,
    /// Whether it still lists the peer.
    Failing(bool),
    Left,
}

impl Known {
    pub(crate) const fn of(status: &BeaconStatus) -> Self {
        match status {
            BeaconStatus::Unknown => Self::Nothing,
            BeaconStatus::Listed { .. } => Self::Listed,
            BeaconStatus::Unlisted { .. } => Self::Unlisted,
            BeaconStatus::Failing { listed_until, .. } => Self::Failing(listed_until.is_some()),
            BeaconStatus::Left { .. } => Self::Left,
        }
    }
}

/// A millisecond. Waits are counted in nanoseconds, dates in milliseconds.
const MS: u64 = 1_000_000;

pub(crate) struct Model {
    lifetime: u64,
    interval: u64,
    has_time: bool,
    has_announced: bool,
    failures: u32,
    /// Begin and end of the ticket that was not answered.
    unanswered: Option<(u64, u64)>,
    /// When the listed ticket begins, and until when it is listed.
    listed: Option<(u64, u64)>,
    pub(crate) due_at: u64,
    pub(crate) known: Known,
}

impl Model {
    pub(crate) const fn new(lifetime: u64, interval: u64) -> Self {
        Self {
            lifetime: lifetime * MS,
            interval: interval * MS,
            has_time: false,
            has_announced: false,
            failures: 0,
            unanswered: None,
            listed: None,
            due_at: 0,
            known: Known::Nothing,
        }
    }

    /// Rule 2: the time is asked for first. Rule 3: a ticket that was not answered is sent again in the first half of its
    /// life.
    pub(crate) fn request(&mut self, at: u64) -> Option<(u64, u64)> {
        if !self.has_time {
            return None;
        }
        self.has_announced = true;
        if self.unanswered.is_none_or(|(begin, end)| at.saturating_sub(begin) * 2 >= end - begin) {
            self.unanswered = Some(self.new_ticket(at));
        }
        self.unanswered
    }

    /// Whoever goes says so with a newer ticket wherever it ever announced itself.
    pub(crate) fn leave(&self, at: u64) -> Option<Option<(u64, u64)>> {
        self.has_announced.then(|| Some(self.new_ticket(at)))
    }

    fn new_ticket(&self, at: u64) -> (u64, u64) {
        let sent = self.unanswered.map(|(begin, _)| begin + 1);
        let taken = self.listed.map(|(begin, _)| begin + 1);
        let begin = at.max(sent.unwrap_or(0)).max(taken.unwrap_or(0));
        (begin, begin + self.lifetime / MS)
    }

    pub(crate) fn answered(&mut self, event: Event, asked_at: u64, read_at: u64, now: u64, random: u8) {
        let still_listed = |model: &Self| model.listed.is_some_and(|(_, until)| until > now * MS);
        if !self.has_time {
            if let Event::Failed { retry_after } = event {
                self.back_off(now, retry_after, random);
                self.known = Known::Failing(false);
            } else {
                self.has_time = true;
                self.due_at = now * MS;
            }
            return;
        }
        match event {
            Event::Failed { retry_after } => {
                self.back_off(now, retry_after, random);
                self.known = Known::Failing(still_listed(self));
            }
            Event::Done { after, listed: true } => {
                let (begin, end) = self.unanswered.take().unwrap();
                let left = (end.saturating_sub(read_at) * MS).min(self.lifetime);
                self.listed = Some((begin, asked_at * MS + left));
                self.failures = 0;
                let latest = asked_at * MS + left * 5 / 6;
                let next = now * MS + self.spread_pace(after, left, random);
                self.due_at = next.min(latest).max((now + 1_000) * MS);
                self.known = Known::Listed;
            }
            Event::Done { after, listed: false } => {
                self.unanswered = None;
                self.listed = self.listed.map(|(begin, until)| (begin, until.min(now * MS)));
                self.failures = 0;
                self.due_at = now * MS + self.spread_pace(after, self.lifetime, random).max(1_000 * MS);
                self.known = Known::Unlisted;
            }
            Event::Refused { code, after } => {
                let ticket = if matches!(code, "THROTTLED" | "INTERNAL") { None } else { self.unanswered.take() };
                let adapts = match (code, ticket) {
                    ("LIFETIME_TOO_LONG", Some(_)) if self.lifetime / 2 >= 1_000 * MS => {
                        self.lifetime /= 2;
                        true
                    }
                    ("EXPIRED", Some((begin, _))) if self.failures == 0 && now.abs_diff(begin) >= 7_500 => {
                        self.failures = 1;
                        true
                    }
                    _ => false,
                };
                if adapts {
                    self.due_at = now * MS;
                } else {
                    self.back_off(now, after, random);
                }
                self.known = Known::Failing(still_listed(self));
            }
        }
    }

    /// Rule 2: as the beacon asks, or a third of what is left, and up to a tenth more.
    fn spread_pace(&self, after: Option<u64>, left: u64, random: u8) -> u64 {
        let asked = after.map_or(left / 3, |after| after * MS).max(self.interval).min(self.lifetime);
        asked + asked / 10 * u64::from(random) / 256
    }

    /// Rule 4: 2 s, doubled up to 60 s, of which the second half is spread; half of what is left of a listed ticket at
    /// most, and 1 s at least; what the beacon asks for at least, up to 300 s, and up to a second more.
    fn back_off(&mut self, now: u64, retry_after: Option<u64>, random: u8) {
        self.failures += 1;
        let doubled = (2_000 * MS).saturating_mul(1 << (self.failures - 1).min(6)).min(60_000 * MS);
        let mut wait = doubled / 2 + doubled / 2 * u64::from(random) / 255;
        if let Some((_, until)) = self.listed.filter(|(_, until)| *until > now * MS) {
            wait = wait.min(((until - now * MS) / 2).max(1_000 * MS));
        }
        if let Some(asked) = retry_after {
            wait = wait.max(asked.min(300_000) * MS + 1_000 * MS * u64::from(random) / 256);
        }
        self.due_at = now * MS + wait;
    }
}
