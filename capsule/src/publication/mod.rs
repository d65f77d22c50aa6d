//! One round of publishing: everybody is asked at once, every ticket is judged, and where the result is good enough it
//! replaces the capsule that is there. `publish` makes one round, `watch` one after the other.
//!
//! A round writes everything or nothing: whatever it refuses for, the capsule that is there stays.

mod arguments;
mod ask;
mod ending;
mod findings;
mod judge;
mod nodes;
mod probe;
mod report;
mod settings;

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rendezvous_protocol::capsule::{CapsuleRules, Contents, Frame, Trust, sign};
use rendezvous_protocol::limits::{CAPSULE_MAX_BYTES, REVOCATIONS_MAX_BYTES};
use rendezvous_protocol::publication::{Composition, RoundFindings, compose_to_fit, held_capsule, mend};
use rendezvous_protocol::revocation::{RevocationError, Revocations};
use rendezvous_protocol::ticket::TicketRules;
use rendezvous_protocol::time::UnixMillis;

pub(crate) use self::arguments::{HOW, PublicationArguments, VARIABLES};
use self::ask::{Asked, ask_all};
use self::ending::Ending;
use self::findings::Findings;
use self::judge::judge_all;
use self::nodes::judge_nodes;
pub(crate) use self::report::RoundReport;
pub(crate) use self::settings::{Pace, PublishSettings};
use crate::beacon::Beacon;
use crate::clock::ClockError;
use crate::destination::{CAPSULE, Destination, Files, Held, MINISIG, SIGNATURE};
use crate::failure::{Cause, Failure};
use crate::fetch::Fetcher;
use crate::files::read_file;
use crate::hook::{self, Ran};
use crate::log::Log;
use crate::minisig;
use crate::signals::HeldSignals;
use crate::text;

/// Why a round could not even begin, or not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublicationError {
    /// The list of what is revoked cannot be read. Without it tickets and beacons would be believed that must not be.
    #[error("the file {} with what is revoked cannot be read: {error}", .path.display())]
    RevokedFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It holds something else.
    #[error("the file {} is not a list of what is revoked: {}", .path.display(), text::printable(&.error.to_string()))]
    Revoked {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: RevocationError,
    },
    /// It would be the last capsule that anybody accepts from this key.
    #[error(
        "the file {} revokes the very key that is to sign: readers would accept this capsule and none after it. If \
         that is meant, say so with `capsule publish --farewell`; else sign with the new key, or correct the file",
        .path.display()
    )]
    RevokesItself {
        /// The file.
        path: PathBuf,
    },
    /// There is no such intention in the list.
    #[error(
        "--farewell is for the last capsule of a key, but no --revoked FILE has this key in its publisherKeys: add \
         {public_key} there, or leave --farewell out"
    )]
    NoFarewell {
        /// The key that is to sign.
        public_key: String,
    },
    /// The end could come in the middle of the files.
    #[error("SIGTERM and SIGINT cannot be held back while files are written: {0}")]
    Signals(io::Error),
}

impl Cause for PublicationError {}

/// What keeps a signal to stop from cutting a write in the middle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interruptions<'a> {
    /// Signals are deferred until the files are written, then acted on.
    Held,
    /// Somebody else takes care of signals, and closes this gate to stop.
    Gate(&'a Gate),
}

/// Open while capsules may be written. Closing it waits for a write that is under way.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<bool>);

impl Gate {
    /// Nothing is written from now on.
    pub(crate) fn close(&self) {
        *self.lock() = true;
    }

    /// Goes through, unless it is closed, and keeps others from closing it.
    fn enter(&self) -> Option<MutexGuard<'_, bool>> {
        Some(self.lock()).filter(|closed| !**closed)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) settings: PublishSettings,
    pub(crate) destination: Destination,
    fetcher: Fetcher,
}

impl Publisher {
    /// Makes what can be made before anybody is asked, mends what a run left that was killed, and refuses what no round
    /// could do.
    pub(crate) fn new(settings: PublishSettings, log: &Log) -> Result<Self, Failure> {
        let fetcher = Fetcher::new()?;
        let destination = Destination::open(&settings.target, &fetcher, settings.timeout)?;
        let publisher = Self { settings, destination, fetcher };
        let revocations = publisher.revocations()?;
        publisher.tidy(&revocations, log)?;
        Ok(publisher)
    }

    /// Mends the directory. (A bucket is looked at when there is something to write.) Where another run writes there just
    /// now, it is that one's business.
    fn tidy(&self, revocations: &Revocations, log: &Log) -> Result<(), Failure> {
        let Destination::Directory(directory) = &self.destination else { return Ok(()) };
        let Some(locked) = directory.try_lock() else { return Ok(()) };
        locked.remove_leftovers()?;
        if let Some((files, _)) = self.mended(&locked.held()?, revocations) {
            // Broken off between two files it is as torn as before.
            locked.replace(&files)?;
            log.note(format_args!(
                "mended: {}, which had not its own signature beside it",
                self.destination.file(CAPSULE)
            ));
        }
        Ok(())
    }

    fn rules(&self) -> CapsuleRules<'_> {
        let tickets = &self.settings.tickets;
        CapsuleRules {
            tickets: tickets.rules_in_capsule(),
            ..CapsuleRules::new(Trust::Key(self.settings.key.public_key()), &tickets.community)
        }
    }

    /// The files that should be there, where a run was killed between two of them, and what the capsule says.
    fn mended(&self, held: &Held, revocations: &Revocations) -> Option<(Files, Frame)> {
        let rules = self.rules();
        if held_capsule(held.bytes()?, &rules, UnixMillis::saturating(0)).is_some() {
            return None;
        }
        let (capsule, frame) = mend(held.json.as_deref()?, &self.settings.key, &rules, revocations)?;
        let minisig = minisig::sign(&capsule.json, frame.issued_at, &self.settings.key);
        Some((Files { capsule, minisig }, frame))
    }

    /// Makes one round. `clock` is read once, when all have answered.
    pub(crate) fn round(
        &self,
        clock: impl FnOnce() -> Result<UnixMillis, ClockError>,
        interruptions: Interruptions<'_>,
        log: &Log,
    ) -> Result<RoundReport, Failure> {
        let settings = &self.settings;
        let revocations = self.revocations()?;
        let is_revoked = |beacon: &&Beacon| revocations.revokes(beacon.url());
        let (not_asked, beacons): (Vec<&Beacon>, Vec<&Beacon>) = settings.beacons.iter().partition(is_revoked);
        let Asked { answers, tickets, probes } = ask_all(&beacons, settings, &self.fetcher, log);
        // Only now, so that what is judged is what will be signed: the tickets as they are when the capsule is issued.
        let now = clock()?;
        let revoked_keys = revocations.ticket_keys.iter().copied().collect();
        let rules = TicketRules { revoked_keys: Some(&revoked_keys), ..settings.tickets.rules() };
        let (reports, lists): (Vec<_>, Vec<_>) = judge_all(&beacons, answers, &rules, now).into_iter().unzip();
        let (nodes, node_reports) = judge_nodes(settings, tickets, probes, &rules, now);
        let url = |position: &usize| beacons.get(*position).map(|beacon| beacon.url().clone());
        let urls = |positions: &[usize]| positions.iter().filter_map(url).collect::<Vec<_>>();
        let nothing = Contents {
            community: &settings.tickets.community,
            issued_at: now,
            lifetime: settings.lifetime,
            entries: &[],
            beacons: &[],
            revocations: &revocations,
        };
        let fits = |composed: &Composition| {
            let contents = Contents { entries: &composed.entries, beacons: &urls(&composed.sources), ..nothing };
            contents.json_bytes() <= CAPSULE_MAX_BYTES
        };
        let (composed, left_out) = compose_to_fit(&nodes, &lists, settings.write.max_peers, settings.shares, fits);
        let name = |position: usize| beacons.get(position).map(|beacon| beacon.to_string());
        let found = Findings {
            counts: RoundFindings {
                answered: reports.iter().any(|beacon| beacon.answered),
                good_beacons: composed.good_beacons,
                listed: composed.listed,
                peers: composed.entries.len(),
            },
            entries: composed.entries,
            left_out,
            sources: urls(&composed.sources),
            limited_by: composed.limited_by.and_then(|(position, peers)| Some((name(position)?, peers))),
            disagreements: findings::disagreements(&composed.disagreements, name),
            nodes: node_reports,
            beacons: reports,
        };
        let contents = Contents { entries: &found.entries, beacons: &found.sources, ..nothing };
        let ended = self.finish(&contents, &found, interruptions)?;
        Ok(RoundReport::new(settings, &self.destination, now, found, &revocations, not_asked, ended))
    }

    /// Reads what is revoked, and whether that goes together with the key that is to sign.
    fn revocations(&self) -> Result<Revocations, PublicationError> {
        let public_key = self.settings.key.public_key();
        let no_farewell = || PublicationError::NoFarewell { public_key: public_key.to_string() };
        let Some(path) = &self.settings.revoked else {
            return if self.settings.write.farewell { Err(no_farewell()) } else { Ok(Revocations::default()) };
        };
        let bytes = read_file(path, REVOCATIONS_MAX_BYTES)
            .map_err(|error| PublicationError::RevokedFile { path: path.clone(), error })?;
        let revocations =
            Revocations::parse(&bytes).map_err(|error| PublicationError::Revoked { path: path.clone(), error })?;
        match (revocations.publisher_keys.contains(&public_key), self.settings.write.farewell) {
            (true, false) => Err(PublicationError::RevokesItself { path: path.clone() }),
            (false, true) => Err(no_farewell()),
            _ => Ok(revocations),
        }
    }

    /// Decides, and writes.
    fn finish(
        &self,
        contents: &Contents<'_>,
        found: &Findings,
        interruptions: Interruptions<'_>,
    ) -> Result<(Ending, Option<Ran>), Failure> {
        let settings = &self.settings;
        if let Err(reason) = settings.write.check_found(&found.counts) {
            return Ok((Ending::NotWritten(reason), None));
        }
        // First, because waiting for another run may take long, and may be broken off at any time.
        let locked = self.destination.lock();
        let (held_signals, entered) = match interruptions {
            Interruptions::Held => (Some(HeldSignals::new().map_err(PublicationError::Signals)?), None),
            Interruptions::Gate(gate) => match gate.enter() {
                Some(entered) => (None, Some(entered)),
                None => return Ok((Ending::Stopped, None)),
            },
        };
        let held = locked.held()?;
        let mended = self.mended(&held, contents.revocations);
        let frame = match &mended {
            Some((_, frame)) => Some(frame.clone()),
            None => held.bytes().and_then(|files| held_capsule(files, &self.rules(), contents.issued_at)),
        };
        let public_key = settings.key.public_key();
        if let Some(frame) = frame
            && let Err(reason) = settings.write.check_held(&found.counts, &frame, public_key, contents.issued_at)
        {
            // It stays, and so readers should be able to take it.
            if let Some((files, _)) = &mended {
                locked.replace(files)?;
            }
            return Ok((Ending::NotWritten(reason), None));
        }
        let capsule = sign(contents, &settings.key);
        let minisig = minisig::sign(&capsule.json, contents.issued_at, &settings.key);
        locked.replace(&Files { capsule, minisig })?;
        drop(locked);
        let is_stopped = || held_signals.as_ref().is_some_and(HeldSignals::is_asked_to_end);
        let ran =
            settings.run.as_ref().map(|run| hook::run(&run.command, &self.variables(contents), run.limit, is_stopped));
        drop(entered);
        Ok((Ending::Written, ran))
    }

    /// What the command learns that runs afterwards.
    fn variables(&self, contents: &Contents<'_>) -> Vec<(&'static str, String)> {
        let place = &self.destination;
        vec![
            ("CAPSULE_PLACE", place.place()),
            ("CAPSULE_FILE", place.file(CAPSULE)),
            ("CAPSULE_SIGNATURE", place.file(SIGNATURE)),
            ("CAPSULE_MINISIG", place.file(MINISIG)),
            ("CAPSULE_COMMUNITY", contents.community.to_string()),
            ("CAPSULE_ISSUED_AT", contents.issued_at.to_string()),
            ("CAPSULE_EXPIRES_AT", contents.issued_at.after(contents.lifetime).to_string()),
            ("CAPSULE_PEERS", contents.entries.len().to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nothing_through() {
        let gate = Gate::default();
        drop(gate.enter().unwrap());
        gate.close();
        assert!(gate.enter().is_none());
    }
}
