//! What came back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Results of requests, as they come in.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers that had the expected text in them.
    pub(crate) matching: u64,
    pub(crate) bytes: u64,
    /// From when a request was due to the last byte of its answer.
    pub(crate) latencies: Vec<Duration>,
    /// From when a request was due to when it was given to a connection, or to the queue for one.
    pub(crate) lateness: Vec<Duration>,
    /// Connections that broke.
    pub(crate) broken: u64,
    /// Why the last of them did.
    pub(crate) break_cause: Option<String>,
    pub(crate) last_answer: Vec<u8>,
}

impl Tally {
    /// Counts an answer.
    pub(crate) fn count(&mut self, status: u16, body: &[u8], is_matching: bool, latency: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.latencies.push(latency);
        self.bytes += body.len() as u64;
        self.matching += u64::from(is_matching);
        self.last_answer.clear();
        self.last_answer.extend_from_slice(body);
    }

    /// Counts a connection that broke, and its request with it.
    pub(crate) fn count_break(&mut self, error: &hyper::Error) {
        self.broken += 1;
        self.break_cause = Some(format!("{error:?}"));
    }
}

/// Holds one line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    requests: u64,
    seconds: f64,
    per_second: f64,
    statuses: BTreeMap<u16, u64>,
    matching: u64,
    broken: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    break_cause: Option<String>,
    bytes_per_answer: u64,
    /// The part of the time in which this program's one thread ran: near 1 it was the bottleneck.
    busy: f64,
    latency_micros: Quantiles,
    lateness_micros: Quantiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_answer: Option<String>,
}

#[derive(Serialize)]
struct Quantiles {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Summary {
    pub(crate) fn new(mut tally: Tally, took: Duration, ran: Duration, with_answer: bool) -> Self {
        let requests: u64 = tally.statuses.values().sum();
        let seconds = took.as_secs_f64();
        Self {
            requests,
            seconds,
            per_second: if seconds > 0.0 { requests as f64 / seconds } else { 0.0 },
            statuses: tally.statuses,
            matching: tally.matching,
            broken: tally.broken,
            break_cause: tally.break_cause,
            bytes_per_answer: tally.bytes.checked_div(requests).unwrap_or_default(),
            busy: if seconds > 0.0 { ran.as_secs_f64() / seconds } else { 0.0 },
            latency_micros: Quantiles::of(&mut tally.latencies),
            lateness_micros: Quantiles::of(&mut tally.lateness),
            last_answer: with_answer.then(|| String::from_utf8_lossy(&tally.last_answer).into_owned()),
        }
    }
}

impl Quantiles {
    /// Computes exact quantiles: every value is kept, and none is put in a bucket.
    fn of(values: &mut [Duration]) -> Self {
        values.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (values.len() * per_mille).div_ceil(1_000).max(1) - 1;
            values.get(rank).map_or(0, |value| u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
        };
        Self { p50: at(500), p99: at(990), p999: at(999), max: at(1_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values: Vec<_> = (1..=1_000).rev().map(Duration::from_micros).collect();
        let Quantiles { p50, p99, p999, max } = Quantiles::of(&mut values);
        assert_eq!((p50, p99, p999, max), (500, 990, 999, 1_000));
        assert_eq!(Quantiles::of(&mut []).max, 0);
        assert_eq!(Quantiles::of(&mut [Duration::from_micros(7)]).p50, 7);
    }
}
