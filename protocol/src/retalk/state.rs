//! The mailbox of one user at one relay: prekeys that others claim, and messages that wait.
//!
//! Verified requests come in with the time; a reply goes out, and with [`Mailbox::take_changes`] what is to be written. The
//! host writes all changes of one call together, and answers when they are durable. Nothing is written for a user who has
//! published no keys: asking is free.
//!
//! A message for which there is no room is [`Sent::NotStored`], which is a reply and not a refusal: why, the module says. A
//! nonce belongs to a user and this mailbox. It is written with what its request changes; that of a read that found nothing
//! with whatever is written next, or within a minute, because such reads come every other second. Of a request that changes
//! nothing however often it comes, the nonce is remembered while there is room.

use std::collections::VecDeque;
use std::time::Duration;

use super::limits::{
    CORRESPONDENTS_MAX, CORRESPONDENTS_SHARE, MESSAGE_LASTS, MESSAGES_PER_SENDER, NONCE_WRITTEN_WITHIN, NONCES_MAX,
    NONCES_OF_CORRESPONDENT, READ_REACHES, REFUSED_BODIES_MAX, REFUSED_BODY_LASTS, ROOM, SENDER_SHARE, SITE_SHARE,
    TIMESTAMP_SKEW,
};
use super::refused::Refused;
use super::request::{MessageKind, Prekey, Tool, Verified};
use super::row::{self, Claim, Keys, RefusedBody, Waiting};
use super::user::{Identity, UserId, hex};
use crate::code::Code;
use crate::mailbox::bytes::{Bytes, bytes_of_hex, sha256};
use crate::mailbox::limits::{
    CLAIM_WINDOW, CLAIMS_MAX, CLAIMS_PER_KEY, CLAIMS_PER_SITE, LAPSES_AFTER_DAYS, MESSAGES_MAX, ONE_TIME_KEYS_HELD,
    ONE_TIME_KEYS_SERVED,
};
use crate::mailbox::state::{Change, RestoreError};
use crate::network::HandedOver;
use crate::secret::Secret;
use crate::sorted_map::SortedMap;
use crate::time::{DAY_SECONDS, UnixMillis};

/// Holds what a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Prekeys were taken.
    Published {
        /// How many of the one-time keys are new.
        one_time_keys_added: usize,
        /// Whether there was a fallback among them.
        is_fallback_set: bool,
    },
    /// How many one-time keys are left, and whether there is a fallback.
    Counted {
        /// One-time keys that nobody has claimed.
        unclaimed: usize,
        /// Whether there is a fallback.
        has_fallback: bool,
    },
    /// A peer's keys.
    Keys {
        /// The identity key of Olm.
        identity_key: String,
        /// The key that signs.
        signing_key: String,
    },
    /// A prekey, with its owner's keys.
    Claimed {
        /// The identity key of Olm.
        identity_key: String,
        /// The key that signs.
        signing_key: String,
        /// The prekey.
        prekey: Prekey,
        /// Whether others are served it, too.
        is_fallback: bool,
    },
    /// What became of a message.
    Sent(Sent),
    /// The numbers of the messages that are handed over, the oldest first.
    Read(Vec<u64>),
    /// A body is refused from now on.
    BodyRefused,
}

/// Says what became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It waits.
    Stored {
        /// Its number, which no other message of this mailbox has.
        number: u64,
        /// When it came.
        at: UnixMillis,
    },
    /// The same waits already.
    Duplicate {
        /// The number of that.
        number: u64,
        /// When that came.
        at: UnixMillis,
    },
    /// The recipient has refused this very body.
    BodyRefused {
        /// The body's SHA-256.
        hash: [u8; 32],
        /// The recipient's signature.
        signature: String,
    },
    /// It does not wait. Its sender's outbox brings it again.
    NotStored(NotStored),
}

/// Says why a message does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The recipient has published nothing here.
    MailboxUnknown,
    /// The recipient's mailbox has no room for this sender's site, for strangers, or for anybody.
    MailboxFull,
    /// The recipient has as much of this sender as one may leave.
    SenderLimit,
    /// The sender's network, or everybody together, sends too fast.
    Throttled,
    /// The relay could not write it.
    Failed,
}

impl NotStored {
    /// Returns the code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MailboxUnknown => Code::MailboxUnknown.as_str(),
            Self::MailboxFull => Code::MailboxFull.as_str(),
            Self::SenderLimit => Code::UnacknowledgedLimit.as_str(),
            Self::Throttled => Code::Throttled.as_str(),
            Self::Failed => Code::Internal.as_str(),
        }
    }
}

type NonceKey = (UserId, Bytes<16>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonce {
    /// Its request is good until then.
    until: UnixMillis,
    keeping: Keeping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// In memory alone: the request changes nothing.
    Memory,
    /// To be written with whatever is written next.
    Pending,
    /// Written.
    Stored,
}

/// Holds the mailbox of one user.
#[derive(Debug)]
pub struct Mailbox {
    owner: UserId,
    secret: Secret,
    /// Absent while nothing was published: then there is nothing else either.
    keys: Option<Keys>,
    claims: VecDeque<Claim>,
    /// When the owner last published or read, to the day.
    read_on: UnixMillis,
    messages: SortedMap<u64, Waiting>,
    refused: SortedMap<[u8; 32], RefusedBody>,
    /// To whom the owner has written, since when.
    correspondents: SortedMap<UserId, UnixMillis>,
    nonces: SortedMap<NonceKey, Nonce>,
    /// The earliest and the latest end of all nonces, or before and after these. Absent where there are none.
    nonces_end: Option<(UnixMillis, UnixMillis)>,
    /// Nonces that wait to be written, and may have ended.
    pending: Vec<NonceKey>,
    /// Since when they wait.
    pending_since: Option<UnixMillis>,
    /// How long they wait at most.
    written_within: Duration,
    /// The rows of stored nonces: the name of each, and when the last of its nonces ends.
    nonce_rows: Vec<(String, UnixMillis)>,
    /// How many rows have had a number for a name, or more.
    nonce_row_number: u64,
    /// Rows of which no nonce counts any more.
    outdated: Vec<String>,
    last_number: u64,
    changes: Vec<Change>,
}

impl Mailbox {
    /// Makes the mailbox of what was written, in any order. `secret` is what networks are hashed under.
    ///
    /// # Errors
    /// [`RestoreError`] names what cannot be read. Never is a mailbox made of the rest.
    pub fn restore(
        owner: UserId,
        secret: Secret,
        rows: impl IntoIterator<Item = (String, String)>,
        messages: impl IntoIterator<Item = (u64, String)>,
    ) -> Result<Self, RestoreError> {
        let mut mailbox = Self {
            owner,
            secret,
            keys: None,
            claims: VecDeque::new(),
            read_on: UnixMillis::saturating(0),
            messages: SortedMap::new(),
            refused: SortedMap::new(),
            correspondents: SortedMap::new(),
            nonces: SortedMap::new(),
            nonces_end: None,
            pending: Vec::new(),
            pending_since: None,
            written_within: NONCE_WRITTEN_WITHIN,
            nonce_rows: Vec::new(),
            nonce_row_number: 0,
            outdated: Vec::new(),
            last_number: 0,
            changes: Vec::new(),
        };
        let mut has_rows = false;
        for (name, row) in rows {
            has_rows = true;
            if mailbox.read_row(&name, &row).is_none() {
                return Err(RestoreError::Row { name, reason: "not what is written there".to_owned() });
            }
        }
        for (number, row) in messages {
            let waiting = Waiting::parse(&row);
            let reason = || "not what is written there".to_owned();
            let waiting = waiting.ok_or_else(|| RestoreError::Message { number, reason: reason() })?;
            mailbox.messages.insert(number, waiting);
        }
        if mailbox.keys.is_none() && (has_rows || !mailbox.messages.is_empty()) {
            return Err(RestoreError::Row { name: row::KEYS.to_owned(), reason: "not there".to_owned() });
        }
        mailbox.last_number = mailbox.messages.keys().last().copied().unwrap_or(0);
        Ok(mailbox)
    }

    fn read_row(&mut self, name: &str, row: &str) -> Option<()> {
        if name == row::KEYS {
            let keys = Keys::parse(row)?;
            let identity = Identity::parse(&keys.identity_key, &keys.signing_key)?;
            self.keys = Some(keys).filter(|_| identity.user_id() == self.owner);
            self.keys.as_ref()?;
        } else if name == row::CLAIMS {
            self.claims = Claim::parse_list(row)?;
        } else if name == row::READ_ON {
            self.read_on = row::parse_time(row)?;
        } else if let Some(nonce) = name.strip_prefix(row::NONCE) {
            let (user, nonce) = row::parse_nonce(nonce)?;
            self.read_nonces(name, [(user, nonce, row::parse_time(row)?)]);
        } else if let Some(number) = name.strip_prefix(row::NONCES) {
            self.nonce_row_number = self.nonce_row_number.max(number.parse().ok()?);
            self.read_nonces(name, row::parse_nonces(row)?);
        } else if let Some(hash) = name.strip_prefix(row::REFUSED) {
            self.refused.insert(bytes_of_hex(hash)?, RefusedBody::parse(row)?);
        } else {
            let user = name.strip_prefix(row::CORRESPONDENT)?.parse().ok()?;
            self.correspondents.insert(user, row::parse_time(row)?);
        }
        Some(())
    }

    fn read_nonces(&mut self, name: &str, nonces: impl IntoIterator<Item = (UserId, Bytes<16>, UnixMillis)>) {
        let mut last = UnixMillis::saturating(0);
        for (user, nonce, until) in nonces {
            last = last.max(until);
            // One that was used again when it had ended may be in two rows.
            let until = self.nonces.get(&(user, nonce)).map_or(until, |known| known.until.max(until));
            self.insert_nonce((user, nonce), Nonce { until, keeping: Keeping::Stored });
        }
        self.nonce_rows.push((name.to_owned(), last));
    }

    /// Lets a nonce of a read that found nothing wait in memory for this time at most, in the place of
    /// [`NONCE_WRITTEN_WITHIN`].
    pub const fn write_nonces_within(&mut self, time: Duration) {
        self.written_within = time;
    }

    /// Returns whether nothing was published, or all of it has ended.
    pub const fn is_absent(&self) -> bool {
        self.keys.is_none()
    }

    /// Returns whether nothing waits to be written.
    pub const fn is_settled(&self) -> bool {
        self.pending_since.is_none()
    }

    /// Returns the secret under which networks are hashed.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Takes what is to be written since this was last called.
    pub fn take_changes(&mut self) -> Vec<Change> {
        if !self.changes.is_empty() {
            self.write_nonces();
        }
        std::mem::take(&mut self.changes)
    }

    /// Returns when something ends, or is to be written at the latest.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.keys.as_ref()?;
        let message = self.messages.values().map(|waiting| waiting.received_at.after(MESSAGE_LASTS)).min();
        let pending = self.pending_since.map(|since| since.after(self.written_within));
        // All at once, when the last is over.
        let nonces = self.nonce_rows.iter().map(|(_, until)| *until).max();
        [message, pending, nonces, Some(self.lapses_at())].into_iter().flatten().min()
    }

    fn lapses_at(&self) -> UnixMillis {
        self.read_on.after(Duration::from_secs(LAPSES_AFTER_DAYS * DAY_SECONDS))
    }

    /// Takes away what has ended, and writes what waits to be written. Early or repeated, nothing happens.
    pub fn expire(&mut self, now: UnixMillis) {
        if self.keys.is_some() && self.lapses_at() <= now {
            // The host erases all that there is of an absent mailbox.
            let (owner, secret, written_within) = (self.owner, self.secret, self.written_within);
            if let Ok(absent) = Self::restore(owner, secret, [], []) {
                *self = Self { written_within, ..absent };
            }
            return;
        }
        self.end_messages(now);
        self.end_nonces(now);
        if self.pending_since.is_some_and(|since| since.after(self.written_within) <= now) || !self.outdated.is_empty()
        {
            self.write_nonces();
        }
    }

    fn end_messages(&mut self, now: UnixMillis) {
        let ended = self.messages.iter().filter(|(_, waiting)| waiting.received_at.after(MESSAGE_LASTS) <= now);
        let ended: Vec<_> = ended.map(|(number, _)| *number).collect();
        for number in ended {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        self.messages.remove(&number);
        self.changes.push(Change::EraseMessage { number });
    }

    fn insert_nonce(&mut self, key: NonceKey, nonce: Nonce) {
        let (first, last) = self.nonces_end.unwrap_or((nonce.until, nonce.until));
        self.nonces_end = Some((first.min(nonce.until), last.max(nonce.until)));
        self.nonces.insert(key, nonce);
    }

    fn end_nonces(&mut self, now: UnixMillis) {
        // One from a clock that was ahead counts no longer than one from now, but so long it does: beside it in its row there may
        // be others that count.
        let latest = now.after(TIMESTAMP_SKEW * 3);
        if self.nonces_end.is_none_or(|(first, last)| now < first && last <= latest) {
            return;
        }
        let counts = |until: &mut UnixMillis| {
            *until = latest.min(*until);
            now < *until
        };
        let mut nonces_end = None;
        self.nonces.retain(|_, Nonce { until, .. }| {
            let counts = counts(until);
            if counts {
                let (first, last) = nonces_end.unwrap_or((*until, *until));
                nonces_end = Some((first.min(*until), last.max(*until)));
            }
            counts
        });
        self.nonces_end = nonces_end;
        let outdated = &mut self.outdated;
        self.nonce_rows.retain_mut(|(name, until)| {
            let counts = counts(until);
            if !counts {
                outdated.push(std::mem::take(name));
            }
            counts
        });
    }

    fn write_nonces(&mut self) {
        for name in std::mem::take(&mut self.outdated) {
            self.changes.push(Change::Erase { name });
        }
        let mut nonces = Vec::new();
        for key in std::mem::take(&mut self.pending) {
            if let Some(entry) = self.nonces.get_mut(&key).filter(|entry| entry.keeping == Keeping::Pending) {
                entry.keeping = Keeping::Stored;
                nonces.push((key.0, key.1, entry.until));
            }
        }
        self.pending_since = None;
        // In one row, because each is paid for when it is written, and when it is erased.
        let (name, row) = match &*nonces {
            [] => return,
            [(user, nonce, until)] => (row::nonce_name(*user, *nonce), until.to_string()),
            several => {
                self.nonce_row_number += 1;
                (format!("{}{}", row::NONCES, self.nonce_row_number), row::nonces_text(several))
            }
        };
        let last = nonces.iter().fold(UnixMillis::saturating(0), |last, (_, _, until)| last.max(*until));
        self.nonce_rows.push((name.clone(), last));
        self.changes.push(Change::Put { name, row });
    }

    /// Returns whether another nonce of this user can be remembered, where all together may have `most`.
    fn has_place(&self, user: UserId, most: usize) -> bool {
        let of_user = self.nonces.keys().filter(|(of, _)| *of == user).count();
        if user == self.owner {
            return of_user < most;
        }
        of_user < self.kept_for(user) || self.nonces_of_others() < most
    }

    /// Returns how many nonces of a user have places of their own.
    fn kept_for(&self, user: UserId) -> usize {
        if self.correspondents.contains_key(&user) { NONCES_OF_CORRESPONDENT } else { 0 }
    }

    /// Counts the nonces of all but the owner that have no places of their own.
    fn nonces_of_others(&self) -> usize {
        let (mut count, mut last, mut left) = (0, self.owner, 0);
        for (user, _) in self.nonces.keys().filter(|(user, _)| *user != self.owner) {
            if *user != last {
                (last, left) = (*user, self.kept_for(*user));
            }
            match left {
                0 => count += 1,
                _ => left -= 1,
            }
        }
        count
    }

    fn remember(&mut self, now: UnixMillis, key: NonceKey, request: &Verified, keeping: Keeping) {
        // What changes nothing takes no place of what does.
        let is_room = keeping == Keeping::Pending || self.has_place(key.0, NONCES_MAX / 2);
        if self.keys.is_none() || !is_room {
            return;
        }
        // The skew is whole seconds, and so is the timestamp: the second in which it ends is all of it good.
        let until = request.signed_at().after(TIMESTAMP_SKEW).after(Duration::from_secs(1));
        self.insert_nonce(key, Nonce { until, keeping });
        if keeping == Keeping::Pending {
            self.pending.push(key);
            self.pending_since.get_or_insert(now);
        }
    }

    /// Answers a request. `network` is where it comes from.
    ///
    /// # Errors
    /// [`Refused`]; a message never is, but where its very request was served before.
    pub fn handle(&mut self, now: UnixMillis, request: &Verified, network: HandedOver) -> Result<Reply, Refused> {
        self.end_messages(now);
        self.end_nonces(now);
        let nonce = sha256(&[request.nonce().as_bytes()]).first_chunk().copied().unwrap_or_default();
        let key = (request.user(), Bytes(nonce));
        if self.nonces.contains_key(&key) {
            return Err(Refused::Replayed);
        }
        let (reply, keeping) = match request.tool() {
            Tool::PublishKeys { one_time, fallback } => {
                self.check_place(request.user())?;
                (self.publish(now, request.identity(), one_time, fallback.as_ref()), Keeping::Pending)
            }
            Tool::CountKeys => {
                let (unclaimed, has_fallback) =
                    self.keys.as_ref().map_or((0, false), |keys| (keys.one_time.len(), keys.fallback.is_some()));
                (Reply::Counted { unclaimed, has_fallback }, Keeping::Memory)
            }
            Tool::GetKeys { peer } => {
                let keys = self.keys.as_ref().ok_or_else(|| Refused::UnknownPeer { peer: peer.clone() })?;
                let (identity_key, signing_key) = (keys.identity_key.clone(), keys.signing_key.clone());
                (Reply::Keys { identity_key, signing_key }, Keeping::Memory)
            }
            Tool::ClaimKey { peer } => self.claim(now, request.user(), peer, network)?,
            Tool::SendMessage { to: _, kind, body } => {
                let sent = self.send(now, request.user(), *kind, body, network);
                let keeping = if matches!(sent, Sent::Stored { .. }) { Keeping::Pending } else { Keeping::Memory };
                (Reply::Sent(sent), keeping)
            }
            Tool::ReadMessages { peer, keep } => {
                self.check_place(request.user())?;
                let keep = keep.unwrap_or(false);
                let read = self.read(now, request.signed_at(), peer.as_deref(), keep);
                (Reply::Read(read), if keep { Keeping::Memory } else { Keeping::Pending })
            }
            Tool::Nack { hash, signature } => {
                self.check_place(request.user())?;
                self.refuse_body(now, *hash, signature)?;
                (Reply::BodyRefused, Keeping::Pending)
            }
        };
        self.remember(now, key, request, keeping);
        Ok(reply)
    }

    fn check_place(&self, user: UserId) -> Result<(), Refused> {
        if self.has_place(user, NONCES_MAX) { Ok(()) } else { Err(Refused::TooMany) }
    }

    /// Notes that the owner was here.
    fn touch(&mut self, now: UnixMillis) {
        if now.since(self.read_on).as_secs() >= DAY_SECONDS || now < self.read_on {
            self.read_on = now;
            self.changes.push(Change::Put { name: row::READ_ON.to_owned(), row: now.to_string() });
        }
    }

    fn publish(
        &mut self,
        now: UnixMillis,
        identity: &Identity,
        one_time: &[Prekey],
        fallback: Option<&Prekey>,
    ) -> Reply {
        let keys = self.keys.get_or_insert_with(|| Keys {
            identity_key: identity.identity_key().to_owned(),
            signing_key: identity.signing_key().to_owned(),
            fallback: None,
            one_time: VecDeque::new(),
            served: VecDeque::new(),
        });
        let before = keys.one_time.len();
        for prekey in one_time {
            let is_known = keys.served.contains(&beginning(prekey))
                || keys.one_time.iter().any(|held| held.id == prekey.id || held.key == prekey.key);
            if !is_known && keys.one_time.len() < ONE_TIME_KEYS_HELD {
                keys.one_time.push_back(prekey.clone());
            }
        }
        if let Some(fallback) = fallback {
            keys.fallback = Some(fallback.clone());
        }
        let one_time_keys_added = keys.one_time.len().saturating_sub(before);
        let row = keys.to_text();
        self.changes.push(Change::Put { name: row::KEYS.to_owned(), row });
        self.touch(now);
        Reply::Published { one_time_keys_added, is_fallback_set: fallback.is_some() }
    }

    fn claim(
        &mut self,
        now: UnixMillis,
        by: UserId,
        peer: &str,
        network: HandedOver,
    ) -> Result<(Reply, Keeping), Refused> {
        let has_place = self.has_place(by, NONCES_MAX);
        let site = self.site(network);
        let keys = self.keys.as_mut().ok_or_else(|| Refused::UnknownPeer { peer: peer.to_owned() })?;
        // One from a clock that was ahead counts no longer than one from now.
        self.claims.retain(|claim| now < claim.at.after(CLAIM_WINDOW) && claim.at <= now.after(CLAIM_WINDOW));
        let count = |is_it: &dyn Fn(&Claim) -> bool| self.claims.iter().filter(|claim| is_it(claim)).count();
        let is_within_limits = has_place
            && self.claims.len() < CLAIMS_MAX
            && count(&|claim| claim.by == by) < CLAIMS_PER_KEY
            && count(&|claim| claim.site == site) < CLAIMS_PER_SITE;
        let one_time = if is_within_limits { keys.one_time.pop_front() } else { None };
        let (identity_key, signing_key) = (keys.identity_key.clone(), keys.signing_key.clone());
        let Some(prekey) = one_time else {
            let prekey = keys.fallback.clone().ok_or(Refused::NoPrekey)?;
            return Ok((Reply::Claimed { identity_key, signing_key, prekey, is_fallback: true }, Keeping::Memory));
        };
        keys.served.push_back(beginning(&prekey));
        if keys.served.len() > ONE_TIME_KEYS_SERVED {
            keys.served.pop_front();
        }
        let row = keys.to_text();
        self.claims.push_back(Claim { at: now, by, site });
        self.changes.push(Change::Put { name: row::KEYS.to_owned(), row });
        self.changes.push(Change::Put { name: row::CLAIMS.to_owned(), row: Claim::list_text(&self.claims) });
        Ok((Reply::Claimed { identity_key, signing_key, prekey, is_fallback: false }, Keeping::Pending))
    }

    fn site(&self, network: HandedOver) -> Bytes<8> {
        Bytes(network.hashed(&self.secret).site.to_bytes())
    }

    fn send(&mut self, now: UnixMillis, from: UserId, kind: MessageKind, body: &str, network: HandedOver) -> Sent {
        if self.keys.is_none() {
            return Sent::NotStored(NotStored::MailboxUnknown);
        }
        let hash = sha256(&[body.as_bytes()]);
        if let Some(refused) = self.refused.get(&hash).filter(|refused| now < refused.at.after(REFUSED_BODY_LASTS)) {
            return Sent::BodyRefused { hash, signature: refused.signature.clone() };
        }
        let (site, size) = (self.site(network), body.len() as u64);
        let waiting = Waiting { from, kind, received_at: now, body: Bytes(hash), size, site };
        let is_same = |other: &Waiting| (other.from, other.kind, other.body) == (from, kind, waiting.body);
        if let Some((number, other)) = self.messages.iter().find(|(_, other)| is_same(other)) {
            return Sent::Duplicate { number: *number, at: other.received_at };
        }
        if let Some(reason) = self.no_room(&waiting) {
            return Sent::NotStored(reason);
        }
        // The time, so that no number is given twice although none is written.
        let number = now.as_u64().max(self.last_number.saturating_add(1));
        self.last_number = number;
        self.messages.insert(number, waiting);
        self.changes.push(Change::PutMessage { number, row: waiting.to_text() });
        Sent::Stored { number, at: now }
    }

    /// Returns why there is no room for a message.
    fn no_room(&self, new: &Waiting) -> Option<NotStored> {
        let sum = |is_it: &dyn Fn(&Waiting) -> bool| {
            let found = self.messages.values().filter(|waiting| is_it(waiting));
            found.fold((1, new.size), |(count, bytes), waiting| (count + 1, bytes + waiting.size))
        };
        let (of_sender, bytes_of_sender) = sum(&|waiting| waiting.from == new.from);
        if of_sender > MESSAGES_PER_SENDER || bytes_of_sender > ROOM / SENDER_SHARE {
            return Some(NotStored::SenderLimit);
        }
        let (of_site, bytes_of_site) = sum(&|waiting| waiting.site == new.site);
        let (all, bytes) = sum(&|_| true);
        let kept = if self.correspondents.contains_key(&new.from) { 0 } else { 1 };
        let most = MESSAGES_MAX - kept * MESSAGES_MAX / CORRESPONDENTS_SHARE as usize;
        let most_bytes = ROOM - kept as u64 * ROOM / CORRESPONDENTS_SHARE;
        let is_full = of_site > MESSAGES_MAX / SITE_SHARE as usize
            || bytes_of_site > ROOM / SITE_SHARE
            || all > most
            || bytes > most_bytes;
        if is_full {
            return Some(NotStored::MailboxFull);
        }
        (!self.has_place(new.from, NONCES_MAX)).then_some(NotStored::Throttled)
    }

    fn read(&mut self, now: UnixMillis, signed_at: UnixMillis, peer: Option<&str>, keep: bool) -> Vec<u64> {
        if self.keys.is_none() {
            return Vec::new();
        }
        self.touch(now);
        // To the end of the second that was signed.
        let until = signed_at.after(READ_REACHES).after(Duration::from_secs(1));
        let wanted = peer.map(|peer| peer.parse::<UserId>().ok());
        let is_wanted =
            |waiting: &Waiting| waiting.received_at < until && wanted.is_none_or(|wanted| wanted == Some(waiting.from));
        let found = self.messages.iter().filter(|(_, waiting)| is_wanted(waiting));
        let numbers: Vec<_> = found.map(|(number, _)| *number).collect();
        if !keep {
            for number in &numbers {
                self.remove(*number);
            }
        }
        numbers
    }

    fn refuse_body(&mut self, now: UnixMillis, hash: [u8; 32], signature: &str) -> Result<(), Refused> {
        if self.keys.is_none() {
            return Err(Refused::NotPublished);
        }
        let name = |hash: &[u8; 32]| format!("{}{}", row::REFUSED, hex(hash));
        let ended = self.refused.iter().filter(|(_, refused)| refused.at.after(REFUSED_BODY_LASTS) <= now);
        let mut gone: Vec<_> = ended.map(|(hash, _)| *hash).collect();
        if self.refused.len() - gone.len() >= REFUSED_BODIES_MAX && !self.refused.contains_key(&hash) {
            let oldest =
                self.refused.iter().filter(|(hash, _)| !gone.contains(hash)).min_by_key(|(_, refused)| refused.at);
            gone.extend(oldest.map(|(hash, _)| *hash));
        }
        for hash in gone {
            self.refused.remove(&hash);
            self.changes.push(Change::Erase { name: name(&hash) });
        }
        let refused = RefusedBody { at: now, signature: signature.to_owned() };
        self.changes.push(Change::Put { name: name(&hash), row: refused.to_text() });
        self.refused.insert(hash, refused);
        Ok(())
    }

    /// Notes that the owner has written to somebody, for whose answers a part of the room is kept.
    pub fn correspond(&mut self, now: UnixMillis, with: UserId) {
        if self.keys.is_none() || self.correspondents.contains_key(&with) {
            return;
        }
        let name = |user: &UserId| format!("{}{user}", row::CORRESPONDENT);
        if self.correspondents.len() >= CORRESPONDENTS_MAX {
            let oldest = self.correspondents.iter().min_by_key(|(_, since)| **since).map(|(user, _)| *user);
            if let Some(user) = oldest {
                self.correspondents.remove(&user);
                self.changes.push(Change::Erase { name: name(&user) });
            }
        }
        self.changes.push(Change::Put { name: name(&with), row: now.to_string() });
        self.correspondents.insert(with, now);
    }
}

/// Returns what is remembered of a prekey that was served.
fn beginning(prekey: &Prekey) -> Bytes<8> {
    Bytes(sha256(&[prekey.key.as_bytes()]).first_chunk().copied().unwrap_or_default())
}
