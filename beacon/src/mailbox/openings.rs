//! The count of mailboxes: one object, so that there are never more than the operator wants, wherever they are opened.
//!
//! A mailbox has a place from when its owner puts records for it until none of these can count any more and the last
//! message has ended, or until the owner closes it. A site opens [`PER_SITE_AND_DAY`] in a day. What is closed goes on
//! counting for that day: else a site could open and close as many as it likes.

use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::limits::{DAY_SECONDS, DEPOSIT_MAX_LIFETIME, RECORD_MAX_LIFETIME};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::sorted_map::SortedMap;
use rendezvous_protocol::time::UnixMillis;

use crate::mailbox::call::OpeningsCall;
use crate::problem::Problem;

/// Mailboxes that one site, an IPv4 /24 or an IPv6 /48, opens in a day.
const PER_SITE_AND_DAY: usize = 10;

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
    /// A salted hash of where it was opened.
    site: Bytes<8>,
    /// When the place ends.
    until: UnixMillis,
}

impl Place {
    /// Writes the place as it is stored: its three fields, in milliseconds and base64.
    fn to_text(self) -> String {
        let Self { opened_at, site, until } = self;
        format!("{opened_at} {site} {until}")
    }

    fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| text.parse().ok().and_then(UnixMillis::new);
        let (opened_at, rest) = text.split_once(' ')?;
        let (site, until) = rest.split_once(' ')?;
        let site = Bytes(base64::decode_array(site)?);
        Some(Self { opened_at: time(opened_at)?, site, until: time(until)? })
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
        let until = now.after(PLACE_LASTS);
        if let Some(place) = self.places.get_mut(&address).filter(|place| now < place.until) {
            if until.since(place.until) < RENEW_AFTER && place.until <= until {
                return (Ok(()), Vec::new());
            }
            place.until = until;
            return (Ok(()), vec![(address, Some(place.to_text()))]);
        }
        let gone: Vec<_> =
            self.places.iter().filter(|(_, place)| !place.counts(now)).map(|(address, _)| *address).collect();
        self.places.retain(|_, place| place.counts(now));
        let mut changes: Vec<_> = gone.into_iter().map(|address| (address, None)).collect();
        let site = Bytes(network.hashed(&self.secret).site.to_bytes());
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
        let place = Place { opened_at: now, site, until };
        self.places.insert(address, place);
        changes.push((address, Some(place.to_text())));
        (Ok(()), changes)
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
        Free { owner: u8 },
        Wait { hours: u64 },
    }

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        let deed = prop_oneof![
            6 => (0_u8..30, 0_u8..3).prop_map(|(owner, site)| Deed::Take { owner, site }),
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
        fn there_are_never_more_places_than_there_may_be_nor_a_site_with_more_than_its_own_in_a_day(
            deeds in deeds(),
            most in 1_u32..25,
        ) {
            let mut openings = Openings { secret: SECRET, places: SortedMap::new() };
            let mut rows: BTreeMap<String, String> = BTreeMap::new();
            // Who has a place and until when, and from where and when each was opened last.
            let mut held: BTreeMap<u8, UnixMillis> = BTreeMap::new();
            let mut opened: BTreeMap<u8, (u8, UnixMillis)> = BTreeMap::new();
            let mut now = START;
            for deed in deeds {
                let (call, owner, site) = match deed {
                    Deed::Wait { hours } => {
                        now = now.after(Duration::from_secs(hours * 3_600));
                        continue;
                    }
                    Deed::Take { owner, site } => {
                        let address_of_site = Some([10, site, 0, 1].into());
                        let network = Client { address: address_of_site, autonomous_system: None }.hand_over();
                        (OpeningsCall::Take { address: address(owner), network }, owner, Some(site))
                    }
                    Deed::Free { owner } => (OpeningsCall::Free { address: address(owner) }, owner, None),
                };
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
                            _ => prop_assert!(places + of_today.len() >= most as usize),
                        }
                    }
                }
                let places = held.values().filter(|until| now < **until).count();
                prop_assert!(places <= most as usize && openings.places.len() <= most as usize);
                for site in 0..3 {
                    let of_site = opened.values().filter(|(of, at)| *of == site && now < at.after(DAY));
                    prop_assert!(of_site.count() <= PER_SITE_AND_DAY);
                }
            }
        }
    }
}
