//! Arguments and help of `root init`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;

use crate::settings::{parse_community, parse_duration, parse_threshold};

const INIT_HELP: &str = "\
Examples:
  capsule root init --community mainnet \\
    --root-key root-a.pub,root-b.pub,root-c.pub --publisher-key publisher.pub
      three keys, any two of which may make the next root; one publisher
  capsule root init --root-key A,B,C,D,E --root-threshold 3 \\
    --publisher-key P,Q --publisher-threshold 2 --expires 180d
      a capsule then needs the signatures of both publishers: capsule cosign

Readers are given this file as it is, out of band, and believe it without
signatures. Have it signed all the same (`capsule root sign`), by as many as may
change it later: that shows that their keys are what the file says.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY  --community
  SOURCE_DATE_EPOCH     the time that --expires counts from instead of the
                        clock's, in seconds since 1970

Exit codes:
  0  the root is written
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that is there already";

/// Arguments of `root init`.
#[derive(Args, Debug)]
#[command(after_long_help = INIT_HELP)]
pub(crate) struct InitArguments {
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// Public key that may sign the next root, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "root-key", value_name = "KEY_OR_FILE", value_delimiter = ',', required = true)]
    pub(crate) root_keys: Vec<String>,
    /// Public key that may publish, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "publisher-key", value_name = "KEY_OR_FILE", value_delimiter = ',', required = true)]
    pub(crate) publisher_keys: Vec<String>,
    /// How many root keys have to sign the next root. [default: more than half of them]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(crate) root_threshold: Option<usize>,
    /// How many publishers have to sign a capsule. [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(crate) publisher_threshold: Option<usize>,
    /// How long readers may believe it, like 180d. They refuse all capsules after that, unless there is a next root.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "365d")]
    pub(crate) expires: Duration,
    /// New file for the root, - for the standard output.
    #[arg(long, value_name = "FILE", default_value = "1.root.json")]
    pub(crate) out: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
