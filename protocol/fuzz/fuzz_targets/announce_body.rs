//! Whatever parses as the body of an announce is within its limit, has one normal form, and hands on the ticket's very
//! text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::BODY_MAX_BYTES;
use rendezvous_protocol::request::{TicketBody, choose_community};
use rendezvous_protocol::ticket::Purpose;
use rendezvous_protocol_fuzz::parse_ticket;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let Ok(body) = TicketBody::parse(data) else { return };
    assert!(data.len() <= BODY_MAX_BYTES);

    // The ticket is a piece of what was sent, one JSON value without white space around it.
    assert!(data.as_ptr_range().contains(&body.ticket.as_ptr()));
    assert_eq!(serde_json::from_str::<&RawValue>(body.ticket).expect("it is JSON").get(), body.ticket);
    assert_eq!(body.ticket.trim(), body.ticket);

    // Another parser reads the same. It is stricter about depth and numbers, of which a ticket has none such.
    if let Ok(sent) = serde_json::from_slice::<Value>(data) {
        let mut expected = serde_json::Map::new();
        expected.insert("ticket".to_owned(), serde_json::from_str(body.ticket).expect("the whole was read"));
        if let Some(community) = &body.community {
            expected.insert("community".to_owned(), community.as_str().into());
        }
        assert_eq!(sent, Value::Object(expected));
    }

    // What parses re-encodes to the same. Escapes may make that longer than what was sent.
    let community =
        body.community.as_ref().map(|community| format!(r#","community":{}"#, Value::from(community.as_str())));
    let normal = format!(r#"{{"ticket":{}{}}}"#, body.ticket, community.unwrap_or_default());
    if normal.len() <= BODY_MAX_BYTES {
        assert_eq!(TicketBody::parse(normal.as_bytes()).as_ref(), Ok(&body));
    }

    let default = Community::new("mainnet").expect("a name");
    match (choose_community(None, body.community.as_deref(), &default), &body.community) {
        (Ok(chosen), asked) => assert_eq!(chosen.as_str(), asked.as_deref().unwrap_or("mainnet")),
        (Err(error), asked) => assert!(asked.is_some() && error.code() == "COMMUNITY_INVALID"),
    }
    for purpose in [Purpose::Presence, Purpose::Leave] {
        parse_ticket(body.ticket, purpose);
    }
});
