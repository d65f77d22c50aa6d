//! What becomes of one announce, step by step and natively: where its time goes.

#![expect(clippy::unwrap_used, reason = "a benchmark of something that fails is to stop, as a test is")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::request::TicketBody;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, TicketRules, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

fn steps(criterion: &mut Criterion) {
    let payload = Payload {
        peer_id: PeerId::new("0190f3a2-5b7c-7def-8a01-23456789abcd").unwrap(),
        user_id: UserId::new("somebody").unwrap(),
        data: None,
        issued_at: NOW,
        expires_at: NOW.after(Duration::from_secs(180)),
        nonce: Nonce::new(vec![7; 16]).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    };
    let key = PrivateKey::from_seed(&[3; 32]);
    let ticket = Ticket::sign(payload, &key);
    let json = ticket.to_json();
    let body = format!("{{\"ticket\":{json}}}");
    let signed = ticket.payload().signed_bytes();
    let signature = key.sign(signed.as_bytes());
    let community = Community::new("bench").unwrap();
    let rules = TicketRules::new(&community);
    let secret = Secret::from_bytes([1; 16]);
    let client = Client { address: Some([10, 1, 2, 3].into()), autonomous_system: None };

    let mut group = criterion.benchmark_group("step");
    group.bench_function("body", |bencher| bencher.iter(|| TicketBody::parse(black_box(body.as_bytes())).unwrap()));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| Ticket::parse(black_box(&json), Purpose::Presence).unwrap());
    });
    group.bench_function("signed_bytes", |bencher| bencher.iter(|| black_box(&ticket).payload().signed_bytes()));
    group.bench_function("signature", |bencher| {
        bencher.iter(|| key.public_key().verify(black_box(signed.as_bytes()), &signature).unwrap());
    });
    group.bench_function("normal_form", |bencher| bencher.iter(|| black_box(&ticket).to_json()));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| black_box(&ticket).clone().verify(&rules, NOW).unwrap());
    });
    group.bench_function("trusted", |bencher| {
        bencher.iter(|| VerifiedTicket::trusted(black_box(&json), Purpose::Presence).unwrap());
    });
    group.bench_function("network", |bencher| bencher.iter(|| black_box(client).hand_over().hashed(&secret)));
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
