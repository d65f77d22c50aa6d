//! Whatever parses as a root has one normal form, and follows on another only with the signatures that it needs;
//! whatever parses as a signatures file is nothing but lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rendezvous_protocol::limits::{ROLE_MAX_KEYS, ROOT_MAX_BYTES, SIGNATURES_MAX_LINES};
use rendezvous_protocol::root::{Role, Root};
use rendezvous_protocol::signatures::Signatures;
use rendezvous_protocol_fuzz::key;

fuzz_target!(|data: &[u8]| {
    if let Ok(signatures) = Signatures::parse(data) {
        assert!((1..=SIGNATURES_MAX_LINES).contains(&signatures.len()));
        let text = signatures.to_text();
        assert!(text.len() <= data.len() + 1, "only the order of lines and white space are changed");
        assert_eq!(Signatures::parse(text.as_bytes()).map(|again| again.to_text()), Ok(text));
    }

    let root = match Root::parse(data) {
        Ok(root) => root,
        Err(error) => {
            assert!(matches!(error.code(), "MALFORMED" | "UNSUPPORTED_VERSION"), "{error}");
            return;
        }
    };
    assert!(data.len() <= ROOT_MAX_BYTES);
    for role in [root.root_keys(), root.publisher_keys()] {
        assert!((1..=ROLE_MAX_KEYS).contains(&role.keys().len()));
        assert!((1..=role.keys().len()).contains(&role.threshold()));
    }
    assert!(root.root_keys().keys().is_disjoint(root.publisher_keys().keys()));

    // Written again it is the same root, and the same bytes each time.
    let json = root.to_json();
    assert_eq!(Root::parse(json.as_bytes()).as_ref(), Ok(&root));

    // Given the right root before it, it still needs its own keys' signatures; nobody has those of what a fuzzer makes.
    let signatures = signed(data);
    if root.root_keys().keys().contains(&key().public_key()) {
        return;
    }
    let Some(before) = root.root_version().checked_sub(1).filter(|before| *before > 0) else { return };
    let signer = Role::new(1, [key().public_key()].into()).expect("one of one");
    let publisher = root.publisher_keys().clone();
    let Ok(before) = Root::new(root.community().clone(), before, root.expires_at(), signer, publisher) else { return };
    let code = |signatures| before.succeed(data, signatures).map_err(|error| error.code());
    assert_eq!(code(&signatures), Err("THRESHOLD_NOT_MET"));
    assert_eq!(code(&Signatures::default()), Err("THRESHOLD_NOT_MET"));
});

/// The signature of the root before.
fn signed(data: &[u8]) -> Signatures {
    let mut signatures = Signatures::default();
    signatures.add(key().public_key(), key().sign(data));
    signatures
}
