//! What a community without an attacker gets: who is listed, and how soon a newcomer is.

use std::collections::{BTreeMap, BTreeSet};

use rendezvous_protocol::limits::ROSTER_CAPACITY;
use rendezvous_protocol::network::NetworkPath;

use crate::simulation::{MINUTE, Random, SECOND, START, Side, World, number, path, sites};
use crate::statistics::{Mean, Table, float};

const HOUR: u64 = 60 * MINUTE;
/// Who comes after this is a newcomer to a community that is there.
const SETTLED: u64 = 10 * MINUTE;
const PROVIDERS: u32 = 60;

/// A community, its peers grouped by provider, the largest first.
struct Community {
    name: &'static str,
    providers: Vec<Vec<NetworkPath>>,
    /// Small ones are looked at several times.
    runs: u64,
}

/// What the figures must be at least, or at most.
struct Bounds {
    ever_listed: f64,
    listed_time: f64,
    /// Of the peers in the largest provider.
    listed_time_largest: f64,
    never: f64,
    seen: usize,
}

struct Found {
    ever_listed: Mean,
    listed_time: [Mean; 3],
    waits: Vec<u64>,
    newcomers: usize,
    seen: Vec<usize>,
}

/// Sizes that fall off as one over the rank, at least one each.
fn zipf(peers: u32) -> Vec<Vec<NetworkPath>> {
    let weights: f64 = (1..=PROVIDERS).map(|rank| 1.0 / f64::from(rank)).sum();
    let mut before = 0.0;
    let mut ends = Vec::new();
    for rank in 1..=PROVIDERS {
        before += f64::from(peers) / weights / f64::from(rank);
        ends.push(before);
    }
    let count_before = |end: f64| (0..peers).take_while(|peer| f64::from(*peer) + 0.5 < end).count();
    let mut from = 0;
    let mut providers = Vec::new();
    for (provider, end) in (0..PROVIDERS).zip(ends) {
        let to = count_before(end);
        providers.push((0..u32::try_from(to - from).unwrap()).map(|site| path(provider, site, 0)).collect());
        from = to;
    }
    providers
}

fn live(community: &Community) -> Found {
    let mut found = Found {
        ever_listed: Mean::default(),
        listed_time: [Mean::default(); 3],
        waits: Vec::new(),
        newcomers: 0,
        seen: Vec::new(),
    };
    let smallest = community.providers.iter().map(Vec::len).filter(|size| *size > 0).min().unwrap();
    for run in 0..community.runs {
        let mut world = World::new(run + 100);
        let mut random = Random::new(run);
        // Per peer: whether its provider is the largest, or one of the smallest.
        let mut kinds = Vec::new();
        for (rank, paths) in community.providers.iter().enumerate() {
            for path in paths {
                let peer = world.add(Side::Honest, *path);
                kinds.push((rank == 0, paths.len() == smallest));
                // One in five is a newcomer, and one in ten leaves.
                let is_newcomer = random.between(0, 5) == 0;
                let (from, to) = if is_newcomer { (SETTLED, HOUR - 10 * MINUTE) } else { (0, SETTLED) };
                let joins_at = START + random.between(from, to);
                world.join_at(peer, joins_at);
                if random.between(0, 10) == 0 {
                    world.leave_at(peer, random.between(joins_at + 5 * MINUTE, START + HOUR + 5 * MINUTE));
                }
            }
        }

        let mut listed_since = BTreeMap::new();
        let mut samples_of = vec![0_u32; kinds.len()];
        let mut seen_by: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let step = 30 * SECOND;
        for sample in 1..=HOUR / step {
            world.run(START + sample * step, |world, announced| {
                let joined = world.peers[announced].joins_at;
                let is_listed = world.roster.records().any(|record| number(&record.ticket) == announced);
                if is_listed {
                    listed_since.entry(announced).or_insert(world.now);
                }
                if joined >= START + SETTLED && world.now < joined + 5 * MINUTE {
                    let answer: Vec<_> =
                        world.answer_to(announced).iter().map(|record| number(&record.ticket)).collect();
                    assert!(!answer.contains(&announced), "nobody is told of itself");
                    seen_by.entry(announced).or_default().extend(answer);
                }
            });
            world.roster.records().for_each(|record| samples_of[number(&record.ticket)] += 1);
        }

        for (peer, (is_largest, is_smallest)) in kinds.into_iter().enumerate() {
            let (joined, leaves) = (world.peers[peer].joins_at, world.peers[peer].leaves_at);
            // How many moments were looked at while it was there, from the one at which it joined.
            let before = |moment: u64| moment.saturating_sub(START + 1) / step;
            let moments = before(leaves.min(START + HOUR + 1)) - before(joined);
            let share = f64::from(samples_of[peer]) / float(usize::try_from(moments).unwrap());
            found.ever_listed.add(if listed_since.contains_key(&peer) { 1.0 } else { 0.0 });
            let groups = [true, is_largest, is_smallest];
            for (mean, _) in found.listed_time.iter_mut().zip(groups).filter(|(_, is_in)| *is_in) {
                mean.add(share);
            }
            assert!(share <= 1.0, "a peer that has left is listed");
            if joined >= START + SETTLED {
                found.newcomers += 1;
                found.waits.extend(listed_since.get(&peer).map(|since| since - joined));
                found.seen.push(seen_by.get(&peer).map_or(0, BTreeSet::len));
            }
        }
    }
    found.waits.sort_unstable();
    found.seen.sort_unstable();
    found
}

/// The value that so many percent of all do not exceed; of sorted ones, and `None` where that is among those missing.
fn percentile(sorted: &[u64], of: usize, percent: usize) -> Option<u64> {
    sorted.get((of * percent).div_ceil(100).saturating_sub(1)).copied()
}

#[test]
fn an_honest_community_is_listed_for_an_hour() {
    let whole = |seen| Bounds { ever_listed: 1.0, listed_time: 1.0, listed_time_largest: 1.0, never: 0.0, seen };
    let singles = |count| sites(0, count, count).into_iter().map(|path| vec![path]).collect::<Vec<_>>();
    let one_site = |count| vec![(0..count).map(|household| path(0, 0, household)).collect::<Vec<_>>()];
    let rows = [
        (Community { name: "3 in networks of their own", providers: singles(3), runs: 20 }, whole(2)),
        (Community { name: "3 in one site", providers: one_site(3), runs: 20 }, whole(2)),
        (Community { name: "5 in networks of their own", providers: singles(5), runs: 20 }, whole(4)),
        (Community { name: "5 in one site", providers: one_site(5), runs: 20 }, whole(4)),
        (Community { name: "20 in networks of their own", providers: singles(20), runs: 10 }, whole(18)),
        (Community { name: "20 in one site", providers: one_site(20), runs: 10 }, whole(18)),
        (Community { name: "100 in one site", providers: one_site(100), runs: 2 }, whole(80)),
        (Community { name: "200 in one provider", providers: vec![sites(0, 1, 200)], runs: 2 }, whole(130)),
        (
            Community {
                name: "300 behind one address",
                providers: vec![(0..300).map(|_| path(0, 0, 0)).collect()],
                runs: 1,
            },
            Bounds { ever_listed: 0.7, listed_time: 0.68, listed_time_largest: 0.68, never: 0.85, seen: 150 },
        ),
        (
            Community { name: "300 in 60 providers", providers: zipf(300), runs: 4 },
            Bounds { ever_listed: 0.93, listed_time: 0.75, listed_time_largest: 0.50, never: 0.16, seen: 130 },
        ),
        (
            Community { name: "1,000 in 60 providers", providers: zipf(1_000), runs: 4 },
            Bounds { ever_listed: 0.84, listed_time: 0.22, listed_time_largest: 0.10, never: 0.34, seen: 140 },
        ),
        (
            Community { name: "5,000 in 60 providers", providers: zipf(5_000), runs: 1 },
            Bounds { ever_listed: 0.49, listed_time: 0.045, listed_time_largest: 0.018, never: 0.68, seen: 150 },
        ),
    ];
    let mut table = Table::new(&[
        "peers",
        "ever listed",
        "of the time",
        "in the largest provider",
        "in the smallest",
        "a newcomer waits (median)",
        "99 of 100",
        "never",
        "sees in 5 minutes (median)",
    ]);
    let mut misses = Vec::new();
    for (community, bounds) in rows {
        let found = live(&community);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let wait = |percent| match percentile(&found.waits, found.newcomers, percent) {
            Some(wait) => format!("{} s", wait / SECOND),
            None => "not listed".to_owned(),
        };
        let never = 1.0 - float(found.waits.len()) / float(found.newcomers);
        let seen = found.seen[found.seen.len() / 2];
        let [all, largest, smallest] = found.listed_time.map(Mean::value);
        table.row([
            community.name,
            &percent(found.ever_listed.value()),
            &percent(all),
            &percent(largest),
            &percent(smallest),
            &wait(50),
            &wait(99),
            &percent(never),
            &seen.to_string(),
        ]);
        let name = community.name;
        for (holds, what) in [
            (found.ever_listed.value() >= bounds.ever_listed, "ever listed"),
            (all >= bounds.listed_time, "of the time"),
            (largest >= bounds.listed_time_largest, "of the time in the largest provider"),
            (never <= bounds.never, "never"),
            (seen >= bounds.seen, "seen by a newcomer"),
        ] {
            misses.extend((!holds).then(|| format!("{name}: {what}")));
        }
    }
    table.publish();
    assert_eq!(misses, Vec::<String>::new());
    assert_eq!(ROSTER_CAPACITY, 200, "the figures are of rosters of this size");
}
