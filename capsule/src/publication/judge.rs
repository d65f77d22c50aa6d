//! What the beacons' answers are worth, on all cores: signatures are nearly all of a round's work, and there may be ten
//! thousand. A peer announces itself at several beacons, so a ticket is checked once, however many list it.

use rayon::prelude::*;
use rendezvous_protocol::answer::{Listed, UnverifiedAnswer, VerifiedAnswer};
use rendezvous_protocol::ticket::{TicketRules, Unverified};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use super::findings::{BeaconReport, RoundProblem};
use crate::beacon::{Beacon, BeaconAnswer, HTML_HINT, looks_like_html};
use crate::text;

/// In the order of the beacons, what each contributed and its good tickets.
pub(super) fn judge_all(
    beacons: &[&Beacon],
    answers: Vec<BeaconAnswer>,
    rules: &TicketRules<'_>,
    now: UnixMillis,
) -> Vec<(BeaconReport, Vec<Listed>)> {
    let unverified: Vec<_> = answers.par_iter().map(|answer| read(answer, rules, now)).collect();
    let lists: Vec<&[Unverified]> =
        unverified.iter().map(|read| read.as_ref().map_or(&[][..], |answer| &answer.tickets)).collect();
    let outcomes = verify_signatures(&lists);
    let settled: Vec<_> =
        unverified.into_par_iter().zip(outcomes).map(|(read, fit)| read.map(|answer| answer.settle(fit))).collect();
    beacons
        .iter()
        .zip(answers)
        .zip(settled)
        .map(|((beacon, answer), settled)| report(beacon, &answer, settled))
        .collect()
}

fn read(answer: &BeaconAnswer, rules: &TicketRules<'_>, now: UnixMillis) -> Result<UnverifiedAnswer, RoundProblem> {
    match &answer.body {
        Ok(body) => UnverifiedAnswer::read(body, rules, now).map_err(|error| {
            let hint = if looks_like_html(body) { HTML_HINT } else { "" };
            RoundProblem { code: error.code().to_owned(), detail: text::printable(&format!("{error}{hint}")) }
        }),
        Err(error) => Err(RoundProblem { code: error.code().to_owned(), detail: error.to_string() }),
    }
}

/// For each ticket of each list, whether its signature fits.
fn verify_signatures(lists: &[&[Unverified]]) -> Vec<Vec<bool>> {
    let mut tickets: Vec<&Unverified> = lists.iter().copied().flatten().collect();
    tickets.par_sort_unstable_by_key(|ticket| name(ticket));
    tickets.dedup_by_key(|ticket| name(ticket));
    let outcomes: Vec<bool> = tickets.par_iter().map(|ticket| ticket.verify_signature()).collect();
    let outcome = |ticket: &Unverified| {
        let position = tickets.binary_search_by_key(&name(ticket), |other| name(other)).ok()?;
        outcomes.get(position).copied()
    };
    let fits = |ticket| outcome(ticket).unwrap_or_default();
    lists.par_iter().map(|tickets| tickets.iter().map(fits).collect()).collect()
}

/// What tickets are told apart by. Their normal forms would do, but signatures differ in their first bytes.
fn name(ticket: &Unverified) -> (&[u8; 64], &str) {
    (ticket.signature(), ticket.as_json())
}

fn report(
    beacon: &Beacon,
    answer: &BeaconAnswer,
    settled: Result<VerifiedAnswer, RoundProblem>,
) -> (BeaconReport, Vec<Listed>) {
    let BeaconAnswer { body, attempts, took } = answer;
    let answered = body.as_ref().map_or_else(|error| error.is_answer(), |_| true);
    let (VerifiedAnswer { listed, refused }, problem) = match settled {
        Ok(answer) => (answer, None),
        Err(problem) => (VerifiedAnswer::default(), Some(problem)),
    };
    let report = BeaconReport {
        beacon: beacon.to_string(),
        answered,
        tickets: listed.len(),
        refused,
        problem,
        attempts: *attempts,
        time_ms: saturating_millis(*took),
    };
    (report, listed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rendezvous_protocol::community::Community;

    use super::*;
    use crate::fetch::FetchError;
    use crate::fixture::ticket;

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn answer(tickets: &[&str]) -> BeaconAnswer {
        let body = format!(r#"{{"peers":[{}]}}"#, tickets.join(","));
        BeaconAnswer { body: Ok(body.into()), attempts: 1, took: Duration::ZERO }
    }

    #[test]
    fn a_ticket_that_several_list_counts_for_each_and_what_only_looks_like_it_for_none() {
        let [a, b] = ["peer-a", "peer-b"].map(|peer| ticket(peer, 1, NOW.as_u64()).to_json());
        // The same key and signature over something else, which must not share the outcome.
        let forged = a.replace("peer-a", "peer-c");
        let failed = BeaconAnswer { body: Err(FetchError::TimedOut.into()), attempts: 3, took: Duration::ZERO };
        let answers = vec![answer(&[&a, &forged, &b]), failed, answer(&[&forged, "{}"]), answer(&[&b, &a, &a])];
        let beacons = ["https://a.example", "https://b.example", "https://c.example", "https://d.example"];
        let beacons = beacons.map(|url| Beacon::parse(url).unwrap());
        let community = Community::new("mainnet").unwrap();
        let judged = judge_all(&beacons.iter().collect::<Vec<_>>(), answers, &TicketRules::new(&community), NOW);
        let found: Vec<_> = judged
            .iter()
            .map(|(report, listed)| {
                let mut peers: Vec<_> = listed.iter().map(|listed| listed.ticket.peer_id().as_str()).collect();
                peers.sort_unstable();
                (report.beacon.as_str(), report.answered, peers, report.refused.clone())
            })
            .collect();
        let refused = |codes: &[(&'static str, usize)]| BTreeMap::from_iter(codes.iter().copied());
        let expected = [
            ("https://a.example", true, vec!["peer-a", "peer-b"], refused(&[("SIGNATURE_INVALID", 1)])),
            ("https://b.example", false, vec![], refused(&[])),
            ("https://c.example", true, vec![], refused(&[("MALFORMED", 1), ("SIGNATURE_INVALID", 1)])),
            ("https://d.example", true, vec!["peer-a", "peer-b"], refused(&[("DUPLICATE", 1)])),
        ];
        assert_eq!(found, expected);
    }
}
