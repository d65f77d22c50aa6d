//! What an object says of itself for people: how many were present in the last hour, and what it had to do today.
//!
//! All of it is in memory and ends with the object: it costs no row and no timer, and an object that sleeps goes on
//! sleeping. What it slept through it knows all the same, because meanwhile nothing happens to a roster but that tickets
//! end.

use std::fmt::Write as _;

use rendezvous_protocol::peer_list::ObjectFigures;
use rendezvous_protocol::roster::Roster;
use rendezvous_protocol::time::{DAY_MILLIS, UnixMillis};

use crate::info::comma;
use crate::live::{ConnectionCounts, Push, Pushed};

/// Milliseconds between two counts of a trend: five minutes. They are counted at whole ones, as UTC has them.
const TREND_INTERVAL: u64 = 300_000;

/// Counts of a trend: with the one that is taken now, those of an hour.
const TREND_COUNTS: usize = 12;

/// Counts what an object is asked to do, and who is present.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    /// The number of the last whole five minutes, since the Unix epoch.
    interval: u64,
    /// Who was present at the whole five minutes up to that, the oldest first.
    trend: Vec<usize>,
    /// Since when the rest is counted: the last midnight, or when the object started, if that was later.
    since: UnixMillis,
    rows: u64,
    alarms: u64,
    frames: u64,
}

impl Activity {
    /// Makes the counts of an object that starts now.
    pub(crate) const fn new(now: UnixMillis) -> Self {
        let interval = now.as_u64() / TREND_INTERVAL;
        Self { interval, trend: Vec::new(), since: now, rows: 0, alarms: 0, frames: 0 }
    }

    /// Notes that it is `now`, before anything happens to the roster.
    pub(crate) fn advance(&mut self, now: UnixMillis, roster: &Roster) {
        let interval = now.as_u64() / TREND_INTERVAL;
        if interval < self.interval {
            // The clock has jumped back: whatever was counted has the wrong time.
            *self = Self::new(now);
        }
        let oldest = (interval + 1).saturating_sub(TREND_COUNTS as u64);
        for passed in oldest.max(self.interval + 1)..=interval {
            let at = UnixMillis::saturating(passed * TREND_INTERVAL);
            self.trend.push(roster.records().filter(|record| record.ticket.payload().expires_at > at).count());
        }
        let surplus = self.trend.len().saturating_sub(TREND_COUNTS);
        self.trend.drain(..surplus);
        self.interval = interval;
        let midnight = UnixMillis::saturating(now.as_u64() / DAY_MILLIS * DAY_MILLIS);
        if self.since < midnight {
            (self.since, self.rows, self.alarms, self.frames) = (midnight, 0, 0, 0);
        }
    }

    /// Counts what a host is to do: whether to write a row, whether to set an alarm, and what to push.
    pub(crate) fn count(&mut self, writes: bool, sets_alarm: bool, pushes: &[Push]) {
        self.rows += u64::from(writes);
        self.alarms += u64::from(sets_alarm);
        for push in pushes {
            if matches!(push.what, Pushed::Frame(_) | Pushed::CaughtUp(_)) {
                self.frames += push.to.len() as u64;
            }
        }
    }

    /// Writes what has been counted.
    pub(crate) fn figures(&self, connections: ConnectionCounts) -> ObjectFigures {
        let mut live = String::new();
        for count in &self.trend {
            // Writing to a string cannot fail.
            let _ = write!(live, "{}{count}", comma(&live));
        }
        let mut trend = String::new();
        if !live.is_empty() {
            let until = self.interval * TREND_INTERVAL;
            trend = format!(r#"{{"until":{until},"everyMs":{TREND_INTERVAL},"live":[{live}]}}"#);
        }
        let ConnectionCounts { sockets, bound, streams } = connections;
        let Self { since, rows, alarms, frames, .. } = self;
        let activity = format!(
            r#"{{"sockets":{sockets},"bound":{bound},"streams":{streams},"since":{since},"rows":{rows},"alarms":{alarms},"frames":{frames}}}"#
        );
        ObjectFigures { trend, activity }
    }
}
