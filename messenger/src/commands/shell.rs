//! `rendezvous completions` and `rendezvous man`: what shells and `man` know of this program.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::program;

use crate::ending::Report;

const COMPLETIONS_HELP: &str = "\
Examples:
  rendezvous completions bash >/etc/bash_completion.d/rendezvous
  rendezvous completions zsh >\"${fpath[1]}/_rendezvous\"";

const MAN_HELP: &str = "\
Examples:
  rendezvous man --out /usr/local/share/man/man1
      then: man rendezvous, man rendezvous-mailbox-collect";

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_long_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
#[command(after_long_help = MAN_HELP)]
pub(crate) struct ManArguments {
    /// Directory for the pages; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

pub(crate) fn completions(arguments: &CompletionsArguments, program: clap::Command) -> Report {
    Report::of(program::completions(arguments.shell, program))
}

pub(crate) fn man(arguments: &ManArguments, program: clap::Command) -> Result<Report, Failure> {
    Ok(Report::of(program::manual(&arguments.out, program)?))
}
