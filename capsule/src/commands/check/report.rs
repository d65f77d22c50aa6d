//! What was found, for people, for scripts and for an issue.

use std::fmt::Write as _;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::success_rate::{Alert, LEAST_PER_CENT, WINDOW};
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use super::beacons::BeaconHealth;
use super::capsules::CapsuleHealth;
use super::history::SuccessReport;
use super::problem::HealthProblem;
use crate::failure::Exit;
use crate::hook::FailureNotice;
use crate::text;

const CAPSULE_HEAD: [&str; 8] = ["CAPSULE", "HEALTHY", "TIME", "ISSUED", "EXPIRES", "LIVE", "SEEN", "WHAT IS WRONG"];
const BEACON_HEAD: [&str; 6] = ["BEACON", "HEALTHY", "HEALTHZ", "PEERS", "TICKETS", "WHAT IS WRONG"];

/// What was found.
pub(super) struct HealthReport {
    pub(super) capsules: Vec<CapsuleHealth>,
    pub(super) beacons: Vec<BeaconHealth>,
    pub(super) community: Community,
    pub(super) now: UnixMillis,
    /// Where there is a history.
    pub(super) success: Option<SuccessReport>,
}

impl HealthReport {
    /// Whether there is nothing wrong. (With the success rate there may be.)
    pub(super) fn is_healthy(&self) -> bool {
        self.unhealthy() == (0, 0)
    }

    /// Whether somebody is to be told: where there is a history when the rate falls, else whenever something is wrong.
    pub(super) fn is_failure(&self) -> bool {
        self.success.map_or_else(|| !self.is_healthy(), |success| success.alert == Alert::Begins)
    }

    /// How many are healthy, of how many.
    pub(super) fn counts(&self) -> (usize, usize) {
        let all = self.capsules.len().saturating_add(self.beacons.len());
        let (capsules, beacons) = self.unhealthy();
        (all.saturating_sub(capsules).saturating_sub(beacons), all)
    }

    /// The exit code for it.
    pub(super) fn exit(&self) -> Exit {
        if self.success.is_some_and(|success| success.alert.is_on()) {
            return Exit::Alert;
        }
        let mut reached = self.capsules.iter().map(|capsule| capsule.fetched);
        let mut answered = self.beacons.iter().map(|beacon| beacon.answered);
        match (self.unhealthy(), reached.any(|yes| yes) || answered.any(|yes| yes)) {
            ((0, 0), _) => Exit::Good,
            (_, true) => Exit::Refused,
            (_, false) => Exit::Unreachable,
        }
    }

    /// How many capsules, and how many beacons.
    fn unhealthy(&self) -> (usize, usize) {
        let capsules = self.capsules.iter().filter(|capsule| !capsule.problems.is_empty()).count();
        let beacons = self.beacons.iter().filter(|beacon| !beacon.problems.is_empty()).count();
        (capsules, beacons)
    }

    /// For scripts.
    pub(super) fn to_json(&self) -> Value {
        let mut result = json!({
            "ok": self.exit() == Exit::Good,
            "community": self.community.as_str(),
            "now": self.now,
            "capsules": self.capsules,
            "beacons": self.beacons,
        });
        if let (Some(success), Value::Object(result)) = (self.success, &mut result) {
            result.insert("successPercent".to_owned(), json!(success.per_cent));
            result.insert("alert".to_owned(), json!(success.alert.is_on()));
        }
        result
    }

    /// For whoever is to be told.
    pub(super) fn notice(&self) -> FailureNotice {
        FailureNotice {
            summary: self.summary(),
            community: self.community.to_string(),
            per_cent: self.success.and_then(|success| success.per_cent),
        }
    }

    /// One sentence.
    fn summary(&self) -> String {
        let rate = match self.success {
            Some(SuccessReport { per_cent: Some(per_cent), alert }) => {
                let least = if alert.is_on() { format!(", below {LEAST_PER_CENT} %") } else { String::new() };
                format!("; success rate of the last {}: {per_cent} %{least}", text::compact(WINDOW))
            }
            _ => String::new(),
        };
        self.health() + &rate
    }

    fn health(&self) -> String {
        let all = |count, one, many| text::count(count, one, many);
        let capsules = all(self.capsules.len(), "capsule", "capsules");
        let beacons = all(self.beacons.len(), "beacon", "beacons");
        match self.unhealthy() {
            (0, 0) => format!("{} is healthy: {capsules}, {beacons}", self.community),
            (bad_capsules, bad_beacons) => {
                format!("{} is unhealthy: {bad_capsules} of {capsules}, {bad_beacons} of {beacons}", self.community)
            }
        }
    }

    fn capsule_rows(&self) -> Vec<[String; 8]> {
        let row = |CapsuleHealth { capsule, time_ms, problems, warnings, good, .. }: &CapsuleHealth| {
            let shown =
                |show: &dyn Fn(&super::capsules::Good) -> String| good.as_ref().map_or_else(|| "-".to_owned(), show);
            [
                text::printable(capsule),
                healthy(problems),
                seconds(Some(*time_ms)),
                shown(&|good| text::distance(good.issued_at, self.now)),
                shown(&|good| text::distance(good.expires_at, self.now)),
                shown(&|good| good.live.to_string()),
                shown(&|good| good.recently_seen.to_string()),
                in_words(problems, warnings),
            ]
        };
        self.capsules.iter().map(row).collect()
    }

    fn beacon_rows(&self) -> Vec<[String; 6]> {
        let row = |BeaconHealth { beacon, health_ms, peers_ms, tickets, problems, warnings, .. }: &BeaconHealth| {
            [
                text::printable(beacon),
                healthy(problems),
                seconds(*health_ms),
                seconds(*peers_ms),
                tickets.map_or_else(|| "-".to_owned(), |tickets| tickets.to_string()),
                in_words(problems, warnings),
            ]
        };
        self.beacons.iter().map(row).collect()
    }

    /// Tables, and a sentence.
    pub(super) fn to_text(&self) -> String {
        let mut shown = String::new();
        if !self.capsules.is_empty() {
            shown.push_str(&table(CAPSULE_HEAD, self.capsule_rows()));
            shown.push('\n');
        }
        if !self.beacons.is_empty() {
            shown.push_str(&table(BEACON_HEAD, self.beacon_rows()));
            shown.push('\n');
        }
        shown + &self.summary() + "\n"
    }

    /// The title, an empty line, and the body.
    pub(super) fn to_issue(&self) -> String {
        let mut shown = format!("{}\n\nChecked at {}.\n", self.summary(), text::date(self.now));
        if !self.capsules.is_empty() {
            shown.push('\n');
            shown.push_str(&markdown(CAPSULE_HEAD, self.capsule_rows()));
        }
        if !self.beacons.is_empty() {
            shown.push('\n');
            shown.push_str(&markdown(BEACON_HEAD, self.beacon_rows()));
        }
        shown
    }
}

fn healthy(problems: &[HealthProblem]) -> String {
    if problems.is_empty() { "yes" } else { "NO" }.to_owned()
}

fn in_words(problems: &[HealthProblem], warnings: &[HealthProblem]) -> String {
    let shown = |HealthProblem { code, detail }: &HealthProblem| text::printable(&format!("{code}: {detail}"));
    let warnings = warnings.iter().map(|warning| format!("warning: {}", shown(warning)));
    problems.iter().map(shown).chain(warnings).collect::<Vec<_>>().join("; ")
}

fn seconds(millis: Option<u64>) -> String {
    millis.map_or_else(|| "-".to_owned(), |millis| format!("{}.{:02}s", millis / 1000, millis % 1000 / 10))
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    text::table(&rows)
}

fn markdown<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut shown = format!("| {} |\n|{}\n", head.map(str::to_lowercase).join(" | "), " --- |".repeat(N));
    for row in rows {
        // Writing to a String does not fail.
        let _ = writeln!(shown, "| {} |", row.map(|cell| code_span(&cell)).join(" | "));
    }
    shown
}

/// What strangers wrote must not become a link, a mention or another column.
fn code_span(text: &str) -> String {
    let text = text.replace('`', "'").replace('\\', "/").replace('|', "\\|");
    if text.is_empty() { text } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_a_strangers_words_stays_a_cell() {
        assert_eq!(code_span("a | b`@everyone` \\"), "`a \\| b'@everyone' /`");
        assert_eq!(code_span(""), "");
        assert_eq!(
            markdown(["A", "B"], vec![["1".to_owned(), String::new()]]),
            "| a | b |\n| --- | --- |\n| `1` |  |\n"
        );
    }
}
