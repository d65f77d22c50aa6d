//! How much of the last 15 minutes something was well that is looked at now and then, and when that is too little.
//!
//! Each outcome counts until the next one, so that the rate is one of time: whoever looks more often while something
//! fails, as a publisher does that tries again sooner, does not make the failure weigh more. An outcome says nothing of
//! the time before it, so that the first one makes no rate, and an alert begins with the second bad one at the earliest.
//!
//! Out of scope: looking, storing, telling somebody.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::object::Object;
use crate::time::{UnixMillis, saturating_millis};

/// The time that a rate is of.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);

/// The lowest rate, in per cent, that raises no alert.
pub const LEAST_PER_CENT: u64 = 80;

/// Outcomes that are remembered: more than one for each second of [`WINDOW`].
pub const OUTCOMES_MAX: usize = 1_000;

/// Bytes of the text form, at most 70 an outcome.
pub const SUCCESS_RATE_MAX_BYTES: usize = 80 * OUTCOMES_MAX;

/// The version of the text form.
const VERSION: u32 = 1;

/// Parts of a whole that a share is counted in.
const WHOLE: u64 = 10_000;

/// Says why a text is not a history.
#[derive(Debug, thiserror::Error)]
pub enum SuccessRateError {
    /// More bytes than any history has.
    #[error("it is longer than {SUCCESS_RATE_MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON of a history.
    #[error("{0}")]
    Malformed(String),
    /// Of another version of this program.
    #[error("its version is {version}, and {VERSION} is read")]
    UnsupportedVersion {
        /// What it says.
        version: u32,
    },
}

/// Holds what was found at one moment: how many things were looked at, and how many of them were well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    time: UnixMillis,
    good: u32,
    all: u32,
}

/// Says what an outcome did to the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// The rate is high enough, as before.
    Off,
    /// The rate has fallen below [`LEAST_PER_CENT`].
    Begins,
    /// It has been there before.
    Stays,
    /// It has risen to [`LEAST_PER_CENT`] or more.
    Ends,
}

impl Alert {
    /// Returns whether the rate is too low now.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::Begins | Self::Stays)
    }
}

/// Remembers the outcomes of [`WINDOW`], oldest first, and the last one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuccessRate {
    outcomes: VecDeque<Outcome>,
    is_low: bool,
}

#[derive(Serialize)]
struct HistoryText<'a> {
    version: u32,
    alert: bool,
    outcomes: &'a VecDeque<Outcome>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryFields {
    version: u32,
    alert: bool,
    outcomes: VecDeque<Outcome>,
}

impl SuccessRate {
    /// Reads the text form.
    ///
    /// # Errors
    /// See [`SuccessRateError`].
    pub fn parse(json: &[u8]) -> Result<Self, SuccessRateError> {
        if json.len() > SUCCESS_RATE_MAX_BYTES {
            return Err(SuccessRateError::TooLarge);
        }
        let malformed = |error: serde_json::Error| SuccessRateError::Malformed(error.to_string());
        let Object(HistoryFields { version, alert, mut outcomes }) = serde_json::from_slice(json).map_err(malformed)?;
        if version != VERSION {
            return Err(SuccessRateError::UnsupportedVersion { version });
        }
        if outcomes.iter().any(|outcome| outcome.good > outcome.all || outcome.all == 0) {
            return Err(SuccessRateError::Malformed("an outcome has more that is good than there is".to_owned()));
        }
        if !outcomes.make_contiguous().is_sorted_by_key(|outcome| outcome.time) {
            return Err(SuccessRateError::Malformed("the outcomes are not in the order of time".to_owned()));
        }
        outcomes.drain(..outcomes.len().saturating_sub(OUTCOMES_MAX));
        Ok(Self { outcomes, is_low: alert })
    }

    /// Returns the text form, with a line end.
    pub fn to_json(&self) -> String {
        let text = HistoryText { version: VERSION, alert: self.is_low, outcomes: &self.outcomes };
        // What is serialised here has only strings as keys, so that it cannot fail.
        serde_json::to_string(&text).unwrap_or_default() + "\n"
    }

    /// Takes what was found now: `good` of `all`, of which there is at least one. Outcomes of the future, which a clock
    /// that was put right leaves, are forgotten.
    pub fn record(&mut self, now: UnixMillis, good: usize, all: usize) -> Alert {
        let [all, good] = [all.max(1), good.min(all)].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        self.outcomes.retain(|outcome| outcome.time <= now);
        self.outcomes.push_back(Outcome { time: now, good, all });
        let is_over = |outcome: &Outcome| now.since(outcome.time) >= WINDOW;
        // The last one from before is what holds at the beginning.
        while self.outcomes.len() > OUTCOMES_MAX || self.outcomes.get(1).is_some_and(is_over) {
            self.outcomes.pop_front();
        }
        let is_low = self.parts(now).is_some_and(|parts| parts < WHOLE / 100 * LEAST_PER_CENT);
        match (std::mem::replace(&mut self.is_low, is_low), is_low) {
            (false, false) => Alert::Off,
            (false, true) => Alert::Begins,
            (true, true) => Alert::Stays,
            (true, false) => Alert::Ends,
        }
    }

    /// Returns the rate in whole per cent, rounded down. `None` while no time has passed since the first outcome.
    pub fn per_cent(&self, now: UnixMillis) -> Option<u64> {
        self.parts(now).map(|parts| parts / (WHOLE / 100))
    }

    fn parts(&self, now: UnixMillis) -> Option<u64> {
        let begin = UnixMillis::saturating(now.as_u64().saturating_sub(saturating_millis(WINDOW)));
        let ends = self.outcomes.iter().skip(1).map(|outcome| outcome.time).chain([now]);
        let (mut good, mut time) = (0_u64, 0_u64);
        for (outcome, end) in self.outcomes.iter().zip(ends) {
            let held = saturating_millis(end.min(now).since(outcome.time.max(begin)));
            time = time.saturating_add(held);
            good = good.saturating_add(held * (WHOLE * u64::from(outcome.good) / u64::from(outcome.all.max(1))));
        }
        good.checked_div(time)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000_000;

    const fn at(seconds: u64) -> UnixMillis {
        UnixMillis::saturating(START + seconds * 1_000)
    }

    #[test]
    fn a_rate_is_one_of_time_and_an_alert_begins_and_ends_once() {
        let mut rate = SuccessRate::default();
        assert_eq!((rate.record(at(0), 2, 2), rate.per_cent(at(0))), (Alert::Off, None));
        // Three good minutes, then a bad one: it counts from now on.
        assert_eq!((rate.record(at(180), 0, 2), rate.per_cent(at(180))), (Alert::Off, Some(100)));
        assert_eq!((rate.record(at(225), 0, 2), rate.per_cent(at(225))), (Alert::Off, Some(80)));
        assert_eq!((rate.record(at(240), 0, 2), rate.per_cent(at(240))), (Alert::Begins, Some(75)));
        assert_eq!(rate.record(at(300), 2, 2), Alert::Stays);
        // Two of them bad for 120 s, 480 good.
        assert_eq!((rate.record(at(600), 2, 2), rate.per_cent(at(600))), (Alert::Ends, Some(80)));
        assert_eq!(rate.record(at(660), 2, 2), Alert::Off);
    }

    #[test]
    fn trying_again_often_makes_a_failure_no_heavier() {
        let mut rate = SuccessRate::default();
        for minutes in 0..4 {
            rate.record(at(minutes * 300), 1, 1);
        }
        for second in 0..60 {
            assert_eq!(rate.record(at(1_200 + second), 0, 1), Alert::Off, "{second}");
        }
        assert_eq!(rate.per_cent(at(1_260)), Some(93));
    }

    #[test]
    fn a_part_that_is_well_counts_as_that_part() {
        let mut rate = SuccessRate::default();
        rate.record(at(0), 4, 5);
        assert_eq!((rate.record(at(60), 4, 5), rate.per_cent(at(60))), (Alert::Off, Some(80)));
        rate.record(at(60), 3, 4);
        assert_eq!(rate.record(at(86_400), 3, 4), Alert::Begins);
        assert_eq!(rate.per_cent(at(86_400)), Some(75));
    }

    #[test]
    fn the_text_is_pinned_and_what_is_not_one_is_named() {
        let mut rate = SuccessRate::default();
        rate.record(at(0), 0, 1);
        rate.record(at(1), 1, 3);
        let text = "{\"version\":1,\"alert\":true,\"outcomes\":[{\"time\":1700000000000,\"good\":0,\"all\":1},\
                    {\"time\":1700000001000,\"good\":1,\"all\":3}]}\n";
        assert_eq!(rate.to_json(), text);
        assert_eq!(SuccessRate::parse(text.as_bytes()).unwrap(), rate);
        let long = " ".repeat(SUCCESS_RATE_MAX_BYTES + 1);
        for (bad, message) in [
            ("", "EOF"),
            ("[]", "expected"),
            ("{\"version\":1,\"alert\":true}", "outcomes"),
            ("{\"version\":2,\"alert\":true,\"outcomes\":[]}", "version is 2"),
            ("{\"version\":1,\"alert\":true,\"outcomes\":[],\"x\":1}", "unknown field"),
            ("{\"version\":1,\"alert\":true,\"outcomes\":[{\"time\":1,\"good\":2,\"all\":1}]}", "more that is good"),
            (
                "{\"version\":1,\"alert\":true,\"outcomes\":[{\"time\":2,\"good\":1,\"all\":1},{\"time\":1,\"good\":1,\"all\":1}]}",
                "order of time",
            ),
            (long.as_str(), "longer than"),
        ] {
            let error = SuccessRate::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_it_stays_small_and_is_read_again(
            outcomes in prop::collection::vec((any::<u64>(), 0..9_usize, 0..9_usize), 0..60),
        ) {
            let mut rate = SuccessRate::default();
            for (time, good, all) in outcomes {
                let now = UnixMillis::saturating(time);
                rate.record(now, good, all);
                prop_assert!(rate.per_cent(now).is_none_or(|per_cent| per_cent <= 100));
                prop_assert!(rate.per_cent(UnixMillis::MAX).is_none_or(|per_cent| per_cent <= 100));
            }
            let text = rate.to_json();
            prop_assert!(text.len() <= SUCCESS_RATE_MAX_BYTES);
            prop_assert_eq!(SuccessRate::parse(text.as_bytes()).unwrap(), rate);
        }

        #[test]
        fn no_more_is_remembered_than_the_window_has_seconds(seconds in 1_000..4_000_u64) {
            let mut rate = SuccessRate::default();
            for second in 0..seconds {
                rate.record(at(second), 1, 1);
            }
            prop_assert!(rate.outcomes.len() <= 902);
            prop_assert!(rate.to_json().len() <= SUCCESS_RATE_MAX_BYTES);
        }
    }
}
