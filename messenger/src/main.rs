//! The `rendezvous` program: leaves sealed messages in mailboxes, collects and acknowledges them.
//!
//! The rules of mailboxes are in `rendezvous-protocol`, and what programs of this project share in `rendezvous-capsule`.
//! Here are the seal, the store, what a sender and a recipient remember, and the commands.

#![forbid(unsafe_code)]

mod collecting;
mod command_line;
mod commands;
mod contact;
mod ending;
mod name;
mod own;
mod relay;
mod seal;
mod sending;
mod session;
#[cfg(test)]
mod simulation;
mod store;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use rendezvous_capsule::environment::{self, Environment};
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::fetch::{DEFAULT_TIMEOUT, Fetcher};
use rendezvous_capsule::log::Log;
use rendezvous_capsule::program;

use crate::command_line::{Arguments, Command, MailboxCommand};
use crate::commands::contact::{self as contacts, ContactCommand};
use crate::commands::{ack, check, close, collect, deposit, invite, open, outbox, policy, readers, shell, show};
use crate::ending::{Ending, Report};
use crate::session::Session;
use crate::store::Store;

const USER_AGENT: &str = concat!("rendezvous-messenger/", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return ending::code(program::refuse(&error), Ending::Done),
    };
    let json = arguments.command.json();
    ending::end(run(&arguments), json)
}

fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::Completions(arguments) => Ok(shell::completions(arguments, Arguments::command())),
        Command::Man(arguments) => shell::man(arguments, Arguments::command()),
        Command::Check(check) => check::check(check, &Fetcher::of_program(USER_AGENT)?, timeout(arguments)),
        Command::Mailbox(command) => {
            let makes = |environment: &Environment| match command {
                MailboxCommand::Open(arguments) => arguments.names_relays(environment),
                _ => Ok(false),
            };
            with_store(arguments, makes, |session| match command {
                MailboxCommand::Open(arguments) => open::open(arguments, session),
                MailboxCommand::Show(arguments) => show::show(arguments, session),
                MailboxCommand::Policy(arguments) => policy::policy(arguments, session),
                MailboxCommand::Readers(arguments) => readers::readers(arguments, session),
                MailboxCommand::Deposit(arguments) => deposit::deposit(arguments, session),
                MailboxCommand::Collect(arguments) => collect::collect(arguments, session),
                MailboxCommand::Ack(arguments) => ack::ack(arguments, session),
                MailboxCommand::Close(arguments) => close::close(arguments, session),
            })
        }
        Command::Invite(command) => with_store(arguments, |_| Ok(false), |session| invite::invite(command, session)),
        Command::Contact(command) => match command {
            // First the invite: no key is made for one that is none.
            ContactCommand::Add(add) => {
                let invite = add.invite()?;
                with_store(arguments, |_| Ok(true), |session| contacts::add(add, &invite, session))
            }
            ContactCommand::List(list) => with_store(arguments, |_| Ok(false), |session| contacts::list(list, session)),
            ContactCommand::Remove(remove) => {
                with_store(arguments, |_| Ok(false), |session| contacts::remove(remove, session))
            }
        },
        Command::Outbox(command) => with_store(arguments, |_| Ok(false), |session| outbox::outbox(command, session)),
    }
}

/// Runs a command that works with the store, which is made if the command `makes` one.
fn with_store(
    arguments: &Arguments,
    makes: impl FnOnce(&Environment) -> Result<bool, Failure>,
    run: impl FnOnce(&Session<'_>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let Arguments { store, quiet, passphrase_file, .. } = arguments;
    let log = Log::new(*quiet);
    let environment = Environment::of_process()?.with(environment::PASSPHRASE_FILE, passphrase_file.clone());
    let directory = store::directory(store.as_deref(), &environment)?;
    let store = if makes(&environment)? {
        let (store, is_new) = Store::open_or_make(directory, &environment, &log)?;
        if is_new {
            log.note(format_args!("made a key in {}: keep a copy of it", store.directory().display()));
        }
        store
    } else {
        Store::open(directory, &log)?
    };
    let fetcher = Fetcher::of_program(USER_AGENT)?;
    run(&Session::new(&environment, &log, store, fetcher, timeout(arguments)))
}

/// The time for each request.
fn timeout(arguments: &Arguments) -> Duration {
    arguments.timeout.unwrap_or(DEFAULT_TIMEOUT)
}
