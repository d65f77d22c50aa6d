//! A roster under a simulated clock, and those who announce to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rendezvous_protocol::base64;
use rendezvous_protocol::limits::{ANNOUNCE_AFTER_MAX, ANNOUNCE_AFTER_MIN, ANSWER_LIMIT};
use rendezvous_protocol::network::{NetworkHash, NetworkPath};
use rendezvous_protocol::roster::{Announced, Excluded, Record, Refused, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

pub(crate) const START: u64 = 1_700_000_000_000;
pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;

/// The first of the providers that attackers are in; honest peers are in those before.
pub(crate) const HOSTILE: u32 = 10_000;

/// Random numbers that are the same in every run (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from `from` to before `to`.
    pub(crate) const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }
}

/// Returns one of the secrets that the tests go through.
pub(crate) fn secret(number: u64) -> Secret {
    let mut random = Random::new(number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    bytes[8..].copy_from_slice(&random.next().to_be_bytes());
    Secret::from_bytes(bytes)
}

pub(crate) fn at(millis: u64) -> UnixMillis {
    UnixMillis::saturating(millis)
}

/// Returns the path of a household, numbered in its site, which is numbered in its provider.
pub(crate) fn path(provider: u32, site: u32, household: u32) -> NetworkPath {
    let hash = |number: u64| NetworkHash::from_bytes(Random::new(number).next().to_be_bytes());
    let provider_hash = Random::new(u64::from(provider)).next();
    let site_hash = Random::new(provider_hash ^ u64::from(site)).next();
    NetworkPath {
        provider: hash(provider_hash),
        site: hash(site_hash),
        household: hash(Random::new(site_hash ^ u64::from(household)).next()),
    }
}

/// Returns the paths of `count` sites, shared out among as many providers.
pub(crate) fn sites(first_provider: u32, providers: u32, count: u32) -> Vec<NetworkPath> {
    (0..count).map(|number| path(first_provider + number % providers, number / providers, 0)).collect()
}

/// Writes a ticket of the right shape. Rosters take tickets whose signature has been checked: nobody signs these.
fn ticket(peer_id: &str, key: [u8; 32], now: u64, purpose: Purpose) -> VerifiedTicket {
    let leave = if purpose == Purpose::Leave { r#""leave":true,"# } else { "" };
    let (expires_at, key, signature) = (now + 3 * MINUTE, base64::encode(&key), base64::encode(&[0; 64]));
    let json = format!(
        r#"{{"algorithm":"ed25519","payload":{{"expiresAt":{expires_at},"issuedAt":{now},{leave}"nonce":"AAAAAAAAAAAAAAAA","peerId":"{peer_id}","userId":"user"}},"publicKey":"{key}","signature":"{signature}","version":1}}"#
    );
    VerifiedTicket::trusted(&json, purpose).unwrap()
}

/// Whose claims are counted, and whose are not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Honest,
    Hostile,
}

/// Somebody with one key and one name in one network.
pub(crate) struct Peer {
    pub(crate) peer_id: String,
    pub(crate) key: [u8; 32],
    pub(crate) path: NetworkPath,
    pub(crate) joins_at: u64,
    pub(crate) leaves_at: u64,
}

impl Peer {
    pub(crate) fn ticket(&self, now: u64, purpose: Purpose) -> VerifiedTicket {
        ticket(&self.peer_id, self.key, now, purpose)
    }
}

/// When others bring the tickets of honest peers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    Never,
    /// Always before their owners do.
    Ahead,
    /// Right after their owners did.
    After,
}

pub(crate) struct World {
    pub(crate) roster: Roster,
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) peers: Vec<Peer>,
    pub(crate) carried: Carried,
    pub(crate) carriers: Vec<NetworkPath>,
    /// Apart from the other, so that with copies peers do when they do what they do without.
    carriers_random: Random,
    /// Who has something to do, and when.
    turns: BinaryHeap<Reverse<(u64, usize)>>,
}

/// Tells whose record it is.
pub(crate) fn side(ticket: &VerifiedTicket) -> Side {
    if ticket.public_key().as_bytes()[4] == 0 { Side::Honest } else { Side::Hostile }
}

/// Returns the position in [`World::peers`] of the one whose key this is.
pub(crate) fn number(ticket: &VerifiedTicket) -> usize {
    let [first, second, third, fourth, ..] = *ticket.public_key().as_bytes();
    usize::try_from(u32::from_be_bytes([first, second, third, fourth])).unwrap()
}

impl World {
    pub(crate) fn new(secret_number: u64) -> Self {
        Self {
            roster: Roster::new(RosterLimits::default(), secret(secret_number)),
            now: START,
            random: Random::new(secret_number),
            peers: Vec::new(),
            carried: Carried::Never,
            carriers: Vec::new(),
            carriers_random: Random::new(!secret_number),
            turns: BinaryHeap::new(),
        }
    }

    /// Adds a peer with a key and a name of its own, which nobody has heard of yet.
    pub(crate) fn add(&mut self, side: Side, path: NetworkPath) -> usize {
        let number = self.peers.len();
        let mut key = [0; 32];
        key[..4].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        key[4] = u8::from(side == Side::Hostile);
        let peer_id = format!("peer-{number}");
        self.peers.push(Peer { peer_id, key, path, joins_at: u64::MAX, leaves_at: u64::MAX });
        number
    }

    /// Adds one peer for each path, who joins at some moment from `from` to before `to` after the start.
    pub(crate) fn join(&mut self, side: Side, paths: &[NetworkPath], from: u64, to: u64) {
        for path in paths {
            let number = self.add(side, *path);
            let joins_at = START + self.random.between(from, to);
            self.join_at(number, joins_at);
        }
    }

    pub(crate) fn join_at(&mut self, number: usize, when: u64) {
        self.peers[number].joins_at = when;
        self.turns.push(Reverse((when, number)));
    }

    /// Has a peer say goodbye then, or right after its first announce.
    pub(crate) fn leave_at(&mut self, number: usize, when: u64) {
        self.peers[number].leaves_at = when;
        self.turns.push(Reverse((when.max(self.peers[number].joins_at + 1), number)));
    }

    /// Lets everybody do what they do until then, and tells `heard` of each announce.
    pub(crate) fn run(&mut self, until: u64, mut heard: impl FnMut(&mut Self, usize)) {
        while let Some(&Reverse((when, number))) = self.turns.peek()
            && when <= until
        {
            self.turns.pop();
            self.now = when;
            let peer = &self.peers[number];
            if when < peer.leaves_at {
                let _ = self.announce(number);
                heard(self, number);
                self.again(number);
            } else if when == peer.leaves_at {
                self.roster.leave(at(when), &peer.ticket(when, Purpose::Leave), peer.path);
            }
        }
        self.now = until;
    }

    /// Has a peer announce again, when answers ask it to.
    pub(crate) fn again(&mut self, number: usize) {
        let [least, most] =
            [ANNOUNCE_AFTER_MIN, ANNOUNCE_AFTER_MAX].map(|wait| u64::try_from(wait.as_millis()).unwrap());
        let pause = self.random.between(least, most + 1);
        self.turns.push(Reverse((self.now + pause, number)));
    }

    /// Announces a peer now, with a new ticket.
    pub(crate) fn announce(&mut self, number: usize) -> Result<Announced, Refused> {
        let peer = &self.peers[number];
        let (now, ticket, path) = (at(self.now), peer.ticket(self.now, Purpose::Presence), peer.path);
        let carried = if side(&ticket) == Side::Honest { self.carried } else { Carried::Never };
        if carried == Carried::Ahead {
            self.carry(&ticket);
        }
        let outcome = self.roster.announce(now, ticket.clone(), path);
        if carried == Carried::After {
            self.carry(&ticket);
        }
        outcome
    }

    /// Brings a ticket from the carriers' networks; from so many of them, drawn anew each time, if there are more.
    fn carry(&mut self, ticket: &VerifiedTicket) {
        const MOST: usize = 32;
        for carrier in 0..self.carriers.len().min(MOST) {
            let other = self.carriers_random.between(carrier as u64, self.carriers.len() as u64);
            self.carriers.swap(carrier, usize::try_from(other).unwrap());
            let _ = self.roster.announce(at(self.now), ticket.clone(), self.carriers[carrier]);
        }
    }

    pub(crate) fn honest_in_roster(&self) -> usize {
        self.roster.records().filter(|record| side(&record.ticket) == Side::Honest).count()
    }

    /// Returns how many of the answer that readers get at `moment` are honest, were the roster as it is now.
    pub(crate) fn honest_in_answer(&mut self, moment: u64) -> usize {
        let seed = self.roster.seed(at(moment), None);
        let answer = self.roster.answer(at(self.now), ANSWER_LIMIT, Excluded::Nobody, seed);
        answer.iter().filter(|record| side(&record.ticket) == Side::Honest).count()
    }

    /// Returns the answer to a peer's announce.
    pub(crate) fn answer_to(&mut self, number: usize) -> Vec<&Record> {
        let ticket = self.peers[number].ticket(self.now, Purpose::Presence);
        let seed = self.roster.seed(at(self.now), Some(&ticket));
        let key = ticket.public_key();
        self.roster.answer(at(self.now), ANSWER_LIMIT, Excluded::Claim(ticket.peer_id().as_str(), &key), seed)
    }
}
