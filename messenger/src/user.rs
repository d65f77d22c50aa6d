//! A user: a pair of keys whose fingerprint is the id, contacts, sessions of Olm, an inbox and an outbox, in one sealed file.
//!
//! What holds, also where the program is killed at any moment and the relay is hostile:
//!
//! - **No message key encrypts two texts.** The session that has moved on and the message in the outbox are written in one
//!   transaction, before a byte leaves.
//! - **No message is lost.** One stays in the outbox, and is sent again, until its recipient's encrypted acknowledgement
//!   comes. One that the recipient refuses, signed, because it cannot decrypt it, is encrypted anew in a new session; the
//!   third refusal is final, and told. What a relay hands over is written down before it is looked at, because the relay has
//!   deleted it by then.
//! - **None is handed over twice unknowingly.** Copies are known by the hash of the ciphertext and by the message's id. A
//!   message is *offered* to the program, which takes it: both are written down, and the acknowledgement is due after the
//!   second. One that was offered, and of which nobody knows whether it was shown because the program was killed in between,
//!   is offered again, and says so ([`Message::redelivered`]).
//! - **Between two whose programs are both of this project the relay learns little**: messages go sealed and padded from mailbox
//!   to mailbox, and to everybody else by the door for retalk's users ([`Door`]). Olm stands inside by either.
//! - **A relay cannot put its keys in a peer's place**: the id is the keys' hash. Prekeys are not signed on this wire: with a
//!   swapped one the recipient cannot decrypt the message, and refuses it.
//!
//! Two programs may work with one store. Time comes in as an argument; keys, nonces and ids are drawn from the system, by Olm
//! itself where they are Olm's.

mod conversation;
#[cfg(test)]
mod hostile_relay;
mod import;
mod mailbox;
mod payload;
mod receiving;
mod record;
mod sending;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod upkeep;

use std::fmt;
use std::path::Path;

use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_capsule::text;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::retalk::request::Tool;
use rendezvous_protocol::retalk::user::{Identity, UserId, hex};
use rendezvous_protocol::time::UnixMillis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use unicode_security::confusable_detection::skeleton;
use vodozemac::olm::Account;

pub use self::import::{ImportError, Imported};
pub use self::receiving::{Disposition, ReceiveReport};
use self::record::{
    AccountRecord, DueRecord, InboxRecord, IncomingRecord, OutgoingRecord, PeerRecord, ProfileRecord, SessionRecord,
};
pub use self::upkeep::Maintained;
use crate::own::OwnError;
use crate::transport::{Relay, RelayError, SignedRequest, ToldKeys};
use crate::vault::{KeyDerivation, Rows, Vault, VaultError, is_there, random};

/// Characters of a name, whoever gives it.
const NAME_MAX_CHARS: usize = 64;

/// Says why a user cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The store.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Another program's store.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A relay serves keys that are not those of the id, or not the pinned one.
    #[error("PIN MISMATCH for peer '{peer}': the relay serves other keys than this peer's. No session is begun")]
    PinMismatch {
        /// Whose keys were asked for.
        peer: UserId,
    },
    /// A relay serves a prekey that is none.
    #[error("the relay serves a prekey of {peer} that is none")]
    PrekeyInvalid {
        /// Whose.
        peer: UserId,
    },
    /// The store has no account.
    #[error("the store has no keys: it was not made by this program")]
    AccountAbsent,
    /// The keys in the store are not keys.
    #[error("the keys in the store cannot be used")]
    AccountInvalid,
    /// Nothing to send.
    #[error("a message has at least one character")]
    TextEmpty,
    /// More than one message can carry.
    #[error("a message of {bytes} bytes is too long: one has {most} at most, as JSON")]
    TextTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// The text cannot be written.
    #[error("the message cannot be written as JSON: {reason}")]
    TextUnwritable {
        /// Why.
        reason: String,
    },
    /// To oneself.
    #[error("a user cannot write to itself")]
    ToOneself,
    /// Too many messages wait.
    #[error("{most} messages wait in the outbox: cancel some, or wait until they are acknowledged")]
    OutboxFull {
        /// How many may wait.
        most: usize,
    },
    /// Not a name.
    #[error(
        "a name has 1 to {NAME_MAX_CHARS} printable characters, begins and ends with none that is blank, begins with no ~, \
         and is no id"
    )]
    NameInvalid,
    /// Another contact has the name.
    #[error("{} is the name of another contact", text::printable(.name))]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another contact has a name that nobody could tell from it.
    #[error("{} looks like {}, which is the name of another contact", text::printable(.name), text::printable(.other))]
    NameConfusable {
        /// The name.
        name: String,
        /// That of the other contact.
        other: String,
    },
    /// The own mailbox.
    #[error(transparent)]
    Mailbox(#[from] OwnError),
    /// Not a key.
    #[error("a pin is a peer's identity key: 32 bytes in base64")]
    PinInvalid,
}

impl UserError {
    /// Returns what this is where it is about one peer, and does not stop what is done for others.
    fn into_cause(self) -> Result<ProblemCause, Self> {
        match self {
            Self::Relay(error) => Ok(ProblemCause::Relay(error)),
            Self::PinMismatch { .. } => Ok(ProblemCause::PinMismatch),
            Self::PrekeyInvalid { .. } => Ok(ProblemCause::PrekeyInvalid),
            other => Err(other),
        }
    }
}

impl Cause for UserError {
    fn exit(&self) -> Exit {
        match self {
            Self::Vault(error) => error.exit(),
            Self::Relay(error) => error.exit(),
            Self::PinMismatch { .. } | Self::PrekeyInvalid { .. } => Exit::Refused,
            _ => Exit::Usage,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Vault(error) => error.code(),
            Self::Relay(error) => error.code(),
            Self::PinMismatch { .. } => Some("PIN_MISMATCH"),
            Self::PrekeyInvalid { .. } => Some("PREKEY_INVALID"),
            _ => None,
        }
    }
}

/// Holds what a new user begins with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewUser<'a> {
    /// The name that recipients see, or nothing.
    pub name: &'a str,
    /// The address of the relay that is used where no other is given.
    pub relay: Option<&'a str>,
    /// How the passphrase becomes a key.
    pub derivation: KeyDerivation,
}

/// Says from whom messages are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// From everybody who is not blocked.
    #[default]
    Everybody,
    /// From saved contacts; messages of others are refused.
    Contacts,
}

/// Holds what the user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name that recipients see, or nothing.
    pub name: String,
    /// The address of the relay that is used where no other is given.
    pub relay: Option<String>,
    /// From whom messages are taken.
    pub admission: Admission,
}

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

/// Says by which door of the relay a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// The recipient's mailbox: the relay sees a key that nobody else knows, one of four sizes, and when.
    Mailbox,
    /// The door for retalk's users: the relay sees who writes to whom, how much, and when.
    Retalk {
        /// Why not by the other.
        why: RetalkReason,
    },
}

impl Door {
    /// Returns what scripts call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Retalk { .. } => "retalk",
        }
    }

    /// Returns why it is not the mailbox, where it is not.
    pub const fn why(&self) -> Option<&RetalkReason> {
        match self {
            Self::Mailbox => None,
            Self::Retalk { why } => Some(why),
        }
    }
}

/// Says why a message does not go by its recipient's mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RetalkReason {
    /// The recipient's program has offered none.
    #[error("its recipient has offered no mailbox")]
    NotOffered,
    /// It is not at the relay that the user goes by.
    #[error("the mailbox of its recipient is at another relay")]
    OtherRelay,
    /// Another one, which is not acknowledged yet, went by this door: nothing overtakes it.
    #[error("an earlier message is on its way by this door")]
    EarlierMessage,
    /// More than the largest of the four sizes.
    #[error("it is too long for a mailbox")]
    TooLong,
    /// There is no key to seal to.
    #[error("there is no key to seal to: {reason}")]
    NoKey {
        /// Why.
        reason: String,
    },
    /// The mailbox is full, closed or gone.
    #[error("the mailbox of its recipient refuses it: {code}")]
    Refused {
        /// The relay's name for the reason.
        code: String,
    },
    /// The mailbox cannot be reached.
    #[error("the mailbox of its recipient cannot be reached: {reason}")]
    Unreached {
        /// Why.
        reason: String,
    },
    /// The mailbox took it, and its recipient has not acknowledged it: it is not taken out of there, or was refused, which
    /// cannot be known there.
    #[error("its recipient has not acknowledged what the mailbox took")]
    NotAcknowledged,
}

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
    /// Something else, which other clients have: a contact's card, a request, a farewell to a group.
    Other {
        /// Its kind, as the sender wrote it.
        kind: String,
        /// All of it, as JSON.
        json: String,
    },
}

/// Holds a message that its recipient has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The id, which the recipient sees too.
    pub id: String,
    /// To whom it goes.
    pub to: UserId,
    /// When it was put into the outbox.
    pub created_at: UnixMillis,
    /// When it was last sent to a relay.
    pub tried_at: Option<UnixMillis>,
    /// Where it is.
    pub state: OutgoingState,
    /// By which door it left, or was tried last.
    pub door: Option<Door>,
}

impl From<OutgoingRecord> for Outgoing {
    fn from(record: OutgoingRecord) -> Self {
        let OutgoingRecord { id, to, created_at, tried_at, state, door, .. } = record;
        Self { id, to, created_at, tried_at, state, door }
    }
}

/// Says where a message in the outbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutgoingState {
    /// Here, not encrypted: earlier messages to the same peer come first.
    Queued,
    /// Here, encrypted; no relay has answered yet.
    Encrypted,
    /// At a relay, which has taken it.
    Stored,
    /// Here: the relay has not stored it, for the reason that it names, such as that it has no room.
    NotStored {
        /// The relay's name for the reason.
        code: String,
    },
    /// Here: the relay could not be reached, or has refused the request.
    Failed {
        /// Why.
        reason: String,
    },
    /// Here for good: the recipient has refused it three times.
    Refused,
}

impl fmt::Display for OutgoingState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => formatter.write_str("waits for earlier messages"),
            Self::Encrypted => formatter.write_str("no relay has answered yet"),
            Self::Stored => formatter.write_str("at the relay, not acknowledged"),
            Self::NotStored { code } => match Code::parse(code) {
                Some(Code::MailboxUnknown) => {
                    write!(
                        formatter,
                        "the relay does not know its recipient any more, who has to come there again: {code}"
                    )
                }
                Some(Code::MailboxFull | Code::UnacknowledgedLimit) => {
                    write!(formatter, "the relay has no room for it: {code}")
                }
                _ => write!(formatter, "the relay has not stored it: {code}"),
            },
            Self::Failed { reason } => formatter.write_str(reason),
            Self::Refused => formatter.write_str("its recipient refuses it"),
        }
    }
}

/// Says what could not be done for one peer. The rest was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whom it is about, if it is about one peer.
    pub peer: Option<UserId>,
    /// What it is.
    pub cause: ProblemCause,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(formatter, "{peer}: {}", self.cause),
            None => write!(formatter, "{}", self.cause),
        }
    }
}

/// Says why something could not be done for a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemCause {
    /// A relay serves keys that are not those of the id, or not the pinned one.
    #[error(
        "PIN MISMATCH: the relay serves other keys than this peer's; its messages wait until the relay serves the right ones"
    )]
    PinMismatch,
    /// The relay serves a prekey that is none.
    #[error("the relay serves a prekey that is none")]
    PrekeyInvalid,
    /// A message of a blocked peer was refused.
    #[error("a message was refused: its sender is blocked")]
    Blocked,
    /// A message of somebody who is no contact was refused.
    #[error("a message was refused: its sender is no contact")]
    Stranger,
    /// A message was refused that no session opens.
    #[error("a message was refused that no session opens; its sender is told, and may send it again in a new one")]
    Undecryptable,
    /// A message was refused that opened, and is none.
    #[error("a message was refused that no known client writes")]
    Unreadable,
    /// A relay handed over what is no message.
    #[error("the relay handed over what is no message")]
    NoMessage,
    /// A peer has refused a message for good.
    #[error("a message was refused by its recipient for the third time, and is not sent again")]
    Refused,
    /// A message was given up, because its sender's keys could not be had.
    #[error("a message was given up: for a week no relay had the keys of its sender")]
    GivenUp,
    /// A peer's program has offered a mailbox, and the offer breaks the rules.
    #[error("the offer of a mailbox cannot be read: messages to it go on by the door for retalk's users")]
    OfferUnreadable,
    /// The own mailbox could not be looked into.
    #[error("the own mailbox: {reason}")]
    Mailbox {
        /// Why.
        reason: String,
    },
    /// A message waits in the own mailbox over a slot that this store does not know.
    #[error(
        "the own mailbox has a message of a contact whom a newer copy of this store listed: it comes by the other door"
    )]
    SlotUnknown,
    /// The relay.
    #[error("{0}")]
    Relay(RelayError),
}

/// Holds what is known of the user's own mailbox for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Its address.
    pub address: String,
    /// Whether the relay has it.
    pub is_open: bool,
    /// The relay's name for why it has not taken the latest records.
    pub refused: Option<String>,
}

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

/// Is a user, whose store is open.
pub struct User {
    vault: Vault,
    identity: Identity,
    id: UserId,
    /// Signs; what else is in it grows old.
    signer: Account,
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

fn identity_of(account: &Account) -> Option<Identity> {
    Identity::parse(&account.curve25519_key().to_base64(), &account.ed25519_key().to_base64())
}

/// Returns whether a text is good to be shown as somebody's name.
fn is_name(name: &str) -> bool {
    name.chars().count() <= NAME_MAX_CHARS && text::printable(name) == name && name.trim() == name
}

/// Returns whether a text is good to be a contact's name. One behind a ~ would look like one that a sender gave itself.
fn is_saved_name(name: &str) -> bool {
    is_name(name) && !name.is_empty() && !name.starts_with('~') && name.parse::<UserId>().is_err()
}

/// Returns whether two names differ in nothing that can be seen (Unicode's technical standard 39): a Cyrillic letter in the place
/// of a Latin one, say. Who sends under the one could be taken for the other.
fn looks_like(one: &str, other: &str) -> bool {
    skeleton(one).eq(skeleton(other))
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
            rows.put(&AccountRecord {
                pickle: account.pickle(),
                fallback: None,
                made_on_day: 0,
                made: 0,
                published_at: None,
            })?;
            Ok(())
        })
    }

    fn create_with(
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
            let others = rows.all::<PeerRecord>()?.into_iter().filter(|peer| peer.id != id);
            if let Some(other) = others.filter_map(|peer| peer.name).find(|other| looks_like(other, name)) {
                let name = name.to_owned();
                let is_same = other == name;
                return Err(if is_same {
                    UserError::NameTaken { name }
                } else {
                    UserError::NameConfusable { name, other }
                });
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

    /// Asks a relay, signed.
    fn ask<T: DeserializeOwned>(&self, relay: &Relay<'_>, tool: &Tool, now: UnixMillis) -> Result<T, UserError> {
        let nonce = hex(&random::<16>()?);
        let request = SignedRequest { tool, identity: &self.identity, account: &self.signer, now, nonce: &nonce };
        Ok(relay.ask(&request)?)
    }

    /// Asks a relay for a peer's keys, and keeps them if they are the peer's.
    fn fetch_keys(&mut self, relay: &Relay<'_>, id: UserId, now: UnixMillis) -> Result<Identity, UserError> {
        let told: ToldKeys = self.ask(relay, &Tool::GetKeys { peer: id.to_string() }, now)?;
        self.keep_keys(&told, id)
    }

    /// Keeps keys that a relay has told of a peer, if they are the peer's.
    fn keep_keys(&mut self, told: &ToldKeys, id: UserId) -> Result<Identity, UserError> {
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

/// Returns what is known of a peer.
fn peer(rows: &Rows<'_>, id: UserId) -> Result<PeerRecord, VaultError> {
    Ok(rows.get::<PeerRecord>(&id.to_string())?.unwrap_or_else(|| PeerRecord::new(id)))
}

fn check_pin(peer: &PeerRecord, identity: Option<&Identity>) -> Result<(), UserError> {
    let is_other = |pin: &String| identity.is_some_and(|identity| identity.identity_key() != pin);
    if peer.pin.as_ref().is_some_and(is_other) { Err(UserError::PinMismatch { peer: peer.id }) } else { Ok(()) }
}
