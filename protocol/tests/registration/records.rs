//! What a ticket key signs: the bytes by literals, and everything that is refused.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::{EmailAddress, Payload, Registration, RegistrationError};
use rendezvous_protocol::time::UnixMillis;

const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

fn payload() -> Payload {
    Payload {
        audience: Origin::parse("https://beacon.example").unwrap(),
        community: Community::new("chess").unwrap(),
        email: EmailAddress::parse("o'neil@a.example").unwrap(),
        issued_at: NOW,
    }
}

fn own() -> Vec<Origin> {
    ["https://other.example", "https://beacon.example"].map(|origin| Origin::parse(origin).unwrap()).into()
}

fn verify(json: &str) -> Result<Registration, RegistrationError> {
    Registration::verify(json, &own(), NOW)
}

#[test]
fn the_signed_bytes_and_the_normal_form_are_these() {
    let registration = Registration::sign(payload(), &PrivateKey::from_seed(&[1; 32]));
    let payload = concat!(
        r#"{"audience":"https://beacon.example","community":"chess","email":"o'neil@a.example","#,
        r#""issuedAt":1700000000000}"#
    );
    let signed = format!("rendezvous-registration-v1:register\n{payload}");
    assert_eq!(registration.payload().signed_bytes(), signed);
    let json = registration.to_json();
    let start = format!(
        r#"{{"algorithm":"ed25519","payload":{payload},"publicKey":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=","signature":""#
    );
    assert!(json.starts_with(&start) && json.ends_with(r#"","version":1}"#), "{json}");
    assert_eq!(verify(&json), Ok(registration.clone()));
    let body = format!(r#"{{ "registration": {json} }}"#);
    assert_eq!(Registration::verify_body(body.as_bytes(), &own(), NOW), Ok(registration));
}

#[test]
fn each_defect_has_its_code_and_no_address_is_repeated() {
    let key = PrivateKey::from_seed(&[1; 32]);
    let good = Registration::sign(payload(), &key).to_json();
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let at = |issued_at: u64| {
        Registration::sign(Payload { issued_at: UnixMillis::saturating(issued_at), ..payload() }, &key)
    };
    let minutes = 60_000;
    for (json, code) in [
        ("[]".to_owned(), "MALFORMED"),
        (changed("\"version\":1", "\"version\":2"), "UNSUPPORTED_VERSION"),
        (changed("ed25519", "rsa"), "UNSUPPORTED_ALGORITHM"),
        (changed("\"version\":1", "\"version\":1,\"more\":1"), "MALFORMED"),
        (changed("\"issuedAt\"", "\"more\":1,\"issuedAt\""), "MALFORMED"),
        (changed("o'neil@a.example", "o'neil@a.example\\r\\nBcc: everybody@b.example"), "MALFORMED"),
        (changed("o'neil@a.example", "o'neil@localhost"), "MALFORMED"),
        (changed("o'neil@a.example", ""), "MALFORMED"),
        (changed("\"chess\"", "\"ch ess\""), "MALFORMED"),
        (changed("https://beacon.example", "https://beacon.example/"), "MALFORMED"),
        (changed("https://beacon.example", "https://elsewhere.example"), "MISDIRECTED_REQUEST"),
        (changed("o'neil", "o-neil"), "SIGNATURE_INVALID"),
        (changed("chess", "chest"), "SIGNATURE_INVALID"),
        (changed("\"issuedAt\":1700000000000", "\"issuedAt\":1700000000001"), "SIGNATURE_INVALID"),
        (at(NOW.as_u64() + 15_001).to_json(), "NOT_YET_VALID"),
        (at(NOW.as_u64() - 15 * minutes).to_json(), "EXPIRED"),
    ] {
        let error = verify(&json).unwrap_err();
        assert_eq!(error.code(), code, "{json}");
        assert!(!error.to_string().contains("neil") && !error.to_string().contains("everybody"), "{error}");
    }
    for issued_at in [NOW.as_u64() + 15_000, NOW.as_u64() - 15 * minutes + 1] {
        assert!(verify(&at(issued_at).to_json()).is_ok(), "{issued_at}");
    }
    let long = format!("{{{}}}", " ".repeat(4_096));
    let error = Registration::verify_body(long.as_bytes(), &own(), NOW).unwrap_err();
    assert_eq!(error.code(), "BODY_TOO_LARGE");
    let bare = Registration::verify_body(good.as_bytes(), &own(), NOW).unwrap_err();
    assert_eq!(bare.code(), "MALFORMED");
}
