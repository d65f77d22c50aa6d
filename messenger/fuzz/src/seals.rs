//! A mailbox whose keys everybody knows.

use rendezvous_messenger::seal::SealingPrivateKey;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::sealed::{Place, Suite};

use crate::NOW;

/// What is in the seeds.
pub const SEED: &[u8] = b"seed";

/// Returns the owner's key, that of a slot, the place of its first message, and the keys to which it may be sealed.
pub fn fixed() -> (PrivateKey, PrivateKey, Place, [SealingPrivateKey; 2]) {
    let (owner, slot) = (PrivateKey::from_seed(&[7; 32]), PrivateKey::from_seed(&[8; 32]));
    let keys = [Suite::XWing, Suite::X25519].map(|suite| SealingPrivateKey::new(suite, [9; 32], NOW));
    let mailbox = Address::of(&owner.public_key());
    let place = Place { mailbox, slot: slot.public_key(), sequence: 1, expires_at: NOW };
    (owner, slot, place, keys)
}
