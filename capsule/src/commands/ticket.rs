//! `capsule ticket`: a long ticket of a stable node, for its publisher to put into capsules.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::announcer::Identity;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, CAPSULE_TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::{
    Payload, PeerData, PeerId, Purpose, Ticket, TicketError, TicketRules, UserId, VerifiedTicket,
};
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::files;
use crate::files::{STANDARD, read_file};
use crate::log::Log;
use crate::nonce::new_nonce;
use crate::outcome::Outcome;
use crate::secret;
use crate::settings::{community, identity};
use crate::source::SourceError;
use crate::text;
use crate::values::{parse_community, parse_data, parse_duration, parse_peer_id, parse_user_id};

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
  RENDEZVOUS_ANNOUNCE_DATA         --data
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
    /// What the peer says about itself, in a form of the application's: up to 512 bytes. Everybody can read it.
    #[arg(long, value_name = "TEXT", value_parser = parse_data)]
    pub(crate) data: Option<PeerData>,
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

/// Why no ticket was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    /// Readers would refuse it.
    #[error("a life of {} is too long: --lifetime is at most {}",
        text::duration(*.lifetime), text::duration(CAPSULE_TICKET_MAX_LIFETIME))]
    TooLong {
        /// What was asked for.
        lifetime: Duration,
    },
    /// Something else is in the way.
    #[error("{} is there already and is not a ticket, so it is not replaced: choose another name with --out", .path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold.
    #[error("the ticket that was made is not good: {0}")]
    NotGood(TicketError),
}

impl Cause for MintError {}

/// Runs the command.
pub(crate) fn ticket(
    arguments: &MintArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let community = community(arguments.community.as_ref(), environment)?;
    let MintArguments { peer_id, user_id, data, key, .. } = arguments;
    let identity = identity(peer_id.as_ref(), user_id.as_ref(), data.as_ref(), community, key.as_deref(), environment)?;
    let Identity { key, peer_id, user_id, data, community } = identity;
    let lifetime = arguments.lifetime;
    if lifetime > CAPSULE_TICKET_MAX_LIFETIME {
        return Err(MintError::TooLong { lifetime }.into());
    }
    let out = &arguments.out;
    if out != Path::new(STANDARD) {
        refuse_other_file(out)?;
    }
    clock.check_signing()?;
    let now = clock.now()?;
    let payload = Payload {
        peer_id,
        user_id,
        data,
        issued_at: now,
        expires_at: now.after(lifetime),
        nonce: new_nonce()?,
        // Always: what lives so long would be worth carrying elsewhere.
        community: Some(community.clone()),
        purpose: Purpose::Presence,
    };
    let ticket =
        Ticket::sign(payload, &key).verify(&TicketRules::in_capsule(&community), now).map_err(MintError::NotGood)?;
    let text = format!("{}\n", ticket.as_json());
    if out == Path::new(STANDARD) {
        // Nothing else, so that it can be piped to where it is wanted.
        return Ok(Outcome::text(text, Exit::Good));
    }
    files::replace(out, text.as_bytes())?;
    let payload = ticket.payload();
    let (file, public_key) = (secret::path(out), ticket.public_key());
    log.note(format_args!(
        "it cannot be taken back: whoever has it can show it until it ends, also when {} is gone",
        payload.peer_id
    ));
    Ok(if arguments.json {
        let result = json!({
            "ok": true,
            "file": file,
            "peerId": payload.peer_id.as_str(),
            "userId": payload.user_id.as_str(),
            "data": payload.data.as_ref().map(PeerData::as_str),
            "community": community.as_str(),
            "publicKey": public_key.to_string(),
            "issuedAt": payload.issued_at,
            "expiresAt": payload.expires_at,
        });
        Outcome::json(&result, Exit::Good)
    } else {
        Outcome::text(explanation(&file, &ticket, now), Exit::Good)
    })
}

fn explanation(file: &str, ticket: &VerifiedTicket, now: UnixMillis) -> String {
    let payload = ticket.payload();
    let until = format!("{} ({})", text::date(payload.expires_at), text::distance(payload.expires_at, now));
    let community = payload.community.as_ref().map(ToString::to_string).unwrap_or_default();
    let fields = text::fields(&[
        ("written", &file),
        ("peer", &payload.peer_id),
        ("user", &text::printable(payload.user_id.as_str())),
        ("data", &payload.data.as_ref().map_or_else(|| "none".to_owned(), |data| text::printable(data.as_str()))),
        ("community", &community),
        ("key", &ticket.public_key()),
        ("until", &until),
    ]);
    format!(
        "{fields}
It is for capsules only, and no beacon takes it. Give the file to the publisher, and a new one before it ends:
  publish  capsule publish --include {file} ...
"
    )
}

/// An older ticket may be replaced. A key, say, whose name was given by mistake, may not.
fn refuse_other_file(path: &Path) -> Result<(), Failure> {
    let json = match read_file(path, BODY_MAX_BYTES) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SourceError::File { path: path.to_owned(), error }.into()),
    };
    let is_ticket = str::from_utf8(&json).is_ok_and(|json| Ticket::parse(json, Purpose::Presence).is_ok());
    if is_ticket { Ok(()) } else { Err(MintError::InTheWay { path: path.to_owned() }.into()) }
}
