//! Arguments and help of `ticket`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::ticket::{PeerId, UserId};

use crate::settings::{parse_community, parse_duration, parse_peer_id, parse_user_id};

const TICKET_HELP: &str = "\
Examples:
  capsule ticket --key node-key.pem --peer-id my-server --community mainnet
      writes ticket.json, good for 7 days
  capsule ticket --key node-key.pem --peer-id my-server --community mainnet \\
    --lifetime 2d --out my-server.ticket.json
      from a schedule, once a day: it replaces the one before
  capsule publish --include my-server.ticket.json ...
      by the publisher, who was given the file

What it is for:
  The ticket says \"my-server is here until then\", for up to 7 days. It is for a
  server that is always there, and whose publisher puts it into every capsule
  before all others: newcomers then find it even when every beacon has been gone
  for days. No beacon takes it; `capsule announce` keeps a server on beacons.
  It cannot be taken back: whoever has it can show it until it ends, also when
  the server is gone. Make it no longer than that is worth, and again in time.
  A publisher can put its key on the list of revoked ones.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY             --community
  RENDEZVOUS_ANNOUNCE_PEER_ID      --peer-id
  RENDEZVOUS_ANNOUNCE_USER_ID      --user-id
  RENDEZVOUS_ANNOUNCE_PRIVATE_KEY  the private key itself: PKCS#8 in PEM, or the
                                   base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE       --passphrase-file
  SOURCE_DATE_EPOCH                the time that it begins at instead of the
                                   clock's, in seconds since 1970

Exit codes:
  0  the ticket is written
  2  usage: a wrong argument or variable, a key that cannot be read, a file that
     cannot be written, or is there and no ticket";

/// Arguments of `ticket`.
#[derive(Args, Debug)]
#[command(after_long_help = TICKET_HELP)]
pub(crate) struct MintArguments {
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Name under which peers find it.
    #[arg(long, value_name = "NAME", value_parser = parse_peer_id)]
    pub(crate) peer_id: Option<PeerId>,
    /// Name of its user, as the application understands it. [default: the peerId]
    #[arg(long, value_name = "NAME", value_parser = parse_user_id)]
    pub(crate) user_id: Option<UserId>,
    /// Name of the community, the only one that the ticket is good for. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(crate) community: Option<Community>,
    /// How long it lives, at most 7d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "7d")]
    pub(crate) lifetime: Duration,
    /// File for the ticket, - for the standard output. A ticket that is there is replaced, anything else is not.
    #[arg(long, value_name = "FILE", default_value = "ticket.json")]
    pub(crate) out: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
