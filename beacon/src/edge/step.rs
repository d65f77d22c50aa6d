//! What a request needs next, and what the host has to know of it to bring that.
//!
//! How each of them goes on is beside the rules of what was asked.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::live::CHALLENGE_BYTES;
use rendezvous_protocol::network::{Client, RatePath};
use rendezvous_protocol::ticket::{Purpose, Unverified};
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::asset::Asset;
use crate::call::{Call, OBJECT_TIMEOUT};
use crate::directory::DirectoryStep;
use crate::edge::head::Head;
use crate::edge::list_answer::{Caller, Wanted};
use crate::goop2::GuestStep;
use crate::hivemind::HivemindStep;
use crate::live::{Connection, Kind, Opened, Opening};
use crate::mailbox::MailboxStep;
use crate::mesh::EnvelopeRequest;
use crate::registration::RegistrationStep;
use crate::retalk::RetalkStep;
use crate::spare::Attempt;
use crate::survey::Survey;
use crate::templates::TemplateAnswer;

/// Says what one request needs next.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Nothing: this is the answer.
    Answer(Answer),
    /// A file of the page, which is the answer.
    Asset(Asset),
    /// Headers of which few requests have need.
    ReadHeaders(ReadHeaders),
    /// The request's body.
    ReadBody(ReadBody),
    /// Whether a signature fits.
    Verify(Verify),
    /// An object's answer, which goes to the client as it comes.
    Relay(Relay),
    /// An object's list.
    FetchList(FetchList),
    /// A connection that stays.
    OpenLive(Box<OpenLive>),
    /// What a request of goop2's peers needs.
    Guest(Box<GuestStep>),
    /// What a request about a mailbox needs.
    Mailbox(Box<MailboxStep>),
    /// What a request of retalk's users needs.
    Retalk(Box<RetalkStep>),
    /// What a request of hivemind-rendezvous' users needs.
    Hivemind(Box<HivemindStep>),
    /// What a request about the directory needs.
    Directory(Box<DirectoryStep>),
    /// What a request about registration needs.
    Registration(Box<RegistrationStep>),
    /// What a request at the door for another fleet's envelopes needs: two headers, the body, and then its store's answer.
    Envelope(EnvelopeRequest),
    /// Nothing: this is the answer, whose body is the catalogue's.
    Template(Box<TemplateAnswer>),
}

/// Waits for headers that most requests have no need of.
#[derive(Debug)]
pub struct ReadHeaders {
    pub(super) what: Wanting,
}

impl ReadHeaders {
    /// Waits for those of a request that opens a connection.
    pub(super) fn of_live(head: &Head<'_>) -> Self {
        let Head { url, address, autonomous_system, .. } = *head;
        let (url, autonomous_system) = (url.to_owned(), autonomous_system.to_owned());
        Self { what: Wanting::Live { url, address, autonomous_system } }
    }
}

pub(super) enum Wanting {
    PageOrInfo,
    /// From where the attempt counts.
    Admin(RatePath),
    /// What else the request's head has.
    Live {
        url: String,
        address: Option<IpAddr>,
        autonomous_system: String,
    },
}

impl fmt::Debug for Wanting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which is for nobody to read.
        formatter.write_str(match self {
            Self::PageOrInfo => "PageOrInfo",
            Self::Admin(_) => "Admin",
            Self::Live { .. } => "Live",
        })
    }
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadBody {
    /// The community that the query names.
    pub(super) community: Option<String>,
    pub(super) bringer: Bringer,
}

/// Says who brings a ticket, and what for.
#[derive(Clone, Copy)]
pub(super) struct Bringer {
    pub(super) client: Client,
    pub(super) purpose: Purpose,
    /// Whether a page of an origin does that is not the community's.
    pub(super) is_foreign: bool,
}

impl fmt::Debug for Bringer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client: its address is for nobody to read.
        let Self { client: _, purpose, is_foreign } = self;
        let mut fields = formatter.debug_struct("Bringer");
        fields.field("purpose", purpose).field("is_foreign", is_foreign).finish_non_exhaustive()
    }
}

/// Waits for whether a signature fits.
#[derive(Debug)]
pub struct Verify {
    pub(super) ticket: Unverified,
    pub(super) caller: Caller,
    pub(super) community: Community,
    pub(super) bringer: Bringer,
}

impl Verify {
    /// Returns the ticket, of which everything else has been checked: the key, the signature and what is signed.
    pub const fn ticket(&self) -> &Unverified {
        &self.ticket
    }
}

/// Waits for an object's answer, which then goes to the client as it comes.
#[derive(Debug)]
pub struct Relay {
    pub(super) call: Call,
    pub(super) community: Community,
    pub(super) attempt: Attempt,
    pub(super) deadline: UnixMillis,
}

impl Relay {
    /// Returns the object's name.
    pub fn object(&self) -> String {
        self.attempt.object_name(&self.community)
    }

    /// Returns what it is asked.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Returns for how long to wait for the answer. Without one, the request goes on with [`ObjectError::TimedOut`](crate::call::ObjectError::TimedOut).
    pub fn time_left(&self, now: UnixMillis) -> Duration {
        time_left(now, self.deadline)
    }

    /// Returns the call, and who waits for its answer, for a host whose objects are in its own process, and which has nobody
    /// else to ask.
    pub fn into_call(self) -> (Call, Unanswered) {
        (self.call, Unanswered { community: self.community })
    }
}

/// Waits for the answer to a call that was handed over.
#[derive(Debug)]
pub struct Unanswered {
    pub(super) community: Community,
}

/// Waits for whether an object has a place for a connection.
#[derive(Debug)]
pub struct OpenLive {
    pub(super) opening: Opening,
    pub(super) opened: Opened,
}

impl OpenLive {
    /// Returns the object's name.
    pub fn object(&self) -> &str {
        self.opened.community.as_str()
    }

    /// Returns whether the client wants to know of the community's guests, too.
    pub const fn watches_guests(&self) -> bool {
        self.opening.watches_guests
    }

    /// Returns what it is told.
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Returns whether the client reads from a WebSocket, not from an event stream.
    pub fn is_socket(&self) -> bool {
        self.opened.kind == Kind::Socket
    }

    /// Opens the connection, for which there is a place. `challenge` is 16 bytes from a secure source of randomness.
    pub fn admitted(self, now: UnixMillis, challenge: [u8; CHALLENGE_BYTES]) -> Connection {
        Connection::new(now, self.opened, challenge)
    }

    /// Returns for how long to wait for whether there is a place. Without an answer, the request goes on with
    /// [`ObjectError::TimedOut`](crate::call::ObjectError::TimedOut).
    pub const fn time_left(&self) -> Duration {
        OBJECT_TIMEOUT
    }
}

/// Waits for an object's list.
#[derive(Debug)]
pub struct FetchList {
    pub(super) community: Community,
    pub(super) attempt: Attempt,
    pub(super) list_use: ListUse,
    pub(super) patience: Duration,
    pub(super) asked_at: UnixMillis,
    pub(super) deadline: UnixMillis,
}

impl FetchList {
    /// Returns the object's name.
    pub fn object(&self) -> String {
        self.attempt.object_name(&self.community)
    }

    /// Returns what it is asked.
    pub const fn call(&self) -> &Call {
        &Call::List
    }

    /// Returns for how long the request waits for a list that another one has asked this object for, before it asks by
    /// itself. Zero: not at all.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns for how long to wait for a list in all. Without one, the request goes on with [`ObjectError::TimedOut`](crate::call::ObjectError::TimedOut).
    pub fn time_left(&self, now: UnixMillis) -> Duration {
        time_left(now, self.deadline)
    }
}

/// Says what a community's list is fetched for.
#[derive(Debug)]
pub(super) enum ListUse {
    /// One answer of its peers.
    Answer(Wanted),
    /// Figures of it, among those of others.
    Survey(Survey),
}

/// Returns how much of a request's time is left. A clock that has jumped back gives nobody more than there was.
fn time_left(now: UnixMillis, deadline: UnixMillis) -> Duration {
    deadline.since(now).min(OBJECT_TIMEOUT)
}
