//! The thread that waits for answers, signals and deadlines, and those that take requests to beacons.
//!
//! Every request has a thread of its own, so that one that hangs keeps nothing waiting; there is at most one for each
//! beacon at a time. The main thread sleeps until an answer, a signal or the next deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rendezvous_protocol::announcer::{Announcer, BeaconStatus, Moment, Request, RequestOutcome, RequestProblem};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::lan::{Change, LocalBeacons};
use rendezvous_protocol::limits::CLOCK_SKEW;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde_json::json;

use super::output::{Output, clock_line, unconfirmed_clock_line};
use crate::beacon::Beacon;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::fetch::{Fetcher, random_byte};
use crate::lan::LanError;
use crate::nonce::{NoRandomness, new_nonce};

/// How long the beacons are told that the peer goes. Service managers wait at least 10 s before they kill.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How often a beacon that does not answer is asked, with `--once`.
const ATTEMPTS_ONCE: u32 = 3;

/// The longest wait between these: that after the second failure. A server that sends the peer away for longer is not
/// waited for.
const WAIT_ONCE: Duration = Duration::from_secs(4);

/// What wakes the main thread, but for deadlines.
pub(super) enum Event {
    Answered {
        number: usize,
        answer: RequestOutcome,
    },
    /// What a question to the local network found.
    Found(Result<Vec<Beacon>, LanError>),
    Stop,
}

/// Both clocks.
pub(super) struct Clocks {
    pub(super) clock: Clock,
    pub(super) started: Instant,
}

impl Clocks {
    pub(super) fn now(&self) -> Moment {
        let steady = self.started.elapsed();
        let wall = match self.clock {
            // It begins there and goes on: tickets of one date would not be new.
            Clock::Fixed(begin) => begin.after(steady),
            // A clock before 1970 is only one that is very wrong.
            Clock::System => self.clock.now().unwrap_or(UnixMillis::saturating(0)),
        };
        Moment { steady, wall }
    }
}

/// Takes requests to beacons.
pub(super) struct Messenger {
    /// Those that are configured, and behind them those in the places for what was found.
    pub(super) beacons: Vec<Beacon>,
    pub(super) community: Community,
    pub(super) fetcher: Fetcher,
}

impl Messenger {
    /// Makes a request in a thread of its own, whose end is an event, come what may.
    fn send(&self, number: usize, request: Request, timeout: Duration, events: &Sender<Event>) {
        let Self { beacons, community, fetcher } = self;
        let (beacon, community, fetcher) = (beacons.get(number).cloned(), community.clone(), fetcher.clone());
        let sender = events.clone();
        let thread = move || {
            let ask = || Some(beacon?.send(&request, &community, &fetcher, timeout));
            // Not for panics of this program's own, which has none, but for those of libraries that read what strangers
            // send: that beacon fails, the others do not.
            let answer = catch_unwind(AssertUnwindSafe(ask)).ok().flatten().unwrap_or_else(died);
            // Nobody waits for it where the program ends.
            let _ = sender.send(Event::Answered { number, answer });
        };
        if Builder::new().spawn(thread).is_err() {
            let _ = events.send(Event::Answered { number, answer: died() });
        }
    }
}

fn died() -> RequestOutcome {
    let problem =
        RequestProblem { code: "BROKEN_ANSWER".to_owned(), detail: "this program failed while asking".to_owned() };
    RequestOutcome::Failed { problem, retry_after: None }
}

pub(super) struct EventLoop {
    pub(super) announcer: Announcer,
    pub(super) messenger: Messenger,
    /// How many beacons are configured.
    pub(super) configured: usize,
    /// Those of the local network, where it is asked.
    pub(super) local: LocalBeacons,
    /// What was last said about the local network.
    pub(super) local_problem: Option<String>,
    pub(super) clocks: Clocks,
    pub(super) timeout: Duration,
    pub(super) output: Output,
    pub(super) sender: Sender<Event>,
    pub(super) events: Receiver<Event>,
    /// What was last said about this machine's clock, in milliseconds.
    pub(super) clock_is_behind: i64,
    /// Whether it was said that a single beacon tells another time.
    pub(super) has_unconfirmed_clock: bool,
    /// By the steady clock, when it was told to stop.
    pub(super) leave_before: Option<Duration>,
}

impl EventLoop {
    pub(super) fn run(&mut self, is_over: fn(&Self, Moment) -> bool) -> Result<(), Failure> {
        loop {
            self.send_what_is_due()?;
            let now = self.clocks.now();
            if is_over(self, now) {
                return Ok(());
            }
            let deadline = self.announcer.next_deadline(now).into_iter().chain(self.leave_before).min();
            let event = match deadline {
                Some(deadline) => self.events.recv_timeout(deadline.saturating_sub(now.steady)),
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Answered { number, answer }) => self.take(number, answer),
                Ok(Event::Found(found)) => self.find(found),
                Ok(Event::Stop) => self.stop(),
                // Both ends of the channel are this loop's.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn send_what_is_due(&mut self) -> Result<(), NoRandomness> {
        loop {
            let nonce = new_nonce()?;
            let Some((number, request)) = self.announcer.due(self.clocks.now(), &nonce) else { return Ok(()) };
            let timeout = match request {
                Request::Leave(_) => self.timeout.min(LEAVE_WITHIN),
                _ => self.timeout,
            };
            self.messenger.send(number, request, timeout, &self.sender);
        }
    }

    fn take(&mut self, number: usize, answer: RequestOutcome) {
        let now = self.clocks.now();
        if let (Some(status), Some(beacon)) =
            (self.announcer.answered(now, number, answer, random_byte()), self.messenger.beacons.get(number))
        {
            self.output.say_status(now, beacon, status);
        }
        let behind = self.announcer.clock_is_behind(now);
        let changed = behind.abs_diff(self.clock_is_behind) > saturating_millis(CLOCK_SKEW);
        if changed {
            self.clock_is_behind = behind;
            let line = clock_line(behind);
            self.output.say(now, "clock", None, format_args!("{line}"), || json!({ "behindMs": behind }));
        }
        let unconfirmed = self.announcer.unconfirmed_clock_is_behind(now);
        if unconfirmed.is_some() != self.has_unconfirmed_clock {
            self.has_unconfirmed_clock = unconfirmed.is_some();
            if let Some(behind) = unconfirmed {
                let line = unconfirmed_clock_line(behind);
                self.output.say(
                    now,
                    "clock",
                    None,
                    format_args!("{line}"),
                    || json!({ "unconfirmedBehindMs": behind }),
                );
            }
        }
    }

    /// Takes what a question to the local network found.
    pub(super) fn find(&mut self, found: Result<Vec<Beacon>, LanError>) {
        // Who goes begins with nobody.
        if self.leave_before.is_some() {
            return;
        }
        let now = self.clocks.now();
        let is_alone = |found: &Vec<Beacon>| found.is_empty() && self.messenger.beacons.is_empty();
        let problem = match &found {
            Err(error) => Some(error.to_string()),
            // Somebody is waiting for this to begin.
            Ok(found) if is_alone(found) => Some(LanError::NobodyAnswers.to_string()),
            Ok(_) => None,
        };
        if problem != self.local_problem {
            let line = problem.as_deref().unwrap_or("the local network is asked for beacons");
            self.output.say(now, "lan", None, format_args!("{line}"), || json!({ "problem": problem }));
            self.local_problem = problem;
        }
        let Ok(found) = found else { return };
        let found: Vec<_> = found.iter().map(|beacon| beacon.url().clone()).collect();
        let announcer = &self.announcer;
        for change in self.local.heard(&found, |place| announcer.is_busy(place)) {
            match change {
                Change::Begin { place, beacon } => {
                    let beacon = Beacon::from(beacon);
                    let line = "found in the local network";
                    self.output.say(now, "found", Some(&beacon), format_args!("{line}"), || json!({}));
                    match self.messenger.beacons.get_mut(self.configured.saturating_add(place)) {
                        Some(taken) => *taken = beacon,
                        // Places are taken in their order.
                        None => self.messenger.beacons.push(beacon),
                    }
                    self.announcer.begin_found(place);
                }
                Change::End { place } => {
                    if let Some(beacon) = self.messenger.beacons.get(self.configured.saturating_add(place)) {
                        let line = "not in the local network any more";
                        self.output.say(now, "lost", Some(beacon), format_args!("{line}"), || json!({}));
                    }
                    self.announcer.end_found(place);
                }
            }
        }
    }

    fn stop(&mut self) {
        let now = self.clocks.now();
        self.announcer.stop();
        self.leave_before = Some(now.steady + LEAVE_WITHIN);
        self.output.say(now, "stopping", None, format_args!("told to stop: leaving"), || json!({}));
    }

    pub(super) fn is_stopped(&self, now: Moment) -> bool {
        self.leave_before.is_some_and(|before| before <= now.steady || self.announcer.is_done())
    }

    /// Whether every beacon has said what it says to a single announce.
    pub(super) fn is_settled(&self, _: Moment) -> bool {
        self.announcer.statuses().all(|status| match status {
            BeaconStatus::Unknown => false,
            BeaconStatus::Failing { retry_in, .. } if retry_in.is_zero() => false,
            BeaconStatus::Failing { answered: false, failures, retry_in, .. } => {
                *failures >= ATTEMPTS_ONCE || *retry_in > WAIT_ONCE
            }
            BeaconStatus::Listed { .. }
            | BeaconStatus::Unlisted { .. }
            | BeaconStatus::Failing { .. }
            | BeaconStatus::Left { .. } => true,
        })
    }
}
