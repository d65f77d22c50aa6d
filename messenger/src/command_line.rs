//! The command line, and the help that teaches it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rendezvous_capsule::values::parse_duration;

use crate::commands::ack::AckArguments;
use crate::commands::check::CheckArguments;
use crate::commands::close::CloseArguments;
use crate::commands::collect::CollectArguments;
use crate::commands::contact::ContactCommand;
use crate::commands::deposit::DepositArguments;
use crate::commands::invite::InviteCommand;
use crate::commands::open::OpenArguments;
use crate::commands::outbox::OutboxArguments;
use crate::commands::policy::PolicyArguments;
use crate::commands::readers::ReadersArguments;
use crate::commands::shell::{CompletionsArguments, ManArguments};
use crate::commands::show::ShowArguments;

const OVERVIEW: &str = "\
How it goes together. Whoever wants to be written to:
  1. rendezvous mailbox open --relay https://relay.example.org
     Once. Makes a key, and a mailbox that is named after it.
  2. rendezvous invite new alice
     Prints an invite: give it to Alice, and to nobody else.
  3. rendezvous mailbox collect --output inbox
     Whenever you like: writes what has come into files, then says so to
     whoever sent it.
And Alice:
  1. rendezvous contact add bob <invite.txt
  2. echo 'See you at eight' | rendezvous mailbox deposit bob
  3. rendezvous outbox
     what has been read, and what still waits

Keys, contacts and what waits are in a directory that only you can look into:
--store DIR, else RENDEZVOUS_STORE, else
$XDG_DATA_HOME/rendezvous/default, else ~/.local/share/rendezvous/default.
A relay sees when a mailbox gets something and when it is emptied, and the
length of a message as one of four. It cannot read, forge or change one, and
does not learn who wrote it.

Exit codes, of every command:
  0    done
  1    no relay answered, or not as a relay does
  2    usage: a wrong argument or variable, or a file that cannot be read or
       written; or a relay refuses
  3    something still waits: for a relay, for room, or for its recipient
  130  ended by a signal

`rendezvous COMMAND --help` has examples and the environment variables.";

/// Leaves sealed messages in mailboxes, collects and acknowledges them.
///
/// A mailbox is a dead drop for somebody who is not online: relays keep what is left there, sealed, until it is collected,
/// and the sender gets the recipient's own signature for a receipt.
#[derive(Debug, Parser)]
#[command(name = "rendezvous", version, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Directory with your keys, mailbox, contacts and outbox. [default: see `rendezvous --help`]
    #[arg(long, short, global = true, display_order = 100, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Time for each request to a relay. [default: 20s]
    #[arg(long, global = true, display_order = 101, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Say nothing about progress on the standard error; errors and results are still shown.
    #[arg(long, short, global = true, display_order = 102)]
    pub(crate) quiet: bool,
    /// File whose first line is the passphrase of the private key. [default: asked for on the terminal]
    #[arg(long, global = true, display_order = 103, value_name = "FILE")]
    pub(crate) passphrase_file: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Your own mailbox, and messages to those of others.
    #[command(subcommand)]
    Mailbox(MailboxCommand),
    /// Let somebody write to you.
    #[command(subcommand)]
    Invite(InviteCommand),
    /// Those whom you can write to.
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Try again what waits, and say what has been read.
    Outbox(OutboxArguments),
    /// Try every request of a relay with keys that are thrown away, and say what it lacks.
    Check(CheckArguments),
    /// Print what a shell needs to complete this program's arguments.
    Completions(CompletionsArguments),
    /// Write manual pages of this program and of each of its commands.
    Man(ManArguments),
}

/// The commands about mailboxes.
#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// Open your mailbox at relays, or renew it.
    Open(OpenArguments),
    /// Show your mailbox: its address, relays, contacts, invites and readers.
    Show(ShowArguments),
    /// Change who may write, and how much.
    Policy(PolicyArguments),
    /// Change who may collect and acknowledge beside you.
    Readers(ReadersArguments),
    /// Leave a message for somebody.
    Deposit(DepositArguments),
    /// Fetch what has come.
    Collect(CollectArguments),
    /// Acknowledge what was shown, so that relays let it go.
    Ack(AckArguments),
    /// End your mailbox, and delete all that waits there.
    Close(CloseArguments),
}

impl Command {
    /// Whether the result is for a script.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Mailbox(command) => match command {
                MailboxCommand::Open(arguments) => arguments.json,
                MailboxCommand::Show(arguments) => arguments.json,
                MailboxCommand::Policy(arguments) => arguments.json,
                MailboxCommand::Readers(arguments) => arguments.json,
                MailboxCommand::Deposit(arguments) => arguments.json,
                MailboxCommand::Collect(arguments) => arguments.json,
                MailboxCommand::Ack(arguments) => arguments.json,
                MailboxCommand::Close(arguments) => arguments.json,
            },
            Self::Invite(command) => command.json(),
            Self::Contact(command) => command.json(),
            Self::Outbox(arguments) => arguments.json,
            Self::Check(arguments) => arguments.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_examples_in_80_columns() {
        fn look_at(command: &clap::Command, path: &str) {
            let help = command.clone().term_width(80).render_long_help().to_string();
            if !command.has_subcommands() {
                assert!(help.contains("Examples:\n  rendezvous "), "{path} has no example");
            }
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{path}: {line}");
            }
            for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
                look_at(command, &format!("{path} {}", command.get_name()));
            }
        }
        look_at(&Arguments::command(), "rendezvous");
    }
}
