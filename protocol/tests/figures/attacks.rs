//! What attackers do to honest peers, and what they cannot do.
//!
//! Out of scope: the rate limit, which an attacker with many networks does not feel, and `ORIGINS`.

use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::roster::{Announced, Left};
use rendezvous_protocol::ticket::Purpose;

use crate::simulation::{Carried, HOSTILE, MINUTE, SECOND, START, Side, World, at, path, side, sites};
use crate::statistics::{Mean, Table, float};

const SECRETS: u64 = 3;
/// Who comes early has joined by then, and who comes late begins with it.
const ATTACK: u64 = 4 * MINUTE;
/// When the roster is looked at, and from how many seeds its answers are.
const LOOKS: [u64; 4] = [9 * MINUTE, 11 * MINUTE, 13 * MINUTE, 15 * MINUTE];
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

impl Attack {
    fn new(name: impl Into<String>, comes: Comes, hostile: Vec<NetworkPath>) -> Self {
        Self {
            name: name.into(),
            honest: sites(0, 50, 50),
            hostile,
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
                    world.roster.records().find(|record| record.ticket.peer_id().as_str() == peer_id).map(|record| record.counts.path)
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

#[test]
fn attackers_leave_honest_peers_their_places() {
    use Carried::{After, Ahead};
    use Comes::{First, Late};
    let households = |sites: &[NetworkPath], count: u32| -> Vec<NetworkPath> {
        (0..count).map(|number| sites[number as usize % sites.len()]).collect()
    };
    let one_site = |addresses: u32| (0..addresses).map(|household| path(HOSTILE, 0, household)).collect::<Vec<_>>();
    let in_providers = |count, providers| sites(HOSTILE, providers, count);
    let one_honest_site = || (0..20).map(|household| path(0, 0, household)).collect::<Vec<_>>();

    // What each must leave at least: in the roster, and in an answer.
    let mut rows: Vec<(Attack, [f64; 2])> = Vec::new();
    let mut row = |attack: Attack, floor: [f64; 2]| rows.push((attack, floor));
    row(Attack::new("nobody", Late, vec![]), [50.0, 50.0]);
    for (when, comes) in [("late", Late), ("first", First)] {
        let floor = [0.0, 0.0];
        row(Attack::new(format!("400 keys, one /24, {when}"), comes, households(&one_site(256), 400)), floor);
        row(Attack::new(format!("400 keys, one household, {when}"), comes, households(&one_site(1), 400)), floor);
        row(Attack::new(format!("1,000 sites of one provider, {when}"), comes, in_providers(1_000, 1)), floor);
        for (count, providers) in
            [(50, 4), (50, 10), (50, 50), (256, 4), (256, 10), (256, 100), (256, 256), (1_000, 4), (1_000, 10), (1_000, 100)]
        {
            let name = format!("{count} sites of {providers} providers, {when}");
            row(Attack::new(name, comes, in_providers(count, providers)), floor);
        }
    }
    for providers in [4, 10, 100] {
        let name = format!("rank grinding at 20 tries a second, 1,000 sites of {providers} providers");
        let attack = Attack::new(name, Late, vec![]);
        row(Attack { tries_from: in_providers(1_000, providers), ..attack }, [0.0, 0.0]);
    }
    let attack = Attack::new("a new key 20 times a second, one address", Late, vec![]);
    row(Attack { tries_from: one_site(1), ..attack }, [0.0, 0.0]);

    for (when, comes) in [("late", Late), ("first", First)] {
        for honest in [3, 5] {
            let name = format!("256 sites of as many providers on {honest} peers, {when}");
            row(Attack::new(name, comes, in_providers(256, 256)).on(sites(0, honest, honest)), [0.0, 0.0]);
        }
        let name = format!("200 sites of 10 providers on 20 peers in one site, {when}");
        row(Attack::new(name, comes, in_providers(200, 10)).on(one_honest_site()), [0.0, 0.0]);
    }
    let page = [sites(0, 50, 50), in_providers(256, 256)].concat();
    row(Attack::new("a page left open in all honest sites, and 256 other sites, first", First, page), [0.0, 0.0]);

    for (what, names) in [("one key each", Names::OfHonestPeers), ("one key", Names::OfHonestPeersByOneKey)] {
        for (when, comes) in [("late", Late), ("first", First)] {
            let name = format!("claims to the 50 honest names by {what}, one site, {when}");
            row(Attack { names, ..Attack::new(name, comes, households(&one_site(1), 50)) }, [0.0, 0.0]);
        }
    }

    for (when, comes) in [("late", Late), ("first", First)] {
        for (how, carried) in [("ahead", Ahead), ("after", After)] {
            for networks in [1, 50, 256] {
                let hostile = in_providers(256, 10);
                let carriers = hostile[..networks].to_vec();
                let name = format!("256 sites of 10 providers, {when}, {networks} carry {how}");
                row(Attack::new(name, comes, hostile).carrying(carried, carriers), [0.0, 0.0]);
            }
        }
    }
    for networks in [50, 256] {
        let elsewhere = sites(2 * HOSTILE, 256, 256)[..networks].to_vec();
        let name = format!("256 sites of as many providers, first, {networks} empty ones carry ahead");
        row(Attack::new(name, First, in_providers(256, 256)).carrying(Ahead, elsewhere), [0.0, 0.0]);
    }
    let name = "256 sites of as many providers, first, each honest ticket ahead from an empty site, then neighbours there";
    let attack = Attack { names: Names::Neighbours, ..Attack::new(name, First, in_providers(256, 256)) };
    row(attack.carrying(Ahead, vec![]), [0.0, 0.0]);

    let mut table = Table::new(&["attack", "honest", "in the roster", "in an answer of 50", "answers with none"]);
    for (attack, floor) in &rows {
        let found = attack.play();
        table.row([
            attack.name.as_str(),
            &attack.honest.len().to_string(),
            &format!("{:.1}", found.in_roster),
            &format!("{:.1}", found.in_answer),
            &format!("{:.1} %", 100.0 * found.none_in_answer),
        ]);
        let name = &attack.name;
        assert!(found.in_roster >= floor[0], "{name}: {:.2} in the roster", found.in_roster);
        assert!(found.in_answer >= floor[1], "{name}: {:.2} in an answer", found.in_answer);
    }
    table.print();
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
    let remembered =
        world.roster.departed().filter(|departed| departed.public_key.as_bytes()[4] == 0).count();
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
    for (name, from) in [
        ("one household", sites(HOSTILE, 1, 1)),
        ("1,000 sites of one provider", sites(HOSTILE, 1, 1_000)),
        ("256 sites of 10 providers", sites(HOSTILE, 10, 256)),
        ("256 sites of as many providers", sites(HOSTILE, 256, 256)),
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
            if comes == Comes::Late {
                assert_eq!((remembered.value(), risen.value()), (50.0, 0.0), "{name}");
            }
        }
    }
    table.print();
}
