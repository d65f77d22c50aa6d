//! When a peer is asked to announce again.
//!
//! The time is drawn at random between two bounds (jitter), so that peers that came together spread out. Where the
//! operator has set a rate limit of announces a day for each community, both bounds move up as the community grows, so
//! far that the peers present now would keep to the rate limit; but never beyond what keeps peers on the list: then the
//! rate limit is exceeded, because presence is the purpose.

use std::time::Duration;

use crate::limits::LIVE_RENEWAL_MARGIN;
use crate::time::{DAY_MILLIS, saturating_millis};

/// Holds the two bounds and the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// The shortest time before the next announce.
    pub earliest: Duration,
    /// The longest, while no rate limit moves it. Not shorter than `earliest`.
    pub latest: Duration,
    /// Longest life of a ticket. Within two thirds of it every peer announces: what is left is for two more attempts.
    pub ticket_max_lifetime: Duration,
    /// The rate limit: announces a day that one community should cost at most; absent, no limit.
    pub announces_per_day: Option<u32>,
}

impl Pacing {
    /// Returns after how many milliseconds one of `peers` peers is asked to announce again. `random` is uniform.
    pub fn announce_after_millis(&self, peers: usize, random: u32) -> u64 {
        let (earliest, latest) = self.bounds(peers);
        earliest + u64::from(random) % (latest - earliest + 1)
    }

    /// Returns after how many milliseconds a peer is asked to announce again over a connection that stays: late, because
    /// there such an announce seldom fails, but [`LIVE_RENEWAL_MARGIN`] before its ticket ends at the latest, so that no viewer
    /// sees it end, and up to a ninth of that time earlier. Never sooner than `earliest`. `left` is the time until the ticket
    /// ends, which may be short: of one that its peer dates back, or sends again because nothing came back.
    pub fn live_announce_after_millis(&self, left: Duration, random: u32) -> u64 {
        let left = left.min(self.ticket_max_lifetime);
        let latest = saturating_millis(left.saturating_sub(LIVE_RENEWAL_MARGIN));
        let earliest = latest / 9 * 8;
        (earliest + u64::from(random) % (latest - earliest + 1)).max(saturating_millis(self.earliest))
    }

    /// Returns both bounds for so many peers, in milliseconds.
    fn bounds(&self, peers: usize) -> (u64, u64) {
        let [earliest, latest, lifetime] =
            [self.earliest, self.latest, self.ticket_max_lifetime].map(saturating_millis);
        let latest = latest.max(earliest);
        let Some(per_day) = self.announces_per_day else { return (earliest, latest) };
        let peers = u64::try_from(peers).unwrap_or(u64::MAX);
        let affordable = DAY_MILLIS.saturating_mul(peers).div_ceil(u64::from(per_day).max(1));
        let mean = earliest + (latest - earliest) / 2;
        let longest = (lifetime / 3 * 2).max(latest);
        let shift = affordable.saturating_sub(mean).min(longest - latest);
        (earliest + shift, latest + shift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{LIVE_FRAME_INTERVAL, LIVE_RENEWAL_GRACE};

    const PACING: Pacing = Pacing {
        earliest: Duration::from_secs(45),
        latest: Duration::from_secs(75),
        ticket_max_lifetime: Duration::from_secs(180),
        announces_per_day: None,
    };

    #[test]
    fn without_a_rate_limit_the_bounds_stay() {
        for peers in [0, 1, 200, usize::MAX] {
            assert_eq!(PACING.bounds(peers), (45_000, 75_000));
        }
    }

    #[test]
    fn a_community_near_its_rate_limit_announces_less_often_and_stays_on_the_list() {
        let pacing = Pacing { announces_per_day: Some(100_000), ..PACING };
        // 86,400,000 ms · 69 / 100,000 is below the mean of 60 s; for 100 peers it is 86.4 s.
        assert_eq!(pacing.bounds(69), (45_000, 75_000));
        assert_eq!(pacing.bounds(100), (71_400, 101_400));
        // 172.8 s would keep 200 peers to the rate limit, and would let tickets end.
        assert_eq!(pacing.bounds(200), (90_000, 120_000));
    }

    #[test]
    fn over_a_connection_that_stays_a_ticket_of_three_minutes_is_renewed_after_144_to_162_seconds() {
        let after = |random| PACING.live_announce_after_millis(Duration::from_secs(180), random);
        assert_eq!([0, 18_000, 18_001].map(after), [144_000, 162_000, 144_000]);
    }

    proptest! {
        #[test]
        fn whoever_announces_as_it_is_asked_over_a_connection_is_renewed_everywhere_before_its_ticket_ends(
            lifetime in 64_000_u64..400_000,
            left in 64_000_u64..400_000,
            random: u32,
        ) {
            let [lifetime, left] = [lifetime, left].map(Duration::from_millis);
            let pacing = Pacing { ticket_max_lifetime: lifetime, ..PACING };
            let asked = Duration::from_millis(pacing.live_announce_after_millis(left, random));
            let seen = asked + LIVE_FRAME_INTERVAL + LIVE_RENEWAL_GRACE;
            prop_assert!(seen + Duration::from_secs(2) <= left.min(lifetime));
            prop_assert!(asked * 10 >= (left.min(lifetime) - LIVE_RENEWAL_MARGIN) * 8);
        }

        #[test]
        fn the_time_is_between_the_bounds_and_a_rate_limit_is_kept_where_tickets_allow(
            earliest in 0_u64..200_000,
            spread in 0_u64..200_000,
            lifetime in 1_u64..400_000,
            per_day in proptest::option::of(0_u32..1_000_000),
            peers in 0_usize..1_000,
            random: u32,
        ) {
            let pacing = Pacing {
                earliest: Duration::from_millis(earliest),
                latest: Duration::from_millis(earliest + spread),
                ticket_max_lifetime: Duration::from_millis(lifetime),
                announces_per_day: per_day,
            };
            let (from, to) = pacing.bounds(peers);
            prop_assert!((from..=to).contains(&pacing.announce_after_millis(peers, random)));
            prop_assert_eq!(to - from, spread);
            prop_assert!(from >= earliest);
            prop_assert!(to <= (earliest + spread).max(lifetime / 3 * 2));
            if let Some(per_day) = per_day && to < lifetime / 3 * 2 {
                // Within one millisecond for each announce.
                let announces = 86_400_000.0 / ((from + to) as f64 / 2.0 + 1.0) * peers as f64;
                prop_assert!(announces <= f64::from(per_day.max(1)), "{} announces for {}", announces, per_day);
            }
        }
    }
}
