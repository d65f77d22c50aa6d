//! What is counted of requests, and how it is written for Prometheus (text format 0.0.4).
//!
//! Each event loop counts by itself, and all are added up when somebody asks: a registry that all share would be locked
//! for every announce. No address is counted, and no community has a label that the configuration does not name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_service::answer::Outcome;
use rendezvous_service::hivemind::HivemindFigures;

use crate::communities::Counts;
use crate::mailboxes::PushFigures;

/// Upper bounds of the buckets for the seconds of a request.
const BOUNDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// The paths that are told apart. Whatever else is asked for counts as the last.
const PATHS: [&str; 6] = ["/announce", "/leave", "/peers", "/healthz", "/live", "other"];

/// Holds what one event loop has counted of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurements {
    accepted: u64,
    /// By code.
    refused: BTreeMap<&'static str, u64>,
    seconds: [Histogram; PATHS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Histogram {
    /// Those in each bucket, and not in the one before.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Measurements {
    /// Counts a request.
    pub(crate) fn count(&mut self, path: &str, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Served => {}
            Outcome::Accepted => self.accepted += 1,
            Outcome::Refused(code) => *self.refused.entry(code).or_default() += 1,
        }
        let known = PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len() - 1);
        if let Some(histogram) = self.seconds.get_mut(known) {
            histogram.observe(took);
        }
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (code, count) in &other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        for (histogram, other) in self.seconds.iter_mut().zip(&other.seconds) {
            histogram.add(other);
        }
    }
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some((_, bucket)) = BOUNDS.iter().zip(&mut self.buckets).find(|(bound, _)| seconds <= **bound) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }

    fn add(&mut self, other: &Self) {
        for (bucket, other) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += other;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Holds what one event loop knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoopFigures {
    pub(crate) measurements: Measurements,
    pub(crate) counts: Counts,
    /// Connections of `GET /live`.
    pub(crate) live_connections: usize,
    /// What waits to be pushed to peers, and what has ended unpushed.
    pub(crate) pushes: (usize, u64),
    /// What became of messages of hivemind-rendezvous' users.
    pub(crate) hivemind: HivemindFigures,
    /// The names of the objects in memory, and how many are listed in each.
    pub(crate) live: Vec<(String, usize)>,
}

/// Writes what all event loops know. `rows` is absent where the database cannot be read, `pushes` where there are no peers, and
/// `has_hivemind` says whether there is a door for hivemind-rendezvous' users.
pub(crate) fn write(
    all: &[LoopFigures],
    named: &SortedSet<Community>,
    rows: Option<u64>,
    connections: usize,
    pushes: Option<PushFigures>,
    has_hivemind: bool,
) -> String {
    let mut total = Measurements::default();
    let mut counts = Counts::default();
    let mut live: BTreeMap<&str, usize> = named.iter().map(|community| (community.as_str(), 0)).collect();
    let (mut live_elsewhere, mut objects, mut live_connections) = (0, 0, 0);
    for figures in all {
        total.add(&figures.measurements);
        counts.evicted += figures.counts.evicted;
        counts.restored += figures.counts.restored;
        objects += figures.live.len();
        live_connections += figures.live_connections;
        for (name, listed) in &figures.live {
            *live.get_mut(name.as_str()).unwrap_or(&mut live_elsewhere) += listed;
        }
    }
    let mut text = Text(String::new());
    text.family(
        "rendezvous_live",
        "gauge",
        "Peers that are listed. Communities that the configuration does not name are one.",
    );
    for (community, listed) in live {
        text.sample("rendezvous_live", &format!("{{community=\"{community}\"}}"), listed);
    }
    text.sample("rendezvous_live", "{community=\"\"}", live_elsewhere);
    text.single("rendezvous_accepted_total", "counter", "Tickets that were listed.", total.accepted);
    text.family("rendezvous_refused_total", "counter", "Requests that were refused, by code.");
    for (code, count) in &total.refused {
        text.sample("rendezvous_refused_total", &format!("{{code=\"{code}\"}}"), count);
    }
    text.single("rendezvous_objects", "gauge", "Communities in memory.", objects);
    text.single("rendezvous_evicted_total", "counter", "Communities that were dropped from memory.", counts.evicted);
    text.single("rendezvous_restored_total", "counter", "Communities that were read from the state.", counts.restored);
    if let Some(rows) = rows {
        text.single("rendezvous_rows", "gauge", "Communities in the state.", rows);
    }
    text.single("rendezvous_connections", "gauge", "Connections that are open.", connections);
    text.single("rendezvous_live_connections", "gauge", "Of these, such of GET /live and of guests.", live_connections);
    if let Some(PushFigures { taken, rejected, failed }) = pushes {
        let (waiting, ended) =
            all.iter().fold((0, 0), |(waiting, ended), figures| (waiting + figures.pushes.0, ended + figures.pushes.1));
        let name = |end: &str| format!("rendezvous_replication_{end}");
        text.single(&name("push_ok_total"), "counter", "Records that peers have, or had.", taken);
        text.single(&name("push_rejected_total"), "counter", "Records that peers refused.", rejected);
        text.single(&name("push_error_total"), "counter", "Pushes that failed, and are made again.", failed);
        text.single(&name("waiting"), "gauge", "Records that some peer does not have yet.", waiting);
        text.single(&name("ended_total"), "counter", "Records that waited too long, and were given up.", ended);
    }
    if has_hivemind {
        let mut sum = HivemindFigures::default();
        all.iter().for_each(|figures| sum.add(figures.hivemind));
        let name = |what: &str| format!("rendezvous_hivemind_{what}_total");
        text.single(&name("deposited"), "counter", "Messages that were left by this door.", sum.deposited);
        text.single(&name("handed_over"), "counter", "Messages that were handed over by this door.", sum.handed_over);
    }
    text.family("rendezvous_request_seconds", "histogram", "Time from the head of a request to its answer.");
    for (path, histogram) in PATHS.iter().zip(&total.seconds) {
        let name = "rendezvous_request_seconds";
        let mut up_to = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
            up_to += count;
            text.sample(&format!("{name}_bucket"), &format!("{{path=\"{path}\",le=\"{bound}\"}}"), up_to);
        }
        text.sample(&format!("{name}_bucket"), &format!("{{path=\"{path}\",le=\"+Inf\"}}"), histogram.count);
        text.sample(&format!("{name}_sum"), &format!("{{path=\"{path}\"}}"), histogram.sum.as_secs_f64());
        text.sample(&format!("{name}_count"), &format!("{{path=\"{path}\"}}"), histogram.count);
    }
    text.0
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_added_up_and_nobody_can_invent_a_label() {
        let mut measurements = Measurements::default();
        measurements.count("/announce", Outcome::Accepted, Duration::from_micros(80));
        measurements.count("/announce", Outcome::Refused("EXPIRED"), Duration::from_micros(300));
        measurements.count("/\"} 1\n", Outcome::Refused("NOT_FOUND"), Duration::from_secs(11));
        let figures = |live: &[(&str, usize)]| LoopFigures {
            measurements: measurements.clone(),
            counts: Counts { evicted: 1, restored: 2 },
            live_connections: 1,
            pushes: (3, 1),
            hivemind: HivemindFigures { deposited: 6, handed_over: 4 },
            live: live.iter().map(|(name, live)| ((*name).to_owned(), *live)).collect(),
        };
        let pushes = PushFigures { taken: 10, rejected: 11, failed: 12 };
        let named = ["a", "b"].map(|name| Community::new(name).unwrap()).into_iter().collect();
        let text = write(
            &[figures(&[("a", 3), ("invented", 4)]), figures(&[("other", 5)])],
            &named,
            Some(7),
            2,
            Some(pushes),
            true,
        );
        for line in [
            "rendezvous_live{community=\"a\"} 3",
            "rendezvous_live{community=\"b\"} 0",
            "rendezvous_live{community=\"\"} 9",
            "rendezvous_accepted_total 2",
            "rendezvous_refused_total{code=\"EXPIRED\"} 2",
            "rendezvous_objects 3",
            "rendezvous_evicted_total 2",
            "rendezvous_restored_total 4",
            "rendezvous_rows 7",
            "rendezvous_connections 2",
            "rendezvous_live_connections 2",
            "rendezvous_replication_push_ok_total 10",
            "rendezvous_replication_push_rejected_total 11",
            "rendezvous_replication_push_error_total 12",
            "rendezvous_replication_waiting 6",
            "rendezvous_replication_ended_total 2",
            "rendezvous_hivemind_deposited_total 12",
            "rendezvous_hivemind_handed_over_total 8",
            "rendezvous_request_seconds_bucket{path=\"/announce\",le=\"0.0001\"} 2",
            "rendezvous_request_seconds_bucket{path=\"/announce\",le=\"0.00025\"} 2",
            "rendezvous_request_seconds_bucket{path=\"/announce\",le=\"0.0005\"} 4",
            "rendezvous_request_seconds_bucket{path=\"/announce\",le=\"+Inf\"} 4",
            "rendezvous_request_seconds_bucket{path=\"other\",le=\"10\"} 0",
            "rendezvous_request_seconds_sum{path=\"other\"} 22",
            "rendezvous_request_seconds_count{path=\"other\"} 2",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in\n{text}");
        }
        assert!(!text.contains("invented"));
        let nothing = write(&[], &named, None, 0, None, false);
        assert!(!nothing.contains("rendezvous_rows"), "what cannot be read is not none");
        assert!(!nothing.contains("replication") && !nothing.contains("hivemind"), "there are no peers and no door");
    }
}
