//! Bodies of requests in memory while they arrive: so many bytes in all, and a part of them for each network.
//!
//! For a host that keeps what has come of a body until the rest is there. A client may send slowly, and many at a time. What is
//! short does not count: so much a connection takes anyway, and no body with a ticket is longer. A buffer that grows by doubling
//! takes up to twice what is counted.

use std::fmt;

use rendezvous_protocol::limits::BODY_MAX_BYTES;
use rendezvous_protocol::network::Client;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;

use crate::network_shares::{NetworkShare, NetworkShares};

/// Bytes of all bodies.
const BYTES: usize = 64 * 1024 * 1024;

/// A provider's, a site's and a household's part of them. A household's is sixteen of mail's longest bodies, four of a relay's.
const OF_PROVIDER: usize = BYTES / 4;
const OF_SITE: usize = BYTES / 8;
const OF_HOUSEHOLD: usize = BYTES / 16;

/// Bytes of a body that do not count.
const FREE_BYTES: usize = BODY_MAX_BYTES;

/// Bytes that are counted at a time.
const STEP_BYTES: usize = 16 * 1024;

/// Counts the bytes of bodies that arrive. A clone counts the same.
#[derive(Clone, Debug)]
pub struct ArrivingBodies {
    secret: Secret,
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
    /// Makes a count of nothing. Networks are remembered as hashes under the secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, shares: NetworkShares::default() }
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
        let ArrivingBodies { secret, shares } = &self.bodies;
        let path = self.client.hand_over().hashed(secret);
        while self.room < bytes {
            let fits = |held: usize, most: usize| held.saturating_add(STEP_BYTES) <= most;
            let taken = shares.take(path, STEP_BYTES, |held| {
                fits(held.household, OF_HOUSEHOLD)
                    && fits(held.site, OF_SITE)
                    && fits(held.provider, OF_PROVIDER)
                    && fits(held.all, BYTES)
            });
            self.taken.push(taken.ok_or(RequestError::BodiesFull)?);
            self.room = self.room.saturating_add(STEP_BYTES);
        }
        Ok(())
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

    fn begin(bodies: &ArrivingBodies, address: &str) -> ArrivingBody {
        bodies.begin(Client { address: read_address(address), autonomous_system: None })
    }

    #[test]
    fn a_household_a_site_a_provider_and_all_have_so_much_until_it_has_arrived() {
        let held = |address: &dyn Fn(usize) -> String, most: usize| {
            let bodies = ArrivingBodies::new(Secret::from_bytes([1; 16]));
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
            assert_eq!(whole.grow_to(OF_HOUSEHOLD), Ok(()));
        };
        held(&|_| "192.0.2.1".to_owned(), 16);
        held(&|number| format!("192.0.2.{number}"), 32);
        held(&|number| format!("198.51.{number}.1"), 64);
        held(&|number| format!("10.{number}.0.1"), 256);
        const { assert!(4 * REPLICATE_MAX_BYTES <= OF_HOUSEHOLD) };
    }
}
