//! Whatever records a user's store has, no command ends but by an error by name, and what was read once is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_messenger::transport::Relay;
use rendezvous_messenger::user::{Disposition, NewCode, fuzzing};
use rendezvous_messenger_fuzz::{LooseRelay, NOW, Store, URL, may_fail};

thread_local! {
    static STORE: Store = Store::new("alice");
}

fuzz_target!(|data: &[u8]| STORE.with(|store| play(store, data)));

fn play(store: &Store, data: &[u8]) {
    // What is behind an empty line are the relay's answers, a line each.
    let at = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (records, answers) = data.split_at(at);
    fuzzing::put(&mut store.begin(), records).expect("records are written");
    let Some(mut user) = may_fail(store.open()) else { return };
    let loose = LooseRelay::default();
    let answers = answers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    loose.answers.borrow_mut().extend(answers.map(<[u8]>::to_vec));
    let relay = &Relay::new(URL, &loose).expect("a relay");
    may_fail(user.profile());
    may_fail(user.status());
    may_fail(user.expected(relay));
    may_fail(user.listen(relay, NOW));
    let contacts = may_fail(user.contacts()).unwrap_or_default();
    may_fail(user.receive(relay, NOW));
    may_fail(user.deliver(&[], |message| {
        message.shown_name();
        if message.redelivered { Disposition::Taken } else { Disposition::Kept }
    }));
    may_fail(user.acknowledge(relay, NOW));
    for outgoing in may_fail(user.outbox()).unwrap_or_default() {
        may_fail(user.resend(relay, &outgoing.id, NOW));
    }
    for redeemed in may_fail(user.redeemed()).unwrap_or_default().iter().take(8) {
        may_fail(user.note_told(redeemed));
    }
    may_fail(user.new_code(&NewCode::default(), NOW));
    for contact in contacts.iter().take(4) {
        may_fail(user.send(relay, contact.id, "text", NOW));
        may_fail(user.set_blocked(contact.id, !contact.is_blocked));
    }
    may_fail(user.maintain(relay, NOW));
}
