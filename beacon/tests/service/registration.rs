//! Registration as a value: requests, pages, mails, what an operator's program is told, and who is listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::{
    EmailAddress, MailOutcome, Registration, RegistrationPayload, RegistrationWrite,
};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::answer::{Answer, Outcome};
use rendezvous_service::edge::Step;
use rendezvous_service::platform::Platform;
use rendezvous_service::registration::{
    Delivery, OutgoingMail, RegistrationConfig, RegistrationDoor, RegistrationObject, RegistrationStep,
};

use crate::host::{Beacon, Peer, Request, announce, at, config, get, given, header, json, leave, peers, post, problem};
use crate::live::{Viewer, World as LiveWorld};

const OWN: &str = "https://beacon.example";

const VARIABLES: [(&str, &str); 5] = [
    ("SMTP_HOST", "mail.example"),
    ("SMTP_FROM", "beacon@a.example"),
    ("EXTERNAL_URLS", "https://beacon.example,https://second.example"),
    ("REGISTRATION_REQUIRED", "mainnet"),
    ("MAILS_PER_DAY", "1000"),
];

const HOOK: [(&str, &str); 2] =
    [("REGISTRATION_WEBHOOK", "https://hook.example/in"), ("REGISTRATION_WEBHOOK_SECRET", "sesame sesame sesame")];

const ALICE: Peer = Peer("alice", 1);
const BOB: Peer = Peer("bob", 2);

/// A beacon, its object, and its disk.
struct World {
    beacon: Beacon,
    door: Arc<RegistrationDoor>,
    object: RegistrationObject,
    rows: BTreeMap<String, String>,
    random: u8,
    events: Vec<&'static str>,
}

fn world(more: &[(&'static str, &'static str)]) -> World {
    let variables = [&VARIABLES[..], more].concat();
    let mut beacon = Beacon::on(Platform::of_program(1), &variables);
    let service = config(&variables);
    let registration = RegistrationConfig::parse(&service, given(&variables)).unwrap().unwrap();
    let door = Arc::new(RegistrationDoor::new(&service, registration));
    let object = RegistrationObject::restore(Arc::clone(&door), Secret::from_bytes([3; 16]), []).unwrap();
    let edge = std::mem::replace(&mut beacon.edge, Beacon::new(&[]).edge);
    beacon.edge = edge.with_registration(Arc::clone(&door));
    World { beacon, door, object, rows: BTreeMap::new(), random: 0, events: Vec::new() }
}

fn signed(peer: Peer, email: &str, issued_at: u64) -> String {
    let payload = RegistrationPayload {
        audience: Origin::parse(OWN).unwrap(),
        community: Community::new("mainnet").unwrap(),
        email: EmailAddress::parse(email).unwrap(),
        issued_at: at(issued_at),
    };
    Registration::sign(payload, &peer.key()).unwrap().to_json()
}

fn register(registration: &str) -> Request {
    post("/register", &format!(r#"{{"registration":{registration}}}"#))
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Sends what the form of the page of a link does, or something else from there.
fn press_with(body: &str) -> Request {
    post("/verify", body).of_page(OWN).with("Content-Type", FORM)
}

fn press(token: &str) -> Request {
    press_with(&format!("token={token}"))
}

impl World {
    fn store(&mut self, writes: Vec<RegistrationWrite>) {
        for RegistrationWrite { name, row } in writes {
            match row {
                Some(row) => self.rows.insert(name, row),
                None => self.rows.remove(&name),
            };
        }
    }

    fn serve(&mut self, request: &Request) -> Answer {
        let step = self.beacon.receive(request);
        let Step::Registration(step) = step else { return self.beacon.finish(step, request) };
        let call = match *step {
            RegistrationStep::ReadBody(read) => {
                let header = |name: &str| {
                    let found = request.headers.iter().find(|(header, _)| *header == name);
                    found.map(|(_, value)| value.as_str())
                };
                let body = request.body.clone();
                match read.resume(at(self.beacon.now), header("Content-Type"), header("Sec-Fetch-Site"), body) {
                    Ok(call) => call,
                    Err(answer) => return answer,
                }
            }
            RegistrationStep::Ask(call) => *call,
        };
        let (answer, writes) = self.object.handle(at(self.beacon.now), call);
        self.store(writes);
        self.object.tell_door();
        answer
    }

    fn next_mail(&mut self) -> Option<OutgoingMail> {
        self.random += 1;
        let (mail, writes) = self.object.next_mail(at(self.beacon.now), [self.random; 32]);
        self.store(writes);
        mail
    }

    fn sent(&mut self, mail: &OutgoingMail, outcome: MailOutcome) {
        let (writes, notes) = self.object.mailed(at(self.beacon.now), mail, outcome, 255);
        self.store(writes);
        self.events.extend(notes.iter().map(|note| note.event));
    }

    fn next_delivery(&mut self) -> Option<Delivery> {
        let (delivery, writes) = self.object.next_delivery(at(self.beacon.now));
        self.store(writes);
        delivery
    }

    fn told(&mut self, delivery: &Delivery, is_made: bool) {
        let (writes, notes) = self.object.delivered(at(self.beacon.now), delivery, is_made, 255);
        self.store(writes);
        self.events.extend(notes.iter().map(|note| note.event));
    }

    /// Drops and writes what is due.
    fn pass(&mut self) {
        let (writes, notes) = self.object.handle_timeout(at(self.beacon.now));
        self.store(writes);
        self.events.extend(notes.iter().map(|note| note.event));
    }

    /// Registers, and returns the token of the mail.
    fn link(&mut self, peer: Peer, email: &str) -> String {
        let request = register(&signed(peer, email, self.beacon.now));
        assert_eq!(self.serve(&request).status, 202);
        let mail = self.next_mail().unwrap();
        self.sent(&mail, MailOutcome::Sent);
        token_of(&mail)
    }

    fn restart(&mut self) {
        let rows = self.rows.clone();
        self.object = RegistrationObject::restore(Arc::clone(&self.door), Secret::from_bytes([4; 16]), rows).unwrap();
    }
}

fn token_of(mail: &OutgoingMail) -> String {
    let (_, token) = mail.text.split_once("https://beacon.example/verify?token=").unwrap();
    token.lines().next().unwrap().to_owned()
}

#[test]
fn a_key_is_listed_once_its_owner_has_confirmed_an_address_and_not_before() {
    let mut world = world(&[]);
    let refused = world.serve(&announce(&ALICE.ticket(0)));
    assert_eq!(problem(&refused), (403, "REGISTRATION_REQUIRED".to_owned()));
    assert_eq!(json(&refused)["validation"]["reason"], "REGISTRATION_REQUIRED");
    let token = world.link(ALICE, "alice@a.example");
    assert_eq!(world.serve(&announce(&ALICE.ticket(0))).status, 403, "a mail alone is nothing");
    let page = world.serve(&get(&format!("/verify?token={token}")));
    assert_eq!(page.status, 200);
    for text in ["alice@a.example", "mainnet", &ALICE.key().public_key().to_string(), &token] {
        assert!(page.body.contains(&text.replace('\'', "&#39;")), "{text} in {}", page.body);
    }
    assert_eq!(world.serve(&announce(&ALICE.ticket(0))).status, 403, "looking at the page is nothing");
    let done = world.serve(&press(&token));
    assert_eq!((done.status, done.outcome), (200, Outcome::Accepted));
    let listed = world.serve(&announce(&ALICE.ticket(0)));
    assert_eq!((listed.status, json(&listed)["listed"].as_bool()), (200, Some(true)));
    assert_eq!(problem(&world.serve(&announce(&BOB.ticket(0)))).1, "REGISTRATION_REQUIRED");
    let again = world.serve(&press(&token));
    assert_eq!((again.status, again.outcome), (410, Outcome::Refused("EXPIRED")));
    world.restart();
    world.beacon.now = 45_000;
    assert_eq!(world.serve(&announce(&ALICE.ticket(45_000))).status, 200, "after a restart");
}

#[test]
fn who_is_refused_still_finds_others_and_an_old_client_is_answered_200() {
    let mut world = world(&[]);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    world.serve(&announce(&ALICE.ticket(0)));
    let refused = world.serve(&announce(&BOB.ticket(0)));
    assert_eq!((refused.status, peers(&refused)), (403, vec!["alice".to_owned()]));
    let old = world.serve(&announce(&BOB.old_ticket(0)));
    assert_eq!(
        (old.status, json(&old)["ok"].as_bool(), json(&old)["code"].as_str()),
        (200, Some(false), Some("REGISTRATION_REQUIRED"))
    );
    assert_eq!(world.serve(&leave(&BOB.goodbye(1))).status, 200, "nobody has to be registered to go");
    let forged = BOB.ticket(0).replace(r#""userId":"user""#, r#""userId":"other""#);
    assert_eq!(
        problem(&world.serve(&announce(&forged))).1,
        "REGISTRATION_REQUIRED",
        "before the signature is paid for"
    );
}

#[test]
fn a_ticket_that_comes_over_a_connection_is_no_way_around_it() {
    let mut world = world(&[]);
    let mut live = LiveWorld::new(&[]).with_registration(Arc::clone(&world.door));
    let id = live.open(Viewer::default());
    let message = |ticket: String| format!(r#"{{"t":"announce","id":"announce-1","ticket":{ticket}}}"#);
    live.send(id, &message(ALICE.ticket(0)));
    assert_eq!(live.last(id)["code"], "REGISTRATION_REQUIRED");
    assert_eq!(live.closed(id), None, "who registers later announces over the same connection");
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    live.send(id, &message(ALICE.ticket(0)));
    assert_eq!((&live.last(id)["t"], &live.last(id)["listed"]), (&"announced".into(), &true.into()));
}

#[test]
fn a_community_that_asks_for_nothing_lists_everybody() {
    let mut world = world(&[("REGISTRATION_REQUIRED", "")]);
    assert_eq!(world.serve(&announce(&BOB.ticket(0))).status, 200);
    let token = world.link(ALICE, "alice@a.example");
    assert_eq!(world.serve(&press(&token)).status, 200, "whoever likes registers all the same");
}

#[test]
fn only_a_page_of_this_beacon_presses_the_button() {
    let mut world = world(&[]);
    let token = world.link(ALICE, "alice@a.example");
    let form = post("/verify", &format!("token={token}")).with("Content-Type", FORM);
    for request in [
        form.clone(),
        form.clone().of_page("https://evil.example"),
        form.clone().of_page("null"),
        form.clone().of_page("http://beacon.example"),
        press(&token).with("Sec-Fetch-Site", "cross-site"),
        press(&token).with("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = world.serve(&request);
        assert_eq!((answer.status, answer.outcome), (403, Outcome::Refused("CROSS_SITE")), "{request:?}");
    }
    for method in ["PUT", "DELETE"] {
        let answer = world.serve(&Request { method, ..press(&token) });
        assert_eq!((answer.status, header(&answer, "Allow")), (405, Some("GET, HEAD, POST")));
    }
    assert_eq!(world.serve(&Request { method: "HEAD", ..get(&format!("/verify?token={token}")) }).status, 200);
    let by_second = form.clone().of_page("https://second.example").with("Sec-Fetch-Site", "same-origin");
    assert_eq!(world.serve(&by_second).status, 200);
}

#[test]
fn only_the_form_of_the_page_confirms_with_one_token() {
    let mut world = world(&[]);
    let (token, other) = (world.link(ALICE, "alice@a.example"), world.link(BOB, "bob@a.example"));
    let body = format!("token={token}");
    let typed = |content_type: &str| post("/verify", &body).of_page(OWN).with("Content-Type", content_type);
    for request in [
        post("/verify", &body).of_page(OWN),
        typed("text/plain"),
        typed("application/json"),
        typed("multipart/form-data; boundary=x"),
        press_with(&format!("token={token}&token={token}")),
        press_with(&format!("token={other}&token={token}")),
        press_with(&format!("token={token}&more=1")),
        press_with("other=1"),
        press_with(""),
    ] {
        let answer = world.serve(&request);
        assert_eq!((answer.status, answer.outcome), (400, Outcome::Refused("MALFORMED")), "{request:?}");
        assert!(answer.body.contains("not the form of the page"), "{}", answer.body);
    }
    assert_eq!(problem(&world.serve(&announce(&ALICE.ticket(0)))).1, "REGISTRATION_REQUIRED");
    let by_browser = typed("application/x-www-form-urlencoded; charset=UTF-8");
    assert_eq!(world.serve(&by_browser).status, 200);
    let twice = format!("registration={{}}&registration={}", signed(ALICE, "alice@a.example", 1));
    let pasted = world.serve(&post("/register", &twice).with("Content-Type", FORM));
    assert_eq!((pasted.status, pasted.outcome), (400, Outcome::Refused("MALFORMED")));
}

#[test]
fn a_page_runs_nothing_tells_nobody_its_address_and_shows_what_comes_from_elsewhere_as_text() {
    let mut world = world(&[]);
    let token = world.link(ALICE, "o'neil&co@a.example");
    let page = world.serve(&get(&format!("/verify?token={token}")));
    assert!(page.body.contains("o&#39;neil&amp;co@a.example") && !page.body.contains("<script"), "{}", page.body);
    let policy = header(&page, "Content-Security-Policy").unwrap();
    for rule in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert_eq!(header(&page, "Cache-Control"), Some("no-store"));
    assert_eq!(header(&page, "Referrer-Policy"), Some("same-origin"));
    let cut_off = token.get(1..).unwrap();
    for path in ["/verify", "/verify?token=", "/verify?token=%3Cscript%3E", &format!("/verify?token={cut_off}")] {
        let answer = world.serve(&get(path));
        assert_eq!((answer.status, answer.outcome), (400, Outcome::Refused("MALFORMED")), "{path}");
        assert!(!answer.body.contains("script"), "{}", answer.body);
    }
    let unknown = world.serve(&get(&format!("/verify?token={}", "0".repeat(64))));
    assert_eq!((unknown.status, unknown.outcome), (410, Outcome::Refused("EXPIRED")));
}

#[test]
fn a_registration_comes_as_json_or_out_of_the_form_and_the_answer_is_for_whoever_sent_it() {
    let mut world = world(&[]);
    let form = world.serve(&get("/register"));
    assert!(form.body.contains(r#"<form method="post" action="/register">"#), "{}", form.body);
    assert!(form.body.contains("capsule register") && form.body.contains("rendezvous-beacon/registration"));
    let encoded: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("registration", &signed(ALICE, "alice@a.example", 0))
        .finish();
    let of_form =
        |body: &str| post("/register", body).with("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    let taken = world.serve(&of_form(&encoded));
    assert_eq!(taken.status, 202);
    assert!(taken.body.starts_with("<!doctype html>") && !taken.body.contains("alice"), "{}", taken.body);
    assert_eq!(world.next_mail().unwrap().to().as_str(), "alice@a.example");
    let bad = world.serve(&of_form("registration=x"));
    assert!(bad.status == 400 && bad.body.starts_with("<!doctype html>"), "{}", bad.body);
    let bad = world.serve(&post("/register", "x"));
    assert_eq!(problem(&bad), (400, "MALFORMED".to_owned()));
    let too_large = Request { body: Err(RequestError::BodyTooLarge), ..post("/register", "") };
    assert_eq!(problem(&world.serve(&too_large)), (413, "BODY_TOO_LARGE".to_owned()));
    let signature = signed(ALICE, "alice@a.example", 1).replace("alice@", "mallory@");
    assert_eq!(problem(&world.serve(&register(&signature))), (403, "SIGNATURE_INVALID".to_owned()));
    let elsewhere = signed(ALICE, "alice@a.example", 1).replace(OWN, "https://other.example");
    let misdirected = world.serve(&register(&elsewhere));
    assert_eq!(problem(&misdirected), (421, "MISDIRECTED_REQUEST".to_owned()));
    assert!(json(&misdirected)["detail"].as_str().unwrap().ends_with(&format!("sign it for {OWN}")));
    let payload = RegistrationPayload {
        audience: Origin::parse(OWN).unwrap(),
        community: Community::new("other").unwrap(),
        email: EmailAddress::parse("alice@a.example").unwrap(),
        issued_at: at(1),
    };
    let unserved = Registration::sign(payload, &ALICE.key()).unwrap().to_json();
    assert_eq!(problem(&world.serve(&register(&unserved))), (404, "COMMUNITY_UNKNOWN".to_owned()));
    let method = world.serve(&Request { method: "PUT", ..get("/register") });
    assert_eq!((method.status, header(&method, "Allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
    let preflight = world.serve(&Request { method: "OPTIONS", ..get("/register") });
    assert_eq!(preflight.status, 204);
}

#[test]
fn a_mail_has_one_line_for_its_subject_the_configured_address_and_nothing_of_who_asked() {
    let mut world = world(&[]);
    world.serve(&register(&signed(ALICE, "alice@a.example", 0)).with("Host", "evil.example"));
    let mail = world.next_mail().unwrap();
    assert_eq!(mail.subject, "Confirm your address for mainnet at beacon.example");
    assert_eq!(mail.to().as_str(), "alice@a.example");
    let lines: Vec<_> = mail.text.lines().filter(|line| line.contains("://")).collect();
    let link = format!("https://beacon.example/verify?token={}", token_of(&mail));
    assert_eq!(lines, ["Somebody, most likely you, asks the beacon https://beacon.example", &link]);
    assert!(mail.text.is_ascii() && !mail.text.contains("192.0.2.1") && !mail.text.contains("evil"), "{}", mail.text);
    assert!(!format!("{mail:?}").contains("alice@"), "{mail:?}");
}

#[test]
fn known_and_unknown_addresses_are_answered_alike_down_to_the_byte() {
    let mut world = world(&[]);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    world.beacon.now = 1_000;
    let of_known = world.serve(&register(&signed(BOB, "alice@a.example", 1_000)));
    let of_used_up: Vec<_> =
        (3..8).map(|seed| world.serve(&register(&signed(Peer("x", seed), "alice@a.example", 1_000)))).collect();
    let of_unknown = world.serve(&register(&signed(Peer("y", 9), "new@a.example", 1_000)));
    let of_repeated = world.serve(&register(&signed(Peer("y", 9), "new@a.example", 1_000)));
    assert!(of_used_up.iter().chain([&of_known, &of_repeated]).all(|answer| *answer == of_unknown));
    let mails = std::iter::from_fn(|| world.next_mail()).count();
    assert_eq!(mails, 2, "one more for the site to the mailbox that has had one, and one to the other");
}

#[test]
fn a_network_that_asks_too_often_is_told_when_to_come_again() {
    let mut world = world(&[("MAILS_PER_DAY", "48")]);
    let ask = |world: &mut World, seed: u8| {
        let email = format!("a{seed}@a.example");
        world.serve(&register(&signed(Peer("x", seed), &email, 0)))
    };
    assert!((1..4).all(|seed| ask(&mut world, seed).status == 202));
    let refused = ask(&mut world, 4);
    assert_eq!(problem(&refused), (429, "THROTTLED".to_owned()));
    let wait: u64 = header(&refused, "Retry-After").unwrap().parse().unwrap();
    assert_eq!(json(&refused)["retryAfterMs"].as_u64(), Some(wait * 1_000));
    let elsewhere = register(&signed(Peer("x", 5), "b@a.example", 0)).from("198.51.100.1");
    assert_eq!(world.serve(&elsewhere).status, 202);
    world.beacon.now = wait * 1_000;
    let next_day = register(&signed(Peer("x", 6), "c@a.example", world.beacon.now));
    assert_eq!(world.serve(&next_day).status, 202);
}

#[test]
fn a_program_is_told_of_each_registration_signed_five_times_at_most_and_over_restarts() {
    let mut world = world(&HOOK);
    let token = world.link(ALICE, "alice@a.example");
    assert_eq!(world.next_delivery(), None);
    world.beacon.now = 5;
    world.serve(&press(&token));
    let delivery = world.next_delivery().unwrap();
    let key = ALICE.key().public_key();
    assert_eq!(
        delivery.body,
        format!(
            r#"{{"community":"mainnet","email":"alice@a.example","publicKey":"{key}","type":"registered","verifiedAt":{}}}"#,
            at(5)
        )
    );
    assert_eq!((delivery.url.as_str(), delivery.time.clone()), ("https://hook.example/in", at(5).to_string()));
    assert_eq!(world.next_delivery(), None, "it is on its way");
    world.restart();
    let mut tries = 1;
    let mut before = delivery.signature;
    while let Some(delivery) = world.next_delivery() {
        tries += 1;
        assert!(tries == 2 || delivery.signature != before, "each try has its time");
        before = delivery.signature.clone();
        world.told(&delivery, false);
        assert_eq!(world.next_delivery(), None, "not at once");
        let Some(deadline) = world.object.deadline() else { break };
        world.beacon.now += deadline.since(at(world.beacon.now)).as_millis() as u64;
    }
    assert_eq!((tries, world.events.as_slice()), (5, &["webhook_given_up"][..]));
    assert!(!world.rows.keys().any(|name| name.starts_with("webhook/")));
    let token = world.link(BOB, "bob@a.example");
    world.serve(&press(&token));
    let delivery = world.next_delivery().unwrap();
    world.told(&delivery, true);
    assert_eq!((world.next_delivery(), world.object.deadline()), (None, None));
    assert_eq!(world.events.len(), 1);
}

#[test]
fn after_the_last_try_no_restart_makes_another_one() {
    let mut world = world(&HOOK);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    for _ in 0..5 {
        assert!(world.next_delivery().is_some());
        world.restart();
    }
    assert_eq!(world.next_delivery(), None);
    world.pass();
    assert!(!world.rows.keys().any(|name| name.starts_with("webhook/")));
    assert_eq!((world.events.as_slice(), world.object.deadline()), (&["webhook_given_up"][..], None));
}

#[test]
fn where_another_has_written_what_is_on_its_way_is_not_told_twice() {
    let mut world = world(&HOOK);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    let first = world.next_delivery().unwrap();
    world.serve(&register(&signed(BOB, "bob@a.example", 0)));
    let mail = world.next_mail().unwrap();
    world.object.reread(world.rows.clone()).unwrap();
    assert_eq!((world.next_delivery(), world.next_mail()), (None, None));
    world.pass();
    assert_eq!(world.next_delivery(), None);
    world.told(&first, true);
    world.object.reread(world.rows.clone()).unwrap();
    world.sent(&mail, MailOutcome::Sent);
    world.serve(&press(&token_of(&mail)));
    world.told(&first, true);
    let second = world.next_delivery().unwrap();
    assert!(second.body.contains("bob@a.example"), "{}", second.body);
}

#[test]
fn what_comes_of_a_delivery_is_about_no_other_one_of_its_number() {
    let mut world = world(&HOOK);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    let first = world.next_delivery().unwrap();
    world.told(&first, true);
    // A new process counts anew.
    world.restart();
    let token = world.link(BOB, "bob@a.example");
    world.serve(&press(&token));
    world.told(&first, true);
    let second = world.next_delivery().unwrap();
    assert!(second.body.contains("bob@a.example"), "{}", second.body);
}

#[test]
fn a_door_that_reads_too_many_bodies_says_when_to_come_again() {
    let mut world = world(&[]);
    let full = Request { body: Err(RequestError::BodiesFull), ..post("/register", "") };
    for request in [full.clone(), full.with("Content-Type", "application/x-www-form-urlencoded")] {
        let answer = world.serve(&request);
        assert_eq!((answer.status, answer.outcome), (429, Outcome::Refused("THROTTLED")));
        assert!(header(&answer, "Retry-After").is_some());
    }
}

#[test]
fn a_mail_that_nobody_takes_is_noted_without_its_address() {
    let mut world = world(&[]);
    world.serve(&register(&signed(ALICE, "alice@a.example", 0)));
    let mail = world.next_mail().unwrap();
    let (_, notes) = world.object.mailed(at(0), &mail, MailOutcome::Refused, 0);
    assert_eq!(notes.len(), 1);
    assert!(!notes[0].to_json().contains('@'), "{}", notes[0].to_json());
}

#[test]
fn the_operator_lists_what_is_confirmed_and_removes_what_is_meant() {
    let mut world = world(&HOOK);
    let token = world.link(ALICE, "alice@a.example");
    world.serve(&press(&token));
    world.link(BOB, "bob@a.example");
    let rows = || world.rows.clone();
    let listed = RegistrationObject::list(rows()).unwrap();
    let key = ALICE.key().public_key();
    assert_eq!(
        listed,
        [format!(r#"{{"community":"mainnet","email":"alice@a.example","publicKey":"{key}","verifiedAt":{}}}"#, at(0))]
    );
    let (none, removed) = RegistrationObject::remove(rows(), |_, email| email.as_str() == "c@a.example").unwrap();
    assert_eq!((none, removed), (Vec::new(), 0));
    let (writes, removed) = RegistrationObject::remove(rows(), |subject, _| subject.public_key == key).unwrap();
    assert_eq!(removed, 1);
    world.store(writes);
    world.restart();
    assert_eq!(problem(&world.serve(&announce(&ALICE.ticket(0)))).1, "REGISTRATION_REQUIRED");
    assert!(world.rows.keys().any(|name| name.starts_with("webhook/")), "what is to be told stays");
}

#[test]
fn a_beacon_without_registration_has_no_such_paths() {
    let mut beacon = Beacon::new(&[]);
    for request in [get("/register"), get("/verify?token=x"), post("/register", "{}"), post("/verify", "")] {
        assert_eq!(problem(&beacon.serve(&request)), (404, "NOT_FOUND".to_owned()));
    }
}
