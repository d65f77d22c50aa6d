//! A message as it is handed over.

use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Holds a message as it is handed over. Name and content are a stranger's: they may have control characters in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id, which its sender drew.
    pub id: String,
    /// Who sent it.
    pub from: UserId,
    /// The name that the user gave the sender.
    pub saved_name: Option<String>,
    /// The name that the sender gives itself.
    pub claimed_name: Option<String>,
    /// What is in it.
    pub content: Content,
    /// When it was taken from the relay.
    pub received_at: UnixMillis,
    /// Whether it was offered before, and may have been shown.
    pub redelivered: bool,
    /// What [`User::offer_batch`](super::User::offer_batch) knows this very message by: the id is its sender's choice, and another
    /// sender may choose the same.
    pub handle: String,
}

impl Message {
    /// Returns the sender's name as retalk shows it: the saved one, else the claimed one behind `~`, else nothing.
    pub fn shown_name(&self) -> String {
        match (&self.saved_name, &self.claimed_name) {
            (Some(saved), _) => saved.clone(),
            (None, Some(claimed)) => format!("~{claimed}"),
            (None, None) => String::new(),
        }
    }
}

/// Is what is in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A text.
    Text(String),
    /// Something else, which other clients have: a contact's card, a farewell to a group.
    Other {
        /// Its kind, as the sender wrote it.
        kind: String,
        /// All of it, as JSON.
        json: String,
    },
}
