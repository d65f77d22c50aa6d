//! The `rendezvous-beacon` program: the beacon for one machine.
//!
//! A host of `rendezvous-service`, which decides what happens: here its steps and effects are carried out, by event
//! loops that share communities and mailboxes out among them, and by SQLite databases. What TLS needs is a proxy's work.

#![forbid(unsafe_code)]

mod admission;
mod arguments;
mod circuit_relay;
mod clock;
mod communities;
mod connections;
mod database;
mod direct_agent;
mod directory;
mod documents;
mod envelopes;
mod event_loop;
mod failure;
mod goop2;
mod hivemind;
mod journal;
mod lan;
mod live;
mod mailboxes;
mod measurements;
mod metrics;
mod operator;
mod page;
mod registration;
mod request;
mod restoring;
mod retalk_server;
mod row_storage;
mod serve;
mod settings;
mod side_listener;
mod storage;
mod templates;
mod thread;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use rendezvous_protocol::safe_text;

use crate::arguments::{Arguments, Command, ServeArguments};
use crate::failure::{Exit, Failure};
use crate::retalk_server::RetalkServerArguments;
use crate::settings::Settings;

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    let run = if retalk_server::is_called_so(name.as_deref()) {
        RetalkServerArguments::try_parse().map(|arguments| stand_in(&arguments))
    } else {
        Arguments::try_parse().map(|Arguments { command }| match command {
            Command::Serve(arguments) => run(&arguments),
            Command::Registrations(arguments) => registration::run(&arguments),
        })
    };
    match run {
        Ok(Ok(())) => Exit::Good.into(),
        Ok(Err(failure)) => {
            complain(&format_args!("error: {failure}"));
            if let Some(hint) = failure.hint() {
                complain(&format_args!("hint: {hint}"));
            }
            failure.exit().into()
        }
        Err(error) if error.use_stderr() => {
            complain(&error.render());
            if safe_text::has_private_key(&own_arguments()) {
                complain(
                    &"\nhint: others can see a private key that is an argument, and so does a shell's history: make a new one",
                );
            }
            Exit::Usage.into()
        }
        Err(help) => {
            // An output that is closed is not a reason to complain to it.
            let _ = help.print();
            Exit::Good.into()
        }
    }
}

fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    let settings = Settings::of_process(arguments.config.as_deref(), arguments.lan)?;
    if arguments.print_config {
        return std::io::stdout().write_all(settings.to_toml().as_bytes()).map_err(Failure::Output);
    }
    serve::serve(settings)
}

/// Serves in the place of retalk's server.
fn stand_in(arguments: &RetalkServerArguments) -> Result<(), Failure> {
    serve::serve(Settings::parse(None, arguments.environment()?)?)
}

/// Says on the standard error what is wrong, without what may not be shown: an argument or a variable may be a key that was
/// meant for another place.
fn complain(what: &impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", safe_text::error(&what.to_string(), &own_arguments()));
}

fn own_arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into()).collect()
}
