//! Whatever parses as a guest's message is passed on in few more bytes than it came in, reads as the same again, and names
//! no address but the publisher's own.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::goop2::{GuestId, Presence};
use rendezvous_protocol::limits::{GUEST_ADDRESSES, GUEST_BODY_MAX_BYTES, GUEST_CONTENT_MAX_BYTES};

/// What every message has beside the fields that the publisher chose: the quotes and names of absent ones are not written.
const ENVELOPE_BYTES: usize = 64;

fuzz_target!(|data: &[u8]| {
    if data.len() > GUEST_BODY_MAX_BYTES {
        return;
    }
    let publisher: IpAddr = "203.0.113.7".parse().expect("an address");
    let Ok(presence) = Presence::parse(data, Some(publisher), None) else { return };
    assert_eq!(GuestId::new(presence.id.as_str()).as_ref(), Some(&presence.id));
    assert!(presence.fields.content.len() <= GUEST_CONTENT_MAX_BYTES);
    assert!(presence.fields.addrs.len() <= GUEST_ADDRESSES);
    for address in &presence.fields.addrs {
        assert!(address.starts_with("/ip4/203.0.113.7/"), "{address}");
    }

    let text = presence.to_text();
    assert!(text.len() <= data.len() + ENVELOPE_BYTES, "{} bytes of {}", text.len(), data.len());
    assert_eq!(Presence::parse(text.as_bytes(), Some(publisher), None), Ok(presence));
});
