//! Messages on their way to one contact: written down first, left at two relays, and forgotten when the recipient has them.

use std::collections::BTreeSet;
use std::time::Duration;

use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::fetch::FetchError;
use rendezvous_protocol::base64;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::limits::CONTACT_LIMIT_MAX;
use rendezvous_protocol::mailbox::record::{Card, SlotQuestion};
use rendezvous_protocol::time::UnixMillis;

use crate::name::Name;
use crate::recipient::{PendingMessage, Recipient};
use crate::relay::{MailboxRelay, MailboxRelayError};
use crate::session::Session;
use crate::store::random;

/// Relays at which a message is left: one may die, and one may lie.
const COPIES: usize = 2;

/// Messages of one contact that wait in the outbox: as many as can wait at relays, and as many again.
const OUTBOX_MAX: usize = 2 * CONTACT_LIMIT_MAX as usize;

/// Says why nothing is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendingError {
    /// Nobody of that name.
    #[error("there is no contact {name}: `rendezvous contact add {name}` makes one of an invite")]
    ContactUnknown {
        /// The name.
        name: Name,
    },
    /// Too much on its way.
    #[error("{OUTBOX_MAX} messages to {name} wait already: `rendezvous outbox` says what for, and tries them again")]
    OutboxFull {
        /// The name.
        name: Name,
    },
}

impl Cause for SendingError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Holds what has become of messages.
#[derive(Default)]
pub(crate) struct Settled {
    /// The recipient has them.
    pub(crate) read: Vec<PendingMessage>,
    /// They ended before that.
    pub(crate) ended: Vec<PendingMessage>,
}

/// One contact, and what is on its way there.
pub(crate) struct Sending<'a> {
    session: &'a Session<'a>,
    name: Name,
    contact: Recipient,
    /// What waits, the oldest number of each slot first.
    pub(crate) outgoing: Vec<PendingMessage>,
    /// Relays that let a request run out of time. Each message and slot would wait for them anew, and all other runs too.
    silent: BTreeSet<String>,
}

impl<'a> Sending<'a> {
    /// Reads it from the store.
    pub(crate) fn load(session: &'a Session<'a>, name: &Name) -> Result<Self, Failure> {
        let contact: Option<Recipient> = session.store.contact(name)?;
        let mut contact = contact.ok_or_else(|| SendingError::ContactUnknown { name: name.clone() })?;
        let mut outgoing = Vec::new();
        for file in session.store.outbox()? {
            outgoing
                .extend(session.store.outgoing::<PendingMessage>(&file)?.filter(|outgoing| outgoing.contact == *name));
        }
        outgoing.sort_by_key(|outgoing| (!contact.is_invite(outgoing.slot), outgoing.sequence));
        outgoing.iter().for_each(|outgoing| contact.note_used(outgoing));
        Ok(Self { session, name: name.clone(), contact, outgoing, silent: BTreeSet::new() })
    }

    fn save_contact(&self) -> Result<(), Failure> {
        self.session.store.set_contact(&self.name, &self.contact)
    }

    fn relays(&self) -> Result<Vec<MailboxRelay<'a>>, MailboxRelayError> {
        self.contact.relays().iter().map(|relay| self.session.relay(relay)).collect()
    }

    fn note_silence(&mut self, relay: &MailboxRelay<'_>, error: &MailboxRelayError) {
        if matches!(error, MailboxRelayError::Unreachable { error: FetchError::TimedOut, .. }) {
            self.silent.insert(relay.origin().to_owned());
        }
    }

    /// Asks all relays for the card: the newest that any of them has is the one that counts.
    pub(crate) fn refresh_card(&mut self) -> Result<(), Failure> {
        let now = self.session.now()?;
        for relay in self.relays()? {
            let answer = relay.card(self.contact.mailbox()).inspect_err(|error| self.note_silence(&relay, error));
            let taken = answer.map_err(|error| error.to_string()).and_then(|json| {
                let card = Signed::<Card>::parse(&json).map_err(|error| error.to_string())?;
                self.contact.take_card(card, now).map_err(|error| format!("{}: {error}", relay.origin()))
            });
            match taken {
                Ok(true) => self.save_contact()?,
                Ok(false) => {}
                Err(error) => self.session.log.note(format_args!("no card from a relay: {error}")),
            }
        }
        Ok(())
    }

    /// Asks for the acknowledgements of every slot of which something waits.
    pub(crate) fn ask_for_receipts(&mut self) -> Result<(), Failure> {
        let slots: Vec<PrivateKey> = self.contact.slots().map(|slot| slot.key()).collect();
        for key in slots {
            let slot = key.public_key();
            for relay in self.relays()? {
                if !self.outgoing.iter().any(|it| it.slot == slot && !self.contact.has(slot, it.sequence)) {
                    break;
                }
                if self.silent.contains(relay.origin()) {
                    continue;
                }
                match self.receipt(&relay, &key)? {
                    Ok(Some(ack)) => self.take_ack(&ack, relay.origin())?,
                    Ok(None) => {}
                    Err(error) => {
                        self.note_silence(&relay, &error);
                        self.session.log.note(format_args!("no receipt: {error}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn receipt(
        &self,
        relay: &MailboxRelay<'_>,
        key: &PrivateKey,
    ) -> Result<Result<Option<String>, MailboxRelayError>, Failure> {
        let mailbox = self.contact.mailbox();
        let question = SlotQuestion {
            audience: relay.origin().to_owned(),
            issued_at: self.session.now()?,
            mailbox,
            nonce: Bytes(random()?),
        };
        let question = Signed::sign(question, key).map_err(crate::recipient::RecipientError::from)?;
        Ok(relay.receipt(mailbox, &question.to_json()))
    }

    fn take_ack(&mut self, json: &str, relay: &str) -> Result<(), Failure> {
        let now = self.session.now()?;
        let ack = Signed::parse(json).map_err(Into::into);
        let taken = ack.and_then(|ack| self.contact.take_ack(ack, now, &mut self.outgoing));
        match taken {
            Ok(true) => {
                // First: a number that the contact has, and of which nothing else is known, is one that was read.
                for outgoing in self.outgoing.iter().filter(|it| it.ended_unread) {
                    self.session.store.set_outgoing(&outgoing.file(), outgoing)?;
                }
                self.save_contact()
            }
            Ok(false) => Ok(()),
            Err(error) => {
                self.session.log.note(format_args!("{relay}: {error}"));
                Ok(())
            }
        }
    }

    /// Takes out of the outbox what the recipient has, and what is over.
    pub(crate) fn settle(&mut self) -> Result<Settled, Failure> {
        let now = self.session.now()?;
        let mut settled = Settled::default();
        for outgoing in std::mem::take(&mut self.outgoing) {
            if self.has(&outgoing) {
                self.session.store.remove_outgoing(&outgoing.file())?;
                settled.read.push(outgoing);
            } else if outgoing.ended_unread || outgoing.expires_at <= now {
                self.session.store.remove_outgoing(&outgoing.file())?;
                settled.ended.push(outgoing);
            } else {
                self.outgoing.push(outgoing);
            }
        }
        Ok(settled)
    }

    /// Returns whether the recipient has a message.
    pub(crate) fn has(&self, message: &PendingMessage) -> bool {
        !message.ended_unread && self.contact.has(message.slot, message.sequence)
    }

    /// Returns what is known of a message now, or what was written anew in its place.
    pub(crate) fn follow(&self, message: PendingMessage) -> PendingMessage {
        let same = self.outgoing.iter().find(|it| it.content_id == message.content_id);
        let may_be_anew = self.contact.is_invite(message.slot) && !self.has(&message);
        let anew = || self.outgoing.iter().rfind(|it| may_be_anew && !self.contact.is_invite(it.slot));
        same.or_else(anew).cloned().unwrap_or(message)
    }

    /// Settles, and notes where this message is one of those that have ended.
    pub(crate) fn settle_with(&mut self, message: &mut PendingMessage) -> Result<(), Failure> {
        let ended = self.settle()?.ended;
        if let Some(ended) = ended.into_iter().find(|it| it.content_id == message.content_id) {
            *message = ended;
        }
        Ok(())
    }

    /// Writes a message down, numbered and sealed. It has not left yet.
    pub(crate) fn write(
        &mut self,
        from: &PrivateKey,
        content: Vec<u8>,
        lifetime: Duration,
    ) -> Result<PendingMessage, Failure> {
        if self.outgoing.len() >= OUTBOX_MAX {
            return Err(SendingError::OutboxFull { name: self.name.clone() }.into());
        }
        let now = self.session.now()?;
        let waits = self.outgoing.iter().any(|outgoing| self.contact.is_invite(outgoing.slot));
        self.write_until(from, content, waits, (now, now.after(lifetime)))
    }

    fn write_until(
        &mut self,
        from: &PrivateKey,
        content: Vec<u8>,
        waits: bool,
        life: (UnixMillis, UnixMillis),
    ) -> Result<PendingMessage, Failure> {
        let outgoing = self.contact.write(&self.name, from, content, waits, life)?;
        // In this order: a number that stands in the outbox is used, whether or not it stands here too.
        self.session.store.set_outgoing(&outgoing.file(), &outgoing)?;
        self.save_contact()?;
        self.outgoing.push(outgoing.clone());
        Ok(outgoing)
    }

    /// Leaves what waits at relays, as far as they take it.
    pub(crate) fn deliver(&mut self, from: &PrivateKey) -> Result<(), Failure> {
        let relays = self.relays()?;
        for at in 0..self.outgoing.len() {
            for relay in &relays {
                self.leave(at, relay)?;
            }
        }
        self.move_from_invite(from)
    }

    fn leave(&mut self, at: usize, relay: &MailboxRelay<'_>) -> Result<(), Failure> {
        let Some(outgoing) = self.outgoing.get(at) else { return Ok(()) };
        let is_taken = |origin: &str| outgoing.taken.iter().any(|taken| taken == origin);
        if outgoing.taken.len() >= COPIES
            || is_taken(relay.origin())
            || self.contact.has(outgoing.slot, outgoing.sequence)
        {
            return Ok(());
        }
        let (mut taken, mut problem) = (outgoing.taken.clone(), outgoing.problem.clone());
        let answer = if self.silent.contains(relay.origin()) {
            let relay = relay.origin().to_owned();
            Err(MailboxRelayError::Unreachable { relay, error: FetchError::TimedOut })
        } else {
            relay.deposit(self.contact.mailbox(), &outgoing.deposit, &outgoing.sealed)
        };
        match answer {
            Ok(answer) if answer.acknowledged => {
                if let Some(ack) = answer.ack {
                    self.take_ack(ack.get(), relay.origin())?;
                }
            }
            Ok(answer) if answer.accepted || answer.duplicate => {
                taken.push(relay.origin().to_owned());
                problem = None;
            }
            Ok(answer) => problem = Some(if answer.ended { "EXPIRED" } else { "NOT_TAKEN" }.to_owned()),
            Err(error) => {
                problem = Some(error.name());
                if !self.silent.contains(relay.origin()) {
                    self.session.log.note(format_args!("{error}"));
                }
                self.note_silence(relay, &error);
            }
        }
        if let Some(outgoing) = self.outgoing.get_mut(at) {
            (outgoing.taken, outgoing.problem) = (taken, problem);
            self.session.store.set_outgoing(&outgoing.file(), outgoing)?;
        }
        Ok(())
    }

    /// An invite ends. What was written over it and came too late is written anew over the slot that it introduced, if that
    /// is listed.
    fn move_from_invite(&mut self, from: &PrivateKey) -> Result<(), Failure> {
        let unknown = Code::SlotUnknown.as_str();
        let is_late =
            |it: &PendingMessage| it.taken.is_empty() && it.content.is_some() && it.problem.as_deref() == Some(unknown);
        if !self.outgoing.iter().any(is_late) || !self.is_listed()? {
            return Ok(());
        }
        self.contact.note_introduced();
        self.save_contact()?;
        let now = self.session.now()?;
        let (late, rest): (Vec<PendingMessage>, Vec<PendingMessage>) =
            std::mem::take(&mut self.outgoing).into_iter().partition(is_late);
        self.outgoing = rest;
        let first = self.outgoing.len();
        for old in late {
            let content = old.content.as_deref().and_then(base64::decode).unwrap_or_default();
            self.write_until(from, content, false, (now, old.expires_at))?;
            self.session.store.remove_outgoing(&old.file())?;
        }
        let relays = self.relays()?;
        for at in first..self.outgoing.len() {
            for relay in &relays {
                self.leave(at, relay)?;
            }
        }
        Ok(())
    }

    /// Returns whether a relay knows the slot whose key nobody else has had.
    fn is_listed(&self) -> Result<bool, Failure> {
        let key = self.contact.own_slot().key();
        for relay in self.relays()? {
            if self.receipt(&relay, &key)?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
