//! The `rendezvous` program: sends and receives end-to-end encrypted messages, and leaves sealed ones in mailboxes.
//!
//! Messages are the library's beside it, and so are the seal of mailboxes and what a sender and a recipient remember; the rules
//! of mailboxes are in `rendezvous-protocol`, and what programs of this project share in `rendezvous-capsule`. Here are the
//! store of mailboxes and the commands.

#![forbid(unsafe_code)]

mod account;
mod command_line;
mod commands;
mod ending;
mod line;
mod listening;
mod news;
mod sending;
mod session;
#[cfg(test)]
mod simulation;
mod store;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use rendezvous_capsule::environment::{self, Environment};
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::fetch::{DEFAULT_TIMEOUT, Fetcher};
use rendezvous_capsule::log::Log;
use rendezvous_capsule::program;
use rendezvous_messenger::User;
#[cfg(test)]
use rendezvous_messenger::seal;
use rendezvous_messenger::transport::HttpTransport;
use rendezvous_messenger::{collecting, name, own, publishing, recipient, relay};

use crate::account::{Account, AccountError, Setting};
use crate::command_line::{Arguments, Command, MailboxCommand};
use crate::commands::add::Added;
use crate::commands::contact::{self as contact_commands, AddArguments as AddInviteArguments, ContactCommand};
use crate::commands::contacts::{self, ContactsArguments};
use crate::commands::{
    ack, add, block, check, close, collect, deposit, id, init, invite, mailbox_invite, mcp, open, outbox, policy,
    readers,
};
use crate::commands::{receive, request, send, shell, show, status, sync, verify, who};
use crate::ending::{Ending, Report};
use crate::session::Session;
use crate::store::Store;

const USER_AGENT: &str = concat!("rendezvous-messenger/", env!("CARGO_PKG_VERSION"));

/// The name by which the program is called in the place of retalk's.
const RETALK: &str = "retalk";

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
        Command::Check(check) => {
            check::check(check, &HttpTransport::new(Fetcher::of_program(USER_AGENT)?, timeout(arguments)))
        }
        Command::Who(who) => {
            let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
            who::who(who, &environment, &log, &Fetcher::of_program(USER_AGENT)?, timeout(arguments))
        }
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
                MailboxCommand::Invite(command) => mailbox_invite::invite(command, session),
                MailboxCommand::Deposit(arguments) => deposit::deposit(arguments, session),
                MailboxCommand::Collect(arguments) => collect::collect(arguments, session),
                MailboxCommand::Ack(arguments) => ack::ack(arguments, session),
                MailboxCommand::Close(arguments) => close::close(arguments, session),
            })
        }
        Command::Contact(command) => match command {
            ContactCommand::Add(add) => add_invite(arguments, add),
            ContactCommand::List(list) => {
                with_store(arguments, |_| Ok(false), |session| contact_commands::list(list, session))
            }
            ContactCommand::Remove(remove) => {
                with_store(arguments, |_| Ok(false), |session| contact_commands::remove(remove, session))
            }
        },
        Command::Init(init) => {
            let named = arguments.store.is_some() || arguments.user_level.is_some();
            let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
            let named = named.then(|| directory(arguments, &environment)).transpose()?;
            let setting = setting(arguments, &environment, &log);
            init::init(init, init.place(named)?, &setting, Fetcher::of_program(USER_AGENT)?)
        }
        Command::Id(arguments_of_id) => {
            with_account(arguments, None, false, |account| id::id(arguments_of_id, account))
        }
        Command::Add(add) => match add.added()? {
            Added::Invite(invite) => add_invite(arguments, &invite),
            Added::User { name, id } => {
                with_account(arguments, add.server.as_deref(), add.verify, |account| add::add(add, &name, id, account))
            }
        },
        Command::Invite(command) => acting(arguments, command.server(), |account| invite::invite(command, account)),
        Command::Request(request) => {
            acting(arguments, request.server.as_deref(), |account| request::request(request, account))
        }
        Command::Send(send) => {
            let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
            let setting = setting(arguments, &environment, &log);
            let fetcher = Fetcher::of_program(USER_AGENT)?;
            acting(arguments, send.server.as_deref(), |account| send::send(send, &setting, fetcher, account))
        }
        Command::Receive(receive) => {
            acting(arguments, receive.server.as_deref(), |account| receive::receive(receive, account))
        }
        Command::Mcp(mcp) => {
            let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
            let directory = directory(arguments, &environment)?;
            let setting = setting(arguments, &environment, &log);
            let account = Account::open(directory, mcp.server.as_deref(), &setting, Fetcher::of_program(USER_AGENT)?)?;
            mcp::serve(account)
        }
        Command::Sync(sync) => acting(arguments, sync.server.as_deref(), |account| sync::sync(sync, account)),
        Command::Register(register) => {
            acting(arguments, register.server.as_deref(), |account| sync::register(register, account))
        }
        Command::Block(block) => acting(arguments, None, |account| block::block(block, account)),
        Command::Verify(verify) => {
            acting(arguments, verify.server.as_deref(), |account| verify::verify(verify, account))
        }
        Command::Status(status) => with_account(arguments, None, false, |account| status::status(status, account)),
        Command::Contacts(ContactsArguments { remove: Some(peer), json }) => {
            acting(arguments, None, |account| contacts::remove(*json, peer, account))
        }
        Command::Contacts(list) => with_both(arguments, None, |account, session| {
            contacts::list(list, account.as_deref(), session.map(|session| &session.store))
        }),
        Command::Outbox(command) => with_both(arguments, command.server.as_deref(), |account, session| {
            outbox::outbox(command, account, session)
        }),
    }
}

/// First the invite: no key is made for one that is none.
fn add_invite(arguments: &Arguments, add: &AddInviteArguments) -> Result<Report, Failure> {
    let invite = add.invite()?;
    with_store(arguments, |_| Ok(true), |session| contact_commands::add(add, &invite, session))
}

/// Runs a command of an identity, which is introduced first.
fn acting(
    arguments: &Arguments,
    relay: Option<&str>,
    run: impl FnOnce(&mut Account<'_>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    with_account(arguments, relay, true, run)
}

/// Runs a command that works with the identity.
fn with_account(
    arguments: &Arguments,
    relay: Option<&str>,
    introduces: bool,
    run: impl FnOnce(&mut Account<'_>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
    let directory = directory(arguments, &environment)?;
    let setting = setting(arguments, &environment, &log);
    let mut account = Account::open(directory, relay, &setting, Fetcher::of_program(USER_AGENT)?)?;
    if introduces {
        account.introduce()?;
    }
    run(&mut account)
}

/// Runs a command that works with the store of mailboxes, which is made if the command `makes` one.
fn with_store(
    arguments: &Arguments,
    makes: impl FnOnce(&Environment) -> Result<bool, Failure>,
    run: impl FnOnce(&Session<'_>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
    let directory = directory(arguments, &environment)?;
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
    let transport = HttpTransport::new(fetcher, timeout(arguments));
    run(&Session::new(&environment, &log, store, transport))
}

/// Runs a command that works with the identity and with the store of mailboxes, of which one has to be there.
fn with_both(
    arguments: &Arguments,
    relay: Option<&str>,
    run: impl FnOnce(Option<&mut Account<'_>>, Option<&Session<'_>>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let (log, environment) = (Log::new(arguments.quiet), environment(arguments)?);
    let directory = directory(arguments, &environment)?;
    let setting = setting(arguments, &environment, &log);
    let (has_user, has_store) = (User::is_in(&directory)?, Store::is_in(&directory)?);
    if !has_user && !has_store {
        return Err(AccountError::Nothing { path: directory }.into());
    }
    let fetcher = || Fetcher::of_program(USER_AGENT);
    let mut account = if has_user {
        let account = Account::open(directory.clone(), relay, &setting, fetcher()?)?;
        account.introduce()?;
        Some(account)
    } else {
        None
    };
    let session = if has_store {
        let store = Store::open(directory, &log)?;
        Some(Session::new(&environment, &log, store, HttpTransport::new(fetcher()?, setting.timeout)))
    } else {
        None
    };
    run(account.as_mut(), session.as_ref())
}

/// Returns the variables, in whose place arguments stand.
fn environment(arguments: &Arguments) -> Result<Environment, Failure> {
    let Arguments { passphrase_file, .. } = arguments;
    let environment = Environment::of_process()?.with(environment::PASSPHRASE_FILE, passphrase_file.clone());
    Ok(environment.with(environment::SECRET_FILE, passphrase_file.clone()))
}

fn directory(arguments: &Arguments, environment: &Environment) -> Result<PathBuf, Failure> {
    store::directory(arguments.store.as_deref(), arguments.user_level.as_ref(), environment)
}

fn setting<'a>(arguments: &Arguments, environment: &'a Environment, log: &'a Log) -> Setting<'a> {
    let program = std::env::args_os().next();
    let is_retalk = program.as_deref().is_some_and(is_called_retalk);
    Setting { environment, log, timeout: timeout(arguments), is_retalk }
}

fn is_called_retalk(program: &OsStr) -> bool {
    Path::new(program).file_stem().is_some_and(|name| name == RETALK)
}

/// Returns the time for each request.
fn timeout(arguments: &Arguments) -> Duration {
    arguments.timeout.unwrap_or(DEFAULT_TIMEOUT)
}
