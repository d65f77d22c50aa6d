//! `rendezvous invite`: codes, with which others become contacts without having to be added.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::outcome::print_result;
use rendezvous_capsule::values::parse_duration;
use rendezvous_capsule::{signals, text};
use rendezvous_messenger::following::Expected;
use rendezvous_messenger::user::{InviteCode, NewCode, Problem, ProblemCause, Redeemed};
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use serde_json::{Value, json};

use super::receive::parse_interval;
use super::verify;
use crate::account::{Account, MAINTAIN_EVERY};
use crate::ending::{Ending, Report};
use crate::line;
use crate::news::{News, Turn};

/// How long a code for one is good, unless it is said.
const LASTS: Duration = Duration::from_secs(7 * DAY_SECONDS);

const NEW_HELP: &str = "\
Examples:
  rendezvous invite new
      prints a code for one, good for a week, and says what to do with it
  rendezvous invite new --peer dana --expires 2days
      whoever redeems it is called dana here
  rendezvous invite new --permanent
      for up to 256 users, until it is revoked

Give it to somebody over another way, with your id: `rendezvous request ID
--code CODE` there makes you a contact of theirs, and them one of yours as soon
as `receive` or `invite watch` runs here. It shows that you gave it to somebody,
and not who brings it: compare the id before you trust the name.

Without --peer they are saved under the name that they give themselves, unless
it could be taken for that of another contact; then under the id. `rendezvous
add NAME ID` gives them another.";

const LIST_HELP: &str = "\
Examples:
  rendezvous invite list
  rendezvous invite list --json
      one line for each: whether it can still be redeemed, and who has done so";

const REVOKE_HELP: &str = "\
Examples:
  rendezvous invite revoke CODE
      nobody can redeem it any more. Who has done so stays a contact:
      `rendezvous contacts --remove NAME`";

const WATCH_HELP: &str = "\
Examples:
  rendezvous invite watch
      who has redeemed a code since the last time
  rendezvous invite watch --follow --json | jq -r .name
      goes on until Ctrl-C

`receive` takes the same requests, and tells of them on the standard error; here
they are the result. What else comes is kept for `receive`, which shows it, and
is not acknowledged before that.

Exit codes:
  1    no relay answered
  2    a relay refused, or the standard output is full or closed: what nobody
       was told of is told the next time
  130  ended by a signal";

/// The commands about invite codes.
#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Make a code, and print it.
    New(NewArguments),
    /// Show all codes.
    List(ListArguments),
    /// Let nobody redeem a code any more.
    Revoke(RevokeArguments),
    /// Take requests of those who redeem codes, and tell of them.
    Watch(WatchArguments),
}

impl InviteCommand {
    /// Returns whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::New(arguments) => arguments.json,
            Self::List(arguments) => arguments.json,
            Self::Revoke(arguments) => arguments.json,
            Self::Watch(arguments) => arguments.json,
        }
    }

    /// Returns the relay that is named.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            Self::Watch(arguments) => arguments.server.as_deref(),
            Self::New(_) | Self::List(_) | Self::Revoke(_) => None,
        }
    }
}

/// Arguments of `invite new`.
#[derive(Args, Debug)]
#[command(after_long_help = NEW_HELP)]
pub(crate) struct NewArguments {
    /// What you call whoever redeems it.
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// For many, and not for one.
    #[arg(long)]
    permanent: bool,
    /// How long it is good for; 0 until it is revoked. [default: 7days; with --permanent: 0]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    expires: Option<Lifetime>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `invite list`.
#[derive(Args, Debug)]
#[command(after_long_help = LIST_HELP)]
pub(crate) struct ListArguments {
    /// Print one line of JSON for each.
    #[arg(long)]
    json: bool,
}

/// Arguments of `invite revoke`.
#[derive(Args, Debug)]
#[command(after_long_help = REVOKE_HELP)]
pub(crate) struct RevokeArguments {
    /// The code.
    #[arg(value_name = "CODE")]
    code: String,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `invite watch`.
#[derive(Args, Debug)]
#[command(after_long_help = WATCH_HELP)]
pub(crate) struct WatchArguments {
    /// Go on until a signal comes.
    #[arg(long)]
    follow: bool,
    /// With --follow: the time after which the relay is asked again. Up to 10s while nothing comes.
    #[arg(long, value_name = "TIME", value_parser = parse_interval, default_value = "2s", requires = "follow")]
    interval: Duration,
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    server: Option<String>,
    /// Print one line of JSON for each, also for those who were refused.
    #[arg(long)]
    json: bool,
}

/// How long a code is good for: absent, until it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifetime(Option<Duration>);

/// Reads a duration, which retalk has in days without a unit, where none at all means for ever.
fn parse_lifetime(text: &str) -> Result<Lifetime, String> {
    let Ok(days) = text.parse::<f64>() else { return parse_duration(text).map(|lasts| Lifetime(Some(lasts))) };
    let seconds = days * Duration::from_secs(DAY_SECONDS).as_secs_f64();
    let lasts = Duration::try_from_secs_f64(seconds).map_err(|_| "must be a time such as 2days, or 0".to_owned())?;
    Ok(Lifetime(Some(lasts).filter(|lasts| !lasts.is_zero())))
}

/// Says what is wrong with a code, or with telling of one.
#[derive(Debug, thiserror::Error)]
enum InviteError {
    /// Not one of the user's.
    #[error("this is no code of yours: `rendezvous invite list` has them all")]
    Unknown,
    /// The signals cannot be held.
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    /// The standard output is full, or broken.
    #[error("who has redeemed a code cannot be written to the standard output, and is told the next time: {0}")]
    Output(io::Error),
    /// Nobody reads the standard output any more.
    #[error("the standard output is closed: who has redeemed a code is told the next time")]
    Closed,
}

impl Cause for InviteError {}

pub(crate) fn invite(command: &InviteCommand, account: &mut Account<'_>) -> Result<Report, Failure> {
    match command {
        InviteCommand::New(arguments) => new(arguments, account),
        InviteCommand::List(arguments) => list(arguments.json, account),
        InviteCommand::Revoke(arguments) => revoke(arguments, account),
        InviteCommand::Watch(arguments) => watch(arguments, account),
    }
}

/// Returns a time in seconds, as retalk has it.
fn seconds(time: UnixMillis) -> f64 {
    Duration::from_millis(time.as_u64()).as_secs_f64()
}

/// Returns what retalk calls the kind of a code.
const fn kind(code: &InviteCode) -> &'static str {
    if code.is_permanent { "permanent" } else { "single" }
}

fn new(arguments: &NewArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let NewArguments { peer, permanent, expires, json } = arguments;
    let lasts = expires.map_or_else(|| (!permanent).then_some(LASTS), |Lifetime(lasts)| lasts);
    let now = account.now()?;
    let new = NewCode { name: peer.as_deref(), is_permanent: *permanent, lasts };
    let code = account.user.new_code(&new, now)?;
    let (id, log) = (account.user.id(), account.log);
    let most = if *permanent { "for many" } else { "for one" };
    match code.expires_at {
        Some(expires_at) => {
            log.note(format_args!("{most}, good until {}; give it with your id:", text::date(expires_at)))
        }
        None => log.note(format_args!("{most}, good until it is revoked; give it with your id:")),
    }
    log.note(format_args!("  rendezvous request {id} --code {}", code.code));
    let value = json!({
        "code": code.code, "kind": kind(&code), "expires": code.expires_at.map(seconds), "peer": code.name,
    });
    let is_for_script = *json || account.is_retalk;
    Ok(Report::text(if is_for_script { line::ascii(&value) } else { format!("{}\n", code.code) }))
}

fn list(json: bool, account: &Account<'_>) -> Result<Report, Failure> {
    let now = account.now()?;
    let (mut rows, mut lines) = (Vec::new(), String::new());
    for code in account.user.codes()? {
        let (kind, refusal) = (kind(&code), code.refusal(now));
        let InviteCode { code, name, created_at, expires_at, is_revoked, redeemed_by, .. } = code;
        let used_by: Vec<_> = redeemed_by.iter().map(ToString::to_string).collect();
        lines.push_str(&line::ascii(&json!({
            "code": code, "kind": kind, "peer": name, "created": seconds(created_at),
            "expires": expires_at.map(seconds), "uses": used_by.len(), "used_by": used_by, "revoked": is_revoked,
            "active": refusal.is_none(),
        })));
        let peer = name.map_or_else(|| "-".to_owned(), |name| text::printable(&name));
        let (state, uses) = (refusal.map_or("active", |refusal| refusal.name()), used_by.len());
        rows.push(
            [text::printable(&code), kind.to_owned(), state.to_owned(), format!("uses={uses}"), format!("peer={peer}")]
                .to_vec(),
        );
    }
    if rows.is_empty() {
        account.log.note(format_args!("no codes: `rendezvous invite new` makes one"));
    }
    Ok(Report::text(if json { lines } else { line::columns(&rows, account.is_retalk) }))
}

fn revoke(arguments: &RevokeArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let RevokeArguments { code, json } = arguments;
    if !account.user.revoke_code(code)? {
        return Err(InviteError::Unknown.into());
    }
    account.log.note(format_args!("revoked {}", text::printable(code)));
    Ok(Report::text(if *json { line::ascii(&json!({ "ok": true, "code": code })) } else { String::new() }))
}

fn watch(arguments: &WatchArguments, account: &mut Account<'_>) -> Result<Report, Failure> {
    let mut news = News::new(arguments.interval, account.network.transport().clone(), account.log);
    signals::on_stop(news.stop()).map_err(InviteError::Signals)?;
    // Before anything is asked: where there is no relay, that is no reason to try again.
    account.network.relay()?;
    let is_for_script = arguments.json || account.is_retalk;
    let mut maintained = None;
    while news.next(|_| Ok(None))? == Turn::Look {
        news.begin_look(account.network.url().into_iter());
        let mut count = 0;
        let outcome = look(is_for_script, account, &mut maintained, &mut count);
        if !arguments.follow && !news.is_stopped() {
            return outcome.map(|()| Report::printed(Ending::Done));
        }
        // No connection tells of what strangers send.
        let wait = news.note_look(count > 0, |_| Expected::ByRetalk);
        if let Err(failure) = outcome {
            // A relay that refuses, because this clock is wrong, say, may do better the next time; the own disk does not.
            if !matches!(failure.exit, Exit::Unreachable | Exit::Refused) {
                return Err(failure);
            }
            account.log.note(format_args!("{failure}: trying again in {}", text::duration(wait)));
        }
    }
    Ok(Report::printed(Ending::Interrupted))
}

/// Looks after keys where that is due, takes in what waits at the relay, tells who has redeemed a code, and lets them know.
fn look(
    is_for_script: bool,
    account: &mut Account<'_>,
    maintained: &mut Option<Instant>,
    count: &mut usize,
) -> Result<(), Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    let mut outcome = Ok(());
    let mut problems = Vec::new();
    if maintained.is_none_or(|at| at.elapsed() >= MAINTAIN_EVERY) {
        match account.user.maintain(&relay, now) {
            Ok(report) => {
                problems.extend(report.problems);
                *maintained = Some(Instant::now());
            }
            Err(error) => outcome = Err(error),
        }
    }
    if outcome.is_ok() {
        match account.user.receive(&relay, now) {
            Ok(report) => problems.extend(report.problems),
            Err(error) => outcome = Err(error),
        }
    }
    for problem in &problems {
        account.log.note(format_args!("{}", text::printable(&problem.to_string())));
        if is_for_script && let Some(event) = refused(problem) {
            print(&line::ascii(&event))?;
        }
    }
    for redeemed in account.user.redeemed()? {
        print(&told(is_for_script, &redeemed, account)?)?;
        account.user.note_told(&redeemed)?;
        *count += 1;
    }
    if outcome.is_ok()
        && let Err(error) = account.user.acknowledge(&relay, now)
    {
        outcome = Err(error);
    }
    Ok(outcome?)
}

fn print(line: &str) -> Result<(), InviteError> {
    print_result(line).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => InviteError::Closed,
        _ => InviteError::Output(error),
    })
}

/// Returns what scripts are told of somebody who has redeemed a code, or people.
fn told(is_for_script: bool, redeemed: &Redeemed, account: &Account<'_>) -> Result<String, Failure> {
    let Redeemed { code, by } = redeemed;
    let contact = account.peer(&by.to_string())?;
    let name = contact.name.as_deref().unwrap_or_default();
    if !is_for_script {
        return Ok(format!("{}: {by} is a contact from now on\n", text::printable(name)));
    }
    let card = verify::as_json(&contact);
    Ok(line::ascii(&json!({
        "kind": "contact_accepted", "code": code, "from": by.to_string(), "name": name, "card": card,
    })))
}

/// Returns what scripts are told of somebody whose code is not good.
fn refused(problem: &Problem) -> Option<Value> {
    match problem {
        Problem { peer: Some(peer), cause: ProblemCause::RequestRefused { refusal } } => Some(json!({
            "kind": "contact_request_rejected", "from": peer.to_string(), "reason": refusal.name(),
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_duration_or_days_and_nothing_is_for_ever() {
        let lasts = |seconds| Ok(Lifetime(Some(Duration::from_secs(seconds))));
        for (text, expected) in
            [("2", lasts(172_800)), ("0.5", lasts(43_200)), ("30s", lasts(30)), ("0", Ok(Lifetime(None)))]
        {
            assert_eq!(parse_lifetime(text), expected, "{text}");
        }
        for text in ["-1", "nan", "inf", "soon", ""] {
            assert!(parse_lifetime(text).is_err(), "{text}");
        }
    }
}
