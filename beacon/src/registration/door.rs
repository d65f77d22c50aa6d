//! Who is registered, as every edge sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::Subject;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, Unverified};
use rendezvous_protocol::time::UnixMillis;

use crate::config::Config;
use crate::registration::config::RegistrationConfig;

/// Says whose tickets are listed. By a table of functions: a host without registration does not carry the code.
pub(crate) trait Gate: fmt::Debug + Send + Sync {
    /// Returns whether the community lists the key.
    fn admits(&self, community: &Community, public_key: &PublicKey) -> bool;
}

/// Checks everything of a ticket but the signature, by whatever way it came in.
///
/// # Errors
/// The first rule that it breaks; the last one is that its key is registered, where it is to be listed and that is asked for.
pub(crate) fn check_ticket(
    gate: Option<&dyn Gate>,
    config: &Config,
    ticket: Ticket,
    community: &Community,
    now: UnixMillis,
) -> Result<Unverified, TicketError> {
    let is_admitted = ticket.payload().purpose == Purpose::Leave
        || gate.is_none_or(|gate| gate.admits(community, &ticket.public_key()));
    let unverified = ticket.check(&config.ticket_rules(community), now)?;
    if is_admitted { Ok(unverified) } else { Err(TicketError::RegistrationRequired) }
}

/// Holds what edges need of registration. The object that remembers everything tells who is registered; until it has, nobody
/// is.
#[derive(Debug)]
pub struct RegistrationDoor {
    config: RegistrationConfig,
    service: Config,
    registered: RwLock<BTreeMap<PublicKey, Vec<Community>>>,
}

impl RegistrationDoor {
    /// Makes the door of a beacon with this configuration.
    pub fn new(service: &Config, config: RegistrationConfig) -> Self {
        Self { config, service: service.clone(), registered: RwLock::default() }
    }

    /// Returns what the operator decides of registration.
    pub const fn config(&self) -> &RegistrationConfig {
        &self.config
    }

    /// Returns the origins for which a registration is signed.
    pub(super) fn audiences(&self) -> &[Origin] {
        &self.service.external_urls
    }

    pub(super) fn serves(&self, community: &Community) -> bool {
        self.service.serves(community)
    }

    /// Takes who is registered, in the place of who was before.
    pub(super) fn admit_these<'a>(&self, subjects: impl Iterator<Item = &'a Subject>) {
        let mut registered: BTreeMap<PublicKey, Vec<Community>> = BTreeMap::new();
        for Subject { community, public_key } in subjects {
            registered.entry(*public_key).or_default().push(community.clone());
        }
        *self.registered.write().unwrap_or_else(PoisonError::into_inner) = registered;
    }
}

impl Gate for RegistrationDoor {
    fn admits(&self, community: &Community, public_key: &PublicKey) -> bool {
        let is_registered = || {
            let registered = self.registered.read().unwrap_or_else(PoisonError::into_inner);
            registered.get(public_key).is_some_and(|communities| communities.contains(community))
        };
        !self.config.requires(community) || is_registered()
    }
}
