//! The count of mailboxes: one object, so that there are never more than the operator wants, wherever they are opened.
//!
//! A mailbox has a place from when its owner puts records for it until none of these can count any more and the last
//! message has ended, or until the owner closes it. Where a mailbox lasts for as long as its owner reads, reading renews it. A site opens [`PER_SITE_AND_DAY`] in a day. What is closed goes on
//! counting for that day: else a site could open and close as many as it likes. Sites are cheap, an IPv6 provider has
//! thousands, and a place lasts for months: so all sites of one provider together have a part of the places.

use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::limits::{DEPOSIT_MAX_LIFETIME, RECORD_MAX_LIFETIME};
use rendezvous_protocol::network::{HandedOver, NetworkPath};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::sorted_map::SortedMap;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};

use crate::mailbox::call::OpeningsCall;
use crate::problem::Problem;

/// Mailboxes that one site, an IPv4 /24 or an IPv6 /48, opens in a day.
const PER_SITE_AND_DAY: usize = 10;

/// All sites of a provider have this part of the places, but never fewer than one site opens in a day: a provider alone
/// keeps nobody else out.
const PROVIDER_SHARE: usize = 4;

const DAY: Duration = Duration::from_secs(DAY_SECONDS);

/// How long a place lasts after its owner put records: until none of them counts, and what came last has ended.
const PLACE_LASTS: Duration = RECORD_MAX_LIFETIME.saturating_add(DEPOSIT_MAX_LIFETIME);

/// A place is renewed once this much of it is over, so that an owner who changes a card often writes few rows.
const RENEW_AFTER: Duration = DAY;

/// Holds the places of all mailboxes.
#[derive(Debug)]
pub(crate) struct Openings {
    secret: Secret,
    places: SortedMap<Address, Place>,
}

/// Holds one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    opened_at: UnixMillis,
    /// Salted hashes of where it was opened.
    provider: Bytes<8>,
    site: Bytes<8>,
    /// When the place ends.
    until: UnixMillis,
}

impl Place {
    /// Writes the place as it is stored: its fields, in milliseconds and base64.
    fn to_text(self) -> String {
        let Self { opened_at, provider, site, until } = self;
        format!("{opened_at} {provider} {site} {until}")
    }

    fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| text.parse().ok().and_then(UnixMillis::new);
        let hash = |text| base64::decode_array(text).map(Bytes);
        let (opened_at, rest) = text.split_once(' ')?;
        let (provider, rest) = rest.split_once(' ')?;
        let (site, until) = rest.split_once(' ')?;
        Some(Self { opened_at: time(opened_at)?, provider: hash(provider)?, site: hash(site)?, until: time(until)? })
    }

    /// Returns whether the place still counts for something.
    fn counts(&self, now: UnixMillis) -> bool {
        // One from a clock that was ahead lasts no longer than one from now.
        (now < self.until && self.until <= now.after(PLACE_LASTS)) || self.is_of_today(now)
    }

    fn is_of_today(&self, now: UnixMillis) -> bool {
        now < self.opened_at.after(DAY) && self.opened_at <= now.after(DAY)
    }
}

/// Says what is to be written of a place: its row, or that it is gone.
pub(crate) type PlaceChange = (Address, Option<String>);

impl Openings {
    /// Makes the count of rows, each an address with what [`Openings::take`] wrote.
    pub(crate) fn restore(
        secret: Secret,
        rows: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, (String, String)> {
        let mut places = SortedMap::new();
        for (name, text) in rows {
            let address = name.parse::<Address>().map_err(|error| (name.clone(), error.to_string()))?;
            let place = Place::parse(&text).ok_or_else(|| (name, "not a place".to_owned()))?;
            places.insert(address, place);
        }
        Ok(Self { secret, places })
    }

    /// Returns the secret under which sites are hashed.
    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Answers a call, and says what is to be written.
    pub(crate) fn handle(
        &mut self,
        now: UnixMillis,
        call: OpeningsCall,
        most: u32,
    ) -> (Result<(), Problem>, Vec<PlaceChange>) {
        match call {
            OpeningsCall::Take { address, network } => self.take(now, address, network, most),
            OpeningsCall::Renew { address } => (Ok(()), self.renew(now, address).unwrap_or_default()),
            OpeningsCall::Free { address } => (Ok(()), self.free(now, address)),
        }
    }

    fn take(
        &mut self,
        now: UnixMillis,
        address: Address,
        network: HandedOver,
        most: u32,
    ) -> (Result<(), Problem>, Vec<PlaceChange>) {
        if let Some(changes) = self.renew(now, address) {
            return (Ok(()), changes);
        }
        let until = now.after(PLACE_LASTS);
        let gone: Vec<_> =
            self.places.iter().filter(|(_, place)| !place.counts(now)).map(|(address, _)| *address).collect();
        self.places.retain(|_, place| place.counts(now));
        let mut changes: Vec<_> = gone.into_iter().map(|address| (address, None)).collect();
        let NetworkPath { provider, site, .. } = network.hashed(&self.secret);
        let (provider, site) = (Bytes(provider.to_bytes()), Bytes(site.to_bytes()));
        // The place of one that comes back is its own.
        let others = || self.places.iter().filter(|(other, _)| **other != address).map(|(_, place)| place);
        let of_site = || others().filter(|place| place.site == site && place.is_of_today(now));
        if of_site().count() >= PER_SITE_AND_DAY {
            let oldest = of_site().map(|place| place.opened_at).min().unwrap_or(now);
            return (Err(Problem::TooManyOpenings { retry_after: oldest.after(DAY).since(now) }), changes);
        }
        if others().count() >= most as usize {
            return (Err(Problem::TooManyMailboxes { most, retry_after: DAY }), changes);
        }
        let share = (most as usize / PROVIDER_SHARE).max(PER_SITE_AND_DAY);
        if others().filter(|place| place.provider == provider).count() >= share {
            return (Err(Problem::TooManyOfProvider { share, retry_after: DAY }), changes);
        }
        let place = Place { opened_at: now, provider, site, until };
        self.places.insert(address, place);
        changes.push((address, Some(place.to_text())));
        (Ok(()), changes)
    }

    /// Lets the place of a mailbox last on. One that has none, or whose place has ended, gets none by it.
    fn renew(&mut self, now: UnixMillis, address: Address) -> Option<Vec<PlaceChange>> {
        let until = now.after(PLACE_LASTS);
        let place = self.places.get_mut(&address).filter(|place| now < place.until)?;
        if until.since(place.until) < RENEW_AFTER && place.until <= until {
            return Some(Vec::new());
        }
        place.until = until;
        Some(vec![(address, Some(place.to_text()))])
    }

    fn free(&mut self, now: UnixMillis, address: Address) -> Vec<PlaceChange> {
        let Some(place) = self.places.get_mut(&address).filter(|place| now < place.until) else { return Vec::new() };
        place.until = now;
        if place.counts(now) {
            return vec![(address, Some(place.to_text()))];
        }
        self.places.remove(&address);
        vec![(address, None)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rendezvous_protocol::key::PublicKey;
    use rendezvous_protocol::network::Client;

    use super::*;

    const SECRET: Secret = Secret::from_bytes([1; 16]);
    const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    #[derive(Clone, Debug)]
    enum Deed {
        Take { owner: u8, site: u8 },
        Renew { owner: u8 },
        Free { owner: u8 },
        Wait { hours: u64 },
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            6 => (0_u8..30, 0_u8..4).prop_map(|(owner, site)| Deed::Take { owner, site }),
            2 => (0_u8..30).prop_map(|owner| Deed::Renew { owner }),
            2 => (0_u8..30).prop_map(|owner| Deed::Free { owner }),
            2 => prop_oneof![0_u64..30, 2_000_u64..2_400].prop_map(|hours| Deed::Wait { hours }),
        ];
        prop::collection::vec(deed, 1..120)
    }

    fn address(owner: u8) -> Address {
        Address::of(&PublicKey::from_bytes([owner; 32]))
    }

    proptest! {
        #[test]
        fn there_are_never_more_places_than_there_may_be_nor_does_a_site_or_a_provider_have_more_than_its_own(
            deeds in deeds(),
            most in prop_oneof![1_u32..25, 40_u32..60],
        ) {
            let mut openings = Openings { secret: SECRET, places: SortedMap::new() };
            let mut rows: BTreeMap<String, String> = BTreeMap::new();
            // Who has a place and until when, and from where and when each was opened last.
            let mut held: BTreeMap<u8, UnixMillis> = BTreeMap::new();
            let mut opened: BTreeMap<u8, (u8, UnixMillis)> = BTreeMap::new();
            let mut now = START;
            let share = (most as usize / 4).max(10);
            let provider_of = |site: u8| site / 2;
            let client = |site: u8| Client { address: Some([10, provider_of(site), site, 1].into()), autonomous_system: None };
            for deed in deeds {
                let (call, owner, site) = match deed {
                    Deed::Wait { hours } => {
                        now = now.after(Duration::from_secs(hours * 3_600));
                        continue;
                    }
                    Deed::Take { owner, site } => {
                        let network = client(site).hand_over();
                        (OpeningsCall::Take { address: address(owner), network }, owner, Some(site))
                    }
                    Deed::Renew { owner } => (OpeningsCall::Renew { address: address(owner) }, owner, None),
                    Deed::Free { owner } => (OpeningsCall::Free { address: address(owner) }, owner, None),
                };
                let renews = matches!(call, OpeningsCall::Renew { .. });
                let (outcome, changes) = openings.handle(now, call, most);
                for (address, row) in changes {
                    match row {
                        Some(row) => drop(rows.insert(address.to_string(), row)),
                        None => drop(rows.remove(&address.to_string())),
                    }
                }
                let restored = Openings::restore(SECRET, rows.clone()).unwrap();
                prop_assert_eq!(&restored.places, &openings.places, "the rows are what is known");

                let has_place = held.get(&owner).is_some_and(|until| now < *until);
                match (site, outcome) {
                    (None, outcome) if renews => {
                        prop_assert!(outcome.is_ok());
                        let until = now.after(PLACE_LASTS);
                        if has_place && held.get(&owner).is_some_and(|held| until.since(*held) >= RENEW_AFTER) {
                            held.insert(owner, until);
                        }
                    }
                    (None, outcome) => {
                        prop_assert!(outcome.is_ok());
                        held.remove(&owner);
                    }
                    (Some(site), Ok(())) => {
                        let until = now.after(PLACE_LASTS);
                        if !has_place {
                            opened.insert(owner, (site, now));
                        }
                        if !has_place || held.get(&owner).is_some_and(|held| until.since(*held) >= RENEW_AFTER) {
                            held.insert(owner, until);
                        }
                    }
                    (Some(site), Err(problem)) => {
                        prop_assert!(!has_place, "whoever has a place keeps it");
                        let places = held.iter().filter(|(other, until)| **other != owner && now < **until).count();
                        let is_of_today = |(other, (_, at)): &(&u8, &(u8, UnixMillis))| **other != owner && now < at.after(DAY);
                        let of_today: Vec<_> = opened.iter().filter(is_of_today).map(|(_, (of, _))| *of).collect();
                        let of_site = of_today.iter().filter(|of| **of == site).count();
                        match problem {
                            Problem::TooManyOpenings { retry_after } => {
                                prop_assert!(of_site >= PER_SITE_AND_DAY && !retry_after.is_zero());
                            }
                            Problem::TooManyOfProvider { .. } => {
                                let is_of_provider = |other: &u8| provider_of(opened[other].0) == provider_of(site);
                                let is_held = |(other, until): &(&u8, &UnixMillis)| **other != owner && now < **until;
                                let of_provider = held.iter().filter(is_held).filter(|(other, _)| is_of_provider(other));
                                let gone = opened.iter().filter(is_of_today).filter(|(other, _)| !held.contains_key(other));
                                let gone = gone.filter(|(_, (of, _))| provider_of(*of) == provider_of(site));
                                prop_assert!(of_provider.count() + gone.count() >= share);
                            }
                            _ => prop_assert!(places + of_today.len() >= most as usize),
                        }
                    }
                }
                let places = held.values().filter(|until| now < **until).count();
                prop_assert!(places <= most as usize && openings.places.len() <= most as usize);
                for provider in 0..2 {
                    let path = client(provider * 2).hand_over().hashed(&SECRET);
                    let of_provider = openings.places.values().filter(|place| place.provider.0 == path.provider.to_bytes());
                    prop_assert!(of_provider.count() <= share);
                }
                for site in 0..4 {
                    let of_site = opened.values().filter(|(of, at)| *of == site && now < at.after(DAY));
                    prop_assert!(of_site.count() <= PER_SITE_AND_DAY);
                }
            }
        }
    }
}
