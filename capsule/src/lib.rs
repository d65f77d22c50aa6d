//! The `capsule` program: makes signed snapshots of who is online out of beacons, checks them, and keeps a server
//! announced.
//!
//! A thin shell over `rendezvous-protocol`, which holds the rules: here are arguments, files, HTTP, the clock, signals
//! and what people and scripts get to read. The modules that are public are what any program of this project needs for
//! that; `rendezvous` is another one.

#![forbid(unsafe_code)]

pub mod beacon;
mod claims;
pub mod clock;
mod command_line;
mod commands;
mod destination;
pub mod environment;
pub mod failure;
pub mod fetch;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod hook;
mod host;
pub mod keys;
mod lan;
pub mod log;
mod minisig;
pub mod network;
mod nonce;
pub mod outcome;
mod page;
pub mod present;
pub mod program;
mod publication;
mod reader;
mod refusal;
pub mod secret;
mod settings;
pub mod signals;
mod source;
pub mod stream;
pub mod terminal;
pub mod text;
mod tickets;
mod trust;
pub mod values;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::clock::Clock;
use crate::command_line::{Arguments, Command};
use crate::commands::{
    announce, check, communities, completions, cosign, diff, explain, inspect, keygen, publish, register, root, ticket,
    verify, watch, who,
};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::log::Log;
use crate::outcome::Outcome;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let Arguments { command, quiet, passphrase_file } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return program::refuse(&error).into(),
    };
    let log = Log::new(quiet);
    program::end(run(&command, passphrase_file, &log), command.json()).into()
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
        Command::Register(arguments) => register::register(arguments, &environment, &clock),
        Command::Who(arguments) => who::who(arguments, &environment, &clock, log),
        Command::Check(arguments) => check::check(arguments, &environment, &clock, log),
        Command::Cosign(arguments) => cosign::cosign(arguments, &environment, &clock),
        Command::Ticket(arguments) => ticket::ticket(arguments, &environment, &clock, log),
        Command::Verify(arguments) => verify::verify(arguments, &environment, &clock),
        Command::Diff(arguments) => diff::diff(arguments, &clock),
        Command::Explain(arguments) => explain::explain(arguments, &environment, &clock),
        Command::Inspect(arguments) => inspect::inspect(arguments, &clock),
        Command::Communities(arguments) => communities::communities(arguments, &environment, &clock, log),
        Command::Completions(arguments) => Ok(completions::completions(arguments, Arguments::command())),
        Command::Man(arguments) => completions::man(arguments, Arguments::command()),
    }
}
