//! What is inside sealed bytes, and invites: the vectors, and properties of the frame.

use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::invite::{INVITE_MAX_CHARS, Invite, InviteError};
use rendezvous_protocol::mailbox::limits::ORIGIN_MAX_BYTES;
use rendezvous_protocol::mailbox::plaintext::{ContentTooLong, Opened, Written, content_max_bytes};
use rendezvous_protocol::mailbox::relays::RelaysError;
use rendezvous_protocol::mailbox::sealed::{Place, Sealed, SealedError, Suite, key_id};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;

use crate::cases::read;

const SIZES: &str = include_str!("../../../tests/vectors/mailbox/sizes.json");
const INVITES: &str = include_str!("../../../tests/vectors/mailbox/invites.json");
const SEALED: &str = include_str!("../../../tests/vectors/mailbox/sealed.json");

const SIZE_CASES: usize = 18;
const INVITE_CASES: usize = 37;
const SEALED_CASES: usize = 37;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SizeCase {
    name: String,
    suite: u8,
    content: usize,
    size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteCase {
    name: String,
    expect: String,
    text: String,
    owner: Option<PublicKey>,
    mailbox: Option<Address>,
    relays: Option<Vec<String>>,
    slot: Option<PublicKey>,
    seed: Option<Bytes<32>>,
}

/// What this test needs of a case; the seal itself is opened in `messenger/`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SealedCase {
    name: String,
    expect: String,
    sealing_key: String,
    mailbox: Address,
    slot: PublicKey,
    sequence: u64,
    expires_at: UnixMillis,
    from: Option<PublicKey>,
    content: Option<String>,
    introduces: Option<PublicKey>,
    body: Option<String>,
    sealed: String,
}

fn sender() -> PrivateKey {
    PrivateKey::from_seed(&[35; 32])
}

fn place() -> Place {
    Place {
        mailbox: Address::of(&PublicKey::from_bytes([1; 32])),
        slot: PublicKey::from_bytes([2; 32]),
        sequence: 5,
        expires_at: UnixMillis::saturating(1_700_000_000_000),
    }
}

/// Octets around a plaintext of either suite.
fn around(suite: Suite) -> usize {
    1 + 8 + suite.enc_bytes() + 16
}

#[test]
fn every_content_goes_into_the_expected_size() {
    let cases: Vec<SizeCase> = read(SIZES, SIZE_CASES);
    for SizeCase { name, suite, content, size } in cases {
        let suite = Suite::from_number(suite).unwrap();
        let written = Written { introduces: None, content: vec![7; content] };
        let found = written.to_plaintext(suite, &sender(), &place());
        let expected = size.map(|size| size - around(suite));
        assert_eq!(found.as_ref().ok().map(Vec::len), expected, "{name}");
        if let Err(error) = found {
            assert_eq!(error, ContentTooLong { found: content, most: content - 1 }, "{name}");
            assert_eq!(content_max_bytes(suite, false), content - 1, "{name}");
            assert_eq!(content_max_bytes(suite, true), content - 33, "{name}");
        }
    }
}

#[test]
fn every_body_has_the_expected_outcome() {
    let cases: Vec<SealedCase> = read(SEALED, SEALED_CASES);
    let mut opened = 0;
    for case in cases {
        let SealedCase { name, expect, mailbox, slot, sequence, expires_at, .. } = case;
        let sealed = base64::decode(&case.sealed).unwrap();
        let parsed = Sealed::parse(&sealed);
        match &parsed {
            Ok(parsed) => {
                assert_eq!(parsed.to_bytes(), sealed, "{name}");
                let is_known = parsed.key_id == key_id(&base64::decode(&case.sealing_key).unwrap());
                assert_eq!(is_known, expect != "SEALING_KEY_UNKNOWN", "{name}");
            }
            Err(error) => assert_eq!(error.code(), expect, "{name}"),
        }
        // Before the body nothing is wrong with it but the seal.
        let (Some(body), Ok(parsed)) = (case.body, parsed) else { continue };
        if expect == "SEAL_BROKEN" {
            continue;
        }
        let body = base64::decode(&body).unwrap();
        let place = Place { mailbox, slot, sequence, expires_at };
        let mut plaintext = [u32::try_from(body.len()).unwrap().to_be_bytes().as_slice(), &body].concat();
        plaintext.resize(parsed.ciphertext.len() - 16, 0);
        match Opened::from_plaintext(&plaintext, &place) {
            Err(error) => assert_eq!(error.code(), expect, "{name}"),
            Ok(Opened { from, written }) => {
                assert_eq!(expect, "ok", "{name}");
                assert_eq!(Some(from), case.from, "{name}");
                assert_eq!(written.introduces, case.introduces, "{name}");
                assert_eq!(base64::encode(&written.content), case.content.unwrap(), "{name}");
                assert_eq!(written.to_plaintext(parsed.suite, &sender(), &place).unwrap(), plaintext, "{name}");
            }
        }
        opened += 1;
    }
    assert_eq!(opened, 18);
}

#[test]
fn every_invite_has_the_expected_outcome() {
    let cases: Vec<InviteCase> = read(INVITES, INVITE_CASES);
    for case in cases {
        let name = &case.name;
        match Invite::parse(&case.text) {
            Err(error) => assert_eq!("MALFORMED", case.expect, "{name}: {error}"),
            Ok(invite) => {
                assert_eq!(case.expect, "ok", "{name}");
                assert_eq!(Some(invite.owner()), case.owner, "{name}");
                assert_eq!(Some(invite.mailbox()), case.mailbox, "{name}");
                assert_eq!(Some(invite.slot().public_key()), case.slot, "{name}");
                assert_eq!(Some(*invite.seed()), case.seed.map(|seed| seed.0), "{name}");
                let relays: Vec<_> = invite.relays().iter().map(|relay| relay.as_str().to_owned()).collect();
                assert_eq!(Some(relays), case.relays, "{name}");
                assert_eq!(invite.to_text().unwrap(), case.text.trim(), "{name}");
                assert!(!format!("{invite:?}").contains(&base64::encode(invite.seed())), "{name}");
            }
        }
    }
}

#[test]
fn an_invite_is_never_longer_than_a_reader_takes() {
    let owner = PublicKey::from_bytes([7; 32]);
    let relay = |length: usize, last| Origin::parse(&format!("https://{}{last}", "a".repeat(length - 9))).unwrap();
    let invite = |length| Invite::new([1; 32], owner, ['a', 'b', 'c', 'd'].map(|last| relay(length, last)).to_vec());
    let longest = invite(ORIGIN_MAX_BYTES).unwrap().to_text().unwrap();
    assert!(longest.len() <= INVITE_MAX_CHARS && Invite::parse(&longest).is_ok(), "{}", longest.len());
    assert_eq!(invite(ORIGIN_MAX_BYTES + 1).err(), Some(InviteError::Relays(RelaysError::NotAnOrigin)));
}

fn suites() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::X25519), Just(Suite::XWing)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_for_its_own_place_alone(
        suite in suites(),
        content in prop::collection::vec(any::<u8>(), 0..3_000),
        introduces in prop::option::of(any::<[u8; 32]>()),
        change in 0_usize..3,
    ) {
        let written = Written { introduces: introduces.map(PublicKey::from_bytes), content };
        let plaintext = written.to_plaintext(suite, &sender(), &place()).unwrap();
        let opened = Opened::from_plaintext(&plaintext, &place()).unwrap();
        prop_assert_eq!(opened.from, sender().public_key());
        prop_assert_eq!(opened.written, written);
        let elsewhere = match change {
            0 => Place { mailbox: Address::of(&PublicKey::from_bytes([3; 32])), ..place() },
            1 => Place { slot: PublicKey::from_bytes([3; 32]), ..place() },
            _ => Place { sequence: 6, ..place() },
        };
        prop_assert_eq!(Opened::from_plaintext(&plaintext, &elsewhere), Err(SealedError::Misdirected));
    }

    #[test]
    fn a_changed_octet_is_never_read(
        content in prop::collection::vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let written = Written { introduces: None, content };
        let mut plaintext = written.to_plaintext(Suite::X25519, &sender(), &place()).unwrap();
        let at = at.index(plaintext.len());
        plaintext[at] ^= 1 << bit;
        prop_assert!(Opened::from_plaintext(&plaintext, &place()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let _ = Opened::from_plaintext(&bytes, &place());
        if let Ok(sealed) = Sealed::parse(&bytes) {
            prop_assert_eq!(sealed.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_text_is_an_invite_or_not(text in "(rendezvous:)?[ -~]{0,200}") {
        if let Ok(invite) = Invite::parse(&text) {
            prop_assert_eq!(invite.to_text().unwrap(), text.trim());
        }
    }
}
