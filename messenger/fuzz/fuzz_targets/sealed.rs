//! Whatever bytes a relay hands over as sealed, they are opened or refused; and what is sealed, of whatever was written, is opened
//! as that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_messenger::seal::{open, seal};
use rendezvous_messenger_fuzz::seals::{self, SEED};
use rendezvous_protocol::mailbox::plaintext::{Opened, Written};

fuzz_target!(|data: &[u8]| {
    let (owner, slot, place, keys) = seals::fixed();
    if let Ok(opened) = open(data, &place, &keys) {
        assert_eq!(opened.written.content, SEED, "nobody else has sealed it");
    }
    let _ = Opened::from_plaintext(data, &place);
    for key in &keys {
        let card = key.to_card().expect("a key");
        for introduces in [None, Some(owner.public_key())] {
            let written = Written { content: data.to_vec(), introduces };
            let Ok(sealed) = seal(&written, &slot, &place, &card) else { continue };
            let opened = open(&sealed, &place, &keys).expect("it is opened");
            assert!(opened.written == written && opened.from == slot.public_key());
            let mut torn = sealed.clone();
            for (byte, other) in torn.iter_mut().zip(data) {
                *byte ^= *other;
            }
            assert!(torn == sealed || open(&torn, &place, &keys).is_err(), "what was changed is opened");
        }
    }
});
