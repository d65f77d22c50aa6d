//! How many requests clients may make, and how many new communities they may name.
//!
//! A token bucket for each network in the form of the generic cell rate algorithm (ITU-T I.371): one point in time a
//! network, the moment at which its bucket will be full again. Memory is bounded at each level by itself, so that a
//! flood of the cheapest networks makes nobody forget the others. A level is a set-associative cache: a network's hash
//! says in which set it is remembered, and where that set is full, the one of it whose bucket is nearest to full goes. So
//! a request costs the same however many networks there are, and nobody chooses a set, because hashes are under a secret.
//! One whose bucket is full is the same as one never seen.
//!
//! A request is taken from the buckets of its address, its network and its site, or from none of them.

use std::time::Duration;

use crate::community::Community;
use crate::limits::{
    ADDRESSES_IN_A_NETWORK, NETWORKS_IN_A_SITE, NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE, RECENT_COMMUNITIES,
    RECENT_COMMUNITIES_AGE,
};
use crate::network::{NetworkHash, RatePath};
use crate::secret::below;
use crate::sorted_set::SortedSet;
use crate::time::{UnixMillis, saturating_millis};
use crate::token_bucket::TokenBucket;

/// The most networks of a set: few enough to look at all of them, enough that sets fill evenly.
const SET_MAX_NETWORKS: usize = 16;

/// The window whose requests may all be made at once.
const WINDOW: Duration = Duration::from_secs(60);

/// Says why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimited {
    /// The address, its network or its site has made too many.
    #[error(
        "too many requests from this address or network, the next is served in {} ms",
        saturating_millis(*.retry_after)
    )]
    Requests {
        /// After this time one request is served again.
        retry_after: Duration,
    },
    /// The network, its site or everybody together has named too many communities that this process does not know.
    #[error("too many new communities, the next is served in {} ms", saturating_millis(*.retry_after))]
    NewCommunities {
        /// After this time one new community is served again.
        retry_after: Duration,
    },
}

impl RateLimited {
    /// Returns after which time the next is served.
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Requests { retry_after } | Self::NewCommunities { retry_after } => *retry_after,
        }
    }
}

/// Limits the rate of requests, by address, network and site.
#[derive(Debug)]
pub struct RateLimit {
    addresses: Buckets,
    networks: Buckets,
    sites: Buckets,
}

impl RateLimit {
    /// Makes a rate limit of requests a minute for an address and for a network; a site has
    /// [`NETWORKS_IN_A_SITE`] times as many as a network. At each level at most `capacity` are remembered.
    pub fn new(address_per_minute: u32, network_per_minute: u32, capacity: usize) -> Self {
        Self {
            addresses: Buckets::new(address_per_minute, capacity),
            networks: Buckets::new(network_per_minute, capacity),
            sites: Buckets::new(network_per_minute.saturating_mul(NETWORKS_IN_A_SITE), capacity),
        }
    }

    /// Returns how many requests a minute an address may make where nobody says otherwise.
    pub const fn address_share(network_per_minute: u32) -> u32 {
        let share = network_per_minute / ADDRESSES_IN_A_NETWORK;
        if share == 0 { 1 } else { share }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// [`RateLimited::Requests`] if nothing is left at one of the levels; then nothing is taken at any.
    pub fn take(&mut self, now: UnixMillis, path: RatePath) -> Result<(), RateLimited> {
        self.take_several(now, path, 1)
    }

    /// Takes a request that is as much work as so many; of a level that has fewer in a minute it takes all of them.
    ///
    /// # Errors
    /// As [`RateLimit::take`].
    pub fn take_several(&mut self, now: UnixMillis, path: RatePath, requests: u32) -> Result<(), RateLimited> {
        take_from_all(
            now,
            requests,
            [
                Some((&mut self.addresses, path.address)),
                Some((&mut self.networks, path.network)),
                path.site.map(|site| (&mut self.sites, site)),
            ],
        )
        .map_err(|retry_after| RateLimited::Requests { retry_after })
    }
}

/// Limits the rate of communities that anybody may name, and that cost an object each.
#[derive(Debug)]
pub struct NewCommunities {
    networks: Buckets,
    sites: Buckets,
    process: Buckets,
    /// Those seen since `since`, and in the time before.
    recent: [SortedSet<Community>; 2],
    since: UnixMillis,
}

impl NewCommunities {
    /// Makes a rate limit that knows no community, and lets through so many new ones a minute from everybody together.
    /// At each level at most `capacity` networks are remembered.
    pub fn new(per_minute: u32, capacity: usize) -> Self {
        let per_network = NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE;
        Self {
            networks: Buckets::new(per_network, capacity),
            sites: Buckets::new(per_network.saturating_mul(NETWORKS_IN_A_SITE), capacity),
            process: Buckets::new(per_minute, 1),
            recent: [SortedSet::new(), SortedSet::new()],
            since: UnixMillis::saturating(0),
        }
    }

    /// Lets a community through. One that was seen lately takes nothing.
    ///
    /// # Errors
    /// [`RateLimited::NewCommunities`] if nothing is left at one of the levels; then nothing is taken at any.
    pub fn admit(&mut self, now: UnixMillis, path: RatePath, community: &Community) -> Result<(), RateLimited> {
        let elapsed = now.since(self.since);
        if now < self.since || elapsed >= RECENT_COMMUNITIES_AGE {
            let [latest, before] = &mut self.recent;
            *before = std::mem::take(latest);
            if now < self.since || elapsed >= RECENT_COMMUNITIES_AGE.saturating_mul(2) {
                *before = SortedSet::new();
            }
            self.since = now;
        }
        let [latest, before] = &mut self.recent;
        if latest.contains(community) {
            return Ok(());
        }
        if !before.contains(community) {
            take_from_all(
                now,
                1,
                [
                    Some((&mut self.networks, path.network)),
                    path.site.map(|site| (&mut self.sites, site)),
                    Some((&mut self.process, NetworkHash::from_bytes([0; 8]))),
                ],
            )
            .map_err(|retry_after| RateLimited::NewCommunities { retry_after })?;
        }
        if latest.len() >= RECENT_COMMUNITIES {
            *before = std::mem::take(latest);
        }
        latest.insert(community.clone());
        Ok(())
    }

    /// Returns how many communities are remembered.
    pub fn remembered(&self) -> usize {
        self.recent.iter().map(SortedSet::len).sum()
    }
}

/// Takes so many from each bucket, or nothing and returns how long it takes until there are as many in each.
fn take_from_all<const LEVELS: usize>(
    now: UnixMillis,
    count: u32,
    mut levels: [Option<(&mut Buckets, NetworkHash)>; LEVELS],
) -> Result<(), Duration> {
    let now = now.as_u64().saturating_mul(1_000);
    let mut wait = 0;
    let mut taken = [0; LEVELS];
    for (level, taken) in levels.iter_mut().zip(&mut taken) {
        if let Some((buckets, network)) = level {
            let (full_at, missing) = buckets.look(now, *network, count);
            (*taken, wait) = (full_at, wait.max(missing));
        }
    }
    if wait > 0 {
        return Err(Duration::from_millis(wait.div_ceil(1_000)));
    }
    for (level, full_at) in levels.iter_mut().zip(taken) {
        if let Some((buckets, network)) = level {
            buckets.set(*network, full_at);
        }
    }
    Ok(())
}

/// Holds the buckets of all networks of one level.
#[derive(Debug)]
struct Buckets {
    /// In microseconds, so that large limits keep their precision.
    bucket: TokenBucket,
    /// Networks that one set remembers.
    capacity: usize,
    /// When the bucket of each network is full again, in the set that its hash says.
    sets: Vec<Vec<(NetworkHash, u64)>>,
}

impl Buckets {
    /// Makes buckets of at most `capacity` networks.
    fn new(per_minute: u32, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let sets = capacity.div_ceil(SET_MAX_NETWORKS);
        Self {
            bucket: TokenBucket { interval: window_micros() / u64::from(per_minute.max(1)), filling: window_micros() },
            capacity: capacity / sets,
            sets: vec![Vec::new(); sets],
        }
    }

    /// Returns when the bucket is full again if so many are taken now, and for how many microseconds there are not as many.
    fn look(&mut self, now: u64, network: NetworkHash, count: u32) -> (u64, u64) {
        let bucket = self.bucket;
        let known = self.set_mut(network).and_then(|set| set.iter_mut().find(|(known, _)| *known == network));
        let missing = known.map_or(0, |(_, full_at)| bucket.settle(full_at, now));
        let lots = bucket.in_lots_of(count.into());
        (lots.taken(missing, now), lots.wait(missing))
    }

    fn set(&mut self, network: NetworkHash, full_at: u64) {
        let capacity = self.capacity;
        let Some(set) = self.set_mut(network) else { return };
        if let Some((_, known)) = set.iter_mut().find(|(known, _)| *known == network) {
            *known = full_at;
        } else if set.len() < capacity {
            set.push((network, full_at));
        } else if let Some(nearest) = set.iter_mut().min_by_key(|(_, full_at)| *full_at) {
            *nearest = (network, full_at);
        }
    }

    /// Returns the set in which a network is remembered.
    fn set_mut(&mut self, network: NetworkHash) -> Option<&mut Vec<(NetworkHash, u64)>> {
        // By the upper bits: those who share clients out among several rate limits go by the lower ones.
        let sets = u64::try_from(self.sets.len()).unwrap_or(u64::MAX);
        self.sets.get_mut(usize::try_from(below(sets, network.as_u64())).ok()?)
    }
}

fn window_micros() -> u64 {
    u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::NEW_COMMUNITIES_PER_MINUTE;
    use crate::network::Client;
    use crate::secret::Secret;

    const SECRET: Secret = Secret::from_bytes([1; 16]);

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    fn path(address: &str) -> RatePath {
        Client { address: Some(address.parse().unwrap()), autonomous_system: None }.rate_path(&SECRET)
    }

    /// How many requests from each of these addresses, in turn, are served at once.
    fn served(limit: &mut RateLimit, addresses: &[RatePath], tries: usize) -> usize {
        (0..tries).map(|number| limit.take(at(0), addresses[number % addresses.len()])).filter(Result::is_ok).count()
    }

    fn retry_after(outcome: Result<(), RateLimited>) -> Duration {
        outcome.unwrap_err().retry_after()
    }

    #[test]
    fn all_may_be_taken_at_once_and_then_refills_evenly() {
        let mut limit = RateLimit::new(600, 600, 10);
        let here = path("192.0.2.1");
        assert_eq!(served(&mut limit, &[here], 1_000), 600);
        assert_eq!(retry_after(limit.take(at(0), here)), Duration::from_millis(100));
        assert_eq!(retry_after(limit.take(at(99), here)), Duration::from_millis(1));
        limit.take(at(100), here).unwrap();
        limit.take(at(100), here).unwrap_err();
        limit.take(at(100), path("192.0.3.1")).unwrap();
    }

    #[test]
    fn one_address_leaves_three_quarters_to_its_neighbours() {
        let mut limit = RateLimit::new(RateLimit::address_share(600), 600, 1_000);
        assert_eq!(served(&mut limit, &[path("192.0.2.1")], 1_000), 150);
        assert_eq!(served(&mut limit, &[path("192.0.2.2")], 1_000), 150);
        let others: Vec<_> = (3..200).map(|last| path(&format!("192.0.2.{last}"))).collect();
        assert_eq!(served(&mut limit, &others, 10_000), 300);
        assert_eq!(RateLimit::address_share(3), 1);
    }

    #[test]
    fn a_request_that_is_the_work_of_many_takes_as_many_and_no_more_than_there_are() {
        let mut limit = RateLimit::new(60, 240, 10);
        let here = path("192.0.2.1");
        let several = |limit: &mut RateLimit, requests| limit.take_several(at(0), here, requests);
        several(&mut limit, 17).unwrap();
        several(&mut limit, 0).unwrap();
        assert_eq!(served(&mut limit, &[here], 1_000), 43);
        several(&mut limit, 0).unwrap();
        assert_eq!(retry_after(several(&mut limit, 3)), Duration::from_secs(3));
        // What was refused was taken of the network neither. This one takes all that its address has, and 100 of the network.
        limit.take_several(at(0), path("192.0.2.2"), 100).unwrap();
        limit.take(at(0), path("192.0.2.2")).unwrap_err();
        assert_eq!(served(&mut limit, &[path("192.0.2.3"), path("192.0.2.4")], 1_000), 80);
        limit.take(at(0), path("192.0.2.5")).unwrap_err();
    }

    #[test]
    fn a_slash_48_has_four_times_what_a_slash_56_has() {
        let mut limit = RateLimit::new(RateLimit::address_share(600), 600, 10_000);
        let slash_64s: Vec<_> = (0..256).map(|number| path(&format!("2001:db8:1:{number:x}::1"))).collect();
        assert_eq!(served(&mut limit, &slash_64s, 10_000), 600);
        let slash_56s: Vec<_> = (1..256).map(|number| path(&format!("2001:db8:1:{number:02x}00::1"))).collect();
        assert_eq!(served(&mut limit, &slash_56s, 10_000), 1_800);
        limit.take(at(0), path("2001:db8:2::1")).unwrap();
    }

    #[test]
    fn what_is_refused_at_one_level_is_taken_at_none() {
        let mut limit = RateLimit::new(10, 20, 100);
        // The address is empty: whatever else it asks costs its neighbours nothing.
        assert_eq!(served(&mut limit, &[path("192.0.2.1")], 1_000), 10);
        assert_eq!(served(&mut limit, &[path("192.0.2.2")], 1_000), 10);
    }

    #[test]
    fn a_flood_of_one_level_does_not_flush_another() {
        let mut limit = RateLimit::new(100, 100, 64);
        let here = path("2001:db8:1::1");
        assert_eq!(served(&mut limit, &[here], 100), 100);
        // The /64s of another /48, as many as will do.
        for number in 0..4_096_u32 {
            let _ = limit.take(at(0), path(&format!("2001:db8:2:{number:x}::1")));
            assert!(limit.addresses.sets.iter().map(Vec::len).sum::<usize>() <= 64);
        }
        limit.take(at(0), here).unwrap_err();
    }

    #[test]
    fn networks_that_ask_little_make_nobody_forget_those_that_have_used_up_what_they_may() {
        let mut limit = RateLimit::new(4, 4, 1_024);
        // Half of what is remembered, all of whom one of many rate limits counts.
        let counted = (0_u32..).map(|number| path(&format!("10.{}.{}.1", number >> 8 & 255, number & 255)));
        let busy: Vec<_> = counted.filter(|path| path.shard(64) == 0).take(512).collect();
        for path in &busy {
            (0..4).for_each(|_| limit.take(at(0), *path).unwrap());
        }
        for number in 0_u32..8_192 {
            let _ = limit.take(at(0), path(&format!("172.{}.{}.1", number >> 8, number & 255)));
        }
        let remembered = busy.iter().filter(|path| limit.take(at(0), **path).is_err()).count();
        assert!(remembered >= 500, "{remembered} of 512");
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out() {
        let mut limit = RateLimit::new(60, 60, 10);
        limit.take(at(3_600_000), path("192.0.2.1")).unwrap();
        let retry_after = retry_after(limit.take(at(0), path("192.0.2.1")));
        assert!(retry_after <= WINDOW);
        limit.take(at(saturating_millis(retry_after)), path("192.0.2.1")).unwrap();
    }

    #[test]
    fn a_clock_that_jumped_back_fills_no_bucket_more_than_full() {
        let mut limit = RateLimit::new(60, 60, 10);
        limit.take(at(3_600_000), path("192.0.2.1")).unwrap();
        limit.take(at(0), path("192.0.2.1")).unwrap_err();
        for _ in 0..60 {
            limit.take(at(1_800_000), path("192.0.2.1")).unwrap();
        }
        limit.take(at(1_800_000), path("192.0.2.1")).unwrap_err();
    }

    fn community(number: usize) -> Community {
        Community::new(&format!("c{number}")).unwrap()
    }

    #[test]
    fn a_network_names_ten_new_communities_a_minute_and_any_number_of_known_ones() {
        let mut limit = NewCommunities::new(NEW_COMMUNITIES_PER_MINUTE, 100);
        let here = path("192.0.2.1");
        for number in 0..10 {
            limit.admit(at(0), here, &community(number)).unwrap();
        }
        assert_eq!(retry_after(limit.admit(at(0), here, &community(10))), Duration::from_secs(6));
        for number in 0..10 {
            limit.admit(at(0), here, &community(number)).unwrap();
        }
        limit.admit(at(0), path("192.0.3.1"), &community(10)).unwrap();
        limit.admit(at(0), here, &community(10)).unwrap();
        limit.admit(at(6_000), here, &community(11)).unwrap();
    }

    #[test]
    fn a_slash_48_names_forty_and_everybody_together_six_hundred() {
        let mut limit = NewCommunities::new(NEW_COMMUNITIES_PER_MINUTE, 10_000);
        let mut number = 0;
        let mut named = |address: &str| {
            number += 1;
            limit.admit(at(0), path(address), &community(number)).is_ok()
        };
        let slash_48 = (0..256).map(|number| format!("2001:db8:1:{number:02x}00::1"));
        assert_eq!(slash_48.filter(|address| named(address)).count(), 40);
        let others = (0..2_000).map(|number| format!("10.{}.{}.1", number / 256, number % 256));
        assert_eq!(others.filter(|address| named(address)).count(), 560);
    }

    #[test]
    fn a_community_that_is_asked_for_stays_known_and_one_that_is_not_does_not() {
        let mut limit = NewCommunities::new(NEW_COMMUNITIES_PER_MINUTE, 100);
        let here = path("192.0.2.1");
        let empty = |limit: &mut NewCommunities, now| {
            (0..).take_while(|number| limit.admit(now, here, &community(1_000 + number)).is_ok()).count()
        };
        limit.admit(at(0), here, &community(0)).unwrap();
        let step = saturating_millis(RECENT_COMMUNITIES_AGE) / 2;
        for times in 1..10 {
            empty(&mut limit, at(times * step));
            limit.admit(at(times * step), here, &community(0)).unwrap();
        }
        let later = at(13 * step);
        empty(&mut limit, later);
        limit.admit(later, here, &community(0)).unwrap_err();
    }

    #[test]
    fn memory_of_communities_is_bounded() {
        let mut limit = NewCommunities::new(NEW_COMMUNITIES_PER_MINUTE, 100);
        let minutes = 2 * RECENT_COMMUNITIES / 600 + 10;
        let mut number = 0;
        for minute in 0..minutes {
            for network in 0..60 {
                for _ in 0..10 {
                    number += 1;
                    let now = at(minute as u64 * 60_000);
                    let _ = limit.admit(now, path(&format!("10.{}.{network}.1", minute % 256)), &community(number));
                    assert!(limit.remembered() <= 2 * RECENT_COMMUNITIES);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_a_full_bucket_and_its_refill(
            requests in prop::collection::vec((0_u64..3_000, 0_u8..4, 1_u8..3), 1..400),
        ) {
            const PER_MINUTE: u32 = 20;
            let mut limit = RateLimit::new(PER_MINUTE / 2, PER_MINUTE, 4);
            let mut served = Vec::new();
            let mut now = 0;
            for (wait, network, address) in requests {
                now += wait;
                if limit.take(at(now), path(&format!("192.0.{network}.{address}"))).is_ok() {
                    served.push((network, address, now));
                }
            }
            for (network, address, start) in &served {
                let minute = *start..start + 60_000;
                let in_minute = || served.iter().filter(|(other, _, at)| other == network && minute.contains(at));
                prop_assert!(in_minute().count() <= 2 * PER_MINUTE as usize);
                prop_assert!(in_minute().filter(|(_, other, _)| other == address).count() <= PER_MINUTE as usize);
            }
        }
    }
}
