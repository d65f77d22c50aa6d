//! Who is present in one community: a state machine without a clock.
//!
//! Time comes in with every call and deadlines go out through [`Roster::next_deadline`]; an early or repeated
//! [`Roster::expire`] changes nothing, so a host may call it whenever it likes. A clock that jumps ahead ends what the
//! time it shows would have ended, records and memories alike; one that jumps back brings nothing back.
//!
//! The rules:
//! 1. The first key to hold a live `peerId` keeps it until its ticket ends or it leaves.
//! 2. `issuedAt` only moves forward for one `peerId`; the very same ticket again changes nothing.
//! 3. One new ticket for a `peerId` in each interval, counted from the last accepted one, even if the peer has left
//!    since: otherwise leaving would be the way around it.
//! 4. When the roster is full, the oldest record of the network that holds the most records goes, the newcomer
//!    counted in. While there is room no network is limited.
//! 5. An answer takes the freshest record of every network, then the second freshest of every network, and so on, and
//!    is then ordered freshest first. Freshness alone would let one network that announces last fill every answer.
//! 6. Memory is bounded under any input: at most as many departures as records are remembered, and those forgotten
//!    soonest go first. Of a record that went by rule 4 nothing is remembered, so that its peer may come back at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::key::PublicKey;
use crate::limits::{ANNOUNCE_INTERVAL, ROSTER_CAPACITY, TICKET_MAX_LIFETIME};
use crate::network::NetworkHash;
use crate::ticket::{Payload, PeerId, VerifiedTicket};
use crate::time::{UnixMillis, saturating_millis};

/// What an operator may change, and a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterLimits {
    /// Records held.
    pub capacity: usize,
    /// Shortest time between two new tickets of one peer.
    pub announce_interval: Duration,
    /// Longest life of a ticket: for how long the tickets of a peer that left could still be replayed.
    pub ticket_max_lifetime: Duration,
}

impl Default for RosterLimits {
    fn default() -> Self {
        Self {
            capacity: ROSTER_CAPACITY,
            announce_interval: ANNOUNCE_INTERVAL,
            ticket_max_lifetime: TICKET_MAX_LIFETIME,
        }
    }
}

/// The outcome of an announce that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A new ticket: it is listed, as the freshest.
    Accepted,
    /// The very ticket that is already held: nothing changed, and no limit is used up.
    Repeated,
}

/// Why an announce is refused. [`Refused::code`] is the name of each on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The ticket ended between its check and this call.
    #[error("the ticket has expired")]
    Expired,
    /// Another key holds the peerId.
    #[error("another key holds this peerId until its ticket ends or it leaves")]
    PeerIdTaken,
    /// Not newer than what is held, or than the ticket with which the peer left.
    #[error("issuedAt must be later than {newest}, that of the newest ticket seen for this peerId")]
    StaleTicket {
        /// `issuedAt` of the newest ticket seen.
        newest: UnixMillis,
    },
    /// A new ticket before the interval is over.
    #[error("a new ticket for this peerId is accepted in {} ms; until then, send the last one again", saturating_millis(*.retry_after))]
    AnnounceTooSoon {
        /// How long to wait.
        retry_after: Duration,
    },
}

impl Refused {
    /// The code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::PeerIdTaken => "PEER_ID_TAKEN",
            Self::StaleTicket { .. } => "STALE_TICKET",
            Self::AnnounceTooSoon { .. } => "ANNOUNCE_TOO_SOON",
        }
    }
}

/// A present peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ticket, which is what answers carry.
    pub ticket: VerifiedTicket,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Where it came from.
    pub network: NetworkHash,
}

/// What is remembered of a peer that is not present any more, so that rules 2 and 3 hold for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The peer.
    pub peer_id: PeerId,
    /// The key that held the peerId. Rule 2 binds it alone.
    pub public_key: PublicKey,
    /// `issuedAt` of its newest ticket.
    pub issued_at: UnixMillis,
    /// When its last announce was accepted.
    pub accepted_at: UnixMillis,
    /// When neither rule needs this any more.
    pub forget_at: UnixMillis,
}

/// Order of acceptance. Unlike the clock it never repeats and never goes back.
type Sequence = u64;

/// Everyone present in one community.
///
/// An announce costs O(log n), an answer of m peers O(m · log n), where n is the number of records.
#[derive(Debug)]
pub struct Roster {
    limits: RosterLimits,
    next_sequence: Sequence,
    /// Goes up with every change of what an answer can hold.
    revision: u64,
    /// By sequence, because answers are made of sequences, and numbers are compared faster than names.
    records: BTreeMap<Sequence, Record>,
    sequences: BTreeMap<PeerId, Sequence>,
    by_expiry: BTreeSet<(UnixMillis, Sequence)>,
    networks: BTreeMap<NetworkHash, BTreeSet<Sequence>>,
    /// Networks by their freshest record: where an answer begins.
    by_freshest: BTreeSet<(Sequence, NetworkHash)>,
    /// Networks by size, then by their oldest record: the last one pays for a newcomer.
    by_weight: BTreeSet<(usize, Reverse<Sequence>, NetworkHash)>,
    departed: BTreeMap<PeerId, Departed>,
    departed_by_time: BTreeSet<(UnixMillis, PeerId)>,
}

impl Roster {
    /// An empty roster.
    pub fn new(limits: RosterLimits) -> Self {
        Self {
            limits: RosterLimits { capacity: limits.capacity.max(1), ..limits },
            next_sequence: 0,
            revision: 0,
            records: BTreeMap::new(),
            sequences: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            networks: BTreeMap::new(),
            by_freshest: BTreeSet::new(),
            by_weight: BTreeSet::new(),
            departed: BTreeMap::new(),
            departed_by_time: BTreeSet::new(),
        }
    }

    /// A roster of what [`Roster::records`] and [`Roster::departed`] gave, in the order in which they gave it, less
    /// what has ended by `now`. Records above the capacity go as rule 4 says.
    pub fn restore(
        limits: RosterLimits,
        now: UnixMillis,
        records: impl IntoIterator<Item = Record>,
        departed: impl IntoIterator<Item = Departed>,
    ) -> Self {
        let mut roster = Self::new(limits);
        for record in records {
            roster.remove(record.ticket.peer_id());
            roster.insert(record);
        }
        for departed in departed {
            if !roster.sequences.contains_key(&departed.peer_id) {
                roster.remember(departed);
            }
        }
        roster.expire(now);
        roster.make_room();
        roster
    }

    /// A peer says that it is here.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had expired.
    pub fn announce(
        &mut self,
        now: UnixMillis,
        ticket: VerifiedTicket,
        network: NetworkHash,
    ) -> Result<Announced, Refused> {
        self.expire(now);
        let payload = ticket.payload();
        if payload.expires_at <= now {
            return Err(Refused::Expired);
        }
        let last_accepted = if let Some(record) = self.held_by(&payload.peer_id) {
            if record.ticket.public_key() != ticket.public_key() {
                return Err(Refused::PeerIdTaken);
            }
            if record.ticket == ticket {
                return Ok(Announced::Repeated);
            }
            let newest = record.ticket.payload().issued_at;
            if payload.issued_at <= newest {
                return Err(Refused::StaleTicket { newest });
            }
            Some(record.accepted_at)
        } else if let Some(departed) = self.departed.get(&payload.peer_id) {
            // Whoever has seen a ticket of a peer that left could bring it back by sending it once more.
            if departed.public_key == ticket.public_key() && payload.issued_at <= departed.issued_at {
                return Err(Refused::StaleTicket { newest: departed.issued_at });
            }
            Some(departed.accepted_at)
        } else {
            None
        };
        if let Some(last) = last_accepted
            && let Some(retry_after) = self.wait_after(last, now)
        {
            return Err(Refused::AnnounceTooSoon { retry_after });
        }
        self.remove(&payload.peer_id.clone());
        self.insert(Record { ticket, accepted_at: now, network });
        self.make_room();
        Ok(Announced::Accepted)
    }

    /// A peer says that it goes: `ticket` was issued to leave. Returns whether it was present and its own key said so,
    /// with a live ticket that is newer than the one it is listed with.
    pub fn leave(&mut self, now: UnixMillis, ticket: &VerifiedTicket) -> bool {
        self.expire(now);
        let payload = ticket.payload();
        let Some(record) = self.held_by(&payload.peer_id) else {
            return false;
        };
        let may_leave = record.ticket.public_key() == ticket.public_key()
            && record.ticket.payload().issued_at < payload.issued_at
            && payload.expires_at > now;
        if may_leave {
            self.depart(now, &payload.peer_id, payload.issued_at);
        }
        may_leave
    }

    /// The freshest records, shared out fairly among networks (rule 5): at most `limit`, none that has expired, not
    /// the peer `exclude`; freshest first.
    pub fn fresh(&mut self, now: UnixMillis, limit: usize, exclude: Option<&str>) -> Vec<&Record> {
        self.expire(now);
        let excluded = exclude.and_then(|peer_id| self.sequences.get(peer_id)).copied();
        let mut chosen = self.share_out(limit, excluded).chosen;
        chosen.sort_unstable();
        chosen.iter().rev().filter_map(|sequence| self.records.get(sequence)).collect()
    }

    /// So much of this roster that [`Roster::fresh`] of a roster restored from it gives the same answers, for every
    /// limit up to `limit` and every excluded peer, until something changes here or expires. At most 2 · `limit` + 1
    /// records, oldest first.
    pub fn excerpt(&mut self, now: UnixMillis, limit: usize) -> Vec<&Record> {
        self.expire(now);
        // Where a chosen record is excluded, one that would have been next in its network takes the place.
        let Shares { mut chosen, placed, waiting } = self.share_out(limit, None);
        chosen.extend(placed.iter().filter_map(|turn| self.next_of(turn, None)));
        chosen.extend(waiting.iter().map(|turn| turn.sequence));
        chosen.sort_unstable();
        chosen.iter().filter_map(|sequence| self.records.get(sequence)).collect()
    }

    /// Shares out `limit` places, one to each network in turn.
    fn share_out(&self, limit: usize, excluded: Option<Sequence>) -> Shares {
        let next = |turn: &Turn| Some(Turn { sequence: self.next_of(turn, excluded)?, network: turn.network });
        // One network more than the limit, because the excluded peer may be the only one of its network.
        let networks = self.by_freshest.iter().rev().take(limit.saturating_add(1));
        let mut waiting: Vec<_> = networks
            .map(|(sequence, network)| Turn { sequence: *sequence, network: *network })
            .filter_map(|turn| if Some(turn.sequence) == excluded { next(&turn) } else { Some(turn) })
            .collect();
        let mut chosen = Vec::with_capacity(limit.min(self.records.len()));
        loop {
            // Where the places end within a round, they go to the freshest of it.
            waiting.sort_unstable_by_key(|turn| Reverse(turn.sequence));
            let without_place = waiting.split_off(waiting.len().min(limit - chosen.len()));
            chosen.extend(waiting.iter().map(|turn| turn.sequence));
            if chosen.len() == limit || waiting.is_empty() {
                return Shares { chosen, placed: waiting, waiting: without_place };
            }
            waiting = waiting.iter().filter_map(next).collect();
        }
    }

    /// The record of a turn's network that is next after it, and is not `excluded`.
    fn next_of(&self, turn: &Turn, excluded: Option<Sequence>) -> Option<Sequence> {
        let older = self.networks.get(&turn.network)?.range(..turn.sequence);
        older.rev().copied().find(|sequence| Some(*sequence) != excluded)
    }

    /// Forgets what has ended by `now`. Calling it early, late or twice changes nothing else.
    pub fn expire(&mut self, now: UnixMillis) {
        while let Some((expires_at, sequence)) = self.by_expiry.first().copied()
            && expires_at <= now
        {
            let Some(record) = self.records.get(&sequence) else { break };
            let Payload { peer_id, issued_at, .. } = record.ticket.payload();
            self.depart(now, &peer_id.clone(), *issued_at);
        }
        while let Some((forget_at, peer_id)) = self.departed_by_time.first()
            && *forget_at <= now
        {
            let peer_id = peer_id.clone();
            self.forget(&peer_id);
        }
    }

    /// When [`Roster::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let expiry = self.by_expiry.first().map(|(expires_at, _)| *expires_at);
        let forgetting = self.departed_by_time.first().map(|(forget_at, _)| *forget_at);
        expiry.into_iter().chain(forgetting).min()
    }

    /// Peers present, some of which may have expired since the last call that was given the time.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nobody is present or remembered: there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.departed.is_empty()
    }

    /// Whether a peer is listed, or was when the roster last was given the time.
    pub fn holds(&self, peer_id: &str) -> bool {
        self.sequences.contains_key(peer_id)
    }

    /// Goes up with every change of what an answer can hold.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Every record, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Every remembered departure.
    pub fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.departed.values()
    }

    fn held_by(&self, peer_id: &PeerId) -> Option<&Record> {
        self.records.get(self.sequences.get(peer_id)?)
    }

    /// What is left at `now` of the interval that began at `last`. None, if the clock has since jumped back before it.
    fn wait_after(&self, last: UnixMillis, now: UnixMillis) -> Option<Duration> {
        let elapsed = now.since(last);
        (now >= last && elapsed < self.limits.announce_interval).then(|| self.limits.announce_interval - elapsed)
    }

    fn insert(&mut self, record: Record) {
        let peer_id = record.ticket.peer_id().clone();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.revision += 1;
        self.forget(&peer_id);
        self.by_expiry.insert((record.ticket.payload().expires_at, sequence));
        self.change_network(record.network, |records| records.insert(sequence));
        self.sequences.insert(peer_id, sequence);
        self.records.insert(sequence, record);
    }

    /// Rule 4. Among networks of equal size the one with the oldest record pays, so the newcomer itself never does.
    fn make_room(&mut self) {
        while self.records.len() > self.limits.capacity
            && let Some((_, Reverse(oldest), _)) = self.by_weight.last()
            && let Some(record) = self.records.get(oldest)
        {
            self.remove(&record.ticket.peer_id().clone());
        }
    }

    fn remove(&mut self, peer_id: &PeerId) -> Option<Record> {
        let sequence = self.sequences.remove(peer_id)?;
        let record = self.records.remove(&sequence)?;
        self.revision += 1;
        self.by_expiry.remove(&(record.ticket.payload().expires_at, sequence));
        self.change_network(record.network, |records| records.remove(&sequence));
        Some(record)
    }

    /// Changes one network's records and keeps both orders of networks in step.
    fn change_network(&mut self, network: NetworkHash, change: impl FnOnce(&mut BTreeSet<Sequence>) -> bool) {
        let records = self.networks.entry(network).or_default();
        if let (Some(oldest), Some(freshest)) = (records.first(), records.last()) {
            self.by_weight.remove(&(records.len(), Reverse(*oldest), network));
            self.by_freshest.remove(&(*freshest, network));
        }
        change(records);
        if let (Some(oldest), Some(freshest)) = (records.first(), records.last()) {
            self.by_weight.insert((records.len(), Reverse(*oldest), network));
            self.by_freshest.insert((*freshest, network));
        } else {
            self.networks.remove(&network);
        }
    }

    /// Takes a peer off the list, and remembers it for as long as an older ticket of its key can be good (rule 2: one
    /// that ends early must not make room for the one before it) and the interval lasts (rule 3).
    fn depart(&mut self, now: UnixMillis, peer_id: &PeerId, issued_at: UnixMillis) {
        let Some(Record { ticket, accepted_at, .. }) = self.remove(peer_id) else { return };
        let older_tickets_end = issued_at.after(self.limits.ticket_max_lifetime);
        let forget_at = older_tickets_end.max(accepted_at.after(self.limits.announce_interval));
        if forget_at > now {
            let public_key = ticket.public_key();
            self.remember(Departed { peer_id: peer_id.clone(), public_key, issued_at, accepted_at, forget_at });
        }
    }

    fn remember(&mut self, departed: Departed) {
        self.forget(&departed.peer_id);
        self.departed_by_time.insert((departed.forget_at, departed.peer_id.clone()));
        self.departed.insert(departed.peer_id.clone(), departed);
        if self.departed.len() > self.limits.capacity
            && let Some((_, peer_id)) = self.departed_by_time.first().cloned()
        {
            self.forget(&peer_id);
        }
    }

    fn forget(&mut self, peer_id: &PeerId) {
        if let Some(departed) = self.departed.remove(peer_id) {
            self.departed_by_time.remove(&(departed.forget_at, departed.peer_id));
        }
    }
}

/// A network's turn to place the freshest of its records that has no place yet.
struct Turn {
    sequence: Sequence,
    network: NetworkHash,
}

/// An answer that has been shared out.
struct Shares {
    chosen: Vec<Sequence>,
    /// The turns of the last round that got a place.
    placed: Vec<Turn>,
    /// Those that did not.
    waiting: Vec<Turn>,
}
