//! How many connections there may be, and how many of one client.
//!
//! One machine must not keep the others out by holding connections, as it must not by asking without end. So it has a
//! quarter of them. Behind a proxy all connections are the proxy's, which has limits of its own; and whoever is on the
//! beacon's own machine has other means.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One client may have this part of the connections.
const CLIENTS: usize = 4;

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    free: Arc<Semaphore>,
    most: usize,
    /// Whether a connection's other end is its client.
    is_direct: bool,
    /// By address, in IPv6 by /64. At most one entry for each connection.
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts for as long as this is there.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    client: Option<IpAddr>,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    /// Makes the admission of at most so many connections. `is_direct` says that clients are counted.
    pub(crate) fn new(most: usize, is_direct: bool) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(most));
        Arc::new(Self { free, most, is_direct, by_client: Mutex::default() })
    }

    /// Waits until there may be one connection more. It is absent only where there never will be.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Lets a client have the place, if it has not too many.
    pub(crate) fn admit(self: &Arc<Self>, place: OwnedSemaphorePermit, client: IpAddr) -> Option<Admitted> {
        let client = self.is_direct.then(|| whole(client)).filter(|client| !client.is_loopback());
        if let Some(client) = client {
            let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_client.entry(client).or_default();
            if *count >= (self.most / CLIENTS).max(1) {
                return None;
            }
            *count += 1;
        }
        Some(Admitted { admission: Arc::clone(self), client, _place: place })
    }

    /// Returns how many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.most - self.free.available_permits()
    }

    /// Returns whether more than half of the connections are taken.
    pub(crate) fn is_scarce(&self) -> bool {
        self.open() > self.most / 2
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut by_client = self.admission.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&client);
            }
        }
    }
}

/// Returns what one machine has whole: an IPv4 address, or an IPv6 /64.
fn whole(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(admission: &Arc<Admission>, client: &str) -> Option<Admitted> {
        let place = Arc::clone(&admission.free).try_acquire_owned().unwrap();
        admission.admit(place, client.parse().unwrap())
    }

    #[test]
    fn one_client_has_a_quarter_and_gets_it_back() {
        let admission = Admission::new(40, true);
        for [one, same] in [["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::ffff:0:0:2"]] {
            let mut admitted: Vec<_> = (0..10).map(|_| admit(&admission, one).unwrap()).collect();
            assert!(admit(&admission, same).is_none());
            assert!(admit(&admission, "192.0.2.2").is_some() && admit(&admission, "2001:db8:0:1::1").is_some());
            admitted.pop();
            assert!(admit(&admission, same).is_some());
        }
        assert_eq!((admission.open(), admission.by_client.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn a_proxy_and_the_own_machine_have_all() {
        for (is_direct, client) in [(false, "192.0.2.1"), (true, "127.0.0.1"), (true, "::1")] {
            let admission = Admission::new(8, is_direct);
            let admitted: Vec<_> = (0..8).map(|_| admit(&admission, client).unwrap()).collect();
            assert!(admission.is_scarce());
            drop(admitted);
            assert!(!admission.is_scarce());
        }
    }
}
