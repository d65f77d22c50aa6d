//! An object: a mailbox, or the count of all mailboxes. A call comes in, an answer and effects go out.
//!
//! What it keeps are rows of text, each with a name, and messages, each with a number, a row and a body. Nothing is kept of
//! a mailbox that does not exist: asking is free. A row of the object's own says which object it is, so that one which is
//! only woken knows.

use std::sync::Arc;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::{Verified, VerifiedAck};
use rendezvous_protocol::mailbox::prekeys::Claimed;
use rendezvous_protocol::mailbox::record::{Deposit, Prekey};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::state::{Change, Collected, Deposited, Handed, Mailbox, RefusedSlot, SlotStatus};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::{DAY_MILLIS, UnixMillis};

use crate::answer::Answer;
use crate::call::ObjectError;
use crate::config::Config;
use crate::live::ConnectionId;
use crate::mailbox::call::{MailboxCall, ObjectCall, ObjectName};
use crate::mailbox::listening::{ListenCall, Listeners, NewsPush};
use crate::mailbox::openings::Openings;
use crate::mailbox::outbox::{Authored, BatchItem, Outbox, Outgoing};
use crate::mailbox::peers::Peers;
use crate::mailbox::replicate::{PushCall, PushedItem};
use crate::problem::Problem;

/// The row that says which object it is; of the count of mailboxes, with its secret behind a space.
const OBJECT: &str = "object";

/// How the names of rows begin that say what is still to be pushed to peers. A number follows.
pub const PUSH_ROWS: &str = "push ";

/// How long a card may be served from caches.
const CARD_CACHE: &str = "public, max-age=60";

/// Holds what is in storage.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Rows, each with its name.
    pub rows: Vec<(String, String)>,
    /// Messages: their numbers and rows. Their bodies are not asked for.
    pub messages: Vec<(u64, String)>,
    /// Connections that an object before this one had, each with its attachment.
    pub listeners: Vec<(ConnectionId, String)>,
}

/// Says what is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A row is new or another.
    Put {
        /// Its name.
        name: String,
        /// What it says.
        row: String,
    },
    /// A row is gone.
    Erase {
        /// Its name.
        name: String,
    },
    /// A message is here.
    PutMessage {
        /// Its number, which no other has while it is here.
        number: u64,
        /// What the object reads when it is restored.
        row: String,
        /// What is handed over, as it is.
        body: String,
    },
    /// A message is gone, its row and its body.
    EraseMessage {
        /// Its number.
        number: u64,
    },
    /// Everything is gone, and an alarm that is set.
    EraseAll,
}

/// Holds what the host is to do, in the order of the fields. Writes are made in their order, all or the first of them, and
/// an answer goes out when they are durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What is to be written.
    pub writes: Vec<Write>,
    /// When the object is to be woken, in the place of any time before.
    pub wake_at: Option<UnixMillis>,
    /// What connections are sent, in this order. It need not wait for what is written.
    pub push: Vec<NewsPush>,
}

/// Holds an answer, and what is missing in its body: messages, which the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ObjectAnswer {
    /// The answer. Of an answer with messages the body is what comes before the first.
    pub answer: Answer,
    /// The messages that are handed over, in this order.
    pub handovers: Vec<Handover>,
}

/// Holds one message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The message's number.
    pub number: u64,
    /// What comes in the answer after the message's body.
    pub after: String,
}

impl ObjectAnswer {
    /// Puts the bodies of messages where they belong. `read` gives the body of the message with a number.
    ///
    /// # Errors
    /// That of `read`.
    pub fn join<E>(self, mut read: impl FnMut(u64) -> Result<String, E>) -> Result<Answer, E> {
        let Self { mut answer, handovers } = self;
        for Handover { number, after } in handovers {
            answer.body.push_str(&read(number)?);
            answer.body.push_str(&after);
        }
        Ok(answer)
    }
}

impl From<Answer> for ObjectAnswer {
    fn from(answer: Answer) -> Self {
        Self { answer, handovers: Vec::new() }
    }
}

/// Holds one object.
#[derive(Debug)]
pub struct Object {
    kind: Kind,
    /// For what is new.
    secret: Secret,
    most_mailboxes: u32,
    is_stored: bool,
    /// The object is woken by then; absent where it is not known to be.
    woken_by: Option<UnixMillis>,
    /// What is to be pushed, where there are peers.
    outgoing: Option<Box<dyn Outgoing>>,
    /// The rows of that, each with its number, until it is known whether there are.
    pushes: Vec<(u64, String)>,
}

#[derive(Debug)]
enum Kind {
    Mailbox(Address, Box<Mailbox>, Listeners),
    Openings(Openings),
}

impl Object {
    /// Makes an object of what is in storage. `name` is absent where the host does not know it: then the rows say which it
    /// is. Absent is an object of which neither says so, so that there is nothing to do. `secret` is secure randomness.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if any of it cannot be read. Never is one made of the rest alone.
    pub fn restore(
        now: UnixMillis,
        config: &Config,
        name: Option<ObjectName>,
        found: Found,
        secret: Secret,
    ) -> Result<Option<(Self, Effects)>, ObjectError> {
        let unreadable =
            |name: &str, reason: &dyn std::fmt::Display| ObjectError::Unreadable(format!("the row {name:?}: {reason}"));
        let (own, rows): (Vec<_>, Vec<_>) = found.rows.into_iter().partition(|(name, _)| name == OBJECT);
        let own = own.into_iter().next().map(|(_, text)| text);
        let is_stored = own.is_some();
        let (pushes, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name.starts_with(PUSH_ROWS));
        let number = |(name, row): (String, String)| {
            let number = name.strip_prefix(PUSH_ROWS).and_then(|number| number.parse().ok());
            number.map(|number| (number, row)).ok_or_else(|| unreadable(&name, &"it has no number"))
        };
        let pushes = pushes.into_iter().map(number).collect::<Result<Vec<_>, _>>()?;
        let (stored, salt) = match &own {
            None => (None, None),
            Some(text) => {
                let (name, salt) =
                    text.split_once(' ').map_or((text.as_str(), None), |(name, salt)| (name, Some(salt)));
                let name = name.parse::<ObjectName>().map_err(|error| unreadable(OBJECT, &error))?;
                (Some(name), salt)
            }
        };
        let has_more = !rows.is_empty() || !pushes.is_empty() || !found.messages.is_empty();
        if has_more && !is_stored {
            return Err(unreadable(OBJECT, &"there are other rows, and not this one"));
        }
        let Some(name) = name.or(stored) else { return Ok(None) };
        if stored.is_some_and(|stored| stored != name) {
            return Err(unreadable(OBJECT, &"it is another object's"));
        }
        let mut push = Vec::new();
        let kind = match name {
            ObjectName::Mailbox(address) => {
                let mailbox = Mailbox::restore(address, now, rows, found.messages);
                let mailbox = mailbox.map_err(|error| ObjectError::Unreadable(error.to_string()))?;
                let (listeners, closed) = Listeners::restore(found.listeners);
                push = closed;
                Kind::Mailbox(address, Box::new(mailbox), listeners)
            }
            ObjectName::Openings => {
                let salt = match salt {
                    Some(salt) => {
                        Secret::from_bytes(base64::decode_array(salt).ok_or_else(|| unreadable(OBJECT, &"no secret"))?)
                    }
                    None if is_stored => return Err(unreadable(OBJECT, &"no secret")),
                    None => secret,
                };
                let openings = Openings::restore(salt, rows);
                Kind::Openings(openings.map_err(|(name, reason)| unreadable(&name, &reason))?)
            }
        };
        let mut object =
            Self { kind, secret, most_mailboxes: config.mailboxes, is_stored, woken_by: None, outgoing: None, pushes };
        object.woken_by = object.next_alarm();
        let effects = object.conclude(now, Vec::new(), push);
        Ok(Some((object, effects)))
    }

    /// Returns which object it is.
    pub const fn name(&self) -> ObjectName {
        match &self.kind {
            Kind::Mailbox(address, ..) => ObjectName::Mailbox(*address),
            Kind::Openings(_) => ObjectName::Openings,
        }
    }

    /// Returns how many connections there are. An object that has one is not to be dropped from memory by a host whose
    /// connections end with it.
    pub const fn listeners(&self) -> usize {
        match &self.kind {
            Kind::Mailbox(_, _, listeners) => listeners.len(),
            Kind::Openings(_) => 0,
        }
    }

    /// Takes a connection, which the host has opened, and says what it is sent: that may be why it ends.
    pub fn listen(&mut self, now: UnixMillis, id: ConnectionId, call: &ListenCall) -> Effects {
        let Kind::Mailbox(_, mailbox, listeners) = &mut self.kind else { return Effects::default() };
        let push = listeners.open(now, mailbox, id, call);
        let writes = to_writes(mailbox.take_changes(), None);
        self.conclude(now, writes, push)
    }

    /// Takes that a connection has ended.
    pub fn stop_listening(&mut self, id: ConnectionId) {
        if let Kind::Mailbox(_, _, listeners) = &mut self.kind {
            listeners.close(id);
        }
    }

    /// Returns whether anything of it is in storage. One of which nothing is need not be kept.
    pub const fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Returns when the object is to be woken, for a host that does not store alarms, or has lost one.
    pub fn next_alarm(&self) -> Option<UnixMillis> {
        let Kind::Mailbox(address, mailbox, _) = &self.kind else { return None };
        let deadline = mailbox.next_deadline().filter(|_| self.is_stored)?.as_u64();
        // Once a day at most, and not all mailboxes at one time. What has ended is not handed over, woken or not.
        let phase = phase_of(*address);
        let days = deadline.saturating_sub(phase).div_ceil(DAY_MILLIS);
        Some(UnixMillis::saturating(phase.saturating_add(days.saturating_mul(DAY_MILLIS))))
    }

    /// Answers a call of this object.
    pub fn handle(&mut self, now: UnixMillis, call: ObjectCall) -> (ObjectAnswer, Effects) {
        let secret = self.secret;
        match (&mut self.kind, call) {
            (Kind::Mailbox(own, mailbox, listeners), ObjectCall::Mailbox(address, call)) if *own == address => {
                let mut news = Changed { is_pushed_on: self.outgoing.is_some(), ..Changed::default() };
                let answer = ask_mailbox(mailbox, now, call, secret, &mut news);
                let answer =
                    answer.unwrap_or_else(|refused| Problem::Mailbox(refused).answer_about_mailbox(now).into());
                let writes = to_writes(mailbox.take_changes(), news.body.take());
                let push = tell(listeners, mailbox, now, &news, &writes);
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.add(now, mailbox, news.authored);
                }
                (answer, self.conclude(now, writes, push))
            }
            (Kind::Openings(openings), ObjectCall::Openings(call)) => {
                let (outcome, changes) = openings.handle(now, call, self.most_mailboxes);
                let answer = match outcome {
                    Ok(()) => done(now),
                    Err(problem) => problem.answer_about_mailbox(now),
                };
                let write = |(address, row): (Address, Option<String>)| {
                    let name = address.to_string();
                    row.map_or_else(
                        || Write::Erase { name: name.clone() },
                        |row| Write::Put { name: name.clone(), row },
                    )
                };
                let writes = changes.into_iter().map(write).collect();
                (answer.into(), self.conclude(now, writes, Vec::new()))
            }
            // A host that asks another object than it means to.
            _ => (Problem::Internal.answer_about_mailbox(now).into(), Effects::default()),
        }
    }

    /// Takes away what has ended. Nothing that has is ever handed over, taken away or not.
    pub fn handle_alarm(&mut self, now: UnixMillis) -> Effects {
        self.woken_by = None;
        let Kind::Mailbox(_, mailbox, listeners) = &mut self.kind else { return Effects::default() };
        mailbox.expire(now);
        let writes = to_writes(mailbox.take_changes(), None);
        let push = listeners.end_others(now, mailbox).into_iter().collect();
        self.conclude(now, writes, push)
    }

    /// Keeps what authors bring until these peers have it. Of a restored object this is called before anything else; what
    /// is left to be pushed since before is then known too.
    ///
    /// # Errors
    /// [`ObjectError::Unreadable`], if any of that cannot be read.
    pub fn replicate_to(&mut self, now: UnixMillis, peers: Arc<Peers>) -> Result<Effects, ObjectError> {
        let Kind::Mailbox(..) = self.kind else { return Ok(Effects::default()) };
        let outbox = Outbox::restore(peers, &std::mem::take(&mut self.pushes));
        let outbox =
            outbox.map_err(|number| ObjectError::Unreadable(format!("the row \"{PUSH_ROWS}{number}\": not a push")))?;
        self.outgoing = Some(Box::new(outbox));
        Ok(self.conclude(now, Vec::new(), Vec::new()))
    }

    /// Answers a push of a peer: of each item, what became of it.
    pub fn replicate(&mut self, now: UnixMillis, call: PushCall) -> (ObjectAnswer, Effects) {
        let Kind::Mailbox(own, mailbox, listeners) = &mut self.kind else {
            return (Problem::Internal.answer_about_mailbox(now).into(), Effects::default());
        };
        let Some(peer) = call.peer().filter(|_| *own == call.mailbox) else {
            return (Problem::Internal.answer_about_mailbox(now).into(), Effects::default());
        };
        if let Err(refused) = mailbox.check_peer(now, peer) {
            let writes = to_writes(mailbox.take_changes(), None);
            let answer = Problem::Mailbox(refused).answer_about_mailbox(now);
            return (answer.into(), self.conclude(now, writes, Vec::new()));
        }
        let (mut writes, mut push) = (Vec::new(), Vec::new());
        let mut results = Vec::new();
        let own_origins = call.own().to_vec();
        for item in call.items {
            let mut news = Changed::default();
            let taken = item.and_then(|item| {
                take_item(mailbox, now, item, &own_origins, call.network, &mut news).map_err(|refused| refused.code())
            });
            let of_item = to_writes(mailbox.take_changes(), news.body.take());
            push.extend(tell(listeners, mailbox, now, &news, &of_item));
            writes.extend(of_item);
            results.push(format!("\"{}\"", taken.unwrap_or_else(|code| code)));
        }
        let body = format!(r#"{{"ok":true,"results":[{}],"serverTime":{now}}}"#, results.join(","));
        (Answer::of_json(body).into(), self.conclude(now, writes, push))
    }

    /// Returns what a peer is pushed next. There is nothing where it is empty.
    pub fn batch(&self, peer: usize) -> Vec<BatchItem> {
        match (&self.kind, &self.outgoing) {
            (Kind::Mailbox(_, mailbox, _), Some(outgoing)) => outgoing.batch(mailbox, peer),
            _ => Vec::new(),
        }
    }

    /// Takes that a peer has what these entries are of, or does not want it.
    pub fn settle(&mut self, now: UnixMillis, peer: usize, entries: &[u64]) -> Effects {
        let Some(outgoing) = &mut self.outgoing else { return Effects::default() };
        outgoing.settle(peer, entries);
        self.conclude(now, Vec::new(), Vec::new())
    }

    /// Returns the peers for which there is something since this was last called.
    pub fn take_fresh(&mut self) -> Vec<usize> {
        self.outgoing.as_mut().map(|outgoing| outgoing.take_fresh()).unwrap_or_default()
    }

    /// Counts what is to be pushed, to one peer or several.
    pub fn waiting(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.waiting())
    }

    /// Returns how much of that has ended unpushed since this was last called.
    pub fn take_ended(&mut self) -> u64 {
        self.outgoing.as_mut().map_or(0, |outgoing| outgoing.take_ended())
    }

    /// Sees to it that storage says whose it is, and that the object is woken.
    fn conclude(&mut self, now: UnixMillis, mut writes: Vec<Write>, push: Vec<NewsPush>) -> Effects {
        if let Kind::Mailbox(_, mailbox, _) = &mut self.kind {
            // What a crash has left half done.
            let more = to_writes(mailbox.take_changes(), None);
            writes.extend(more);
            if let Some(outgoing) = &mut self.outgoing {
                let write = |(number, row): (u64, Option<String>)| {
                    let name = format!("{PUSH_ROWS}{number}");
                    match row {
                        Some(row) => Write::Put { name, row },
                        None => Write::Erase { name },
                    }
                };
                writes.extend(outgoing.take_changes(now, mailbox).into_iter().map(write));
            }
            if mailbox.is_absent() {
                if let Some(outgoing) = &mut self.outgoing {
                    outgoing.forget();
                }
                let erases = std::mem::take(&mut self.is_stored);
                self.woken_by = None;
                let writes = erases.then_some(Write::EraseAll).into_iter().collect();
                return Effects { writes, wake_at: None, push };
            }
        }
        if !writes.is_empty() && !self.is_stored {
            self.is_stored = true;
            let name = self.name();
            let row = match &self.kind {
                Kind::Mailbox(..) => name.to_string(),
                Kind::Openings(openings) => format!("{name} {}", base64::encode(openings.secret().as_bytes())),
            };
            writes.insert(0, Write::Put { name: OBJECT.to_owned(), row });
        }
        // One that is set is left, if it is early enough: setting one is a write.
        let wake_at = self.next_alarm().filter(|at| self.woken_by.is_none_or(|by| *at < by));
        self.woken_by = wake_at.or(self.woken_by);
        Effects { writes, wake_at, push }
    }
}

/// Says what a call has brought that others are told of, or that is written.
#[derive(Default)]
struct Changed {
    /// The body of the message that has come in.
    body: Option<String>,
    /// The slots of which messages were acknowledged.
    acknowledged: Vec<PublicKey>,
    /// Whether others may be listed now than before.
    lists: bool,
    /// Whether peers want to know what authors bring.
    is_pushed_on: bool,
    /// What they have brought, if peers do.
    authored: Vec<Authored>,
}

impl Changed {
    fn bring(&mut self, authored: impl FnOnce() -> Authored) {
        if self.is_pushed_on {
            self.authored.push(authored());
        }
    }
}

/// Tells connections what they are to know of a change.
fn tell(
    listeners: &mut Listeners,
    mailbox: &Mailbox,
    now: UnixMillis,
    news: &Changed,
    writes: &[Write],
) -> Vec<NewsPush> {
    let mut push = Vec::new();
    if listeners.len() > 0 {
        push.extend(news.lists.then(|| listeners.end_others(now, mailbox)).flatten());
        push.extend(news.acknowledged.iter().filter_map(|slot| listeners.tell_slot(mailbox, slot)));
        let is_new = writes.iter().any(|write| matches!(write, Write::PutMessage { .. }));
        push.extend(is_new.then(|| listeners.tell_readers(now, mailbox)).flatten());
    }
    push
}

/// Takes an item that a peer has pushed, by the rules by which its author could have brought it.
fn take_item(
    mailbox: &mut Mailbox,
    now: UnixMillis,
    item: PushedItem,
    own: &[Origin],
    network: HandedOver,
    changed: &mut Changed,
) -> Result<&'static str, Refused> {
    let of_change = |is_new: bool| if is_new { "accepted" } else { "duplicate" };
    match item {
        PushedItem::Card(card) => {
            changed.lists = true;
            mailbox.put_card(now, *card, own).map(of_change)
        }
        PushedItem::Policy(policy) => {
            changed.lists = true;
            mailbox.put_policy(now, *policy, own).map(of_change)
        }
        PushedItem::Ack(ack) => acknowledge_one(mailbox, now, &ack, changed).map(|(_, is_new)| of_change(is_new)),
        PushedItem::Deposit { deposit, sealed, proof } => Ok(match mailbox.deposit(now, &deposit, proof, network)? {
            Deposited::Accepted { .. } => {
                changed.body = Some(message_body(&deposit, &sealed));
                "accepted"
            }
            Deposited::Duplicate { .. } => "duplicate",
            Deposited::Acknowledged { .. } => "acknowledged",
            Deposited::Ended => "ended",
        }),
    }
}

/// Returns at which time of the day a mailbox is woken, in milliseconds since midnight UTC.
fn phase_of(address: Address) -> u64 {
    let address = address.to_string();
    address.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default() % DAY_MILLIS
}

/// Returns what a mailbox has changed. `body` is that of the message that has come in, if one has.
pub(crate) fn to_writes(changes: Vec<Change>, mut body: Option<String>) -> Vec<Write> {
    let write = |change| match change {
        Change::Put { name, row } => Write::Put { name, row },
        Change::Erase { name } => Write::Erase { name },
        Change::PutMessage { number, row } => Write::PutMessage { number, row, body: body.take().unwrap_or_default() },
        Change::EraseMessage { number } => Write::EraseMessage { number },
    };
    changes.into_iter().map(write).collect()
}

/// Asks a mailbox.
fn ask_mailbox(
    mailbox: &mut Mailbox,
    now: UnixMillis,
    call: MailboxCall,
    secret: Secret,
    changed: &mut Changed,
) -> Result<ObjectAnswer, Refused> {
    match call {
        MailboxCall::Put { card, policy, origins } => {
            changed.lists = true;
            let revisions = (card.payload().revision, policy.payload().revision);
            let before = mailbox.change_count();
            let put = mailbox.put(now, *card, *policy, &origins, secret);
            if put.is_ok() && mailbox.change_count() > before {
                changed.bring(|| Authored::Card);
                changed.bring(|| Authored::Policy);
            }
            put.map(|is_new| put_answer(now, is_new, revisions).into())
        }
        MailboxCall::Card => mailbox.card(now).map(|card| {
            let answer = Answer::of_json(format!(r#"{{"ok":true,"card":{card}}}"#));
            answer.with_headers(vec![("Cache-Control", CARD_CACHE.to_owned())]).into()
        }),
        MailboxCall::Deposit { deposit, sealed, proof, network } => {
            let deposited = mailbox.deposit(now, &deposit, proof, network)?;
            if let Deposited::Accepted { number, .. } = deposited {
                changed.body = Some(message_body(&deposit, &sealed));
                changed.bring(|| Authored::Deposit(number, proof));
            }
            Ok(deposit_answer(now, &deposit, deposited).into())
        }
        MailboxCall::Collect { collect, acks } => {
            let released = acknowledge(mailbox, now, &acks, changed)?;
            mailbox.collect(now, &collect).map(|collected| collect_answer(now, collected, released))
        }
        MailboxCall::Acks(acks) => acknowledge(mailbox, now, &acks, changed).map(|released| {
            Answer::of_json(format!(r#"{{"ok":true,"released":{released},"serverTime":{now}}}"#)).into()
        }),
        MailboxCall::Slot(question) => mailbox.slot(now, &question).map(|status| slot_answer(now, &status).into()),
        MailboxCall::Prekeys(prekeys) => mailbox.put_prekeys(now, &prekeys).map(|one_time_keys| {
            Answer::of_json(format!(r#"{{"ok":true,"oneTimeKeys":{one_time_keys},"serverTime":{now}}}"#)).into()
        }),
        MailboxCall::Claim { claim, proof, network } => {
            mailbox.claim(now, &claim, proof, network).map(|claimed| claim_answer(now, &claimed).into())
        }
        MailboxCall::Close(close) => {
            changed.lists = true;
            mailbox.close(now, &close).map(|()| done(now).into())
        }
    }
}

fn done(now: UnixMillis) -> Answer {
    Answer::of_json(format!(r#"{{"ok":true,"serverTime":{now}}}"#))
}

fn put_answer(now: UnixMillis, is_new: bool, (card, policy): (u64, u64)) -> Answer {
    let body = format!(r#"{{"ok":true,"revision":{card},"policyRevision":{policy},"serverTime":{now}}}"#);
    Answer { status: if is_new { 201 } else { 200 }, ..Answer::of_json(body) }
}

/// Writes what is handed over of a message: the fields of an object, without its braces.
fn message_body(deposit: &Verified<Deposit>, sealed: &str) -> String {
    format!(r#""deposit":{},"sealed":"{sealed}""#, deposit.as_json())
}

fn deposit_answer(now: UnixMillis, deposit: &Verified<Deposit>, deposited: Deposited) -> Answer {
    let content_id = deposit.payload().content_id;
    let of_held = |rest: String| format!(r#"{{"ok":true,"accepted":false,"contentId":"{content_id}",{rest}}}"#);
    match deposited {
        Deposited::Accepted { number: _, unacknowledged, limit, ends_at } => {
            let body = format!(
                r#"{{"ok":true,"accepted":true,"contentId":"{content_id}","unacknowledged":{unacknowledged},"limit":{limit},"endsAt":{ends_at},"serverTime":{now}}}"#
            );
            Answer { status: 201, ..Answer::of_json(body) }
        }
        Deposited::Duplicate { unacknowledged, ends_at } => Answer::of_json(of_held(format!(
            r#""duplicate":true,"unacknowledged":{unacknowledged},"endsAt":{ends_at},"serverTime":{now}"#
        ))),
        Deposited::Acknowledged { ack } => {
            Answer::of_json(of_held(format!(r#""acknowledged":true,"ack":{ack},"serverTime":{now}"#)))
        }
        Deposited::Ended => Answer::of_json(of_held(format!(r#""ended":true,"serverTime":{now}"#))),
    }
}

/// Takes acknowledgements, up to the first that is refused. Returns how many messages they released.
fn acknowledge(
    mailbox: &mut Mailbox,
    now: UnixMillis,
    acks: &[VerifiedAck],
    changed: &mut Changed,
) -> Result<usize, Refused> {
    let mut all = 0;
    for ack in acks {
        let (released, is_new) = acknowledge_one(mailbox, now, ack, changed)?;
        if is_new {
            changed.bring(|| Authored::Ack(Box::new(ack.clone())));
        }
        all += released;
    }
    Ok(all)
}

/// Takes an acknowledgement. Returns how many messages it released, and whether it said anything new.
fn acknowledge_one(
    mailbox: &mut Mailbox,
    now: UnixMillis,
    ack: &VerifiedAck,
    changed: &mut Changed,
) -> Result<(usize, bool), Refused> {
    mailbox.expire(now);
    let before = mailbox.change_count();
    let released = mailbox.acknowledge(now, ack.ack())?;
    if released > 0 {
        changed.acknowledged.push(ack.ack().payload().slot);
    }
    Ok((released, mailbox.change_count() > before))
}

fn collect_answer(now: UnixMillis, collected: Collected, released: usize) -> ObjectAnswer {
    let Collected { messages, lease_until, more, refused, pending, one_time_keys, policy_revision } = collected;
    let refused = refused
        .iter()
        .map(|RefusedSlot { slot, count, since }| format!(r#"{{"slot":"{slot}","count":{count},"since":{since}}}"#));
    let rest = format!(
        r#"],"more":{more},"refused":[{}],"pending":{{"messages":{},"bytes":{},"requests":{}}},"oneTimeKeys":{one_time_keys},"policyRevision":{policy_revision},"released":{released},"serverTime":{now}}}"#,
        refused.collect::<Vec<_>>().join(","),
        pending.messages,
        pending.bytes,
        pending.requests,
    );
    let mut body = r#"{"ok":true,"messages":["#.to_owned();
    let last = messages.len().saturating_sub(1);
    let handover = |(index, handed): (usize, &Handed)| {
        let Handed { number, received_at, is_request } = *handed;
        let lane = if is_request { "request" } else { "contact" };
        let next = if index == last { &*rest } else { ",{" };
        let after = format!(r#","receivedAt":{received_at},"leaseUntil":{lease_until},"lane":"{lane}"}}{next}"#);
        Handover { number, after }
    };
    let handovers: Vec<_> = messages.iter().enumerate().map(handover).collect();
    body.push_str(if handovers.is_empty() { &rest } else { "{" });
    ObjectAnswer { answer: Answer::of_json(body), handovers }
}

fn slot_answer(now: UnixMillis, status: &SlotStatus) -> Answer {
    let SlotStatus { ack, highest, unacknowledged, limit } = status;
    let ack = ack.as_deref().unwrap_or("null");
    Answer::of_json(format!(
        r#"{{"ok":true,"ack":{ack},"highest":{highest},"unacknowledged":{unacknowledged},"limit":{limit},"serverTime":{now}}}"#
    ))
}

fn claim_answer(now: UnixMillis, claimed: &Claimed) -> Answer {
    let Claimed { curve25519, one_time, fallback } = claimed;
    let one_time = one_time.as_ref().map_or_else(|| "null".to_owned(), prekey_json);
    let fallback = prekey_json(fallback);
    Answer::of_json(format!(
        r#"{{"ok":true,"curve25519":"{curve25519}","oneTime":{one_time},"fallback":{fallback},"serverTime":{now}}}"#
    ))
}

/// Writes a prekey. Nothing in one needs an escape in JSON.
fn prekey_json(Prekey { id, key, signature, since }: &Prekey) -> String {
    format!(r#"{{"id":"{id}","key":"{key}","signature":"{signature}","since":{since}}}"#)
}
