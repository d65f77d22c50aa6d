//! `capsule verify`: checks a capsule as a client does, and says what it found.

use rendezvous_protocol::capsule::{Capsule, CapsuleBytes, CapsuleError, CapsuleRules, Standing, Trust};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::arguments::VerifyArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::fetch::Fetcher;
use crate::outcome::{Exit, Failure, Outcome};
use crate::settings::{DEFAULT_TIMEOUT, TicketSettings, publishers_key};
use crate::source::{SIGNATURE_MAX_BYTES, Source};
use crate::text;

/// Runs the command.
pub(crate) fn verify(
    arguments: &VerifyArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let tickets = TicketSettings::new(&arguments.tickets, environment)?;
    let public_key = publishers_key(arguments.public_key.as_deref(), environment)?;
    let rules = CapsuleRules {
        tickets: tickets.rules_in_capsule(),
        newest_seen: arguments.newest_seen,
        ..CapsuleRules::new(Trust::Key(public_key), &tickets.community)
    };
    let capsule = Source::new(&arguments.capsule);
    let signature = arguments.signature.as_deref().map_or_else(|| capsule.signature(), Source::new);
    let (fetcher, timeout) = (Fetcher::new(), arguments.timeout.unwrap_or(DEFAULT_TIMEOUT));
    let json = capsule.read(CAPSULE_MAX_BYTES, &fetcher, timeout)?;
    let detached = match signature.read(SIGNATURE_MAX_BYTES, &fetcher, timeout) {
        Ok(bytes) => Some(bytes),
        // A capsule without its signature is refused. One whose signature was asked for by name and is not there is a
        // mistyped name.
        Err(error) if error.is_absent() && arguments.signature.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    let now = clock.now()?;
    let files = CapsuleBytes { json: &json, signature: detached.as_deref(), cosignatures: None };
    Ok(match Capsule::verify(files, &rules, now) {
        Ok(good) if arguments.json => Outcome::json(&good_json(&capsule, &good, public_key, &rules, now), Exit::Good),
        Ok(good) => Outcome::text(good_text(&capsule, &good, public_key, &rules, now), Exit::Good),
        Err(error) if arguments.json => Outcome::json(
            &json!({
                "ok": false,
                "capsule": capsule.to_string(),
                "publicKey": public_key.to_string(),
                "community": tickets.community.as_str(),
                "code": error.code(),
                "error": error.to_string(),
            }),
            Exit::Refused,
        ),
        Err(error) => Outcome::text(refused_text(&capsule, &error), Exit::Refused),
    })
}

fn good_text(
    source: &Source,
    capsule: &Capsule,
    public_key: PublicKey,
    rules: &CapsuleRules<'_>,
    now: UnixMillis,
) -> String {
    let time = |time| format!("{} ({})", text::date(time), text::distance(time, now));
    let refused = match capsule.refused.values().sum::<usize>() {
        0 => "0".to_owned(),
        all => format!("{all} ({})", text::counts(&capsule.refused)),
    };
    text::fields(&[
        ("good", source),
        ("publisher", &public_key),
        ("community", rules.tickets.community),
        ("issued", &time(capsule.issued_at)),
        ("expires", &time(capsule.expires_at)),
        ("live", &capsule.count(Standing::Live)),
        ("recently seen", &capsule.count(Standing::RecentlySeen)),
        ("refused", &refused),
    ])
}

fn good_json(
    source: &Source,
    capsule: &Capsule,
    public_key: PublicKey,
    rules: &CapsuleRules<'_>,
    now: UnixMillis,
) -> Value {
    let peers: Vec<_> = capsule
        .peers
        .iter()
        .map(|(ticket, standing)| {
            let payload = ticket.payload();
            json!({
                "peerId": payload.peer_id.as_str(),
                "userId": payload.user_id.as_str(),
                "publicKey": ticket.public_key().to_string(),
                "issuedAt": payload.issued_at,
                "expiresAt": payload.expires_at,
                "standing": match standing {
                    Standing::Live => "live",
                    Standing::RecentlySeen => "recentlySeen",
                },
            })
        })
        .collect();
    json!({
        "ok": true,
        "capsule": source.to_string(),
        "publicKey": public_key.to_string(),
        "community": rules.tickets.community.as_str(),
        "now": now,
        "issuedAt": capsule.issued_at,
        "expiresAt": capsule.expires_at,
        "live": capsule.count(Standing::Live),
        "recentlySeen": capsule.count(Standing::RecentlySeen),
        "refused": capsule.refused,
        "peers": peers,
    })
}

fn refused_text(source: &Source, error: &CapsuleError) -> String {
    let reason = text::printable(&error.to_string());
    text::fields(&[("refused", source), ("code", &error.code()), ("reason", &reason), ("advice", &advice(error))])
}

/// What the reader of a refusal can do.
fn advice(error: &CapsuleError) -> &'static str {
    match error {
        CapsuleError::TooLarge | CapsuleError::Malformed(_) | CapsuleError::RevocationsMalformed(_) => {
            "see what it is: capsule inspect"
        }
        CapsuleError::RootExpired { .. } => "ask the community for its newest root",
        CapsuleError::RevokedPublicKey => "ask the publisher, on another way than this one, for its new key",
        CapsuleError::CosignaturesMalformed(_) => "ask the publisher: peers.json.sigs is no signatures file",
        CapsuleError::ThresholdNotMet { .. } => "ask the other publishers to sign it, too",
        CapsuleError::DetachedSignatureMissing => {
            "publish peers.json.sig beside peers.json, or name it with --signature"
        }
        CapsuleError::DetachedSignatureInvalid => {
            "if it is being replaced just now, try again; else it was changed, or signed by another key than --public-key"
        }
        CapsuleError::EmbeddedSignatureInvalid => "ask the publisher: whatever made this file did it wrong",
        CapsuleError::UnsupportedVersion { .. } | CapsuleError::UnsupportedAlgorithm => {
            "use a newer version of this program"
        }
        CapsuleError::CommunityMismatch { .. } | CapsuleError::RootOfAnotherCommunity { .. } => {
            "name the community that you mean with --community"
        }
        CapsuleError::Rollback { .. } => "keep the newer one, and ask the host for this one's successor",
        CapsuleError::NotYetValid { .. } => "check this machine's clock, then the publisher's",
        CapsuleError::Expired { .. } => {
            "see whether the publisher still runs: capsules are replaced before they expire"
        }
    }
}
