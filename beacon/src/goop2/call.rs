//! What goes between a Worker and the room in a community's object, as text: what a request asks, what a connection is opened
//! for and says, and what it keeps while the object hibernates. What comes back is as with connections of `GET /live`.

use std::sync::Arc;

use rendezvous_protocol::base64;
use rendezvous_protocol::goop2::{GuestId, Presence};
use rendezvous_protocol::network::{HandedOver, NetworkPath};
use rendezvous_protocol::secret::Secret;

use crate::call::CallError;
use crate::query::path_and_query;

const ASK: &str = "/guests";
const OPEN: &str = "/guests/live";

/// Stands before what a guest's connection keeps.
const KEPT: &str = "guest\n";

/// Stands between two messages, of which none has one: JSON writes it in another way.
const SEPARATOR: char = '\u{b}';

/// Says what a room is asked by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomCall {
    /// To take a message.
    Publish {
        /// The message.
        presence: Box<Presence>,
        /// Where it comes from.
        network: HandedOver,
    },
    /// To say who is there.
    List,
}

impl RoomCall {
    /// Returns whether a URL ends in what [`RoomCall::to_path`] wrote.
    pub fn is_in(url: &str) -> bool {
        path_and_query(url).0 == ASK
    }

    /// Writes where the message comes from, if there is one, as a path and a query.
    pub fn to_path(&self) -> String {
        match self {
            Self::Publish { network, .. } => format!("{ASK}?{}", network.to_text()),
            Self::List => ASK.to_owned(),
        }
    }

    /// Writes the message, if there is one.
    pub fn to_body(&self) -> String {
        match self {
            Self::Publish { presence, .. } => presence.to_text(),
            Self::List => String::new(),
        }
    }

    /// Reads a URL that ends in what [`RoomCall::to_path`] wrote, and what [`RoomCall::to_body`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) fn parse(url: &str, body: &str) -> Result<Self, CallError> {
        match path_and_query(url).1 {
            "" => Ok(Self::List),
            network => Ok(Self::Publish { presence: read_presence(body)?, network: read_network(network)? }),
        }
    }
}

/// Holds what a room is told of a connection that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOpening {
    /// Where the client counts.
    pub network: HandedOver,
    /// Whose socket it is; absent where it only listens.
    pub guest: Option<GuestId>,
}

impl GuestOpening {
    /// Writes the opening as a path and a query: where the client counts, and whose socket it is.
    pub fn to_path(&self) -> String {
        format!("{OPEN}?{}&{}", self.network.to_text(), id_text(self.guest.as_ref()))
    }

    /// Reads a URL that ends in what [`GuestOpening::to_path`] wrote. Absent is what is another call.
    pub fn parse(url: &str) -> Option<Result<Self, CallError>> {
        let (path, query) = path_and_query(url);
        (path == OPEN).then(|| {
            let (network, guest) = query.split_once('&').ok_or(CallError::Malformed("not two parts"))?;
            Ok(Self { network: read_network(network)?, guest: read_id(guest)? })
        })
    }
}

/// Says what a connection tells the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestCall {
    /// The guest's message.
    Tell(Box<Presence>),
    /// That the socket ends, and its guest is about to open another one.
    Returns,
}

impl GuestCall {
    /// Writes the call: a letter, and a message.
    pub fn to_text(&self) -> String {
        match self {
            Self::Tell(presence) => format!("T{}", presence.to_text()),
            Self::Returns => "R".to_owned(),
        }
    }

    /// Reads what [`GuestCall::to_text`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(crate) fn parse(text: &str) -> Result<Self, CallError> {
        match text.split_at_checked(1) {
            Some(("T", message)) => read_presence(message).map(Self::Tell),
            Some(("R", "")) => Ok(Self::Returns),
            _ => Err(CallError::Unknown),
        }
    }
}

/// Writes messages as one text.
pub(crate) fn join(messages: &[Arc<str>]) -> String {
    let mut joined = String::new();
    for message in messages {
        if !joined.is_empty() {
            joined.push(SEPARATOR);
        }
        joined.push_str(message);
    }
    joined
}

/// Reads what [`join`] wrote.
pub(crate) fn split(messages: &str) -> Arc<[Arc<str>]> {
    messages.split(SEPARATOR).map(Arc::from).collect()
}

/// Holds what a connection keeps while its object hibernates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptGuest {
    /// The secret by which the room hashes.
    pub(crate) secret: Secret,
    /// Where the connection counts.
    pub(crate) path: NetworkPath,
    /// Whose socket it is; absent where it only listens.
    pub(crate) guest: Option<GuestId>,
}

impl KeptGuest {
    /// Writes what is kept in four lines.
    pub(crate) fn to_text(&self) -> String {
        let Self { secret, path, guest } = self;
        let [secret, path] = [&secret.as_bytes()[..], &path.to_bytes()].map(base64::encode);
        format!("{KEPT}{secret}\n{path}\n{}", id_text(guest.as_ref()))
    }

    /// Reads what [`KeptGuest::to_text`] wrote. Absent is what another connection keeps.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, CallError>> {
        let mut lines = text.strip_prefix(KEPT)?.splitn(3, '\n');
        let mut line = || lines.next().unwrap_or_default();
        let (secret, path, guest) = (base64::decode_array(line()), base64::decode_array(line()), line());
        let read = || {
            Ok(Self {
                secret: secret.map(Secret::from_bytes).ok_or(CallError::Malformed("no secret"))?,
                path: path.map(NetworkPath::from_bytes).ok_or(CallError::Malformed("no network"))?,
                guest: read_id(guest)?,
            })
        };
        Some(read())
    }
}

fn read_presence(text: &str) -> Result<Box<Presence>, CallError> {
    Presence::trusted(text).map(Box::new).map_err(|_| CallError::Malformed("no presence message"))
}

fn read_network(text: &str) -> Result<HandedOver, CallError> {
    HandedOver::from_text(text).ok_or(CallError::Malformed("no network"))
}

fn id_text(id: Option<&GuestId>) -> &str {
    id.map(GuestId::as_str).unwrap_or_default()
}

fn read_id(text: &str) -> Result<Option<GuestId>, CallError> {
    match text {
        "" => Ok(None),
        id => GuestId::new(id).map(Some).ok_or(CallError::Malformed("no peerId")),
    }
}
