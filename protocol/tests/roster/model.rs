//! The roster again, as an obviously right program: two lists, searched from end to end.
//!
//! It is written from section 4 of the specification, and shares nothing with the code there but plain data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::time::Duration;

use rendezvous_protocol::network::NetworkPath;
use rendezvous_protocol::roster::{
    Announced, Counts, Departed, Departure, Excluded, Left, Record, Refused, RosterLimits,
};
use rendezvous_protocol::ticket::VerifiedTicket;
use rendezvous_protocol::time::UnixMillis;
use siphasher::sip::SipHasher24;

const THREE_MINUTES: Duration = Duration::from_secs(180);
const FIFTEEN_SECONDS: Duration = Duration::from_secs(15);
const EPOCH_MILLIS: u64 = 600_000;

pub(crate) struct Model {
    limits: RosterLimits,
    secret: [u8; 16],
    /// The longest present first.
    pub(crate) records: Vec<Record>,
    /// The longest remembered first.
    pub(crate) departed: Vec<Departed>,
}

/// How long a provider's turn, a site's and a record's are numbered in one answer.
struct Draw(u64);

impl Draw {
    fn number(&self, purpose: u64, value: u64) -> u64 {
        mix(self.0 ^ value.wrapping_add(purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

pub(crate) fn quarter(places: usize) -> usize {
    (places / 4).max(1)
}

/// SplitMix64, as the specification has it.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn below(bound: u64, mixed: u64) -> u64 {
    ((mixed >> 32) * bound) >> 32
}

/// What counts of the name of a share, site or household.
fn key(mixed: u64) -> u64 {
    mixed & !0xFFFF
}

fn number(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}

impl Model {
    pub(crate) fn new(limits: RosterLimits, secret: [u8; 16]) -> Self {
        Self { limits, secret, records: Vec::new(), departed: Vec::new() }
    }

    pub(crate) fn restore(
        limits: RosterLimits,
        secret: [u8; 16],
        now: UnixMillis,
        records: impl IntoIterator<Item = Record>,
        departed: impl IntoIterator<Item = Departed>,
    ) -> Self {
        let latest = now.after(limits.ticket_max_lifetime).after(FIFTEEN_SECONDS);
        let mut model = Self::new(limits, secret);
        for mut record in records {
            record.accepted_at = record.accepted_at.min(latest);
            record.since = record.since.min(latest);
            record.counts.brought_at = record.counts.brought_at.min(latest);
            model.records.push(record);
        }
        for mut departed in departed {
            departed.issued_at = departed.issued_at.min(latest);
            departed.counts.brought_at = departed.counts.brought_at.min(latest);
            departed.forget_at = departed.forget_at.min(latest);
            departed.last = departed.last.map(|last| Departure {
                accepted_at: last.accepted_at.min(latest),
                since: last.since.map(|since| since.min(latest)),
                ..last
            });
            model.departed.push(departed);
        }
        model.expire(now);
        while model.records.len() > limits.capacity {
            let pays = model.pays(now, &paths(model.records.iter().map(|record| &record.counts)));
            model.records.remove(pays.unwrap());
        }
        model.make_room_for_departures(now);
        model
    }

    fn hash(&self, purpose: u8, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&[purpose]);
        parts.iter().for_each(|part| hasher.write(part));
        hasher.finish()
    }

    /// The share of a path.
    pub(crate) fn share(&self, path: &NetworkPath) -> u64 {
        let folded = below(quarter(self.limits.capacity) as u64, mix(number(path.site.to_bytes())));
        key(mix(number(path.provider.to_bytes()).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(folded)))
    }

    /// Share, site in it, household in that.
    fn levels(&self, path: &NetworkPath) -> [u64; 3] {
        let name = |bytes| key(mix(number(bytes)));
        [self.share(path), name(path.site.to_bytes()), name(path.household.to_bytes())]
    }

    /// The positions that never pay.
    pub(crate) fn safe(&self, paths: &[NetworkPath]) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let first_of_share = (0..paths.len()).filter(|position| seen.insert(self.share(&paths[*position])));
        first_of_share.take(quarter(self.limits.capacity)).collect()
    }

    /// Rule 5: who of too many goes.
    fn pays(&self, now: UnixMillis, paths: &[NetworkPath]) -> Option<usize> {
        let mut safe = self.safe(paths);
        let mut left: Vec<usize> = (0..paths.len()).collect();
        for level in 0..3 {
            let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for position in left {
                groups.entry(self.levels(&paths[position])[level]).or_default().push(position);
            }
            groups.retain(|_, members| members.iter().any(|position| !safe.contains(position)));
            let rank = |key: u64, member: usize| {
                let provider = number(paths[member].provider.to_bytes());
                let epoch = (now.as_u64() + below(EPOCH_MILLIS, mix(provider))) / EPOCH_MILLIS;
                mix(self.hash(2, &[&epoch.to_be_bytes()]) ^ key)
            };
            left = groups
                .into_iter()
                .max_by_key(|(key, members)| (members.len(), rank(*key, members[0])))
                .map(|(_, members)| members)?;
            if level == 0 && left.len() > 1 {
                // The first of a share goes only where it is alone.
                safe.insert(left[0]);
            }
        }
        left.into_iter().rfind(|position| !safe.contains(position))
    }

    /// Rule 4: where something counts after a ticket of it was brought from `from`.
    fn brought(
        &self,
        now: UnixMillis,
        from: NetworkPath,
        here: Counts,
        before: &[NetworkPath],
        after: &[NetworkPath],
    ) -> Counts {
        let there = Counts { path: from, brought_at: now };
        if from == here.path || now.since(here.brought_at) >= THREE_MINUTES {
            return there;
        }
        let is_first_in = |share| before.iter().all(|other| self.share(other) != share);
        if is_first_in(self.share(&here.path)) && !is_first_in(self.share(&from)) {
            return here;
        }
        let (from, at) = (self.levels(&from), self.levels(&here.path));
        // At the first level at which they differ.
        let level = (0..3).find(|level| from[*level] != at[*level]).unwrap_or(2);
        let count = |of: [u64; 3]| {
            before.iter().chain(after).filter(|other| self.levels(other)[..=level] == of[..=level]).count()
        };
        if count(from) < count(at) { there } else { here }
    }

    fn bring_record(&mut self, now: UnixMillis, position: usize, from: NetworkPath) {
        let paths = paths(self.records.iter().map(|record| &record.counts));
        let (before, after) = (&paths[..position], &paths[position + 1..]);
        self.records[position].counts = self.brought(now, from, self.records[position].counts, before, after);
    }

    fn bring_departed(&mut self, now: UnixMillis, position: usize, from: NetworkPath) {
        let paths = paths(self.departed.iter().map(|departed| &departed.counts));
        let (before, after) = (&paths[..position], &paths[position + 1..]);
        self.departed[position].counts = self.brought(now, from, self.departed[position].counts, before, after);
    }

    fn find_record(&self, ticket: &VerifiedTicket) -> Option<usize> {
        let claim = |of: &VerifiedTicket| (of.peer_id().clone(), of.public_key());
        self.records.iter().position(|record| claim(&record.ticket) == claim(ticket))
    }

    fn find_departed(&self, ticket: &VerifiedTicket) -> Option<usize> {
        let claim = (ticket.peer_id(), ticket.public_key());
        self.departed.iter().position(|departed| (&departed.peer_id, departed.public_key) == claim)
    }

    fn too_soon(&self, last: UnixMillis, now: UnixMillis) -> Option<Refused> {
        // A clock that has been set back says nothing about how long ago it was.
        (last <= now && now.since(last) < self.limits.announce_interval)
            .then(|| Refused::AnnounceTooSoon { retry_after: self.limits.announce_interval - now.since(last) })
    }

    pub(crate) fn announce(
        &mut self,
        now: UnixMillis,
        ticket: VerifiedTicket,
        from: NetworkPath,
    ) -> Result<Announced, Refused> {
        self.expire(now);
        let issued_at = ticket.payload().issued_at;
        if ticket.payload().expires_at <= now {
            return Err(Refused::Expired);
        }
        if let Some(position) = self.find_record(&ticket) {
            let record = &self.records[position];
            let newest = record.ticket.payload().issued_at;
            let too_soon = self.too_soon(record.accepted_at, now);
            if record.ticket == ticket {
                self.bring_record(now, position, from);
                return Ok(Announced::Repeated);
            }
            if issued_at <= newest {
                return Err(Refused::StaleTicket { newest });
            }
            self.bring_record(now, position, from);
            if let Some(too_soon) = too_soon {
                return Err(too_soon);
            }
            let record = &mut self.records[position];
            *record = Record { ticket, accepted_at: now, returned: false, ..record.clone() };
            return Ok(Announced::Accepted);
        }
        let departed = self.find_departed(&ticket);
        let mut returned = false;
        let mut since = self.records.last().map_or(now, |last| last.since.max(now));
        if let Some(position) = departed {
            let Departed { issued_at: newest, last, .. } = self.departed[position].clone();
            if issued_at <= newest {
                return Err(Refused::StaleTicket { newest });
            }
            if let Some(last) = last {
                since = last.since.unwrap_or(since);
                if let Some(too_soon) = self.too_soon(last.accepted_at, now) {
                    if !last.may_return {
                        self.bring_departed(now, position, from);
                        return Err(too_soon);
                    }
                    returned = true;
                }
            }
        }
        let counts = Counts { path: from, brought_at: now };
        let newcomer = Record { ticket, accepted_at: now, since, returned, counts };
        let mut records = self.records.clone();
        let position = records.iter().filter(|record| record.since <= since).count();
        records.insert(position, newcomer);
        if records.len() > self.limits.capacity {
            let pays = self.pays(now, &paths(records.iter().map(|record| &record.counts))).unwrap();
            if pays == position {
                return Ok(Announced::NotListed);
            }
            records.remove(pays);
        }
        self.records = records;
        if let Some(position) = departed {
            self.departed.remove(position);
        }
        Ok(Announced::Accepted)
    }

    pub(crate) fn leave(&mut self, now: UnixMillis, ticket: &VerifiedTicket, from: NetworkPath) -> Left {
        self.expire(now);
        let issued_at = ticket.payload().issued_at;
        if ticket.payload().expires_at <= now {
            return Left::Ignored;
        }
        if let Some(position) = self.find_record(ticket) {
            if issued_at <= self.records[position].ticket.payload().issued_at {
                return Left::Ignored;
            }
            let record = self.records.remove(position);
            let last =
                Departure { accepted_at: record.accepted_at, since: Some(record.since), may_return: !record.returned };
            self.remember(now, &record, issued_at, last);
            return Left::Left;
        }
        let older_tickets_end = issued_at.after(self.limits.ticket_max_lifetime);
        if let Some(position) = self.find_departed(ticket) {
            let newest = self.departed[position].issued_at;
            if issued_at >= newest {
                self.bring_departed(now, position, from);
            }
            if issued_at <= newest {
                return Left::Ignored;
            }
            let departed = &mut self.departed[position];
            departed.issued_at = issued_at;
            departed.forget_at = departed.forget_at.max(older_tickets_end);
            return Left::Remembered;
        }
        self.departed.push(Departed {
            peer_id: ticket.peer_id().clone(),
            public_key: ticket.public_key(),
            issued_at,
            last: None,
            counts: Counts { path: from, brought_at: now },
            forget_at: older_tickets_end,
        });
        self.make_room_for_departures(now);
        Left::Remembered
    }

    pub(crate) fn answer(&mut self, now: UnixMillis, limit: usize, excluded: Excluded<'_>, seed: u64) -> Vec<&Record> {
        self.expire(now);
        let mut all: Vec<&Record> = self.records.iter().filter(|record| !excluded.contains(&record.ticket)).collect();
        if all.len() <= limit {
            all.reverse();
            all.sort_by_key(|record| Reverse(record.accepted_at));
            return all;
        }
        let draw = Draw(seed);
        let site = |record: &Record| number(record.counts.path.site.to_bytes());
        let share = |record: &Record| {
            let folded = below(quarter(limit) as u64, draw.number(2, site(record)));
            let provider = draw.number(1, number(record.counts.path.provider.to_bytes()));
            draw.number(3, provider.wrapping_add(folded))
        };
        // The longest present, one a share.
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        for (position, record) in all.iter().enumerate() {
            if first.len() < quarter(limit) {
                first.entry(share(record)).or_insert(position);
            }
        }
        // What each share would place, in its turns.
        let mut shares: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for of in all.iter().map(|record| share(record)).collect::<BTreeSet<_>>() {
            let longest = first.get(&of).copied();
            let mut sites: BTreeMap<(bool, u64), Vec<usize>> = BTreeMap::new();
            for (position, record) in all.iter().enumerate().filter(|(_, record)| share(record) == of) {
                let is_second = longest.is_some_and(|longest| site(all[longest]) != site(record));
                sites.entry((is_second, draw.number(4, site(record)))).or_default().push(position);
            }
            for members in sites.values_mut() {
                members.sort_by_key(|position| (Some(*position) != longest, draw.number(5, *position as u64)));
            }
            let rounds = sites.values().map(Vec::len).max().unwrap();
            let turns = (0..rounds).flat_map(|round| sites.values().filter_map(move |site| site.get(round)));
            shares.insert(of, turns.copied().collect());
        }
        let mut chosen: Vec<usize> = first.values().copied().collect();
        for round in 0..all.len() {
            for (of, turns) in &shares {
                if let Some(position) = turns.get(round).filter(|_| round > 0 || !first.contains_key(of)) {
                    chosen.push(*position);
                }
            }
        }
        chosen.truncate(limit);
        chosen.sort_by_key(|position| draw.number(6, *position as u64));
        chosen.into_iter().map(|position| all[position]).collect()
    }

    pub(crate) fn expire(&mut self, now: UnixMillis) {
        while let Some(position) = self.records.iter().position(|record| record.ticket.payload().expires_at <= now) {
            let record = self.records.remove(position);
            let last = Departure { accepted_at: record.accepted_at, since: None, may_return: false };
            self.remember(now, &record, record.ticket.payload().issued_at, last);
        }
        self.departed.retain(|departed| departed.forget_at > now);
    }

    pub(crate) fn next_deadline(&self) -> Option<UnixMillis> {
        let expiries = self.records.iter().map(|record| record.ticket.payload().expires_at);
        expiries.chain(self.departed.iter().map(|departed| departed.forget_at)).min()
    }

    /// Rules 2 and 3 for a claim that is gone: until its older tickets have all ended, and the interval is over.
    fn remember(&mut self, now: UnixMillis, record: &Record, issued_at: UnixMillis, last: Departure) {
        let forget_at = issued_at
            .after(self.limits.ticket_max_lifetime)
            .max(record.accepted_at.after(self.limits.announce_interval));
        if forget_at <= now {
            return;
        }
        self.departed.push(Departed {
            peer_id: record.ticket.peer_id().clone(),
            public_key: record.ticket.public_key(),
            issued_at,
            last: Some(last),
            counts: record.counts,
            forget_at,
        });
        self.make_room_for_departures(now);
    }

    /// Rule 7.
    fn make_room_for_departures(&mut self, now: UnixMillis) {
        while self.departed.len() > self.limits.capacity {
            let all: Vec<_> = (0..self.departed.len()).collect();
            let unlisted = all.iter().copied().filter(|position| self.departed[*position].last.is_none()).collect();
            let pays = [unlisted, all].into_iter().find_map(|positions: Vec<usize>| {
                let paths = paths(positions.iter().map(|position| &self.departed[*position].counts));
                self.pays(now, &paths).map(|pays| positions[pays])
            });
            self.departed.remove(pays.unwrap());
        }
    }
}

pub(crate) fn paths<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Vec<NetworkPath> {
    counts.into_iter().map(|counts| counts.path).collect()
}
