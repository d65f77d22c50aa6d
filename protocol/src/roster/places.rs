//! How places are shared out when there are more claims to them than places.
//!
//! The unit is a **share**: a provider's sites, folded by a secret hash into as many as are a quarter of the places. So
//! who has a thousand sites of one provider has a quarter of the places at most, and cannot choose which sites fall
//! together. Who has to go is decided from the top down: the share with the most, in it the site with the most, in it
//! the household with the most. Among equals a secret rank decides that changes every ten minutes, at another moment
//! for each provider: nobody knows it beforehand, and nobody wins by it for ever.

use crate::network::NetworkPath;
use crate::roster::keyed::{Keyed, groups, key, sorted_hashes};
use crate::secret::{HashPurpose, Secret, below, mix};
use crate::time::UnixMillis;

/// How long ranks stay: ten minutes.
const EPOCH_MILLIS: u64 = 600_000;

/// Keeps the shares of one provider apart from those of all others: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Holds a share of one roster, as a number that no other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share(u64);

/// Says where a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: NetworkPath,
    pub(super) share: Share,
}

/// Returns the part of `places` that goes to the longest present, and the number of shares that one provider can have.
pub(crate) const fn quarter(places: usize) -> usize {
    if places < 8 { 1 } else { places / 4 }
}

impl Place {
    /// Finds the share of a path, of `capacity` places in all. The site in it is a hash under the roster's secret already,
    /// so that nobody can choose into which share it is folded.
    pub(super) fn new(path: NetworkPath, capacity: usize) -> Self {
        let shares = u64::try_from(quarter(capacity)).unwrap_or(1);
        let folded = below(shares, mix(path.site.as_u64()));
        Self { path, share: Share(key(mix(path.provider.as_u64().wrapping_mul(SPREAD).wrapping_add(folded)))) }
    }

    /// Returns whether fewer of the `others` are at `place` than here: in its share; if that is the same, in its site;
    /// if that is the same too, in its household.
    pub(super) fn is_more_crowded_than<'a, Others>(&self, place: &Self, others: impl Fn() -> Others) -> bool
    where
        Others: Iterator<Item = &'a Self>,
    {
        let fewer = |is_in: &dyn Fn(&Self, &Self) -> bool| {
            let count = |at: &Self| others().filter(|other| is_in(other, at)).count();
            count(place) < count(self)
        };
        if self.share != place.share {
            fewer(&|other, at| other.share == at.share)
        } else if self.path.site != place.path.site {
            fewer(&|other, at| other.share == at.share && other.path.site == at.path.site)
        } else {
            fewer(&|other, at| other.share == at.share && other.path == at.path)
        }
    }
}

/// Finds the position of the one that has to go of `places`, which are in the order of how long they are held. The first
/// of a share is safe, for as many shares as are a quarter of the capacity: it is counted, but never goes. The first of
/// any other share goes only where it is alone in it: who comes to where somebody is takes nothing from it.
pub(super) fn surplus(places: &[Place], capacity: usize, now: UnixMillis, secret: &Secret) -> Option<usize> {
    let all = (0..).zip(places);
    let shares: Vec<_> = all.map(|(position, place)| Keyed::new(place.share.0, position)).collect();
    let shares = sorted_hashes(&shares);
    let mut safe = Safe(vec![false; places.len()]);
    groups(&shares).filter_map(|share| share.first()).for_each(|first| safe.add(first.position()));
    safe.keep(quarter(capacity));

    let ranks = Ranks::new(places, now, secret);
    let mut members = ranks.heaviest(&shares, &safe);
    if let [first, _, ..] = *members {
        safe.add(first.position());
    }
    for level in [|path: &NetworkPath| path.site, |path: &NetworkPath| path.household] {
        if members.len() > 1 {
            let name = |position| places.get(position).map_or(0, |place: &Place| mix(level(&place.path).as_u64()));
            members.iter_mut().for_each(|member| *member = Keyed::new(name(member.position()), member.position()));
            members.sort_unstable();
            members = ranks.heaviest(&members, &safe);
        }
    }
    members.into_iter().filter(|member| safe.may_go(*member)).map(Keyed::position).max()
}

/// Says of every position whether it never goes.
struct Safe(Vec<bool>);

impl Safe {
    fn add(&mut self, position: usize) {
        if let Some(is_safe) = self.0.get_mut(position) {
            *is_safe = true;
        }
    }

    /// Keeps the first ones alone.
    fn keep(&mut self, most: usize) {
        self.0.iter_mut().filter(|is_safe| **is_safe).skip(most).for_each(|is_safe| *is_safe = false);
    }

    fn may_go(&self, member: Keyed) -> bool {
        self.0.get(member.position()) == Some(&false)
    }
}

/// Finds ranks. At any moment there are two epochs: some providers are in the later one already.
struct Ranks<'a> {
    places: &'a [Place],
    /// Since the earlier one was the only one.
    elapsed: u64,
    /// What is secret in the earlier one and in the later one.
    hashes: [u64; 2],
}

impl<'a> Ranks<'a> {
    fn new(places: &'a [Place], now: UnixMillis, secret: &Secret) -> Self {
        let (earlier, elapsed) = (now.as_u64() / EPOCH_MILLIS, now.as_u64() % EPOCH_MILLIS);
        let hash = |epoch: u64| secret.hash(HashPurpose::Rank, &[&epoch.to_be_bytes()]);
        Self { places, elapsed, hashes: [hash(earlier), hash(earlier.saturating_add(1))] }
    }

    /// Returns one group: of those in which somebody can go the largest; of equally large ones that with the worst rank.
    fn heaviest(&self, sorted: &[Keyed], safe: &Safe) -> Vec<Keyed> {
        let candidates = || groups(sorted).filter(|group| group.iter().any(|member| safe.may_go(*member)));
        let most = candidates().map(<[_]>::len).max();
        let largest = candidates().filter(|group| Some(group.len()) == most);
        let worst = largest.max_by_key(|group| group.first().map(|first| self.rank(*first)));
        worst.map(<[_]>::to_vec).unwrap_or_default()
    }

    fn rank(&self, member: Keyed) -> Option<u64> {
        let provider = self.places.get(member.position())?.path.provider;
        let is_later = self.elapsed + below(EPOCH_MILLIS, mix(provider.as_u64())) >= EPOCH_MILLIS;
        let [earlier, later] = self.hashes;
        // Keys are made of hashes under the secret.
        Some(mix(if is_later { later } else { earlier } ^ member.key()))
    }
}
