//! Arguments and help of `announce`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::ticket::{PeerData, PeerId, UserId};

use crate::beacon::Beacon;
use crate::reader::TimeoutArguments;
use crate::values::{parse_community, parse_data, parse_duration, parse_peer_id, parse_user_id};

const ANNOUNCE_HELP: &str = "\
Examples:
  capsule keygen --for node
      once: node-key.pem, the server's own key, not the one that signs capsules
  capsule announce --key node-key.pem --peer-id my-server \\
    --beacon https://a.example.org,https://b.example.org
      until it is stopped: as a service, beside the server
  capsule announce --once --key node-key.pem --peer-id my-server \\
    --beacon https://a.example.org
      shows what the beacon says; the ticket ends after 3 minutes
  capsule announce --lan --key node-key.pem --peer-id my-server \\
    --beacon https://a.example.org
      to the beacons of the local network too, those of
      `rendezvous-beacon serve --lan`

What it does:
  Signs a ticket (\"my-server is here for the next 3 minutes\") for each beacon,
  and a new one whenever the beacon asks for it, long before the last one ends.
  Every beacon has a pace of its own: one that fails is tried again after 1 to
  60 s, for ever, and keeps none of the others waiting.
  Dates tickets by the beacons' clocks where this machine's is wrong: no later
  than most of them say, so that one that lies gains nothing, and where only one
  tells the time no later than this machine's clock and 15 s.
  With --lan, asks the local network for beacons, soon after the start and then
  once a minute. One that is found is announced to beside the others, or alone;
  one that is silent for three rounds, and does not answer, is left.
  Anybody in that network may answer: such a beacon says nothing of the time of
  anybody's tickets but its own. Where there is a proxy, NO_PROXY has to except
  the local network.
  Says a line on the standard error when something changes, and none a request.
  Says \"not listed\" of a beacon that is full, and asks it again at its pace.
  On SIGTERM or SIGINT it tells the beacons that the peer goes, for at most 3 s,
  and ends. A second one ends it at once. Started again it is listed at once;
  the next time within 45 s it waits for the rest of them.

Other keys may claim the same peerId, and beacons list them all. Peers tell them
apart by the key: keep it. Everything in a ticket is public, userId and data
included. Beacons and readers of version 0.1.0 refuse a ticket with data.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS               --beacon, comma-separated
  RENDEZVOUS_COMMUNITY             --community
  RENDEZVOUS_ANNOUNCE_PEER_ID      --peer-id
  RENDEZVOUS_ANNOUNCE_USER_ID      --user-id
  RENDEZVOUS_ANNOUNCE_DATA         --data
  RENDEZVOUS_ANNOUNCE_PRIVATE_KEY  the private key itself: PKCS#8 in PEM, or the
                                   base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE       --passphrase-file
  RENDEZVOUS_ANNOUNCE_TTL_MS       --lifetime, in milliseconds
  RENDEZVOUS_ANNOUNCE_INTERVAL_MS  --interval, in milliseconds
  RENDEZVOUS_ANNOUNCE_TIMEOUT_MS   --timeout, in milliseconds
  SOURCE_DATE_EPOCH                the time to begin at instead of the clock's,
                                   in seconds since 1970: to see what a wrong
                                   clock does
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  it was announced until it was stopped; with --once: a beacon lists it
  1  refused: with --once, none of those that answered lists it: they refused
     the ticket, or have no place
  2  usage: a wrong argument or variable, a key that cannot be read
  3  could not reach: with --once, no beacon answered";

/// Arguments of `announce`.
#[derive(Args, Debug)]
#[command(after_long_help = ANNOUNCE_HELP)]
pub(crate) struct AnnounceArguments {
    /// Address of a beacon; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    pub(crate) beacons: Vec<Beacon>,
    /// Announce to beacons of the local network too, which are found by multicast DNS: to up to 8, beside the others.
    #[arg(long)]
    pub(crate) lan: bool,
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Name under which peers find it.
    #[arg(long, value_name = "NAME", value_parser = parse_peer_id)]
    pub(crate) peer_id: Option<PeerId>,
    /// Name of its user, as the application understands it. [default: the peerId]
    #[arg(long, value_name = "NAME", value_parser = parse_user_id)]
    pub(crate) user_id: Option<UserId>,
    /// What the peer says about itself, in a form of the application's: up to 512 bytes. Everybody can read it.
    #[arg(long, value_name = "TEXT", value_parser = parse_data)]
    pub(crate) data: Option<PeerData>,
    /// How long a ticket lives; shorter, where a beacon does not allow it. [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Announce no more often than this, also where a beacon asks for it. [default: as the beacon asks]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) interval: Option<Duration>,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Announce once, print what each beacon says, and end without leaving.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print every change as a line of JSON instead; with --once, one line in all.
    #[arg(long)]
    pub(crate) json: bool,
}
