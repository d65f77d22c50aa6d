//! `capsule inspect`: shows what a file says of itself. Nothing is checked, and nothing is hidden because it is wrong.

use std::fmt::Display;

use clap::Args;
use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::ticket::PeerData;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::claims::{ClaimedOrigins, Claims};
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::fetch::Fetcher;
use crate::outcome::Outcome;
use crate::reader::TimeoutArguments;
use crate::source::Source;
use crate::text;

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
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown
  1  refused: it is no JSON object
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `inspect`.
#[derive(Args, Debug)]
#[command(after_long_help = INSPECT_HELP)]
pub(crate) struct InspectArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The fields that a capsule is known by.
const KNOWN: [&str; 9] =
    ["version", "community", "issuedAt", "expiresAt", "algorithm", "signature", "peers", "revoked", "origins"];

/// Runs the command.
pub(crate) fn inspect(arguments: &InspectArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let source = Source::new(&arguments.capsule);
    let bytes = source.read(CAPSULE_MAX_BYTES, &Fetcher::new()?, arguments.timeout.duration())?.bytes;
    let claims = Claims::of(&source, &bytes)?;
    let now = clock.now()?;
    Ok(if arguments.json {
        Outcome::json(&to_json(&claims, &source), Exit::Good)
    } else {
        Outcome::text(to_text(&claims, &source, now), Exit::Good)
    })
}

fn other_fields(claims: &Claims) -> Vec<&String> {
    claims.fields.keys().filter(|name| !KNOWN.contains(&name.as_str())).collect()
}

fn to_text(claims: &Claims, source: &Source, now: UnixMillis) -> String {
    let peers = claims.peers.as_ref().map_or_else(|| "-".to_owned(), |peers| peers.len().to_string());
    let [version, community, algorithm] = ["version", "community", "algorithm"].map(|name| claims.shown(name));
    let [issued, expires] = ["issuedAt", "expiresAt"].map(|name| claims.shown_time(name, now));
    let mut fields: Vec<(&str, &dyn Display)> = vec![
        ("UNVERIFIED", source),
        ("bytes", &claims.bytes),
        ("version", &version),
        ("community", &community),
        ("issued", &issued),
        ("expires", &expires),
        ("algorithm", &algorithm),
        ("peers", &peers),
    ];
    let revoked = claims.fields.contains_key("revoked").then(|| claims.shown("revoked"));
    if let Some(revoked) = &revoked {
        fields.push(("revoked", revoked));
    }
    let origins = match claims.origins() {
        ClaimedOrigins::Absent => None,
        ClaimedOrigins::Malformed => Some("(they do not fit the peers)"),
        ClaimedOrigins::Known(_) => Some("known (`capsule explain` shows them)"),
    };
    if let Some(origins) = &origins {
        fields.push(("origins", origins));
    }
    let others: Vec<_> = other_fields(claims).into_iter().map(|name| text::printable(name)).collect();
    let others = others.join(", ");
    if !others.is_empty() {
        fields.push(("other fields", &others));
    }
    let mut shown = text::fields(&fields);
    if let Some(peers) = claims.peers.as_ref().filter(|peers| !peers.is_empty()) {
        let head = ["PEER", "USER", "EXPIRES", "KEY", "DATA"].map(str::to_owned);
        let rows = peers.iter().map(|peer| match peer {
            Ok(ticket) => {
                let payload = ticket.payload();
                [
                    payload.peer_id.to_string(),
                    text::printable(payload.user_id.as_str()),
                    text::distance(payload.expires_at, now),
                    ticket.public_key().to_string(),
                    payload.data.as_ref().map(|data| text::shortened(data.as_str())).unwrap_or_default(),
                ]
            }
            Err(reason) => {
                let none = String::new;
                [format!("(no ticket: {})", text::printable(reason)), none(), none(), none(), none()]
            }
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        shown.push('\n');
        shown.push_str(&text::table(&rows));
    }
    shown.push_str("\nUnverified: none of this is checked, not even the signatures. `capsule verify` does.\n");
    shown
}

fn to_json(claims: &Claims, source: &Source) -> Value {
    let field = |name: &str| claims.fields.get(name).cloned().unwrap_or_default();
    let peers = claims.peers.as_ref().map(|peers| {
        let peers = peers.iter().map(|peer| match peer {
            Ok(ticket) => {
                let payload = ticket.payload();
                json!({
                    "peerId": payload.peer_id.as_str(),
                    "userId": payload.user_id.as_str(),
                    "data": payload.data.as_ref().map(PeerData::as_str),
                    "publicKey": ticket.public_key().to_string(),
                    "issuedAt": payload.issued_at,
                    "expiresAt": payload.expires_at,
                    "community": payload.community.as_ref().map(|community| community.as_str()),
                })
            }
            Err(reason) => json!({ "error": reason }),
        });
        peers.collect::<Vec<_>>()
    });
    json!({
        "verified": false,
        "capsule": source.to_string(),
        "bytes": claims.bytes,
        "version": field("version"),
        "community": field("community"),
        "issuedAt": field("issuedAt"),
        "expiresAt": field("expiresAt"),
        "algorithm": field("algorithm"),
        "signature": field("signature"),
        "revoked": field("revoked"),
        "origins": field("origins"),
        "otherFields": other_fields(claims),
        "peers": peers,
    })
}
