//! Which tickets this process found good lately, so that one that is sent again costs no second look at its signature.
//!
//! What is remembered is the normal form, which is everything that was verified: key, signature and what is signed. It
//! says nothing but that they fit. Clock, community and lists of keys are asked each time. Only a [`VerifiedTicket`] is
//! ever remembered, so that nobody can put a bad one here; memory is bounded, the oldest goes first, and whoever fills it
//! with good tickets gains only that others' signatures are checked once more.

use std::collections::VecDeque;

use crate::ticket::{Unverified, VerifiedTicket};

/// Holds the tickets found good last.
#[derive(Debug)]
pub struct SignatureCache {
    capacity: usize,
    /// Normal forms, each after the start of its signature, the oldest first. Only the holder of a key can make two
    /// signatures with one start, and then but one of the two is remembered.
    tickets: VecDeque<(u64, Box<str>)>,
}

impl SignatureCache {
    /// Makes a cache of at most `capacity` tickets.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, tickets: VecDeque::new() }
    }

    /// Returns whether this very ticket was found good.
    pub fn contains(&self, ticket: &Unverified) -> bool {
        let signature = start(ticket.signature());
        self.tickets.iter().any(|(known, json)| *known == signature && **json == *ticket.as_json())
    }

    /// Remembers a ticket that was found good.
    pub fn insert(&mut self, ticket: &VerifiedTicket) {
        let signature = start(ticket.signature());
        if let Some((_, json)) = self.tickets.iter_mut().find(|(known, _)| *known == signature) {
            *json = ticket.as_json().into();
            return;
        }
        self.tickets.push_back((signature, ticket.as_json().into()));
        if self.tickets.len() > self.capacity {
            self.tickets.pop_front();
        }
    }

    /// Returns how many tickets are remembered.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Returns whether none is.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }
}

fn start(signature: &[u8; 64]) -> u64 {
    u64::from_le_bytes(signature.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::community::Community;
    use crate::key::PrivateKey;
    use crate::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, TicketRules, UserId};
    use crate::time::UnixMillis;

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn ticket(peer_id: &str) -> Ticket {
        let payload = Payload {
            peer_id: PeerId::new(peer_id).unwrap(),
            user_id: UserId::new("user").unwrap(),
            data: None,
            issued_at: NOW,
            expires_at: UnixMillis::saturating(NOW.as_u64() + 60_000),
            nonce: Nonce::new(vec![0; 12]).unwrap(),
            community: None,
            purpose: Purpose::Presence,
        };
        Ticket::sign(payload, &PrivateKey::from_seed(&[1; 32]))
    }

    fn unverified(json: &str) -> Unverified {
        let community = Community::new("mainnet").unwrap();
        Ticket::parse(json, Purpose::Presence).unwrap().check(&TicketRules::new(&community), NOW).unwrap()
    }

    fn verified(json: &str) -> VerifiedTicket {
        unverified(json).accept(true).unwrap()
    }

    #[test]
    fn knows_what_was_found_good_and_nothing_that_differs_in_anything() {
        let good = ticket("peer-a").to_json();
        let mut cache = SignatureCache::new(10);
        assert!(!cache.contains(&unverified(&good)));
        cache.insert(&verified(&good));
        assert!(cache.contains(&unverified(&good)));
        // The same signature over another payload, and by another key; another signature over the same.
        let (other_key, other) = (PrivateKey::from_seed(&[2; 32]).public_key(), ticket("peer-b"));
        let key = ticket("peer-a").public_key();
        let other: serde_json::Value = serde_json::from_str(&other.to_json()).unwrap();
        let mut another_signature: serde_json::Value = serde_json::from_str(&good).unwrap();
        another_signature["signature"] = other["signature"].clone();
        for forged in [
            good.replace("peer-a", "peer-c"),
            good.replace(&key.to_string(), &other_key.to_string()),
            another_signature.to_string(),
        ] {
            assert_ne!(forged, good);
            assert!(!cache.contains(&unverified(&forged)), "{forged}");
        }
    }

    #[test]
    fn the_oldest_goes_first_and_memory_is_bounded() {
        let tickets: Vec<_> = (0..5).map(|number| ticket(&format!("peer-{number}")).to_json()).collect();
        let mut cache = SignatureCache::new(3);
        for ticket in &tickets {
            cache.insert(&verified(ticket));
            cache.insert(&verified(ticket));
            assert!(cache.len() <= 3);
        }
        let known: Vec<_> = tickets.iter().map(|ticket| cache.contains(&unverified(ticket))).collect();
        assert_eq!(known, [false, false, true, true, true]);
        assert!(!cache.is_empty());
    }
}
