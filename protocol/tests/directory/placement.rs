//! What rendezvous hashing comes to: a hundred beacons, a hundred thousand communities, newcomers all the while, and ten
//! beacons that die at once. `cargo test -p rendezvous-protocol --test directory placement -- --nocapture` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::directory::placement::{Placement, ranked};
use rendezvous_protocol::directory::record::ListedBeacon;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::time::UnixMillis;

const BEACONS: usize = 100;
const COMMUNITIES: usize = 100_000;
const KILLED: usize = 10;
/// Peers of each community that are there when the beacons die.
const PEERS: usize = 2;
/// Newcomers in the minute after it, none of which knows who is dead: a tenth of a percent of all peers a second.
const NEWCOMERS: usize = COMMUNITIES * PEERS / 1_000 * 60;

const KILLED_AT: UnixMillis = UnixMillis::saturating(1_700_000_000_000);
/// A connection to a beacon that lives, with TLS and a slow way there.
const CONNECTING: Duration = Duration::from_millis(500);
/// A dead machine does not even refuse: the attempt ends by the client's own limit.
const NO_ANSWER: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(30);

/// SplitMix64, so that every run is the same one.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn name(community: usize) -> String {
    format!("community-{community}")
}

fn beacons(draw: &mut Draw) -> Vec<ListedBeacon> {
    let mut id = || {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&draw.next().to_be_bytes());
        bytes[8..].copy_from_slice(&draw.next().to_be_bytes());
        Bytes(bytes)
    };
    (0..BEACONS).map(|number| ListedBeacon { id: id(), url: format!("https://b{number}.example") }).collect()
}

fn max_to_mean(load: &[usize]) -> f64 {
    let loaded: Vec<_> = load.iter().copied().filter(|load| *load > 0).collect();
    let mean = loaded.iter().sum::<usize>() as f64 / loaded.len() as f64;
    loaded.iter().copied().max().unwrap_or_default() as f64 / mean
}

/// Lets one peer go on from when the beacons died, or from when it came. Returns how long it took until it had all its
/// connections.
fn reconnect(
    mut placement: Placement,
    used: usize,
    is_dead: &[bool],
    begins: UnixMillis,
    connected: &[usize],
    draw: &mut Draw,
) -> Duration {
    let mut alive: Vec<usize> = connected.iter().copied().filter(|position| !is_dead[*position]).collect();
    let mut attempts: BTreeMap<(UnixMillis, usize), ()> = BTreeMap::new();
    let mut now = begins;
    for position in connected.iter().filter(|position| is_dead[**position]) {
        placement.failed(now, *position, draw.next() as u8);
    }
    loop {
        if alive.len() >= used {
            return now.since(begins);
        }
        let wanted: Vec<_> = placement.chosen().chain(placement.due(now)).collect();
        for position in wanted {
            let is_under_way = attempts.keys().any(|(_, other)| *other == position);
            if !alive.contains(&position) && !is_under_way {
                let ends = now.after(if is_dead[position] { NO_ANSWER } else { CONNECTING });
                attempts.insert((ends, position), ());
            }
        }
        let next = attempts.keys().next().map(|(ends, _)| *ends);
        now = [next, placement.deadline().filter(|deadline| *deadline > now)].into_iter().flatten().min().unwrap();
        while let Some(((ends, position), ())) = attempts.pop_first() {
            if ends > now {
                attempts.insert((ends, position), ());
                break;
            }
            if is_dead[position] {
                placement.failed(now, position, draw.next() as u8);
            } else {
                placement.reached(position);
                alive.push(position);
            }
        }
    }
}

/// What is counted where peers use so many beacons at a time.
struct Counts {
    used: usize,
    before: [usize; BEACONS],
    after: [usize; BEACONS],
    moved: usize,
    moved_needlessly: usize,
    /// Peers that lost a connection, or came.
    hurt: usize,
    late: usize,
    slowest: Duration,
}

impl Counts {
    const fn new(used: usize) -> Self {
        let (before, after) = ([0; BEACONS], [0; BEACONS]);
        Self { used, before, after, moved: 0, moved_needlessly: 0, hurt: 0, late: 0, slowest: Duration::ZERO }
    }

    fn count(&mut self, took: Duration) {
        self.hurt += 1;
        self.late += usize::from(took > WITHIN);
        self.slowest = self.slowest.max(took);
    }

    fn take(&mut self, community: &str, beacons: &[ListedBeacon], order: &[usize], is_dead: &[bool], draw: &mut Draw) {
        let used = self.used;
        let old = &order[..used];
        let new: Vec<_> = order.iter().copied().filter(|position| !is_dead[*position]).take(used).collect();
        old.iter().for_each(|position| self.before[*position] += 1);
        new.iter().for_each(|position| self.after[*position] += 1);
        let gone = old.iter().copied().filter(|position| !new.contains(position));
        let (of_dead, of_others): (Vec<usize>, Vec<usize>) = gone.partition(|position| is_dead[*position]);
        self.moved += of_dead.len() + of_others.len();
        self.moved_needlessly += of_others.len();
        if !of_dead.is_empty() {
            let placement = Placement::new(community, beacons, used);
            assert_eq!(placement.chosen().collect::<Vec<_>>(), old);
            for _ in 0..PEERS {
                self.count(reconnect(placement.clone(), used, is_dead, KILLED_AT, old, draw));
            }
        }
    }
}

#[test]
fn placement_spreads_communities_evenly_and_outlives_ten_beacons_of_a_hundred() {
    println!("{COMMUNITIES} communities, {BEACONS} beacons, {KILLED} of them die, {NEWCOMERS} newcomers in a minute");
    let mut draw = Draw(19);
    let beacons = beacons(&mut draw);
    let mut is_dead = [false; BEACONS];
    while is_dead.iter().filter(|dead| **dead).count() < KILLED {
        is_dead[draw.below(BEACONS)] = true;
    }
    let mut counts = [2, 3].map(Counts::new);
    for community in (0..COMMUNITIES).map(name) {
        let order = ranked(&community, &beacons);
        for counts in &mut counts {
            counts.take(&community, &beacons, &order, &is_dead, &mut draw);
        }
    }
    for counts in &mut counts {
        for _ in 0..NEWCOMERS {
            let community = name(draw.below(COMMUNITIES));
            let comes = KILLED_AT.after(Duration::from_millis(draw.below(60_000) as u64));
            let placement = Placement::new(&community, &beacons, counts.used);
            counts.count(reconnect(placement, counts.used, &is_dead, comes, &[], &mut draw));
        }
    }
    for Counts { used, before, after, moved, moved_needlessly, hurt, late, slowest } in counts {
        let in_time = 100.0 - 100.0 * late as f64 / hurt as f64;
        let moved = 100.0 * moved as f64 / (COMMUNITIES * used) as f64;
        let [load_before, load_after] = [before, after].map(|load| max_to_mean(&load));
        println!(
            "{used} used: {in_time:.3} % of {hurt} peers have all their connections within 30 s (slowest {:.1} s), \
             load max/mean {load_before:.3} and then {load_after:.3}, {moved:.2} % of placements moved",
            slowest.as_secs_f64()
        );
        assert!(in_time >= 99.9, "{in_time}");
        assert!(load_before <= 1.1 && load_after <= 1.1, "{load_before} {load_after}");
        assert!((9.0..=11.0).contains(&moved), "{moved}");
        assert_eq!(moved_needlessly, 0);
    }
}

#[test]
fn a_beacon_that_comes_takes_its_share_of_each_and_nothing_moves_between_others() {
    let mut draw = Draw(7);
    let all = beacons(&mut draw);
    let (mut taken, communities) = (0, 5_000);
    for community in (0..communities).map(name) {
        let before = ranked(&community, &all[1..]).into_iter().map(|at| at + 1).take(3).collect::<Vec<_>>();
        let after = ranked(&community, &all).into_iter().take(3).collect::<Vec<_>>();
        let kept: Vec<_> = after.iter().copied().filter(|position| *position != 0).collect();
        assert_eq!(kept, before[..kept.len()]);
        taken += usize::from(after.contains(&0));
    }
    // 3 of 100, give or take four standard deviations.
    assert!((100..=200).contains(&taken), "{taken}");
}
