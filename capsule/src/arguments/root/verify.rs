//! Arguments and help of `root verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::settings::parse_duration;

const VERIFY_HELP: &str = "\
Examples:
  capsule root verify 1.root.json
      shape and life of a single root, which is believed as it is
  capsule root verify 1.root.json 2.root.json 3.root.json
      believes the first, and checks each as the successor of the one before it
  capsule root verify --from 1.root.json https://example.org/capsules/
      walks as readers do: looks there for 2.root.json, 3.root.json and so on

What it checks of each successor, in this order: at most 16,384 bytes; signed by
as many root keys of the version before it as that one asks for; shape; version;
community; rootVersion is the next; signed by as many of its own root keys as it
asks for itself. In the end, that the newest has not expired. The signatures of
a root are in the file beside it, with .sigs added to its name.

Environment variables:
  SOURCE_DATE_EPOCH  the time to judge at instead of the clock's, in seconds
                     since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  good
  1  refused: `code` names the rule that is broken; readers keep the root before
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: an address could not be fetched";

/// Arguments of `root verify`.
#[derive(Args, Debug)]
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct RootVerifyArguments {
    /// The roots, oldest first: files, or http(s) URLs. With --from: the directory with the roots that follow.
    #[arg(value_name = "FILE_OR_URL", required = true)]
    pub(crate) roots: Vec<String>,
    /// The root that is believed: then FILE_OR_URL is a directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Longest time to spend on each file, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
