//! Which beacons of a list a community's peers use: rendezvous hashing.
//!
//! Every peer computes the same order by itself, so that no server has to tell servers anything. A beacon that comes or goes
//! moves its own share of communities and no other. The rank hangs on random bytes that the origin gave the beacon: whoever
//! could choose its own, or had its rank of its address, would choose which communities it gets.

use sha2::{Digest as _, Sha256};

use super::limits::BEACON_ID_BYTES;
use super::record::ListedBeacon;
use crate::backoff::Backoff;
use crate::mailbox::bytes::Bytes;
use crate::time::UnixMillis;

/// Beacons that a peer uses at a time, of a list that has as many.
pub const BEACONS_USED: usize = 3;

/// How long a beacon is left alone that could not be reached: 5 s at first, five minutes at most.
pub const UNREACHABLE: Backoff =
    Backoff { first: std::time::Duration::from_secs(5), most: std::time::Duration::from_secs(300) };

/// Returns the weight of a beacon for a community: the SHA-256 of the name and the beacon's bytes. The largest comes first.
pub fn weight(community: &str, id: &Bytes<BEACON_ID_BYTES>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(community.as_bytes());
    hasher.update(id.0);
    hasher.finalize().into()
}

/// Returns the positions of beacons in the order in which a community's peers use them.
pub fn ranked<'a>(community: &str, beacons: impl IntoIterator<Item = &'a ListedBeacon>) -> Vec<usize> {
    let weights = beacons.into_iter().map(|beacon| weight(community, &beacon.id));
    let mut ranked: Vec<_> = weights.enumerate().collect();
    // Ids are distinct, so that weights are.
    ranked.sort_unstable_by(|(_, one), (_, other)| other.cmp(one));
    ranked.into_iter().map(|(position, _)| position).collect()
}

/// Says which beacons a peer uses while some cannot be reached.
///
/// One that could not be reached gives its place to the next of the order at once, and has it again when it was reached:
/// it is tried beside those that are used, not in their place, or whoever finds two dead would wait for both in turn.
#[derive(Clone, Debug)]
pub struct Placement {
    /// In order.
    ranked: Vec<Ranked>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Ranked {
    /// In the list.
    position: usize,
    /// In a row.
    failures: u32,
    /// When it is tried again, if it has failed.
    again_at: UnixMillis,
}

impl Placement {
    /// Makes the placement of a community's peer that uses so many beacons at a time.
    pub fn new<'a>(community: &str, beacons: impl IntoIterator<Item = &'a ListedBeacon>, used: usize) -> Self {
        let never = UnixMillis::saturating(0);
        let ranked = ranked(community, beacons).into_iter();
        Self { ranked: ranked.map(|position| Ranked { position, failures: 0, again_at: never }).collect(), used }
    }

    /// Returns the positions of the beacons to use: the first of the order that have not failed.
    pub fn chosen(&self) -> impl Iterator<Item = usize> {
        self.ranked.iter().filter(|beacon| beacon.failures == 0).take(self.used).map(|beacon| beacon.position)
    }

    /// Returns the positions of those that have failed, would be used if they had not, and are to be tried again now.
    pub fn due(&self, now: UnixMillis) -> impl Iterator<Item = usize> {
        self.displaced().filter(move |beacon| beacon.again_at <= now).map(|beacon| beacon.position)
    }

    /// Returns when the next of those is to be tried.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.displaced().map(|beacon| beacon.again_at).min()
    }

    /// Returns those that have failed and stand before the last that is used.
    fn displaced(&self) -> impl Iterator<Item = &Ranked> {
        let mut used = 0;
        let before = self.ranked.iter().take_while(move |beacon| {
            let is_wanted = used < self.used;
            used += usize::from(beacon.failures == 0);
            is_wanted
        });
        before.filter(|beacon| beacon.failures > 0)
    }

    /// Takes that a beacon could not be reached, or is not any more. `random` spreads out when it is tried again.
    pub fn failed(&mut self, now: UnixMillis, position: usize, random: u8) {
        for beacon in self.ranked.iter_mut().filter(|beacon| beacon.position == position) {
            beacon.failures = beacon.failures.saturating_add(1);
            beacon.again_at = now.after(UNREACHABLE.wait(beacon.failures, random));
        }
    }

    /// Takes that a beacon was reached.
    pub fn reached(&mut self, position: usize) {
        for beacon in self.ranked.iter_mut().filter(|beacon| beacon.position == position) {
            beacon.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn beacons(count: u8) -> Vec<ListedBeacon> {
        (0..count).map(|id| ListedBeacon { id: Bytes([id; 16]), url: format!("https://b{id}.example") }).collect()
    }

    #[test]
    fn what_cannot_be_reached_gives_its_place_away_until_it_is_reached() {
        let list = beacons(5);
        let mut placement = Placement::new("community", &list, 2);
        let order = ranked("community", &list);
        let chosen = |placement: &Placement| placement.chosen().collect::<Vec<_>>();
        let due = |placement: &Placement, now| placement.due(now).collect::<Vec<_>>();
        let now = UnixMillis::saturating(1_000_000);
        assert_eq!((chosen(&placement), placement.deadline()), (order[..2].to_vec(), None));
        placement.failed(now, order[0], u8::MAX);
        let again = now.after(Duration::from_secs(5));
        assert_eq!((chosen(&placement), placement.deadline()), (order[1..3].to_vec(), Some(again)));
        assert_eq!((due(&placement, now), due(&placement, again)), (Vec::new(), vec![order[0]]));
        // Beside the others, which stay.
        assert_eq!(chosen(&placement), order[1..3]);
        placement.failed(again, order[0], u8::MAX);
        assert_eq!(placement.deadline(), Some(again.after(Duration::from_secs(10))));
        // One that nobody would use is left alone.
        placement.failed(now, order[4], 0);
        assert_eq!(due(&placement, UnixMillis::MAX), [order[0]]);
        placement.reached(order[0]);
        assert_eq!((chosen(&placement), placement.deadline()), (order[..2].to_vec(), None));
        order.iter().for_each(|position| placement.failed(again, *position, 0));
        assert!(chosen(&placement).is_empty());
        assert_eq!(due(&placement, UnixMillis::MAX), order);
    }

    #[test]
    fn one_that_goes_moves_its_own_share_alone() {
        let list = beacons(20);
        let without: Vec<_> = list.iter().filter(|beacon| beacon.id.0[0] != 7).cloned().collect();
        for community in 0..500 {
            let community = format!("c{community}");
            let urls = |list: &[ListedBeacon]| {
                ranked(&community, list).into_iter().map(|at| list[at].url.clone()).collect::<Vec<_>>()
            };
            let before: Vec<_> = urls(&list).into_iter().filter(|url| url != "https://b7.example").collect();
            assert_eq!(before, urls(&without));
        }
    }
}
