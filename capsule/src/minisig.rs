//! The capsule's signature in minisign's format, `peers.json.minisig`: for those who would rather check with a program
//! that is not of this project (`minisign -V`).
//!
//! The format: <https://jedisct1.github.io/minisign/>, with the hash of the file signed ("ED"). Written here, with the
//! same key and the same Ed25519 as the other signatures, because the signatures of the crate `minisign` have
//! randomness in them, and the same capsule is to have the same bytes.

use blake2::{Blake2b512, Digest as _};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::time::UnixMillis;

/// In public keys.
const ALGORITHM: &[u8; 2] = b"Ed";
/// In signatures over the hash of a file.
const ALGORITHM_PREHASHED: &[u8; 2] = b"ED";

/// The public key as minisign's option `-P` takes it.
pub(crate) fn public_key(key: PublicKey) -> String {
    base64::encode(&[ALGORITHM.as_slice(), &key_id(key), key.as_bytes()].concat())
}

/// The file `peers.json.minisig` for these bytes of `peers.json`.
pub(crate) fn sign(json: &str, issued_at: UnixMillis, key: &PrivateKey) -> String {
    let signature = key.sign(&Blake2b512::digest(json.as_bytes()));
    let comment = format!("timestamp:{}\tfile:peers.json\tissuedAt:{issued_at}", issued_at.as_u64() / 1000);
    // Signed together, so that this comment cannot be put under another capsule.
    let global = key.sign(&[signature.as_slice(), comment.as_bytes()].concat());
    let signature = [ALGORITHM_PREHASHED.as_slice(), &key_id(key.public_key()), &signature].concat();
    format!(
        "untrusted comment: signature of a rendezvous-beacon capsule\n{}\ntrusted comment: {comment}\n{}\n",
        base64::encode(&signature),
        base64::encode(&global)
    )
}

/// What tells minisign which key it is. minisign's own are random; this one has to be the same every time, and on every
/// machine that knows the public key.
fn key_id(key: PublicKey) -> [u8; 8] {
    let mut id = [0; 8];
    for (byte, from) in id.iter_mut().zip(Blake2b512::digest(key.as_bytes())) {
        *byte = from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::from_seed(&[1; 32])
    }

    #[test]
    fn another_implementation_agrees() {
        let file = sign("{}\n", UnixMillis::saturating(1_700_000_000_123), &key());
        let public = minisign_verify::PublicKey::from_base64(&public_key(key().public_key())).unwrap();
        let signature = minisign_verify::Signature::decode(&file).unwrap();
        public.verify(b"{}\n", &signature, false).unwrap();
        assert_eq!(signature.trusted_comment(), "timestamp:1700000000\tfile:peers.json\tissuedAt:1700000000123");
        assert!(public.verify(b"{}", &signature, false).is_err());
        let other = public_key(PrivateKey::from_seed(&[2; 32]).public_key());
        assert!(minisign_verify::PublicKey::from_base64(&other).unwrap().verify(b"{}\n", &signature, false).is_err());
    }

    #[test]
    fn the_layout_is_pinned() {
        assert_eq!(public_key(key().public_key()), "RWTM93yUcw4JiIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c");
        let file = sign("", UnixMillis::saturating(0), &key());
        assert_eq!(file.lines().count(), 4);
        assert!(file.ends_with('\n'));
        assert_eq!(file, sign("", UnixMillis::saturating(0), &key()));
    }
}
