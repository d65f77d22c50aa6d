//! `capsule communities`: an origin's entries in directories, and the signed list of a directory for a static host.

mod hub;
mod publish;
mod put;
mod verify;

use clap::{Args, Subcommand};

use self::publish::PublishListArguments;
use self::put::{PutArguments, RemoveArguments};
use self::verify::VerifyListArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::log::Log;
use crate::outcome::Outcome;

const COMMUNITIES_HELP: &str = "\
Examples, of an origin:
  capsule keygen --out origin-key.pem
      once; each hub's operator is given the public key, for HUB_ORIGINS
  capsule communities put chess.json --hub https://hub.example --key origin-key.pem
      lists the community that the file describes, for 30 days
  capsule communities remove chess --hub https://hub.example --key origin-key.pem
Of whoever publishes what hubs list as a file:
  capsule communities publish --hub https://hub.example --key publisher-key.pem
  capsule communities verify public/capsules/communities.json --public-key KEY

What an entry is:
  What one origin says of one community: its beacons, its capsules, what it is
  about. Names are labels, which other origins may use too; an entry is named by
  the origin's key and the name. Hubs pass entries on to one another, and change
  nothing: each is signed.

Exit codes:
  0  good
  1  refused: by a hub, or the list is not to be trusted
  2  usage: a wrong argument or variable, a file that cannot be read or written
  3  could not reach: no hub answered, or an address could not be fetched";

/// Arguments of `communities`.
#[derive(Args, Debug)]
#[command(after_long_help = COMMUNITIES_HELP)]
pub(crate) struct CommunitiesArguments {
    /// What to do.
    #[command(subcommand)]
    command: CommunitiesCommand,
}

/// The commands of `communities`.
#[derive(Debug, Subcommand)]
enum CommunitiesCommand {
    /// List a community in directories, or say something else of it.
    Put(PutArguments),
    /// Take a community off directories.
    Remove(RemoveArguments),
    /// Write what directories list as a signed file, for a static host.
    Publish(PublishListArguments),
    /// Check such a file as readers do, and say what is in it.
    Verify(VerifyListArguments),
}

impl CommunitiesArguments {
    /// Whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match &self.command {
            CommunitiesCommand::Put(arguments) => arguments.sent.json,
            CommunitiesCommand::Remove(arguments) => arguments.sent.json,
            CommunitiesCommand::Publish(arguments) => arguments.json,
            CommunitiesCommand::Verify(arguments) => arguments.json,
        }
    }
}

/// Runs the command.
pub(crate) fn communities(
    arguments: &CommunitiesArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    match &arguments.command {
        CommunitiesCommand::Put(arguments) => put::put(arguments, environment, clock, log),
        CommunitiesCommand::Remove(arguments) => put::remove(arguments, environment, clock),
        CommunitiesCommand::Publish(arguments) => publish::publish(arguments, environment, clock, log),
        CommunitiesCommand::Verify(arguments) => verify::verify(arguments, environment, clock),
    }
}
