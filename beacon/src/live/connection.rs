//! One connection, where the client is.
//!
//! What comes in, from the client, from the object or as time, changes the state; what is to be done waits in
//! [`Connection::next_output`], in order. Every limit is applied before anything is waited for.

use std::collections::VecDeque;
use std::sync::Arc;

use rendezvous_protocol::base64;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{
    LIVE_ACK_BYTES, LIVE_FIRST_SILENCE, LIVE_MALFORMED_MESSAGES, LIVE_SIGNAL_SKEW, LIVE_SILENCE, LIVE_STREAM_DURATION,
    LIVE_STREAM_PING,
};
use rendezvous_protocol::live::{
    AnnouncedMessage, BeaconMessage, BindMessage, Binding, BoundMessage, CHALLENGE_BYTES, Claim, ClientMessage,
    CloseCode, ErrorMessage, Frame, Hello, MessageError, MessageRate, PONG, Position, Signal, SignalRate,
    TicketMessage, Window,
};
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::signature_cache::SignatureCache;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, Unverified, VerifiedTicket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::config::Config;
use crate::live::call::{LiveCall, Pushed, SignalCall};
use crate::registration::{Gate, check_ticket};
use crate::turn::{IceServers, Issuer, Place, TURN_LIFETIME};

/// Says what a client reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A WebSocket.
    Socket,
    /// An event stream: the client sends nothing, and acknowledges by reading.
    Stream,
}

/// Holds what is known of a connection when it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) kind: Kind,
    pub(crate) community: Community,
    /// Where the client's address is remembered if it has to be refused.
    pub(crate) address: NetworkHash,
    /// For whom credentials for the relay are counted.
    pub(crate) place: Place,
    /// Whether a page of an origin opens it that is not the community's.
    pub(crate) is_foreign: bool,
    /// The origins that a binding may be for.
    pub(crate) audiences: Vec<Origin>,
    pub(crate) since: Option<Position>,
    /// Frames after which the connection ends; absent, it does not.
    pub(crate) most_frames: Option<u32>,
}

/// Holds what a process knows that tickets are checked by.
#[derive(Debug)]
pub struct Checks<'a> {
    pub(crate) config: &'a Config,
    /// Says whose tickets are listed, where that depends on more than the configuration.
    pub(crate) gate: Option<&'a dyn Gate>,
    pub(crate) signatures: &'a mut SignatureCache,
    /// Issues credentials for the relay, where there is one.
    pub(crate) turn: Option<&'a mut (dyn Issuer + 'static)>,
    /// Spreads announces out.
    pub(crate) random: u32,
}

/// Says what the host is to do next.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// To send a message.
    Text(String),
    /// To send a frame.
    Frame(Arc<Frame>),
    /// To send the sign of life of an event stream.
    StreamPing,
    /// To call the object.
    Ask(LiveCall),
    /// To check a signature.
    Verify(Verify),
    /// To end the connection, and to read nothing more of it. There is no output after this.
    Close(CloseCode),
}

/// Waits for whether a signature fits.
#[derive(Debug)]
pub struct Verify(Waiting);

#[derive(Debug)]
enum Waiting {
    Ticket { id: Option<String>, ticket: Unverified },
    Bind { id: Option<String>, binding: Binding },
}

impl Verify {
    /// Returns the key, the signature and what is signed, one after the other, for a host that has something faster.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Waiting::Ticket { ticket, .. } => {
                [ticket.public_key().as_bytes().as_slice(), ticket.signature(), ticket.message()].concat()
            }
            Waiting::Bind { binding, .. } => {
                let signed = binding.signed_bytes();
                [binding.public_key.as_bytes().as_slice(), &binding.signature, signed.as_bytes()].concat()
            }
        }
    }

    /// Verifies the signature, for a host that has nothing faster.
    pub fn verify_signature(&self) -> bool {
        match &self.0 {
            Waiting::Ticket { ticket, .. } => ticket.verify_signature(),
            Waiting::Bind { binding, .. } => binding.verify_signature(),
        }
    }
}

/// Holds one connection.
#[derive(Debug)]
pub struct Connection {
    opened: Opened,
    opened_at: UnixMillis,
    challenge: [u8; CHALLENGE_BYTES],
    messages: MessageRate,
    signals: SignalRate,
    malformed: u32,
    heard_at: UnixMillis,
    /// Whether anything has come from the client.
    has_heard: bool,
    pinged_at: UnixMillis,
    /// The claim that the connection is for, once a signature of it was seen.
    claim: Option<Claim>,
    is_bound: bool,
    /// What opens the relay, to be said when the connection is bound.
    ice_servers: Option<IceServers>,
    window: Window,
    /// Whether the object takes the client to read.
    is_said_to_read: bool,
    /// How far the client comes with what it was sent.
    position: Option<Position>,
    /// Whether frames were skipped, so that the client has to catch up.
    is_behind: bool,
    /// Whether the object was asked for what the client missed.
    has_asked: bool,
    /// When the object is to be asked for the frame that waits there.
    ask_at: Option<UnixMillis>,
    frames: u32,
    outputs: VecDeque<Output>,
    is_closed: bool,
}

impl Connection {
    /// Opens a connection that the object has admitted. `challenge` is secure randomness.
    pub(crate) fn new(now: UnixMillis, opened: Opened, challenge: [u8; CHALLENGE_BYTES]) -> Self {
        let is_socket = opened.kind == Kind::Socket;
        let hello = Hello {
            version: 1,
            community: opened.community.as_str(),
            server_time: now,
            challenge: is_socket.then(|| base64::encode(&challenge)),
            ack_bytes: is_socket.then_some(LIVE_ACK_BYTES),
            reconnect_after_frames: opened.most_frames,
        };
        let outputs = VecDeque::from([Output::Text(hello.to_text())]);
        Self {
            position: None,
            opened_at: now,
            challenge,
            messages: MessageRate::default(),
            signals: SignalRate::default(),
            malformed: 0,
            heard_at: now,
            has_heard: false,
            pinged_at: now,
            claim: None,
            is_bound: false,
            ice_servers: None,
            window: Window::default(),
            is_said_to_read: true,
            is_behind: false,
            has_asked: false,
            ask_at: None,
            frames: 0,
            outputs,
            is_closed: false,
            opened,
        }
    }

    /// Returns what is to be done next, if anything is.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a text of the client, of at most
    /// [`LIVE_SIGNAL_MESSAGE_MAX_BYTES`](rendezvous_protocol::limits::LIVE_SIGNAL_MESSAGE_MAX_BYTES).
    pub fn receive(&mut self, checks: &mut Checks<'_>, now: UnixMillis, text: &str) {
        if self.is_closed {
            return;
        }
        (self.heard_at, self.has_heard) = (now, true);
        let message = ClientMessage::parse(text);
        let is_small = matches!(message, Ok(ClientMessage::Ping | ClientMessage::Acknowledge(_)));
        if !self.messages.take(now, is_small) {
            self.error(None, Code::TooFast, "too many messages on this connection".to_owned());
            return self.close(CloseCode::TooFast);
        }
        match message {
            Ok(ClientMessage::Ping) => self.outputs.push_back(Output::Text(PONG.to_owned())),
            Ok(ClientMessage::Acknowledge(sequence)) => self.window.acknowledge(now, sequence),
            Ok(ClientMessage::Announce(message)) => self.take_ticket(checks, now, message, Purpose::Presence),
            Ok(ClientMessage::Leave(message)) => self.take_ticket(checks, now, message, Purpose::Leave),
            Ok(ClientMessage::Bind(message)) => self.bind(now, message),
            Ok(ClientMessage::Signal(signal)) => self.signal(now, *signal, text),
            Err(MessageError::TooLong) => self.close(CloseCode::TooLong),
            Err(error) => {
                self.malformed += 1;
                self.error(None, Code::Malformed, error.to_string());
                if self.malformed >= LIVE_MALFORMED_MESSAGES {
                    self.close(CloseCode::Malformed);
                }
            }
        }
        self.tell_object();
    }

    /// Takes a ping or a pong of the WebSocket's own (RFC 6455, section 5.5), which counts as `ping` does.
    pub fn receive_control(&mut self, now: UnixMillis) {
        (self.heard_at, self.has_heard) = (now, true);
        if !self.is_closed && !self.messages.take(now, true) {
            self.close(CloseCode::TooFast);
        }
    }

    /// Takes that the client has sent what no right one does: something binary, or a message that is too long.
    pub fn refuse(&mut self, code: CloseCode) {
        self.close(code);
    }

    /// Takes that the beacon is about to end.
    pub fn drain(&mut self) {
        self.close(CloseCode::GoingAway);
    }

    /// Goes on with whether a signature fits.
    pub fn verified(&mut self, checks: &mut Checks<'_>, Verify(waiting): Verify, holds: bool) {
        if self.is_closed {
            return;
        }
        match waiting {
            Waiting::Ticket { id, ticket } => match ticket.accept(holds) {
                Ok(ticket) => {
                    checks.signatures.insert(&ticket);
                    self.hand_over(checks, id, ticket);
                }
                Err(error) => self.refuse_ticket(id.as_deref(), &error),
            },
            Waiting::Bind { id, binding } if holds => {
                let Binding { peer_id, public_key, .. } = binding;
                let claim = Claim { public_key, peer_id };
                if self.is_for(&claim, id.as_deref()) {
                    let since = self.since();
                    self.outputs.push_back(Output::Ask(LiveCall::Bind { id, claim, since }));
                }
            }
            Waiting::Bind { id, .. } => self.refuse_binding(id.as_deref()),
        }
    }

    /// Takes what the object has for this connection.
    pub fn take(&mut self, checks: &mut Checks<'_>, now: UnixMillis, pushed: Pushed) {
        if self.is_closed {
            return;
        }
        match pushed {
            Pushed::Reply(text) => self.outputs.push_back(Output::Text(text)),
            Pushed::Bound(re) => {
                self.is_bound = true;
                self.open_relay(checks, now);
                let ice_servers = self.ice_servers.as_ref().map(|servers| servers.json.as_str());
                let message = BoundMessage { re: re.as_deref(), ice_servers };
                self.outputs.push_back(Output::Text(message.to_text()));
            }
            Pushed::Frame(frame) => {
                self.ask_at = None;
                self.take_frame(now, frame, false);
            }
            Pushed::CaughtUp(frame) => {
                self.has_asked = false;
                self.take_frame(now, frame, true);
            }
            Pushed::FrameWaits(wait) => self.ask_at = Some(now.after(wait)),
            Pushed::Signal(text) => {
                // Until the client acknowledges where it is, as after frames.
                let sequence = self.since().map_or(0, |position| position.sequence);
                self.window.sent(now, sequence, text.len());
                self.outputs.push_back(Output::Text(text));
            }
            Pushed::Close(code) => self.close(code),
        }
        self.tell_object();
    }

    /// Takes that frames were skipped because the host could not hold them until the client had read.
    pub fn missed(&mut self) {
        // What the object was asked for may be among them.
        self.has_asked = false;
        self.is_behind = true;
        self.tell_object();
    }

    /// Takes that everything that was sent has been read, where the host knows: of an event stream.
    pub fn read(&mut self, now: UnixMillis) {
        if self.opened.kind == Kind::Stream {
            self.window.acknowledge(now, u64::MAX);
            self.tell_object();
        }
    }

    /// Returns when [`Connection::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> UnixMillis {
        let end = match self.opened.kind {
            Kind::Socket => self.silent_at(),
            Kind::Stream => self.opened_at.after(LIVE_STREAM_DURATION).min(self.pinged_at.after(LIVE_STREAM_PING)),
        };
        self.window.slow_at().into_iter().chain(self.ask_at).fold(end, UnixMillis::min)
    }

    /// Returns when the client has been silent for too long.
    fn silent_at(&self) -> UnixMillis {
        self.heard_at.after(if self.has_heard { LIVE_SILENCE } else { LIVE_FIRST_SILENCE })
    }

    /// Does what is due: an early or repeated call does nothing.
    pub fn handle_timeout(&mut self, now: UnixMillis) {
        if self.is_closed {
            return;
        }
        if self.window.slow_at().is_some_and(|at| at <= now) {
            return self.close(CloseCode::Slow);
        }
        if self.ask_at.take_if(|at| *at <= now).is_some() {
            self.outputs.push_back(Output::Ask(LiveCall::FrameDue));
        }
        match self.opened.kind {
            Kind::Socket => {
                if self.silent_at() <= now {
                    self.close(CloseCode::Again);
                }
            }
            Kind::Stream => {
                if self.opened_at.after(LIVE_STREAM_DURATION) <= now {
                    self.close(CloseCode::Again);
                } else if self.pinged_at.after(LIVE_STREAM_PING) <= now {
                    self.pinged_at = now;
                    self.outputs.push_back(Output::StreamPing);
                }
            }
        }
    }

    /// Returns the client's address, as it is remembered where one is refused.
    pub(crate) const fn address(&self) -> NetworkHash {
        self.opened.address
    }

    fn since(&self) -> Option<Position> {
        self.position.or(self.opened.since)
    }

    fn close(&mut self, code: CloseCode) {
        if !self.is_closed {
            self.is_closed = true;
            self.outputs.push_back(Output::Close(code));
        }
    }

    fn error(&mut self, re: Option<&str>, code: Code, detail: String) {
        let message = ErrorMessage { re, code: code.as_str(), detail, retry_after_ms: None };
        self.outputs.push_back(Output::Text(message.to_text()));
    }

    fn take_ticket(&mut self, checks: &mut Checks<'_>, now: UnixMillis, message: TicketMessage<'_>, purpose: Purpose) {
        let TicketMessage { id, ticket, sequence } = message;
        if let Some(sequence) = sequence {
            self.window.acknowledge(now, sequence);
        }
        let checked = Ticket::parse(ticket, purpose)
            .and_then(|ticket| check_ticket(checks.gate, checks.config, ticket, &self.opened.community, now));
        match checked {
            Ok(ticket) if checks.signatures.contains(&ticket) => {
                let verify = Verify(Waiting::Ticket { id, ticket });
                self.verified(checks, verify, true);
            }
            Ok(ticket) => self.outputs.push_back(Output::Verify(Verify(Waiting::Ticket { id, ticket }))),
            Err(error) => self.refuse_ticket(id.as_deref(), &error),
        }
    }

    fn refuse_ticket(&mut self, re: Option<&str>, error: &TicketError) {
        let message = ErrorMessage { re, code: error.code(), detail: error.to_string(), retry_after_ms: None };
        self.outputs.push_back(Output::Text(message.to_text()));
        if matches!(error, TicketError::RevokedPublicKey | TicketError::UntrustedPublicKey) {
            self.close(CloseCode::KeyRefused);
        }
    }

    fn hand_over(&mut self, checks: &Checks<'_>, id: Option<String>, ticket: VerifiedTicket) {
        if !self.is_for(&Claim::of(&ticket), id.as_deref()) {
            return;
        }
        if self.opened.is_foreign && ticket.payload().purpose == Purpose::Presence {
            let (issued_at, expires_at) = (ticket.payload().issued_at, ticket.payload().expires_at);
            let pacing = checks.config.pacing;
            let message = AnnouncedMessage {
                re: id.as_deref(),
                accepted: false,
                listed: false,
                expires_at,
                announce_after_ms: pacing.live_announce_after_millis(expires_at.since(issued_at), checks.random),
                bound: self.is_bound,
            };
            return self.outputs.push_back(Output::Text(message.to_text()));
        }
        self.outputs.push_back(Output::Ask(LiveCall::Ticket { id, ticket: Box::new(ticket) }));
    }

    /// Returns whether the connection is this claim's, which it becomes with the first one that is proved.
    fn is_for(&mut self, claim: &Claim, re: Option<&str>) -> bool {
        let is_for = self.claim.get_or_insert_with(|| claim.clone()) == claim;
        if !is_for {
            let detail = "a connection is for one key and one peerId; open another one for this".to_owned();
            self.error(re, Code::AnotherPeer, detail);
        }
        is_for
    }

    fn bind(&mut self, now: UnixMillis, message: BindMessage) {
        let BindMessage { id, audience, peer_id, public_key, signature, sequence } = message;
        if let Some(sequence) = sequence {
            self.window.acknowledge(now, sequence);
        }
        // A signature for another beacon, handed on by it, binds nothing.
        if !self.opened.audiences.iter().any(|own| own.as_str() == audience) {
            let detail = "audience is not an origin of this beacon; its operator lists them in EXTERNAL_URLS";
            return self.error(id.as_deref(), Code::MisdirectedRequest, detail.to_owned());
        }
        // What the plain equation leaves open: see `Unverified`.
        if !public_key.may_have_made(&signature) {
            return self.refuse_binding(id.as_deref());
        }
        let community = self.opened.community.clone();
        let binding = Binding { audience, challenge: self.challenge, community, peer_id, public_key, signature };
        self.outputs.push_back(Output::Verify(Verify(Waiting::Bind { id, binding })));
    }

    /// Sees to it that there is something that opens the relay for half of its life at least, if this peer may have it: in a
    /// community that the operator names, and not for a page of elsewhere. Only a bound one is a peer: whoever is not listed
    /// must not use up what there is.
    fn open_relay(&mut self, checks: &mut Checks<'_>, now: UnixMillis) {
        let Some(Claim { public_key, .. }) = &self.claim else { return };
        let lasts = |servers: &IceServers| now.after(TURN_LIFETIME / 2) < servers.ends_at;
        if self.opened.is_foreign
            || !checks.config.names(&self.opened.community)
            || self.ice_servers.as_ref().is_some_and(lasts)
        {
            return;
        }
        let issued = checks.turn.as_mut().and_then(|turn| turn.issue(now, self.opened.place, public_key));
        self.ice_servers = issued.or_else(|| self.ice_servers.take().filter(|servers| now < servers.ends_at));
    }

    fn refuse_binding(&mut self, re: Option<&str>) {
        let detail = "the signature does not fit challenge, audience, community, peerId and publicKey";
        self.error(re, Code::SignatureInvalid, detail.to_owned());
    }

    fn take_frame(&mut self, now: UnixMillis, frame: Arc<Frame>, is_asked_for: bool) {
        if !self.window.is_open() {
            self.is_behind = true;
            return;
        }
        match (frame.previous, self.since()) {
            (None, _) => {}
            (Some(previous), Some(own)) if own.takes(previous) => {
                // What crossed with an answer that held it already.
                if !is_asked_for && self.position.is_some_and(|own| frame.position.sequence <= own.sequence) {
                    return;
                }
            }
            (Some(_), _) => {
                self.is_behind = true;
                return;
            }
        }
        if is_asked_for {
            self.is_behind = frame.more;
        } else if self.is_behind {
            // It fits, and holds everything since the frame before it, which this connection has.
            self.is_behind = false;
        }
        self.position = Some(frame.position);
        self.window.sent(now, frame.position.sequence, frame.bytes);
        self.outputs.push_back(Output::Frame(frame));
        self.frames = self.frames.saturating_add(1);
        if self.opened.most_frames.is_some_and(|most| self.frames >= most) {
            self.close(CloseCode::Again);
        }
    }

    fn signal(&mut self, now: UnixMillis, signal: Signal<'_>, text: &str) {
        let re = Some(signal.id.as_str());
        if !self.is_bound {
            let detail = "only a connection that is bound to a listed claim signals: announce, then bind";
            return self.error(re, Code::NotBound, detail.to_owned());
        }
        if !self.is_for(&signal.from, re) {
            return;
        }
        if !signal.is_timely(now) {
            let detail = format!("at must be within {} s of {now}, the time here", LIVE_SIGNAL_SKEW.as_secs());
            return self.error(re, Code::SignalTime, detail);
        }
        if let Err(wait) = self.signals.take(now) {
            let detail = "too many signals on this connection".to_owned();
            let retry_after_ms = Some(saturating_millis(wait));
            let message = ErrorMessage { re, code: Code::TooFast.as_str(), detail, retry_after_ms };
            return self.outputs.push_back(Output::Text(message.to_text()));
        }
        let Signal { id, from, to, .. } = signal;
        let call = SignalCall { id, from, to, text: text.to_owned() };
        self.outputs.push_back(Output::Ask(LiveCall::Signal(Box::new(call))));
    }

    /// Asks for what the client missed, and says whether it reads, where either has changed.
    fn tell_object(&mut self) {
        if self.is_closed {
            return;
        }
        let is_open = self.window.is_open();
        // Who is not bound is sent no signals.
        if self.is_bound && self.is_said_to_read != is_open {
            self.is_said_to_read = is_open;
            self.outputs.push_back(Output::Ask(LiveCall::Reads(is_open)));
        }
        if self.is_behind && !self.has_asked && is_open {
            self.has_asked = true;
            self.outputs.push_back(Output::Ask(LiveCall::CatchUp(self.since())));
        }
    }
}
