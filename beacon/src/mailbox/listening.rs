//! Connections on which the news of a mailbox are told: `GET /v1/mailboxes/{address}/live`.
//!
//! [`ListenerConnection`] is where the client is. Its first message, which has to come soon, says signed who listens, and
//! only then is the object asked; what the object pushes goes to the client as it comes. [`Listeners`] is the object's half:
//! which connections there are, and to whom something is told.

use std::collections::VecDeque;

use rendezvous_protocol::base64;
use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::LIVE_SILENCE;
use rendezvous_protocol::live::{CloseCode, MessageRate, PING, PONG};
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::{Signed, Unverified, Verified};
use rendezvous_protocol::mailbox::limits::{LISTENER_MESSAGE_MAX_BYTES, LISTENER_SILENCE, LISTENING_READERS_MAX};
use rendezvous_protocol::mailbox::record::{Live, RecordError, RecordRules};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::state::{Listener, Mailbox};
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;

use crate::call::CallError;
use crate::live::ConnectionId;
use crate::mailbox::call::ObjectName;
use crate::network_shares::NetworkShare;
use crate::query::path_and_query;

const LISTEN: &str = "/listen";

/// Holds what an object is told of a connection: who listens on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenCall(Box<Verified<Live>>);

impl ListenCall {
    /// Returns the object's name.
    pub fn object(&self) -> ObjectName {
        ObjectName::Mailbox(self.0.payload().mailbox)
    }

    /// Writes what the connection is to keep, for a host whose connections outlive an object in memory.
    pub fn attachment(&self) -> String {
        self.0.public_key().to_string()
    }

    /// Writes the call as a path and a query: the record in base64.
    pub fn to_path(&self) -> String {
        format!("{LISTEN}?{}", base64::encode(self.0.as_json().as_bytes()))
    }

    /// Reads a URL that ends in what [`ListenCall::to_path`] wrote. Absent is what is another call.
    pub fn parse(url: &str) -> Option<Result<Self, CallError>> {
        let (path, query) = path_and_query(url);
        (path == LISTEN).then(|| {
            let json = base64::decode(query).and_then(|bytes| String::from_utf8(bytes).ok());
            let json = json.ok_or(CallError::Malformed("the record is not base64 of text"))?;
            Ok(Self(Box::new(Verified::trusted(&json).map_err(CallError::Record)?)))
        })
    }
}

/// Holds what an object has for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewsPush {
    /// Whom it is for.
    pub to: Vec<ConnectionId>,
    /// What it is.
    pub what: News,
}

/// Says what an object has for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A message, which goes to the client as it is.
    Text(String),
    /// The end.
    Close(CloseCode),
}

fn error_event(code: &str, detail: &str) -> String {
    format!(r#"{{"event":"error","code":"{code}","detail":{}}}"#, quoted(detail))
}

/// Says what the host is to do next for a connection.
#[derive(Debug)]
#[must_use]
pub enum ListenerOutput {
    /// To send a message.
    Text(String),
    /// To check a signature.
    Verify(VerifyListener),
    /// To open the connection at its object, which from then on has news for it.
    Listen(ListenCall),
    /// To end the connection, and to read nothing more of it. There is no output after this.
    Close(CloseCode),
}

/// Waits for whether a signature fits.
#[derive(Debug)]
pub struct VerifyListener(Box<Unverified<Live>>);

impl VerifyListener {
    /// Returns the key, the signature and what is signed, one after the other, for a host that has something faster.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.0.public_key().as_bytes().as_slice(), self.0.signature(), self.0.message()].concat()
    }

    /// Verifies the signature, for a host that has nothing faster.
    pub fn verify_signature(&self) -> bool {
        self.0.verify_signature()
    }
}

/// Holds one connection, which nobody has been asked about yet.
#[derive(Debug)]
pub struct OpenListener {
    pub(crate) mailbox: Address,
    pub(crate) audiences: Vec<Origin>,
    pub(crate) address: NetworkHash,
    /// The place of the connection, free again when that is dropped.
    pub(crate) _place: NetworkShare,
}

impl OpenListener {
    /// Opens the connection.
    pub fn open(self, now: UnixMillis) -> ListenerConnection {
        ListenerConnection {
            opened: self,
            messages: MessageRate::default(),
            heard_at: now,
            has_said: false,
            outputs: VecDeque::new(),
            is_closed: false,
        }
    }
}

/// Holds one connection, where the client is.
#[derive(Debug)]
pub struct ListenerConnection {
    opened: OpenListener,
    messages: MessageRate,
    heard_at: UnixMillis,
    /// Whether the client has said who it is.
    has_said: bool,
    outputs: VecDeque<ListenerOutput>,
    is_closed: bool,
}

impl ListenerConnection {
    /// Holds the bytes that a message of the client may have.
    pub const MOST: usize = LISTENER_MESSAGE_MAX_BYTES;

    /// Returns what is to be done next, if anything is.
    pub fn next_output(&mut self) -> Option<ListenerOutput> {
        self.outputs.pop_front()
    }

    /// Takes a text of the client, of at most [`ListenerConnection::MOST`] bytes.
    pub fn receive(&mut self, now: UnixMillis, text: &str) {
        if self.is_closed || !self.is_heard(now) {
            return;
        }
        if text == PING {
            self.outputs.push_back(ListenerOutput::Text(PONG.to_owned()));
        } else if self.has_said {
            self.fail(Code::Malformed.as_str(), "who listens says nothing more than ping");
        } else {
            self.has_said = true;
            match self.read(now, text) {
                Ok(verify) => self.outputs.push_back(ListenerOutput::Verify(verify)),
                Err(error) => self.fail(error.code(), &error.to_string()),
            }
        }
    }

    fn read(&self, now: UnixMillis, text: &str) -> Result<VerifyListener, RecordError> {
        let signed = Signed::<Live>::parse(text)?;
        if signed.payload().mailbox != self.opened.mailbox {
            return Err(RecordError::Malformed(
                "live: it is about another mailbox than the one in the path".to_owned(),
            ));
        }
        Ok(VerifyListener(Box::new(signed.check(&RecordRules { now, audiences: &self.opened.audiences })?)))
    }

    /// Takes a ping or a pong of the WebSocket's own (RFC 6455, section 5.5), which counts as `ping` does.
    pub fn receive_control(&mut self, now: UnixMillis) {
        if !self.is_closed {
            self.is_heard(now);
        }
    }

    /// Goes on with whether the signature fits.
    pub fn verified(&mut self, VerifyListener(unverified): VerifyListener, holds: bool) {
        if self.is_closed {
            return;
        }
        match unverified.accept(holds) {
            Ok(verified) => self.outputs.push_back(ListenerOutput::Listen(ListenCall(Box::new(verified)))),
            Err(error) => self.fail(error.code(), &error.to_string()),
        }
    }

    /// Takes what the object has for this connection, or that it has ended.
    pub fn take(&mut self, news: News) {
        if self.is_closed {
            return;
        }
        match news {
            News::Text(text) => self.outputs.push_back(ListenerOutput::Text(text)),
            News::Close(code) => self.close(code),
        }
    }

    /// Takes that the client has sent what no right one does: something binary, or a message that is too long.
    pub fn refuse(&mut self, code: CloseCode) {
        self.close(code);
    }

    /// Takes that the relay is about to end.
    pub fn drain(&mut self) {
        self.close(CloseCode::GoingAway);
    }

    /// Returns when [`ListenerConnection::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> UnixMillis {
        self.heard_at.after(if self.has_said { LIVE_SILENCE } else { LISTENER_SILENCE })
    }

    /// Does what is due: an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: UnixMillis) {
        // A clock that has jumped back puts nothing off.
        self.heard_at = self.heard_at.min(now);
        if self.next_deadline() <= now {
            self.close(CloseCode::Again);
        }
    }

    /// Returns the client's address, as it is remembered where one is refused.
    pub(crate) const fn address(&self) -> NetworkHash {
        self.opened.address
    }

    /// Notes that something was heard, and returns whether it is to be looked at.
    fn is_heard(&mut self, now: UnixMillis) -> bool {
        // Pings put off nothing before the client has said who it is.
        if self.has_said {
            self.heard_at = now;
        }
        let is_taken = self.messages.take(now, true);
        if !is_taken {
            self.close(CloseCode::TooFast);
        }
        is_taken
    }

    fn fail(&mut self, code: &str, detail: &str) {
        self.outputs.push_back(ListenerOutput::Text(error_event(code, detail)));
        self.close(CloseCode::KeyRefused);
    }

    fn close(&mut self, code: CloseCode) {
        if !self.is_closed {
            self.is_closed = true;
            self.outputs.push_back(ListenerOutput::Close(code));
        }
    }
}

/// Holds the connections of one mailbox.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// The oldest first.
    all: Vec<(ConnectionId, PublicKey)>,
}

impl Listeners {
    /// Makes the connections that an object had before it was made anew: each with its attachment.
    pub(crate) fn restore(found: Vec<(ConnectionId, String)>) -> (Self, Vec<NewsPush>) {
        let (mut all, mut push) = (Vec::new(), Vec::new());
        for (id, attachment) in found {
            match base64::decode_array(&attachment) {
                Some(key) => {
                    let position = all.partition_point(|(other, _)| *other < id);
                    all.insert(position, (id, PublicKey::from_bytes(key)));
                }
                None => push.push(NewsPush { to: vec![id], what: News::Close(CloseCode::Internal) }),
            }
        }
        (Self { all }, push)
    }

    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Opens a connection, and tells it how things are; or says why not, and ends it.
    pub(crate) fn open(
        &mut self,
        now: UnixMillis,
        mailbox: &mut Mailbox,
        id: ConnectionId,
        ListenCall(question): &ListenCall,
    ) -> Vec<NewsPush> {
        let key = question.public_key();
        let one = |id, what| NewsPush { to: vec![id], what };
        let listener = match mailbox.listen(now, question) {
            Ok(listener) => listener,
            Err(refused) => return vec![one(id, refusal(&refused)), one(id, News::Close(CloseCode::KeyRefused))],
        };
        let mut push = Vec::new();
        let is_reader = |key: &PublicKey| mailbox.listener(now, key) == Some(Listener::Reader);
        let older = match listener {
            Listener::Slot => {
                self.all.iter().find(|(_, other)| *other == key).map(|(id, _)| (*id, CloseCode::Replaced))
            }
            Listener::Reader => {
                let mut readers = self.all.iter().filter(|(_, key)| is_reader(key)).map(|(id, _)| *id);
                let oldest = readers.next();
                oldest.filter(|_| readers.count() + 1 >= LISTENING_READERS_MAX).map(|id| (id, CloseCode::LiveFull))
            }
        };
        if let Some((older, code)) = older {
            self.close(older);
            push.push(one(older, News::Close(code)));
        }
        self.all.push((id, key));
        let first = match listener {
            Listener::Reader => Some(pending(mailbox)),
            Listener::Slot => mailbox.receipt(&key).map(receipt),
        };
        push.extend(first.map(|text| one(id, News::Text(text))));
        push
    }

    /// Forgets a connection.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        self.all.retain(|(other, _)| *other != id);
    }

    /// Tells readers how much waits.
    pub(crate) fn tell_readers(&self, now: UnixMillis, mailbox: &Mailbox) -> Option<NewsPush> {
        let is_reader = |key: &PublicKey| mailbox.listener(now, key) == Some(Listener::Reader);
        let to: Vec<_> = self.all.iter().filter(|(_, key)| is_reader(key)).map(|(id, _)| *id).collect();
        (!to.is_empty()).then(|| NewsPush { to, what: News::Text(pending(mailbox)) })
    }

    /// Tells a slot what was acknowledged.
    pub(crate) fn tell_slot(&self, mailbox: &Mailbox, slot: &PublicKey) -> Option<NewsPush> {
        let to = self.all.iter().find(|(_, key)| key == slot).map(|(id, _)| vec![*id])?;
        mailbox.receipt(slot).map(|ack| NewsPush { to, what: News::Text(receipt(ack)) })
    }

    /// Ends the connections of those who are told nothing any more.
    pub(crate) fn end_others(&mut self, now: UnixMillis, mailbox: &Mailbox) -> Option<NewsPush> {
        let (stay, to): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.all).into_iter().partition(|(_, key)| mailbox.listener(now, key).is_some());
        self.all = stay;
        let to: Vec<_> = to.into_iter().map(|(id, _)| id).collect();
        (!to.is_empty()).then_some(NewsPush { to, what: News::Close(CloseCode::KeyRefused) })
    }
}

fn refusal(refused: &Refused) -> News {
    News::Text(error_event(refused.code(), &refused.to_string()))
}

fn pending(mailbox: &Mailbox) -> String {
    format!(r#"{{"event":"messages","pending":{}}}"#, mailbox.pending().messages)
}

fn receipt(ack: &str) -> String {
    format!(r#"{{"event":"ack","ack":{ack}}}"#)
}
