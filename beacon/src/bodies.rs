//! Bodies of requests in memory while they arrive: so many bytes in all, and a part of them for each network.
//!
//! For a host that keeps what has come of a body until the rest is there. A client may send slowly, and many at a time. What is
//! short does not count: so much a connection takes anyway, and no body with a ticket is longer. A buffer that grows by doubling
//! beyond the room that there is takes up to twice what is counted.

use std::fmt;

use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_TIMEOUT};
use rendezvous_protocol::network::Client;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::sorted_map::SortedMap;
use rendezvous_protocol::time::UnixMillis;

use crate::network_shares::{NetworkShare, NetworkShares};
use crate::platform::Platform;

/// A provider's, a site's and a household's part of the bytes of all bodies. A program's household has sixteen of mail's longest
/// bodies, or four of a relay's; an isolate's has eight of mail's.
const PROVIDER_SHARE: usize = 4;
const SITE_SHARE: usize = 8;
const HOUSEHOLD_SHARE: usize = 16;

/// Bytes of a body that do not count.
pub const FREE_BYTES: usize = BODY_MAX_BYTES;

/// Bytes that are counted at a time.
const STEP_BYTES: usize = 16 * 1024;

/// Counts the bytes of bodies that arrive. A clone counts the same.
#[derive(Clone, Debug)]
pub struct ArrivingBodies {
    secret: Secret,
    /// Bytes of all bodies.
    most: usize,
    shares: NetworkShares,
}

/// Counts one body, until this is dropped.
pub struct ArrivingBody {
    bodies: ArrivingBodies,
    client: Client,
    /// For how many bytes there is room.
    room: usize,
    taken: Vec<NetworkShare>,
}

impl ArrivingBodies {
    /// Makes a count of nothing, for as much as the host has room. Networks are remembered as hashes under the secret.
    pub fn new(platform: &Platform, secret: Secret) -> Self {
        Self { secret, most: platform.bodies_max_bytes(), shares: NetworkShares::default() }
    }

    /// Begins to count a body of this client.
    pub fn begin(&self, client: Client) -> ArrivingBody {
        ArrivingBody { bodies: self.clone(), client, room: FREE_BYTES, taken: Vec::new() }
    }
}

impl ArrivingBody {
    /// Makes room for so many bytes of the body.
    ///
    /// # Errors
    /// [`RequestError::BodiesFull`], if there is none for them. What was there before is still counted.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), RequestError> {
        if bytes <= self.room {
            return Ok(());
        }
        // Only now: most bodies are short, and hashing costs.
        let ArrivingBodies { secret, most, shares } = &self.bodies;
        let path = self.client.hand_over().hashed(secret);
        while self.room < bytes {
            let fits = |held: usize, most: usize| held.saturating_add(STEP_BYTES) <= most;
            let taken = shares.take(path, STEP_BYTES, |held| {
                fits(held.household, most / HOUSEHOLD_SHARE)
                    && fits(held.site, most / SITE_SHARE)
                    && fits(held.provider, most / PROVIDER_SHARE)
                    && fits(held.all, *most)
            });
            self.taken.push(taken.ok_or(RequestError::BodiesFull)?);
            self.room = self.room.saturating_add(STEP_BYTES);
        }
        Ok(())
    }
}

/// Counts bodies by numbers, for a host that does not hear of every body's end: nothing runs any more of a request on Cloudflare
/// whose client has gone. None counts for longer than a body may take.
#[derive(Debug)]
pub struct NumberedBodies {
    bodies: ArrivingBodies,
    /// Each until it has ended at the latest.
    arriving: SortedMap<u32, (UnixMillis, ArrivingBody)>,
    last: u32,
}

impl NumberedBodies {
    /// Makes a count of nothing.
    pub fn new(bodies: ArrivingBodies) -> Self {
        Self { bodies, arriving: SortedMap::new(), last: 0 }
    }

    /// Begins to count a body of this client. Returns its number, which is not 0.
    pub fn begin(&mut self, now: UnixMillis, client: Client) -> u32 {
        // One from a clock that was ahead counts no longer than one from now.
        self.arriving.retain(|_, (until, _)| now < *until && until.since(now) <= BODY_TIMEOUT);
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.arriving.insert(self.last, (now.after(BODY_TIMEOUT), self.bodies.begin(client)));
        self.last
    }

    /// Makes room for so many bytes of a body. Returns for how many there is: for none, where the body counts no more.
    pub fn grow_to(&mut self, number: u32, bytes: usize) -> usize {
        let Some((_, body)) = self.arriving.get_mut(&number) else { return 0 };
        // What there is says whether it was granted.
        let _ = body.grow_to(bytes);
        body.room
    }

    /// Takes that a body has ended.
    pub fn end(&mut self, number: u32) {
        self.arriving.remove(&number);
    }
}

/// Without the client's address.
impl fmt::Debug for ArrivingBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ArrivingBody").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::mailbox::limits::REPLICATE_MAX_BYTES;
    use rendezvous_protocol::network::read_address;

    use super::*;

    const BODY: usize = 256 * 1024;

    fn bodies(platform: &Platform) -> ArrivingBodies {
        ArrivingBodies::new(platform, Secret::from_bytes([1; 16]))
    }

    fn begin(bodies: &ArrivingBodies, address: &str) -> ArrivingBody {
        bodies.begin(Client { address: read_address(address), autonomous_system: None })
    }

    #[test]
    fn a_household_a_site_a_provider_and_all_have_so_much_until_it_has_arrived() {
        let held_on = |platform: &Platform, address: &dyn Fn(usize) -> String, most: usize| {
            let bodies = bodies(platform);
            let mut held = Vec::new();
            loop {
                let mut body = begin(&bodies, &address(held.len()));
                if body.grow_to(BODY + FREE_BYTES).is_err() {
                    break;
                }
                held.push(body);
            }
            assert_eq!(held.len(), most);
            let mut next = begin(&bodies, &address(held.len()));
            // A ticket arrives however much there is.
            assert_eq!(next.grow_to(BODY_MAX_BYTES), Ok(()));
            assert_eq!(next.grow_to(BODY_MAX_BYTES + 1), Err(RequestError::BodiesFull));
            held.pop();
            assert_eq!(next.grow_to(BODY), Ok(()));
            drop((held, next));
            let mut whole = begin(&bodies, &address(0));
            assert_eq!(whole.grow_to(platform.bodies_max_bytes() / HOUSEHOLD_SHARE), Ok(()));
        };
        let program = Platform::of_program(1);
        let held = |address: &dyn Fn(usize) -> String, most: usize| {
            held_on(&program, address, most);
            held_on(&Platform::CLOUDFLARE, address, most / 2);
        };
        held(&|_| "192.0.2.1".to_owned(), 16);
        held(&|number| format!("192.0.2.{number}"), 32);
        held(&|number| format!("198.51.{number}.1"), 64);
        held(&|number| format!("10.{number}.0.1"), 256);
        assert!(4 * REPLICATE_MAX_BYTES <= program.bodies_max_bytes() / HOUSEHOLD_SHARE);
    }

    #[test]
    fn a_body_by_its_number_counts_until_it_ends_and_no_longer_than_it_may_take() {
        let seconds = |seconds: u64| UnixMillis::saturating(1_000 * (1_000 + seconds));
        let client = Client { address: read_address("192.0.2.1"), autonomous_system: None };
        let mut bodies = NumberedBodies::new(bodies(&Platform::CLOUDFLARE));
        let fills = |bodies: &mut NumberedBodies, now| {
            let begun: Vec<_> = (0..8).map(|_| bodies.begin(now, client)).collect();
            assert!(begun.iter().all(|number| bodies.grow_to(*number, BODY + FREE_BYTES) >= BODY + FREE_BYTES));
            begun
        };
        let next_has = |bodies: &mut NumberedBodies, now, room: usize| {
            let next = bodies.begin(now, client);
            assert_eq!(bodies.grow_to(next, FREE_BYTES + 1), room);
            bodies.end(next);
        };
        let begun = fills(&mut bodies, seconds(0));
        next_has(&mut bodies, seconds(9), FREE_BYTES);
        bodies.end(begun[3]);
        assert_eq!(bodies.grow_to(begun[3], 1), 0, "it has ended");
        next_has(&mut bodies, seconds(9), FREE_BYTES + STEP_BYTES);
        // Of the others the host never heard again.
        next_has(&mut bodies, seconds(10), FREE_BYTES + STEP_BYTES);
        assert_eq!(bodies.grow_to(begun[4], 1), 0);
        fills(&mut bodies, seconds(10));
        next_has(&mut bodies, seconds(5), FREE_BYTES + STEP_BYTES);
        fills(&mut bodies, seconds(5));
    }
}
