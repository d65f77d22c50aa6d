//! Whatever parses as a request of one of retalk's users is within its limits, and whatever a mailbox writes of it, it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::mailbox::state::Change;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::retalk::limits::{BODY_MAX_BYTES, MESSAGE_MAX_BYTES, NONCE_BYTES, ONE_TIME_KEYS_MAX, PEER_MAX_BYTES};
use rendezvous_protocol::retalk::request::{Tool, Unverified};
use rendezvous_protocol::retalk::state::Mailbox;
use rendezvous_protocol::secret::Secret;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = Unverified::parse(data) else { return };
    assert!(data.len() <= BODY_MAX_BYTES);
    assert!(!request.verify_signatures(&[]), "for no relay");
    let request = request.accept(true).expect("it was said to fit");
    assert!(NONCE_BYTES.contains(&request.nonce().len()));
    match request.tool() {
        Tool::PublishKeys { one_time, .. } => assert!(one_time.len() <= ONE_TIME_KEYS_MAX),
        Tool::SendMessage { to: peer, body, .. } => assert!(peer.len() <= PEER_MAX_BYTES && body.len() <= MESSAGE_MAX_BYTES),
        Tool::GetKeys { peer } | Tool::ClaimKey { peer } => assert!(peer.len() <= PEER_MAX_BYTES),
        Tool::CountKeys | Tool::ReadMessages { .. } | Tool::Nack { .. } => {}
    }
    let (owner, secret) = (request.user(), Secret::from_bytes([1; 16]));
    let mut mailbox = Mailbox::restore(owner, secret, [], []).expect("nothing can be read");
    let _ = mailbox.handle(request.signed_at(), &request, Client::default().hand_over());
    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for change in mailbox.take_changes() {
        match change {
            Change::Put { name, row } => rows.push((name, row)),
            Change::PutMessage { number, row } => messages.push((number, row)),
            Change::Erase { .. } | Change::EraseMessage { .. } => unreachable!("there was nothing"),
        }
    }
    Mailbox::restore(owner, secret, rows, messages).expect("what it writes it reads");
});
