//! `capsule watch`: publishes for ever. When is decided by `rendezvous_protocol::watch`; here are the thread that makes
//! the rounds, the signals, and what people and scripts get to read.
//!
//! The rounds have a thread of their own, so that the main thread can end the program while a round waits for beacons.
//! A write that is under way, and the command after it, it lets end.

use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_protocol::success_rate::{Alert, LEAST_PER_CENT, SuccessRate, WINDOW};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_protocol::watch::Watch;
use serde_json::{Value, json};

use crate::clock::{Clock, ClockError};
use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::random_byte;
use crate::hook::{FailureNotice, OnFailureArguments};
use crate::host::Host;
use crate::log::Log;
use crate::outcome::{Outcome, print_event};
use crate::publication::{
    Gate, HOW, Interruptions, Pace, PublicationArguments, PublishSettings, Publisher, RoundReport, VARIABLES,
};
use crate::signals;
use crate::text;
use crate::values::parse_duration;

const WATCH_HELP: &str = "\
Examples:
  capsule watch --every 5m --key capsule-key.pem \\
    --beacon https://a.example.org,https://b.example.org --out /srv/www/capsules
      as a service, beside the web server
  AWS_ENDPOINT_URL=https://ACCOUNT.r2.cloudflarestorage.com AWS_REGION=auto \\
    capsule watch --every 5m --key capsule-key.pem \\
    --beacon https://a.example.org --to s3://bucket/capsules --host r2
  capsule watch --every 5m --key capsule-key.pem --host ipfs --run \\
    'ipfs name publish --ttl 5m \"$(ipfs add -rQ \"$CAPSULE_PLACE\")\"' \\
    --beacon https://a.example.org --lifetime 30m

Publishes for ever, each time as `capsule publish` does, with all its options.
  A round that fails leaves the last good capsule, and writes nothing. It is
  tried again after 5 s, twice as long after each failure, never longer than
  --every, and sooner where the last good capsule is about to end. A round whose
  --run fails is tried again like that too.
  --revoked and --include are read again for each round.
  Shows one line that changes where the standard error is a terminal; else it
  says a line there when something changes, and one an hour while nothing does.
  With --json it prints a line a round.
  Counts the part of the last 15 minutes in which the last round had published.
  When that falls below 80 % it says so, and runs --on-failure COMMAND, once for
  each time, with the variables CAPSULE_SUMMARY, CAPSULE_COMMUNITY and
  CAPSULE_SUCCESS_PERCENT.
  On SIGTERM or SIGINT it ends at once; a write that is under way, and --run
  after it, it lets end. A second one ends it in the middle of that.";

const EXIT_CODES: &str = "\
Exit codes:
  0  it published until it was stopped, or tried to
  2  usage: a wrong argument or variable, a key that cannot be read, a directory
     that cannot be made";

fn help() -> String {
    [WATCH_HELP, HOW, Host::table().trim_end(), VARIABLES, EXIT_CODES].join("\n\n")
}

/// Arguments of `watch`.
#[derive(Args, Debug)]
#[command(after_long_help = help())]
pub(crate) struct WatchArguments {
    /// Time from the beginning of one round to the next, from 1s.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) publication: PublicationArguments,
    #[command(flatten)]
    pub(crate) on_failure: OnFailureArguments,
    /// Print a line of JSON for each round.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How often something is said while nothing changes: who reads the log sees that it still runs.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often the line in the terminal is drawn again.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// Columns of a terminal that does not say how many it has.
const DEFAULT_COLUMNS: usize = 80;

/// Why it cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The end would come in the middle of a write.
    #[error("SIGTERM and SIGINT cannot be waited for: {0}")]
    Signals(io::Error),
}

impl Cause for WatchError {}

/// Runs the command.
pub(crate) fn watch(
    arguments: &WatchArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    clock.check_signing()?;
    let every = arguments.every;
    let settings = PublishSettings::new(&arguments.publication, Pace::Every(every), environment)?;
    let publisher = Publisher::new(settings, log)?;
    let (sender, events) = channel();
    let gate = Arc::new(Gate::default());
    let (stop, closing) = (sender.clone(), Arc::clone(&gate));
    signals::on_stop(move || {
        closing.close();
        // The receiver lives as long as the program.
        drop(stop.send(Event::Stop));
    })
    .map_err(WatchError::Signals)?;
    log.note(format_args!(
        "publishing every {} to {}, with the key {}",
        text::duration(every),
        publisher.destination.place(),
        publisher.settings.key.public_key(),
    ));
    let lifetime = publisher.settings.lifetime;
    let community = publisher.settings.tickets.community.to_string();
    let rounds = Rounds {
        publisher: Arc::new(publisher),
        gate,
        clocks: RoundClocks { clock: *clock, started: Instant::now() },
        sender,
    };
    let output = Output::new(arguments.json, *log);
    let alarm = Alarm { rate: SuccessRate::default(), command: arguments.on_failure.on_failure.clone(), community };
    Watcher { watch: Watch::new(every), rounds, events, lifetime, output, alarm }.run();
    Ok(Outcome::text(String::new(), Exit::Good))
}

/// What came of a round. `None`, where it panicked in a library.
type Ended = Option<Result<RoundReport, Failure>>;

/// What wakes the main thread, but for deadlines.
enum Event {
    /// The round is over.
    Ended(Box<Ended>),
    /// The gate is closed: nothing is being written.
    Stop,
}

/// Both clocks.
#[derive(Clone, Copy)]
struct RoundClocks {
    clock: Clock,
    started: Instant,
}

impl RoundClocks {
    fn steady(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> Result<UnixMillis, ClockError> {
        match self.clock {
            // It begins there and goes on.
            Clock::Fixed(begin) => Ok(begin.after(self.steady())),
            Clock::System => self.clock.now(),
        }
    }
}

/// Makes rounds in threads of their own.
struct Rounds {
    publisher: Arc<Publisher>,
    gate: Arc<Gate>,
    clocks: RoundClocks,
    sender: Sender<Event>,
}

impl Rounds {
    fn begin(&self) {
        let (publisher, gate, time) = (Arc::clone(&self.publisher), Arc::clone(&self.gate), self.clocks);
        let sender = self.sender.clone();
        let thread = move || {
            // What goes wrong is said on a change, not in every round.
            let silent = Log::new(true);
            let round = || publisher.round(|| time.wall(), Interruptions::Gate(&gate), &silent);
            // Not for panics of this program's own, which has none, but for those of libraries that read what strangers
            // send.
            let ended = catch_unwind(AssertUnwindSafe(round)).ok();
            let _ = sender.send(Event::Ended(Box::new(ended)));
        };
        if Builder::new().spawn(thread).is_err() {
            let _ = self.sender.send(Event::Ended(Box::new(None)));
        }
    }
}

struct Watcher {
    watch: Watch,
    rounds: Rounds,
    events: Receiver<Event>,
    lifetime: Duration,
    output: Output,
    alarm: Alarm,
}

impl Watcher {
    /// Returns when it is told to stop.
    fn run(mut self) {
        loop {
            let began = self.rounds.clocks.steady();
            self.rounds.begin();
            self.output.show(|| "asking".to_owned());
            let Ok(Event::Ended(ended)) = self.events.recv() else { return self.output.end() };
            let now = self.rounds.clocks.steady();
            let next = match ended.as_ref() {
                // It was issued after the round began, and so lives a little longer than is counted on here.
                Some(Ok(report)) if report.is_good() => {
                    self.watch.published(began, now, began.saturating_add(self.lifetime))
                }
                _ => self.watch.failed(now, random_byte()),
            };
            let is_good = matches!(ended.as_ref(), Some(Ok(report)) if report.is_good());
            let (alert, per_cent) = self.alarm.record(now, is_good);
            let next_in = next.saturating_sub(now);
            let round = Round { ended: &ended, next_in, failures: self.watch.failures(), alert, per_cent };
            self.output.say(&round, &self.rounds.clocks);
            if alert == Alert::Begins {
                self.alarm.tell(round.line(), per_cent);
            }
            let line = Line::new(&ended);
            loop {
                let left = next.saturating_sub(self.rounds.clocks.steady());
                if left.is_zero() {
                    break;
                }
                self.output.show(|| self.status(&line, left));
                let wake = if self.output.is_drawing() { left.min(REDRAW_EVERY) } else { left };
                match self.events.recv_timeout(wake) {
                    Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return self.output.end(),
                    Ok(Event::Ended(_)) | Err(RecvTimeoutError::Timeout) => {}
                }
            }
        }
    }

    fn status(&self, Line(line): &Line, left: Duration) -> String {
        let now = self.rounds.clocks.steady();
        let lives = match self.watch.published_until() {
            Some(until) if until > now => {
                format!("the last capsule ends in {}", text::duration(whole(until.saturating_sub(now))))
            }
            Some(_) => "the last capsule is over".to_owned(),
            None => "none published yet".to_owned(),
        };
        let times = match self.watch.failures() {
            0 => String::new(),
            failures => format!(" ({})", text::count(failures as usize, "time", "times")),
        };
        format!("{line}{times}; {lives}; next in {}", text::duration(whole(left)))
    }
}

/// Counts failures, and tells somebody when they are too many.
struct Alarm {
    rate: SuccessRate,
    command: Option<String>,
    community: String,
}

impl Alarm {
    /// What the rate is now, by the steady clock.
    fn record(&mut self, now: Duration, is_good: bool) -> (Alert, Option<u64>) {
        let now = UnixMillis::saturating(saturating_millis(now));
        (self.rate.record(now, usize::from(is_good), 1), self.rate.per_cent(now))
    }

    /// In a thread of its own: the next round does not wait for it.
    fn tell(&self, summary: String, per_cent: Option<u64>) {
        let Some(command) = self.command.clone() else { return };
        let notice = FailureNotice { summary, community: self.community.clone(), per_cent };
        if Builder::new().spawn(move || notice.tell(&command)).is_err() {
            Log::new(false).note(format_args!("error: --on-failure: there is no thread to run it in"));
        }
    }
}

/// Without what is below a second, which nobody reads.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// A round that is over.
struct Round<'a> {
    ended: &'a Ended,
    next_in: Duration,
    failures: u32,
    alert: Alert,
    /// The success rate, from the second round on.
    per_cent: Option<u64>,
}

impl Round<'_> {
    /// What is wrong, in words that stay the same while it does.
    fn problems(&self) -> Vec<String> {
        match self.ended {
            Some(Ok(report)) => report.problems(),
            Some(Err(failure)) => vec![failure.to_string()],
            None => vec!["this program failed".to_owned()],
        }
    }

    fn line(&self) -> String {
        let line = match self.ended {
            Some(Ok(report)) => report.last_line(),
            Some(Err(failure)) => format!("not written: {failure}"),
            None => "not written: this program failed".to_owned(),
        };
        let problems = match self.ended {
            Some(Ok(report)) if !report.problems().is_empty() => format!(" [{}]", report.problems().join("; ")),
            _ => String::new(),
        };
        format!("{line}{problems}; next in {}", text::duration(self.next_in))
    }

    /// That the success rate fell, or has risen again.
    fn alert_line(&self) -> Option<String> {
        let rate =
            format!("success rate of the last {}: {} %", text::compact(WINDOW), self.per_cent.unwrap_or_default());
        match self.alert {
            Alert::Begins => Some(format!("alert: {rate}, below {LEAST_PER_CENT} %")),
            Alert::Ends => Some(format!("alert is over: {rate}")),
            Alert::Off | Alert::Stays => None,
        }
    }

    fn json(&self, now: Option<UnixMillis>) -> Value {
        let mut object = match self.ended {
            Some(Ok(report)) => serde_json::to_value(report).unwrap_or_default(),
            Some(Err(failure)) => json!({ "ok": false, "error": failure.to_string() }),
            None => json!({ "ok": false, "error": "this program failed" }),
        };
        if let Value::Object(object) = &mut object {
            object.insert("time".to_owned(), json!(now));
            object.insert("nextInMs".to_owned(), json!(saturating_millis(self.next_in)));
            object.insert("failures".to_owned(), json!(self.failures));
            object.insert("successPercent".to_owned(), json!(self.per_cent));
            object.insert("alert".to_owned(), json!(self.alert.is_on()));
        }
        object
    }
}

/// How the last round ended, in few words.
struct Line(String);

impl Line {
    fn new(ended: &Ended) -> Self {
        Self(match ended {
            Some(Ok(report)) if report.is_good() => format!("published {}", report.summary()),
            Some(Ok(report)) => format!("failed: {}", report.problems().first().cloned().unwrap_or_default()),
            Some(Err(_)) | None => "failed".to_owned(),
        })
    }
}

/// Who hears of rounds.
struct Output {
    json: bool,
    log: Log,
    /// Whether there is a terminal with a line that is drawn again and again.
    draws: bool,
    news: News,
}

/// What was said last, so that the same is not said in every round.
#[derive(Default)]
struct News {
    problems: Option<Vec<String>>,
    said: Duration,
}

impl News {
    /// Whether this is something new, or the last time that something was said is an hour ago.
    fn is_due(&mut self, problems: Vec<String>, now: Duration) -> bool {
        let is_new = self.problems.as_ref() != Some(&problems);
        let is_due = is_new || now.saturating_sub(self.said) >= SIGN_OF_LIFE_EVERY;
        if is_due {
            *self = Self { problems: Some(problems), said: now };
        }
        is_due
    }
}

impl Output {
    fn new(json: bool, log: Log) -> Self {
        Self { json, log, draws: !json && !log.is_quiet() && io::stderr().is_terminal(), news: News::default() }
    }

    const fn is_drawing(&self) -> bool {
        self.draws
    }

    /// Draws the line anew.
    fn show(&self, line: impl FnOnce() -> String) {
        if self.draws {
            let columns = terminal_size::terminal_size_of(io::stderr())
                .map_or(DEFAULT_COLUMNS, |(terminal_size::Width(columns), _)| usize::from(columns));
            // One that is wrapped could not be erased. The last column stays free, or some terminals wrap all the same.
            let line: String = line().chars().take(columns.saturating_sub(1)).collect();
            let _ = io::stderr().write_all(format!("\r\u{1b}[2K{line}").as_bytes());
        }
    }

    /// Says what came of a round, to people only if it is something new.
    fn say(&mut self, round: &Round<'_>, time: &RoundClocks) {
        if self.json {
            return print_event(&round.json(time.wall().ok()));
        }
        let date = || time.wall().map(text::date).unwrap_or_default();
        if self.news.is_due(round.problems(), time.steady()) {
            self.erase();
            self.log.note(format_args!("{} {}", date(), round.line()));
        }
        if let Some(line) = round.alert_line() {
            self.erase();
            self.log.note(format_args!("{} {line}", date()));
        }
    }

    fn end(&self) {
        self.erase();
        self.log.note(format_args!("told to stop"));
    }

    fn erase(&self) {
        if self.draws {
            let _ = io::stderr().write_all(b"\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_said_at_once_and_what_is_not_once_an_hour() {
        let mut news = News::default();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let problem = || vec!["TIMED_OUT".to_owned()];
        let said: Vec<_> = (0..=12).filter(|round| news.is_due(Vec::new(), minutes(round * 10))).collect();
        assert_eq!(said, [0, 6, 12]);
        assert!(news.is_due(problem(), minutes(121)));
        assert!(!news.is_due(problem(), minutes(180)));
        assert!(news.is_due(problem(), minutes(181)));
        assert!(news.is_due(Vec::new(), minutes(182)));
    }
}
