//! The user itself: a pair of keys in a store, by which it asks relays.

use std::fmt;
use std::path::Path;

use rendezvous_protocol::retalk::request::Tool;
use rendezvous_protocol::retalk::user::{Identity, UserId, hex};
use rendezvous_protocol::time::UnixMillis;
use serde::de::DeserializeOwned;
use vodozemac::olm::Account;

use super::conversation;
use super::error::UserError;
use super::naming::is_name;
use super::profile::{Admission, NewUser, Profile};
use super::record::{AccountRecord, PeerRecord, ProfileRecord, peer};
use crate::transport::{Relay, SignedRequest, ToldKeys};
use crate::vault::{Rows, Vault, VaultError, is_there, random};

/// Is a user, whose store is open.
pub struct User {
    pub(super) vault: Vault,
    pub(super) identity: Identity,
    pub(super) id: UserId,
    /// Signs; what else is in it grows old.
    pub(super) signer: Account,
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

pub(super) fn identity_of(account: &Account) -> Option<Identity> {
    Identity::parse(&account.curve25519_key().to_base64(), &account.ed25519_key().to_base64())
}

impl User {
    /// The name of the store's file in its directory.
    pub const FILE: &str = "user.db";

    /// Returns whether there is a user in a directory.
    ///
    /// # Errors
    /// [`VaultError::Unusable`].
    pub fn is_in(directory: &Path) -> Result<bool, VaultError> {
        is_there(&directory.join(Self::FILE))
    }

    /// Makes a user with new keys, and the directory where it is not there, both readable by their owner alone.
    ///
    /// # Errors
    /// [`UserError::NameInvalid`] and [`UserError::Vault`].
    pub fn create(directory: &Path, passphrase: &str, new: &NewUser<'_>) -> Result<Self, UserError> {
        let account = Account::new();
        Self::create_with(directory, passphrase, new, |rows| {
            rows.put(&AccountRecord::unpublished(account.pickle()))?;
            Ok(())
        })
    }

    pub(super) fn create_with(
        directory: &Path,
        passphrase: &str,
        new: &NewUser<'_>,
        first: impl FnOnce(&Rows<'_>) -> Result<(), UserError>,
    ) -> Result<Self, UserError> {
        if !is_name(new.name) {
            return Err(UserError::NameInvalid);
        }
        let vault = Vault::create(directory, Self::FILE, passphrase, new.derivation, |rows| {
            let relay = new.relay.map(str::to_owned);
            rows.put(&ProfileRecord { name: new.name.to_owned(), relay, admission: Admission::default() })?;
            first(rows)
        })?;
        Self::of(vault)
    }

    /// Opens a user's store.
    ///
    /// # Errors
    /// [`UserError::Vault`]: an absent, foreign, newer or damaged file, or another passphrase, each by its name.
    pub fn open(directory: &Path, passphrase: &str) -> Result<Self, UserError> {
        Self::of(Vault::open(directory, Self::FILE, passphrase)?)
    }

    fn of(vault: Vault) -> Result<Self, UserError> {
        let record = vault.read(conversation::account)?;
        let signer = Account::from_pickle(record.pickle);
        let identity = identity_of(&signer).ok_or(UserError::AccountInvalid)?;
        Ok(Self { vault, id: identity.user_id(), identity, signer })
    }

    /// Returns the id: address and fingerprint in one.
    pub const fn id(&self) -> UserId {
        self.id
    }

    /// Returns the public keys.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns what the user has set.
    ///
    /// # Errors
    /// [`UserError::Vault`].
    pub fn profile(&self) -> Result<Profile, UserError> {
        self.vault.read(|rows| {
            let record = rows.get::<ProfileRecord>("")?.ok_or(UserError::AccountAbsent)?;
            Ok(Profile { name: record.name, relay: record.relay, admission: record.admission })
        })
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`UserError::NameInvalid`] and [`UserError::Vault`].
    pub fn set_profile(&mut self, profile: &Profile) -> Result<(), UserError> {
        if !is_name(&profile.name) {
            return Err(UserError::NameInvalid);
        }
        let Profile { name, relay, admission } = profile.clone();
        Ok(self.vault.change(|rows| rows.put(&ProfileRecord { name, relay, admission }))?)
    }

    /// Asks a relay, signed.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        relay: &Relay<'_>,
        tool: &Tool,
        now: UnixMillis,
    ) -> Result<T, UserError> {
        let nonce = hex(&random::<16>()?);
        let request = SignedRequest { tool, identity: &self.identity, account: &self.signer, now, nonce: &nonce };
        Ok(relay.ask(&request)?)
    }

    /// Asks a relay for a peer's keys, and keeps them if they are the peer's.
    pub(super) fn fetch_keys(&mut self, relay: &Relay<'_>, id: UserId, now: UnixMillis) -> Result<Identity, UserError> {
        let told: ToldKeys = self.ask(relay, &Tool::GetKeys { peer: id.to_string() }, now)?;
        self.keep_keys(&told, id)
    }

    /// Keeps keys that a relay has told of a peer, if they are the peer's.
    pub(super) fn keep_keys(&mut self, told: &ToldKeys, id: UserId) -> Result<Identity, UserError> {
        let identity = told.of(id).ok_or(UserError::PinMismatch { peer: id })?;
        self.vault.change(|rows| {
            let mut peer = peer(rows, id)?;
            check_pin(&peer, Some(&identity))?;
            if peer.keys.is_none() {
                peer.keys = Some((identity.identity_key().to_owned(), identity.signing_key().to_owned()));
                rows.put(&peer)?;
            }
            Ok::<_, UserError>(())
        })?;
        Ok(identity)
    }
}

pub(super) fn check_pin(peer: &PeerRecord, identity: Option<&Identity>) -> Result<(), UserError> {
    let is_other = |pin: &String| identity.is_some_and(|identity| identity.identity_key() != pin);
    if peer.pin.as_ref().is_some_and(is_other) { Err(UserError::PinMismatch { peer: peer.id }) } else { Ok(()) }
}
