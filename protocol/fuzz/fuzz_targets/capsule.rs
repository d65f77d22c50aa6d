//! Whatever is signed is parsed, and a capsule that is good says what was sent and nothing else.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::base64;
use rendezvous_protocol::canonical::canonical;
use rendezvous_protocol::capsule::{
    self, Capsule, CapsuleBytes, CapsuleError, CapsuleFiles, CapsuleRules, Contents, Trust,
};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::merge::Entry;
use rendezvous_protocol::ticket::{Purpose, TicketRules};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol_fuzz::{key, sign_ticket};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let community = Community::new("mainnet").expect("a name");
    // The signature beside the file is right, or nothing would be parsed.
    let outcome = verify(data, &community, UnixMillis::saturating(1_700_000_020_000), None);
    assert!(!matches!(
        outcome,
        Err(CapsuleError::DetachedSignatureInvalid | CapsuleError::DetachedSignatureMissing | CapsuleError::TooLarge)
    ));
    assert!(outcome.is_err() || data.is_ascii() || str::from_utf8(data).is_ok());

    // From here on with a right signature inside, too, where the shape is that of a capsule.
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(data) else { return };
    let Some(sent) = sign(&mut fields) else { return };
    let signed = serde_json::to_string(&fields).expect("it was JSON");
    let Some(community) = sent["community"].as_str().and_then(|name| Community::new(name).ok()) else { return };
    let Some(issued_at) = sent["issuedAt"].as_u64().and_then(UnixMillis::new) else { return };
    let capsule = match verify(signed.as_bytes(), &community, issued_at, None) {
        Ok(capsule) => capsule,
        Err(error) => {
            assert!(matches!(error.code(), "MALFORMED" | "UNSUPPORTED_VERSION" | "UNSUPPORTED_ALGORITHM"), "{error}");
            return;
        }
    };

    // It says what was sent.
    let peers = sent["peers"].as_array().expect("a list");
    assert_eq!(capsule.issued_at, issued_at);
    assert_eq!(Some(capsule.expires_at.as_u64()), sent["expiresAt"].as_u64());
    assert_eq!(capsule.peers.len() + capsule.refused.values().sum::<usize>(), peers.len());
    let mut rest = peers.iter().map(canonical);
    for (ticket, _) in &capsule.peers {
        assert!(
            rest.any(|peer| peer == ticket.as_json()),
            "{} is among what was sent, in this order",
            ticket.as_json()
        );
    }

    // It is good at its time, in its order, and for its community alone.
    let code = |now, newest_seen| verify(signed.as_bytes(), &community, now, newest_seen).map_err(|error| error.code());
    assert_eq!(code(capsule.expires_at, None).err(), Some("EXPIRED"));
    assert_eq!(code(issued_at, Some(issued_at)).as_ref(), Ok(&capsule));
    if let Some(later) = UnixMillis::new(issued_at.as_u64() + 1) {
        assert_eq!(code(issued_at, Some(later)).err(), Some("ROLLBACK"));
    }
    if let Some(too_early) = issued_at.as_u64().checked_sub(15_001) {
        assert_eq!(code(UnixMillis::saturating(too_early), None).err(), Some("NOT_YET_VALID"));
    }
    let other = Community::new("another").expect("a name");
    if community != other {
        let outcome = verify(signed.as_bytes(), &other, issued_at, None);
        assert_eq!(outcome.map_err(|error| error.code()).err(), Some("COMMUNITY_MISMATCH"));
    }

    // Written again it is the same capsule, and the same bytes each time.
    let entries: Vec<Entry> =
        capsule.peers.iter().map(|(ticket, _)| Entry { ticket: ticket.clone(), listed_by: Vec::new() }).collect();
    let contents = Contents {
        community: &community,
        issued_at,
        lifetime: capsule.expires_at.since(issued_at),
        entries: &entries,
        beacons: &[],
        revocations: &capsule.revocations,
    };
    let files = capsule::sign(&contents, &key());
    assert_eq!(files, capsule::sign(&contents, &key()));
    let again = verify_files(&files, &community, issued_at);
    assert_eq!(again.as_ref(), Ok(&Capsule { refused: BTreeMap::new(), origins: None, ..capsule.clone() }));
});

/// Verifies `json` with the right signature beside it.
fn verify(
    json: &[u8],
    community: &Community,
    now: UnixMillis,
    newest_seen: Option<UnixMillis>,
) -> Result<Capsule, CapsuleError> {
    let signature = base64::encode(&key().sign(json));
    let files = CapsuleBytes { json, signature: Some(signature.as_bytes()), cosignatures: None };
    Capsule::verify(files, &rules(community, newest_seen), now)
}

fn verify_files(files: &CapsuleFiles, community: &Community, now: UnixMillis) -> Result<Capsule, CapsuleError> {
    let files =
        CapsuleBytes { json: files.json.as_bytes(), signature: Some(files.signature.as_bytes()), cosignatures: None };
    Capsule::verify(files, &rules(community, None), now)
}

fn rules(community: &Community, newest_seen: Option<UnixMillis>) -> CapsuleRules<'_> {
    CapsuleRules {
        tickets: TicketRules { max_lifetime: Duration::MAX, ..TicketRules::new(community) },
        newest_seen,
        ..CapsuleRules::new(Trust::Key(key().public_key()), community)
    }
}

/// Signs the tickets in `fields` that parse, then the capsule. Everything else keeps the text that the fuzzer gave it:
/// written again, a number could become another one. Returns what is signed.
fn sign(fields: &mut BTreeMap<String, Box<RawValue>>) -> Option<Value> {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
    let peers: Vec<Box<RawValue>> = serde_json::from_str(fields.get("peers")?.get()).ok()?;
    let peers: Vec<String> = peers
        .iter()
        .map(|peer| sign_ticket(peer.get(), Purpose::Presence).unwrap_or_else(|| peer.get().to_owned()))
        .collect();
    fields.insert("peers".to_owned(), raw(&format!("[{}]", peers.join(",")))?);
    let value = |name: &str| serde_json::from_str::<Value>(fields.get(name)?.get()).ok();
    let sent = json!({
        "community": value("community")?,
        "expiresAt": value("expiresAt")?,
        "issuedAt": value("issuedAt")?,
        "peers": value("peers")?,
        "version": value("version")?,
    });
    let signature = base64::encode(&key().sign(canonical(&sent).as_bytes()));
    fields.insert("signature".to_owned(), raw(&format!("\"{signature}\""))?);
    Some(sent)
}
