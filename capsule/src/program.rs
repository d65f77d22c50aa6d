//! How a program begins and ends: what is said of arguments that are not understood, what comes of the rest, and what shells
//! and `man` know of it.

use std::path::Path;

use clap_complete::Shell;
use rendezvous_protocol::safe_text;

use crate::failure::{Exit, Failure};
use crate::files::{self, FileError};
use crate::keys::KeyFileError;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::secret;

/// Prints help and versions, which were asked for, and what is wrong with the arguments, some of which may be secrets.
pub fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // A standard output that is closed is not a reason to complain to it.
        let _ = error.print();
        return Exit::Good;
    }
    let log = Log::new(false);
    let arguments = secret::arguments();
    log.note(format_args!("{}", safe_text::error(&error.render().to_string(), &arguments)));
    if safe_text::has_private_key(&arguments) {
        log.note(format_args!("\nerror: {}", KeyFileError::SecretAsArgument));
    }
    Exit::Usage
}

/// Prints what a command has come to, for a script if `json`.
pub fn end(outcome: Result<Outcome, Failure>, json: bool) -> Exit {
    let outcome = outcome.unwrap_or_else(|failure| {
        // Said even with --quiet: an exit code alone explains nothing.
        Log::new(false).note(format_args!("error: {failure}"));
        Outcome::failed(&failure, json)
    });
    outcome.print().unwrap_or_else(|error| {
        Log::new(false).note(format_args!("error: the result could not be written to the standard output: {error}"));
        Exit::Usage
    })
}

/// Writes the script by which a shell completes the arguments of a program.
pub fn completions(shell: Shell, mut program: clap::Command) -> Outcome {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    Outcome::text(String::from_utf8_lossy(&script).into_owned(), Exit::Good)
}

/// Writes the manual pages of a program and of its commands into a directory, which is made if it is not there.
///
/// # Errors
/// [`FileError`].
pub fn manual(directory: &Path, program: clap::Command) -> Result<Outcome, FileError> {
    let name = program.get_name().to_owned();
    files::create_directory(directory)?;
    let failed = |error| FileError::Write { path: directory.to_owned(), error };
    clap_mangen::generate_to(program, directory).map_err(failed)?;
    let directory = secret::path(directory);
    Ok(Outcome::text(format!("written: the pages of {name} and of each of its commands in {directory}\n"), Exit::Good))
}
