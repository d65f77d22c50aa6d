//! Faults on demand, for the tests that show what they cost. Not compiled into a beacon.
//!
//! `/panic` panics in a request, with `?in=continuation` after a wait of it, with `?in=object` in the object of the
//! community `mainnet`. `POST /signature` says whether a signature would be accepted, given `[key, signature, message]`
//! in base64.

use std::cell::Cell;

use rendezvous_protocol::{base64, key::PublicKey};
use worker::Env;
use worker::js_sys::{Promise, futures::JsFuture, futures::future_to_promise};
use worker::wasm_bindgen::JsValue;
use worker::web_sys::{Request, Response};

use crate::runtime;
use crate::waiting::after;

const PANIC: &str = "/panic";

/// More than an object takes to panic, on a machine that has much else to do.
const PATIENCE_MS: u32 = 60_000;

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Answers a request that asks for a fault.
pub(crate) fn intercept(request: &Request, env: &Env) -> Option<Result<JsValue, JsValue>> {
    // Memory in which code has panicked may be in any state: whoever is served from it is to notice.
    assert!(!PANICKED.get(), "served from memory in which code has panicked");
    let url = request.url();
    let asked = url.splitn(4, '/').nth(3)?;
    match asked {
        "panic" => panic_now(),
        "panic?in=continuation" => {
            let nothing = Promise::resolve(&JsValue::UNDEFINED);
            Some(after(&nothing, |_, _| panic_now()).map_err(|failure| failure.to_string().into()))
        }
        "panic?in=object" => Some(runtime::call_object(env, "mainnet", PANIC, PATIENCE_MS).map(Into::into)),
        "signature" => {
            let text = request.text();
            Some(text.map(|text| future_to_promise(async move { Ok(probe(text).await?.into()) }).into()))
        }
        _ => None,
    }
}

/// Panics where an object is asked to.
pub(crate) fn panic_if_asked(url: &str) {
    if url.ends_with(PANIC) {
        panic_now::<()>();
    }
}

#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_now<T>() -> T {
    PANICKED.set(true);
    panic!("injected")
}

async fn probe(text: Promise) -> Result<Response, JsValue> {
    let text = JsFuture::from(text).await?.as_string().unwrap_or_default();
    let [key, signature, message]: [String; 3] = serde_json::from_str(&text).unwrap_or_default();
    let accepted = match (base64::decode_array(&key), base64::decode_array(&signature), base64::decode(&message)) {
        (Some(key), Some(signature), Some(message)) => {
            let bytes = [&key[..], &signature, &message].concat();
            PublicKey::from_bytes(key).may_have_made(&signature)
                && JsFuture::from(runtime::verify_ed25519(&bytes)?).await?.is_truthy()
        }
        _ => false,
    };
    Response::new_with_opt_str(Some(&format!("{{\"accepted\":{accepted}}}")))
}
