//! When which other hub is asked, and what becomes of the answer.
//!
//! Peers take turns, a page each, so that one with much to say, or one that is slow, keeps no other from its turn for
//! longer than a page. An answer without progress ends a round: a hostile hub is asked no more often than an honest one.

use std::time::Duration;

use rendezvous_protocol::backoff::Backoff;
use rendezvous_protocol::directory::envelope::{Signed, VerifiedRecord};
use rendezvous_protocol::directory::exchange::{parse_answer, write_body};
use rendezvous_protocol::directory::limits::{EXCHANGE_ANSWER_MAX_BYTES, HUB_MAX_RECORDS};
use rendezvous_protocol::directory::record::{DomainOf, Exchange, RecordError};
use rendezvous_protocol::directory::state::{HubWrite, RowError, Way};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::live::Position;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::time::UnixMillis;

use crate::directory::config::{HubConfig, HubPeer};
use crate::note::Note;

/// What the names of the rows begin with that say how far a hub has come at its peers.
pub(super) const PEER_ROW: &str = "peer/";

/// How long a peer that could not be asked is left alone.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(10), most: Duration::from_secs(900) };

/// Where something had to be left out, for want of room or because a clock is wrong, the peer is asked for everything again
/// after this time: it does not say by itself what it has said.
const AGAIN_FROM_THE_BEGINNING: Duration = Duration::from_secs(3_600);

/// Pages in a round: those of a full hub whose pages are as short as they can be.
const PAGES_MAX: usize = HUB_MAX_RECORDS / 100;

/// Holds a question to another hub, for the host to carry out: a `POST` of a body to an address, whose answer has at most so
/// many bytes, without following redirects.
#[derive(Clone, Debug)]
pub struct Pull {
    peer: HubPeer,
    body: String,
    since: Option<Position>,
}

impl Pull {
    /// Returns the address.
    pub fn url(&self) -> String {
        format!("{}/v1/hubs/exchange", self.peer.origin.as_str())
    }

    /// Returns the body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Returns how many bytes the answer may have.
    pub const fn most(&self) -> usize {
        EXCHANGE_ANSWER_MAX_BYTES
    }

    pub(super) const fn key(&self) -> PublicKey {
        self.peer.key
    }

    /// Reads the answer, and verifies what is in it. This is most of the work, and needs nothing that is shared.
    ///
    /// # Errors
    /// For people, why it is not an answer.
    pub fn read(&self, now: UnixMillis, domain_of: DomainOf, answer: &[u8]) -> Result<PulledPage, String> {
        let answer = parse_answer(answer).map_err(|error| error.to_string())?;
        let (mut records, mut early, mut refused) = (Vec::new(), 0, 0);
        for (record, way) in answer.records {
            match record.and_then(|record| record.verify(now, domain_of)) {
                Ok(record) => records.push((record, way)),
                Err(RecordError::NotYetValid { .. }) => early += 1,
                // It was, when it was asked for.
                Err(RecordError::Expired { .. }) => {}
                Err(_) => refused += 1,
            }
        }
        Ok(PulledPage { records, early, refused, position: answer.position, more: answer.more })
    }
}

/// Holds an answer whose records are good.
#[derive(Debug)]
pub struct PulledPage {
    records: Vec<(VerifiedRecord, Way)>,
    early: usize,
    refused: usize,
    position: Position,
    more: bool,
}

impl PulledPage {
    pub(super) fn records(&self) -> &[(VerifiedRecord, Way)] {
        &self.records
    }

    /// Returns how many records are of the future.
    pub(super) const fn early(&self) -> usize {
        self.early
    }
}

/// Holds how far a hub has come at one peer.
#[derive(Debug)]
struct PeerState {
    key: PublicKey,
    since: Option<Position>,
    next_at: UnixMillis,
    /// In a row.
    failures: u32,
    /// Of this round.
    pages: usize,
    /// Records that were left out since it was last asked from the beginning.
    left_out: usize,
    /// Records of this round that prove nothing.
    refused: usize,
    began_at: UnixMillis,
}

/// Holds how far a hub has come at all of them.
#[derive(Debug)]
pub(super) struct Pulls {
    peers: Vec<PeerState>,
    /// Whether one is being asked.
    is_asking: bool,
}

fn row(key: &PublicKey, since: Position) -> HubWrite {
    HubWrite::Put { name: format!("{PEER_ROW}{key}"), row: since.to_string() }
}

impl Pulls {
    pub(super) fn restore(
        config: &HubConfig,
        rows: Vec<(String, String)>,
        from_the_beginning: bool,
        now: UnixMillis,
        writes: &mut Vec<HubWrite>,
    ) -> Result<Self, RowError> {
        let state = |peer: &HubPeer| PeerState {
            key: peer.key,
            since: None,
            next_at: now,
            failures: 0,
            pages: 0,
            left_out: 0,
            refused: 0,
            began_at: now,
        };
        let mut peers: Vec<_> = config.peers.iter().map(state).collect();
        for (name, text) in rows {
            let since = text.parse().map_err(|_| RowError {
                name: name.clone(),
                detail: "it is not a position in the changes of a hub".to_owned(),
            })?;
            let of_name = |peer: &&mut PeerState| name.strip_prefix(PEER_ROW) == Some(&peer.key.to_string());
            match peers.iter_mut().find(of_name) {
                Some(peer) if !from_the_beginning => peer.since = Some(since),
                _ => writes.push(HubWrite::Erase { name }),
            }
        }
        Ok(Self { peers, is_asking: false })
    }

    /// Has every peer asked from the beginning, as one of which something was left out.
    pub(super) fn ask_all_again(&mut self) {
        for peer in &mut self.peers {
            peer.left_out = peer.left_out.max(1);
        }
    }

    pub(super) fn deadline(&self) -> Option<UnixMillis> {
        self.peers.iter().map(|peer| peer.next_at).min().filter(|_| !self.is_asking)
    }

    pub(super) fn next(&mut self, config: &HubConfig, now: UnixMillis, nonce: [u8; 16]) -> Option<Pull> {
        if self.is_asking {
            return None;
        }
        for peer in &mut self.peers {
            // A clock that was set back makes nobody wait longer than whoever has just been asked.
            let longest = if peer.failures == 0 { config.interval } else { BACKOFF.most };
            peer.next_at = peer.next_at.min(now.after(longest));
            peer.began_at = peer.began_at.min(now);
        }
        let due = self.peers.iter_mut().filter(|peer| peer.next_at <= now).min_by_key(|peer| peer.next_at)?;
        let peer = config.peers.iter().find(|peer| peer.key == due.key)?.clone();
        if due.left_out > 0 && due.pages == 0 && due.began_at.after(AGAIN_FROM_THE_BEGINNING) <= now {
            (due.since, due.left_out) = (None, 0);
        }
        if due.since.is_none() {
            due.began_at = now;
        }
        let audience = peer.origin.as_str().to_owned();
        let exchange = Exchange { audience, issued_at: now, nonce: Bytes(nonce), since: due.since };
        let body = write_body(&Signed::sign(exchange, config.key.as_ref()?).ok()?);
        self.is_asking = true;
        Some(Pull { peer, body, since: due.since })
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing that the outcome is made of")]
    pub(super) fn answered(
        &mut self,
        now: UnixMillis,
        pull: &Pull,
        page: &PulledPage,
        left_out: usize,
        config: &HubConfig,
        writes: &mut Vec<HubWrite>,
        notes: &mut Vec<Note>,
    ) {
        self.is_asking = false;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.key == pull.key()) else { return };
        let origin = pull.peer.origin.as_str();
        peer.failures = 0;
        peer.pages += 1;
        peer.refused += page.refused;
        if left_out > 0 && peer.left_out == 0 {
            let cause = format!("{origin} knows records for which there is no room here, or which are dated ahead");
            notes.push(Note::failure("exchange_left_out", &cause));
        }
        peer.left_out += left_out;
        let has_progress = pull.since != Some(page.position);
        if has_progress {
            peer.since = Some(page.position);
            // After a restart it is asked again from where nothing was left out.
            if peer.left_out == 0 {
                writes.push(row(&peer.key, page.position));
            }
        }
        if page.more && has_progress && peer.pages < PAGES_MAX {
            // After the others whose turn it is.
            peer.next_at = now;
            return;
        }
        if peer.refused > 0 {
            let cause = format!("{} records of {origin} prove nothing, and are not taken in", peer.refused);
            notes.push(Note::failure("exchange_refused", &cause));
        }
        (peer.pages, peer.refused) = (0, 0);
        peer.next_at = now.after(config.interval);
    }

    pub(super) fn failed(&mut self, now: UnixMillis, pull: &Pull, cause: &str, random: u8, notes: &mut Vec<Note>) {
        self.is_asking = false;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.key == pull.key()) else { return };
        peer.failures = peer.failures.saturating_add(1);
        peer.next_at = now.after(BACKOFF.wait(peer.failures, random));
        // Once for each time that it is away.
        if peer.failures == 1 {
            notes.push(Note::failure("exchange_failed", &format!("{}: {cause}", pull.peer.origin.as_str())));
        }
    }
}
