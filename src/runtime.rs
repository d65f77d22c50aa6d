//! The functions of `runtime.js`, where each is described.

use worker::Env;
use worker::js_sys::{Array, Promise, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Headers, Request, Response, WebSocket};
use worker::worker_sys::{DurableObjectState, SqlStorage};

/// The binding of the class `Community`.
pub(crate) const COMMUNITY: &str = "COMMUNITY";

/// The binding of the class `Mailbox`.
pub(crate) const MAILBOX: &str = "MAILBOX";

/// Goes on: who waited, what came of it, whether that is an error, and the time in milliseconds.
pub(crate) type Resume = dyn FnMut(usize, JsValue, bool, f64) -> Result<JsValue, JsValue>;

/// Takes an event of a connection: the relay, which connection, what has happened, its value, and the time in milliseconds.
pub(crate) type Take = dyn FnMut(Relay, usize, u32, JsValue, f64) -> Result<f64, JsValue>;

/// Asks for room for so many bytes of a body, which has a number. Returns for how many there is.
pub(crate) type Grow = dyn FnMut(u32, usize) -> usize;

#[wasm_bindgen(module = "/src/runtime.js")]
extern "C" {
    /// What stands between the client and the object of one connection.
    pub(crate) type Relay;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn send(this: &Relay, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn pass(this: &Relay, before: &str, after: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn ask(this: &Relay, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn verify(this: &Relay, bytes: &[u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, js_name = listenTo)]
    pub(crate) fn listen_to(this: &Relay, opened: &Promise);

    #[wasm_bindgen(method)]
    pub(crate) fn end(this: &Relay, code: u16, reason: &str);

    #[wasm_bindgen(catch, js_name = openSocket)]
    pub(crate) fn open_socket(
        env: &Env,
        binding: &str,
        object: &str,
        what: &str,
        patience_ms: u32,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = serveSocket)]
    pub(crate) fn serve_socket(
        opened: &Response,
        take: &Closure<Take>,
        connection: usize,
        most: usize,
    ) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = serveUnopened)]
    pub(crate) fn serve_unopened(take: &Closure<Take>, connection: usize, most: usize) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = serveStream)]
    pub(crate) fn serve_stream(
        opened: &Response,
        take: &Closure<Take>,
        connection: usize,
        headers: &Headers,
        more: &str,
        patience_ms: u32,
        request: &Request,
    ) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = acceptSocket)]
    pub(crate) fn accept_socket(state: &DurableObjectState, connection: &str) -> Result<Response, JsValue>;

    #[wasm_bindgen(catch, js_name = connectionOf)]
    pub(crate) fn connection_of(state: &DurableObjectState, socket: &WebSocket) -> Result<String, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn attachments(state: &DurableObjectState) -> Result<Vec<String>, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn attach(state: &DurableObjectState, connection: &str, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn push(state: &DurableObjectState, connections: &str, text: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_name = closeSockets)]
    pub(crate) fn close_sockets(
        state: &DurableObjectState,
        connections: &str,
        code: u16,
        reason: &str,
    ) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_name = describeRequest)]
    pub(crate) fn describe_request(request: &Request, address_header: Option<&str>) -> Result<String, JsValue>;

    #[wasm_bindgen(catch, js_name = readBody)]
    pub(crate) fn read_body(
        request: &Request,
        most: usize,
        most_read: usize,
        timeout_ms: u32,
        room: usize,
        grow: &Closure<Grow>,
        body: u32,
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

    #[wasm_bindgen(catch, js_name = verifyEachEd25519)]
    pub(crate) fn verify_each_ed25519(all: Vec<Uint8Array>) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = callObject)]
    pub(crate) fn call_object(env: &Env, object: &str, what: &str, patience_ms: u32) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = askObject)]
    pub(crate) fn ask_object(
        env: &Env,
        binding: &str,
        object: &str,
        what: &str,
        body: &str,
        patience_ms: u32,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = readTexts)]
    pub(crate) fn read_texts(sql: &SqlStorage, query: &str) -> Result<Vec<String>, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn transact(state: &DurableObjectState, statements: &Array) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_name = eraseAll)]
    pub(crate) fn erase_all(state: &DurableObjectState) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = fetchList)]
    pub(crate) fn fetch_list(
        env: &Env,
        context: &JsValue,
        object: &str,
        what: &str,
        patience_ms: u32,
        left_ms: u32,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = objectIdentifier)]
    pub(crate) fn object_identifier(env: &Env, object: &str) -> Result<String, JsValue>;

    pub(crate) fn describe(error: &JsValue) -> String;

    pub(crate) fn delay(ms: u32) -> Promise;

    #[wasm_bindgen(catch, js_name = waitUntil)]
    pub(crate) fn wait_until(context: &JsValue, promise: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(catch, js_name = setAlarm)]
    pub(crate) fn set_alarm(state: &DurableObjectState, at: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = setLostAlarm)]
    pub(crate) fn set_lost_alarm(state: &DurableObjectState, at: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch)]
    pub(crate) fn settle(promise: &Promise, resume: &Closure<Resume>, waiting: usize) -> Result<JsValue, JsValue>;
}
