//! Which records an answer holds when there are more than fit.
//!
//! A quarter of the places goes to those present longest, one a share; the rest is dealt in turns, one a share, in a
//! drawn order. An answer thereby shows as many shares as it can, whatever any of them does: nothing depends on how often
//! or when somebody announces, which is free to choose. The order of the result is drawn too.
//!
//! A drawn answer is a function of its **seed**. Whoever knows the seed knows the draw: seeds come from the community's
//! secret, and each serves for a few seconds.

use std::time::Duration;

use crate::network::NetworkPath;
use crate::roster::places::quarter;
use crate::secret::{HashPurpose, Secret};
use crate::time::{UnixMillis, saturating_millis};

/// How long readers are given one draw, so that lists can be kept.
const MOMENT: Duration = Duration::from_secs(5);

/// Holds what a draw depends on besides the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// Returns the seed of the answer that is given now, to everybody; or to one claim, so that two newcomers do not get
    /// the same peers.
    pub(super) fn new(secret: &Secret, now: UnixMillis, caller: Option<(&[u8; 32], &str)>) -> Self {
        let moment = now.as_u64() / saturating_millis(MOMENT);
        let (key, peer_id) = caller.map_or((&[][..], ""), |(key, peer_id)| (key.as_slice(), peer_id));
        Self(secret.hash(HashPurpose::Seed, &[&moment.to_be_bytes(), key, peer_id.as_bytes()]))
    }

    /// Takes back the number of [`Seed::as_u64`].
    pub const fn from_u64(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the seed as a number, to be handed on with the records.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Draws a number for `value`, another one for each `purpose`: the output function of SplitMix64. Seeds and hashed
    /// networks are unknown to those who would gain by guessing, so a mixing function will do.
    const fn draw(self, purpose: u64, value: u64) -> u64 {
        let mut mixed = self.0 ^ value.wrapping_add(purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

const PROVIDER: u64 = 1;
const FOLD: u64 = 2;
const SHARE: u64 = 3;
const SITE: u64 = 4;
const RECORD: u64 = 5;
const ORDER: u64 = 6;

/// Holds a record in the draw.
#[derive(Clone, Copy)]
struct Drawn {
    position: usize,
    /// Shares, sites in one share and records in one site are in the order of these numbers.
    share: u64,
    site: u64,
    record: u64,
    /// Whether it is the longest present of a share that has a place for that.
    is_longest: bool,
    /// How many of its site, and then of its share, come before it.
    turn: usize,
}

/// Chooses `limit` of the records that count at these paths, given in the order of how long they are present. Returns
/// their positions, in a drawn order.
pub(super) fn draw(paths: &[NetworkPath], limit: usize, seed: Seed) -> Vec<usize> {
    let number = |position| u64::try_from(position).unwrap_or(u64::MAX);
    let shares = u64::try_from(quarter(limit)).unwrap_or(1);
    let mut records: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(position, NetworkPath { provider, site, .. })| {
            let folded = seed.draw(FOLD, site.as_u64()) % shares;
            let share = seed.draw(SHARE, seed.draw(PROVIDER, provider.as_u64()).wrapping_add(folded));
            let (site, record) = (seed.draw(SITE, site.as_u64()), seed.draw(RECORD, number(position)));
            Drawn { position, share, site, record, is_longest: false, turn: 0 }
        })
        .collect();

    // Those present longest, one a share, have their share's first turn: they are first in it, and so is their site.
    let mut longest: Vec<(u64, u64)> = Vec::with_capacity(quarter(limit));
    for record in &mut records {
        if longest.len() < quarter(limit) && longest.iter().all(|(share, _)| *share != record.share) {
            longest.push((record.share, record.site));
            (record.is_longest, record.record) = (true, 0);
        }
    }
    for record in &mut records {
        if longest.contains(&(record.share, record.site)) {
            record.site = 0;
        }
    }

    // Inside a site the records are drawn, inside a share the sites take turns, then the shares do.
    records.sort_unstable_by_key(|record| (record.share, record.site, record.record));
    take_turns(&mut records, |one, other| one.share == other.share && one.site == other.site);
    records.sort_unstable_by_key(|record| (record.share, record.turn, record.site));
    take_turns(&mut records, |one, other| one.share == other.share);
    // In one turn the shares stay in their order.
    records.sort_by_key(|record| (record.turn, !record.is_longest));
    records.truncate(limit);
    let mut chosen: Vec<_> =
        records.iter().map(|record| (seed.draw(ORDER, number(record.position)), record.position)).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|(_, position)| position).collect()
}

/// Numbers the records of each group.
fn take_turns(records: &mut [Drawn], is_one_group: impl Fn(&Drawn, &Drawn) -> bool) {
    for group in records.chunk_by_mut(is_one_group) {
        for (turn, record) in group.iter_mut().enumerate() {
            record.turn = turn;
        }
    }
}
