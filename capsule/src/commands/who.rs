//! `capsule who`: who is online, by a capsule or by a beacon, with every signature checked.

use std::collections::BTreeMap;
use std::thread::Builder;

use clap::Args;
use rendezvous_protocol::answer::{AnswerError, read_answer};
use rendezvous_protocol::capsule::TicketStatus;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::lan::LOCAL_BEACONS_MAX;
use rendezvous_protocol::merge::newest_of_claims;
use rendezvous_protocol::ticket::VerifiedTicket;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::beacon::{AskError, Beacon, BeaconInvalid, HTML_HINT, ask_advice, looks_like_html};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::Fetcher;
use crate::lan::Finder;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::reader::{Reader, TimeoutArguments};
use crate::refusal::Refusal;
use crate::source::{Source, SourceError};
use crate::text;
use crate::tickets::{TicketArguments, TicketSettings, ticket_json};
use crate::trust::{Judge, JudgeError, TrustArguments, Trusted, capsule_refused};

const WHO_HELP: &str = "\
Examples:
  capsule who https://beacon.example.org
      whom the beacon lists
  capsule who https://example.org/capsules/peers.json --root 1.root.json
      who is in the capsule, once it is verified
  capsule who public/capsules/peers.json --public-key KEY --json | jq .peers
  capsule who --lan https://beacon.example.org
      whom the beacon lists, and those of the local network, in one list

A file, and an address whose path ends in .json, is a capsule: it is verified as
by `capsule verify`, and needs --public-key or --root. Any other address is a
beacon's. Its list is signed by nobody; each ticket is, and is checked.
With --lan the local network is asked for beacons, for two seconds. Whom they
list is in the same list, each claim once, by its newest ticket.
Who has no good ticket is not shown, and counted by the reason.
A name proves nothing: the key does. Several keys may claim one name.

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

Exit codes:
  0  shown, also where nobody is there
  1  refused: the capsule does not verify, or the beacon refuses to say (it does
     not serve the community), or the answer is not a list of peers; of the
     local network's beacons, where one refuses and none says whom it lists
  2  usage: a wrong argument or variable, a file that cannot be read
  3  could not reach: the address could not be fetched, or no beacon answers in
     the local network";

/// Arguments of `who`.
#[derive(Args, Debug)]
#[command(after_long_help = WHO_HELP)]
pub(crate) struct WhoArguments {
    /// A beacon's address, or a capsule: a file, or an http(s) URL that ends in .json. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL", required_unless_present = "lan")]
    pub(crate) place: Option<String>,
    /// Show whom beacons of the local network list too. They are found by multicast DNS.
    #[arg(long)]
    pub(crate) lan: bool,
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

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WhoError {
    /// Neither.
    #[error("a capsule's address ends in .json, and this {0}")]
    NotABeacon(BeaconInvalid),
    /// There is nothing that they would be good for.
    #[error(
        "--public-key and --root are for a capsule, whose address ends in .json: a beacon's list is signed by nobody"
    )]
    TrustUnused,
    /// A beacon of the local network refuses, and none says whom it lists.
    #[error("no beacon of the local network says whom it lists, of those that are there: {}", .beacons.join(", "))]
    NobodyTells {
        /// Those that were asked.
        beacons: Vec<String>,
    },
    /// Beacons are said to be in the local network, and none of them can be asked.
    #[error("no beacon of the local network can be asked, of those that are said to be there: {}", .beacons.join(", "))]
    NobodyReached {
        /// Those that were tried.
        beacons: Vec<String>,
    },
}

impl Cause for WhoError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotABeacon(_) | Self::TrustUnused => Exit::Usage,
            Self::NobodyTells { .. } => Exit::Refused,
            Self::NobodyReached { .. } => Exit::Unreachable,
        }
    }
}

/// Those who are there, and the others by code.
struct Found {
    source: String,
    community: Community,
    now: UnixMillis,
    peers: Vec<(VerifiedTicket, TicketStatus)>,
    refused: BTreeMap<&'static str, usize>,
}

/// Runs the command.
pub(crate) fn who(
    arguments: &WhoArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let place = arguments.place.as_deref().map(Source::new);
    let found = match (&place, arguments.place.as_deref()) {
        (Some(source), _) if is_capsule(source) => Some(in_capsule(source, arguments, environment, clock)?),
        (Some(_), Some(place)) => {
            let beacon = Beacon::parse(place).map_err(WhoError::NotABeacon)?;
            refuse_trust(arguments)?;
            Some(at_beacon(&beacon, arguments, environment, clock)?)
        }
        _ => None,
    };
    let found = match found.transpose() {
        Ok(found) => found,
        Err(refusal) => return Ok(clock.explain(refusal).outcome(arguments.json, Value::Null)),
    };
    let found = match (found, arguments.lan) {
        (Some(found), false) => found,
        (found, _) => in_local_network(found, arguments, environment, clock, log)?,
    };
    Ok(if arguments.json {
        Outcome::json(&found.to_json(), Exit::Good)
    } else {
        Outcome::text(found.to_text(), Exit::Good)
    })
}

/// Adds what beacons of the local network list, those that can be asked.
fn in_local_network(
    found: Option<Found>,
    arguments: &WhoArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Found, Failure> {
    if found.is_none() {
        refuse_trust(arguments)?;
    }
    let mut beacons = match (Finder::new()?.ask_for_some(), found.is_some()) {
        (Ok(beacons), _) => beacons,
        (Err(error), true) => {
            log.note(format_args!("{error}"));
            Vec::new()
        }
        (Err(error), false) => return Err(error.into()),
    };
    beacons.truncate(LOCAL_BEACONS_MAX);
    let ask = |beacon: &Beacon| match at_beacon(beacon, arguments, environment, clock) {
        Ok(Ok(found)) => Ok(found),
        // Anybody can answer in that network: what one of them does is not a reason to show nobody.
        Ok(Err(refusal)) => {
            log.note(format_args!("{}: {}", text::printable(&refusal.source), text::printable(&refusal.reason)));
            Err(Exit::Refused)
        }
        Err(failure) => {
            log.note(format_args!("{failure}"));
            Err(failure.exit)
        }
    };
    let local: Vec<Result<Found, Exit>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            beacons.iter().map(|beacon| Builder::new().spawn_scoped(scope, move || ask(beacon))).collect();
        threads.into_iter().filter_map(|thread| thread.ok()?.join().ok()).collect()
    });
    let is_refused = local.iter().any(|told| matches!(told, Err(Exit::Refused)));
    let nobody = || {
        let beacons = beacons.iter().map(Beacon::to_string).collect();
        if is_refused { WhoError::NobodyTells { beacons } } else { WhoError::NobodyReached { beacons } }
    };
    Ok(found.into_iter().chain(local.into_iter().flatten()).reduce(Found::and).ok_or_else(nobody)?)
}

/// Refuses what a capsule alone is verified with.
fn refuse_trust(arguments: &WhoArguments) -> Result<(), WhoError> {
    let is_given = arguments.trust.root.is_some() || !arguments.trust.public_keys.is_empty();
    if is_given { Err(WhoError::TrustUnused) } else { Ok(()) }
}

/// A file, or a file on a host.
fn is_capsule(source: &Source) -> bool {
    match source {
        Source::File(_) => true,
        Source::Url(url) => url.split(['?', '#']).next().is_some_and(|path| path.ends_with(".json")),
    }
}

fn in_capsule(
    source: &Source,
    arguments: &WhoArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Result<Found, Refusal>, Failure> {
    let trusted = Trusted::new(&arguments.trust, environment)?;
    let judge = Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?;
    let reader = Reader::new(arguments.timeout.duration())?;
    match judge.judge(&reader, source, None, clock) {
        Ok(verdict) => Ok(match verdict.result {
            Ok(capsule) => Ok(Found {
                source: source.to_string(),
                community: judge.tickets.community,
                now: verdict.now,
                peers: capsule.peers,
                refused: capsule.refused,
            }),
            Err(error) => Err(capsule_refused(source, &error)),
        }),
        Err(JudgeError::Root(refusal)) => Ok(Err(refusal)),
        Err(JudgeError::Source(error)) => Err(error.into()),
        Err(JudgeError::Clock(failure)) => Err(failure),
    }
}

fn at_beacon(
    beacon: &Beacon,
    arguments: &WhoArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Result<Found, Refusal>, Failure> {
    let tickets = TicketSettings::new(&arguments.tickets, environment)?;
    let answer = beacon.ask(&tickets.community, &Fetcher::new()?, arguments.timeout.duration());
    let body = match answer.body {
        Ok(body) => body,
        Err(AskError::Fetch(error)) => return Err(SourceError::Fetch { url: beacon.to_string(), error }.into()),
        Err(AskError::Refused { problem, .. }) => {
            let advice = ask_advice(&problem);
            return Ok(Err(Refusal::new(beacon, problem.code, &problem.detail, &advice)));
        }
    };
    let now = clock.now()?;
    Ok(match read_answer(&body, &tickets.rules(), now) {
        Ok(answer) => {
            let status = |ticket: &VerifiedTicket| TicketStatus::of(ticket.payload(), now);
            let peers = answer.listed.into_iter().map(|listed| (status(&listed.ticket), listed.ticket));
            Ok(Found {
                source: beacon.to_string(),
                community: tickets.community.clone(),
                now,
                peers: peers.map(|(status, ticket)| (ticket, status)).collect(),
                refused: answer.refused,
            })
        }
        Err(error) => Err(not_a_list(beacon, &error, &body)),
    })
}

fn not_a_list(beacon: &Beacon, error: &AnswerError, body: &[u8]) -> Refusal {
    let hint = if looks_like_html(body) { HTML_HINT } else { "" };
    let reason = format!("{error}{hint}");
    Refusal::new(
        beacon,
        error.code(),
        &reason,
        &"give the address of a beacon, or that of a capsule, which ends in .json",
    )
}

impl Found {
    /// Adds what another source knows.
    fn and(mut self, other: Self) -> Self {
        self.source = format!("{}, {}", self.source, other.source);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.peers = newest_of_claims(self.peers.into_iter().chain(other.peers));
        self
    }

    fn to_text(&self) -> String {
        let head = ["PEER", "USER", "STATUS", "UNTIL", "KEY", "DATA"].map(str::to_owned);
        let row = |(ticket, status): &(VerifiedTicket, TicketStatus)| {
            let payload = ticket.payload();
            let status = match status {
                TicketStatus::Live => "live",
                TicketStatus::RecentlySeen => "recently seen",
            };
            [
                payload.peer_id.as_str().to_owned(),
                text::printable(payload.user_id.as_str()),
                status.to_owned(),
                text::distance(payload.expires_at, self.now),
                ticket.public_key().to_string(),
                payload.data.as_ref().map(|data| text::shortened(data.as_str())).unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = std::iter::once(head).chain(self.peers.iter().map(row)).collect();
        let mut shown = if self.peers.is_empty() { String::new() } else { text::table(&rows) + "\n" };
        let live = self.peers.iter().filter(|(_, status)| *status == TicketStatus::Live).count();
        let recently = self.peers.len().saturating_sub(live);
        let source = text::printable(&self.source);
        shown
            .push_str(&format!("{live} live and {recently} recently seen of {}, verified: {source}\n", self.community));
        if !self.refused.is_empty() {
            shown.push_str(&format!("not shown: {}\n", text::counts(&self.refused)));
        }
        shown
    }

    fn to_json(&self) -> Value {
        let peer = |(ticket, status): &(VerifiedTicket, TicketStatus)| ticket_json(ticket, ("status", status.name()));
        json!({
            "ok": true,
            "source": self.source,
            "community": self.community.as_str(),
            "now": self.now,
            "refused": self.refused,
            "peers": self.peers.iter().map(peer).collect::<Vec<_>>(),
        })
    }
}
