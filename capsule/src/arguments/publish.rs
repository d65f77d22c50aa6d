//! Arguments and help of `publish`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::arguments::TicketArguments;
use crate::beacon::Beacon;
use crate::settings::{parse_duration, parse_peer_count};

const PUBLISH_HELP: &str = "\
Examples:
  capsule publish --key capsule-key.pem \\
    --beacon https://a.example.org,https://b.example.org
  RENDEZVOUS_CAPSULE_PRIVATE_KEY=\"$(cat capsule-key.pem)\" \\
    capsule publish --beacon https://a.example.org --json

What it does:
  Asks every beacon at once for GET /peers, up to 3 times where the failure may
  pass. Follows no redirects. Checks each ticket by itself: a bad ticket, or a
  lying or dead beacon, costs only itself. Keeps the newest ticket of each peer.
  With more than --max-peers, each beacon gets its share of the places, newest
  tickets first.
  Writes peers.json and peers.json.sig, each at once or not at all, and only
  with at least --min-peers in it; else what is there stays. A capsule in the
  directory that is newer than the clock is not replaced either.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS                 --beacon, comma-separated
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_CAPSULE_OUTPUT          --out
  RENDEZVOUS_CAPSULE_PRIVATE_KEY     the private key itself: PKCS#8 in PEM, or
                                     the base64 of its DER; --key FILE wins
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      the public key that clients trust: if set,
                                     the private key must belong to it
  RENDEZVOUS_CAPSULE_MIN_PEERS       --min-peers
  RENDEZVOUS_CAPSULE_MAX_PEERS       --max-peers
  RENDEZVOUS_CAPSULE_TTL_MS          --lifetime, in milliseconds
  RENDEZVOUS_CAPSULE_TIMEOUT_MS      --timeout, in milliseconds
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to work at instead of the clock's,
                                     in seconds since 1970: with the same
                                     answers it gives the same bytes
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY

Exit codes:
  0  the capsule is written
  1  refused: too few good tickets, or the clock has gone back; what is there
     stays
  2  usage: a wrong argument or variable, a key that cannot be read, a directory
     that cannot be written to
  3  could not reach: no beacon answered; what is there stays";

/// Arguments of `publish`.
#[derive(Args, Debug)]
#[command(after_help = PUBLISH_HELP)]
pub(crate) struct PublishArguments {
    /// Address of a beacon; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    pub(crate) beacons: Vec<Beacon>,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Directory to write to, made if it is not there. [default: public/capsules]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write no capsule with fewer peers. [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_peer_count)]
    pub(crate) min_peers: Option<usize>,
    /// Write no more peers into it. [default: 100]
    #[arg(long, value_name = "NUMBER", value_parser = parse_peer_count)]
    pub(crate) max_peers: Option<usize>,
    /// How long clients may use it, like 90s, 30m or 1h 15m. Should span several runs of the schedule. [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Longest time to spend on a beacon, all attempts together. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}
