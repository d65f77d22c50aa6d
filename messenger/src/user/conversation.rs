//! Encrypts and decrypts within a transaction: the session that has moved on is written with what it was used for, or
//! neither is. So no message key is used twice, whatever crashes.

use rendezvous_protocol::base64;
use rendezvous_protocol::retalk::request::MessageKind;
use rendezvous_protocol::retalk::user::{Identity, UserId};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, PreKeyMessage, Session, SessionConfig};
use zeroize::Zeroizing;

use super::error::UserError;
use super::record::{AccountRecord, Ciphertext, IncomingRecord, PeerRecord, SessionRecord};
use crate::vault::{Rows, VaultError};

/// Sessions with one peer. Those that were not used the longest go first.
const SESSIONS_PER_PEER: usize = 8;

/// Holds a prekey of a peer, whose identity key is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prekey {
    identity_key: Curve25519PublicKey,
    one_time_key: Curve25519PublicKey,
}

impl Prekey {
    /// Takes a prekey of the owner of these keys. Absent is what is no key, and one with which no session begins (RFC 7748,
    /// section 6.1: all zeros come of it): whoever publishes such a key must stop nobody else's messages.
    pub(super) fn parse(owner: &Identity, one_time_key: &str) -> Option<Self> {
        let (identity_key, one_time_key) = (identity_key(owner)?, Curve25519PublicKey::from_base64(one_time_key).ok()?);
        Account::new().create_outbound_session(SessionConfig::version_1(), identity_key, one_time_key).ok()?;
        Some(Self { identity_key, one_time_key })
    }
}

fn identity_key(identity: &Identity) -> Option<Curve25519PublicKey> {
    Curve25519PublicKey::from_base64(identity.identity_key()).ok()
}

/// Returns the account, which is written with the user.
pub(super) fn account(rows: &Rows<'_>) -> Result<AccountRecord, UserError> {
    rows.get::<AccountRecord>("")?.ok_or(UserError::AccountAbsent)
}

/// Returns whether there is a session to encrypt with.
pub(super) fn has_session(rows: &Rows<'_>, with: UserId) -> Result<bool, VaultError> {
    Ok(rows.of_peer::<SessionRecord>(with)?.iter().any(|session| !session.is_retired))
}

/// Encrypts with the freshest session, or with a new one by `prekey` where there is none. Absent where there is neither.
pub(super) fn encrypt(
    rows: &Rows<'_>,
    to: UserId,
    plaintext: &str,
    prekey: Option<Prekey>,
) -> Result<Option<Ciphertext>, UserError> {
    let freshest = rows.of_peer::<SessionRecord>(to)?.into_iter().rfind(|session| !session.is_retired);
    let mut session = match (freshest, prekey) {
        (Some(record), _) => Session::from_pickle(record.pickle),
        (None, Some(prekey)) => Account::from_pickle(account(rows)?.pickle)
            .create_outbound_session(SessionConfig::version_1(), prekey.identity_key, prekey.one_time_key)
            .map_err(|_| UserError::PrekeyInvalid { peer: to })?,
        (None, None) => return Ok(None),
    };
    let message = session.encrypt(plaintext).map_err(|_| UserError::PrekeyInvalid { peer: to })?;
    save(rows, to, &session)?;
    let (kind, bytes) = match &message {
        OlmMessage::PreKey(message) => (MessageKind::PreKey, message.to_bytes()),
        OlmMessage::Normal(message) => (MessageKind::Normal, message.to_bytes()),
    };
    Ok(Some(Ciphertext { mtype: kind.number(), body: base64::encode(&bytes) }))
}

/// Keeps a session as the freshest of its peer.
fn save(rows: &Rows<'_>, with: UserId, session: &Session) -> Result<(), VaultError> {
    let is_retired = rows
        .get::<SessionRecord>(&SessionRecord::name_of(with, &session.session_id()))?
        .is_some_and(|old| old.is_retired);
    let used = rows.next_place::<SessionRecord>()?;
    rows.put(&SessionRecord { is_retired, ..SessionRecord::new(with, session, used) })?;
    let sessions = rows.of_peer::<SessionRecord>(with)?;
    for session in sessions.iter().take(sessions.len().saturating_sub(SESSIONS_PER_PEER)) {
        rows.remove::<SessionRecord>(&SessionRecord::name_of(with, &session.id))?;
    }
    Ok(())
}

/// Encrypts nothing more with the sessions of a peer, who has refused what was. They still decrypt what is on its way.
pub(super) fn retire_sessions(rows: &Rows<'_>, with: UserId) -> Result<(), VaultError> {
    for session in rows.of_peer::<SessionRecord>(with)? {
        rows.put(&SessionRecord { is_retired: true, ..session })?;
    }
    Ok(())
}

/// Says what became of a ciphertext.
pub(super) enum Decrypted {
    /// The plaintext; the session has moved on.
    Plain(Zeroizing<Vec<u8>>),
    /// It would begin a session, and the sender's keys are not known yet.
    NeedsKeys,
    /// No session and no prekey opens it, now or later.
    Never,
    /// Its sender has not sent it so: another kind, or other keys. Whoever has may well be able to send it again.
    NotTheirs,
}

/// Decrypts with whichever session opens the message, or begins one.
pub(super) fn decrypt(rows: &Rows<'_>, incoming: &IncomingRecord) -> Result<Decrypted, UserError> {
    let Some(bytes) = base64::decode(&incoming.ciphertext.body) else { return Ok(Decrypted::NotTheirs) };
    let Ok(message) = OlmMessage::from_parts(incoming.ciphertext.mtype.into(), &bytes) else {
        return Ok(Decrypted::NotTheirs);
    };
    let sessions = rows.of_peer::<SessionRecord>(incoming.from)?.into_iter().rev();
    let prekey = match &message {
        OlmMessage::PreKey(prekey) => Some(prekey),
        OlmMessage::Normal(_) => None,
    };
    let named = prekey.map(PreKeyMessage::session_id);
    let mut is_known = false;
    for record in sessions.filter(|session| named.as_ref().is_none_or(|id| *id == session.id)) {
        is_known = true;
        let mut session = Session::from_pickle(record.pickle);
        if let Ok(plaintext) = session.decrypt(&message) {
            save(rows, incoming.from, &session)?;
            return Ok(Decrypted::Plain(Zeroizing::new(plaintext)));
        }
    }
    match prekey {
        Some(prekey) if !is_known => begin(rows, incoming.from, prekey),
        // Only with somebody who was written to, or has written, can a session have been lost.
        None if !rows.has::<PeerRecord>(&incoming.from.to_string())? => Ok(Decrypted::NotTheirs),
        _ => Ok(Decrypted::Never),
    }
}

/// Begins a session by the first message of a peer, which uses up a one-time key.
fn begin(rows: &Rows<'_>, from: UserId, prekey: &PreKeyMessage) -> Result<Decrypted, UserError> {
    let identity = rows.get::<PeerRecord>(&from.to_string())?.and_then(|peer| peer.identity());
    let Some(identity) = identity else { return Ok(Decrypted::NeedsKeys) };
    let Some(identity_key) = identity_key(&identity) else { return Ok(Decrypted::Never) };
    if prekey.identity_key() != identity_key {
        return Ok(Decrypted::NotTheirs);
    }
    let record = account(rows)?;
    let mut account = Account::from_pickle(record.pickle);
    let Ok(begun) = account.create_inbound_session(SessionConfig::version_1(), identity_key, prekey) else {
        return Ok(Decrypted::Never);
    };
    rows.put(&AccountRecord { pickle: account.pickle(), ..record })?;
    save(rows, from, &begun.session)?;
    Ok(Decrypted::Plain(Zeroizing::new(begun.plaintext)))
}
