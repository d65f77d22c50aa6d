//! What the tests of the state machine are played with: records that need no real signatures, and a disk that a crash can
//! come in between of.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::Verified;
use rendezvous_protocol::mailbox::record::{
    Ack, Card, Claim, Collect, Contact, Deposit, Policy, Prekey, Prekeys, Record, Requests, SealingKey, SlotQuestion,
};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::state::{Change, Mailbox};
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde_json::Value;

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Midnight of a day.
pub(crate) const START: UnixMillis = UnixMillis::saturating(1_700_006_400_000);
pub(crate) const SECRET: Secret = Secret::from_bytes([9; 16]);
const RELAY: &str = "https://relay.example";

pub(crate) fn at(since_start: Duration) -> UnixMillis {
    START.after(since_start)
}

pub(crate) fn owner() -> PublicKey {
    PrivateKey::from_seed(&[1; 32]).public_key()
}

pub(crate) fn address() -> Address {
    Address::of(&owner())
}

pub(crate) fn reader() -> PublicKey {
    PublicKey::from_bytes([200; 32])
}

/// Contacts, invites and strangers are told apart by the policy alone.
pub(crate) fn sender(number: u32) -> PublicKey {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

/// A record as it is handed over when it has been verified. Its signature is of its content and fits nothing.
pub(crate) fn trusted<T: Record>(payload: &T, signer: PublicKey) -> Verified<T> {
    let payload = serde_json::to_string(payload).unwrap();
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    let signature = base64::encode(&hasher.finish().to_be_bytes().repeat(8));
    let json = format!(
        r#"{{"algorithm":"ed25519","payload":{payload},"publicKey":"{signer}","signature":"{signature}","version":1}}"#
    );
    Verified::trusted(&json).unwrap()
}

pub(crate) fn card(revision: u64, now: UnixMillis, requests: Requests) -> Verified<Card> {
    let card = Card {
        expires_at: now.after(DAY * 90),
        issued_at: now,
        mailbox: address(),
        readers: vec![reader()],
        relays: vec![RELAY.to_owned()],
        requests,
        revision,
        sealing: vec![SealingKey { expires_at: now.after(DAY * 30), key: base64::encode(&[7; 32]), suite: 0 }],
    };
    trusted(&card, owner())
}

pub(crate) const CLOSED_TO_STRANGERS: Requests = Requests { difficulty: 0, open: false };
pub(crate) const OPEN_TO_STRANGERS: Requests = Requests { difficulty: 0, open: true };

/// Contacts with their limits.
pub(crate) fn policy(revision: u64, now: UnixMillis, contacts: &BTreeMap<u32, u8>) -> Verified<Policy> {
    let policy = Policy {
        contacts: contacts.iter().map(|(number, limit)| Contact { key: sender(*number), limit: *limit }).collect(),
        expires_at: now.after(DAY * 90),
        invites: Vec::new(),
        issued_at: now,
        mailbox: address(),
        revision,
    };
    trusted(&policy, owner())
}

pub(crate) fn content(of: u32, sequence: u64, variant: u8) -> ContentId {
    ContentId::of(format!("{of} {sequence} {variant}").as_bytes())
}

pub(crate) fn deposit(
    now: UnixMillis,
    of: u32,
    sequence: u64,
    variant: u8,
    size: u32,
    life: Duration,
) -> Verified<Deposit> {
    let content_id = content(of, sequence, variant);
    let expires_at = now.after(life);
    trusted(&Deposit { content_id, expires_at, issued_at: now, mailbox: address(), sequence, size }, sender(of))
}

pub(crate) fn ack(by: PublicKey, of: u32, through: u64, missing: &BTreeSet<u64>) -> Verified<Ack> {
    let missing = missing.iter().copied().collect();
    trusted(&Ack { at: START, mailbox: address(), missing, slot: sender(of), through }, by)
}

fn nonce(number: u64) -> Bytes<16> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Bytes(bytes)
}

pub(crate) fn collect(
    by: PublicKey,
    now: UnixMillis,
    (collector, limit, max_bytes): (u8, u32, u64),
    number: u64,
) -> Verified<Collect> {
    let collect = Collect {
        audience: RELAY.to_owned(),
        collector: Bytes([collector; 16]),
        issued_at: now,
        limit,
        mailbox: address(),
        max_bytes,
        nonce: nonce(number),
    };
    trusted(&collect, by)
}

pub(crate) fn claim(by: u32, now: UnixMillis, number: u64) -> Verified<Claim> {
    let (audience, nonce) = (RELAY.to_owned(), nonce(number));
    trusted(&Claim { audience, issued_at: now, mailbox: address(), nonce }, sender(by))
}

pub(crate) fn question(by: u32, now: UnixMillis) -> Verified<SlotQuestion> {
    let (audience, nonce) = (RELAY.to_owned(), nonce(0));
    trusted(&SlotQuestion { audience, issued_at: now, mailbox: address(), nonce }, sender(by))
}

pub(crate) fn prekey(number: u64) -> Prekey {
    let mut key = [5; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    Prekey { id: number.to_string(), key: Bytes(key), signature: Bytes([0; 64]), since: START }
}

pub(crate) fn prekeys(revision: u64, now: UnixMillis, one_time: impl IntoIterator<Item = u64>) -> Verified<Prekeys> {
    let prekeys = Prekeys {
        curve25519: Bytes([4; 32]),
        expires_at: now.after(DAY * 90),
        fallback: prekey(u64::MAX),
        issued_at: now,
        mailbox: address(),
        one_time: one_time.into_iter().map(prekey).collect(),
        revision,
    };
    trusted(&prekeys, owner())
}

/// Where a request comes from: a provider, and a site of it.
pub(crate) fn network(provider: u8, site: u8) -> HandedOver {
    let address = Some([10, provider, site, 1].into());
    Client { address, autonomous_system: Some(u32::from(provider)) }.hand_over()
}

pub(crate) fn origins() -> [Origin; 1] {
    [Origin::parse(RELAY).unwrap()]
}

/// What is in storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) rows: BTreeMap<String, String>,
    pub(crate) messages: BTreeMap<u64, String>,
}

impl Disk {
    pub(crate) fn write(&mut self, change: Change) {
        match change {
            Change::PutMessage { number, row } => drop(self.messages.insert(number, row)),
            Change::EraseMessage { number } => drop(self.messages.remove(&number)),
            Change::Put { name, row } => drop(self.rows.insert(name, row)),
            Change::Erase { name } => drop(self.rows.remove(&name)),
        }
    }

    pub(crate) fn restore(&self, now: UnixMillis) -> Mailbox {
        Mailbox::restore(address(), now, self.rows.clone(), self.messages.clone()).unwrap()
    }
}

/// A message that waits: slot, sequence and content.
pub(crate) type Waiting = (PublicKey, u64, ContentId);

/// One relay: the machine, and its storage.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) mailbox: Mailbox,
    pub(crate) disk: Disk,
}

impl Relay {
    pub(crate) fn new() -> Self {
        let disk = Disk::default();
        Self { mailbox: disk.restore(START), disk }
    }

    /// A mailbox that is open, with these contacts.
    pub(crate) fn opened(contacts: &BTreeMap<u32, u8>, requests: Requests) -> Self {
        let mut relay = Self::new();
        let (card, policy) = (card(1, START, requests), policy(1, START, contacts));
        assert_eq!(relay.call(|mailbox| mailbox.put(START, card, policy, &origins(), SECRET)), Ok(true));
        relay
    }

    /// Makes a call, and writes what it changes.
    pub(crate) fn call<T>(&mut self, call: impl FnOnce(&mut Mailbox) -> T) -> T {
        let answer = call(&mut self.mailbox);
        self.mailbox.take_changes().into_iter().for_each(|change| self.disk.write(change));
        answer
    }

    /// Makes a call and crashes after so many of its writes, if it has as many; then nobody hears the answer. Returns it
    /// where there was no crash.
    pub(crate) fn call_and_crash<T>(
        &mut self,
        now: UnixMillis,
        writes: usize,
        call: impl FnOnce(&mut Mailbox) -> T,
    ) -> Option<T> {
        let answer = call(&mut self.mailbox);
        let changes = self.mailbox.take_changes();
        let crashes = writes < changes.len();
        changes.into_iter().take(writes).for_each(|change| self.disk.write(change));
        self.restart(now);
        (!crashes).then_some(answer)
    }

    /// Restarts; what is restored, restored once more, needs no further writes.
    pub(crate) fn restart(&mut self, now: UnixMillis) {
        self.mailbox = self.disk.restore(now);
        self.call(|_| ());
        assert_eq!(self.disk.restore(now).take_changes(), []);
    }

    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.disk.messages.values().map(|row| waiting(row)).collect()
    }

    /// The sequences below `most` that are acknowledged, and that are gone, of each slot that has any.
    pub(crate) fn windows(&self, most: u64) -> BTreeMap<String, [BTreeSet<u64>; 2]> {
        let slots = self.disk.rows.iter().filter_map(|(name, row)| Some((name.strip_prefix("slot ")?, row)));
        let windows = slots.map(|(key, row)| {
            let row: Value = serde_json::from_str(row).unwrap();
            let set = |kind: &str| -> BTreeSet<u64> {
                let set = &row["window"][kind];
                let missing: BTreeSet<_> = set["missing"].as_array().unwrap().iter().flat_map(Value::as_u64).collect();
                let through = set["through"].as_u64().unwrap();
                (1..=through.min(most)).filter(|sequence| !missing.contains(sequence)).collect()
            };
            (key.to_owned(), [set("acknowledged"), set("gone")])
        });
        windows.filter(|(_, sets)| sets.iter().any(|set| !set.is_empty())).collect()
    }
}

pub(crate) fn waiting(row: &str) -> Waiting {
    let row: Value = serde_json::from_str(row).unwrap();
    let key = serde_json::from_value(row["slot"].clone()).unwrap();
    (key, row["sequence"].as_u64().unwrap(), serde_json::from_value(row["contentId"].clone()).unwrap())
}

pub(crate) fn code<T>(outcome: &Result<T, Refused>) -> &'static str {
    outcome.as_ref().map_or_else(Refused::code, |_| "ok")
}
