//! What is asked of tickets.

use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::ticket::{PeerData, TicketRules, VerifiedTicket};
use serde_json::{Value, json};

use crate::environment::{self, Environment, EnvironmentError};
use crate::settings::{community, first};
use crate::values::{parse_community, parse_duration, parse_millis, parse_public_key};

/// What is asked of tickets, by `publish` and by `verify`.
#[derive(Args, Debug)]
pub(crate) struct TicketArguments {
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// Accept only tickets by this public key (base64); more than one: comma-separated, or given again. [default: any]
    #[arg(long = "trusted-key", value_name = "KEY", allow_hyphen_values = true, value_delimiter = ',', value_parser = parse_public_key)]
    pub(crate) trusted_keys: Vec<PublicKey>,
    /// Accept no ticket that lives longer. [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ticket_max_lifetime: Option<Duration>,
}

/// The same with its variables and defaults.
#[derive(Debug)]
pub(crate) struct TicketSettings {
    /// Whose they are, and the capsule.
    pub(crate) community: Community,
    trusted_keys: Option<SortedSet<PublicKey>>,
    max_lifetime: Option<Duration>,
}

impl TicketSettings {
    /// Puts them together.
    pub(crate) fn new(arguments: &TicketArguments, environment: &Environment) -> Result<Self, EnvironmentError> {
        let community = community(arguments.community.as_ref(), environment)?;
        let trusted_keys = if arguments.trusted_keys.is_empty() {
            environment.list(environment::TRUSTED_TICKET_KEYS, parse_public_key)?
        } else {
            arguments.trusted_keys.clone()
        };
        let max_lifetime =
            first(arguments.ticket_max_lifetime, environment, environment::TICKET_MAX_LIFETIME_MS, parse_millis)?;
        let trusted_keys = Some(trusted_keys.into_iter().collect()).filter(|keys: &SortedSet<_>| !keys.is_empty());
        Ok(Self { community, trusted_keys, max_lifetime })
    }

    /// As rules for what beacons answer.
    pub(crate) fn rules(&self) -> TicketRules<'_> {
        self.complete(TicketRules::new(&self.community))
    }

    /// As rules for what is in a capsule, where tickets may live longer.
    pub(crate) fn rules_in_capsule(&self) -> TicketRules<'_> {
        self.complete(TicketRules::in_capsule(&self.community))
    }

    fn complete<'a>(&'a self, defaults: TicketRules<'a>) -> TicketRules<'a> {
        TicketRules {
            max_lifetime: self.max_lifetime.unwrap_or(defaults.max_lifetime),
            trusted_keys: self.trusted_keys.as_ref(),
            ..defaults
        }
    }
}

/// Tells scripts of a ticket and of how it stands, in a field of the name that the command has for it.
pub(crate) fn ticket_json(ticket: &VerifiedTicket, (field, standing): (&str, &str)) -> Value {
    let payload = ticket.payload();
    json!({
        "peerId": payload.peer_id.as_str(),
        "userId": payload.user_id.as_str(),
        "data": payload.data.as_ref().map(PeerData::as_str),
        "publicKey": ticket.public_key().to_string(),
        "issuedAt": payload.issued_at,
        "expiresAt": payload.expires_at,
        field: standing,
    })
}
