//! From a request about a mailbox to what its object is asked: shapes, times and signatures.
//!
//! Nothing here remembers anything. A request comes in when its network's rate limit has let it through.

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::mailbox::body::{
    ClaimBody, CollectBody, DepositBody, PutBody, parse_acks, parse_close, parse_prekeys, parse_slot,
};
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::{AckWithDeposit, Signed, Unverified, UnverifiedAck, VerifiedAck};
use rendezvous_protocol::mailbox::limits::{
    BODY_BYTES_OF_A_REQUEST, BODY_MAX_BYTES, COLLECT_MAX_BYTES, COLLECT_MAX_MESSAGES, DEPOSIT_MAX_LIFETIME,
    DEPOSIT_MIN_LIFETIME, LEASE, MESSAGES_MAX, ONE_TIME_KEYS_HELD, RECORD_MAX_LIFETIME, REQUEST_MAX_BYTES,
    REQUEST_SKEW, REQUESTS_MAX, ROOM, ROOM_AT_FIRST, SEALED_BYTES, SIGNATURES_OF_A_REQUEST,
};
use rendezvous_protocol::mailbox::proof::Proof;
use rendezvous_protocol::mailbox::record::{
    Card, Claim, Close, Collect, Deposit, Policy, Prekeys, Record, RecordError, RecordRules, SlotQuestion,
};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::network::{HandedOver, RatePath};
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::answer::Answer;
use crate::config::{Config, MailDoor};
use crate::mailbox::call::{MailboxCall, ObjectCall, ObjectName, OpeningsCall};
use crate::mailbox::listening::OpenListener;
use crate::mailbox::replicate::ReadPush;
use crate::methods::{GET, GET_ALONE, GET_AND_PUT, POST};
use crate::problem::Problem;

const PUT: &str = "PUT, OPTIONS";

/// Says what becomes of a request at once.
pub(crate) enum Routed {
    /// It is refused, whoever sends it.
    Refused(Problem),
    /// It is served if its network has not made too many.
    Counted(Counted),
    /// `GET /v1/mailboxes/{address}/live`, which counts too, and needs a place besides.
    Live(Address),
}

/// Holds a request that counts.
#[derive(Debug)]
pub(crate) enum Counted {
    /// `GET /v1/relay`.
    Relay,
    /// `GET /v1/mailboxes/{address}`.
    Card(Address),
    /// One with a body.
    Records(Address, What),
}

/// Says what the body of a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Put,
    Deposit,
    Collect,
    Acks,
    Slot,
    Prekeys,
    Claim,
    Close,
}

/// Finds what a path, without its `/v1/`, and a method ask for.
pub(crate) fn route(method: &str, path: &str) -> Routed {
    let reads = matches!(method, "GET" | "HEAD");
    let refused = |allow| Routed::Refused(Problem::MethodNotAllowed { allow });
    if path == "relay" {
        return if reads { Routed::Counted(Counted::Relay) } else { refused(GET) };
    }
    let Some(rest) = path.strip_prefix("mailboxes/") else { return Routed::Refused(Problem::NotFound) };
    let (address, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if rest == "live" {
        return match address.parse() {
            Ok(address) if method == "GET" => Routed::Live(address),
            Ok(_) => refused(GET_ALONE),
            Err(invalid) => Routed::Refused(Problem::Address(invalid)),
        };
    }
    let (what, allow) = match rest {
        "" if path.ends_with('/') => return Routed::Refused(Problem::NotFound),
        "" => (What::Put, GET_AND_PUT),
        "messages" => (What::Deposit, POST),
        "collect" => (What::Collect, POST),
        "acks" => (What::Acks, POST),
        "slot" => (What::Slot, POST),
        "prekeys" => (What::Prekeys, PUT),
        "prekeys/claim" => (What::Claim, POST),
        "close" => (What::Close, POST),
        _ => return Routed::Refused(Problem::NotFound),
    };
    let address = match address.parse() {
        Ok(address) => address,
        Err(invalid) => return Routed::Refused(Problem::Address(invalid)),
    };
    if what == What::Put && reads {
        return Routed::Counted(Counted::Card(address));
    }
    let expected = if matches!(what, What::Put | What::Prekeys) { "PUT" } else { "POST" };
    if method == expected { Routed::Counted(Counted::Records(address, what)) } else { refused(allow) }
}

/// Says what a request about a mailbox needs next.
#[derive(Debug)]
#[must_use]
pub enum MailboxStep {
    /// The request's body.
    ReadBody(ReadRecords),
    /// Whether signatures fit.
    Verify(VerifyRecords),
    /// An object's answer.
    Ask(AskObject),
    /// A WebSocket.
    Listen(OpenListener),
    /// A push of a peer, where there are peers.
    Replicate(ReadPush),
}

impl Counted {
    /// Returns as how many requests this one counts before its body is read.
    pub(crate) fn requests(&self, body_bytes: Option<u64>) -> u32 {
        match self {
            Self::Relay | Self::Card(_) => 1,
            Self::Records(..) => requests_of_body(body_bytes),
        }
    }

    /// Begins to serve the request. `audiences` are the relay's own origins.
    pub(crate) fn begin(
        self,
        now: UnixMillis,
        config: &Config,
        network: HandedOver,
        audiences: Vec<Origin>,
        counted: CountedAs,
        relay_key: Option<PublicKey>,
    ) -> Result<MailboxStep, Answer> {
        match self {
            Self::Relay => Err(relay(now, config, &audiences, relay_key)),
            Self::Card(address) => Ok(MailboxStep::Ask(AskObject::of(ObjectCall::Mailbox(address, MailboxCall::Card)))),
            Self::Records(address, what) => {
                Ok(MailboxStep::ReadBody(ReadRecords { address, what, network, audiences, counted }))
            }
        }
    }
}

/// Returns as how many requests a body counts. One that does not say how long it is counts as the longest.
pub(crate) fn requests_of_body(body_bytes: Option<u64>) -> u32 {
    let bytes = body_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BODY_MAX_BYTES);
    one_and(bytes.min(BODY_MAX_BYTES) / BODY_BYTES_OF_A_REQUEST)
}

/// Returns as how many requests the work of verifying so many signatures counts.
pub(crate) fn requests_of_signatures(signatures: usize) -> u32 {
    one_and(signatures / SIGNATURES_OF_A_REQUEST)
}

fn one_and(more: usize) -> u32 {
    u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1)
}

/// Says as how many requests one has counted so far, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedAs {
    pub(crate) path: RatePath,
    pub(crate) requests: u32,
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadRecords {
    address: Address,
    what: What,
    network: HandedOver,
    audiences: Vec<Origin>,
    counted: CountedAs,
}

/// Holds records of which everything is checked but the signatures.
#[derive(Debug)]
enum Records {
    Put(Box<(Unverified<Card>, Unverified<Policy>)>),
    Deposit { deposit: Box<Unverified<Deposit>>, sealed: String, proof: Option<Proof> },
    Collect { collect: Box<Unverified<Collect>>, acks: Vec<UnverifiedAck> },
    Acks(Vec<UnverifiedAck>),
    Slot(Box<Unverified<SlotQuestion>>),
    Prekeys(Box<Unverified<Prekeys>>),
    Claim { claim: Box<Unverified<Claim>>, proof: Option<Proof> },
    Close(Box<Unverified<Close>>),
}

impl ReadRecords {
    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        BODY_MAX_BYTES
    }

    /// Returns as how many requests this one has counted.
    pub(crate) const fn counted(&self) -> CountedAs {
        self.counted
    }

    /// Goes on with the body, or with why there is none.
    pub(crate) fn resume(self, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Result<VerifyRecords, Answer> {
        let read = body.map_err(|error| match error {
            // It has another limit than the bodies that this error is of.
            RequestError::BodyTooLarge => Problem::Record(RecordError::BodyTooLarge),
            error => Problem::Request(error),
        });
        let records = read.and_then(|body| self.read(now, &body));
        let Self { address, network, audiences, .. } = self;
        match records {
            Ok(records) => Ok(VerifyRecords { address, network, audiences, records }),
            Err(problem) => Err(problem.answer_about_mailbox(now)),
        }
    }

    fn read(&self, now: UnixMillis, body: &[u8]) -> Result<Records, Problem> {
        Ok(match self.what {
            What::Put => {
                let PutBody { card, policy } = PutBody::parse(body)?;
                let (card, policy) = (self.check(now, card)?, self.check(now, policy)?);
                Records::Put(Box::new((card, policy)))
            }
            What::Deposit => {
                let DepositBody { deposit, sealed, proof } = DepositBody::parse(body)?;
                let (deposit, sealed) = (Box::new(self.check(now, deposit)?), sealed.into_owned());
                Records::Deposit { deposit, sealed, proof }
            }
            What::Collect => {
                let CollectBody { collect, acks } = CollectBody::parse(body)?;
                Records::Collect { collect: Box::new(self.check(now, collect)?), acks: self.check_acks(acks)? }
            }
            What::Acks => Records::Acks(self.check_acks(parse_acks(body)?)?),
            What::Slot => Records::Slot(Box::new(self.check(now, parse_slot(body)?)?)),
            What::Prekeys => Records::Prekeys(Box::new(self.check(now, parse_prekeys(body)?)?)),
            What::Claim => {
                let ClaimBody { claim, proof } = ClaimBody::parse(body)?;
                Records::Claim { claim: Box::new(self.check(now, claim)?), proof }
            }
            What::Close => Records::Close(Box::new(self.check(now, parse_close(body)?)?)),
        })
    }

    fn check<T: Record>(&self, now: UnixMillis, signed: Signed<T>) -> Result<Unverified<T>, Problem> {
        self.check_mailbox(signed.payload().mailbox())?;
        Ok(signed.check(&RecordRules { now, audiences: &self.audiences })?)
    }

    fn check_acks(&self, acks: Vec<AckWithDeposit>) -> Result<Vec<UnverifiedAck>, Problem> {
        let check = |ack: AckWithDeposit| {
            self.check_mailbox(ack.ack.payload().mailbox)?;
            Ok(ack.check()?)
        };
        acks.into_iter().map(check).collect()
    }

    fn check_mailbox(&self, found: Address) -> Result<(), Problem> {
        if found == self.address { Ok(()) } else { Err(Problem::OtherMailbox { found }) }
    }
}

/// Waits for whether signatures fit.
#[derive(Debug)]
pub struct VerifyRecords {
    address: Address,
    network: HandedOver,
    audiences: Vec<Origin>,
    records: Records,
}

/// Returns the key, the signature and what is signed, one after the other.
fn signed_bytes<T>(record: &Unverified<T>) -> Vec<u8> {
    [record.public_key().as_bytes().as_slice(), record.signature(), record.message()].concat()
}

impl VerifyRecords {
    /// Returns as how many requests the work of verifying counts.
    pub(crate) fn requests(&self) -> u32 {
        let of_acks = |acks: &[UnverifiedAck]| acks.len().saturating_mul(2);
        requests_of_signatures(match &self.records {
            Records::Put(_) => 2,
            Records::Collect { acks, .. } => 1 + of_acks(acks),
            Records::Acks(acks) => of_acks(acks),
            Records::Deposit { .. }
            | Records::Slot(_)
            | Records::Prekeys(_)
            | Records::Claim { .. }
            | Records::Close(_) => 1,
        })
    }

    /// Returns of each signature the key, the signature and what is signed, one after the other, for a host that has
    /// something faster. Everything else about them has been checked. There may be none.
    pub fn to_bytes(&self) -> Vec<Vec<u8>> {
        let of_acks = |acks: &[UnverifiedAck]| -> Vec<_> {
            acks.iter().flat_map(|UnverifiedAck { ack, of }| [signed_bytes(ack), signed_bytes(of)]).collect()
        };
        match &self.records {
            Records::Put(records) => {
                let (card, policy) = &**records;
                vec![signed_bytes(card), signed_bytes(policy)]
            }
            Records::Deposit { deposit, .. } => vec![signed_bytes(deposit)],
            Records::Collect { collect, acks } => std::iter::once(signed_bytes(collect)).chain(of_acks(acks)).collect(),
            Records::Acks(acks) => of_acks(acks),
            Records::Slot(question) => vec![signed_bytes(question)],
            Records::Prekeys(prekeys) => vec![signed_bytes(prekeys)],
            Records::Claim { claim, .. } => vec![signed_bytes(claim)],
            Records::Close(close) => vec![signed_bytes(close)],
        }
    }

    /// Verifies the signatures up to the first that does not fit, for a host that has nothing faster.
    pub fn verify_signatures(&self) -> bool {
        let fit = |acks: &[UnverifiedAck]| {
            acks.iter().all(|UnverifiedAck { ack, of }| ack.verify_signature() && of.verify_signature())
        };
        match &self.records {
            Records::Put(records) => records.0.verify_signature() && records.1.verify_signature(),
            Records::Deposit { deposit, .. } => deposit.verify_signature(),
            Records::Collect { collect, acks } => collect.verify_signature() && fit(acks),
            Records::Acks(acks) => fit(acks),
            Records::Slot(question) => question.verify_signature(),
            Records::Prekeys(prekeys) => prekeys.verify_signature(),
            Records::Claim { claim, .. } => claim.verify_signature(),
            Records::Close(close) => close.verify_signature(),
        }
    }

    /// Goes on with whether all of them fit.
    pub(crate) fn resume(self, now: UnixMillis, fit: bool) -> Result<MailboxStep, Answer> {
        self.accept(fit).map(MailboxStep::Ask).map_err(|problem| problem.answer_about_mailbox(now))
    }

    fn accept(self, fit: bool) -> Result<AskObject, Problem> {
        let Self { address, network, audiences, records } = self;
        let accept_acks = |acks: Vec<UnverifiedAck>| -> Result<Vec<VerifiedAck>, RecordError> {
            acks.into_iter().map(|ack| ack.accept(fit)).collect()
        };
        let (mut first, mut last) = (None, None);
        let call = match records {
            Records::Put(records) => {
                let (card, policy) = *records;
                let (card, policy) = (Box::new(card.accept(fit)?), Box::new(policy.accept(fit)?));
                // The mailbox says so too, but after a place has been taken for it.
                if !card.payload().names(&audiences) {
                    return Err(Problem::Mailbox(Refused::RelayNotListed));
                }
                first = Some(OpeningsCall::Take { address, network });
                MailboxCall::Put { card, policy, origins: audiences }
            }
            Records::Deposit { deposit, sealed, proof } => {
                MailboxCall::Deposit { deposit: Box::new(deposit.accept(fit)?), sealed, proof, network }
            }
            Records::Collect { collect, acks } => {
                MailboxCall::Collect { collect: Box::new(collect.accept(fit)?), acks: accept_acks(acks)? }
            }
            Records::Acks(acks) => MailboxCall::Acks(accept_acks(acks)?),
            Records::Slot(question) => MailboxCall::Slot(Box::new(question.accept(fit)?)),
            Records::Prekeys(prekeys) => MailboxCall::Prekeys(Box::new(prekeys.accept(fit)?)),
            Records::Claim { claim, proof } => {
                MailboxCall::Claim { claim: Box::new(claim.accept(fit)?), proof, network }
            }
            Records::Close(close) => {
                last = Some(OpeningsCall::Free { address });
                MailboxCall::Close(Box::new(close.accept(fit)?))
            }
        };
        let calls =
            [first.map(ObjectCall::Openings), Some(ObjectCall::Mailbox(address, call)), last.map(ObjectCall::Openings)];
        let mut calls = calls.into_iter().flatten();
        let Some(call) = calls.next() else { return Err(RecordError::SignatureInvalid.into()) };
        Ok(AskObject { call: Box::new(call), next: calls.next().map(Box::new) })
    }
}

/// Waits for an object's answer, which goes to the client as it comes; but where another object is to be asked after one
/// that says 200.
#[derive(Debug)]
pub struct AskObject {
    call: Box<ObjectCall>,
    next: Option<Box<ObjectCall>>,
}

impl AskObject {
    fn of(call: ObjectCall) -> Self {
        Self { call: Box::new(call), next: None }
    }

    /// Returns the object's name.
    pub fn object(&self) -> ObjectName {
        self.call.object()
    }

    /// Returns what it is asked.
    pub const fn call(&self) -> &ObjectCall {
        &self.call
    }

    /// Returns whether the answer is the client's whatever its status is.
    pub const fn is_last(&self) -> bool {
        self.next.is_none()
    }

    /// Returns what it is asked, and what is asked next, if it answers 200.
    pub fn into_calls(self) -> (ObjectCall, Option<Self>) {
        (*self.call, self.next.map(|next| Self { call: next, next: None }))
    }

    /// Returns what is asked next, if anything is, and the object has answered this status. Else its answer is the client's.
    pub fn next(self, status: u16) -> Option<Self> {
        self.into_calls().1.filter(|_| status == 200)
    }
}

/// Answers `GET /v1/relay`. `key` is that by which the relay pushes, if it has peers.
fn relay(now: UnixMillis, config: &Config, audiences: &[Origin], key: Option<PublicKey>) -> Answer {
    let key = key.map(|key| format!(r#""key":"{key}","#)).unwrap_or_default();
    // Nothing in an origin or a door's name needs an escape.
    let quote = |items: Vec<&str>| items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(",");
    let audiences = quote(audiences.iter().map(Origin::as_str).collect());
    let doors = quote(config.doors.iter().copied().map(MailDoor::name).collect());
    let sealed = SEALED_BYTES.map(|bytes| bytes.to_string()).join(",");
    let [lifetime, shortest, records, skew, lease] =
        [DEPOSIT_MAX_LIFETIME, DEPOSIT_MIN_LIFETIME, RECORD_MAX_LIFETIME, REQUEST_SKEW, LEASE].map(saturating_millis);
    // As text at once: a derived serialiser is more code.
    Answer::of_json(format!(
        concat!(
            r#"{{"ok":true,"audiences":[{}],"doors":[{}],"limits":{{"bodyBytes":{},"sealedBytes":[{}],"messages":{},"#,
            r#""bytesAtFirst":{},"bytes":{},"lifetimeMs":{},"shortestLifetimeMs":{},"recordLifetimeMs":{},"skewMs":{},"#,
            r#""leaseMs":{},"collectMessages":{},"collectBytes":{},"requests":{},"requestBytes":{},"oneTimeKeys":{}}},"#,
            r#"{}"serverTime":{}}}"#
        ),
        audiences,
        doors,
        BODY_MAX_BYTES,
        sealed,
        MESSAGES_MAX,
        ROOM_AT_FIRST,
        ROOM,
        lifetime,
        shortest,
        records,
        skew,
        lease,
        COLLECT_MAX_MESSAGES,
        COLLECT_MAX_BYTES,
        REQUESTS_MAX,
        REQUEST_MAX_BYTES,
        ONE_TIME_KEYS_HELD,
        key,
        now,
    ))
}
