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

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rendezvous_protocol::answer::Listed;
use rendezvous_protocol::capsule::{CapsuleBytes, CapsuleError, CapsuleRules, Contents, Frame, Trust, sign};
use rendezvous_protocol::limits::REVOCATIONS_MAX_BYTES;
use rendezvous_protocol::merge::{Entry, merge_shares};
use rendezvous_protocol::revocation::{RevocationError, Revocations, normal_beacon_url};
use rendezvous_protocol::ticket::{PeerId, TicketRules, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;

pub(crate) use self::arguments::{HOW, PublicationArguments, VARIABLES};
use self::ask::{Asked, ask_all};
use self::ending::Ending;
use self::findings::{BeaconReport, Findings};
use self::judge::judge_all;
use self::nodes::Nodes;
pub(crate) use self::report::Report;
pub(crate) use self::settings::{Pace, PublishSettings};
use crate::beacon::Beacon;
use crate::clock::ClockError;
use crate::destination::{CAPSULE, Destination, Files, Held, LockedDestination, MINISIG, SIGNATURE};
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
    #[error("the file {} is no list of what is revoked: {}", .path.display(), text::printable(&.error.to_string()))]
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
    /// It is held back for so long, and then obeyed.
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
    /// Makes what can be made before anybody is asked, and refuses what no round could do.
    pub(crate) fn new(settings: PublishSettings) -> Result<Self, Failure> {
        let fetcher = Fetcher::new()?;
        let destination = Destination::open(&settings.target, &fetcher, settings.timeout)?;
        let publisher = Self { settings, destination, fetcher };
        publisher.revocations()?;
        Ok(publisher)
    }

    /// Makes one round. `clock` is read once, when all have answered.
    pub(crate) fn round(
        &self,
        clock: impl FnOnce() -> Result<UnixMillis, ClockError>,
        interruptions: Interruptions<'_>,
        log: &Log,
    ) -> Result<Report, Failure> {
        let settings = &self.settings;
        let revocations = self.revocations()?;
        let is_revoked = |beacon: &&Beacon| {
            normal_beacon_url(&beacon.to_string()).is_some_and(|url| revocations.beacons.contains(&url))
        };
        let (left_out, beacons): (Vec<&Beacon>, Vec<&Beacon>) = settings.beacons.iter().partition(is_revoked);
        let Asked { answers, tickets, probes } = ask_all(&beacons, settings, &self.fetcher, log);
        // Only now, so that what is judged is what will be signed: the tickets as they are when the capsule is issued.
        let now = clock()?;
        let rules = TicketRules { revoked_keys: Some(&revocations.ticket_keys), ..settings.tickets.rules() };
        let (reports, lists) = judge_all(&beacons, answers, &rules, now).into_iter().unzip();
        let nodes = Nodes::judge(settings, tickets, probes, &rules, now);
        let found = self.merge(&beacons, lists, nodes, reports);
        let contents = Contents {
            community: &settings.tickets.community,
            issued_at: now,
            lifetime: settings.lifetime,
            entries: &found.entries,
            beacons: &found.sources,
            revocations: &revocations,
        };
        let ended = self.finish(&contents, &found, interruptions)?;
        Ok(Report::new(settings, &self.destination, now, found, &revocations, left_out, ended))
    }

    /// Reads what is revoked, and whether that goes together with the key that is to sign.
    fn revocations(&self) -> Result<Revocations, PublicationError> {
        let public_key = self.settings.key.public_key();
        let no_farewell = || PublicationError::NoFarewell { public_key: public_key.to_string() };
        let Some(path) = &self.settings.revoked else {
            return if self.settings.farewell { Err(no_farewell()) } else { Ok(Revocations::default()) };
        };
        let bytes = read_file(path, REVOCATIONS_MAX_BYTES)
            .map_err(|error| PublicationError::RevokedFile { path: path.clone(), error })?;
        let revocations =
            Revocations::parse(&bytes).map_err(|error| PublicationError::Revoked { path: path.clone(), error })?;
        match (revocations.publisher_keys.contains(&public_key), self.settings.farewell) {
            (true, false) => Err(PublicationError::RevokesItself { path: path.clone() }),
            (false, true) => Err(no_farewell()),
            _ => Ok(revocations),
        }
    }

    /// The nodes first, then what the beacons say, each with its share.
    fn merge(
        &self,
        beacons: &[&Beacon],
        mut lists: Vec<Vec<Listed>>,
        nodes: Nodes,
        reports: Vec<BeaconReport>,
    ) -> Findings {
        let good_beacons = lists.iter().filter(|listed| !listed.is_empty()).count();
        // The publisher knows its nodes better than any beacon, and they cost no beacon a place of its share.
        let included = |peer_id: &PeerId| nodes.tickets.iter().any(|ticket| ticket.peer_id() == peer_id);
        for list in &mut lists {
            list.retain(|listed| !included(listed.ticket.peer_id()));
        }
        let room = self.settings.max_peers.saturating_sub(nodes.tickets.len());
        let merged = merge_shares(&lists, room, self.settings.shares);
        let node = |ticket: &VerifiedTicket| Entry { ticket: ticket.clone(), listed_by: Vec::new() };
        let mut entries: Vec<_> = nodes.tickets.iter().map(node).collect();
        entries.extend(merged.entries);
        // Those that listed nothing good are no origin of anything.
        let good: Vec<usize> =
            lists.iter().enumerate().filter(|(_, list)| !list.is_empty()).map(|(position, _)| position).collect();
        for entry in &mut entries {
            let renumbered = |beacon: &usize| good.iter().position(|good| good == beacon);
            entry.listed_by = entry.listed_by.iter().filter_map(renumbered).collect();
        }
        let name = |position: usize| beacons.get(position).map(|beacon| beacon.to_string());
        Findings {
            sources: good.iter().filter_map(|position| name(*position)).collect(),
            limited_by: merged
                .limited_by
                .and_then(|position| Some((name(position)?, lists.get(position).map_or(0, |list| peers_in(list))))),
            disagreements: findings::disagreements(&merged.disagreements, name),
            entries,
            good_beacons,
            nodes: nodes.reports,
            beacons: reports,
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
        let answered = found.beacons.iter().any(|beacon| beacon.answered);
        // Nodes alone are a poor capsule: better than none, but not better than the last one.
        let only_nodes = !settings.beacons.is_empty() && !answered;
        // A key's last word has to be heard, whoever is online.
        if !settings.farewell {
            if only_nodes && (found.entries.is_empty() || settings.min_beacons > 0) {
                return Ok((Ending::NoBeaconAnswered, None));
            }
            if found.good_beacons < settings.min_beacons {
                return Ok((Ending::TooFewBeacons, None));
            }
            if found.entries.len() < settings.min_peers {
                return Ok((Ending::TooFewPeers, None));
            }
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
        if let Some(ending) = self.objection(&locked, contents.issued_at, only_nodes)? {
            return Ok((ending, None));
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

    /// Why the capsule that is there has to stay, if it has to.
    fn objection(
        &self,
        locked: &LockedDestination<'_>,
        now: UnixMillis,
        only_nodes: bool,
    ) -> Result<Option<Ending>, Failure> {
        let settings = &self.settings;
        let public_key = settings.key.public_key();
        let rules = CapsuleRules {
            tickets: settings.tickets.rules_in_capsule(),
            ..CapsuleRules::new(Trust::Key(public_key), &settings.tickets.community)
        };
        let Some(held) = own_capsule(&locked.held()?, &rules, now) else { return Ok(None) };
        if held.issued_at > now {
            return Ok(Some(Ending::ClockWentBack { held: held.issued_at }));
        }
        if settings.farewell {
            return Ok(None);
        }
        if held.revocations.publisher_keys.contains(&public_key) {
            return Ok(Some(Ending::KeyRevoked));
        }
        Ok((only_nodes && held.expires_at > now.after(settings.gap)).then_some(Ending::NoBeaconAnswered))
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

/// The number of peers in a list, each of which several keys may claim.
fn peers_in(list: &[Listed]) -> usize {
    list.iter().map(|listed| listed.ticket.peer_id()).collect::<BTreeSet<_>>().len()
}

/// What the capsule that is there says, if readers of this key and community may have accepted it, be it from the future
/// or over. Its tickets change nothing about that, and checking a thousand would take longer than to sign and to write.
fn own_capsule(held: &Held, rules: &CapsuleRules<'_>, now: UnixMillis) -> Option<Frame> {
    let json = held.json.as_deref()?;
    let files = CapsuleBytes { json, signature: held.signature.as_deref(), cosignatures: None };
    // Times are checked after the signatures, so that it is the publisher's own whatever they are.
    let then = match Frame::verify(files, rules, now) {
        Ok(capsule) => return Some(capsule),
        Err(CapsuleError::NotYetValid { issued_at, .. }) => issued_at,
        Err(CapsuleError::Expired { expires_at, .. }) => UnixMillis::saturating(expires_at.as_u64().saturating_sub(1)),
        Err(_) => return None,
    };
    Frame::verify(files, rules, then).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rendezvous_protocol::community::Community;
    use rendezvous_protocol::key::{PrivateKey, PublicKey};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(millis)
    }

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32])
    }

    fn held(seed: u8, issued_at: u64, revoked: &[PublicKey]) -> Held {
        let contents = Contents {
            community: &Community::new("mainnet").unwrap(),
            issued_at: at(issued_at),
            lifetime: Duration::from_secs(60),
            entries: &[],
            beacons: &[],
            revocations: &Revocations { publisher_keys: revoked.iter().copied().collect(), ..Revocations::default() },
        };
        let files = sign(&contents, &key(seed));
        Held { json: Some(files.json.into()), signature: Some(files.signature.into()) }
    }

    fn own(held: &Held, now: u64) -> Option<u64> {
        let community = Community::new("mainnet").unwrap();
        let rules = CapsuleRules::new(Trust::Key(key(1).public_key()), &community);
        own_capsule(held, &rules, at(now)).map(|capsule| capsule.issued_at.as_u64())
    }

    #[test]
    fn its_own_capsule_is_known_however_old_and_however_far_ahead() {
        for now in [NOW, NOW + 59_999, NOW + 60_000, NOW + 3_600_000, NOW - 1, NOW - 15_001, NOW - 3_600_000, 0] {
            assert_eq!(own(&held(1, NOW, &[]), now), Some(NOW), "{now}");
            // Also its last one.
            assert_eq!(own(&held(1, NOW, &[key(1).public_key()]), now), Some(NOW), "{now}");
        }
    }

    #[test]
    fn what_binds_no_reader_is_not_its_own() {
        assert_eq!(own(&Held::default(), NOW), None);
        assert_eq!(own(&held(2, NOW, &[]), NOW), None);
        let mut changed = held(1, NOW, &[]);
        changed.json.as_mut().unwrap().push(b' ');
        assert_eq!(own(&changed, NOW), None);
        assert_eq!(own(&Held { signature: None, ..held(1, NOW, &[]) }, NOW), None);
    }

    #[test]
    fn a_closed_gate_lets_nothing_through() {
        let gate = Gate::default();
        drop(gate.enter().unwrap());
        gate.close();
        assert!(gate.enter().is_none());
    }
}
