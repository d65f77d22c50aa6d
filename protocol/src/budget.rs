//! How many requests each network may make.
//!
//! A token bucket for each network in the form of the generic cell rate algorithm (ITU-T I.371): one point in time a
//! network, the moment at which its bucket will be full again. Memory is bounded: a network whose bucket is full is
//! forgotten, for it is the same as one never seen, and when too many are remembered the one nearest to full goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::network::NetworkHash;
use crate::time::{UnixMillis, saturating_millis};

/// The window in which a whole budget may be spent at once.
const WINDOW: Duration = Duration::from_secs(60);

/// The budgets of all networks that one process serves.
#[derive(Debug)]
pub struct Budget {
    /// Microseconds of refill that one request costs, so that large budgets keep their precision.
    cost_micros: u64,
    capacity: usize,
    full_at: BTreeMap<NetworkHash, u64>,
    /// Every network once, under a time that may be too early: it is not moved with every request, but when its turn has
    /// come.
    by_time: BTreeSet<(u64, NetworkHash)>,
}

/// The network has spent its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this network made too many requests, the next is served in {} ms", saturating_millis(*.retry_after))]
pub struct Throttled {
    /// After this time one request is served again.
    pub retry_after: Duration,
}

impl Budget {
    /// Budgets of `requests_per_minute` for each of at most `capacity` remembered networks.
    pub fn new(requests_per_minute: u32, capacity: usize) -> Self {
        Self {
            cost_micros: window_micros() / u64::from(requests_per_minute.max(1)),
            capacity: capacity.max(1),
            full_at: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Takes one request out of the network's budget.
    ///
    /// # Errors
    /// [`Throttled`] if nothing is left; then nothing is taken either.
    pub fn spend(&mut self, now: UnixMillis, network: NetworkHash) -> Result<(), Throttled> {
        let now = now.as_u64().saturating_mul(1_000);
        while self.forget_nearest(now) {}
        // No bucket is ever more than empty, or than full: a clock that jumped back must neither lock a network out nor
        // give it more.
        let empty = now.saturating_add(window_micros());
        let full_at = self.full_at.get(&network).map_or(now, |full_at| (*full_at).clamp(now, empty));
        let next = full_at.saturating_add(self.cost_micros);
        let over = next.saturating_sub(now).saturating_sub(window_micros());
        let (kept, verdict) = if over == 0 {
            (next, Ok(()))
        } else {
            (full_at, Err(Throttled { retry_after: Duration::from_millis(over.div_ceil(1_000)) }))
        };
        if let Some(full_at) = self.full_at.get_mut(&network) {
            *full_at = kept;
            return verdict;
        }
        if self.full_at.len() >= self.capacity {
            self.forget_nearest(u64::MAX);
        }
        self.full_at.insert(network, kept);
        self.by_time.insert((kept, network));
        verdict
    }

    /// Networks remembered now.
    pub fn networks(&self) -> usize {
        self.full_at.len()
    }

    /// Forgets the network whose bucket is nearest to full, if it is full by `by`. Returns whether it was.
    fn forget_nearest(&mut self, by: u64) -> bool {
        while let Some((noted, network)) = self.by_time.first().copied()
            && noted <= by
        {
            self.by_time.pop_first();
            match self.full_at.get(&network) {
                Some(full_at) if *full_at > noted => {
                    self.by_time.insert((*full_at, network));
                }
                _ => {
                    self.full_at.remove(&network);
                    return true;
                }
            }
        }
        false
    }
}

fn window_micros() -> u64 {
    u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NETWORK: NetworkHash = NetworkHash::from_bytes([1; 8]);

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    #[test]
    fn the_whole_budget_may_be_spent_at_once_and_then_refills_evenly() {
        let mut budget = Budget::new(600, 10);
        for _ in 0..600 {
            budget.spend(at(0), NETWORK).unwrap();
        }
        assert_eq!(budget.spend(at(0), NETWORK), Err(Throttled { retry_after: Duration::from_millis(100) }));
        assert_eq!(budget.spend(at(99), NETWORK), Err(Throttled { retry_after: Duration::from_millis(1) }));
        budget.spend(at(100), NETWORK).unwrap();
        budget.spend(at(100), NETWORK).unwrap_err();
        budget.spend(at(100), NetworkHash::from_bytes([2; 8])).unwrap();
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out() {
        let mut budget = Budget::new(60, 10);
        budget.spend(at(3_600_000), NETWORK).unwrap();
        let Throttled { retry_after } = budget.spend(at(0), NETWORK).unwrap_err();
        assert!(retry_after <= WINDOW);
        budget.spend(at(saturating_millis(retry_after)), NETWORK).unwrap();
    }

    #[test]
    fn a_clock_that_jumped_back_fills_no_bucket_more_than_full() {
        let mut budget = Budget::new(60, 10);
        budget.spend(at(3_600_000), NETWORK).unwrap();
        budget.spend(at(0), NETWORK).unwrap_err();
        for _ in 0..60 {
            budget.spend(at(1_800_000), NETWORK).unwrap();
        }
        budget.spend(at(1_800_000), NETWORK).unwrap_err();
    }

    #[test]
    fn a_flood_of_networks_stays_within_the_memory_bound() {
        let mut budget = Budget::new(60, 100);
        for network in 0..10_000_u64 {
            budget.spend(at(0), NetworkHash::from_bytes(network.to_be_bytes())).unwrap();
            assert!(budget.networks() <= 100);
        }
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_a_full_bucket_and_its_refill(
            requests in prop::collection::vec((0_u64..3_000, 0_u8..4), 1..400),
        ) {
            const PER_MINUTE: u32 = 20;
            let mut budget = Budget::new(PER_MINUTE, 4);
            let mut served = Vec::new();
            let mut now = 0;
            for (wait, network) in requests {
                now += wait;
                if budget.spend(at(now), NetworkHash::from_bytes([network; 8])).is_ok() {
                    served.push((network, now));
                }
            }
            for (network, start) in &served {
                let minute = *start..start + 60_000;
                let count = served.iter().filter(|(other, at)| other == network && minute.contains(at)).count();
                prop_assert!(count <= 2 * PER_MINUTE as usize, "{count}");
            }
        }
    }
}
