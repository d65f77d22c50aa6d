//! The `capsule` program: makes signed snapshots of who is online out of beacons, checks them, and keeps a server
//! announced.
//!
//! A thin shell over `rendezvous-protocol`, which holds the rules: here are arguments, files, HTTP, the clock, signals
//! and what people and scripts get to read.

#![forbid(unsafe_code)]

mod arguments;
mod beacon;
mod bucket;
mod claims;
mod clock;
mod commands;
mod destination;
mod directory;
mod environment;
mod fetch;
mod files;
#[cfg(test)]
mod fixture;
mod hook;
mod host;
mod keys;
mod minisig;
mod nonce;
mod outcome;
mod publication;
mod reader;
mod refusal;
mod settings;
mod signals;
mod source;
mod text;
mod trust;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command};
use crate::clock::Clock;
use crate::commands::{announce, check, cosign, diff, explain, inspect, keygen, publish, root, ticket, verify, watch};
use crate::environment::Environment;
use crate::outcome::{Exit, Failure, Log, Outcome};

fn main() -> ExitCode {
    let Arguments { command, quiet } = Arguments::parse();
    let log = Log::new(quiet);
    let outcome = run(&command, &log).unwrap_or_else(|failure| {
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

fn run(command: &Command, log: &Log) -> Result<Outcome, Failure> {
    let environment = Environment::of_process()?;
    let clock = Clock::new(&environment)?;
    if let Some(fixed) = clock.fixed() {
        log.note(format_args!("clock: {}, from SOURCE_DATE_EPOCH", text::date(fixed)));
    }
    match command {
        Command::Keygen(arguments) => keygen::keygen(arguments),
        Command::Root(arguments) => root::root(&arguments.command, &environment, &clock),
        Command::Publish(arguments) => publish::publish(arguments, &environment, &clock, log),
        Command::Watch(arguments) => watch::watch(arguments, &environment, &clock, log),
        Command::Announce(arguments) => announce::announce(arguments, &environment, &clock, log),
        Command::Check(arguments) => check::check(arguments, &environment, &clock, log),
        Command::Cosign(arguments) => cosign::cosign(arguments, &environment, &clock),
        Command::Ticket(arguments) => ticket::ticket(arguments, &environment, &clock, log),
        Command::Verify(arguments) => verify::verify(arguments, &environment, &clock),
        Command::Diff(arguments) => diff::diff(arguments, &clock),
        Command::Explain(arguments) => explain::explain(arguments, &environment, &clock),
        Command::Inspect(arguments) => inspect::inspect(arguments, &clock),
    }
}
