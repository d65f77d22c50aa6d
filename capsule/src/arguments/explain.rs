//! Arguments and help of `explain`.

use std::time::Duration;

use clap::Args;

use crate::arguments::{TicketArguments, TrustArguments};
use crate::settings::parse_duration;

const EXPLAIN_HELP: &str = "\
Examples:
  capsule explain public/capsules/peers.json
  capsule explain https://example.org/capsules/peers.json --root 1.root.json
      verifies it first

Says of each entry why it is there: which beacons listed it, or that the
publisher included it; whether it is live or only recently seen; whether its
ticket is a short one, as beacons take them, or a long one, as stable nodes have.
Which beacons listed it is what the publisher says, and readers decide nothing
by it.

Without --public-key and --root nothing is checked, no signature and no time,
and entries are called live or not by what they say themselves.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at instead of the clock's,
                                     in seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown
  1  refused: it is no JSON object, or does not verify
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(after_long_help = EXPLAIN_HELP)]
pub(crate) struct ExplainArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// Longest time to spend on each file, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
