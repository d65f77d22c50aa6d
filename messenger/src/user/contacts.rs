//! Contacts: whom the user has saved or blocked, and what is known of others.

use rendezvous_protocol::retalk::user::{Identity, UserId};
use rendezvous_protocol::time::UnixMillis;

use super::account::{User, check_pin};
use super::error::UserError;
use super::naming::{is_saved_name, name_like};
use super::outgoing::Door;
use super::record::{DueRecord, InboxRecord, PeerRecord, peer};
use super::{mailbox, receiving};
use crate::transport::Relay;
use crate::vault::{Rows, VaultError};

/// Holds what is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub id: UserId,
    /// The name that the user gave it; absent where the peer is not saved.
    pub name: Option<String>,
    /// The identity key that it must have.
    pub pin: Option<String>,
    /// Its keys, once they were seen and checked against the id.
    pub identity: Option<Identity>,
    /// Whether its messages are refused.
    pub is_blocked: bool,
    /// By which door the next message to it goes, as far as is known here.
    pub door: Door,
}

impl Contact {
    fn of(rows: &Rows<'_>, peer: PeerRecord) -> Result<Self, VaultError> {
        let (identity, door) = (peer.identity(), mailbox::door(rows, peer.id)?);
        Ok(Self { id: peer.id, name: peer.name, pin: peer.pin, identity, is_blocked: peer.is_blocked, door })
    }
}

impl User {
    /// Saves a peer under a name, or gives it another. `pin` is the identity key that it must have; absent, the one before
    /// stays.
    ///
    /// # Errors
    /// [`UserError::NameInvalid`], [`UserError::NameTaken`], [`UserError::NameConfusable`], [`UserError::PinInvalid`], [`UserError::PinMismatch`] where its
    /// keys are known and are others, [`UserError::ToOneself`] and [`UserError::Vault`].
    pub fn add(&mut self, name: &str, id: UserId, pin: Option<&str>) -> Result<(), UserError> {
        if !is_saved_name(name) {
            return Err(UserError::NameInvalid);
        }
        if id == self.id {
            return Err(UserError::ToOneself);
        }
        let pin = pin.map(|pin| pin.trim_end_matches('=').to_owned());
        if pin.as_ref().is_some_and(|pin| vodozemac::Curve25519PublicKey::from_base64(pin).is_err()) {
            return Err(UserError::PinInvalid);
        }
        self.vault.change(|rows| {
            if let Some(other) = name_like(rows, id, name)? {
                return Err(UserError::of_taken_name(name, other));
            }
            let mut peer = peer(rows, id)?;
            peer.name = Some(name.to_owned());
            peer.pin = pin.or(peer.pin);
            check_pin(&peer, peer.identity().as_ref())?;
            Ok(rows.put(&peer)?)
        })
    }

    /// Returns saved contacts and blocked peers, by name.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn contacts(&self) -> Result<Vec<Contact>, UserError> {
        let mut contacts: Vec<Contact> = self.vault.read(|rows| {
            let peers = rows.all::<PeerRecord>()?.into_iter();
            let shown = peers.filter(|peer| peer.name.is_some() || peer.is_blocked);
            Ok::<_, UserError>(shown.map(|peer| Contact::of(rows, peer)).collect::<Result<_, _>>()?)
        })?;
        contacts.sort_by(|one, other| {
            (one.name.is_none(), &one.name, one.id).cmp(&(other.name.is_none(), &other.name, other.id))
        });
        Ok(contacts)
    }

    /// Returns whom a saved name or an id means. Absent is a name that no contact has; an id always means somebody.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn contact(&self, name_or_id: &str) -> Result<Option<Contact>, UserError> {
        self.vault.read(|rows| match name_or_id.to_ascii_lowercase().parse() {
            Ok(id) => Ok(Some(Contact::of(rows, peer(rows, id)?)?)),
            Err(_) => {
                let mut peers = rows.all::<PeerRecord>()?.into_iter();
                let named = peers.find(|peer| peer.name.as_deref() == Some(name_or_id));
                Ok(named.map(|peer| Contact::of(rows, peer)).transpose()?)
            }
        })
    }

    /// Forgets the name and the pin of a contact. Its sessions stay, and so does a block. Returns whether there was one.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn remove(&mut self, id: UserId) -> Result<bool, UserError> {
        self.vault.change(|rows| {
            let peer = peer(rows, id)?;
            let was_saved = peer.name.is_some();
            if was_saved {
                rows.put(&PeerRecord { name: None, pin: None, ..peer })?;
            }
            Ok(was_saved)
        })
    }

    /// Refuses the messages of a peer from now on, or no more. What is in the inbox of a blocked one is dropped and not
    /// acknowledged: once the peer is no longer blocked, what it sends again is taken in. Returns whether that is a change.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn set_blocked(&mut self, id: UserId, is_blocked: bool) -> Result<bool, UserError> {
        self.vault.change(|rows| {
            let peer = peer(rows, id)?;
            let is_change = peer.is_blocked != is_blocked;
            if is_change {
                rows.put(&PeerRecord { is_blocked, ..peer })?;
            }
            if is_blocked {
                receiving::drop_inbox(rows, id)?;
                for due in rows.of_peer::<DueRecord>(id)? {
                    rows.remove::<DueRecord>(&InboxRecord::name_of(id, &due.message))?;
                }
            }
            Ok(is_change)
        })
    }

    /// Asks a relay for a peer's keys, checks them against its id and its pin, and keeps them.
    ///
    /// # Errors
    /// [`UserError::PinMismatch`], [`UserError::Relay`] and [`UserError::Vault`].
    pub fn verify(&mut self, relay: &Relay<'_>, id: UserId, now: UnixMillis) -> Result<Contact, UserError> {
        self.fetch_keys(relay, id, now)?;
        self.vault.read(|rows| Ok(Contact::of(rows, peer(rows, id)?)?))
    }
}
