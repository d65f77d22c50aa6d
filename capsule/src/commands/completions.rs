//! `capsule completions` and `capsule man`: what shells and `man` know of this program, made from its own arguments.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::program;

const COMPLETIONS_HELP: &str = "\
Examples:
  capsule completions bash >/etc/bash_completion.d/capsule
  capsule completions zsh >\"${fpath[1]}/_capsule\"
  capsule completions fish >~/.config/fish/completions/capsule.fish

Exit codes:
  0  printed
  2  usage: a wrong argument";

const MAN_HELP: &str = "\
Examples:
  capsule man --out /usr/local/share/man/man1
      then: man capsule, man capsule-publish

Exit codes:
  0  the pages are written
  2  usage: a wrong argument, a directory that cannot be written to";

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_long_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
#[command(after_long_help = MAN_HELP)]
pub(crate) struct ManArguments {
    /// Directory for the pages; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "man")]
    pub(crate) out: PathBuf,
}

/// Runs `completions`.
pub(crate) fn completions(arguments: &CompletionsArguments, program: clap::Command) -> Outcome {
    program::completions(arguments.shell, program)
}

/// Runs `man`.
pub(crate) fn man(arguments: &ManArguments, program: clap::Command) -> Result<Outcome, Failure> {
    Ok(program::manual(&arguments.out, program)?)
}
