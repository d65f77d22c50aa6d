//! `rendezvous-beacon registrations`: the operator lists and removes what is registered, also while the beacon runs.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::registration::EmailAddress;
use rendezvous_service::registration::RegistrationObject;

use crate::failure::Failure;
use crate::registration::storage::{RegistrationStorage, unreadable};
use crate::settings::state_of_process;

#[derive(Debug, Args)]
pub(crate) struct RegistrationsCommand {
    #[command(subcommand)]
    action: Action,
    /// File of configuration, in TOML, of which STATE counts.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints every confirmed registration with its address, a line of JSON each.
    List,
    /// Removes registrations, confirmed or not, and prints how many. A beacon that runs knows within seconds.
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
struct RemoveArguments {
    /// All that the mailbox of this address was to confirm.
    #[arg(long, value_name = "ADDRESS", group = "what", value_parser = read_email)]
    email: Option<EmailAddress>,
    /// The public key, in base64.
    #[arg(long, value_name = "KEY", group = "what", value_parser = read_key)]
    key: Option<PublicKey>,
    /// In this community alone.
    #[arg(long, value_name = "NAME")]
    community: Option<Community>,
}

fn read_email(text: &str) -> Result<EmailAddress, &'static str> {
    EmailAddress::parse(text).ok_or("an address such as name@a.example")
}

fn read_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_text(text).map_err(|error| error.to_string())
}

/// Does what the operator asks for.
pub(crate) fn run(command: &RegistrationsCommand) -> Result<(), Failure> {
    let state = state_of_process(command.config.as_deref())?;
    let mut storage = RegistrationStorage::open_beside(&state)?;
    // One transaction: what is removed is what is there then, and no mail or confirmation comes in between.
    let stored = storage.begin()?;
    let rows = stored.read()?;
    let mut lines = match &command.action {
        Action::List => RegistrationObject::list(rows).map_err(|error| unreadable(&state, &error))?,
        Action::Remove(arguments) => {
            let RemoveArguments { email, key, community } = arguments;
            let mailbox = email.as_ref().map(EmailAddress::mailbox);
            let (writes, removed) = RegistrationObject::remove(rows, |subject, address| {
                mailbox.as_ref().is_none_or(|mailbox| address.mailbox() == *mailbox)
                    && key.as_ref().is_none_or(|key| subject.public_key == *key)
                    && community.as_ref().is_none_or(|community| subject.community == *community)
            })
            .map_err(|error| unreadable(&state, &error))?;
            if removed == 0 {
                return Err(Failure::NotRegistered);
            }
            stored.commit(&writes)?;
            vec![format!("removed {removed}")]
        }
    };
    lines.push(String::new());
    std::io::stdout().write_all(lines.join("\n").as_bytes()).map_err(Failure::Output)
}
