//! The count of mailboxes: one object, so that there are never more than the operator wants, wherever they are opened.
//!
//! A mailbox has a place from when its owner puts records for it until none of these can count any more and the last
//! message has ended, or until the owner closes it. A site opens [`PER_SITE_AND_DAY`] in a day. What is closed goes on
//! counting for that day: else a site could open and close as many as it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::limits::{DAY_SECONDS, DEPOSIT_MAX_LIFETIME, RECORD_MAX_LIFETIME};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

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
    places: BTreeMap<Address, Place>,
}

/// Holds one place, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    opened_at: UnixMillis,
    /// A salted hash of where it was opened.
    site: Bytes<8>,
    /// When the place ends.
    until: UnixMillis,
}

impl Place {
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
        let mut places = BTreeMap::new();
        for (name, text) in rows {
            let address = name.parse::<Address>().map_err(|error| (name.clone(), error.to_string()))?;
            let place = serde_json::from_str(&text).map_err(|error| (name, error.to_string()))?;
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
            let row = row(place);
            return (Ok(()), vec![(address, Some(row))]);
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
        changes.push((address, Some(row(&place))));
        (Ok(()), changes)
    }

    fn free(&mut self, now: UnixMillis, address: Address) -> Vec<PlaceChange> {
        let Some(place) = self.places.get_mut(&address).filter(|place| now < place.until) else { return Vec::new() };
        place.until = now;
        if place.counts(now) {
            return vec![(address, Some(row(place)))];
        }
        self.places.remove(&address);
        vec![(address, None)]
    }
}

fn row(place: &Place) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(place).unwrap_or_default()
}
