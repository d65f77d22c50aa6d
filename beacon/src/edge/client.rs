//! Who asks, and whether its rate limits let it through.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::time::UnixMillis;

use crate::edge::Edge;
use crate::edge::head::Head;
use crate::note::{Details, Note};
use crate::platform::AddressSource;

impl Edge {
    pub(super) fn client(&mut self, head: &Head<'_>) -> Client {
        let client = head.client();
        let source = self.platform.address_source(&self.config);
        if client.address.is_none() {
            const EVENT: &str = "client_address_unreadable";
            if !self.said.contains(&EVENT) {
                // Not what it holds: that may be most of an address.
                let cause = match source {
                    AddressSource::Header(header) => format!(
                        "the header {header} of a request has no address: all such clients count as one household"
                    ),
                    AddressSource::Connection => {
                        "a connection has no address: all such clients count as one household".to_owned()
                    }
                };
                self.note_once(Note::failure(EVENT, &cause));
            }
        } else if self.platform.says_autonomous_system(&self.config) && client.autonomous_system.is_none() {
            const EVENT: &str = "autonomous_system_unknown";
            if !self.said.contains(&EVENT) {
                let cause = Some("an IPv4 /16 or an IPv6 /29 counts as a provider".to_owned());
                self.note_once(Note::info(EVENT, Details { cause, ..Details::default() }));
            }
        }
        client
    }

    pub(super) fn take_request(&mut self, now: UnixMillis, client: Client) -> Result<(), RateLimited> {
        self.requests.take(now, client.rate_path(&self.secret))
    }

    /// Lets a community through to its object, if it is not one that was invented too much.
    pub(super) fn admit(&mut self, now: UnixMillis, client: Client, community: &Community) -> Result<(), RateLimited> {
        if !self.config.is_open(community) {
            return Ok(());
        }
        self.new_communities.admit(now, client.rate_path(&self.secret), community)
    }
}
