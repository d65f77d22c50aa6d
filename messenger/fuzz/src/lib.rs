//! What the targets share: stores that are as cheap as they can be, and a relay without rules.

pub mod seals;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::Method;
use rendezvous_capsule::fetch::FetchError;
use rendezvous_messenger::transport::{Answer, Transport};
use rendezvous_messenger::user::{NewUser, User, UserError};
use rendezvous_messenger::vault::{KeyDerivation, VaultError};
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};
use tempfile::TempDir;

/// When all of it happens.
pub const NOW: UnixMillis = UnixMillis::saturating(1_700_006_400_000);

/// Where the relay is.
pub const URL: &str = "https://relay.example";

const PASSPHRASE: &str = "secret";

/// A user's store, and the bytes to begin again with.
pub struct Store {
    directory: TempDir,
    bytes: Vec<u8>,
}

impl Store {
    /// Makes a user.
    pub fn new(name: &str) -> Self {
        // In memory where there is such a directory: every commit waits for the disk.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let mut store = Self { directory: directory.expect("a directory"), bytes: Vec::new() };
        let derivation = KeyDerivation { memory_kib: 8, passes: 1 };
        let new = NewUser { name, derivation, ..NewUser::default() };
        drop(User::create(&store.path(), PASSPHRASE, &new).expect("a user"));
        store.keep();
        store
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Keeps the file as it is now, to begin again with.
    pub fn keep(&mut self) {
        self.bytes = std::fs::read(self.path().join(User::FILE)).expect("a store");
    }

    /// Returns the bytes that are kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts bytes in the place of the file.
    pub fn write(&self, bytes: &[u8]) {
        // What SQLite leaves beside a file that it cannot use is another one's by now.
        for end in ["-journal", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.path().join(format!("{}{end}", User::FILE)));
        }
        std::fs::write(self.path().join(User::FILE), bytes).expect("a store");
    }

    /// Opens the file.
    pub fn open(&self) -> Result<User, UserError> {
        User::open(&self.path(), PASSPHRASE)
    }

    /// Opens the file that was kept.
    pub fn begin(&self) -> User {
        self.write(&self.bytes);
        self.open().expect("a user")
    }
}

/// An error may say anything but that what this library has written cannot be read.
pub fn may_fail<T>(outcome: Result<T, UserError>) -> Option<T> {
    match outcome {
        Err(UserError::Vault(error @ VaultError::Damaged { .. })) => panic!("{error}"),
        outcome => outcome.ok(),
    }
}

/// A relay that takes and hands out everything, and looks at no signature. As long as there are `answers`, it gives those
/// instead.
#[derive(Clone, Default)]
pub struct LooseRelay {
    pub answers: RefCell<Vec<Vec<u8>>>,
    keys: RefCell<BTreeMap<String, Value>>,
    waiting: RefCell<BTreeMap<String, Vec<Value>>>,
    cards: RefCell<BTreeMap<String, Value>>,
    deposits: RefCell<BTreeMap<String, Vec<Value>>>,
}

fn answer(value: &Value) -> Result<Answer, FetchError> {
    Ok(Answer { status: 200, retry_after: None, body: value.to_string().into_bytes() })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl LooseRelay {
    /// Has these keys of a user.
    pub fn set_keys(&self, user: String, keys: Value) {
        self.keys.borrow_mut().insert(user, keys);
    }

    /// Returns the keys of a user, with one to begin a session with.
    pub fn claim(&self, user: &str) -> Value {
        let mut keys = self.keys.borrow().get(user).cloned().unwrap_or_default();
        let fallback = keys["fallback_key"].as_object().and_then(|key| key.values().next().cloned());
        keys["one_time_key"] = fallback.unwrap_or_default();
        keys
    }

    /// Has a message for a user.
    pub fn leave(&self, to: String, from: &str, mtype: &Value, body: &Value) {
        let message = json!({ "message_id": 1, "ts": 1.5, "from": from, "mtype": mtype, "body": body });
        self.waiting.borrow_mut().entry(to).or_default().push(message);
    }

    fn serve_mailbox(&self, method: &Method, path: &str, body: &Value) -> Result<Answer, FetchError> {
        let (address, end) = path.split_once('/').unwrap_or((path, ""));
        let address = address.to_owned();
        match (method, end) {
            (&Method::PUT, _) => {
                self.cards.borrow_mut().insert(address, body["card"].clone());
                answer(&json!({}))
            }
            (&Method::GET, _) => answer(&json!({ "card": self.cards.borrow().get(&address) })),
            (_, "messages") => {
                let message = json!({ "deposit": body["deposit"], "sealed": body["sealed"], "receivedAt": NOW });
                self.deposits.borrow_mut().entry(address).or_default().push(message);
                answer(&json!({ "accepted": true }))
            }
            (_, "collect") => {
                answer(&json!({ "messages": self.deposits.borrow_mut().remove(&address).unwrap_or_default() }))
            }
            _ => answer(&json!({})),
        }
    }
}

impl Transport for LooseRelay {
    fn send(&self, method: Method, url: &str, body: &str, max_bytes: usize) -> Result<Answer, FetchError> {
        if let Some(mut body) = self.answers.borrow_mut().pop() {
            body.truncate(max_bytes);
            return Ok(Answer { status: 200, retry_after: None, body });
        }
        let asked: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some((_, path)) = url.split_once("/v1/mailboxes/") {
            return self.serve_mailbox(&method, path, &asked);
        }
        let args = &asked["args"];
        let from = text(&args["auth"]["fingerprint"]);
        answer(&match asked["tool"].as_str() {
            // Once it has some it says that it has all: making a hundred takes longer than all else.
            Some("count_keys") => {
                let has_keys = self.keys.borrow().contains_key(&from);
                json!({ "unclaimed": if has_keys { 100 } else { 0 }, "has_fallback": has_keys })
            }
            Some("publish_keys") => {
                self.set_keys(from, args.clone());
                json!({})
            }
            Some("get_keys" | "claim_key") => self.claim(&text(&args["peer"])),
            Some("send_message") => {
                self.leave(text(&args["to"]), &from, &args["mtype"], &args["body"]);
                json!({ "message_id": 1, "ts": 1.5 })
            }
            Some("read_messages") => Value::Array(self.waiting.borrow_mut().remove(&from).unwrap_or_default()),
            _ => json!({}),
        })
    }
}
