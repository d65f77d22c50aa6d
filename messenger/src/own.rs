//! The user's own mailbox: who may write, what has come, and the records that say so. Decides, and does nothing else: files
//! and relays are others' business.

use std::time::Duration;

use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
use rendezvous_protocol::mailbox::invite::InviteError;
use rendezvous_protocol::mailbox::limits::{
    COLLECT_MAX_BYTES, COLLECT_MAX_MESSAGES, CONTACT_LIMIT_MAX, CONTACTS_MAX, DEPOSIT_MAX_LIFETIME, INVITE_LIMIT_MAX,
    INVITES_MAX, READERS_MAX, RECORD_MAX_LIFETIME, REQUESTS_PER_KEY, SEALING_KEY_MAX_LIFETIME, STRUCK_OFF_MAX,
};
use rendezvous_protocol::mailbox::plaintext::Opened;
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Close, Collect, Contact, Deposit, Invite, Policy, RecordError, Requests,
};
use rendezvous_protocol::mailbox::sealed::Suite;
use rendezvous_protocol::mailbox::window::Window;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::name::{Name, NameInvalid};
use crate::seal::{SealError, SealingPrivateKey};
use crate::stored;

/// How long a slot that was struck off is remembered: what waits of it may still be collected.
const FORMER_IS_REMEMBERED: Duration = DEPOSIT_MAX_LIFETIME.saturating_add(Duration::from_secs(DAY_SECONDS));

/// Messages that were shown and are not acknowledged.
const SHOWN_MAX: usize = 512;

/// Messages beyond the windows of their slots that were handed on.
const BEYOND_MAX: usize = 512;

/// Strangers of whom something has come and is still remembered.
const STRANGERS_MAX: usize = 64;

/// Says why the mailbox is not changed.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// Two of one name.
    #[error("{name} is the name of a contact or an invite already: choose another, or remove that one")]
    NameTaken {
        /// The name.
        name: Name,
    },
    /// Nobody of that name.
    #[error("{name} is neither a contact nor an invite of this mailbox: `rendezvous mailbox show` names them all")]
    NameUnknown {
        /// The name.
        name: Name,
    },
    /// More than a record lists.
    #[error("a mailbox has at most {most} {what}: remove one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        most: usize,
    },
    /// A reader that is none.
    #[error("{key} is not a reader of this mailbox")]
    NoReader {
        /// The key.
        key: PublicKey,
    },
    /// Not a limit.
    #[error("the limit of a contact is 1 to 32 messages, and that of an invite 1 to 8")]
    Limit,
    /// The library finds fault with what this program put together.
    #[error("the record cannot be signed: {0}")]
    Record(#[from] RecordError),
    /// A sealing key cannot be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The relays do not fit into an invite.
    #[error("the invite cannot be written: {0}")]
    Invite(#[from] InviteError),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameInvalid),
}

impl Cause for OwnError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Says what a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is", deny_unknown_fields)]
pub enum SlotKind {
    /// Of somebody whom the owner knows.
    Contact,
    /// Given away, until somebody writes over it.
    #[serde(rename_all = "camelCase")]
    Invite {
        /// When it ends.
        expires_at: UnixMillis,
    },
    /// An invite that has ended. What waits of it came in time, and still introduces its sender.
    #[serde(rename_all = "camelCase")]
    EndedInvite {
        /// Until when it is remembered.
        until: UnixMillis,
    },
    /// Struck off. What waits of it is still read.
    #[serde(rename_all = "camelCase")]
    Former {
        /// Until when it is remembered.
        until: UnixMillis,
    },
    /// Of somebody who was neither.
    #[serde(rename_all = "camelCase")]
    Stranger {
        /// Until when it is remembered.
        until: UnixMillis,
    },
}

/// A slot, and what has come over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slot {
    /// The slot key.
    pub key: PublicKey,
    /// What the owner calls whoever writes over it.
    pub name: Option<Name>,
    /// Messages that may wait of it.
    #[serde(deserialize_with = "stored::limit")]
    pub limit: u8,
    /// What it is.
    pub kind: SlotKind,
    /// The owner key of whoever wrote over it first.
    pub from: Option<PublicKey>,
    /// Of an invite: the slot key that was introduced over it.
    introduced: Option<PublicKey>,
    /// What has come.
    received: Window,
    /// The deposit that has come with the highest sequence.
    #[serde(default, deserialize_with = "stored::optional_record::<Deposit, _>")]
    highest: Option<String>,
}

impl Slot {
    fn new(key: PublicKey, name: Option<Name>, limit: u8, kind: SlotKind) -> Self {
        Self { key, name, limit, kind, from: None, introduced: None, received: Window::default(), highest: None }
    }

    fn is_listed(&self) -> bool {
        matches!(self.kind, SlotKind::Contact | SlotKind::Invite { .. })
    }

    /// Returns whether the policy lists it as an invite.
    pub fn is_invite(&self) -> bool {
        matches!(self.kind, SlotKind::Invite { .. })
    }

    /// Returns whether that sequence has come, or was given up.
    pub fn has(&self, sequence: u64) -> bool {
        self.received.gone().contains(sequence)
    }
}

/// How far a relay has come with the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Published {
    relay: String,
    revision: u64,
}

/// A message that was shown, and waits for its owner's word that it may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shown {
    /// The name of its bytes.
    pub content_id: ContentId,
    #[serde(deserialize_with = "stored::record::<Deposit, _>")]
    deposit: String,
    from: Option<PublicKey>,
    introduces: Option<PublicKey>,
}

impl Shown {
    /// Returns whether it could be opened.
    pub const fn is_readable(&self) -> bool {
        self.from.is_some()
    }
}

/// A message that was handed on and cannot be acknowledged yet: what its relay had before it ended there unread, and is
/// still missing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Beyond {
    slot: PublicKey,
    #[serde(deserialize_with = "stored::sequence")]
    sequence: u64,
    issued_at: UnixMillis,
    #[serde(deserialize_with = "stored::record::<Deposit, _>")]
    deposit: String,
}

/// A message as it came from a relay: the deposit is verified, and these are its bytes.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The deposit.
    pub deposit: Verified<Deposit>,
    /// What was inside, if it could be opened.
    pub opened: Option<Opened>,
}

/// The own mailbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnMailbox {
    version: Version,
    /// The origins of the relays that hold it.
    pub relays: Vec<String>,
    /// Keys that may collect and acknowledge beside the owner's.
    pub readers: Vec<PublicKey>,
    /// What is asked of strangers.
    pub requests: Requests,
    /// Keys to which messages are sealed, and those that were until not long ago. The newest first.
    pub sealing: Vec<SealingPrivateKey>,
    /// All slots.
    pub slots: Vec<Slot>,
    /// The revision of card and policy.
    pub revision: u64,
    /// When they begin.
    issued_at: UnixMillis,
    /// When they end.
    pub expires_at: UnixMillis,
    published: Vec<Published>,
    shown: Vec<Shown>,
    #[serde(default)]
    beyond: Vec<Beyond>,
    /// Slot keys that were struck off long ago: a relay refuses every policy that lists one again, so nobody introduces one.
    #[serde(default)]
    struck_off: Vec<PublicKey>,
    /// Whether its owner has closed it: no command but `open` puts its records to relays again.
    #[serde(default)]
    pub is_closed: bool,
    /// By which a relay knows this reader again.
    pub collector: Bytes<16>,
}

/// The version of a file. Another one is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Version;

impl TryFrom<u8> for Version {
    type Error = String;

    fn try_from(version: u8) -> Result<Self, String> {
        if version == 1 { Ok(Self) } else { Err(format!("version {version} is not known, only 1")) }
    }
}

impl From<Version> for u8 {
    fn from(_: Version) -> Self {
        1
    }
}

impl OwnMailbox {
    /// Makes one that no relay has.
    pub fn new(collector: [u8; 16], now: UnixMillis) -> Self {
        Self {
            version: Version,
            relays: Vec::new(),
            readers: Vec::new(),
            requests: Requests { difficulty: 0, open: false },
            sealing: Vec::new(),
            slots: Vec::new(),
            revision: 0,
            issued_at: now,
            expires_at: now,
            published: Vec::new(),
            shown: Vec::new(),
            beyond: Vec::new(),
            struck_off: Vec::new(),
            is_closed: false,
            collector: Bytes(collector),
        }
    }

    /// Begins a new revision of card and policy, after every change that they show. Forgets what is over.
    pub fn revise(&mut self, now: UnixMillis) {
        // The highest number is one that no record may have: a relay refuses it by name.
        self.revision = self.revision.saturating_add(1);
        self.issued_at = now;
        self.expires_at = now.after(RECORD_MAX_LIFETIME);
        for slot in &mut self.slots {
            if matches!(slot.kind, SlotKind::Invite { expires_at } if expires_at <= now) {
                slot.kind = SlotKind::EndedInvite { until: now.after(FORMER_IS_REMEMBERED) };
            }
        }
        self.forget(now);
    }

    /// Goes on after a revision that a relay has: this store is older than what was put from it or from a copy.
    pub fn exceed(&mut self, revision: u64, now: UnixMillis) {
        self.revision = self.revision.max(revision);
        self.revise(now);
    }

    fn forget(&mut self, now: UnixMillis) {
        let is_over = |slot: &&Slot| matches!(slot.kind, SlotKind::Former { until } | SlotKind::EndedInvite { until } if until <= now);
        self.struck_off.extend(self.slots.iter().filter(is_over).map(|slot| slot.key));
        self.struck_off.drain(..self.struck_off.len().saturating_sub(STRUCK_OFF_MAX));
        self.slots.retain(|slot| match slot.kind {
            SlotKind::EndedInvite { until } | SlotKind::Former { until } | SlotKind::Stranger { until } => until > now,
            SlotKind::Contact | SlotKind::Invite { .. } => true,
        });
        // What is sealed to a key may wait until a deposit's life after the key's end.
        self.sealing.retain(|key| key.expires_at.after(FORMER_IS_REMEMBERED) > now);
    }

    /// Returns whether new sealing keys are due: at half the life of those that there are.
    pub fn wants_sealing_keys(&self, now: UnixMillis) -> bool {
        let newest = self.sealing.iter().map(|key| key.expires_at).max();
        newest.is_none_or(|end| end.since(now) < SEALING_KEY_MAX_LIFETIME / 2)
    }

    /// Adds a key of either suite. The old ones are kept for what is on its way, and listed no more.
    pub fn add_sealing_keys(&mut self, xwing: [u8; 32], x25519: [u8; 32], now: UnixMillis) {
        let end = now.after(SEALING_KEY_MAX_LIFETIME);
        let keys = [(Suite::XWing, xwing), (Suite::X25519, x25519)];
        self.sealing.splice(0..0, keys.map(|(suite, key)| SealingPrivateKey::new(suite, key, end)));
    }

    /// Signs the card of this revision.
    pub fn card(&self, owner: &PrivateKey) -> Result<Signed<Card>, OwnError> {
        // The newest pair. One that was made while the clock was ahead is listed for no longer than one from now.
        let mut sealing: Vec<_> =
            self.sealing.iter().take(2).map(SealingPrivateKey::to_card).collect::<Result<_, _>>()?;
        let most = self.issued_at.after(SEALING_KEY_MAX_LIFETIME);
        sealing.iter_mut().for_each(|key| key.expires_at = key.expires_at.min(most));
        let card = Card {
            expires_at: self.expires_at,
            issued_at: self.issued_at,
            mailbox: Address::of(&owner.public_key()),
            readers: self.readers.clone(),
            relays: self.relays.clone(),
            requests: self.requests,
            revision: self.revision,
            sealing,
        };
        Ok(Signed::sign(card, owner)?)
    }

    /// Signs the policy of this revision.
    pub fn policy(&self, owner: &PrivateKey) -> Result<Signed<Policy>, OwnError> {
        let contacts = self.slots.iter().filter(|slot| slot.kind == SlotKind::Contact);
        let invites = self.slots.iter().filter_map(|Slot { key, limit, kind, .. }| match kind {
            SlotKind::Invite { expires_at } => Some(Invite { expires_at: *expires_at, key: *key, limit: *limit }),
            _ => None,
        });
        let policy = Policy {
            contacts: contacts.map(|Slot { key, limit, .. }| Contact { key: *key, limit: *limit }).collect(),
            expires_at: self.expires_at,
            invites: invites.collect(),
            issued_at: self.issued_at,
            mailbox: Address::of(&owner.public_key()),
            revision: self.revision,
        };
        Ok(Signed::sign(policy, owner)?)
    }

    /// Signs that the mailbox ends.
    pub fn close(&self, owner: &PrivateKey) -> Result<Signed<Close>, OwnError> {
        let close = Close { mailbox: Address::of(&owner.public_key()), revision: self.revision.saturating_add(1) };
        Ok(Signed::sign(close, owner)?)
    }

    /// Signs the question of `reader` for what waits at a relay, after so many rounds there of which something was left. A
    /// relay hands that over again before all else to whoever asks under the same name, so each of these rounds has a name of
    /// its own: the same in every run, so that each gets its own again.
    pub fn question(
        &self,
        reader: &PrivateKey,
        mailbox: Address,
        relay: &str,
        left_rounds: u8,
        nonce: [u8; 16],
        now: UnixMillis,
    ) -> Result<Signed<Collect>, OwnError> {
        let mut collector = self.collector;
        let Bytes([first, ..]) = &mut collector;
        *first = first.wrapping_add(left_rounds);
        let question = Collect {
            audience: relay.to_owned(),
            collector,
            issued_at: now,
            limit: COLLECT_MAX_MESSAGES,
            mailbox,
            max_bytes: COLLECT_MAX_BYTES,
            nonce: Bytes(nonce),
        };
        Ok(Signed::sign(question, reader)?)
    }

    /// Returns the relays that do not have this revision yet.
    pub fn lagging(&self) -> Vec<String> {
        let has = |relay: &&String| self.published.iter().any(|it| it.relay == **relay && it.revision == self.revision);
        self.relays.iter().filter(|relay| !has(relay)).cloned().collect()
    }

    /// Returns whether a relay has this revision or an earlier one.
    pub fn is_published_at(&self, relay: &str) -> bool {
        self.published.iter().any(|it| it.relay == relay)
    }

    /// Notes that a relay has none of the records any more.
    pub fn note_lost(&mut self, relay: &str) {
        self.published.retain(|it| it.relay != relay);
    }

    /// Notes that a relay has a revision.
    pub fn note_published(&mut self, relay: &str, revision: u64) {
        self.published.retain(|it| it.relay != relay && self.relays.contains(&it.relay));
        self.published.push(Published { relay: relay.to_owned(), revision });
    }

    /// Returns the contact or the invite of that name.
    pub fn listed(&self, name: &Name) -> Option<&Slot> {
        let of_name = self.slots.iter().filter(|slot| slot.is_listed() && slot.name.as_ref() == Some(name));
        // The contact, where the invite that it came over is still there.
        of_name.min_by_key(|slot| slot.is_invite())
    }

    fn listed_mut(&mut self, name: &Name) -> Result<&mut Slot, OwnError> {
        let of_name = self.slots.iter_mut().filter(|slot| slot.is_listed() && slot.name.as_ref() == Some(name));
        of_name.min_by_key(|slot| slot.is_invite()).ok_or_else(|| OwnError::NameUnknown { name: name.clone() })
    }

    /// Lists an invite.
    pub fn add_invite(
        &mut self,
        name: &Name,
        key: PublicKey,
        limit: u8,
        expires_at: UnixMillis,
    ) -> Result<(), OwnError> {
        if self.listed(name).is_some() {
            return Err(OwnError::NameTaken { name: name.clone() });
        }
        if self.slots.iter().filter(|slot| slot.is_invite()).count() >= INVITES_MAX {
            return Err(OwnError::TooMany { what: "invites", most: INVITES_MAX });
        }
        self.slots.push(Slot::new(key, Some(name.clone()), limit, SlotKind::Invite { expires_at }));
        Ok(())
    }

    /// Lists the slot of somebody who has its key already.
    ///
    /// # Errors
    /// [`OwnError::NameTaken`] and [`OwnError::TooMany`].
    pub fn add_contact(&mut self, name: &Name, key: PublicKey) -> Result<(), OwnError> {
        if self.listed(name).is_some() {
            return Err(OwnError::NameTaken { name: name.clone() });
        }
        if self.slots.iter().filter(|slot| slot.kind == SlotKind::Contact).count() >= CONTACTS_MAX {
            return Err(OwnError::TooMany { what: "contacts", most: CONTACTS_MAX });
        }
        self.slots.push(Slot::new(key, Some(name.clone()), CONTACT_LIMIT_MAX, SlotKind::Contact));
        Ok(())
    }

    /// Changes how many messages of a contact or over an invite may wait.
    pub fn set_limit(&mut self, name: &Name, limit: u8) -> Result<(), OwnError> {
        let slot = self.listed_mut(name)?;
        let most = if slot.is_invite() { INVITE_LIMIT_MAX } else { CONTACT_LIMIT_MAX };
        if !(1..=most).contains(&limit) {
            return Err(OwnError::Limit);
        }
        slot.limit = limit;
        Ok(())
    }

    /// Strikes a contact or an invite off.
    pub fn strike_off(&mut self, name: &Name, now: UnixMillis) -> Result<(), OwnError> {
        self.listed_mut(name)?;
        // The contact, and the invite that it came over.
        while let Ok(slot) = self.listed_mut(name) {
            slot.kind = SlotKind::Former { until: now.after(FORMER_IS_REMEMBERED) };
        }
        Ok(())
    }

    /// Lists a reader.
    pub fn add_reader(&mut self, key: PublicKey) -> Result<(), OwnError> {
        if self.readers.contains(&key) {
            return Ok(());
        }
        if self.readers.len() >= READERS_MAX {
            return Err(OwnError::TooMany { what: "readers", most: READERS_MAX });
        }
        self.readers.push(key);
        Ok(())
    }

    /// Strikes a reader off.
    pub fn remove_reader(&mut self, key: PublicKey) -> Result<(), OwnError> {
        let before = self.readers.len();
        self.readers.retain(|reader| *reader != key);
        if self.readers.len() < before { Ok(()) } else { Err(OwnError::NoReader { key }) }
    }

    /// Returns the slot of a message, or nothing if nobody that may write has it.
    pub fn slot(&self, key: PublicKey) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.key == key)
    }

    /// Returns whether a message over a slot that is not known is a stranger's whom the owner lets write.
    pub fn takes_strangers(&self) -> bool {
        self.requests.open
            && self.slots.iter().filter(|slot| matches!(slot.kind, SlotKind::Stranger { .. })).count() < STRANGERS_MAX
    }

    /// Returns whether a message may be taken in: its number is open, or there is a place for one beyond the window, which a
    /// relay hands over when what came before has ended there unread.
    pub fn takes(&self, key: PublicKey, sequence: u64) -> bool {
        let Some(slot) = self.slot(key) else { return sequence <= REQUESTS_PER_KEY.into() };
        let of_slot = self.beyond.iter().filter(|beyond| beyond.slot == key).count();
        let has_place = of_slot < slot.limit.into() && self.beyond.len() < BEYOND_MAX;
        has_place || slot.received.is_open(sequence, slot.limit)
    }

    /// Returns whether a message was handed on that cannot be acknowledged yet.
    pub fn is_beyond(&self, key: PublicKey, sequence: u64) -> bool {
        self.beyond.iter().any(|beyond| beyond.slot == key && beyond.sequence == sequence)
    }

    /// Counts for come what was handed on beyond its slot's window, where the window has reached it, or where nothing that
    /// is missing below it comes any more: a sender numbers its messages one after the other, and none lives longer than this.
    pub fn settle(&mut self, now: UnixMillis) {
        let mut all = std::mem::take(&mut self.beyond);
        all.sort_by_key(|beyond| beyond.sequence);
        for beyond in all {
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == beyond.slot) else { continue };
            if beyond.issued_at.after(DEPOSIT_MAX_LIFETIME) <= now {
                slot.received.end_to(beyond.sequence);
            }
            if !slot.has(beyond.sequence) && !slot.received.is_open(beyond.sequence, slot.limit) {
                self.beyond.push(beyond);
                continue;
            }
            slot.received.end(beyond.sequence);
            if slot.received.gone().through() == beyond.sequence {
                slot.highest = Some(beyond.deposit);
            }
        }
    }

    /// Notes that a message was shown.
    pub fn note_shown(&mut self, incoming: &Incoming, now: UnixMillis) {
        let Incoming { deposit, opened } = incoming;
        let content_id = deposit.payload().content_id;
        self.shown.retain(|shown| {
            let is_over = Signed::<Deposit>::parse(&shown.deposit).is_ok_and(|it| it.payload().expires_at <= now);
            shown.content_id != content_id && !is_over
        });
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(Shown {
                content_id,
                deposit: deposit.as_json().to_owned(),
                from: opened.as_ref().map(|opened| opened.from),
                introduces: opened.as_ref().and_then(|opened| opened.written.introduces),
            });
        }
    }

    /// Returns all that was shown.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Takes a message that was shown for read. Returns its slot, and whether the policy has changed; nothing, if none of
    /// that name was shown.
    pub fn accept_shown(
        &mut self,
        content_id: ContentId,
        now: UnixMillis,
    ) -> Result<Option<(PublicKey, bool)>, OwnError> {
        let Some(shown) = self.shown.iter().find(|shown| shown.content_id == content_id).cloned() else {
            return Ok(None);
        };
        let deposit = Verified::<Deposit>::trusted(&shown.deposit)?;
        let slot = deposit.public_key();
        Ok(Some((slot, self.accept_from(&deposit, shown.from, shown.introduces, now)?)))
    }

    /// Takes a message for read, after the user's own commit. Returns whether the policy has changed.
    pub fn accept(&mut self, incoming: &Incoming, now: UnixMillis) -> Result<bool, OwnError> {
        let Incoming { deposit, opened } = incoming;
        let from = opened.as_ref().map(|opened| opened.from);
        let introduces = opened.as_ref().and_then(|opened| opened.written.introduces);
        self.accept_from(deposit, from, introduces, now)
    }

    fn accept_from(
        &mut self,
        deposit: &Verified<Deposit>,
        from: Option<PublicKey>,
        introduces: Option<PublicKey>,
        now: UnixMillis,
    ) -> Result<bool, OwnError> {
        let Deposit { sequence, content_id, issued_at, .. } = *deposit.payload();
        self.settle(now);
        self.shown.retain(|shown| shown.content_id != content_id);
        let key = deposit.public_key();
        if self.slot(key).is_none() {
            let kind = SlotKind::Stranger { until: now.after(FORMER_IS_REMEMBERED) };
            self.slots.push(Slot::new(key, None, REQUESTS_PER_KEY, kind));
        }
        let contacts = self.slots.iter().filter(|slot| slot.kind == SlotKind::Contact).count();
        let is_known = |key: PublicKey| self.slots.iter().any(|slot| slot.key == key) || self.struck_off.contains(&key);
        let fresh = introduces.filter(|fresh| !is_known(*fresh) && contacts < CONTACTS_MAX);
        // Whoever writes over a slot of its own has seen the receipts of all that it wrote over the invite.
        let mut is_changed = false;
        let of_it = self.slots.iter_mut().filter(|slot| slot.is_invite() && slot.introduced == Some(key));
        for invite in of_it {
            invite.kind = SlotKind::Former { until: now.after(FORMER_IS_REMEMBERED) };
            is_changed = true;
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) else { return Ok(is_changed) };
        if slot.received.is_open(sequence, slot.limit) {
            slot.received.end(sequence);
            if slot.received.gone().through() == sequence {
                slot.highest = Some(deposit.as_json().to_owned());
            }
        } else if !slot.has(sequence) && !self.beyond.iter().any(|it| it.slot == key && it.sequence == sequence) {
            self.beyond.push(Beyond { slot: key, sequence, issued_at, deposit: deposit.as_json().to_owned() });
        }
        slot.from = slot.from.or(from);
        let may_introduce = matches!(slot.kind, SlotKind::Invite { .. } | SlotKind::EndedInvite { .. });
        if let (true, None, Some(fresh)) = (may_introduce, slot.introduced, fresh) {
            slot.introduced = Some(fresh);
            let mut contact = Slot::new(fresh, slot.name.clone(), CONTACT_LIMIT_MAX, SlotKind::Contact);
            contact.from = from;
            self.slots.push(contact);
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// Writes the acknowledgement of a slot, as it travels: of all that has come over it. Nothing, if nothing has.
    pub fn acknowledgement(
        &mut self,
        slot: PublicKey,
        reader: &PrivateKey,
        mailbox: Address,
        now: UnixMillis,
    ) -> Result<Option<String>, OwnError> {
        let Some(slot) = self.slots.iter_mut().find(|it| it.key == slot) else { return Ok(None) };
        let Some(highest) = &slot.highest else { return Ok(None) };
        let highest = Verified::<Deposit>::trusted(highest)?;
        // A sender numbers its messages one after the other, and none lives longer than this: what is missing below one that
        // old does not come any more. Given up, it takes no place of the sender's.
        if highest.payload().issued_at.after(DEPOSIT_MAX_LIFETIME) <= now {
            for sequence in slot.received.gone().missing().to_vec() {
                slot.received.end(sequence);
            }
        }
        let minute = 60_000;
        let ack = Ack {
            at: UnixMillis::saturating(now.as_u64() / minute * minute),
            mailbox,
            missing: slot.received.gone().missing().to_vec(),
            slot: slot.key,
            through: slot.received.gone().through(),
        };
        let ack = Signed::sign(ack, reader)?;
        Ok(Some(format!(r#"{{"ack":{},"of":{}}}"#, ack.to_json(), highest.as_json())))
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::mailbox::plaintext::Written;
    use rendezvous_protocol::mailbox::record::RecordRules;

    use super::*;

    const DAY: Duration = Duration::from_secs(DAY_SECONDS);

    fn owner() -> PrivateKey {
        PrivateKey::from_seed(&[1; 32])
    }

    fn opened(now: UnixMillis) -> OwnMailbox {
        let mut mailbox = OwnMailbox::new([2; 16], now);
        mailbox.relays = vec!["https://one.example".to_owned()];
        mailbox.add_sealing_keys([3; 32], [4; 32], now);
        mailbox.revise(now);
        mailbox
    }

    /// What somebody has left over an invite, which introduces `fresh`.
    fn introduction(invite: &PrivateKey, fresh: PublicKey, now: UnixMillis) -> Incoming {
        let deposit = Deposit {
            content_id: ContentId::of(b"sealed"),
            expires_at: now.after(DAY),
            issued_at: now,
            mailbox: Address::of(&owner().public_key()),
            sequence: 1,
            size: 2_048,
        };
        let deposit = Signed::sign(deposit, invite).unwrap().verify(&RecordRules { now, audiences: &[] }).unwrap();
        let written = Written { introduces: Some(fresh), content: Vec::new() };
        let from = PrivateKey::from_seed(&[7; 32]).public_key();
        Incoming { deposit, opened: Some(Opened { from, written }) }
    }

    #[test]
    fn whoever_wrote_before_the_invite_ended_is_listed_after_it_has() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut mailbox = opened(now);
        let [invite, fresh] = [5, 6].map(|seed| PrivateKey::from_seed(&[seed; 32]));
        mailbox.add_invite(&"alice".parse().unwrap(), invite.public_key(), 1, now.after(DAY)).unwrap();
        let incoming = introduction(&invite, fresh.public_key(), now);
        let later = now.after(DAY);
        mailbox.revise(later);
        assert_eq!(mailbox.policy(&owner()).unwrap().payload().invites, []);
        assert!(mailbox.accept(&incoming, later).unwrap());
        let contacts = mailbox.policy(&owner()).unwrap().payload().contacts.clone();
        assert_eq!(contacts.iter().map(|contact| contact.key).collect::<Vec<_>>(), [fresh.public_key()]);
    }

    #[test]
    fn the_highest_of_numbers_in_a_file_makes_no_record_that_counts() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut mailbox = opened(now);
        mailbox.revision = u64::MAX;
        mailbox.revise(now);
        assert_eq!(mailbox.revision, u64::MAX);
        assert!(Signed::<Card>::parse(&mailbox.card(&owner()).unwrap().to_json()).is_err());
        assert!(Signed::<Policy>::parse(&mailbox.policy(&owner()).unwrap().to_json()).is_err());
        assert!(Signed::<Close>::parse(&mailbox.close(&owner()).unwrap().to_json()).is_err());
    }

    #[test]
    fn what_was_stored_and_breaks_a_rule_is_an_error_and_not_taken_for_something_else() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut mailbox = opened(now);
        let invite = PrivateKey::from_seed(&[5; 32]);
        mailbox.add_invite(&"alice".parse().unwrap(), invite.public_key(), 1, now.after(DAY)).unwrap();
        let incoming = introduction(&invite, PrivateKey::from_seed(&[6; 32]).public_key(), now);
        mailbox.note_shown(&incoming, now);
        mailbox.beyond.push(Beyond {
            slot: invite.public_key(),
            sequence: 2,
            issued_at: now,
            deposit: incoming.deposit.as_json().to_owned(),
        });
        let stored = serde_json::to_value(&mailbox).unwrap();
        assert!(serde_json::from_value::<OwnMailbox>(stored.clone()).is_ok_and(|read| read == mailbox));
        for (path, value) in [
            ("/slots/0/limit", serde_json::json!(0)),
            ("/slots/0/limit", 33.into()),
            ("/slots/0/received/gone/missing", serde_json::json!([1])),
            ("/slots/0/highest", "{}".into()),
            ("/shown/0/deposit", "{}".into()),
            ("/beyond/0/deposit", "{}".into()),
            ("/beyond/0/sequence", (1_u64 << 53).into()),
            ("/sealing/0/suite", 7.into()),
        ] {
            let mut stored = stored.clone();
            *stored.pointer_mut(path).unwrap() = value;
            assert!(serde_json::from_value::<OwnMailbox>(stored).is_err(), "{path}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_a_card_that_relays_take() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut mailbox = opened(now.after(DAY));
        mailbox.revise(now);
        let card = mailbox.card(&owner()).unwrap();
        card.verify(&RecordRules { now, audiences: &[] }).unwrap();
    }

    #[test]
    fn nobody_introduces_a_key_that_was_struck_off_however_long_ago() {
        let now = UnixMillis::saturating(1_700_000_000_000);
        let mut mailbox = opened(now);
        let (name, key) = ("alice".parse().unwrap(), |seed| PrivateKey::from_seed(&[seed; 32]));
        mailbox.add_invite(&name, key(5).public_key(), 1, now.after(DAY)).unwrap();
        mailbox.strike_off(&name, now).unwrap();
        let now = now.after(FORMER_IS_REMEMBERED);
        mailbox.add_invite(&name, key(6).public_key(), 1, now.after(DAY)).unwrap();
        mailbox.revise(now);
        assert_eq!(mailbox.slot(key(5).public_key()), None);

        let incoming = introduction(&key(6), key(5).public_key(), now);
        assert!(!mailbox.accept(&incoming, now).unwrap());
        assert_eq!(mailbox.policy(&owner()).unwrap().payload().contacts, []);
    }
}
