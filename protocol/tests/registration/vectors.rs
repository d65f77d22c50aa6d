//! The vectors in `tests/vectors/registration/`: what every implementation agrees on, each a case named for its defect.

use rendezvous_protocol::envelope::read_payload;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::{Registration, RegistrationError, RegistrationPayload};
use rendezvous_protocol::time::UnixMillis;
use serde::Deserialize;

use crate::cases::{check, read};

const REGISTRATIONS: &str = include_str!("../../../tests/vectors/registration/registrations.json");

const REGISTRATION_CASES: usize = 103;

// Unknown fields are refused: one that says something which this test does not look at would be a case not tested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    expect: String,
    now: UnixMillis,
    signs: Option<bool>,
    canonical: Option<String>,
    json: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: &'a serde_json::value::RawValue,
}

fn judge(case: &Case) -> Result<(), String> {
    let own = ["https://second.example", "https://beacon.example"].map(|origin| Origin::parse(origin).unwrap());
    let outcome = Registration::verify(&case.json, &own, case.now);
    let code = outcome.as_ref().map_or_else(RegistrationError::code, |_| "ok");
    if code != case.expect {
        return Err(format!("expected {}, got {code}", case.expect));
    }
    if let Ok(registration) = &outcome {
        if Some(registration.signed_bytes()) != case.canonical {
            return Err(format!("signed bytes: {}", registration.signed_bytes()));
        }
        if Registration::verify(&registration.to_json(), &own, case.now) != outcome {
            return Err("changed in its normal form".to_owned());
        }
    }
    if let Err(error) = &outcome {
        let text = error.to_string();
        if ["neil", "everybody", "192.0.2"].iter().any(|part| text.contains(part)) {
            return Err(format!("the refusal repeats an address: {text}"));
        }
    }
    // Whoever signs has the payload alone.
    let Some(signs) = case.signs else { return Ok(()) };
    let Envelope { payload } = serde_json::from_str(&case.json).map_err(|error| error.to_string())?;
    let is_taken = read_payload::<RegistrationPayload>(payload.get()).is_ok();
    if is_taken == signs { Ok(()) } else { Err(format!("who signs takes it: {is_taken}")) }
}

#[test]
fn registrations() {
    let cases: Vec<Case> = read(REGISTRATIONS, REGISTRATION_CASES);
    check(&cases, |case| &case.name, judge);
}
