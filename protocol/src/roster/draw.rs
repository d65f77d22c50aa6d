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
use crate::roster::keyed::{Keyed, groups, sorted_hashes};
use crate::roster::places::quarter;
use crate::secret::{HashPurpose, Secret, below, mix};
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

    /// Draws a number for `value`, another one for each `purpose`. Seeds and hashed networks are unknown to those who
    /// would gain by guessing, so a mixing function will do.
    const fn draw(self, purpose: u64, value: u64) -> u64 {
        mix(self.0 ^ value.wrapping_add(purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

const PROVIDER: u64 = 1;
const FOLD: u64 = 2;
const SHARE: u64 = 3;
const SITE: u64 = 4;
const RECORD: u64 = 5;
const ORDER: u64 = 6;

/// Holds a record to which places are dealt: by turns, in one turn those present longest first, then by share.
struct Dealt {
    /// How many of its share come before it.
    turn: usize,
    is_longest: bool,
    /// Its share, and which record it is.
    member: Keyed,
}

/// Holds a record among those of its share, in the order in which these are dealt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct InShare {
    /// How many of its site come before it.
    turn: usize,
    site: u64,
    record: u64,
    member: Keyed,
}

/// Chooses `limit` of the records that count at these paths, given in the order of how long they are present. Returns
/// their positions, in a drawn order.
pub(super) fn draw(paths: &[NetworkPath], limit: usize, seed: Seed) -> Vec<usize> {
    let places = quarter(limit);
    let shares = u64::try_from(places).unwrap_or(1);
    // Those present longest, one a share.
    let mut longest: Vec<Keyed> = Vec::with_capacity(places);
    let members: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(position, NetworkPath { provider, site, .. })| {
            let folded = below(shares, seed.draw(FOLD, site.as_u64()));
            let share = seed.draw(SHARE, seed.draw(PROVIDER, provider.as_u64()).wrapping_add(folded));
            let member = Keyed::new(share, position);
            if longest.len() < places && longest.iter().all(|other| other.key() != member.key()) {
                longest.push(member);
            }
            member
        })
        .collect();
    let by_share = sorted_hashes(&members);

    let mut dealt: Vec<Dealt> = Vec::with_capacity(by_share.len());
    let mut scratch = Vec::new();
    for members in groups(&by_share) {
        let Some(&first) = members.first() else { continue };
        // The longest present of a share is the first of its members, which are in order.
        let longest = Some(first).filter(|_| longest.contains(&first));
        let deal = |(turn, member)| Dealt { turn, is_longest: Some(member) == longest, member };
        if members.len() == 1 {
            dealt.push(deal((0, first)));
        } else {
            take_turns(&mut scratch, members, paths, longest, seed);
            dealt.extend((0..).zip(scratch.iter().map(|record| record.member)).map(deal));
        }
    }
    let order = |member: Keyed| Keyed::new(seed.draw(ORDER, number(member.position())), member.position());
    let chosen: Vec<_> = first(&dealt, limit).map(order).collect();
    sorted_hashes(&chosen).into_iter().map(Keyed::position).collect()
}

/// Returns the first `limit` of what was dealt, which is in the order of shares: whole turns, and what there is room for of
/// one more, those present longest before the others.
fn first(dealt: &[Dealt], limit: usize) -> impl Iterator<Item = Keyed> {
    let mut of_turns = vec![0; dealt.len()];
    for dealt in dealt {
        if let Some(count) = of_turns.get_mut(dealt.turn) {
            *count += 1;
        }
    }
    let (mut whole, mut places) = (0, limit);
    for count in of_turns.into_iter().take_while(|count| *count > 0) {
        let Some(left) = places.checked_sub(count) else { break };
        (whole, places) = (whole + 1, left);
    }
    let of_whole_turns = dealt.iter().filter(move |dealt| dealt.turn < whole);
    let next =
        move |is_longest| dealt.iter().filter(move |dealt| dealt.turn == whole && dealt.is_longest == is_longest);
    of_whole_turns.chain(next(true).chain(next(false)).take(places)).map(|dealt| dealt.member)
}

/// Puts a share's members into the order of its turns: its sites take turns, and inside a site the records do, in drawn
/// orders. The one that is `longest` present, where the share has a place for that, has the first turn, and so has its
/// site.
fn take_turns(
    in_turn: &mut Vec<InShare>,
    members: &[Keyed],
    paths: &[NetworkPath],
    longest: Option<Keyed>,
    seed: Seed,
) {
    let site = |member: Keyed| paths.get(member.position()).map(|path| path.site);
    let site_of_longest = longest.and_then(site);
    in_turn.clear();
    in_turn.extend(members.iter().map(|&member| {
        let site = site(member).filter(|site| Some(*site) != site_of_longest);
        let is_longest = Some(member) == longest;
        InShare {
            turn: 0,
            site: site.map_or(0, |site| seed.draw(SITE, site.as_u64())),
            record: if is_longest { 0 } else { seed.draw(RECORD, number(member.position())) },
            member,
        }
    }));
    in_turn.sort_unstable();
    for site in in_turn.chunk_by_mut(|one, other| one.site == other.site) {
        (0..).zip(site).for_each(|(turn, record)| record.turn = turn);
    }
    in_turn.sort_unstable();
}

fn number(position: usize) -> u64 {
    u64::try_from(position).unwrap_or(u64::MAX)
}
