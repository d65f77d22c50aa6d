//! Whatever stands in the files of a store of mailboxes, what is read is written and read again as the same, and can be used.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_messenger::collecting::{Judged, judge};
use rendezvous_messenger::own::OwnMailbox;
use rendezvous_messenger::recipient::{PendingMessage, Recipient};
use rendezvous_messenger::relay::HandedOverMessage;
use rendezvous_messenger_fuzz::{NOW, URL, seals};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::limits::DEPOSIT_MAX_LIFETIME;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a file, which is written and read again as the same.
fn read<T: DeserializeOwned + Serialize + PartialEq>(file: &[u8]) -> Option<T> {
    let read = serde_json::from_slice::<T>(file).ok()?;
    let written = serde_json::to_vec(&read).expect("it was read");
    assert!(serde_json::from_slice::<T>(&written).is_ok_and(|again| again == read));
    Some(read)
}

fuzz_target!(|data: &[u8]| {
    // A mailbox, a contact or a message, and in the next line what a relay says.
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (file, said) = data.split_at(at);
    if let Some(mailbox) = read(file) {
        use_mailbox(mailbox, said);
    }
    if let Some(recipient) = read(file) {
        write_to(recipient, said);
    }
    if let Some(pending) = read::<PendingMessage>(file) {
        pending.file();
    }
});

fn use_mailbox(mut mailbox: OwnMailbox, said: &[u8]) {
    let (owner, _, place, _) = seals::fixed();
    let address = place.mailbox;
    mailbox.settle(NOW);
    if let Ok(handed_over) = serde_json::from_slice::<HandedOverMessage>(said)
        && let Ok(Judged::New(message)) = judge(&handed_over, &mailbox, address, NOW)
    {
        mailbox.note_shown(&message.incoming, NOW);
        let _ = mailbox.accept_shown(message.content_id(), NOW);
        let _ = mailbox.accept(&message.incoming, NOW);
    }
    for slot in mailbox.slots.clone() {
        let _ = mailbox.acknowledgement(slot.key, &owner, address, NOW);
    }
    let _ = (mailbox.card(&owner), mailbox.policy(&owner), mailbox.close(&owner));
    let _ = mailbox.question(&owner, address, URL, 3, [0; 16], NOW);
    mailbox.revise(NOW);
    mailbox.exceed(mailbox.revision, NOW);
    let _ = (mailbox.card(&owner), mailbox.policy(&owner), mailbox.lagging());
    let written = serde_json::to_vec(&mailbox).expect("it was read");
    assert!(serde_json::from_slice::<OwnMailbox>(&written).is_ok_and(|again| again == mailbox));
}

fn write_to(mut recipient: Recipient, said: &[u8]) {
    let (_, from, ..) = seals::fixed();
    let name = "bob".parse().expect("a name");
    let _ = (recipient.card(), recipient.relays(), recipient.sealing_key(&name, NOW));
    let life = (NOW, NOW.after(DEPOSIT_MAX_LIFETIME));
    let mut pending: Vec<_> = [false, true]
        .into_iter()
        .filter_map(|waits| recipient.write(&name, &from, b"text".to_vec(), waits, life).ok())
        .collect();
    for message in &pending {
        assert!(
            recipient.slots().all(|slot| slot.key().public_key() != message.slot || slot.sequence >= message.sequence)
        );
    }
    if let Some(ack) = str::from_utf8(said).ok().and_then(|said| Signed::parse(said.trim()).ok()) {
        let _ = recipient.take_ack(ack, NOW, &mut pending);
    }
    if let Some(card) = str::from_utf8(said).ok().and_then(|said| Signed::parse(said.trim()).ok()) {
        let _ = recipient.take_card(card, NOW);
    }
    let written = serde_json::to_vec(&recipient).expect("it was read");
    assert!(serde_json::from_slice::<Recipient>(&written).is_ok_and(|again| again == recipient));
}
