//! The vectors in `tests/vectors/directory/`: what every implementation agrees on, each a case named for its defect.

use rendezvous_protocol::directory::envelope::{Record, Signed, VerifiedRecord};
use rendezvous_protocol::directory::exchange;
use rendezvous_protocol::directory::placement::ranked;
use rendezvous_protocol::directory::record::{Exchange, ListedBeacon, RecordError};
use rendezvous_protocol::envelope::Payload;
use rendezvous_protocol::mailbox::bytes::Bytes;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;

use crate::cases::{check, read};
use crate::domain_of;

const RECORDS: &str = include_str!("../../../tests/vectors/directory/records.json");
const PLACEMENTS: &str = include_str!("../../../tests/vectors/directory/placements.json");

const RECORD_CASES: usize = 220;
const PLACEMENT_CASES: usize = 12;

// Unknown fields are refused: one that says something which this test does not look at would be a case not tested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordCase {
    name: String,
    record: String,
    expect: String,
    hub: Option<String>,
    now: UnixMillis,
    canonical: Option<String>,
    json: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacementCase {
    name: String,
    community: String,
    beacons: Vec<BeaconCase>,
    order: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeaconCase {
    id: Bytes<16>,
    url: String,
}

fn code<T>(outcome: &Result<T, RecordError>) -> &'static str {
    outcome.as_ref().map_or_else(RecordError::code, |_| "ok")
}

fn compare(what: &str, expect: &str, found: &str) -> Result<(), String> {
    if expect == found { Ok(()) } else { Err(format!("{what}: expected {expect}, got {found}")) }
}

fn compare_bytes<T: Payload>(signed: &Signed<T>, canonical: Option<&str>) -> Result<(), String> {
    canonical.map_or(Ok(()), |canonical| compare("signed bytes", canonical, &signed.signed_bytes()))
}

/// Judges a record as a reader does, and as a hub does.
fn judge_record(case: &RecordCase) -> Result<(), String> {
    let parsed = Record::parse(&format!(r#"{{"{}":{}}}"#, case.record, case.json));
    match &parsed {
        Ok(Record::Entry(entry)) => compare_bytes(entry, case.canonical.as_deref())?,
        Ok(Record::Tombstone(tombstone)) => compare_bytes(tombstone, case.canonical.as_deref())?,
        Err(_) => {}
    }
    let of_reader = parsed.clone().and_then(|record| record.verify_for_reader(case.now));
    compare("a reader", &case.expect, code(&of_reader))?;
    let of_hub = parsed.and_then(|record| record.verify(case.now, domain_of));
    compare("a hub", case.hub.as_ref().unwrap_or(&case.expect), code(&of_hub))?;
    let Ok(verified) = of_hub else { return Ok(()) };
    // The normal form is a good record, the same one, and so is what a hub stores of it.
    let again = Record::parse(verified.as_json()).and_then(|record| record.verify(case.now, domain_of));
    if again.as_ref() != Ok(&verified) || VerifiedRecord::trusted(verified.as_json()).as_ref() != Ok(&verified) {
        return Err("changed in its normal form".to_owned());
    }
    // None is good as the other.
    let other = if case.record == "entry" { "tombstone" } else { "entry" };
    match Record::parse(&format!(r#"{{"{other}":{}}}"#, case.json)) {
        Ok(_) => Err(format!("it is read as a {other}")),
        Err(_) => Ok(()),
    }
}

fn judge_exchange(case: &RecordCase) -> Result<(), String> {
    let hub = [Origin::parse("https://hub.example").unwrap()];
    let parsed = exchange::parse_body(format!(r#"{{"exchange":{}}}"#, case.json).as_bytes());
    if let Ok(signed) = &parsed {
        compare_bytes(signed, case.canonical.as_deref())?;
        let again = exchange::parse_body(exchange::write_body(signed).as_bytes());
        if again.as_ref() != Ok(signed) {
            return Err("changed in its normal form".to_owned());
        }
    }
    let outcome = parsed.and_then(|signed: Signed<Exchange>| {
        signed.payload().check(case.now, &hub)?;
        signed.verify_signature()
    });
    compare("the hub that is asked", &case.expect, code(&outcome))
}

#[test]
fn records() {
    let cases: Vec<RecordCase> = read(RECORDS, RECORD_CASES);
    check(
        &cases,
        |case| &case.name,
        |case| match case.record.as_str() {
            "entry" | "tombstone" => judge_record(case),
            "exchange" => judge_exchange(case),
            other => Err(format!("there is no record {other}")),
        },
    );
}

#[test]
fn placements() {
    let cases: Vec<PlacementCase> = read(PLACEMENTS, PLACEMENT_CASES);
    check(
        &cases,
        |case| &case.name,
        |PlacementCase { community, beacons, order, .. }| {
            let beacons: Vec<_> =
                beacons.iter().map(|BeaconCase { id, url }| ListedBeacon { id: *id, url: url.clone() }).collect();
            let found = ranked(community, &beacons);
            if found == *order { Ok(()) } else { Err(format!("the order is {found:?}")) }
        },
    );
}
