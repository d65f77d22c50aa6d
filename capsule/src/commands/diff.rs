//! `capsule diff`: what one capsule says that another one does not. Nothing is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{CAPSULE_MAX_BYTES, SIGNATURES_MAX_BYTES};
use rendezvous_protocol::signatures::Signatures;
use rendezvous_protocol::ticket::Ticket;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::claims::Claims;
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::outcome::Outcome;
use crate::reader::{Reader, TimeoutArguments};
use crate::source::Source;
use crate::text;

const DIFF_HELP: &str = "\
Examples:
  capsule diff old/peers.json public/capsules/peers.json
  capsule diff https://a.example/peers.json https://b.example/peers.json --json

Says what B has that A has not: peers that came and went, whose ticket is
renewed, and, loudly, whose key is another one; times; who is revoked; which keys
have a line in .sigs.

Nothing is checked, no signature and no time: all that is compared is only what
the files say. `capsule verify` checks.

Environment variables:
  SOURCE_DATE_EPOCH  the time that ages count from instead of the clock's, in
                     seconds since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown, also where there is no difference
  1  refused: one of them is no JSON object
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: an address could not be fetched";

/// Arguments of `diff`.
#[derive(Args, Debug)]
#[command(after_long_help = DIFF_HELP)]
pub(crate) struct DiffArguments {
    /// The older capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "A")]
    pub(crate) old: String,
    /// The newer capsule: a file, or an http(s) URL.
    #[arg(value_name = "B")]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The lists of what is revoked, and what people call them.
const REVOKED: [(&str, &str); 3] =
    [("ticketKeys", "tickets by"), ("publisherKeys", "the publisher"), ("beacons", "the beacon")];

/// One of the two capsules.
struct Side {
    source: Source,
    claims: Claims,
    /// The keys that have a line in `.sigs`.
    cosigners: BTreeSet<String>,
}

impl Side {
    fn read(name: &str, reader: &Reader) -> Result<Self, Failure> {
        let source = Source::new(name);
        let claims = Claims::of(&source, &reader.read(&source, CAPSULE_MAX_BYTES)?)?;
        let signatures = reader.read_if_there(&source.signatures(), SIGNATURES_MAX_BYTES)?;
        let keys = signatures.and_then(|bytes| Signatures::parse(&bytes).ok()).map(|signatures| signatures.keys());
        let cosigners = keys.into_iter().flatten().map(|key| key.to_string()).collect();
        Ok(Self { source, claims, cosigners })
    }

    /// Of tickets for one peer the first, which is the one that readers take.
    fn peers(&self) -> BTreeMap<&str, &Ticket> {
        let mut peers = BTreeMap::new();
        for ticket in self.claims.tickets() {
            peers.entry(ticket.payload().peer_id.as_str()).or_insert(ticket);
        }
        peers
    }
}

/// What happened to a peer.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Came { key: PublicKey },
    Went { key: PublicKey },
    Renewed { by: i128 },
    OtherKey { old: PublicKey, new: PublicKey },
}

impl Change {
    const fn name(&self) -> &'static str {
        match self {
            Self::Came { .. } => "came",
            Self::Went { .. } => "went",
            Self::Renewed { .. } => "renewed",
            Self::OtherKey { .. } => "otherKey",
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Came { key } => format!("came, with the key {key}"),
            Self::Went { key } => format!("went, with the key {key}"),
            Self::Renewed { by } if *by >= 0 => {
                let later = std::time::Duration::from_millis(u64::try_from(*by).unwrap_or(u64::MAX));
                format!("renewed, ends {} later", text::duration(later))
            }
            Self::Renewed { .. } => "has an older ticket".to_owned(),
            Self::OtherKey { old, new } => format!("IS SOMEBODY ELSE: the key was {old}, and is {new}"),
        }
    }
}

fn changes<'a>(old: &BTreeMap<&'a str, &Ticket>, new: &BTreeMap<&'a str, &Ticket>) -> Vec<(&'a str, Change)> {
    let ids: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let change = |id: &'a str| {
        let change = match (old.get(id), new.get(id)) {
            (None, Some(new)) => Change::Came { key: new.public_key() },
            (Some(old), None) => Change::Went { key: old.public_key() },
            (Some(old), Some(new)) if old.public_key() != new.public_key() => {
                Change::OtherKey { old: old.public_key(), new: new.public_key() }
            }
            (Some(old), Some(new)) if old != new => {
                let [old, new] = [old, new].map(|ticket| i128::from(ticket.payload().expires_at.as_u64()));
                Change::Renewed { by: new - old }
            }
            _ => return None,
        };
        Some((id, change))
    };
    ids.into_iter().filter_map(change).collect()
}

/// What `new` has that `old` has not, and the other way round.
struct Lists {
    added: Vec<String>,
    removed: Vec<String>,
}

impl Lists {
    fn new(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Self {
        Self { added: new.difference(old).cloned().collect(), removed: old.difference(new).cloned().collect() }
    }

    fn to_json(&self) -> Value {
        json!({ "added": self.added, "removed": self.removed })
    }
}

fn revoked(old: &Side, new: &Side, list: &str) -> Lists {
    let set = |side: &Side| side.claims.revoked(list).into_iter().map(str::to_owned).collect();
    Lists::new(&set(old), &set(new))
}

/// Runs the command.
pub(crate) fn diff(arguments: &DiffArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let reader = Reader::new(arguments.timeout.duration())?;
    let (old, new) = (Side::read(&arguments.old, &reader)?, Side::read(&arguments.new, &reader)?);
    let now = clock.now()?;
    Ok(if arguments.json {
        Outcome::json(&to_json(&old, &new), Exit::Good)
    } else {
        Outcome::text(to_text(&old, &new, now), Exit::Good)
    })
}

/// All but the peers.
const FIELDS: [&str; 5] = ["version", "community", "issuedAt", "expiresAt", "algorithm"];

fn to_json(old: &Side, new: &Side) -> Value {
    let field = |side: &Side, name: &str| side.claims.fields.get(name).cloned().unwrap_or_default();
    let fields = FIELDS.iter().filter(|name| field(old, name) != field(new, name));
    let fields: serde_json::Map<_, _> =
        fields.map(|name| ((*name).to_owned(), json!({ "old": field(old, name), "new": field(new, name) }))).collect();
    let changes: Vec<_> = changes(&old.peers(), &new.peers())
        .into_iter()
        .map(|(peer_id, change)| match change {
            Change::Came { key } | Change::Went { key } => {
                json!({ "peerId": peer_id, "change": change.name(), "publicKey": key.to_string() })
            }
            Change::Renewed { by } => json!({
                "peerId": peer_id,
                "change": change.name(),
                // Below 2^53 in either direction, like the times that it is between.
                "laterMs": i64::try_from(by).unwrap_or_default(),
            }),
            Change::OtherKey { old, new } => json!({
                "peerId": peer_id,
                "change": change.name(),
                "oldPublicKey": old.to_string(),
                "publicKey": new.to_string(),
            }),
        })
        .collect();
    let revocations: serde_json::Map<_, _> =
        REVOKED.iter().map(|(list, _)| ((*list).to_owned(), revoked(old, new, list).to_json())).collect();
    json!({
        "verified": false,
        "old": old.source.to_string(),
        "new": new.source.to_string(),
        "fields": fields,
        "peers": changes,
        "revoked": revocations,
        "cosigners": Lists::new(&old.cosigners, &new.cosigners).to_json(),
    })
}

fn to_text(old: &Side, new: &Side, now: UnixMillis) -> String {
    let [old_name, new_name] = [old, new].map(|side| text::printable(&side.source.to_string()));
    let mut shown = text::fields(&[("UNVERIFIED", &old_name), ("against", &new_name)]);
    shown.push('\n');
    let mut lines = Vec::new();
    for name in FIELDS {
        let field = |side: &Side| match name {
            "issuedAt" | "expiresAt" => side.claims.shown_time(name, now),
            _ => side.claims.shown(name),
        };
        if field(old) != field(new) {
            lines.push(format!("{name} was {}, and is {}", field(old), field(new)));
        }
    }
    let (old_peers, new_peers) = (old.peers(), new.peers());
    let changes = changes(&old_peers, &new_peers);
    let count = |name: &str| changes.iter().filter(|(_, change)| change.name() == name).count();
    lines.push(format!(
        "peers were {}, and are {}: {} came, {} went, {} renewed, {} with another key",
        old_peers.len(),
        new_peers.len(),
        count("came"),
        count("went"),
        count("renewed"),
        count("otherKey"),
    ));
    for (list, name) in REVOKED {
        let Lists { added, removed } = revoked(old, new, list);
        lines.extend(added.iter().map(|entry| format!("revokes {name} {}", text::printable(entry))));
        lines.extend(removed.iter().map(|entry| format!("does not revoke {name} {} any more", text::printable(entry))));
    }
    let Lists { added, removed } = Lists::new(&old.cosigners, &new.cosigners);
    lines.extend(added.iter().map(|key| format!("has a further signature in the name of {key}")));
    lines.extend(removed.iter().map(|key| format!("has no further signature in the name of {key} any more")));
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(shown, "{line}");
    }
    if !changes.is_empty() {
        let head = ["PEER", "CHANGE"].map(str::to_owned);
        let rows = changes.iter().map(|(id, change)| [(*id).to_owned(), change.in_words()]);
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        shown.push('\n');
        shown.push_str(&text::table(&rows));
    }
    shown.push_str("\nUnverified: this is what the files say, and nothing of it is checked. `capsule verify` does.\n");
    shown
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::key::PrivateKey;

    use super::*;
    use crate::fixture::ticket;

    #[test]
    fn every_change_has_its_name_and_what_stays_has_none() {
        let key = |seed: u8| PrivateKey::from_seed(&[seed; 32]).public_key();
        let old = [ticket("goes", 1, 0), ticket("same", 1, 0), ticket("new ticket", 1, 0), ticket("stolen", 1, 0)];
        let new = [ticket("same", 1, 0), ticket("new ticket", 1, 5_000), ticket("stolen", 2, 0), ticket("comes", 3, 0)];
        let by_id = |tickets: &'static [Ticket]| -> BTreeMap<&'static str, &'static Ticket> {
            tickets.iter().map(|ticket| (ticket.payload().peer_id.as_str(), ticket)).collect()
        };
        let [old, new] = [old, new].map(|tickets| by_id(Vec::from(tickets).leak()));
        assert_eq!(
            changes(&old, &new),
            [
                ("comes", Change::Came { key: key(3) }),
                ("goes", Change::Went { key: key(1) }),
                ("new ticket", Change::Renewed { by: 5_000 }),
                ("stolen", Change::OtherKey { old: key(1), new: key(2) }),
            ]
        );
        assert_eq!(Change::Renewed { by: 5_000 }.in_words(), "renewed, ends 5s later");
        assert_eq!(Change::Renewed { by: -1 }.in_words(), "has an older ticket");
    }
}
