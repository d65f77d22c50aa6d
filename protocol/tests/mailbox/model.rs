//! A mailbox that is obviously right: it remembers everything, in sets of numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rendezvous_protocol::mailbox::proof::day_of;
use rendezvous_protocol::time::UnixMillis;

use crate::world::{DAY, Waiting, content, sender};

const LEASE: Duration = Duration::from_secs(60);

/// A message that was taken in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) of: u32,
    pub(crate) sequence: u64,
    pub(crate) variant: u8,
    pub(crate) size: u32,
    pub(crate) received_at: UnixMillis,
    pub(crate) ends_at: UnixMillis,
    pub(crate) waits: bool,
    pub(crate) lease: Option<(u8, UnixMillis)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) contacts: BTreeMap<u32, u8>,
    pub(crate) struck_off: BTreeSet<u32>,
    pub(crate) policy_revision: u64,
    pub(crate) acknowledged: BTreeMap<u32, BTreeSet<u64>>,
    pub(crate) ended: BTreeMap<u32, BTreeSet<u64>>,
    /// In the order in which they came.
    pub(crate) entries: Vec<Entry>,
    /// Days on which somebody collected.
    pub(crate) days: BTreeSet<u64>,
}

impl Model {
    pub(crate) fn expire(&mut self, now: UnixMillis) {
        for entry in self.entries.iter_mut().filter(|entry| entry.waits && entry.ends_at <= now) {
            entry.waits = false;
            if self.contacts.contains_key(&entry.of) {
                self.ended.entry(entry.of).or_default().insert(entry.sequence);
            }
        }
    }

    fn is_in(sets: &BTreeMap<u32, BTreeSet<u64>>, of: u32, sequence: u64) -> bool {
        sets.get(&of).is_some_and(|set| set.contains(&sequence))
    }

    fn is_gone(&self, of: u32, sequence: u64) -> bool {
        Self::is_in(&self.acknowledged, of, sequence) || Self::is_in(&self.ended, of, sequence)
    }

    pub(crate) fn waiting_of(&self, of: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.waits && entry.of == of)
    }

    pub(crate) fn deposit(
        &mut self,
        now: UnixMillis,
        (of, sequence, variant): (u32, u64, u8),
        size: u32,
        life: Duration,
    ) -> &'static str {
        self.expire(now);
        if self.waiting_of(of).any(|entry| (entry.sequence, entry.variant) == (sequence, variant)) {
            return "duplicate";
        }
        if Self::is_in(&self.acknowledged, of, sequence) {
            return "acknowledged";
        }
        if Self::is_in(&self.ended, of, sequence) {
            return "ended";
        }
        let Some(limit) = self.contacts.get(&of).copied() else { return "SLOT_UNKNOWN" };
        let mut open = (1..).filter(|sequence| !self.is_gone(of, *sequence)).take(usize::from(limit));
        let is_open = open.any(|open| open == sequence);
        if is_open && self.waiting_of(of).any(|entry| entry.sequence == sequence) {
            return "SEQUENCE_TAKEN";
        }
        if !is_open || self.waiting_of(of).count() >= usize::from(limit) {
            return "UNACKNOWLEDGED_LIMIT";
        }
        let of_today = |entry: &&Entry| entry.of == of && day_of(entry.received_at) == day_of(now);
        if self.entries.iter().filter(of_today).count() >= 8 * usize::from(limit) {
            return "THROTTLED";
        }
        let room = if self.days.len() >= 3 { 8 << 20 } else { 1 << 20 };
        let bytes = |entries: &mut dyn Iterator<Item = &Entry>| entries.map(|entry| u64::from(entry.size)).sum::<u64>();
        let all = bytes(&mut self.entries.iter().filter(|entry| entry.waits)) + u64::from(size);
        if all > room - 12 * 8_192 || bytes(&mut self.waiting_of(of)) + u64::from(size) > room / 8 {
            return "MAILBOX_FULL";
        }
        let ends_at = now.after(life.min(DAY * 7));
        self.entries.push(Entry { of, sequence, variant, size, received_at: now, ends_at, waits: true, lease: None });
        "accepted"
    }

    pub(crate) fn acknowledge(
        &mut self,
        now: UnixMillis,
        may_read: bool,
        of: u32,
        through: u64,
        missing: &BTreeSet<u64>,
    ) -> &'static str {
        self.expire(now);
        if !may_read {
            return "NOT_A_READER";
        }
        let limit = self.contacts.get(&of).copied();
        if limit.is_some_and(|limit| missing.len() > usize::from(limit)) {
            return "MALFORMED";
        }
        let covered: BTreeSet<_> = (1..=through).filter(|sequence| !missing.contains(sequence)).collect();
        let is_released = |entry: &&mut Entry| entry.of == of && covered.contains(&entry.sequence);
        self.entries.iter_mut().filter(is_released).for_each(|entry| entry.waits = false);
        if limit.is_some() {
            self.acknowledged.entry(of).or_default().extend(covered);
        }
        "ok"
    }

    /// This model with those messages gone that are gone `after` and wait no longer.
    pub(crate) fn released_in_part(mut self, after: &Self, waiting: &[Waiting]) -> Self {
        let kept: BTreeSet<_> = waiting.iter().map(|(.., content)| content).collect();
        for (entry, after) in self.entries.iter_mut().zip(&after.entries) {
            let id = content(entry.of, entry.sequence, entry.variant);
            entry.waits = entry.waits && (after.waits || kept.contains(&id));
        }
        self
    }

    /// Hands over what waits: slots and sequences.
    pub(crate) fn collect(&mut self, now: UnixMillis, collector: u8, limit: usize, max_bytes: u64) -> Vec<(u32, u64)> {
        self.expire(now);
        self.days.insert(day_of(now));
        let mut bytes = 0;
        let mut handed = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.waits) {
            if entry.lease.is_some_and(|(by, until)| by != collector && until > now) {
                continue;
            }
            bytes += u64::from(entry.size);
            if handed.len() == limit || (bytes > max_bytes && !handed.is_empty()) {
                break;
            }
            entry.lease = Some((collector, now.after(LEASE)));
            handed.push((entry.of, entry.sequence));
        }
        handed
    }

    pub(crate) fn put_policy(&mut self, now: UnixMillis, revision: u64, contacts: &BTreeMap<u32, u8>) -> &'static str {
        self.expire(now);
        if revision == self.policy_revision && *contacts == self.contacts {
            return "ok";
        }
        if revision <= self.policy_revision {
            return "STALE_REVISION";
        }
        if contacts.keys().any(|of| self.struck_off.contains(of)) {
            return "SLOT_STRUCK_OFF";
        }
        self.struck_off.extend(self.contacts.keys().filter(|of| !contacts.contains_key(of)));
        (self.policy_revision, self.contacts) = (revision, contacts.clone());
        let struck_off = &self.struck_off;
        self.acknowledged.retain(|of, _| !struck_off.contains(of));
        self.ended.retain(|of, _| !struck_off.contains(of));
        "ok"
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.entries.iter().filter(|entry| entry.waits);
        waiting
            .map(|entry| (sender(entry.of), entry.sequence, content(entry.of, entry.sequence, entry.variant)))
            .collect()
    }

    /// As `Relay::windows`.
    pub(crate) fn windows(&self, most: u64) -> BTreeMap<String, [BTreeSet<u64>; 2]> {
        let sets = |of: u32| {
            let below =
                |keep: &dyn Fn(u64) -> bool| (1..=most).filter(|sequence| keep(*sequence)).collect::<BTreeSet<_>>();
            let acknowledged = below(&|sequence| Self::is_in(&self.acknowledged, of, sequence));
            [acknowledged, below(&|sequence| self.is_gone(of, sequence))]
        };
        let windows = self.contacts.keys().map(|of| (sender(*of).to_string(), sets(*of)));
        windows.filter(|(_, sets)| sets.iter().any(|set| !set.is_empty())).collect()
    }
}
