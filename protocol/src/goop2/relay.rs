//! The relay that the operator names: guests that cannot be reached directly are reached by circuits through it.

use crate::goop2::endpoint::Endpoint;
use crate::goop2::guest_id::GuestId;
use crate::limits::{GUEST_ADDRESS_MAX_BYTES, GUEST_ADDRESSES};

/// Holds a relay (libp2p, circuit relay v2) and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitRelay {
    id: GuestId,
    /// Each ends in `/p2p/` and the relay's name.
    addresses: Vec<String>,
}

/// Says that addresses are not those of one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a relay has up to {GUEST_ADDRESSES} addresses such as /ip4/203.0.113.9/tcp/4001/p2p/12D3KooW…, all with the same \
     name at the end"
)]
pub struct CircuitRelayInvalid;

impl CircuitRelay {
    /// Takes the addresses of one relay.
    ///
    /// # Errors
    /// [`CircuitRelayInvalid`].
    pub fn new(addresses: Vec<String>) -> Result<Self, CircuitRelayInvalid> {
        let ids: Option<Vec<_>> = addresses.iter().map(|address| id_of(address)).collect();
        let mut ids = ids.ok_or(CircuitRelayInvalid)?.into_iter();
        let id = ids.next().ok_or(CircuitRelayInvalid)?;
        if addresses.len() > GUEST_ADDRESSES || ids.any(|other| other != id) {
            return Err(CircuitRelayInvalid);
        }
        Ok(Self { id, addresses })
    }

    /// Returns the relay's name.
    pub const fn id(&self) -> &GuestId {
        &self.id
    }

    /// Returns where the relay is reached.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

/// Returns the name at the end of an address of a relay, which the operator may give by a name of the DNS.
fn id_of(address: &str) -> Option<GuestId> {
    let Endpoint { peer, .. } = Endpoint::read(address).filter(|_| address.len() <= GUEST_ADDRESS_MAX_BYTES)?;
    GuestId::new(peer?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goop2::guest_id::tests::id;

    #[test]
    fn a_relay_is_one_and_has_a_name_at_the_end_of_each_address() {
        let (own, other) = (id(1), id(2));
        let relay =
            |addresses: &[&str]| CircuitRelay::new(addresses.iter().map(|address| (*address).to_owned()).collect());
        let right = [
            format!("/ip4/203.0.113.9/tcp/4001/p2p/{own}"),
            format!("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{own}"),
            format!("/dns4/relay.example/tcp/443/wss/p2p/{own}"),
            format!("/ip4/203.0.113.9/udp/4001/webrtc-direct/certhash/uEiA_x-y/p2p/{own}"),
        ];
        let all = relay(&right.each_ref().map(String::as_str)).unwrap();
        assert_eq!((all.id(), all.addresses()), (&own, &right[..]));
        for wrong in [
            String::new(),
            "/ip4/203.0.113.9/tcp/4001".to_owned(),
            format!("/ip4/203.0.113.9/tcp/0/p2p/{own}"),
            format!("/ip4/203.0.113.999/tcp/4001/p2p/{own}"),
            format!("/ip4/203.0.113.9/sctp/4001/p2p/{own}"),
            format!("/ip4/203.0.113.9/tcp/4001/p2p/{own}/p2p-circuit"),
            format!("/ip4/203.0.113.9/tcp/4001/p2p/{own}/p2p/{own}"),
            format!("ip4/203.0.113.9/tcp/4001/p2p/{own}"),
            format!("/dns4/relay example/tcp/4001/p2p/{own}"),
            format!("/ip4/203.0.113.9/udp/4001/webrtc-direct/certhash/p2p/{own}"),
            format!("/ip4/203.0.113.9/tcp/4001//p2p/{own}"),
            "/ip4/203.0.113.9/tcp/4001/p2p/relay".to_owned(),
        ] {
            assert_eq!(relay(&[&wrong]), Err(CircuitRelayInvalid), "{wrong}");
        }
        assert_eq!(relay(&[]), Err(CircuitRelayInvalid));
        assert_eq!(relay(&[&right[0], &format!("/ip4/203.0.113.9/tcp/4001/p2p/{other}")]), Err(CircuitRelayInvalid));
        assert_eq!(relay(&[right[0].as_str(); GUEST_ADDRESSES + 1]), Err(CircuitRelayInvalid));
    }
}
