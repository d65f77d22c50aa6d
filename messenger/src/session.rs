//! What every command works with: the store, the clock, relays, and the records of the own mailbox on their way to them.

use rendezvous_capsule::clock::{Clock, ClockError};
use rendezvous_capsule::environment::Environment;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::log::Log;
use rendezvous_messenger::transport::HttpTransport;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::time::UnixMillis;

use crate::own::OwnMailbox;
use crate::relay::{Relay, RelayError};
use crate::store::{Store, StoreError, random};

/// How often records are signed anew because a relay has newer ones.
const REVISIONS_MAX: usize = 3;

/// Holds what every command works with.
pub(crate) struct Session<'a> {
    /// The variables.
    pub(crate) environment: &'a Environment,
    /// What people read meanwhile.
    pub(crate) log: &'a Log,
    /// The directory.
    pub(crate) store: Store,
    transport: HttpTransport,
}

impl<'a> Session<'a> {
    /// Begins one.
    pub(crate) const fn new(
        environment: &'a Environment,
        log: &'a Log,
        store: Store,
        transport: HttpTransport,
    ) -> Self {
        Self { environment, log, store, transport }
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Result<UnixMillis, ClockError> {
        Clock::System.now()
    }

    /// Reads the owner's key.
    pub(crate) fn owner_key(&self) -> Result<PrivateKey, Failure> {
        Ok(self.store.owner_key(self.environment)?)
    }

    /// Reads what is known of the own mailbox, which is open.
    pub(crate) fn mailbox(&self) -> Result<OwnMailbox, Failure> {
        let mailbox: OwnMailbox = self.store.mailbox()?.ok_or(StoreError::NoMailbox)?;
        if mailbox.is_closed { Err(StoreError::MailboxClosed.into()) } else { Ok(mailbox) }
    }

    /// Returns the relay of that origin.
    pub(crate) fn relay(&self, origin: &str) -> Result<Relay<'_>, RelayError> {
        Relay::new(origin, &self.transport)
    }

    /// Makes new sealing keys where they are due, and with them a new revision.
    pub(crate) fn renew_keys(&self, mailbox: &mut OwnMailbox, now: UnixMillis) -> Result<(), Failure> {
        if mailbox.wants_sealing_keys(now) {
            mailbox.add_sealing_keys(random()?, random()?, now);
            mailbox.revise(now);
            self.store.set_mailbox(mailbox)?;
        }
        Ok(())
    }

    /// Puts card and policy to all relays that do not have this revision. The mailbox has to be written down already.
    /// Returns what went wrong at which: those get it the next time.
    pub(crate) fn publish(&self, mailbox: &mut OwnMailbox, owner: &PrivateKey) -> Result<Vec<RelayError>, Failure> {
        let address = Address::of(&owner.public_key());
        let mut problems = Vec::new();
        for _ in 0..REVISIONS_MAX {
            problems.clear();
            let mut newer = None;
            let (card, policy) = (mailbox.card(owner)?.to_json(), mailbox.policy(owner)?.to_json());
            for origin in mailbox.lagging() {
                let relay = self.relay(&origin)?;
                match relay.put(address, &card, &policy) {
                    Ok(()) => {
                        mailbox.note_published(&origin);
                        self.store.set_mailbox(mailbox)?;
                    }
                    Err(error) => {
                        if error.refusal() == Some(Code::StaleRevision) {
                            newer = newer.max(relay.revision(address, self.now()?));
                        }
                        problems.push(error);
                    }
                }
            }
            let Some(newer) = newer.filter(|newer| *newer >= mailbox.revision) else { break };
            mailbox.exceed(newer, self.now()?);
            self.store.set_mailbox(mailbox)?;
        }
        Ok(problems)
    }

    /// Publishes, and says what went wrong. Returns whether every relay has the records.
    pub(crate) fn publish_and_say(&self, mailbox: &mut OwnMailbox, owner: &PrivateKey) -> Result<bool, Failure> {
        let problems = self.publish(mailbox, owner)?;
        for problem in &problems {
            self.log.note(format_args!("{problem}: it gets the mailbox's records with the next command"));
        }
        Ok(problems.is_empty())
    }
}
