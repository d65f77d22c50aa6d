//! Whatever parses as a record of a mailbox says what was sent and nothing else, has one normal form, and is good as the
//! kind that it is, once signed, and as no other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::envelope::read_payload;
use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Claim, Close, Collect, Deposit, Live, Policy, Prekeys, Record, Replicate, SlotQuestion,
};
use rendezvous_protocol_fuzz::key;
use serde_json::Value;

/// Returns the bytes that are signed, where the text is a record of this kind.
fn parse<T: Record + PartialEq + std::fmt::Debug>(sent: &str) -> Option<String> {
    let record = Signed::<T>::parse(sent).ok()?;
    // Another parser reads the same, and the one normal form of it is the record's.
    let value: Value = serde_json::from_str(sent).expect("a record is JSON");
    let normal = record.to_json();
    assert_eq!(normal, canonical(&value));
    let message = format!("rendezvous-mailbox-v1:{}\n{}", T::PURPOSE, canonical(&value["payload"]));
    assert_eq!(record.signed_bytes(), message);
    assert_eq!(Signed::parse(&normal).as_ref(), Ok(&record));
    assert_eq!(Verified::<T>::trusted(&normal).expect("a record").payload(), record.payload());

    // Signed over the payload that was sent, not over what this library made of it.
    let payload = read_payload::<T>(&value["payload"].to_string()).expect("a payload");
    let signed = Signed::sign(payload, &key());
    assert!(key().public_key().verify(message.as_bytes(), &signature(&signed.expect("it parsed")).0).is_ok());
    Some(message)
}

fn signature<T: Record>(signed: &Signed<T>) -> rendezvous_protocol::mailbox::bytes::Bytes<64> {
    let verified = Verified::<T>::trusted(&signed.to_json()).expect("a record");
    verified.signature()
}

fuzz_target!(|data: &[u8]| {
    let Ok(sent) = str::from_utf8(data) else { return };
    let messages = [
        parse::<Card>(sent),
        parse::<Policy>(sent),
        parse::<Deposit>(sent),
        parse::<Ack>(sent),
        parse::<Prekeys>(sent),
        parse::<Close>(sent),
        parse::<Collect>(sent),
        parse::<Claim>(sent),
        parse::<SlotQuestion>(sent),
        parse::<Live>(sent),
        parse::<Replicate>(sent),
    ];
    let mut messages: Vec<_> = messages.into_iter().flatten().collect();
    let count = messages.len();
    messages.sort_unstable();
    messages.dedup();
    assert_eq!(messages.len(), count, "no two kinds sign the same bytes");
});
