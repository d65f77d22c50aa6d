//! The outbox: from a text to the recipient's acknowledgement.

use std::time::Duration;

use rendezvous_protocol::mailbox::bytes::sha256;
use rendezvous_protocol::retalk::limits::{MESSAGE_MAX_BYTES, MESSAGES_PER_SENDER};
use rendezvous_protocol::retalk::request::Tool;
use rendezvous_protocol::retalk::user::{UserId, hex};
use rendezvous_protocol::time::UnixMillis;

use super::account::User;
use super::conversation::{Prekey, encrypt, has_session, retire_sessions};
use super::error::UserError;
use super::mailbox::{detach, is_over, offer};
use super::outgoing::{Door, Outgoing, OutgoingState, RetalkReason};
use super::payload::{self, Offer};
use super::problem::{Problem, ProblemCause};
use super::record::{CancelledRecord, Ciphertext, DueRecord, InboxRecord, OutgoingRecord, PeerRecord, peer};
use crate::transport::{Claimed, Relay, RelayError, Sent};
use crate::vault::{Rows, VaultError, random};

/// Messages in the outbox.
const OUTBOX_MAX: usize = 10_000;

/// Messages that are remembered as cancelled, for whoever waits for their acknowledgement.
const CANCELLED_MAX: usize = 1_024;

/// What Olm adds to a plaintext, at most: keys, a counter, padding and the code that authenticates.
const OLM_OVERHEAD_BYTES: usize = 512;

/// Bytes of what is encrypted, so that its base64 is within what a relay takes.
const PLAINTEXT_MAX_BYTES: usize = MESSAGE_MAX_BYTES / 4 * 3 - OLM_OVERHEAD_BYTES;

/// Messages to one peer that may be on their way: Olm keeps 40 keys of messages that were passed over.
const WINDOW: usize = MESSAGES_PER_SENDER;

/// How often a message is encrypted anew that its recipient refuses.
const REFUSALS_MAX: u32 = 3;

/// How long after sessions with a peer were given up nothing that cannot be opened gives up those that followed.
const GIVEN_UP_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The reason of a message that the relay says was refused, without its recipient's signature.
const REFUSAL_NOT_SIGNED: &str = "REFUSAL_NOT_SIGNED";

/// Counts what became of messages that were sent, and whether the relay answered.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages that the relay took.
    pub(super) stored: usize,
    /// Why others were not.
    pub(super) problems: Vec<Problem>,
    /// Whether the relay could not be reached: then there is no point in going on.
    pub(super) is_unreached: bool,
}

impl Tally {
    fn note(&mut self, peer: UserId, cause: ProblemCause) {
        self.is_unreached |= matches!(cause, ProblemCause::Relay(RelayError::Unreached { .. }));
        self.problems.push(Problem { peer: Some(peer), cause });
    }
}

/// Says what to do with a message.
enum Step {
    Send(Ciphertext),
    NeedsPrekey,
    /// Too many are on their way.
    Wait,
    /// It was acknowledged or cancelled meanwhile, or is refused for good.
    Skip,
}

impl User {
    /// Puts a message into the outbox, and sends it with all others to the same peer that no relay has. Where the relay cannot
    /// be reached or has no room the message waits, and [`Outgoing::state`] says why.
    ///
    /// # Errors
    /// Nothing is kept of a message that is [`UserError::TextEmpty`], [`UserError::TextTooLong`], [`UserError::ToOneself`] or
    /// [`UserError::OutboxFull`]; nor where a first message has no keys to begin with: [`UserError::PinMismatch`],
    /// [`UserError::PrekeyInvalid`] and [`UserError::Relay`], if the relay refuses. [`UserError::Vault`].
    pub fn send(&mut self, relay: &Relay<'_>, to: UserId, text: &str, now: UnixMillis) -> Result<Outgoing, UserError> {
        if text.is_empty() {
            return Err(UserError::TextEmpty);
        }
        let name = self.profile()?.name;
        self.post(relay, to, now, |id, mailbox| payload::message(id, &name, text, mailbox))
    }

    /// Puts into the outbox, and sends, what `write` makes of a new id and of what is offered of mailboxes.
    pub(super) fn post(
        &mut self,
        relay: &Relay<'_>,
        to: UserId,
        now: UnixMillis,
        write: impl Fn(&str, &Offer) -> Result<String, serde_json::Error>,
    ) -> Result<Outgoing, UserError> {
        if to == self.id {
            return Err(UserError::ToOneself);
        }
        let id = hex(&random::<16>()?);
        let write = |mailbox: &Offer| {
            write(&id, mailbox).map_err(|error| UserError::TextUnwritable { reason: error.to_string() })
        };
        let mut plaintext = write(&self.vault.read(|rows| offer(rows, to))?)?;
        if plaintext.len() > PLAINTEXT_MAX_BYTES {
            // What is offered is offered again with the next one.
            plaintext = write(&Offer::new(None))?;
        }
        if plaintext.len() > PLAINTEXT_MAX_BYTES {
            return Err(UserError::TextTooLong { bytes: plaintext.len(), most: PLAINTEXT_MAX_BYTES });
        }
        let mut state = OutgoingState::Queued;
        let prekey = match self.prepare(relay, to, now) {
            Ok(prekey) => prekey,
            Err(UserError::Relay(error @ RelayError::Unreached { .. })) => {
                state = OutgoingState::Failed { reason: error.to_string() };
                None
            }
            Err(error) => return Err(error),
        };
        let is_unreached = state != OutgoingState::Queued;
        let record = self.vault.change(|rows| {
            if rows.count::<OutgoingRecord>()? >= OUTBOX_MAX {
                return Err(UserError::OutboxFull { most: OUTBOX_MAX });
            }
            let record = OutgoingRecord {
                id,
                to,
                number: rows.next_place::<OutgoingRecord>()?,
                plaintext: Some(plaintext),
                ciphertext: None,
                created_at: now,
                tried_at: is_unreached.then_some(now),
                refusals: 0,
                state,
                door: None,
            };
            rows.put(&record)?;
            Ok::<_, UserError>(record)
        })?;
        if !is_unreached {
            self.transmit(relay, to, prekey, now, |record| record.state != OutgoingState::Stored)?;
        }
        // One that is gone was acknowledged to another program meanwhile.
        let kept = self.outgoing(&record.id)?;
        Ok(kept.unwrap_or(Outgoing { state: OutgoingState::Stored, ..record.into() }))
    }

    /// Sees to it that the relay has the user's keys, and that there is a session with the peer or a prekey to begin one.
    fn prepare(&mut self, relay: &Relay<'_>, to: UserId, now: UnixMillis) -> Result<Option<Prekey>, UserError> {
        self.ensure_published(relay, now)?;
        if self.vault.read(|rows| has_session(rows, to))? { Ok(None) } else { self.claim(relay, to, now).map(Some) }
    }

    /// Claims a prekey of a peer.
    pub(super) fn claim(&mut self, relay: &Relay<'_>, of: UserId, now: UnixMillis) -> Result<Prekey, UserError> {
        let claimed: Claimed = self.ask(relay, &Tool::ClaimKey { peer: of.to_string() }, now)?;
        let owner = self.keep_keys(&claimed.keys, of)?;
        Prekey::parse(&owner, &claimed.one_time_key).ok_or(UserError::PrekeyInvalid { peer: of })
    }

    /// Returns a message of the outbox.
    fn outgoing(&self, id: &str) -> Result<Option<Outgoing>, UserError> {
        Ok(self.vault.read(|rows| rows.get::<OutgoingRecord>(id))?.map(Outgoing::from))
    }

    /// Sends the messages to one peer that are due, in their order, until one is not taken: by the peer's mailbox where that
    /// takes them, else by the door for retalk's users.
    pub(super) fn transmit(
        &mut self,
        relay: &Relay<'_>,
        to: UserId,
        mut prekey: Option<Prekey>,
        now: UnixMillis,
        is_due: impl Fn(&OutgoingRecord) -> bool,
    ) -> Result<Tally, UserError> {
        let mut tally = Tally::default();
        let mut silent = None;
        let records = self.vault.read(|rows| rows.of_peer::<OutgoingRecord>(to))?;
        'messages: for record in records.iter().filter(|record| is_due(record)) {
            // Again after a prekey was claimed, and after a refusal, of which the last is final.
            loop {
                let sealed = match self.seal(&record.id, prekey.take()) {
                    Ok(Step::Send(ciphertext)) => Ok(ciphertext),
                    Ok(Step::Skip) => continue 'messages,
                    Ok(Step::Wait) => return Ok(tally),
                    Ok(Step::NeedsPrekey) => match self.claim(relay, to, now) {
                        Ok(claimed) => {
                            prekey = Some(claimed);
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                let ciphertext = match sealed {
                    Ok(ciphertext) => ciphertext,
                    Err(error) => {
                        let cause = error.into_cause()?;
                        self.set_state(record, None, now, OutgoingState::Failed { reason: cause.to_string() }, None)?;
                        tally.note(to, cause);
                        return Ok(tally);
                    }
                };
                let Ciphertext { body, .. } = &ciphertext;
                let left = match &silent {
                    Some(why) => Err(RetalkReason::clone(why)),
                    None => self.leave(relay, to, record, &ciphertext, now)?,
                };
                let Err(why) = left else {
                    self.set_state(record, Some(body), now, OutgoingState::Stored, Some(Door::Mailbox))?;
                    tally.stored += 1;
                    continue 'messages;
                };
                // Each of the others would wait for it anew.
                silent = silent.or_else(|| matches!(why, RetalkReason::Unreached { .. }).then(|| why.clone()));
                let door = Some(Door::Retalk { why });
                let tool = Tool::SendMessage { to: to.to_string(), kind: ciphertext.kind(), body: body.clone() };
                match self.ask(relay, &tool, now) {
                    Ok(Sent::Stored) => {
                        self.set_state(record, Some(body), now, OutgoingState::Stored, door)?;
                        tally.stored += 1;
                        continue 'messages;
                    }
                    Ok(Sent::NotStored(code)) => {
                        self.set_state(record, Some(body), now, OutgoingState::NotStored { code }, door)?;
                        return Ok(tally);
                    }
                    Ok(Sent::BodyRefused(signature)) => {
                        if let Some(cause) = self.note_refusal(relay, record, body, &signature, now, door)? {
                            tally.note(to, cause);
                            continue 'messages;
                        }
                    }
                    Err(error) => {
                        let cause = error.into_cause()?;
                        let state = OutgoingState::Failed { reason: cause.to_string() };
                        self.set_state(record, Some(body), now, state, door)?;
                        tally.note(to, cause);
                        return Ok(tally);
                    }
                }
            }
        }
        Ok(tally)
    }

    /// Returns the message encrypted: as it was, or now, with the session that has moved on written beside it.
    fn seal(&mut self, id: &str, prekey: Option<Prekey>) -> Result<Step, UserError> {
        self.vault.change(|rows| {
            let Some(mut record) = rows.get::<OutgoingRecord>(id)? else { return Ok(Step::Skip) };
            if record.state == OutgoingState::Refused {
                return Ok(Step::Skip);
            }
            if let Some(ciphertext) = record.ciphertext {
                return Ok(Step::Send(ciphertext));
            }
            let Some(plaintext) = &record.plaintext else { return Ok(Step::Skip) };
            let on_their_way = rows.of_peer::<OutgoingRecord>(record.to)?;
            let on_their_way = on_their_way.iter().filter(|other| other.ciphertext.is_some());
            if on_their_way.filter(|other| other.state != OutgoingState::Refused).count() >= WINDOW {
                return Ok(Step::Wait);
            }
            let Some(ciphertext) = encrypt(rows, record.to, plaintext, prekey)? else { return Ok(Step::NeedsPrekey) };
            record.ciphertext = Some(ciphertext.clone());
            record.state = OutgoingState::Encrypted;
            rows.put(&record)?;
            Ok(Step::Send(ciphertext))
        })
    }

    /// Writes what became of a message, unless it is gone or another program has encrypted it anew.
    fn set_state(
        &mut self,
        record: &OutgoingRecord,
        body: Option<&str>,
        now: UnixMillis,
        state: OutgoingState,
        door: Option<Door>,
    ) -> Result<(), UserError> {
        self.vault.change(|rows| match rows.get::<OutgoingRecord>(&record.id)? {
            Some(current) if current.body() == body => {
                let door = door.or(current.door);
                Ok(rows.put(&OutgoingRecord { tried_at: Some(now), state, door, ..current })?)
            }
            _ => Ok(()),
        })
    }

    /// Takes the relay's word that the recipient has refused a body, if the recipient has signed it: the message is to be
    /// encrypted anew, or is refused for good. Returns what is to be told, where it is not to be sent again now.
    fn note_refusal(
        &mut self,
        relay: &Relay<'_>,
        record: &OutgoingRecord,
        body: &str,
        signature: &str,
        now: UnixMillis,
        door: Option<Door>,
    ) -> Result<Option<ProblemCause>, UserError> {
        let known = self.vault.read(|rows| peer(rows, record.to))?.identity();
        let identity = match known.map_or_else(|| self.fetch_keys(relay, record.to, now), Ok) {
            Ok(identity) => identity,
            Err(error) => return error.into_cause().map(Some),
        };
        if !identity.has_refused(&sha256(&[body.as_bytes()]), signature) {
            let state = OutgoingState::NotStored { code: REFUSAL_NOT_SIGNED.to_owned() };
            self.set_state(record, Some(body), now, state, door)?;
            let text = format!("a refusal without the signature of {}", record.to);
            return Ok(Some(ProblemCause::Relay(RelayError::Refused { tool: "send_message", text })));
        }
        self.vault.change(|rows| {
            let Some(mut current) = rows.get::<OutgoingRecord>(&record.id)? else { return Ok(None) };
            // Another program has seen to it.
            if current.body() != Some(body) {
                return Ok(None);
            }
            retire_sessions(rows, record.to)?;
            current.tried_at = Some(now);
            current.refusals = current.refusals.saturating_add(1);
            let is_final = current.refusals >= REFUSALS_MAX || current.plaintext.is_none();
            if !is_final {
                encrypt_anew(rows, current)?;
                return Ok(None);
            }
            rows.put(&OutgoingRecord { state: OutgoingState::Refused, ..current })?;
            Ok(Some(ProblemCause::Refused))
        })
    }

    /// Sends what was not sent within `older_than`, of all peers, and what no relay has.
    pub(super) fn send_again(
        &mut self,
        relay: &Relay<'_>,
        now: UnixMillis,
        older_than: Duration,
    ) -> Result<Tally, UserError> {
        let mut peers = Vec::new();
        for record in self.vault.read(|rows| rows.all::<OutgoingRecord>())? {
            if !peers.contains(&record.to) {
                peers.push(record.to);
            }
        }
        let mut all = Tally::default();
        for to in peers {
            // What the relay may have, again after a time. A clock that was ahead when it was sent must not keep it back.
            let is_due = |record: &OutgoingRecord| {
                record.state != OutgoingState::Stored
                    || record.tried_at.is_none_or(|tried_at| tried_at > now || now.since(tried_at) >= older_than)
            };
            let tally = self.transmit(relay, to, None, now, is_due)?;
            all.stored += tally.stored;
            all.problems.extend(tally.problems);
            if tally.is_unreached {
                all.is_unreached = true;
                break;
            }
        }
        Ok(all)
    }

    /// Returns what is in the outbox, the oldest first.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn outbox(&self) -> Result<Vec<Outgoing>, UserError> {
        Ok(self.vault.read(|rows| rows.all::<OutgoingRecord>())?.into_iter().map(Outgoing::from).collect())
    }

    /// Takes a message out of the outbox. A relay that has it may hand it over all the same. Returns whether it was there.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn cancel(&mut self, message: &str) -> Result<bool, UserError> {
        self.vault.change(|rows| {
            let found = rows.get::<OutgoingRecord>(message)?;
            let was_there = rows.remove::<OutgoingRecord>(message)?;
            if let Some(cancelled) = found {
                detach(rows, cancelled.to, message, false)?;
                let number = rows.next_place::<CancelledRecord>()?;
                rows.put(&CancelledRecord { id: message.to_owned(), number })?;
                rows.keep_last::<CancelledRecord>(CANCELLED_MAX)?;
            }
            Ok(was_there)
        })
    }

    /// Returns whether a message that is not in the outbox any more was taken out of it by [`User::cancel`], and not by its
    /// recipient's acknowledgement. Only the latest are remembered.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn is_cancelled(&self, message: &str) -> Result<bool, UserError> {
        Ok(self.vault.read(|rows| rows.has::<CancelledRecord>(message))?)
    }

    /// Sends one message again, also one that its recipient has refused for good. Returns it as it is then; absent is one that
    /// is not in the outbox.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn resend(&mut self, relay: &Relay<'_>, message: &str, now: UnixMillis) -> Result<Option<Outgoing>, UserError> {
        let to = self.vault.change(|rows| {
            let Some(mut record) = rows.get::<OutgoingRecord>(message)? else { return Ok::<_, UserError>(None) };
            let to = record.to;
            if record.state == OutgoingState::Refused && record.plaintext.is_some() {
                record.refusals = 0;
                encrypt_anew(rows, record)?;
            }
            Ok(Some(to))
        })?;
        let Some(to) = to else { return Ok(None) };
        self.transmit(relay, to, None, now, |record| record.id == message)?;
        self.outgoing(message)
    }

    /// Sends the acknowledgements that are due. One that is lost on its way comes again when its message does. Returns how
    /// many the relay took.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn acknowledge(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<usize, UserError> {
        let mut taken = 0;
        let mut silent = None;
        for due in self.vault.read(|rows| rows.all::<DueRecord>())? {
            let mut prekey = None;
            if !self.vault.read(|rows| has_session(rows, due.to))? {
                match self.claim(relay, due.to, now) {
                    Ok(claimed) => prekey = Some(claimed),
                    Err(UserError::Relay(RelayError::Unreached { .. })) => break,
                    Err(error) => {
                        error.into_cause()?;
                        continue;
                    }
                }
            }
            let plaintext = payload::acknowledgement(&due.message, &self.vault.read(|rows| offer(rows, due.to))?)
                .map_err(|error| UserError::TextUnwritable { reason: error.to_string() })?;
            let why_not = match &silent {
                // Its recipient has not had the one that was left in the mailbox.
                _ if due.is_repeated => Some(RetalkReason::NotAcknowledged),
                other => other.clone(),
            };
            let left = self.leave_with(relay, due.to, why_not, now, |rows| {
                let is_due = rows.remove::<DueRecord>(&InboxRecord::name_of(due.to, &due.message))?;
                if is_due { encrypt(rows, due.to, &plaintext, prekey) } else { Ok(None) }
            });
            let (ciphertext, left) = match left {
                Ok(Some(left)) => left,
                Ok(None) => continue,
                Err(error) => {
                    error.into_cause()?;
                    continue;
                }
            };
            let Err(why) = left else {
                taken += 1;
                continue;
            };
            silent = silent.or_else(|| matches!(why, RetalkReason::Unreached { .. }).then_some(why));
            let kind = ciphertext.kind();
            match self.ask(relay, &Tool::SendMessage { to: due.to.to_string(), kind, body: ciphertext.body }, now) {
                Ok(Sent::Stored) => taken += 1,
                Ok(Sent::NotStored(_) | Sent::BodyRefused(_)) => {}
                Err(UserError::Relay(RelayError::Unreached { .. })) => break,
                Err(error) => drop(error.into_cause()?),
            }
        }
        Ok(taken)
    }
}

/// Has a message encrypted anew when it is sent the next time.
fn encrypt_anew(rows: &Rows<'_>, record: OutgoingRecord) -> Result<(), VaultError> {
    detach(rows, record.to, &record.id, true)?;
    rows.put(&OutgoingRecord { ciphertext: None, door: None, state: OutgoingState::Queued, ..record })
}

/// Begins anew with a peer of whom something came that no session opens. The peer does not learn of it where that was an
/// acknowledgement, which is in no outbox, and would write all others with the same session: what waits for one is encrypted
/// with a new session, which the peer then answers with.
pub(super) fn begin_anew(rows: &Rows<'_>, with: UserId, now: UnixMillis) -> Result<(), VaultError> {
    let peer = peer(rows, with)?;
    if peer.given_up_at.is_some_and(|at| !is_over(at, GIVEN_UP_AGAIN_AFTER, now)) {
        return Ok(());
    }
    rows.put(&PeerRecord { given_up_at: Some(now), ..peer })?;
    retire_sessions(rows, with)?;
    for record in rows.of_peer::<OutgoingRecord>(with)? {
        if record.ciphertext.is_some() && record.plaintext.is_some() && record.state != OutgoingState::Refused {
            encrypt_anew(rows, record)?;
        }
    }
    Ok(())
}
