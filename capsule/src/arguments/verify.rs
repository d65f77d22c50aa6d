//! Arguments and help of `verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::time::UnixMillis;

use crate::arguments::{TicketArguments, TrustArguments};
use crate::settings::{parse_duration, parse_time};

const VERIFY_HELP: &str = "\
Examples:
  capsule verify public/capsules/peers.json \\
    --public-key AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=
  capsule verify https://example.org/capsules/peers.json \\
    --public-key publisher.pem --community testnet --json

What it checks, in this order: the detached signature over the exact bytes;
shape, version, algorithm, community; the signature inside; that it is not older
than --newest-seen, not from the future, not expired. Then each ticket:
  live           good when the capsule was issued, and now
  recently seen  good when it was issued, but expired since: worth a try after
                 the live ones
  refused        never good, or by a revoked key, each with its code
With --root, --newest-seen and the publishers in --revoked are those of the same
version of the root: a new one starts afresh.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_ROOT            --root; wins over the next one
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, the key itself
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at instead of the clock's,
                                     in seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

The signature without this program, the public key being SPKI in PEM:
  base64 -d peers.json.sig > peers.json.sig.bin
  openssl pkeyutl -verify -pubin -inkey publisher.pem -rawin -in peers.json \\
    -sigfile peers.json.sig.bin

Exit codes:
  0  good
  1  refused: `code` names the rule that it breaks
  2  usage: a wrong argument or variable, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct VerifyArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// The detached signature. [default: the capsule's name or path with .sig added]
    #[arg(long, value_name = "FILE_OR_URL")]
    pub(crate) signature: Option<String>,
    /// What the reader remembers as revoked, beside what the capsule itself revokes: a file like revoked.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) revoked: Option<PathBuf>,
    /// `issuedAt` of the newest capsule seen, in milliseconds since 1970: an older one is refused.
    #[arg(long, value_name = "MS", value_parser = parse_time)]
    pub(crate) newest_seen: Option<UnixMillis>,
    /// Longest time to spend on each file, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON, with every peer.
    #[arg(long)]
    pub(crate) json: bool,
}
