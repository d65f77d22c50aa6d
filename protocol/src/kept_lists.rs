//! The lists that one process has fetched lately: readers are served from here, so that they never load the object.
//!
//! Not an answer is kept but the whole list, so that any answer can be made of it, whatever the `limit` and
//! `exclude`. Memory is bounded by bytes, not by entries: a list of 200 peers takes a hundred times what a list of two
//! does. The list that was fetched first goes first.

use std::time::Duration;

use crate::community::Community;
use crate::peer_list::PeerList;
use crate::time::UnixMillis;

/// Bytes that are counted for an entry besides its list: more than its name and its place take, so that there are not too
/// many of them to look through.
const ENTRY_BYTES: usize = 512;

/// Keeps lists by community.
#[derive(Debug)]
pub struct KeptLists {
    max_bytes: usize,
    bytes: usize,
    /// In the order of communities.
    lists: Vec<KeptList>,
}

#[derive(Debug)]
struct KeptList {
    community: Community,
    fetched_at: UnixMillis,
    bytes: usize,
    list: Box<PeerList>,
}

impl KeptLists {
    /// Makes an empty store of at most about `max_bytes`.
    pub const fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, lists: Vec::new() }
    }

    /// Returns the community's list, if it was fetched less than `max_age` ago.
    pub fn fresh(&mut self, now: UnixMillis, community: &Community, max_age: Duration) -> Option<&mut PeerList> {
        let kept = self.get_mut(community)?;
        // One that was fetched before the clock jumped back may be of any age.
        (kept.fetched_at <= now && now.since(kept.fetched_at) < max_age).then_some(&mut *kept.list)
    }

    /// Returns the community's list, however old it is.
    pub fn any(&mut self, community: &Community) -> Option<&mut PeerList> {
        self.get_mut(community).map(|kept| &mut *kept.list)
    }

    /// Keeps a list that was fetched now, in the place of the one before. One that is too large by itself is not kept.
    pub fn keep(&mut self, now: UnixMillis, community: Community, list: PeerList) {
        if let Ok(known) = self.position(&community) {
            self.forget(known);
        }
        let bytes = list.bytes() + ENTRY_BYTES;
        if bytes > self.max_bytes {
            return;
        }
        while self.bytes + bytes > self.max_bytes
            && let Some((oldest, _)) = self.lists.iter().enumerate().min_by_key(|(_, kept)| kept.fetched_at)
        {
            self.forget(oldest);
        }
        self.bytes += bytes;
        let (Ok(position) | Err(position)) = self.position(&community);
        self.lists.insert(position, KeptList { community, fetched_at: now, bytes, list: Box::new(list) });
    }

    /// Returns about how many bytes are kept.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns where a community's list is, or where it belongs.
    fn position(&self, community: &Community) -> Result<usize, usize> {
        self.lists.binary_search_by(|kept| kept.community.cmp(community))
    }

    fn get_mut(&mut self, community: &Community) -> Option<&mut KeptList> {
        let position = self.position(community).ok()?;
        self.lists.get_mut(position)
    }

    fn forget(&mut self, position: usize) {
        self.bytes -= self.lists.remove(position).bytes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::PrivateKey;
    use crate::network::Client;
    use crate::peer_list::ObjectFigures;
    use crate::roster::{Excluded, Roster, RosterLimits};
    use crate::secret::Secret;
    use crate::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId, VerifiedTicket};

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + 1_000 * seconds)
    }

    fn community(number: usize) -> Community {
        Community::new(&format!("c{number}")).unwrap()
    }

    fn roster(peers: usize) -> Roster {
        let secret = Secret::from_bytes([1; 16]);
        let mut roster = Roster::new(RosterLimits::default(), secret);
        for number in 0..peers {
            let payload = Payload {
                peer_id: PeerId::new(&format!("peer-{number}")).unwrap(),
                user_id: UserId::new("user").unwrap(),
                data: None,
                issued_at: at(0),
                expires_at: at(180),
                nonce: Nonce::new(vec![0; 12]).unwrap(),
                community: None,
                purpose: Purpose::Presence,
            };
            let json = Ticket::sign(payload, &PrivateKey::from_seed(&[1; 32])).to_json();
            let ticket = VerifiedTicket::trusted(&json, Purpose::Presence).unwrap();
            roster.announce(at(0), ticket, Client::default().hand_over().hashed(&secret)).unwrap();
        }
        roster
    }

    fn list(peers: usize) -> PeerList {
        PeerList::decode(&PeerList::encode(&mut roster(peers), at(0), at(0), &ObjectFigures::default()).unwrap())
            .unwrap()
    }

    #[test]
    fn a_list_is_fresh_for_its_age_and_there_at_any() {
        let mut kept = KeptLists::new(1 << 20);
        let age = Duration::from_secs(5);
        assert!(kept.any(&community(0)).is_none());
        kept.keep(at(10), community(0), list(1));
        assert_eq!(kept.fresh(at(14), &community(0), age).map(|list| list.total()), Some(1));
        assert!(kept.fresh(at(15), &community(0), age).is_none());
        assert!(kept.fresh(at(9), &community(0), age).is_none(), "the clock has jumped back");
        assert!(kept.fresh(at(10), &community(0), Duration::ZERO).is_none());
        assert!(kept.fresh(at(14), &community(1), age).is_none());
        assert!(kept.any(&community(0)).is_some());
        kept.keep(at(15), community(0), list(2));
        assert_eq!(kept.fresh(at(15), &community(0), age).map(|list| list.total()), Some(2));
    }

    #[test]
    fn one_that_is_too_large_is_not_kept_and_pushes_nobody_out() {
        let mut kept = KeptLists::new(list(3).bytes() + ENTRY_BYTES);
        kept.keep(at(0), community(0), list(1));
        kept.keep(at(1), community(1), list(200));
        assert!(kept.any(&community(0)).is_some() && kept.any(&community(1)).is_none());
        kept.keep(at(2), community(0), list(200));
        assert!(kept.any(&community(0)).is_none(), "the list before is not the list");
        assert_eq!(kept.bytes(), 0);
    }

    #[test]
    fn while_all_peers_fit_the_tag_stays_when_the_seed_changes_and_else_it_does_not() {
        let (mut few, mut many) = (roster(3), roster(60));
        let tag = |roster: &mut Roster, now| {
            let mut list =
                PeerList::decode(&PeerList::encode(roster, now, at(0), &ObjectFigures::default()).unwrap()).unwrap();
            (list.tag(50), list.answer(50, Excluded::Nobody).peers.clone())
        };
        assert_eq!(tag(&mut few, at(1)), tag(&mut few, at(100)));
        let (one, other) = (tag(&mut many, at(1)), tag(&mut many, at(100)));
        assert!(one.0 != other.0 && one.1 != other.1);
    }

    proptest! {
        /// The model keeps everything in the order in which it came, and drops from the front.
        #[test]
        fn the_bytes_are_bounded_and_the_oldest_goes_first(
            kept in prop::collection::vec((0_usize..6, 0_usize..4), 1..40),
        ) {
            let lists: Vec<_> = (0..4).map(|peers| list(peers).bytes() + ENTRY_BYTES).collect();
            let max_bytes = lists[3] * 2;
            let mut subject = KeptLists::new(max_bytes);
            let mut model: Vec<(usize, usize)> = Vec::new();
            for (moment, (number, peers)) in kept.into_iter().enumerate() {
                subject.keep(at(moment as u64), community(number), list(peers));
                model.retain(|(other, _)| *other != number);
                model.push((number, peers));
                while model.iter().map(|(_, peers)| lists[*peers]).sum::<usize>() > max_bytes {
                    model.remove(0);
                }
                prop_assert_eq!(subject.bytes(), model.iter().map(|(_, peers)| lists[*peers]).sum::<usize>());
                prop_assert!(subject.lists.is_sorted_by_key(|kept| &kept.community));
                for number in 0..6 {
                    let expected = model.iter().find(|(other, _)| *other == number).map(|(_, peers)| *peers);
                    prop_assert_eq!(subject.any(&community(number)).map(|list| list.total()), expected);
                }
            }
        }
    }
}
