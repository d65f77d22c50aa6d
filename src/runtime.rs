//! The functions of `runtime.js`, where each is described.

use worker::Env;
use worker::js_sys::Promise;
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Headers, Request, Response};

/// Goes on: who waited, what came of it, whether that is an error, and the time in milliseconds.
pub(crate) type Resume = dyn FnMut(usize, JsValue, bool, f64) -> Result<JsValue, JsValue>;

#[wasm_bindgen(module = "/src/runtime.js")]
extern "C" {
    #[wasm_bindgen(catch, js_name = describeRequest)]
    pub(crate) fn describe_request(request: &Request, address_header: Option<&str>) -> Result<String, JsValue>;

    #[wasm_bindgen(catch, js_name = readBody)]
    pub(crate) fn read_body(
        request: &Request,
        most: usize,
        most_read: usize,
        timeout_ms: u32,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn respond(status: u16, headers: &Headers, more: Option<&str>, body: &[u8])
    -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = respondCounted)]
    pub(crate) fn respond_counted(
        status: u16,
        headers: &Headers,
        more: Option<&str>,
        body: &[u8],
    ) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = respondWithAsset)]
    pub(crate) fn respond_with_asset(env: &Env, file: &str, headers: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = verifyEd25519)]
    pub(crate) fn verify_ed25519(bytes: &[u8]) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = callObject)]
    pub(crate) fn call_object(env: &Env, object: &str, what: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = fetchList)]
    pub(crate) fn fetch_list(
        env: &Env,
        context: &JsValue,
        object: &str,
        what: &str,
        patience_ms: u32,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = objectIdentifier)]
    pub(crate) fn object_identifier(env: &Env, object: &str) -> Result<String, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn settle(promise: &Promise, resume: &Closure<Resume>, waiting: usize) -> Result<JsValue, JsValue>;
}
