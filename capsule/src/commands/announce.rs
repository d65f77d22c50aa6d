//! `capsule announce`: keeps a server announced. When to send what is decided by `rendezvous_protocol::announcer`; here
//! are threads that send it, the clocks, the signals and what people and scripts get to read.
//!
//! Every request has a thread of its own, so that one that hangs keeps nothing waiting; there is at most one for each
//! beacon at a time. The main thread sleeps until an answer, a signal or the next deadline.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rendezvous_protocol::announcer::{
    Announcer, BeaconStatus as Standing, Moment, Request, RequestOutcome as Answer, RequestProblem as Problem,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::CLOCK_SKEW;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::AnnounceArguments;
use crate::beacon::Beacon;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::fetch::{Fetcher, random_byte};
use crate::nonce::{NoRandomness, new_nonce};
use crate::outcome::{Exit, Failure, Log, Outcome, print_event};
use crate::settings::AnnounceSettings;
use crate::signals;
use crate::text;

/// How long the beacons are told that the peer goes. Service managers wait at least 10 s before they kill.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How often a beacon that does not answer is asked, with `--once`.
const ATTEMPTS_ONCE: u32 = 3;

/// The code where a beacon answers and does not list the peer.
const NOT_LISTED: &str = "NOT_LISTED";

/// The same in words, of a beacon whose roster is full.
const NO_PLACE: &str = "the beacon has no place for it now";

/// Why nothing can be announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnounceError {
    /// The end would come without leaving.
    #[error("SIGTERM and SIGINT cannot be waited for: {0}")]
    Signals(io::Error),
}

/// Runs the command.
pub(crate) fn announce(
    arguments: &AnnounceArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let AnnounceSettings { beacons, identity, pacing, timeout } = AnnounceSettings::new(arguments, environment)?;
    let public_key = identity.key.public_key().to_string();
    let (peer_id, user_id) = (identity.peer_id.clone(), identity.user_id.clone());
    let community = identity.community.clone();
    let messenger = Messenger { beacons: beacons.into(), community: community.clone(), fetcher: Fetcher::new()? };
    let (sender, events) = channel();
    let mut node = Node {
        announcer: Announcer::new(identity, pacing, messenger.beacons.len()),
        voice: match (arguments.once, arguments.json) {
            (true, _) => Voice::Silent,
            (false, true) => Voice::Json,
            (false, false) => Voice::Text(*log),
        },
        messenger,
        time: Time { clock: *clock, started: Instant::now() },
        timeout,
        sender,
        events,
        clock_is_behind: 0,
        leave_before: None,
    };
    let beacons = text::count(node.messenger.beacons.len(), "beacon", "beacons");
    let begin = format!("announcing {peer_id} in {community} to {beacons}, with the key {public_key}");
    if arguments.once {
        log.note(format_args!("{begin}"));
        node.run(Node::is_settled)?;
        let report = Report::new(&node, peer_id.as_str(), &public_key);
        let exit = report.exit();
        return Ok(if arguments.json {
            Outcome::json(&report, exit)
        } else {
            Outcome::text(report.to_text(node.time.now()), exit)
        });
    }
    let sender = node.sender.clone();
    // The receiver lives as long as the program.
    signals::on_stop(move || drop(sender.send(Event::Stop))).map_err(AnnounceError::Signals)?;
    node.voice.say(node.time.now(), "started", None, format_args!("{begin}"), || {
        json!({
            "peerId": peer_id.as_str(),
            "userId": user_id.as_str(),
            "community": community.as_str(),
            "publicKey": public_key,
            "beacons": node.messenger.beacons.iter().map(Beacon::to_string).collect::<Vec<_>>(),
        })
    });
    node.run(Node::is_stopped)?;
    Ok(Outcome::text(String::new(), Exit::Good))
}

/// What wakes the main thread, but for deadlines.
enum Event {
    Answered { number: usize, answer: Answer },
    Stop,
}

/// Both clocks.
struct Time {
    clock: Clock,
    started: Instant,
}

impl Time {
    fn now(&self) -> Moment {
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
#[derive(Clone)]
struct Messenger {
    beacons: Arc<[Beacon]>,
    community: Community,
    fetcher: Fetcher,
}

impl Messenger {
    /// Makes a request in a thread of its own, whose end is an event, come what may.
    fn send(&self, number: usize, request: Request, timeout: Duration, events: &Sender<Event>) {
        let (messenger, sender) = (self.clone(), events.clone());
        let thread = move || {
            let ask = || {
                let beacon = messenger.beacons.get(number)?;
                Some(beacon.send(&request, &messenger.community, &messenger.fetcher, timeout))
            };
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

fn died() -> Answer {
    let problem = Problem { code: "BROKEN_ANSWER".to_owned(), detail: "this program failed while asking".to_owned() };
    Answer::Failed { problem, retry_after: None }
}

struct Node {
    announcer: Announcer,
    messenger: Messenger,
    time: Time,
    timeout: Duration,
    voice: Voice,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// What was last said about this machine's clock, in milliseconds.
    clock_is_behind: i64,
    /// By the steady clock, when it was told to stop.
    leave_before: Option<Duration>,
}

impl Node {
    fn run(&mut self, is_over: fn(&Self, Moment) -> bool) -> Result<(), Failure> {
        loop {
            self.send_what_is_due()?;
            let now = self.time.now();
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
                Ok(Event::Stop) => self.stop(),
                // Both ends of the channel are this node's.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn send_what_is_due(&mut self) -> Result<(), NoRandomness> {
        loop {
            let nonce = new_nonce()?;
            let Some((number, request)) = self.announcer.due(self.time.now(), &nonce) else { return Ok(()) };
            let timeout = match request {
                Request::Leave(_) => self.timeout.min(LEAVE_WITHIN),
                _ => self.timeout,
            };
            self.messenger.send(number, request, timeout, &self.sender);
        }
    }

    fn take(&mut self, number: usize, answer: Answer) {
        let now = self.time.now();
        if let (Some(standing), Some(beacon)) =
            (self.announcer.answered(now, number, answer, random_byte()), self.messenger.beacons.get(number))
        {
            self.voice.say_standing(now, beacon, standing);
        }
        let behind = self.announcer.clock_is_behind(now);
        let changed = behind.abs_diff(self.clock_is_behind) > saturating_millis(CLOCK_SKEW);
        if changed {
            self.clock_is_behind = behind;
            let line = clock_line(behind);
            self.voice.say(now, "clock", None, format_args!("{line}"), || json!({ "behindMs": behind }));
        }
    }

    fn stop(&mut self) {
        let now = self.time.now();
        self.announcer.stop();
        self.leave_before = Some(now.steady + LEAVE_WITHIN);
        self.voice.say(now, "stopping", None, format_args!("told to stop: leaving"), || json!({}));
    }

    fn is_stopped(&self, now: Moment) -> bool {
        self.leave_before.is_some_and(|before| before <= now.steady || self.announcer.is_done())
    }

    /// Whether every beacon has said what it says to a single announce.
    fn is_settled(&self, _: Moment) -> bool {
        self.announcer.statuses().all(|standing| match standing {
            Standing::Unknown => false,
            Standing::Failing { retry_in, .. } if retry_in.is_zero() => false,
            Standing::Failing { answered: false, failures, .. } => *failures >= ATTEMPTS_ONCE,
            Standing::Listed { .. } | Standing::Unlisted { .. } | Standing::Failing { .. } | Standing::Left { .. } => {
                true
            }
        })
    }
}

fn clock_line(behind: i64) -> String {
    let off = Duration::from_millis(behind.unsigned_abs());
    if off <= CLOCK_SKEW {
        return "clock: this machine's is right again".to_owned();
    }
    let way = if behind > 0 { "behind" } else { "ahead" };
    format!(
        "clock: this machine's is {} {way} by what the beacons say; tickets are dated by theirs. Correct it",
        text::duration(off)
    )
}

/// Who hears of changes.
#[derive(Clone, Copy, Debug)]
enum Voice {
    Text(Log),
    Json,
    /// There is a report at the end.
    Silent,
}

impl Voice {
    fn say(
        self,
        now: Moment,
        event: &str,
        beacon: Option<&Beacon>,
        line: std::fmt::Arguments<'_>,
        fields: impl FnOnce() -> Value,
    ) {
        match self {
            Self::Silent => {}
            Self::Text(log) => match beacon {
                Some(beacon) => log.note(format_args!("{beacon}: {line}")),
                None => log.note(line),
            },
            Self::Json => {
                let mut object = json!({ "event": event, "time": now.wall });
                if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields()) {
                    object.extend(beacon.map(|beacon| ("beacon".to_owned(), beacon.to_string().into())));
                    object.extend(fields);
                }
                print_event(&object);
            }
        }
    }

    fn say_standing(self, now: Moment, beacon: &Beacon, standing: &Standing) {
        let name = match standing {
            Standing::Unknown => "unknown",
            Standing::Listed { .. } => "listed",
            Standing::Unlisted { .. } => "unlisted",
            Standing::Failing { .. } => "failing",
            Standing::Left { .. } => "left",
        };
        let line = standing_line(standing);
        self.say(now, name, Some(beacon), format_args!("{line}"), || standing_json(standing));
    }
}

fn standing_line(standing: &Standing) -> String {
    match standing {
        Standing::Unknown => "nothing is known".to_owned(),
        Standing::Listed { .. } => "listed".to_owned(),
        Standing::Unlisted { retry_in } => {
            format!("not listed: {NO_PLACE}; asks again in {}", text::duration(*retry_in))
        }
        Standing::Failing { problem, answered, retry_in, listed_until, .. } => {
            let listed = match listed_until {
                Some(until) => format!("still listed until {}", text::date(*until)),
                None => "not listed".to_owned(),
            };
            let again = match saturating_millis(*retry_in) {
                0 => "tries again at once".to_owned(),
                _ => format!("tries again in {}", text::duration(*retry_in)),
            };
            format!("{}; {listed}, {again}", problem_line(problem, *answered))
        }
        Standing::Left { left: true, .. } => "left".to_owned(),
        Standing::Left { problem: Some(problem), .. } => {
            format!(
                "could not be told: {}; it forgets the last ticket when that ends",
                text::printable(&problem.detail)
            )
        }
        Standing::Left { problem: None, .. } => "left; it was not listed there".to_owned(),
    }
}

fn problem_line(Problem { code, detail }: &Problem, answered: bool) -> String {
    let detail = text::printable(detail);
    if answered { format!("refused, {code}: {detail}") } else { detail }
}

fn standing_json(standing: &Standing) -> Value {
    match standing {
        Standing::Unknown => json!({}),
        Standing::Listed { until } => json!({ "expiresAt": until }),
        Standing::Unlisted { retry_in } => json!({
            "code": NOT_LISTED,
            "detail": NO_PLACE,
            "retryInMs": saturating_millis(*retry_in),
        }),
        Standing::Failing { problem: Problem { code, detail }, answered, retry_in, listed_until, .. } => json!({
            "answered": answered,
            "code": code,
            "detail": detail,
            "retryInMs": saturating_millis(*retry_in),
            "listedUntil": listed_until,
        }),
        Standing::Left { left, problem } => {
            let code = problem.as_ref().map(|problem| &problem.code);
            json!({ "left": left, "code": code })
        }
    }
}

/// What each beacon said to a single announce, for people and for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    community: &'a str,
    peer_id: &'a str,
    public_key: &'a str,
    beacons: Vec<BeaconReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BeaconReport {
    beacon: String,
    answered: bool,
    listed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl BeaconReport {
    fn new(beacon: &Beacon, standing: &Standing) -> Self {
        let beacon = beacon.to_string();
        match standing {
            Standing::Listed { until } => {
                Self { beacon, answered: true, listed: true, expires_at: Some(*until), code: None, detail: None }
            }
            Standing::Unlisted { .. } => Self {
                beacon,
                answered: true,
                listed: false,
                expires_at: None,
                code: Some(NOT_LISTED.to_owned()),
                detail: Some(NO_PLACE.to_owned()),
            },
            Standing::Failing { problem: Problem { code, detail }, answered, .. } => Self {
                beacon,
                answered: *answered,
                listed: false,
                expires_at: None,
                code: Some(code.clone()),
                detail: Some(detail.clone()),
            },
            Standing::Unknown | Standing::Left { .. } => {
                Self { beacon, answered: false, listed: false, expires_at: None, code: None, detail: None }
            }
        }
    }

    fn row(&self, now: Moment) -> [String; 4] {
        let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
        let said = match (&self.code, &self.detail, self.expires_at) {
            (Some(code), Some(detail), _) if self.answered => format!("{code}: {}", text::printable(detail)),
            (_, Some(detail), _) => text::printable(detail),
            (_, _, Some(until)) => format!("until {} ({})", text::date(until), text::distance(until, now.wall)),
            _ => String::new(),
        };
        [self.beacon.clone(), yes(self.answered), yes(self.listed), said]
    }
}

impl<'a> Report<'a> {
    fn new(node: &'a Node, peer_id: &'a str, public_key: &'a str) -> Self {
        let Messenger { beacons, community, .. } = &node.messenger;
        let beacons: Vec<_> =
            beacons.iter().zip(node.announcer.statuses()).map(|(one, how)| BeaconReport::new(one, how)).collect();
        let ok = beacons.iter().any(|beacon| beacon.listed);
        let answered = beacons.iter().any(|beacon| beacon.answered);
        let code = match (ok, answered) {
            (true, _) => None,
            (false, true) => Some(NOT_LISTED),
            (false, false) => Some("NO_BEACON_ANSWERED"),
        };
        Self { ok, code, community: community.as_str(), peer_id, public_key, beacons }
    }

    fn exit(&self) -> Exit {
        match (self.ok, self.beacons.iter().any(|beacon| beacon.answered)) {
            (true, _) => Exit::Good,
            (false, true) => Exit::Refused,
            (false, false) => Exit::Unreachable,
        }
    }

    fn to_text(&self, now: Moment) -> String {
        let head = ["BEACON", "ANSWERED", "LISTED", "SAID"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.beacons.iter().map(|beacon| beacon.row(now))).collect();
        text::table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem { code: "THROTTLED".to_owned(), detail: "too \u{1b}[2Jmany".to_owned() }
    }

    #[test]
    fn a_line_says_what_happened_whether_it_is_listed_and_what_comes_next() {
        let failing = |answered, retry_in, listed_until: Option<u64>| Standing::Failing {
            problem: problem(),
            answered,
            failures: 1,
            retry_in: Duration::from_millis(retry_in),
            listed_until: listed_until.map(UnixMillis::saturating),
        };
        for (standing, line) in [
            (Standing::Listed { until: UnixMillis::MAX }, "listed"),
            (
                Standing::Unlisted { retry_in: Duration::from_millis(61_500) },
                "not listed: the beacon has no place for it now; asks again in 1m 1s",
            ),
            (failing(true, 1_900, None), "refused, THROTTLED: too \\u{1b}[2Jmany; not listed, tries again in 1s"),
            (
                failing(false, 0, Some(1_700_000_000_000)),
                "too \\u{1b}[2Jmany; still listed until 2023-11-14T22:13:20Z, tries again at once",
            ),
            (Standing::Left { left: true, problem: None }, "left"),
            (Standing::Left { left: false, problem: None }, "left; it was not listed there"),
            (
                Standing::Left { left: false, problem: Some(problem()) },
                "could not be told: too \\u{1b}[2Jmany; it forgets the last ticket when that ends",
            ),
        ] {
            assert_eq!(standing_line(&standing), line);
        }
    }

    #[test]
    fn a_clock_is_said_to_be_wrong_one_way_or_the_other_or_right_again() {
        for (behind, part) in [(3_600_000, "1h behind"), (-90_000, "1m 30s ahead"), (-15_000, "right again")] {
            assert!(clock_line(behind).contains(part), "{}", clock_line(behind));
        }
    }
}
