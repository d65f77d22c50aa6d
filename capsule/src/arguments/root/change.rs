//! Arguments and help of `root add-key`, `root remove-key` and `root renew`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::settings::{parse_duration, parse_threshold};

const ADD_KEY_HELP: &str = "\
Examples:
  capsule root add-key 1.root.json --publisher-key Q
      a second publisher, beside the first
  capsule root add-key 1.root.json --publisher-key Q --replacing P
      Q publishes instead of P: what to do when P's key leaks, or is lost
  capsule root add-key 2.root.json --root-key D --replacing C --expires 365d
      another root key, and another year

What it prints at the end is who has to sign: as many root keys of the old
version as that one asks for, and as many of the new one as the new one asks
for. A key that is in both counts for both. Only then do readers follow.

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is no root
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that cannot be read or is there already";

const REMOVE_KEY_HELP: &str = "\
Examples:
  capsule root remove-key 1.root.json --publisher-key P
      P may not publish any more
  capsule root remove-key 2.root.json --root-key C --root-threshold 2
      C has lost its key

To put another key in the place of one, in one step:
  capsule root add-key 1.root.json --publisher-key Q --replacing P

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is no root
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that cannot be read or is there already";

const RENEW_HELP: &str = "\
Examples:
  capsule root renew 2.root.json
      the same keys, for another year from now
  capsule root renew 2.root.json --publisher-threshold 2
      from then on a capsule needs two publishers: capsule cosign

Renew in good time: once the newest root has expired, readers refuse every
capsule (ROOT_EXPIRED). An expired root can still be renewed: readers follow.

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is no root
  2  usage: a wrong argument, thresholds above the number of keys, a file that
     cannot be read or is there already";

/// What every change has.
#[derive(Args, Debug)]
pub(crate) struct ChangeArguments {
    /// The newest root. Its name is the one that readers look for, N.root.json, N being its version.
    #[arg(value_name = "FILE")]
    pub(crate) root: PathBuf,
    /// How many root keys have to sign from now on. [default: as many as before]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(crate) root_threshold: Option<usize>,
    /// How many publishers have to sign a capsule from now on. [default: as many as before]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(crate) publisher_threshold: Option<usize>,
    /// How long readers may believe it, from now on, like 180d. [default: until when the one before ends; renew: 365d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
    /// New file for the next root, - for the standard output. [default: (N+1).root.json in the directory of FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `root add-key`.
#[derive(Args, Debug)]
#[command(after_long_help = ADD_KEY_HELP)]
pub(crate) struct AddKeyArguments {
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
    /// New public key that may sign roots, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "root-key",
        value_name = "KEY_OR_FILE",
        value_delimiter = ',',
        required_unless_present = "publisher_keys"
    )]
    pub(crate) root_keys: Vec<String>,
    /// New public key that may publish, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "publisher-key", value_name = "KEY_OR_FILE", value_delimiter = ',')]
    pub(crate) publisher_keys: Vec<String>,
    /// Public key that goes at the same time, whichever it was for, or a file with it.
    #[arg(long, value_name = "KEY_OR_FILE", value_delimiter = ',')]
    pub(crate) replacing: Vec<String>,
}

/// Arguments of `root remove-key`.
#[derive(Args, Debug)]
#[command(after_long_help = REMOVE_KEY_HELP)]
pub(crate) struct RemoveKeyArguments {
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
    /// Public key that may not sign roots any more, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "root-key",
        value_name = "KEY_OR_FILE",
        value_delimiter = ',',
        required_unless_present = "publisher_keys"
    )]
    pub(crate) root_keys: Vec<String>,
    /// Public key that may not publish any more, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "publisher-key", value_name = "KEY_OR_FILE", value_delimiter = ',')]
    pub(crate) publisher_keys: Vec<String>,
}

/// Arguments of `root renew`.
#[derive(Args, Debug)]
#[command(after_long_help = RENEW_HELP)]
pub(crate) struct RenewArguments {
    #[command(flatten)]
    pub(crate) change: ChangeArguments,
}
