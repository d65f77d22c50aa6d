//! The vectors in `tests/vectors/`: what every implementation of the wire formats agrees on, each a case named for its
//! defect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};

use rendezvous_protocol::base64;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::capsule::{Capsule, CapsuleBytes, CapsuleError, CapsuleRules, TicketStatus, Trust};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{KeyError, PrivateKey, PublicKey};
use rendezvous_protocol::live::{Claim, ClientMessage, Confirmation, SeenSignals, SignalError, SignalRules};
use rendezvous_protocol::message_addresses::MessageAddresses;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::root::{Root, RootError};
use rendezvous_protocol::root_walk::{FoundFile, RootWalk};
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::ticket::{PeerData, PeerId, Purpose, Ticket, TicketError, TicketRules, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;
use serde_json::Value;

mod cases;

use cases::{check, read};

const KEYS: &str = include_str!("../../tests/vectors/keys.json");
const TICKETS: &str = include_str!("../../tests/vectors/tickets.json");
const CAPSULES: &str = include_str!("../../tests/vectors/capsules.json");
const SPELLINGS: &str = include_str!("../../tests/vectors/spellings.json");
const ROOTS: &str = include_str!("../../tests/vectors/roots.json");
const SIGNALS: &str = include_str!("../../tests/vectors/signals.json");
const TRUST: &str = include_str!("../../tests/vectors/trust.json");
const MESSAGE_ADDRESSES: &str = include_str!("../../tests/vectors/message-addresses.json");

const TICKET_CASES: usize = 128;
const CAPSULE_CASES: usize = 16;
const ROOT_CASES: usize = 125;
const TRUST_CASES: usize = 124;
const SIGNAL_CASES: usize = 88;
const CONFIRMATION_CASES: usize = 9;
const MESSAGE_ADDRESS_CASES: usize = 44;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(rename = "note")]
    _note: String,
    a: KeyPair,
    b: KeyPair,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyPair {
    public_key: String,
    private_key: String,
}

// Unknown fields are refused: one that says something which this test does not look at would be a case not tested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketCase {
    name: String,
    expect: String,
    now: UnixMillis,
    community: String,
    /// What is signed, of everything that has the shape of a ticket.
    canonical: Option<String>,
    allow: Option<Vec<String>>,
    ticket: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CapsuleCase {
    name: String,
    expect: String,
    now: UnixMillis,
    community: String,
    /// What the embedded signature is over, of everything that has the shape of a capsule.
    canonical: Option<String>,
    public_key: String,
    file: String,
    /// Empty where the file has no signature beside it.
    sig: String,
    newest_seen: Option<UnixMillis>,
    live: Option<usize>,
    recently_seen: Option<usize>,
    refused: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RootCase {
    name: String,
    expect: String,
    now: UnixMillis,
    /// The root that the reader was given beforehand.
    trusted: String,
    /// What the host answers for its successors.
    chain: Vec<Step>,
    /// Of the newest after the walk.
    root_version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    root: Option<String>,
    signatures: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TrustCase {
    name: String,
    expect: String,
    now: UnixMillis,
    community: String,
    /// What the embedded signature is over, of everything that has the shape of a capsule.
    canonical: Option<String>,
    public_key: Option<String>,
    root: Option<String>,
    file: String,
    /// Empty where the file has no signature beside it.
    sig: String,
    sigs: Option<String>,
    newest_seen: Option<UnixMillis>,
    remembered: Option<RevokedLists>,
    live: Option<usize>,
    recently_seen: Option<usize>,
    refused: Option<BTreeMap<String, usize>>,
    publishers: Option<BTreeSet<String>>,
    revoked: Option<RevokedLists>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokedLists {
    ticket_keys: BTreeSet<String>,
    publisher_keys: BTreeSet<String>,
    beacons: BTreeSet<String>,
}

impl RevokedLists {
    fn of(revocations: &Revocations) -> Self {
        Self {
            ticket_keys: texts(&revocations.ticket_keys),
            publisher_keys: texts(&revocations.publisher_keys),
            beacons: revocations.beacons.clone(),
        }
    }

    fn to_revocations(&self) -> Revocations {
        let keys = |texts: &BTreeSet<String>| texts.iter().map(|text| PublicKey::from_text(text).unwrap()).collect();
        Revocations {
            ticket_keys: keys(&self.ticket_keys),
            publisher_keys: keys(&self.publisher_keys),
            beacons: self.beacons.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SignalOrConfirmation {
    Signal(SignalCase),
    Confirmation(ConfirmationCase),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalCase {
    name: String,
    expect: String,
    now: UnixMillis,
    community: String,
    /// The receiver's claim.
    own: (String, String),
    /// The claims of which the receiver holds a ticket.
    present: Vec<(String, String)>,
    /// `id` and sender's key of what has come before.
    seen: Vec<(String, String)>,
    canonical: Option<String>,
    /// Of the signed bytes, in base64.
    sha256: Option<String>,
    signal: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmationCase {
    name: String,
    expect: String,
    canonical: String,
    confirm: ConfirmationFields,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmationFields {
    answer: String,
    community: String,
    key: String,
    offer: String,
    peer_key: String,
}

fn claim((peer_id, key): &(String, String)) -> Claim {
    Claim { public_key: PublicKey::from_text(key).unwrap(), peer_id: PeerId::new(peer_id).unwrap() }
}

fn texts(keys: &BTreeSet<PublicKey>) -> BTreeSet<String> {
    keys.iter().map(PublicKey::to_string).collect()
}

/// `expect` is one outcome, or several with `|` between them where the specification leaves the choice.
fn check_outcome(expect: &str, outcome: &str) -> Result<(), String> {
    if expect.split('|').any(|allowed| allowed == outcome) {
        return Ok(());
    }
    Err(format!("expected {expect}, got {outcome}"))
}

fn verify_ticket(case: &TicketCase) -> Result<VerifiedTicket, TicketError> {
    let community = Community::new(&case.community).unwrap();
    let trusted_keys: Option<SortedSet<PublicKey>> =
        case.allow.as_ref().map(|keys| keys.iter().map(|key| PublicKey::from_text(key).unwrap()).collect());
    let rules = TicketRules { trusted_keys: trusted_keys.as_ref(), ..TicketRules::new(&community) };
    Ticket::parse(&case.ticket, Purpose::Presence)?.verify(&rules, case.now)
}

fn verify_capsule(case: &CapsuleCase) -> Result<Capsule, CapsuleError> {
    let community = Community::new(&case.community).unwrap();
    let public_key = PublicKey::from_text(&case.public_key).unwrap();
    let rules = CapsuleRules { newest_seen: case.newest_seen, ..CapsuleRules::new(Trust::Key(public_key), &community) };
    let signature = (!case.sig.is_empty()).then_some(case.sig.as_bytes());
    Capsule::verify(CapsuleBytes { json: case.file.as_bytes(), signature, cosignatures: None }, &rules, case.now)
}

/// A reader's whole walk from the root that it was given.
fn walk(case: &RootCase) -> Result<Root, RootError> {
    fn file(text: &String) -> FoundFile<'_> {
        FoundFile { bytes: text.as_bytes(), media_type: None }
    }
    let mut walk = RootWalk::new(Root::parse(case.trusted.as_bytes())?);
    for Step { root, signatures } in &case.chain {
        // Each file only where the walk wants it.
        if walk.wanted().is_some() {
            walk.take(signatures.as_ref().map(file))?;
        }
        if walk.wanted().is_some() {
            walk.take(root.as_ref().map(file))?;
        }
    }
    let newest = walk.into_newest();
    newest.check_expiry(case.now)?;
    Ok(newest)
}

fn verify_trusted(case: &TrustCase) -> Result<Capsule, CapsuleError> {
    let community = Community::new(&case.community).unwrap();
    let root = case.root.as_ref().map(|root| Root::parse(root.as_bytes()).unwrap());
    let trust = match (&root, &case.public_key) {
        (Some(root), None) => Trust::Root(root),
        (None, Some(key)) => Trust::Key(PublicKey::from_text(key).unwrap()),
        _ => panic!("a reader trusts a root or a key"),
    };
    let remembered = case.remembered.as_ref().map(RevokedLists::to_revocations);
    let rules = CapsuleRules {
        newest_seen: case.newest_seen,
        revoked: remembered.as_ref(),
        ..CapsuleRules::new(trust, &community)
    };
    let files = CapsuleBytes {
        json: case.file.as_bytes(),
        signature: (!case.sig.is_empty()).then_some(case.sig.as_bytes()),
        cosignatures: case.sigs.as_deref().map(str::as_bytes),
    };
    Capsule::verify(files, &rules, case.now)
}

/// Says where `found` is not what the case expects, if it expects something.
fn check_field<T: PartialEq + std::fmt::Debug>(field: &str, expected: Option<&T>, found: &T) -> Result<(), String> {
    match expected {
        Some(expected) if expected != found => Err(format!("expected {field} {expected:?}, got {found:?}")),
        _ => Ok(()),
    }
}

#[test]
fn every_chain_of_roots_has_the_expected_outcome() {
    let cases: Vec<RootCase> = read(ROOTS, ROOT_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let outcome = walk(case);
            check_outcome(&case.expect, outcome.as_ref().map_or_else(RootError::code, |_| "ok"))?;
            let Ok(root) = outcome else { return Ok(()) };
            check_field("rootVersion", case.root_version.as_ref(), &root.root_version())?;
            // What is written again says the same.
            let again = Root::parse(root.to_json().as_bytes());
            if again.as_ref() == Ok(&root) { Ok(()) } else { Err(format!("written again it is {again:?}")) }
        },
    );
}

#[test]
fn every_capsule_of_a_reader_that_remembers_has_the_expected_outcome() {
    let cases: Vec<TrustCase> = read(TRUST, TRUST_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let outcome = verify_trusted(case);
            check_outcome(&case.expect, outcome.as_ref().map_or_else(CapsuleError::code, |_| "ok"))?;
            let Ok(capsule) = outcome else { return Ok(()) };
            let refused = capsule.refused.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect();
            check_field("live", case.live.as_ref(), &capsule.count(TicketStatus::Live))?;
            check_field("recentlySeen", case.recently_seen.as_ref(), &capsule.count(TicketStatus::RecentlySeen))?;
            check_field("refused", case.refused.as_ref(), &refused)?;
            check_field("publishers", case.publishers.as_ref(), &texts(&capsule.publishers))?;
            check_field("revoked", case.revoked.as_ref(), &RevokedLists::of(&capsule.revocations))
        },
    );
}

#[test]
fn every_ticket_has_the_expected_outcome() {
    let cases: Vec<TicketCase> = read(TICKETS, TICKET_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let outcome = verify_ticket(case);
            check_outcome(&case.expect, outcome.as_ref().map_or_else(TicketError::code, |_| "ok"))?;
            // A good one has to come back out of its normal form, which is what beacons give to the next reader.
            let Ok(ticket) = outcome else { return Ok(()) };
            let again = verify_ticket(&TicketCase {
                name: String::new(),
                expect: String::new(),
                community: case.community.clone(),
                canonical: None,
                allow: case.allow.clone(),
                ticket: ticket.as_json().to_owned(),
                ..*case
            });
            if again.as_ref() == Ok(&ticket) { Ok(()) } else { Err(format!("its normal form gives {again:?}")) }
        },
    );
}

fn verify_signal(case: &SignalCase) -> Result<(), String> {
    let community = Community::new(&case.community).unwrap();
    let signal = match ClientMessage::parse(&case.signal) {
        Ok(ClientMessage::Signal(signal)) => signal,
        Ok(other) => return Err(format!("{other:?} is no signal")),
        Err(_) => return check_outcome(&case.expect, "MALFORMED"),
    };
    if let (Some(canonical), Some(sha256)) = (&case.canonical, &case.sha256) {
        // Of one that was changed on its way they are those of what its sender signed.
        let is_as_signed = signal.signed_bytes(&community) == *canonical;
        assert_eq!(is_as_signed, base64::encode(&signal.digest(&community)) == *sha256, "{}", case.name);
        if !is_as_signed && case.expect != "SIGNATURE_INVALID" {
            return Err(format!("it signs {}", signal.signed_bytes(&community)));
        }
    }
    let (own, present) = (claim(&case.own), case.present.iter().map(claim).collect());
    let mut seen = SeenSignals::default();
    for (id, key) in &case.seen {
        seen.insert(case.now, PublicKey::from_text(key).unwrap(), id).unwrap();
    }
    let rules = SignalRules { own: &own, present: &present, tickets: TicketRules::new(&community) };
    let outcome = signal.verify(&rules, case.now, &mut seen);
    check_outcome(&case.expect, outcome.as_ref().map_or_else(SignalError::code, |()| "ok"))?;
    let again = signal.verify(&rules, case.now, &mut seen);
    if outcome.is_err() || again == Err(SignalError::Duplicate) { Ok(()) } else { Err(format!("again: {again:?}")) }
}

fn verify_confirmation(case: &ConfirmationCase) -> Result<(), String> {
    let ConfirmationFields { answer, community, key, offer, peer_key } = &case.confirm;
    let [offer, answer] = [offer, answer].map(|text| base64::decode_array(text).unwrap());
    let community = &Community::new(community).unwrap();
    let [key, peer_key] = [key, peer_key].map(|text| PublicKey::from_text(text).unwrap());
    let confirmation = Confirmation { community, offer, answer, key, peer_key };
    assert_eq!(confirmation.signed_bytes(), case.canonical, "{}", case.name);
    let fits = confirmation.verify_signature(&base64::decode_array(&case.signature).unwrap());
    check_outcome(&case.expect, if fits { "ok" } else { "SIGNATURE_INVALID" })
}

#[test]
fn every_signal_and_every_confirmation_has_the_expected_outcome() {
    let cases: Vec<SignalOrConfirmation> = serde_json::from_str(SIGNALS).unwrap();
    let confirmations = cases.iter().filter(|case| matches!(case, SignalOrConfirmation::Confirmation(_))).count();
    assert_eq!((cases.len() - confirmations, confirmations), (SIGNAL_CASES, CONFIRMATION_CASES));
    check(
        &cases,
        |case| match case {
            SignalOrConfirmation::Signal(case) => &case.name,
            SignalOrConfirmation::Confirmation(case) => &case.name,
        },
        |case| match case {
            SignalOrConfirmation::Signal(case) => verify_signal(case),
            SignalOrConfirmation::Confirmation(case) => verify_confirmation(case),
        },
    );
}

#[test]
fn what_is_signed_is_byte_for_byte_what_the_vectors_say() {
    let tickets: Vec<TicketCase> = serde_json::from_str(TICKETS).unwrap();
    let capsules: Vec<CapsuleCase> = serde_json::from_str(CAPSULES).unwrap();
    let mut compared = 0;
    for TicketCase { name, canonical, ticket, .. } in &tickets {
        match (canonical, Ticket::parse(ticket, Purpose::Presence)) {
            (Some(bytes), Ok(ticket)) => {
                assert_eq!(ticket.payload().signed_bytes(), *bytes, "{name}");
                compared += 1;
            }
            // Of another version or algorithm, of which nothing is known.
            (Some(_), Err(error)) => assert!(error.code().starts_with("UNSUPPORTED_"), "{name}: {error}"),
            (None, outcome) => assert_eq!(outcome.unwrap_err().code(), "MALFORMED", "{name}"),
        }
    }
    assert_eq!(compared, 54);
    let trust: Vec<TrustCase> = serde_json::from_str(TRUST).unwrap();
    let of_capsules = capsules.iter().map(|case| (&case.name, &case.expect, &case.canonical, &case.file));
    let of_trust = trust.iter().map(|case| (&case.name, &case.expect, &case.canonical, &case.file));
    for (name, expect, bytes, file) in of_capsules.chain(of_trust) {
        let Some(bytes) = bytes else {
            assert_eq!(expect, "MALFORMED", "{name}");
            continue;
        };
        let mut fields: serde_json::Map<String, Value> = serde_json::from_str(file).unwrap();
        fields.retain(|name, _| ["community", "expiresAt", "issuedAt", "peers", "version"].contains(&name.as_str()));
        assert_eq!(canonical(&Value::Object(fields)), *bytes, "{name}");
    }
}

/// The text between the headline of a section of the specification and the next one.
fn section(title: &str) -> &'static str {
    const SPECIFICATION: &str = include_str!("../README.md");
    let (_, section) = SPECIFICATION.split_once(&format!("\n## {title}\n")).expect(title);
    section.split("\n## ").next().unwrap()
}

#[test]
fn the_worked_example_of_the_specification_is_a_vector() {
    let Keys { a, .. } = serde_json::from_str(KEYS).unwrap();
    let tickets: Vec<TicketCase> = serde_json::from_str(TICKETS).unwrap();
    let case = tickets.iter().find(|case| case.name == "community_signed").unwrap();
    let ticket = verify_ticket(case).unwrap();
    let seed: [u8; 32] = base64::decode(&a.private_key).unwrap().last_chunk().copied().unwrap();
    assert_eq!(PrivateKey::from_seed(&seed).public_key(), ticket.public_key());
    let example = section("12. A worked example");
    for bytes in [
        hexadecimal(&seed),
        a.public_key,
        case.canonical.clone().unwrap(),
        base64::encode(ticket.signature()),
        ticket.as_json().to_owned(),
    ] {
        assert!(example.lines().any(|line| line.trim() == bytes), "{bytes}");
    }
    assert!(example.contains(&format!("{} bytes", case.canonical.as_ref().unwrap().len())));
}

#[test]
fn the_specification_lists_the_eight_keys_of_small_order() {
    let tickets: Vec<TicketCase> = serde_json::from_str(TICKETS).unwrap();
    let keys: BTreeSet<String> = tickets
        .iter()
        .filter(|case| case.name.starts_with("public_key_small_order_"))
        .map(|case| hexadecimal(Ticket::parse(&case.ticket, Purpose::Presence).unwrap().public_key().as_bytes()))
        .collect();
    let is_key = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    let listed = section("13. Traps").lines().filter(is_key).map(str::to_owned).collect();
    assert_eq!((keys.len(), &keys), (8, &listed));
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_capsule_has_the_expected_outcome() {
    let cases: Vec<CapsuleCase> = read(CAPSULES, CAPSULE_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let outcome = verify_capsule(case);
            check_outcome(&case.expect, outcome.as_ref().map_or_else(CapsuleError::code, |_| "ok"))?;
            let Ok(capsule) = outcome else { return Ok(()) };
            for (field, expected, found) in [
                ("live", case.live, capsule.count(TicketStatus::Live)),
                ("recentlySeen", case.recently_seen, capsule.count(TicketStatus::RecentlySeen)),
                ("refused", case.refused, capsule.refused.values().sum()),
            ] {
                if expected.is_some_and(|expected| expected != found) {
                    return Err(format!("expected {field} {expected:?}, got {found}"));
                }
            }
            Ok(())
        },
    );
}

/// The bytes that every Ed25519 public and private key has before its 32 bytes (RFC 8410, sections 4 and 7).
const SPKI_PREFIX: &str = "MCowBQYDK2VwAyEA";
const PKCS8_PREFIX: &str = "MC4CAQAwBQYDK2VwBCIEI";

fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

#[test]
fn keys_are_read_in_both_forms() {
    let Keys { a, b, .. } = serde_json::from_str(KEYS).unwrap();
    for KeyPair { public_key, private_key } in [a, b] {
        assert!(private_key.starts_with(PKCS8_PREFIX));
        let private_pem = pem("PRIVATE KEY", &private_key);
        // 12 bytes of prefix are a multiple of three, so that the base64 of the key follows that of the prefix.
        let public_pem = pem("PUBLIC KEY", &format!("{SPKI_PREFIX}{public_key}"));
        let expected = PublicKey::from_text(&public_key).unwrap();
        assert_eq!(PublicKey::from_text(&public_pem), Ok(expected));
        for text in [&private_key, &private_pem] {
            assert_eq!(PrivateKey::from_text(text).unwrap().public_key(), expected);
            assert_eq!(PrivateKey::from_text(&format!(" \n{text}\r\n")).unwrap().public_key(), expected);
        }
        for text in [&public_key, &public_pem] {
            assert_eq!(PublicKey::from_text(&format!(" \n{text}\r\n")), Ok(expected));
        }
        let in_two_lines = pem("PUBLIC KEY", &format!("{SPKI_PREFIX}\n{public_key}"));
        for text in [public_pem.replace('\n', "\r\n"), in_two_lines] {
            assert_eq!(PublicKey::from_text(&text), Ok(expected));
        }
        // What is written is what is read.
        assert_eq!(expected.to_string(), public_key);
        assert_eq!(PrivateKey::from_text(&private_key).unwrap().to_pem().unwrap(), private_pem);
        // A private key must not get into a log.
        let debug = format!("{:?}", PrivateKey::from_text(&private_key).unwrap());
        assert_eq!(debug, format!("PrivateKey(of {public_key})"));
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spelling {
    name: String,
    kind: String,
    text: String,
    public_key: Option<String>,
}

#[test]
fn keys_are_read_in_every_spelling_that_tools_leave() {
    let spellings: Vec<Spelling> = serde_json::from_str(SPELLINGS).unwrap();
    assert_eq!(spellings.len(), 79);
    for Spelling { name, kind, text, public_key } in spellings {
        let found = match kind.as_str() {
            "public" => PublicKey::from_text(&text),
            _ => PrivateKey::from_text(&text).map(|key| key.public_key()),
        };
        assert_eq!(found.ok().map(|key| key.to_string()), public_key, "{name}");
    }
}

#[test]
fn what_is_not_a_key_is_named_for_what_it_is() {
    let Keys { a, b: KeyPair { public_key, private_key }, .. } = serde_json::from_str(KEYS).unwrap();
    let spki = format!("{SPKI_PREFIX}{public_key}");
    let x25519 = KeyError::OtherAlgorithm { algorithm: "X25519" };
    let rsa = KeyError::OtherAlgorithm { algorithm: "RSA" };
    let rsa_public = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA";
    let rsa_private = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA";
    for (text, error) in [
        (" \n".to_owned(), KeyError::Empty),
        (pem("PRIVATE KEY", ""), KeyError::Empty),
        ("key".to_owned(), KeyError::PrivateKey),
        (public_key.clone(), KeyError::Bare),
        (public_key.replace('=', ""), KeyError::Bare),
        (spki.clone(), KeyError::Public),
        (pem("PUBLIC KEY", &spki), KeyError::Public),
        (pem("PRIVATE KEY", &spki), KeyError::Public),
        (pem("ENCRYPTED PRIVATE KEY", &private_key), KeyError::Encrypted),
        (pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEA"), KeyError::OpenSsh),
        (pem("RSA PRIVATE KEY", rsa_private), rsa),
        (pem("PRIVATE KEY", rsa_private), rsa),
        (private_key.replace("K2Vw", "K2Vu"), x25519),
        (pem("CERTIFICATE", &spki), KeyError::OtherPem),
        (pem("PRIVATE KEY", &private_key) + &pem("PRIVATE KEY", &a.private_key), KeyError::Several),
        (pem("PRIVATE KEY", &private_key).replace("-----END", ""), KeyError::CutOff),
        (pem("PRIVATE KEY", &private_key).replace('E', "*"), KeyError::PrivateKey),
    ] {
        assert_eq!(PrivateKey::from_text(&text).unwrap_err(), error, "{text}");
    }
    for (text, error) in [
        ("\u{feff}".to_owned(), KeyError::Empty),
        ("key".to_owned(), KeyError::PublicKey),
        (public_key.replace('=', ""), KeyError::OtherBase64),
        (public_key.replace('/', "_"), KeyError::OtherBase64),
        (private_key.clone(), KeyError::Private),
        (pem("PRIVATE KEY", &private_key), KeyError::Private),
        (pem("ENCRYPTED PRIVATE KEY", &private_key), KeyError::Private),
        (pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEA"), KeyError::Private),
        (pem("PUBLIC KEY", rsa_public), rsa),
        (spki.replace("K2Vw", "K2Vu"), x25519),
        (pem("PUBLIC KEY", &spki).replace("-----END", ""), KeyError::CutOff),
    ] {
        assert_eq!(PublicKey::from_text(&text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn no_other_text_is_a_key() {
    let Keys { b: KeyPair { public_key, private_key }, .. } = serde_json::from_str(KEYS).unwrap();
    for text in [
        "",
        "-----",
        &public_key.replace('=', ""),
        &public_key.replace('/', "_"),
        &format!("{public_key}{public_key}"),
        &private_key,
        &pem("PUBLIC KEY", &public_key),
        &pem("PRIVATE KEY", &private_key),
        &pem("CERTIFICATE", &format!("{SPKI_PREFIX}{public_key}")),
        // X25519, two keys in one, two blocks.
        &pem("PUBLIC KEY", &format!("{}{public_key}", SPKI_PREFIX.replace("K2Vw", "K2Vu"))),
        &pem("PUBLIC KEY", &format!("{SPKI_PREFIX}{public_key}{SPKI_PREFIX}{public_key}")),
        &pem("PUBLIC KEY", &format!("{SPKI_PREFIX}{public_key}")).repeat(2),
        "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----END PUBLIC KEY-----",
    ] {
        PublicKey::from_text(text).expect_err(text);
    }
    for text in [
        "",
        "-----",
        &public_key,
        &private_key.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vx"),
        &pem("PRIVATE KEY", &public_key),
        &pem("PUBLIC KEY", &private_key),
        &pem("ENCRYPTED PRIVATE KEY", &private_key),
        // Cut short by a byte, and with one left over.
        private_key.get(..private_key.len() - 4).unwrap(),
        &format!("{private_key}AAAA"),
    ] {
        PrivateKey::from_text(text).expect_err(text);
    }
}

/// The codes that the vectors name are the ones of the wire. A code that no vector expects is not tested.
#[test]
fn the_vectors_expect_every_code() {
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let tickets: Vec<TicketCase> = serde_json::from_str(TICKETS).unwrap();
    let capsules: Vec<CapsuleCase> = serde_json::from_str(CAPSULES).unwrap();
    let roots: Vec<RootCase> = serde_json::from_str(ROOTS).unwrap();
    let trust: Vec<TrustCase> = serde_json::from_str(TRUST).unwrap();
    let outcomes = tickets
        .iter()
        .map(|case| &case.expect)
        .chain(capsules.iter().map(|case| &case.expect))
        .chain(roots.iter().map(|case| &case.expect))
        .chain(trust.iter().map(|case| &case.expect));
    for code in outcomes.flat_map(|expect| expect.split('|')) {
        *expected.entry(code.to_owned()).or_default() += 1;
    }
    for code in [
        "ok",
        "MALFORMED",
        "UNSUPPORTED_VERSION",
        "UNSUPPORTED_ALGORITHM",
        "COMMUNITY_MISMATCH",
        "LIFETIME_TOO_LONG",
        "NOT_YET_VALID",
        "EXPIRED",
        "UNTRUSTED_PUBLIC_KEY",
        "SIGNATURE_INVALID",
        "ROLLBACK",
        "REVOKED_PUBLIC_KEY",
        "THRESHOLD_NOT_MET",
        "ROOT_EXPIRED",
        "ROOT_OUT_OF_SEQUENCE",
    ] {
        assert!(expected.contains_key(code), "{code}: {expected:?}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageAddressCase {
    name: String,
    expect: String,
    data: String,
    user: Option<UserOfCase>,
    mailbox: Option<MailboxOfCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserOfCase {
    user: String,
    relays: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailboxOfCase {
    mailbox: String,
    relays: Vec<String>,
}

#[test]
fn addresses_in_data() {
    let cases: Vec<MessageAddressCase> = read(MESSAGE_ADDRESSES, MESSAGE_ADDRESS_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| {
            let data = PeerData::new(&case.data).ok_or("no ticket can have this data")?;
            let texts = |relays: Vec<_>| -> Vec<String> {
                relays.iter().map(|relay: &Origin| relay.as_str().to_owned()).collect()
            };
            let found = match (MessageAddresses::read(&data), case.expect.as_str()) {
                (Ok(found), "ok") => found,
                (Err(_), "MALFORMED") => return Ok(()),
                (found, expect) => return Err(format!("{found:?}, not {expect}")),
            };
            let user = found.user.map(|user| (user.user.to_string(), texts(user.relays)));
            let mailbox = found.mailbox.map(|mailbox| (mailbox.mailbox.to_string(), texts(mailbox.relays)));
            let expected_user = case.user.as_ref().map(|user| (user.user.clone(), user.relays.clone()));
            let expected_mailbox =
                case.mailbox.as_ref().map(|mailbox| (mailbox.mailbox.clone(), mailbox.relays.clone()));
            if user != expected_user || mailbox != expected_mailbox {
                return Err(format!("{user:?} {mailbox:?}"));
            }
            Ok(())
        },
    );
}
