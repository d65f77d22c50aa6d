//! A sender and a recipient over two relays that follow the rules of `rendezvous-protocol`, in any order of events, with
//! answers that are lost: nothing is lost, shown twice, or said to be read before it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, Bytes, ContentId};
use rendezvous_protocol::mailbox::envelope::{AckWithDeposit, Signed};
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::limits::COLLECT_MAX_BYTES;
use rendezvous_protocol::mailbox::record::{Collect, Deposit, Record, RecordRules, SlotQuestion};
use rendezvous_protocol::mailbox::state::{Change, Deposited, Mailbox};
use rendezvous_protocol::network;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use serde_json::value::RawValue;

use crate::collecting::{Judged, judge};
use crate::name::Name;
use crate::own::OwnMailbox;
use crate::recipient::{PendingMessage, Recipient};
use crate::relay::HandedOverMessage;

const RELAYS: [&str; 2] = ["https://one.example", "https://two.example"];
const MINUTE: Duration = Duration::from_secs(60);

/// One relay: the real rules, and the messages that a host keeps beside them.
struct Relay {
    origin: Origin,
    mailbox: Mailbox,
    messages: BTreeMap<u64, (String, String)>,
}

struct World {
    now: UnixMillis,
    owner: PrivateKey,
    own: OwnMailbox,
    sender: PrivateKey,
    contact: Recipient,
    outgoing: Vec<PendingMessage>,
    relays: Vec<Relay>,
    written: u32,
    nonce: u8,
    /// What the recipient has committed, in this order.
    read: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Write,
    /// Everything in the outbox is offered to a relay. The answer may be lost.
    Deliver {
        relay: usize,
        is_heard: bool,
    },
    /// The recipient collects from a relay, commits what is new, and acknowledges to both relays, or to none.
    Collect {
        relay: usize,
        is_acknowledged: bool,
    },
    /// The sender asks a relay for its receipts.
    Ask {
        relay: usize,
    },
    /// The recipient puts its newest records to a relay.
    Publish {
        relay: usize,
    },
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let relay = 0..RELAYS.len();
    prop_oneof![
        Just(Event::Write),
        (relay.clone(), any::<bool>()).prop_map(|(relay, is_heard)| Event::Deliver { relay, is_heard }),
        (relay.clone(), any::<bool>()).prop_map(|(relay, is_acknowledged)| Event::Collect { relay, is_acknowledged }),
        relay.clone().prop_map(|relay| Event::Ask { relay }),
        relay.prop_map(|relay| Event::Publish { relay }),
        Just(Event::Wait),
    ]
}

impl World {
    fn new() -> Self {
        let [owner, sender] = [1, 2].map(|seed| PrivateKey::from_seed(&[seed; 32]));
        let now = UnixMillis::saturating(1_700_000_000_000);
        let origins: Vec<Origin> = RELAYS.iter().map(|relay| Origin::parse(relay).unwrap()).collect();
        let invite = Invite::new([3; 32], owner.public_key(), origins.clone()).unwrap();
        let name: Name = "alice".parse().unwrap();
        let mut own = OwnMailbox::new([4; 16], now);
        own.relays = RELAYS.map(str::to_owned).to_vec();
        // Suite 0 alone would do here; both are what the program makes.
        own.add_sealing_keys([5; 32], [6; 32], now);
        own.add_invite(&name, invite.slot().public_key(), 4, now.after(Duration::from_secs(86_400))).unwrap();
        own.revise(now);
        let address = Address::of(&owner.public_key());
        let relay = |origin| Relay {
            origin,
            mailbox: Mailbox::restore(address, now, [], []).unwrap(),
            messages: BTreeMap::new(),
        };
        let mut contact = Recipient::new(&invite, [7; 32]);
        contact.take_card(own.card(&owner).unwrap(), now).unwrap();
        let mut world = Self {
            now,
            own,
            owner,
            sender,
            contact,
            outgoing: Vec::new(),
            relays: origins.into_iter().map(relay).collect(),
            written: 0,
            nonce: 0,
            read: Vec::new(),
        };
        (0..RELAYS.len()).for_each(|relay| world.publish(relay));
        world
    }

    fn address(&self) -> Address {
        Address::of(&self.owner.public_key())
    }

    fn nonce(&mut self) -> Bytes<16> {
        self.nonce = self.nonce.wrapping_add(1);
        Bytes([self.nonce; 16])
    }

    fn verified<T: Record>(
        &self,
        signed: Signed<T>,
        relay: usize,
    ) -> rendezvous_protocol::mailbox::envelope::Verified<T> {
        let audiences = [self.relays[relay].origin.clone()];
        signed.verify(&RecordRules { now: self.now, audiences: &audiences }).unwrap()
    }

    fn publish(&mut self, relay: usize) {
        if !self.own.lagging().iter().any(|origin| origin == RELAYS[relay]) {
            return;
        }
        let card = self.verified(self.own.card(&self.owner).unwrap(), relay);
        let policy = self.verified(self.own.policy(&self.owner).unwrap(), relay);
        let now = self.now;
        let Relay { origin, mailbox, .. } = &mut self.relays[relay];
        mailbox.put(now, card, policy, std::slice::from_ref(origin), Secret::from_bytes([8; 16])).unwrap();
        self.own.note_published(RELAYS[relay], self.own.revision);
    }

    fn write(&mut self) {
        if self.outgoing.len() >= 8 {
            return;
        }
        self.written += 1;
        let waits = self.outgoing.iter().any(|it| self.contact.is_invite(it.slot));
        let life = (self.now, self.now.after(Duration::from_secs(86_400)));
        let name: Name = "bob".parse().unwrap();
        let content = self.written.to_be_bytes().to_vec();
        let outgoing = self.contact.write(&name, &self.sender, content, waits, life).unwrap();
        self.outgoing.push(outgoing);
    }

    fn deliver(&mut self, relay: usize, is_heard: bool) {
        for outgoing in self.outgoing.clone() {
            let deposit = self.verified(Signed::<Deposit>::parse(&outgoing.deposit).unwrap(), relay);
            let from = network::HandedOver::from_text(&base64::encode(&[9; 24])).unwrap();
            let now = self.now;
            let Relay { mailbox, messages, .. } = &mut self.relays[relay];
            match mailbox.deposit(now, &deposit, None, from) {
                Ok(Deposited::Accepted { number, .. }) => {
                    messages.insert(number, (outgoing.deposit.clone(), outgoing.sealed.clone()));
                }
                Ok(Deposited::Acknowledged { ack }) if is_heard => {
                    self.contact.take_ack(Signed::parse(&ack).unwrap(), now, &mut self.outgoing).unwrap();
                }
                _ => {}
            }
        }
        self.settle();
    }

    fn ask(&mut self, relay: usize) {
        let keys: Vec<PrivateKey> = self.contact.slots().map(|slot| slot.key()).collect();
        for key in keys {
            let question = SlotQuestion {
                audience: RELAYS[relay].to_owned(),
                issued_at: self.now,
                mailbox: self.address(),
                nonce: self.nonce(),
            };
            let question = self.verified(Signed::sign(question, &key).unwrap(), relay);
            let now = self.now;
            if let Ok(status) = self.relays[relay].mailbox.slot(now, &question)
                && let Some(ack) = status.ack
            {
                self.contact.take_ack(Signed::parse(&ack).unwrap(), now, &mut self.outgoing).unwrap();
            }
        }
        self.settle();
    }

    /// What has a receipt must have been read.
    fn settle(&mut self) {
        let (has, waits): (Vec<_>, Vec<_>) = std::mem::take(&mut self.outgoing)
            .into_iter()
            .partition(|outgoing| self.contact.has(outgoing.slot, outgoing.sequence));
        self.outgoing = waits;
        for outgoing in has {
            assert!(!outgoing.ended_unread, "its life is a day");
            let content = self.content_of(&outgoing);
            assert!(self.read.contains(&content), "a receipt for what nobody has read");
        }
    }

    fn content_of(&self, outgoing: &PendingMessage) -> Vec<u8> {
        let deposit = Signed::<Deposit>::parse(&outgoing.deposit).unwrap();
        let Deposit { mailbox, sequence, expires_at, .. } = *deposit.payload();
        let place = rendezvous_protocol::mailbox::sealed::Place { mailbox, slot: outgoing.slot, sequence, expires_at };
        let sealed = base64::decode(&outgoing.sealed).unwrap();
        crate::seal::open(&sealed, &place, &self.own.sealing).unwrap().written.content
    }

    fn collect(&mut self, relay: usize, is_acknowledged: bool) {
        let question = Collect {
            audience: RELAYS[relay].to_owned(),
            collector: self.own.collector,
            issued_at: self.now,
            limit: 100,
            mailbox: self.address(),
            max_bytes: COLLECT_MAX_BYTES,
            nonce: self.nonce(),
        };
        let question = self.verified(Signed::sign(question, &self.owner).unwrap(), relay);
        let now = self.now;
        self.own.settle(now);
        let Ok(collected) = self.relays[relay].mailbox.collect(now, &question) else { return };
        let mut slots: BTreeSet<PublicKey> = BTreeSet::new();
        for handed in collected.messages {
            let (deposit, sealed) = self.relays[relay].messages[&handed.number].clone();
            let deposit = RawValue::from_string(deposit).unwrap();
            let handed = HandedOverMessage { deposit, sealed, received_at: Some(handed.received_at.as_u64()) };
            match judge(&handed, &self.own, self.address(), now).unwrap() {
                Judged::Known { slot } => slots.insert(slot),
                Judged::HandedOn => false,
                Judged::New(message) => {
                    assert_eq!(message.unreadable, None);
                    let (from, content) = message.opened().unwrap();
                    assert_eq!(from, self.sender.public_key());
                    assert!(!self.read.contains(&content.to_vec()), "shown twice");
                    self.read.push(content.to_vec());
                    if self.own.accept(&message.incoming, now).unwrap() {
                        self.own.revise(now);
                    }
                    slots.insert(message.slot())
                }
            };
        }
        if !is_acknowledged {
            return;
        }
        (0..RELAYS.len()).for_each(|relay| self.publish(relay));
        let address = self.address();
        for slot in slots {
            let Some(ack) = self.own.acknowledgement(slot, &self.owner, address, now).unwrap() else { continue };
            for relay in &mut self.relays {
                let ack = AckWithDeposit::parse(&ack).unwrap().verify().unwrap();
                relay.mailbox.acknowledge(now, ack.ack()).unwrap();
                for change in relay.mailbox.take_changes() {
                    if let Change::EraseMessage { number } = change {
                        relay.messages.remove(&number);
                    }
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Write => self.write(),
            Event::Deliver { relay, is_heard } => self.deliver(relay, is_heard),
            Event::Collect { relay, is_acknowledged } => self.collect(relay, is_acknowledged),
            Event::Ask { relay } => self.ask(relay),
            Event::Publish { relay } => self.publish(relay),
            Event::Wait => self.now = self.now.after(MINUTE),
        }
    }

    /// Everybody does what they do again and again, until nothing changes.
    fn finish(&mut self) {
        for _ in 0..8 {
            for relay in 0..RELAYS.len() {
                self.now = self.now.after(MINUTE);
                self.deliver(relay, true);
                self.collect(relay, true);
                self.ask(relay);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_is_lost_shown_twice_or_said_to_be_read_before_it_is(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new();
        let mut ids: BTreeSet<ContentId> = BTreeSet::new();
        for event in events {
            world.happen(event);
            ids.extend(world.outgoing.iter().map(|outgoing| outgoing.content_id));
        }
        world.finish();
        let mut read: Vec<u32> =
            world.read.iter().map(|content| u32::from_be_bytes(content.as_slice().try_into().unwrap())).collect();
        read.sort_unstable();
        prop_assert_eq!(read, (1..=world.written).collect::<Vec<_>>());
        prop_assert!(world.outgoing.is_empty(), "the sender has every receipt");
        // From then on the sender writes over its own slot, and the invite is over.
        world.write();
        world.finish();
        let is_over = world.written <= 1 || !world.own.slots.iter().any(|slot| slot.is_invite());
        prop_assert!(is_over);
    }
}

#[test]
fn what_ended_unread_keeps_nothing_later_from_being_read() {
    let day = Duration::from_secs(86_400);
    let mut world = World::new();
    world.write();
    world.finish();
    world.own.set_limit(&"alice".parse().unwrap(), 4).unwrap();
    world.own.revise(world.now);
    (0..RELAYS.len()).for_each(|relay| world.publish(relay));
    for _ in 0..4 {
        world.write();
    }
    world.deliver(0, true);
    world.now = world.now.after(day * 2);
    world.outgoing.clear();
    // Each is shown, once, and there is no receipt while something that is missing below may come.
    for _ in 0..2 {
        world.write();
    }
    world.finish();
    assert_eq!(world.read.len(), 3);
    assert_eq!(world.outgoing.len(), 2);
    world.now = world.now.after(day * 7);
    world.outgoing.clear();
    world.write();
    world.finish();
    assert_eq!(world.read.len(), 4);
    assert!(world.outgoing.is_empty(), "from then on there are receipts again");
}
