//! The `capsule` program: makes signed snapshots of who is online out of beacons, checks them, and keeps a server
//! announced.
//!
//! A thin shell over `rendezvous-protocol`, which holds the rules: here are arguments, files, HTTP, the clock, signals
//! and what people and scripts get to read.

#![forbid(unsafe_code)]

mod beacon;
mod claims;
mod clock;
mod command_line;
mod commands;
mod destination;
mod environment;
mod failure;
mod fetch;
mod files;
#[cfg(test)]
mod fixture;
mod hook;
mod host;
mod keys;
mod log;
mod minisig;
mod network;
mod nonce;
mod outcome;
mod page;
mod publication;
mod reader;
mod refusal;
mod secret;
mod settings;
mod signals;
mod source;
mod text;
mod tickets;
mod trust;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::clock::Clock;
use crate::command_line::{Arguments, Command};
use crate::commands::{
    announce, check, completions, cosign, diff, explain, inspect, keygen, publish, root, ticket, verify, watch, who,
};
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::keys::KeyFileError;
use crate::log::Log;
use crate::outcome::Outcome;

fn main() -> ExitCode {
    let Arguments { command, quiet, passphrase_file } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let log = Log::new(quiet);
    let outcome = run(&command, passphrase_file, &log).unwrap_or_else(|failure| {
        // Said even with --quiet: an exit code alone explains nothing.
        Log::new(false).note(format_args!("error: {failure}"));
        Outcome::failed(&failure, command.json())
    });
    match outcome.print() {
        Ok(exit) => exit.into(),
        Err(error) => {
            Log::new(false)
                .note(format_args!("error: the result could not be written to the standard output: {error}"));
            Exit::Usage.into()
        }
    }
}

/// Prints help and versions, which were asked for, and what is wrong with the arguments, some of which may be secrets.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A standard output that is closed is not a reason to complain to it.
        let _ = error.print();
        return Exit::Good.into();
    }
    let log = Log::new(false);
    log.note(format_args!("{}", error.render().to_string().trim_end()));
    if secret::is_among_arguments() {
        log.note(format_args!("\nerror: {}", KeyFileError::SecretAsArgument));
    }
    Exit::Usage.into()
}

fn run(command: &Command, passphrase_file: Option<String>, log: &Log) -> Result<Outcome, Failure> {
    let environment = Environment::of_process()?.with(environment::PASSPHRASE_FILE, passphrase_file);
    let clock = Clock::new(&environment)?;
    if let Some(fixed) = clock.fixed() {
        log.note(format_args!("clock: {}, from SOURCE_DATE_EPOCH", text::date(fixed)));
    }
    match command {
        Command::Keygen(arguments) => keygen::keygen(arguments, &environment),
        Command::Root(arguments) => root::root(arguments, &environment, &clock),
        Command::Publish(arguments) => publish::publish(arguments, &environment, &clock, log),
        Command::Watch(arguments) => watch::watch(arguments, &environment, &clock, log),
        Command::Announce(arguments) => announce::announce(arguments, &environment, &clock, log),
        Command::Who(arguments) => who::who(arguments, &environment, &clock),
        Command::Check(arguments) => check::check(arguments, &environment, &clock, log),
        Command::Cosign(arguments) => cosign::cosign(arguments, &environment, &clock),
        Command::Ticket(arguments) => ticket::ticket(arguments, &environment, &clock, log),
        Command::Verify(arguments) => verify::verify(arguments, &environment, &clock),
        Command::Diff(arguments) => diff::diff(arguments, &clock),
        Command::Explain(arguments) => explain::explain(arguments, &environment, &clock),
        Command::Inspect(arguments) => inspect::inspect(arguments, &clock),
        Command::Completions(arguments) => Ok(completions::completions(arguments, Arguments::command())),
        Command::Man(arguments) => completions::man(arguments, Arguments::command()),
    }
}
