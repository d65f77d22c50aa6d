//! Arguments that `publish` and `watch` have in common, and what their help says of a round.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::merge::Shares;

use super::probe::{Probe, parse_probe};
use crate::beacon::Beacon;
use crate::destination::Address;
use crate::host::Host;
use crate::reader::TimeoutArguments;
use crate::tickets::TicketArguments;
use crate::values::{parse_beacon_count, parse_duration, parse_peer_count, parse_shares};

/// How a round goes: for the help of `publish` and of `watch`.
pub(crate) const HOW: &str = "\
What a round does:
  Asks every beacon at once for GET /peers, up to 3 times where the failure may
  pass. Follows no redirects. Checks each ticket by itself: a bad ticket, or a
  lying or dead beacon, costs only itself. Keeps the newest ticket of each claim
  (a peerId and a key).
  Whoever more than half of the beacons list is in. The other places go in equal
  shares to the beacons: with b of n hostile, and no more than half, at least
  (n-b)/n of the entries are what honest beacons listed. A list of fewer than 20
  peers, and of less than half of what most have, only adds; one that is not so
  short limits the capsule, and the report says which. `--shares available`
  gives places that are left to those that have more, and guarantees nothing.
  There have to be 20 peers where the beacons together list as many, the longest
  lists of fewer than half of them not counted. --min-peers says otherwise.
  Where several keys claim one peerId, that one stands which more than half of
  the beacons list alone, or longer than each of the others. The report says who
  lists which.
  Tickets given with --include come first, in their order, in the place of what
  beacons list for the same peerId; they may live up to 7 days. One that is not
  good, or whose --probe does not answer, is left out, and the report says so.
  Writes peers.json, its .sig and its .minisig, each at once or not at all, the
  signatures first. What is there stays: with fewer than --min-peers, with fewer
  than --min-beacons, if no beacon answers (unless there are --include), with
  less than a third of the peers of what is there, if that is newer than the
  clock, and if it revokes the key that signs. What would end before the next
  run is replaced by fewer peers, and by nodes alone, all the same.
  --revoked FILE has the form {\"ticketKeys\":[],\"publisherKeys\":[],\"beacons\":[]}.
  Those beacons are not asked, tickets by those keys refused, and the list goes
  into the capsule, whose readers obey it too.
  --run COMMAND is run by the shell afterwards, with the variables CAPSULE_PLACE
  (the directory or bucket), CAPSULE_FILE, CAPSULE_SIGNATURE, CAPSULE_MINISIG,
  CAPSULE_COMMUNITY, CAPSULE_ISSUED_AT, CAPSULE_EXPIRES_AT and CAPSULE_PEERS.

A capsule has to outlive the time until its successor reaches its readers:
  lifetime >= cadence + cache of the host + slack for a late or failed run (one
  more cadence, 1m at least). That is checked with --cadence, --every or --host.";

/// The variables of `publish` and of `watch`.
pub(crate) const VARIABLES: &str = "\
Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS                 --beacon, comma-separated
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_CAPSULE_OUTPUT          --out
  RENDEZVOUS_CAPSULE_TO              --to
  RENDEZVOUS_CAPSULE_PRIVATE_KEY     the private key itself: PKCS#8 in PEM, or
                                     the base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE         --passphrase-file
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      the public key that clients trust: if set,
                                     the private key must belong to it
  RENDEZVOUS_CAPSULE_MIN_PEERS       --min-peers
  RENDEZVOUS_CAPSULE_MAX_PEERS       --max-peers
  RENDEZVOUS_CAPSULE_MIN_BEACONS     --min-beacons
  RENDEZVOUS_CAPSULE_SHARES          --shares
  RENDEZVOUS_CAPSULE_INCLUDE         --include, comma-separated
  RENDEZVOUS_CAPSULE_REVOKED         --revoked
  RENDEZVOUS_CAPSULE_TTL_MS          --lifetime, in milliseconds
  RENDEZVOUS_CAPSULE_HOST            --host
  RENDEZVOUS_CAPSULE_CADENCE_MS      --cadence, in milliseconds
  RENDEZVOUS_CAPSULE_TIMEOUT_MS      --timeout, in milliseconds
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
  AWS_ENDPOINT_URL and the others of Amazon's own tools: for --to
  SOURCE_DATE_EPOCH                  the time to work at instead of the clock's,
                                     in seconds since 1970: with the same
                                     answers it gives the same bytes
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list";

/// What `publish` and `watch` have in common.
#[derive(Args, Debug)]
pub(crate) struct PublicationArguments {
    /// Address of a beacon; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    pub(crate) beacons: Vec<Beacon>,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// Put this ticket first into the capsule; more than one: given again.
    #[arg(long = "include", value_name = "FILE_OR_URL")]
    pub(crate) includes: Vec<String>,
    /// Put the ticket of this peer, from --include, in only if a GET of this address is answered with 2xx.
    #[arg(long = "probe", value_name = "PEER_ID=URL", value_parser = parse_probe)]
    pub(crate) probes: Vec<Probe>,
    /// File with what is revoked, to be obeyed and passed on.
    #[arg(long, value_name = "FILE")]
    pub(crate) revoked: Option<PathBuf>,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Directory to write to, made if it is not there. [default: public/capsules]
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    pub(crate) out: Option<PathBuf>,
    /// Bucket to write to instead: Amazon S3, or with AWS_ENDPOINT_URL a server that speaks its protocol.
    #[arg(long, value_name = "s3://BUCKET/PREFIX", value_parser = Address::parse)]
    pub(crate) to: Option<Address>,
    /// Write no capsule with fewer peers. [default: 20 where the beacons list as many, else 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_peer_count)]
    pub(crate) min_peers: Option<usize>,
    /// Write no more peers into it. [default: 100]
    #[arg(long, value_name = "NUMBER", value_parser = parse_peer_count)]
    pub(crate) max_peers: Option<usize>,
    /// Write no capsule if fewer beacons have good tickets.
    #[arg(long, value_name = "NUMBER", value_parser = parse_beacon_count)]
    pub(crate) min_beacons: Option<usize>,
    /// `equal`: as many places for every beacon; `available`: more for those that have more. [default: equal]
    #[arg(long, value_name = "HOW", value_parser = parse_shares)]
    pub(crate) shares: Option<Shares>,
    /// How long clients may use it, like 90s, 30m or 1h 15m. Should span several runs of the schedule. [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Where it is served from: refuse a --lifetime that is too short for its caches. [default: none]
    #[arg(long, value_name = "HOST", value_parser = Host::parse)]
    pub(crate) host: Option<Host>,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Command for the shell, to run whenever a capsule has been written.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) run: Option<String>,
    /// Longest time that it may take. [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "run")]
    pub(crate) run_timeout: Option<Duration>,
}
