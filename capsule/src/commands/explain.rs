//! `capsule explain`: why each entry of a capsule is there.

use std::collections::BTreeMap;
use std::fmt::Display;

use clap::Args;
use rendezvous_protocol::capsule::{Capsule, TicketStatus};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{CAPSULE_MAX_BYTES, TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::{Payload, PeerData, Ticket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde_json::{Value, json};

use crate::claims::{ClaimedOrigins, Claims};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::outcome::Outcome;
use crate::reader::{Reader, TimeoutArguments};
use crate::source::Source;
use crate::text;
use crate::tickets::TicketArguments;
use crate::trust::{
    CapsuleVerdict, Judge, JudgeError, TrustArguments, Trusted, capsule_refused, publishers_line, root_line,
};

const EXPLAIN_HELP: &str = "\
Examples:
  capsule explain public/capsules/peers.json
  capsule explain https://example.org/capsules/peers.json --root 1.root.json
      verifies it first

Says of each entry why it is there: which beacons listed it, or that the
publisher included it; whether it is live or only recently seen; whether its
ticket is a short one, as beacons take them, or a long one, as stable nodes have.
Which beacons listed it is what the publisher says, and readers decide nothing
by it.

Without --public-key and --root nothing is checked, no signature and no time,
and entries are called live or not by what they say themselves.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at, in seconds since 1970,
                                     instead of the clock's
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  shown
  1  refused: it is no JSON object, or does not verify
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: the address could not be fetched";

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(after_long_help = EXPLAIN_HELP)]
pub(crate) struct ExplainArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What was found out about a capsule by verifying it.
struct Verified {
    capsule: Capsule,
    root: Option<String>,
    publishers: String,
}

/// A capsule, and what is known of it.
struct Explanation {
    source: Source,
    claims: Claims,
    verified: Option<Verified>,
    now: UnixMillis,
}

/// Whether an entry is of use, in the eyes of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Good(TicketStatus),
    /// Never good, by a revoked key, or the second of its peer.
    Refused,
    /// Not even a ticket.
    NoTicket,
}

impl Use {
    const fn name(self) -> &'static str {
        match self {
            Self::Good(status) => status.name(),
            Self::Refused => "refused",
            Self::NoTicket => "noTicket",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Good(TicketStatus::Live) => "live",
            Self::Good(TicketStatus::RecentlySeen) => "recently seen",
            Self::Refused => "refused",
            Self::NoTicket => "no ticket",
        }
    }
}

/// An entry of a capsule.
struct ExplainedEntry<'a> {
    /// What it holds, or what is wrong with its shape.
    ticket: &'a Result<Ticket, String>,
    usefulness: Use,
    /// Who listed it, where that is said.
    listed_by: Option<Vec<String>>,
}

/// Runs the command.
pub(crate) fn explain(
    arguments: &ExplainArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let source = Source::new(&arguments.capsule);
    let reader = Reader::new(arguments.timeout.duration())?;
    let Some(trusted) = Trusted::given(&arguments.trust)? else {
        let claims = Claims::of(&source, &reader.read(&source, CAPSULE_MAX_BYTES)?)?;
        return Ok(outcome(arguments, &Explanation { source, claims, verified: None, now: clock.now()? }));
    };
    let judge = Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?;
    let refusal = match judge.judge(&reader, &source, None, clock) {
        Ok(CapsuleVerdict { result: Ok(capsule), parts, trusted, now }) => {
            let root = root_line(&judge.trusted, &trusted);
            let verified = Verified { root, publishers: publishers_line(&capsule, &trusted), capsule };
            let claims = Claims::of(&source, &parts.json)?;
            return Ok(outcome(arguments, &Explanation { source, claims, verified: Some(verified), now }));
        }
        Ok(CapsuleVerdict { result: Err(error), .. }) => capsule_refused(&source, &error),
        Err(JudgeError::Root(refusal)) => refusal,
        Err(JudgeError::Source(error)) => return Err(error.into()),
        Err(JudgeError::Clock(failure)) => return Err(failure),
    };
    Ok(refusal.outcome(arguments.json, json!({ "capsule": source.to_string() })))
}

fn outcome(arguments: &ExplainArguments, explanation: &Explanation) -> Outcome {
    if arguments.json {
        Outcome::json(&explanation.to_json(), Exit::Good)
    } else {
        Outcome::text(explanation.to_text(), Exit::Good)
    }
}

impl Explanation {
    fn uses(&self) -> Vec<Use> {
        let mut good: BTreeMap<&str, TicketStatus> = BTreeMap::new();
        if let Some(Verified { capsule, .. }) = &self.verified {
            good.extend(capsule.peers.iter().map(|(ticket, standing)| (ticket.as_json(), *standing)));
        }
        let of_entry = |entry: &Result<Ticket, String>| match entry {
            Err(_) => Use::NoTicket,
            // Each once: a copy of a good ticket is refused as the second of its peer.
            Ok(ticket) if self.verified.is_some() => {
                good.remove(ticket.to_json().as_str()).map_or(Use::Refused, Use::Good)
            }
            Ok(ticket) => Use::Good(TicketStatus::of(ticket.payload(), self.now)),
        };
        self.claims.peers.iter().flatten().map(of_entry).collect()
    }

    fn entries(&self) -> Vec<ExplainedEntry<'_>> {
        let listed_by = match self.claims.origins() {
            ClaimedOrigins::Known(listed_by) => listed_by,
            ClaimedOrigins::Absent | ClaimedOrigins::Malformed => Vec::new(),
        };
        let mut listed_by = listed_by.into_iter();
        let entries = self.claims.peers.iter().flatten().zip(self.uses());
        entries.map(|(ticket, usefulness)| ExplainedEntry { ticket, usefulness, listed_by: listed_by.next() }).collect()
    }

    fn is_revoked(&self, key: PublicKey) -> bool {
        let key = key.to_string();
        self.claims.revoked("ticketKeys").contains(&key.as_str())
    }

    fn to_text(&self) -> String {
        let Self { source, claims, verified, now } = self;
        let shown = text::printable(&source.to_string());
        let community = claims.shown("community");
        let [issued, expires] = ["issuedAt", "expiresAt"].map(|name| claims.shown_time(name, *now));
        let mut fields: Vec<(&str, &dyn Display)> = Vec::new();
        match verified {
            None => fields.push(("UNVERIFIED", &shown)),
            Some(Verified { root, publishers, .. }) => {
                fields.push(("good", &shown));
                if let Some(root) = root {
                    fields.push(("root", root));
                }
                fields.push(("publisher", publishers));
            }
        }
        fields.extend([("community", &community as &dyn Display), ("issued", &issued), ("expires", &expires)]);
        let revoked = claims.fields.contains_key("revoked").then(|| claims.shown("revoked"));
        if let Some(revoked) = &revoked {
            fields.push(("revoked", revoked));
        }
        let origins = match claims.origins() {
            ClaimedOrigins::Known(_) => None,
            ClaimedOrigins::Absent => Some("not said"),
            ClaimedOrigins::Malformed => Some("malformed: readers ignore them, and so does this"),
        };
        if let Some(origins) = &origins {
            fields.push(("origins", origins));
        }
        let mut text = text::fields(&fields);
        let entries = self.entries();
        if !entries.is_empty() {
            let head = ["PEER", "USE", "TICKET", "WHY"].map(str::to_owned);
            let rows = entries.iter().map(|entry| self.row(entry));
            let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
            text.push('\n');
            text.push_str(&text::table(&rows));
        }
        if verified.is_none() {
            text.push_str(
                "\nUnverified: this is what the file says, and nothing of it is checked. --public-key or --root checks.\n",
            );
        }
        text
    }

    fn row(&self, ExplainedEntry { ticket, usefulness, listed_by }: &ExplainedEntry<'_>) -> [String; 4] {
        let why = why(listed_by.as_deref());
        let usefulness = usefulness.in_words().to_owned();
        match ticket {
            Ok(ticket) => {
                let payload = ticket.payload();
                let life = text::duration(payload.expires_at.since(payload.issued_at));
                let ticket_words =
                    format!("{}, {life}, ends {}", kind(payload), text::distance(payload.expires_at, self.now));
                let revoked = if self.is_revoked(ticket.public_key()) { "; its key is revoked" } else { "" };
                [payload.peer_id.to_string(), usefulness, ticket_words, format!("{why}{revoked}")]
            }
            Err(reason) => ["-".to_owned(), usefulness, text::printable(reason), why],
        }
    }

    fn to_json(&self) -> Value {
        let Self { source, claims, verified, now } = self;
        let field = |name: &str| claims.fields.get(name).cloned().unwrap_or_default();
        let peers = self.entries().into_iter().map(|ExplainedEntry { ticket, usefulness, listed_by }| {
            let included = listed_by.as_ref().map(Vec::is_empty);
            match ticket {
                Ok(ticket) => {
                    let payload = ticket.payload();
                    json!({
                        "peerId": payload.peer_id.as_str(),
                        "userId": payload.user_id.as_str(),
                        "data": payload.data.as_ref().map(PeerData::as_str),
                        "publicKey": ticket.public_key().to_string(),
                        "issuedAt": payload.issued_at,
                        "expiresAt": payload.expires_at,
                        "lifetimeMs": saturating_millis(payload.expires_at.since(payload.issued_at)),
                        "ticket": kind(payload),
                        "standing": usefulness.name(),
                        "revoked": self.is_revoked(ticket.public_key()),
                        "listedBy": listed_by,
                        "included": included,
                    })
                }
                Err(reason) => {
                    json!({ "standing": usefulness.name(), "error": reason, "listedBy": listed_by, "included": included })
                }
            }
        });
        let publishers = verified
            .as_ref()
            .map(|verified| verified.capsule.publishers.iter().map(PublicKey::to_string).collect::<Vec<_>>());
        json!({
            "verified": verified.is_some(),
            "capsule": source.to_string(),
            "publishers": publishers,
            "community": field("community"),
            "now": now,
            "issuedAt": field("issuedAt"),
            "expiresAt": field("expiresAt"),
            "revoked": field("revoked"),
            "origins": match claims.origins() {
                ClaimedOrigins::Absent => "absent",
                ClaimedOrigins::Malformed => "malformed",
                ClaimedOrigins::Known(_) => "known",
            },
            "peers": peers.collect::<Vec<_>>(),
        })
    }
}

/// Which kind of ticket: one that beacons take, by default, or one that only capsules have.
fn kind(payload: &Payload) -> &'static str {
    if payload.expires_at.since(payload.issued_at) > TICKET_MAX_LIFETIME { "long" } else { "short" }
}

fn why(listed_by: Option<&[String]>) -> String {
    match listed_by {
        None => "it is not said".to_owned(),
        Some([]) => "included by the publisher".to_owned(),
        Some(beacons) => format!("listed by {}", text::printable(&beacons.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_because_somebody_listed_or_included_it() {
        assert_eq!(why(None), "it is not said");
        assert_eq!(why(Some(&[])), "included by the publisher");
        let beacons = ["https://a.example", "https://\u{1b}b"].map(str::to_owned);
        assert_eq!(why(Some(&beacons)), "listed by https://a.example, https://\\u{1b}b");
    }
}
