//! From a request to its answer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES, BODY_TIMEOUT, LIST_TIMEOUT};
use rendezvous_protocol::listing::{Excerpt, Listing};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::origin::is_foreign;
use rendezvous_protocol::rate_limit::RateLimited;
use rendezvous_protocol::request::{
    Exclusion, RequestError, TicketBody, choose_community, choose_limit, signs_community,
};
use rendezvous_protocol::roster::Excluded;
use rendezvous_protocol::snapshot::SnapshotError;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;
use slab::Slab;
use worker::Env;
use worker::js_sys::{Date, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::web_sys::Request;

use crate::answer::Answer;
use crate::community::AnnounceFields;
use crate::config::{Config, ConfigError};
use crate::objects::Attempt;
use crate::problem::Problem;
use crate::{community, journal, lists, rate_limit, runtime, signature};

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// Why the beacon could not do its work. It goes to the log; the client learns `INTERNAL`.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the variable {} is {:?}: it must be {}", .0.variable, .0.value, .0.expected)]
    Config(ConfigError),
    #[error("the runtime: {0}")]
    Runtime(String),
    #[error("the object is busy: {0}")]
    Busy(String),
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
        // Properties of the runtime's errors about objects.
        let is = |property: &str| Reflect::get(&error, &property.into()).is_ok_and(|value| value.is_truthy());
        let is_busy = is("retryable") || is("overloaded");
        let text = worker::Error::from(error).to_string();
        if is_busy { Self::Busy(text) } else { Self::Runtime(text) }
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
pub(crate) fn respond(request: Request, env: Env, context: JsValue) -> Result<JsValue, JsValue> {
    #[cfg(feature = "fault-injection")]
    check_memory();
    let now = clock();
    let served = config(&env).and_then(|config| Beacon { env, context, config, now }.serve(request));
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
    /// The runtime's: what is to go on after the answer is handed to it.
    context: JsValue,
    config: &'static Config,
    now: UnixMillis,
}

/// Who brings a ticket, and what for.
#[derive(Clone, Copy)]
struct Bringer {
    client: Client,
    purpose: Purpose,
    /// Whether a page of an origin does that is not the community's.
    is_foreign: bool,
}

/// Who is told what is wrong with a ticket.
struct Caller {
    claim: Exclusion,
    /// Whether the ticket signs a community. If not, the client may be one that takes any status but 2xx for an outage.
    signs_community: bool,
}

impl Beacon {
    fn serve(self, request: Request) -> Result<Served, Failure> {
        let described = runtime::describe_request(&request, self.config.client_address_header.as_deref())?;
        let mut lines = described.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (method, url, address, autonomous_system, more) = (line(), line(), line(), line(), line());
        let client = || self.client(address, autonomous_system);
        let bringer = |purpose| {
            let origin = Some(more).filter(|origin| !origin.is_empty());
            let is_foreign = purpose == Purpose::Presence && is_foreign(self.config.origins.as_ref(), origin);
            Bringer { client: client(), purpose, is_foreign }
        };
        let reads = matches!(method, "GET" | "HEAD");
        let writes = method == "POST";
        let (path, query) = path_and_query(url);
        let answer = match path {
            _ if method == "OPTIONS" => preflight(),
            "/announce" if writes => {
                let bringer = bringer(Purpose::Presence);
                return self.take_ticket(&request, query, bringer);
            }
            "/leave" if writes => {
                let bringer = bringer(Purpose::Leave);
                return self.take_ticket(&request, query, bringer);
            }
            "/peers" if reads => {
                let client = client();
                return self.list(query, client, more);
            }
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

    fn client(&self, address: &str, autonomous_system: &str) -> Client {
        let header = self.config.client_address_header.as_deref();
        let client = Client { address: read_address(address), autonomous_system: autonomous_system.parse().ok() };
        if client.address.is_none() {
            // Not what it holds: that may be most of an address.
            let header = header.unwrap_or("CF-Connecting-IP");
            let cause =
                format!("the header {header} of a request has no address: all such clients count as one household");
            journal::failure_once("client_address_unreadable", &cause);
        } else if header.is_none() && client.autonomous_system.is_none() {
            journal::note_once("autonomous_system_unknown", "an IPv4 /16 or an IPv6 /29 counts as a provider");
        }
        client
    }

    /// `POST /announce` and `POST /leave`.
    fn take_ticket(self, request: &Request, query: &str, bringer: Bringer) -> Result<Served, Failure> {
        let community = parameter(query, "community");
        if let Err(limited) = rate_limit::take(self.now, bringer.client, self.config)? {
            return Ok(self.rate_limited(limited, community.as_deref()).into());
        }
        let timeout_ms = u32::try_from(BODY_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        let body = runtime::read_body(request, BODY_MAX_BYTES, BODY_MAX_READ_BYTES, timeout_ms)?;
        after(self.now, &body, move |body| {
            let body = if body.is_null() {
                Err(RequestError::BodyBrokenOff)
            } else if body.is_undefined() {
                Err(RequestError::BodyTimeout)
            } else {
                let body = Uint8Array::new(&body);
                // Before it is copied: not every request has come over HTTP, which would have seen to its length.
                if body.length() as usize <= BODY_MAX_BYTES {
                    Ok(body.to_vec())
                } else {
                    Err(RequestError::BodyTooLarge)
                }
            };
            self.judge(body, community.as_deref(), bringer)
        })
    }

    /// What a body comes to: the object's answer to the ticket in it, or what is wrong with it.
    fn judge(
        self,
        body: Result<Vec<u8>, RequestError>,
        community: Option<&str>,
        bringer: Bringer,
    ) -> Result<Served, Failure> {
        let parsed = body.as_deref().map_err(Clone::clone).and_then(|body| {
            let body = TicketBody::parse(body)?;
            let community = self.community(community, body.community.as_deref())?;
            Ok((body.ticket, community))
        });
        let (json, community) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(self.plain(&error.into()).into()),
        };
        if let Err(limited) = rate_limit::admit(self.now, bringer.client, &community, self.config)? {
            return Ok(self.rate_limited(limited, Some(community.as_str())).into());
        }
        // Goodbyes are ours alone: their clients read every status.
        let told = |claim, signs_community| Caller {
            claim,
            signs_community: signs_community || bringer.purpose == Purpose::Leave,
        };
        let ticket = match Ticket::parse(json, bringer.purpose) {
            Ok(ticket) => ticket,
            Err(error) => {
                let caller = told(Exclusion::Nobody, signs_community(json));
                return self.refuse(error, community, caller);
            }
        };
        let claim = Exclusion::Claim(ticket.payload().peer_id.as_str().to_owned(), ticket.public_key());
        let caller = told(claim, ticket.payload().community.is_some());
        match ticket.check(&self.config.ticket_rules(&community), self.now) {
            Ok(unproven) if signature::is_cached(&unproven) => {
                self.conclude(unproven.accept(true), caller, community, bringer)
            }
            Ok(unproven) => after(self.now, &signature::verify_signature(&unproven)?, move |holds| {
                self.conclude(signature::accept(unproven, holds.is_truthy()), caller, community, bringer)
            }),
            Err(error) => self.refuse(error, community, caller),
        }
    }

    fn conclude(
        self,
        verified: Result<VerifiedTicket, TicketError>,
        caller: Caller,
        community: Community,
        bringer: Bringer,
    ) -> Result<Served, Failure> {
        match verified {
            Ok(ticket) if bringer.is_foreign => self.only_list(&ticket, caller, community),
            Ok(ticket) => {
                let attempt = Attempt::first(self.now, &community);
                self.hand_over(ticket, community, bringer.client, attempt)
            }
            Err(error) => self.refuse(error, community, caller),
        }
    }

    fn hand_over(
        self,
        ticket: VerifiedTicket,
        community: Community,
        client: Client,
        attempt: Attempt,
    ) -> Result<Served, Failure> {
        let answer = community::hand_over(&self.env, &community, attempt, client, &ticket)?;
        after_all(self.now, &answer, move |answer| match answer {
            // As it comes, because whoever makes a new one of it copies every header.
            Ok(answer) => Ok(Served::Later(answer)),
            Err(failure) => match attempt.next(self.now, &community, &failure) {
                Some(next) => self.hand_over(ticket, community, client, next),
                None => Err(failure),
            },
        })
    }

    /// Answers an announce with the list alone, as if it were a reader's request.
    fn only_list(self, ticket: &VerifiedTicket, caller: Caller, community: Community) -> Result<Served, Failure> {
        let expires_at = ticket.payload().expires_at;
        let name = community.clone();
        let make = move |beacon: &Self, listing: &mut Listing| {
            listing.expire(beacon.now);
            let total = listing.total();
            let fields = AnnounceFields {
                ok: true,
                accepted: false,
                listed: false,
                community: name.as_str(),
                server_time: beacon.now,
                expires_at,
                announce_after_ms: beacon.config.pacing.announce_after_millis(total, community::random()),
                total,
            };
            Answer::ok(&fields, Some(&*listing.answer(beacon.config.answer_limit, caller.claim.as_excluded())))
        };
        self.answer_from_list(community, make, |_, failure| Err(failure))
    }

    /// `GET /peers`.
    fn list(self, query: &str, client: Client, known: &str) -> Result<Served, Failure> {
        let community = parameter(query, "community");
        if let Err(limited) = rate_limit::take(self.now, client, self.config)? {
            return Ok(self.rate_limited(limited, community.as_deref()).into());
        }
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let limit = choose_limit(parameter(query, "limit").as_deref(), self.config.answer_limit)?;
            Ok((community, limit))
        });
        let (community, limit) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Ok(self.plain(&error.into()).into()),
        };
        if let Err(limited) = rate_limit::admit(self.now, client, &community, self.config)? {
            return Ok(self.rate_limited(limited, Some(community.as_str())).into());
        }
        let exclude = Exclusion::parse(parameter(query, "exclude"));
        let (name, known) = (community.clone(), known.to_owned());
        let make = move |beacon: &Self, listing: &mut Listing| {
            beacon.list_of(listing, &name, limit, exclude.as_excluded(), &known)
        };
        self.answer_from_list(community, make, |_, failure| Err(failure))
    }

    /// Answers with what `make` makes of the community's list: the one that is kept, or the object's, which then is.
    /// Where there is none to be had, `otherwise` answers.
    fn answer_from_list(
        self,
        community: Community,
        make: impl Fn(&Self, &mut Listing) -> Answer + 'static,
        otherwise: impl FnOnce(&Self, Failure) -> Result<Answer, Failure> + 'static,
    ) -> Result<Served, Failure> {
        let max_age = self.config.peers_max_age;
        if let Some(answer) = lists::read_fresh(self.now, &community, max_age, |listing| make(&self, listing)) {
            return Ok(answer.into());
        }
        let attempt = Attempt::first(self.now, &community);
        self.fetch_list(community, attempt, make, otherwise)
    }

    fn fetch_list(
        self,
        community: Community,
        attempt: Attempt,
        make: impl Fn(&Self, &mut Listing) -> Answer + 'static,
        otherwise: impl FnOnce(&Self, Failure) -> Result<Answer, Failure> + 'static,
    ) -> Result<Served, Failure> {
        let max_age = self.config.peers_max_age;
        // Whoever wants no list that is older than the request does not wait for one that was asked for before.
        let patience = if max_age.is_zero() { Duration::ZERO } else { LIST_TIMEOUT };
        let fetched = community::fetch_listing(&self.env, &self.context, &community, attempt, patience)?;
        after_all(self.now, &fetched, move |fetched| {
            // Of several who waited for one list, the first reads it for all.
            if let Some(answer) = lists::read_fresh(self.now, &community, max_age, |listing| make(&self, listing)) {
                return Ok(answer.into());
            }
            if let Err(failure) = &fetched
                && let Some(next) = attempt.next(self.now, &community, failure)
            {
                return self.fetch_list(community, next, make, otherwise);
            }
            let answer = match fetched.and_then(|fetched| community::read_listing(&fetched)) {
                Ok(mut listing) => {
                    let answer = make(&self, &mut listing);
                    lists::keep(self.now, community, listing);
                    answer
                }
                Err(failure) => otherwise(&self, failure)?,
            };
            Ok(answer.into())
        })
    }

    fn list_of(
        &self,
        listing: &mut Listing,
        community: &Community,
        limit: usize,
        excluded: Excluded<'_>,
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
        Answer::ok(&fields, Some(&*listing.answer(limit, excluded))).with_headers(headers)
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

    /// Says what is wrong with a ticket, with the community's list: a peer that is refused still finds others.
    fn refuse(self, error: TicketError, community: Community, caller: Caller) -> Result<Served, Failure> {
        let name = community.clone();
        let caller = Rc::new((Problem::Ticket(error), caller));
        let told = Rc::clone(&caller);
        self.answer_from_list(
            community,
            move |beacon, listing| beacon.refusal(&told.0, &told.1, Some(listing)),
            move |beacon, failure| {
                journal::failure("list_unavailable", &failure);
                let (problem, caller) = &*caller;
                Ok(lists::read_any(&name, |listing| beacon.refusal(problem, caller, Some(listing)))
                    .unwrap_or_else(|| beacon.refusal(problem, caller, None)))
            },
        )
    }

    /// Refuses with whatever list is at hand, because a request over its limit must not cost the object anything.
    fn rate_limited(&self, limited: RateLimited, community: Option<&str>) -> Answer {
        let problem = Problem::RateLimited(limited);
        let caller = Caller { claim: Exclusion::Nobody, signs_community: true };
        self.community(community, None)
            .ok()
            .and_then(|community| lists::read_any(&community, |listing| self.refusal(&problem, &caller, Some(listing))))
            .unwrap_or_else(|| self.plain(&problem))
    }

    fn refusal(&self, problem: &Problem, caller: &Caller, listing: Option<&mut Listing>) -> Answer {
        let peers = match listing {
            Some(listing) => {
                listing.expire(self.now);
                listing.answer(self.config.answer_limit, caller.claim.as_excluded())
            }
            None => Cow::Owned(Excerpt::default()),
        };
        if caller.signs_community { problem.answer(self.now, &peers) } else { problem.answer_with_ok(self.now, &peers) }
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
    after_all(now, promise, |value| value.and_then(next))
}

/// The same where `next` has something to say to a failure too.
fn after_all(
    now: UnixMillis,
    promise: &Promise,
    next: impl FnOnce(Result<JsValue, Failure>) -> Result<Served, Failure> + 'static,
) -> Result<Served, Failure> {
    let next = move |value: Result<JsValue, JsValue>| answered(now, next(value.map_err(Failure::from)));
    let waiting = WAITING.with_borrow_mut(|continuations| continuations.insert(Box::new(next)));
    Ok(Served::Later(RESUME.with(|resume| runtime::settle(promise, resume, waiting))?))
}

/// A promise of what `work` comes to.
#[cfg(feature = "fault-injection")]
fn later(now: UnixMillis, work: impl Future<Output = Result<Served, Failure>> + 'static) -> Served {
    Served::Later(worker::js_sys::futures::future_to_promise(async move { answered(now, work.await) }).into())
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
            // Whatever header a page's monitoring adds. The asterisk does not cover Authorization.
            ("Access-Control-Allow-Headers", "*, Authorization".to_owned()),
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
