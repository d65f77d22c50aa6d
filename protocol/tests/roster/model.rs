//! The roster again, as an obviously right program: two lists, searched from end to end.
//!
//! It is written from the rules at the top of `roster.rs`, and shares nothing with the code there but plain data.

use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::roster::{Announced, Departed, Record, Refused, RosterLimits};
use rendezvous_protocol::ticket::VerifiedTicket;
use rendezvous_protocol::time::UnixMillis;

pub(crate) struct Model {
    limits: RosterLimits,
    /// In order of acceptance.
    pub(crate) records: Vec<Record>,
    pub(crate) departed: Vec<Departed>,
}

impl Model {
    pub(crate) fn new(limits: RosterLimits) -> Self {
        Self { limits, records: Vec::new(), departed: Vec::new() }
    }

    pub(crate) fn restore(
        limits: RosterLimits,
        now: UnixMillis,
        records: impl IntoIterator<Item = Record>,
        departed: impl IntoIterator<Item = Departed>,
    ) -> Self {
        let mut model =
            Self { limits, records: records.into_iter().collect(), departed: departed.into_iter().collect() };
        model.expire(now);
        model.evict();
        model
    }

    pub(crate) fn announce(
        &mut self,
        now: UnixMillis,
        ticket: VerifiedTicket,
        network: NetworkHash,
    ) -> Result<Announced, Refused> {
        self.expire(now);
        let (key, issued_at) = (ticket.public_key(), ticket.payload().issued_at);
        if ticket.payload().expires_at <= now {
            return Err(Refused::Expired);
        }
        let held = self.records.iter().find(|record| record.ticket.peer_id() == ticket.peer_id());
        let departed = self.departed.iter().find(|departed| departed.peer_id == *ticket.peer_id());
        if held.is_some_and(|held| held.ticket.public_key() != key) {
            return Err(Refused::PeerIdTaken);
        }
        if held.is_some_and(|held| held.ticket == ticket) {
            return Ok(Announced::Repeated);
        }
        let newest = held
            .map(|held| held.ticket.payload().issued_at)
            .or(departed.filter(|departed| departed.public_key == key).map(|departed| departed.issued_at));
        if let Some(newest) = newest
            && issued_at <= newest
        {
            return Err(Refused::StaleTicket { newest });
        }
        let last = held.map(|held| held.accepted_at).or(departed.map(|departed| departed.accepted_at));
        if let Some(last) = last
            // A clock that has been set back says nothing about how long ago it was.
            && last <= now
            && now.since(last) < self.limits.announce_interval
        {
            return Err(Refused::AnnounceTooSoon { retry_after: self.limits.announce_interval - now.since(last) });
        }
        let peer_id = ticket.peer_id().clone();
        self.records.retain(|record| *record.ticket.peer_id() != peer_id);
        self.departed.retain(|departed| departed.peer_id != peer_id);
        self.records.push(Record { ticket, accepted_at: now, network });
        self.evict();
        Ok(Announced::Accepted)
    }

    pub(crate) fn leave(&mut self, now: UnixMillis, ticket: &VerifiedTicket) -> bool {
        self.expire(now);
        let leaves = |record: &Record| {
            record.ticket.peer_id() == ticket.peer_id()
                && record.ticket.public_key() == ticket.public_key()
                && record.ticket.payload().issued_at < ticket.payload().issued_at
                && now < ticket.payload().expires_at
        };
        let Some(position) = self.records.iter().position(leaves) else { return false };
        let record = self.records.remove(position);
        self.remember(&record, ticket.payload().issued_at);
        self.forget(now);
        true
    }

    pub(crate) fn fresh(&mut self, now: UnixMillis, limit: usize, exclude: Option<&str>) -> Vec<&Record> {
        self.expire(now);
        let mut candidates: Vec<_> = self
            .records
            .iter()
            .enumerate()
            .filter(|(_, record)| exclude != Some(record.ticket.peer_id().as_str()))
            .collect();
        // How many of its own network are fresher: its round in the sharing out.
        let round = |position: usize, network: NetworkHash| {
            candidates.iter().filter(|(other, record)| *other > position && record.network == network).count()
        };
        let mut ranked: Vec<_> = candidates
            .iter()
            .map(|(position, record)| (round(*position, record.network), std::cmp::Reverse(*position)))
            .collect();
        ranked.sort();
        ranked.truncate(limit);
        candidates.retain(|(position, _)| ranked.iter().any(|(_, std::cmp::Reverse(chosen))| chosen == position));
        candidates.into_iter().rev().map(|(_, record)| record).collect()
    }

    pub(crate) fn expire(&mut self, now: UnixMillis) {
        let (ended, live) = std::mem::take(&mut self.records)
            .into_iter()
            .partition::<Vec<_>, _>(|record| record.ticket.payload().expires_at <= now);
        self.records = live;
        for record in ended {
            self.remember(&record, record.ticket.payload().issued_at);
        }
        self.forget(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<UnixMillis> {
        let expiries = self.records.iter().map(|record| record.ticket.payload().expires_at);
        expiries.chain(self.departed.iter().map(|departed| departed.forget_at)).min()
    }

    /// Rule 4: while there are too many, the first of those records whose network has the most.
    fn evict(&mut self) {
        while self.records.len() > self.limits.capacity {
            let size = |network| self.records.iter().filter(|record| record.network == network).count();
            let most = self.records.iter().map(|record| size(record.network)).max();
            let oldest = self.records.iter().position(|record| Some(size(record.network)) == most);
            self.records.remove(oldest.unwrap());
        }
    }

    /// Rules 2 and 3 for a peer that is gone: until its older tickets have all ended, and the interval is over.
    fn remember(&mut self, record: &Record, issued_at: UnixMillis) {
        let forget_at = issued_at
            .after(self.limits.ticket_max_lifetime)
            .max(record.accepted_at.after(self.limits.announce_interval));
        self.departed.push(Departed {
            peer_id: record.ticket.peer_id().clone(),
            public_key: record.ticket.public_key(),
            issued_at,
            accepted_at: record.accepted_at,
            forget_at,
        });
    }

    /// Rule 6: no more departures than records, those that are forgotten last.
    fn forget(&mut self, now: UnixMillis) {
        self.departed.retain(|departed| departed.forget_at > now);
        self.departed.sort_by_key(|departed| (departed.forget_at, departed.peer_id.clone()));
        let excess = self.departed.len().saturating_sub(self.limits.capacity);
        self.departed.drain(..excess);
    }

    /// In the order in which a roster gives them.
    pub(crate) fn departed(&self) -> Vec<Departed> {
        let mut departed = self.departed.clone();
        departed.sort_by_key(|departed| departed.peer_id.clone());
        departed
    }
}
