//! Whatever a relay may push is within its limits, and each item is what its author signed: a message has the bytes that were
//! signed, an acknowledgement its deposit. What is fuzzed are the items, which are signed here: else no push would be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::limits::{REPLICATE_MAX_BYTES, REPLICATE_MAX_ITEMS, SEALED_BYTES};
use rendezvous_protocol::mailbox::record::Replicate;
use rendezvous_protocol::mailbox::replica::{Item, ReplicateBody, digest_of};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol_fuzz::key;
use serde_json::value::RawValue;

fn check(body: &[u8]) -> bool {
    let Ok(push) = ReplicateBody::parse(body) else { return false };
    assert!(body.len() <= REPLICATE_MAX_BYTES);
    let items: Vec<_> = push.items().collect();
    assert!((1..=REPLICATE_MAX_ITEMS).contains(&items.len()));
    for item in items.into_iter().flatten() {
        match item {
            Item::Card(card) => assert_eq!(Signed::parse(&card.to_json()).as_ref(), Ok(&*card)),
            Item::Policy(policy) => assert_eq!(Signed::parse(&policy.to_json()).as_ref(), Ok(&*policy)),
            Item::Ack(ack) => {
                let (ack, of) = (ack.ack.payload(), ack.of.payload());
                assert_eq!((ack.through, ack.mailbox), (of.sequence, of.mailbox));
            }
            Item::Deposit(body) => {
                let (sealed, deposit) = (base64::decode(&body.sealed).expect("it was decoded"), body.deposit.payload());
                assert!(SEALED_BYTES.contains(&deposit.size) && sealed.len() == deposit.size as usize);
                assert_eq!(ContentId::of(&sealed), deposit.content_id);
            }
        }
    }
    true
}

fuzz_target!(|data: &[u8]| {
    check(data);
    let Ok(items) = serde_json::from_slice::<&RawValue>(data) else { return };
    let payload = Replicate {
        audience: "https://relay.example".to_owned(),
        issued_at: UnixMillis::saturating(1_700_000_000_000),
        items: digest_of(items.get()),
        mailbox: Address::of(&key().public_key()),
        nonce: Bytes([1; 16]),
    };
    let relay = Signed::sign(payload, &key()).expect("it is a payload");
    check(format!(r#"{{"relay":{},"items":{}}}"#, relay.to_json(), items.get()).as_bytes());
});
