//! `rendezvous receive`: shows what has come, and only then acknowledges it.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::hook::{GRACE, Ran, run_program};
use rendezvous_capsule::log::Log;
use rendezvous_capsule::outcome::print_result;
use rendezvous_capsule::signals::SecondSignal;
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_duration;
use rendezvous_messenger::user::{Content, Disposition, Message, Problem, ProblemCause};
use rendezvous_protocol::retalk::user::UserId;
use serde_json::{Value, json};

use crate::account::{Account, MAINTAIN_EVERY};
use crate::ending::{Ending, Report};
use crate::line;
use crate::news::{News, Turn};

/// Times that a relay is asked again because the inbox was full, in one round: 512 messages wait there at most.
const ROUNDS_MAX: usize = 64;

/// The name of the option that sets how long a command may take.
const EXEC_TIMEOUT: &str = "--exec-timeout";

const HELP: &str = "\
Examples:
  rendezvous receive
      prints `name: text`, a line for each message, and acknowledges them
  rendezvous receive --follow --json | jq -r .text
      goes on until Ctrl-C
  rendezvous receive --follow --peer bob --exec ./answer
      runs the command for each message of Bob's, with the text on its standard
      input, and acknowledges the message if the command ends with exit code 0;
      else it comes again. Run without a shell: what a message says is never
      part of a command line

A name that you saved is shown as it is, one that the sender chose behind a ~;
who has neither is shown by the id. Characters that could move the cursor,
change colours or reorder a line are escaped; JSON has the text as it came.

A message is kept on disk first and acknowledged last, so none is lost. Each is
shown once; only where the program was ended while it showed one, that one comes
again, and says so: \"again\":true.

The command of --exec, which takes the rest of the line, gets RENDEZVOUS_FROM
(the sender's id), RENDEZVOUS_CONTACT (your name for it, if you have one),
RENDEZVOUS_NAME (what the sender calls itself), RENDEZVOUS_MESSAGE_ID and
RENDEZVOUS_AGAIN (1 where it may have run for that message before). It does not
get RENDEZVOUS_SECRET: to answer, it needs RENDEZVOUS_SECRET_FILE.

Exit codes:
  1    no relay answered
  2    refused: PIN MISMATCH, say; or the standard output is full or closed: what
       nobody got is kept
  3    --exec failed for a message, which is kept
  130  ended by a signal, after the message that was at hand. A second signal is
       the command's of --exec too, as SIGTERM: it has 5 seconds to end, and the
       message is kept unless it ends with exit code 0

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store
  RENDEZVOUS_RELAY  --server
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                    the passphrase's file, or the passphrase itself";

/// Arguments of `receive`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct ReceiveArguments {
    /// Go on until a signal comes.
    #[arg(long)]
    follow: bool,
    /// With --follow: the time after which the relay is asked again. Up to 10s while nothing comes, and a minute where the
    /// relay tells when something comes.
    #[arg(long, value_name = "TIME", value_parser = parse_interval, default_value = "2s", requires = "follow")]
    interval: Duration,
    /// Show messages of this peer alone, a saved name or an id; may be repeated.
    #[arg(long, value_name = "PEER", conflicts_with = "all")]
    peer: Vec<String>,
    /// Show everybody's messages, as without --peer.
    #[arg(long)]
    all: bool,
    /// Program to run for each message, and its arguments.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    exec: Option<Vec<OsString>>,
    /// How long the command of --exec may take.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5m", requires = "exec")]
    exec_timeout: Duration,
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON for each message.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a duration, which retalk has in seconds without a unit.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(interval) if interval.is_zero() => Err("must be longer than nothing".to_owned()),
        Some(interval) => Ok(interval),
        None => parse_duration(text),
    }
}

/// Says why a message is not shown.
#[derive(Debug, thiserror::Error)]
enum ShowError {
    /// The signals cannot be held.
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    /// The standard output is full, or broken.
    #[error("messages cannot be written to the standard output, and what nobody got is kept: {0}")]
    Output(io::Error),
    /// Nobody reads the standard output any more.
    #[error("the standard output is closed, and what nobody got is kept")]
    Closed,
}

impl Cause for ShowError {}

/// Counts what one run has come to.
#[derive(Default)]
struct Tally {
    left: usize,
    /// Whether something came of this round, from the relay or to whom it is shown.
    has_come: bool,
    is_pin_wrong: bool,
    broken: Option<io::Error>,
}

pub(crate) fn receive(arguments: &ReceiveArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let mut news = News::new(arguments.interval, account.network.transport().clone(), account.log);
    let (log, runs_commands, stop) = (*account.log, arguments.exec.is_some(), news.stop());
    let ends = move || {
        if runs_commands {
            log.note(format_args!(
                "ending after the message at hand; a second signal ends its command too, within {}",
                text::duration(GRACE)
            ));
        }
        stop();
    };
    let second = SecondSignal::on_stop(ends).map_err(ShowError::Signals)?;
    let from = arguments.peer.iter().map(|peer| Ok(account.peer(peer)?.id)).collect::<Result<Vec<_>, Failure>>()?;
    // Before anything is asked: where there is no relay, that is no reason to try again.
    account.network.relay()?;
    let mut tally = Tally::default();
    let mut maintained = None;
    loop {
        let listen = |_: &str| Ok(account.user.listen(&account.network.relay()?, account.now()?)?);
        if news.next(listen)? == Turn::Stop {
            return Ok(Report::printed(Ending::Interrupted));
        }
        news.begin_look(account.network.url().into_iter());
        (tally.left, tally.has_come) = (0, false);
        let outcome = round(arguments, account, &from, (&news, &second), &mut maintained, &mut tally);
        if let Some(error) = tally.broken.take() {
            return Err(match error.kind() {
                io::ErrorKind::BrokenPipe => ShowError::Closed,
                _ => ShowError::Output(error),
            }
            .into());
        }
        if news.is_stopped() {
            return Ok(Report::printed(Ending::Interrupted));
        }
        if !arguments.follow {
            outcome?;
            break;
        }
        let expected = account.user.expected(&account.network.relay()?)?;
        let wait = news.note_look(tally.has_come, |_| expected);
        if let Err(failure) = outcome {
            // A relay that refuses, because this clock is wrong, say, may do better the next time; the own disk does not.
            if !matches!(failure.exit, Exit::Unreachable | Exit::Refused) {
                return Err(failure);
            }
            account.log.note(format_args!("{failure}: trying again in {}", text::duration(wait)));
        }
    }
    Ok(match tally {
        Tally { is_pin_wrong: true, .. } => Report::refused_as_said(),
        Tally { left: 0, .. } => Report::printed(Ending::Done),
        _ => Report::printed(Ending::Waiting),
    })
}

/// Looks after keys where that is due, takes in what waits at the relay, shows it, and acknowledges what was shown.
fn round(
    arguments: &ReceiveArguments,
    account: &mut Account<'_>,
    from: &[UserId],
    (news, second): (&News<'_>, &SecondSignal),
    maintained: &mut Option<Instant>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    let mut outcome = Ok(());
    if maintained.is_none_or(|at| at.elapsed() >= MAINTAIN_EVERY) {
        match account.user.maintain(&relay, now) {
            Ok(report) => {
                say(&report.problems, account.log, tally);
                *maintained = Some(Instant::now());
            }
            Err(error) => outcome = Err(error),
        }
    }
    for _ in 0..ROUNDS_MAX {
        let mut is_inbox_full = false;
        // Not asked twice where it has not answered already; what is in the inbox is shown all the same.
        if outcome.is_ok() {
            match account.user.receive(&relay, now) {
                Ok(report) => {
                    say(&report.problems, account.log, tally);
                    tally.has_come |= report.taken_in + report.acknowledged + report.redeemed.len() > 0;
                    for id in report.redeemed {
                        let name = text::printable(&account.name_of(id)?);
                        account
                            .log
                            .note(format_args!("{name} ({id}) has redeemed a code, and is a contact from now on"));
                    }
                    is_inbox_full = report.is_inbox_full;
                }
                Err(error) => outcome = Err(error),
            }
        }
        let (is_retalk, log) = (account.is_retalk, account.log);
        if account.user.is_delivering()? {
            log.note(format_args!("another `rendezvous receive` of this identity shows messages: waiting for it"));
        }
        let shown = account.user.deliver(from, |message| {
            if tally.broken.is_some() || news.is_stopped() {
                return Disposition::Declined;
            }
            show(arguments, message, is_retalk, (log, second), tally)
        })?;
        tally.has_come |= shown > 0;
        if outcome.is_ok()
            && let Err(error) = account.user.acknowledge(&relay, now)
        {
            outcome = Err(error);
        }
        if !is_inbox_full || shown == 0 || news.is_stopped() {
            break;
        }
    }
    Ok(outcome?)
}

fn say(problems: &[Problem], log: &Log, tally: &mut Tally) {
    for problem in problems {
        tally.is_pin_wrong |= matches!(problem.cause, ProblemCause::PinMismatch);
        log.note(format_args!("{}", text::printable(&problem.to_string())));
    }
}

/// Hands a message on.
fn show(
    arguments: &ReceiveArguments,
    message: &Message,
    is_retalk: bool,
    (log, second): (&Log, &SecondSignal),
    tally: &mut Tally,
) -> Disposition {
    if let Some(command) = &arguments.exec
        && let Ran::Badly { reason, is_started } = execute(command, arguments.exec_timeout, message, second)
    {
        tally.left += 1;
        log.note(format_args!("{} is kept, and comes again: --exec: {reason}", text::printable(&message.id)));
        return if is_started { Disposition::Kept } else { Disposition::Declined };
    }
    // retalk prints that from 0.0.2 on, where --peer or --all is needed.
    let is_json = arguments.json || (is_retalk && (arguments.all || !arguments.peer.is_empty()));
    let line = if is_json {
        line::ascii(&event(message))
    } else if arguments.exec.is_some() {
        String::new()
    } else {
        if message.redelivered {
            log.note(format_args!("the next message may have been shown before: the program was ended meanwhile"));
        }
        describe(message)
    };
    match print_result(&line) {
        Ok(()) => Disposition::Taken,
        Err(error) => {
            tally.broken = Some(error);
            // The command has it.
            if arguments.exec.is_some() { Disposition::Taken } else { Disposition::Kept }
        }
    }
}

/// Runs the command of --exec for a message.
fn execute(command: &[OsString], limit: Duration, message: &Message, second: &SecondSignal) -> Ran {
    let Some((program, arguments)) = command.split_first() else { return Ran::Well };
    let (input, kind) = match &message.content {
        Content::Text(text) => (text, ""),
        Content::Other { kind, json } => (json, kind.as_str()),
    };
    let saved = message.saved_name.clone().unwrap_or_default();
    // A variable cannot hold everything that a stranger may call itself.
    let claimed = text::printable(message.claimed_name.as_deref().unwrap_or_default());
    let variables = [
        ("RENDEZVOUS_FROM", message.from.to_string()),
        ("RENDEZVOUS_CONTACT", saved),
        ("RENDEZVOUS_NAME", claimed),
        ("RENDEZVOUS_MESSAGE_ID", text::printable(&message.id)),
        ("RENDEZVOUS_KIND", text::printable(kind)),
        ("RENDEZVOUS_AGAIN", if message.redelivered { "1" } else { "" }.to_owned()),
    ];
    // The first signal does not cut it short: it ends the run afterwards. The command may use the store, to answer, say.
    let limit = (limit, EXEC_TIMEOUT);
    second.during(|is_stopped| run_program(program, arguments, &variables, input.as_bytes(), limit, is_stopped))
}

pub(super) fn event(message: &Message) -> Value {
    let Message { id, from, content, received_at, redelivered, .. } = message;
    let mut event = json!({
        "id": id, "from": from.to_string(), "name": message.shown_name(), "receivedAt": received_at,
    });
    let fields = match content {
        Content::Text(text) => vec![("text", json!(text))],
        Content::Other { kind, json } => {
            let content = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.clone()));
            vec![("kind", json!(kind)), ("content", content)]
        }
    };
    if let Some(event) = event.as_object_mut() {
        event.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if *redelivered {
            event.insert("again".to_owned(), true.into());
        }
    }
    event
}

/// Shows a message to people, in one line.
fn describe(message: &Message) -> String {
    let name = message.shown_name();
    let name = if name.is_empty() { message.from.to_string() } else { text::printable(&name) };
    match &message.content {
        Content::Text(text) => format!("{name}: {}\n", text::printable(text)),
        Content::Other { kind, json } => format!("{name} ({}): {}\n", text::printable(kind), text::printable(json)),
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::time::UnixMillis;

    use super::*;

    fn message(saved: Option<&str>, claimed: Option<&str>, text: &str) -> Message {
        Message {
            id: "1".to_owned(),
            from: "00112233445566778899aabbccddeeff".parse().unwrap(),
            saved_name: saved.map(str::to_owned),
            claimed_name: claimed.map(str::to_owned),
            content: Content::Text(text.to_owned()),
            received_at: UnixMillis::saturating(1),
            redelivered: false,
            handle: String::new(),
        }
    }

    #[test]
    fn a_saved_name_wins_a_chosen_one_has_a_tilde_and_nothing_is_raw() {
        for (saved, claimed, text, shown) in [
            (Some("bob"), Some("mallory"), "hi", "bob: hi\n"),
            (None, Some("bob"), "hi", "~bob: hi\n"),
            (None, None, "hi", "00112233445566778899aabbccddeeff: hi\n"),
            (None, Some("a\nbob"), "b\u{1b}[2J\u{202e}\nc", "~a\\nbob: b\\u{1b}[2J\\u{202e}\\nc\n"),
            (Some("bob"), None, "\u{9b}31m\r\u{7f}", "bob: \\u{9b}31m\\r\\u{7f}\n"),
        ] {
            assert_eq!(describe(&message(saved, claimed, text)), shown);
        }
    }

    #[test]
    fn an_interval_is_a_duration_or_seconds() {
        for (text, expected) in [("2", 2_000), ("0.5", 500), ("30s", 30_000), ("1m", 60_000)] {
            assert_eq!(parse_interval(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["0", "-1", "nan", "inf", "soon", ""] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
