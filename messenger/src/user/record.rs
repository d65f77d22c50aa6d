//! What is kept of a user, each type a kind of record in the [vault](crate::vault).

use rendezvous_protocol::mailbox::bytes::{Bytes, sha256};
use rendezvous_protocol::retalk::request::MessageKind;
use rendezvous_protocol::retalk::user::{Identity, UserId, hex};
use rendezvous_protocol::time::UnixMillis;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use vodozemac::olm::{AccountPickle, Session, SessionPickle};

use super::invite_code::InviteCode;
use super::message::Content;
use super::outgoing::{Door, Outgoing, OutgoingState};
use super::profile::Admission;
use crate::own::OwnMailbox;
use crate::recipient::{PendingMessage, Recipient};
use crate::vault::{Record, Rows, VaultError};

/// Bytes of the hash in a handle, which nobody can know but who was shown the message.
const HANDLE_BYTES: usize = 8;

/// Implements [`Record`] for a type of which there is one.
macro_rules! only_one {
    ($type:ty, $kind:literal) => {
        impl Record for $type {
            const KIND: &'static str = $kind;

            fn name(&self) -> String {
                String::new()
            }

            fn peer(&self) -> Option<UserId> {
                None
            }

            fn place(&self) -> u64 {
                0
            }
        }
    };
}

/// Holds the private keys, and what of them relays have.
#[derive(Serialize, Deserialize)]
pub(super) struct AccountRecord {
    pub(super) pickle: AccountPickle,
    pub(super) fallback: Option<Fallback>,
    /// One-time keys made on this day since the epoch, and how many: a relay that always says that none is left must not
    /// push out of the account those that others have claimed.
    pub(super) made_on_day: u64,
    pub(super) made: usize,
    /// The address of the relay that has the keys.
    pub(super) published_at: Option<String>,
}

impl AccountRecord {
    /// Returns the record of an account of which no relay has anything yet. The next publication makes a fallback key; Olm
    /// keeps the one before, which others may have.
    pub(super) const fn unpublished(pickle: AccountPickle) -> Self {
        Self { pickle, fallback: None, made_on_day: 0, made: 0, published_at: None }
    }
}

/// Is the fallback key that relays have or are about to get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fallback {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) made_at: UnixMillis,
}

only_one!(AccountRecord, "account");

/// Holds what the user has set.
#[derive(Serialize, Deserialize)]
pub(super) struct ProfileRecord {
    pub(super) name: String,
    pub(super) relay: Option<String>,
    pub(super) admission: Admission,
}

only_one!(ProfileRecord, "profile");

/// Holds what is known of a peer: of a contact, of a blocked one, and of anybody whose keys were seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "StoredPeer")]
pub(super) struct PeerRecord {
    pub(super) id: UserId,
    pub(super) name: Option<String>,
    pub(super) pin: Option<String>,
    /// The keys that hash to the id: the identity key and the signing key.
    pub(super) keys: Option<(String, String)>,
    pub(super) is_blocked: bool,
    /// When the sessions with it were last given up for what of it could not be opened.
    pub(super) given_up_at: Option<UnixMillis>,
}

/// Holds what was stored of a peer, before it is known to be one.
#[derive(Deserialize)]
struct StoredPeer {
    id: UserId,
    name: Option<String>,
    pin: Option<String>,
    keys: Option<(String, String)>,
    is_blocked: bool,
    #[serde(default)]
    given_up_at: Option<UnixMillis>,
}

impl TryFrom<StoredPeer> for PeerRecord {
    type Error = &'static str;

    /// Keys that are not the peer's would verify somebody else's messages, and such that are none would be asked for again and
    /// again.
    fn try_from(StoredPeer { id, name, pin, keys, is_blocked, given_up_at }: StoredPeer) -> Result<Self, &'static str> {
        let peer = Self { id, name, pin, keys, is_blocked, given_up_at };
        let are_theirs = peer.keys.is_none() || peer.identity().is_some_and(|identity| identity.user_id() == id);
        if are_theirs { Ok(peer) } else { Err("its keys are not those of its id") }
    }
}

impl PeerRecord {
    pub(super) const fn new(id: UserId) -> Self {
        Self { id, name: None, pin: None, keys: None, is_blocked: false, given_up_at: None }
    }

    /// Returns the keys, if they were seen.
    pub(super) fn identity(&self) -> Option<Identity> {
        let (identity_key, signing_key) = self.keys.as_ref()?;
        Identity::parse(identity_key, signing_key)
    }
}

impl Record for PeerRecord {
    const KIND: &'static str = "peer";

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn peer(&self) -> Option<UserId> {
        None
    }

    fn place(&self) -> u64 {
        0
    }
}

/// Returns what is known of a peer.
pub(super) fn peer(rows: &Rows<'_>, id: UserId) -> Result<PeerRecord, VaultError> {
    Ok(rows.get::<PeerRecord>(&id.to_string())?.unwrap_or_else(|| PeerRecord::new(id)))
}

/// Holds an invite code, and of how many who have redeemed it somebody was told.
#[derive(Serialize, Deserialize)]
pub(super) struct CodeRecord {
    pub(super) code: InviteCode,
    pub(super) number: u64,
    pub(super) told: usize,
}

impl CodeRecord {
    /// Returns the first who has redeemed it and of whom nobody was told.
    pub(super) fn untold(&self) -> Option<UserId> {
        self.code.redeemed_by.get(self.told).copied()
    }
}

impl Record for CodeRecord {
    const KIND: &'static str = "code";

    fn name(&self) -> String {
        self.code.code.clone()
    }

    fn peer(&self) -> Option<UserId> {
        None
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Holds a session of Olm.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) with: UserId,
    pub(super) id: String,
    pub(super) pickle: SessionPickle,
    /// The higher, the fresher.
    pub(super) used: u64,
    /// Whether the peer has refused what was encrypted with it: it still decrypts.
    pub(super) is_retired: bool,
}

impl SessionRecord {
    /// Takes a session that was used last of all.
    pub(super) fn new(with: UserId, session: &Session, used: u64) -> Self {
        Self { with, id: session.session_id(), pickle: session.pickle(), used, is_retired: false }
    }

    /// Names the session of this id with this peer.
    pub(super) fn name_of(with: UserId, id: &str) -> String {
        format!("{with} {id}")
    }
}

impl Record for SessionRecord {
    const KIND: &'static str = "session";

    fn name(&self) -> String {
        Self::name_of(self.with, &self.id)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.with)
    }

    fn place(&self) -> u64 {
        self.used
    }
}

/// Remembers a message that was taken out of the outbox although nobody had acknowledged it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CancelledRecord {
    pub(super) id: String,
    pub(super) number: u64,
}

impl Record for CancelledRecord {
    const KIND: &'static str = "cancelled";

    fn name(&self) -> String {
        self.id.clone()
    }

    fn peer(&self) -> Option<UserId> {
        None
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Holds an encrypted message, as relays carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ciphertext {
    #[serde(deserialize_with = "read_kind")]
    pub(super) mtype: u8,
    pub(super) body: String,
}

/// Reads the number of a kind of message. Another one is not taken for that of a message in a session.
fn read_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let mtype = u8::deserialize(deserializer)?;
    let kind = MessageKind::of(mtype.into());
    kind.map(MessageKind::number).ok_or_else(|| D::Error::custom("no kind of message has this number"))
}

impl Ciphertext {
    /// Returns the kind.
    pub(super) const fn kind(&self) -> MessageKind {
        if self.mtype == MessageKind::PreKey.number() { MessageKind::PreKey } else { MessageKind::Normal }
    }
}

/// Holds a message that its recipient has not acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OutgoingRecord {
    pub(super) id: String,
    pub(super) to: UserId,
    pub(super) number: u64,
    /// What is encrypted; absent where another program encrypted it.
    pub(super) plaintext: Option<String>,
    pub(super) ciphertext: Option<Ciphertext>,
    pub(super) created_at: UnixMillis,
    pub(super) tried_at: Option<UnixMillis>,
    /// How often the recipient has refused it.
    pub(super) refusals: u32,
    pub(super) state: OutgoingState,
    /// By which door it left, or was tried.
    #[serde(default)]
    pub(super) door: Option<Door>,
}

impl OutgoingRecord {
    /// Returns the base64 of the ciphertext, once there is one.
    pub(super) fn body(&self) -> Option<&str> {
        self.ciphertext.as_ref().map(|ciphertext| ciphertext.body.as_str())
    }
}

impl From<OutgoingRecord> for Outgoing {
    fn from(record: OutgoingRecord) -> Self {
        let OutgoingRecord { id, to, created_at, tried_at, state, door, .. } = record;
        Self { id, to, created_at, tried_at, state, door }
    }
}

impl Record for OutgoingRecord {
    const KIND: &'static str = "outgoing";

    fn name(&self) -> String {
        self.id.clone()
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.to)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Holds a message as a relay handed it over: the relay has deleted it by then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IncomingRecord {
    pub(super) number: u64,
    pub(super) from: UserId,
    pub(super) ciphertext: Ciphertext,
    /// The SHA-256 of the body's text, in hexadecimal.
    pub(super) hash: String,
    pub(super) received_at: UnixMillis,
}

impl IncomingRecord {
    /// Names the body of this hash from this peer.
    pub(super) fn name_of(from: UserId, hash: &str) -> String {
        format!("{from} {hash}")
    }
}

impl Record for IncomingRecord {
    const KIND: &'static str = "incoming";

    fn name(&self) -> String {
        Self::name_of(self.from, &self.hash)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.from)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Holds a message that was decrypted and not yet taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InboxRecord {
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) from: UserId,
    pub(super) claimed_name: Option<String>,
    pub(super) content: Content,
    pub(super) received_at: UnixMillis,
    /// Whether it was handed over before.
    pub(super) is_offered: bool,
}

impl InboxRecord {
    /// Names the message of this id from this peer.
    pub(super) fn name_of(from: UserId, id: &str) -> String {
        format!("{from} {id}")
    }

    /// Names this very message: where it is, and a hash of what it is. Its place is another's once it is taken, and its id is its
    /// sender's choice.
    pub(super) fn handle(&self) -> String {
        let Self { number, id, from, content, received_at, .. } = self;
        let (kind, content) = match content {
            Content::Text(text) => ("text", text),
            Content::Other { json, .. } => ("json", json),
        };
        let hash = sha256(&[
            // All but the last are of one length each.
            &number.to_be_bytes(),
            from.to_string().as_bytes(),
            &received_at.as_u64().to_be_bytes(),
            &sha256(&[id.as_bytes()]),
            kind.as_bytes(),
            content.as_bytes(),
        ]);
        let hash = hash.first_chunk::<HANDLE_BYTES>().copied().unwrap_or_default();
        format!("{number}-{}", hex(&hash))
    }
}

impl Record for InboxRecord {
    const KIND: &'static str = "inbox";

    fn name(&self) -> String {
        Self::name_of(self.from, &self.id)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.from)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Remembers a body that was decrypted, so that another copy is known for one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SeenBody {
    /// Absent where another program decrypted it.
    pub(super) from: Option<UserId>,
    pub(super) hash: String,
    /// The message in it; absent where that was an acknowledgement.
    pub(super) message: Option<String>,
    pub(super) number: u64,
}

impl Record for SeenBody {
    const KIND: &'static str = "seen-body";

    fn name(&self) -> String {
        self.hash.clone()
    }

    fn peer(&self) -> Option<UserId> {
        self.from
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Remembers a message, so that one that was encrypted anew is known for the same.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SeenMessage {
    pub(super) from: UserId,
    pub(super) id: String,
    pub(super) number: u64,
    /// Whether the message was offered, not taken, and dropped: it is taken in again, as one that may have been shown.
    #[serde(default)]
    pub(super) is_dropped: bool,
}

impl Record for SeenMessage {
    const KIND: &'static str = "seen-message";

    fn name(&self) -> String {
        InboxRecord::name_of(self.from, &self.id)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.from)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Is an acknowledgement that is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DueRecord {
    pub(super) to: UserId,
    pub(super) message: String,
    pub(super) number: u64,
    /// Whether it was sent before, and the message has come again all the same.
    #[serde(default)]
    pub(super) is_repeated: bool,
}

impl Record for DueRecord {
    const KIND: &'static str = "due";

    fn name(&self) -> String {
        InboxRecord::name_of(self.to, &self.message)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.to)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

/// Holds the user's own mailbox for messages.
#[derive(Serialize, Deserialize)]
pub(super) struct MailboxRecord {
    /// The seed of the owner's key, which signs what is in deposits too.
    pub(super) seed: Bytes<32>,
    pub(super) own: OwnMailbox,
    /// When the relay last refused its records, and the relay's name for the reason.
    pub(super) refused: Option<(UnixMillis, String)>,
    /// When it was last put anew because the relay has lost it, or lists a slot that is not known here.
    pub(super) renewed_at: Option<UnixMillis>,
}

only_one!(MailboxRecord, "mailbox");

/// Holds what the user and a peer know of each other's mailboxes.
#[derive(Serialize, Deserialize)]
pub(super) struct CorrespondentRecord {
    pub(super) id: UserId,
    /// Whether the peer's program takes offers.
    pub(super) takes_offers: bool,
    /// The peer's mailbox, once the peer has offered it.
    pub(super) theirs: Option<Recipient>,
    /// Whether the peer has left that mailbox. Its numbers are kept: it may be offered again.
    #[serde(default)]
    pub(super) is_theirs_left: bool,
    /// When a relay was last asked for its card.
    pub(super) card_asked_at: Option<UnixMillis>,
    /// The seed of the key of the slot that the user's own mailbox has for the peer.
    pub(super) slot: Option<Bytes<32>>,
    /// Whether something has come over it: until then it is offered with all that is sent.
    pub(super) is_slot_used: bool,
}

impl CorrespondentRecord {
    pub(super) const fn new(id: UserId) -> Self {
        Self {
            id,
            takes_offers: false,
            theirs: None,
            is_theirs_left: false,
            card_asked_at: None,
            slot: None,
            is_slot_used: false,
        }
    }
}

impl Record for CorrespondentRecord {
    const KIND: &'static str = "correspondent";

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn peer(&self) -> Option<UserId> {
        None
    }

    fn place(&self) -> u64 {
        0
    }
}

/// Holds a deposit for a peer's mailbox. Its number is used up: it is brought until the mailbox has it, or it has ended.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DepositRecord {
    pub(super) to: UserId,
    /// The SHA-256 of the body's text, in hexadecimal.
    pub(super) hash: String,
    pub(super) number: u64,
    /// The message of the outbox that is in it; absent of an acknowledgement, and once the message has left the outbox.
    pub(super) message: Option<String>,
    pub(super) deposit: PendingMessage,
    /// When the mailbox was first seen to have it.
    pub(super) taken_at: Option<UnixMillis>,
    /// When it was seen that the recipient has taken it out of the mailbox.
    pub(super) read_at: Option<UnixMillis>,
}

impl DepositRecord {
    /// Names the deposit of the body of this hash for this peer.
    pub(super) fn name_of(to: UserId, hash: &str) -> String {
        format!("{to} {hash}")
    }
}

impl Record for DepositRecord {
    const KIND: &'static str = "deposit";

    fn name(&self) -> String {
        Self::name_of(self.to, &self.hash)
    }

    fn peer(&self) -> Option<UserId> {
        Some(self.to)
    }

    fn place(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::key::PrivateKey;
    use serde_json::json;

    use super::super::User;
    use super::super::tests::{START, Somebody};
    use super::*;

    /// Is a record as another program may have written it.
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Raw(serde_json::Value);

    only_one!(Raw, "mailbox");

    #[test]
    fn numbers_of_the_own_mailbox_that_none_can_have_are_an_error_that_names_them() {
        let mut alice = Somebody::new("alice");
        let mut own = OwnMailbox::new([1; 16], START);
        own.add_contact(&"bob".parse().unwrap(), PrivateKey::from_seed(&[2; 32]).public_key()).unwrap();
        let record = MailboxRecord { seed: Bytes([3; 32]), own, refused: None, renewed_at: None };
        let mut stored = serde_json::to_value(&record).unwrap();
        *stored.pointer_mut("/own/slots/0/received/gone/missing").unwrap() = json!([1]);
        alice.user.vault.change(|rows| rows.put(&Raw(stored))).unwrap();
        let error = alice.user.status().unwrap_err().to_string();
        let expected = "a record of the kind mailbox cannot be read: its sequences are none that a window has";
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn keys_that_are_not_those_of_the_id_are_an_error() {
        let (alice, bob) = (Somebody::new("alice"), Somebody::new("bob"));
        let keys = |of: &User| (of.identity().identity_key().to_owned(), of.identity().signing_key().to_owned());
        let read = |keys: serde_json::Value| {
            let mut stored = serde_json::to_value(PeerRecord::new(bob.id())).unwrap();
            stored["keys"] = keys;
            serde_json::from_value::<PeerRecord>(stored).map_err(|error| error.to_string())
        };
        assert!(read(json!(null)).is_ok() && read(json!(keys(&bob.user))).is_ok());
        for bad in [json!(keys(&alice.user)), json!(["", ""])] {
            assert_eq!(read(bad).unwrap_err(), "its keys are not those of its id");
        }
    }

    #[test]
    fn a_kind_of_message_that_there_is_not_is_an_error() {
        for (mtype, is_one) in [(0, true), (1, true), (2, false), (255, false)] {
            let read = serde_json::from_value::<Ciphertext>(json!({ "mtype": mtype, "body": "" }));
            assert_eq!(read.is_ok(), is_one, "{mtype}");
        }
    }
}
