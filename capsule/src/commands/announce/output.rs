//! What people and scripts get to read while a server is announced.

use std::time::Duration;

use rendezvous_protocol::announcer::{BeaconStatus, Moment, RequestProblem};
use rendezvous_protocol::limits::CLOCK_SKEW;
use rendezvous_protocol::time::saturating_millis;
use serde_json::{Value, json};

use crate::beacon::Beacon;
use crate::log::Log;
use crate::outcome::print_event;
use crate::text;

/// The code where a beacon answers and does not list the peer.
pub(super) const NOT_LISTED: &str = "NOT_LISTED";

/// The same in words, of a beacon whose roster is full.
pub(super) const NO_PLACE: &str = "the beacon has no place for it now";

pub(super) fn clock_line(behind: i64) -> String {
    let off = Duration::from_millis(behind.unsigned_abs());
    if off <= CLOCK_SKEW {
        return "clock: this machine's is right again".to_owned();
    }
    let way = if behind > 0 { "behind" } else { "ahead" };
    format!(
        "clock: this machine's is {} {way} by what the beacons say; tickets are dated by theirs. Correct it",
        text::duration(off)
    )
}

/// What is said where a single beacon tells a much later time.
pub(super) fn unconfirmed_clock_line(behind: i64) -> String {
    format!(
        "clock: the only beacon that tells the time says that this machine's is {} behind, and one alone is not believed. \
         Correct it if it is, or name another beacon",
        text::duration(Duration::from_millis(behind.unsigned_abs()))
    )
}

/// Who hears of changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Text(Log),
    Json,
    /// There is a report at the end.
    Silent,
}

impl Output {
    pub(super) fn say(
        self,
        now: Moment,
        event: &str,
        beacon: Option<&Beacon>,
        line: std::fmt::Arguments<'_>,
        fields: impl FnOnce() -> Value,
    ) {
        match self {
            Self::Silent => {}
            Self::Text(log) => match beacon {
                Some(beacon) => log.note(format_args!("{beacon}: {line}")),
                None => log.note(line),
            },
            Self::Json => {
                let mut object = json!({ "event": event, "time": now.wall });
                if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields()) {
                    object.extend(beacon.map(|beacon| ("beacon".to_owned(), beacon.to_string().into())));
                    object.extend(fields);
                }
                print_event(&object);
            }
        }
    }

    pub(super) fn say_status(self, now: Moment, beacon: &Beacon, status: &BeaconStatus) {
        let name = match status {
            BeaconStatus::Unknown => "unknown",
            BeaconStatus::Listed { .. } => "listed",
            BeaconStatus::Unlisted { .. } => "unlisted",
            BeaconStatus::Failing { .. } => "failing",
            BeaconStatus::Left { .. } => "left",
        };
        let line = status_line(status);
        self.say(now, name, Some(beacon), format_args!("{line}"), || status_json(status));
    }
}

fn status_line(status: &BeaconStatus) -> String {
    match status {
        BeaconStatus::Unknown => "nothing is known".to_owned(),
        BeaconStatus::Listed { .. } => "listed".to_owned(),
        BeaconStatus::Unlisted { retry_in } => {
            format!("not listed: {NO_PLACE}; asks again in {}", text::duration(*retry_in))
        }
        BeaconStatus::Failing { problem, answered, retry_in, listed_until, .. } => {
            let listed = match listed_until {
                Some(until) => format!("still listed until {}", text::date(*until)),
                None => "not listed".to_owned(),
            };
            let again = match saturating_millis(*retry_in) {
                0 => "tries again at once".to_owned(),
                _ => format!("tries again in {}", text::duration(*retry_in)),
            };
            format!("{}; {listed}, {again}", problem_line(problem, *answered))
        }
        BeaconStatus::Left { left: true, .. } => "left".to_owned(),
        BeaconStatus::Left { problem: Some(problem), .. } => {
            format!(
                "could not be told: {}; it forgets the last ticket when that ends",
                text::printable(&problem.detail)
            )
        }
        BeaconStatus::Left { problem: None, .. } => "left; it was not listed there".to_owned(),
    }
}

fn problem_line(RequestProblem { code, detail }: &RequestProblem, answered: bool) -> String {
    let detail = text::printable(detail);
    if answered { format!("refused, {code}: {detail}") } else { detail }
}

fn status_json(status: &BeaconStatus) -> Value {
    match status {
        BeaconStatus::Unknown => json!({}),
        BeaconStatus::Listed { until } => json!({ "expiresAt": until }),
        BeaconStatus::Unlisted { retry_in } => json!({
            "code": NOT_LISTED,
            "detail": NO_PLACE,
            "retryInMs": saturating_millis(*retry_in),
        }),
        BeaconStatus::Failing {
            problem: RequestProblem { code, detail }, answered, retry_in, listed_until, ..
        } => json!({
            "answered": answered,
            "code": code,
            "detail": detail,
            "retryInMs": saturating_millis(*retry_in),
            "listedUntil": listed_until,
        }),
        BeaconStatus::Left { left, problem } => {
            let code = problem.as_ref().map(|problem| &problem.code);
            json!({ "left": left, "code": code })
        }
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::time::UnixMillis;

    use super::*;

    fn problem() -> RequestProblem {
        RequestProblem { code: "THROTTLED".to_owned(), detail: "too \u{1b}[2Jmany".to_owned() }
    }

    #[test]
    fn a_line_says_what_happened_whether_it_is_listed_and_what_comes_next() {
        let failing = |answered, retry_in, listed_until: Option<u64>| BeaconStatus::Failing {
            problem: problem(),
            answered,
            failures: 1,
            retry_in: Duration::from_millis(retry_in),
            listed_until: listed_until.map(UnixMillis::saturating),
        };
        for (status, line) in [
            (BeaconStatus::Listed { until: UnixMillis::MAX }, "listed"),
            (
                BeaconStatus::Unlisted { retry_in: Duration::from_millis(61_500) },
                "not listed: the beacon has no place for it now; asks again in 1m 1s",
            ),
            (failing(true, 1_900, None), "refused, THROTTLED: too \\u{1b}[2Jmany; not listed, tries again in 1s"),
            (
                failing(false, 0, Some(1_700_000_000_000)),
                "too \\u{1b}[2Jmany; still listed until 2023-11-14T22:13:20Z, tries again at once",
            ),
            (BeaconStatus::Left { left: true, problem: None }, "left"),
            (BeaconStatus::Left { left: false, problem: None }, "left; it was not listed there"),
            (
                BeaconStatus::Left { left: false, problem: Some(problem()) },
                "could not be told: too \\u{1b}[2Jmany; it forgets the last ticket when that ends",
            ),
        ] {
            assert_eq!(status_line(&status), line);
        }
    }

    #[test]
    fn a_clock_is_said_to_be_wrong_one_way_or_the_other_or_right_again() {
        for (behind, part) in [(3_600_000, "1h behind"), (-90_000, "1m 30s ahead"), (-15_000, "right again")] {
            assert!(clock_line(behind).contains(part), "{}", clock_line(behind));
        }
        assert!(unconfirmed_clock_line(3_600_000).contains("is 1h behind, and one alone"));
    }
}
