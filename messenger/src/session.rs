//! What every command works with: the store, the clock, relays, and the records of the own mailbox on their way to them.

use rendezvous_capsule::clock::{Clock, ClockError};
use rendezvous_capsule::environment::Environment;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::log::Log;
use rendezvous_messenger::transport::HttpTransport;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::time::UnixMillis;

use crate::own::OwnMailbox;
use crate::publishing::{KeepMailbox, publish};
use crate::relay::{MailboxRelay, MailboxRelayError};
use crate::store::{Store, StoreError, random};

/// Keeps the mailbox in its file, which no other run changes meanwhile, and in memory.
struct InFile<'a> {
    store: &'a Store,
    mailbox: &'a mut OwnMailbox,
}

impl KeepMailbox for InFile<'_> {
    type Error = Failure;

    fn read(&mut self) -> Result<Option<OwnMailbox>, Failure> {
        Ok(Some(self.mailbox.clone()))
    }

    fn change(&mut self, change: &mut dyn FnMut(&mut OwnMailbox)) -> Result<(), Failure> {
        change(self.mailbox);
        self.store.set_mailbox(self.mailbox)
    }
}

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

    /// Returns what carries requests.
    pub(crate) const fn transport(&self) -> &HttpTransport {
        &self.transport
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
    pub(crate) fn relay(&self, origin: &str) -> Result<MailboxRelay<'_>, MailboxRelayError> {
        MailboxRelay::new(origin, &self.transport)
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

    /// Puts card and policy to all relays that do not have this revision. Returns what went wrong at which.
    pub(crate) fn publish(
        &self,
        mailbox: &mut OwnMailbox,
        owner: &PrivateKey,
    ) -> Result<Vec<MailboxRelayError>, Failure> {
        let origins = mailbox.relays.clone();
        let relays = origins.iter().map(|origin| self.relay(origin)).collect::<Result<Vec<_>, _>>()?;
        publish(&mut InFile { store: &self.store, mailbox }, &relays, owner, self.now()?)
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
