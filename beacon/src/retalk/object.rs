//! The mailbox of one of retalk's users as an object: a call comes in, an answer and effects go out.

use std::time::Duration;

use rendezvous_protocol::mailbox::limits::MESSAGES_MAX;
use rendezvous_protocol::retalk::limits::ROOM;
use rendezvous_protocol::retalk::request::{Prekey, Tool, Verified};
use rendezvous_protocol::retalk::state::{Mailbox, NotStored, Reply, Sent};
use rendezvous_protocol::retalk::user::{UserId, hex};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::call::ObjectError;
use crate::mailbox::{Effects, Found, Handover, ObjectAnswer, OwnRow, Write, to_writes};
use crate::retalk::call::RetalkCall;
use crate::retalk::refusal::Refusal;

/// Bytes of a message that is handed over, besides its text.
const AROUND_A_MESSAGE: usize = 128;

/// Bytes of the answer to a read at most: all that may wait.
pub(crate) const READ_MOST_BYTES: usize = ROOM as usize + MESSAGES_MAX * AROUND_A_MESSAGE;

/// Holds one object.
#[derive(Debug)]
pub struct RetalkObject {
    owner: UserId,
    mailbox: Mailbox,
    own_row: OwnRow,
}

impl RetalkObject {
    /// Makes an object of what is in storage. `secret` is secure randomness, for an object of which nothing is.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if any of it cannot be read. Never is one made of the rest alone.
    pub fn restore(owner: UserId, mut found: Found, secret: Secret) -> Result<(Self, Effects), ObjectError> {
        let (own_row, secret) = OwnRow::take(owner, &mut found, secret)?;
        let mailbox = Mailbox::restore(owner, secret, found.rows, found.messages);
        let mailbox = mailbox.map_err(|error| ObjectError::Unreadable(error.to_string()))?;
        let mut object = Self { owner, mailbox, own_row };
        let effects = object.conclude(Vec::new());
        Ok((object, effects))
    }

    /// Makes an object for a host that stores alarms, and that takes it out of memory when nobody has asked it for longer than
    /// `kept_for`. The rest is as in [`RetalkObject::restore`].
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], as there.
    pub fn restore_of_storage(
        owner: UserId,
        found: Found,
        secret: Secret,
        kept_for: Duration,
    ) -> Result<(Self, Effects), ObjectError> {
        let (mut object, effects) = Self::restore(owner, found, secret)?;
        object.mailbox.write_nonces_within(kept_for);
        // Whoever was there before has set it: to set it again is a row.
        object.own_row.note_alarm_at(object.next_alarm());
        Ok((object, Effects { wake_at: None, ..effects }))
    }

    /// Returns whether anything of it is in storage. One of which nothing is need not be kept.
    pub const fn is_stored(&self) -> bool {
        self.own_row.is_stored()
    }

    /// Returns when the object is to be woken.
    pub(crate) fn next_alarm(&self) -> Option<UnixMillis> {
        self.mailbox.next_deadline()
    }

    /// Returns whether storage has all that the object has to remember. One of which it has not is to be kept in memory.
    pub const fn is_settled(&self) -> bool {
        self.mailbox.is_settled()
    }

    /// Answers a call of this object.
    pub fn handle(&mut self, now: UnixMillis, call: RetalkCall) -> (ObjectAnswer, Effects) {
        if call.object() != self.owner {
            // A host that asks another object than it means to.
            return (Refusal::Internal.answer().into(), Effects::default());
        }
        let (answer, body) = match call {
            RetalkCall::Correspond { with, .. } => {
                self.mailbox.correspond(now, with);
                (Answer::of_json(r#"{"ok":true}"#.to_owned()).into(), None)
            }
            RetalkCall::Request { request, network, .. } => match self.mailbox.handle(now, &request, network) {
                Ok(reply) => {
                    let body = message_body(&request, &reply);
                    (answer_of(now, &request, reply), body)
                }
                Err(refused) => (Refusal::from(refused).answer().into(), None),
            },
        };
        let writes = to_writes(self.mailbox.take_changes(), body);
        (answer, self.conclude(writes))
    }

    /// Takes away what has ended, and writes what waits to be.
    pub fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        self.own_row.note_alarm();
        self.mailbox.expire(now);
        let writes = to_writes(self.mailbox.take_changes(), None);
        self.conclude(writes)
    }

    fn conclude(&mut self, writes: Vec<Write>) -> Effects {
        if self.mailbox.is_absent() {
            return self.own_row.conclude_absent();
        }
        self.own_row.conclude(writes, self.mailbox.secret(), self.mailbox.next_deadline())
    }
}

/// Writes a time as seconds with a point, as Python has them.
fn seconds(at: UnixMillis) -> String {
    let millis = at.as_u64();
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// Writes what is handed over of a message that has come in: an object without its first brace and its last.
fn message_body(request: &Verified, reply: &Reply) -> Option<String> {
    match (request.tool(), reply) {
        (Tool::SendMessage { kind, body, .. }, Reply::Sent(Sent::Stored { number, at })) => Some(format!(
            r#""message_id":{number},"ts":{},"from":"{}","mtype":{},"body":"{body}""#,
            seconds(*at),
            request.user(),
            kind.number(),
        )),
        _ => None,
    }
}

/// Answers to a message that it does not wait, and why. It is not an error: see the module of the rules.
pub(crate) fn not_stored(now: UnixMillis, reason: NotStored) -> Answer {
    let (now, code) = (seconds(now), reason.code());
    Answer::of_json(format!(r#"{{"message_id":0,"ts":{now},"stored":false,"code":"{code}"}}"#))
}

/// Writes a reply. Nothing in a key, a name of one or a signature needs an escape in JSON.
fn answer_of(now: UnixMillis, request: &Verified, reply: Reply) -> ObjectAnswer {
    let body = match reply {
        Reply::Published { one_time_keys_added, is_fallback_set } => {
            let user = request.user();
            format!(
                r#"{{"ok":true,"fingerprint":"{user}","user_id":"{user}","one_time_keys_added":{one_time_keys_added},"fallback_key_set":{is_fallback_set}}}"#
            )
        }
        Reply::Counted { unclaimed, has_fallback } => {
            format!(r#"{{"unclaimed":{unclaimed},"has_fallback":{has_fallback}}}"#)
        }
        Reply::Keys { identity_key, signing_key } => {
            format!(r#"{{"identity_key":"{identity_key}","signing_key":"{signing_key}"}}"#)
        }
        Reply::Claimed { identity_key, signing_key, prekey: Prekey { id, key }, is_fallback } => format!(
            r#"{{"identity_key":"{identity_key}","signing_key":"{signing_key}","key_id":"{id}","one_time_key":"{key}","fallback":{is_fallback}}}"#
        ),
        Reply::Sent(Sent::NotStored(reason)) => return not_stored(now, reason).into(),
        Reply::Sent(Sent::Stored { number, at }) => format!(r#"{{"message_id":{number},"ts":{}}}"#, seconds(at)),
        Reply::Sent(Sent::Duplicate { number, at }) => {
            format!(r#"{{"message_id":{number},"ts":{},"duplicate":true}}"#, seconds(at))
        }
        Reply::Sent(Sent::BodyRefused { hash, signature }) => {
            let hash = hex(&hash);
            format!(r#"{{"refused":true,"hash":"{hash}","sig":"{signature}"}}"#)
        }
        Reply::Read(numbers) => return handed_over(&numbers),
        Reply::BodyRefused => r#"{"ok":true}"#.to_owned(),
    };
    Answer::of_json(body).into()
}

fn handed_over(numbers: &[u64]) -> ObjectAnswer {
    let last = numbers.len().saturating_sub(1);
    let handover = |(index, number): (usize, &u64)| {
        let after = if index == last { "}]" } else { "},{" };
        Handover { number: *number, after: after.to_owned() }
    };
    let handovers: Vec<_> = numbers.iter().enumerate().map(handover).collect();
    let before = if handovers.is_empty() { "[]" } else { "[{" };
    ObjectAnswer { answer: Answer::of_json(before.to_owned()), handovers }
}
