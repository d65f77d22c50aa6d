//! `capsule publish --to s3://…` as a program, against a real S3 server (`s3s-fs`) that checks signatures. Before it is
//! a proxy of this test's own that sees, and sometimes breaks, what is sent.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{Nonce, Payload, PeerId, Purpose, Ticket, UserId};
use rendezvous_protocol::time::UnixMillis;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use serde_json::Value;

const ACCESS_KEY: &str = "AKIDTEST";
const SECRET_KEY: &str = "secret/of+the=test";
const BUCKET: &str = "community";

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Serves for as long as the test's runtime lives.
fn serve_s3(runtime: &tokio::runtime::Runtime, root: &Path) -> SocketAddr {
    let mut builder = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ =
                    ConnectionBuilder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

/// One request as the proxy saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: Vec<String>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What the proxy does with a request: whether it hands it on, and whether it hands the answer back.
type Verdict = fn(line: &str) -> (bool, bool);

/// A proxy for requests and answers of known length, one a connection.
struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    verdict: Arc<Mutex<Verdict>>,
}

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let verdict: Arc<Mutex<Verdict>> = Arc::new(Mutex::new(|_| (true, true)));
        let proxy = Self { address, seen: Arc::clone(&seen), verdict: Arc::clone(&verdict) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, verdict) = (Arc::clone(&seen), Arc::clone(&verdict));
                std::thread::spawn(move || pass(client, server, &seen, &verdict));
            }
        });
        proxy
    }

    fn behave(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap() = verdict;
    }

    fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn pass(client: TcpStream, server: SocketAddr, seen: &Mutex<Vec<Seen>>, verdict: &Mutex<Verdict>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let line = lines.remove(0);
    let request = Seen { line: line.clone(), headers: lines };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (hand_on, hand_back) = verdict.lock().unwrap()(&line);
    seen.lock().unwrap().push(request.clone());
    if !hand_on {
        return;
    }
    let mut upstream = TcpStream::connect(server).unwrap();
    let kept = request.headers.iter().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    upstream.write_all(format!("{line}\r\n{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    upstream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).unwrap();
    if hand_back {
        let mut client = client;
        let _ = client.write_all(&answer);
    }
}

/// A beacon that answers every request with the same peers.
fn serve_beacon(peers: &[&str]) -> SocketAddr {
    let tickets: Vec<String> = peers.iter().map(|peer_id| ticket(peer_id)).collect();
    let body = format!(r#"{{"ok":true,"community":"mainnet","peers":[{}]}}"#, tickets.join(","));
    serve_always("200 OK", &body)
}

/// A server that answers every request with the same.
fn serve_always(status: &str, body: &str) -> SocketAddr {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let _ = client.write_all(answer.as_bytes());
        }
    });
    address
}

fn ticket(peer_id: &str) -> String {
    let issued_at = UnixMillis::saturating(now());
    let payload = Payload {
        peer_id: PeerId::new(peer_id).unwrap(),
        user_id: UserId::new("user").unwrap(),
        data: None,
        issued_at,
        expires_at: UnixMillis::saturating(issued_at.as_u64() + 180_000),
        nonce: Nonce::new(vec![0; 12]).unwrap(),
        community: Some(Community::new("mainnet").unwrap()),
        purpose: Purpose::Presence,
    };
    Ticket::sign(payload, &PrivateKey::from_seed(&[3; 32])).to_json()
}

struct Scene {
    _runtime: tokio::runtime::Runtime,
    root: tempfile::TempDir,
    proxy: Proxy,
    beacon: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let proxy = Proxy::before(serve_s3(&runtime, root.path()));
        Self { _runtime: runtime, root, proxy, beacon: serve_beacon(&["a", "b"]) }
    }

    fn publish(&self, to: &str, more: &[(&str, &str)]) -> (Output, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capsule"));
        command
            .args(["publish", "--json", "--to", to, "--timeout", "60s", "--beacon"])
            .arg(format!("http://{}", self.beacon))
            .env_clear()
            .env("RENDEZVOUS_CAPSULE_PRIVATE_KEY", PrivateKey::from_seed(&[1; 32]).to_pem().unwrap())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_SESSION_TOKEN", " ")
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.proxy.address));
        for (name, value) in more {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output, report)
    }

    fn stored(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.path().join(BUCKET).join(path)).unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn writes_the_signatures_first_and_says_what_the_files_are_and_how_long_to_keep_them() {
    let scene = Scene::new();
    let (output, report) = scene.publish("s3://community/capsules/", &[]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(report["written"]["capsule"], "s3://community/capsules/peers.json");
    let seen = scene.proxy.take_seen();
    let puts: Vec<_> = seen.iter().filter(|request| request.line.starts_with("PUT ")).collect();
    let paths: Vec<_> = puts.iter().map(|request| request.line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(
        paths,
        ["peers.json.minisig", "peers.json.sig", "peers.json"].map(|name| format!("/community/capsules/{name}"))
    );
    let types: Vec<_> = puts.iter().map(|request| request.header("content-type").unwrap()).collect();
    assert_eq!(types, ["text/plain; charset=utf-8", "text/plain; charset=utf-8", "application/json"]);
    for request in &seen {
        assert!(request.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/"));
        assert!(request.header("x-amz-security-token").is_none());
        assert!(request.header("user-agent").is_some());
    }
    assert!(puts.iter().all(|request| request.header("cache-control") == Some("no-cache")));
    // What is there is read before the first write.
    let first_put = seen.iter().position(|request| request.line.starts_with("PUT ")).unwrap();
    assert!(seen[..first_put].iter().any(|request| request.line.starts_with("GET /community/capsules/peers.json ")));

    let capsule: Value = serde_json::from_slice(&scene.stored("capsules/peers.json")).unwrap();
    assert_eq!(capsule["peers"].as_array().unwrap().len(), 2);
    let directory = tempfile::tempdir().unwrap();
    for name in ["peers.json", "peers.json.sig"] {
        std::fs::write(directory.path().join(name), scene.stored(&format!("capsules/{name}"))).unwrap();
    }
    let verified = Command::new(env!("CARGO_BIN_EXE_capsule"))
        .arg("verify")
        .arg(directory.path().join("peers.json"))
        .args(["--public-key", &PrivateKey::from_seed(&[1; 32]).public_key().to_string()])
        .output()
        .unwrap();
    assert_eq!(code(&verified), 0, "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn replaces_an_older_capsule_but_not_a_newer_one() {
    let scene = Scene::new();
    let to = "s3://community";
    assert_eq!(code(&scene.publish(to, &[]).0), 0);
    let first = scene.stored("peers.json");
    assert_eq!(code(&scene.publish(to, &[]).0), 0);
    let second = scene.stored("peers.json");
    assert_ne!(first, second);
    scene.proxy.take_seen();
    let past = (now() / 1000 - 10).to_string();
    let (output, report) = scene.publish(to, &[("SOURCE_DATE_EPOCH", &past)]);
    assert_eq!((code(&output), report["code"].as_str()), (1, Some("CLOCK_WENT_BACK")), "{}", said(&output));
    assert_eq!(scene.stored("peers.json"), second);
    assert!(scene.proxy.take_seen().iter().all(|request| request.line.starts_with("GET ")));
}

#[test]
fn a_write_that_breaks_off_leaves_the_old_capsule_with_its_old_signature() {
    let scene = Scene::new();
    let to = "s3://community/c";
    assert_eq!(code(&scene.publish(to, &[]).0), 0);
    let names = ["c/peers.json", "c/peers.json.sig", "c/peers.json.minisig"];
    let before = names.map(|name| scene.stored(name));
    scene.proxy.behave(|line| (!line.starts_with("PUT /community/c/peers.json "), true));
    let (output, report) = scene.publish(to, &[]);
    assert_eq!((code(&output), &report["ok"]), (3, &Value::Bool(false)), "{}", said(&output));
    assert!(said(&output).contains("s3://community/c/peers.json cannot be written"), "{}", said(&output));
    assert_eq!(names.map(|name| scene.stored(name)), before);
}

#[test]
fn a_write_whose_answer_is_lost_is_a_write() {
    let scene = Scene::new();
    scene.proxy.behave(|line| (true, !line.starts_with("PUT /community/peers.json ")));
    let (output, report) = scene.publish("s3://community", &[]);
    assert_eq!((code(&output), &report["ok"]), (0, &Value::Bool(true)), "{}", said(&output));
    let capsule: Value = serde_json::from_slice(&scene.stored("peers.json")).unwrap();
    assert_eq!(capsule["issuedAt"], report["written"]["issuedAt"]);
}

#[test]
fn tries_again_what_may_pass() {
    let scene = Scene::new();
    static REFUSED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    scene.proxy.behave(|line| {
        let first = line.starts_with("PUT ") && !REFUSED.swap(true, std::sync::atomic::Ordering::SeqCst);
        (!first, true)
    });
    let (output, _) = scene.publish("s3://community", &[]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(REFUSED.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn says_whose_fault_it_is() {
    let scene = Scene::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    // As Amazon answers; the other server makes the bucket.
    let absent = serve_always(
        "404 Not Found",
        r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"#,
    );
    let absent = format!("http://{absent}");
    for (to, variable, exit, part) in [
        ("s3://community", ("AWS_SECRET_ACCESS_KEY", "another"), 2, "Check the AWS_* variables"),
        ("s3://nowhere", ("AWS_ENDPOINT_URL", absent.as_str()), 2, "Check the bucket's name"),
        ("s3://community", ("AWS_ENDPOINT_URL", closed.as_str()), 3, "no connection"),
        ("s3://community", ("AWS_ACCESS_KEY_ID", ""), 2, "AWS_ACCESS_KEY_ID"),
    ] {
        let (output, _) = scene.publish(to, &[variable]);
        let said = said(&output);
        assert_eq!(code(&output), exit, "{said}");
        assert!(said.contains(part), "{said}");
        assert!(!said.contains(SECRET_KEY), "{said}");
    }
}
