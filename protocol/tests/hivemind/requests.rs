//! Keys, proofs and requests: those of the package's own functions, and what is refused in which order.

use rendezvous_protocol::base64;
use rendezvous_protocol::hivemind::key::{RsaKey, relay_name};
use rendezvous_protocol::hivemind::limits::{BODY_MAX_BYTES, MESSAGE_LASTS};
use rendezvous_protocol::hivemind::refused::Refused;
use rendezvous_protocol::hivemind::request::{Deposit, UnverifiedDeposit, UnverifiedRetrieval};
use rendezvous_protocol::mailbox::bytes::ContentId;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::world::{START, key};

const RELAY: &str = "the relay's name";

fn deposit(body: &Value) -> Result<Deposit, Refused> {
    deposit_of(body.to_string().as_bytes())
}

fn deposit_of(body: &[u8]) -> Result<Deposit, Refused> {
    UnverifiedDeposit::parse(START, body, RELAY).and_then(|deposit| deposit.accept(true))
}

fn retrieval(body: &Value) -> Result<UnverifiedRetrieval, Refused> {
    UnverifiedRetrieval::parse(START, body.to_string().as_bytes(), RELAY)
}

fn seconds() -> u64 {
    START.as_u64() / 1_000
}

fn payload() -> Value {
    json!({"msg_type": "intercom", "payload": {"ciphertext": "é\n"}, "metadata": {}})
}

/// A body that is taken.
fn good() -> Value {
    json!({"payload": payload().to_string(), "target_pubkey": key(1)})
}

fn with(mut body: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!() };
    fields.into_iter().for_each(|(name, value)| body[name] = value);
    body
}

#[test]
fn proofs_of_the_package_are_read_as_what_was_signed() {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/hivemind/proofs.json")).unwrap();
    let (now, relay) = (vectors["now"].as_u64().unwrap(), vectors["relayName"].as_str().unwrap());
    let proofs = vectors["proofs"].as_array().unwrap();
    assert!(proofs.len() > 20);
    for case in proofs {
        let text = case["body"].as_str().unwrap();
        let read = UnverifiedRetrieval::parse(UnixMillis::saturating(now), text.as_bytes(), relay).unwrap();
        let (proof, body) = (read.proof(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(proof.key().mailbox().to_string(), case["mailbox"], "{}", case["name"]);
        let timestamp = body["timestamp"].to_string();
        let parts = ["hivemind-rendezvous-v1", body["pubkey"].as_str().unwrap(), relay, timestamp.trim_matches('"')];
        assert_eq!(proof.message(), parts.join("\0").as_bytes(), "{}", case["name"]);
        assert_eq!(base64::encode(proof.signature()), body["signature"].as_str().unwrap());
    }
}

#[test]
fn a_deposit_is_what_it_says() {
    let taken = deposit(&good()).unwrap();
    assert_eq!(taken.quoted_payload, Value::String(payload().to_string()).to_string());
    assert_eq!(taken.content, ContentId::of(payload().to_string().as_bytes()));
    assert_eq!((taken.lifetime, &taken.depositor), (MESSAGE_LASTS, &None));
    assert_eq!(taken.mailbox, RsaKey::parse(&format!("\n{}\n\n", key(1))).unwrap().mailbox());
    for (ttl, seconds) in [(json!(1), 1), (json!("60"), 60), (json!(604_801), 604_800), (Value::Null, 604_800)] {
        assert_eq!(deposit(&with(good(), json!({"ttl": ttl}))).unwrap().lifetime.as_secs(), seconds);
    }
    let fingerprint = base64::encode(&ContentId::of(key(1).as_bytes()).0);
    let sealed = json!({"recipient_fingerprint": fingerprint});
    for sealed in [sealed.clone(), Value::String(sealed.to_string())] {
        let payload = with(payload(), json!({"payload": sealed})).to_string();
        deposit(&with(good(), json!({"payload": payload}))).unwrap();
    }
}

#[test]
fn what_is_wrong_with_a_deposit_is_said_in_this_order() {
    let payload = |fields: Value| json!({"payload": with(payload(), fields).to_string()});
    let depositor = |fields: Value| {
        let whole = json!({"depositor_pubkey": key(2), "depositor_timestamp": seconds(), "depositor_signature": base64::encode(&[0; 256])});
        with(whole, fields)
    };
    let not_intercom = json!({"payload": "{}"});
    for (fields, refused) in [
        (json!({"payload": null, "ttl": 0}), Refused::FieldMissing),
        (json!({"payload": "", "ttl": 0}), Refused::FieldMissing),
        (json!({"target_pubkey": null, "ttl": 0}), Refused::FieldMissing),
        (json!({"payload": 1}), Refused::BodyMalformed),
        (json!({"payload": {}}), Refused::BodyMalformed),
        (json!({"target_pubkey": [], "payload": null}), Refused::BodyMalformed),
        (json!({"ttl": 0, "target_pubkey": "x"}), Refused::LifetimeInvalid),
        (json!({"ttl": -1}), Refused::LifetimeInvalid),
        (json!({"ttl": 1.5}), Refused::LifetimeInvalid),
        (json!({"ttl": "1.5"}), Refused::LifetimeInvalid),
        (json!({"ttl": true}), Refused::LifetimeInvalid),
        (json!({"ttl": "9999999999999"}), Refused::LifetimeInvalid),
        (with(depositor(json!({"depositor_timestamp": 1})), json!({"target_pubkey": "x"})), Refused::KeyInvalid),
        (with(depositor(json!({"depositor_timestamp": 1})), not_intercom.clone()), Refused::DepositorInvalid),
        (with(depositor(json!({"depositor_pubkey": "x"})), not_intercom.clone()), Refused::DepositorInvalid),
        (with(depositor(json!({"depositor_signature": "-"})), not_intercom.clone()), Refused::DepositorInvalid),
        (depositor(json!({"depositor_signature": 1})), Refused::BodyMalformed),
        (depositor(json!({"depositor_timestamp": {}})), Refused::BodyMalformed),
        (json!({"payload": "[1]"}), Refused::PayloadInvalid),
        (json!({"payload": "{"}), Refused::PayloadInvalid),
        (not_intercom.clone(), Refused::PayloadNotIntercom),
        (payload(json!({"msg_type": "bus"})), Refused::PayloadNotIntercom),
        (payload(json!({"msg_type": ["intercom"]})), Refused::PayloadNotIntercom),
        (json!({"payload": r#"{"msg_type":"intercom"}"#}), Refused::PayloadNotIntercom),
        (payload(json!({"payload": "{", "msg_type": "bus"})), Refused::PayloadNotIntercom),
        (payload(json!({"payload": "{"})), Refused::PayloadInvalid),
        (payload(json!({"payload": {"recipient_fingerprint": 1}})), Refused::FingerprintInvalid),
        (payload(json!({"payload": {"recipient_fingerprint": "!"}})), Refused::FingerprintInvalid),
        (payload(json!({"payload": {"recipient_fingerprint": "AAAA"}})), Refused::FingerprintMismatch),
        (payload(json!({"payload": r#"{"recipient_fingerprint":"AAAA"}"#})), Refused::FingerprintMismatch),
    ] {
        assert_eq!(deposit(&with(good(), fields.clone())).err(), Some(refused), "{fields}");
    }
    for (body, refused) in [
        (&b""[..], Refused::EmptyBody),
        (b"{", Refused::BodyNotJson),
        (b"{\"payload\":\xff}", Refused::BodyNotJson),
        (b"[]", Refused::BodyMalformed),
        (b"\"\"", Refused::BodyMalformed),
        (b"{\"ttl\":1,\"ttl\":1}", Refused::BodyMalformed),
        (&[b' '; BODY_MAX_BYTES + 1], Refused::BodyTooLarge),
    ] {
        assert_eq!(deposit_of(body).err(), Some(refused));
    }
    // One that is not whole counts as none; of a whole one the signature comes before the payload.
    for part in ["depositor_pubkey", "depositor_timestamp", "depositor_signature"] {
        assert_eq!(deposit(&with(good(), depositor(json!({part: null})))).unwrap().depositor, None, "{part}");
    }
    let whole = with(with(good(), depositor(json!({}))), not_intercom).to_string();
    let read = || UnverifiedDeposit::parse(START, whole.as_bytes(), RELAY).unwrap();
    assert_eq!(read().proof().map(|proof| proof.key().mailbox()), RsaKey::parse(&key(2)).map(|key| key.mailbox()));
    assert_eq!(read().accept(false), Err(Refused::DepositorInvalid));
    assert_eq!(read().accept(true), Err(Refused::PayloadNotIntercom));
}

#[test]
fn what_is_wrong_with_a_retrieval_is_said_in_this_order() {
    let good = json!({"pubkey": key(1), "timestamp": seconds(), "signature": base64::encode(&[0; 256])});
    for (fields, refused) in [
        (json!({"pubkey": null}), Refused::FieldMissing),
        (json!({"pubkey": ""}), Refused::FieldMissing),
        (json!({"timestamp": null, "pubkey": "x"}), Refused::FieldMissing),
        (json!({"signature": ""}), Refused::FieldMissing),
        (json!({"signature": 7}), Refused::BodyMalformed),
        (json!({"timestamp": "now"}), Refused::BodyMalformed),
        (json!({"timestamp": 1.5}), Refused::BodyMalformed),
        (json!({"timestamp": -1}), Refused::BodyMalformed),
        (json!({"pubkey": "x", "timestamp": 1}), Refused::KeyInvalid),
        (json!({"timestamp": seconds() - 61, "signature": "-"}), Refused::TimestampInvalid),
        (json!({"timestamp": seconds() + 61}), Refused::TimestampInvalid),
        (json!({"signature": "-"}), Refused::SignatureInvalid),
        (json!({"signature": base64::encode(&[0; 600])}), Refused::SignatureInvalid),
    ] {
        assert_eq!(retrieval(&with(good.clone(), fields.clone())).err(), Some(refused), "{fields}");
    }
    for timestamp in [seconds() - 60, seconds() + 60] {
        let read = retrieval(&with(good.clone(), json!({"timestamp": timestamp}))).unwrap();
        // To the end of the second.
        assert_eq!(read.proof().ends_at().as_u64(), (timestamp + 61) * 1_000);
    }
    // Signed is the number, however it is written.
    let written = retrieval(&with(good.clone(), json!({"timestamp": format!("00{}", seconds())}))).unwrap();
    assert_eq!(written.proof(), retrieval(&good).unwrap().proof());
    assert_eq!(retrieval(&good).unwrap().accept(false).err(), Some(Refused::SignatureInvalid));
}

#[test]
fn a_relays_name_is_a_key_and_other_texts_are_not() {
    let name = relay_name([0; 256]);
    assert!(RsaKey::parse(&name).is_some() && name.ends_with("-----END PUBLIC KEY-----\n"));
    assert_ne!(RsaKey::parse(&name).unwrap().mailbox(), RsaKey::parse(&key(1)).unwrap().mailbox());
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    let lines: Vec<_> = name.lines().collect();
    for text in [
        "",
        "x",
        ed25519,
        &name.replace("PUBLIC", "PRIVATE"),
        &lines[1..].join("\n"),
        &lines.join(" "),
        &name.replace(lines[2], ""),
        // One byte more behind it.
        &name.replace("AQAB", "AQABAA=="),
        &format!("{name}{}", " ".repeat(2_048)),
    ] {
        assert!(RsaKey::parse(text).is_none(), "{text}");
    }
}
