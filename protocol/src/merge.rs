//! What several beacons say, merged so that none of them can say more than its share.
//!
//! A beacon can invent as many peers as it likes, all newer than the real ones, and can list real names with keys of
//! its own. So whoever more than half of the beacons list is in, and the other places are given out in rounds, in each
//! of which every beacon gets exactly one: no hostile beacon has more of them than an honest one. Who is hostile is
//! never guessed. A beacon with a list far shorter than most is given as many as the others while it has them, and does
//! not end the rounds: one that has just been started, or lies, does not make the result small.
//!
//! Anybody can announce somebody else's name with a key of its own, at every honest beacon. Beacons list all keys that
//! claim a name, and say since when each is present. Which key a name stands for is decided by pairs: more than half of
//! the beacons have to prefer it to each of the others. This stops a key that comes later everywhere: where one hostile
//! beacon leaves the owner's key out, more beacons list the later one, but hardly any of them prefers it. Dates of
//! tickets decide nothing here, because freshness is free to mint.
//!
//! The rounds are a maximum bipartite matching: a peerId that two beacons list is assigned to the one that needs it, so
//! that beacons which agree do not run out. Peers that most list are part of it too, because they are what beacons that
//! agree have: without them a beacon that lists others would be the only one with anything to deal. Assignments are
//! changed along augmenting paths, found breadth first, without recursion.
//!
//! Out of scope: whether tickets are good. They are when they come here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::answer::{Listed, newness};
use crate::key::PublicKey;
use crate::ticket::{PeerId, VerifiedTicket};
use crate::time::UnixMillis;

/// From so many peers on, a list is never too short to share.
pub const SHORT_LIST: usize = 20;

/// Says what happens with places that are left after the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// They stay empty.
    #[default]
    Equal,
    /// They are given in turns to the beacons that have more. No share is guaranteed to anybody, but a beacon with few
    /// peers does not make the result small.
    Available,
}

/// Holds one peer of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The newest ticket that any beacon has of this claim.
    pub ticket: VerifiedTicket,
    /// The beacons that list this claim, alone or among others for the peerId, in order.
    pub listed_by: Vec<usize>,
}

/// Holds a peerId that several keys claim, at different beacons or at one. All but one of them are impostors', or the
/// peer has changed its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The peerId.
    pub peer_id: PeerId,
    /// Each key, and the beacons that list it, in order.
    pub keys: Vec<(PublicKey, Vec<usize>)>,
    /// The key that is in the result, if one is.
    pub chosen: Option<PublicKey>,
}

/// Holds the result of a merge. Beacons are positions in the slice that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// One a peerId, newest first.
    pub entries: Vec<Entry>,
    /// By peerId.
    pub disagreements: Vec<Disagreement>,
    /// The beacon whose short list ended the rounds, where peers were left out for it while there was room.
    pub limited_by: Option<usize>,
}

/// Merges what beacons answered, each list one ticket a claim, as [`crate::answer::VerifiedAnswer::listed`] is. Beacons
/// with an empty list have no share. At most `limit` entries. The same answers in the same order give the same result.
pub fn merge_shares(answers: &[Vec<Listed>], limit: usize, shares: Shares) -> Merged {
    let beacons = answers.iter().filter(|listed| !listed.is_empty()).count();
    let peers = candidates(answers, beacons);
    let mut places = Places::new(&peers, answers.iter().map(|listed| !listed.is_empty()), beacons);
    let ended_by = places.deal_rounds(limit);
    places.add_of_short_lists(limit);
    places.spare_majority(limit);
    places.add_majority(limit);
    if shares == Shares::Available {
        places.fill(limit);
    }
    let chosen: Vec<Option<PublicKey>> = places.taken.iter().map(|taken| taken.map(|(_, key)| key)).collect();
    let mut entries: Vec<Entry> = peers
        .iter()
        .zip(&chosen)
        .filter_map(|(peer, chosen)| peer.keys.get(chosen.as_ref()?))
        .map(|claim| Entry { ticket: claim.newest.clone(), listed_by: claim.listed_by() })
        .collect();
    entries.sort_by(|one, other| newness(&other.ticket).cmp(&newness(&one.ticket)));
    let disagreements = peers.iter().zip(chosen).filter_map(|(peer, chosen)| peer.disagreement(chosen)).collect();
    let limited_by = ended_by.filter(|_| entries.len() < peers.len().min(limit));
    Merged { entries, disagreements, limited_by }
}

/// Returns every claim that any beacon lists, by its newest ticket, the newest first. Whom to connect with is for
/// [`merge_shares`] to decide: this is for those who look, or who wait for one key.
pub fn all_claims(answers: &[Vec<Listed>]) -> Vec<Entry> {
    let peers = candidates(answers, answers.len());
    let claims = peers.iter().flat_map(|peer| peer.keys.values());
    let mut entries: Vec<Entry> =
        claims.map(|claim| Entry { ticket: claim.newest.clone(), listed_by: claim.listed_by() }).collect();
    entries.sort_by(|one, other| newness(&other.ticket).cmp(&newness(&one.ticket)));
    entries
}

/// Returns each claim once, by its newest ticket with what goes with that one, in the order in which the claims came first.
/// Of tickets that are equally new the first stays.
pub fn newest_of_claims<T>(tickets: impl IntoIterator<Item = (VerifiedTicket, T)>) -> Vec<(VerifiedTicket, T)> {
    let mut places = BTreeMap::new();
    let mut newest: Vec<(VerifiedTicket, T)> = Vec::new();
    for one in tickets {
        let place = *places.entry((one.0.peer_id().clone(), one.0.public_key())).or_insert(newest.len());
        match newest.get_mut(place) {
            Some(known) if newness(&one.0) > newness(&known.0) => *known = one,
            Some(_) => {}
            None => newest.push(one),
        }
    }
    newest
}

/// Holds what is said of one key for one peerId.
#[derive(Debug)]
struct Claim<'a> {
    newest: &'a VerifiedTicket,
    /// The beacons that list it, and since when they say that it is present.
    since: BTreeMap<usize, Option<UnixMillis>>,
}

impl Claim<'_> {
    fn listed_by(&self) -> Vec<usize> {
        self.since.keys().copied().collect()
    }

    /// Returns whether more than half of the beacons prefer this claim to another of the same peerId: they list it
    /// alone of the two, or say that it is present longer.
    fn is_preferred_to(&self, other: &Self, beacons: usize) -> bool {
        let prefers = |(beacon, since): &(&usize, &Option<UnixMillis>)| match (since, other.since.get(beacon)) {
            (_, None) => true,
            (Some(since), Some(Some(other))) => since < other,
            (None, Some(_)) | (Some(_), Some(None)) => false,
        };
        self.since.iter().filter(prefers).count() * 2 > beacons
    }
}

/// Holds what is said of one peerId.
#[derive(Debug)]
struct Peer<'a> {
    peer_id: &'a PeerId,
    keys: BTreeMap<PublicKey, Claim<'a>>,
    /// The key that more than half of the beacons prefer to each of the others, which have no place then.
    preferred: Option<PublicKey>,
}

impl<'a> Peer<'a> {
    fn new(peer_id: &'a PeerId, keys: BTreeMap<PublicKey, Claim<'a>>, beacons: usize) -> Self {
        // Preferences may go round in a circle. But a key that is preferred to all others takes the place of whichever
        // it meets here, and keeps it.
        let last = keys.iter().reduce(|last, next| if next.1.is_preferred_to(last.1, beacons) { next } else { last });
        let preferred = last.filter(|(key, claim)| {
            keys.iter().all(|(other, against)| other == *key || claim.is_preferred_to(against, beacons))
        });
        let preferred = preferred.map(|(key, _)| *key);
        Self { peer_id, keys, preferred }
    }

    /// Returns, for each beacon that can be given this peer, the key that it is given with. The beacon lists that key
    /// for this peerId.
    fn keys_by_beacon(&self) -> BTreeMap<usize, PublicKey> {
        if let Some((key, claim)) = self.preferred.and_then(|key| Some((key, self.keys.get(&key)?))) {
            return claim.since.keys().map(|beacon| (*beacon, key)).collect();
        }
        // Nobody knows, and each beacon has its share: the key that it lists longest. One that does not say which that is
        // gets the lowest. Such a key can be had by trying, but it moves nothing except that beacon's share.
        let mut longest: BTreeMap<usize, (bool, Option<UnixMillis>, PublicKey)> = BTreeMap::new();
        for (key, claim) in &self.keys {
            for (beacon, since) in &claim.since {
                let one = (since.is_none(), *since, *key);
                longest.entry(*beacon).and_modify(|longest| *longest = one.min(*longest)).or_insert(one);
            }
        }
        longest.into_iter().map(|(beacon, (_, _, key))| (beacon, key)).collect()
    }

    /// Returns whether more than half of the beacons list the key that most prefer: where fewer than half are hostile, an honest
    /// one lists it.
    fn is_of_majority(&self, beacons: usize) -> bool {
        self.preferred.and_then(|key| self.keys.get(&key)).is_some_and(|claim| claim.since.len() * 2 > beacons)
    }

    fn disagreement(&self, chosen: Option<PublicKey>) -> Option<Disagreement> {
        let keys = || self.keys.iter().map(|(key, claim)| (*key, claim.listed_by())).collect();
        (self.keys.len() > 1).then(|| Disagreement { peer_id: self.peer_id.clone(), keys: keys(), chosen })
    }
}

/// Sorts everything that is said by peerId.
fn candidates(answers: &[Vec<Listed>], beacons: usize) -> Vec<Peer<'_>> {
    let mut peers: BTreeMap<&PeerId, BTreeMap<PublicKey, Claim<'_>>> = BTreeMap::new();
    for (beacon, listed) in answers.iter().enumerate() {
        for Listed { ticket, since } in listed {
            let keys = peers.entry(ticket.peer_id()).or_default();
            let claim =
                keys.entry(ticket.public_key()).or_insert_with(|| Claim { newest: ticket, since: BTreeMap::new() });
            // A beacon has one voice for a claim, whatever a caller hands in.
            claim.since.entry(beacon).or_insert(*since);
            if newness(ticket) > newness(claim.newest) {
                claim.newest = ticket;
            }
        }
    }
    peers.into_iter().map(|(peer_id, keys)| Peer::new(peer_id, keys, beacons)).collect()
}

/// A peer that a beacon could be given, by the peer's position.
#[derive(Debug)]
struct Edge<'a> {
    peer: usize,
    key: PublicKey,
    rank: (UnixMillis, &'a str),
}

/// Holds which peer is given to which beacon.
#[derive(Debug)]
struct Places<'a> {
    /// For each beacon with a list, what it can be given, newest first.
    edges: BTreeMap<usize, Vec<Edge<'a>>>,
    /// The beacons that only add.
    short: BTreeSet<usize>,
    /// The peers that are in whoever has which share.
    majority: BTreeSet<usize>,
    /// For each peer that is in the result, the beacon that it is assigned to, and its key.
    taken: Vec<Option<(usize, PublicKey)>>,
    /// How many those are, from when shares are given.
    count: usize,
    /// How many of those are not of the majority.
    others: usize,
    /// The rounds that were dealt.
    rounds: usize,
}

impl<'a> Places<'a> {
    fn new(peers: &'a [Peer<'a>], has_list: impl Iterator<Item = bool>, beacons: usize) -> Self {
        let mut edges: BTreeMap<usize, Vec<Edge<'a>>> =
            has_list.enumerate().filter(|(_, has_list)| *has_list).map(|(beacon, _)| (beacon, Vec::new())).collect();
        for (peer, candidate) in peers.iter().enumerate() {
            for (beacon, key) in candidate.keys_by_beacon() {
                if let Some(claim) = candidate.keys.get(&key) {
                    edges.entry(beacon).or_default().push(Edge { peer, key, rank: newness(claim.newest) });
                }
            }
        }
        for edges in edges.values_mut() {
            edges.sort_by_key(|edge| Reverse(edge.rank));
        }
        let short = short_lists(&edges);
        let is_of_majority = |(peer, candidate): (usize, &Peer<'_>)| candidate.is_of_majority(beacons).then_some(peer);
        let majority = peers.iter().enumerate().filter_map(is_of_majority).collect();
        Self { edges, short, majority, taken: vec![None; peers.len()], count: 0, others: 0, rounds: 0 }
    }

    /// Returns the places that are left for peers that are not of the majority.
    fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.majority.len()).saturating_sub(self.others)
    }

    /// Deals as many whole rounds as there are among the beacons that share, with room for as many of each that only adds.
    /// Returns the beacon that could not be given one more.
    fn deal_rounds(&mut self, limit: usize) -> Option<usize> {
        if self.room(limit) == 0 {
            return None;
        }
        let room = self.room(limit);
        let sharing: Vec<usize> = self.edges.keys().filter(|beacon| !self.short.contains(beacon)).copied().collect();
        while !sharing.is_empty() {
            let (before, others) = (self.taken.clone(), self.others);
            let mut ended_by = None;
            for beacon in &sharing {
                // What the majority lists is in anyway, and costs no place.
                if let Err(shortest) = self.augment(*beacon, |_| true) {
                    ended_by = Some(shortest);
                    break;
                }
            }
            if ended_by.is_some() || self.others + self.of_short_lists(self.rounds + 1) > room {
                // Part of a round does not count: some beacons would have more than others.
                (self.taken, self.others) = (before, others);
                return ended_by;
            }
            self.rounds += 1;
        }
        None
    }

    /// Returns the most that the beacons that only add can be given in so many rounds.
    fn of_short_lists(&self, rounds: usize) -> usize {
        let others = |beacon: &usize| {
            let edges = self.edges.get(beacon).into_iter().flatten();
            edges.filter(|edge| !self.majority.contains(&edge.peer)).count().min(rounds)
        };
        self.short.iter().map(others).sum()
    }

    /// Gives the beacons with a short list what they have, in turns, none more than one that shares was given.
    fn add_of_short_lists(&mut self, limit: usize) {
        let mut turns = self.short.clone();
        for _ in 0..self.rounds {
            let beacons: Vec<usize> = turns.iter().copied().collect();
            for beacon in beacons {
                if self.room(limit) == 0 {
                    return;
                }
                if self.augment(beacon, |is_of_majority| !is_of_majority).is_err() {
                    turns.remove(&beacon);
                }
            }
        }
    }

    /// Gives `start` one peer more, and every other beacon as many as it had: a free peer, or one whose beacon takes
    /// another instead, and so on. Of the free and eligible peers that can be had in that way it is one of the majority,
    /// if there is one, and the newest. `eligible` is told whether a peer is of the majority.
    ///
    /// # Errors
    /// Where there is no such peer, the beacon with the shortest list among those that would have had to take another.
    fn augment(&mut self, start: usize, eligible: impl Fn(bool) -> bool) -> Result<(), usize> {
        let search = self.search(start, eligible);
        let Some(free) = search.best_free else { return Err(search.shortest) };
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
        self.others += usize::from(!self.majority.contains(&free));
        Ok(())
    }

    fn search(&self, start: usize, eligible: impl Fn(bool) -> bool) -> Search {
        let mut search =
            Search { found_by: BTreeMap::new(), found_through: BTreeMap::new(), best_free: None, shortest: start };
        let length = |beacon: usize| self.edges.get(&beacon).map_or(0, Vec::len);
        let mut best = None;
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
                    None => {
                        let is_of_majority = self.majority.contains(&edge.peer);
                        let rank = (is_of_majority, edge.rank);
                        if eligible(is_of_majority) && best.is_none_or(|best| rank > best) {
                            best = Some(rank);
                            search.best_free = Some(edge.peer);
                        }
                    }
                }
            }
        }
        search
    }

    fn holder(&self, peer: usize) -> Option<usize> {
        self.taken.get(peer).copied().flatten().map(|(beacon, _)| beacon)
    }

    /// Gives beacons whose share has a peer of the majority another one for it, where there is room for both: what most
    /// list needs nobody's share. Without this, two beacons that know one peer each and one together would lose one of
    /// three.
    fn spare_majority(&mut self, limit: usize) {
        for peer in self.majority.clone() {
            if self.room(limit) == 0 {
                return;
            }
            let Some(place) = self.taken.get_mut(peer).and_then(Option::take) else { continue };
            let (beacon, _) = place;
            if self.augment(beacon, |is_of_majority| !is_of_majority).is_err()
                && let Some(free) = self.taken.get_mut(peer)
            {
                *free = Some(place);
            }
        }
    }

    /// Takes the peers that most list, the newest first.
    fn add_majority(&mut self, limit: usize) {
        let mut newest_first: Vec<_> = self
            .edges
            .iter()
            .flat_map(|(beacon, edges)| edges.iter().map(|edge| (edge.rank, edge.peer, (*beacon, edge.key))))
            .filter(|(_, peer, _)| self.majority.contains(peer))
            .map(|(rank, peer, place)| (Reverse(rank), peer, place))
            .collect();
        newest_first.sort_unstable();
        let newest_first: Vec<_> = newest_first.into_iter().map(|(_, peer, place)| (peer, place)).collect();
        self.count = self.taken.iter().flatten().count();
        for (peer, place) in newest_first {
            self.take(peer, place, limit);
        }
    }

    /// Gives out what is left in turns, the newest of each beacon.
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

/// Returns the beacons whose lists are too short to share: of fewer than [`SHORT_LIST`] peers, and of less than half of the median
/// of all lists. Of two middle lists the shorter one counts, so that it takes more than half of the beacons to make an
/// honest list too short.
fn short_lists(edges: &BTreeMap<usize, Vec<Edge<'_>>>) -> BTreeSet<usize> {
    let mut lengths: Vec<usize> = edges.values().map(Vec::len).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    let is_short = |length: usize| length < SHORT_LIST && length * 2 < median;
    edges.iter().filter(|(_, edges)| is_short(edges.len())).map(|(beacon, _)| *beacon).collect()
}

/// Holds what can be reached from one beacon by letting others take something else.
#[derive(Debug)]
struct Search {
    /// For each peer that was found, the beacon that would take it, and its key.
    found_by: BTreeMap<usize, (usize, PublicKey)>,
    /// For each beacon other than the first, the peer that it would give up.
    found_through: BTreeMap<usize, usize>,
    best_free: Option<usize>,
    /// The beacon with the shortest list that was reached.
    shortest: usize,
}
