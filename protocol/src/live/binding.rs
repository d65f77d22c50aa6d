//! Bindings: how a connection shows that it is the peer whose key a ticket has.
//!
//! A ticket that everybody can read in the list proves nothing about who sends it. A binding is signed over the challenge
//! of one connection *and* the origin that the client dialled: a hostile beacon that hands another beacon's challenge on
//! gets a signature with its own name in it, which the other one does not take.

use crate::base64;
use crate::canonical::quoted;
use crate::community::Community;
use crate::key::PublicKey;
use crate::ticket::PeerId;

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 16;

const DOMAIN: &str = "rendezvous-live-v1:bind";

/// Holds what a client signs to bind a connection, and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The origin that the client dialled, as it says: one of the beacon's own.
    pub audience: String,
    /// The challenge of the connection's `hello`.
    pub challenge: [u8; CHALLENGE_BYTES],
    /// The community of the connection.
    pub community: Community,
    /// The name of the claim.
    pub peer_id: PeerId,
    /// The key of the claim.
    pub public_key: PublicKey,
    /// The signature of that key.
    pub signature: [u8; 64],
}

impl Binding {
    /// Writes the bytes that are signed: the domain, a line feed, and canonical JSON of `audience`, `challenge` (base64),
    /// `community` and `peerId`.
    pub fn signed_bytes(&self) -> String {
        let Self { audience, challenge, community, peer_id, .. } = self;
        let audience = quoted(audience);
        let challenge = base64::encode(challenge);
        format!(
            "{DOMAIN}\n{{\"audience\":{audience},\"challenge\":\"{challenge}\",\"community\":\"{community}\",\"peerId\":\"{peer_id}\"}}"
        )
    }

    /// Returns whether the signature is one of the key over those bytes, by the acceptance rule of tickets.
    pub fn verify_signature(&self) -> bool {
        self.public_key.verify(self.signed_bytes().as_bytes(), &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical;
    use crate::key::PrivateKey;

    fn binding() -> Binding {
        let key = PrivateKey::from_seed(&[7; 32]);
        let mut binding = Binding {
            audience: "https://beacon.example".to_owned(),
            challenge: [1; 16],
            community: "mainnet".parse().unwrap(),
            peer_id: PeerId::new("peer 1").unwrap(),
            public_key: key.public_key(),
            signature: [0; 64],
        };
        binding.signature = key.sign(binding.signed_bytes().as_bytes());
        binding
    }

    #[test]
    fn the_signed_bytes_are_pinned_and_canonical() {
        let bytes = binding().signed_bytes();
        let expected = "rendezvous-live-v1:bind\n{\"audience\":\"https://beacon.example\",\
             \"challenge\":\"AQEBAQEBAQEBAQEBAQEBAQ==\",\"community\":\"mainnet\",\"peerId\":\"peer 1\"}";
        assert_eq!(bytes, expected);
        let (_, json) = bytes.split_once('\n').unwrap();
        assert_eq!(canonical(&serde_json::from_str(json).unwrap()), json);
    }

    /// Tries a binding with one thing changed.
    fn holds(change: impl FnOnce(&mut Binding)) -> bool {
        let mut binding = binding();
        change(&mut binding);
        binding.verify_signature()
    }

    #[test]
    fn a_binding_is_good_for_one_connection_at_one_beacon_and_for_one_claim() {
        assert!(holds(|_| {}));
        assert!(!holds(|binding| binding.audience = "https://evil.example".to_owned()));
        assert!(!holds(|binding| binding.challenge = [2; 16]));
        assert!(!holds(|binding| binding.community = "testnet".parse().unwrap()));
        assert!(!holds(|binding| binding.peer_id = PeerId::new("peer 2").unwrap()));
        assert!(!holds(|binding| binding.public_key = PrivateKey::from_seed(&[8; 32]).public_key()));
    }
}
