//! `capsule verify`: checks a capsule as a client does, and says what it found.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use rendezvous_protocol::capsule::{Capsule, TicketStatus as Standing};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::REVOCATIONS_MAX_BYTES;
use rendezvous_protocol::revocation::{RevocationError, Revocations};
use serde_json::{Value, json};

use crate::arguments::VerifyArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::outcome::{Exit, Failure, Outcome};
use crate::reader::Reader;
use crate::settings::DEFAULT_TIMEOUT;
use crate::source::{Source, SourceError, read_file};
use crate::text;
use crate::trust::{Judge, JudgeError, Trusted, Verdict, capsule_refused};

/// A file that should be a list of what is revoked.
#[derive(Debug, thiserror::Error)]
#[error("{} is no list of what is revoked: {}", .path.display(), text::printable(&.error.to_string()))]
pub(crate) struct NotRevocations {
    path: PathBuf,
    error: RevocationError,
}

/// Runs the command.
pub(crate) fn verify(
    arguments: &VerifyArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let trusted = Trusted::new(&arguments.trust, environment)?;
    let revoked = arguments.revoked.as_deref().map(read_revocations).transpose()?;
    let judge = Judge {
        newest_seen: arguments.newest_seen,
        revoked,
        ..Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?
    };
    let capsule = Source::new(&arguments.capsule);
    let signature = arguments.signature.as_deref().map(Source::new);
    let reader = Reader::new(arguments.timeout.unwrap_or(DEFAULT_TIMEOUT))?;
    let (refusal, trusted) = match judge.judge(&reader, &capsule, signature.as_ref(), clock) {
        Ok(verdict) => match &verdict.result {
            Ok(good) if arguments.json => {
                return Ok(Outcome::json(&good_json(&capsule, good, &verdict, &judge), Exit::Good));
            }
            Ok(good) => return Ok(Outcome::text(good_text(&capsule, good, &verdict, &judge), Exit::Good)),
            Err(error) => (capsule_refused(&capsule, error), verdict.trusted),
        },
        Err(JudgeError::Root(refusal)) => (refusal, judge.trusted),
        Err(JudgeError::Source(error)) => return Err(error.into()),
        Err(JudgeError::Clock(failure)) => return Err(failure),
    };
    let fields = json!({
        "capsule": capsule.to_string(),
        "publicKey": public_key(&trusted),
        "rootVersion": trusted.root_version(),
        "community": judge.tickets.community.as_str(),
    });
    Ok(clock.explain(refusal).outcome(arguments.json, fields))
}

fn read_revocations(path: &Path) -> Result<Revocations, Failure> {
    let json =
        read_file(path, REVOCATIONS_MAX_BYTES).map_err(|error| SourceError::File { path: path.to_owned(), error })?;
    Ok(Revocations::parse(&json).map_err(|error| NotRevocations { path: path.to_owned(), error })?)
}

fn public_key(trusted: &Trusted) -> Option<String> {
    match trusted {
        Trusted::Key(key) => Some(key.to_string()),
        Trusted::Root(_) => None,
    }
}

/// Which root decided: the one that was given, or a successor of it.
pub(crate) fn root_line(given: &Trusted, newest: &Trusted) -> Option<String> {
    let (given, Trusted::Root(newest)) = (given.root_version()?, newest) else { return None };
    let version = newest.root_version();
    let way = if version > given { format!(", followed from version {given}") } else { String::new() };
    Some(format!("version {version}{way}"))
}

/// Whose signatures counted, and how many had to.
pub(crate) fn publishers_line(capsule: &Capsule, trusted: &Trusted) -> String {
    let keys: Vec<_> = capsule.publishers.iter().map(PublicKey::to_string).collect();
    let keys = keys.join(" ");
    match trusted {
        Trusted::Key(_) => keys,
        Trusted::Root(root) => format!("{keys} ({} needed)", root.publisher_keys().threshold()),
    }
}

/// What a capsule revokes; nothing where that is nothing.
pub(crate) fn revocations_line(revocations: &Revocations) -> Option<String> {
    let keys = |keys: &BTreeSet<PublicKey>| keys.iter().map(PublicKey::to_string).collect::<Vec<_>>();
    let lists = [
        ("tickets by", keys(&revocations.ticket_keys)),
        ("publishers", keys(&revocations.publisher_keys)),
        ("beacons", revocations.beacons.iter().cloned().collect()),
    ];
    let lists: Vec<_> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name} {}", text::printable(&list.join(" "))))
        .collect();
    (!lists.is_empty()).then(|| lists.join("; "))
}

/// The same for scripts.
pub(crate) fn revocations_json(revocations: &Revocations) -> Value {
    let keys = |keys: &BTreeSet<PublicKey>| keys.iter().map(PublicKey::to_string).collect::<Vec<_>>();
    json!({
        "ticketKeys": keys(&revocations.ticket_keys),
        "publisherKeys": keys(&revocations.publisher_keys),
        "beacons": revocations.beacons,
    })
}

/// How a standing is called in JSON.
pub(crate) const fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Live => "live",
        Standing::RecentlySeen => "recentlySeen",
    }
}

fn good_text(source: &Source, capsule: &Capsule, verdict: &Verdict, judge: &Judge) -> String {
    let Verdict { trusted, now, .. } = verdict;
    let time = |time| format!("{} ({})", text::date(time), text::distance(time, *now));
    let refused = match capsule.refused.values().sum::<usize>() {
        0 => "0".to_owned(),
        all => format!("{all} ({})", text::counts(&capsule.refused)),
    };
    let root = root_line(&judge.trusted, trusted);
    let publishers = publishers_line(capsule, trusted);
    let revoked = revocations_line(&capsule.revocations);
    let [issued, expires] = [capsule.issued_at, capsule.expires_at].map(time);
    let [live, recently_seen] = [Standing::Live, Standing::RecentlySeen].map(|standing| capsule.count(standing));
    let mut fields: Vec<(&str, &dyn Display)> = vec![("good", source)];
    if let Some(root) = &root {
        fields.push(("root", root));
    }
    fields.extend([
        ("publisher", &publishers as &dyn Display),
        ("community", &judge.tickets.community),
        ("issued", &issued),
        ("expires", &expires),
        ("live", &live),
        ("recently seen", &recently_seen),
        ("refused", &refused),
    ]);
    if let Some(revoked) = &revoked {
        fields.push(("revoked", revoked));
    }
    text::fields(&fields)
}

fn good_json(source: &Source, capsule: &Capsule, verdict: &Verdict, judge: &Judge) -> Value {
    let peers = capsule.peers.iter().map(|(ticket, standing)| {
        let payload = ticket.payload();
        json!({
            "peerId": payload.peer_id.as_str(),
            "userId": payload.user_id.as_str(),
            "publicKey": ticket.public_key().to_string(),
            "issuedAt": payload.issued_at,
            "expiresAt": payload.expires_at,
            "standing": standing_name(*standing),
        })
    });
    json!({
        "ok": true,
        "capsule": source.to_string(),
        "publicKey": public_key(&verdict.trusted),
        "rootVersion": verdict.trusted.root_version(),
        "publishers": capsule.publishers.iter().map(PublicKey::to_string).collect::<Vec<_>>(),
        "community": judge.tickets.community.as_str(),
        "now": verdict.now,
        "issuedAt": capsule.issued_at,
        "expiresAt": capsule.expires_at,
        "live": capsule.count(Standing::Live),
        "recentlySeen": capsule.count(Standing::RecentlySeen),
        "refused": capsule.refused,
        "revoked": revocations_json(&capsule.revocations),
        "peers": peers.collect::<Vec<_>>(),
    })
}
