//! Whatever parses as a message of a client is within its limit; a signal is signed over canonical JSON of what was sent,
//! hands on its ticket's very text, and is good once where the signature fits.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{
    LIVE_CLIENT_MESSAGE_MAX_BYTES, LIVE_SIGNAL_DATA_MAX_BYTES, LIVE_SIGNAL_MESSAGE_MAX_BYTES,
};
use rendezvous_protocol::live::{ClientMessage, SeenSignals, SignalError, SignalRules};
use rendezvous_protocol::ticket::TicketRules;
use rendezvous_protocol_fuzz::key;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(message) = ClientMessage::parse(text) else { return };
    let ClientMessage::Signal(mut signal) = message else {
        return assert!(text.len() <= LIVE_CLIENT_MESSAGE_MAX_BYTES);
    };
    assert!(text.len() <= LIVE_SIGNAL_MESSAGE_MAX_BYTES);
    assert!((1..=LIVE_SIGNAL_DATA_MAX_BYTES).contains(&signal.data.len()));
    let community = Community::new("mainnet").expect("a name");

    // Another parser reads the same, and what is signed is its canonical JSON. It is stricter about depth.
    if let Ok(Value::Object(mut sent)) = serde_json::from_str(text) {
        if let Some(ticket) = sent.remove("ticket") {
            assert_eq!(serde_json::from_str::<Value>(signal.ticket.expect("it was sent")).expect("it is JSON"), ticket);
        }
        sent.remove("t");
        sent.remove("signature");
        sent.insert("community".to_owned(), "mainnet".into());
        let expected = format!("rendezvous-live-v1:signal\n{}", canonical(&Value::Object(sent)));
        assert_eq!(signal.signed_bytes(&community), expected);
    }

    signal.from.public_key = key().public_key();
    signal.signature = key().sign(signal.signed_bytes(&community).as_bytes());
    let (own, present) = (signal.to.clone(), BTreeSet::from([signal.from.clone()]));
    let rules = SignalRules { own: &own, present: &present, tickets: TicketRules::new(&community) };
    let mut seen = SeenSignals::default();
    assert_eq!(signal.verify(&rules, signal.at, &mut seen), Ok(()));
    assert_eq!(signal.verify(&rules, signal.at, &mut seen), Err(SignalError::Duplicate));
});
