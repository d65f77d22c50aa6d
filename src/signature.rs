//! Ed25519 by the runtime, whose own code is faster than what WebAssembly can run.
//!
//! WebCrypto computes the plain equation of RFC 8032 and nothing more. What the one acceptance rule asks besides,
//! `rendezvous-protocol` has checked in an [`Unproven`] ticket, and a test in workerd holds both together to all of
//! Wycheproof's cases.

use std::cell::RefCell;

use rendezvous_protocol::limits::SIGNATURE_CACHE_TICKETS;
use rendezvous_protocol::signature_cache::SignatureCache;
use rendezvous_protocol::ticket::{TicketError, Unproven, VerifiedTicket};
use worker::js_sys::Promise;
use worker::wasm_bindgen::JsValue;

use crate::runtime;

thread_local! {
    static CACHE: RefCell<SignatureCache> = const { RefCell::new(SignatureCache::new(SIGNATURE_CACHE_TICKETS)) };
}

/// Whether this isolate has lately found this very ticket good.
pub(crate) fn is_cached(ticket: &Unproven) -> bool {
    CACHE.with_borrow(|cache| cache.contains(ticket))
}

/// Takes what [`verify_signature`] came to, and remembers a good ticket.
pub(crate) fn accept(ticket: Unproven, holds: bool) -> Result<VerifiedTicket, TicketError> {
    let ticket = ticket.accept(holds)?;
    CACHE.with_borrow_mut(|cache| cache.insert(&ticket));
    Ok(ticket)
}

/// Returns a promise of whether the signature of a ticket is one of its key over its payload.
pub(crate) fn verify_signature(ticket: &Unproven) -> Result<Promise, JsValue> {
    verify(ticket.public_key().as_bytes(), ticket.signature(), ticket.message())
}

/// An error is not a wrong signature but a runtime that does not do its work: 32 bytes that are no key are taken, and
/// fit no signature.
fn verify(key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> Result<Promise, JsValue> {
    runtime::verify_ed25519(&[key.as_slice(), signature, message].concat())
}

/// For the test that holds the runtime to the acceptance rule. Not compiled into a beacon.
#[cfg(feature = "fault-injection")]
pub(crate) const PROBE: &str = "/signature";

/// Says whether a signature would be accepted, given `[key, signature, message]` in base64.
#[cfg(feature = "fault-injection")]
pub(crate) async fn probe(request: worker::web_sys::Request) -> Result<crate::answer::Answer, crate::router::Failure> {
    use rendezvous_protocol::{base64, key::PublicKey};
    use worker::js_sys::futures::JsFuture;
    let text = JsFuture::from(request.text()?).await?.as_string().unwrap_or_default();
    let [key, signature, message]: [String; 3] = serde_json::from_str(&text).unwrap_or_default();
    let accepted = match (base64::decode_array(&key), base64::decode_array(&signature), base64::decode(&message)) {
        (Some(key), Some(signature), Some(message)) => {
            PublicKey::from_bytes(key).may_have_made(&signature)
                && JsFuture::from(verify(&key, &signature, &message)?).await?.is_truthy()
        }
        _ => false,
    };
    Ok(crate::answer::Answer::ok(&std::collections::BTreeMap::from([("accepted", accepted)]), None))
}
