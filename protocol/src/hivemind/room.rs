//! The room of all mailboxes that nobody has opened: one count for a relay, so that they hold so much together, however many
//! keys somebody makes up.
//!
//! A site has its part of a day, a provider a quarter of what all have. What is counted stays counted for the day, whether or
//! not it was fetched. A message there lasts a day, so that at most what was counted in two is on the disk.

use std::collections::BTreeMap;

use super::limits::{SHARE, UNOPENED_IN_ALL, UNOPENED_LEAST, UNOPENED_PER_SITE, UNOPENED_WINDOW};
use super::refused::Refused;
use super::row::{self, Left};
use crate::mailbox::bytes::Bytes;
use crate::mailbox::state::{Change, RestoreError};
use crate::network::HandedOver;
use crate::secret::Secret;
use crate::time::UnixMillis;

/// Counts what was left in unopened mailboxes.
#[derive(Debug)]
pub struct Room {
    secret: Secret,
    /// By the salted hash of the site.
    sites: BTreeMap<Bytes<8>, Left>,
    changes: Vec<Change>,
}

impl Room {
    /// Makes the count of what was written. `secret` is what networks are hashed under.
    ///
    /// # Errors
    /// [`RestoreError`] names what cannot be read. Never is a count made of the rest.
    pub fn restore(secret: Secret, rows: impl IntoIterator<Item = (String, String)>) -> Result<Self, RestoreError> {
        let mut sites = BTreeMap::new();
        for (name, row) in rows {
            let Some((site, left)) = row::parse_site(&name).zip(Left::parse(&row)) else {
                return Err(RestoreError::Row { name, reason: "not what is written there".to_owned() });
            };
            sites.insert(site, left);
        }
        Ok(Self { secret, sites, changes: Vec::new() })
    }

    /// Returns whether nothing is counted.
    pub fn is_absent(&self) -> bool {
        self.sites.is_empty()
    }

    /// Returns the secret under which networks are hashed.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Takes what is to be written since this was last called.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Returns when something counts no more.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.sites.values().map(|left| left.since.after(UNOPENED_WINDOW)).min()
    }

    /// Forgets what counts no more. Early or repeated, nothing happens.
    pub fn expire(&mut self, now: UnixMillis) {
        let changes = &mut self.changes;
        self.sites.retain(|site, left| {
            // What was counted while the clock was ahead counts no longer than what is counted now.
            let counts = now < left.since.after(UNOPENED_WINDOW) && left.since < now.after(UNOPENED_WINDOW);
            if !counts {
                changes.push(Change::Erase { name: site.to_string() });
            }
            counts
        });
    }

    /// Counts so many bytes that come from there.
    ///
    /// # Errors
    /// [`Refused::Full`], where there is no room for them. Then nothing is counted.
    pub fn take(&mut self, now: UnixMillis, network: HandedOver, bytes: u64) -> Result<(), Refused> {
        self.expire(now);
        let bytes = bytes.max(UNOPENED_LEAST);
        let path = network.hashed(&self.secret);
        let (site, provider) = (Bytes(path.site.to_bytes()), Bytes(path.provider.to_bytes()));
        let sum = |is_it: &dyn Fn(&Left) -> bool| {
            self.sites.values().filter(|left| is_it(left)).fold(bytes, |sum, left| sum.saturating_add(left.bytes))
        };
        let of_provider = sum(&|left| left.provider == provider);
        let of_site = self.sites.get(&site).map_or(0, |left| left.bytes).saturating_add(bytes);
        if of_site > UNOPENED_PER_SITE || of_provider > UNOPENED_IN_ALL / SHARE || sum(&|_| true) > UNOPENED_IN_ALL {
            return Err(Refused::Full);
        }
        let left = self.sites.entry(site).or_insert(Left { since: now, bytes: 0, provider });
        left.bytes = of_site;
        self.changes.push(Change::Put { name: site.to_string(), row: left.to_text() });
        Ok(())
    }
}
