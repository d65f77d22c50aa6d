//! The command line, and the help that teaches it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::ticket::{PeerId, UserId};
use rendezvous_protocol::time::UnixMillis;

use crate::beacon::Beacon;
use crate::settings::{
    parse_community, parse_duration, parse_peer_count, parse_peer_id, parse_public_key, parse_user_id,
};

const OVERVIEW: &str = "\
How it goes together:
  1. capsule keygen --out capsule-key.pem
     Once. Keep the private key secret, give clients the public key.
  2. capsule publish --key capsule-key.pem --beacon https://beacon.example.org
     Every few minutes, from a schedule. Then upload the directory that it
     writes, public/capsules, to any static host.
  3. capsule verify https://example.org/capsules/peers.json --public-key KEY
     Whenever you like: it does what clients do before they trust a capsule.
And for a server that wants to be found, with a key of its own:
     capsule announce --key node-key.pem --peer-id my-server \\
       --beacon https://beacon.example.org

Exit codes, of every command:
  0  good
  1  refused: the capsule is not to be trusted, or there are too few good
     tickets for a new one, or no beacon lists the peer
  2  usage: a wrong argument or variable, or a file that cannot be read or
     written
  3  could not reach: no beacon answered, or the address could not be fetched

`capsule COMMAND --help` has examples and the environment variables.";

/// Makes signed snapshots of who is online ("capsules") out of rendezvous beacons, checks them, and keeps a server
/// announced.
///
/// A beacon knows which peers of a community are online. A capsule is a file, peers.json, with what several beacons
/// know, signed, for any static host: with it newcomers find peers even while every beacon is down.
#[derive(Debug, Parser)]
#[command(name = "capsule", version, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing about progress on the standard error; errors and results are still shown.
    #[arg(long, short, global = true, display_order = 100)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key that signs capsules, or a server's tickets.
    Keygen(KeygenArguments),
    /// Ask beacons who is online, and write a signed capsule.
    Publish(PublishArguments),
    /// Keep a server announced to beacons, so that it is found.
    Announce(AnnounceArguments),
    /// Check a capsule as clients do, and say what it is worth now.
    Verify(VerifyArguments),
    /// Show what a capsule says, without checking any of it.
    Inspect(InspectArguments),
}

impl Command {
    /// Whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Keygen(arguments) => arguments.json,
            Self::Publish(arguments) => arguments.json,
            Self::Announce(arguments) => arguments.json,
            Self::Verify(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
        }
    }
}

const KEYGEN_HELP: &str = "\
Examples:
  capsule keygen
      writes capsule-key.pem, prints the public key
  capsule keygen --public-of capsule-key.pem
      prints the public key again
  capsule keygen --out node-key.pem
      makes a key for `capsule announce`
  capsule keygen --print-private-key | some-secret-store put capsule-key
      keeps the key nowhere but there

The file is PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it,
with mode 0600. A file that is there already is never overwritten. The line
between BEGIN and END is the key in the bare base64 form.

Exit codes:
  0  the key is made, or its public half shown
  2  usage: a wrong argument, or a file that is there already, or cannot be
     read or written";

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(after_help = KEYGEN_HELP)]
pub(crate) struct KeygenArguments {
    /// New file for the private key.
    #[arg(long, value_name = "FILE", default_value = "capsule-key.pem")]
    pub(crate) out: PathBuf,
    /// Print the private key instead of writing it to a file, and nothing else.
    #[arg(long, conflicts_with = "out")]
    pub(crate) print_private_key: bool,
    /// Make no key, but print the public key of the private key in FILE.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "print_private_key"])]
    pub(crate) public_of: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is asked of tickets, by `publish` and by `verify`.
#[derive(Args, Debug)]
pub(crate) struct TicketArguments {
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// Accept only tickets by this public key (base64); more than one: comma-separated, or given again. [default: any]
    #[arg(long = "trusted-key", value_name = "KEY", value_delimiter = ',', value_parser = parse_public_key)]
    pub(crate) trusted_keys: Vec<PublicKey>,
    /// Accept no ticket that lives longer. [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) ticket_max_lifetime: Option<Duration>,
}

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

const ANNOUNCE_HELP: &str = "\
Examples:
  capsule keygen --out node-key.pem
      once: a key of the server's own, not the one that signs capsules
  capsule announce --key node-key.pem --peer-id my-server \\
    --beacon https://a.example.org,https://b.example.org
      until it is stopped: as a service, beside the server
  capsule announce --once --key node-key.pem --peer-id my-server \\
    --beacon https://a.example.org
      shows what the beacon says; the ticket ends after 3 minutes

What it does:
  Signs a ticket (\"my-server is here for the next 3 minutes\") for each beacon,
  and a new one whenever the beacon asks for it, long before the last one ends.
  Every beacon has a pace of its own: one that fails is tried again after 1 to
  60 s, for ever, and keeps none of the others waiting.
  Dates tickets by the beacons' clocks where this machine's is wrong: no later
  than most of them say, so that one that lies gains nothing. One that is the
  only one to answer is believed.
  Says a line on the standard error when something changes, and none a request.
  On SIGTERM or SIGINT it tells the beacons that the peer goes, for at most 3 s,
  and ends. A second one ends it at once. Who starts it again within 45 s after
  that waits for the rest of them, because beacons take no new ticket before.

Its peerId is whoever's key announced it first, while it is announced: keep the
key. Everything in a ticket, userId included, is public.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS               --beacon, comma-separated
  RENDEZVOUS_COMMUNITY             --community
  RENDEZVOUS_ANNOUNCE_PEER_ID      --peer-id
  RENDEZVOUS_ANNOUNCE_USER_ID      --user-id
  RENDEZVOUS_ANNOUNCE_PRIVATE_KEY  the private key itself: PKCS#8 in PEM, or the
                                   base64 of its DER; --key FILE wins
  RENDEZVOUS_ANNOUNCE_TTL_MS       --lifetime, in milliseconds
  RENDEZVOUS_ANNOUNCE_INTERVAL_MS  --interval, in milliseconds
  RENDEZVOUS_ANNOUNCE_TIMEOUT_MS   --timeout, in milliseconds
  SOURCE_DATE_EPOCH                the time to begin at instead of the clock's,
                                   in seconds since 1970: to see what a wrong
                                   clock does
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY

Exit codes:
  0  it was announced until it was stopped; with --once: a beacon lists it
  1  refused: with --once, none of those that answered lists it
  2  usage: a wrong argument or variable, a key that cannot be read
  3  could not reach: with --once, no beacon answered";

/// Arguments of `announce`.
#[derive(Args, Debug)]
#[command(after_help = ANNOUNCE_HELP)]
pub(crate) struct AnnounceArguments {
    /// Address of a beacon; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    pub(crate) beacons: Vec<Beacon>,
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
    /// How long a ticket lives; shorter, where a beacon does not allow it. [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Announce no more often than this, also where a beacon asks for it. [default: as the beacon asks]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) interval: Option<Duration>,
    /// Longest time to wait for the answer to one request. [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Announce once, print what each beacon says, and end without leaving.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print every change as a line of JSON instead; with --once, one line in all.
    #[arg(long)]
    pub(crate) json: bool,
}

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
  refused        never good, each with its code

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, the key itself
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at instead of the clock's,
                                     in seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY

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
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    /// The publisher's public key (base64), or a file with it (base64, or SPKI in PEM).
    #[arg(long, value_name = "KEY_OR_FILE")]
    pub(crate) public_key: Option<String>,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// The detached signature. [default: the capsule's name or path with .sig added]
    #[arg(long, value_name = "FILE_OR_URL")]
    pub(crate) signature: Option<String>,
    /// `issuedAt` of the newest capsule seen, in milliseconds since 1970: an older one is refused.
    #[arg(long, value_name = "MS", value_parser = parse_time)]
    pub(crate) newest_seen: Option<UnixMillis>,
    /// Longest time to spend on each of the two files, where they are fetched. [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one line of JSON, with every peer.
    #[arg(long)]
    pub(crate) json: bool,
}

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

Exit codes:
  0  shown
  1  refused: it is no JSON object
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `inspect`.
#[derive(Args, Debug)]
#[command(after_help = INSPECT_HELP)]
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

fn parse_time(text: &str) -> Result<UnixMillis, String> {
    let time = text.parse().ok().and_then(UnixMillis::new);
    time.ok_or_else(|| "must be milliseconds since 1970, below 2^53".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }
}
