//! What the tests of several modules start from.

use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use rendezvous_protocol::time::UnixMillis;

/// A presence ticket of one second, by the key of a seed of equal bytes.
pub(crate) fn ticket(peer: &str, seed: u8, issued_at: u64) -> Ticket {
    let payload = Payload {
        peer_id: PeerId::new(peer).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        issued_at: UnixMillis::saturating(issued_at),
        expires_at: UnixMillis::saturating(issued_at + 1_000),
        nonce: Nonce::new(vec![0; 12]).unwrap(),
        community: None,
        purpose: Purpose::Presence,
    };
    Ticket::sign(payload, &PrivateKey::from_seed(&[seed; 32]))
}
