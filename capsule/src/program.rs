//! How a program begins and ends: what is said of arguments that are not understood, what comes of the rest, and what shells
//! and `man` know of it.

use std::ffi::OsString;
use std::path::Path;

use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::files::{self, FileError};
use crate::keys::KeyFileError;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::{secret, text};

/// Prints help and versions, which were asked for, and what is wrong with the arguments, some of which may be secrets.
pub fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // A standard output that is closed is not a reason to complain to it.
        let _ = error.print();
        return Exit::Good;
    }
    let log = Log::new(false);
    log.note(format_args!("{}", escaped(error.render().to_string().trim_end(), std::env::args_os().skip(1))));
    if secret::is_among_arguments() {
        log.note(format_args!("\nerror: {}", KeyFileError::SecretAsArgument));
    }
    Exit::Usage
}

/// Escapes what an argument has in it that could move the cursor, change colours or pretend to be a line of this program's: the
/// parser repeats arguments as they came.
fn escaped(refusal: &str, arguments: impl Iterator<Item = OsString>) -> String {
    let mut shown = refusal.to_owned();
    for argument in arguments {
        let argument = argument.to_string_lossy();
        let value = argument.split_once('=').map_or("", |(_, value)| value);
        for part in [&*argument, value] {
            let printable = text::printable(part);
            if printable != part {
                shown = shown.replace(part, &printable);
            }
        }
    }
    shown.split('\n').map(text::printable).collect::<Vec<_>>().join("\n")
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
    let directory = directory.display();
    Ok(Outcome::text(format!("written: the pages of {name} and of each of its commands in {directory}\n"), Exit::Good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_refused_is_escaped_and_the_lines_of_the_refusal_stay() {
        let shown = |argument: &str| {
            let refusal = format!("error: unexpected argument '{argument}' found\n\nUsage: x");
            escaped(&refusal, [OsString::from(argument)].into_iter())
        };
        assert_eq!(shown("--x"), "error: unexpected argument '--x' found\n\nUsage: x");
        assert_eq!(
            shown("--\u{1b}[2J\nerror: forged\u{202e}"),
            "error: unexpected argument '--\\u{1b}[2J\\nerror: forged\\u{202e}' found\n\nUsage: x"
        );
        // The parser names a value alone.
        let refusal = "error: invalid value '\n\u{7}' for '--wait <TIME>'";
        let arguments = [OsString::from("--wait=\n\u{7}")].into_iter();
        assert_eq!(escaped(refusal, arguments), "error: invalid value '\\n\\u{7}' for '--wait <TIME>'");
    }
}
