//! What goes between a connection and its object, and what it is as text where the two are not in one process.
//!
//! A text begins with a letter for what it is. Its first line is what the other side reads; after that is a message for the
//! client, which is handed on as it came.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::live::{Claim, CloseCode, Frame, Position};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::ticket::{PeerId, Purpose, VerifiedTicket};
use rendezvous_protocol::time::saturating_millis;

use crate::call::CallError;
use crate::query::path_and_query;

const OPEN: &str = "/live";

const STREAM: &str = "&stream";

const GUESTS: &str = "&guests";

/// Names a connection, by a number that a host uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Holds what an object is told of a connection that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Where the client counts.
    pub network: HandedOver,
    /// How far the client has come, on a connection before.
    pub since: Option<Position>,
    /// Whether the client reads an event stream.
    pub is_stream: bool,
    /// Whether the client wants to know of the community's guests, too. One of an event stream cannot.
    pub watches_guests: bool,
}

impl Opening {
    /// Writes the opening as a path and a query: where the client counts, the position, and whether it is a stream's or is
    /// told of guests.
    pub fn to_path(&self) -> String {
        let more = match (self.is_stream, self.watches_guests) {
            (true, _) => STREAM,
            (false, true) => GUESTS,
            (false, false) => "",
        };
        format!("{OPEN}?{}&{}{more}", self.network.to_text(), position_text(self.since))
    }

    /// Reads a URL that ends in what [`Opening::to_path`] wrote. Absent is what is another call.
    pub fn parse(url: &str) -> Option<Result<Self, CallError>> {
        let (path, query) = path_and_query(url);
        (path == OPEN).then(|| {
            let (network, since) = query.split_once('&').ok_or(CallError::Malformed("not two parts"))?;
            let network = HandedOver::from_text(network).ok_or(CallError::Malformed("no network"))?;
            let (of_stream, with_guests) = (since.strip_suffix(STREAM), since.strip_suffix(GUESTS));
            Ok(Self {
                network,
                since: read_position(of_stream.or(with_guests).unwrap_or(since))?,
                is_stream: of_stream.is_some(),
                watches_guests: with_guests.is_some(),
            })
        })
    }
}

/// Says what a connection asks of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveCall {
    /// To list whoever signed the ticket, or to let it leave, as the ticket says.
    Ticket {
        /// The `id` of the client's message.
        id: Option<String>,
        /// The ticket, which was verified.
        ticket: Box<VerifiedTicket>,
    },
    /// To bind the connection to a claim, of which a signature has been verified.
    Bind {
        /// The `id` of the client's message.
        id: Option<String>,
        /// The claim.
        claim: Claim,
        /// How far the client has come.
        since: Option<Position>,
    },
    /// To hand a signal on.
    Signal(Box<SignalCall>),
    /// To hand on no signals to the connection while its client does not read (`false`), and to do so again (`true`).
    Reads(bool),
    /// To tell what changed since this position, or everything.
    CatchUp(Option<Position>),
    /// To send everybody the frame that waits: the time of [`Pushed::FrameWaits`] has passed, and none came.
    FrameDue,
    /// To forget the connection, which has ended.
    Closed,
}

impl LiveCall {
    /// Writes the call as text. [`LiveCall::Closed`] has none: a connection that has ended says so by itself.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Ticket { id, ticket } => {
                let letter = match ticket.payload().purpose {
                    Purpose::Presence => 'P',
                    Purpose::Leave => 'L',
                };
                Some(format!("{letter}{}\n{}", id_text(id), ticket.as_json()))
            }
            Self::Bind { id, claim: Claim { public_key, peer_id }, since } => {
                Some(format!("B{}\n{}\n{public_key}\n{peer_id}", id_text(id), position_text(*since)))
            }
            Self::CatchUp(since) => Some(format!("C{}", position_text(*since))),
            Self::Signal(signal) => {
                let SignalCall { id, from, to, text } = &**signal;
                let [from, to] = [from, to].map(|Claim { public_key, peer_id }| format!("{public_key}\n{peer_id}"));
                Some(format!("S{id}\n{from}\n{to}\n{}", to_line(text)))
            }
            Self::Reads(reads) => Some(format!("R{}", u8::from(*reads))),
            Self::FrameDue => Some("D".to_owned()),
            Self::Closed => None,
        }
    }

    /// Reads what [`LiveCall::to_text`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(text: &str) -> Result<Self, CallError> {
        let mut lines = text.split('\n');
        let (letter, first) = lines.next().and_then(|line| line.split_at_checked(1)).ok_or(CallError::Unknown)?;
        let id = read_id(first);
        let mut line = |cause| lines.next().ok_or(CallError::Malformed(cause));
        let mut ticket = |purpose| VerifiedTicket::trusted(line("no ticket")?, purpose).map_err(CallError::from);
        let call = match letter {
            "P" => Ok(Self::Ticket { id, ticket: Box::new(ticket(Purpose::Presence)?) }),
            "L" => Ok(Self::Ticket { id, ticket: Box::new(ticket(Purpose::Leave)?) }),
            "B" => {
                let since = read_position(line("no position")?)?;
                Ok(Self::Bind { id, claim: read_claim(line("no key")?, line("no name")?)?, since })
            }
            "C" => Ok(Self::CatchUp(read_position(first)?)),
            "S" => {
                let from = read_claim(line("no key")?, line("no name")?)?;
                let to = read_claim(line("no key")?, line("no name")?)?;
                let (id, text) = (first.to_owned(), from_line(line("no signal")?));
                Ok(Self::Signal(Box::new(SignalCall { id, from, to, text })))
            }
            "R" => Ok(Self::Reads(read_flag(first)?)),
            "D" if first.is_empty() => Ok(Self::FrameDue),
            _ => Err(CallError::Unknown),
        };
        if lines.next().is_none() { call } else { Err(CallError::Malformed("a line too many")) }
    }
}

/// Takes the place of line feeds in a message that is a line. JSON that can be read has none.
const VERTICAL_TAB: char = '\u{b}';

fn to_line(json: &str) -> String {
    replaced(json, '\n', VERTICAL_TAB)
}

fn from_line(line: &str) -> String {
    replaced(line, VERTICAL_TAB, '\n')
}

fn replaced(text: &str, from: char, to: char) -> String {
    text.chars().map(|character| if character == from { to } else { character }).collect()
}

fn read_claim(public_key: &str, peer_id: &str) -> Result<Claim, CallError> {
    let public_key = base64::decode_array(public_key).map(PublicKey::from_bytes);
    let public_key = public_key.ok_or(CallError::Malformed("no key"))?;
    Ok(Claim { public_key, peer_id: PeerId::new(peer_id).ok_or(CallError::Malformed("no name"))? })
}

fn id_text(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or_default()
}

fn read_id(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|id| !id.is_empty())
}

fn position_text(position: Option<Position>) -> String {
    position.map(|position| position.to_string()).unwrap_or_default()
}

fn read_position(text: &str) -> Result<Option<Position>, CallError> {
    let position = Some(text).filter(|text| !text.is_empty());
    position.map(str::parse).transpose().map_err(|_| CallError::Malformed("no position"))
}

/// Holds a signal on its way from one connection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalCall {
    /// The `id` of the client's message.
    pub id: String,
    /// Whom it says that it is from.
    pub from: Claim,
    /// Whom it is for.
    pub to: Claim,
    /// The message as it came.
    pub text: String,
}

/// Holds what an object has for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Whom it is for.
    pub to: Vec<ConnectionId>,
    /// What it is.
    pub what: Pushed,
}

/// Says what an object has for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// A message, whatever else is sent.
    Reply(String),
    /// The connection is bound, as the message with this `id` asked.
    Bound(Option<String>),
    /// A signal of another peer's: the message as it came.
    Signal(String),
    /// A frame that is sent to all viewers.
    Frame(Arc<Frame>),
    /// A frame that the connection asked for. Where there is more, it asks again.
    CaughtUp(Arc<Frame>),
    /// Changes wait, and are sent to all after this time. Unless they are before, the connection then asks for that
    /// ([`LiveCall::FrameDue`]).
    FrameWaits(Duration),
    /// The end.
    Close(CloseCode),
}

impl Pushed {
    /// Writes what it is as text. [`Pushed::Close`] has none: it is the end of what goes between the two.
    pub fn to_text(&self) -> Option<String> {
        let frame = |letter: char, frame: &Frame| {
            let Frame { previous, position, more, bytes, text } = frame;
            format!("{letter}{} {position} {} {bytes}\n{text}", position_text(*previous), u8::from(*more))
        };
        match self {
            Self::Reply(text) => Some(format!("R{text}")),
            Self::Bound(re) => Some(format!("B{}", id_text(re))),
            Self::Signal(text) => Some(format!("S{}", to_line(text))),
            Self::Frame(pushed) => Some(frame('F', pushed)),
            Self::CaughtUp(pushed) => Some(frame('C', pushed)),
            Self::FrameWaits(wait) => Some(format!("W{}", saturating_millis(*wait))),
            Self::Close(_) => None,
        }
    }

    /// Reads the first line of what [`Pushed::to_text`] wrote. The text of a frame, which is the other line, stays with the
    /// host.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(line: &str) -> Result<Self, CallError> {
        let (letter, rest) = line.split_at_checked(1).ok_or(CallError::Unknown)?;
        match letter {
            "R" => Ok(Self::Reply(rest.to_owned())),
            "B" => Ok(Self::Bound(read_id(rest))),
            "S" => Ok(Self::Signal(from_line(rest))),
            "F" => read_frame(rest).map(Self::Frame),
            "C" => read_frame(rest).map(Self::CaughtUp),
            "W" => {
                let millis = rest.parse().map_err(|_| CallError::Malformed("no time"))?;
                Ok(Self::FrameWaits(Duration::from_millis(millis)))
            }
            _ => Err(CallError::Unknown),
        }
    }
}

fn read_flag(text: &str) -> Result<bool, CallError> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(CallError::Malformed("neither 0 nor 1")),
    }
}

fn read_frame(line: &str) -> Result<Arc<Frame>, CallError> {
    let mut parts = line.split(' ');
    let mut part = || parts.next().ok_or(CallError::Malformed("not four parts of a frame"));
    let previous = read_position(part()?)?;
    let position = read_position(part()?)?.ok_or(CallError::Malformed("no position"))?;
    let more = read_flag(part()?)?;
    let bytes = part()?.parse().map_err(|_| CallError::Malformed("no length"))?;
    if parts.next().is_some() {
        return Err(CallError::Malformed("not four parts of a frame"));
    }
    Ok(Arc::new(Frame { previous, position, more, bytes, text: String::new() }))
}

/// Says that there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no place for another connection, in this community or for this network")]
pub struct LiveFull;
