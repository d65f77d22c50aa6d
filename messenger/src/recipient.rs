//! Somebody whose mailbox the user writes to: the slots, how far their numbers have come, and what the recipient has
//! acknowledged. Decides, and does nothing else.

use std::fmt;

use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::text;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::plaintext::Written;
use rendezvous_protocol::mailbox::record::{Ack, Card, Deposit, RecordError, RecordRules, SealingKey};
use rendezvous_protocol::mailbox::sealed::{Place, Suite};
use rendezvous_protocol::mailbox::window::Window;
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::own::Version;
use crate::seal::{SealError, seal};
use crate::stored;

/// Says why nothing is written to somebody.
#[derive(Debug, thiserror::Error)]
pub enum RecipientError {
    /// Nobody has said what the recipient's keys are.
    #[error(
        "no relay has given the card of {name}'s mailbox yet, which has the key to seal to: try again when one answers"
    )]
    NoCard {
        /// The recipient.
        name: Name,
    },
    /// All keys are over.
    #[error("the keys of {name}'s mailbox ended {}: ask them to run `rendezvous mailbox collect`, which makes new ones", text::date(*.ended_at))]
    KeysEnded {
        /// The recipient.
        name: Name,
        /// When the last one ended.
        ended_at: UnixMillis,
    },
    /// A card without the better suite.
    #[error(
        "the card of {name}'s mailbox has only keys of suite 0, and had one of suite 1 before: nothing is sealed to them"
    )]
    SuiteFellBack {
        /// The recipient.
        name: Name,
    },
    /// A card of somebody else.
    #[error("the card is that of another mailbox")]
    OtherMailbox,
    /// Numbers have an end.
    #[error("all numbers of this slot are used up: ask for a new invite")]
    NoNumberLeft,
    /// An acknowledgement that does not count.
    #[error("the acknowledgement is not by the owner or a reader of the mailbox, or not of this slot")]
    AckInvalid,
    /// An acknowledgement from before the message.
    #[error(
        "message {sequence} is newer than the acknowledgement of its number: a newer copy of this store has used that number. \
         Ask for a new invite, and leave the message again"
    )]
    NumberUsed {
        /// The number.
        sequence: u64,
    },
    /// A record that breaks a rule.
    #[error("a record is refused: {0}")]
    Record(#[from] RecordError),
    /// The message cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Cause for RecipientError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoCard { .. } => Exit::Unreachable,
            _ => Exit::Usage,
        }
    }
}

/// A slot of somebody's mailbox, with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "StoredOutSlot")]
pub struct OutSlot {
    seed: Bytes<32>,
    /// The number of the last message.
    pub sequence: u64,
    acknowledged: Window,
}

/// Holds what was stored of a slot, before it is known to be one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredOutSlot {
    seed: Bytes<32>,
    sequence: u64,
    acknowledged: Window,
}

impl TryFrom<StoredOutSlot> for OutSlot {
    type Error = &'static str;

    /// A message would be taken for read that nobody has written yet.
    fn try_from(StoredOutSlot { seed, sequence, acknowledged }: StoredOutSlot) -> Result<Self, &'static str> {
        if acknowledged.gone().through() > sequence {
            return Err("more messages are acknowledged than were written");
        }
        Ok(Self { seed, sequence, acknowledged })
    }
}

impl OutSlot {
    fn new(seed: [u8; 32]) -> Self {
        Self { seed: Bytes(seed), sequence: 0, acknowledged: Window::default() }
    }

    /// Returns the key.
    pub fn key(&self) -> PrivateKey {
        PrivateKey::from_seed(&self.seed.0)
    }

    /// Returns whether the recipient has that message.
    pub fn has(&self, sequence: u64) -> bool {
        self.acknowledged.acknowledged().contains(sequence)
    }
}

/// Somebody whom the user writes to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipient {
    version: Version,
    owner: PublicKey,
    relays: Vec<String>,
    /// The newest card that was seen. One that cannot be read is not taken for none: an older one would be taken for the newest.
    #[serde(default, deserialize_with = "stored::optional_record::<Card, _>")]
    card: Option<String>,
    /// Whether a card had a key of suite 1: from then on nothing is sealed to one of suite 0.
    saw_xwing: bool,
    /// The slot of the invite, until the recipient has listed the other one.
    invite: Option<OutSlot>,
    /// Whether the recipient has listed the other one.
    is_introduced: bool,
    /// The slot whose key nobody else has had.
    slot: OutSlot,
}

/// A message that waits for its recipient, or for a relay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PendingMessage {
    version: Version,
    /// To whom.
    pub contact: Name,
    /// The slot key.
    pub slot: PublicKey,
    /// The number.
    #[serde(deserialize_with = "stored::sequence")]
    pub sequence: u64,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// The name of its bytes.
    pub content_id: ContentId,
    /// The deposit, signed.
    #[serde(deserialize_with = "stored::record::<Deposit, _>")]
    pub deposit: String,
    /// The sealed bytes, in base64.
    pub sealed: String,
    /// What is inside, in base64, as long as it may have to be sealed again for the other slot.
    pub content: Option<String>,
    /// The relays that have taken it.
    pub taken: Vec<String>,
    /// What the last relay said that did not take it: the name of the refusal.
    pub problem: Option<String>,
    /// Whether the recipient acknowledged its number only when it had ended: nobody can say that it was read.
    #[serde(default)]
    pub ended_unread: bool,
}

impl PendingMessage {
    /// Returns the name of its file.
    pub fn file(&self) -> String {
        let Self { contact, slot, sequence, .. } = self;
        let slot = slot.as_bytes().first_chunk::<4>().copied().unwrap_or_default();
        format!("{contact}.{:08x}.{sequence}.json", u32::from_be_bytes(slot))
    }
}

impl Recipient {
    /// Makes one of an invite, and of 32 bytes from a secure source of randomness for the key of a slot of its own.
    pub fn new(invite: &Invite, seed: [u8; 32]) -> Self {
        Self {
            version: Version,
            owner: invite.owner(),
            relays: invite.relays().iter().map(|relay| relay.as_str().to_owned()).collect(),
            card: None,
            saw_xwing: false,
            invite: Some(OutSlot::new(*invite.seed())),
            is_introduced: false,
            slot: OutSlot::new(seed),
        }
    }

    /// Makes one of the slot that an invite is for, where the recipient lists that slot as a contact's already.
    pub fn of_slot(offered: &Invite) -> Self {
        let slot = OutSlot::new(*offered.seed());
        Self { invite: None, is_introduced: true, slot, ..Self::new(offered, [0; 32]) }
    }

    /// Returns whether this is the slot, at the relays, that an invite is for.
    pub fn is_of(&self, offered: &Invite) -> bool {
        self.owner == offered.owner()
            && self.slot.seed.0 == *offered.seed()
            && self.relays.iter().map(String::as_str).eq(offered.relays().iter().map(|relay| relay.as_str()))
    }

    /// Returns the owner key of the recipient.
    pub const fn owner(&self) -> PublicKey {
        self.owner
    }

    /// Returns the mailbox.
    pub fn mailbox(&self) -> Address {
        Address::of(&self.owner)
    }

    /// Returns the newest card that was seen.
    pub fn card(&self) -> Option<Card> {
        let card = Verified::<Card>::trusted(self.card.as_deref()?).ok()?;
        Some(card.payload().clone())
    }

    /// Returns the relays of the mailbox: those of the card, then those of the invite.
    pub fn relays(&self) -> Vec<String> {
        let mut relays = self.card().map(|card| card.relays).unwrap_or_default();
        for relay in &self.relays {
            if !relays.contains(relay) {
                relays.push(relay.clone());
            }
        }
        relays
    }

    /// Takes a card that a relay gave. Returns whether it is newer than the one that was seen before; an older one changes
    /// nothing: a relay cannot turn time back.
    pub fn take_card(&mut self, card: Signed<Card>, now: UnixMillis) -> Result<bool, RecipientError> {
        let card = card.verify(&RecordRules { now, audiences: &[] })?;
        if card.payload().mailbox != self.mailbox() {
            return Err(RecipientError::OtherMailbox);
        }
        if self.card().is_some_and(|seen| seen.revision >= card.payload().revision) {
            return Ok(false);
        }
        let is_xwing = |key: &SealingKey| key.suite == Suite::XWing.number();
        self.saw_xwing = self.saw_xwing || card.payload().sealing.iter().any(is_xwing);
        self.card = Some(card.as_json().to_owned());
        Ok(true)
    }

    /// Returns the key to seal to: one that has not ended, of the best suite.
    pub fn sealing_key(&self, name: &Name, now: UnixMillis) -> Result<SealingKey, RecipientError> {
        let card = self.card().ok_or_else(|| RecipientError::NoCard { name: name.clone() })?;
        let known = card.sealing.into_iter().filter(|key| Suite::from_number(key.suite).is_some());
        let (good, ended): (Vec<_>, Vec<_>) = known.partition(|key| key.expires_at > now);
        let best = good.into_iter().max_by_key(|key| (key.suite, key.expires_at));
        match best {
            Some(key) if self.saw_xwing && key.suite != Suite::XWing.number() => {
                Err(RecipientError::SuiteFellBack { name: name.clone() })
            }
            Some(key) => Ok(key),
            None => {
                let ended_at = ended.iter().map(|key| key.expires_at).max().unwrap_or(card.expires_at);
                Err(RecipientError::KeysEnded { name: name.clone(), ended_at })
            }
        }
    }

    /// Returns the slot over which the next message goes, and whether that is the invite's: until the recipient has listed
    /// the other one, and as long as something `waits` over the invite, whose receipts go with it.
    fn next_slot(&self, waits: bool) -> (&OutSlot, bool) {
        match &self.invite {
            Some(invite) if !self.is_introduced || waits => (invite, true),
            _ => (&self.slot, false),
        }
    }

    /// Returns all slots.
    pub fn slots(&self) -> impl Iterator<Item = &OutSlot> {
        self.invite.iter().chain([&self.slot])
    }

    fn slot_mut(&mut self, key: PublicKey) -> Option<&mut OutSlot> {
        self.invite.iter_mut().chain([&mut self.slot]).find(|slot| slot.key().public_key() == key)
    }

    /// Returns whether the recipient has that message.
    pub fn has(&self, slot: PublicKey, sequence: u64) -> bool {
        self.slots().any(|it| it.key().public_key() == slot && it.has(sequence))
    }

    /// Returns whether the key is that of the invite.
    pub fn is_invite(&self, key: PublicKey) -> bool {
        self.invite.as_ref().is_some_and(|invite| invite.key().public_key() == key)
    }

    /// Returns the slot whose key nobody else has had.
    pub const fn own_slot(&self) -> &OutSlot {
        &self.slot
    }

    /// Notes that the recipient has listed that slot.
    pub const fn note_introduced(&mut self) {
        self.is_introduced = true;
    }

    /// Puts a message together: numbered, sealed, signed. `waits` says whether something waits over the invite. The number is used up, whatever becomes of the message: the
    /// caller writes both down before anything leaves.
    pub fn write(
        &mut self,
        name: &Name,
        from: &PrivateKey,
        content: Vec<u8>,
        waits: bool,
        (now, expires_at): (UnixMillis, UnixMillis),
    ) -> Result<PendingMessage, RecipientError> {
        let to = self.sealing_key(name, now)?;
        let mailbox = self.mailbox();
        let own = self.slot.key().public_key();
        let (slot, is_invite) = self.next_slot(waits);
        let (key, sequence) = (slot.key(), slot.sequence.saturating_add(1));
        if sequence >= 1 << 53 {
            return Err(RecipientError::NoNumberLeft);
        }
        let place = Place { mailbox, slot: key.public_key(), sequence, expires_at };
        let kept = is_invite.then(|| rendezvous_protocol::base64::encode(&content));
        let written = Written { introduces: is_invite.then_some(own), content };
        let sealed = seal(&written, from, &place, &to)?;
        let deposit = Deposit {
            content_id: ContentId::of(&sealed),
            expires_at,
            issued_at: now,
            mailbox,
            sequence,
            size: u32::try_from(sealed.len()).unwrap_or(u32::MAX),
        };
        let content_id = deposit.content_id;
        let deposit = Signed::sign(deposit, &key)?.to_json();
        if let Some(slot) = self.slot_mut(key.public_key()) {
            slot.sequence = sequence;
        }
        Ok(PendingMessage {
            version: Version,
            contact: name.clone(),
            slot: key.public_key(),
            sequence,
            expires_at,
            content_id,
            deposit,
            sealed: rendezvous_protocol::base64::encode(&sealed),
            content: kept,
            taken: Vec::new(),
            problem: None,
            ended_unread: false,
        })
    }

    /// Makes sure that no number is used twice: one that stands in the outbox is used, whether or not the run that put it
    /// there came to write it down here.
    pub fn note_used(&mut self, outgoing: &PendingMessage) {
        if let Some(slot) = self.slot_mut(outgoing.slot) {
            slot.sequence = slot.sequence.max(outgoing.sequence);
        }
    }

    /// Takes an acknowledgement that a relay gave. Returns whether it says anything new. It counts if it is by the owner or
    /// by a reader of the newest card that was seen, and of what was sent. Of what waits it marks what it covers for no other
    /// reason than that it has ended.
    ///
    /// # Errors
    /// [`RecipientError::NumberUsed`], where it is older than a message that it covers: then nothing of it counts.
    /// [`RecipientError::AckInvalid`] and [`RecipientError::Record`].
    pub fn take_ack(
        &mut self,
        ack: Signed<Ack>,
        now: UnixMillis,
        outgoing: &mut [PendingMessage],
    ) -> Result<bool, RecipientError> {
        let ack = ack.verify(&RecordRules { now, audiences: &[] })?;
        let signer = ack.public_key();
        let is_reader = self.card().is_some_and(|card| card.readers.contains(&signer));
        if ack.payload().mailbox != self.mailbox() || !(signer == self.owner || is_reader) {
            return Err(RecipientError::AckInvalid);
        }
        let is_invite = self.is_invite(ack.payload().slot);
        let slot = self.slot_mut(ack.payload().slot).ok_or(RecipientError::AckInvalid)?;
        if ack.payload().through > slot.sequence {
            return Err(RecipientError::AckInvalid);
        }
        let ack = ack.payload();
        for outgoing in outgoing.iter().filter(|it| it.slot == ack.slot && ack.covers(it.sequence)) {
            // The receipt of another message, which a newer copy of this store has left under the same number.
            let written_at = Verified::<Deposit>::trusted(&outgoing.deposit)?.payload().issued_at;
            if !slot.has(outgoing.sequence) && ack.is_from_before(written_at) {
                return Err(RecipientError::NumberUsed { sequence: outgoing.sequence });
            }
        }
        for outgoing in outgoing.iter_mut().filter(|it| it.slot == ack.slot) {
            // One that was covered before is read, whatever comes later.
            let is_first = ack.covers(outgoing.sequence) && !slot.has(outgoing.sequence);
            outgoing.ended_unread |= is_first && !ack.is_receipt_until(outgoing.expires_at);
        }
        let is_new = slot.acknowledged.acknowledge(ack);
        // The recipient lists the other slot before it acknowledges what introduced it.
        self.is_introduced = self.is_introduced || is_invite;
        Ok(is_new)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Recipient({})", self.mailbox())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rendezvous_protocol::origin::Origin;

    use super::*;
    use crate::own::OwnMailbox;

    const NOW: UnixMillis = UnixMillis::saturating(1_700_000_040_000);

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    /// Somebody whom so many messages were left for over an invite, and the invite's key.
    fn recipient(sequence: u64) -> (Recipient, PrivateKey, PrivateKey) {
        let owner = PrivateKey::from_seed(&[4; 32]);
        let relay = Origin::parse("https://relay.example").unwrap();
        let invite = Invite::new([3; 32], owner.public_key(), vec![relay]).unwrap();
        let mut recipient = Recipient::new(&invite, [5; 32]);
        recipient.invite.as_mut().unwrap().sequence = sequence;
        (recipient, owner, invite.slot())
    }

    fn waiting(
        recipient: &Recipient,
        slot: &PrivateKey,
        sequence: u64,
        (issued_at, expires_at): (UnixMillis, UnixMillis),
    ) -> PendingMessage {
        let content_id = ContentId::of(&[]);
        let mailbox = recipient.mailbox();
        let deposit = Deposit { content_id, expires_at, issued_at, mailbox, sequence, size: 2_048 };
        PendingMessage {
            version: Version,
            contact: "bob".parse().unwrap(),
            slot: slot.public_key(),
            sequence,
            expires_at,
            content_id,
            deposit: Signed::sign(deposit, slot).unwrap().to_json(),
            sealed: String::new(),
            content: None,
            taken: Vec::new(),
            problem: None,
            ended_unread: false,
        }
    }

    #[test]
    fn what_was_acknowledged_when_it_had_ended_is_not_said_to_be_read() {
        let (mut recipient, owner, slot) = recipient(3);
        // The second ends in the minute in which it is acknowledged, the third long after; the first was read before.
        let ends = [5, 61, 90].map(|count| NOW.after(minutes(count)));
        let mut outgoing = [(1, ends[0]), (2, ends[1]), (3, ends[2])]
            .map(|(sequence, end)| waiting(&recipient, &slot, sequence, (NOW, end)));
        for (at, through) in [(NOW, 1), (NOW.after(minutes(60)), 3)] {
            let (mailbox, slot) = (recipient.mailbox(), slot.public_key());
            let ack = Signed::sign(Ack { at, mailbox, missing: Vec::new(), slot, through }, &owner).unwrap();
            assert!(recipient.take_ack(ack, NOW.after(minutes(61)), &mut outgoing).unwrap());
        }
        assert_eq!(outgoing.each_ref().map(|it| it.ended_unread), [false, true, false]);
        assert!(outgoing.iter().all(|it| recipient.has(it.slot, it.sequence)));
    }

    #[test]
    fn an_acknowledgement_from_before_a_message_is_not_its_receipt() {
        for (at, is_receipt) in [(NOW, false), (NOW.after(minutes(57)), false), (NOW.after(minutes(58)), true)] {
            // An older copy of the store numbers the next message as another one that was read.
            let (mut recipient, owner, slot) = recipient(2);
            let written_at = NOW.after(minutes(60));
            let mut outgoing = [waiting(&recipient, &slot, 2, (written_at, written_at.after(minutes(600))))];
            let (mailbox, key) = (recipient.mailbox(), slot.public_key());
            let ack = Signed::sign(Ack { at, mailbox, missing: Vec::new(), slot: key, through: 2 }, &owner).unwrap();
            let taken = recipient.take_ack(ack, written_at, &mut outgoing);
            let is_refused = matches!(taken, Err(RecipientError::NumberUsed { sequence: 2 }));
            assert_eq!((is_refused, recipient.has(key, 2)), (!is_receipt, is_receipt), "{at:?}");
            assert!(!outgoing[0].ended_unread);
        }
    }

    #[test]
    fn the_highest_of_numbers_in_a_file_is_an_error_by_name() {
        let mut mailbox = OwnMailbox::new([1; 16], NOW);
        mailbox.relays = vec!["https://relay.example".to_owned()];
        mailbox.add_sealing_keys([2; 32], [3; 32], NOW);
        mailbox.revise(NOW);
        for sequence in [(1 << 53) - 1, u64::MAX] {
            let (mut recipient, owner, slot) = recipient(sequence);
            recipient.take_card(mailbox.card(&owner).unwrap(), NOW).unwrap();
            let life = (NOW, NOW.after(minutes(60)));
            let written = recipient.write(&"bob".parse().unwrap(), &slot, Vec::new(), false, life);
            assert!(matches!(written, Err(RecipientError::NoNumberLeft)));
        }
    }

    #[test]
    fn a_stored_card_that_cannot_be_read_is_not_taken_for_none() {
        let owner = PrivateKey::from_seed(&[4; 32]).public_key();
        let relay = Origin::parse("https://relay.example").unwrap();
        let invite = Invite::new([3; 32], owner, vec![relay]).unwrap();
        let mut stored = serde_json::to_value(Recipient::new(&invite, [5; 32])).unwrap();
        assert!(serde_json::from_value::<Recipient>(stored.clone()).is_ok());
        stored["card"] = "{".into();
        assert!(serde_json::from_value::<Recipient>(stored).is_err());
    }

    #[test]
    fn numbers_of_a_slot_that_none_can_have_are_an_error_by_name() {
        let (recipient, ..) = recipient(40);
        let stored = serde_json::to_value(&recipient).unwrap();
        let read = |acknowledged: serde_json::Value| {
            let mut stored = stored.clone();
            stored["invite"]["acknowledged"] =
                serde_json::json!({ "acknowledged": acknowledged, "gone": acknowledged });
            serde_json::from_value::<Recipient>(stored).map_err(|error| error.to_string())
        };
        let many: Vec<u64> = (1..34).collect();
        assert!(read(serde_json::json!({ "missing": [1, 3], "through": 40 })).is_ok());
        for missing in [serde_json::json!([3, 1]), serde_json::json!([1, 1]), [0].into(), [40].into(), many.into()] {
            let error = read(serde_json::json!({ "missing": missing, "through": 40 })).unwrap_err();
            assert_eq!(error, "its sequences are none that a window has", "{missing}");
        }
        let error = read(serde_json::json!({ "missing": [], "through": 41 })).unwrap_err();
        assert_eq!(error, "more messages are acknowledged than were written");
    }

    #[test]
    fn a_message_in_the_outbox_that_has_no_deposit_or_no_number_is_an_error() {
        let (recipient, _, slot) = recipient(1);
        let stored = serde_json::to_value(waiting(&recipient, &slot, 1, (NOW, NOW.after(minutes(60))))).unwrap();
        assert!(serde_json::from_value::<PendingMessage>(stored.clone()).is_ok());
        for (field, value) in
            [("deposit", serde_json::json!("{}")), ("sequence", 0.into()), ("sequence", (1_u64 << 53).into())]
        {
            let mut stored = stored.clone();
            stored[field] = value;
            assert!(serde_json::from_value::<PendingMessage>(stored).is_err(), "{field}");
        }
    }
}
