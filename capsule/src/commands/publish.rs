//! `capsule publish`: asks every beacon, and makes a capsule out of what holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::Builder;
use std::time::Duration;

use rendezvous_protocol::answer::{Answer, AnswerError, read_answer};
use rendezvous_protocol::capsule::{CapsuleRules, Contents, Trust, sign};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::merge::{Entry, Shares, merge_shares};
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::ticket::{TicketRules, VerifiedTicket};
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use serde::Serialize;

use crate::arguments::PublishArguments;
use crate::beacon::{Beacon, HTML_HINT, looks_like_html};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::environment::Environment;
use crate::fetch::{FetchError, Fetched, Fetcher};
use crate::outcome::{Exit, Failure, Log, Outcome};
use crate::settings::PublishSettings;
use crate::text;

/// Runs the command.
pub(crate) fn publish(
    arguments: &PublishArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let settings = PublishSettings::new(arguments, environment)?;
    // Before anybody is asked, because a name that cannot be a directory is better known at once.
    let directory = Directory::create(&settings.out)?;
    let fetched = ask_all(&settings, log);
    // Only now, so that what is judged is what will be signed: the tickets as they are when the capsule is issued.
    let now = clock.now()?;
    let rules = settings.tickets.rules();
    let (answers, tickets): (Vec<_>, Vec<_>) =
        settings.beacons.iter().zip(fetched).map(|(beacon, fetched)| judge(beacon, fetched, &rules, now)).unzip();
    let peers = merge_shares(&tickets, settings.max_peers, Shares::Equal).entries;
    let result = write(&settings, &directory, now, &peers, &answers)?;
    let report = Report::new(&settings, &directory, now, &peers, answers, result);
    let exit = result.exit();
    Ok(if arguments.json { Outcome::json(&report, exit) } else { Outcome::text(report.to_text(&settings), exit) })
}

fn ask_all(settings: &PublishSettings, log: &Log) -> Vec<Fetched> {
    let community = &settings.tickets.community;
    log.note(format_args!(
        "asking {} for the peers of {community}, at most {}",
        text::count(settings.beacons.len(), "beacon", "beacons"),
        text::duration(settings.timeout),
    ));
    let fetcher = Fetcher::new();
    std::thread::scope(|scope| {
        let ask = |beacon| ask(beacon, community, &fetcher, settings.timeout, log);
        let start = |beacon| Builder::new().spawn_scoped(scope, move || ask(beacon));
        let threads: Vec<_> = settings.beacons.iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(died))
            .collect()
    })
}

fn ask(beacon: &Beacon, community: &Community, fetcher: &Fetcher, timeout: Duration, log: &Log) -> Fetched {
    let fetched = beacon.ask(community, fetcher, timeout);
    if let Err(error) = &fetched.body {
        log.note(format_args!("{beacon}: {error}"));
    }
    fetched
}

/// For a thread that could not start, or that panicked in a library: that beacon is lost, the others are not.
fn died() -> Fetched {
    let reason = "this program failed while asking".to_owned();
    Fetched { body: Err(FetchError::Broken { reason }), attempts: 1, took: Duration::ZERO }
}

/// What one beacon contributed: a line of the table.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BeaconReport {
    beacon: String,
    /// Whether it said something, be it wrong as a whole.
    answered: bool,
    /// Good tickets in its answer, one a peer.
    tickets: usize,
    /// The others, by code.
    refused: BTreeMap<&'static str, usize>,
    /// Why there are none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    attempts: u32,
    time_ms: u64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Problem {
    code: &'static str,
    detail: String,
}

impl BeaconReport {
    fn row(&self) -> [String; 5] {
        let answered = if self.answered { "yes" } else { "no" };
        let refused = match &self.problem {
            Some(Problem { detail, .. }) => detail.clone(),
            None => text::counts(&self.refused),
        };
        let time = format!("{}.{:02}s", self.time_ms / 1000, self.time_ms % 1000 / 10);
        [self.beacon.clone(), answered.to_owned(), self.tickets.to_string(), refused, time]
    }
}

fn judge(
    beacon: &Beacon,
    fetched: Fetched,
    rules: &TicketRules<'_>,
    now: UnixMillis,
) -> (BeaconReport, Vec<VerifiedTicket>) {
    let Fetched { body, attempts, took } = fetched;
    let (answered, result) = match body {
        Ok(body) => (true, read_answer(&body, rules, now).map_err(|error| not_an_answer(&body, &error))),
        Err(error) => (error.is_answer(), Err(Problem { code: error.code(), detail: error.to_string() })),
    };
    let (Answer { tickets, refused }, problem) = match result {
        Ok(answer) => (answer, None),
        Err(problem) => (Answer::default(), Some(problem)),
    };
    let beacon = beacon.to_string();
    let time_ms = saturating_millis(took);
    (BeaconReport { beacon, answered, tickets: tickets.len(), refused, problem, attempts, time_ms }, tickets)
}

fn not_an_answer(body: &[u8], error: &AnswerError) -> Problem {
    let hint = if looks_like_html(body) { HTML_HINT } else { "" };
    Problem { code: error.code(), detail: text::printable(&format!("{error}{hint}")) }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Written,
    NoBeaconAnswered,
    TooFewPeers,
    /// The capsule in the directory was issued later than now.
    ClockWentBack {
        held: UnixMillis,
    },
}

impl Ending {
    const fn exit(self) -> Exit {
        match self {
            Self::Written => Exit::Good,
            Self::NoBeaconAnswered => Exit::Unreachable,
            Self::TooFewPeers | Self::ClockWentBack { .. } => Exit::Refused,
        }
    }

    /// A name for scripts.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Written => None,
            Self::NoBeaconAnswered => Some("NO_BEACON_ANSWERED"),
            Self::TooFewPeers => Some("TOO_FEW_PEERS"),
            Self::ClockWentBack { .. } => Some("CLOCK_WENT_BACK"),
        }
    }
}

fn write(
    settings: &PublishSettings,
    directory: &Directory,
    now: UnixMillis,
    peers: &[Entry],
    answers: &[BeaconReport],
) -> Result<Ending, Failure> {
    if !answers.iter().any(|answer| answer.answered) {
        return Ok(Ending::NoBeaconAnswered);
    }
    if peers.len() < settings.min_peers {
        return Ok(Ending::TooFewPeers);
    }
    let locked = directory.lock();
    let public_key = settings.key.public_key();
    let rules = CapsuleRules {
        tickets: settings.tickets.rules_in_capsule(),
        ..CapsuleRules::new(Trust::Key(public_key), &settings.tickets.community)
    };
    if let Some(held) = locked.issued_after(now, &rules)? {
        return Ok(Ending::ClockWentBack { held });
    }
    let contents = Contents {
        community: &settings.tickets.community,
        issued_at: now,
        lifetime: settings.lifetime,
        entries: peers,
        beacons: &[],
        revocations: &Revocations::default(),
    };
    locked.replace(&sign(&contents, &settings.key))?;
    Ok(Ending::Written)
}

/// The result, for people and for scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    community: &'a str,
    public_key: String,
    peers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
    beacons: Vec<BeaconReport>,
    #[serde(skip)]
    ending: Ending,
    #[serde(skip)]
    now: UnixMillis,
    #[serde(skip)]
    capsule: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    capsule: String,
    signature: String,
    issued_at: UnixMillis,
    expires_at: UnixMillis,
}

impl<'a> Report<'a> {
    fn new(
        settings: &'a PublishSettings,
        directory: &Directory,
        now: UnixMillis,
        peers: &[Entry],
        beacons: Vec<BeaconReport>,
        ending: Ending,
    ) -> Self {
        let show = |path: &Path| path.display().to_string();
        let capsule = show(&directory.capsule());
        let written = (ending == Ending::Written).then(|| Written {
            capsule: capsule.clone(),
            signature: show(&directory.signature()),
            issued_at: now,
            expires_at: now.after(settings.lifetime),
        });
        let public_key: PublicKey = settings.key.public_key();
        Self {
            ok: written.is_some(),
            code: ending.code(),
            community: settings.tickets.community.as_str(),
            public_key: public_key.to_string(),
            peers: peers.len(),
            written,
            beacons,
            ending,
            now,
            capsule,
        }
    }

    fn to_text(&self, settings: &PublishSettings) -> String {
        let head = ["BEACON", "ANSWERED", "TICKETS", "REFUSED", "TIME"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.beacons.iter().map(BeaconReport::row)).collect();
        let table = text::table(&rows);
        let Self { capsule, now, .. } = self;
        let peers = text::count(self.peers, "peer", "peers");
        let last = match self.ending {
            Ending::Written => format!(
                "written: {capsule} and its .sig, {peers} of {}, until {} ({})",
                self.community,
                text::date(now.after(settings.lifetime)),
                text::distance(now.after(settings.lifetime), *now),
            ),
            Ending::NoBeaconAnswered => {
                format!(
                    "not written: no beacon answered. What is in {capsule} stays. Check the addresses and the network"
                )
            }
            Ending::TooFewPeers => format!(
                "not written: {peers} found, and --min-peers is {}. What is in {capsule} stays",
                settings.min_peers
            ),
            Ending::ClockWentBack { held } => format!(
                "not written: {capsule} was issued at {}, but it is {} by this clock, and readers refuse to go back. \
                 Correct the clock; if that capsule was from a wrong future, wait until then or change the key",
                text::date(held),
                text::date(*now)
            ),
        };
        format!("{table}\n{last}\n")
    }
}
