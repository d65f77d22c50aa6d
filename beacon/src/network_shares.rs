//! What clients hold of something that there is only so much of, by network and in all.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rendezvous_protocol::network::{NetworkHash, NetworkPath};
use rendezvous_protocol::sorted_map::SortedMap;

/// Counts what is held. A clone counts the same.
#[derive(Clone, Default)]
pub(crate) struct NetworkShares(Arc<Mutex<Held>>);

/// How much is held in all, and by each provider, site and household that holds something.
#[derive(Default)]
struct Held {
    all: usize,
    networks: SortedMap<NetworkHash, usize>,
}

/// Says how much is held where a client is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldThere {
    /// By its household.
    pub(crate) household: usize,
    /// By its site.
    pub(crate) site: usize,
    /// By its provider.
    pub(crate) provider: usize,
    /// By everybody.
    pub(crate) all: usize,
}

/// Holds a share. It is given back when this is dropped, whatever has become of what it is for.
#[derive(Debug)]
pub(crate) struct NetworkShare {
    shares: NetworkShares,
    path: NetworkPath,
    amount: usize,
}

impl NetworkShares {
    /// Takes so much, if there `may` be so much more where what is held now is this.
    pub(crate) fn take(
        &self,
        path: NetworkPath,
        amount: usize,
        may: impl FnOnce(HeldThere) -> bool,
    ) -> Option<NetworkShare> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |network| held.networks.get(&network).copied().unwrap_or(0);
        let NetworkPath { provider, site, household } = path;
        let there = HeldThere { household: of(household), site: of(site), provider: of(provider), all: held.all };
        if !may(there) {
            return None;
        }
        held.all = held.all.saturating_add(amount);
        for network in [provider, site, household] {
            let of_network = held.networks.get_or_default(network);
            *of_network = of_network.saturating_add(amount);
        }
        Some(NetworkShare { shares: self.clone(), path, amount })
    }
}

impl NetworkShare {
    /// Gives back all but so much.
    pub(crate) fn shrink_to(&mut self, amount: usize) {
        let gives_back = self.amount.saturating_sub(amount);
        self.amount = self.amount.saturating_sub(gives_back);
        // Its drop gives it back.
        drop(Self { shares: self.shares.clone(), path: self.path, amount: gives_back });
    }
}

impl fmt::Debug for NetworkShares {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NetworkShares").finish_non_exhaustive()
    }
}

impl Drop for NetworkShare {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(self.amount);
        let NetworkPath { provider, site, household } = self.path;
        for network in [provider, site, household] {
            let of_network = held.networks.get_or_default(network);
            *of_network = of_network.saturating_sub(self.amount);
            // Who holds nothing is not remembered.
            if *of_network == 0 {
                held.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rendezvous_protocol::network::{Client, read_address};
    use rendezvous_protocol::secret::Secret;

    use super::*;

    proptest! {
        /// The model adds up what is held.
        #[test]
        fn what_is_held_is_what_was_taken_and_not_given_back(
            steps in prop::collection::vec((0_usize..6, 1_usize..5, any::<bool>()), 0..60),
        ) {
            let addresses = ["192.0.2.1", "192.0.2.2", "192.0.3.1", "192.1.2.1", "2001:db8::1", "2001:db8:0:100::1"];
            let path = |address: usize| {
                let address = read_address(addresses[address]);
                Client { address, autonomous_system: None }.hand_over().hashed(&Secret::from_bytes([1; 16]))
            };
            let shares = NetworkShares::default();
            let mut held: Vec<NetworkShare> = Vec::new();
            for (address, amount, gives_back) in steps {
                if gives_back && !held.is_empty() {
                    held.remove(address % held.len());
                    continue;
                }
                let path = path(address);
                let sum = |is_there: &dyn Fn(&NetworkPath) -> bool| {
                    held.iter().filter(|share| is_there(&share.path)).map(|share| share.amount).sum::<usize>()
                };
                let expected = [
                    sum(&|other| other.household == path.household),
                    sum(&|other| other.site == path.site),
                    sum(&|other| other.provider == path.provider),
                    sum(&|_| true),
                ];
                let taken = shares.take(path, amount, |there| {
                    assert_eq!([there.household, there.site, there.provider, there.all], expected);
                    there.household < 8
                });
                prop_assert_eq!(taken.is_some(), expected[0] < 8);
                held.extend(taken);
            }
            drop(held);
            let left = shares.0.lock().unwrap();
            prop_assert!(left.all == 0 && left.networks.is_empty());
        }
    }
}
