//! What waits of that fleet's envelopes: their caps, and what is to be written.
//!
//! The caps are checked where an envelope is taken in: of one sender in one mailbox two wait, whoever pushes them, of one
//! class as many as the fleet has it, of one peer no more than its part. What is held already is answered before any of
//! them, and counts once. All of it ends an hour after it came, whatever it says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::token_bucket::TokenBucket;
use serde_json::json;

use crate::answer::Answer;
use crate::mesh::door::EnvelopeDoor;
use crate::mesh::envelope::Envelope;
use crate::mesh::request::{Asked, EnvelopeCall, refusal};

/// How long an envelope waits.
const WAITS: Duration = Duration::from_secs(3_600);

/// Envelopes that wait of one sender in one mailbox.
const PER_SENDER: usize = 2;

/// Envelopes that wait in one mailbox of those that one peer pushed.
const PER_PEER: usize = 24;

/// Envelopes that wait in all, of at most 16 KiB. Each peer has an equal part.
const IN_ALL: usize = 2_048;

/// Pushes that one peer may make in a minute, and at once.
const BUDGET: TokenBucket = TokenBucket::new(Duration::from_secs(1), 60);

/// How long an envelope that was handed over is not handed over again.
const LEASE: Duration = Duration::from_secs(60);

/// Envelopes in one answer.
const COLLECT_MAX: usize = 48;

/// Holds what is stored of one envelope: its number, and its row.
pub type Stored = (u64, String);

/// Says what is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeWrite {
    /// An envelope is here.
    Put(Stored),
    /// An envelope is gone.
    Erase(u64),
}

/// Holds what is to be written before the answer goes out.
pub type EnvelopeEffects = Vec<EnvelopeWrite>;

#[derive(Debug)]
struct Waiting {
    envelope: Envelope,
    /// The origin of the peer that pushed it.
    peer: String,
    received_at: UnixMillis,
    /// Absent where it was not handed over since the start.
    leased_until: Option<UnixMillis>,
}

impl Waiting {
    fn to_row(&self) -> String {
        format!("{} {}\n{}", self.received_at, self.peer, self.envelope.json)
    }

    fn parse(row: &str) -> Option<Self> {
        let (head, json) = row.split_once('\n')?;
        let (received_at, peer) = head.split_once(' ')?;
        let received_at = received_at.parse().ok().and_then(UnixMillis::new)?;
        let envelope = Envelope::trusted(json).ok()?;
        Some(Self { envelope, peer: peer.to_owned(), received_at, leased_until: None })
    }
}

/// Holds the envelopes that wait.
#[derive(Debug)]
pub struct EnvelopeStore {
    /// The origin of each peer, and when its bucket is full again.
    peers: Vec<(String, u64)>,
    /// By number, which is the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

impl EnvelopeStore {
    /// Makes the store of its rows.
    ///
    /// # Errors
    /// The number of the row that cannot be read.
    pub fn restore(door: &EnvelopeDoor, rows: Vec<Stored>) -> Result<Self, u64> {
        let mut waiting = BTreeMap::new();
        for (number, row) in rows {
            waiting.insert(number, Waiting::parse(&row).ok_or(number)?);
        }
        let next = waiting.last_key_value().map_or(1, |(number, _)| number.saturating_add(1));
        let peers = door.origins().map(|origin| (origin.as_str().to_owned(), 0)).collect();
        Ok(Self { peers, waiting, next })
    }

    /// Answers a call, once what is to be written is durable.
    pub fn handle(&mut self, now: UnixMillis, call: EnvelopeCall) -> (Answer, EnvelopeEffects) {
        let mut effects = self.expire(now);
        let EnvelopeCall(asked) = call;
        let answer = match asked {
            Asked::Push { peer, envelope } => self.push(now, peer, *envelope, &mut effects),
            Asked::Collect { mailbox, acks } => self.collect(now, &mailbox, &acks, &mut effects),
        };
        (answer, effects)
    }

    /// Takes away what has ended. Nothing that has is ever handed over, taken away or not.
    pub fn expire(&mut self, now: UnixMillis) -> EnvelopeEffects {
        // What came while the clock was ahead ends with what comes now.
        let has_ended = |it: &Waiting| it.received_at.after(WAITS) <= now || it.received_at > now.after(WAITS);
        let ended: Vec<_> = self.waiting.iter().filter(|(_, it)| has_ended(it)).map(|(number, _)| *number).collect();
        self.remove(ended)
    }

    /// Forgets what these effects were to put, which could not be made durable.
    pub fn forget(&mut self, effects: &EnvelopeEffects) {
        for effect in effects {
            if let EnvelopeWrite::Put((number, _)) = effect {
                self.waiting.remove(number);
            }
        }
    }

    fn remove(&mut self, numbers: Vec<u64>) -> EnvelopeEffects {
        for number in &numbers {
            self.waiting.remove(number);
        }
        numbers.into_iter().map(EnvelopeWrite::Erase).collect()
    }

    fn push(&mut self, now: UnixMillis, peer: usize, envelope: Envelope, effects: &mut EnvelopeEffects) -> Answer {
        let share = IN_ALL / self.peers.len().max(1);
        let Some((origin, full_at)) = self.peers.get_mut(peer) else {
            return refusal(403, "Invalid or missing peer HMAC");
        };
        if BUDGET.take(full_at, now.as_u64()).is_err() {
            return refusal(429, "Too many pushes of this peer");
        }
        let origin = origin.clone();
        let of_mailbox = || self.waiting.values().filter(|it| it.envelope.mailbox == envelope.mailbox);
        let msg_id = &envelope.msg_id;
        if let Some(held) = of_mailbox().find(|it| it.envelope.msg_id == *msg_id) {
            return if held.envelope.is_same(&envelope) {
                Answer::of_json(json!({ "ok": true, "msg_id": msg_id, "duplicate": true }).to_string())
            } else {
                refusal(409, "Another envelope waits under this msg_id")
            };
        }
        let of_class = of_mailbox().filter(|it| it.envelope.class == envelope.class).count();
        let of_peer = of_mailbox().filter(|it| it.peer == origin).count();
        if of_class >= envelope.class.limit() || of_peer >= PER_PEER {
            return refusal(409, "Recipient mailbox full");
        }
        let of_sender = of_mailbox().filter(|it| it.envelope.sender == envelope.sender).count();
        if of_sender >= PER_SENDER {
            let body = json!({
                "ok": false,
                "detail": format!("Per-sender cap reached: {of_sender} of {PER_SENDER} wait to be acknowledged"),
                "cap_violation": true,
                "pending": of_sender,
                "limit": PER_SENDER,
            });
            return Answer { status: 409, ..Answer::of_json(body.to_string()) };
        }
        if self.waiting.values().filter(|it| it.peer == origin).count() >= share {
            return refusal(503, "This relay has its part of envelopes of this peer");
        }
        let answer = Answer::of_json(json!({ "ok": true, "msg_id": msg_id }).to_string());
        let waiting = Waiting { envelope, peer: origin, received_at: now, leased_until: None };
        effects.push(EnvelopeWrite::Put((self.next, waiting.to_row())));
        self.waiting.insert(self.next, waiting);
        self.next = self.next.saturating_add(1);
        answer
    }

    fn collect(&mut self, now: UnixMillis, mailbox: &str, acks: &[String], effects: &mut EnvelopeEffects) -> Answer {
        let of_mailbox = |it: &Waiting| it.envelope.mailbox == mailbox;
        let acknowledged = self.waiting.iter().filter(|(_, it)| of_mailbox(it) && acks.contains(&it.envelope.msg_id));
        let acknowledged: Vec<_> = acknowledged.map(|(number, _)| *number).collect();
        let released = acknowledged.len();
        effects.extend(self.remove(acknowledged));
        let until = now.after(LEASE);
        let mut messages = Vec::new();
        let mut more = false;
        for it in self.waiting.values_mut().filter(|it| of_mailbox(it)) {
            // A lease of a clock that was ahead lasts no longer than one from now.
            if it.leased_until.is_some_and(|leased| now < leased && leased <= until) {
                continue;
            }
            if messages.len() == COLLECT_MAX {
                more = true;
                break;
            }
            it.leased_until = Some(until);
            messages.push(it.envelope.json.as_str());
        }
        let messages = messages.join(",");
        Answer::of_json(format!(
            r#"{{"ok":true,"messages":[{messages}],"more":{more},"released":{released},"serverTime":{now}}}"#
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn push(store: &mut EnvelopeStore, now: UnixMillis, peer: usize, msg_id: &str) -> (u16, EnvelopeEffects) {
        let mailbox = "a".repeat(64);
        let json = json!({
            "msg_id": msg_id, "mailbox_key": mailbox, "sender_block_ref": msg_id, "ciphertext": "x", "delivery_class": "shared",
        });
        let envelope = Box::new(Envelope::trusted(&json.to_string()).unwrap());
        let (answer, effects) = store.handle(now, EnvelopeCall(Asked::Push { peer, envelope }));
        (answer.status, effects)
    }

    #[test]
    fn a_peer_pushes_so_often_and_what_it_pushed_ends_after_an_hour() {
        let named = "https://a.example=sixteen letters!,https://b.example=sixteen letters!";
        let door = EnvelopeDoor::parse(|_| Some(named.to_owned())).unwrap().unwrap();
        let mut store = EnvelopeStore::restore(&door, Vec::new()).unwrap();
        let (status, effects) = push(&mut store, START, 0, "one");
        assert_eq!(status, 200);
        let [EnvelopeWrite::Put(stored)] = &effects[..] else { panic!("{effects:?}") };
        assert!(stored.1.starts_with("1700000000000 https://a.example\n{"));
        for _ in 1..60 {
            assert_eq!(push(&mut store, START, 0, "one"), (200, Vec::new()));
        }
        assert_eq!(push(&mut store, START, 0, "one").0, 429);
        assert_eq!(push(&mut store, START, 1, "one").0, 200, "another peer's");
        assert_eq!(push(&mut store, START.after(Duration::from_secs(1)), 0, "one").0, 200);
        let mut restored = EnvelopeStore::restore(&door, vec![stored.clone()]).unwrap();
        assert_eq!(restored.expire(START.after(Duration::from_secs(3_599))), []);
        assert_eq!(restored.expire(START.after(Duration::from_secs(3_600))), [EnvelopeWrite::Erase(stored.0)]);
        assert_eq!(EnvelopeStore::restore(&door, vec![(7, "soon".to_owned())]).unwrap_err(), 7);
    }
}
