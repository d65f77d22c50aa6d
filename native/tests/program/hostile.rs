//! Clients that do not keep to HTTP, or that keep a connection for nothing.

use std::process::Command;
use std::time::Instant;

use crate::beacon::{Beacon, PATIENCE, body, eventually, ticket};

const HEAD: &str = "POST /announce HTTP/1.1\r\nHost: 127.0.0.1\r\n";

fn beacon() -> (tempfile::TempDir, Beacon) {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    (state, beacon)
}

#[test]
fn a_body_of_chunks_without_end_is_refused() {
    let (_state, beacon) = beacon();
    let mut client = beacon.connect();
    client.write(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let mut sent = 0;
    // Until the beacon has enough: what comes after its answer has nowhere to go.
    while client.write(&chunk).is_ok() && sent < 4_096 {
        sent += 1;
    }
    assert!(sent < 4_096, "16 MB were taken");
    // The answer may be lost with what was still on its way.
    if let Ok(Some(answer)) = client.response("POST") {
        assert_eq!(answer.problem(), (413, "BODY_TOO_LARGE".to_owned()));
    }
    assert_eq!(beacon.get("/healthz").status, 200);
}

#[test]
fn a_body_that_is_somewhat_too_long_is_answered() {
    let (_state, beacon) = beacon();
    for length in [4_097, 100_000, 262_144] {
        let answer = beacon.connect().request("POST", "/announce", &[], &"x".repeat(length));
        assert_eq!(answer.problem(), (413, "BODY_TOO_LARGE".to_owned()), "{length}");
    }
    assert_eq!(beacon.connect().request("POST", "/announce", &[], &"x".repeat(4_096)).status, 400);
}

#[test]
fn a_request_has_one_length() {
    let (_state, beacon) = beacon();
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let mut client = beacon.connect();
        client.write(format!("{HEAD}{lengths}\r\n12345GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).unwrap();
        let answer = client.response("POST").unwrap().unwrap();
        assert_eq!(answer.status, 400, "{lengths}");
        assert!(client.is_closed(), "{lengths}");
    }
}

#[test]
fn nothing_is_smuggled_behind_chunks() {
    let (_state, beacon) = beacon();
    for lengths in
        ["Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"]
    {
        let mut client = beacon.connect();
        client.write(format!("{HEAD}{lengths}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).unwrap();
        let answer = client.response("POST").unwrap().unwrap();
        assert_eq!((answer.status, answer.header("Connection")), (400, Some("close")), "{lengths}");
        assert!(client.is_closed(), "{lengths}: the second request is answered");
    }
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let (_state, beacon) = beacon();
    let mut client = beacon.connect();
    let announce = body(&ticket("ann", "mainnet"));
    let get = "GET /peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let post = format!("{HEAD}Content-Length: {}\r\n\r\n{announce}", announce.len());
    client.write([get, &post, get, "GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"].concat()).unwrap();
    let statuses: Vec<_> = (0..4).map(|_| client.response("GET").unwrap().unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 200, 404]);
}

#[test]
fn a_head_has_a_size() {
    let (_state, beacon) = beacon();
    let value = "x".repeat(20_000);
    let mut client = beacon.connect();
    // The answer may come while there is still more to write.
    let _ = client.send("GET", "/peers", &[("Cookie", &value)], "");
    if let Ok(Some(answer)) = client.response("GET") {
        assert_eq!(answer.status, 431);
    }
    let path = format!("/peers?exclude={value}");
    let mut client = beacon.connect();
    let _ = client.send("GET", &path, &[], "");
    if let Ok(Some(answer)) = client.response("GET") {
        assert!([414, 431].contains(&answer.status), "{}", answer.status);
    }
    let many: Vec<_> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(beacon.connect().request("GET", "/peers", &many, "").status, 431);
    assert_eq!(beacon.get("/healthz").status, 200);
}

#[test]
fn what_is_not_http_is_refused() {
    let (_state, beacon) = beacon();
    for bytes in [
        "\r\n\r\n\r\nnonsense\r\n\r\n",
        "GET /peers\r\n\r\n",
        "GET /peers HTTP/9.9\r\n\r\n",
        "GET /pe ers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /peers HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        "GET /peers HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = beacon.connect();
        client.write(bytes).unwrap();
        if let Ok(Some(answer)) = client.response("GET") {
            assert!((400..600).contains(&answer.status), "{bytes:?}: {answer:?}");
        }
    }
    assert_eq!(beacon.get("/healthz").status, 200);
}

#[test]
fn a_request_is_for_this_beacon_and_a_page_of_elsewhere_does_not_read_it() {
    let (_state, beacon) = beacon();
    let problem = |headers: &[(&str, &str)]| {
        let answer = beacon.connect().request("GET", "/peers", headers, "");
        if answer.status == 200 { (200, String::new()) } else { answer.problem() }
    };
    let fine = (200, String::new());
    let misdirected = (421, "MISDIRECTED_REQUEST".to_owned());
    let malformed = (400, "MALFORMED".to_owned());
    assert_eq!(problem(&[]), fine);
    assert_eq!(problem(&[("Host", "localhost")]), fine);
    assert_eq!(problem(&[("Host", "rebound.example")]), misdirected);
    assert_eq!(problem(&[("Host", "127.0.0.1"), ("Host", "rebound.example")]), malformed);
    assert_eq!(problem(&[("Host", "")]), malformed);
    assert_eq!(problem(&[("Origin", "http://localhost:3000")]), fine);
    assert_eq!(problem(&[("Origin", "https://evil.example")]), misdirected);
    assert_eq!(problem(&[("Origin", "http://localhost"), ("Origin", "https://evil.example")]), misdirected);
    let preflight = beacon.connect().request("OPTIONS", "/announce", &[("Origin", "https://evil.example")], "");
    assert_eq!(preflight.status, 421);
    // The target counts where it is a whole URL (RFC 9112, section 3.2.2).
    let target = |url: &str| beacon.connect().request("GET", url, &[], "").status;
    assert_eq!((target("http://127.0.0.1/peers"), target("http://rebound.example/peers")), (200, 421));
    let mut client = beacon.connect();
    client.write("GET /peers HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(client.response("GET").unwrap().unwrap().problem(), malformed);
}

#[test]
fn slow_heads_and_bodies_end() {
    let (_state, beacon) = beacon();
    let started = Instant::now();
    let (mut head, mut slow_body, mut silent) = (beacon.connect(), beacon.connect(), beacon.connect());
    head.write("GET /peers HTTP/1.1\r\nHost: 127").unwrap();
    slow_body.write(format!("{HEAD}Content-Length: 100\r\n\r\n{{")).unwrap();
    assert_eq!(slow_body.response("POST").unwrap().unwrap().problem(), (408, "BODY_TIMEOUT".to_owned()));
    assert!(slow_body.is_closed());
    assert!(head.is_closed() && silent.is_closed());
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn connections_that_only_wait_make_room() {
    let state = tempfile::tempdir().unwrap();
    // With 200 files there are 72 connections.
    let mut command = Command::new("sh");
    command.env_clear().env("PORT", "0").env("STATE", state.path());
    command.args(["-c", "ulimit -n 200 && exec \"$0\" serve", env!("CARGO_BIN_EXE_rendezvous-beacon")]);
    let beacon = Beacon::of(command);
    let mut waiting: Vec<_> = (0..150).map(|_| beacon.connect()).collect();
    let announce = body(&ticket("ann", "mainnet"));
    assert_eq!(beacon.connect().request("POST", "/announce", &[], &announce).status, 200);
    eventually("the first is closed", || waiting.first_mut().is_some_and(|client| client.is_closed()));
}
