//! Whatever parses as the body of a request for a mailbox is within its limits: sealed bytes are those that were signed, an
//! acknowledgement has its deposit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::base64;
use rendezvous_protocol::mailbox::body::{
    ClaimBody, CollectBody, DepositBody, PutBody, parse_acks, parse_close, parse_prekeys, parse_slot,
};
use rendezvous_protocol::mailbox::bytes::ContentId;
use rendezvous_protocol::mailbox::envelope::AckWithDeposit;
use rendezvous_protocol::mailbox::limits::{ACKS_MAX, BODY_MAX_BYTES, MISSING_MAX, SEALED_BYTES};

fn check_acks(acks: &[AckWithDeposit]) {
    assert!(acks.len() <= ACKS_MAX);
    for AckWithDeposit { ack, of } in acks {
        let (payload, of_payload) = (ack.payload(), of.payload());
        assert_eq!((payload.through, payload.slot), (of_payload.sequence, of.public_key()));
        assert_eq!(payload.mailbox, of_payload.mailbox);
        assert!(payload.missing.len() <= MISSING_MAX && payload.covers(payload.through));
        assert!(payload.missing.iter().all(|missing| !payload.covers(*missing)));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parsed = 0;
    if let Ok(body) = DepositBody::parse(data) {
        let sealed = base64::decode(&body.sealed).expect("it was decoded");
        let deposit = body.deposit.payload();
        assert!(SEALED_BYTES.contains(&deposit.size) && sealed.len() == deposit.size as usize);
        assert_eq!(ContentId::of(&sealed), deposit.content_id);
        parsed += 1;
    }
    if let Ok(body) = CollectBody::parse(data) {
        check_acks(&body.acks);
        parsed += 1;
    }
    if let Ok(acks) = parse_acks(data) {
        check_acks(&acks);
        parsed += 1;
    }
    parsed += usize::from(PutBody::parse(data).is_ok())
        + usize::from(ClaimBody::parse(data).is_ok())
        + usize::from(parse_slot(data).is_ok())
        + usize::from(parse_prekeys(data).is_ok())
        + usize::from(parse_close(data).is_ok());
    assert!(parsed <= 1, "a body is one request");
    assert!(parsed == 0 || data.len() <= BODY_MAX_BYTES);
});
