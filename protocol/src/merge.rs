//! What several beacons say, merged so that none of them can say more than its share.
//!
//! A beacon can invent as many peers as it likes, all newer than the real ones, and can list real names with keys of
//! its own. So places are given out in rounds, in each of which every beacon gets exactly one: with b hostile ones
//! among n, at least (n - b)/n of the entries are what honest beacons listed. Who is hostile is never guessed.
//!
//! The rounds are a maximum bipartite matching: a peerId that two beacons list is assigned to the one that needs it, so
//! that beacons which agree do not run out. Assignments are changed along augmenting paths, found breadth first,
//! without recursion.
//!
//! Out of scope: whether tickets are good. They are when they come here.

use std::cmp::Reverse;
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};

use crate::key::PublicKey;
use crate::ticket::{PeerId, VerifiedTicket};
use crate::time::UnixMillis;

/// What happens with places that are left after the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// They stay empty, except for peers that all beacons agree on.
    #[default]
    Equal,
    /// They are given in turns to the beacons that have more. No share is guaranteed to anybody, but a beacon with few
    /// peers does not make the result small.
    Available,
}

/// One peer of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The newest ticket that any beacon has of this key for this peerId.
    pub ticket: VerifiedTicket,
    /// The beacons that list this key for this peerId, in order.
    pub listed_by: Vec<usize>,
}

/// A peerId for which beacons list different keys. One of them is an impostor's, or the peer has changed its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The peerId.
    pub peer_id: PeerId,
    /// Each key, and the beacons that list it, in order.
    pub keys: Vec<(PublicKey, Vec<usize>)>,
    /// The key that is in the result, if one is.
    pub chosen: Option<PublicKey>,
}

/// The result. Beacons are positions in the slice that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// One a peerId, newest first.
    pub entries: Vec<Entry>,
    /// By peerId.
    pub disagreements: Vec<Disagreement>,
    /// The beacon whose short list ended the rounds, where peers were left out for it while there was room.
    pub limited_by: Option<usize>,
}

/// Merges what beacons answered, each list one ticket a peerId, as [`crate::answer::Answer::tickets`] is. Beacons
/// with an empty list have no share. At most `limit` entries. The same answers in the same order give the same result.
pub fn merge_shares(answers: &[Vec<VerifiedTicket>], limit: usize, shares: Shares) -> Merged {
    let beacons = answers.iter().filter(|tickets| !tickets.is_empty()).count();
    let peers = candidates(answers, beacons);
    let mut places = Places::new(&peers, answers.iter().map(|tickets| !tickets.is_empty()));
    let agreed: BTreeSet<usize> =
        peers.iter().enumerate().filter(|(_, peer)| peer.is_agreed(beacons)).map(|(position, _)| position).collect();
    let ended_by = places.deal_rounds(limit);
    places.spare_agreed(&agreed, limit);
    places.add_agreed(&agreed, limit);
    if shares == Shares::Available {
        places.fill(limit);
    }
    let chosen: Vec<Option<PublicKey>> = places.taken.iter().map(|taken| taken.map(|(_, key)| key)).collect();
    let mut entries: Vec<Entry> = peers
        .iter()
        .zip(&chosen)
        .filter_map(|(peer, chosen)| peer.keys.get(chosen.as_ref()?))
        .map(|claim| Entry { ticket: claim.newest.clone(), listed_by: claim.listed_by.clone() })
        .collect();
    entries.sort_by(|one, other| rank(&other.ticket).cmp(&rank(&one.ticket)));
    let disagreements = peers.iter().zip(chosen).filter_map(|(peer, chosen)| peer.disagreement(chosen)).collect();
    let limited_by = ended_by.filter(|_| entries.len() < peers.len().min(limit));
    Merged { entries, disagreements, limited_by }
}

/// One ticket a peer, that with the newest `issuedAt`; newest first. The result does not depend on the order of
/// `tickets`.
pub fn newest_of_each_peer(tickets: impl IntoIterator<Item = VerifiedTicket>) -> Vec<VerifiedTicket> {
    let mut newest: BTreeMap<PeerId, VerifiedTicket> = BTreeMap::new();
    for ticket in tickets {
        match newest.entry(ticket.peer_id().clone()) {
            MapEntry::Vacant(entry) => {
                entry.insert(ticket);
            }
            MapEntry::Occupied(mut entry) if rank(&ticket) > rank(entry.get()) => {
                entry.insert(ticket);
            }
            MapEntry::Occupied(_) => {}
        }
    }
    let mut merged: Vec<_> = newest.into_values().collect();
    merged.sort_by(|one, other| rank(other).cmp(&rank(one)));
    merged
}

/// Two tickets of one moment, by two keys that claim one peerId, are told apart by their bytes: some fixed order.
fn rank(ticket: &VerifiedTicket) -> (UnixMillis, &str) {
    (ticket.payload().issued_at, ticket.as_json())
}

/// What is said of one key for one peerId.
#[derive(Debug)]
struct Claim<'a> {
    newest: &'a VerifiedTicket,
    listed_by: Vec<usize>,
}

/// What is said of one peerId.
#[derive(Debug)]
struct Peer<'a> {
    peer_id: &'a PeerId,
    keys: BTreeMap<PublicKey, Claim<'a>>,
    /// The key that more than half of the beacons list, beside which the others have no place.
    majority: Option<PublicKey>,
}

impl Peer<'_> {
    /// The keys that may get a place.
    fn eligible(&self) -> impl Iterator<Item = (PublicKey, &Claim<'_>)> {
        let eligible = |key: &PublicKey| self.majority.is_none_or(|majority| majority == *key);
        self.keys.iter().filter(move |(key, _)| eligible(key)).map(|(key, claim)| (*key, claim))
    }

    /// Whether all that have a share list one key for it: whoever is honest, honest beacons list it.
    fn is_agreed(&self, beacons: usize) -> bool {
        self.keys.len() == 1 && self.keys.values().all(|claim| claim.listed_by.len() == beacons)
    }

    fn disagreement(&self, chosen: Option<PublicKey>) -> Option<Disagreement> {
        let keys = || self.keys.iter().map(|(key, claim)| (*key, claim.listed_by.clone())).collect();
        (self.keys.len() > 1).then(|| Disagreement { peer_id: self.peer_id.clone(), keys: keys(), chosen })
    }
}

/// Everything that is said, by peerId.
fn candidates(answers: &[Vec<VerifiedTicket>], beacons: usize) -> Vec<Peer<'_>> {
    let mut peers: BTreeMap<&PeerId, BTreeMap<PublicKey, Claim<'_>>> = BTreeMap::new();
    for (beacon, tickets) in answers.iter().enumerate() {
        let mut listed = BTreeSet::new();
        // A beacon has one voice for a peerId, whatever a caller hands in.
        for ticket in tickets.iter().filter(|ticket| listed.insert(ticket.peer_id())) {
            let keys = peers.entry(ticket.peer_id()).or_default();
            let claim =
                keys.entry(ticket.public_key()).or_insert_with(|| Claim { newest: ticket, listed_by: Vec::new() });
            claim.listed_by.push(beacon);
            if rank(ticket) > rank(claim.newest) {
                claim.newest = ticket;
            }
        }
    }
    let majority = |keys: &BTreeMap<PublicKey, Claim<'_>>| {
        keys.iter().find(|(_, claim)| claim.listed_by.len() * 2 > beacons).map(|(key, _)| *key)
    };
    peers.into_iter().map(|(peer_id, keys)| Peer { peer_id, majority: majority(&keys), keys }).collect()
}

/// A peer that a beacon could be given, by the peer's position.
#[derive(Debug)]
struct Edge<'a> {
    peer: usize,
    key: PublicKey,
    rank: (UnixMillis, &'a str),
}

/// Who is given which peer.
#[derive(Debug)]
struct Places<'a> {
    /// For each beacon with a share, what it can be given, newest first.
    edges: BTreeMap<usize, Vec<Edge<'a>>>,
    /// For each peer that is in the result, the beacon that it is assigned to, and its key.
    taken: Vec<Option<(usize, PublicKey)>>,
    count: usize,
}

impl<'a> Places<'a> {
    fn new(peers: &'a [Peer<'a>], has_share: impl Iterator<Item = bool>) -> Self {
        let mut edges: BTreeMap<usize, Vec<Edge<'a>>> =
            has_share.enumerate().filter(|(_, has_share)| *has_share).map(|(beacon, _)| (beacon, Vec::new())).collect();
        for (peer, candidate) in peers.iter().enumerate() {
            for (key, claim) in candidate.eligible() {
                for beacon in &claim.listed_by {
                    edges.entry(*beacon).or_default().push(Edge { peer, key, rank: rank(claim.newest) });
                }
            }
        }
        for edges in edges.values_mut() {
            edges.sort_by_key(|edge| Reverse(edge.rank));
        }
        Self { edges, taken: vec![None; peers.len()], count: 0 }
    }

    /// As many whole rounds as there are. Returns the beacon that could not be given one more.
    fn deal_rounds(&mut self, limit: usize) -> Option<usize> {
        let beacons: Vec<usize> = self.edges.keys().copied().collect();
        while !beacons.is_empty() && self.count + beacons.len() <= limit {
            let before = self.taken.clone();
            for beacon in &beacons {
                if let Err(shortest) = self.augment(*beacon, |_| true) {
                    // Part of a round is none: some beacons would have more than others.
                    self.taken = before;
                    self.count = self.taken.iter().flatten().count();
                    return Some(shortest);
                }
                self.count += 1;
            }
        }
        None
    }

    /// Gives `start` one peer more, and every other beacon as many as it had: a free peer, or one whose beacon takes
    /// another instead, and so on. Of the free and eligible peers that can be had in that way it is the newest.
    ///
    /// # Errors
    /// Where there is none, the beacon with the shortest list among those that would have had to take another.
    fn augment(&mut self, start: usize, eligible: impl Fn(usize) -> bool) -> Result<(), usize> {
        let search = self.search(start, eligible);
        let Some(free) = search.newest_free else { return Err(search.shortest) };
        let mut peer = free;
        // Back along the path: each beacon on it takes `peer` and gives up the one through which it was found.
        while let Some((beacon, key)) = search.found_by.get(&peer).copied() {
            let given_up = search.found_through.get(&beacon).copied();
            if let Some(place) = self.taken.get_mut(peer) {
                *place = Some((beacon, key));
            }
            match given_up {
                Some(next) => peer = next,
                None => break,
            }
        }
        Ok(())
    }

    fn search(&self, start: usize, eligible: impl Fn(usize) -> bool) -> Search {
        let mut search =
            Search { found_by: BTreeMap::new(), found_through: BTreeMap::new(), newest_free: None, shortest: start };
        let length = |beacon: usize| self.edges.get(&beacon).map_or(0, Vec::len);
        let mut newest = None;
        let mut reached = BTreeSet::from([start]);
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(beacon) = queue.pop_front() {
            if length(beacon) < length(search.shortest) {
                search.shortest = beacon;
            }
            for edge in self.edges.get(&beacon).into_iter().flatten() {
                if search.found_by.contains_key(&edge.peer) {
                    continue;
                }
                search.found_by.insert(edge.peer, (beacon, edge.key));
                match self.holder(edge.peer) {
                    Some(holder) if reached.insert(holder) => {
                        search.found_through.insert(holder, edge.peer);
                        queue.push_back(holder);
                    }
                    Some(_) => {}
                    None if eligible(edge.peer) && newest.is_none_or(|newest| edge.rank > newest) => {
                        newest = Some(edge.rank);
                        search.newest_free = Some(edge.peer);
                    }
                    None => {}
                }
            }
        }
        search
    }

    fn holder(&self, peer: usize) -> Option<usize> {
        self.taken.get(peer).copied().flatten().map(|(beacon, _)| beacon)
    }

    /// Gives beacons that were given an agreed peer another one for it, where there is room for both: what all agree on
    /// needs nobody's share. Without this, two beacons that know one peer each and one together would lose one of
    /// three.
    fn spare_agreed(&mut self, agreed: &BTreeSet<usize>, limit: usize) {
        let mut spared = agreed.iter().filter(|peer| self.holder(**peer).is_none()).count();
        for peer in agreed {
            if self.count + spared >= limit {
                return;
            }
            let Some(place) = self.taken.get_mut(*peer).and_then(Option::take) else { continue };
            let (beacon, _) = place;
            if self.augment(beacon, |other| !agreed.contains(&other)).is_ok() {
                spared += 1;
            } else if let Some(free) = self.taken.get_mut(*peer) {
                *free = Some(place);
            }
        }
    }

    /// The peers that all agree on, newest first.
    fn add_agreed(&mut self, agreed: &BTreeSet<usize>, limit: usize) {
        let Some((beacon, edges)) = self.edges.first_key_value() else { return };
        let newest_first: Vec<_> = edges
            .iter()
            .filter(|edge| agreed.contains(&edge.peer))
            .map(|edge| (edge.peer, (*beacon, edge.key)))
            .collect();
        for (peer, place) in newest_first {
            self.take(peer, place, limit);
        }
    }

    /// In turns, the newest that is left of each beacon.
    fn fill(&mut self, limit: usize) {
        let mut turns: Vec<_> = self
            .edges
            .iter()
            .map(|(beacon, edges)| {
                (*beacon, edges.iter().map(|edge| (edge.peer, edge.key)).collect::<Vec<_>>().into_iter())
            })
            .collect();
        while !turns.is_empty() {
            turns
                .retain_mut(|(beacon, edges)| edges.by_ref().any(|(peer, key)| self.take(peer, (*beacon, key), limit)));
        }
    }

    /// Gives a free peer away while there is room. Returns whether it did.
    fn take(&mut self, peer: usize, place: (usize, PublicKey), limit: usize) -> bool {
        if self.count >= limit {
            return false;
        }
        match self.taken.get_mut(peer) {
            Some(free @ None) => {
                *free = Some(place);
                self.count += 1;
                true
            }
            _ => false,
        }
    }
}

/// What can be reached from one beacon by letting others take something else.
#[derive(Debug)]
struct Search {
    /// For each peer that was found, the beacon that would take it, and its key.
    found_by: BTreeMap<usize, (usize, PublicKey)>,
    /// For each beacon other than the first, the peer that it would give up.
    found_through: BTreeMap<usize, usize>,
    newest_free: Option<usize>,
    /// The beacon with the shortest list that was reached.
    shortest: usize,
}
