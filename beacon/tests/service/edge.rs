//! Every row of the tables of the HTTP interface, and what each request asks of its host.

use std::time::Duration;

use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::ticket::Purpose;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::{Answer, Content, Outcome};
use rendezvous_service::call::{LIST_TIMEOUT, ObjectError};
use rendezvous_service::edge::Step;
use serde_json::json;

use crate::host::{Asked, Beacon, Peer, Request, START, announce, at, get, header, json, leave, peers, post, problem};

const ANN: Peer = Peer("ann", 1);
const BOB: Peer = Peer("bob", 2);
const EVE: Peer = Peer("eve", 3);

/// Lists straight from the object.
const UNCACHED: (&str, &str) = ("PEERS_MAX_AGE_SECONDS", "0");

fn main_object() -> String {
    "mainnet".to_owned()
}

#[test]
fn a_new_ticket_is_accepted_and_listed_to_others_in_its_normal_form() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    let first = beacon.serve(&announce(&ANN.ticket(0)));
    assert_eq!(beacon.asked, [Asked::Body, Asked::Signature, Asked::Answer(main_object())]);
    assert_eq!(
        first,
        Answer {
            status: 200,
            content: Content::Json,
            outcome: Outcome::Accepted,
            headers: Vec::new(),
            body: concat!(
                r#"{"ok":true,"accepted":true,"listed":true,"community":"mainnet","serverTime":1700000000000,"#,
                r#""expiresAt":1700000180000,"announceAfterMs":45000,"total":1,"since":[],"peers":[]}"#
            )
            .to_owned(),
        }
    );
    beacon.now = 5;
    let second = beacon.serve(&announce(&BOB.ticket(5)));
    let listed = format!("\"total\":2,\"since\":[{START}],\"peers\":[{}]}}", ANN.ticket(0));
    assert!(second.body.ends_with(&listed), "{}", second.body);
}

#[test]
fn the_same_ticket_again_gets_the_list_and_its_signature_is_not_checked_again() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    beacon.serve(&announce(&BOB.ticket(0)));
    beacon.serve(&announce(&ANN.ticket(0)));
    for _ in 0..3 {
        let again = beacon.serve(&announce(&ANN.ticket(0)));
        assert_eq!(beacon.asked, [Asked::Body, Asked::Answer(main_object())]);
        let fields = json(&again);
        assert_eq!((&fields["accepted"], &fields["listed"]), (&json!(false), &json!(true)));
        assert_eq!(peers(&again), ["bob"]);
    }
}

#[test]
fn a_goodbye_says_whether_the_claim_was_listed() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    beacon.serve(&announce(&ANN.ticket(0)));
    for (ticket, left) in [(EVE.goodbye(1), false), (ANN.goodbye(0), false), (ANN.goodbye(1), true)] {
        let answer = beacon.serve(&leave(&ticket));
        assert_eq!(answer.body, format!("{{\"ok\":true,\"left\":{left},\"serverTime\":{START}}}"));
        assert_eq!((answer.status, answer.content, answer.headers), (200, Content::Json, Vec::new()));
    }
    assert_eq!(problem(&beacon.serve(&leave(&ANN.ticket(2)))), (400, "MALFORMED".to_owned()));
    assert_eq!(problem(&beacon.serve(&announce(&ANN.ticket(0)))), (409, "STALE_TICKET".to_owned()));
}

#[test]
fn a_list_has_a_tag_and_an_age_and_is_not_sent_twice() {
    let mut beacon = Beacon::new(&[]);
    beacon.serve(&announce(&ANN.ticket(0)));
    beacon.now = 1_000;
    let list = beacon.serve(&get("/peers"));
    assert_eq!(beacon.asked, [Asked::List(main_object(), LIST_TIMEOUT)]);
    let tag = header(&list, "ETag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let headers = vec![("Cache-Control", "public, max-age=5".to_owned()), ("ETag", tag.clone())];
    let body = format!(
        r#"{{"ok":true,"community":"mainnet","serverTime":1700000001000,"total":1,"since":[{START}],"peers":[{}]}}"#,
        ANN.ticket(0)
    );
    let outcome = Outcome::Served;
    assert_eq!(list, Answer { status: 200, content: Content::Json, outcome, headers: headers.clone(), body });
    for known in [tag.clone(), tag.replace("W/", ""), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = beacon.serve(&Request { if_none_match: known, ..get("/peers") });
        assert_eq!(beacon.asked, [], "an answer that needs nothing is the first step");
        let (headers, body) = (headers.clone(), String::new());
        let expected = Answer { status: 304, content: Content::Nothing, outcome, headers, body };
        assert_eq!(again, expected);
    }
    assert_eq!(beacon.serve(&Request { if_none_match: "\"other\"".to_owned(), ..get("/peers") }).status, 200);
}

#[test]
fn a_list_is_kept_for_its_age_whatever_limit_and_exclude_say() {
    let mut beacon = Beacon::new(&[]);
    for peer in [ANN, BOB] {
        beacon.serve(&announce(&peer.ticket(0)));
    }
    beacon.serve(&get("/peers"));
    beacon.serve(&announce(&EVE.ticket(0)));
    beacon.now = 4_999;
    assert_eq!(peers(&beacon.serve(&get("/peers?exclude=bob"))), ["ann"]);
    assert_eq!(beacon.asked, []);
    let exclude = format!("/peers?exclude=bob:{}", ANN.key().public_key().to_string().replace('+', "%2B"));
    assert_eq!(peers(&beacon.serve(&get(&exclude))).len(), 2, "another key's claim");
    let limited = beacon.serve(&get("/peers?limit=1"));
    assert_eq!((peers(&limited).len(), json(&limited)["total"].as_u64()), (1, Some(2)));
    beacon.now = 5_000;
    assert_eq!(json(&beacon.serve(&get("/peers")))["total"], 3);
    assert_eq!(beacon.asked.len(), 1);
}

#[test]
fn of_several_who_wait_for_one_list_the_first_reads_it_for_all() {
    let mut beacon = Beacon::new(&[]);
    beacon.serve(&announce(&ANN.ticket(0)));
    let waiting = [(); 3].map(|()| beacon.receive(&get("/peers")));
    let [first, others @ ..] = waiting;
    assert_eq!(peers(&beacon.finish(first, &get("/peers"))), ["ann"]);
    for other in others {
        let Step::FetchList(fetch) = other else { panic!("{other:?}") };
        let step = fetch.resume(&mut beacon.edge, at(10), || panic!("read once more"));
        let Step::Answer(answer) = step else { panic!("{step:?}") };
        assert_eq!(peers(&answer), ["ann"]);
    }
}

#[test]
fn who_wants_no_list_older_than_the_request_waits_for_nobodys() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    for _ in 0..2 {
        beacon.serve(&get("/peers"));
        assert_eq!(beacon.asked, [Asked::List(main_object(), Duration::ZERO)]);
    }
}

#[test]
fn health_and_preflights_ask_for_nothing() {
    let mut beacon = Beacon::new(&[]);
    let health = beacon.serve(&get("/healthz"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(health.body, format!(r#"{{"ok":true,"version":"{version}","serverTime":1700000000000}}"#));
    assert_eq!((health.status, health.content, health.headers), (200, Content::Json, Vec::new()));
    for path in ["/announce", "/peers", "/anything"] {
        let answer = beacon.serve(&Request { method: "OPTIONS", ..get(path) });
        let headers = vec![
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS".to_owned()),
            ("Access-Control-Allow-Headers", "*, Authorization".to_owned()),
            ("Access-Control-Max-Age", "86400".to_owned()),
        ];
        let (outcome, body) = (Outcome::Served, String::new());
        assert_eq!(answer, Answer { status: 204, content: Content::Nothing, outcome, headers, body });
    }
    assert_eq!(beacon.asked, []);
    assert_eq!(beacon.events(), [""; 0]);
}

#[test]
fn the_headers_of_every_answer() {
    let every = [
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", "ETag, Retry-After"),
        ("Cache-Control", "no-store"),
    ];
    for (content, media_type) in [
        (Content::Nothing, None),
        (Content::Json, Some("application/json; charset=utf-8")),
        (Content::Problem, Some("application/problem+json; charset=utf-8")),
    ] {
        let media_type = media_type.map(|media_type| ("Content-Type", media_type));
        let expected: Vec<_> = every.into_iter().chain(media_type).collect();
        assert_eq!(content.headers(), expected);
    }
}

#[test]
fn a_problem_is_pinned_in_full() {
    let mut beacon = Beacon::new(&[]);
    let answer = beacon.serve(&get("/nowhere"));
    assert_eq!((answer.status, answer.content, answer.headers), (404, Content::Problem, Vec::new()));
    assert_eq!(
        answer.body,
        concat!(
            r#"{"code":"NOT_FOUND","detail":"nothing is at this path; those for everybody are listed in GET /.well-known/rendezvous-beacon","#,
            r#""ok":false,"serverTime":1700000000000,"status":404,"title":"Not Found","type":"about:blank","#,
            r#""validation":{"ok":false,"reason":"NOT_FOUND"},"since":[],"peers":[]}"#
        )
    );
}

#[test]
fn every_error_has_its_status_and_its_code() {
    let forged = |ticket: String| ticket.replace("\"ann\"", "\"ana\"");
    let changed = |from: &str, to: &str| announce(&ANN.ticket(0).replace(from, to));
    let of_body = |error| Request { body: Err(error), ..announce("{}") };
    let over = ANN.signed(0, |payload| {
        (payload.issued_at, payload.expires_at) = (UnixMillis::saturating(START - 9), at(0));
    });
    let revoked = EVE.key().public_key().to_string();
    let mut beacon = Beacon::new(&[("REVOKED_TICKET_KEYS", &revoked)]);
    beacon.serve(&announce(&BOB.ticket(0)));
    let cases = [
        (400, "MALFORMED", post("/announce", "{")),
        (400, "MALFORMED", post("/announce", "")),
        (400, "MALFORMED", of_body(RequestError::BodyBrokenOff)),
        (408, "BODY_TIMEOUT", of_body(RequestError::BodyTimeout)),
        (413, "BODY_TOO_LARGE", of_body(RequestError::BodyTooLarge)),
        (413, "BODY_TOO_LARGE", post("/announce", &" ".repeat(4_097))),
        (400, "MALFORMED", announce(&ANN.goodbye(0))),
        (400, "MALFORMED", changed("\"userId\"", "\"userID\"")),
        (400, "UNSUPPORTED_VERSION", changed("\"version\":1", "\"version\":2")),
        (400, "UNSUPPORTED_ALGORITHM", changed("ed25519", "rsa")),
        (400, "COMMUNITY_MISMATCH", changed("\"mainnet\"", "\"elsewhere\"")),
        (400, "COMMUNITY_MISMATCH", post("/announce?community=mainnet", r#"{"ticket":{},"community":"other"}"#)),
        (400, "COMMUNITY_INVALID", post("/announce", r#"{"ticket":{},"community":"a b"}"#)),
        (400, "COMMUNITY_INVALID", get("/peers?community=")),
        (400, "LIFETIME_TOO_LONG", announce(&ANN.signed(0, |payload| payload.expires_at = at(180_001)))),
        (400, "NOT_YET_VALID", announce(&ANN.ticket(60_000))),
        (400, "EXPIRED", announce(&over)),
        (400, "LIMIT_INVALID", get("/peers?limit=0")),
        (400, "LIMIT_INVALID", get("/peers?limit=ten")),
        (403, "SIGNATURE_INVALID", announce(&forged(ANN.ticket(0)))),
        (403, "REVOKED_PUBLIC_KEY", announce(&EVE.ticket(0))),
        (404, "NOT_FOUND", get("/peers/")),
        (404, "COMMUNITY_UNKNOWN", get("/peers?community=elsewhere")),
        (404, "COMMUNITY_UNKNOWN", post("/announce", r#"{"ticket":{},"community":"elsewhere"}"#)),
        (405, "METHOD_NOT_ALLOWED", get("/announce")),
        (405, "METHOD_NOT_ALLOWED", Request { method: "DELETE", ..get("/peers") }),
        (405, "METHOD_NOT_ALLOWED", post("/", "{}")),
        (405, "METHOD_NOT_ALLOWED", post("/page.css", "{}")),
        (404, "NOT_FOUND", get("/admin")),
        (404, "NOT_FOUND", get("/public/index.html")),
        (409, "STALE_TICKET", announce(&BOB.signed(0, |payload| payload.expires_at = at(9)))),
        (429, "ANNOUNCE_TOO_SOON", announce(&BOB.ticket(1))),
    ];
    for (status, code, request) in cases {
        let answer = beacon.serve(&request);
        assert_eq!(problem(&answer), (status, code.to_owned()), "{request:?}");
        assert_eq!(answer.content, Content::Problem);
        let fields = json(&answer);
        assert_eq!((&fields["ok"], &fields["status"]), (&json!(false), &json!(status)));
        assert_eq!(fields["validation"], json!({ "ok": false, "reason": code }));
        assert_eq!(fields["serverTime"], START);
        assert_eq!(fields["since"].as_array().unwrap().len(), fields["peers"].as_array().unwrap().len());
    }
    let keys = ANN.key().public_key().to_string();
    let mut beacon = Beacon::new(&[("TRUSTED_TICKET_KEYS", &keys)]);
    let untrusted = beacon.serve(&announce(&BOB.ticket(0)));
    assert_eq!(problem(&untrusted), (403, "UNTRUSTED_PUBLIC_KEY".to_owned()));
}

#[test]
fn methods_of_a_path_are_named() {
    let mut beacon = Beacon::new(&[]);
    for (method, path, allow) in [
        ("GET", "/announce", "POST, OPTIONS"),
        ("GET", "/leave", "POST, OPTIONS"),
        ("POST", "/peers", "GET, HEAD, OPTIONS"),
        ("PUT", "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = beacon.serve(&Request { method, ..get(path) });
        assert_eq!((answer.status, header(&answer, "Allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(beacon.asked, [], "not even the body");
    }
    assert_eq!(beacon.serve(&Request { method: "HEAD", ..get("/peers") }).status, 200);
}

#[test]
fn a_refused_ticket_gets_the_list_without_its_own_claim() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    for peer in [ANN, BOB] {
        beacon.serve(&announce(&peer.ticket(0)));
    }
    let forged = ANN.ticket(9).replace("\"user\"", "\"other\"");
    let refused = beacon.serve(&announce(&forged));
    assert_eq!(beacon.asked, [Asked::Body, Asked::Signature, Asked::List(main_object(), Duration::ZERO)]);
    assert_eq!((problem(&refused), peers(&refused)), ((403, "SIGNATURE_INVALID".to_owned()), vec!["bob".to_owned()]));
    let early = beacon.serve(&announce(&ANN.ticket(1)));
    let fields = json(&early);
    assert_eq!((&fields["listed"], &fields["retryAfterMs"]), (&json!(true), &json!(45_000)));
    assert_eq!((header(&early, "Retry-After"), peers(&early)), (Some("45"), vec!["bob".to_owned()]));
}

#[test]
fn a_client_that_signs_no_community_gets_200_wherever_its_ticket_is_what_is_wrong() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    for peer in [BOB, EVE] {
        beacon.serve(&announce(&peer.old_ticket(0)));
    }
    for (code, ticket) in [
        ("STALE_TICKET", BOB.signed(0, |payload| (payload.community, payload.expires_at) = (None, at(9)))),
        ("ANNOUNCE_TOO_SOON", BOB.old_ticket(1)),
        ("MALFORMED", "null".to_owned()),
        ("MALFORMED", r#"{"payload":["community"],"community":"mainnet"}"#.to_owned()),
        ("MALFORMED", BOB.signed(0, |payload| (payload.community, payload.purpose) = (None, Purpose::Leave))),
        ("NOT_YET_VALID", ANN.old_ticket(60_000)),
        ("SIGNATURE_INVALID", ANN.old_ticket(0).replace("\"ann\"", "\"ana\"")),
    ] {
        let answer = beacon.serve(&announce(&ticket));
        assert_eq!((answer.status, answer.content), (200, Content::Json), "{code}");
        assert_eq!(answer.headers, []);
        let fields = json(&answer);
        assert_eq!((&fields["ok"], &fields["code"]), (&json!(false), &json!(code)));
        assert_eq!(fields["validation"], json!({ "ok": false, "reason": code }));
        assert_eq!(fields["retryAfterMs"].is_u64(), code == "ANNOUNCE_TOO_SOON");
        assert!(!peers(&answer).is_empty(), "{code}");
    }
    let goodbye = BOB.signed(1, |payload| (payload.community, payload.purpose) = (None, Purpose::Leave));
    let forged = goodbye.replace("\"bob\"", "\"bop\"");
    assert_eq!(problem(&beacon.serve(&leave(&forged))), (403, "SIGNATURE_INVALID".to_owned()), "a goodbye");
}

#[test]
fn a_request_over_its_limit_costs_no_object_anything() {
    let limits = [("NETWORK_REQUESTS_PER_MINUTE", "3"), ("ADDRESS_REQUESTS_PER_MINUTE", "3")];
    let mut beacon = Beacon::new(&limits);
    beacon.serve(&announce(&ANN.ticket(0)));
    assert_eq!(beacon.serve(&get("/peers")).status, 200);
    assert_eq!(beacon.serve(&get("/peers").from("192.0.2.77")).status, 200);
    for request in [get("/peers"), announce(&BOB.ticket(0)), leave(&BOB.goodbye(0)), get("/peers?limit=x")] {
        let refused = beacon.serve(&request);
        assert_eq!(problem(&refused), (429, "THROTTLED".to_owned()));
        assert_eq!((beacon.asked.len(), peers(&refused)), (0, vec!["ann".to_owned()]), "the list at hand");
        assert_eq!((&json(&refused)["retryAfterMs"], header(&refused, "Retry-After")), (&json!(20_000), Some("20")));
    }
    assert_eq!(beacon.serve(&get("/healthz")).status, 200);
    assert_eq!(beacon.serve(&get("/peers").from("198.51.100.1")).status, 200);
    beacon.now = 20_000;
    assert_eq!(beacon.serve(&get("/peers")).status, 200);
}

#[test]
fn new_communities_are_rationed_where_all_are_served() {
    let mut beacon = Beacon::new(&[("COMMUNITIES", "*")]);
    for number in 0..10 {
        assert_eq!(beacon.serve(&get(&format!("/peers?community=new-{number}"))).status, 200);
    }
    let refused = beacon.serve(&get("/peers?community=new-10"));
    assert_eq!((problem(&refused), beacon.asked.len()), ((429, "THROTTLED".to_owned()), 0));
    assert!(json(&refused)["detail"].as_str().unwrap().contains("new communities"));
    let ticket = ANN.old_ticket(0);
    let announced = |name: &str| post("/announce", &format!(r#"{{"ticket":{ticket},"community":"{name}"}}"#));
    assert_eq!(problem(&beacon.serve(&announced("new-10"))).0, 429);
    assert_eq!(beacon.serve(&announced("new-3")).status, 200);
    assert_eq!(beacon.serve(&get("/peers")).status, 200);
    assert_eq!(beacon.serve(&get("/peers?community=new-10").from("198.51.100.1")).status, 200);
    assert_eq!(beacon.serve(&get("/peers?community=new-10")).status, 200, "known by now");
}

#[test]
fn a_page_of_another_origin_gets_the_list_and_is_not_listed() {
    let mut beacon = Beacon::new(&[("ORIGINS", "https://app.example"), UNCACHED]);
    assert_eq!(json(&beacon.serve(&announce(&ANN.ticket(0)).of_page("https://app.example")))["listed"], true);
    for origin in ["https://evil.example", "null", "http://app.example"] {
        let answer = beacon.serve(&announce(&BOB.ticket(0)).of_page(origin));
        assert_eq!(beacon.asked.last(), Some(&Asked::List(main_object(), Duration::ZERO)), "its ticket goes nowhere");
        let fields = json(&answer);
        let ok = ["ok", "accepted", "listed"].map(|field| fields[field].as_bool().unwrap());
        assert_eq!((answer.status, ok, &fields["total"]), (200, [true, false, false], &json!(1)));
        assert_eq!((&fields["community"], &fields["expiresAt"]), (&json!("mainnet"), &json!(START + 180_000)));
        assert!((45_000..=75_000).contains(&fields["announceAfterMs"].as_u64().unwrap()));
        assert_eq!(peers(&answer), ["ann"]);
    }
    // Whoever carries the ticket of a resident gets the resident's list.
    assert_eq!(peers(&beacon.serve(&announce(&ANN.ticket(0)).of_page("null"))), [""; 0]);
    let left = beacon.serve(&leave(&ANN.goodbye(1)).of_page("https://evil.example"));
    assert_eq!(json(&left)["left"], true, "goodbyes are their owners' own");
}

#[test]
fn a_community_whose_object_does_not_start_goes_on_in_a_spare_one() {
    let gone = || ObjectError::Runtime("gone".to_owned());
    let mut beacon = Beacon::new(&[UNCACHED]);
    beacon.failures.extend([gone(), gone()]);
    assert_eq!(json(&beacon.serve(&announce(&ANN.ticket(0))))["accepted"], true);
    let spare = "mainnet~".to_owned();
    let objects = [main_object(), main_object(), spare.clone()].map(Asked::Answer);
    assert_eq!(beacon.asked[2..], objects);
    assert_eq!(peers(&beacon.serve(&get("/peers"))), ["ann"]);
    assert_eq!(beacon.asked, [Asked::List(spare, Duration::ZERO)]);
    beacon.now = 60_000;
    beacon.failures.extend([gone(), gone()]);
    assert_eq!(peers(&beacon.serve(&get("/peers"))), ["ann"]);
    assert_eq!(beacon.asked.len(), 3, "its own is tried again");
    let said = beacon.events().into_iter().filter(|event| *event == "object_not_started").count();
    assert_eq!(said, 1);
}

#[test]
fn an_object_that_fails_twice_is_a_failure_that_only_the_log_explains() {
    let busy = || ObjectError::Busy("overloaded".to_owned());
    let mut beacon = Beacon::new(&[]);
    beacon.failures.extend([busy()]);
    assert_eq!(beacon.serve(&get("/peers")).status, 200, "asked once more");
    beacon.now = 5_000;
    for request in [get("/peers"), announce(&ANN.ticket(0))] {
        beacon.failures.extend([busy(), busy()]);
        let failed = beacon.serve(&request);
        assert_eq!(problem(&failed), (500, "INTERNAL".to_owned()));
        assert!(!failed.body.contains("overloaded"));
        let note = beacon.notes.last().unwrap().to_json();
        assert!(note.contains("request_failed") && note.contains("the object is busy: overloaded"), "{note}");
    }
    assert_eq!(beacon.events(), ["autonomous_system_unknown", "request_failed", "request_failed"]);
}

#[test]
fn an_object_that_does_not_answer_in_time_is_503_with_the_list_at_hand() {
    let mut beacon = Beacon::new(&[]);
    beacon.serve(&announce(&ANN.ticket(0)));
    assert_eq!(peers(&beacon.serve(&get("/peers"))), ["ann"]);
    beacon.now = 10_000;
    for request in [get("/peers"), announce(&BOB.ticket(10_000)), leave(&ANN.goodbye(10_000))] {
        beacon.failures.push_back(ObjectError::TimedOut);
        let answer = beacon.serve(&request);
        assert_eq!(problem(&answer), (503, "UNAVAILABLE".to_owned()));
        assert_eq!((header(&answer, "Retry-After"), json(&answer)["retryAfterMs"].as_u64()), (Some("5"), Some(5_000)));
        assert_eq!(peers(&answer), ["ann"]);
        let calls = beacon.asked.iter().filter(|asked| matches!(asked, Asked::List(..) | Asked::Answer(_))).count();
        assert_eq!(calls, 1, "its time is over");
    }
    assert_eq!(json(&beacon.serve(&announce(&BOB.ticket(10_000))))["accepted"], true, "when it answers again");
    beacon.failures.push_back(ObjectError::TimedOut);
    let nothing = beacon.serve(&get("/peers?community=mainnet&limit=1"));
    assert_eq!((nothing.status, peers(&nothing).len()), (503, 1));
}

#[test]
fn all_attempts_of_one_request_share_its_time() {
    let mut beacon = Beacon::new(&[UNCACHED]);
    let busy = || Err(ObjectError::Busy("moved".to_owned()));
    let Step::FetchList(fetch) = beacon.receive(&get("/peers")) else { panic!() };
    let left = [0, 500, 2_000, 9_000].map(|millis| fetch.time_left(at(millis)));
    assert_eq!(left, [2_000, 1_500, 0, 0].map(Duration::from_millis));
    let Step::FetchList(again) = fetch.resume(&mut beacon.edge, at(1_500), busy) else { panic!() };
    assert_eq!(again.time_left(at(1_500)), Duration::from_millis(500));
    let jumped_back = UnixMillis::saturating(START - 60_000);
    assert_eq!(again.time_left(jumped_back), Duration::from_secs(2), "no clock gives more than there was");
    let request = announce(&ANN.ticket(0));
    let Step::ReadBody(read) = beacon.receive(&request) else { panic!() };
    let Step::Verify(verify) = read.resume(&mut beacon.edge, at(0), request.body.clone()) else { panic!() };
    let Step::Relay(relay) = verify.resume(&mut beacon.edge, at(0), true) else { panic!() };
    assert_eq!(relay.time_left(at(400)), Duration::from_millis(1_600));
    let busy = ObjectError::Busy("moved".to_owned());
    let Step::Relay(again) = relay.failed(&mut beacon.edge, at(1_000), &busy) else { panic!() };
    assert_eq!(again.time_left(at(1_000)), Duration::from_secs(1));
}

#[test]
fn a_refusal_does_without_a_list_that_cannot_be_had() {
    let failing = || [ObjectError::Status { status: 500 }];
    let mut beacon = Beacon::new(&[]);
    let bad = announce("{}");
    beacon.failures.extend(failing());
    let refused = beacon.serve(&bad);
    assert_eq!((refused.status, json(&refused)["code"].as_str(), peers(&refused).len()), (200, Some("MALFORMED"), 0));
    assert_eq!(beacon.events(), ["autonomous_system_unknown", "list_unavailable"]);
    beacon.serve(&announce(&ANN.ticket(0)));
    beacon.serve(&get("/peers"));
    beacon.now = 10_000;
    beacon.failures.extend(failing());
    assert_eq!(peers(&beacon.serve(&bad)), ["ann"], "an older list");
    beacon.now = 180_000;
    beacon.failures.extend(failing());
    assert_eq!(peers(&beacon.serve(&bad)).len(), 0, "of which all has expired");
}

#[test]
fn what_is_unusual_about_clients_is_said_once_and_without_their_addresses() {
    let mut beacon = Beacon::new(&[("CLIENT_ADDRESS_HEADER", "X-Real-IP")]);
    for address in ["nonsense", "", "elsewhere"] {
        assert_eq!(beacon.serve(&get("/peers").from(address)).status, 200);
    }
    beacon.serve(&get("/peers"));
    let [note] = &beacon.notes[..] else { panic!("{:?}", beacon.notes) };
    let expected = "the header X-Real-IP of a request has no address: all such clients count as one household";
    assert_eq!((note.event, note.details.cause.as_deref()), ("client_address_unreadable", Some(expected)));
}

#[test]
fn no_client_address_is_in_what_a_step_shows_of_itself() {
    let mut beacon = Beacon::new(&[]);
    let request = announce(&ANN.ticket(0)).from("203.0.113.77");
    let step = beacon.receive(&request);
    assert!(!format!("{step:?}").contains("113"), "{step:?}");
}
