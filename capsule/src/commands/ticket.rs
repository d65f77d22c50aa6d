//! `capsule ticket`: a long ticket of a stable node, for its publisher to put into capsules.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rendezvous_protocol::announcer::Identity;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, CAPSULE_TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::{Payload, Purpose, Ticket, TicketError, TicketRules, UserId, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::arguments::MintArguments;
use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::files;
use crate::nonce::new_nonce;
use crate::outcome::{Exit, Failure, Log, Outcome};
use crate::settings::{self, SettingsError, parse_peer_id, parse_user_id};
use crate::source::{STANDARD, SourceError, read_file};
use crate::text;

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
    #[error("{} is there already and is no ticket, so it is not replaced: choose another name with --out", .path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// It does not hold.
    #[error("the ticket that was made is not good: {0}")]
    NotGood(TicketError),
}

/// Runs the command.
pub(crate) fn ticket(
    arguments: &MintArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let Identity { key, peer_id, user_id, community } = identity(arguments, environment)?;
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
    let (file, public_key) = (out.display().to_string(), ticket.public_key());
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

fn identity(arguments: &MintArguments, environment: &Environment) -> Result<Identity, SettingsError> {
    let peer_id = arguments.peer_id.clone();
    let peer_id = settings::first(peer_id, environment, environment::ANNOUNCE_PEER_ID, parse_peer_id)?
        .ok_or(SettingsError::NoPeerId)?;
    let user_id = arguments.user_id.clone();
    let user_id = settings::first(user_id, environment, environment::ANNOUNCE_USER_ID, parse_user_id)?
        .or_else(|| UserId::new(peer_id.as_str()))
        .ok_or(SettingsError::NoPeerId)?;
    let community = settings::community(arguments.community.as_ref(), environment)?;
    let key = settings::private_key(arguments.key.as_deref(), environment, environment::ANNOUNCE_PRIVATE_KEY)?
        .ok_or(SettingsError::NoTicketKey)?;
    Ok(Identity { key, peer_id, user_id, community })
}

fn explanation(file: &str, ticket: &VerifiedTicket, now: UnixMillis) -> String {
    let payload = ticket.payload();
    let until = format!("{} ({})", text::date(payload.expires_at), text::distance(payload.expires_at, now));
    let community = payload.community.as_ref().map(ToString::to_string).unwrap_or_default();
    let fields = text::fields(&[
        ("written", &file),
        ("peer", &payload.peer_id),
        ("user", &text::printable(payload.user_id.as_str())),
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
