//! What is for people: the page, the info document, and the operator's figures.

use std::collections::BTreeMap;

use rendezvous_protocol::base64;
use rendezvous_service::answer::{Answer, Content};
use rendezvous_service::asset::ASSETS;
use rendezvous_service::call::{LIST_TIMEOUT, ObjectError};
use rendezvous_service::documents::{DOCUMENTS, Document};
use rendezvous_service::edge::Step;
use rendezvous_service::platform::Platform;
use serde_json::{Value, json};

use crate::host::{Asked, Beacon, Peer, Request, announce, get, header, json, post, problem};

const ANN: Peer = Peer("ann", 1);
const BOB: Peer = Peer("bob", 2);
const INFO: &str = "/.well-known/rendezvous-beacon";
const SERVED: (&str, &str) = ("COMMUNITIES", "mainnet,other,hidden");
const LISTED: (&str, &str) = ("LISTED_COMMUNITIES", "mainnet,other");
const PASSWORD: &str = "correct horse battery staple";

fn list(object: &str) -> Asked {
    Asked::List(object.to_owned(), LIST_TIMEOUT)
}

fn live(answer: &Answer) -> Value {
    let communities = json(answer)["communities"].as_array().unwrap().clone();
    communities
        .into_iter()
        .map(|community| (community["name"].as_str().unwrap().to_owned(), community["live"].clone()))
        .collect()
}

fn basic(password: &str) -> String {
    format!("Basic {}", base64::encode(format!("admin:{password}").as_bytes()))
}

fn admin(password: &str) -> Request {
    get("/admin").with("Authorization", &basic(password))
}

#[test]
fn a_host_with_documents_has_a_page_of_each_and_others_none() {
    let mut beacon = Beacon::new(&[]);
    assert_eq!(problem(&beacon.serve(&get("/docs/"))), (404, "NOT_FOUND".to_owned()));
    beacon.edge = beacon.edge.with_documents();
    for Document { file, slug, .. } in DOCUMENTS {
        let page = beacon.serve(&get(&format!("/docs/{slug}")));
        assert_eq!((page.status, page.content, page.body.as_str()), (200, Content::Page, file));
        assert_eq!(header(&page, "Content-Type"), Some("text/html; charset=utf-8"));
    }
    assert_eq!(beacon.serve(&get("/docs")).body, DOCUMENTS[0].file);
    assert_eq!(problem(&beacon.serve(&post("/docs/install", ""))), (405, "METHOD_NOT_ALLOWED".to_owned()));
    for path in ["/docs/README.md", "/docs/../install", "/docs/install/", "/docs//install", "/docsinstall", "/docs/x"] {
        assert_eq!(beacon.serve(&get(path)).status, 404, "{path}");
    }
}

#[test]
fn a_relay_is_told_in_goop2s_shape_where_one_is_named() {
    const ID: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let addresses =
        [format!("/ip4/203.0.113.9/tcp/4001/p2p/{ID}"), format!("/dns4/relay.example/tcp/443/wss/p2p/{ID}")];
    let mut beacon = Beacon::new(&[("CIRCUIT_RELAY_ADDRESSES", &addresses.join(", "))]);
    let relay = beacon.serve(&get("/relay"));
    assert_eq!((relay.status, relay.content), (200, Content::Json));
    assert_eq!(json(&relay), json!({ "peer_id": ID, "addrs": addresses }));
    assert_eq!(problem(&beacon.serve(&post("/relay", ""))), (405, "METHOD_NOT_ALLOWED".to_owned()));
    for request in [get("/relay"), post("/relay", "")] {
        assert_eq!(problem(&Beacon::new(&[]).serve(&request)), (404, "NOT_FOUND".to_owned()));
    }
    assert_eq!(beacon.asked, []);
}

#[test]
fn a_browser_gets_the_page_and_who_prefers_json_the_info_document() {
    let mut beacon = Beacon::new(&[]);
    for accept in ["text/html,application/xhtml+xml,*/*;q=0.8", "*/*"] {
        let page = beacon.serve(&get("/").with("Accept", accept));
        assert_eq!((page.status, page.content, page.body.as_str()), (200, Content::Page, "index.html"));
        assert_eq!(header(&page, "Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(header(&page, "Vary"), Some("Accept"));
    }
    assert_eq!(beacon.serve(&get("/")).body, "index.html");
    let document = beacon.serve(&get("/").with("Accept", "application/json"));
    assert_eq!((document.status, document.content), (200, Content::Json));
    assert_eq!(header(&document, "Vary"), Some("Accept"));
    assert_eq!(document.body, beacon.serve(&get(INFO)).body);
    assert_eq!(beacon.asked, []);
}

#[test]
fn the_files_of_the_page_are_in_no_frame_run_no_foreign_script_and_are_not_indexed() {
    let mut beacon = Beacon::new(&[]);
    for asset in ASSETS {
        let answer = beacon.serve(&get(&format!("/{}", asset.file)));
        assert_eq!((answer.status, answer.content, answer.body.as_str()), (200, Content::Page, asset.file));
        assert!(header(&answer, "Content-Type").is_some());
    }
    let headers: BTreeMap<_, _> = Content::Page.headers().iter().copied().collect();
    let policy = headers["Content-Security-Policy"];
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.split("; ").any(|found| found == part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"));
    assert_eq!((headers["X-Robots-Tag"], headers["X-Content-Type-Options"]), ("noindex", "nosniff"));
    assert!(!headers.contains_key("Access-Control-Allow-Origin"));
}

#[test]
fn files_that_cloudflare_serves_by_itself_have_the_headers_of_those_that_the_worker_serves() {
    let shipped = include_str!("../../../public/_headers");
    let (path, lines) = shipped.split_once('\n').unwrap();
    assert_eq!(path, "/*");
    let written: Vec<_> = lines.lines().map(|line| line.trim().split_once(": ").unwrap()).collect();
    assert_eq!(written, Content::Page.headers());
}

#[test]
fn the_info_document_is_pinned_in_full() {
    let mut beacon = Beacon::new(&[
        SERVED,
        ("LISTED_COMMUNITIES", "mainnet"),
        ("SHOW_PEERS", "on"),
        ("OPERATOR_NAME", "Zoë \"☂\""),
        ("OPERATOR_CONTACT", "zoe@a.example"),
        ("OTHER_BEACONS", "https://b.example"),
        ("CAPSULES", "https://c.example/peers.json"),
        ("CAPSULE_KEYS", "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
    ]);
    let document = beacon.serve(&get(INFO));
    let headers = vec![("Cache-Control", "public, max-age=5".to_owned()), ("Vary", "Accept".to_owned())];
    assert_eq!((document.status, document.content, document.headers.clone()), (200, Content::Json, headers));
    let mut fields = json(&document);
    // Whoever builds it may say the commit.
    fields.as_object_mut().unwrap().remove("commit");
    let endpoint = |method: &str, path: &str| json!({ "method": method, "path": path });
    assert_eq!(
        fields,
        json!({
            "ok": true,
            "software": "rendezvous-beacon",
            "version": env!("CARGO_PKG_VERSION"),
            "serverTime": 1_700_000_000_000_u64,
            "operator": { "name": "Zoë \"☂\"", "contact": "zoe@a.example" },
            "showsPeers": true,
            "communities": [{ "name": "mainnet", "live": 0 }],
            "beacons": ["https://b.example"],
            "capsules": ["https://c.example/peers.json"],
            "capsuleKeys": ["A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="],
            "limits": {
                "ticketMaxLifetimeMs": 180_000,
                "announceIntervalMs": 45_000,
                "announceAfterMinMs": 45_000,
                "announceAfterMaxMs": 75_000,
                "peersMaxAgeMs": 5_000,
                "answerPeers": 50,
                "rosterPeers": 200,
                "bodyBytes": 4_096,
                "networkRequestsPerMinute": 600,
                "addressRequestsPerMinute": 150,
            },
            "endpoints": [
                endpoint("POST", "/announce"),
                endpoint("POST", "/leave"),
                endpoint("GET", "/peers"),
                endpoint("GET", "/live"),
                endpoint("GET", "/healthz"),
                endpoint("GET", "/"),
                endpoint("GET", INFO),
            ],
        })
    );
}

#[test]
fn a_key_that_comes_as_pem_is_told_in_base64() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n-----END PUBLIC KEY-----\n";
    let mut beacon = Beacon::new(&[("CAPSULE_KEYS", pem)]);
    assert_eq!(json(&beacon.serve(&get(INFO)))["capsuleKeys"], json!(["A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="]));
}

#[test]
fn a_community_that_is_not_listed_is_never_named() {
    let mut beacon = Beacon::new(&[SERVED, ("LISTED_COMMUNITIES", "other")]);
    beacon.serve(&announce(&ANN.ticket(0)));
    let document = beacon.serve(&get(INFO));
    assert_eq!(live(&document), json!({ "other": 0 }));
    assert!(!document.body.contains("hidden") && !document.body.contains("mainnet"), "{}", document.body);
    let mut silent = Beacon::new(&[SERVED]);
    let document = silent.serve(&get(INFO));
    assert_eq!((live(&document), silent.asked.len()), (json!({}), 0));
    assert!(!document.body.contains("mainnet"));
}

#[test]
fn a_trend_is_told_of_listed_communities_as_the_object_tells_it() {
    let mut beacon = Beacon::new(&[SERVED, LISTED, ("ADMIN_PASSWORD", PASSWORD)]);
    for community in ["mainnet", "hidden"] {
        beacon.serve(&get(&format!("/peers?community={community}")));
    }
    // After the second of two whole five minutes; Ann is not there at the first.
    beacon.now = 399_999;
    beacon.serve(&announce(&ANN.ticket(399_999)));
    beacon.now = 400_000;
    let document = json(&beacon.serve(&get(INFO)));
    let trend = json!({ "until": 1_700_000_400_000_u64, "everyMs": 300_000, "live": [0, 1] });
    assert_eq!(document["communities"][0], json!({ "name": "mainnet", "live": 1, "trend": trend }));
    assert_eq!(document["communities"][1], json!({ "name": "other", "live": 0 }), "its object starts now");
    assert!(!beacon.serve(&admin(PASSWORD).with("Accept", "application/json")).body.contains("trend"));
}

#[test]
fn counting_asks_an_object_once_a_minute_and_an_empty_one_once_in_five() {
    let mut beacon = Beacon::new(&[SERVED, LISTED]);
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    // Ten minutes in which somebody looks each second, and Ann is there.
    for second in 0..600 {
        beacon.now = second * 1_000;
        if second % 60 == 0 {
            beacon.serve(&announce(&ANN.ticket(beacon.now)));
        }
        let document = beacon.serve(&get(INFO));
        assert_eq!(live(&document), json!({ "mainnet": 1, "other": 0 }), "{second}");
        for asked in &beacon.asked {
            let Asked::List(object, _) = asked else { panic!("{asked:?}") };
            *calls.entry(object.clone()).or_default() += 1;
        }
    }
    assert_eq!(calls, BTreeMap::from([("mainnet".to_owned(), 10), ("other".to_owned(), 2)]));
}

#[test]
fn a_list_that_readers_have_fetched_is_counted_and_the_other_way_round() {
    let mut beacon = Beacon::new(&[LISTED, SERVED]);
    beacon.serve(&announce(&ANN.ticket(0)));
    beacon.serve(&get("/peers"));
    assert_eq!(live(&beacon.serve(&get(INFO))), json!({ "mainnet": 1, "other": 0 }));
    assert_eq!(beacon.asked, [list("other")]);
    beacon.serve(&get("/peers?community=other"));
    assert_eq!(beacon.asked, []);
    // Whoever leaves the list is not counted for as long as the list is kept.
    beacon.now = 1_000;
    beacon.serve(&announce(&BOB.ticket(1_000)));
    beacon.now = 5_000;
    beacon.serve(&get("/peers"));
    assert_eq!(live(&beacon.serve(&get(INFO)))["mainnet"], 2);
}

#[test]
fn of_several_who_wait_for_one_count_the_first_reads_it_for_all() {
    let mut beacon = Beacon::new(&[("LISTED_COMMUNITIES", "mainnet")]);
    beacon.serve(&announce(&ANN.ticket(0)));
    let [first, second] = [(); 2].map(|()| beacon.receive(&get(INFO)));
    assert_eq!(live(&beacon.finish(first, &get(INFO)))["mainnet"], 1);
    let Step::FetchList(fetch) = second else { panic!("{second:?}") };
    let step = fetch.resume(&mut beacon.edge, crate::host::at(1), || panic!("read once more"));
    let Step::Answer(answer) = step else { panic!("{step:?}") };
    assert_eq!(live(&answer)["mainnet"], 1);
}

#[test]
fn an_object_that_does_not_answer_leaves_its_count_out_and_no_others() {
    let mut beacon = Beacon::new(&[SERVED, LISTED]);
    let failure = ObjectError::Status { status: 500 };
    beacon.failures.push_back(failure);
    let document = beacon.serve(&get(INFO));
    assert_eq!(json(&document)["communities"], json!([{ "name": "mainnet" }, { "name": "other", "live": 0 }]));
    assert!(beacon.events().contains(&"list_unavailable"));
    // One that the runtime cannot start is in its spare object.
    beacon.now = 600_000;
    beacon.failures.extend([(); 2].map(|()| ObjectError::Runtime("gone".to_owned())));
    assert_eq!(live(&beacon.serve(&get(INFO)))["mainnet"], 0);
    assert_eq!(beacon.asked[..3], [list("mainnet"), list("mainnet"), list("mainnet~")]);
}

#[test]
fn one_request_waits_for_one_object_that_does_not_answer_in_time() {
    let mut beacon = Beacon::new(&[SERVED, LISTED]);
    beacon.failures.push_back(ObjectError::TimedOut);
    let document = beacon.serve(&get(INFO));
    assert_eq!(json(&document)["communities"], json!([{ "name": "mainnet" }, { "name": "other" }]));
    assert_eq!(beacon.asked, [list("mainnet")]);
    assert_eq!(live(&beacon.serve(&get(INFO)))["other"], 0, "the next one asks again");
}

#[test]
fn the_page_and_the_document_count_for_the_rate_limit() {
    let mut beacon = Beacon::new(&[("ADDRESS_REQUESTS_PER_MINUTE", "2")]);
    for path in ["/", INFO] {
        assert_eq!(beacon.serve(&get(path)).status, 200);
    }
    for path in ["/", INFO] {
        assert_eq!(problem(&beacon.serve(&get(path))), (429, "THROTTLED".to_owned()));
    }
    assert_eq!(beacon.serve(&get("/page.js")).status, 200, "a file costs nothing");
}

#[test]
fn without_a_password_there_is_no_admin() {
    let mut beacon = Beacon::new(&[]);
    for request in [get("/admin"), admin(PASSWORD), post("/admin", "")] {
        assert_eq!(problem(&beacon.serve(&request)), (404, "NOT_FOUND".to_owned()));
    }
    // A program has an address of its own for it.
    let mut program = Beacon::on(Platform::of_program(1), &[("ADMIN_PASSWORD", PASSWORD)]);
    assert_eq!(problem(&program.serve(&admin(PASSWORD))).0, 404);
}

#[test]
fn the_operator_reads_figures_and_nobody_else_does() {
    let mut beacon = Beacon::new(&[SERVED, ("ADMIN_PASSWORD", PASSWORD)]);
    beacon.serve(&announce(&ANN.ticket(0)));
    beacon.serve(&announce(&BOB.ticket(0)).from("198.51.100.7"));
    beacon.serve(&post("/announce", "{"));
    beacon.serve(&get("/nowhere"));
    beacon.asked.clear();
    for (expected, code, request) in [
        (401, "PASSWORD_WRONG", get("/admin")),
        (401, "PASSWORD_WRONG", admin("wrong horse battery staple")),
        (403, "CROSS_SITE", admin(PASSWORD).with("Sec-Fetch-Site", "cross-site")),
        (403, "CROSS_SITE", admin(PASSWORD).with("Sec-Fetch-Site", "none").with("Sec-Fetch-Site", "none")),
        (405, "METHOD_NOT_ALLOWED", Request { method: "POST", ..admin(PASSWORD) }),
        (405, "METHOD_NOT_ALLOWED", Request { method: "OPTIONS", ..get("/admin") }),
    ] {
        let answer = beacon.serve(&request);
        assert_eq!(problem(&answer), (expected, code.to_owned()));
        assert_eq!((answer.content, beacon.asked.len()), (Content::Page, 0), "no page of elsewhere reads it");
        let asks = header(&answer, "WWW-Authenticate").is_some_and(|value| value.starts_with("Basic realm="));
        assert_eq!(asks, expected == 401);
        assert_eq!(header(&answer, "Content-Type"), Some("application/problem+json; charset=utf-8"));
    }
    let figures = beacon.serve(&admin(PASSWORD).with("Accept", "application/json"));
    assert_eq!((figures.status, header(&figures, "Cache-Control")), (200, Some("no-store")));
    let fields = json(&figures);
    let named: Vec<_> =
        fields["communities"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["hidden", "mainnet", "other"]);
    let mainnet = &fields["communities"][1];
    let activity = json!({
        "sockets": 0, "bound": 0, "streams": 0, "since": 1_700_000_000_000_u64, "rows": 1, "alarms": 1, "frames": 0,
    });
    assert_eq!(
        mainnet,
        &json!({ "name": "mainnet", "live": 2, "providers": 2, "sites": 2, "households": 2, "activity": activity })
    );
    assert_eq!((&fields["refused"]["MALFORMED"], &fields["refused"]["PASSWORD_WRONG"]), (&json!(1), &json!(2)));
    let page = beacon.serve(&admin(PASSWORD).with("Sec-Fetch-Site", "same-origin"));
    assert_eq!((page.status, header(&page, "Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.body, "admin.html");
    for secret in ["192.0.2", "198.51.100", "ann", PASSWORD] {
        assert!(!figures.body.contains(secret), "{secret}");
    }
}

#[test]
fn who_guesses_is_limited_by_path_and_nobody_else_is() {
    let mut beacon = Beacon::new(&[("ADMIN_PASSWORD", PASSWORD)]);
    for _ in 0..20 {
        let of_a_page = admin("wrong horse battery staple").with("Sec-Fetch-Site", "cross-site");
        assert_eq!(beacon.serve(&of_a_page).status, 403, "a page of elsewhere uses up no attempt");
    }
    for _ in 0..10 {
        assert_eq!(beacon.serve(&admin("wrong horse battery staple")).status, 401);
    }
    let limited = beacon.serve(&admin(PASSWORD));
    assert_eq!(problem(&limited), (429, "THROTTLED".to_owned()));
    assert!(header(&limited, "Retry-After").is_some());
    assert_eq!(beacon.serve(&get("/peers")).status, 200, "everything else is served");
    assert_eq!(beacon.serve(&admin(PASSWORD).from("192.0.2.2")).status, 200, "a neighbour");
    for address in ["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"] {
        for _ in 0..10 {
            beacon.serve(&admin("wrong horse battery staple").from(address));
        }
    }
    assert_eq!(beacon.serve(&admin(PASSWORD).from("192.0.2.7")).status, 429, "its network has guessed enough");
    assert_eq!(beacon.serve(&admin(PASSWORD).from("198.51.100.1")).status, 200, "another network has not");
}

#[test]
fn the_operators_edge_serves_nothing_else_and_hears_of_what_others_refused() {
    let variables = [("ADMIN_PASSWORD", PASSWORD)];
    let platform = Platform::of_program(4);
    let mut everybody = Beacon::on(platform, &variables);
    everybody.serve(&get("/nowhere"));
    let mut operator = Beacon::on(platform.for_operator(), &variables);
    for path in ["/", "/peers", "/healthz", INFO] {
        assert_eq!(operator.serve(&get(path)).status, 404, "{path}");
    }
    assert_eq!(operator.serve(&get("/page.css")).status, 200);
    operator.edge.add_refusals(&everybody.edge.take_refusals());
    operator.edge.add_refusals(&everybody.edge.take_refusals());
    let figures = json(&operator.serve(&admin(PASSWORD).with("Accept", "application/json")));
    assert_eq!(figures["refused"]["NOT_FOUND"], 1 + 4);
}

#[test]
fn of_very_many_communities_some_are_looked_at() {
    let names: Vec<_> = (0..70).map(|number| format!("c{number}")).collect();
    let mut beacon = Beacon::new(&[("COMMUNITIES", &names.join(",")), ("ADMIN_PASSWORD", PASSWORD)]);
    let figures = json(&beacon.serve(&admin(PASSWORD).with("Accept", "application/json")));
    assert_eq!((figures["communities"].as_array().unwrap().len(), &figures["omitted"]), (64, &json!(6)));
    assert_eq!(beacon.asked.len(), 64);
}
