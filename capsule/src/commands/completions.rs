//! `capsule completions` and `capsule man`: what shells and `man` know of this program, made from its own arguments.

use clap::CommandFactory as _;

use crate::arguments::{Arguments, CompletionsArguments, ManArguments};
use crate::files;
use crate::outcome::{Exit, Failure, Outcome};

const PROGRAM: &str = "capsule";

/// Runs `completions`.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), PROGRAM, &mut script);
    Outcome::text(String::from_utf8_lossy(&script).into_owned(), Exit::Good)
}

/// Runs `man`.
pub(crate) fn man(arguments: &ManArguments) -> Result<Outcome, Failure> {
    let out = &arguments.out;
    files::create_directory(out)?;
    clap_mangen::generate_to(Arguments::command(), out)
        .map_err(|error| files::FileError::Write { path: out.clone(), error })?;
    Ok(Outcome::text(
        format!("written: the pages of capsule and of each of its commands in {}\n", out.display()),
        Exit::Good,
    ))
}
