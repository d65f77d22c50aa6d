//! What was found, for people, for scripts and for an issue.

use std::fmt::Write as _;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use super::arguments::CheckArguments;
use super::beacons::BeaconHealth;
use super::capsules::CapsuleHealth;
use super::problem::HealthProblem;
use crate::failure::Exit;
use crate::outcome::Outcome;
use crate::text;

const CAPSULE_HEAD: [&str; 8] = ["CAPSULE", "HEALTHY", "TIME", "ISSUED", "EXPIRES", "LIVE", "SEEN", "WHAT IS WRONG"];
const BEACON_HEAD: [&str; 6] = ["BEACON", "HEALTHY", "HEALTHZ", "PEERS", "TICKETS", "WHAT IS WRONG"];

/// What was found.
pub(super) struct HealthReport {
    pub(super) capsules: Vec<CapsuleHealth>,
    pub(super) beacons: Vec<BeaconHealth>,
    pub(super) community: Community,
    pub(super) now: UnixMillis,
}

impl HealthReport {
    /// As the result of the command.
    pub(super) fn outcome(&self, arguments: &CheckArguments) -> Outcome {
        let exit = self.exit();
        if arguments.json {
            let result = json!({
                "ok": exit == Exit::Good,
                "community": self.community.as_str(),
                "now": self.now,
                "capsules": self.capsules,
                "beacons": self.beacons,
            });
            Outcome::json(&result, exit)
        } else if arguments.github_issue {
            Outcome::text(self.to_issue(), exit)
        } else {
            Outcome::text(self.to_text(), exit)
        }
    }

    fn exit(&self) -> Exit {
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

    fn summary(&self) -> String {
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
        let row = |CapsuleHealth { capsule, time_ms, problems, good, .. }: &CapsuleHealth| {
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
                in_words(problems),
            ]
        };
        self.capsules.iter().map(row).collect()
    }

    fn beacon_rows(&self) -> Vec<[String; 6]> {
        let row = |BeaconHealth { beacon, health_ms, peers_ms, tickets, problems, .. }: &BeaconHealth| {
            [
                text::printable(beacon),
                healthy(problems),
                seconds(*health_ms),
                seconds(*peers_ms),
                tickets.map_or_else(|| "-".to_owned(), |tickets| tickets.to_string()),
                in_words(problems),
            ]
        };
        self.beacons.iter().map(row).collect()
    }

    fn to_text(&self) -> String {
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
    fn to_issue(&self) -> String {
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

fn in_words(problems: &[HealthProblem]) -> String {
    let problems = problems.iter().map(|HealthProblem { code, detail }| text::printable(&format!("{code}: {detail}")));
    problems.collect::<Vec<_>>().join("; ")
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
