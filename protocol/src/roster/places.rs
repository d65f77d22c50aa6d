//! How places are shared out when there are more claims to them than places.
//!
//! The unit is a **share**: a provider's sites, folded by a secret hash into as many as are a quarter of the places. So
//! who has a thousand sites of one provider has a quarter of the places at most, and cannot choose which sites fall
//! together. Who has to go is decided from the top down: the share with the most, in it the site with the most, in it
//! the household with the most. Among equals a secret rank decides that changes every ten minutes, at another moment
//! for each provider: nobody knows it beforehand, and nobody wins by it for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::network::{NetworkHash, NetworkPath};
use crate::secret::{HashPurpose, Secret};
use crate::time::{UnixMillis, saturating_millis};

/// How long ranks stay.
const EPOCH: Duration = Duration::from_secs(600);

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
        let folded = path.site.as_u64() % shares;
        Self { path, share: Share(path.provider.as_u64().wrapping_mul(SPREAD).wrapping_add(folded)) }
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
    let mut shares = BTreeSet::new();
    let mut members: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(position, place)| {
            let is_safe = shares.len() < quarter(capacity) && shares.insert(place.share);
            Member { position, is_safe, place, key: 0 }
        })
        .collect();
    members = heaviest(members, |place| place.share.0, now, secret);
    if let [first, _, ..] = members.as_mut_slice() {
        first.is_safe = true;
    }
    members = heaviest(members, |place| place.path.site.as_u64(), now, secret);
    members = heaviest(members, |place| place.path.household.as_u64(), now, secret);
    members.iter().filter(|member| !member.is_safe).map(|member| member.position).max()
}

#[derive(Clone, Copy)]
struct Member<'a> {
    position: usize,
    is_safe: bool,
    place: &'a Place,
    /// The group that the member is in at the level that is looked at.
    key: u64,
}

/// Keeps one group, the longest present first: of those in which somebody can go the largest; of equally large ones that
/// with the worst rank.
fn heaviest<'a>(
    mut members: Vec<Member<'a>>,
    group: impl Fn(&Place) -> u64,
    now: UnixMillis,
    secret: &Secret,
) -> Vec<Member<'a>> {
    members.iter_mut().for_each(|member| member.key = group(member.place));
    members.sort_unstable_by_key(|member| (member.key, member.position));
    let groups = || {
        members.chunk_by(|one, other| one.key == other.key).filter(|group| group.iter().any(|member| !member.is_safe))
    };
    let most = groups().map(<[_]>::len).max();
    let largest = groups().filter(|group| Some(group.len()) == most);
    let worst = largest.max_by_key(|group| group.first().map(|member| rank(member, now, secret)));
    worst.map(<[_]>::to_vec).unwrap_or_default()
}

fn rank(member: &Member<'_>, now: UnixMillis, secret: &Secret) -> u64 {
    let epoch = epoch(member.place.path.provider, now, secret);
    secret.hash(HashPurpose::Rank, &[&epoch.to_be_bytes(), &member.key.to_be_bytes()])
}

/// Numbers the epochs of a provider.
fn epoch(provider: NetworkHash, now: UnixMillis, secret: &Secret) -> u64 {
    let length = saturating_millis(EPOCH);
    let begins = secret.hash(HashPurpose::Epoch, &[&provider.to_bytes()]) % length;
    now.as_u64().saturating_add(begins) / length
}
