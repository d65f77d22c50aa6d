//! The health of one capsule.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rendezvous_protocol::capsule::{Capsule, CapsuleError, TicketStatus};
use rendezvous_protocol::limits::ROOT_MAX_BYTES;
use rendezvous_protocol::root::Root;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis, saturating_millis};
use serde::Serialize;

use super::arguments::CheckArguments;
use super::problem::HealthProblem;
use crate::beacon::Beacon;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::fetch::FetchError;
use crate::page::Page;
use crate::reader::Reader;
use crate::source::{Source, SourceError};
use crate::text;
use crate::trust::{CapsuleVerdict, Judge, JudgeError, Trusted};

/// Fewest live peers.
const DEFAULT_MIN_LIVE: usize = 1;

/// The part of its life that has to be left of a capsule: a run of the schedule, where a capsule outlives six.
const REMAINING_PART: u32 = 6;

/// How long before a root's end its keepers have to come together.
const ROOT_REMAINING: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// How a capsule is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CapsuleHealth {
    pub(super) capsule: String,
    /// Whether it could be fetched, good or not.
    pub(super) fetched: bool,
    /// For all its files, and the roots beside it.
    pub(super) time_ms: u64,
    pub(super) problems: Vec<HealthProblem>,
    /// What does not make it unhealthy, because it may be intended.
    pub(super) warnings: Vec<HealthProblem>,
    #[serde(flatten)]
    pub(super) good: Option<Good>,
    /// Beacons that it names.
    #[serde(skip)]
    pub(super) named_beacons: Vec<Beacon>,
    /// Beacons that it revokes, in their normal form.
    #[serde(skip)]
    pub(super) revoked_beacons: Vec<String>,
}

/// What a capsule says that readers take.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Good {
    pub(super) root_version: Option<u64>,
    pub(super) issued_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
    pub(super) live: usize,
    pub(super) recently_seen: usize,
    pub(super) refused: BTreeMap<&'static str, usize>,
}

impl CapsuleHealth {
    fn unfetched(source: &Source, took: Duration, problem: HealthProblem) -> Self {
        Self {
            capsule: source.to_string(),
            fetched: false,
            time_ms: saturating_millis(took),
            problems: vec![problem],
            warnings: Vec::new(),
            good: None,
            named_beacons: Vec::new(),
            revoked_beacons: Vec::new(),
        }
    }

    /// For a thread that came to no end.
    pub(super) fn died(source: &Source) -> Self {
        let problem = HealthProblem::new("BROKEN_ANSWER", "this program failed while asking");
        Self::unfetched(source, Duration::ZERO, problem)
    }
}

/// Fetches a capsule and looks at it.
pub(super) fn examine(
    source: &Source,
    arguments: &CheckArguments,
    judge: &Judge,
    page: &Page,
    clock: &Clock,
) -> Result<CapsuleHealth, Failure> {
    let reader = Reader::new(arguments.timeout.duration())?.for_page(page.clone());
    let begun = Instant::now();
    let verdict = match judge.judge(&reader, source, None, clock) {
        // Between two files it may have been replaced. Once more, and it is there.
        Ok(CapsuleVerdict { result: Err(CapsuleError::DetachedSignatureInvalid), .. }) => {
            judge.judge(&reader, source, None, clock)
        }
        verdict => verdict,
    };
    let took = begun.elapsed();
    let mut health = match &verdict {
        // A mistyped address is not a host that is down: it fails below, as for every command.
        Err(JudgeError::Source(SourceError::Fetch { url, error })) if !matches!(error, FetchError::BadUrl { .. }) => {
            let detail =
                if *source == Source::Url(url.clone()) { error.to_string() } else { format!("{url}: {error}") };
            let mut health = CapsuleHealth::unfetched(source, took, HealthProblem::new(error.code(), detail));
            health.problems.extend(page.problem().map(HealthProblem::kept_from_pages));
            return Ok(health);
        }
        _ => CapsuleHealth { fetched: true, problems: Vec::new(), ..CapsuleHealth::died(source) },
    };
    health.time_ms = saturating_millis(took);
    match verdict {
        Err(JudgeError::Source(error)) => return Err(error.into()),
        Err(JudgeError::Clock(failure)) => return Err(failure),
        Err(JudgeError::Root(refusal)) => {
            health.problems.push(HealthProblem::new(&refusal.code, format!("{}: {}", refusal.source, refusal.reason)));
        }
        Ok(CapsuleVerdict { result: Err(error), .. }) => {
            health.problems.push(HealthProblem::new(error.code(), error.to_string()));
        }
        Ok(CapsuleVerdict { result: Ok(capsule), trusted, now, .. }) => {
            health.problems = problems(&capsule, &trusted, arguments, now);
            if judge.successors
                && let Trusted::Root(root) = &trusted
            {
                health.problems.extend(unsigned_successor(&reader, source, root));
            }
            let named = capsule.origins.as_ref().and_then(|origins| origins.as_ref().ok());
            let named = named.into_iter().flat_map(|origins| &origins.beacons);
            health.named_beacons = named.filter_map(|url| Beacon::parse(url).ok()).collect();
            health.revoked_beacons = capsule.revocations.beacons.iter().cloned().collect();
            if capsule.peers.is_empty() {
                let community = &judge.tickets.community;
                health.warnings.push(HealthProblem::new("NO_PEERS", format!("nobody of {community} is in it")));
            }
            health.good = Some(Good {
                root_version: trusted.root_version(),
                issued_at: capsule.issued_at,
                expires_at: capsule.expires_at,
                live: capsule.count(TicketStatus::Live),
                recently_seen: capsule.count(TicketStatus::RecentlySeen),
                refused: capsule.refused,
            });
        }
    }
    health.problems.extend(page.problem().map(HealthProblem::kept_from_pages));
    Ok(health)
}

fn problems(capsule: &Capsule, trusted: &Trusted, arguments: &CheckArguments, now: UnixMillis) -> Vec<HealthProblem> {
    let mut problems = Vec::new();
    let Capsule { issued_at, expires_at, .. } = capsule;
    let least = arguments.min_remaining.unwrap_or(expires_at.since(*issued_at) / REMAINING_PART);
    let left = expires_at.since(now);
    if left < least {
        let [left, least] = [left, least].map(text::duration);
        problems.push(HealthProblem::new("EXPIRES_SOON", format!("it ends in {left}, and {least} should be left")));
    }
    let age = now.since(*issued_at);
    if let Some(most) = arguments.max_age
        && age > most
    {
        let [age, most] = [age, most].map(text::duration);
        problems.push(HealthProblem::new("TOO_OLD", format!("it was issued {age} ago, at most {most} are allowed")));
    }
    let (live, least) = (capsule.count(TicketStatus::Live), arguments.min_live.unwrap_or(DEFAULT_MIN_LIVE));
    if live < least {
        let live = text::count(live, "live peer", "live peers");
        problems.push(HealthProblem::new("TOO_FEW_LIVE", format!("{live}, and there should be {least}")));
    }
    if let Trusted::Root(root) = trusted
        && root.expires_at().since(now) < ROOT_REMAINING
    {
        let left = text::duration(root.expires_at().since(now));
        let detail = format!("version {} of the root ends in {left}: capsule root renew", root.root_version());
        problems.push(HealthProblem::new("ROOT_EXPIRES_SOON", detail));
    }
    problems
}

/// A successor of the newest root that lies beside the capsule, where readers do not follow it for want of signatures:
/// its keepers believe that it counts.
fn unsigned_successor(reader: &Reader, capsule: &Source, root: &Root) -> Option<HealthProblem> {
    let name = Root::file_name(root.root_version().saturating_add(1));
    match reader.read_unless_page(&capsule.beside(&name), ROOT_MAX_BYTES) {
        Ok(None) => None,
        Ok(Some(_)) => {
            let detail = format!(
                "{name} is there, and no {name}.sigs, so that readers go on with the root before it: put both there"
            );
            Some(HealthProblem::new("ROOT_NOT_SIGNED", detail))
        }
        Err(SourceError::Fetch { url, error }) => Some(HealthProblem::new(error.code(), format!("{url}: {error}"))),
        Err(error @ SourceError::File { .. }) => Some(HealthProblem::new("NOT_READABLE", error.to_string())),
    }
}
