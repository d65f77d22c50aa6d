//! The roster, natively: an announce into a full one, and the answer, with 50, 200 and 1,000 records; and the check of one
//! ticket, which every announce needs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark of something that fails is to stop, as a test is"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::limits::ANSWER_LIMIT;
use rendezvous_protocol::network::{Client, NetworkPath};
use rendezvous_protocol::roster::{Announced, Excluded, Roster, RosterLimits};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, TicketRules, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

const RECORDS: [usize; 3] = [50, 200, 1_000];
const SECRET: Secret = Secret::from_bytes([1; 16]);
const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);
/// As many as a large community might come from.
const NETWORKS: usize = 100;

/// The peerId of the ticket that all others are copies of.
const ORIGINAL: &str = "peer-original-000000000000000000000";

fn original() -> String {
    let payload = Payload {
        peer_id: PeerId::new(ORIGINAL).unwrap(),
        user_id: UserId::new("somebody").unwrap(),
        data: None,
        issued_at: NOW,
        expires_at: NOW.after(Duration::from_secs(180)),
        nonce: Nonce::new(vec![7; 16]).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    };
    Ticket::sign(payload, &PrivateKey::from_seed(&[3; 32])).to_json()
}

/// Makes a ticket. A roster never looks at a signature, so one will do for all.
fn ticket(number: usize, original: &str) -> VerifiedTicket {
    VerifiedTicket::trusted(&original.replace(ORIGINAL, &format!("peer-{number:030}")), Purpose::Presence).unwrap()
}

fn network(number: usize) -> NetworkPath {
    let [.., low] = (number % NETWORKS).to_be_bytes();
    let client = Client { address: Some([10, low / 10, low, 1].into()), autonomous_system: None };
    client.hand_over().hashed(&SECRET)
}

fn full(records: usize, tickets: &[VerifiedTicket]) -> Roster {
    let mut roster = Roster::new(RosterLimits { capacity: records, ..RosterLimits::default() }, SECRET);
    for (number, ticket) in tickets.iter().take(records).enumerate() {
        assert_eq!(roster.announce(NOW, ticket.clone(), network(number)), Ok(Announced::Accepted));
    }
    roster
}

fn roster(criterion: &mut Criterion) {
    let original = original();
    // Twice as many as the largest roster holds: whoever announces is new, and pushes somebody out or finds no place.
    let tickets: Vec<_> = (0..2 * RECORDS.iter().max().unwrap()).map(|number| ticket(number, &original)).collect();

    let mut group = criterion.benchmark_group("announce");
    for records in RECORDS {
        let mut roster = full(records, &tickets);
        let mut next = records;
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.iter_batched(
                || {
                    let number = next % (2 * records);
                    next += 1;
                    (tickets[number].clone(), network(number))
                },
                |(ticket, network)| black_box(roster.announce(NOW, ticket, network)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("answer");
    for records in RECORDS {
        let mut roster = full(records, &tickets);
        let caller = &tickets[records / 2];
        let key = caller.public_key();
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.iter(|| {
                let seed = roster.seed(NOW, Some(caller));
                let excluded = Excluded::Claim(caller.peer_id().as_str(), &key);
                let peers = roster.answer(NOW, ANSWER_LIMIT, excluded, seed);
                assert_eq!(black_box(peers).len(), ANSWER_LIMIT.min(records - 1));
            });
        });
    }
    group.finish();

    // Beside which the rest of an announce is to be little.
    let (ticket, community) = (Ticket::parse(&original, Purpose::Presence).unwrap(), Community::new("bench").unwrap());
    let rules = TicketRules::new(&community);
    let mut group = criterion.benchmark_group("verify");
    group.bench_function(BenchmarkId::from_parameter(1), |bencher| {
        bencher.iter(|| black_box(&ticket).clone().verify(&rules, NOW).unwrap());
    });
    group.finish();
}

criterion_group!(benches, roster);
criterion_main!(benches);
