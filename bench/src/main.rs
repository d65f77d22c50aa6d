//! The load generator of the benchmarks.
//!
//! One thread, HTTP/1.1 with connections kept open, tickets that are really signed before the clock starts. It says
//! how late it was itself, and `respond` gives it a native server to show its own ceiling with. It knows nothing of
//! workerd, rows or baselines: `bench/bench.mjs` decides what to send where, and compares.

mod batch;
mod drive;
mod parts;
mod play;
mod respond;
mod schedule;
mod summary;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Says why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is not an address")]
    Address(String),
    #[error("{0:?} is not a header of the form NAME:VALUE")]
    Header(String),
    #[error("a ticket that was made here is not good: {0}")]
    Ticket(String),
    #[error("another answer than was expected, {status}: {body}")]
    Unexpected { status: u16, body: String },
    #[error("the clock is before 1970")]
    Clock,
    #[error("the batch does not verify")]
    Batch,
    #[error("a thread died")]
    Thread,
}

#[derive(Parser)]
#[command(about = "Load, and native servers to compare with")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends requests and prints what came back as one line of JSON.
    Drive(drive::DriveArguments),
    /// Sends the requests that the standard input has, and prints what came back as one line of JSON.
    Play(play::PlayArguments),
    /// Answers every request with so many bytes, until the standard input ends. Prints its address.
    Respond(respond::RespondArguments),
    /// Does what an announce cannot do without, part by part, and prints the processor time of each as one line of JSON.
    Parts(parts::PartsArguments),
    /// Serves lists of signed tickets, one an address, and verifies all of them in batches for each line of input.
    Beacons(batch::BeaconsArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Drive(arguments) => drive::run(&arguments),
        Command::Play(arguments) => play::run(&arguments),
        Command::Respond(arguments) => respond::run(&arguments),
        Command::Parts(arguments) => parts::run(&arguments),
        Command::Beacons(arguments) => batch::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench-load: {failure}");
            ExitCode::FAILURE
        }
    }
}
