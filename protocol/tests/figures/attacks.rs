//! What attackers do to honest peers, and what they cannot do.
//!
//! Out of scope: the rate limit, which an attacker with many networks does not feel, and `ORIGINS`.

use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::roster::{Announced, Left, Roster, RosterLimits};
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};

use crate::simulation::{Carried, HOSTILE, MINUTE, Random, SECOND, START, Side, World, at, path, secret, side, sites};
use crate::statistics::{Mean, Table, float};

const SECRETS: u64 = 3;
/// Who comes early has joined by then, and who comes late begins with it.
const ATTACK: u64 = 4 * MINUTE;
/// When the roster is looked at, and from how many seeds its answers are.
const LOOKS: [u64; 4] = [7 * MINUTE, 9 * MINUTE, 11 * MINUTE, 13 * MINUTE];
const SEEDS: u64 = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    First,
    Late,
}

struct Attack {
    name: String,
    honest: Vec<NetworkPath>,
    /// One key each.
    hostile: Vec<NetworkPath>,
    /// Hostile keys that were there before anybody else.
    before: Vec<NetworkPath>,
    comes: Comes,
    /// Twenty times a second a new key announces from one of these, chosen at random, and goes on if it is listed.
    tries_from: Vec<NetworkPath>,
    carried: Carried,
    carriers: Vec<NetworkPath>,
    names: Names,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Own,
    /// Each hostile key claims the name of an honest peer.
    OfHonestPeers,
    /// One hostile key claims all the names.
    OfHonestPeersByOneKey,
    /// Each time that an honest peer is brought ahead of itself from an empty share, neighbours come there.
    Neighbours,
}

/// Means over secrets, moments and seeds.
struct Found {
    in_roster: f64,
    in_answer: f64,
    none_in_answer: f64,
}

impl Found {
    /// Says where less is left than there must be.
    fn misses(&self, name: &str, [in_roster, in_answer]: Floor) -> Option<String> {
        let is_missed = self.in_roster < in_roster || self.in_answer < in_answer;
        let found = format!("{:.2} in the roster and {:.2} in an answer", self.in_roster, self.in_answer);
        is_missed.then(|| format!("{name}: {found}, not {in_roster:.2} and {in_answer:.2}"))
    }
}

impl Attack {
    fn new(name: impl Into<String>, comes: Comes, hostile: Vec<NetworkPath>) -> Self {
        Self {
            name: name.into(),
            honest: sites(0, 50, 50),
            hostile,
            before: Vec::new(),
            comes,
            tries_from: Vec::new(),
            carried: Carried::Never,
            carriers: Vec::new(),
            names: Names::Own,
        }
    }

    fn on(self, honest: Vec<NetworkPath>) -> Self {
        Self { honest, ..self }
    }

    fn carrying(self, carried: Carried, carriers: Vec<NetworkPath>) -> Self {
        Self { carried, carriers, ..self }
    }

    fn play(&self) -> Found {
        let [mut in_roster, mut in_answer, mut none_in_answer] = [Mean::default(); 3];
        for secret in 0..SECRETS {
            let mut world = World::new(secret);
            self.populate(&mut world);
            for look in LOOKS {
                self.advance(&mut world, START + look);
                in_roster.add(float(world.honest_in_roster()));
                for seed in 0..SEEDS {
                    let honest = world.honest_in_answer(START + look + seed * 5 * SECOND);
                    in_answer.add(float(honest));
                    none_in_answer.add(if honest == 0 { 1.0 } else { 0.0 });
                }
            }
        }
        Found { in_roster: in_roster.value(), in_answer: in_answer.value(), none_in_answer: none_in_answer.value() }
    }

    fn populate(&self, world: &mut World) {
        let (early, late) = ((0, 2 * MINUTE), (ATTACK, ATTACK + 2 * MINUTE));
        let (honest, hostile) = if self.comes == Comes::Late { (early, late) } else { (late, early) };
        world.join(Side::Honest, &self.honest, honest.0, honest.1);
        world.join(Side::Hostile, &self.hostile, hostile.0, hostile.1);
        world.join(Side::Hostile, &self.before, 0, 1);
        world.carried = self.carried;
        world.carriers.clone_from(&self.carriers);
        if matches!(self.names, Names::OfHonestPeers | Names::OfHonestPeersByOneKey) {
            let hostile = self.honest.len()..world.peers.len();
            let key = world.peers[hostile.start].key;
            for number in hostile {
                world.peers[number].peer_id = format!("peer-{}", number % self.honest.len());
                if self.names == Names::OfHonestPeersByOneKey {
                    world.peers[number].key = key;
                }
            }
        }
    }

    fn advance(&self, world: &mut World, until: u64) {
        if self.names == Names::Neighbours {
            let mut provider = 2 * HOSTILE + u32::try_from(world.peers.len()).unwrap();
            world.carriers = vec![path(provider, 0, 0)];
            return world.run(until, |world, announced| {
                let is_listed = |world: &World| {
                    let peer_id = &world.peers[announced].peer_id;
                    world
                        .roster
                        .records()
                        .find(|record| record.ticket.peer_id().as_str() == peer_id)
                        .map(|record| record.counts.path)
                };
                for household in 1..=8 {
                    if is_listed(world) != Some(path(provider, 0, 0)) {
                        break;
                    }
                    let neighbour = world.add(Side::Hostile, path(provider, 0, household));
                    let _ = world.announce(neighbour);
                }
                provider += 1;
                world.carriers = vec![path(provider, 0, 0)];
            });
        }
        if !self.tries_from.is_empty() {
            let mut next = world.now.max(START + ATTACK);
            while next < until {
                world.run(next, |_, _| ());
                let from = world.random.between(0, u64::try_from(self.tries_from.len()).unwrap());
                let number = world.add(Side::Hostile, self.tries_from[usize::try_from(from).unwrap()]);
                if world.announce(number) == Ok(Announced::Accepted) {
                    world.again(number);
                }
                next += SECOND / 20;
            }
        }
        world.run(until, |_, _| ());
    }
}

/// What an attack must leave at least: in the roster, and in an answer.
type Floor = [f64; 2];

fn of_providers(count: u32, providers: u32) -> Vec<NetworkPath> {
    sites(HOSTILE, providers, count)
}

/// As many keys as `count`, in turns from so many addresses of one site.
fn of_one_site(count: u32, addresses: u32) -> Vec<NetworkPath> {
    (0..count).map(|key| path(HOSTILE, 0, key % addresses)).collect()
}

fn assert_table(rows: &[(Attack, Floor)]) {
    let mut table =
        Table::new(&["attack", "honest peers", "in the roster", "in an answer of 50", "answers with none of them"]);
    let mut misses = Vec::new();
    for (attack, floor) in rows {
        let found = attack.play();
        table.row([
            attack.name.as_str(),
            &attack.honest.len().to_string(),
            &format!("{:.1}", found.in_roster),
            &format!("{:.1}", found.in_answer),
            &format!("{:.1} %", 100.0 * found.none_in_answer),
        ]);
        misses.extend(found.misses(&attack.name, *floor));
    }
    table.publish();
    assert_eq!(misses, [""; 0]);
}

#[test]
fn attackers_who_come_late_leave_honest_peers_their_places() {
    let late = |name: &str, hostile| Attack::new(name, Comes::Late, hostile);
    let grinding = |name: &str, tries_from| Attack { tries_from, ..late(name, vec![]) };
    let by = |names, attack| Attack { names, ..attack };
    assert_table(&[
        (late("nobody", vec![]), [50.0, 50.0]),
        (late("400 keys, one address", of_one_site(400, 1)), [50.0, 49.0]),
        (late("400 keys, a /24 or a /48 of 256 households", of_one_site(400, 256)), [50.0, 49.0]),
        (late("1,000 sites of one provider", of_providers(1_000, 1)), [50.0, 40.5]),
        (late("50 sites of 4 providers", of_providers(50, 4)), [50.0, 31.5]),
        (late("50 sites of 10 providers", of_providers(50, 10)), [50.0, 29.0]),
        (late("50 sites of 50 providers", of_providers(50, 50)), [50.0, 28.0]),
        (late("256 sites of 4 providers", of_providers(256, 4)), [50.0, 28.5]),
        (late("256 sites of 10 providers", of_providers(256, 10)), [50.0, 23.0]),
        (late("256 sites of 100 providers", of_providers(256, 100)), [50.0, 19.5]),
        (late("256 sites of 256 providers", of_providers(256, 256)), [50.0, 19.3]),
        (late("1,000 sites of 4 providers", of_providers(1_000, 4)), [50.0, 28.5]),
        (late("1,000 sites of 10 providers", of_providers(1_000, 10)), [50.0, 23.0]),
        (late("1,000 sites of 100 providers", of_providers(1_000, 100)), [50.0, 19.5]),
        (
            grinding("rank grinding, 20 tries a second, 1,000 sites of 4 providers", of_providers(1_000, 4)),
            [50.0, 28.5],
        ),
        (grinding("the same of 10 providers", of_providers(1_000, 10)), [50.0, 23.0]),
        (grinding("the same of 100 providers", of_providers(1_000, 100)), [50.0, 19.5]),
        (grinding("a new key 20 times a second, one address", of_one_site(1, 1)), [50.0, 48.9]),
        (by(Names::OfHonestPeers, late("squatter: a key for each honest name", of_one_site(50, 1))), [50.0, 48.9]),
        (
            by(Names::OfHonestPeersByOneKey, late("squatter: one key, all honest names", of_one_site(50, 1))),
            [50.0, 48.9],
        ),
        (late("256 sites of 256 providers", of_providers(256, 256)).on(sites(0, 3, 3)), [3.0, 3.0]),
        (late("256 sites of 256 providers", of_providers(256, 256)).on(sites(0, 5, 5)), [5.0, 5.0]),
        (
            late("200 sites of 10 providers on peers in one site", of_providers(200, 10)).on(one_honest_site()),
            [1.0, 1.0],
        ),
    ]);
}

#[test]
fn attackers_who_come_first_leave_honest_peers_their_chance() {
    let first = |name: &str, hostile| Attack::new(name, Comes::First, hostile);
    let by = |names, attack| Attack { names, ..attack };
    let page =
        first("a page left open in all honest households, then 256 sites of 256 providers", of_providers(256, 256));
    assert_table(&[
        (first("400 keys, one address", of_one_site(400, 1)), [50.0, 48.9]),
        (first("400 keys, a /24 or a /48 of 256 households", of_one_site(400, 256)), [50.0, 48.9]),
        (first("1,000 sites of one provider", of_providers(1_000, 1)), [50.0, 37.5]),
        (first("50 sites of 4 providers", of_providers(50, 4)), [50.0, 26.0]),
        (first("50 sites of 10 providers", of_providers(50, 10)), [50.0, 22.5]),
        (first("50 sites of 50 providers", of_providers(50, 50)), [50.0, 21.0]),
        (first("256 sites of 4 providers", of_providers(256, 4)), [49.0, 22.0]),
        (first("256 sites of 10 providers", of_providers(256, 10)), [34.0, 11.0]),
        (first("256 sites of 100 providers", of_providers(256, 100)), [27.0, 5.5]),
        (first("256 sites of 256 providers", of_providers(256, 256)), [27.0, 5.5]),
        (first("1,000 sites of 4 providers", of_providers(1_000, 4)), [34.0, 18.0]),
        (first("1,000 sites of 10 providers", of_providers(1_000, 10)), [15.0, 5.5]),
        (first("1,000 sites of 100 providers", of_providers(1_000, 100)), [7.0, 1.4]),
        (by(Names::OfHonestPeers, first("squatter: a key for each honest name", of_one_site(50, 1))), [50.0, 48.9]),
        (
            by(Names::OfHonestPeersByOneKey, first("squatter: one key, all honest names", of_one_site(50, 1))),
            [50.0, 48.9],
        ),
        (first("256 sites of 256 providers", of_providers(256, 256)).on(sites(0, 3, 3)), [1.5, 0.3]),
        (first("256 sites of 256 providers", of_providers(256, 256)).on(sites(0, 5, 5)), [2.5, 0.5]),
        (
            first("200 sites of 10 providers on peers in one site", of_providers(200, 10)).on(one_honest_site()),
            [1.0, 0.25],
        ),
        // Nothing is promised here: it is in the table because it is what `ORIGINS` is for.
        (Attack { before: sites(0, 50, 50), ..page }, [0.0, 0.0]),
    ]);
}

/// Twenty households.
fn one_honest_site() -> Vec<NetworkPath> {
    (0..20).map(|household| path(0, 0, household)).collect()
}

/// Carriers have older records of their own in the shares to which they carry, but for those who say otherwise.
#[test]
fn copies_of_tickets_cost_their_owners_little() {
    use Carried::{After, Ahead};
    let mut table = Table::new(&[
        "who brings every honest ticket too",
        "in the roster",
        "without",
        "in an answer of 50",
        "without",
    ]);
    // How much less there may be with copies than without.
    let little = [1.5, 3.5];
    let mut misses = Vec::new();
    let mut compare = |name: &str, attack: &Attack, without: &Found, cost: [f64; 2]| {
        let with = attack.play();
        table.row([
            name,
            &format!("{:.1}", with.in_roster),
            &format!("{:.1}", without.in_roster),
            &format!("{:.1}", with.in_answer),
            &format!("{:.1}", without.in_answer),
        ]);
        misses.extend(with.misses(name, [without.in_roster - cost[0], without.in_answer - cost[1]]));
    };
    for (when, comes) in [("late", Comes::Late), ("first", Comes::First)] {
        let attack = || Attack::new("", comes, of_providers(256, 10));
        let without = attack().play();
        for (how, carried) in [("before the owner", Ahead), ("after the owner", After)] {
            for networks in [1, 50, 256] {
                let name = format!("{networks} of 256 sites of 10 providers that come {when}, {how}");
                let cost = if carried == After { [0.5, 0.5] } else { little };
                compare(&name, &attack().carrying(carried, of_providers(256, 10)[..networks].to_vec()), &without, cost);
            }
        }
    }
    let attack = || Attack::new("", Comes::First, of_providers(256, 256));
    let without = attack().play();
    for networks in [50, 256] {
        let name =
            format!("{networks} empty networks before the owner, beside 256 sites of 256 providers that come first");
        let carriers = sites(2 * HOSTILE, networks, networks);
        compare(&name, &attack().carrying(Ahead, carriers), &without, little);
    }
    let name = "a new empty network each time before the owner, then neighbours there; beside the same";
    let attack = Attack { names: Names::Neighbours, ..attack() }.carrying(Ahead, vec![]);
    compare(name, &attack, &without, [11.0, 2.5]);
    table.publish();
    assert_eq!(misses, [""; 0]);
}

/// Who has neighbours in its share can be carried into a household that strangers of the same site fill afterwards. The
/// first there is sure of its place. A second one comes only where some share has three or more.
#[test]
fn a_carrier_with_one_site_takes_next_to_nothing() {
    const ROSTERS: u32 = 1_000;
    let all = |sites: Vec<NetworkPath>| {
        let mut world = World::new(0);
        world.join(Side::Honest, &sites, 0, 1);
        world.peers.iter().map(|peer| peer.ticket(START, Purpose::Presence)).collect::<Vec<_>>()
    };
    let (honest, hostile) = (all(sites(0, 50, 50)), all(sites(0, 305, 305)).split_off(50));
    for (providers, most_lost) in [(10, 0.05), (50, 0.0)] {
        let mut lost = Mean::default();
        for number in 0..ROSTERS {
            let mut roster = Roster::new(RosterLimits::default(), secret(u64::from(number)));
            let mut random = Random::new(u64::from(number));
            let mut announce = |ticket: &VerifiedTicket, from| {
                let _ = roster.announce(at(START), ticket.clone(), from);
            };
            for (ticket, from) in honest.iter().zip(sites(number * providers, providers, 50)) {
                announce(ticket, from);
            }
            let mut carried: Vec<_> = honest.iter().collect();
            carried.sort_by_cached_key(|_| random.next());
            let carrier = HOSTILE * 100;
            carried.iter().for_each(|ticket| announce(ticket, path(carrier, 0, 0)));
            (1..).zip(&hostile).for_each(|(household, ticket)| announce(ticket, path(carrier, 0, household)));
            let left = roster.records().filter(|record| honest.contains(&record.ticket)).count();
            assert!(left >= 46, "{left} of 50");
            lost.add(float(50 - left));
        }
        println!("50 sites of {providers} providers: {:.3} of 50 are carried away", lost.value());
        assert!(lost.value() <= most_lost, "{} of 50", lost.value());
    }
}

/// Fifty honest peers leave, and their last tickets are brought once more: how many are remembered, how many rise.
fn depart(secret: u64, goodbyes: &[NetworkPath], comes: Comes) -> (usize, usize) {
    let mut world = World::new(secret);
    world.join(Side::Honest, &sites(0, 50, 50), 0, 2 * MINUTE);
    world.run(START + ATTACK, |_, _| ());
    let tickets: Vec<_> = world.peers.iter().map(|peer| peer.ticket(world.now, Purpose::Presence)).collect();
    let (now, strangers) = (at(world.now + SECOND), 1_000);
    let say_goodbyes = |world: &mut World| {
        for stranger in 0..strangers {
            let number = world.add(Side::Hostile, goodbyes[stranger % goodbyes.len()]);
            let peer = &world.peers[number];
            let goodbye = peer.ticket(world.now + SECOND, Purpose::Leave);
            assert_ne!(world.roster.leave(now, &goodbye, peer.path), Left::Left);
        }
    };
    if comes == Comes::First {
        say_goodbyes(&mut world);
    }
    for number in 0..tickets.len() {
        let peer = &world.peers[number];
        let goodbye = peer.ticket(world.now + SECOND, Purpose::Leave);
        assert_eq!(world.roster.leave(now, &goodbye, peer.path), Left::Left);
    }
    if comes == Comes::Late {
        say_goodbyes(&mut world);
    }
    let remembered = world.roster.departed().filter(|departed| departed.public_key.as_bytes()[4] == 0).count();
    for ticket in tickets {
        // From the network of a stranger who has just announced and left under the same name.
        let number = world.add(Side::Hostile, goodbyes[0]);
        world.peers[number].peer_id = ticket.peer_id().as_str().to_owned();
        let peer = &world.peers[number];
        let (presence, goodbye) =
            (peer.ticket(world.now, Purpose::Presence), peer.ticket(world.now + SECOND, Purpose::Leave));
        let _ = world.roster.announce(now, presence, peer.path);
        world.roster.leave(now, &goodbye, peer.path);
        let _ = world.roster.announce(now, ticket, peer.path);
    }
    let risen = world.roster.records().filter(|record| side(&record.ticket) == Side::Honest).count();
    (remembered, risen)
}

#[test]
fn strangers_goodbyes_do_not_make_a_departure_forgotten() {
    let mut table = Table::new(&["1,000 goodbyes of strangers", "remembered of 50", "risen again"]);
    for (name, from, least_if_first) in [
        ("one household", sites(HOSTILE, 1, 1), 50.0),
        ("1,000 sites of one provider", sites(HOSTILE, 1, 1_000), 50.0),
        ("256 sites of 10 providers", sites(HOSTILE, 10, 256), 34.0),
        ("256 sites of 256 providers", sites(HOSTILE, 256, 256), 27.0),
    ] {
        for (when, comes) in [("late", Comes::Late), ("first", Comes::First)] {
            let [mut remembered, mut risen] = [Mean::default(); 2];
            for secret in 0..10 {
                let (departed, listed) = depart(secret, &from, comes);
                remembered.add(float(departed));
                risen.add(float(listed));
            }
            table.row([
                format!("{name}, {when}").as_str(),
                &format!("{:.1}", remembered.value()),
                &format!("{:.1}", risen.value()),
            ]);
            let least = if comes == Comes::Late { 50.0 } else { least_if_first };
            let (remembered, risen) = (remembered.value(), risen.value());
            assert!(remembered >= least && risen <= 50.0 - least, "{name}, {when}: {remembered} and {risen}");
        }
    }
    table.publish();
}
