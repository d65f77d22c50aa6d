//! From a request about registration to what the object is asked: shapes, times, signatures, and where a form is from.
//!
//! Nothing here remembers anything. A request comes in when its network's rate limit has let it through.

use std::sync::Arc;

use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::limits::BODY_MAX_BYTES;
use rendezvous_protocol::registration::{Registration, RegistrationError, Token};
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::problem::RegistrationProblem;
use crate::query::parameter;
use crate::registration::door::RegistrationDoor;
use crate::registration::page::{self, REGISTER, VERIFY};

const REGISTER_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const VERIFY_METHODS: &str = "GET, HEAD, POST";

/// What a form's body is written in (HTML, section 4.10.21.3).
const FORM: &str = "application/x-www-form-urlencoded";

/// Says what a path and a method ask for.
#[derive(Debug)]
pub(crate) enum Routed {
    /// This is the answer.
    Answer(Answer),
    /// A body is to be read.
    Read(ReadRegistration),
    /// The object is to be asked.
    Ask(RegistrationCall),
}

/// Says what a request about registration needs next.
#[derive(Debug)]
#[must_use]
pub enum RegistrationStep {
    /// Two headers, and the request's body.
    ReadBody(ReadRegistration),
    /// The object's answer.
    Ask(Box<RegistrationCall>),
}

/// Holds what the object is asked.
#[derive(Debug)]
pub enum RegistrationCall {
    /// To send a link about a registration.
    Register {
        /// What the key has signed.
        registration: Box<Registration>,
        /// From where it comes.
        network: HandedOver,
        /// Whether a person reads the answer.
        is_form: bool,
    },
    /// What a link is about.
    Look(Token),
    /// To confirm that.
    Confirm(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Register,
    Confirm,
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadRegistration {
    door: Arc<RegistrationDoor>,
    what: What,
    network: HandedOver,
}

/// Finds what a path and a method ask for; `None`, where that is nothing of registration.
pub(crate) fn route(
    door: &Arc<RegistrationDoor>,
    (method, path, query): (&str, &str, &str),
    origin: Option<&str>,
    network: HandedOver,
) -> Routed {
    let reads = matches!(method, "GET" | "HEAD");
    let read = |what| Routed::Read(ReadRegistration { door: Arc::clone(door), what, network });
    let refused = |problem: RegistrationProblem| Routed::Answer(problem.page());
    if path == REGISTER {
        return match method {
            _ if reads => Routed::Answer(page::form()),
            "POST" => read(What::Register),
            _ => refused(RegistrationProblem::MethodNotAllowed { allow: REGISTER_METHODS }),
        };
    }
    match method {
        _ if reads => match parameter(query, "token").map(|token| token.parse()) {
            Some(Ok(token)) => Routed::Ask(RegistrationCall::Look(token)),
            _ => refused(RegistrationProblem::LinkBroken),
        },
        // A page of elsewhere could send its visitor's browser here with a link of its own.
        "POST" if is_own(door, origin) => read(What::Confirm),
        "POST" => refused(RegistrationProblem::CrossSite),
        _ => refused(RegistrationProblem::MethodNotAllowed { allow: VERIFY_METHODS }),
    }
}

/// Returns whether a path is one of registration's.
pub(crate) fn is_route(path: &str) -> bool {
    matches!(path, REGISTER | VERIFY)
}

/// Returns whether a page of this beacon sends a form: every browser says where a form is from, and one that says nothing is
/// not a browser, or not a page's.
fn is_own(door: &RegistrationDoor, origin: Option<&str>) -> bool {
    origin.and_then(Origin::parse).is_some_and(|origin| door.audiences().contains(&origin))
}

/// Returns the value of a form's one field, if the form has that one alone.
fn only_field(body: &[u8], name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(body);
    match (fields.next(), fields.next()) {
        (Some((key, value)), None) if key == name => Some(value.into_owned()),
        _ => None,
    }
}

impl ReadRegistration {
    /// Returns how many bytes the body may have. A form writes many characters as three.
    pub const fn most(&self) -> usize {
        3 * BODY_MAX_BYTES
    }

    /// Goes on with two headers, `Content-Type` and `Sec-Fetch-Site`, and with the body or why there is none. Signatures are
    /// verified here, which needs nothing that is shared.
    ///
    /// # Errors
    /// The answer, where the request is refused.
    pub fn resume(
        self,
        now: UnixMillis,
        content_type: Option<&str>,
        fetch_site: Option<&str>,
        body: Result<Vec<u8>, RequestError>,
    ) -> Result<RegistrationCall, Answer> {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let is_form = media_type.trim().eq_ignore_ascii_case(FORM);
        let is_for_people = is_form || self.what == What::Confirm;
        let called = body.map_err(|error| match error {
            RequestError::BodyTooLarge => RegistrationProblem::Registration(RegistrationError::BodyTooLarge),
            error => RegistrationProblem::Request(error),
        });
        let called = called.and_then(|body| self.read(now, &body, is_form, fetch_site));
        called.map_err(|problem| if is_for_people { problem.page() } else { problem.answer(now) })
    }

    fn read(
        self,
        now: UnixMillis,
        body: &[u8],
        is_form: bool,
        fetch_site: Option<&str>,
    ) -> Result<RegistrationCall, RegistrationProblem> {
        if self.what == What::Confirm {
            if fetch_site.is_some_and(|site| site != "same-origin") {
                return Err(RegistrationProblem::CrossSite);
            }
            // What is confirmed is what the page has shown: nothing else sends this form, and it has one token.
            let token = if is_form { only_field(body, "token") } else { None };
            let token = token.ok_or(RegistrationProblem::OtherForm)?;
            return token.parse().map(RegistrationCall::Confirm).map_err(|_| RegistrationProblem::LinkBroken);
        }
        let audiences = self.door.audiences();
        let verified = if is_form {
            let text = only_field(body, "registration").ok_or(RegistrationProblem::OtherForm)?;
            if text.len() > BODY_MAX_BYTES {
                Err(RegistrationError::BodyTooLarge)
            } else {
                Registration::verify(&text, audiences, now)
            }
        } else {
            Registration::verify_body(body, audiences, now)
        };
        let registration = verified.map_err(RegistrationProblem::Registration)?;
        let community = &registration.payload().community;
        if !self.door.serves(community) {
            return Err(RegistrationProblem::Request(RequestError::CommunityUnknown(community.clone())));
        }
        Ok(RegistrationCall::Register { registration: Box::new(registration), network: self.network, is_form })
    }
}
