//! What a publisher puts into a capsule, and whether the capsule is written.
//!
//! A round ends with a capsule or leaves everything as it was. What stops it: nobody answered, too few beacons with good
//! tickets, too few peers; and the capsule that is there, where its readers would refuse the new one, or lose most of
//! the peers that they have.
//!
//! Out of scope: asking, reading what is there, writing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::answer::Listed;
use crate::capsule::{CapsuleBytes, CapsuleError, CapsuleFiles, CapsuleRules, Frame, detached_signature};
use crate::key::{PrivateKey, PublicKey};
use crate::merge::{Disagreement, Entry, Shares, merge_shares};
use crate::revocation::Revocations;
use crate::ticket::{PeerId, VerifiedTicket};
use crate::time::UnixMillis;

/// The fewest peers of a capsule where the beacons together list as many and nobody says otherwise: with fewer, too few
/// of those that a newcomer tries may still be there.
pub const MIN_PEERS: usize = 20;

/// A capsule that lives is not replaced by one with less than this part of its peers.
pub const KEPT_PART: usize = 3;

/// Says why a ticket that the publisher includes is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRefused {
    /// One before it is for the same `peerId`.
    Duplicate,
    /// What has to answer for it does not.
    Silent,
    /// The capsule is full.
    NoRoom,
}

/// Holds the tickets that the publisher includes itself, in its order, before all others.
#[derive(Debug)]
pub struct Nodes {
    tickets: Vec<VerifiedTicket>,
    seen: BTreeSet<PeerId>,
    most: usize,
}

impl Nodes {
    /// Begins with none of at most `most`.
    pub const fn new(most: usize) -> Self {
        Self { tickets: Vec::new(), seen: BTreeSet::new(), most }
    }

    /// Takes the next one. `answers` says whether everything does that has to answer for it.
    ///
    /// # Errors
    /// See [`NodeRefused`].
    pub fn include(&mut self, ticket: VerifiedTicket, answers: bool) -> Result<(), NodeRefused> {
        if !self.seen.insert(ticket.peer_id().clone()) {
            return Err(NodeRefused::Duplicate);
        }
        if !answers {
            return Err(NodeRefused::Silent);
        }
        if self.tickets.len() >= self.most {
            return Err(NodeRefused::NoRoom);
        }
        self.tickets.push(ticket);
        Ok(())
    }

    /// Returns whether a good ticket of this peer was offered, be it left out.
    pub fn has_seen(&self, peer_id: &PeerId) -> bool {
        self.seen.contains(peer_id)
    }
}

/// Holds the entries of a capsule. Beacons are positions in the slice that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Composition {
    /// The nodes, then what the beacons list; `listed_by` has positions in [`Composition::sources`].
    pub entries: Vec<Entry>,
    /// The beacons that listed something good.
    pub sources: Vec<usize>,
    /// By `peerId`.
    pub disagreements: Vec<Disagreement>,
    /// The beacon whose short list limits the capsule, and how many peers it lists.
    pub limited_by: Option<(usize, usize)>,
    /// The beacons with good tickets.
    pub good_beacons: usize,
    /// The peers that the beacons list together, the longest lists of fewer than half of them not counted.
    pub listed: usize,
}

/// Puts the nodes first, and then what the beacons answered, merged, at most `limit` in all.
pub fn compose(nodes: &Nodes, mut answers: Vec<Vec<Listed>>, limit: usize, shares: Shares) -> Composition {
    let good_beacons = answers.iter().filter(|listed| !listed.is_empty()).count();
    let listed = listed_together(&answers);
    // The publisher knows its nodes better than any beacon, and they cost no beacon a place of its share.
    let is_node = |peer_id: &PeerId| nodes.tickets.iter().any(|ticket| ticket.peer_id() == peer_id);
    for answer in &mut answers {
        answer.retain(|listed| !is_node(listed.ticket.peer_id()));
    }
    let merged = merge_shares(&answers, limit.saturating_sub(nodes.tickets.len()), shares);
    let sources: Vec<usize> =
        answers.iter().enumerate().filter(|(_, answer)| !answer.is_empty()).map(|(position, _)| position).collect();
    let included = nodes.tickets.iter().map(|ticket| Entry { ticket: ticket.clone(), listed_by: Vec::new() });
    let renumbered = |beacon: &usize| sources.binary_search(beacon).ok();
    let merged_entries = merged
        .entries
        .into_iter()
        .map(|entry| Entry { listed_by: entry.listed_by.iter().filter_map(renumbered).collect(), ..entry });
    Composition {
        entries: included.chain(merged_entries).collect(),
        disagreements: merged.disagreements,
        limited_by: merged.limited_by.map(|beacon| (beacon, peers_in(answers.get(beacon).into_iter().flatten()))),
        good_beacons,
        listed,
        sources,
    }
}

/// Composes at most `limit` entries, fewer where not all of them `fit` into a file. Returns also how many were left out for
/// that. They go as with a smaller limit, and not from the end: dates and lengths are whatever is signed, and whoever
/// lists the longest tickets must not push out others' peers.
pub fn compose_to_fit(
    nodes: &Nodes,
    answers: &[Vec<Listed>],
    limit: usize,
    shares: Shares,
    fit: impl Fn(&Composition) -> bool,
) -> (Composition, usize) {
    let compose_at_most = |limit| compose(nodes, answers.to_vec(), limit, shares);
    let whole = compose_at_most(limit);
    if fit(&whole) {
        return (whole, 0);
    }
    let wanted = whole.entries.len();
    let (mut fitting, mut too_many) = (nodes.tickets.len(), wanted);
    let mut composed = compose_at_most(fitting);
    while fitting + 1 < too_many {
        let middle = usize::midpoint(fitting, too_many);
        let attempt = compose_at_most(middle);
        if fit(&attempt) {
            (fitting, composed) = (middle, attempt);
        } else {
            too_many = middle;
        }
    }
    let left_out = wanted.saturating_sub(composed.entries.len());
    (composed, left_out)
}

/// Returns how many peers beacons list together, without the longest lists of fewer than half of those with a list: what a
/// minority invents must not keep a capsule of the others from being written.
fn listed_together(answers: &[Vec<Listed>]) -> usize {
    let mut lists: Vec<_> = answers.iter().filter(|answer| !answer.is_empty()).collect();
    lists.sort_by_key(|answer| peers_in(answer.iter()));
    let counted = lists.len() - lists.len().saturating_sub(1) / 2;
    peers_in(lists.into_iter().take(counted).flatten())
}

/// Returns the number of peers in lists, each of which several keys may claim.
fn peers_in<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> usize {
    listed.into_iter().map(|listed| listed.ticket.peer_id()).collect::<BTreeSet<_>>().len()
}

/// Says what a publisher asks of its own capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRules {
    /// The fewest peers; where nobody says how many, [`MIN_PEERS`] if the beacons together list that many, else one.
    pub min_peers: Option<usize>,
    /// The most peers.
    pub max_peers: usize,
    /// The fewest beacons with good tickets.
    pub min_beacons: usize,
    /// The time until the next capsule reaches readers.
    pub gap: Duration,
    /// Whether the publisher has beacons to ask.
    pub has_beacons: bool,
    /// Whether it is the last capsule of the key, which has to be heard, whoever is online.
    pub farewell: bool,
}

/// Says what a round found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundFindings {
    /// Whether a beacon answered, be it wrong.
    pub answered: bool,
    /// The beacons with good tickets.
    pub good_beacons: usize,
    /// The peers that the beacons list together, as in [`Composition::listed`].
    pub listed: usize,
    /// The entries of the new capsule.
    pub peers: usize,
}

/// Says why no capsule is written. The one that is there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// No beacon answered, and what is there is better than nodes alone.
    NoBeaconAnswered,
    /// Fewer beacons than asked for have good tickets.
    TooFewBeacons,
    /// Fewer peers than asked for.
    TooFewPeers {
        /// How many there have to be.
        least: usize,
    },
    /// The capsule that is there was issued later than now, and its readers refuse to go back.
    ClockWentBack {
        /// When it was issued.
        held: UnixMillis,
    },
    /// The capsule that is there is the last one of this key.
    KeyRevoked,
    /// The capsule that is there lives, and has more than three times as many peers.
    FarFewerPeers {
        /// How many it has.
        held: usize,
        /// When it ends.
        until: UnixMillis,
    },
}

impl WriteRules {
    /// Returns how many peers a capsule has to have.
    pub fn least_peers(&self, found: &RoundFindings) -> usize {
        self.min_peers.unwrap_or(if found.listed >= MIN_PEERS { MIN_PEERS.min(self.max_peers) } else { 1 })
    }

    /// Checks what a round found, before what is there is looked at.
    ///
    /// # Errors
    /// The first of [`NotWritten::NoBeaconAnswered`], [`NotWritten::TooFewBeacons`] and [`NotWritten::TooFewPeers`].
    pub fn check_found(&self, found: &RoundFindings) -> Result<(), NotWritten> {
        if self.farewell {
            return Ok(());
        }
        if self.has_only_nodes(found) && (found.peers == 0 || self.min_beacons > 0) {
            return Err(NotWritten::NoBeaconAnswered);
        }
        if found.good_beacons < self.min_beacons {
            return Err(NotWritten::TooFewBeacons);
        }
        let least = self.least_peers(found);
        if found.peers < least { Err(NotWritten::TooFewPeers { least }) } else { Ok(()) }
    }

    /// Checks what a round found against the capsule that is there, as [`held_capsule`] found it.
    ///
    /// # Errors
    /// The first of [`NotWritten::ClockWentBack`], [`NotWritten::KeyRevoked`], [`NotWritten::NoBeaconAnswered`] and
    /// [`NotWritten::FarFewerPeers`].
    pub fn check_held(
        &self,
        found: &RoundFindings,
        held: &Frame,
        key: PublicKey,
        now: UnixMillis,
    ) -> Result<(), NotWritten> {
        if held.issued_at > now {
            return Err(NotWritten::ClockWentBack { held: held.issued_at });
        }
        if self.farewell {
            return Ok(());
        }
        if held.revocations.publisher_keys.contains(&key) {
            return Err(NotWritten::KeyRevoked);
        }
        // What would be over before the next one comes is no better than a poor one.
        if held.expires_at <= now.after(self.gap) {
            return Ok(());
        }
        // Nodes alone are better than none, but not better than the last capsule.
        if self.has_only_nodes(found) {
            return Err(NotWritten::NoBeaconAnswered);
        }
        if found.peers.saturating_mul(KEPT_PART) < held.peers {
            return Err(NotWritten::FarFewerPeers { held: held.peers, until: held.expires_at });
        }
        Ok(())
    }

    const fn has_only_nodes(&self, found: &RoundFindings) -> bool {
        self.has_beacons && !found.answered
    }
}

/// Makes the signature anew of a capsule of this key that lies beside another one's, as a publisher leaves it that is
/// killed between two files. Returns the files, and what the capsule says.
///
/// The signature in the file covers its tickets and times only. Whoever can write where it lies must not get a list of
/// revoked keys signed: the file has to revoke what the publisher does.
pub fn mend(
    json: &[u8],
    key: &PrivateKey,
    rules: &CapsuleRules<'_>,
    revocations: &Revocations,
) -> Option<(CapsuleFiles, Frame)> {
    let files = CapsuleFiles { json: str::from_utf8(json).ok()?.to_owned(), signature: detached_signature(json, key) };
    let bytes = CapsuleBytes { json, signature: Some(files.signature.as_bytes()), cosignatures: None };
    // Its age is the guard's business, not a reason to leave it torn.
    let frame = held_capsule(bytes, rules, UnixMillis::saturating(0))?;
    (frame.revocations == *revocations).then_some((files, frame))
}

/// Returns what the capsule says that is there, if readers of this key and community may have accepted it, be it from
/// the future or over. Its tickets change nothing about that, and checking a thousand would take longer than to sign and
/// to write.
pub fn held_capsule(files: CapsuleBytes<'_>, rules: &CapsuleRules<'_>, now: UnixMillis) -> Option<Frame> {
    // Times are checked after the signatures, so that it is the publisher's own whatever they are.
    let then = match Frame::verify(files, rules, now) {
        Ok(capsule) => return Some(capsule),
        Err(CapsuleError::NotYetValid { issued_at, .. }) => issued_at,
        Err(CapsuleError::Expired { expires_at, .. }) => UnixMillis::saturating(expires_at.as_u64().saturating_sub(1)),
        Err(_) => return None,
    };
    Frame::verify(files, rules, then).ok()
}
