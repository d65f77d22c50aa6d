//! From a request of retalk's users to what its mailbox is asked.
//!
//! Nothing here remembers anything. A network over its rate limit is not refused at once: a message is answered as taken,
//! though it is not, because its client would encrypt the next one with the same message key otherwise. Whether it is signed
//! at all is not looked at then: that is most of the work.

use rendezvous_protocol::fields::Fields;
use std::time::Duration;

use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::rate_limit::{RateLimit, RateLimited};
use rendezvous_protocol::request::RequestError as BodyError;
use rendezvous_protocol::retalk::limits::BODY_MAX_BYTES;
use rendezvous_protocol::retalk::refused::Refused;
use rendezvous_protocol::retalk::request::{Tool, Unverified, Verified};
use rendezvous_protocol::retalk::state::NotStored;
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::call::ObjectError;
use crate::mailbox::{CountedAs, ObjectCall, OpeningsCall, requests_of_signatures};
use crate::retalk::call::RetalkCall;
use crate::retalk::door::Audiences;
use crate::retalk::object::{READ_MOST_BYTES, not_stored};
use crate::retalk::refusal::Refusal;
use crate::retalk::renewals::Renewals;

/// Says what a request comes to.
pub(crate) enum Routed {
    /// An answer that costs nothing.
    Answer(Answer),
    /// Something that counts for the client's rate limit.
    Counted,
    /// Nothing of this door's.
    NotFound,
}

/// Finds what a path that is no other route, and a method ask for.
pub(crate) fn route(method: &str, path: &str, is_of_page: bool) -> Routed {
    let is_named = |name: &str| path.strip_suffix(name).is_some_and(|before| before.ends_with('/'));
    match method {
        "GET" | "HEAD" if is_named("info") => Routed::Answer(Answer::of_json(r#"{"max_group_size":100}"#.to_owned())),
        // What the original says that has no operator's password.
        "POST" if is_named("admin") => Routed::Answer(Refusal::NotFound.answer()),
        // Any page in the world can make its visitors' browsers ask.
        "POST" if is_of_page => Routed::Answer(Refusal::OfPage.answer()),
        "POST" => Routed::Counted,
        _ => Routed::NotFound,
    }
}

/// Says what a request of retalk's users needs next.
#[derive(Debug)]
#[must_use]
pub enum RetalkStep {
    /// The request's body.
    ReadBody(ReadRetalk),
    /// Whether signatures fit.
    Verify(VerifyRetalk),
    /// A mailbox's answer.
    Ask(AskRetalk),
}

/// Says whether the client's network is over its rate limit.
pub(crate) type Limited = Option<RateLimited>;

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadRetalk {
    pub(crate) audiences: Audiences,
    pub(crate) network: HandedOver,
    pub(crate) counted: CountedAs,
    pub(crate) limited: Limited,
}

impl ReadRetalk {
    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        BODY_MAX_BYTES
    }

    /// Goes on with the body, or with why there is none.
    pub(crate) fn resume(
        self,
        now: UnixMillis,
        body: Result<Vec<u8>, BodyError>,
        requests: &mut RateLimit,
    ) -> Result<VerifyRetalk, Answer> {
        let Self { audiences, network, counted, limited } = self;
        let read = body.map_err(Refusal::from).and_then(|body| Ok(Unverified::parse(&body)?.check(now)?));
        match (read, limited) {
            (Ok(request), None) => {
                VerifyRetalk { request: Box::new(request), audiences, network, counted }.count(now, requests)
            }
            (Ok(request), Some(limited)) => Err(over_limit(now, request.is_send(), limited)),
            (Err(_), Some(limited)) => Err(over_limit(now, false, limited)),
            (Err(refusal), None) => Err(refusal.answer()),
        }
    }
}

/// Answers a request of a network that is over its rate limit.
fn over_limit(now: UnixMillis, is_send: bool, limited: RateLimited) -> Answer {
    if is_send {
        return not_stored(now, NotStored::Throttled);
    }
    Refusal::TooMany { retry_after: limited.retry_after() }.answer()
}

/// Waits for whether signatures fit.
#[derive(Debug)]
pub struct VerifyRetalk {
    request: Box<Unverified>,
    audiences: Audiences,
    network: HandedOver,
    counted: CountedAs,
}

impl VerifyRetalk {
    /// Counts the work of verifying where that is more than the request has counted. Anybody may have sent it, signed or not.
    pub(crate) fn count(self, now: UnixMillis, requests: &mut RateLimit) -> Result<Self, Answer> {
        let CountedAs { path, requests: before } = self.counted;
        let all = requests_of_signatures(self.request.signature_count(&self.audiences.first));
        match requests.take_several(now, path, all.saturating_sub(before)) {
            Ok(()) => Ok(self),
            Err(limited) => Err(over_limit(now, self.is_send(), limited)),
        }
    }

    /// Returns whether a message is to be left.
    pub const fn is_send(&self) -> bool {
        self.request.is_send()
    }

    /// Returns whether they do.
    pub fn verify_signatures(&self) -> bool {
        self.request.verify_signatures(&self.audiences.first)
    }

    /// Returns of each signature the key, the signature and what is signed, one after the other, for a host that has something
    /// faster.
    pub fn to_bytes(&self) -> Vec<Vec<u8>> {
        self.request.signatures(&self.audiences.first)
    }

    /// Returns whether the signatures fit, where `each` says it of each of [`VerifyRetalk::to_bytes`].
    pub fn fit(&self, each: &[bool]) -> bool {
        self.request.fit(each)
    }

    /// Goes on with that: where they do not, with the other addresses that may be signed.
    pub(crate) fn resume(
        self,
        now: UnixMillis,
        fit: bool,
        requests: &mut RateLimit,
        renewals: &mut Renewals,
    ) -> Result<RetalkStep, Answer> {
        let Self { request, audiences, network, counted } = self;
        if !fit && !audiences.others.is_empty() {
            let audiences = Audiences { first: audiences.others, others: Vec::new() };
            let again = Self { request, audiences, network, counted: CountedAs { requests: 0, ..counted } };
            return again.count(now, requests).map(RetalkStep::Verify);
        }
        let request = request.accept(fit).map_err(|error| Refusal::from(error).answer())?;
        let Some(mailbox) = request.mailbox() else { return Err(answer_of_nobody(now, &request)) };
        let user = request.user();
        let (place, then) = match request.tool() {
            Tool::PublishKeys { .. } => (Some(OpeningsCall::Take { address: user.place(), network }), None),
            // A mailbox lasts for as long as its owner reads, and so does its place.
            Tool::ReadMessages { .. } => {
                let is_due = renewals.is_due(now, user);
                (is_due.then(|| OpeningsCall::Renew { address: user.place() }), None)
            }
            Tool::SendMessage { .. } => (None, Some(user)),
            _ => (None, None),
        };
        Ok(RetalkStep::Ask(AskRetalk { place, mailbox, request: Box::new(request), network, then }))
    }
}

/// Answers what is asked of a name that nobody can have.
fn answer_of_nobody(now: UnixMillis, request: &Verified) -> Answer {
    match request.tool() {
        Tool::GetKeys { peer } | Tool::ClaimKey { peer } => {
            Refusal::from(Refused::UnknownPeer { peer: peer.clone() }).answer()
        }
        _ => not_stored(now, NotStored::MailboxUnknown),
    }
}

/// Answers where clients of a network have too much of their answers still to read.
pub(crate) fn answers_unread() -> Answer {
    Refusal::AnswersUnread.answer()
}

/// Waits for a mailbox's answer, which goes to the client as it comes.
#[derive(Debug)]
pub struct AskRetalk {
    place: Option<OpeningsCall>,
    mailbox: UserId,
    request: Box<Verified>,
    network: HandedOver,
    then: Option<UserId>,
}

impl AskRetalk {
    /// Limits how long a request waits for a mailbox, where that may be far away: less than clients do, because what is read is
    /// deleted, and gone if its answer comes too late.
    pub const PATIENCE: Duration = Duration::from_secs(20);

    /// Returns what the count of mailboxes is asked first, if it is. Unless it answers 200, its answer is for
    /// [`AskRetalk::no_place`].
    pub fn place(&self) -> Option<ObjectCall> {
        self.place.map(ObjectCall::Openings)
    }

    /// Returns the answer where there is no place for another mailbox: `body` is what the count of mailboxes has answered.
    pub fn no_place(body: &str) -> Answer {
        let detail = Fields::parse(body).and_then(|mut problem| Ok(problem.text("detail")?.into_owned()));
        detail.map_or(Refusal::Internal, |detail| Refusal::NoPlace { detail }).answer()
    }

    /// Returns why an object of another process has not answered, if this is the status that came from there.
    ///
    /// # Errors
    /// [`ObjectError::Status`].
    pub const fn outcome(status: u16) -> Result<(), ObjectError> {
        if status < 500 { Ok(()) } else { Err(ObjectError::Status { status }) }
    }

    /// Returns what a mailbox is asked for the client, and what another is told after that, whose answer is nobody's.
    pub fn into_calls(self) -> (RetalkCall, Option<RetalkCall>) {
        let Self { mailbox, request, network, then, .. } = self;
        let then = then.map(|user| RetalkCall::Correspond { user, with: mailbox });
        (RetalkCall::Request { mailbox, request, network }, then)
    }

    /// Returns whether a message is to be left.
    pub fn is_send(&self) -> bool {
        matches!(self.request.tool(), Tool::SendMessage { .. })
    }

    /// Returns the most bytes of the answer, where the mailbox deletes what is in it. Then a host that keeps answers until they
    /// are read has to have room for it before it asks.
    pub fn deletes(&self) -> Option<usize> {
        let deletes = matches!(self.request.tool(), Tool::ReadMessages { keep, .. } if *keep != Some(true));
        deletes.then_some(READ_MOST_BYTES)
    }

    /// Returns the answer where a mailbox has not answered. A disk that is full is want of room, too.
    pub(crate) fn failed(now: UnixMillis, is_send: bool) -> Answer {
        if is_send { not_stored(now, NotStored::Failed) } else { Refusal::Internal.answer() }
    }
}
