//! Who is present in a community by the word of several beacons, with every ticket checked.

use std::collections::BTreeMap;
use std::thread::Builder;
use std::time::Duration;

use rendezvous_protocol::announcer::REFUSED;
use rendezvous_protocol::answer::{VerifiedAnswer, read_answer};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::merge::{Entry, all_claims};
use rendezvous_protocol::ticket::TicketRules;

use crate::beacon::{AskError, Beacon, HTML_HINT, ask_advice, looks_like_html};
use crate::clock::Clock;
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::Fetcher;
pub use crate::settings::{beacons, community};

/// Says why it is not known who is present.
#[derive(Debug, thiserror::Error)]
pub enum PresentError {
    /// Nobody said anything that could be used.
    #[error("no beacon has answered with a list of peers: {}", .problems.join("; "))]
    NoAnswer {
        /// What went wrong at which.
        problems: Vec<String>,
    },
    /// Whoever answered refused, for reasons of its own.
    #[error("no beacon lists the peers of {community}: {}; {advice}", .problems.join("; "))]
    Refused {
        /// The community that was asked for.
        community: Community,
        /// What went wrong at which.
        problems: Vec<String>,
        /// What the first of them calls it.
        code: &'static str,
        /// What can be done about that one.
        advice: &'static str,
    },
}

impl Cause for PresentError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoAnswer { .. } => Exit::Unreachable,
            Self::Refused { .. } => Exit::Refused,
        }
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoAnswer { .. } => "NO_ANSWER",
            Self::Refused { code, .. } => code,
        })
    }
}

/// Holds who is present.
#[derive(Debug, Default)]
pub struct Present {
    /// Every claim once, the newest first. Positions are those of the beacons that were asked.
    pub peers: Vec<Entry>,
    /// The number of tickets that are not good, by code.
    pub refused: BTreeMap<&'static str, usize>,
    /// What went wrong at which beacon.
    pub problems: Vec<String>,
}

/// Asks all of these beacons at once for a community's peers, in at most `timeout`, and checks every ticket.
///
/// # Errors
/// [`PresentError`], and a clock that cannot be read.
pub fn ask(
    beacons: &[Beacon],
    community: &Community,
    fetcher: &Fetcher,
    timeout: Duration,
) -> Result<Present, Failure> {
    let asked: Vec<_> = std::thread::scope(|scope| {
        let ask = |beacon: &Beacon| beacon.ask(community, fetcher, timeout).body;
        let threads: Vec<_> =
            beacons.iter().map(|beacon| Builder::new().spawn_scoped(scope, move || ask(beacon)).ok()).collect();
        threads.into_iter().map(|thread| thread?.join().ok()).collect()
    });
    let now = Clock::System.now()?;
    let mut refusal = None;
    let (rules, mut present, mut answers) = (TicketRules::new(community), Present::default(), Vec::new());
    for (beacon, body) in beacons.iter().zip(asked) {
        let answer = match body {
            Some(Ok(body)) => read_answer(&body, &rules, now).map_err(|error| {
                let hint = if looks_like_html(&body) { HTML_HINT } else { "" };
                format!("{error}{hint}")
            }),
            Some(Err(error)) => {
                if let AskError::Refused { problem, .. } = &error {
                    let code = Code::parse(&problem.code).map_or(REFUSED, Code::as_str);
                    refusal.get_or_insert((code, ask_advice(problem)));
                }
                Err(error.to_string())
            }
            None => Err("this program failed while asking".to_owned()),
        };
        let VerifiedAnswer { listed, refused } = answer.unwrap_or_else(|reason| {
            present.problems.push(format!("{beacon}: {reason}"));
            VerifiedAnswer::default()
        });
        for (code, count) in refused {
            *present.refused.entry(code).or_default() += count;
        }
        answers.push(listed);
    }
    if present.problems.len() == beacons.len() {
        let problems = present.problems;
        return Err(match refusal {
            None => PresentError::NoAnswer { problems },
            Some((code, advice)) => PresentError::Refused { community: community.clone(), problems, code, advice },
        }
        .into());
    }
    present.peers = all_claims(&answers);
    Ok(present)
}
