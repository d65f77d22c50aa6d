//! Messages by mailboxes (section 17 of the specification): the user's own, and that of a peer who has offered one.
//!
//! All that is sent says inside Olm that this program takes offers. Where a saved contact's program says the same, the user's
//! mailbox is opened at the relay, and the contact is offered a slot of its own there, whose key both have, inside Olm too.
//! From then on what it sends comes as deposits: the relay sees the slot key, one of four sizes and the times, and neither the
//! sender nor Olm's keys. A deposit's content is an octet, Olm's kind of message, and Olm's message.
//!
//! Each deposit and the number that it uses up are written in one transaction, before a byte leaves. What comes is written
//! down, with the mailbox that has it, in one transaction too, and acknowledged after that.

use std::collections::BTreeSet;
use std::time::Duration;

use rendezvous_capsule::fetch::parse_url;
use rendezvous_protocol::base64;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, sha256};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::limits::{ACKS_MAX, COLLECT_MAX_MESSAGES, CONTACT_LIMIT_MAX, DEPOSIT_MAX_LIFETIME};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::retalk::request::MessageKind;
use rendezvous_protocol::retalk::user::{UserId, hex};
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};

use super::account::User;
use super::error::UserError;
use super::outgoing::{Door, OutgoingState, RetalkReason};
use super::payload::{Offer, Offered};
use super::problem::{Problem, ProblemCause};
use super::record::{
    Ciphertext, CorrespondentRecord, DepositRecord, IncomingRecord, MailboxRecord, OutgoingRecord, PeerRecord, peer,
};
use crate::collecting::{Judged, LeftThere, judge};
use crate::following::Expected;
use crate::live::Listen;
use crate::name::Name;
use crate::own::{OwnError, OwnMailbox};
use crate::publishing::{KeepMailbox, publish};
use crate::recipient::{Recipient, RecipientError};
use crate::relay::{HandedOverMessage, MailboxRelay, MailboxRelayError};
use crate::seal::SealError;
use crate::transport::{Relay, Unreached};
use crate::vault::{Rows, Vault, VaultError, random};

/// Deposits for one peer's mailbox: as many as may wait there, and as many again.
const DEPOSITS_MAX: usize = 2 * CONTACT_LIMIT_MAX as usize;

/// How long a card is not asked for again: its owner makes new keys long before the listed ones end.
const CARD_LASTS: Duration = Duration::from_secs(DAY_SECONDS);

/// How long after a failure a card is not asked for.
const CARD_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long after a refusal the records of the own mailbox are not put again.
const PUT_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long a recipient who has taken a message out of its mailbox has to acknowledge it, or to refuse it: a refusal is at the
/// other door.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// How long a message lies in its recipient's mailbox before it goes by the other door too: its recipient may have lost the
/// mailbox, or the slot.
const READ_WITHIN: Duration = Duration::from_secs(60 * 60);

/// How long after the mailbox was put anew, for what a relay says of it, nothing that a relay says makes it be put anew again.
const RENEWED_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);

/// How often a mailbox is asked in one look.
const ROUNDS_MAX: usize = 8;

/// Holds what is known of the user's own mailbox for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Its address.
    pub address: String,
    /// Whether the relay has it.
    pub is_open: bool,
    /// The relay's name for why it has not taken the latest records.
    pub refused: Option<String>,
}

/// Returns the door for mailboxes of the relay at this address, if the relay is asked at all.
fn mailboxes_of<'a>(relay: &Relay<'a>) -> Option<MailboxRelay<'a>> {
    let url = parse_url(relay.url()).ok()?;
    MailboxRelay::new(&format!("{}://{}", url.scheme_str()?, url.authority()?), relay.transport()?).ok()
}

/// Says that a mailbox has it, or why it is to go by the other door.
type Left = Result<(), RetalkReason>;

fn name_of(id: UserId) -> Result<Name, OwnError> {
    Ok(id.to_string().parse::<Name>()?)
}

fn content_of(ciphertext: &Ciphertext) -> Option<Vec<u8>> {
    let mut content = vec![ciphertext.mtype];
    content.extend(base64::decode(&ciphertext.body)?);
    Some(content)
}

pub(super) fn ciphertext_of(content: &[u8]) -> Option<Ciphertext> {
    let (kind, message) = content.split_first()?;
    let kind = MessageKind::of((*kind).into())?;
    Some(Ciphertext { mtype: kind.number(), body: base64::encode(message) })
}

fn body_hash(ciphertext: &Ciphertext) -> String {
    hex(&sha256(&[ciphertext.body.as_bytes()]))
}

/// Returns the user's own mailbox, which is made with the first use of its key.
fn own(rows: &Rows<'_>, now: UnixMillis) -> Result<MailboxRecord, UserError> {
    if let Some(record) = rows.get::<MailboxRecord>("")? {
        return Ok(record);
    }
    Ok(MailboxRecord { seed: Bytes(random()?), own: OwnMailbox::new(random()?, now), refused: None, renewed_at: None })
}

/// Returns whether that much time has passed. A clock that was ahead must not keep anything back.
pub(super) fn is_over(since: UnixMillis, time: Duration, now: UnixMillis) -> bool {
    since > now || now.since(since) >= time
}

impl DepositRecord {
    /// Returns whether its recipient has not acknowledged it in time, or not even taken it out of the mailbox.
    fn is_not_acknowledged(&self, now: UnixMillis) -> bool {
        match self.read_at {
            Some(read_at) => is_over(read_at, ACKNOWLEDGED_WITHIN, now),
            None => self.taken_at.is_some_and(|taken_at| is_over(taken_at, READ_WITHIN, now)),
        }
    }
}

impl CorrespondentRecord {
    /// Returns the peer's mailbox, as long as the peer has it.
    fn in_use(&self) -> Option<&Recipient> {
        self.theirs.as_ref().filter(|_| !self.is_theirs_left)
    }
}

impl MailboxRecord {
    fn owner(&self) -> PrivateKey {
        PrivateKey::from_seed(&self.seed.0)
    }

    fn address(&self) -> Address {
        Address::of(&self.owner().public_key())
    }

    fn is_refused_lately(&self, now: UnixMillis) -> bool {
        self.refused.as_ref().is_some_and(|(at, _)| !is_over(*at, PUT_AGAIN_AFTER, now))
    }

    fn is_renewed_lately(&self, now: UnixMillis) -> bool {
        self.renewed_at.is_some_and(|at| !is_over(at, RENEWED_AGAIN_AFTER, now))
    }
}

/// Keeps the mailbox in the store.
struct InVault<'a>(&'a mut Vault);

impl KeepMailbox for InVault<'_> {
    type Error = UserError;

    fn read(&mut self) -> Result<Option<OwnMailbox>, UserError> {
        Ok(self.0.read(|rows| rows.get::<MailboxRecord>(""))?.map(|record| record.own))
    }

    fn change(&mut self, change: &mut dyn FnMut(&mut OwnMailbox)) -> Result<(), UserError> {
        self.0.change(|rows| {
            let Some(mut record) = rows.get::<MailboxRecord>("")? else { return Ok(()) };
            change(&mut record.own);
            Ok(rows.put(&record)?)
        })
    }
}

impl RetalkReason {
    fn of(error: &MailboxRelayError) -> Self {
        match error {
            MailboxRelayError::Unreachable { error, .. } => Self::Unreached { reason: error.to_string() },
            MailboxRelayError::Refused { code, .. } => Self::Refused { code: code.clone() },
            MailboxRelayError::NotARelay { .. } | MailboxRelayError::NotAnOrigin => Self::NotARelay,
        }
    }

    fn of_contact(error: &RecipientError) -> Self {
        match error {
            RecipientError::Seal(SealError::TooLong(_)) => Self::TooLong,
            RecipientError::Seal(error) => Self::NotSealed { reason: error.to_string() },
            RecipientError::NoNumberLeft => Self::NoNumberLeft,
            RecipientError::NoCard { .. } | RecipientError::KeysEnded { .. } | RecipientError::SuiteFellBack { .. } => {
                Self::NoKey { reason: error.to_string() }
            }
            RecipientError::OtherMailbox
            | RecipientError::Record(_)
            | RecipientError::AckInvalid
            | RecipientError::NumberUsed { .. } => Self::CardRefused { reason: error.to_string() },
        }
    }
}

/// Returns what is offered to a peer: that this program takes offers, and a slot for whom one is listed that it has not used.
pub(super) fn offer(rows: &Rows<'_>, to: UserId) -> Result<Offer, VaultError> {
    let correspondent = rows.get::<CorrespondentRecord>(&to.to_string())?.filter(|it| !it.is_slot_used);
    let seed = correspondent.and_then(|correspondent| correspondent.slot);
    let (Some(seed), Some(mailbox)) = (seed, rows.get::<MailboxRecord>("")?) else { return Ok(Offer::new(None)) };
    if !may_have_slot(&peer(rows, to)?) {
        return Ok(Offer::new(None));
    }
    // Only with this revision does the relay know the slot.
    let is_listed = mailbox.own.lagging().is_empty();
    let relays = mailbox.own.relays.iter().filter_map(|relay| Origin::parse(relay)).collect();
    let invite = Invite::new(seed.0, mailbox.owner().public_key(), relays).and_then(|invite| invite.to_text());
    Ok(Offer::new(invite.ok().filter(|_| is_listed)))
}

/// Offers the slot of a peer again whose messages come by the other door: it may have lost the slot's key.
pub(super) fn offer_again(rows: &Rows<'_>, to: UserId) -> Result<(), VaultError> {
    match rows.get::<CorrespondentRecord>(&to.to_string())? {
        Some(correspondent) if correspondent.is_slot_used => {
            rows.put(&CorrespondentRecord { is_slot_used: false, ..correspondent })
        }
        _ => Ok(()),
    }
}

/// Notes that a peer has left its mailbox: what it writes says nothing of one, or offers none while messages lie there unread.
fn note_left(rows: &Rows<'_>, peer: UserId, offered: &Offered, now: UnixMillis) -> Result<(), VaultError> {
    let has_left = match offered {
        Offered::Nothing => true,
        Offered::Takes(None) => {
            let is_unread = |deposit: &DepositRecord| deposit.read_at.is_none() && deposit.is_not_acknowledged(now);
            rows.of_peer::<DepositRecord>(peer)?.iter().any(is_unread)
        }
        Offered::Takes(Some(_)) | Offered::Unreadable => false,
    };
    if has_left
        && let Some(correspondent) = rows.get::<CorrespondentRecord>(&peer.to_string())?
        && correspondent.in_use().is_some()
    {
        rows.put(&CorrespondentRecord { is_theirs_left: true, ..correspondent })?;
    }
    Ok(())
}

/// Keeps what a peer says of mailboxes. Returns what is to be told.
pub(super) fn take_offer(
    rows: &Rows<'_>,
    from: UserId,
    offered: Offered,
    now: UnixMillis,
) -> Result<Option<ProblemCause>, VaultError> {
    note_left(rows, from, &offered, now)?;
    let invite = match offered {
        Offered::Nothing => return Ok(None),
        Offered::Unreadable => return Ok(Some(ProblemCause::OfferUnreadable)),
        Offered::Takes(invite) => invite,
    };
    // Only contacts: a stranger makes nothing grow, and learns nothing.
    if peer(rows, from)?.name.is_none() {
        return Ok(None);
    }
    let found = rows.get::<CorrespondentRecord>(&from.to_string())?;
    let mut correspondent = found.unwrap_or_else(|| CorrespondentRecord::new(from));
    let is_known = |invite: &Invite| correspondent.theirs.as_ref().is_some_and(|theirs| theirs.is_of(invite));
    let is_new = invite.as_ref().is_some_and(|invite| !is_known(invite));
    let is_back = correspondent.is_theirs_left && invite.is_some();
    if correspondent.takes_offers && !is_new && !is_back {
        return Ok(None);
    }
    correspondent.takes_offers = true;
    correspondent.is_theirs_left &= !is_back;
    if let Some(invite) = invite.filter(|_| is_new) {
        correspondent.theirs = Some(Recipient::of_slot(&invite));
        correspondent.card_asked_at = None;
        // They are of the slot before.
        for deposit in rows.of_peer::<DepositRecord>(from)? {
            rows.remove::<DepositRecord>(&DepositRecord::name_of(from, &deposit.hash))?;
        }
    }
    rows.put(&correspondent)?;
    Ok(None)
}

/// Takes the deposits of a message that has left the outbox for what they still are: numbers that are missing.
pub(super) fn detach(rows: &Rows<'_>, to: UserId, message: &str, keeps: bool) -> Result<(), VaultError> {
    for deposit in rows.of_peer::<DepositRecord>(to)? {
        if deposit.message.as_deref() != Some(message) {
            continue;
        }
        let name = DepositRecord::name_of(to, &deposit.hash);
        if keeps && deposit.deposit.taken.is_empty() {
            rows.put(&DepositRecord { message: None, ..deposit })?;
        } else {
            rows.remove::<DepositRecord>(&name)?;
        }
    }
    Ok(())
}

/// Returns by which door the next message to a peer goes, as far as is known here.
pub(super) fn door(rows: &Rows<'_>, to: UserId) -> Result<Door, VaultError> {
    let correspondent = rows.get::<CorrespondentRecord>(&to.to_string())?;
    let is_offered = correspondent.is_some_and(|correspondent| correspondent.in_use().is_some());
    Ok(if is_offered { Door::Mailbox } else { Door::Retalk { why: RetalkReason::NotOffered } })
}

/// Returns what is known of the own mailbox, once there is one.
pub(super) fn status(rows: &Rows<'_>) -> Result<Option<MailboxStatus>, VaultError> {
    let record = rows.get::<MailboxRecord>("")?.filter(|record| !record.own.relays.is_empty());
    Ok(record.map(|record| MailboxStatus {
        address: record.address().to_string(),
        is_open: record.own.relays.iter().all(|relay| record.own.is_published_at(relay)),
        refused: record.refused.map(|(_, code)| code),
    }))
}

impl User {
    /// Leaves what is encrypted in the peer's mailbox. The reason says why it is to go by the other door.
    pub(super) fn leave(
        &mut self,
        relay: &Relay<'_>,
        to: UserId,
        message: &OutgoingRecord,
        ciphertext: &Ciphertext,
        now: UnixMillis,
    ) -> Result<Result<(), RetalkReason>, UserError> {
        let mailboxes = match self.mailboxes_for(relay, to, now)? {
            Ok(mailboxes) => mailboxes,
            Err(why) => return Ok(Err(why)),
        };
        match self.vault.change(|rows| write_deposit(rows, to, Some(message), ciphertext, now))? {
            Ok(deposit) => self.hand_in(&mailboxes, deposit, now),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Leaves in the peer's mailbox, unless there is a reason not to, what `encrypt` returns, which is in no outbox: its deposit
    /// is written in the transaction in which it is encrypted, so that it is not lost with a program that is killed after that.
    /// Returns what is encrypted, and the reason why it is to go by the other door; nothing where nothing is encrypted.
    pub(super) fn leave_with(
        &mut self,
        relay: &Relay<'_>,
        to: UserId,
        why_not: Option<RetalkReason>,
        now: UnixMillis,
        encrypt: impl FnOnce(&Rows<'_>) -> Result<Option<Ciphertext>, UserError>,
    ) -> Result<Option<(Ciphertext, Left)>, UserError> {
        let mailboxes = match why_not {
            Some(why) => Err(why),
            None => self.mailboxes_for(relay, to, now)?,
        };
        let written = self.vault.change(|rows| {
            let Some(ciphertext) = encrypt(rows)? else { return Ok::<_, UserError>(None) };
            let deposit = match &mailboxes {
                Ok(mailboxes) => write_deposit(rows, to, None, &ciphertext, now)?.map(|deposit| (mailboxes, deposit)),
                Err(why) => Err(why.clone()),
            };
            Ok(Some((ciphertext, deposit)))
        })?;
        let Some((ciphertext, deposit)) = written else { return Ok(None) };
        let left = match deposit {
            Ok((mailboxes, deposit)) => self.hand_in(mailboxes, deposit, now)?,
            Err(why) => Err(why),
        };
        Ok(Some((ciphertext, left)))
    }

    /// Returns the door for the mailbox of a peer, whose card is known.
    fn mailboxes_for<'a>(
        &mut self,
        relay: &Relay<'a>,
        to: UserId,
        now: UnixMillis,
    ) -> Result<Result<MailboxRelay<'a>, RetalkReason>, UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else {
            return Ok(Err(RetalkReason::Unreached { reason: Unreached::Held.to_string() }));
        };
        Ok(self.refresh_card(&mailboxes, to, now)?.map(|()| mailboxes))
    }

    /// Asks for the card of a peer's mailbox where that is due: it has the keys to seal to.
    fn refresh_card(
        &mut self,
        mailboxes: &MailboxRelay<'_>,
        to: UserId,
        now: UnixMillis,
    ) -> Result<Result<(), RetalkReason>, UserError> {
        let found = self.vault.read(|rows| rows.get::<CorrespondentRecord>(&to.to_string()))?;
        let in_use = found.as_ref().and_then(|found| Some((found.in_use()?, found.card_asked_at)));
        let Some((theirs, card_asked_at)) = in_use else { return Ok(Err(RetalkReason::NotOffered)) };
        // No other relay than the user's own learns of the user, whatever a peer offers.
        if !theirs.relays().iter().any(|relay| relay == mailboxes.origin()) {
            return Ok(Err(RetalkReason::OtherRelay));
        }
        let key = theirs.sealing_key(&name_of(to)?, now);
        let lasts = if key.is_ok() { CARD_LASTS } else { CARD_ASKED_AGAIN_AFTER };
        if card_asked_at.is_some_and(|at| !is_over(at, lasts, now)) {
            return Ok(key.map(drop).map_err(|error| RetalkReason::of_contact(&error)));
        }
        let answer = mailboxes.card(theirs.mailbox());
        let taken = self.vault.change(|rows| {
            let Some(mut current) = rows.get::<CorrespondentRecord>(&to.to_string())? else { return Ok(None) };
            current.card_asked_at = Some(now);
            let theirs = current.theirs.as_mut();
            let taken = answer.as_ref().ok().zip(theirs).map(|(json, theirs)| {
                Signed::parse(json).map_err(RecipientError::from).and_then(|card| theirs.take_card(card, now))
            });
            rows.put(&current)?;
            Ok::<_, UserError>(taken)
        })?;
        Ok(match (key, answer, taken) {
            (Ok(_), ..) | (_, _, Some(Ok(_))) => Ok(()),
            (_, Err(error), _) => Err(RetalkReason::of(&error)),
            (_, _, Some(Err(error))) => Err(RetalkReason::of_contact(&error)),
            (Err(error), _, None) => Err(RetalkReason::of_contact(&error)),
        })
    }

    /// Brings a deposit to the mailbox that it is for, and writes down what became of it.
    fn hand_in(
        &mut self,
        mailboxes: &MailboxRelay<'_>,
        record: DepositRecord,
        now: UnixMillis,
    ) -> Result<Result<(), RetalkReason>, UserError> {
        let DepositRecord { to, hash, deposit, .. } = &record;
        let found = self.vault.read(|rows| rows.get::<CorrespondentRecord>(&to.to_string()))?;
        let Some(theirs) = found.and_then(|correspondent| correspondent.theirs) else {
            return Ok(Err(RetalkReason::NotOffered));
        };
        let answer = match mailboxes.deposit(theirs.mailbox(), &deposit.deposit, &deposit.sealed) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(RetalkReason::of(&error))),
        };
        self.vault.change(|rows| {
            let name = DepositRecord::name_of(*to, hash);
            let Some(mut current) = rows.get::<DepositRecord>(&name)? else { return Ok(Ok(())) };
            let mut is_read = false;
            if let Some(ack) = &answer.ack
                && let Some(mut correspondent) = rows.get::<CorrespondentRecord>(&to.to_string())?
                && let Some(theirs) = &mut correspondent.theirs
            {
                let ack = Signed::parse(ack.get()).map_err(RecipientError::from);
                let taken = ack.and_then(|ack| theirs.take_ack(ack, now, std::slice::from_mut(&mut current.deposit)));
                is_read = taken.is_ok() && theirs.has(current.deposit.slot, current.deposit.sequence);
                rows.put(&correspondent)?;
            }
            if current.deposit.ended_unread || answer.ended {
                // The next attempt has a number of its own.
                rows.remove::<DepositRecord>(&name)?;
                return Ok(Err(RetalkReason::EndedUnread));
            }
            if !(is_read || answer.accepted || answer.duplicate) {
                return Ok(Err(RetalkReason::NotTaken));
            }
            if current.message.is_none() {
                rows.remove::<DepositRecord>(&name)?;
                return Ok(Ok(()));
            }
            if is_read {
                current.read_at = current.read_at.or(Some(now));
            }
            current.taken_at = current.taken_at.or(Some(now));
            current.deposit.taken = vec![mailboxes.origin().to_owned()];
            rows.put(&current)?;
            Ok(Ok(()))
        })
    }

    /// Brings what is not in the outbox and was taken by no mailbox yet: without it, a number is missing there.
    pub(super) fn leave_again(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<(), UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else { return Ok(()) };
        let mut silent = BTreeSet::new();
        for record in self.vault.read(|rows| rows.all::<DepositRecord>())? {
            if record.message.is_some() || silent.contains(&record.to) {
                continue;
            }
            if record.deposit.expires_at <= now {
                let name = DepositRecord::name_of(record.to, &record.hash);
                self.vault.change(|rows| rows.remove::<DepositRecord>(&name))?;
                continue;
            }
            let to = record.to;
            if self.hand_in(&mailboxes, record, now)?.is_err() {
                silent.insert(to);
            }
        }
        Ok(())
    }

    /// Lists a slot for each contact whose program takes offers, and puts the records of the own mailbox to the relay, where
    /// the relay does not have them.
    pub(super) fn open_mailbox(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<(), UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else { return Ok(()) };
        let origin = mailboxes.origin();
        if !self.vault.read(|rows| wants_opening(rows, origin, now))? {
            return Ok(());
        }
        self.vault.change(|rows| list_slots(rows, origin, now))?;
        let Some(record) = self.vault.read(|rows| rows.get::<MailboxRecord>(""))? else { return Ok(()) };
        let problems = publish(&mut InVault(&mut self.vault), &[mailboxes], &record.owner(), now)?;
        self.vault.change(|rows| {
            let Some(record) = rows.get::<MailboxRecord>("")? else { return Ok(()) };
            let refused = match problems.first() {
                None => None,
                Some(MailboxRelayError::Unreachable { .. }) => return Ok(()),
                Some(error) => Some((now, error.name())),
            };
            if refused == record.refused { Ok(()) } else { Ok(rows.put(&MailboxRecord { refused, ..record })?) }
        })
    }

    /// Returns by which door messages are to be expected at this relay.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn expected(&self, relay: &Relay<'_>) -> Result<Expected, UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else { return Ok(Expected::ByRetalk) };
        self.vault.read(|rows| {
            let record = rows.get::<MailboxRecord>("")?;
            if !record.is_some_and(|record| record.own.is_published_at(mailboxes.origin())) {
                return Ok(Expected::ByRetalk);
            }
            for peer in rows.all::<PeerRecord>()?.iter().filter(|peer| may_have_slot(peer)) {
                let correspondent = rows.get::<CorrespondentRecord>(&peer.id.to_string())?;
                if !correspondent.is_some_and(|correspondent| correspondent.is_slot_used) {
                    return Ok(Expected::ByEither);
                }
            }
            Ok(Expected::ByMailbox)
        })
    }

    /// Returns what opens a connection on which the relay tells the news of the own mailbox, good for a minute; absent where
    /// the relay does not have that mailbox.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn listen(&self, relay: &Relay<'_>, now: UnixMillis) -> Result<Option<Listen>, UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else { return Ok(None) };
        let Some(record) = self.vault.read(|rows| rows.get::<MailboxRecord>(""))? else { return Ok(None) };
        if !record.own.is_published_at(mailboxes.origin()) {
            return Ok(None);
        }
        let listen = Listen::new(&mailboxes, record.address(), &record.owner(), random()?, now);
        Ok(Some(listen.map_err(OwnError::from)?))
    }

    /// Takes what waits in the own mailbox: writes it down, then acknowledges it.
    pub(super) fn collect(
        &mut self,
        relay: &Relay<'_>,
        now: UnixMillis,
        problems: &mut Vec<Problem>,
    ) -> Result<(), UserError> {
        let Some(mailboxes) = mailboxes_of(relay) else { return Ok(()) };
        let mut left_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            let Some(record) = self.vault.read(|rows| rows.get::<MailboxRecord>(""))? else { return Ok(()) };
            if !record.own.is_published_at(mailboxes.origin()) {
                return Ok(());
            }
            let address = record.address();
            let (owner, nonce) = (record.owner(), random()?);
            let question = record.own.question(&owner, address, mailboxes.origin(), left_rounds, nonce, now)?;
            let answer = match mailboxes.collect(address, &question.to_json()) {
                Ok(answer) => answer,
                Err(error) => {
                    if matches!(error.refusal(), Some(Code::MailboxUnknown | Code::MailboxClosed)) {
                        self.vault.change(|rows| begin_anew(rows, mailboxes.origin(), now))?;
                    }
                    problems.push(Problem { peer: None, cause: ProblemCause::Mailbox { reason: error.to_string() } });
                    return Ok(());
                }
            };
            let (acks, is_left) = self.vault.change(|rows| take_in(rows, &answer.messages, now, problems))?;
            for acks in acks.chunks(ACKS_MAX) {
                // Where it is lost the messages come again, and it with them.
                if let Err(error) = mailboxes.acknowledge(address, acks) {
                    problems.push(Problem { peer: None, cause: ProblemCause::Mailbox { reason: error.to_string() } });
                }
            }
            if !answer.more {
                break;
            }
            left_rounds += u8::from(is_left);
        }
        Ok(())
    }
}

/// Writes a deposit for a peer's mailbox, or finds the one that was written before.
fn write_deposit(
    rows: &Rows<'_>,
    to: UserId,
    message: Option<&OutgoingRecord>,
    ciphertext: &Ciphertext,
    now: UnixMillis,
) -> Result<Result<DepositRecord, RetalkReason>, UserError> {
    let Some(mut correspondent) = rows.get::<CorrespondentRecord>(&to.to_string())? else {
        return Ok(Err(RetalkReason::NotOffered));
    };
    let Some(theirs) = &mut correspondent.theirs else { return Ok(Err(RetalkReason::NotOffered)) };
    let is_ahead = |earlier: &OutgoingRecord| {
        message.is_some_and(|message| earlier.number < message.number)
            && matches!(earlier.door, Some(Door::Retalk { .. }))
            && earlier.state != OutgoingState::Refused
    };
    if rows.of_peer::<OutgoingRecord>(to)?.iter().any(is_ahead) {
        return Ok(Err(RetalkReason::EarlierMessage));
    }
    let hash = body_hash(ciphertext);
    let name = DepositRecord::name_of(to, &hash);
    if let Some(deposit) = rows.get::<DepositRecord>(&name)? {
        let has_ended = deposit.deposit.expires_at <= now;
        if deposit.is_not_acknowledged(now) && (deposit.read_at.is_some() || !has_ended) {
            return Ok(Err(RetalkReason::NotAcknowledged));
        }
        if !has_ended {
            return Ok(Ok(deposit));
        }
        rows.remove::<DepositRecord>(&name)?;
    }
    if rows.of_peer::<DepositRecord>(to)?.len() >= DEPOSITS_MAX {
        return Ok(Err(RetalkReason::TooManyUnacknowledged));
    }
    let Some(content) = content_of(ciphertext) else { return Ok(Err(RetalkReason::TooLong)) };
    let own = own(rows, now)?;
    rows.put(&own)?;
    let life = (now, now.after(DEPOSIT_MAX_LIFETIME));
    let deposit = match theirs.write(&name_of(to)?, &own.owner(), content, false, life) {
        Ok(deposit) => deposit,
        Err(error) => return Ok(Err(RetalkReason::of_contact(&error))),
    };
    let number = rows.next_place::<DepositRecord>()?;
    let message = message.map(|message| message.id.clone());
    let record = DepositRecord { to, hash, number, message, deposit, taken_at: None, read_at: None };
    rows.put(&record)?;
    rows.put(&correspondent)?;
    Ok(Ok(record))
}

/// Returns whether a peer may have a slot: a contact that is not blocked.
const fn may_have_slot(peer: &PeerRecord) -> bool {
    peer.name.is_some() && !peer.is_blocked
}

/// Returns the peers who have a slot and may not: once it is struck off, the relay takes nothing more of theirs.
fn no_longer_listed(rows: &Rows<'_>) -> Result<Vec<CorrespondentRecord>, VaultError> {
    let mut listed = Vec::new();
    for correspondent in rows.all::<CorrespondentRecord>()? {
        if correspondent.slot.is_some() && !may_have_slot(&peer(rows, correspondent.id)?) {
            listed.push(correspondent);
        }
    }
    Ok(listed)
}

/// Returns the contacts who are to be offered a slot.
fn unlisted(rows: &Rows<'_>) -> Result<Vec<CorrespondentRecord>, VaultError> {
    let mut unlisted = Vec::new();
    for correspondent in rows.all::<CorrespondentRecord>()? {
        if correspondent.takes_offers && correspondent.slot.is_none() && may_have_slot(&peer(rows, correspondent.id)?) {
            unlisted.push(correspondent);
        }
    }
    Ok(unlisted)
}

/// Returns whether the relay lacks something of the own mailbox, and may be asked to take it.
fn wants_opening(rows: &Rows<'_>, origin: &str, now: UnixMillis) -> Result<bool, UserError> {
    let Some(record) = rows.get::<MailboxRecord>("")? else { return Ok(!unlisted(rows)?.is_empty()) };
    let is_here = record.own.relays.iter().any(|relay| relay == origin);
    // What one relay refuses, another one may take.
    if is_here && record.is_refused_lately(now) {
        return Ok(false);
    }
    let is_due = !is_here || !record.own.lagging().is_empty() || record.own.wants_sealing_keys(now);
    // One that was made for its key alone is opened for nobody.
    let is_used = !record.own.slots.is_empty();
    Ok((is_due && is_used) || !unlisted(rows)?.is_empty() || !no_longer_listed(rows)?.is_empty())
}

/// Lists what the next revision of the own mailbox has: this relay, a slot of each contact, keys that have not ended.
fn list_slots(rows: &Rows<'_>, origin: &str, now: UnixMillis) -> Result<(), UserError> {
    let mut record = own(rows, now)?;
    if record.own.relays != [origin] {
        rows.put(&record)?;
        if !record.own.relays.is_empty() {
            // Another relay knows nothing of how far the numbers of the slots have come.
            renew_slots(rows, &mut record, now)?;
        }
        record.own.relays = vec![origin.to_owned()];
        record.refused = None;
        record.own.revise(now);
    }
    for correspondent in no_longer_listed(rows)? {
        record.own.strike_off(&name_of(correspondent.id)?, now)?;
        record.own.revise(now);
        rows.put(&CorrespondentRecord { slot: None, is_slot_used: false, ..correspondent })?;
    }
    for mut correspondent in unlisted(rows)? {
        let seed = random()?;
        let key = PrivateKey::from_seed(&seed).public_key();
        match record.own.add_contact(&name_of(correspondent.id)?, key) {
            Ok(()) => {}
            // The others go on by the other door.
            Err(OwnError::TooMany { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        correspondent.slot = Some(Bytes(seed));
        rows.put(&correspondent)?;
        record.own.revise(now);
    }
    if record.own.wants_sealing_keys(now) {
        record.own.add_sealing_keys(random()?, random()?, now);
        record.own.revise(now);
    }
    rows.put(&record)?;
    Ok(())
}

/// Strikes all slots off. New ones are listed, and offered, with the next records.
fn renew_slots(rows: &Rows<'_>, record: &mut MailboxRecord, now: UnixMillis) -> Result<(), UserError> {
    for correspondent in rows.all::<CorrespondentRecord>()? {
        if correspondent.slot.is_some() {
            record.own.strike_off(&name_of(correspondent.id)?, now)?;
            rows.put(&CorrespondentRecord { slot: None, is_slot_used: false, ..correspondent })?;
        }
    }
    Ok(())
}

/// Prepares the mailbox to be opened at a relay that does not have it any more.
fn begin_anew(rows: &Rows<'_>, origin: &str, now: UnixMillis) -> Result<(), UserError> {
    let Some(mut record) = rows.get::<MailboxRecord>("")? else { return Ok(()) };
    if record.is_renewed_lately(now) {
        return Ok(());
    }
    renew_slots(rows, &mut record, now)?;
    record.renewed_at = Some(now);
    record.own.note_lost(origin);
    record.own.revise(now);
    Ok(rows.put(&record)?)
}

/// Writes down what the mailbox has handed over. Returns the acknowledgements, and whether something is left there.
fn take_in(
    rows: &Rows<'_>,
    handed_over: &[HandedOverMessage],
    now: UnixMillis,
    problems: &mut Vec<Problem>,
) -> Result<(Vec<String>, bool), UserError> {
    let Some(mut record) = rows.get::<MailboxRecord>("")? else { return Ok((Vec::new(), false)) };
    let (address, owner) = (record.address(), record.owner());
    record.own.settle(now);
    let (mut slots, mut is_left, mut has_unknown) = (BTreeSet::new(), false, false);
    for handed_over in handed_over.iter().take(COLLECT_MAX_MESSAGES as usize) {
        let message = match judge(handed_over, &record.own, address, now) {
            Ok(Judged::New(message)) => message,
            Ok(Judged::Known { slot }) => {
                slots.insert(slot);
                continue;
            }
            Err(LeftThere::SlotUnknown) => {
                (is_left, has_unknown) = (true, true);
                continue;
            }
            // It ends there.
            Ok(Judged::HandedOn) | Err(_) => {
                is_left = true;
                continue;
            }
        };
        let from = message.name.as_ref().and_then(|name| name.as_str().parse::<UserId>().ok());
        let ciphertext = message.opened().and_then(|(_, content)| ciphertext_of(content));
        match (from, ciphertext) {
            (Some(from), Some(ciphertext)) => {
                let number = rows.next_place::<IncomingRecord>()?;
                let hash = body_hash(&ciphertext);
                rows.put(&IncomingRecord { number, from, ciphertext, hash, received_at: now })?;
                if let Some(correspondent) = rows.get::<CorrespondentRecord>(&from.to_string())?
                    && !correspondent.is_slot_used
                {
                    let of_slot = correspondent
                        .slot
                        .is_some_and(|seed| PrivateKey::from_seed(&seed.0).public_key() == message.slot());
                    rows.put(&CorrespondentRecord { is_slot_used: of_slot, ..correspondent })?;
                }
            }
            (from, _) => problems.push(Problem { peer: from, cause: ProblemCause::NoMessage }),
        }
        // Also what could not be opened: its sender has it in the outbox, and brings it by the other door.
        record.own.accept(&message.incoming, now)?;
        slots.insert(message.slot());
    }
    let mut acks = Vec::new();
    for slot in slots {
        acks.extend(record.own.acknowledgement(slot, &owner, address, now)?);
    }
    if has_unknown {
        problems.push(Problem { peer: None, cause: ProblemCause::SlotUnknown });
        if !record.is_renewed_lately(now) {
            // With the next records the relay takes nothing more of it, and its sender goes by the other door.
            record.renewed_at = Some(now);
            record.own.revise(now);
        }
    }
    rows.put(&record)?;
    Ok((acks, is_left))
}
