//! What is asked of tickets.

use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;

use crate::settings::{parse_community, parse_duration, parse_public_key};

/// What is asked of tickets, by `publish` and by `verify`.
#[derive(Args, Debug)]
pub(crate) struct TicketArguments {
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// Accept only tickets by this public key (base64); more than one: comma-separated, or given again. [default: any]
    #[arg(long = "trusted-key", value_name = "KEY", value_delimiter = ',', value_parser = parse_public_key)]
    pub(crate) trusted_keys: Vec<PublicKey>,
    /// Accept no ticket that lives longer. [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ticket_max_lifetime: Option<Duration>,
}
