//! When a peer is asked to announce again.
//!
//! After a random time between two limits, so that a herd spreads out. Where the operator has set a budget of announces
//! a day for each community, both limits move up as the community grows, so far that the peers present now would keep
//! to it; but never beyond what keeps peers on the list: then the budget is exceeded, because presence is the purpose.

use std::time::Duration;

use crate::time::saturating_millis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits, and the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// The shortest time before the next announce.
    pub earliest: Duration,
    /// The longest, while no budget is in the way. Not shorter than `earliest`.
    pub latest: Duration,
    /// Longest life of a ticket. Within two thirds of it every peer announces: what is left is for two more attempts.
    pub ticket_max_lifetime: Duration,
    /// Announces a day that one community should cost at most, if that is limited.
    pub announces_per_day: Option<u32>,
}

impl Pacing {
    /// After how many milliseconds one of `peers` peers is asked to announce again. `random` is uniform.
    pub fn announce_after_millis(&self, peers: usize, random: u32) -> u64 {
        let (earliest, latest) = self.limits(peers);
        earliest + u64::from(random) % (latest - earliest + 1)
    }

    /// Both limits for so many peers, in milliseconds.
    fn limits(&self, peers: usize) -> (u64, u64) {
        let [earliest, latest, lifetime] =
            [self.earliest, self.latest, self.ticket_max_lifetime].map(saturating_millis);
        let latest = latest.max(earliest);
        let Some(budget) = self.announces_per_day else { return (earliest, latest) };
        let peers = u64::try_from(peers).unwrap_or(u64::MAX);
        let affordable = saturating_millis(DAY).saturating_mul(peers).div_ceil(u64::from(budget).max(1));
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

    const PACING: Pacing = Pacing {
        earliest: Duration::from_secs(45),
        latest: Duration::from_secs(75),
        ticket_max_lifetime: Duration::from_secs(180),
        announces_per_day: None,
    };

    #[test]
    fn without_a_budget_the_limits_stay() {
        for peers in [0, 1, 200, usize::MAX] {
            assert_eq!(PACING.limits(peers), (45_000, 75_000));
        }
    }

    #[test]
    fn a_community_near_its_budget_announces_less_often_and_stays_on_the_list() {
        let pacing = Pacing { announces_per_day: Some(100_000), ..PACING };
        // 86,400,000 ms · 69 / 100,000 is below the mean of 60 s; for 100 peers it is 86.4 s.
        assert_eq!(pacing.limits(69), (45_000, 75_000));
        assert_eq!(pacing.limits(100), (71_400, 101_400));
        // 172.8 s would keep 200 peers to the budget, and would let tickets end.
        assert_eq!(pacing.limits(200), (90_000, 120_000));
    }

    proptest! {
        #[test]
        fn the_time_is_between_the_limits_and_a_budget_is_kept_where_tickets_allow(
            earliest in 0_u64..200_000,
            spread in 0_u64..200_000,
            lifetime in 1_u64..400_000,
            budget in proptest::option::of(0_u32..1_000_000),
            peers in 0_usize..1_000,
            random: u32,
        ) {
            let pacing = Pacing {
                earliest: Duration::from_millis(earliest),
                latest: Duration::from_millis(earliest + spread),
                ticket_max_lifetime: Duration::from_millis(lifetime),
                announces_per_day: budget,
            };
            let (from, to) = pacing.limits(peers);
            prop_assert!((from..=to).contains(&pacing.announce_after_millis(peers, random)));
            prop_assert_eq!(to - from, spread);
            prop_assert!(from >= earliest);
            prop_assert!(to <= (earliest + spread).max(lifetime / 3 * 2));
            if let Some(budget) = budget && to < lifetime / 3 * 2 {
                // Within one millisecond for each announce.
                let announces = 86_400_000.0 / ((from + to) as f64 / 2.0 + 1.0) * peers as f64;
                prop_assert!(announces <= f64::from(budget.max(1)), "{} announces for {}", announces, budget);
            }
        }
    }
}
