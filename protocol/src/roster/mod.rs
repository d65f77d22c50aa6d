//! Who is present in one community: a state machine without a clock.
//!
//! Time comes in with every call and deadlines go out through [`Roster::next_deadline`]; an early or repeated
//! [`Roster::expire`] changes nothing, so a host may call it whenever it likes. A clock that jumps ahead ends what the
//! time it shows would have ended, records and memories alike; one that jumps back brings nothing back.
//!
//! The rules are those of the specification, section 4, by number:
//! 1. A record is one key's **claim** to a `peerId`. Several keys may claim one name, and none can keep another from it.
//! 2. `issuedAt` only moves forward for a claim, also after leaving; the very same ticket again changes nothing. A
//!    goodbye is remembered whether or not there is a record.
//! 3. One new ticket for a claim in each interval. A claim that has left may come back once without waiting, with its
//!    tenure.
//! 4. Who brings a ticket is not who made it: a record counts in one household, and moves only to where fewer are.
//! 5. When the roster is full, the largest share pays for a newcomer (`places.rs`).
//! 6. While all fit, an answer is everybody, freshest first; else it is drawn (`draw.rs`).
//! 7. Memory is bounded under any input: departures are shared out as places are.

mod draw;
mod keyed;
mod places;

use std::time::Duration;

pub use draw::Seed;
use draw::draw;
use keyed::Keyed;
use places::{Place, surplus};

use crate::code::Code;
use crate::key::PublicKey;
use crate::limits::{ANNOUNCE_INTERVAL, CLOCK_SKEW, NETWORK_YIELDS_AFTER, ROSTER_CAPACITY, TICKET_MAX_LIFETIME};
use crate::network::NetworkPath;
use crate::secret::Secret;
use crate::ticket::{PeerId, VerifiedTicket};
use crate::time::{UnixMillis, saturating_millis};

/// Holds what an operator may change, and a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterLimits {
    /// Records held, from 1 to 65,535.
    pub capacity: usize,
    /// Shortest time between two new tickets of one claim.
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

/// Says the outcome of an announce that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The ticket is new, and listed.
    Accepted,
    /// The very ticket is listed already: no limit is used up.
    Repeated,
    /// The roster is full, and the newcomer would be the one to go: nothing is changed or remembered.
    NotListed,
}

/// Says why an announce is refused. [`Refused::code`] is the name of each on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The ticket ended between its check and this call.
    #[error("the ticket has expired")]
    Expired,
    /// Not newer than what is held, or than the ticket with which the peer left.
    #[error("issuedAt must be later than {newest}, that of the newest ticket seen of this key for this peerId")]
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
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => Code::Expired.as_str(),
            Self::StaleTicket { .. } => Code::StaleTicket.as_str(),
            Self::AnnounceTooSoon { .. } => Code::AnnounceTooSoon.as_str(),
        }
    }
}

/// Says the outcome of a goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The claim was listed, and is not any more.
    Left,
    /// The claim was not listed; its older tickets will not be.
    Remembered,
    /// The goodbye is over, or older than what is known of the claim: nothing changed.
    Ignored,
}

/// Says where a record or a departure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The network.
    pub path: NetworkPath,
    /// When a ticket of the claim was last brought from there.
    pub brought_at: UnixMillis,
}

/// Holds a present peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The ticket, which is what answers carry.
    pub ticket: VerifiedTicket,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// Since when the claim is present, times of absence after a goodbye counted in.
    pub since: UnixMillis,
    /// Whether the ticket was the one that needed no waiting after a goodbye.
    pub returned: bool,
    /// Where the record counts.
    pub counts: Counts,
}

/// Holds what is remembered of a claim that is not present any more, so that rules 2 and 3 hold for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The name.
    pub peer_id: PeerId,
    /// The key.
    pub public_key: PublicKey,
    /// `issuedAt` of its newest ticket.
    pub issued_at: UnixMillis,
    /// Of one that was listed, what its next record goes on from.
    pub last: Option<Departure>,
    /// Where the departure counts.
    pub counts: Counts,
    /// When no rule needs this any more.
    pub forget_at: UnixMillis,
}

/// Says how a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// When its last ticket was accepted.
    pub accepted_at: UnixMillis,
    /// Since when it was present, if it ended with a goodbye. One that expired begins anew.
    pub since: Option<UnixMillis>,
    /// Whether it may come back without waiting.
    pub may_return: bool,
}

/// Says whom an answer leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excluded<'a> {
    /// Nobody.
    #[default]
    Nobody,
    /// Every claim to a name.
    PeerId(&'a str),
    /// One claim.
    Claim(&'a str, &'a PublicKey),
}

impl Excluded<'_> {
    /// Returns whether the answer leaves out whoever holds this ticket.
    pub fn contains(&self, ticket: &VerifiedTicket) -> bool {
        match *self {
            Self::Nobody => false,
            Self::PeerId(peer_id) => ticket.peer_id().as_str() == peer_id,
            Self::Claim(peer_id, key) => ticket.public_key() == *key && ticket.peer_id().as_str() == peer_id,
        }
    }
}

/// Holds everyone present in one community. The cost of a call is proportional to the number of records.
#[derive(Debug)]
pub struct Roster {
    limits: RosterLimits,
    secret: Secret,
    /// Goes up with every change of what an answer can hold.
    revision: u64,
    /// The longest present first.
    records: Vec<Record>,
    /// The longest remembered first.
    departed: Vec<Departed>,
    /// Nothing ends before this.
    quiet_until: UnixMillis,
    /// The record that had to go for the newcomer of this call.
    displaced: Option<Record>,
}

impl Roster {
    /// Makes an empty roster. Whoever knows the secret can choose its networks so that they win.
    pub fn new(limits: RosterLimits, secret: Secret) -> Self {
        Self {
            limits: RosterLimits { capacity: limits.capacity.clamp(1, keyed::MOST - 1), ..limits },
            secret,
            revision: 0,
            records: Vec::new(),
            departed: Vec::new(),
            quiet_until: UnixMillis::MAX,
            displaced: None,
        }
    }

    /// Makes a roster of what [`Roster::records`] and [`Roster::departed`] gave, in the order in which they gave it,
    /// less what has ended by `now`. Records and departures above the capacity go as rules 5 and 7 say. No time is taken
    /// for later than the end of a ticket can be that is good now: what was written while the clock was ahead is not to
    /// stay for ever.
    pub fn restore(
        limits: RosterLimits,
        secret: Secret,
        now: UnixMillis,
        records: impl IntoIterator<Item = Record>,
        departed: impl IntoIterator<Item = Departed>,
    ) -> Self {
        let mut roster = Self::new(limits, secret);
        let latest = now.after(limits.ticket_max_lifetime).after(CLOCK_SKEW);
        for mut record in records {
            for time in [&mut record.accepted_at, &mut record.since, &mut record.counts.brought_at] {
                *time = latest.min(*time);
            }
            if roster.position(record.ticket.peer_id(), &record.ticket.public_key()).is_none() {
                roster.insert(record);
            }
        }
        for mut departed in departed {
            for time in [&mut departed.issued_at, &mut departed.counts.brought_at, &mut departed.forget_at] {
                *time = latest.min(*time);
            }
            if let Some(last) = &mut departed.last {
                last.accepted_at = latest.min(last.accepted_at);
                last.since = last.since.map(|since| latest.min(since));
            }
            let is_known = roster.position(&departed.peer_id, &departed.public_key).is_some()
                || roster.departed_position(&departed.peer_id, &departed.public_key).is_some();
            if !is_known {
                roster.remember(departed);
            }
        }
        roster.expire(now);
        while roster.records.len() > roster.limits.capacity
            && let Some(position) = roster.surplus_record(now)
        {
            roster.records.remove(position);
        }
        roster.make_room_for_departures(now);
        roster
    }

    /// Returns the same roster with what else is known to have been in it, or gone from it: of two records of a claim the one
    /// with the newer ticket counts, as of two departures, and no record whose claim left later, or whose ticket was
    /// followed by one that has ended (rule 2).
    #[must_use]
    pub fn with_known(self, now: UnixMillis, others: Vec<Record>, others_departed: Vec<Departed>) -> Self {
        let Self { limits, secret, mut records, mut departed, .. } = self;
        let is_of = |ticket: &VerifiedTicket, key: &PublicKey, peer_id: &PeerId| {
            ticket.public_key() == *key && ticket.peer_id() == peer_id
        };
        for other in others_departed {
            records.retain(|Record { ticket, .. }| {
                ticket.payload().issued_at > other.issued_at || !is_of(ticket, &other.public_key, &other.peer_id)
            });
            let is_same = |gone: &&mut Departed| gone.public_key == other.public_key && gone.peer_id == other.peer_id;
            match departed.iter_mut().find(is_same) {
                Some(gone) if gone.issued_at >= other.issued_at => {}
                Some(gone) => *gone = other,
                None => departed.push(other),
            }
        }
        for other in others {
            let (ticket, issued_at) = (&other.ticket, other.ticket.payload().issued_at);
            if departed.iter().any(|gone| gone.issued_at >= issued_at && is_of(ticket, &gone.public_key, &gone.peer_id))
            {
                continue;
            }
            let is_same = |record: &&mut Record| is_of(ticket, &record.ticket.public_key(), record.ticket.peer_id());
            match records.iter_mut().find(is_same) {
                Some(record) if record.ticket.payload().issued_at >= issued_at => {}
                Some(record) => *record = other,
                None => records.push(other),
            }
        }
        Self::restore(limits, secret, now, records, departed)
    }

    /// Takes a ticket by which a peer says that it is here, brought from `path`.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing has changed but what had expired, and where the record counts.
    pub fn announce(
        &mut self,
        now: UnixMillis,
        ticket: VerifiedTicket,
        path: NetworkPath,
    ) -> Result<Announced, Refused> {
        self.expire(now);
        let payload = ticket.payload();
        if payload.expires_at <= now {
            return Err(Refused::Expired);
        }
        if let Some(position) = self.position(&payload.peer_id, &ticket.public_key()) {
            self.renew(now, position, ticket, path)
        } else {
            self.admit(now, ticket, path)
        }
    }

    /// Takes a ticket of a claim that has a record.
    fn renew(
        &mut self,
        now: UnixMillis,
        position: usize,
        ticket: VerifiedTicket,
        path: NetworkPath,
    ) -> Result<Announced, Refused> {
        let too_soon = |last| Self::wait_after(self.limits.announce_interval, last, now);
        let Some(record) = self.records.get(position) else { return Ok(Announced::NotListed) };
        let outcome = if record.ticket == ticket {
            Ok(Announced::Repeated)
        } else if ticket.payload().issued_at <= record.ticket.payload().issued_at {
            return Err(Refused::StaleTicket { newest: record.ticket.payload().issued_at });
        } else if let Some(retry_after) = too_soon(record.accepted_at) {
            Err(Refused::AnnounceTooSoon { retry_after })
        } else {
            Ok(Announced::Accepted)
        };
        // Even one that is refused as too soon, or an owner could not fetch its record back at once.
        let moves = self.moves(now, path, position, self.records.iter().map(|record| &record.counts));
        if let Some(record) = self.records.get_mut(position) {
            record.counts.bring(now, path, moves);
            if outcome == Ok(Announced::Accepted) {
                self.quiet_until = self.quiet_until.min(ticket.payload().expires_at);
                self.revision += 1;
                (record.ticket, record.accepted_at, record.returned) = (ticket, now, false);
            }
        }
        outcome
    }

    /// Takes a ticket of a claim that has no record.
    fn admit(&mut self, now: UnixMillis, ticket: VerifiedTicket, path: NetworkPath) -> Result<Announced, Refused> {
        let departed = self.departed_position(ticket.peer_id(), &ticket.public_key());
        let (mut since, mut returned) = (None, false);
        if let Some(position) = departed
            && let Some(departed) = self.departed.get(position)
        {
            if ticket.payload().issued_at <= departed.issued_at {
                // Whoever has seen a ticket of a peer that left could bring it back by sending it once more.
                return Err(Refused::StaleTicket { newest: departed.issued_at });
            }
            if let Some(last) = departed.last {
                since = last.since;
                if let Some(retry_after) = Self::wait_after(self.limits.announce_interval, last.accepted_at, now) {
                    if !last.may_return {
                        self.bring_departed(now, position, path);
                        return Err(Refused::AnnounceTooSoon { retry_after });
                    }
                    returned = true;
                }
            }
        }
        // After a clock that jumped back, whoever is here is still here longer than a newcomer.
        let newest = self.records.last().map_or(now, |record| record.since.max(now));
        let (since, counts) = (since.unwrap_or(newest), Counts { path, brought_at: now });
        let position = self.insert(Record { ticket, accepted_at: now, since, returned, counts });
        if self.records.len() > self.limits.capacity {
            let surplus = self.surplus_record(now).unwrap_or(position);
            let displaced = self.records.remove(surplus);
            if surplus == position {
                return Ok(Announced::NotListed);
            }
            self.displaced = Some(displaced);
        }
        self.revision += 1;
        if let Some(position) = departed {
            self.departed.remove(position);
        }
        Ok(Announced::Accepted)
    }

    /// Returns the record that had to go for a newcomer in the last call, if that was an announce.
    pub const fn take_displaced(&mut self) -> Option<Record> {
        self.displaced.take()
    }

    /// Takes a ticket that was issued to leave, brought from `path`.
    pub fn leave(&mut self, now: UnixMillis, ticket: &VerifiedTicket, path: NetworkPath) -> Left {
        self.expire(now);
        let payload = ticket.payload();
        let (peer_id, public_key, issued_at) = (&payload.peer_id, ticket.public_key(), payload.issued_at);
        if payload.expires_at <= now {
            return Left::Ignored;
        }
        if let Some(position) = self.position(peer_id, &public_key) {
            let is_newer = |record: &Record| record.ticket.payload().issued_at < issued_at;
            if !self.records.get(position).is_some_and(is_newer) {
                return Left::Ignored;
            }
            self.depart(now, position, Some(issued_at));
            return Left::Left;
        }
        let forget_at = issued_at.after(self.limits.ticket_max_lifetime);
        if let Some(position) = self.departed_position(peer_id, &public_key) {
            let newest = self.departed.get(position).map(|departed| departed.issued_at);
            if newest.is_some_and(|newest| issued_at >= newest) {
                self.bring_departed(now, position, path);
            }
            if newest.is_some_and(|newest| issued_at > newest)
                && let Some(departed) = self.departed.get_mut(position)
            {
                departed.issued_at = issued_at;
                departed.forget_at = departed.forget_at.max(forget_at);
                return Left::Remembered;
            }
            return Left::Ignored;
        }
        let (peer_id, counts) = (peer_id.clone(), Counts { path, brought_at: now });
        self.remember(Departed { peer_id, public_key, issued_at, last: None, counts, forget_at });
        self.make_room_for_departures(now);
        Left::Remembered
    }

    /// Returns at most `limit` records, none that has expired and none of those `excluded`. While all fit, the one that
    /// was accepted last comes first; else they are drawn.
    pub fn answer(&mut self, now: UnixMillis, limit: usize, excluded: Excluded<'_>, seed: Seed) -> Vec<&Record> {
        self.expire(now);
        let records: Vec<_> = self.records.iter().filter(|record| !excluded.contains(&record.ticket)).collect();
        choose(&records, limit, seed, |record| record.counts.path, |record| record.accepted_at)
    }

    /// Returns the seed of the answer that `claim` gets now, or of the one for everybody.
    pub fn seed(&self, now: UnixMillis, claim: Option<&VerifiedTicket>) -> Seed {
        let claim = claim.map(|ticket| (ticket.public_key(), ticket.peer_id()));
        let caller = claim.as_ref().map(|(key, peer_id)| (key.as_bytes(), peer_id.as_str()));
        Seed::new(&self.secret, now, caller)
    }

    /// Forgets what has ended by `now`. Calling it early, late or twice changes nothing else.
    pub fn expire(&mut self, now: UnixMillis) {
        self.displaced = None;
        if now < self.quiet_until {
            return;
        }
        while let Some(position) = self.records.iter().position(|record| record.ticket.payload().expires_at <= now) {
            self.depart(now, position, None);
        }
        self.departed.retain(|departed| departed.forget_at > now);
        self.quiet_until = self.next_deadline().unwrap_or(UnixMillis::MAX);
    }

    /// Returns when [`Roster::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let expiries = self.records.iter().map(|record| record.ticket.payload().expires_at);
        expiries.chain(self.departed.iter().map(|departed| departed.forget_at)).min()
    }

    /// Returns the number of peers present, some of which may have expired since the last call that was given the time.
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether nobody is present or remembered: there is nothing to keep.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty() && self.departed.is_empty()
    }

    /// Returns whether all that is present or remembered counts in one site: nobody can find anybody from elsewhere.
    pub fn is_of_one_site(&self) -> bool {
        let records = self.records.iter().map(|record| &record.counts);
        let mut sites = records.chain(self.departed.iter().map(|departed| &departed.counts)).map(|at| at.path.site);
        let first = sites.next();
        sites.all(|site| Some(site) == first)
    }

    /// Returns whether this claim is listed, or was when the roster last was given the time.
    pub fn holds(&self, peer_id: &PeerId, public_key: &PublicKey) -> bool {
        self.position(peer_id, public_key).is_some()
    }

    /// Returns the record of this claim, if it is listed.
    pub fn record(&self, peer_id: &PeerId, public_key: &PublicKey) -> Option<&Record> {
        self.records.get(self.position(peer_id, public_key)?)
    }

    /// Returns what is remembered of this claim, if it is not listed any more.
    pub fn departure(&self, peer_id: &PeerId, public_key: &PublicKey) -> Option<&Departed> {
        self.departed.get(self.departed_position(peer_id, public_key)?)
    }

    /// Returns a number that goes up with every change of what an answer can hold.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the secret, for the storage of the object that made it.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns every record, the longest present first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Returns every remembered departure, the longest remembered first.
    pub fn departed(&self) -> impl Iterator<Item = &Departed> {
        self.departed.iter()
    }

    fn position(&self, peer_id: &PeerId, public_key: &PublicKey) -> Option<usize> {
        self.records
            .iter()
            .position(|Record { ticket, .. }| ticket.public_key() == *public_key && ticket.peer_id() == peer_id)
    }

    fn departed_position(&self, peer_id: &PeerId, public_key: &PublicKey) -> Option<usize> {
        self.departed.iter().position(|departed| departed.public_key == *public_key && departed.peer_id == *peer_id)
    }

    /// Returns what is left at `now` of the interval that began at `last`: nothing, if the clock has since jumped back
    /// before it.
    fn wait_after(interval: Duration, last: UnixMillis, now: UnixMillis) -> Option<Duration> {
        let elapsed = now.since(last);
        (now >= last && elapsed < interval).then(|| interval - elapsed)
    }

    fn places<'a>(&self, counts: impl Iterator<Item = &'a Counts>) -> Vec<Place> {
        counts.map(|counts| self.place(counts.path)).collect()
    }

    fn place(&self, path: NetworkPath) -> Place {
        Place::new(path, self.limits.capacity)
    }

    /// Returns the position of the one that has to go of these, the longest held first (rule 5).
    fn surplus<'a>(&self, now: UnixMillis, counts: impl Iterator<Item = &'a Counts>) -> Option<usize> {
        surplus(&self.places(counts), self.limits.capacity, now, &self.secret)
    }

    fn surplus_record(&self, now: UnixMillis) -> Option<usize> {
        self.surplus(now, self.records.iter().map(|record| &record.counts))
    }

    /// Returns whether what is at `position` of these, the longest held first, counts from now on where a ticket of it
    /// was brought from (rule 4).
    fn moves<'a>(
        &self,
        now: UnixMillis,
        from: NetworkPath,
        position: usize,
        counts: impl Iterator<Item = &'a Counts> + Clone,
    ) -> bool {
        let Some(here) = counts.clone().nth(position) else { return false };
        if from == here.path {
            return false;
        }
        if now.since(here.brought_at) >= NETWORK_YIELDS_AFTER {
            return true;
        }
        let (here, places) = (self.place(here.path), self.places(counts));
        let (before, after) = places.split_at(position.min(places.len()));
        // Whoever is first in its share has the place there that goes last. It moves to no share that is another's.
        let from = self.place(from);
        let is_first_in = |share| before.iter().all(|other| other.share != share);
        let others = || before.iter().chain(after.iter().skip(1));
        (!is_first_in(here.share) || is_first_in(from.share)) && here.is_more_crowded_than(&from, others)
    }

    fn bring_departed(&mut self, now: UnixMillis, position: usize, from: NetworkPath) {
        let moves = self.moves(now, from, position, self.departed.iter().map(|departed| &departed.counts));
        if let Some(departed) = self.departed.get_mut(position) {
            departed.counts.bring(now, from, moves);
        }
    }

    /// Puts a record where its tenure says, and returns its position.
    fn insert(&mut self, record: Record) -> usize {
        let position = self.records.partition_point(|other| other.since <= record.since);
        self.quiet_until = self.quiet_until.min(record.ticket.payload().expires_at);
        self.records.insert(position, record);
        position
    }

    /// Takes a record off the list, and remembers it for as long as an older ticket of its key can be good (rule 2: one
    /// that ends early must not make room for the one before it) and the interval lasts (rule 3). `goodbye` is the
    /// `issuedAt` of the ticket by which it left; without one it has expired.
    fn depart(&mut self, now: UnixMillis, position: usize, goodbye: Option<UnixMillis>) {
        self.revision += 1;
        let Record { ticket, accepted_at, since, returned, counts } = self.records.remove(position);
        let issued_at = goodbye.unwrap_or(ticket.payload().issued_at);
        let older_tickets_end = issued_at.after(self.limits.ticket_max_lifetime);
        let forget_at = older_tickets_end.max(accepted_at.after(self.limits.announce_interval));
        if forget_at <= now {
            return;
        }
        let (peer_id, public_key) = (ticket.peer_id().clone(), ticket.public_key());
        let (since, may_return) = (goodbye.map(|_| since), goodbye.is_some() && !returned);
        let last = Some(Departure { accepted_at, since, may_return });
        self.remember(Departed { peer_id, public_key, issued_at, last, counts, forget_at });
        self.make_room_for_departures(now);
    }

    fn remember(&mut self, departed: Departed) {
        self.quiet_until = self.quiet_until.min(departed.forget_at);
        self.departed.push(departed);
    }

    /// Forgets departures until they fit (rule 7). Goodbyes of claims that were not listed go first, or whoever sends
    /// many in advance would make room for the old tickets of those who were.
    fn make_room_for_departures(&mut self, now: UnixMillis) {
        while self.departed.len() > self.limits.capacity {
            let unlisted = self.departed.iter().enumerate().filter(|(_, departed)| departed.last.is_none());
            let (positions, counts): (Vec<_>, Vec<_>) =
                unlisted.map(|(position, departed)| (position, &departed.counts)).unzip();
            let of_unlisted = self.surplus(now, counts.into_iter()).and_then(|surplus| positions.get(surplus).copied());
            let of_all = || self.surplus(now, self.departed.iter().map(|departed| &departed.counts));
            let Some(position) = of_unlisted.or_else(of_all) else { return };
            self.departed.remove(position);
        }
    }
}

/// Returns the position of the one that has to go of what counts at these paths, the longest held first (rule 5).
pub fn surplus_of(
    paths: impl IntoIterator<Item = NetworkPath>,
    capacity: usize,
    now: UnixMillis,
    secret: &Secret,
) -> Option<usize> {
    let places: Vec<_> = paths.into_iter().map(|path| Place::new(path, capacity)).collect();
    surplus(&places, capacity, now, secret)
}

impl Counts {
    /// Notes that a ticket was brought from there, and counts there if it `moves`.
    fn bring(&mut self, now: UnixMillis, from: NetworkPath, moves: bool) {
        if moves || from == self.path {
            *self = Self { path: from, brought_at: now };
        }
    }
}

/// Chooses an answer from all that may be in it, given in the order of how long they are present.
pub(crate) fn choose<T: Copy>(
    records: &[T],
    limit: usize,
    seed: Seed,
    path: impl Fn(T) -> NetworkPath,
    accepted_at: impl Fn(T) -> UnixMillis,
) -> Vec<T> {
    let positions = if records.len() <= limit {
        freshest_first(&records.iter().map(|record| accepted_at(*record)).collect::<Vec<_>>())
    } else {
        let paths: Vec<_> = records.iter().map(|record| path(*record)).collect();
        draw(&paths, limit, seed)
    };
    positions.into_iter().filter_map(|position| records.get(position).copied()).collect()
}

/// Returns the positions of these times, the latest time first; of equal ones the last.
fn freshest_first(times: &[UnixMillis]) -> Vec<usize> {
    let Some(earliest) = times.iter().min() else { return Vec::new() };
    let mut order: Vec<_> = (0..).zip(times).map(|(position, time)| Keyed::after(*earliest, *time, position)).collect();
    order.sort_unstable();
    order.into_iter().rev().map(Keyed::position).collect()
}
