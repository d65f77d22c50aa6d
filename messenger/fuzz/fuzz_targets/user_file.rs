//! Whatever somebody without the passphrase writes into the file of a user's store, it is opened as it was, or refused by name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_messenger::user::{NewCode, Profile};
use rendezvous_messenger_fuzz::{NOW, Store};

thread_local! {
    static WHOLE: (Store, Profile) = {
        let store = Store::new("alice");
        let profile = store.begin().profile().expect("a profile");
        (store, profile)
    };
}

fuzz_target!(|data: &[u8]| WHOLE.with(|(store, profile)| play(store, profile, data)));

fn play(store: &Store, whole: &Profile, data: &[u8]) {
    // What is changed: two octets of a place, counted over the file's end, and the new one there. Then how much is left out.
    let mut bytes = store.bytes().to_vec();
    let (changes, rest) = data.as_chunks::<3>();
    for [high, low, octet] in changes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[at] = *octet;
    }
    if let [shorter, ..] = rest {
        bytes.truncate(bytes.len() - usize::from(*shorter) * 64);
    }
    store.write(&bytes);
    let Ok(mut user) = store.open() else { return };
    if let Ok(profile) = user.profile() {
        assert_eq!(&profile, whole, "what the key has not sealed is read");
    }
    let _ = (user.contacts(), user.status(), user.outbox());
    let _ = (user.new_code(&NewCode::default(), NOW), user.set_profile(whole));
}
