//! `capsule check`: the health of a community: its capsules, and the beacons that they come from.
//!
//! Everything is asked at once, each in a thread of its own and in bounded time, so that what is dead hides nothing else.

mod arguments;
mod beacons;
mod capsules;
mod history;
mod problem;
mod prometheus;
mod report;

use std::collections::BTreeSet;
use std::thread::Builder;

pub(crate) use self::arguments::{CheckArguments, CheckFormat};
use self::beacons::{BeaconHealth, ask};
use self::capsules::{CapsuleHealth, examine};
use self::report::HealthReport;
use crate::beacon::{BEACONS_MAX, Beacon};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Cause, Failure};
use crate::fetch::Fetcher;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::page::Page;
use crate::settings::beacons_if_any;
use crate::source::Source;
use crate::text;
use crate::tickets::TicketSettings;
use crate::trust::{Judge, Trusted};

/// Capsules, each of which is fetched in a thread of its own.
const CAPSULES_MAX: usize = 64;

/// Why nothing is checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// Neither capsules nor beacons.
    #[error("nothing to check: give the URL of a capsule, or --beacon URL, or set RENDEZVOUS_BEACONS")]
    Nothing,
    /// More than are asked at once.
    #[error("{count} capsules are more than {CAPSULES_MAX}: check them in several runs")]
    TooManyCapsules {
        /// How many.
        count: usize,
    },
}

impl Cause for CheckError {}

/// Runs the command.
pub(crate) fn check(
    arguments: &CheckArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    // None is not a mistake where there are capsules.
    let given = beacons_if_any(&arguments.beacons, environment)?;
    let mut sources: Vec<Source> = Vec::new();
    for source in arguments.capsules.iter().map(|name| Source::new(name)) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    match (sources.len(), given.len()) {
        (0, 0) => return Err(CheckError::Nothing.into()),
        (count, _) if count > CAPSULES_MAX => return Err(CheckError::TooManyCapsules { count }.into()),
        _ => {}
    }
    log.note(format_args!(
        "checking {}, and the beacons that they name",
        text::count(sources.len(), "capsule", "capsules")
    ));
    // What cannot be read is better known before anybody is asked.
    if let Some(path) = &arguments.history {
        history::read(path)?;
    }
    let page = || Page::new(arguments.origin.clone());
    let timeout = arguments.timeout.duration();
    let (capsules, tickets) = if sources.is_empty() {
        (Vec::new(), TicketSettings::new(&arguments.tickets, environment)?)
    } else {
        let trusted = Trusted::new(&arguments.trust, environment)?;
        let judge = Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?;
        let examine = |source: &Source| examine(source, arguments, &judge, &page(), clock);
        let capsules = at_once(&sources, examine, |source| Ok(CapsuleHealth::died(source)));
        (capsules.into_iter().collect::<Result<Vec<_>, _>>()?, judge.tickets)
    };
    let (asked, revoked) = choose(given, &capsules);
    let fetcher = Fetcher::new()?;
    let ask = |beacon: &Beacon| ask(beacon, &tickets, &fetcher, page(), timeout, clock);
    let mut beacons = at_once(&asked, ask, BeaconHealth::died);
    beacons.extend(revoked.iter().map(BeaconHealth::revoked));
    let mut report = HealthReport { capsules, beacons, community: tickets.community, now: clock.now()?, success: None };
    if let Some(path) = &arguments.history {
        let (good, all) = report.counts();
        report.success = Some(history::record(path, report.now, good, all)?);
    }
    if let Some(command) = &arguments.on_failure.on_failure
        && report.is_failure()
    {
        report.notice().tell(command);
    }
    let exit = report.exit();
    Ok(match arguments.format() {
        CheckFormat::Json => Outcome::json(&report.to_json(), exit),
        CheckFormat::Text => Outcome::text(report.to_text(), exit),
        CheckFormat::Prometheus => Outcome::text(prometheus::render(&report), exit),
        CheckFormat::GithubIssue => Outcome::text(report.to_issue(), exit),
    })
}

/// Whom to ask: the beacons that were given, and those that capsules name, as many as are asked at once. And which of
/// those that were given nobody asks any more, because a capsule revokes them.
fn choose(given: Vec<Beacon>, capsules: &[CapsuleHealth]) -> (Vec<Beacon>, Vec<Beacon>) {
    let revoked: BTreeSet<&str> =
        capsules.iter().flat_map(|capsule| &capsule.revoked_beacons).map(String::as_str).collect();
    let is_revoked = |beacon: &Beacon| revoked.contains(beacon.url().as_str());
    let (revoked, mut asked): (Vec<_>, Vec<_>) = given.into_iter().partition(is_revoked);
    for beacon in capsules.iter().flat_map(|capsule| &capsule.named_beacons) {
        if asked.len() < BEACONS_MAX && !asked.contains(beacon) && !is_revoked(beacon) {
            asked.push(beacon.clone());
        }
    }
    (asked, revoked)
}

/// Does something with every item, in a thread each; `died` stands in for a thread that could not start, or that
/// panicked in a library.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, died: impl Fn(&T) -> R) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let start = |item| (item, Builder::new().spawn_scoped(scope, move || work(item)));
        let threads: Vec<_> = items.iter().map(start).collect();
        threads
            .into_iter()
            .map(|(item, thread)| thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| died(item)))
            .collect()
    })
}
