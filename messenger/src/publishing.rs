//! Card and policy of the own mailbox, on their way to relays.

use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::time::UnixMillis;

use crate::own::{OwnError, OwnMailbox};
use crate::relay::{MailboxRelay, MailboxRelayError};

/// How often records are signed anew because a relay has newer ones.
const REVISIONS_MAX: usize = 3;

/// Keeps the own mailbox where other programs may change it as well.
pub trait KeepMailbox {
    /// Says why it cannot be read or written.
    type Error: From<OwnError>;

    /// Returns the mailbox as it is now, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    fn read(&mut self) -> Result<Option<OwnMailbox>, Self::Error>;

    /// Changes the mailbox as it is now, and writes it down.
    ///
    /// # Errors
    /// Those of the store.
    fn change(&mut self, change: &mut dyn FnMut(&mut OwnMailbox)) -> Result<(), Self::Error>;
}

/// Puts card and policy to those of these relays that do not have this revision. The mailbox has to be written down already.
/// Where a relay has a newer one, which this store has forgotten, the records are signed anew after that. Returns what went
/// wrong: who lacks the records gets them the next time.
///
/// # Errors
/// [`OwnError`], where the records cannot be signed, and those of the store.
pub fn publish<K: KeepMailbox>(
    kept: &mut K,
    relays: &[MailboxRelay<'_>],
    owner: &PrivateKey,
    now: UnixMillis,
) -> Result<Vec<MailboxRelayError>, K::Error> {
    let address = Address::of(&owner.public_key());
    let mut problems = Vec::new();
    for _ in 0..REVISIONS_MAX {
        problems.clear();
        let Some(own) = kept.read()? else { break };
        let (card, policy) = (own.card(owner)?.to_json(), own.policy(owner)?.to_json());
        let (lagging, mut newer) = (own.lagging(), None);
        for relay in relays.iter().filter(|relay| lagging.iter().any(|origin| origin == relay.origin())) {
            match relay.put(address, &card, &policy) {
                Ok(()) => kept.change(&mut |current| current.note_published(relay.origin(), own.revision))?,
                Err(error) => {
                    if error.refusal() == Some(Code::StaleRevision) {
                        newer = newer.max(relay.revision(address, now));
                    }
                    problems.push(error);
                }
            }
        }
        let Some(newer) = newer.filter(|newer| *newer >= own.revision) else { break };
        kept.change(&mut |current| current.exceed(newer, now))?;
    }
    Ok(problems)
}
