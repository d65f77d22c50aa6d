//! Arguments and help of `diff`.

use std::time::Duration;

use clap::Args;

use crate::settings::parse_duration;

const DIFF_HELP: &str = "\
Examples:
  capsule diff old/peers.json public/capsules/peers.json
  capsule diff https://a.example/peers.json https://b.example/peers.json --json

Says what B has that A has not: peers that came and went, whose ticket is
renewed, and, loudly, whose key is another one; times; who is revoked; which keys
have a line in .sigs.

Nothing is checked, no signature and no time: all that is compared is only what
the files say. `capsule verify` checks.

Environment variables:
  SOURCE_DATE_EPOCH  the time that ages count from instead of the clock's, in
                     seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown, also where there is no difference
  1  refused: one of them is no JSON object
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: an address could not be fetched";

/// Arguments of `diff`.
#[derive(Args, Debug)]
#[command(after_long_help = DIFF_HELP)]
pub(crate) struct DiffArguments {
    /// The older capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "A")]
    pub(crate) old: String,
    /// The newer capsule: a file, or an http(s) URL.
    #[arg(value_name = "B")]
    pub(crate) new: String,
    /// Longest time to spend on each file, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
