//! Whatever a peer encrypts, it is shown once at most, acknowledged or refused, and changes nothing of the store that cannot be
//! read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_messenger::transport::Relay;
use rendezvous_messenger::user::{Disposition, NewCode};
use rendezvous_messenger_fuzz::{LooseRelay, NOW, Store, URL, may_fail};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::retalk::user::Identity;
use serde_json::{Value, json};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, SessionConfig};

/// Bob, to whom Alice writes, by Olm alone.
struct World {
    store: Store,
    relay: LooseRelay,
    account: Account,
    alice: String,
    bob: String,
    /// What stands in a plaintext for what it cannot guess.
    marks: [(&'static str, String); 4],
}

thread_local! {
    static WORLD: World = World::new();
}

fuzz_target!(|data: &[u8]| WORLD.with(|world| world.play(data)));

impl World {
    fn new() -> Self {
        let (mut store, relay, mut account) = (Store::new("bob"), LooseRelay::default(), Account::new());
        account.generate_fallback_key();
        let keys = [account.curve25519_key().to_base64(), account.ed25519_key().to_base64()];
        let identity = Identity::parse(&keys[0], &keys[1]).expect("keys");
        let [identity_key, signing_key] = keys;
        let alice = identity.user_id();
        let fallback = account.fallback_key().values().next().expect("a key").to_base64();
        let keys = json!({ "identity_key": identity_key, "signing_key": signing_key, "fallback_key": { "AAAAAAAAAAA": fallback } });
        relay.set_keys(alice.to_string(), keys);
        let mut user = store.begin();
        user.add("alice", alice, None).expect("a contact");
        let code = user.new_code(&NewCode { is_permanent: true, ..NewCode::default() }, NOW).expect("a code").code;
        let at = &Relay::new(URL, &relay).expect("a relay");
        user.maintain(at, NOW).expect("keys");
        let sent = user.send(at, alice, "hello", NOW).expect("a message").id;
        let bob = user.id().to_string();
        drop(user);
        store.keep();
        let card = json!({
            "name": "alice", "fingerprint": alice.to_string(), "identity_key": identity_key, "signing_key": signing_key,
        });
        let owner = PrivateKey::from_seed(&[1; 32]).public_key();
        let relays = vec![Origin::parse(URL).expect("an origin")];
        let invite = Invite::new([2; 32], owner, relays).and_then(|invite| invite.to_text()).expect("an invite");
        let marks = [("$CARD", card.to_string()), ("$CODE", code), ("$SENT", sent), ("$INVITE", invite)];
        Self { store, relay, account, alice: alice.to_string(), bob, marks }
    }

    fn play(&self, data: &[u8]) {
        let mut plaintext = String::from_utf8_lossy(data).into_owned();
        for (mark, text) in &self.marks {
            plaintext = plaintext.replace(mark, text);
        }
        let keys = self.relay.claim(&self.bob);
        let key = |name: &str| {
            let key = keys[name].as_str().and_then(|key| Curve25519PublicKey::from_base64(key).ok());
            key.expect("a key")
        };
        let session =
            self.account.create_outbound_session(SessionConfig::version_1(), key("identity_key"), key("one_time_key"));
        // What is not text comes as it is.
        let plaintext = if str::from_utf8(data).is_ok() { plaintext.as_bytes() } else { data };
        let (kind, body) = session.expect("a session").encrypt(plaintext).expect("a message").to_parts();
        let (kind, body) = (Value::from(kind), Value::from(base64::encode(&body)));

        let (relay, mut user, mut shown) = (self.relay.clone(), self.store.begin(), 0);
        // It comes, comes again, and comes once more to a program that was started anew.
        for round in 0..3 {
            if round == 2 {
                drop(user);
                user = self.store.open().expect("what was written is read");
            }
            relay.leave(self.bob.clone(), &self.alice, &kind, &body);
            let at = &Relay::new(URL, &relay).expect("a relay");
            for problem in may_fail(user.receive(at, NOW)).map(|report| report.problems).unwrap_or_default() {
                let _ = problem.to_string();
            }
            may_fail(user.deliver(&[], |_| {
                shown += 1;
                Disposition::Taken
            }));
            may_fail(user.acknowledge(at, NOW));
            may_fail(user.maintain(at, NOW));
        }
        assert!(shown <= 1, "it is shown twice");
        may_fail(user.status());
        may_fail(user.contacts());
        may_fail(user.codes());
    }
}
