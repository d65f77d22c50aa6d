//! From a request about the directory to what its hub is asked: shapes, times and signatures.
//!
//! Nothing here remembers anything. A request comes in when its network's rate limit has let it through.

use std::borrow::Cow;
use std::fmt;

use rendezvous_protocol::base64;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::directory::envelope::{Record, Signed, VerifiedRecord};
use rendezvous_protocol::directory::exchange;
use rendezvous_protocol::directory::limits::{BODY_MAX_BYTES, HUB_MAX_RECORDS, TAG_MAX_BYTES};
use rendezvous_protocol::directory::record::{DomainOf, Exchange, RecordError};
use rendezvous_protocol::directory::state::Filter;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::methods::{GET, GET_AND_PUT, POST};
use crate::problem::HubProblem;
use crate::query::parameter;

/// Entries in an answer, unless the reader says otherwise.
const LIMIT: usize = 50;

/// The most entries in an answer: 400 kB.
const LIMIT_MAX: usize = 100;

/// Bytes of a text that is looked for.
const TEXT_MAX_BYTES: usize = 64;

/// Says what a path asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// It is refused, whoever sends it.
    Refused(HubProblem),
    /// Entries.
    List(HubCall),
    /// A body is to be read: a record of this name.
    Put(String),
    /// A body is to be read: another hub's question.
    Exchange,
}

/// Finds what a path, without its `/v1/`, and a method ask for; `None`, where that is nothing of the directory.
pub(crate) fn route(method: &str, path: &str, query: &str) -> Option<Wanted> {
    let reads = matches!(method, "GET" | "HEAD");
    let refused = |allow| Wanted::Refused(HubProblem::MethodNotAllowed { allow });
    Some(match path {
        "communities" if reads => list(None, query),
        "communities" => refused(GET),
        "hubs/exchange" if method == "POST" => Wanted::Exchange,
        "hubs/exchange" => refused(POST),
        _ => match Community::new(path.strip_prefix("communities/")?) {
            Err(invalid) => Wanted::Refused(HubProblem::Name(invalid)),
            Ok(name) if reads => list(Some(name.as_str().to_owned()), query),
            Ok(name) if method == "PUT" => Wanted::Put(name.as_str().to_owned()),
            Ok(_) => refused(GET_AND_PUT),
        },
    })
}

fn list(name: Option<String>, query: &str) -> Wanted {
    let number = |field: &str, absent: usize, most: usize| match parameter(query, field) {
        None => Some(absent),
        Some(text) => text.parse().ok().filter(|number| *number <= most),
    };
    let refused = |what: fmt::Arguments<'_>| Wanted::Refused(HubProblem::Query(what.to_string()));
    let Some(limit) = number("limit", LIMIT, LIMIT_MAX).filter(|limit| *limit > 0) else {
        return refused(format_args!("limit must be a whole number from 1 to {LIMIT_MAX}"));
    };
    let Some(offset) = number("offset", 0, HUB_MAX_RECORDS) else {
        return refused(format_args!("offset must be a whole number up to {HUB_MAX_RECORDS}"));
    };
    let (tag, text) = (parameter(query, "tag"), parameter(query, "q"));
    if tag.as_ref().is_some_and(|tag| tag.len() > TAG_MAX_BYTES) {
        return refused(format_args!("tag must have at most {TAG_MAX_BYTES} bytes"));
    }
    if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX_BYTES) {
        return refused(format_args!("q must have at most {TEXT_MAX_BYTES} bytes"));
    }
    let origin = match parameter(query, "origin").map(|key| base64::decode_array(&key)) {
        None => None,
        Some(Some(bytes)) => Some(PublicKey::from_bytes(bytes)),
        // What is not escaped of a key is read as something else.
        Some(None) => return refused(format_args!("origin must be the base64 of 32 bytes, its + and / and = escaped")),
    };
    let filter = Filter { name, origin, tag, text: text.map(|text| text.to_lowercase()) };
    Wanted::List(HubCall::List { filter, offset, limit })
}

/// Says what a request about the directory needs next.
#[derive(Debug)]
#[must_use]
pub enum DirectoryStep {
    /// The request's body.
    ReadBody(ReadRecord),
    /// Whether signatures fit.
    Verify(Box<VerifyRecord>),
    /// The hub's answer.
    Ask(Box<HubCall>),
}

/// Holds what a hub is asked.
#[derive(Debug)]
pub enum HubCall {
    /// For entries.
    List {
        /// Which.
        filter: Filter,
        /// How many come before the first that is answered.
        offset: usize,
        /// The most that are answered.
        limit: usize,
    },
    /// To remember a record that an origin has put.
    Put(Box<VerifiedRecord>),
    /// By another hub, for what has changed.
    Exchange(Box<Signed<Exchange>>),
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadRecord {
    /// The name in the path; absent for an exchange.
    name: Option<String>,
    audiences: Vec<Origin>,
}

impl ReadRecord {
    pub(crate) const fn new(name: Option<String>, audiences: Vec<Origin>) -> Self {
        Self { name, audiences }
    }

    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        BODY_MAX_BYTES
    }

    /// Goes on with the body, or with why there is none.
    pub(crate) fn resume(self, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Result<DirectoryStep, Answer> {
        let read = body.map_err(|error| match error {
            // It has another limit than the bodies that this error is of.
            RequestError::BodyTooLarge => HubProblem::Record(RecordError::BodyTooLarge),
            error => HubProblem::Request(error),
        });
        let parsed = read.and_then(|body| self.parse(now, &body));
        parsed.map(|record| DirectoryStep::Verify(Box::new(record))).map_err(|problem| problem.answer(now))
    }

    fn parse(&self, now: UnixMillis, body: &[u8]) -> Result<VerifyRecord, HubProblem> {
        let Some(name) = &self.name else {
            let exchange = exchange::parse_body(body)?;
            exchange.payload().check(now, &self.audiences)?;
            return Ok(VerifyRecord::Exchange(exchange));
        };
        let record = Record::parse_body(body)?;
        if record.name() != name {
            return Err(HubProblem::OtherName { found: record.name().to_owned() });
        }
        record.check_for_reader(now)?;
        Ok(VerifyRecord::Put(record))
    }
}

/// Waits for whether signatures fit.
#[derive(Debug)]
pub enum VerifyRecord {
    /// An origin's record.
    Put(Record),
    /// Another hub's question.
    Exchange(Signed<Exchange>),
}

impl VerifyRecord {
    /// Verifies. This is most of the work, and needs nothing that is shared.
    pub fn verify(self, now: UnixMillis, domain_of: DomainOf) -> Result<HubCall, Answer> {
        let verified = match self {
            Self::Put(record) => record.verify(now, domain_of).map(|record| HubCall::Put(Box::new(record))),
            Self::Exchange(exchange) => exchange.verify_signature().map(|()| HubCall::Exchange(Box::new(exchange))),
        };
        verified.map_err(|error| HubProblem::Record(error).answer(now))
    }
}

/// Writes the part of an answer that has entries.
pub(super) fn entries_json(entries: &[String]) -> Cow<'static, str> {
    if entries.is_empty() { Cow::Borrowed("[]") } else { Cow::Owned(format!("[{}]", entries.join(","))) }
}
