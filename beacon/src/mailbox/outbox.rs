//! What of one mailbox is still to be pushed to other relays: cards, policies, acknowledgements and messages that their
//! authors brought here. What a peer pushed is not pushed on, so nothing goes round.
//!
//! Each entry is a row. Of a message it has the number alone, and of a card and a policy not even that: what is pushed is
//! what stands. So there are never more entries than messages, and [`ACKS_MAX`] and two.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::mailbox::envelope::VerifiedAck;
use rendezvous_protocol::mailbox::limits::{DEPOSIT_MAX_LIFETIME, REPLICATE_MAX_BYTES, REPLICATE_MAX_ITEMS};
use rendezvous_protocol::mailbox::proof::Proof;
use rendezvous_protocol::mailbox::record::Ack;
use rendezvous_protocol::mailbox::state::Mailbox;
use rendezvous_protocol::time::UnixMillis;

use crate::mailbox::peers::Peers;

/// Acknowledgements that wait to be pushed: more than slots a policy lists, each of which needs one. Of one too many the
/// oldest goes.
const ACKS_MAX: usize = 512;

/// How long an entry waits. Every message has ended by then, and with it what its acknowledgement frees.
const WAITS: Duration = DEPOSIT_MAX_LIFETIME;

/// What an item has beside the sealed bytes or the deposit, with room to spare: two records and their names.
const ITEM_BYTES: usize = 2_048;

/// What a body has beside its items, with room to spare.
const BODY_BYTES: usize = 4_096;

/// Says what an author brought.
#[derive(Clone, Debug)]
pub(crate) enum Authored {
    /// A newer card, or the first.
    Card,
    /// A newer policy, or the first.
    Policy,
    /// An acknowledgement that says something new.
    Ack(Box<VerifiedAck>),
    /// A message, which has this number.
    Deposit(u64, Option<Proof>),
}

/// Says what is to be written of an entry: its number, and its row or that it is gone.
pub(crate) type EntryChange = (u64, Option<String>);

/// Says how an object of a mailbox keeps what is to be pushed. A host without peers makes none, and has none of its code.
pub(crate) trait Outgoing: fmt::Debug + Send {
    /// Takes what an author brought.
    fn add(&mut self, now: UnixMillis, mailbox: &Mailbox, authored: Vec<Authored>);
    /// Drops what need not be pushed any more, and returns what is to be written since this was last called.
    fn take_changes(&mut self, now: UnixMillis, mailbox: &Mailbox) -> Vec<EntryChange>;
    /// Drops everything, of which nothing is in storage any more.
    fn forget(&mut self);
    /// Returns what the peer is pushed next, if anything waits for it.
    fn batch(&self, mailbox: &Mailbox, peer: usize) -> Vec<BatchItem>;
    /// Takes that a peer has these entries, or does not want them.
    fn settle(&mut self, peer: usize, entries: &[u64]);
    /// Returns the peers for which something has been added since this was last called.
    fn take_fresh(&mut self) -> Vec<usize>;
    /// Counts the entries.
    fn waiting(&self) -> usize;
    /// Returns how many have ended unpushed since this was last called.
    fn take_ended(&mut self) -> u64;
}

/// Holds one item of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchItem {
    /// The number of its entry.
    pub entry: u64,
    /// What it says.
    pub what: BatchText,
}

/// Holds the text of an item, or what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchText {
    /// The text.
    Ready(String),
    /// An object's braces around the body of the message with this number, and after it these fields.
    Message {
        /// The message's number.
        number: u64,
        /// What comes after its body.
        rest: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Queued {
    Card,
    Policy,
    Ack { json: String, ack: Ack },
    Deposit { number: u64, proof: Option<Proof> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    since: UnixMillis,
    /// The peers that do not have it.
    to: Vec<usize>,
    what: Queued,
}

const NO_PROOF: &str = "-";

impl Entry {
    /// Writes the entry as it is stored: since when it waits, for which origins, and on further lines what.
    fn to_text(&self, peers: &Peers) -> String {
        let Self { since, to, what } = self;
        let origins: Vec<_> = to.iter().filter_map(|peer| peers.origin(*peer)).map(|origin| origin.as_str()).collect();
        let what = match what {
            Queued::Card => "card".to_owned(),
            Queued::Policy => "policy".to_owned(),
            Queued::Ack { json, .. } => format!("ack {json}"),
            Queued::Deposit { number, proof } => {
                let proof = proof.map(|Proof { day, solution }| format!("{day}:{solution}"));
                format!("deposit {number} {}", proof.as_deref().unwrap_or(NO_PROOF))
            }
        };
        format!("{since} {}\n{what}", origins.join(","))
    }

    fn parse(text: &str, peers: &Peers) -> Option<Self> {
        let (head, what) = text.split_once('\n')?;
        let (since, origins) = head.split_once(' ')?;
        let what = match what.split_once(' ').unwrap_or((what, "")) {
            ("card", "") => Queued::Card,
            ("policy", "") => Queued::Policy,
            ("ack", json) => {
                let ack = VerifiedAck::trusted(json).ok()?;
                Queued::Ack { json: json.to_owned(), ack: ack.ack().payload().clone() }
            }
            ("deposit", rest) => {
                let (number, proof) = rest.split_once(' ')?;
                let proof = match proof {
                    NO_PROOF => None,
                    proof => {
                        let (day, solution) = proof.split_once(':')?;
                        Some(Proof { day: day.parse().ok()?, solution: solution.parse().ok()? })
                    }
                };
                Queued::Deposit { number: number.parse().ok()?, proof }
            }
            _ => return None,
        };
        // One that is not a peer any more is not pushed to.
        let to = origins.split(',').filter_map(|origin| peers.of_origin(origin)).collect();
        Some(Self { since: since.parse().ok().and_then(UnixMillis::new)?, to, what })
    }
}

/// Returns whether whoever has one acknowledgement learns nothing by the other.
fn covers(ack: &Ack, other: &Ack) -> bool {
    let is_covered = |missing: &u64| *missing > other.through || other.missing.contains(missing);
    ack.slot == other.slot && ack.through >= other.through && ack.missing.iter().all(is_covered)
}

/// Holds what is to be pushed of one mailbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    peers: Arc<Peers>,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    changes: Vec<EntryChange>,
    fresh: Vec<usize>,
    ended: u64,
}

impl Outbox {
    /// Makes the outbox of its rows, each with its number, or says which of them cannot be read.
    pub(crate) fn restore(peers: Arc<Peers>, rows: &[(u64, String)]) -> Result<Self, u64> {
        let mut entries = BTreeMap::new();
        for (number, text) in rows {
            entries.insert(*number, Entry::parse(text, &peers).ok_or(*number)?);
        }
        let next = entries.last_key_value().map_or(0, |(number, _)| number.saturating_add(1));
        // Of what waited before nobody knows whether it was asked for.
        let fresh = (0..peers.len()).filter(|peer| entries.values().any(|entry: &Entry| entry.to.contains(peer)));
        let fresh = fresh.collect();
        Ok(Self { peers, entries, next, changes: Vec::new(), fresh, ended: 0 })
    }

    fn remove(&mut self, number: u64) {
        if self.entries.remove(&number).is_some() {
            self.changes.push((number, None));
        }
    }

    fn remove_all(&mut self, goes: impl Fn(&Entry) -> bool) -> usize {
        let gone: Vec<_> = self.entries.iter().filter(|(_, entry)| goes(entry)).map(|(number, _)| *number).collect();
        gone.iter().for_each(|number| self.remove(*number));
        gone.len()
    }
}

impl Outgoing for Outbox {
    fn add(&mut self, now: UnixMillis, mailbox: &Mailbox, authored: Vec<Authored>) {
        let Some((card, _)) = mailbox.records() else { return };
        let to = self.peers.among(&card.payload().relays);
        if to.is_empty() {
            return;
        }
        for authored in authored {
            let what = match authored {
                Authored::Card => Queued::Card,
                Authored::Policy => Queued::Policy,
                Authored::Ack(ack) => Queued::Ack { json: ack.to_json(), ack: ack.ack().payload().clone() },
                Authored::Deposit(number, proof) => Queued::Deposit { number, proof },
            };
            self.remove_all(|entry| match (&what, &entry.what) {
                (Queued::Card, Queued::Card) | (Queued::Policy, Queued::Policy) => true,
                (Queued::Ack { ack, .. }, Queued::Ack { ack: before, .. }) => covers(ack, before),
                _ => false,
            });
            if let Queued::Ack { .. } = what {
                let acks = || self.entries.iter().filter(|(_, entry)| matches!(entry.what, Queued::Ack { .. }));
                if acks().count() >= ACKS_MAX
                    && let Some(oldest) = acks().next().map(|(number, _)| *number)
                {
                    self.remove(oldest);
                    self.ended += 1;
                }
            }
            let number = self.next;
            self.next = number.saturating_add(1);
            let entry = Entry { since: now, to: to.clone(), what };
            self.changes.push((number, Some(entry.to_text(&self.peers))));
            self.entries.insert(number, entry);
        }
        self.fresh.extend(to.iter().filter(|peer| !self.fresh.contains(peer)).collect::<Vec<_>>());
    }

    fn take_changes(&mut self, now: UnixMillis, mailbox: &Mailbox) -> Vec<EntryChange> {
        if mailbox.records().is_none() {
            self.remove_all(|_| true);
        }
        // By a clock that was ahead an entry waits no longer than one from now.
        let has_ended = |since: UnixMillis| since.after(WAITS) <= now || since > now.after(WAITS);
        let ended = self.remove_all(|entry| has_ended(entry.since));
        self.ended += ended as u64;
        self.remove_all(|entry| {
            // Acknowledged, or ended: peers come to know that in the same way.
            let is_gone = matches!(entry.what, Queued::Deposit { number, .. } if mailbox.size_of(number).is_none());
            entry.to.is_empty() || is_gone
        });
        std::mem::take(&mut self.changes)
    }

    fn forget(&mut self) {
        self.entries.clear();
        self.changes.clear();
    }

    fn batch(&self, mailbox: &Mailbox, peer: usize) -> Vec<BatchItem> {
        let Some((card, policy)) = mailbox.records() else { return Vec::new() };
        let rank = |entry: &Entry| match entry.what {
            Queued::Card => 0,
            Queued::Policy => 1,
            Queued::Ack { .. } => 2,
            Queued::Deposit { .. } => 3,
        };
        let mut entries: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.to.contains(&peer)).collect();
        // Who may acknowledge and who may write comes before what is acknowledged and written.
        entries.sort_by_key(|(number, entry)| (rank(entry), **number));
        let mut left = REPLICATE_MAX_BYTES - BODY_BYTES;
        let mut batch = Vec::new();
        for (number, entry) in entries.into_iter().take(REPLICATE_MAX_ITEMS) {
            let (what, bytes) = match &entry.what {
                Queued::Card => ready(format!(r#"{{"card":{}}}"#, card.as_json())),
                Queued::Policy => ready(format!(r#"{{"policy":{}}}"#, policy.as_json())),
                Queued::Ack { json, .. } => ready(json.clone()),
                Queued::Deposit { number, proof } => {
                    let Some(size) = mailbox.size_of(*number) else { continue };
                    let proof = proof
                        .map(|Proof { day, solution }| format!(r#","proof":{{"day":{day},"solution":{solution}}}"#));
                    let rest = proof.unwrap_or_default();
                    let bytes = (size as usize).div_ceil(3) * 4 + ITEM_BYTES;
                    (BatchText::Message { number: *number, rest }, bytes)
                }
            };
            if bytes > left {
                break;
            }
            left -= bytes;
            batch.push(BatchItem { entry: *number, what });
        }
        batch
    }

    fn settle(&mut self, peer: usize, entries: &[u64]) {
        for number in entries {
            let Some(entry) = self.entries.get_mut(number) else { continue };
            entry.to.retain(|waiting| *waiting != peer);
            if entry.to.is_empty() {
                self.remove(*number);
            } else {
                let text = entry.to_text(&self.peers);
                self.changes.push((*number, Some(text)));
            }
        }
    }

    fn take_fresh(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.fresh)
    }

    fn waiting(&self) -> usize {
        self.entries.len()
    }

    fn take_ended(&mut self) -> u64 {
        std::mem::take(&mut self.ended)
    }
}

fn ready(text: String) -> (BatchText, usize) {
    let bytes = text.len() + 1;
    (BatchText::Ready(text), bytes)
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::base64;
    use rendezvous_protocol::key::PrivateKey;
    use rendezvous_protocol::mailbox::bytes::{Address, ContentId};
    use rendezvous_protocol::mailbox::envelope::{Signed, Verified};
    use rendezvous_protocol::mailbox::record::{Card, Deposit, Policy, Record, Requests, SealingKey};
    use rendezvous_protocol::origin::Origin;
    use rendezvous_protocol::secret::Secret;

    use super::*;
    use crate::config::Config;

    const START: UnixMillis = UnixMillis::saturating(1_700_000_040_000);
    const OWN: &str = "https://own.example";
    const PEER: &str = "https://peer.example";

    fn owner() -> PrivateKey {
        PrivateKey::from_seed(&[1; 32])
    }

    fn address() -> Address {
        Address::of(&owner().public_key())
    }

    fn signed<T: Record>(payload: T, key: &PrivateKey) -> Verified<T> {
        Verified::trusted(&Signed::sign(payload, key).unwrap().to_json()).unwrap()
    }

    fn peers() -> Arc<Peers> {
        let named = format!("{PEER}={}", PrivateKey::from_seed(&[8; 32]).public_key());
        let key = PrivateKey::from_seed(&[9; 32]).to_pem().unwrap();
        let variable = |name: &str| match name {
            "EXTERNAL_URLS" => Some(OWN.to_owned()),
            "RELAY_PEERS" => Some(named.clone()),
            "RELAY_PRIVATE_KEY" => Some(key.clone()),
            _ => None,
        };
        Arc::new(Peers::parse(&Config::parse(variable).unwrap(), variable).unwrap().unwrap())
    }

    fn mailbox() -> Mailbox {
        let card = Card {
            expires_at: START.after(WAITS),
            issued_at: START,
            mailbox: address(),
            readers: Vec::new(),
            relays: vec![OWN.to_owned(), PEER.to_owned()],
            requests: Requests { difficulty: 0, open: false },
            revision: 1,
            sealing: vec![SealingKey { expires_at: START.after(WAITS), key: base64::encode(&[7; 32]), suite: 0 }],
        };
        let policy = Policy {
            contacts: Vec::new(),
            expires_at: START.after(WAITS),
            invites: Vec::new(),
            issued_at: START,
            mailbox: address(),
            revision: 1,
        };
        let mut mailbox = Mailbox::restore(address(), START, [], []).unwrap();
        let (card, policy) = (signed(card, &owner()), signed(policy, &owner()));
        mailbox.put(START, card, policy, &[Origin::parse(OWN).unwrap()], Secret::from_bytes([1; 16])).unwrap();
        mailbox
    }

    /// Of the slot with this number.
    fn ack(slot: u16, through: u64, missing: &[u64]) -> VerifiedAck {
        let mut seed = [3; 32];
        seed[..2].copy_from_slice(&slot.to_be_bytes());
        let slot = PrivateKey::from_seed(&seed);
        let (at, missing) = (START, missing.to_vec());
        let ack = Ack { at, mailbox: address(), missing, slot: slot.public_key(), through };
        let of = Deposit {
            content_id: ContentId::of(&[]),
            expires_at: START.after(WAITS),
            issued_at: START,
            mailbox: address(),
            sequence: through,
            size: 2_048,
        };
        let (ack, of) = (signed(ack, &owner()), signed(of, &slot));
        VerifiedAck::trusted(&format!(r#"{{"ack":{},"of":{}}}"#, ack.as_json(), of.as_json())).unwrap()
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_acknowledgement_pays() {
        let (mailbox, mut outbox) = (mailbox(), Outbox::restore(peers(), &[]).unwrap());
        outbox.add(START, &mailbox, vec![Authored::Card, Authored::Policy]);
        for slot in 0..520 {
            outbox.add(START, &mailbox, vec![Authored::Ack(Box::new(ack(slot, 1, &[])))]);
        }
        assert_eq!((outbox.waiting(), outbox.take_ended(), outbox.take_ended()), (ACKS_MAX + 2, 8, 0));
        assert_eq!(outbox.take_fresh(), [0]);
        let batch = outbox.batch(&mailbox, 0);
        assert_eq!(batch.len(), REPLICATE_MAX_ITEMS);
        let BatchText::Ready(third) = &batch[2].what else { panic!("{batch:?}") };
        assert_eq!(*third, ack(8, 1, &[]).to_json(), "the oldest that is left, after the card and the policy");
    }

    #[test]
    fn an_acknowledgement_waits_until_another_covers_it() {
        let (mailbox, mut outbox) = (mailbox(), Outbox::restore(peers(), &[]).unwrap());
        for (through, missing, waiting) in [
            (3, &[][..], 1),
            // Of these two neither says all that the other does, and then 4 says all of 3.
            (5, &[2], 2),
            (4, &[], 2),
            (5, &[], 1),
            (6, &[5], 2),
        ] {
            outbox.add(START, &mailbox, vec![Authored::Ack(Box::new(ack(1, through, missing)))]);
            assert_eq!(outbox.waiting(), waiting, "{through} {missing:?}");
        }
        outbox.add(START, &mailbox, vec![Authored::Ack(Box::new(ack(2, 9, &[])))]);
        assert_eq!(outbox.waiting(), 3, "another slot's");
    }

    #[test]
    fn a_stored_entry_is_pinned() {
        let peers = peers();
        for (what, text) in [
            (Queued::Card, "1700000040000 https://peer.example\ncard"),
            (Queued::Policy, "1700000040000 https://peer.example\npolicy"),
            (Queued::Deposit { number: 7, proof: None }, "1700000040000 https://peer.example\ndeposit 7 -"),
            (
                Queued::Deposit { number: 8, proof: Some(Proof { day: 19_675, solution: 12 }) },
                "1700000040000 https://peer.example\ndeposit 8 19675:12",
            ),
        ] {
            let entry = Entry { since: START, to: vec![0], what };
            assert_eq!(entry.to_text(&peers), text);
            assert_eq!(Entry::parse(text, &peers), Some(entry));
        }
        let ack = ack(1, 1, &[]);
        let entry = Entry {
            since: START,
            to: vec![0],
            what: Queued::Ack { json: ack.to_json(), ack: ack.ack().payload().clone() },
        };
        assert_eq!(Entry::parse(&entry.to_text(&peers), &peers), Some(entry));
        // A peer that is not one any more is not pushed to.
        let of_another = "1700000040000 https://old.example\ncard";
        assert_eq!(Entry::parse(of_another, &peers).unwrap().to, Vec::<usize>::new());
        for text in [
            "",
            "card",
            "1 a",
            "x https://peer.example\ncard",
            "1 a\ncards",
            "1 a\ndeposit 7",
            "1 a\ndeposit x -",
            "1 a\nack {}",
        ] {
            assert_eq!(Entry::parse(text, &peers), None, "{text:?}");
        }
    }
}
