//! What a ticket key signs: the bytes by literals, and what a request's body may be.

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::{EmailAddress, Registration, RegistrationError, RegistrationPayload};
use rendezvous_protocol::time::UnixMillis;

const NOW: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

fn registration() -> Registration {
    let payload = RegistrationPayload {
        audience: Origin::parse("https://beacon.example").unwrap(),
        community: Community::new("chess").unwrap(),
        email: EmailAddress::parse("o'neil@a.example").unwrap(),
        issued_at: NOW,
    };
    Registration::sign(payload, &PrivateKey::from_seed(&[1; 32])).unwrap()
}

fn verify_body(body: &str) -> Result<Registration, RegistrationError> {
    Registration::verify_body(body.as_bytes(), &[Origin::parse("https://beacon.example").unwrap()], NOW)
}

#[test]
fn the_signed_bytes_and_the_normal_form_are_these() {
    let payload = concat!(
        r#"{"audience":"https://beacon.example","community":"chess","email":"o'neil@a.example","#,
        r#""issuedAt":1700000000000}"#
    );
    assert_eq!(registration().signed_bytes(), format!("rendezvous-registration-v1:register\n{payload}"));
    let json = registration().to_json();
    let start = format!(
        r#"{{"algorithm":"ed25519","payload":{payload},"publicKey":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=","signature":""#
    );
    assert!(json.starts_with(&start) && json.ends_with(r#"","version":1}"#), "{json}");
}

#[test]
fn a_body_has_a_registration_and_nothing_else_and_ends_somewhere() {
    let json = registration().to_json();
    assert_eq!(verify_body(&format!(r#"{{ "registration": {json} }}"#)), Ok(registration()));
    for body in [json.clone(), "{}".to_owned(), format!(r#"{{"registration":{json},"more":1}}"#)] {
        assert_eq!(verify_body(&body).unwrap_err().code(), "MALFORMED", "{body}");
    }
    let fits = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert_eq!(verify_body(&fits(4_096)).unwrap_err().code(), "MALFORMED");
    assert_eq!(verify_body(&fits(4_097)).unwrap_err().code(), "BODY_TOO_LARGE");
}

#[test]
fn no_address_is_in_what_a_log_would_have_of_a_registration() {
    let shown = format!("{:?}", registration());
    assert!(shown.contains("chess") && !shown.contains("neil") && !shown.contains('@'), "{shown}");
}
