//! The health of one beacon.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rendezvous_protocol::announcer::{Reply, Request, RequestOutcome, Verdict};
use rendezvous_protocol::answer::read_answer;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::CLOCK_SKEW;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde::Serialize;

use super::problem::HealthProblem;
use crate::beacon::{Beacon, BeaconAnswer, HTML_HINT, UNKNOWN_COMMUNITY_ADVICE, looks_like_html};
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::page::Page;
use crate::text;
use crate::tickets::TicketSettings;

/// How often a beacon is asked how it is, before it is said not to answer.
const ATTEMPTS: u32 = 2;

/// How a beacon is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BeaconHealth {
    pub(super) beacon: String,
    /// Whether it said something, be it wrong.
    pub(super) answered: bool,
    /// How long `GET /healthz` took.
    pub(super) health_ms: Option<u64>,
    /// How long `GET /peers` took.
    pub(super) peers_ms: Option<u64>,
    /// Good tickets in its list.
    pub(super) tickets: Option<usize>,
    pub(super) problems: Vec<HealthProblem>,
    /// What does not make it unhealthy, because it may be intended.
    pub(super) warnings: Vec<HealthProblem>,
}

impl BeaconHealth {
    fn with(beacon: &Beacon, problems: Vec<HealthProblem>) -> Self {
        let beacon = beacon.to_string();
        Self { beacon, answered: false, health_ms: None, peers_ms: None, tickets: None, problems, warnings: Vec::new() }
    }

    /// For a thread that came to no end.
    pub(super) fn died(beacon: &Beacon) -> Self {
        Self::with(beacon, vec![HealthProblem::new("BROKEN_ANSWER", "this program failed while asking")])
    }

    /// For one that readers do not ask.
    pub(super) fn revoked(beacon: &Beacon) -> Self {
        Self::with(
            beacon,
            vec![HealthProblem::new("REVOKED_BEACON", "a capsule revokes it, so nobody asks it any more")],
        )
    }
}

/// Asks a beacon how it is, and for its list as a page would.
pub(super) fn ask(
    beacon: &Beacon,
    tickets: &TicketSettings,
    fetcher: &Fetcher,
    page: Page,
    timeout: Duration,
    clock: &Clock,
) -> BeaconHealth {
    let mut health = BeaconHealth::with(beacon, Vec::new());
    ask_health(&mut health, beacon, tickets, fetcher, timeout, clock);
    ask_peers(&mut health, beacon, tickets, &fetcher.for_page(page.clone()), timeout, clock);
    health.problems.extend(page.problem().map(HealthProblem::kept_from_pages));
    health
}

fn ask_health(
    health: &mut BeaconHealth,
    beacon: &Beacon,
    tickets: &TicketSettings,
    fetcher: &Fetcher,
    timeout: Duration,
    clock: &Clock,
) {
    let mut asked = 0;
    let (answer, took) = loop {
        asked += 1;
        let begun = Instant::now();
        // Half of the time, so that there is as much left for its list: a silent one is not waited for twice as long.
        let answer = beacon.send(&Request::Time, &tickets.community, fetcher, timeout / (2 * ATTEMPTS));
        if asked >= ATTEMPTS || matches!(answer, RequestOutcome::Reply(_)) {
            break (answer, begun.elapsed());
        }
    };
    match answer {
        RequestOutcome::Failed { problem, .. } => {
            health.problems.push(HealthProblem { code: problem.code, detail: format!("/healthz: {}", problem.detail) });
        }
        RequestOutcome::Reply(Reply { verdict: Verdict::Refused { problem, .. }, .. }) => {
            health.answered = true;
            health.problems.push(HealthProblem { code: problem.code, detail: format!("/healthz: {}", problem.detail) });
        }
        RequestOutcome::Reply(Reply { server_time, verdict: Verdict::Done { .. } }) => {
            health.answered = true;
            health.health_ms = Some(saturating_millis(took));
            // A clock that is of no use was said by the capsules' verdicts, or at the end.
            if let (Some(server), Ok(now)) = (server_time, clock.now()) {
                health.problems.extend(clock_problem(server, now));
            }
        }
    }
}

fn clock_problem(server: UnixMillis, now: UnixMillis) -> Option<HealthProblem> {
    let (off, way) = if server > now { (server.since(now), "ahead of") } else { (now.since(server), "behind") };
    let detail = || {
        format!("its clock is {} {way} this machine's: it refuses good tickets, or lists bad ones", text::duration(off))
    };
    (off > CLOCK_SKEW).then(|| HealthProblem::new("CLOCK_IS_OFF", detail()))
}

fn ask_peers(
    health: &mut BeaconHealth,
    beacon: &Beacon,
    tickets: &TicketSettings,
    fetcher: &Fetcher,
    timeout: Duration,
    clock: &Clock,
) {
    let BeaconAnswer { body, took, .. } = beacon.ask(&tickets.community, fetcher, timeout / 2);
    let body = match body {
        Ok(body) => body,
        Err(error) => {
            health.answered |= error.is_answer();
            let detail = if error.code() == Code::CommunityUnknown.as_str() {
                unknown_community(&tickets.community)
            } else {
                format!("/peers: {error}")
            };
            health.problems.push(HealthProblem::new(error.code(), detail));
            return;
        }
    };
    health.answered = true;
    let Ok(now) = clock.now() else { return };
    match read_answer(&body, &tickets.rules(), now) {
        Ok(answer) => {
            health.peers_ms = Some(saturating_millis(took));
            health.tickets = Some(answer.listed.len());
            if answer.listed.is_empty() {
                health.warnings.push(HealthProblem::new("NO_PEERS", no_peers(&tickets.community, &answer.refused)));
            }
        }
        Err(error) => {
            let hint = if looks_like_html(&body) { HTML_HINT } else { "" };
            health.problems.push(HealthProblem::new(error.code(), format!("/peers: {error}{hint}")));
        }
    }
}

fn unknown_community(community: &Community) -> String {
    format!("/peers: it does not serve {community}: {UNKNOWN_COMMUNITY_ADVICE}")
}

fn no_peers(community: &Community, refused: &BTreeMap<&'static str, usize>) -> String {
    let refused = match refused.values().sum::<usize>() {
        0 => String::new(),
        all => format!(", {} refused ({})", text::count(all, "ticket is", "tickets are"), text::counts(refused)),
    };
    format!("/peers: nobody is in {community}{refused}. Where somebody should be, is it spelt so (--community)?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_be_off_by_as_much_as_tickets_allow() {
        let [now, near, ahead, behind] = [100_000, 115_000, 115_001, 84_999].map(UnixMillis::saturating);
        assert_eq!(clock_problem(near, now), None);
        for (server, way) in [(ahead, "ahead of"), (behind, "behind")] {
            let problem = clock_problem(server, now).unwrap();
            assert_eq!(problem.code, "CLOCK_IS_OFF");
            assert!(problem.detail.contains(&format!("15s {way} this machine's")), "{}", problem.detail);
        }
    }
}
