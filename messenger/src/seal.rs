//! The seal of a message: HPKE (RFC 9180) in base mode, one message a context, in either suite.
//!
//! Where what comes out of it stands is in `rendezvous_protocol::mailbox::sealed`, and what is inside in `plaintext`.

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::{HkdfSha256, Kdf, KdfTurboShake128};
use hpke::kem::{Kem, X25519HkdfSha256, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use rendezvous_capsule::failure::{Cause, Exit};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::mailbox::plaintext::{ContentTooLong, Opened, Written};
use rendezvous_protocol::mailbox::record::SealingKey;
use rendezvous_protocol::mailbox::sealed::{Place, Sealed, SealedError, Suite, key_id};
use rendezvous_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::stored;

/// Bytes of randomness that a seal takes: of X25519 the input keying material of its ephemeral key, of X-Wing what it
/// encapsulates with.
const RANDOM_BYTES: usize = 64;

/// Says why a message was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Too much for one message.
    #[error("{0}: leave it as several messages, or leave the address of where it is")]
    TooLong(#[from] ContentTooLong),
    /// The system gave none.
    #[error("the system has no randomness to seal with: {0}")]
    Randomness(getrandom::Error),
    /// The library took more than it says it takes.
    #[error("the seal needs more randomness than {RANDOM_BYTES} bytes")]
    MoreRandomness,
    /// The recipient's key is none.
    #[error("the key that the mailbox's card lists is not a key of its suite: ask its owner for a new card")]
    Key,
    /// The library refuses.
    #[error("the message could not be sealed: {0}")]
    Hpke(hpke::HpkeError),
}

impl Cause for SealError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Gives out bytes that were drawn before. The library cannot be told that there are no more, so that is asked afterwards.
struct Drawn<'a> {
    bytes: &'a [u8],
    is_short: bool,
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        match self.bytes.split_at_checked(bytes.len()) {
            Some((drawn, rest)) => {
                bytes.copy_from_slice(drawn);
                self.bytes = rest;
            }
            None => self.is_short = true,
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

/// A key to which messages are sealed, with its private half.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealingPrivateKey {
    /// When nobody seals to it any more.
    pub expires_at: UnixMillis,
    private_key: Bytes<32>,
    #[serde(deserialize_with = "stored::suite")]
    suite: u8,
}

impl SealingPrivateKey {
    /// Makes one of 32 bytes from a secure source of randomness.
    pub const fn new(suite: Suite, private_key: [u8; 32], expires_at: UnixMillis) -> Self {
        Self { expires_at, private_key: Bytes(private_key), suite: suite.number() }
    }

    fn public_bytes(&self) -> Result<Vec<u8>, SealError> {
        let private = &self.private_key.0;
        match Suite::from_number(self.suite).ok_or(SealError::Key)? {
            Suite::X25519 => public_bytes::<X25519HkdfSha256>(private),
            Suite::XWing => public_bytes::<XWing>(private),
        }
    }

    /// Returns what the card says of it.
    pub fn to_card(&self) -> Result<SealingKey, SealError> {
        Ok(SealingKey { expires_at: self.expires_at, key: base64::encode(&self.public_bytes()?), suite: self.suite })
    }
}

fn public_bytes<K: Kem>(private_key: &[u8; 32]) -> Result<Vec<u8>, SealError> {
    let private_key = K::PrivateKey::from_bytes(private_key).map_err(|_| SealError::Key)?;
    Ok(K::sk_to_pk(&private_key).to_bytes().to_vec())
}

/// Seals what `from` writes to a key of the recipient's card, for the deposit with this place.
pub fn seal(written: &Written, from: &PrivateKey, place: &Place, to: &SealingKey) -> Result<Vec<u8>, SealError> {
    let mut randomness = [0; RANDOM_BYTES];
    getrandom::fill(&mut randomness).map_err(SealError::Randomness)?;
    let suite = Suite::from_number(to.suite).ok_or(SealError::Key)?;
    seal_plaintext(&written.to_plaintext(suite, from, place)?, suite, place, to, &randomness)
}

fn seal_plaintext(
    plaintext: &[u8],
    suite: Suite,
    place: &Place,
    to: &SealingKey,
    randomness: &[u8],
) -> Result<Vec<u8>, SealError> {
    let key = base64::decode(&to.key).ok_or(SealError::Key)?;
    let (enc, ciphertext) = match suite {
        Suite::X25519 => encrypt::<X25519HkdfSha256, HkdfSha256>(&key, place, plaintext, randomness)?,
        Suite::XWing => encrypt::<XWing, KdfTurboShake128>(&key, place, plaintext, randomness)?,
    };
    Ok(Sealed { suite, key_id: key_id(&key), enc: &enc, ciphertext: &ciphertext }.to_bytes())
}

fn encrypt<K: Kem, F: Kdf>(
    key: &[u8],
    place: &Place,
    plaintext: &[u8],
    randomness: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let key = K::PublicKey::from_bytes(key).map_err(|_| SealError::Key)?;
    let mut drawn = Drawn { bytes: randomness, is_short: false };
    let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, F, K>(
        &OpModeS::Base,
        &key,
        &place.info(),
        plaintext,
        &place.aad(),
        &mut drawn,
    );
    let (enc, ciphertext) = sealed.map_err(SealError::Hpke)?;
    if drawn.is_short { Err(SealError::MoreRandomness) } else { Ok((enc.to_bytes().to_vec(), ciphertext)) }
}

/// Opens sealed bytes of the deposit with this place, with whichever of the keys they are sealed to.
pub fn open(sealed: &[u8], place: &Place, keys: &[SealingPrivateKey]) -> Result<Opened, SealedError> {
    Opened::from_plaintext(&open_plaintext(sealed, place, keys)?, place)
}

fn open_plaintext(sealed: &[u8], place: &Place, keys: &[SealingPrivateKey]) -> Result<Vec<u8>, SealedError> {
    let sealed = Sealed::parse(sealed)?;
    let is_it = |key: &&SealingPrivateKey| {
        key.suite == sealed.suite.number() && key.public_bytes().is_ok_and(|public| key_id(&public) == sealed.key_id)
    };
    let SealingPrivateKey { private_key, .. } = keys.iter().find(is_it).ok_or(SealedError::KeyUnknown)?;
    match sealed.suite {
        Suite::X25519 => decrypt::<X25519HkdfSha256, HkdfSha256>(&private_key.0, place, &sealed),
        Suite::XWing => decrypt::<XWing, KdfTurboShake128>(&private_key.0, place, &sealed),
    }
}

fn decrypt<K: Kem, F: Kdf>(private_key: &[u8], place: &Place, sealed: &Sealed<'_>) -> Result<Vec<u8>, SealedError> {
    let broken = |_| SealedError::Broken;
    let key = K::PrivateKey::from_bytes(private_key).map_err(broken)?;
    let enc = K::EncappedKey::from_bytes(sealed.enc).map_err(broken)?;
    let (info, aad) = (place.info(), place.aad());
    hpke::single_shot_open::<ChaCha20Poly1305, F, K>(&OpModeR::Base, &key, &enc, &info, sealed.ciphertext, &aad)
        .map_err(broken)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use rendezvous_protocol::key::PublicKey;
    use rendezvous_protocol::mailbox::bytes::Address;
    use rendezvous_protocol::mailbox::plaintext::content_max_bytes;
    use serde_json::json;

    use super::*;

    const RENEW: &str = "RENEW_SEALED_VECTORS";
    const SUITE_0_CASES: usize = 37;
    const SUITE_1_CASES: usize = 8;

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Case {
        name: String,
        expect: String,
        suite: Option<u8>,
        sealing_private_key: Bytes<32>,
        sealing_key: String,
        mailbox: Address,
        sequence: u64,
        expires_at: UnixMillis,
        slot: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        randomness: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<PublicKey>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        introduces: Option<PublicKey>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        sealed: String,
    }

    impl Case {
        fn place(&self) -> Place {
            let Self { mailbox, slot, sequence, expires_at, .. } = self;
            Place { mailbox: *mailbox, slot: *slot, sequence: *sequence, expires_at: *expires_at }
        }
    }

    fn vectors(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/mailbox").join(name)
    }

    /// The sender of every vector.
    fn sender() -> PrivateKey {
        PrivateKey::from_seed(&[35; 32])
    }

    fn check(case: &Case) {
        let Case { name, .. } = case;
        let sealed = base64::decode(&case.sealed).unwrap();
        let place = case.place();
        let suite = if case.sealing_key.len() < 64 { Suite::X25519 } else { Suite::XWing };
        let key = SealingPrivateKey::new(suite, case.sealing_private_key.0, case.expires_at);
        assert_eq!(key.to_card().unwrap().key, case.sealing_key, "{name}");
        match open(&sealed, &place, std::slice::from_ref(&key)) {
            Err(error) => assert_eq!(error.code(), case.expect, "{name}: {error}"),
            Ok(Opened { from, written }) => {
                assert_eq!(case.expect, "ok", "{name}");
                assert_eq!(Some(from), case.from, "{name}");
                assert_eq!(Some(base64::encode(&written.content)), case.content, "{name}");
                assert_eq!(written.introduces, case.introduces, "{name}");
                // Ed25519 and HPKE make the same bytes again.
                let plaintext = written.to_plaintext(suite, &sender(), &place).unwrap();
                let body = base64::decode(case.body.as_ref().unwrap()).unwrap();
                assert_eq!(&plaintext[4..4 + body.len()], body, "{name}");
                let randomness = base64::decode(case.randomness.as_ref().unwrap()).unwrap();
                let again = seal_plaintext(&plaintext, suite, &place, &key.to_card().unwrap(), &randomness).unwrap();
                assert_eq!(base64::encode(&again), case.sealed, "{name}");
            }
        }
    }

    #[test]
    fn every_vector_of_suite_0_has_the_expected_outcome() {
        let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(vectors("sealed.json")).unwrap()).unwrap();
        assert_eq!(cases.len(), SUITE_0_CASES);
        cases.iter().for_each(check);
    }

    /// Cases of suite 1, for which there is no second implementation to write them.
    fn suite_1_cases() -> Vec<Case> {
        let randomness: Vec<u8> = (0..64).collect();
        let private_key = [41; 32];
        let owner = PrivateKey::from_seed(&[31; 32]).public_key();
        let slot = PrivateKey::from_seed(&[33; 32]).public_key();
        let fresh = PrivateKey::from_seed(&[36; 32]).public_key();
        let expires_at = UnixMillis::saturating(1_700_086_440_000);
        let place = Place { mailbox: Address::of(&owner), slot, sequence: 5, expires_at };
        let key = SealingPrivateKey::new(Suite::XWing, private_key, expires_at);
        let case = |name: &str, expect: &str, sealed: &[u8], good: Option<(&Written, &[u8])>| Case {
            name: name.to_owned(),
            expect: expect.to_owned(),
            suite: Some(1),
            sealing_private_key: Bytes(private_key),
            sealing_key: key.to_card().unwrap().key,
            mailbox: place.mailbox,
            sequence: 5,
            expires_at,
            slot,
            randomness: good.map(|_| base64::encode(&randomness)),
            from: good.map(|_| sender().public_key()),
            content: good.map(|(written, _)| base64::encode(&written.content)),
            introduces: good.and_then(|(written, _)| written.introduces),
            body: good.map(|(_, body)| base64::encode(body)),
            sealed: base64::encode(sealed),
        };
        let room = 730;
        let mut cases = Vec::new();
        for (name, introduces, content) in [
            ("a_message", None, b"A message, left until you are back.\n".to_vec()),
            ("nothing", None, Vec::new()),
            ("all_that_fits_into_the_smallest_size", None, vec![7; room]),
            ("an_octet_more", None, vec![7; room + 1]),
            ("an_introduction", Some(fresh), b"A message, left until you are back.\n".to_vec()),
        ] {
            let written = Written { introduces, content };
            let plaintext = written.to_plaintext(Suite::XWing, &sender(), &place).unwrap();
            let length = u32::from_be_bytes(*plaintext.first_chunk().unwrap()) as usize;
            let sealed =
                seal_plaintext(&plaintext, Suite::XWing, &place, &key.to_card().unwrap(), &randomness).unwrap();
            cases.push(case(name, "ok", &sealed, Some((&written, &plaintext[4..4 + length]))));
        }
        let sealed = base64::decode(&cases[0].sealed).unwrap();
        for (name, at) in
            [("encapsulated_secret_changed", 9), ("ephemeral_key_changed", 9 + 1_088), ("tag_changed", 2_047)]
        {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            cases.push(case(name, "SEAL_BROKEN", &changed, None));
        }
        cases
    }

    #[test]
    fn every_vector_of_suite_1_has_the_expected_outcome() {
        let path = vectors("sealed-xwing.json");
        let text = serde_json::to_string_pretty(&json!(suite_1_cases())).unwrap() + "\n";
        if std::env::var_os(RENEW).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap();
        assert!(found == text, "sealed-xwing.json is not what this program makes");
        let cases: Vec<Case> = serde_json::from_str(&found).unwrap();
        assert_eq!(cases.len(), SUITE_1_CASES);
        cases.iter().for_each(check);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens_to_the_same_for_its_own_place_alone(
            content in prop::collection::vec(any::<u8>(), 0..9_000),
            introduces in prop::option::of(any::<[u8; 32]>()),
            is_xwing: bool,
            sequence in 1_u64..1 << 53,
            change in 0_usize..3,
        ) {
            let suite = if is_xwing { Suite::XWing } else { Suite::X25519 };
            let expires_at = UnixMillis::saturating(1_700_000_000_000);
            let key = SealingPrivateKey::new(suite, [7; 32], expires_at);
            let mailbox = Address::of(&PublicKey::from_bytes([1; 32]));
            let place = Place { mailbox, slot: PublicKey::from_bytes([2; 32]), sequence, expires_at };
            let written = Written { introduces: introduces.map(PublicKey::from_bytes), content };
            let sealed = seal(&written, &sender(), &place, &key.to_card().unwrap()).unwrap();
            prop_assert!([2_048, 8_192, 32_768].contains(&sealed.len()));
            let opened = open(&sealed, &place, std::slice::from_ref(&key)).unwrap();
            prop_assert_eq!(&opened.written, &written);
            prop_assert_eq!(opened.from, sender().public_key());
            let elsewhere = match change {
                0 => Place { sequence: sequence ^ 1, ..place },
                1 => Place { slot: PublicKey::from_bytes([3; 32]), ..place },
                _ => Place { expires_at: expires_at.after(std::time::Duration::from_millis(1)), ..place },
            };
            prop_assert_eq!(open(&sealed, &elsewhere, &[key]), Err(SealedError::Broken));
        }
    }

    #[test]
    fn a_message_has_room_up_to_the_largest_size() {
        let place = Place {
            mailbox: Address::of(&PublicKey::from_bytes([1; 32])),
            slot: PublicKey::from_bytes([2; 32]),
            sequence: 1,
            expires_at: UnixMillis::saturating(1),
        };
        for suite in [Suite::X25519, Suite::XWing] {
            let key = SealingPrivateKey::new(suite, [7; 32], place.expires_at).to_card().unwrap();
            let most = content_max_bytes(suite, false);
            let sealed =
                |length| seal(&Written { introduces: None, content: vec![1; length] }, &sender(), &place, &key);
            assert_eq!(sealed(most).unwrap().len(), 131_072);
            assert!(matches!(sealed(most + 1), Err(SealError::TooLong(_))));
        }
    }
}
