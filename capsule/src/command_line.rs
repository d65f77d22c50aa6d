//! The command line, and the help that teaches it.

use clap::{Parser, Subcommand};

use crate::commands::announce::AnnounceArguments;
use crate::commands::check::{CheckArguments, CheckFormat};
use crate::commands::communities::CommunitiesArguments;
use crate::commands::completions::{CompletionsArguments, ManArguments};
use crate::commands::cosign::CosignArguments;
use crate::commands::diff::DiffArguments;
use crate::commands::explain::ExplainArguments;
use crate::commands::inspect::InspectArguments;
use crate::commands::keygen::KeygenArguments;
use crate::commands::publish::PublishArguments;
use crate::commands::register::RegisterArguments;
use crate::commands::root::RootArguments;
use crate::commands::ticket::MintArguments;
use crate::commands::verify::VerifyArguments;
use crate::commands::watch::WatchArguments;
use crate::commands::who::WhoArguments;

const OVERVIEW: &str = "\
How it goes together:
  1. capsule keygen --out capsule-key.pem
     Once. Keep the private key secret, give clients the public key.
  2. capsule publish --key capsule-key.pem --beacon https://beacon.example.org
     Every few minutes, from a schedule. Then upload the directory that it
     writes, public/capsules, to any static host; --to writes to a bucket.
     Or, as a service: capsule watch --every 5m with the same options.
  3. capsule verify https://example.org/capsules/peers.json --public-key KEY
     Whenever you like: it does what clients do before they trust a capsule.
And for a server that wants to be found, with a key of its own:
     capsule announce --key node-key.pem --peer-id my-server \\
       --beacon https://beacon.example.org
     capsule register https://beacon.example.org --key node-key.pem \\
       --email zoe@a.example
       before that, where the community lists registered keys alone
For the day when a publisher's key leaks or is lost, give clients a root, not
the publisher's key:
     capsule root init, capsule root sign
       who may publish, said by several keys that are kept offline
     capsule cosign public/capsules/peers.json --key FILE --root 1.root.json
       where a root asks for more than one publisher
For a server that newcomers are to find even when all beacons are gone:
     capsule ticket --key node-key.pem --peer-id my-server
       a ticket of a week, which its publisher puts into every capsule
To be found by name, in the directories of communities:
     capsule communities put, capsule communities publish
       an entry in directories; what they list, as a signed file
And to see what is going on:
     capsule who https://beacon.example.org
       who is online, by a beacon or a capsule
     capsule check https://example.org/capsules/peers.json --root 1.root.json
       from a schedule: are the capsule and its beacons well?
     capsule explain, capsule diff, capsule inspect
       why an entry is there, what has changed, and what a file says

Exit codes, of every command:
  0  good
  1  refused: the capsule or the root is not to be trusted, or there are too few
     good tickets for a new one, or no beacon lists the peer, or something is
     unhealthy
  2  usage: a wrong argument or variable, or a file that cannot be read or
     written
  3  could not reach: no beacon answered, or the address could not be fetched
  4  alert, of `capsule check --history`: too little was well in 15 minutes

`capsule COMMAND --help` has examples and the environment variables.";

const SHORT: &str = "`--help` says how it goes together, and has the exit codes.";

/// Makes signed snapshots of who is online ("capsules") out of rendezvous beacons, checks them, and keeps a server
/// announced.
///
/// A beacon knows which peers of a community are online. A capsule is a file, peers.json, with what several beacons
/// know, signed, for any static host: with it newcomers find peers even while every beacon is down.
#[derive(Debug, Parser)]
#[command(name = "capsule", version, after_help = SHORT, after_long_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing about progress on the standard error; errors and results are still shown.
    #[arg(long, short, global = true, display_order = 100)]
    pub(crate) quiet: bool,
    /// File whose first line is the passphrase of the private key. [default: asked for on the terminal]
    #[arg(long, global = true, display_order = 101, value_name = "FILE")]
    pub(crate) passphrase_file: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key that signs capsules, or a server's tickets.
    Keygen(KeygenArguments),
    /// Make, change, sign and check a root: the file that says who may publish.
    Root(RootArguments),
    /// Ask beacons who is online, and write a signed capsule.
    Publish(PublishArguments),
    /// Publish for ever: every few minutes, harder where it fails.
    Watch(WatchArguments),
    /// Add a publisher's signature to a capsule that another one made.
    Cosign(CosignArguments),
    /// Make a long ticket of a stable node, for its publisher to put into capsules.
    Ticket(MintArguments),
    /// Keep a server announced to beacons, so that it is found.
    Announce(AnnounceArguments),
    /// Register a server's key, where a community asks for that.
    Register(RegisterArguments),
    /// Check a capsule as clients do, and say what it is worth now.
    Verify(VerifyArguments),
    /// Say who is online, by a beacon or a capsule, with every signature checked.
    Who(WhoArguments),
    /// Check the health of capsules and beacons, for a schedule.
    Check(CheckArguments),
    /// Say why each entry of a capsule is there.
    Explain(ExplainArguments),
    /// Say what one capsule has that another one has not, without checking any of it.
    Diff(DiffArguments),
    /// Show what a capsule says, without checking any of it.
    Inspect(InspectArguments),
    /// List a community in directories, and publish what they list.
    Communities(CommunitiesArguments),
    /// Print what a shell needs to complete this program's arguments.
    Completions(CompletionsArguments),
    /// Write manual pages of this program and of each of its commands.
    Man(ManArguments),
}

impl Command {
    /// Whether the result is for a script.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Keygen(arguments) => arguments.json,
            Self::Root(arguments) => arguments.command.json(),
            Self::Publish(arguments) => arguments.json,
            Self::Watch(arguments) => arguments.json,
            Self::Announce(arguments) => arguments.json,
            Self::Register(arguments) => arguments.json,
            Self::Cosign(arguments) => arguments.json,
            Self::Ticket(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Who(arguments) => arguments.json,
            Self::Check(arguments) => arguments.format() == CheckFormat::Json,
            Self::Explain(arguments) => arguments.json,
            Self::Diff(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Communities(arguments) => arguments.json(),
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;

    const RENEW: &str = "RENEW_CLI_REFERENCE";

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// The help of an option of this name in a command and in those below it.
    fn texts(command: &clap::Command, option: &str, texts: &mut Vec<String>) {
        let found = command.get_arguments().find(|argument| argument.get_long() == Some(option));
        texts.extend(found.and_then(|argument| argument.get_help()).map(ToString::to_string));
        for command in command.get_subcommands() {
            self::texts(command, option, texts);
        }
    }

    #[test]
    fn an_option_of_several_commands_has_one_text() {
        for (option, least) in [("newest-seen", 2), ("timeout", 10), ("public-key", 4), ("root", 4)] {
            let mut all = Vec::new();
            texts(&Arguments::command(), option, &mut all);
            assert!(all.len() >= least, "--{option} is in {} commands", all.len());
            all.dedup();
            assert_eq!(all.len(), 1, "--{option}: {all:?}");
        }
    }

    /// What `--help` of a command and of each below it shows, in 80 columns.
    fn reference(command: &clap::Command, text: &mut String) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
        let help = command.clone().term_width(80).render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            reference(command, text);
        }
    }

    #[test]
    fn the_whole_reference_is_what_was_agreed_on() {
        let mut program = Arguments::command();
        program.build();
        let mut text =
            "# capsule\n\nWhat `--help` says of every command. Generated; a test compares it with the program.\n"
                .to_owned();
        reference(&program, &mut text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli-reference.md");
        if std::env::var_os(RENEW).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = text.lines().zip(agreed.lines()).position(|(new, old)| new != old);
        let line = differs.unwrap_or_else(|| text.lines().count().min(agreed.lines().count())) + 1;
        assert!(
            text == agreed,
            "tests/cli-reference.md differs from what the program says, from line {line} on. If that is meant, renew it \
             and look at the difference:\n  {RENEW}=1 cargo test --package rendezvous-capsule reference"
        );
    }
}
