//! The calls of an object, and what they are as text.
//!
//! Both directions are in this file, so that what one process writes another reads. All is said in a path and a query:
//! on Workers headers and a body are more to make and to read.

use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::mailbox::record::RecordError;
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::snapshot::SnapshotError;
use rendezvous_protocol::ticket::{Purpose, TicketError, VerifiedTicket};

use crate::query::path_and_query;

/// Limits how long a request waits for its object, over all attempts: a community's, and on Workers a mailbox's.
pub const OBJECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Limits how long a reader waits for a list that another reader has asked for.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(1);

// Whoever has waited for another reader's list has time left to ask.
const _: () = assert!(LIST_TIMEOUT.as_nanos() < OBJECT_TIMEOUT.as_nanos());

const ANNOUNCE: &str = "/announce";
const LEAVE: &str = "/leave";
const LIST: &str = "/listing";

/// Says what an object is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// To list whoever signed the ticket, or to let it leave, as the ticket says. The answer is the client's.
    Ticket(Box<Handed>),
    /// To hand out its list.
    List,
}

/// Holds what is handed over with a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The community, which is not the object's name where the object is a spare one.
    pub community: Community,
    /// Where the client counts that brings the ticket.
    pub network: HandedOver,
    /// The ticket.
    pub ticket: VerifiedTicket,
}

/// Says why a call cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such call.
    #[error("what was handed over to the object cannot be read: no such call")]
    Unknown,
    /// A part is missing, one too many, or not of its kind.
    #[error("what was handed over to the object cannot be read: {0}")]
    Malformed(&'static str),
    /// The ticket is malformed.
    #[error("a ticket handed over was not a ticket: {0}")]
    Ticket(#[from] TicketError),
    /// A record of a mailbox is malformed.
    #[error("a record handed over was not a record: {0}")]
    Record(RecordError),
}

impl Call {
    /// Makes the call that hands a ticket over.
    pub(crate) fn hand_over(community: Community, client: Client, ticket: VerifiedTicket) -> Self {
        Self::Ticket(Box::new(Handed { community, network: client.hand_over(), ticket }))
    }

    /// Writes the call as a path and a query: of a ticket the community's name, where the client counts, and the ticket
    /// in base64.
    pub fn to_path(&self) -> String {
        let Self::Ticket(handed) = self else { return LIST.to_owned() };
        let Handed { community, network, ticket } = &**handed;
        let path = match ticket.payload().purpose {
            Purpose::Presence => ANNOUNCE,
            Purpose::Leave => LEAVE,
        };
        let ticket = base64::encode(ticket.as_json().as_bytes());
        format!("{path}?{community}&{}&{ticket}", network.to_text())
    }

    /// Reads a URL that ends in what [`Call::to_path`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(url: &str) -> Result<Self, CallError> {
        let (path, query) = path_and_query(url);
        let purpose = match path {
            LIST => return Ok(Self::List),
            ANNOUNCE => Purpose::Presence,
            LEAVE => Purpose::Leave,
            _ => return Err(CallError::Unknown),
        };
        let mut parts = query.split('&');
        let (Some(community), Some(network), Some(ticket), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CallError::Malformed("not three parts"));
        };
        let community = Community::new(community).map_err(|_| CallError::Malformed("no community"))?;
        let network = HandedOver::from_text(network).ok_or(CallError::Malformed("no network"))?;
        let json = base64::decode(ticket).and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.ok_or(CallError::Malformed("the ticket is not base64 of text"))?;
        let ticket = VerifiedTicket::trusted(&json, purpose)?;
        Ok(Self::Ticket(Box::new(Handed { community, network, ticket })))
    }
}

/// Says why an object has not answered a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The host could not start it, or lost it.
    #[error("the runtime: {0}")]
    Runtime(String),
    /// It has more to do than it can, or is being moved: it can be asked again.
    #[error("the object is busy: {0}")]
    Busy(String),
    /// The object has not answered in time; it may still do what it was asked.
    #[error("the object has not answered in time")]
    TimedOut,
    /// It answered with another status than 200.
    #[error("the object answered {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// Its answer is not a list, or its rows are not its own.
    #[error("what is stored could not be written or read: {0}")]
    Unreadable(String),
}

impl From<SnapshotError> for ObjectError {
    fn from(error: SnapshotError) -> Self {
        Self::Unreadable(error.to_string())
    }
}
