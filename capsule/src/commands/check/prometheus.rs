//! The text exposition format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>), for its textfile collector.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use super::beacons::BeaconHealth;
use super::capsules::CapsuleHealth;
use super::problem::HealthProblem;
use super::report::HealthReport;

/// The name and the help of each metric, and its samples.
#[derive(Default)]
struct Metrics(String);

impl Metrics {
    /// Adds a gauge, unless nothing is known of it.
    fn gauge<V: Display>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (String, V)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

/// `{name="value",…}`, whatever strangers wrote in the values.
fn labels(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    let labels: Vec<_> = labels.iter().map(label).collect();
    format!("{{{}}}", labels.join(","))
}

const fn truth(yes: bool) -> u8 {
    yes as u8
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// One sample for each code: a series must not be there twice.
fn problems<'a>(
    label: &'a str,
    who: &'a str,
    problems: &'a [HealthProblem],
    warnings: &'a [HealthProblem],
) -> impl Iterator<Item = (String, u8)> + 'a {
    let of = |severity: &'a str, problems: &'a [HealthProblem]| {
        problems.iter().map(move |problem| (severity, problem.code.as_str()))
    };
    let all: BTreeSet<_> = of("problem", problems).chain(of("warning", warnings)).collect();
    all.into_iter().map(move |(severity, code)| (labels(&[(label, who), ("code", code), ("severity", severity)]), 1))
}

/// The whole report.
pub(super) fn render(report: &HealthReport) -> String {
    let HealthReport { capsules, beacons, community, now, success } = report;
    let mut metrics = Metrics::default();
    let community = labels(&[("community", community.as_str())]);
    metrics.gauge(
        "rendezvous_check_healthy",
        "Whether all that was checked is healthy.",
        [(community.clone(), truth(report.is_healthy()))],
    );
    metrics.gauge(
        "rendezvous_check_timestamp_seconds",
        "When it was checked.",
        [(community.clone(), seconds(now.as_u64()))],
    );
    let rate = success
        .and_then(|success| success.per_cent)
        .map(|per_cent| format!("{}.{:02}", per_cent / 100, per_cent % 100));
    metrics.gauge(
        "rendezvous_check_success_ratio",
        "How much of the last 15 minutes it was well, from 0 to 1.",
        rate.map(|rate| (community, rate)),
    );
    capsule_metrics(&mut metrics, capsules);
    beacon_metrics(&mut metrics, beacons);
    metrics.0
}

fn capsule_metrics(metrics: &mut Metrics, capsules: &[CapsuleHealth]) {
    let label = |capsule: &CapsuleHealth| labels(&[("capsule", &capsule.capsule)]);
    metrics.gauge(
        "rendezvous_capsule_healthy",
        "Whether readers take the capsule and will go on to.",
        capsules.iter().map(|capsule| (label(capsule), truth(capsule.problems.is_empty()))),
    );
    metrics.gauge(
        "rendezvous_capsule_fetch_seconds",
        "Time for all files of the capsule.",
        capsules.iter().map(|capsule| (label(capsule), seconds(capsule.time_ms))),
    );
    let good = || capsules.iter().filter_map(|capsule| Some((capsule, capsule.good.as_ref()?)));
    metrics.gauge(
        "rendezvous_capsule_issued_timestamp_seconds",
        "When the capsule was issued.",
        good().map(|(capsule, good)| (label(capsule), seconds(good.issued_at.as_u64()))),
    );
    metrics.gauge(
        "rendezvous_capsule_expires_timestamp_seconds",
        "When the capsule ends.",
        good().map(|(capsule, good)| (label(capsule), seconds(good.expires_at.as_u64()))),
    );
    metrics.gauge(
        "rendezvous_capsule_peers",
        "Tickets in the capsule, by what they are worth now.",
        good().flat_map(|(capsule, good)| {
            let refused: usize = good.refused.values().sum();
            [("live", good.live), ("recently-seen", good.recently_seen), ("refused", refused)]
                .map(|(status, count)| (labels(&[("capsule", &capsule.capsule), ("status", status)]), count))
        }),
    );
    metrics.gauge(
        "rendezvous_capsule_problem",
        "What is wrong with the capsule, by code.",
        capsules.iter().flat_map(|CapsuleHealth { capsule, problems, warnings, .. }| {
            self::problems("capsule", capsule, problems, warnings)
        }),
    );
}

fn beacon_metrics(metrics: &mut Metrics, beacons: &[BeaconHealth]) {
    let label = |beacon: &BeaconHealth| labels(&[("beacon", &beacon.beacon)]);
    metrics.gauge(
        "rendezvous_beacon_healthy",
        "Whether the beacon answers as it should.",
        beacons.iter().map(|beacon| (label(beacon), truth(beacon.problems.is_empty()))),
    );
    metrics.gauge(
        "rendezvous_beacon_answer_seconds",
        "Time to the answer, by path.",
        beacons.iter().flat_map(|beacon| {
            [("/healthz", beacon.health_ms), ("/peers", beacon.peers_ms)].into_iter().filter_map(|(path, millis)| {
                Some((labels(&[("beacon", &beacon.beacon), ("path", path)]), seconds(millis?)))
            })
        }),
    );
    metrics.gauge(
        "rendezvous_beacon_peers",
        "Good tickets in the beacon's list.",
        beacons.iter().filter_map(|beacon| Some((label(beacon), beacon.tickets?))),
    );
    metrics.gauge(
        "rendezvous_beacon_problem",
        "What is wrong with the beacon, by code.",
        beacons.iter().flat_map(|BeaconHealth { beacon, problems, warnings, .. }| {
            self::problems("beacon", beacon, problems, warnings)
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_a_line_of_its_own() {
        let mut metrics = Metrics::default();
        metrics.gauge("a", "A.", [(labels(&[("b", "c\"} 1\nd \\ 名"), ("e", "")]), 7)]);
        metrics.gauge("f", "F.", Vec::<(String, u8)>::new());
        assert_eq!(metrics.0, "# HELP a A.\n# TYPE a gauge\na{b=\"c\\\"} 1\\nd \\\\ 名\",e=\"\"} 7\n");
    }

    #[test]
    fn a_problem_that_is_there_twice_is_one_series() {
        let twice = ["/healthz", "/peers"].map(|detail| HealthProblem::new("TIMED_OUT", detail));
        let warning = [HealthProblem::new("NO_PEERS", "")];
        let found: Vec<_> = problems("beacon", "https://a.example", &twice, &warning).collect();
        let series = |code: &str, severity: &str| {
            format!("{{beacon=\"https://a.example\",code=\"{code}\",severity=\"{severity}\"}}")
        };
        assert_eq!(found, [(series("TIMED_OUT", "problem"), 1), (series("NO_PEERS", "warning"), 1)]);
    }
}
