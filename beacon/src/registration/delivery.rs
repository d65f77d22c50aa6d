//! Telling an operator's own program of registrations: what it is told, and how often that is tried.

use std::collections::BTreeMap;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rendezvous_protocol::backoff::Backoff;
use rendezvous_protocol::bytes::hex;
use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::registration::{Confirmed, RegistrationWrite, UnreadableRow};
use rendezvous_protocol::time::UnixMillis;
use sha2::Sha256;

use crate::registration::config::Webhook;

/// The header with the time of the try, in milliseconds.
pub const TIME_HEADER: &str = "Rendezvous-Time";

/// The header with the HMAC-SHA256 of the time, a full stop and the body, in hexadecimal.
pub const SIGNATURE_HEADER: &str = "Rendezvous-Signature";

/// How often a delivery is tried.
const TRIES: u32 = 5;

/// The wait between two tries.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(10), most: Duration::from_secs(600) };

/// What the names of deliveries' rows begin with.
pub(super) const ROW: &str = "webhook/";

/// Holds a request that tells of a registration, for the host to carry out: a `POST` of JSON to an address, without
/// following redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    number: u64,
    /// Where it goes.
    pub url: String,
    /// The value of [`TIME_HEADER`].
    pub time: String,
    /// The value of [`SIGNATURE_HEADER`].
    pub signature: String,
    /// The JSON.
    pub body: String,
}

#[derive(Debug)]
struct Waiting {
    body: String,
    tries: u32,
    next_at: UnixMillis,
    is_in_flight: bool,
}

/// Holds the deliveries that were not made yet. There are no more than registrations that were confirmed in the last minutes.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

fn write(number: u64, waiting: &Waiting) -> RegistrationWrite {
    let row = format!("{} {}", waiting.tries, waiting.body);
    RegistrationWrite { name: format!("{ROW}{number}"), row: Some(row) }
}

fn erase(number: u64) -> RegistrationWrite {
    RegistrationWrite { name: format!("{ROW}{number}"), row: None }
}

impl Deliveries {
    /// Takes stored rows.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the first that cannot be read.
    pub(super) fn restore(rows: impl IntoIterator<Item = (String, String)>) -> Result<Self, UnreadableRow> {
        let mut deliveries = Self::default();
        for (name, row) in rows {
            let number = name.strip_prefix(ROW).and_then(|number| number.parse::<u64>().ok());
            let read = row.split_once(' ').and_then(|(tries, body)| Some((tries.parse::<u32>().ok()?, body)));
            let (Some(number), Some((tries, body))) = (number, read) else { return Err(UnreadableRow(name)) };
            let next_at = UnixMillis::saturating(0);
            let waiting = Waiting { body: body.to_owned(), tries, next_at, is_in_flight: false };
            deliveries.waiting.insert(number, waiting);
            deliveries.next = deliveries.next.max(number.saturating_add(1));
        }
        Ok(deliveries)
    }

    /// Takes what is stored now in the place of what was before. What is on its way stays so, and no number is given again: what
    /// comes of a delivery is about that one alone.
    pub(super) fn reread(&mut self, mut stored: Self) {
        for (number, waiting) in &mut stored.waiting {
            // A try that could not be written was not made.
            let is_it = |before: &&Waiting| before.body == waiting.body && before.tries == waiting.tries;
            if let Some(before) = self.waiting.get(number).filter(is_it) {
                (waiting.next_at, waiting.is_in_flight) = (before.next_at, before.is_in_flight);
            }
        }
        self.next = self.next.max(stored.next);
        self.waiting = stored.waiting;
    }

    /// Adds that a key was registered.
    pub(super) fn add(&mut self, now: UnixMillis, confirmed: &Confirmed, writes: &mut Vec<RegistrationWrite>) {
        let Confirmed { subject, email } = confirmed;
        let (community, key, email) = (&subject.community, subject.public_key, quoted(email.as_str()));
        let body = format!(
            r#"{{"community":"{community}","email":{email},"publicKey":"{key}","type":"registered","verifiedAt":{now}}}"#
        );
        let waiting = Waiting { body, tries: 0, next_at: now, is_in_flight: false };
        writes.push(write(self.next, &waiting));
        self.waiting.insert(self.next, waiting);
        self.next = self.next.saturating_add(1);
    }

    /// Returns the delivery that is to be tried now, if there is one.
    pub(super) fn next(
        &mut self,
        now: UnixMillis,
        webhook: &Webhook,
        writes: &mut Vec<RegistrationWrite>,
    ) -> Option<Delivery> {
        for waiting in self.waiting.values_mut() {
            // A clock that was set back makes nothing wait longer.
            waiting.next_at = waiting.next_at.min(now.after(BACKOFF.most));
        }
        let is_due = |(_, waiting): &(&u64, &mut Waiting)| {
            !waiting.is_in_flight && waiting.tries < TRIES && waiting.next_at <= now
        };
        let (number, waiting) = self.waiting.iter_mut().find(is_due)?;
        waiting.is_in_flight = true;
        waiting.tries += 1;
        writes.push(write(*number, waiting));
        let time = now.to_string();
        let signature = sign(&webhook.secret, &time, &waiting.body);
        Some(Delivery { number: *number, url: webhook.url.clone(), time, signature, body: waiting.body.clone() })
    }

    /// Takes whether it was made. `random` spreads out when it is tried again. Returns whether it is given up.
    pub(super) fn delivered(
        &mut self,
        now: UnixMillis,
        delivery: &Delivery,
        is_made: bool,
        random: u8,
        writes: &mut Vec<RegistrationWrite>,
    ) -> bool {
        let is_it = |waiting: &&mut Waiting| waiting.body == delivery.body;
        let Some(waiting) = self.waiting.get_mut(&delivery.number).filter(is_it) else { return false };
        waiting.is_in_flight = false;
        if !is_made && waiting.tries < TRIES {
            waiting.next_at = now.after(BACKOFF.wait(waiting.tries, random));
            return false;
        }
        self.waiting.remove(&delivery.number);
        writes.push(erase(delivery.number));
        !is_made
    }

    /// Drops what has had all its tries, of which a restart has forgotten the last one, and returns how many those are.
    pub(super) fn drop_used_up(&mut self, writes: &mut Vec<RegistrationWrite>) -> usize {
        let is_used_up = |_: &u64, waiting: &mut Waiting| !waiting.is_in_flight && waiting.tries >= TRIES;
        let used_up: Vec<_> = self.waiting.extract_if(.., is_used_up).map(|(number, _)| number).collect();
        writes.extend(used_up.iter().copied().map(erase));
        used_up.len()
    }

    /// Drops everything: nobody is to be told any more.
    pub(super) fn clear(&mut self, writes: &mut Vec<RegistrationWrite>) {
        writes.extend(std::mem::take(&mut self.waiting).into_keys().map(erase));
    }

    /// Returns when there is something to do, if ever.
    pub(super) fn deadline(&self) -> Option<UnixMillis> {
        self.waiting.values().filter(|waiting| !waiting.is_in_flight).map(|waiting| waiting.next_at).min()
    }
}

/// Signs a body and its time, so that who is told knows who tells them, and can refuse what was told before.
fn sign(secret: &str, time: &str, body: &str) -> String {
    // Every length is one that HMAC takes.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    let mac = mac.chain_update(time).chain_update(".").chain_update(body).finalize();
    hex(&mac.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_the_time_and_the_body() {
        // printf '1700000000000.{}' | openssl dgst -sha256 -hmac 'sesame sesame sesame'
        let expected = "d1b3ebfb4581467fa47c0e898564d1b40ef53ba4269df32237e155304ab62987";
        assert_eq!(sign("sesame sesame sesame", "1700000000000", "{}"), expected);
    }
}
