//! Requests as retalk's programs send them. The hashes of arguments are Python's.

use std::collections::BTreeSet;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::retalk::request::{RequestError, Tool, Unverified, Verified, signed_body};
use rendezvous_protocol::retalk::user::{Identity, refusal_text};
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use crate::world::{AUDIENCE, START, User, hex, unpadded};

const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn seconds() -> u64 {
    START.as_u64() / 1_000
}

fn parse(body: &Value) -> Result<Unverified, RequestError> {
    Unverified::parse(body.to_string().as_bytes())
}

/// Whether the signatures fit, which is the same on a host that verifies each by itself.
fn verify(request: &Unverified, audiences: &[String]) -> bool {
    let fits = |bytes: &Vec<u8>| {
        let (key, rest) = bytes.split_first_chunk().unwrap();
        let (signature, message) = rest.split_first_chunk().unwrap();
        PublicKey::from_bytes(*key).verify(message, signature).is_ok()
    };
    let each: Vec<_> = request.signatures(audiences).iter().map(fits).collect();
    let is_verified = request.verify_signatures(audiences);
    assert_eq!(request.fit(&each), is_verified);
    is_verified
}

/// Arguments of each tool, with what Python 3.11 gives for
/// `hashlib.sha256(json.dumps(args, sort_keys=True, separators=(",", ":")).encode()).hexdigest()`.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let (identity, signing) = (User(7).identity_key(), User(7).signing_key());
    let publish = json!({
        "identity_key": identity,
        "signing_key": signing,
        "one_time_keys": {"B+": identity, "A/": signing, "a": identity},
        "fallback_key": {"f": identity},
    });
    let without = json!({
        "identity_key": User(7).identity_key(),
        "signing_key": User(7).signing_key(),
        "one_time_keys": {},
        "fallback_key": null,
    });
    vec![
        ("publish_keys", publish, "65232c63b9cebb9dda6fd3c5bb089eaadcc09b5cef5a5ebef64d78f3dc2af514"),
        ("publish_keys", without, "8c69b09644e68d764abb5f65b87558c6baeba5dac1ce748460f52716069d8c17"),
        ("count_keys", json!({}), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            "get_keys",
            json!({"peer": "é\u{7f}𝄞\n\"/"}),
            "be8fba481337177af92e8b42f37665ec459af41a7da6af2cfc44adde6e5d84cb",
        ),
        (
            "claim_key",
            json!({"peer": "000102030405060708090a0b0c0d0e0f"}),
            "e359483999b39206022ecfbde66cd8b7b19b3161b3eb37fd64db548a44d00377",
        ),
        (
            "send_message",
            json!({"to": "000102030405060708090a0b0c0d0e0f", "mtype": 0, "body": "aGk="}),
            "ce2d310da8349f9a53ff5046248fd73aef10c4360724347882cccd018922193b",
        ),
        ("read_messages", json!({}), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        (
            "read_messages",
            json!({"peer": "x", "peek": true}),
            "0cc5a8dd17563ec909098f9b9b9a8c67f1eef19aeece534fd9a379f19bed9939",
        ),
        ("read_messages", json!({"peek": false}), "c87d5266ab398f6ae4d280feca627e779f78d4ecf1bc285d2f056a76e852ff01"),
    ]
}

#[test]
fn both_dialects_are_read_and_verified_for_any_address_of_the_relay() {
    let user = User(7);
    for (tool, args, hash) in cases() {
        let newer = user.body(tool, &args, hash, seconds(), NONCE);
        let mut older = newer.clone();
        let auth = older["args"]["auth"].as_object_mut().unwrap();
        for (name, before) in [("fingerprint", "user_id"), ("timestamp", "ts"), ("signature", "sig")] {
            let value = auth.remove(name).unwrap();
            auth.insert(before.to_owned(), value);
        }
        for body in [newer, older] {
            let request = parse(&body).unwrap_or_else(|error| panic!("{tool}: {error}"));
            let audiences = ["https://relay.example".to_owned(), AUDIENCE.to_owned()];
            assert!(verify(&request, &audiences), "{tool} {args}");
            assert!(!verify(&request, &audiences[..1]), "it was signed for another relay");
            assert!(!verify(&request, &[]));
            let request = request.check(START).unwrap().accept(true).unwrap();
            assert_eq!((request.user(), request.nonce()), (user.id(), NONCE));
            let written = request.to_body();
            assert!(written.lines().count() == 1 && written.len() < 262_144);
            assert_eq!(Verified::trusted(&written), Ok(request), "{written}");
        }
    }
}

#[test]
fn the_longest_request_can_be_handed_on() {
    let user = User(7);
    let names: Vec<_> = (0..200).map(|number| format!("{number:032}")).collect();
    let prekeys: Value = names.iter().map(|name| (name.clone(), json!(user.identity_key()))).collect();
    let publish = json!({
        "identity_key": user.identity_key(),
        "signing_key": user.signing_key(),
        "one_time_keys": prekeys,
        "fallback_key": {"f": user.identity_key()},
    });
    for (tool, args) in [
        ("publish_keys", publish),
        ("send_message", json!({"to": "\u{7f}".repeat(256), "mtype": 0, "body": "A".repeat(196_608)})),
        ("read_messages", json!({"peer": "\u{7f}".repeat(256), "peek": false})),
    ] {
        let request = parse(&user.body(tool, &args, "", seconds(), NONCE)).unwrap().accept(true).unwrap();
        assert_eq!(Verified::trusted(&request.to_body()), Ok(request));
    }
}

/// A plain check takes any message as signed by the key that is the identity.
#[test]
fn a_key_of_small_order_has_signed_nothing_whatever_a_plain_check_says() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let (identity_key, signing_key) = (User(7).identity_key(), unpadded(&identity));
    let id = Identity::parse(&identity_key, &signing_key).unwrap().user_id();
    let body = json!({"tool": "count_keys", "args": {"auth": {
        "fingerprint": id.to_string(),
        "identity_key": identity_key,
        "signing_key": signing_key,
        "timestamp": seconds().to_string(),
        "nonce": NONCE,
        "signature": unpadded(&[&identity[..], &[0; 32]].concat()),
    }}});
    let request = parse(&body).unwrap();
    assert!(!request.fit(&[true]));
    assert!(!verify(&request, &[AUDIENCE.to_owned()]));
}

#[test]
fn whatever_is_changed_is_signed() {
    let user = User(7);
    let args = json!({"to": "000102030405060708090a0b0c0d0e0f", "mtype": 0, "body": "aGk="});
    let hash = cases()[5].2;
    let good = user.body("send_message", &args, hash, seconds(), NONCE);
    for (path, value) in [
        ("/args/body", json!("aGo=")),
        ("/args/mtype", json!(1)),
        ("/args/to", json!("100102030405060708090a0b0c0d0e0f")),
        ("/args/auth/nonce", json!("1123456789abcdef0123456789abcdef")),
        ("/args/auth/timestamp", json!((seconds() + 1).to_string())),
        ("/args/auth/timestamp", json!(format!("0{}", seconds()))),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(path).unwrap() = value;
        assert!(!verify(&parse(&body).unwrap(), &[AUDIENCE.to_owned()]), "{path}");
    }
    assert!(verify(&parse(&good).unwrap(), &[AUDIENCE.to_owned()]));
}

#[test]
fn a_refusal_of_a_body_is_signed_by_itself_too() {
    let user = User(7);
    let hash = "ab".repeat(32);
    let sign = |message: &str| json!({"hash": hash, "sig": user.sign(message)});
    let whole = |args: &Value| {
        // The hash of the arguments as Python writes them, which here are plain texts in order.
        let python = args.to_string();
        let digest = sha2_hex(&python);
        user.body("nack", args, &digest, seconds(), NONCE)
    };
    let id = user.id();
    let good = whole(&sign(&format!("nack|{id}|{hash}")));
    let request = parse(&good).unwrap();
    assert!(verify(&request, &[AUDIENCE.to_owned()]));
    assert!(matches!(request.accept(true).unwrap().tool(), Tool::Nack { .. }));
    let request = parse(&good).unwrap();
    for (each, fit) in
        [(&[true, true][..], true), (&[false, true], false), (&[true, false], false), (&[true], false), (&[], false)]
    {
        assert_eq!(request.fit(each), fit, "{each:?}");
    }
    let other = whole(&sign(&format!("nack|{id}|{}", "cd".repeat(32))));
    assert!(!verify(&parse(&other).unwrap(), &[AUDIENCE.to_owned()]));
}

fn sha2_hex(text: &str) -> String {
    use rendezvous_protocol::mailbox::bytes::ContentId;
    hex(&ContentId::of(text.as_bytes()).0)
}

#[test]
fn a_clock_that_is_wrong_is_named_with_the_number() {
    let body = User(7).body("count_keys", &json!({}), "", seconds(), NONCE);
    let check = |seconds: u64| parse(&body).unwrap().check(UnixMillis::saturating(seconds * 1_000 + 999));
    for good in [seconds() - 150, seconds(), seconds() + 150] {
        assert!(check(good).is_ok());
    }
    let error = check(seconds() + 3_600).unwrap_err();
    assert_eq!(error.to_string(), "stale timestamp: it is 3600 s behind this relay's clock, which allows 150 s");
    assert_eq!(error.code(), "EXPIRED");
    let error = check(seconds() - 151).unwrap_err();
    assert_eq!(error, RequestError::Stale { seconds: 151, is_ahead: true });
}

#[test]
fn what_has_another_shape_is_refused_by_name() {
    let user = User(7);
    let good = || user.body("count_keys", &json!({}), "", seconds(), NONCE);
    let changed = |path: &str, value: Option<Value>| {
        let mut body = good();
        let (object, field) = path.rsplit_once('/').unwrap();
        let object = body.pointer_mut(object).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(object.insert(field.to_owned(), value)),
            None => drop(object.remove(field)),
        }
        parse(&body).unwrap_err()
    };
    let key = user.identity_key();
    for (path, value, expected) in [
        ("/tool", Some(json!("drop")), "no such tool"),
        ("/tool", Some(json!(1)), "tool"),
        ("/tool", None, "tool"),
        ("/args", Some(json!([])), "args"),
        ("/more", Some(json!(1)), "more"),
        ("/args/more", Some(json!(1)), "more"),
        ("/args/auth", None, "auth"),
        ("/args/auth/more", Some(json!("x")), "more"),
        ("/args/auth/user_id", Some(json!(user.id().to_string())), "neither dialect"),
        ("/args/auth/fingerprint", None, "neither dialect"),
        ("/args/auth/fingerprint", Some(json!("00".repeat(16))), "not that of the keys"),
        ("/args/auth/fingerprint", Some(json!(user.id().to_string().to_uppercase())), "not that of the keys"),
        ("/args/auth/timestamp", Some(json!(seconds())), "timestamp"),
        ("/args/auth/timestamp", Some(json!("1e9")), "timestamp"),
        ("/args/auth/timestamp", Some(json!("1".repeat(13))), "timestamp"),
        ("/args/auth/nonce", Some(json!("short")), "nonce"),
        ("/args/auth/nonce", Some(json!("x".repeat(65))), "nonce"),
        ("/args/auth/nonce", Some(json!("with a space 1234")), "nonce"),
        ("/args/auth/signature", Some(json!("AAAA")), "signature"),
        ("/args/auth/identity_key", Some(json!("AAAA")), "key"),
        ("/args/auth/identity_key", Some(json!(format!("{key}="))), "not that of the keys"),
    ] {
        let error = changed(path, value.clone());
        assert!(error.to_string().contains(expected), "{path} {value:?}: {error}");
    }
    let of = |tool: &str, args: Value| parse(&user.body(tool, &args, "", seconds(), NONCE)).map(drop);
    let to = "000102030405060708090a0b0c0d0e0f";
    for (tool, args) in [
        ("send_message", json!({"to": to, "mtype": 2, "body": "aGk="})),
        ("send_message", json!({"to": to, "mtype": 1.0, "body": "aGk="})),
        ("send_message", json!({"to": to, "mtype": true, "body": "aGk="})),
        ("send_message", json!({"to": to, "mtype": "1", "body": "aGk="})),
        ("send_message", json!({"to": to, "mtype": 1, "body": "aGk"})),
        ("send_message", json!({"to": to, "mtype": 1, "body": ""})),
        ("send_message", json!({"to": to, "mtype": 1, "body": "A".repeat(196_612)})),
        ("get_keys", json!({"peer": "x".repeat(257)})),
        ("get_keys", json!({})),
        ("count_keys", json!({"peer": to})),
        ("read_messages", json!({"peer": null})),
        ("nack", json!({"hash": "AB".repeat(32), "sig": unpadded(&[0; 64])})),
        ("nack", json!({"hash": "ab".repeat(32), "sig": "x"})),
    ] {
        assert!(matches!(of(tool, args.clone()), Err(RequestError::Malformed(_))), "{tool} {args}");
    }
    assert_eq!(of("send_message", json!({"to": to, "mtype": 1, "body": "A".repeat(196_608)})), Ok(()));

    let keys = |one_time: Value, fallback: Value| json!({"identity_key": key, "signing_key": user.signing_key(), "one_time_keys": one_time, "fallback_key": fallback});
    let many: Value = (0..201).map(|number| (number.to_string(), Value::from(key.clone()))).collect();
    for (one_time, fallback) in [
        (many, Value::Null),
        (json!({"a b": key}), Value::Null),
        (json!({"": key}), Value::Null),
        (json!({"a": "AAAA"}), Value::Null),
        (json!({"a": 1}), Value::Null),
        (json!([]), Value::Null),
        (json!({}), json!({})),
        (json!({}), json!({"a": key, "b": key})),
        (json!({}), json!("null")),
    ] {
        assert!(of("publish_keys", keys(one_time.clone(), fallback.clone())).is_err(), "{one_time} {fallback}");
    }
    let mut others = keys(json!({}), Value::Null);
    others["identity_key"] = json!(User(8).identity_key());
    assert_eq!(of("publish_keys", others), Err(RequestError::OtherKeys));
    let mut without = keys(json!({}), Value::Null);
    without.as_object_mut().unwrap().remove("fallback_key");
    assert!(of("publish_keys", without).is_err());
    let doubled = good().to_string().replacen("\"tool\"", "\"tool\":\"count_keys\",\"tool\"", 1);
    assert!(Unverified::parse(doubled.as_bytes()).is_err());
    assert_eq!(Unverified::parse(&vec![b' '; 262_145]), Err(RequestError::BodyTooLarge));
    assert!(Unverified::parse(b"\xff").is_err());
}

#[test]
fn a_prekey_with_which_no_session_begins_is_refused() {
    let user = User(7);
    let of = |prekey: &[u8; 32], is_fallback: bool| {
        let (one, none) = (json!({"a": unpadded(prekey)}), json!({}));
        let (one_time, fallback) = if is_fallback { (none, one) } else { (one, Value::Null) };
        let args = json!({
            "identity_key": user.identity_key(),
            "signing_key": user.signing_key(),
            "one_time_keys": one_time,
            "fallback_key": fallback,
        });
        parse(&user.body("publish_keys", &args, "", seconds(), NONCE))
    };
    // What a key agreement comes to says which they are.
    let is_zero = |point: [u8; 32]| MontgomeryPoint(point).mul_clamped([7; 32]).to_bytes() == [0; 32];
    let near = |lowest: u8, others: u8, highest: u8| {
        let mut point = [others; 32];
        (point[0], point[31]) = (lowest, highest);
        point
    };
    let of_torsion = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes());
    let low = (0..=255).flat_map(|lowest| [near(lowest, 0, 0), near(lowest, 0xff, 0x7f)]);
    let mut found = BTreeSet::new();
    for mut point in low.chain(of_torsion) {
        for bit in [0, 0x80] {
            point[31] = point[31] & 0x7f | bit;
            let is_refused = [true, false].map(|is_fallback| of(&point, is_fallback).is_err());
            assert_eq!(is_refused, [is_zero(point); 2], "{point:x?}");
            found.extend(is_zero(point).then_some(point));
        }
    }
    assert_eq!(found.len(), 14, "seven, with the bit and without");
}

/// A client that finds the name of a flag in an error takes the relay for one that does not know it, and reads without.
#[test]
fn no_error_names_the_flag_by_which_messages_stay() {
    for flag in [json!(1), json!("true"), json!(null)] {
        let error = parse(&User(7).body("read_messages", &json!({"peek": flag}), "", seconds(), NONCE)).unwrap_err();
        assert!(!error.to_string().contains("peek"), "{error}");
    }
}

#[test]
fn what_a_client_writes_is_what_a_relay_reads() {
    let identity = Identity::parse(&User(7).identity_key(), &User(7).signing_key()).unwrap();
    for (tool, args, hash) in cases() {
        let theirs = parse(&User(7).body(tool, &args, hash, seconds(), NONCE)).unwrap().accept(true).unwrap();
        let mut signed = String::new();
        let body = signed_body(theirs.tool(), &identity, AUDIENCE, START, NONCE, |text| {
            signed = text.to_owned();
            User(7).sign(text)
        });
        assert_eq!(signed, format!("{tool}|{AUDIENCE}|{}|{}|{NONCE}|{hash}", User(7).id(), seconds()));
        let ours = Unverified::parse(body.as_bytes()).unwrap();
        let refuses = matches!(theirs.tool(), Tool::Nack { .. });
        assert!(refuses || verify(&ours, &[AUDIENCE.to_owned()]), "{body}");
        assert!(!verify(&ours, &["http://127.0.0.1:8767".to_owned()]), "for another relay");
        let ours = ours.accept(true).unwrap();
        assert_eq!((ours.tool(), ours.user(), ours.nonce()), (theirs.tool(), theirs.user(), theirs.nonce()));
        assert_eq!(ours.signed_at(), START);
    }
}

#[test]
fn a_refusal_is_its_users_word_about_one_body() {
    let identity = |user: User| Identity::parse(&user.identity_key(), &user.signing_key()).unwrap();
    let signature = User(7).sign(&refusal_text(User(7).id(), &[3; 32]));
    assert_eq!(refusal_text(User(7).id(), &[3; 32]), format!("nack|{}|{}", User(7).id(), "03".repeat(32)));
    assert!(identity(User(7)).has_refused(&[3; 32], &signature));
    assert!(!identity(User(7)).has_refused(&[4; 32], &signature));
    assert!(!identity(User(8)).has_refused(&[3; 32], &signature));
    assert!(!identity(User(7)).has_refused(&[3; 32], "x"));
}
