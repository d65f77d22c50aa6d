//! The command line, and the help that teaches it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rendezvous_capsule::values::parse_duration;

use crate::commands::ack::AckArguments;
use crate::commands::add::AddArguments;
use crate::commands::block::BlockArguments;
use crate::commands::check::CheckArguments;
use crate::commands::close::CloseArguments;
use crate::commands::collect::CollectArguments;
use crate::commands::contact::ContactCommand;
use crate::commands::contacts::ContactsArguments;
use crate::commands::deposit::DepositArguments;
use crate::commands::id::IdArguments;
use crate::commands::init::InitArguments;
use crate::commands::invite::InviteCommand;
use crate::commands::mailbox_invite::MailboxInviteCommand;
use crate::commands::mcp::McpArguments;
use crate::commands::open::OpenArguments;
use crate::commands::outbox::OutboxArguments;
use crate::commands::policy::PolicyArguments;
use crate::commands::readers::ReadersArguments;
use crate::commands::receive::ReceiveArguments;
use crate::commands::request::RequestArguments;
use crate::commands::send::SendArguments;
use crate::commands::shell::{CompletionsArguments, ManArguments};
use crate::commands::show::ShowArguments;
use crate::commands::status::StatusArguments;
use crate::commands::sync::{RegisterArguments, SyncArguments};
use crate::commands::verify::VerifyArguments;
use crate::commands::who::WhoArguments;
use crate::name::Name;

const OVERVIEW: &str = "\
Messages between two who have each other's ids, over a relay that reads nothing:
  rendezvous init -u --name alice --server https://relay.example.org
      once; prints your id
  rendezvous add bob f1041c25c87351d8550b31cc6b13ab04
  rendezvous send bob 'See you at eight'
  rendezvous receive --follow
      shows what comes
Or the one gives the other a code, which makes each a contact of the other:
  rendezvous invite new
  rendezvous request f1041c25c87351d8550b31cc6b13ab04 --code CODE --peer bob

A mailbox instead, for any bytes, where a relay does not even learn who writes.
Whoever wants to be written to:
  1. rendezvous mailbox open --relay https://relay.example.org
     Once. Makes a key, and a mailbox that is named after it.
  2. rendezvous mailbox invite new alice
     Prints an invite: give it to Alice, and to nobody else.
  3. rendezvous mailbox collect --output inbox
     Whenever you like: writes what has come into files, then says so to
     whoever sent it.
And Alice:
  1. rendezvous add bob <invite.txt
  2. echo 'See you at eight' | rendezvous mailbox deposit bob
  3. rendezvous outbox
     what has been read, and what still waits

Keys, contacts and what waits are in a directory that only you can look into.
The first of these that is there names it:
  -s DIR, -u [NAME], RENDEZVOUS_STORE, STORE, RETALK_USER, and last -u default,
  which is $XDG_DATA_HOME/rendezvous/default, else
  ~/.local/share/rendezvous/default
The passphrase of an identity is asked for where there is a terminal, unless one
of these has it: --passphrase-file, RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET,
RETALK_PASSPHRASE_FILE, RETALK_PASSPHRASE, PICKLE_SECRET, and last
RENDEZVOUS_PASSPHRASE_FILE, which is that of a mailbox's key too. The relay of
messages is that of --server, RENDEZVOUS_RELAY, RETALK_RELAY, SERVER_URL, or the
one that was saved.

Two whose programs are rendezvous come to write to each other by mailboxes. Of
those a relay sees when they get something and when they are emptied, and the
length of what they get as one of four; not who wrote it. Of messages that go by
the door for retalk's users it sees who writes to whom, when, and how long they
are. It cannot read, forge or change either.

Exit codes, of every command:
  0    done
  1    no relay answered, or not as a relay does
  2    usage: a wrong argument, variable or passphrase, or a file that cannot be
       read or written; or a relay refuses, or has wrong keys (PIN MISMATCH)
  3    something still waits: for a relay, for room, or for its recipient
  130  ended by a signal

`rendezvous COMMAND --help` has examples and the environment variables. Called
`retalk`, by a link, it prints what that program prints.";

/// Sends and receives end-to-end encrypted messages, and leaves sealed ones in mailboxes.
///
/// Relays keep what is sent to somebody who is not online until it is fetched, and can read none of it. Users of retalk are
/// written to, and write, as if this were that program. A mailbox is a dead drop: its sender gets the recipient's own
/// signature for a receipt.
#[derive(Debug, Parser)]
#[command(name = "rendezvous", version, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Directory with your keys, mailbox, contacts and outbox. [default: see `rendezvous --help`]
    #[arg(long, short, alias = "dir", global = true, display_order = 100, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// The directory of that name among your data, instead of --store.
    #[arg(long, short, alias = "user", global = true, display_order = 100, value_name = "NAME", num_args = 0..=1,
          default_missing_value = "default", conflicts_with = "store")]
    pub(crate) user_level: Option<Name>,
    /// Time for each request to a relay. [default: 20s]
    #[arg(long, global = true, display_order = 101, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Say nothing about progress on the standard error; errors and results are still shown.
    #[arg(long, short, global = true, display_order = 102)]
    pub(crate) quiet: bool,
    /// File whose first line is the passphrase. [default: see `rendezvous --help`]
    #[arg(long, global = true, display_order = 103, value_name = "FILE")]
    pub(crate) passphrase_file: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an identity, and print its id.
    Init(InitArguments),
    /// Print your id.
    Id(IdArguments),
    /// Save somebody's id, or an invite, under a name.
    Add(AddArguments),
    /// Codes, with which others become contacts of yours, and you of theirs.
    #[command(subcommand)]
    Invite(InviteCommand),
    /// Redeem a code that somebody has given you.
    Request(RequestArguments),
    /// Send a message.
    Send(SendArguments),
    /// Show messages that have come.
    Receive(ReceiveArguments),
    /// Serve an agent over the Model Context Protocol, on the standard input and output.
    Mcp(McpArguments),
    /// Publish keys, and send again what nobody has acknowledged.
    Sync(SyncArguments),
    /// Publish keys at a relay, for others to begin to write with.
    Register(RegisterArguments),
    /// Refuse somebody's messages.
    Block(BlockArguments),
    /// Show who is present in a community, and who of them can be written to.
    Who(WhoArguments),
    /// Show everybody whom you can write to.
    Contacts(ContactsArguments),
    /// Compare a contact's id with the keys that the relay has.
    Verify(VerifyArguments),
    /// Show what is known without asking a relay.
    Status(StatusArguments),
    /// Your own mailbox, and messages to those of others.
    #[command(subcommand)]
    Mailbox(MailboxCommand),
    /// Those whose mailboxes you can write to.
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
    /// Let somebody write to your mailbox.
    #[command(subcommand)]
    Invite(MailboxInviteCommand),
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
    /// Returns whether the result is for a script.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Init(arguments) => arguments.json,
            Self::Id(arguments) => arguments.json,
            Self::Add(arguments) => arguments.json,
            Self::Invite(command) => command.json(),
            Self::Request(arguments) => arguments.json,
            Self::Send(arguments) => arguments.json,
            Self::Receive(arguments) => arguments.json,
            Self::Sync(arguments) => arguments.json,
            Self::Register(arguments) => arguments.json,
            Self::Block(arguments) => arguments.json,
            Self::Who(arguments) => arguments.json,
            Self::Contacts(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Status(arguments) => arguments.json,
            Self::Mailbox(command) => match command {
                MailboxCommand::Open(arguments) => arguments.json,
                MailboxCommand::Show(arguments) => arguments.json,
                MailboxCommand::Policy(arguments) => arguments.json,
                MailboxCommand::Readers(arguments) => arguments.json,
                MailboxCommand::Invite(command) => command.json(),
                MailboxCommand::Deposit(arguments) => arguments.json,
                MailboxCommand::Collect(arguments) => arguments.json,
                MailboxCommand::Ack(arguments) => arguments.json,
                MailboxCommand::Close(arguments) => arguments.json,
            },
            Self::Contact(command) => command.json(),
            Self::Outbox(arguments) => arguments.json,
            Self::Check(arguments) => arguments.json,
            Self::Mcp(_) | Self::Completions(_) | Self::Man(_) => false,
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
