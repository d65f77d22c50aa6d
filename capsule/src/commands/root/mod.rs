//! `capsule root`: who may publish for a community, made, changed, signed and checked, on files that may travel on a
//! stick. Section 6 of the protocol has the rules; here are the files and what people get to read.

mod change;
mod error;
mod init;
mod keys;
mod report;
mod sign;
mod signatures;
mod verify;

use clap::{Args, Subcommand};

use self::change::{AddKeyArguments, RemoveKeyArguments, RenewArguments};
use self::init::InitArguments;
use self::sign::SignArguments;
use self::verify::RootVerifyArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::outcome::Outcome;

const ROOT_HELP: &str = "\
Examples: a root of three keys, any two of which may change it, and a publisher
  capsule keygen --out root-a.pem
      by each of the three, where the key is to stay; prints its public key
  capsule root init --community mainnet --root-key A,B,C --publisher-key P
      writes 1.root.json
  capsule root sign 1.root.json --key root-a.pem
      by two of them: adds a line to 1.root.json.sigs
  capsule root verify 1.root.json
Later, when the publisher P has lost its key, and Q is the new one:
  capsule root add-key 1.root.json --publisher-key Q --replacing P
      writes 2.root.json
  capsule root sign 2.root.json --key root-a.pem
      by two of them again
  capsule root verify 1.root.json 2.root.json
Then 2.root.json and 2.root.json.sigs go beside peers.json, for ever.

What a root is:
  A file N.root.json that says which keys may publish capsules for a community,
  and which root keys, how many of them together, may say otherwise in the next
  version, N+1. Readers are given one of them beforehand, and follow the
  signatures from there; so nobody has to give them anything when a publisher's
  key leaks or is lost.
  Root keys sign nothing but roots, and are best kept offline, in several hands.
  No step needs the network: all files may travel on a stick.

Exit codes:
  0  good
  1  refused: the root breaks a rule, or is not signed by enough keys
  2  usage: a wrong argument, a file that cannot be read or is there already
  3  could not reach: an address could not be fetched";

/// Arguments of `root`.
#[derive(Args, Debug)]
#[command(after_long_help = ROOT_HELP)]
pub(crate) struct RootArguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RootCommand,
}

/// The commands of `root`.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Make a community's first root, unsigned.
    Init(InitArguments),
    /// Make the next root with more keys, or with others in their place, unsigned.
    AddKey(AddKeyArguments),
    /// Make the next root with fewer keys, unsigned.
    RemoveKey(RemoveKeyArguments),
    /// Make the next root with the same keys, to prolong its life or to change a threshold, unsigned.
    Renew(RenewArguments),
    /// Sign a root with a root key, or with one of the root before it.
    Sign(SignArguments),
    /// Check a root and its successors as readers do, and say who may publish.
    Verify(RootVerifyArguments),
}

impl RootCommand {
    /// Whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Init(arguments) => arguments.json,
            Self::AddKey(arguments) => arguments.change.json,
            Self::RemoveKey(arguments) => arguments.change.json,
            Self::Renew(arguments) => arguments.change.json,
            Self::Sign(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
        }
    }
}

/// Runs the command.
pub(crate) fn root(arguments: &RootArguments, environment: &Environment, clock: &Clock) -> Result<Outcome, Failure> {
    match &arguments.command {
        RootCommand::Init(arguments) => init::init(arguments, environment, clock),
        RootCommand::AddKey(arguments) => change::add_key(arguments, clock),
        RootCommand::RemoveKey(arguments) => change::remove_key(arguments, clock),
        RootCommand::Renew(arguments) => change::renew(arguments, clock),
        RootCommand::Sign(arguments) => sign::sign(arguments, environment, clock),
        RootCommand::Verify(arguments) => verify::verify(arguments, clock),
    }
}
