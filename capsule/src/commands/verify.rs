//! `capsule verify`: checks a capsule as a client does, and says what it found.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_protocol::capsule::{Capsule, TicketStatus};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::REVOCATIONS_MAX_BYTES;
use rendezvous_protocol::revocation::{RevocationError, Revocations};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::files::read_file;
use crate::outcome::Outcome;
use crate::reader::{Reader, TimeoutArguments};
use crate::source::{Source, SourceError};
use crate::text;
use crate::tickets::{TicketArguments, ticket_json};
use crate::trust::{
    CapsuleVerdict, Judge, JudgeError, NewestSeenArguments, TrustArguments, Trusted, capsule_refused, publishers_line,
    root_line,
};

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
  refused        never good, or by a revoked key, each with its code
With --root, --newest-seen and the publishers in --revoked are those of the same
version of the root: a new one starts afresh.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_ROOT            --root; wins over the next one
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, the key itself
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at, in seconds since 1970,
                                     instead of the clock's
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

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
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct VerifyArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// The detached signature. [default: the capsule's name or path with .sig added]
    #[arg(long, value_name = "FILE_OR_URL")]
    pub(crate) signature: Option<String>,
    /// What the reader remembers as revoked, beside what the capsule itself revokes: a file like revoked.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) revoked: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) newest_seen: NewestSeenArguments,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON, with every peer.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A file that should be a list of what is revoked.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a list of what is revoked: {}", .path.display(), text::printable(&.error.to_string()))]
pub(crate) struct NotRevocations {
    path: PathBuf,
    error: RevocationError,
}

impl Cause for NotRevocations {}

/// Runs the command.
pub(crate) fn verify(
    arguments: &VerifyArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let trusted = Trusted::new(&arguments.trust, environment)?;
    let revoked = arguments.revoked.as_deref().map(read_revocations).transpose()?;
    let judge = Judge {
        newest_seen: arguments.newest_seen.newest_seen,
        revoked,
        ..Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?
    };
    let capsule = Source::new(&arguments.capsule);
    let signature = arguments.signature.as_deref().map(Source::new);
    let reader = Reader::new(arguments.timeout.duration())?;
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

fn good_text(source: &Source, capsule: &Capsule, verdict: &CapsuleVerdict, judge: &Judge) -> String {
    let CapsuleVerdict { trusted, now, .. } = verdict;
    let time = |time| format!("{} ({})", text::date(time), text::distance(time, *now));
    let refused = match capsule.refused.values().sum::<usize>() {
        0 => "0".to_owned(),
        all => format!("{all} ({})", text::counts(&capsule.refused)),
    };
    let root = root_line(&judge.trusted, trusted);
    let publishers = publishers_line(capsule, trusted);
    let revoked = revocations_line(&capsule.revocations);
    let [issued, expires] = [capsule.issued_at, capsule.expires_at].map(time);
    let [live, recently_seen] =
        [TicketStatus::Live, TicketStatus::RecentlySeen].map(|standing| capsule.count(standing));
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

fn good_json(source: &Source, capsule: &Capsule, verdict: &CapsuleVerdict, judge: &Judge) -> Value {
    let peers = capsule.peers.iter().map(|(ticket, standing)| ticket_json(ticket, ("standing", standing.name())));
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
        "live": capsule.count(TicketStatus::Live),
        "recentlySeen": capsule.count(TicketStatus::RecentlySeen),
        "refused": capsule.refused,
        "revoked": revocations_json(&capsule.revocations),
        "peers": peers.collect::<Vec<_>>(),
    })
}
