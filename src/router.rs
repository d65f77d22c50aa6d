//! From a request to its answer.

use std::cell::RefCell;
use std::sync::OnceLock;

use rendezvous_protocol::budget::Throttled;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES};
use rendezvous_protocol::listing::{Excerpt, Listing};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::request::{Exclusion, RequestError, TicketBody, choose_community, choose_limit};
use rendezvous_protocol::snapshot::SnapshotError;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;
use slab::Slab;
use worker::Env;
use worker::js_sys::futures::future_to_promise;
use worker::js_sys::{Date, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Request;

use crate::answer::Answer;
use crate::config::{Config, ConfigError};
use crate::listings::Age;
use crate::problem::Problem;
use crate::{community, journal, listings, runtime, signature, throttle};

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// Why the beacon could not do its work. It goes to the log; the client learns `INTERNAL`.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the variable {} is {:?}: it must be {}", .0.variable, .0.value, .0.expected)]
    Config(ConfigError),
    #[error("the runtime: {0}")]
    Runtime(String),
    #[error("the object answered {status}")]
    Object { status: u16 },
    #[error("a roster could not be written or read: {0}")]
    Snapshot(String),
    #[error("what was handed over to the object cannot be read: {0}")]
    HandOver(&'static str),
    #[error("a ticket handed over was not a ticket: {0}")]
    HandedTicket(#[from] TicketError),
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}

impl From<JsValue> for Failure {
    fn from(error: JsValue) -> Self {
        worker::Error::from(error).into()
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        Self::Snapshot(error.to_string())
    }
}

/// The time. Read once for each event.
pub(crate) fn clock() -> UnixMillis {
    UnixMillis::saturating(Date::now() as u64)
}

/// The configuration, parsed once in the life of an isolate.
pub(crate) fn config(env: &Env) -> Result<&'static Config, Failure> {
    static CONFIG: OnceLock<Result<Config, ConfigError>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        Config::parse(|name| {
            let value = Reflect::get(env, &name.into()).ok()?;
            // TOML's bare numbers arrive as numbers.
            value.as_string().or_else(|| value.as_f64().map(|number| number.to_string()))
        })
    });
    config.as_ref().map_err(|error| Failure::Config(error.clone()))
}

/// Logs a failure in full and answers without detail.
pub(crate) fn internal(now: UnixMillis, failure: &Failure) -> Answer {
    journal::failure("request_failed", failure);
    Problem::Internal.answer(now, &Excerpt::default())
}

/// Answers a request: with a `Response` where everything is at hand, because every wait costs, and else with a promise of
/// one.
pub(crate) fn respond(request: Request, env: Env) -> Result<JsValue, JsValue> {
    #[cfg(feature = "fault-injection")]
    check_memory();
    let now = clock();
    let served = config(&env).and_then(|config| Beacon { env, config, now }.serve(request));
    answered(now, served)
}

/// What a request comes to.
enum Served {
    Now(Answer),
    /// A promise of a `Response`.
    Later(JsValue),
}

impl From<Answer> for Served {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

fn answered(now: UnixMillis, served: Result<Served, Failure>) -> Result<JsValue, JsValue> {
    match served {
        Ok(Served::Now(answer)) => Ok(answer.into_response()?.into()),
        Ok(Served::Later(promise)) => Ok(promise),
        Err(failure) => Ok(internal(now, &failure).into_response()?.into()),
    }
}

/// What serving one request needs.
struct Beacon {
    env: Env,
    config: &'static Config,
    now: UnixMillis,
}

impl Beacon {
    fn serve(self, request: Request) -> Result<Served, Failure> {
        let described = runtime::describe_request(&request, self.config.client_address_header.as_deref())?;
        let mut lines = described.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (method, url, address, autonomous_system, known) = (line(), line(), line(), line(), line());
        let client = Client { address: read_address(address), autonomous_system: autonomous_system.parse().ok() };
        let reads = matches!(method, "GET" | "HEAD");
        let writes = method == "POST";
        let (path, query) = path_and_query(url);
        let answer = match path {
            _ if method == "OPTIONS" => preflight(),
            "/announce" if writes => return self.take_ticket(&request, query, client, Purpose::Presence),
            "/leave" if writes => return self.take_ticket(&request, query, client, Purpose::Leave),
            "/peers" if reads => return self.list(query, client, known),
            "/healthz" if reads => self.health(),
            #[cfg(feature = "fault-injection")]
            PANIC => match parameter(query, "in").as_deref() {
                Some("object") => {
                    let answer = community::inject_panic(&self.env, &self.config.default_community)?;
                    return Ok(Served::Later(answer.into()));
                }
                Some("continuation") => {
                    return after(self.now, &Promise::resolve(&JsValue::UNDEFINED), |_| Ok(inject_panic().into()));
                }
                _ => inject_panic(),
            },
            #[cfg(feature = "fault-injection")]
            signature::PROBE => return Ok(later(self.now, async { Ok(signature::probe(request).await?.into()) })),
            "/announce" | "/leave" => self.plain(&Problem::MethodNotAllowed { allow: POST }),
            "/peers" | "/healthz" => self.plain(&Problem::MethodNotAllowed { allow: GET }),
            _ => self.plain(&Problem::NotFound),
        };
        Ok(answer.into())
    }

    /// `POST /announce` and `POST /leave`.
    fn take_ticket(self, request: &Request, query: &str, client: Client, purpose: Purpose) -> Result<Served, Failure> {
        let community = parameter(query, "community");
        if let Err(throttled) = throttle::spend(self.now, client, self.config)? {
            return Ok(self.throttled(throttled, community.as_deref()).into());
        }
        let now = self.now;
        after(now, &runtime::read_body(request, BODY_MAX_BYTES, BODY_MAX_READ_BYTES)?, move |body| {
            let body = Uint8Array::new(&body);
            // Before it is copied: not every request has come over HTTP, which would have seen to its length.
            let fits = body.length() as usize <= BODY_MAX_BYTES;
            let body = if fits { Ok(body.to_vec()) } else { Err(RequestError::BodyTooLarge) };
            self.judge(body, community.as_deref(), client, purpose)
        })
    }

    /// What a body comes to: the object's answer to the ticket in it, or what is wrong with it.
    fn judge(
        self,
        body: Result<Vec<u8>, RequestError>,
        community: Option<&str>,
        client: Client,
        purpose: Purpose,
    ) -> Result<Served, Failure> {
        let parsed = body.as_deref().map_err(Clone::clone).and_then(|body| {
            let body = TicketBody::parse(body)?;
            let community = self.community(community, body.community.as_deref())?;
            Ok((body.ticket, community))
        });
        let (ticket, community) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(self.plain(&error.into()).into()),
        };
        let ticket = match Ticket::parse(ticket, purpose) {
            Ok(ticket) => ticket,
            Err(error) => return self.with_list(Problem::Ticket(error), community, Exclusion::Nobody),
        };
        let caller = Exclusion::Claim(ticket.payload().peer_id.as_str().to_owned(), ticket.public_key());
        match ticket.check(&self.config.ticket_rules(&community), self.now) {
            Ok(unproven) if signature::is_known(&unproven) => {
                self.conclude(unproven.accept(true), caller, community, client)
            }
            Ok(unproven) => after(self.now, &signature::equation(&unproven)?, move |holds| {
                self.conclude(signature::accept(unproven, holds.is_truthy()), caller, community, client)
            }),
            Err(error) => self.conclude(Err(error), caller, community, client),
        }
    }

    fn conclude(
        self,
        verified: Result<VerifiedTicket, TicketError>,
        caller: Exclusion,
        community: Community,
        client: Client,
    ) -> Result<Served, Failure> {
        match verified {
            // As it comes, because whoever makes a new one of it copies every header.
            Ok(ticket) => {
                let answer = community::hand_over(&self.env, &community, client, &ticket)?;
                after(self.now, &answer, |answer| Ok(Served::Later(answer)))
            }
            Err(error) => self.with_list(Problem::Ticket(error), community, caller),
        }
    }

    /// `GET /peers`.
    fn list(self, query: &str, client: Client, known: &str) -> Result<Served, Failure> {
        let community = parameter(query, "community");
        if let Err(throttled) = throttle::spend(self.now, client, self.config)? {
            return Ok(self.throttled(throttled, community.as_deref()).into());
        }
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let limit = choose_limit(parameter(query, "limit").as_deref(), self.config.answer_limit)?;
            Ok((community, limit))
        });
        let (community, limit) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(self.plain(&error.into()).into()),
        };
        let exclude = Exclusion::parse(parameter(query, "exclude"));
        let make = |listing: &mut Listing| self.list_of(listing, &community, limit, &exclude, known);
        if let Some(list) = listings::read(self.now, &community, Age::Fresh, self.config, make) {
            return Ok(list.into());
        }
        let known = known.to_owned();
        Ok(later(self.now, async move {
            let make = |listing: &mut Listing| self.list_of(listing, &community, limit, &exclude, &known);
            Ok(self.fetched(&community, make).await?.into())
        }))
    }

    /// What `make` makes of the community's list, which the object is asked for and which is kept.
    async fn fetched<T>(&self, community: &Community, make: impl FnOnce(&mut Listing) -> T) -> Result<T, Failure> {
        let mut listing = community::listing(&self.env, community).await?;
        let made = make(&mut listing);
        listings::keep(self.now, community.clone(), listing);
        Ok(made)
    }

    fn list_of(
        &self,
        listing: &mut Listing,
        community: &Community,
        limit: usize,
        exclude: &Exclusion,
        known: &str,
    ) -> Answer {
        listing.expire(self.now);
        // Weak, because `serverTime` differs between two answers of one tag. What the URL says need not be in it.
        let tag = format!("W/\"{}\"", listing.tag(limit));
        let unchanged = matches(known, &tag);
        let headers =
            vec![("Cache-Control", format!("public, max-age={}", self.config.peers_max_age.as_secs())), ("ETag", tag)];
        if unchanged {
            return Answer::empty(304, headers);
        }
        let fields = List { ok: true, community: community.as_str(), server_time: self.now, total: listing.total() };
        Answer::ok(&fields, Some(&*listing.answer(limit, exclude.as_excluded()))).with_headers(headers)
    }

    fn health(&self) -> Answer {
        Answer::ok(&Health { ok: true, version: env!("CARGO_PKG_VERSION"), server_time: self.now }, None)
    }

    fn community(&self, query: Option<&str>, body: Option<&str>) -> Result<Community, RequestError> {
        let community = choose_community(query, body, &self.config.default_community)?;
        if self.config.serves(&community) { Ok(community) } else { Err(RequestError::CommunityUnknown(community)) }
    }

    /// A problem where no community is known.
    fn plain(&self, problem: &Problem) -> Answer {
        problem.answer(self.now, &Excerpt::default())
    }

    /// A problem with the community's list: a peer that is refused still finds others.
    fn with_list(self, problem: Problem, community: Community, caller: Exclusion) -> Result<Served, Failure> {
        let refuse = |listing: &mut Listing| self.refusal(&problem, listing, &caller);
        if let Some(refusal) = listings::read(self.now, &community, Age::Fresh, self.config, refuse) {
            return Ok(refusal.into());
        }
        Ok(later(self.now, async move {
            let refuse = |listing: &mut Listing| self.refusal(&problem, listing, &caller);
            let refusal = self.fetched(&community, refuse).await.unwrap_or_else(|failure| {
                journal::failure("list_unavailable", &failure);
                self.with_kept_list(&problem, &community, &caller)
            });
            Ok(refusal.into())
        }))
    }

    /// The same with whatever list is at hand, because a request over its budget must not cost the object anything.
    fn throttled(&self, throttled: Throttled, community: Option<&str>) -> Answer {
        let problem = Problem::Throttled(throttled);
        match self.community(community, None) {
            Ok(community) => self.with_kept_list(&problem, &community, &Exclusion::Nobody),
            Err(_) => self.plain(&problem),
        }
    }

    fn with_kept_list(&self, problem: &Problem, community: &Community, caller: &Exclusion) -> Answer {
        let refuse = |listing: &mut Listing| self.refusal(problem, listing, caller);
        listings::read(self.now, community, Age::Any, self.config, refuse).unwrap_or_else(|| self.plain(problem))
    }

    fn refusal(&self, problem: &Problem, listing: &mut Listing, caller: &Exclusion) -> Answer {
        listing.expire(self.now);
        problem.answer(self.now, &listing.answer(self.config.answer_limit, caller.as_excluded()))
    }
}

type Continuation = Box<dyn FnOnce(Result<JsValue, JsValue>) -> Result<JsValue, JsValue>>;

thread_local! {
    static WAITING: RefCell<Slab<Continuation>> = const { RefCell::new(Slab::new()) };
    static RESUME: Closure<dyn FnMut(usize, JsValue, bool) -> Result<JsValue, JsValue>> =
        Closure::new(|waiting, value, failed| {
            let next = WAITING.with_borrow_mut(|continuations| continuations.try_remove(waiting));
            let next = next.ok_or_else(|| JsValue::from("nobody waits for this"))?;
            next(if failed { Err(value) } else { Ok(value) })
        });
}

/// A promise of what `next` makes of what `promise` comes to.
///
/// A future would read better, but its executor takes a microtask for every step. And a closure of its own for every
/// wait would be one more thing for the garbage collector of JavaScript to finalise.
fn after(
    now: UnixMillis,
    promise: &Promise,
    next: impl FnOnce(JsValue) -> Result<Served, Failure> + 'static,
) -> Result<Served, Failure> {
    let next = move |value: Result<JsValue, JsValue>| answered(now, value.map_err(Failure::from).and_then(next));
    let waiting = WAITING.with_borrow_mut(|continuations| continuations.insert(Box::new(next)));
    Ok(Served::Later(RESUME.with(|resume| runtime::settle(promise, resume, waiting))?))
}

/// A promise of what `work` comes to.
fn later(now: UnixMillis, work: impl Future<Output = Result<Served, Failure>> + 'static) -> Served {
    Served::Later(future_to_promise(async move { answered(now, work.await) }).into())
}

/// `GET /peers`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    ok: bool,
    community: &'a str,
    server_time: UnixMillis,
    total: usize,
}

/// `GET /healthz`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    ok: bool,
    version: &'static str,
    server_time: UnixMillis,
}

fn preflight() -> Answer {
    Answer::empty(
        204,
        vec![
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS".to_owned()),
            ("Access-Control-Allow-Headers", "Content-Type, Authorization".to_owned()),
            ("Access-Control-Max-Age", "86400".to_owned()),
        ],
    )
}

/// The path and the query of a URL as the runtime writes it: absolute, and with a path. Parsing it once more would take
/// half of the `url` crate into the Worker, and its tables of Unicode.
pub(crate) fn path_and_query(url: &str) -> (&str, &str) {
    let (url, _fragment) = url.split_once('#').unwrap_or((url, ""));
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let host_at = before.find("://").map_or(0, |scheme_ends| scheme_ends + "://".len());
    let path = before.get(host_at..).and_then(|rest| rest.get(rest.find('/')?..));
    (path.unwrap_or("/"), query)
}

fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether an `If-None-Match` header names `tag`, compared weakly (RFC 9110, section 13.1.2).
fn matches(known: &str, tag: &str) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.trim().strip_prefix("W/").unwrap_or(tag.trim())
    }
    known.trim() == "*" || known.split(',').any(|known| opaque(known) == opaque(tag))
}

/// For the test that shows what a panic costs. Not compiled into a beacon.
#[cfg(feature = "fault-injection")]
pub(crate) const PANIC: &str = "/panic";

#[cfg(feature = "fault-injection")]
thread_local! {
    static PANICKED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(feature = "fault-injection")]
#[expect(clippy::panic, reason = "that is what it is for")]
pub(crate) fn inject_panic() -> Answer {
    PANICKED.set(true);
    panic!("injected")
}

/// Memory in which code has panicked may be in any state: whoever is served from it is to notice.
#[cfg(feature = "fault-injection")]
fn check_memory() {
    assert!(!PANICKED.get(), "served from memory in which code has panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_the_runtime_wrote_it() {
        for (url, expected) in [
            ("https://a.example/", ("/", "")),
            ("https://a.example/peers", ("/peers", "")),
            ("https://a.example/peers?", ("/peers", "")),
            ("https://a.example:8080/a/b?x=/y?z", ("/a/b", "x=/y?z")),
            ("https://a.example/peers?a#b?c", ("/peers", "a")),
            ("https://a.example/peers#b?c", ("/peers", "")),
            ("https://user:pass@a.example/%3F?x", ("/%3F", "x")),
        ] {
            assert_eq!(path_and_query(url), expected, "{url}");
        }
    }

    #[test]
    fn the_first_of_equal_parameters_counts() {
        assert_eq!(parameter("a=1&b=2&b=3", "b").as_deref(), Some("2"));
        assert_eq!(parameter("a=x+y%20%26", "a").as_deref(), Some("x y &"));
        assert_eq!(parameter("a", "a").as_deref(), Some(""));
        assert_eq!(parameter("a=1", "b"), None);
    }
}
