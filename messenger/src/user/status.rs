//! Counts of what is in the store.

use rendezvous_protocol::time::UnixMillis;

use super::account::User;
use super::conversation;
use super::error::UserError;
use super::mailbox::{self, MailboxStatus};
use super::outgoing::Door;
use super::record::{DueRecord, InboxRecord, IncomingRecord, OutgoingRecord, PeerRecord, SessionRecord};

/// Counts what is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Messages in the outbox.
    pub outbox: usize,
    /// Messages in the inbox, not taken.
    pub inbox: usize,
    /// Messages from a relay that could not be opened yet.
    pub incoming: usize,
    /// Acknowledgements that are due.
    pub acknowledgements_due: usize,
    /// Sessions of Olm.
    pub sessions: usize,
    /// Saved contacts.
    pub contacts: usize,
    /// Blocked peers.
    pub blocked: usize,
    /// When the fallback key was made.
    pub fallback_made_at: Option<UnixMillis>,
    /// The own mailbox, once it was to be opened for a contact.
    pub mailbox: Option<MailboxStatus>,
    /// Saved contacts to whom messages go by mailboxes.
    pub contacts_with_mailbox: usize,
}

impl User {
    /// Counts what is in the store.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn status(&self) -> Result<Status, UserError> {
        self.vault.read(|rows| {
            let peers = rows.all::<PeerRecord>()?;
            let mut contacts_with_mailbox = 0;
            for peer in peers.iter().filter(|peer| peer.name.is_some()) {
                contacts_with_mailbox += usize::from(mailbox::door(rows, peer.id)? == Door::Mailbox);
            }
            Ok(Status {
                outbox: rows.count::<OutgoingRecord>()?,
                inbox: rows.count::<InboxRecord>()?,
                incoming: rows.count::<IncomingRecord>()?,
                acknowledgements_due: rows.count::<DueRecord>()?,
                sessions: rows.count::<SessionRecord>()?,
                contacts: peers.iter().filter(|peer| peer.name.is_some()).count(),
                blocked: peers.iter().filter(|peer| peer.is_blocked).count(),
                fallback_made_at: conversation::account(rows)?.fallback.map(|fallback| fallback.made_at),
                mailbox: mailbox::status(rows)?,
                contacts_with_mailbox,
            })
        })
    }
}
