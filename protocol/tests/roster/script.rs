//! What may happen to a roster, as values that proptest can make up and shrink, and a clock that jumps.

use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::network::{NetworkHash, NetworkPath};
use rendezvous_protocol::roster::{Announced, Left, Refused, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::snapshot::Snapshot;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

pub(crate) const START: u64 = 1_700_000_000_000;

/// The interval and the lifetime of the wire, with another capacity.
pub(crate) fn limits(capacity: usize) -> RosterLimits {
    RosterLimits { capacity, ..RosterLimits::default() }
}

pub(crate) fn at(millis: u64) -> UnixMillis {
    UnixMillis::saturating(millis)
}

pub(crate) fn peer_name(peer: u16) -> String {
    format!("peer-{peer}")
}

pub(crate) const SECRET: [u8; 16] = *b"secret of a test";

pub(crate) fn roster(limits: RosterLimits) -> Roster {
    Roster::new(limits, Secret::from_bytes(SECRET))
}

/// Two households a site, four sites a provider.
pub(crate) fn network(number: u8) -> NetworkPath {
    let level = |kind: u8, number: u8| NetworkHash::from_bytes([kind, 0, 0, 0, 0, 0, 0, number]);
    NetworkPath { provider: level(1, number / 8), site: level(2, number / 2), household: level(3, number) }
}

/// A household of a site and a provider that nobody else is in.
pub(crate) fn lone_network(number: u32) -> NetworkPath {
    let [one, two, three, four] = number.to_be_bytes();
    let level = |kind: u8| NetworkHash::from_bytes([kind, 1, 0, 0, one, two, three, four]);
    NetworkPath { provider: level(1), site: level(2), household: level(3) }
}

/// A ticket of the right shape. Rosters take tickets whose signature has been checked, so nobody signs these.
pub(crate) fn ticket(peer: u16, key: u8, issued_at: u64, lifetime: u64, purpose: Purpose) -> VerifiedTicket {
    let issued_at = issued_at.min(UnixMillis::MAX.as_u64() - 1);
    let expires_at = at(issued_at + lifetime);
    let (peer, leave) = (peer_name(peer), if purpose == Purpose::Leave { r#""leave":true,"# } else { "" });
    let (key, signature) = (base64::encode(&[key; 32]), base64::encode(&[0; 64]));
    let json = format!(
        r#"{{"algorithm":"ed25519","payload":{{"expiresAt":{expires_at},"issuedAt":{issued_at},{leave}"nonce":"AAAAAAAAAAAAAAAA","peerId":"{peer}","userId":"user"}},"publicKey":"{key}","signature":"{signature}","version":1}}"#
    );
    VerifiedTicket::trusted(&json, purpose).unwrap()
}

/// A ticket to announce at `now`, good for three minutes.
pub(crate) fn presence(peer: u16, key: u8, now: u64) -> VerifiedTicket {
    ticket(peer, key, now, 180_000, Purpose::Presence)
}

/// The ticket with which the peer of `held` leaves, issued after it.
fn leave_after(held: &VerifiedTicket, now: u64) -> VerifiedTicket {
    let [key, ..] = *held.public_key().as_bytes();
    let peer = held.peer_id().as_str().strip_prefix("peer-").unwrap().parse().unwrap();
    let issued_at = now.max(held.payload().issued_at.as_u64() + 1);
    ticket(peer, key, issued_at, 180_000, Purpose::Leave)
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The clock moves, and nothing else happens.
    Wait(i64),
    /// The clock is set.
    Set(u64),
    /// A new ticket, issued `age` before now.
    Announce {
        peer: u16,
        key: u8,
        network: u8,
        age: i64,
        lifetime: u64,
    },
    /// The ticket that was announced this many announces ago is announced once more.
    Repost {
        back: usize,
        network: u8,
    },
    /// Who announced this many announces ago leaves.
    Leave {
        back: usize,
        network: u8,
    },
    /// Somebody says that a peer leaves.
    LeaveOf {
        peer: u16,
        key: u8,
        network: u8,
        age: i64,
    },
    /// One network mints peers that nobody has seen, as many as this.
    Flood {
        network: u8,
        peers: u16,
    },
    Expire,
    /// The roster is stored, and read back.
    Reload,
}

/// How large the world of a script is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) peers: u16,
    pub(crate) networks: u8,
    pub(crate) flood: u16,
    pub(crate) steps: usize,
    /// Waits are up to this many times shorter, so that many peers are here at once.
    pub(crate) haste: i64,
}

/// Few peers, keys and networks, so that they meet all the time.
pub(crate) const SMALL: Size = Size { peers: 9, networks: 12, flood: 7, steps: 60, haste: 6 };

pub(crate) fn script(size: Size) -> impl Strategy<Value = Vec<Step>> {
    (1..=size.haste).prop_flat_map(move |haste| prop::collection::vec(step(size, haste), 1..size.steps))
}

fn step(size: Size, haste: i64) -> impl Strategy<Value = Step> {
    // Most announces use the first key, so that a peer is often the same as before.
    let key = || prop_oneof![6 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    let network = || 0..size.networks;
    let age = || prop_oneof![4 => Just(0_i64), 1 => Just(-14_999), 1 => Just(1), 1 => 0..170_000_i64];
    let lifetime =
        || prop_oneof![8 => Just(180_000_u64), 2 => Just(60_000), 1 => Just(30_000), 1 => Just(1), 1 => 1..180_000_u64];
    let wait = prop_oneof![
        4 => 0..20_000_i64,
        3 => Just(45_000_i64),
        1 => Just(44_999_i64),
        2 => 20_000..100_000_i64,
        1 => Just(180_000_i64),
        1 => 100_000..400_000_i64,
        1 => -400_000..0_i64,
    ];
    prop_oneof![
        96 => (0..size.peers, key(), network(), age(), lifetime()).prop_map(
            |(peer, key, network, age, lifetime)| Step::Announce { peer, key, network, age, lifetime }
        ),
        48 => wait.prop_map(move |millis| Step::Wait(millis / haste)),
        16 => (0..12_usize, network()).prop_map(|(back, network)| Step::Repost { back, network }),
        8 => (0..12_usize, network()).prop_map(|(back, network)| Step::Leave { back, network }),
        8 => (0..size.peers, key(), network(), age())
            .prop_map(|(peer, key, network, age)| Step::LeaveOf { peer, key, network, age }),
        8 => (network(), 0..size.flood).prop_map(|(network, peers)| Step::Flood { network, peers }),
        4 => Just(Step::Expire),
        8 => Just(Step::Reload),
        1 => prop_oneof![Just(0), Just(START), Just(START + 1_000_000), Just(UnixMillis::MAX.as_u64())]
            .prop_map(Step::Set),
    ]
}

/// What a step asks of a roster, in the rosters' own terms.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Announce(VerifiedTicket, NetworkPath),
    Leave(VerifiedTicket, NetworkPath),
    Expire,
    Reload,
}

/// What a roster answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Announced(Result<Announced, Refused>),
    Left(Left),
    Nothing,
}

/// Turns steps into calls: it has the clock, and remembers which tickets there were.
pub(crate) struct Player {
    now: u64,
    announced: Vec<VerifiedTicket>,
    minted: u16,
}

impl Player {
    pub(crate) const fn new() -> Self {
        Self { now: START, announced: Vec::new(), minted: 1_000 }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        at(self.now)
    }

    pub(crate) fn calls(&mut self, step: &Step) -> Vec<Call> {
        match *step {
            Step::Wait(millis) => {
                self.now = at(self.now.saturating_add_signed(millis)).as_u64();
                vec![]
            }
            Step::Set(now) => {
                self.now = now;
                vec![]
            }
            Step::Announce { peer, key, network: from, age, lifetime } => {
                let issued_at = self.now.saturating_add_signed(-age);
                vec![self.announce(ticket(peer, key, issued_at, lifetime, Purpose::Presence), from)]
            }
            Step::Repost { back, network: from } => {
                let ticket = self.announced.iter().rev().nth(back).cloned();
                ticket.map(|ticket| Call::Announce(ticket, network(from))).into_iter().collect()
            }
            Step::Leave { back, network: from } => {
                let ticket = self.announced.iter().rev().nth(back);
                ticket.map(|ticket| Call::Leave(leave_after(ticket, self.now), network(from))).into_iter().collect()
            }
            Step::LeaveOf { peer, key, network: from, age } => {
                let issued_at = self.now.saturating_add_signed(-age);
                vec![Call::Leave(ticket(peer, key, issued_at, 180_000, Purpose::Leave), network(from))]
            }
            Step::Flood { network: from, peers } => (0..peers)
                .map(|_| {
                    self.minted += 1;
                    self.announce(presence(self.minted, 9, self.now), from)
                })
                .collect(),
            Step::Expire => vec![Call::Expire],
            Step::Reload => vec![Call::Reload],
        }
    }

    fn announce(&mut self, ticket: VerifiedTicket, from: u8) -> Call {
        self.announced.push(ticket.clone());
        Call::Announce(ticket, network(from))
    }
}

/// Does to a roster what `call` says.
pub(crate) fn apply(roster: &mut Roster, limits: RosterLimits, now: UnixMillis, call: &Call) -> Outcome {
    match call {
        Call::Announce(ticket, from) => Outcome::Announced(roster.announce(now, ticket.clone(), *from)),
        Call::Leave(ticket, from) => Outcome::Left(roster.leave(now, ticket, *from)),
        Call::Expire => {
            roster.expire(now);
            Outcome::Nothing
        }
        Call::Reload => {
            *roster = reload(roster, limits, now);
            Outcome::Nothing
        }
    }
}

/// The roster, stored and read back.
pub(crate) fn reload(roster: &Roster, limits: RosterLimits, now: UnixMillis) -> Roster {
    let text = Snapshot::encode(now, roster).unwrap();
    Snapshot::decode(&text, limits, now).unwrap().roster
}

/// Plays a whole script, and shows the roster to `check` after each call.
pub(crate) fn play(
    limits: RosterLimits,
    script: &[Step],
    mut check: impl FnMut(&mut Roster, UnixMillis, &Call, Outcome) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let (mut roster, mut player) = (roster(limits), Player::new());
    for step in script {
        for call in player.calls(step) {
            let outcome = apply(&mut roster, limits, player.now(), &call);
            check(&mut roster, player.now(), &call, outcome)?;
        }
    }
    Ok(())
}
