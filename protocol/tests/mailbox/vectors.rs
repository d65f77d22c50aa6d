//! The vectors in `tests/vectors/mailbox/`: what every implementation agrees on, each a case named for its defect.

use std::collections::BTreeMap;

use rendezvous_protocol::base64;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::body::{
    self, ClaimBody, CollectBody, DepositBody, PutBody, parse_acks, parse_close, parse_prekeys, parse_slot,
};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::envelope::{AckWithDeposit, Signed, Verified};
use rendezvous_protocol::mailbox::limits::{ACKS_MAX, BODY_MAX_BYTES};
use rendezvous_protocol::mailbox::proof::Proof;
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Claim, Close, Collect, Deposit, Live, Policy, Prekey, PrekeyKind, Prekeys, Record, RecordError,
    RecordRules, Replicate, SlotQuestion,
};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::ticket::{Purpose, Ticket};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::Value;

use crate::cases::{check, read};

const RECORDS: &str = include_str!("../../../tests/vectors/mailbox/records.json");
const RELAY_RECORDS: &str = include_str!("../../../tests/vectors/mailbox/relay-records.json");
const BODIES: &str = include_str!("../../../tests/vectors/mailbox/bodies.json");
const PROOFS: &str = include_str!("../../../tests/vectors/mailbox/proofs.json");
const PREKEYS: &str = include_str!("../../../tests/vectors/mailbox/prekeys.json");

const RECORD_CASES: usize = 535;
const RELAY_RECORD_CASES: usize = 48;
const BODY_CASES: usize = 39;
const PROOF_CASES: usize = 11;
const PREKEY_CASES: usize = 3;

// Unknown fields are refused: one that says something which this test does not look at would be a case not tested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordCase {
    name: String,
    record: String,
    expect: String,
    now: UnixMillis,
    canonical: Option<String>,
    json: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyCase {
    name: String,
    kind: String,
    expect: String,
    now: UnixMillis,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofCase {
    name: String,
    holds: bool,
    address: Address,
    subject: String,
    difficulty: u8,
    now: UnixMillis,
    day: u64,
    solution: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrekeyCase {
    name: String,
    kind: String,
    mailbox: Address,
    curve25519: Bytes<32>,
    id: String,
    key: Bytes<32>,
    since: UnixMillis,
    message: String,
    public_key: PublicKey,
    signature: Bytes<64>,
}

fn relay() -> [Origin; 1] {
    [Origin::parse("https://relay.example").unwrap()]
}

fn code<T>(outcome: &Result<T, RecordError>) -> &'static str {
    outcome.as_ref().map_or_else(RecordError::code, |_| "ok")
}

fn compare(expect: &str, found: &str) -> Result<(), String> {
    if expect == found { Ok(()) } else { Err(format!("expected {expect}, got {found}")) }
}

/// Judges a text as one kind of record, and holds what it comes to against the case, where it is of this kind.
fn judge<T: Record + PartialEq + std::fmt::Debug>(
    json: &str,
    now: UnixMillis,
    canonical: Option<&str>,
) -> Result<&'static str, String> {
    let parsed = Signed::<T>::parse(json);
    if let (Ok(signed), Some(canonical)) = (&parsed, canonical)
        && signed.signed_bytes() != canonical
    {
        return Err(format!("signed are {}", signed.signed_bytes()));
    }
    let outcome = parsed.and_then(|signed| signed.verify(&RecordRules { now, audiences: &relay() }));
    if let Ok(verified) = &outcome {
        // The normal form is a good record, the same one, and so is what a mailbox stores of it.
        let again = Signed::<T>::parse(verified.as_json()).map_err(|error| error.to_string())?;
        if again.to_json() != verified.as_json() || Verified::trusted(verified.as_json()).as_ref() != Ok(verified) {
            return Err("changed in its normal form".to_owned());
        }
    }
    Ok(code(&outcome))
}

type Judge = fn(&str, UnixMillis, Option<&str>) -> Result<&'static str, String>;

/// Every kind of record: the table of what is signed about a mailbox.
fn kinds() -> BTreeMap<&'static str, Judge> {
    fn kind<T: Record + PartialEq + std::fmt::Debug>() -> (&'static str, Judge) {
        (T::PURPOSE, judge::<T>)
    }
    BTreeMap::from([
        kind::<Card>(),
        kind::<Policy>(),
        kind::<Deposit>(),
        kind::<Ack>(),
        kind::<Prekeys>(),
        kind::<Close>(),
        kind::<Collect>(),
        kind::<Claim>(),
        kind::<SlotQuestion>(),
        kind::<Live>(),
        kind::<Replicate>(),
    ])
}

/// Those that clients read, and those of relays alone.
fn record_cases() -> Vec<RecordCase> {
    [(RECORDS, RECORD_CASES), (RELAY_RECORDS, RELAY_RECORD_CASES)]
        .into_iter()
        .flat_map(|(file, count)| read::<RecordCase>(file, count))
        .collect()
}

#[test]
fn every_record_has_the_expected_outcome() {
    let cases = record_cases();
    let kinds = kinds();
    check(
        &cases,
        |case| &case.name,
        |case| {
            let found = kinds[case.record.as_str()](&case.json, case.now, case.canonical.as_deref())?;
            compare(&case.expect, found)
        },
    );
}

#[test]
fn a_record_of_one_kind_is_good_as_no_other_and_as_no_ticket() {
    let cases = record_cases();
    let good: Vec<_> = cases.iter().filter(|case| case.name == format!("{}_good", case.record)).collect();
    let kinds = kinds();
    assert_eq!(good.len(), kinds.len());
    for case in good {
        for (kind, judge) in &kinds {
            let found = judge(&case.json, case.now, None).unwrap();
            assert_eq!(found == "ok", case.record == *kind, "{} as {kind}: {found}", case.name);
        }
        for purpose in [Purpose::Presence, Purpose::Leave] {
            assert!(Ticket::parse(&case.json, purpose).is_err(), "{}", case.name);
        }
        // Nothing else that is signed begins as records do: tickets, capsules, roots and lists with {, bindings and prekeys
        // with names of their own.
        let message = case.canonical.as_deref().unwrap();
        assert!(message.starts_with(&format!("rendezvous-mailbox-v1:{}\n{{", case.record)));
    }
}

#[test]
fn a_ticket_is_no_record_of_a_mailbox_whatever_it_says() {
    let key = PrivateKey::from_seed(&[1; 32]);
    // An owner key must not sign tickets. Were it to, and an envelope be made of one, it would be over other bytes.
    let payload = serde_json::json!({ "mailbox": Address::of(&key.public_key()), "revision": 1 });
    let mut envelope = serde_json::json!({
        "algorithm": "ed25519", "payload": payload, "publicKey": key.public_key(), "signature": "", "version": 1,
    });
    let json = canonical(&envelope["payload"]);
    let now = UnixMillis::saturating(0);
    let purposes = kinds();
    for (prefix, expect) in [
        (String::new(), "SIGNATURE_INVALID"),
        ("rendezvous-live-v1:bind\n".to_owned(), "SIGNATURE_INVALID"),
        ("rendezvous-live-v1:signal\n".to_owned(), "SIGNATURE_INVALID"),
        ("rendezvous-prekey-v1\n".to_owned(), "SIGNATURE_INVALID"),
        ("rendezvous-mailbox-v1:close".to_owned(), "SIGNATURE_INVALID"),
        ("rendezvous-mailbox-v1:close\n".to_owned(), "ok"),
    ] {
        envelope["signature"] = base64::encode(&key.sign(format!("{prefix}{json}").as_bytes())).into();
        assert_eq!(purposes["close"](&envelope.to_string(), now, None), Ok(expect), "{prefix}");
    }
}

#[test]
fn every_body_has_the_expected_outcome() {
    let cases: Vec<BodyCase> = read(BODIES, BODY_CASES);
    fn all(acks: Vec<AckWithDeposit>) -> Result<(), RecordError> {
        acks.into_iter().try_for_each(|ack| ack.verify().map(drop))
    }
    check(
        &cases,
        |case| &case.name,
        |case| {
            let body = case.body.as_bytes();
            let relay = relay();
            let rules = RecordRules { now: case.now, audiences: &relay };
            let outcome = match case.kind.as_str() {
                "put" => PutBody::parse(body).and_then(|PutBody { card, policy }| {
                    card.verify(&rules)?;
                    policy.verify(&rules).map(drop)
                }),
                "deposit" => DepositBody::parse(body).and_then(|body| body.deposit.verify(&rules).map(drop)),
                "collect" => CollectBody::parse(body).and_then(|body| {
                    body.collect.verify(&rules)?;
                    all(body.acks)
                }),
                "acks" => parse_acks(body).and_then(all),
                "slot" => parse_slot(body).and_then(|slot| slot.verify(&rules).map(drop)),
                "claim" => ClaimBody::parse(body).and_then(|body| body.claim.verify(&rules).map(drop)),
                "prekeys" => parse_prekeys(body).and_then(|prekeys| prekeys.verify(&rules).map(drop)),
                "close" => parse_close(body).and_then(|close| close.verify(&rules).map(drop)),
                kind => return Err(format!("there is no body {kind}")),
            };
            compare(&case.expect, code(&outcome))
        },
    );
}

#[test]
fn bodies_are_bounded() {
    let cases: Vec<BodyCase> = read(BODIES, BODY_CASES);
    let good = |name: &str| cases.iter().find(|case| case.name == name).unwrap().body.clone();
    let put = good("put_good");
    let padded = |bytes: usize| put.clone() + &" ".repeat(bytes - put.len());
    assert!(PutBody::parse(padded(BODY_MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(PutBody::parse(padded(BODY_MAX_BYTES + 1).as_bytes()), Err(RecordError::BodyTooLarge));
    assert_eq!(code(&body::parse_close(b"{\"close\":\xff}")), "MALFORMED");

    let one: Value = serde_json::from_str(&good("acks_good")).unwrap();
    let many = |count: usize| serde_json::json!({ "acks": vec![&one["acks"][0]; count] }).to_string();
    assert_eq!(parse_acks(many(ACKS_MAX).as_bytes()).unwrap().len(), ACKS_MAX);
    assert_eq!(code(&parse_acks(many(ACKS_MAX + 1).as_bytes())), "MALFORMED");
}

#[test]
fn every_proof_of_work_has_the_expected_outcome() {
    let cases: Vec<ProofCase> = read(PROOFS, PROOF_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let ProofCase { address, subject, difficulty, now, day, solution, .. } = case;
            let holds = Proof { day: *day, solution: *solution }.holds(*address, subject, *difficulty, *now);
            compare(&case.holds.to_string(), &holds.to_string())
        },
    );
}

#[test]
fn every_prekey_is_signed_by_itself() {
    let cases: Vec<PrekeyCase> = read(PREKEYS, PREKEY_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let kind = if case.kind == "fallback" { PrekeyKind::Fallback } else { PrekeyKind::OneTime };
            let prekey = Prekey { id: case.id.clone(), key: case.key, signature: case.signature, since: case.since };
            let message = Prekeys::prekey_signed_bytes(case.mailbox, &case.curve25519, kind, &prekey);
            compare(&case.message, &message)?;
            case.public_key.verify(message.as_bytes(), &prekey.signature.0).map_err(|error| error.to_string())
        },
    );
}

#[test]
fn what_is_signed_here_is_what_a_reader_takes() {
    let key = PrivateKey::from_seed(&[1; 32]);
    let mailbox = Address::of(&key.public_key());
    let signed = Signed::sign(Close { mailbox, revision: 1 }, &key).unwrap();
    let now = UnixMillis::saturating(0);
    let rules = RecordRules { now, audiences: &[] };
    assert_eq!(Signed::<Close>::parse(&signed.to_json()).unwrap().verify(&rules).unwrap().payload(), signed.payload());
    assert_eq!(code(&Signed::sign(Close { mailbox, revision: 0 }, &key)), "MALFORMED");
}

#[test]
fn an_address_has_one_spelling() {
    let key = PublicKey::from_bytes([7; 32]);
    let address = Address::of(&key).to_string();
    assert_eq!(address.parse(), Ok(Address::of(&key)));
    assert_eq!(base64::decode_array(&key.to_string()), Some(*key.as_bytes()));
    for text in [
        String::new(),
        address.to_uppercase(),
        address.chars().skip(1).collect(),
        format!("{address}0"),
        "é".repeat(32),
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}
