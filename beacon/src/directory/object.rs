//! The hub: the one place where its entries are. A call comes in, an answer and writes go out; both are made together.

use std::time::Duration;

use rendezvous_protocol::directory::envelope::VerifiedRecord;
use rendezvous_protocol::directory::exchange::{SeenExchanges, write_answer};
use rendezvous_protocol::directory::limits::FORGET_EVERY;
use rendezvous_protocol::directory::state::{Filter, Hub, HubLimits, HubWrite, Refused, RowError, Source, Taken, Way};
use rendezvous_protocol::directory::steady_clock::SteadyClock;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::{Answer, Outcome};
use crate::directory::config::HubConfig;
use crate::directory::pull::{PEER_ROW, Pull, PulledPage, Pulls};
use crate::directory::request::{HubCall, entries_json};
use crate::note::Note;
use crate::problem::HubProblem;

/// What the names of the rows begin with that say which exchanges of a peer were answered.
const SEEN_ROW: &str = "seen/";

/// The row of the time by which the hub forgets.
const CLOCK_ROW: &str = "clock";

/// That row is written when it is this old. What is lost of it after a crash comes back by itself.
const CLOCK_WRITTEN_EVERY: Duration = Duration::from_secs(3_600);

/// Caches may keep a list as long as this, in seconds: entries change seldom.
const LIST_MAX_AGE_SECONDS: u64 = 60;

/// Holds one hub.
#[derive(Debug)]
pub struct HubObject {
    hub: Hub,
    config: HubConfig,
    seen: SeenExchanges,
    pulls: Pulls,
    /// By which the hub forgets.
    clock: SteadyClock,
    clock_written: UnixMillis,
    forget_at: UnixMillis,
}

fn clock_row(at: UnixMillis) -> HubWrite {
    HubWrite::Put { name: CLOCK_ROW.to_owned(), row: at.to_string() }
}

fn seen_row(seen: &SeenExchanges, peer: &PublicKey) -> HubWrite {
    HubWrite::Put { name: format!("{SEEN_ROW}{peer}"), row: seen.row(peer) }
}

/// Takes the answered exchanges back of those who are peers still.
fn restore_seen(
    config: &HubConfig,
    rows: Vec<(String, String)>,
    writes: &mut Vec<HubWrite>,
) -> Result<SeenExchanges, RowError> {
    let mut seen = SeenExchanges::default();
    for (name, row) in rows {
        let of_name = |peer: &&PublicKey| name.strip_prefix(SEEN_ROW) == Some(&peer.to_string());
        match config.trust().peers.iter().find(of_name) {
            Some(peer) if seen.restore(*peer, &row).is_none() => {
                return Err(RowError { name, detail: "it is not a list of times and nonces".to_owned() });
            }
            Some(_) => {}
            None => writes.push(HubWrite::Erase { name }),
        }
    }
    Ok(seen)
}

impl HubObject {
    /// Makes the hub of what was stored. `secret` and `epoch` are random, and only the secret has to be secure. Writes are to
    /// be made before anything else.
    ///
    /// # Errors
    /// [`RowError`] names the row that cannot be read.
    pub fn restore(
        config: HubConfig,
        secret: Secret,
        epoch: u32,
        rows: impl IntoIterator<Item = (String, String)>,
        now: UnixMillis,
    ) -> Result<(Self, Vec<HubWrite>), RowError> {
        let mut writes = Vec::new();
        let (of_peers, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name.starts_with(PEER_ROW));
        let (of_exchanges, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name.starts_with(SEEN_ROW));
        let (of_clock, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| name == CLOCK_ROW);
        let (hub, has_dropped) = Hub::restore(HubLimits::default(), config.trust(), secret, epoch, rows, &mut writes)?;
        let pulls = Pulls::restore(&config, of_peers, has_dropped, now, &mut writes)?;
        let seen = restore_seen(&config, of_exchanges, &mut writes)?;
        let clock_written = match of_clock.into_iter().next() {
            Some((name, row)) => {
                let at = row.parse().map_err(|_| RowError { name, detail: "it is not a time".to_owned() })?;
                UnixMillis::saturating(at)
            }
            // The clock may be wrong just now, and what is known was signed by others.
            None => {
                let at = hub.newest().unwrap_or(now).min(now);
                writes.push(clock_row(at));
                at
            }
        };
        let (clock, forget_at) = (SteadyClock::new(clock_written), now.after(FORGET_EVERY));
        Ok((Self { hub, config, seen, pulls, clock, clock_written, forget_at }, writes))
    }

    /// Does what it is asked.
    pub fn handle(&mut self, now: UnixMillis, call: HubCall) -> (Answer, Vec<HubWrite>) {
        let mut writes = Vec::new();
        let outcome = match call {
            HubCall::List { filter, offset, limit } => Ok(self.list(now, &filter, offset, limit)),
            HubCall::Put(record) => self.put(now, *record, &mut writes),
            HubCall::Exchange(exchange) => {
                let (peer, payload) = (exchange.public_key(), exchange.payload());
                let checked = if self.config.is_peer(&peer) {
                    self.seen.take(now, peer, payload.nonce).map_err(HubProblem::Exchange)
                } else {
                    Err(HubProblem::NotAPeer)
                };
                checked.map(|()| {
                    writes.push(seen_row(&self.seen, &peer));
                    Answer::of_json(write_answer(now, &self.hub.tell(now, payload.since)))
                })
            }
        };
        (outcome.unwrap_or_else(|problem| problem.answer(now)), writes)
    }

    fn list(&self, now: UnixMillis, filter: &Filter, offset: usize, limit: usize) -> Answer {
        let listing = self.hub.list(now, filter, offset, limit);
        let (total, entries) = (listing.total, entries_json(&listing.entries));
        let body = format!(r#"{{"entries":{entries},"ok":true,"serverTime":{now},"total":{total}}}"#);
        let max_age = format!("public, max-age={LIST_MAX_AGE_SECONDS}");
        Answer::of_json(body).with_headers(vec![("Cache-Control", max_age)])
    }

    fn put(
        &mut self,
        now: UnixMillis,
        record: VerifiedRecord,
        writes: &mut Vec<HubWrite>,
    ) -> Result<Answer, HubProblem> {
        let updated = record.record().updated();
        let taken = self.hub.offer(record, Source::Own, Way::default(), writes).map_err(HubProblem::Refused)?;
        let accepted = taken != Taken::Known;
        let body = format!(r#"{{"accepted":{accepted},"ok":true,"serverTime":{now},"updated":{updated}}}"#);
        let status = if taken == Taken::New { 201 } else { 200 };
        let outcome = if accepted { Outcome::Accepted } else { Outcome::Served };
        Ok(Answer { status, ..Answer::of_json(body) }.with_outcome(outcome))
    }

    /// Returns when there is something to do without being asked.
    pub fn deadline(&self) -> UnixMillis {
        self.pulls.deadline().map_or(self.forget_at, |deadline| deadline.min(self.forget_at))
    }

    /// Does what is due. Early or repeated, nothing happens.
    pub fn handle_timeout(&mut self, now: UnixMillis) -> Vec<HubWrite> {
        let mut writes = Vec::new();
        // A clock that was set back puts nothing off.
        self.forget_at = self.forget_at.min(now.after(FORGET_EVERY));
        if self.forget_at <= now {
            self.forget_at = now.after(FORGET_EVERY);
            let at = self.clock.tick(now);
            self.hub.handle_timeout(at, &mut writes);
            if at < self.clock_written || self.clock_written.after(CLOCK_WRITTEN_EVERY) <= at {
                self.clock_written = at;
                writes.push(clock_row(at));
            }
        }
        writes
    }

    /// Returns what another hub is to be asked now, if one is. `nonce` is from a secure source of randomness. Until
    /// [`HubObject::pulled`] there is no other.
    pub fn next_pull(&mut self, now: UnixMillis, nonce: [u8; 16]) -> Option<Pull> {
        self.pulls.next(&self.config, now, nonce)
    }

    /// Takes what came of it: a page, or why there is none. `random` spreads out when that hub is asked again.
    pub fn pulled(
        &mut self,
        now: UnixMillis,
        pull: &Pull,
        outcome: Result<PulledPage, String>,
        random: u8,
    ) -> (Vec<HubWrite>, Vec<Note>) {
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        match outcome {
            Ok(page) => {
                let source = Source::Peer(pull.key());
                let mut left_out = page.early();
                for (record, way) in page.records() {
                    match self.hub.offer(record.clone(), source, *way, &mut writes) {
                        // Another peer may know it by a way of its own, and have said so before.
                        Ok(Taken::InPlaceOfAnother) => self.pulls.ask_all_again(),
                        Ok(_) => {}
                        Err(Refused::HubFull { .. }) => left_out += 1,
                        // What is known is newer, or the origin has newer names.
                        Err(_) => {}
                    }
                }
                self.pulls.answered(now, pull, &page, left_out, &self.config, &mut writes, &mut notes);
            }
            Err(cause) => self.pulls.failed(now, pull, &cause, random, &mut notes),
        }
        (writes, notes)
    }
}
