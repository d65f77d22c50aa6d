//! Whatever parses as a request of one of hivemind-rendezvous' users is within its limits, is one of the two, and whatever a
//! mailbox writes of it, it reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::hivemind::limits::{BODY_MAX_BYTES, KEY_MAX_BYTES, MESSAGE_LASTS, SIGNATURE_MAX_BYTES};
use rendezvous_protocol::hivemind::proof::Proof;
use rendezvous_protocol::hivemind::request::{UnverifiedDeposit, UnverifiedRetrieval};
use rendezvous_protocol::hivemind::state::{Incoming, Mailbox};
use rendezvous_protocol::mailbox::state::Change;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

/// When the proofs of the corpus were made.
const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

fn check(proof: &Proof) {
    assert!(proof.key().as_text().len() <= KEY_MAX_BYTES && proof.signature().len() <= SIGNATURE_MAX_BYTES);
    assert!(proof.message().len() <= 2 * KEY_MAX_BYTES);
    assert!(NOW < proof.ends_at());
    let name = proof.key().mailbox();
    assert_eq!(name.to_string().parse(), Ok(name));
}

fuzz_target!(|data: &[u8]| {
    let secret = Secret::from_bytes([1; 16]);
    let changes = if let Ok(deposit) = UnverifiedDeposit::parse(NOW, data, "relay") {
        if let Some(proof) = deposit.proof() {
            check(proof);
        }
        let Ok(deposit) = deposit.accept(true) else { return };
        assert!(deposit.quoted_payload.len() <= data.len() && deposit.lifetime <= MESSAGE_LASTS);
        let mut mailbox = Mailbox::restore(deposit.mailbox, secret, [], []).expect("nothing can be read");
        let incoming = Incoming {
            content: deposit.content,
            size: deposit.quoted_payload.len() as u64,
            lifetime: deposit.lifetime,
            depositor: deposit.depositor.map(|proof| proof.key().mailbox()),
            network: Client::default().hand_over(),
        };
        let _ = mailbox.deposit(NOW, incoming, true);
        (deposit.mailbox, mailbox.take_changes())
    } else if let Ok(retrieval) = UnverifiedRetrieval::parse(NOW, data, "relay") {
        let proof = retrieval.accept(true).expect("it was said to fit");
        check(&proof);
        let mut mailbox = Mailbox::restore(proof.key().mailbox(), secret, [], []).expect("nothing can be read");
        mailbox.retrieve(NOW, proof.id(), proof.ends_at(), true).expect("it is the first");
        (proof.key().mailbox(), mailbox.take_changes())
    } else {
        return;
    };
    assert!(data.len() <= BODY_MAX_BYTES);
    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for change in changes.1 {
        match change {
            Change::Put { name, row } => rows.push((name, row)),
            Change::PutMessage { number, row } => messages.push((number, row)),
            Change::Erase { .. } | Change::EraseMessage { .. } => unreachable!("there was nothing"),
        }
    }
    Mailbox::restore(changes.0, secret, rows, messages).expect("what it writes it reads");
});
