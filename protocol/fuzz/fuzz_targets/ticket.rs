//! Whatever parses as a ticket has one normal form, and its signed bytes are those of the payload that was sent.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketRules, VerifiedTicket};
use rendezvous_protocol_fuzz::{key, parse_ticket, sign_ticket};

fuzz_target!(|data: &[u8]| {
    let Ok(sent) = str::from_utf8(data) else { return };
    let parsed =
        [Purpose::Presence, Purpose::Leave].map(|purpose| parse_ticket(sent, purpose).map(|ticket| (purpose, ticket)));
    assert!(parsed.iter().flatten().count() <= 1, "a ticket has one purpose");
    let Some((purpose, ticket)) = parsed.into_iter().flatten().next() else { return };

    let payload = ticket.payload().clone();
    let community = payload.community.clone().unwrap_or_else(|| Community::new("mainnet").expect("a name"));
    let rules = TicketRules { max_lifetime: Duration::MAX, ..TicketRules::new(&community) };
    let last_moment = rendezvous_protocol::time::UnixMillis::saturating(payload.expires_at.as_u64() - 1);

    // Signed, it is good from its beginning to its end, and comes out as it went in.
    let signed = sign_ticket(sent, purpose).expect("it parses");
    let signed = Ticket::parse(&signed, purpose).expect("it still parses");
    for now in [payload.issued_at, last_moment] {
        let verified = signed.clone().verify(&rules, now).expect("it is good");
        assert_eq!(verified.payload(), &payload);
        assert_eq!(verified.public_key(), key().public_key());
        assert_eq!(verified.as_json(), signed.to_json());
        assert_eq!(VerifiedTicket::trusted(verified.as_json(), purpose).as_ref(), Ok(&verified));
    }
    assert_eq!(signed.clone().verify(&rules, payload.expires_at).map_err(|error| error.code()), Err("EXPIRED"));

    // The signature of another payload, or by another key, does not fit this one.
    let swapped = signed.to_json().replace(&key().public_key().to_string(), &ticket.public_key().to_string());
    if ticket.public_key() != key().public_key() {
        let swapped = Ticket::parse(&swapped, purpose).expect("only its key is another");
        assert_eq!(swapped.verify(&rules, payload.issued_at).map_err(|error| error.code()), Err("SIGNATURE_INVALID"));
    }
});
