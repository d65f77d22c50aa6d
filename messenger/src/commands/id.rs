//! `rendezvous id`: prints the own id.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use serde_json::json;

use crate::account::Account;
use crate::ending::Report;
use crate::line;

const HELP: &str = "\
Examples:
  rendezvous id
  rendezvous id --json | jq -r .identity_key
      for `rendezvous add NAME ID --pin KEY` on the other side

There is nothing secret in it. No relay is asked.";

/// Arguments of `id`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct IdArguments {
    /// Print one line of JSON: the id, both public keys, the name and the relay.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn id(arguments: &IdArguments, account: &Account<'_>) -> Result<Report, Failure> {
    let (id, identity) = (account.user.id(), account.user.identity());
    if !arguments.json {
        return Ok(Report::text(format!("{id}\n")));
    }
    Ok(Report::text(line::ascii(&json!({
        "user_id": id.to_string(), "fingerprint": id.to_string(), "identity_key": identity.identity_key(),
        "signing_key": identity.signing_key(), "name": account.user.profile()?.name, "verified": true,
        "relay": account.network.url(),
    }))))
}
