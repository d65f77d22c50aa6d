//! `capsule inspect`: shows what a file says of itself. Nothing is checked, and nothing is hidden because it is wrong.

use std::collections::BTreeMap;

use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::ticket::{Purpose, Ticket};
use rendezvous_protocol::time::UnixMillis;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::arguments::InspectArguments;
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::outcome::{Exit, Failure, Outcome};
use crate::settings::DEFAULT_TIMEOUT;
use crate::source::Source;
use crate::text;

/// The fields that a capsule is known by.
const KNOWN: [&str; 7] = ["version", "community", "issuedAt", "expiresAt", "algorithm", "signature", "peers"];

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// Not JSON, or no object.
    #[error("{} is no JSON object: {}", text::printable(.source_name), text::printable(.reason))]
    NotJson {
        /// The file or address.
        source_name: String,
        /// What the parser says.
        reason: String,
    },
}

/// What a file says.
struct Claims {
    bytes: usize,
    fields: BTreeMap<String, Value>,
    /// Where `peers` is a list: each ticket, or what is wrong with its shape.
    peers: Option<Vec<Result<Ticket, String>>>,
}

/// Runs the command.
pub(crate) fn inspect(arguments: &InspectArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let source = Source::new(&arguments.capsule);
    let bytes = source.read(CAPSULE_MAX_BYTES, &Fetcher::new(), arguments.timeout.unwrap_or(DEFAULT_TIMEOUT))?;
    let claims = Claims::read(&bytes)
        .map_err(|reason| InspectError::NotJson { source_name: source.to_string(), reason: reason.to_string() })?;
    let now = clock.now()?;
    Ok(if arguments.json {
        Outcome::json(&claims.to_json(&source), Exit::Good)
    } else {
        Outcome::text(claims.to_text(&source, now), Exit::Good)
    })
}

impl Claims {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > CAPSULE_MAX_BYTES {
            return Err(format!("it is longer than {CAPSULE_MAX_BYTES} bytes"));
        }
        let raw: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let peers = raw.get("peers").and_then(|peers| serde_json::from_str::<Vec<&RawValue>>(peers.get()).ok());
        let ticket = |raw: &RawValue| Ticket::parse(raw.get(), Purpose::Presence).map_err(|error| error.to_string());
        let peers = peers.map(|peers| peers.into_iter().map(ticket).collect());
        let fields = raw.into_iter().filter(|(name, _)| name != "peers");
        let fields = fields.map(|(name, raw)| serde_json::from_str(raw.get()).map(|value| (name, value)));
        Ok(Self {
            bytes: bytes.len(),
            fields: fields.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            peers,
        })
    }

    fn time(&self, name: &str) -> Option<UnixMillis> {
        self.fields.get(name).and_then(Value::as_u64).and_then(UnixMillis::new)
    }

    fn to_text(&self, source: &Source, now: UnixMillis) -> String {
        let shown = |name: &str| match self.fields.get(name) {
            Some(Value::String(text)) => text::printable(text),
            Some(value) => text::printable(&value.to_string()),
            None => "-".to_owned(),
        };
        let time = |name: &str| match self.time(name) {
            Some(time) => format!("{} ({})", text::date(time), text::distance(time, now)),
            None => shown(name),
        };
        let peers = self.peers.as_ref().map_or_else(|| "-".to_owned(), |peers| peers.len().to_string());
        let others: Vec<_> = self.fields.keys().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        let others: Vec<_> = others.into_iter().map(|name| text::printable(name)).collect();
        let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![("UNVERIFIED", source), ("bytes", &self.bytes)];
        let [version, community, algorithm] = ["version", "community", "algorithm"].map(shown);
        let [issued, expires] = ["issuedAt", "expiresAt"].map(time);
        let others = others.join(", ");
        fields.extend([
            ("version", &version as &dyn std::fmt::Display),
            ("community", &community),
            ("issued", &issued),
            ("expires", &expires),
            ("algorithm", &algorithm),
            ("peers", &peers),
        ]);
        if !others.is_empty() {
            fields.push(("other fields", &others));
        }
        let mut shown = text::fields(&fields);
        if let Some(peers) = self.peers.as_ref().filter(|peers| !peers.is_empty()) {
            let head = ["PEER", "USER", "EXPIRES", "KEY"].map(str::to_owned);
            let rows = peers.iter().map(|peer| match peer {
                Ok(ticket) => {
                    let payload = ticket.payload();
                    [
                        payload.peer_id.to_string(),
                        text::printable(payload.user_id.as_str()),
                        text::distance(payload.expires_at, now),
                        ticket.public_key().to_string(),
                    ]
                }
                Err(reason) => {
                    [format!("(no ticket: {})", text::printable(reason)), String::new(), String::new(), String::new()]
                }
            });
            let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
            shown.push('\n');
            shown.push_str(&text::table(&rows));
        }
        shown.push_str("\nUnverified: none of this is checked, not even the signatures. `capsule verify` does.\n");
        shown
    }

    fn to_json(&self, source: &Source) -> Value {
        let field = |name: &str| self.fields.get(name).cloned().unwrap_or_default();
        let peers = self.peers.as_ref().map(|peers| {
            let peers = peers.iter().map(|peer| match peer {
                Ok(ticket) => {
                    let payload = ticket.payload();
                    json!({
                        "peerId": payload.peer_id.as_str(),
                        "userId": payload.user_id.as_str(),
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
            "bytes": self.bytes,
            "version": field("version"),
            "community": field("community"),
            "issuedAt": field("issuedAt"),
            "expiresAt": field("expiresAt"),
            "algorithm": field("algorithm"),
            "signature": field("signature"),
            "otherFields": self.fields.keys().filter(|name| !KNOWN.contains(&name.as_str())).collect::<Vec<_>>(),
            "peers": peers,
        })
    }
}
