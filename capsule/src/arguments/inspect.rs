//! Arguments and help of `inspect`.

use std::time::Duration;

use clap::Args;

use crate::settings::parse_duration;

const INSPECT_HELP: &str = "\
Examples:
  capsule inspect public/capsules/peers.json
  capsule inspect https://example.org/capsules/peers.json --json | jq .issuedAt
  capsule inspect 'https://beacon.example.org/peers?community=mainnet'
      shows a beacon's answer as well

Nothing is checked, no signature and no time: all that is shown is only what the
file says. `capsule verify` checks.

Environment variables:
  SOURCE_DATE_EPOCH  the time that ages count from instead of the clock's, in
                     seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown
  1  refused: it is no JSON object
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `inspect`.
#[derive(Args, Debug)]
#[command(after_long_help = INSPECT_HELP)]
pub(crate) struct InspectArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    /// Longest time to spend on fetching. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
