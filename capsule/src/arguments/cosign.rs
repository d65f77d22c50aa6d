//! Arguments and help of `cosign`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::time::UnixMillis;

use crate::arguments::TicketArguments;
use crate::settings::{parse_duration, parse_time};

const COSIGN_HELP: &str = "\
Examples:
  capsule cosign public/capsules/peers.json --key publisher-b.pem \\
    --root 1.root.json
      adds a line to public/capsules/peers.json.sigs
  capsule cosign https://a.example.org/capsules/peers.json \\
    --key publisher-b.pem --root 1.root.json --out public/capsules
      fetches the capsule, and writes it with all its signatures

What it is for:
  A root may ask for the signatures of several publishers, so that a single one
  whose key leaks, or who lies, can publish nothing. One runs `capsule publish`,
  the others run this over the very bytes that came of it, each with an eye on
  what they sign: `capsule explain` shows it.

What it does:
  Verifies the capsule as readers do, except that it need not have enough
  signatures yet. Signs nothing that readers would refuse, nothing older than
  what is in --out already, and with no key that is no publisher's. Keeps the
  lines of others that fit, leaves out those that do not. Signing again changes
  nothing.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_PRIVATE_KEY     the private key itself: PKCS#8 in PEM, or
                                     the base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE         --passphrase-file
  RENDEZVOUS_CAPSULE_ROOT            --root
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, comma-separated keys
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at instead of the clock's,
                                     in seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  signed, now or before
  1  refused: `code` names the rule that the capsule breaks, or the key is no
     publisher's; nothing is written
  2  usage: a wrong argument or variable, a file that cannot be read or written
  3  could not reach: the address could not be fetched";

/// Arguments of `cosign`.
#[derive(Args, Debug)]
#[command(after_long_help = COSIGN_HELP)]
pub(crate) struct CosignArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The root that says who publishes: a file. Its successors are looked for beside the capsule.
    #[arg(long, value_name = "FILE", conflicts_with = "public_keys")]
    pub(crate) root: Option<PathBuf>,
    /// Without a root: the publishers' public keys, or files with them; comma-separated, or given again.
    #[arg(long = "public-key", value_name = "KEY_OR_FILE", value_delimiter = ',')]
    pub(crate) public_keys: Vec<String>,
    /// Believe the root alone, and do not look for its successors beside the capsule.
    #[arg(long)]
    pub(crate) no_successors: bool,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// Directory to write to, for a URL; made if it is not there. [default for a file: beside it]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// `issuedAt` of the newest capsule seen, in milliseconds since 1970: an older one is refused.
    #[arg(long, value_name = "MS", value_parser = parse_time)]
    pub(crate) newest_seen: Option<UnixMillis>,
    /// Longest time to spend on each file, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
