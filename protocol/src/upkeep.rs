//! When a roster is written to storage, and when its object is woken to tidy up.
//!
//! Presence is soft: every live peer says so again within minutes. So not every announce is written. One that comes
//! [`SNAPSHOT_DELAY`] or more after the last write is written at once; the first one that comes sooner starts a timer
//! for what is left of that, and when it ends everything is written as one row. A crash loses at most the announces of
//! the last [`SNAPSHOT_LOSS`]. In a community where little happens there is no timer at all: one that waits keeps the
//! object from sleeping, and an object that is awake is billed.
//!
//! What a day costs, for a community that never rests: 86,400 s / 9.5 s = 9,095 snapshots of one row, and
//! 86,400 s / 180 s = 480 alarms, each billed as one row when it is set: 9,575 rows. (180 s being the longest life of a
//! ticket: what there is to tidy up is there by then.)
//!
//! The alarm only tidies up. Nothing that has expired is ever listed, alarm or not, because every call to a roster
//! says what time it is; and alarms have been seen not to fire.

use std::time::Duration;

use crate::limits::SNAPSHOT_LOSS;
use crate::time::UnixMillis;

/// From one write to the next, at least. What is left of [`SNAPSHOT_LOSS`] is for the write itself.
pub const SNAPSHOT_DELAY: Duration = Duration::from_millis(9_500);

/// An alarm that is overdue by this much will not come.
const ALARM_GRACE: Duration = Duration::from_secs(60);

const _: () = assert!(SNAPSHOT_DELAY.as_millis() < SNAPSHOT_LOSS.as_millis());

/// What has been put off, and until when.
#[derive(Debug)]
pub struct Upkeep {
    alarm_spacing: Duration,
    written_at: Option<UnixMillis>,
    write_at: Option<UnixMillis>,
    alarm_at: Option<UnixMillis>,
}

impl Upkeep {
    /// Nothing put off yet. An alarm is set for no sooner than `ticket_max_lifetime` from then.
    pub const fn new(ticket_max_lifetime: Duration) -> Self {
        Self { alarm_spacing: ticket_max_lifetime, written_at: None, write_at: None, alarm_at: None }
    }

    /// The roster has changed: [`Upkeep::take_write`] is to be called, and again after the time that this returns.
    pub fn changed(&mut self, now: UnixMillis) -> Option<Duration> {
        if self.write_at.is_some() {
            return None;
        }
        // A clock that has jumped back puts nothing off.
        let last = self.written_at.filter(|at| *at <= now);
        let at = last.map_or(now, |at| at.after(SNAPSHOT_DELAY).max(now));
        self.write_at = Some(at);
        (at > now).then(|| at.since(now))
    }

    /// Whether the roster is to be written now. May be asked at any time; once it says yes it counts as written.
    pub fn take_write(&mut self, now: UnixMillis) -> bool {
        let due = self.write_at.take_if(|at| *at <= now || at.since(now) > SNAPSHOT_DELAY).is_some();
        if due {
            self.written_at = Some(now);
        }
        due
    }

    /// There is nothing left that would be worth a write.
    pub const fn drop_write(&mut self) {
        self.write_at = None;
    }

    /// Whether there are changes that are not written yet.
    pub const fn has_unwritten(&self) -> bool {
        self.write_at.is_some()
    }

    /// The alarm to set now, if any. `deadline` is when the roster next has something to tidy up.
    pub fn next_alarm(&mut self, now: UnixMillis, deadline: Option<UnixMillis>) -> Option<UnixMillis> {
        let waiting = self.alarm_at.is_some_and(|at| now < at.after(ALARM_GRACE));
        let (Some(deadline), false) = (deadline, waiting) else { return None };
        let at = deadline.max(now.after(self.alarm_spacing));
        self.alarm_at = Some(at);
        Some(at)
    }

    /// The alarm has come.
    pub const fn alarmed(&mut self) {
        self.alarm_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TICKET_MAX_LIFETIME;

    const PEERS: u64 = 200;
    const DAY: u64 = 86_400_000;
    const ROWS_A_DAY: u64 = 10_000;

    /// A day of a full community: each peer announces once a minute, one every 300 ms.
    #[test]
    fn a_full_community_writes_at_most_ten_thousand_rows_a_day_and_loses_at_most_ten_seconds() {
        let mut upkeep = Upkeep::new(TICKET_MAX_LIFETIME);
        let (mut rows, mut oldest_unwritten, mut timer, mut alarm) = (0, None, None, None);
        for now in (0..DAY).map(UnixMillis::saturating).step_by(100) {
            if timer.is_some_and(|at| at <= now) {
                timer = None;
                if upkeep.take_write(now) {
                    rows += 1;
                    oldest_unwritten = None;
                }
            }
            if alarm.is_some_and(|at| at <= now) {
                alarm = None;
                upkeep.alarmed();
            }
            if now.as_u64() % (60_000 / PEERS) == 0 {
                oldest_unwritten = oldest_unwritten.or(Some(now));
                if let Some(delay) = upkeep.changed(now) {
                    timer = Some(now.after(delay));
                }
                if upkeep.take_write(now) {
                    rows += 1;
                    oldest_unwritten = None;
                }
            }
            if let Some(at) = upkeep.next_alarm(now, Some(now.after(TICKET_MAX_LIFETIME))) {
                rows += 1;
                alarm = Some(at);
            }
            assert!(oldest_unwritten.is_none_or(|at| now.since(at) <= SNAPSHOT_LOSS));
        }
        assert!(rows <= ROWS_A_DAY, "{rows}");
    }

    #[test]
    fn what_comes_seldom_is_written_at_once_and_needs_no_timer() {
        let mut upkeep = Upkeep::new(TICKET_MAX_LIFETIME);
        for now in [0, 9_500, 40_000].map(UnixMillis::saturating) {
            assert_eq!(upkeep.changed(now), None);
            assert!(upkeep.take_write(now));
            assert!(!upkeep.has_unwritten());
        }
        let soon = UnixMillis::saturating(42_000);
        assert_eq!(upkeep.changed(soon), Some(Duration::from_millis(7_500)));
        assert!(!upkeep.take_write(soon));
        assert_eq!(upkeep.changed(soon), None, "there is a timer");
        assert!(upkeep.take_write(UnixMillis::saturating(49_500)));
    }

    #[test]
    fn an_alarm_that_never_comes_is_set_again() {
        let mut upkeep = Upkeep::new(TICKET_MAX_LIFETIME);
        let start = UnixMillis::saturating(1_700_000_000_000);
        let set = upkeep.next_alarm(start, Some(start)).unwrap();
        assert_eq!(set, start.after(TICKET_MAX_LIFETIME));
        assert_eq!(upkeep.next_alarm(set, Some(set)), None);
        let late = set.after(ALARM_GRACE);
        assert_eq!(upkeep.next_alarm(late, Some(set)), Some(late.after(TICKET_MAX_LIFETIME)));
    }

    #[test]
    fn an_empty_roster_needs_no_alarm() {
        assert_eq!(Upkeep::new(TICKET_MAX_LIFETIME).next_alarm(UnixMillis::saturating(0), None), None);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_put_a_write_off() {
        let mut upkeep = Upkeep::new(TICKET_MAX_LIFETIME);
        let (later, long_ago) = (UnixMillis::saturating(1_700_000_000_000), UnixMillis::saturating(0));
        upkeep.changed(later);
        assert!(upkeep.take_write(later));
        upkeep.changed(later);
        assert!(!upkeep.take_write(later));
        assert!(upkeep.take_write(long_ago));
        assert!(!upkeep.take_write(later));
        upkeep.changed(later);
        assert!(upkeep.take_write(later));
        assert_eq!(upkeep.changed(long_ago), None);
        assert!(upkeep.take_write(long_ago));
    }
}
