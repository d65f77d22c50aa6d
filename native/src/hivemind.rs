//! What proves who a user of hivemind-rendezvous is: RSASSA-PSS, as ring checks it.

use rendezvous_protocol::hivemind::proof::Proof;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

/// Returns whether the signature of a proof fits. Its salt has as many bytes as the hash, 32.
pub(crate) fn verify_signature(proof: &Proof) -> bool {
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, proof.key().as_der());
    key.verify(proof.message(), proof.signature()).is_ok()
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::hivemind::request::UnverifiedRetrieval;
    use rendezvous_protocol::time::UnixMillis;
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../tests/vectors/hivemind/proofs.json");

    #[test]
    fn a_signature_fits_where_the_package_made_it_over_this_and_nowhere_else() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let now = UnixMillis::saturating(vectors["now"].as_u64().unwrap());
        let relay_name = vectors["relayName"].as_str().unwrap();
        let proofs = vectors["proofs"].as_array().unwrap();
        assert_eq!(proofs.iter().filter(|proof| proof["fits"] == true).count(), 9);
        for case in proofs {
            let body = case["body"].as_str().unwrap().as_bytes();
            let retrieval = UnverifiedRetrieval::parse(now, body, relay_name).unwrap();
            assert_eq!(verify_signature(retrieval.proof()), case["fits"] == true, "{}", case["name"]);
        }
    }
}
