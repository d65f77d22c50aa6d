//! `rendezvous id`: prints the own id.

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_protocol::message_addresses::UserAddress;
use rendezvous_protocol::origin::Origin;
use serde_json::json;

use crate::account::Account;
use crate::ending::Report;
use crate::line;

const HELP: &str = "\
Examples:
  rendezvous id
  rendezvous id --json | jq -r .identity_key
      for `rendezvous add NAME ID --pin KEY` on the other side
  capsule announce --data \"$(rendezvous id --data)\" --key node-key.pem ...
      says in a community, to `rendezvous who`, as whom you get messages

There is nothing secret in it. No relay is asked.";

/// Arguments of `id`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct IdArguments {
    /// Print the word by which a ticket's data names the id, and the relay. Everybody can read a ticket.
    #[arg(long, conflicts_with = "json")]
    data: bool,
    /// Print one line of JSON: the id, both public keys, the name and the relay.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why the id cannot be named in a ticket.
#[derive(Debug, thiserror::Error)]
enum IdError {
    /// The relay is below a path.
    #[error(
        "a ticket names relays by their origins, like https://relay.example.org, and the relay's address is more than that"
    )]
    RelayBelowPath,
}

impl Cause for IdError {}

/// Names the user, and the relay if one is known.
fn address(account: &Account<'_>) -> Result<UserAddress, IdError> {
    let relay = account.network.url().map(|url| url.strip_suffix('/').unwrap_or(url));
    let relay = relay.map(|url| Origin::parse(url).ok_or(IdError::RelayBelowPath)).transpose()?;
    Ok(UserAddress { user: account.user.id(), relays: relay.into_iter().collect() })
}

pub(crate) fn id(arguments: &IdArguments, account: &Account<'_>) -> Result<Report, Failure> {
    let (id, identity) = (account.user.id(), account.user.identity());
    if arguments.data {
        return Ok(Report::text(format!("{}\n", address(account)?)));
    }
    if !arguments.json {
        return Ok(Report::text(format!("{id}\n")));
    }
    Ok(Report::text(line::ascii(&json!({
        "user_id": id.to_string(), "fingerprint": id.to_string(), "identity_key": identity.identity_key(),
        "signing_key": identity.signing_key(), "name": account.user.profile()?.name, "verified": true,
        "relay": account.network.url(),
    }))))
}
