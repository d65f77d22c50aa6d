//! Users who sign as retalk's programs do, and a disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::state::Change;
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::retalk::refused::Refused;
use rendezvous_protocol::retalk::request::{Unverified, Verified};
use rendezvous_protocol::retalk::state::{Mailbox, Reply, Sent};
use rendezvous_protocol::retalk::user::{Identity, UserId};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

pub(crate) const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
pub(crate) const AUDIENCE: &str = "http://127.0.0.1:8766";
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
const SECRET: Secret = Secret::from_bytes([9; 16]);

/// Base64 as Olm's libraries write it.
pub(crate) fn unpadded(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').to_owned()
}

pub(crate) fn key(number: u8, purpose: u8) -> String {
    let mut bytes = [purpose; 32];
    bytes[0] = number;
    unpadded(&bytes)
}

/// A user, by a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User(pub(crate) u8);

impl User {
    fn private_key(self) -> PrivateKey {
        PrivateKey::from_seed(&[self.0; 32])
    }

    pub(crate) fn identity_key(self) -> String {
        key(self.0, 1)
    }

    pub(crate) fn signing_key(self) -> String {
        unpadded(self.private_key().public_key().as_bytes())
    }

    pub(crate) fn id(self) -> UserId {
        Identity::parse(&self.identity_key(), &self.signing_key()).unwrap().user_id()
    }

    pub(crate) fn sign(self, message: &str) -> String {
        unpadded(&self.private_key().sign(message.as_bytes()))
    }

    /// Writes the body of a request in the newer dialect. `hash` is that of the arguments as Python writes them.
    pub(crate) fn body(self, tool: &str, args: &Value, hash: &str, seconds: u64, nonce: &str) -> Value {
        let id = self.id();
        let signature = self.sign(&format!("{tool}|{AUDIENCE}|{id}|{seconds}|{nonce}|{hash}"));
        let mut args = args.clone();
        args["auth"] = json!({
            "fingerprint": id.to_string(),
            "identity_key": self.identity_key(),
            "signing_key": self.signing_key(),
            "timestamp": seconds.to_string(),
            "nonce": nonce,
            "signature": signature,
        });
        json!({"tool": tool, "args": args})
    }

    /// A request whose signature nobody has looked at.
    pub(crate) fn request(self, tool: &str, args: &Value, now: UnixMillis, nonce: u64) -> Verified {
        let body = self.body(tool, args, "", now.as_u64() / 1_000, &format!("nonce-{nonce:016x}"));
        Unverified::parse(body.to_string().as_bytes()).unwrap().accept(true).unwrap()
    }
}

/// A network of its own for each number.
pub(crate) fn network(site: u8) -> HandedOver {
    Client { address: Some(IpAddr::from([10, 0, site, 1])), autonomous_system: None }.hand_over()
}

pub(crate) fn body(number: u32) -> String {
    base64::encode(&number.to_be_bytes())
}

/// A mailbox of the user 0, and what of it is on disk.
pub(crate) struct World {
    pub(crate) now: UnixMillis,
    pub(crate) mailbox: Mailbox,
    pub(crate) rows: BTreeMap<String, String>,
    pub(crate) messages: BTreeMap<u64, String>,
    nonce: u64,
}

pub(crate) const OWNER: User = User(0);

impl World {
    pub(crate) fn new() -> Self {
        let mailbox = Mailbox::restore(OWNER.id(), SECRET, [], []).unwrap();
        Self { now: START, mailbox, rows: BTreeMap::new(), messages: BTreeMap::new(), nonce: 0 }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Writes what has changed.
    pub(crate) fn write(&mut self) -> usize {
        let changes = self.mailbox.take_changes();
        let count = changes.len();
        for change in changes {
            match change {
                Change::Put { name, row } => drop(self.rows.insert(name, row)),
                Change::Erase { name } => assert!(self.rows.remove(&name).is_some(), "{name} was written"),
                Change::PutMessage { number, row } => assert_eq!(self.messages.insert(number, row), None),
                Change::EraseMessage { number } => assert!(self.messages.remove(&number).is_some()),
            }
        }
        if self.mailbox.is_absent() {
            self.rows.clear();
            self.messages.clear();
        }
        count
    }

    pub(crate) fn crash(&mut self) {
        self.mailbox = Mailbox::restore(OWNER.id(), SECRET, self.rows.clone(), self.messages.clone()).unwrap();
    }

    pub(crate) fn next_request(&mut self, user: User, tool: &str, args: &Value) -> Verified {
        self.nonce += 1;
        user.request(tool, args, self.now, self.nonce)
    }

    pub(crate) fn handle(&mut self, request: &Verified, site: u8) -> Result<Reply, Refused> {
        let reply = self.mailbox.handle(self.now, request, network(site));
        self.write();
        reply
    }

    pub(crate) fn ask(&mut self, user: User, tool: &str, args: &Value, site: u8) -> Result<Reply, Refused> {
        let request = self.next_request(user, tool, args);
        self.handle(&request, site)
    }

    /// Publishes one-time keys with these numbers.
    pub(crate) fn publish(&mut self, numbers: std::ops::Range<u8>, fallback: Option<u8>) -> Reply {
        let prekeys = |numbers: &mut dyn Iterator<Item = u8>, purpose: u8| -> Value {
            numbers.map(|number| (format!("{purpose}-{number:03}"), Value::from(key(number, purpose)))).collect()
        };
        let args = json!({
            "identity_key": OWNER.identity_key(),
            "signing_key": OWNER.signing_key(),
            "one_time_keys": prekeys(&mut numbers.into_iter(), 2),
            "fallback_key": fallback.map(|number| prekeys(&mut [number].into_iter(), 3)),
        });
        self.ask(OWNER, "publish_keys", &args, 0).unwrap()
    }

    pub(crate) fn send(&mut self, from: User, number: u32, site: u8) -> Sent {
        let args = json!({"to": OWNER.id().to_string(), "mtype": 1, "body": body(number)});
        match self.ask(from, "send_message", &args, site) {
            Ok(Reply::Sent(sent)) => sent,
            other => panic!("a message is never refused: {other:?}"),
        }
    }

    pub(crate) fn read(&mut self) -> Vec<u64> {
        match self.ask(OWNER, "read_messages", &json!({}), 0) {
            Ok(Reply::Read(numbers)) => numbers,
            other => panic!("{other:?}"),
        }
    }

    /// The name of the prekey that is claimed, and whether it is the fallback.
    pub(crate) fn claim(&mut self, by: User, site: u8) -> Result<(String, bool), Refused> {
        match self.ask(by, "claim_key", &json!({"peer": OWNER.id().to_string()}), site)? {
            Reply::Claimed { prekey, is_fallback, identity_key, .. } => {
                assert_eq!(identity_key, OWNER.identity_key());
                Ok((prekey.id, is_fallback))
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
    hex
}
