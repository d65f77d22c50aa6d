//! From the start to the end: served, kept over restarts and kills, counted.

use std::time::Instant;

use rustix::process::Signal;

use crate::beacon::{Beacon, Client, body, eventually, ticket};

const METRICS: (&str, &str) = ("METRICS_ADDRESS", "127.0.0.1:0");

#[test]
fn peers_announce_themselves_find_each_other_and_leave_no_word_in_the_log() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    let first = beacon.announce("ann");
    assert_eq!((first.status, first.json()["accepted"].as_bool()), (200, Some(true)), "{first:?}");
    let second = beacon.announce("bob").json();
    assert_eq!(second["total"], 2);
    assert_eq!(second["peers"][0]["payload"]["peerId"], "ann");
    assert_eq!(beacon.peers("/peers?limit=10"), ["ann", "bob"]);
    beacon.signal(Signal::TERM);
    assert_eq!(beacon.note()["event"], "ending");
    assert_eq!(beacon.note()["event"], "ended");
}

#[test]
fn answers_have_the_headers_of_the_service_and_a_list_is_not_sent_twice() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    let mut client = beacon.connect();
    let list = client.request("GET", "/peers", &[], "");
    assert_eq!(list.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(list.header("Cache-Control"), Some("public, max-age=5"));
    assert_eq!(list.header("Access-Control-Allow-Origin"), Some("*"));
    let tag = list.header("ETag").unwrap().to_owned();
    let headers = [("If-None-Match", "\"other\""), ("If-None-Match", tag.as_str())];
    let again = client.request("GET", "/peers", &headers, "");
    assert_eq!((again.status, again.body.as_str(), again.header("Content-Type")), (304, "", None));
    let head = client.request("HEAD", "/peers", &[], "");
    assert_eq!((head.status, head.header("Content-Length")), (200, Some(list.body.len().to_string().as_str())));
    assert_eq!(client.request("GET", "/healthz", &[], "").header("Cache-Control"), Some("no-store"));
    assert_eq!(client.request("PUT", "/peers", &[], "").problem(), (405, "METHOD_NOT_ALLOWED".to_owned()));
    assert_eq!(client.request("GET", "/x://y/peers", &[], "").problem(), (404, "NOT_FOUND".to_owned()));
    let preflight = client.request("OPTIONS", "/announce", &[], "");
    assert_eq!((preflight.status, preflight.header("Access-Control-Max-Age")), (204, Some("86400")));
}

#[test]
fn sigterm_writes_what_is_unwritten_and_a_restart_knows_it() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    // More than the budget for rows, so that the last are not written when the signal comes.
    let peers: Vec<_> = (10..40).map(|number| format!("peer-{number}")).collect();
    for peer in &peers {
        assert_eq!(beacon.announce(peer).status, 200);
    }
    beacon.end();
    let beacon = Beacon::start(state.path(), &[]);
    assert_eq!(beacon.peers("/peers"), peers);
    assert_eq!(beacon.until("roster_restored")["details"]["peers"], 30);
}

#[test]
fn what_nobody_can_find_yet_is_kept_over_a_restart_too() {
    let state = tempfile::tempdir().unwrap();
    let open = [("COMMUNITIES", "*")];
    let beacon = Beacon::start(state.path(), &open);
    let announce = body(&ticket("ann", "invented"));
    assert_eq!(beacon.connect().request("POST", "/announce?community=invented", &[], &announce).status, 200);
    beacon.end();
    assert_eq!(Beacon::start(state.path(), &open).peers("/peers?community=invented"), ["ann"]);
}

#[test]
fn a_kill_leaves_what_was_written() {
    let state = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let beacon = Beacon::start(state.path(), &[METRICS]);
        beacon.announce(&format!("peer-{round}"));
        let rows = beacon.metric("rendezvous_rows");
        // The first change of a community is written at once, and so is that after a restart when its row is due.
        if round == 0 && rows != Some(1.0) {
            beacon.await_metric("rendezvous_rows", 1.0);
        }
        beacon.kill();
    }
    assert!(Beacon::start(state.path(), &[]).peers("/peers").contains(&"peer-0".to_owned()));
}

#[test]
fn a_change_that_was_put_off_is_written_in_time() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[METRICS]);
    for number in 10..30 {
        beacon.announce(&format!("peer-{number}"));
    }
    let database = state.path().join("beacon.sqlite");
    let written = || {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let state: String = connection.query_row("SELECT state FROM roster", [], |row| row.get(0)).unwrap_or_default();
        state.matches("peer-").count()
    };
    eventually("all 20 are written", || written() == 20);
    beacon.kill();
    assert_eq!(Beacon::start(state.path(), &[]).peers("/peers").len(), 20);
}

#[test]
fn a_state_that_cannot_be_written_is_said_once_and_costs_no_answer() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    let other = rusqlite::Connection::open(state.path().join("beacon.sqlite")).unwrap();
    // Whoever else writes makes the beacon's own writes fail, for as long as that takes.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(beacon.announce("ann").status, 200);
    let note = beacon.until("snapshot_not_written");
    assert_eq!(note["level"], "error");
    assert_eq!(beacon.announce("bob").json()["total"], 2);
    other.execute_batch("COMMIT").unwrap();
    beacon.end();
    assert_eq!(Beacon::start(state.path(), &[]).peers("/peers"), ["ann", "bob"]);
}

#[test]
fn an_end_at_which_nothing_can_be_written_is_not_a_good_one() {
    let state = tempfile::tempdir().unwrap();
    let mut beacon = Beacon::start(state.path(), &[]);
    let other = rusqlite::Connection::open(state.path().join("beacon.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    beacon.announce("ann");
    beacon.signal(Signal::TERM);
    assert_eq!(beacon.wait().code(), Some(1));
    other.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let state = tempfile::tempdir().unwrap();
    let mut beacon = Beacon::start(state.path(), &[]);
    let (mut idle, mut busy) = (beacon.connect(), beacon.connect());
    assert_eq!(idle.request("GET", "/healthz", &[], "").status, 200);
    let ticket = body(&ticket("ann", "mainnet"));
    let (start, rest) = ticket.split_at(10);
    let length = ticket.len().to_string();
    let head = [("Content-Length", length.as_str()), ("Expect", "100-continue")];
    busy.send("POST", "/announce", &head, "").unwrap();
    busy.await_continue();
    busy.write(start).unwrap();
    beacon.signal(Signal::TERM);
    beacon.until("ending");
    assert!(idle.is_closed());
    assert!(std::net::TcpStream::connect(beacon.address).is_err(), "nobody new is taken");
    busy.write(rest).unwrap();
    let answer = busy.response("POST").unwrap().unwrap();
    assert_eq!(answer.status, 200);
    assert!(busy.is_closed());
    assert_eq!(beacon.wait().code(), Some(0));
    assert_eq!(Beacon::start(state.path(), &[]).peers("/peers"), ["ann"]);
}

#[test]
fn loops_share_communities_and_rate_limits() {
    let state = tempfile::tempdir().unwrap();
    let variables = [
        ("THREADS", "4"),
        ("COMMUNITIES", "a,b,c,d,e,f,g,h"),
        ("CLIENT_ADDRESS_HEADER", "X-Real-IP"),
        ("NETWORK_REQUESTS_PER_MINUTE", "400"),
        ("PEERS_MAX_AGE_SECONDS", "0"),
    ];
    let beacon = Beacon::start(state.path(), &variables);
    let names: Vec<_> = (10..20).map(|number| format!("peer-{number}")).collect();
    for (number, peer) in names.iter().enumerate() {
        let from = format!("192.0.{number}.1");
        for community in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let announce = body(&ticket(peer, community));
            let headers = [("X-Real-IP", from.as_str())];
            let path = format!("/announce?community={community}");
            assert_eq!(beacon.connect().request("POST", &path, &headers, &announce).status, 200);
        }
    }
    for community in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let headers = [("X-Real-IP", "198.51.100.1")];
        let list = beacon.connect().request("GET", &format!("/peers?community={community}"), &headers, "").json();
        assert_eq!(list["total"], 10, "{community}");
    }
    // Each of these connections is served by another loop than the one before it.
    let statuses: Vec<_> = (0..120)
        .map(|_| beacon.connect().request("GET", "/healthz2", &[("X-Real-IP", "203.0.113.1")], "").status)
        .collect();
    assert!(statuses.iter().all(|status| *status == 404), "what costs nothing takes nothing");
    let started = Instant::now();
    let statuses: Vec<_> = (0..120)
        .map(|_| beacon.connect().request("GET", "/peers?community=a", &[("X-Real-IP", "203.0.113.1")], "").status)
        .collect();
    // A quarter of 400, and what is refilled meanwhile.
    let most = 100 + usize::try_from(started.elapsed().as_millis() / 600 + 1).unwrap();
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((100..=most).contains(&served), "{served} of at most {most}");
}

#[test]
fn an_address_is_the_connections_or_the_headers_and_nobody_chooses_which() {
    let state = tempfile::tempdir().unwrap();
    let few = ("ADDRESS_REQUESTS_PER_MINUTE", "2");
    let served = |beacon: &Beacon, header: &str, value: &dyn Fn(usize) -> String| {
        let ask = |number| beacon.connect().request("GET", "/peers", &[(header, &value(number))], "").status;
        (0..4).map(ask).filter(|status| *status == 200).count()
    };
    let beacon = Beacon::start(state.path(), &[few]);
    assert_eq!(served(&beacon, "X-Real-IP", &|number| format!("192.0.2.{number}")), 2);
    beacon.end();
    let beacon = Beacon::start(state.path(), &[few, ("CLIENT_ADDRESS_HEADER", "X-Real-IP")]);
    assert_eq!(served(&beacon, "x-real-ip", &|number| format!("192.0.2.{number}")), 4);
    assert_eq!(served(&beacon, "X-Real-IP", &|number| format!("198.51.100.{number}, 203.0.113.1")), 2);
    assert_eq!(served(&beacon, "X-Real-IP", &|number| format!("unknown{number}")), 2);
    let note = beacon.until("client_address_unreadable").to_string();
    assert!(note.contains("X-Real-IP") && !note.contains("unknown"), "{note}");
}

#[test]
fn what_happens_is_counted() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[METRICS, ("COMMUNITIES", "*")]);
    beacon.announce("ann");
    beacon.announce("ann");
    beacon.announce("bob");
    let other = body(&ticket("eve", "invented"));
    beacon.connect().request("POST", "/announce?community=invented", &[], &other);
    beacon.get("/nowhere");
    for (name, expected) in [
        ("rendezvous_live{community=\"mainnet\"}", 2.0),
        ("rendezvous_live{community=\"\"}", 1.0),
        ("rendezvous_accepted_total", 3.0),
        ("rendezvous_refused_total{code=\"ANNOUNCE_TOO_SOON\"}", 1.0),
        ("rendezvous_refused_total{code=\"NOT_FOUND\"}", 1.0),
        ("rendezvous_objects", 2.0),
        ("rendezvous_restored_total", 0.0),
        ("rendezvous_request_seconds_count{path=\"/announce\"}", 4.0),
    ] {
        assert_eq!(beacon.metric(name), Some(expected), "{name}");
    }
    beacon.await_metric("rendezvous_rows", 1.0);
    let mut metrics = Client::new(beacon.metrics.unwrap());
    let all = metrics.request("GET", "/metrics", &[], "");
    assert_eq!(all.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!all.body.contains("invented") && !all.body.contains("127.0.0.1"));
    assert_eq!(metrics.request("GET", "/peers", &[], "").status, 404);
    assert_eq!(metrics.request("POST", "/metrics", &[], "").status, 405);
    assert_eq!(beacon.get("/metrics").status, 404, "not where everybody asks");
    beacon.end();
    let beacon = Beacon::start(state.path(), &[METRICS, ("COMMUNITIES", "*")]);
    beacon.get("/peers");
    assert_eq!(beacon.metric("rendezvous_restored_total"), Some(1.0));
}
