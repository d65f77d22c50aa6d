//! Keys at the relay, and everything that is due now and then.

use std::time::Duration;

use rendezvous_protocol::retalk::request::{Prekey, Tool};
use rendezvous_protocol::retalk::user::hex;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use serde::de::IgnoredAny;
use vodozemac::olm::Account;

use super::account::{User, identity_of};
use super::conversation::account;
use super::error::UserError;
use super::outgoing::OutgoingState;
use super::problem::Problem;
use super::record::{
    AccountRecord, DueRecord, Fallback, OutgoingRecord, PeerRecord, SeenBody, SeenMessage, SessionRecord,
};
use crate::transport::{Counted, Relay, SignedRequest};
use crate::vault::{Rows, VaultError, random};

/// One-time keys that a relay is given at a time.
const ONE_TIME_KEYS: usize = 100;

/// With fewer at the relay, it is given more.
const ONE_TIME_KEYS_MIN: u64 = 20;

/// One-time keys made in a day. Olm keeps 5,000: with these, each for five days at least, whatever relays say is left.
const ONE_TIME_KEYS_PER_DAY: usize = 1_000;

/// How old a fallback key grows. Olm keeps the one before it, for messages that are on their way.
const FALLBACK_LASTS: Duration = Duration::from_secs(DAY_SECONDS);

/// After this time without an acknowledgement a message is sent again.
const RESEND_AFTER: Duration = Duration::from_secs(120);

/// Sessions with all peers together. Those that were not used the longest go first.
const SESSIONS_MAX: usize = 8_192;

/// Messages, and bodies, that are remembered as seen.
const SEEN_MAX: usize = 65_536;

/// Acknowledgements that are due. One that is forgotten is due again when its message comes again.
const DUE_MAX: usize = 10_000;

/// Peers whose keys are kept although they are neither contacts nor blocked.
const STRANGERS_MAX: usize = 4_096;

/// Says what upkeep has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// One-time keys that the relay had left.
    pub unclaimed: u64,
    /// One-time keys that it was given.
    pub published: usize,
    /// Whether there is a new fallback key.
    pub is_fallback_rotated: bool,
    /// Messages that were sent again, or for the first time, and that the relay took.
    pub resent: usize,
    /// Acknowledgements that left.
    pub acknowledged: usize,
    /// Messages in the outbox that no relay has.
    pub waiting: usize,
    /// Messages in the outbox that their recipients refuse for good.
    pub refused: usize,
    /// What could not be done. It does not stop the rest.
    pub problems: Vec<Problem>,
}

/// Is what a relay is to be given.
struct Publication {
    tool: Tool,
    published: usize,
    is_fallback_rotated: bool,
}

impl User {
    /// Asks a relay how many keys it has of a user with keys that are thrown away, and so finds out whether it takes messages
    /// at this address.
    ///
    /// # Errors
    /// [`UserError::Relay`], which says why it does not, and [`UserError::Vault`], where there is no randomness.
    pub fn try_relay(relay: &Relay<'_>, now: UnixMillis) -> Result<(), UserError> {
        let account = Account::new();
        let identity = identity_of(&account).ok_or(UserError::AccountInvalid)?;
        let nonce = hex(&random::<16>()?);
        let tool = &Tool::CountKeys;
        let request = SignedRequest { tool, identity: &identity, account: &account, now, nonce: &nonce };
        relay.ask::<Counted>(&request)?;
        Ok(())
    }

    /// Does everything that is due: gives the relay one-time keys where few are left, and a new fallback key daily; sends
    /// what is unacknowledged for two minutes, and what no relay has; sends the acknowledgements that are due.
    ///
    /// # Errors
    /// [`UserError::Relay`], if the relay does not answer or refuses, and [`UserError::Vault`]. What is wrong with one peer is
    /// in [`Maintained::problems`].
    pub fn maintain(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<Maintained, UserError> {
        self.sync(relay, now, RESEND_AFTER)
    }

    /// Does the same, and sends again what was not sent within `older_than`.
    ///
    /// # Errors
    /// Those of [`User::maintain`].
    pub fn sync(&mut self, relay: &Relay<'_>, now: UnixMillis, older_than: Duration) -> Result<Maintained, UserError> {
        let counted: Counted = self.ask(relay, &Tool::CountKeys, now)?;
        let (published, is_fallback_rotated) = self.publish(relay, &counted, now)?;
        self.open_mailbox(relay, now)?;
        self.leave_again(relay, now)?;
        let tally = self.send_again(relay, now, older_than)?;
        let acknowledged = if tally.is_unreached { 0 } else { self.acknowledge(relay, now)? };
        self.vault.change(prune)?;
        let outbox = self.vault.read(|rows| rows.all::<OutgoingRecord>())?;
        let count =
            |is_it: &dyn Fn(&OutgoingState) -> bool| outbox.iter().filter(|record| is_it(&record.state)).count();
        Ok(Maintained {
            unclaimed: counted.unclaimed,
            published,
            is_fallback_rotated,
            resent: tally.stored,
            acknowledged,
            waiting: count(&|state| !matches!(state, OutgoingState::Stored | OutgoingState::Refused)),
            refused: count(&|state| *state == OutgoingState::Refused),
            problems: tally.problems,
        })
    }

    /// Gives the relay keys, if it is another than the last that was given some.
    pub(super) fn ensure_published(&mut self, relay: &Relay<'_>, now: UnixMillis) -> Result<(), UserError> {
        let published_at = self.vault.read(account)?.published_at;
        if published_at.as_deref() != Some(relay.url()) {
            let counted: Counted = self.ask(relay, &Tool::CountKeys, now)?;
            self.publish(relay, &counted, now)?;
        }
        Ok(())
    }

    /// Gives the relay the keys that it lacks. They are written down before they leave: nobody claims a key that is not kept.
    /// Returns how many one-time keys those are, and whether there is a new fallback.
    fn publish(&mut self, relay: &Relay<'_>, counted: &Counted, now: UnixMillis) -> Result<(usize, bool), UserError> {
        let is_new_relay = self.vault.read(account)?.published_at.as_deref() != Some(relay.url());
        let publication = self.vault.change(|rows| {
            let mut record = account(rows)?;
            let mut account = Account::from_pickle(record.pickle);
            let is_fallback_rotated = renew(&mut account, &mut record.fallback, now);
            if counted.unclaimed < ONE_TIME_KEYS_MIN {
                let day = now.as_u64() / 1_000 / DAY_SECONDS;
                if record.made_on_day != day {
                    (record.made_on_day, record.made) = (day, 0);
                }
                // Those of an attempt that failed go first.
                let missing = ONE_TIME_KEYS.saturating_sub(account.one_time_keys().len());
                let missing = missing.min(ONE_TIME_KEYS_PER_DAY.saturating_sub(record.made));
                account.generate_one_time_keys(missing);
                record.made += missing;
            }
            let mut one_time: Vec<_> = account
                .one_time_keys()
                .into_iter()
                .filter_map(|(id, key)| Prekey::parse(&id.to_base64(), &key.to_base64()))
                .collect();
            one_time.sort_unstable_by(|one, other| one.id.cmp(&other.id));
            let is_fallback_due = is_fallback_rotated || !account.fallback_key().is_empty() || !counted.has_fallback;
            let is_due = is_new_relay || is_fallback_due || !one_time.is_empty();
            let fallback = record.fallback.as_ref().and_then(|fallback| Prekey::parse(&fallback.id, &fallback.key));
            record.pickle = account.pickle();
            rows.put(&record)?;
            let published = one_time.len();
            let tool = Tool::PublishKeys { one_time, fallback };
            Ok::<_, UserError>(is_due.then_some(Publication { tool, published, is_fallback_rotated }))
        })?;
        let Some(Publication { tool, published, is_fallback_rotated }) = publication else { return Ok((0, false)) };
        self.ask::<IgnoredAny>(relay, &tool, now)?;
        self.vault.change(|rows| {
            let record = account(rows)?;
            let mut account = Account::from_pickle(record.pickle);
            account.mark_keys_as_published();
            let (pickle, published_at) = (account.pickle(), Some(relay.url().to_owned()));
            Ok::<_, UserError>(rows.put(&AccountRecord { pickle, published_at, ..record })?)
        })?;
        Ok((published, is_fallback_rotated))
    }
}

/// Makes a new fallback key, if there is none or an old one. Returns whether that was so.
fn renew(account: &mut Account, fallback: &mut Option<Fallback>, now: UnixMillis) -> bool {
    let is_good = |fallback: &Fallback| {
        // One from a clock that was ahead by more than a day would last for ever.
        now.since(fallback.made_at) < FALLBACK_LASTS && fallback.made_at < now.after(FALLBACK_LASTS)
    };
    if fallback.as_ref().is_some_and(is_good) {
        return false;
    }
    account.generate_fallback_key();
    let made = account.fallback_key().into_iter().next();
    *fallback = made.map(|(id, key)| Fallback { id: id.to_base64(), key: key.to_base64(), made_at: now });
    true
}

/// Forgets the oldest of what strangers can make grow.
fn prune(rows: &Rows<'_>) -> Result<(), VaultError> {
    rows.keep_last::<SessionRecord>(SESSIONS_MAX)?;
    rows.keep_last::<SeenBody>(SEEN_MAX)?;
    rows.keep_last::<SeenMessage>(SEEN_MAX)?;
    rows.keep_last::<DueRecord>(DUE_MAX)?;
    if rows.count::<PeerRecord>()? > STRANGERS_MAX {
        for peer in rows.all::<PeerRecord>()? {
            if peer.name.is_none() && !peer.is_blocked && rows.of_peer::<SessionRecord>(peer.id)?.is_empty() {
                rows.remove::<PeerRecord>(&peer.id.to_string())?;
            }
        }
    }
    Ok(())
}
