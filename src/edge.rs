//! The Worker: carries out the steps of a request.

use std::time::Duration;

use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES, GUEST_BODY_MAX_BYTES};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::ticket::Unverified;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::call::{OBJECT_TIMEOUT, ObjectError};
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::goop2::{GuestStep, OpenGuest};
use rendezvous_service::live::Opening;
use rendezvous_service::mailbox::MailboxStep;
use rendezvous_service::platform::{AddressSource, Platform};
use rendezvous_service::problem::internal;
use rendezvous_service::retalk::{AskRetalk, RetalkCall, RetalkStep};
use worker::Env;
use worker::js_sys::{Array, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::{Request, Response};

use crate::environment::{Failure, clock, config, millis};
use crate::isolate::with_edge;
use crate::runtime::{COMMUNITY, MAILBOX};
use crate::waiting::{after, answered};
use crate::{bodies, guests, journal, listening, live, respond, runtime};

/// Answers a request: with a `Response` where everything is at hand, because every wait costs, and else with a promise of
/// one.
pub(crate) fn respond(request: Request, env: Env, context: JsValue) -> Result<JsValue, JsValue> {
    #[cfg(feature = "fault-injection")]
    if let Some(answer) = crate::faults::intercept(&request, &env) {
        return answer;
    }
    let now = clock();
    answered(now, Host { request, env, context, client: Client::default() }.receive(now))
}

/// Makes a step of a request's body, or of why there is none.
type WithBody = Box<dyn FnOnce(&mut Edge, UnixMillis, Result<Vec<u8>, RequestError>) -> Step>;

/// Holds what the steps of one request need.
struct Host {
    request: Request,
    env: Env,
    /// The runtime's: what is to go on after the answer is handed to it.
    context: JsValue,
    client: Client,
}

impl Host {
    fn receive(mut self, now: UnixMillis) -> Result<JsValue, Failure> {
        let config = config(&self.env)?;
        let header = match Platform::CLOUDFLARE.address_source(config) {
            AddressSource::Header(name) if !Platform::CLOUDFLARE.says_autonomous_system(config) => Some(name),
            AddressSource::Header(_) | AddressSource::Connection => None,
        };
        let described = runtime::describe_request(&self.request, header)?;
        let mut lines = described.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (method, url, address, autonomous_system, more, length) = (line(), line(), line(), line(), line(), line());
        let (origin, if_none_match) = if method == "POST" { (more, "") } else { ("", more) };
        let origin = Some(origin).filter(|origin| !origin.is_empty());
        let address = read_address(address);
        let body_bytes = length.parse().ok();
        let head =
            Head { method, url, address, autonomous_system, if_none_match, origin, body_bytes, ..Head::default() };
        self.client = head.client();
        let step = with_edge(&self.env, |edge| edge.receive(now, &head))?;
        self.carry_out(now, step)
    }

    fn go_on(self, now: UnixMillis, next: impl FnOnce(&mut Edge) -> Step) -> Result<JsValue, Failure> {
        let step = with_edge(&self.env, next)?;
        self.carry_out(now, step)
    }

    fn carry_out(self, now: UnixMillis, step: Step) -> Result<JsValue, Failure> {
        match step {
            Step::Answer(answer) => Ok(respond::with(&answer)?.into()),
            Step::Asset(asset) => after(&respond::with_asset(&self.env, asset)?, |_, answer| Ok(answer?)),
            Step::ReadHeaders(read) => {
                let headers = self.request.headers();
                self.go_on(now, |edge| read.resume(edge, now, |name| headers.get(name).ok().flatten()))
            }
            Step::ReadBody(read) => {
                let next = move |edge: &mut Edge, now, body| read.resume(edge, now, body);
                self.read_body(now, (BODY_MAX_BYTES, BODY_MAX_READ_BYTES), Box::new(next))
            }
            Step::Verify(verify) => after(&verify_signature(verify.ticket())?, move |now, holds| {
                let holds = holds?.is_truthy();
                self.go_on(now, |edge| verify.resume(edge, now, holds))
            }),
            Step::Relay(relay) => {
                let patience_ms = millis(relay.time_left(now));
                let answer = runtime::call_object(&self.env, &relay.object(), &relay.call().to_path(), patience_ms)?;
                after(&answer, move |now, answer| match answer {
                    // As it comes, because whoever makes a new one of it copies every header.
                    Ok(answer) => Ok(answer),
                    Err(error) => {
                        let error = object_error(error);
                        self.go_on(now, |edge| relay.failed(edge, now, &error))
                    }
                })
            }
            Step::OpenLive(open) => {
                let patience_ms = millis(open.time_left());
                let (object, what) = (open.object(), open.opening().to_path());
                let answer = runtime::open_socket(&self.env, COMMUNITY, object, &what, patience_ms)?;
                after(&answer, move |now, answer| {
                    let answer = answer.map_err(object_error).and_then(|answer| {
                        let answer: Response = answer.unchecked_into();
                        Ok(Opening::outcome(answer.status())?.map(|()| answer))
                    });
                    match answer {
                        Ok(Ok(opened)) => Ok(live::serve(now, &self.request, *open, &opened)?.into()),
                        Ok(Err(full)) => Ok(respond::with(&full.answer(now))?.into()),
                        Err(error) => self.go_on(now, |edge| open.failed(edge, now, &error)),
                    }
                })
            }
            Step::Mailbox(step) => self.carry_out_mail(now, *step),
            Step::Guest(step) => self.carry_out_guest(now, *step),
            Step::Retalk(step) => self.carry_out_retalk(now, *step),
            // This edge is not one with other doors for other systems' clients, with a hub, or with templates.
            Step::Hivemind(_) | Step::Directory(_) | Step::Registration(_) | Step::Envelope(_) | Step::Template(_) => {
                Ok(respond::with(&internal(clock()))?.into())
            }
            Step::FetchList(fetch) => {
                let (object, what) = (fetch.object(), fetch.call().to_path());
                let patience_ms = millis(fetch.patience());
                let left_ms = millis(fetch.time_left(now));
                let list = runtime::fetch_list(&self.env, &self.context, &object, &what, patience_ms, left_ms)?;
                after(&list, move |now, list| self.go_on(now, |edge| fetch.resume(edge, now, || text_of(list))))
            }
        }
    }

    /// Reads the body, of at most so many bytes; of one that is longer so many are read.
    fn read_body(self, now: UnixMillis, most: (usize, usize), next: WithBody) -> Result<JsValue, Failure> {
        let (reading, body) = bodies::read(now, &self.request, self.client, most)?;
        after(&body, move |now, body| {
            let body = reading.end(&body?);
            self.go_on(now, |edge| next(edge, now, body))
        })
    }

    fn carry_out_guest(self, now: UnixMillis, step: GuestStep) -> Result<JsValue, Failure> {
        let patience_ms = millis(OBJECT_TIMEOUT);
        match step {
            GuestStep::ReadPresence(read) => {
                let next = move |edge: &mut Edge, _, body| edge.read_presence(read, body);
                self.read_body(now, (GUEST_BODY_MAX_BYTES, GUEST_BODY_MAX_BYTES + BODY_MAX_READ_BYTES), Box::new(next))
            }
            GuestStep::Ask(ask) => {
                let object = ask.community().to_string();
                let call = ask.into_call();
                let (what, body) = (call.to_path(), call.to_body());
                let answer = runtime::ask_object(&self.env, COMMUNITY, &object, &what, &body, patience_ms)?;
                after(&answer, move |now, answer| self.guest_answer(now, answer, |_, answer| Ok(answer)))
            }
            GuestStep::Open(open) => {
                // One that takes no place asks for none.
                let Some(opening) = open.opening() else {
                    return Ok(guests::serve(now, &self.request, open, None)?.into());
                };
                let (object, what) = (open.community().as_str(), opening.to_path());
                let answer = runtime::open_socket(&self.env, COMMUNITY, object, &what, patience_ms)?;
                after(&answer, move |now, answer| {
                    self.guest_answer(now, answer, |host, answer| {
                        let opened: &Response = answer.unchecked_ref();
                        if !OpenGuest::is_opened(opened.status()) {
                            return Ok(answer);
                        }
                        Ok(guests::serve(now, &host.request, open, Some(opened))?.into())
                    })
                })
            }
        }
    }

    /// Goes on with what an object has answered, or without.
    fn guest_answer(
        self,
        now: UnixMillis,
        answer: Result<JsValue, JsValue>,
        next: impl FnOnce(&Self, JsValue) -> Result<JsValue, Failure>,
    ) -> Result<JsValue, Failure> {
        match answer {
            Ok(answer) => next(&self, answer),
            Err(error) => {
                let error = object_error(error);
                self.go_on(now, |edge| edge.guest_failed(now, &error))
            }
        }
    }

    fn carry_out_mail(self, now: UnixMillis, step: MailboxStep) -> Result<JsValue, Failure> {
        match step {
            MailboxStep::ReadBody(read) => {
                let most = read.most();
                let next = move |edge: &mut Edge, now, body| edge.read_records(now, read, body);
                self.read_body(now, (most, most + BODY_MAX_READ_BYTES), Box::new(next))
            }
            MailboxStep::Verify(verify) => after(&verify_each(&verify.to_bytes())?, move |now, fit| {
                let fit = each_of(&fit?).iter().all(|fits| *fits);
                self.go_on(now, |edge| edge.records_verified(now, verify, fit))
            }),
            MailboxStep::Listen(open) => Ok(listening::serve(now, &self.env, open)?.into()),
            // This relay is not one with peers.
            MailboxStep::Replicate(_) => Ok(respond::with(&internal(clock()))?.into()),
            MailboxStep::Ask(ask) => {
                let answer = self.ask_mail(&ask.object().to_string(), &ask.call().to_text(), OBJECT_TIMEOUT)?;
                after(&answer, move |now, answer| match answer {
                    Ok(answer) => match ask.next(answer.unchecked_ref::<Response>().status()) {
                        Some(next) => self.carry_out_mail(now, MailboxStep::Ask(next)),
                        None => Ok(answer),
                    },
                    Err(error) => {
                        let error = object_error(error);
                        self.go_on(now, |edge| edge.mailbox_failed(now, &error))
                    }
                })
            }
        }
    }

    fn carry_out_retalk(self, now: UnixMillis, step: RetalkStep) -> Result<JsValue, Failure> {
        match step {
            RetalkStep::ReadBody(read) => {
                let most = read.most();
                let next = move |edge: &mut Edge, now, body| edge.read_retalk(now, read, body);
                self.read_body(now, (most, most + BODY_MAX_READ_BYTES), Box::new(next))
            }
            RetalkStep::Verify(verify) => after(&verify_each(&verify.to_bytes())?, move |now, fit| match fit {
                Ok(fit) => {
                    let fit = verify.fit(&each_of(&fit));
                    self.go_on(now, |edge| edge.retalk_verified(now, verify, fit))
                }
                Err(error) => self.retalk_failed(now, verify.is_send(), &object_error(error)),
            }),
            RetalkStep::Ask(ask) => {
                let Some(place) = ask.place() else { return self.ask_retalk(now, ask) };
                let answer = self.ask_mail(&place.object().to_string(), &place.to_text(), OBJECT_TIMEOUT)?;
                after(&answer, move |now, answer| match retalk_answer(answer) {
                    Ok(answer) if answer.ok() => self.ask_retalk(now, ask),
                    Ok(refused) => after(&refused.text()?, |_, body| {
                        let body = body?.as_string().unwrap_or_default();
                        Ok(respond::with(&AskRetalk::no_place(&body))?.into())
                    }),
                    Err(error) => self.retalk_failed(now, ask.is_send(), &error),
                })
            }
        }
    }

    fn ask_retalk(self, now: UnixMillis, ask: AskRetalk) -> Result<JsValue, Failure> {
        let is_send = ask.is_send();
        let (call, then) = ask.into_calls();
        let answer = match self.ask_mail(&call.name(), &call.to_text(), AskRetalk::PATIENCE) {
            Ok(answer) => answer,
            Err(error) => return self.retalk_failed(now, is_send, &object_error(error)),
        };
        after(&answer, move |now, answer| match retalk_answer(answer) {
            Ok(answer) => {
                if let Some(then) = then {
                    self.tell_retalk(&then);
                }
                Ok(answer.into())
            }
            Err(error) => self.retalk_failed(now, is_send, &error),
        })
    }

    fn retalk_failed(self, now: UnixMillis, is_send: bool, error: &ObjectError) -> Result<JsValue, Failure> {
        self.go_on(now, |edge| edge.retalk_failed(now, is_send, error))
    }

    /// Tells a mailbox something without waiting. The answer to the client is the same whatever comes of it.
    fn tell_retalk(&self, call: &RetalkCall) {
        let tell = || {
            let told = self.ask_mail(&call.name(), &call.to_text(), OBJECT_TIMEOUT)?;
            let told = after(&told, |_, answer| {
                if let Err(error) = retalk_answer(answer) {
                    journal::failure("request_failed", &error);
                }
                Ok(JsValue::UNDEFINED)
            })?;
            Ok::<_, Failure>(runtime::wait_until(&self.context, &told)?)
        };
        if let Err(failure) = tell() {
            journal::failure("request_failed", &failure);
        }
    }

    /// Asks an object that has mail. Returns a promise of its answer.
    fn ask_mail(&self, object: &str, call: &str, patience: Duration) -> Result<Promise, JsValue> {
        runtime::ask_object(&self.env, MAILBOX, object, "", call, millis(patience))
    }
}

/// Returns what an object has answered, unless it says that it could not.
fn retalk_answer(answer: Result<JsValue, JsValue>) -> Result<Response, ObjectError> {
    let answer: Response = answer.map_err(object_error)?.unchecked_into();
    AskRetalk::outcome(answer.status()).map(|()| answer)
}

fn verify_each(signatures: &[Vec<u8>]) -> Result<Promise, JsValue> {
    runtime::verify_each_ed25519(signatures.iter().map(|bytes| Uint8Array::from(bytes.as_slice())).collect())
}

/// Reads what [`verify_each`] comes to.
fn each_of(fit: &JsValue) -> Vec<bool> {
    Array::from(fit).iter().map(|fits| fits.is_truthy()).collect()
}

/// Returns a promise of whether the signature of a ticket is one of its key over its payload.
///
/// The runtime's own code is faster than what WebAssembly can run. It computes the plain equation of RFC 8032 and nothing
/// more: what the one acceptance rule asks besides has been checked in an [`Unverified`] ticket. An error is not a wrong
/// signature but a runtime that does not do its work: 32 bytes that are not a key are taken, and fit no signature.
fn verify_signature(ticket: &Unverified) -> Result<Promise, JsValue> {
    let key = ticket.public_key();
    runtime::verify_ed25519(&[key.as_bytes().as_slice(), ticket.signature(), ticket.message()].concat())
}

fn text_of(list: Result<JsValue, JsValue>) -> Result<String, ObjectError> {
    let list = list.map_err(object_error)?;
    list.as_string().ok_or_else(|| ObjectError::Status { status: list.as_f64().unwrap_or_default() as u16 })
}

fn object_error(error: JsValue) -> ObjectError {
    // Properties of the runtime's errors about objects, and of those that `runtime.js` makes.
    let is = |property: &str| Reflect::get(&error, &property.into()).is_ok_and(|value| value.is_truthy());
    if is("timedOut") {
        return ObjectError::TimedOut;
    }
    let is_busy = is("retryable") || is("overloaded");
    let text = runtime::describe(&error);
    if is_busy { ObjectError::Busy(text) } else { ObjectError::Runtime(text) }
}
