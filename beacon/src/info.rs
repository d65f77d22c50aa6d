//! The info document: what a beacon says of itself, its operator, and the communities that the operator lists.
//!
//! A count never costs an object more than readers of its list do: it is taken from the list that the process keeps, which
//! may be twelve times as old as readers want it, and sixty times where nobody was present. By default a process asks each
//! listed object at most once a minute, an empty one once in five, however many watch. No address is told, and no community
//! that is not listed.

use std::fmt::Write as _;
use std::time::Duration;

use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, ROSTER_CAPACITY};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::answer::Answer;
use crate::config::Config;
use crate::survey::Survey;

/// The path of the document (RFC 8615).
pub(crate) const PATH: &str = "/.well-known/rendezvous-beacon";

/// Returns the age up to which a list is good for a count, given how many are in it.
pub(crate) fn count_max_age(config: &Config, live: usize) -> Duration {
    config.peers_max_age * if live == 0 { 60 } else { 12 }
}

/// Makes the answer from what was found out about the listed communities.
pub(crate) fn answer(now: UnixMillis, config: &Config, survey: &Survey) -> Answer {
    let [name, contact, rules, beacons, capsules, capsule_keys] = config.notice.texts();
    let mut operator = String::new();
    for (field, value) in [("name", name), ("contact", contact), ("rules", rules)] {
        if !value.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(operator, "{}\"{field}\":{}", comma(&operator), quoted(value));
        }
    }
    let mut communities = String::new();
    for (community, summary) in survey.summaries(config) {
        let _ = write!(communities, "{}{{\"name\":\"{community}\"", comma(&communities));
        if let Some(summary) = summary {
            let _ = write!(communities, ",\"live\":{}", summary.live);
            if !summary.of_itself.is_empty() {
                let _ = write!(communities, ",\"trend\":{}", summary.of_itself);
            }
        }
        communities.push('}');
    }
    // Absent where whoever built the beacon did not say.
    let commit = option_env!("RENDEZVOUS_COMMIT")
        .filter(|commit| !commit.is_empty())
        .map(|commit| format!("\"commit\":{},", quoted(commit)));
    let roster = config.roster_limits();
    let [lifetime, interval, earliest, latest, max_age] = [
        roster.ticket_max_lifetime,
        roster.announce_interval,
        config.pacing.earliest,
        config.pacing.latest,
        config.peers_max_age,
    ]
    .map(saturating_millis);
    // As text at once: a derived serialiser would be as much code as the rest of this capability.
    let body = format!(
        concat!(
            r#"{{"ok":true,"software":"rendezvous-beacon","version":"{}",{}"serverTime":{},"#,
            r#""operator":{{{}}},"showsPeers":{},"communities":[{}],"beacons":[{}],"capsules":[{}],"capsuleKeys":[{}],"#,
            r#""limits":{{"ticketMaxLifetimeMs":{},"announceIntervalMs":{},"announceAfterMinMs":{},"announceAfterMaxMs":{},"#,
            r#""peersMaxAgeMs":{},"answerPeers":{},"rosterPeers":{},"bodyBytes":{},"networkRequestsPerMinute":{},"#,
            r#""addressRequestsPerMinute":{}}},"#,
            r#""endpoints":[{{"method":"POST","path":"/announce"}},{{"method":"POST","path":"/leave"}},"#,
            r#"{{"method":"GET","path":"/peers"}},{{"method":"GET","path":"/live"}},"#,
            r#"{{"method":"GET","path":"/healthz"}},{{"method":"GET","path":"/"}},"#,
            r#"{{"method":"GET","path":"/.well-known/rendezvous-beacon"}}]}}"#
        ),
        env!("CARGO_PKG_VERSION"),
        commit.unwrap_or_default(),
        now,
        operator,
        config.notice.shows_peers(),
        communities,
        items(beacons),
        items(capsules),
        items(capsule_keys),
        lifetime,
        interval,
        earliest,
        latest,
        max_age,
        config.answer_limit,
        ROSTER_CAPACITY,
        BODY_MAX_BYTES,
        config.network_requests_per_minute,
        config.address_requests_per_minute,
    );
    // The page is at one of its addresses, too.
    let headers =
        vec![("Cache-Control", format!("public, max-age={}", max_age / 1_000)), ("Vary", "Accept".to_owned())];
    Answer::of_json(body).with_headers(headers)
}

/// Returns what goes between what is written and the next item.
pub(crate) const fn comma(before: &str) -> &'static str {
    if before.is_empty() { "" } else { "," }
}

/// Writes a list of the configuration, in whose items nothing needs an escape.
fn items(list: &str) -> String {
    let mut text = String::new();
    for item in list.split(',').filter(|_| !list.is_empty()) {
        let _ = write!(text, "{}\"{}\"", comma(&text), item.trim());
    }
    text
}
