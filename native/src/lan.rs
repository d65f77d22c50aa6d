//! Announcing the beacon in the local network, by DNS-SD over multicast DNS.
//!
//! What it says of itself is decided by `rendezvous_protocol::lan`. It is said in networks of private addresses alone: what
//! a machine has besides, public addresses and those of tunnels, is nobody's business there.

use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use rendezvous_protocol::lan::{SERVICE, attributes, is_listened_to, is_local};
use rendezvous_service::config::Config;

use crate::failure::Failure;

/// How long the network is told that the beacon goes.
const GOODBYE: Duration = Duration::from_secs(1);

/// A name of the beacon in the local network, which no other beacon there has.
#[derive(Clone, Debug)]
pub(crate) struct LocalName(String);

impl LocalName {
    /// Draws one. The machine's own name is its owner's to tell.
    pub(crate) fn draw() -> Result<Self, Failure> {
        let mut number = [0; 4];
        getrandom::fill(&mut number)?;
        Ok(Self(format!("rendezvous-beacon-{:08x}", u32::from_le_bytes(number))))
    }

    /// Returns the host's name.
    pub(crate) fn host(&self) -> String {
        format!("{}.local", self.0)
    }
}

/// A beacon that is announced.
pub(crate) struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces a beacon that listens at this address.
    pub(crate) fn start(
        LocalName(name): &LocalName,
        listened: SocketAddr,
        config: &Config,
    ) -> Result<Self, mdns_sd::Error> {
        let attributes = attributes(config.listed_communities.iter());
        let host = format!("{name}.local.");
        let service = ServiceInfo::new(&format!("{SERVICE}."), name, &host, (), listened.port(), &attributes[..])?;
        let service = service.enable_addr_auto();
        let name = service.get_fullname().to_owned();
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(IfKind::All)?;
        let counts = IfPredicate::new(move |interface| {
            is_local(interface.ip()) && is_listened_to(interface.ip(), listened.ip())
        });
        daemon.enable_interface(IfKind::Predicate(counts))?;
        daemon.register(service)?;
        Ok(Self { daemon, name })
    }

    /// Tells the network that the beacon goes. Where that fails, what was announced ends by itself.
    pub(crate) fn end(self) {
        if let Ok(told) = self.daemon.unregister(&self.name) {
            let _ = told.recv_timeout(GOODBYE);
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(GOODBYE);
        }
    }
}
