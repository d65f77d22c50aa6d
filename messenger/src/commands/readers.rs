//! `rendezvous mailbox readers`: who may collect and acknowledge beside the owner.

use clap::Args;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::keys;

use super::show;
use crate::ending::Report;
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous mailbox readers
      shows them
  rendezvous mailbox readers --add reader.pub
      whoever has that private key may collect what waits, sealed as it is,
      and acknowledge it in your name
  rendezvous mailbox readers --remove 'QwRr/kCSs+lJlOraFdzCDYqqB7ZY/TlU644O+4vcpd4='

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store";

/// Arguments of `readers`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct ReadersArguments {
    /// Public key, or its file, of a reader to add; up to eight readers.
    #[arg(long, value_name = "KEY")]
    add: Vec<String>,
    /// Public key, or its file, of a reader to strike off.
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn readers(arguments: &ReadersArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let mut mailbox = session.mailbox()?;
    let before = mailbox.clone();
    for key in &arguments.remove {
        mailbox.remove_reader(keys::public_key(key)?)?;
    }
    for key in &arguments.add {
        mailbox.add_reader(keys::public_key(key)?)?;
    }
    if mailbox != before {
        mailbox.revise(session.now()?);
        session.store.set_mailbox(&mailbox)?;
    }
    session.publish_and_say(&mut mailbox, &session.owner_key()?)?;
    show::report(arguments.json, &mailbox, session)
}
