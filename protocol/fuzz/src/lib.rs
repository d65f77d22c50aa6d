//! What the targets share: a key, and signing what a fuzzer made up, so that it gets past the signature checks.

use rendezvous_protocol::base64;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{Purpose, Ticket};
use serde_json::Value;

/// A key that everybody knows.
pub fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

/// Parses `sent`, and checks that the ticket says what was sent and nothing else.
pub fn parse_ticket(sent: &str, purpose: Purpose) -> Option<Ticket> {
    let ticket = Ticket::parse(sent, purpose).ok()?;
    // Another parser reads the same, and the one normal form of it is the ticket's.
    let value: Value = serde_json::from_str(sent).expect("a ticket is JSON");
    let normal = ticket.to_json();
    assert_eq!(normal, canonical(&value));
    assert_eq!(ticket.payload().signed_bytes(), canonical(&value["payload"]));
    let again = Ticket::parse(&normal, purpose).expect("a normal form is a ticket");
    assert_eq!(again, ticket);
    assert_eq!(again.to_json(), normal);
    Some(ticket)
}

/// The same ticket signed by [`key`]: over the payload that was sent, not over what this library made of it.
pub fn sign_ticket(sent: &str, purpose: Purpose) -> Option<String> {
    parse_ticket(sent, purpose)?;
    let mut value: Value = serde_json::from_str(sent).expect("a ticket is JSON");
    let signature = key().sign(canonical(&value["payload"]).as_bytes());
    value["publicKey"] = key().public_key().to_string().into();
    value["signature"] = base64::encode(&signature).into();
    Some(value.to_string())
}
