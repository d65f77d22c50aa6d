//! Fills corpus/ with what two users have who write to each other, so that fuzzing starts from what is read:
//! `cargo run --manifest-path messenger/fuzz/Cargo.toml --example seed`

use std::path::Path;

use rendezvous_messenger::own::OwnMailbox;
use rendezvous_messenger::recipient::Recipient;
use rendezvous_messenger::seal::seal;
use rendezvous_messenger::transport::Relay;
use rendezvous_messenger::user::{Disposition, NewCode, User, fuzzing};
use rendezvous_messenger_fuzz::seals::{self, SEED};
use rendezvous_messenger_fuzz::{LooseRelay, NOW, Store, URL};
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::limits::DEPOSIT_MAX_LIFETIME;
use rendezvous_protocol::mailbox::plaintext::Written;
use rendezvous_protocol::origin::Origin;

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a file");
}

fn main() {
    records();
    files();
    sealed_bytes();
    plaintexts();
    write("user_file", "first", [0, 0, b'S']);
}

/// Bytes of the records that are together in one seed: the account and the deposits, which are alone, leave no room for others.
const SMALL_MAX: usize = 1_500;

/// The records of two users together, and each alone.
fn records() {
    let (one, other, loose) = (Store::new("alice"), Store::new("bob"), LooseRelay::default());
    let relay = &Relay::new(URL, &loose).expect("a relay");
    let (mut alice, mut bob) = (one.begin(), other.begin());
    alice.add("bob", bob.id(), None).expect("a contact");
    let code = bob.new_code(&NewCode::default(), NOW).expect("a code");
    bob.maintain(relay, NOW).expect("keys");
    alice.request_contact(relay, bob.id(), &code.code, None, NOW).expect("a request");
    let round = |user: &mut User| {
        user.receive(relay, NOW).expect("messages");
        user.deliver(&[], |_| Disposition::Taken).expect("messages");
        user.acknowledge(relay, NOW).expect("acknowledgements");
    };
    // Each offers the other a slot of a mailbox.
    for _ in 0..3 {
        alice.send(relay, bob.id(), "one", NOW).expect("a message");
        round(&mut bob);
        bob.send(relay, alice.id(), "two", NOW).expect("a message");
        round(&mut alice);
    }
    alice.send(relay, bob.id(), "three", NOW).expect("a message");
    bob.receive(relay, NOW).expect("messages");
    bob.deliver(&[], |_| Disposition::Kept).expect("messages");
    bob.send(relay, alice.id(), "four", NOW).expect("a message");
    for (name, user) in [("alice", &alice), ("bob", &bob)] {
        let records = fuzzing::records(user).expect("records");
        let small: Vec<_> = records.iter().filter(|record| record.len() <= SMALL_MAX).map(String::as_str).collect();
        write("user_store", name, small.join("\n"));
        for (at, record) in records.iter().enumerate() {
            write("user_store", &format!("{name}_{at}"), record);
        }
    }
}

/// The files of a store of mailboxes.
fn files() {
    let (owner, slot, ..) = seals::fixed();
    let name = "bob".parse().expect("a name");
    let end = NOW.after(DEPOSIT_MAX_LIFETIME);
    let mut mailbox = OwnMailbox::new([1; 16], NOW);
    mailbox.relays = vec![URL.to_owned()];
    mailbox.add_sealing_keys([9; 32], [9; 32], NOW);
    mailbox.add_contact(&name, slot.public_key()).expect("a contact");
    mailbox.add_invite(&"carol".parse().expect("a name"), owner.public_key(), 1, end).expect("an invite");
    mailbox.revise(NOW);
    let card = mailbox.card(&owner).expect("a card");
    let relays = vec![Origin::parse(URL).expect("an origin")];
    let invite = Invite::new([8; 32], owner.public_key(), relays).expect("an invite");
    let mut recipient = Recipient::of_slot(&invite);
    recipient.take_card(card, NOW).expect("the owner's card");
    let pending = recipient.write(&name, &slot, SEED.to_vec(), false, (NOW, end)).expect("a message");
    let handed_over = format!(r#"{{"deposit":{},"sealed":"{}","receivedAt":1}}"#, pending.deposit, pending.sealed);
    let json = |value: serde_json::Result<String>| value.expect("JSON");
    write("mailbox_store", "mailbox", format!("{}\n{handed_over}", json(serde_json::to_string(&mailbox))));
    write("mailbox_store", "message", json(serde_json::to_string(&pending)));
    write("mailbox_store", "contact", json(serde_json::to_string(&recipient)));
    let invited = Recipient::new(&invite, [3; 32]);
    write("mailbox_store", "invited", json(serde_json::to_string(&invited)));
    let card = mailbox.card(&owner).expect("a card").to_json();
    write("mailbox_store", "card", format!("{}\n{card}", json(serde_json::to_string(&invited))));
}

/// Sealed bytes of either suite, of the smallest size.
fn sealed_bytes() {
    let (_, slot, place, keys) = seals::fixed();
    for (at, key) in keys.iter().enumerate() {
        let written = Written { content: SEED.to_vec(), introduces: None };
        let sealed = seal(&written, &slot, &place, &key.to_card().expect("a key")).expect("sealed bytes");
        write("sealed", &at.to_string(), sealed);
    }
}

/// What clients write. The target puts what they cannot guess in the place of words that begin with `$`.
fn plaintexts() {
    for (name, json) in [
        ("message", r#"{"id":"1","kind":"msg","text":"hi","name":"al","mailbox":{"version":1,"invite":"$INVITE"}}"#),
        ("acknowledgement", r#"{"id":"$SENT","kind":"ack","mailbox":{"version":1}}"#),
        ("request", r#"{"id":"1","kind":"contact_request","code":"$CODE","card":$CARD}"#),
        ("other", r#"{"id":"1","kind":"contact","name":"al","card":$CARD}"#),
    ] {
        write("plaintext", name, json);
    }
}
