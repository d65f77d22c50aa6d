//! When a roster is written to storage, and when its object is woken to tidy up.
//!
//! Presence is soft: every live peer announces itself again within minutes, so not every announce is written. Writes
//! are taken from a token bucket in the form of the generic cell rate algorithm (ITU-T I.371): it gains one row every
//! [`SNAPSHOT_INTERVAL`], unless the operator says otherwise, and holds at most [`SNAPSHOT_BURST`]. While there is a row in
//! the bucket, a change is written at once. When the bucket is empty, the first change starts a timer for what is left until
//! the next row; when the timer ends, everything is written. A crash loses at most the announces of the last
//! [`SNAPSHOT_LOSS`]. A timer that waits keeps the object from sleeping, and an object that is awake is billed: rows that a
//! quiet minute leaves in the bucket pay for a busier one.
//!
//! The cost of a day, for a community that never rests: 86,400 s / 9.3 s = 9,290 snapshots of one row, and
//! 86,400 s / 180 s = 480 alarms, each billed as one row when it is set: 9,770 rows. (180 s being the longest life of a
//! ticket: what there is to tidy up is there by then.)
//!
//! An object that has slept for ten seconds is evicted, so a small community's starts anew many times an hour. After a
//! restart it assumes the worst: the last write emptied the bucket, and an alarm is set, as one is whenever a roster is
//! in storage. However often it starts, it writes no more rows than if it had stayed.
//!
//! The alarm only tidies up. Nothing that has expired is ever listed, alarm or not, because every call to a roster
//! says what time it is; and alarms have been seen not to fire.

use std::time::Duration;

use crate::limits::{SNAPSHOT_LOSS, TICKET_MAX_LIFETIME};
use crate::time::UnixMillis;
use crate::token_bucket::TokenBucket;

/// [`UpkeepIntervals::snapshot`], unless the operator says otherwise. The rest of [`SNAPSHOT_LOSS`] is for the write itself.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(9_300);

/// Rows that the bucket holds. With four of them, peers that announce less often than the bucket gains rows need no
/// timer, however unevenly they come; many more would go into the day's sum, and to bursts, where one timer saves many
/// rows.
pub const SNAPSHOT_BURST: u32 = 8;

/// An alarm that is overdue by this much will not come.
const ALARM_GRACE: Duration = Duration::from_secs(60);

const _: () = assert!(SNAPSHOT_INTERVAL.as_millis() < SNAPSHOT_LOSS.as_millis());

/// Says how seldom an object writes and wakes.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepIntervals {
    /// The time in which the bucket gains one row, and the longest that a change waits.
    pub snapshot: Duration,
    /// The shortest time until an alarm: the longest life of a ticket.
    pub alarm: Duration,
}

impl Default for UpkeepIntervals {
    fn default() -> Self {
        Self { snapshot: SNAPSHOT_INTERVAL, alarm: TICKET_MAX_LIFETIME }
    }
}

/// Holds what has been put off, and until when.
#[derive(Debug)]
pub struct Upkeep {
    intervals: UpkeepIntervals,
    bucket: TokenBucket,
    /// When the bucket will be full. Until the first write it has one row.
    full_at: Option<UnixMillis>,
    write_at: Option<UnixMillis>,
    alarm_at: Option<UnixMillis>,
    /// Whether what there is is not worth keeping.
    suspended: bool,
}

impl Upkeep {
    /// Makes an upkeep with nothing put off. `written_at` is when the roster was written that is in storage, if one is.
    pub fn new(intervals: UpkeepIntervals, written_at: Option<UnixMillis>) -> Self {
        let bucket = TokenBucket::new(intervals.snapshot, SNAPSHOT_BURST.into());
        Self {
            intervals,
            bucket,
            full_at: written_at.map(|at| at.after(Duration::from_millis(bucket.filling))),
            write_at: None,
            alarm_at: written_at.map(|at| at.after(intervals.alarm)),
            suspended: false,
        }
    }

    /// Notes that the roster has changed. [`Upkeep::take_write`] is to be called now, and again after the time that
    /// this returns.
    pub fn changed(&mut self, now: UnixMillis) -> Option<Duration> {
        if self.write_at.is_some() || self.suspended {
            return None;
        }
        let wait = Duration::from_millis(self.bucket.wait(self.missing(now)));
        self.write_at = Some(now.after(wait));
        (!wait.is_zero()).then_some(wait)
    }

    /// Returns whether the roster is to be written now. May be asked at any time; once it says yes it counts as
    /// written.
    pub fn take_write(&mut self, now: UnixMillis) -> bool {
        // A clock that has jumped back puts nothing off.
        let due = self.write_at.take_if(|at| *at <= now || at.since(now) > self.intervals.snapshot).is_some();
        if due {
            self.full_at = Some(UnixMillis::saturating(self.bucket.taken(self.missing(now), now.as_u64())));
        }
        due
    }

    /// Returns how long it takes until the bucket is full. It is never more than empty, though the clock may have
    /// jumped back.
    fn missing(&self, now: UnixMillis) -> u64 {
        let TokenBucket { filling, interval } = self.bucket;
        self.full_at.map_or(filling.saturating_sub(interval), |at| self.bucket.missing(at.as_u64(), now.as_u64()))
    }

    /// Notes that nothing is left that would be worth a write.
    pub const fn drop_write(&mut self) {
        self.write_at = None;
    }

    /// Returns whether the roster is not worth keeping.
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Says whether the roster is not worth keeping. For as long as that is so nothing is written and no alarm is set;
    /// the first change after that is written with all that there is.
    pub const fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        if suspended {
            self.drop_write();
        }
    }

    /// Returns whether there are changes that are not written yet.
    pub const fn has_unwritten(&self) -> bool {
        self.write_at.is_some()
    }

    /// Returns the alarm to set now, if any. `deadline` is when the roster next has something to tidy up.
    pub fn next_alarm(&mut self, now: UnixMillis, deadline: Option<UnixMillis>) -> Option<UnixMillis> {
        let waiting = self.alarm_at.is_some_and(|at| now < at.after(ALARM_GRACE));
        let (Some(deadline), false) = (deadline, waiting || self.suspended) else { return None };
        let at = deadline.max(now.after(self.intervals.alarm));
        self.alarm_at = Some(at);
        Some(at)
    }

    /// Notes that the alarm has come.
    pub const fn alarmed(&mut self) {
        self.alarm_at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::{ANNOUNCE_AFTER_MAX, ANNOUNCE_AFTER_MIN};
    use crate::time::saturating_millis;

    const DAY: u64 = 86_400_000;
    const ROWS_A_DAY: u64 = 10_000;
    const INTERVAL: u64 = 9_300;
    const FULL: u64 = 8 * INTERVAL;

    /// The runtime evicts an object that has slept for so long.
    const EVICTED_AFTER: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn upkeep(written_at: Option<UnixMillis>) -> Upkeep {
        Upkeep::new(UpkeepIntervals::default(), written_at)
    }

    fn of_interval(millis: u64) -> UpkeepIntervals {
        UpkeepIntervals { snapshot: Duration::from_millis(millis), ..UpkeepIntervals::default() }
    }

    /// What a community's object did.
    #[derive(Default)]
    struct Usage {
        rows: u64,
        awake: Duration,
        longest_wait: Duration,
    }

    impl Usage {
        fn awake_percent(&self) -> u128 {
            100 * self.awake.as_millis() / u128::from(DAY)
        }
    }

    /// An object to which `announces` come. Handling them takes no time: what keeps it awake are its timers.
    fn serve(intervals: UpkeepIntervals, announces: impl IntoIterator<Item = UnixMillis>) -> Usage {
        let mut usage = Usage::default();
        let mut upkeep = Upkeep::new(intervals, None);
        let (mut unwritten_since, mut written_at, mut timer, mut alarm) = (None, None, None, None);
        let mut last = at(0);
        for announce in announces {
            while let Some(now) = [timer, alarm, Some(announce)].into_iter().flatten().min() {
                if timer.is_some() {
                    usage.awake += now.since(last);
                } else if now.since(last) > EVICTED_AFTER {
                    upkeep = Upkeep::new(intervals, written_at);
                }
                last = now;
                let announced = timer.is_none_or(|at| now < at) && alarm.is_none_or(|at| now < at);
                timer = timer.filter(|at| now < *at);
                if alarm.take_if(|at| *at <= now).is_some() {
                    upkeep.alarmed();
                }
                if announced {
                    unwritten_since = unwritten_since.or(Some(now));
                    timer = timer.or(upkeep.changed(now).map(|delay| now.after(delay)));
                }
                if upkeep.take_write(now) {
                    usage.rows += 1;
                    usage.longest_wait = usage.longest_wait.max(now.since(unwritten_since.take().unwrap()));
                    written_at = Some(now);
                }
                if let Some(at) = upkeep.next_alarm(now, Some(now.after(TICKET_MAX_LIFETIME))) {
                    usage.rows += 1;
                    alarm = Some(at);
                }
                if announced {
                    break;
                }
            }
        }
        usage
    }

    /// When so many peers announce in a day, each as it is asked to.
    fn announces_of(peers: u64) -> Vec<UnixMillis> {
        let (earliest, latest) = (saturating_millis(ANNOUNCE_AFTER_MIN), saturating_millis(ANNOUNCE_AFTER_MAX));
        let mut random = 1_u64;
        let mut next = |limit| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let mut announces = BTreeSet::new();
        for _ in 0..peers {
            let mut millis = next(latest);
            while millis < DAY {
                announces.insert(at(millis));
                millis += earliest + next(latest - earliest + 1);
            }
        }
        announces.into_iter().collect()
    }

    /// A day of a full community: each peer announces once a minute, one every 300 ms.
    #[test]
    fn a_full_community_writes_at_most_ten_thousand_rows_a_day_and_loses_at_most_ten_seconds() {
        let usage = serve(UpkeepIntervals::default(), (0..DAY).step_by(300).map(at));
        assert!(usage.rows <= ROWS_A_DAY, "{}", usage.rows);
        assert!(usage.longest_wait <= SNAPSHOT_LOSS);
    }

    #[test]
    fn an_interval_is_a_days_rows_and_what_a_crash_may_lose() {
        for interval in [1_000, 30_000, 60_000] {
            let usage = serve(of_interval(interval), (0..DAY).step_by(300).map(at));
            assert!(usage.rows <= DAY / interval + u64::from(SNAPSHOT_BURST) + 480, "{interval}: {}", usage.rows);
            assert!(usage.longest_wait <= Duration::from_millis(interval), "{interval}");
        }
    }

    #[test]
    fn an_object_that_is_evicted_before_every_announce_writes_at_most_ten_thousand_rows_a_day() {
        for gap in (10_001..60_000).step_by(1_001) {
            let usage = serve(UpkeepIntervals::default(), (0..DAY).step_by(gap).map(at));
            assert!(usage.rows <= ROWS_A_DAY, "{gap} ms: {}", usage.rows);
            assert_eq!(usage.longest_wait, Duration::ZERO);
        }
    }

    #[test]
    fn the_smaller_the_community_the_more_its_object_sleeps() {
        for (peers, awake_percent) in [(4, 1), (5, 4), (6, 11), (10, 42), (200, 97)] {
            let usage = serve(UpkeepIntervals::default(), announces_of(peers));
            assert!(usage.awake_percent() <= awake_percent, "{peers} peers: {} %", usage.awake_percent());
            assert!(usage.rows <= ROWS_A_DAY, "{peers} peers: {}", usage.rows);
            assert!(usage.longest_wait <= SNAPSHOT_LOSS);
        }
    }

    #[test]
    fn what_the_bucket_has_left_is_written_at_once_and_needs_no_timer() {
        let mut upkeep = upkeep(Some(at(0)));
        for _ in 0..SNAPSHOT_BURST {
            assert_eq!(upkeep.changed(at(FULL)), None);
            assert!(upkeep.take_write(at(FULL)));
            assert!(!upkeep.has_unwritten());
        }
        assert_eq!(upkeep.changed(at(FULL + 100)), Some(Duration::from_millis(INTERVAL - 100)));
        assert!(!upkeep.take_write(at(FULL + 100)));
        assert_eq!(upkeep.changed(at(FULL + 100)), None, "there is a timer");
        assert!(upkeep.take_write(at(FULL + INTERVAL)));
    }

    #[test]
    fn a_new_community_may_write_one_row_at_once() {
        let mut upkeep = upkeep(None);
        assert_eq!(upkeep.changed(at(0)), None);
        assert!(upkeep.take_write(at(0)));
        assert_eq!(upkeep.changed(at(0)), Some(SNAPSHOT_INTERVAL));
    }

    #[test]
    fn an_object_that_starts_anew_trusts_the_alarm_that_was_set() {
        let mut upkeep = upkeep(Some(at(0)));
        let overdue = at(0).after(TICKET_MAX_LIFETIME).after(ALARM_GRACE);
        assert_eq!(upkeep.next_alarm(at(1), Some(overdue)), None);
        assert_eq!(upkeep.next_alarm(overdue, Some(overdue)), Some(overdue.after(TICKET_MAX_LIFETIME)));
    }

    proptest! {
        /// The model counts milliseconds of refill, and writes as soon as there are enough for a row.
        #[test]
        fn every_change_is_written_as_soon_as_a_plain_token_bucket_has_a_row(
            interval in prop::sample::select(vec![1_000, INTERVAL, 60_000]),
            events in prop::collection::vec((0_u64..200, prop::bool::weighted(0.1)), 1..400),
        ) {
            const STEP: u64 = 100;
            let (intervals, full) = (of_interval(interval), u64::from(SNAPSHOT_BURST) * interval);
            let mut upkeep = Upkeep::new(intervals, Some(at(0)));
            let (mut now, mut level, mut changed_at) = (0, 0, None);
            let mut written = vec![0];
            for (steps, starts_anew) in events {
                for _ in 0..steps {
                    now += STEP;
                    level = full.min(level + STEP);
                    let due = changed_at.take_if(|_| level >= interval);
                    prop_assert_eq!(upkeep.take_write(at(now)), due.is_some());
                    if let Some(changed_at) = due {
                        prop_assert!(now - changed_at <= interval);
                        level -= interval;
                        written.push(now);
                    }
                }
                if starts_anew {
                    // A change that waits is lost with the memory.
                    changed_at = None;
                    let written_at = *written.last().unwrap();
                    level = level.min(now - written_at);
                    upkeep = Upkeep::new(intervals, Some(at(written_at)));
                } else {
                    upkeep.changed(at(now));
                    changed_at = changed_at.or(Some(now));
                }
            }
            for (first, start) in written.iter().enumerate() {
                for (rows, end) in (1..).zip(&written[first..]) {
                    prop_assert!(rows <= u64::from(SNAPSHOT_BURST) + (end - start) / interval);
                }
            }
        }
    }

    #[test]
    fn an_alarm_that_never_comes_is_set_again() {
        let mut upkeep = upkeep(None);
        let start = UnixMillis::saturating(1_700_000_000_000);
        let set = upkeep.next_alarm(start, Some(start)).unwrap();
        assert_eq!(set, start.after(TICKET_MAX_LIFETIME));
        assert_eq!(upkeep.next_alarm(set, Some(set)), None);
        let late = set.after(ALARM_GRACE);
        assert_eq!(upkeep.next_alarm(late, Some(set)), Some(late.after(TICKET_MAX_LIFETIME)));
    }

    #[test]
    fn what_is_not_worth_keeping_is_not_written_and_wakes_nobody() {
        let mut upkeep = upkeep(None);
        upkeep.changed(at(0));
        upkeep.suspend(true);
        assert!(!upkeep.take_write(at(0)), "a write that was put off");
        assert_eq!(upkeep.changed(at(0)), None);
        assert!(!upkeep.has_unwritten() && !upkeep.take_write(at(0)));
        assert_eq!(upkeep.next_alarm(at(0), Some(at(1))), None);
        upkeep.suspend(false);
        assert!(!upkeep.take_write(at(1)));
        assert_eq!(upkeep.changed(at(2)), None);
        assert!(upkeep.take_write(at(2)));
        assert!(upkeep.next_alarm(at(2), Some(at(3))).is_some());
    }

    #[test]
    fn an_empty_roster_needs_no_alarm() {
        assert_eq!(upkeep(None).next_alarm(UnixMillis::saturating(0), None), None);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_put_a_write_off() {
        let mut upkeep = upkeep(None);
        let long_ago = UnixMillis::saturating(0);
        upkeep.changed(at(0));
        assert!(upkeep.take_write(at(0)));
        upkeep.changed(at(0));
        assert!(!upkeep.take_write(at(0)));
        assert!(upkeep.take_write(long_ago));
        assert_eq!(upkeep.changed(long_ago), Some(SNAPSHOT_INTERVAL), "the bucket is empty, and no more than that");
        assert!(upkeep.take_write(long_ago.after(SNAPSHOT_INTERVAL)));
    }
}
