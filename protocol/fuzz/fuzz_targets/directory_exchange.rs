//! Whatever parses as an exchange of two hubs has one normal form, and of an answer each record stands for itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::directory::envelope::Record;
use rendezvous_protocol::directory::exchange::{parse_answer, parse_body, write_body};
use rendezvous_protocol::directory::limits::{BODY_MAX_BYTES, EXCHANGE_ANSWER_MAX_BYTES, EXCHANGE_MAX_RECORDS};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(exchange) = parse_body(data) {
        assert!(data.len() <= BODY_MAX_BYTES);
        let normal = write_body(&exchange);
        assert_eq!(parse_body(normal.as_bytes()).as_ref(), Ok(&exchange));
        // Another parser reads the same.
        let value: Value = serde_json::from_slice(data).expect("an exchange is JSON");
        assert_eq!(normal, canonical(&value));
        assert!(exchange.signed_bytes().ends_with(&canonical(&value["exchange"]["payload"])));
    }
    if let Ok(answer) = parse_answer(data) {
        assert!(data.len() <= EXCHANGE_ANSWER_MAX_BYTES && answer.records.len() <= EXCHANGE_MAX_RECORDS);
        for record in answer.records.into_iter().filter_map(|(record, _)| record.ok()) {
            let again = Record::parse(&record.to_json());
            assert_eq!(again.as_ref(), Ok(&record));
        }
    }
});
