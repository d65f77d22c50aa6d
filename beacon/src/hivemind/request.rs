//! From a request of hivemind-rendezvous' users to what objects are asked.
//!
//! Nothing here remembers anything. A depositor's proof is noted in the depositor's own mailbox before the message is taken
//! in: the same bytes would hand over what waits there.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::hivemind::key::MailboxId;
use rendezvous_protocol::hivemind::limits::{BODY_MAX_BYTES, UNOPENED_LEAST};
use rendezvous_protocol::hivemind::proof::{Proof, ProofId};
use rendezvous_protocol::hivemind::request::{Deposit, UnverifiedDeposit, UnverifiedRetrieval};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::request::RequestError as BodyError;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use serde_json::json;

use crate::answer::{Answer, Outcome};
use crate::hivemind::object::{HivemindCall, NEEDS_PLACE, NEEDS_ROOM, RETRIEVAL_MOST_BYTES};
use crate::hivemind::refusal::Refusal;
use crate::mailbox::{ObjectCall, OpeningsCall};

/// After which a client may ask again where there is no place for another mailbox.
const PLACE_RETRY_AFTER: Duration = Duration::from_secs(DAY_SECONDS);

/// Holds what a host that has the door knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HivemindDoor {
    relay_name: String,
}

impl HivemindDoor {
    /// Makes the door of a relay with this name, which is in everything that clients sign for it.
    pub const fn new(relay_name: String) -> Self {
        Self { relay_name }
    }

    /// Answers `GET /pubkey`.
    pub(crate) fn name_answer(&self) -> Answer {
        Answer::of_json(json!({ "pubkey": self.relay_name }).to_string())
    }
}

/// Says what a request of this door comes to.
pub(crate) enum Routed {
    /// An answer that costs nothing.
    Refused(Answer),
    /// The relay's name.
    Name,
    /// Something with a body.
    Wanted(Wanted),
}

/// Says what is asked with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Deposit,
    Retrieval,
}

/// Finds what a path and a method ask for. Absent is a path of another door, or a page's question whether it may ask.
pub(crate) fn route(method: &str, path: &str, is_of_page: bool) -> Option<Routed> {
    let routed = match (path, method) {
        (_, "OPTIONS") => return None,
        ("/pubkey", "GET" | "HEAD") => Routed::Name,
        // Any page in the world can make its visitors' browsers ask.
        ("/deposit" | "/retrieve", "POST") if is_of_page => Routed::Refused(Refusal::OfPage.answer()),
        ("/deposit", "POST") => Routed::Wanted(Wanted::Deposit),
        ("/retrieve", "POST") => Routed::Wanted(Wanted::Retrieval),
        ("/pubkey" | "/deposit" | "/retrieve", _) => Routed::Refused(Refusal::NotFound.answer()),
        _ => return None,
    };
    Some(routed)
}

/// Answers a network that makes too many requests.
pub(crate) fn too_many(retry_after: Duration) -> Answer {
    Refusal::TooMany { retry_after }.answer()
}

/// Answers where clients of a network have too much of their answers still to read.
pub(crate) fn answers_unread() -> Answer {
    Refusal::AnswersUnread.answer()
}

/// Says what a request of hivemind-rendezvous' users needs next.
#[derive(Debug)]
#[must_use]
pub enum HivemindStep {
    /// The request's body.
    ReadBody(ReadHivemind),
    /// Whether a signature fits.
    Verify(VerifyHivemind),
    /// Objects' answers.
    Ask(AskHivemind),
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadHivemind {
    pub(crate) door: Arc<HivemindDoor>,
    pub(crate) wanted: Wanted,
    pub(crate) network: HandedOver,
}

impl ReadHivemind {
    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        BODY_MAX_BYTES
    }

    /// Goes on with the body, or with why there is none.
    pub(crate) fn resume(self, now: UnixMillis, body: Result<Vec<u8>, BodyError>) -> Result<HivemindStep, Answer> {
        let Self { door, wanted, network } = self;
        let body = body.map_err(|error| Refusal::from(error).answer())?;
        let read = match wanted {
            Wanted::Deposit => UnverifiedDeposit::parse(now, &body, &door.relay_name).map(Unverified::Deposit),
            Wanted::Retrieval => UnverifiedRetrieval::parse(now, &body, &door.relay_name).map(Unverified::Retrieval),
        };
        let request = read.map_err(|refused| Refusal::from(refused).answer())?;
        let verify = VerifyHivemind { request: Box::new(request), network };
        // Most deposits are nobody's.
        if verify.proof().is_none() {
            verify.resume(true).map(HivemindStep::Ask)
        } else {
            Ok(HivemindStep::Verify(verify))
        }
    }
}

#[derive(Debug)]
enum Unverified {
    Deposit(UnverifiedDeposit),
    Retrieval(UnverifiedRetrieval),
}

/// Waits for whether a signature fits.
#[derive(Debug)]
pub struct VerifyHivemind {
    request: Box<Unverified>,
    network: HandedOver,
}

impl VerifyHivemind {
    /// Returns the proof whose signature is to be checked. Where there is none, it fits.
    pub const fn proof(&self) -> Option<&Proof> {
        match &*self.request {
            Unverified::Deposit(deposit) => deposit.proof(),
            Unverified::Retrieval(retrieval) => Some(retrieval.proof()),
        }
    }

    /// Goes on with whether it fits.
    pub(crate) fn resume(self, fits: bool) -> Result<AskHivemind, Answer> {
        let Self { request, network } = self;
        let asks = match *request {
            Unverified::Deposit(deposit) => deposit.accept(fits).map(|deposit| Asks::begin(Arc::new(deposit))),
            Unverified::Retrieval(retrieval) => retrieval.accept(fits).map(|proof| Asks::Place(Used::of(&proof))),
        };
        asks.map(|asks| AskHivemind { asks, network }).map_err(|refused| Refusal::from(refused).answer())
    }
}

/// Holds what objects are told of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    mailbox: MailboxId,
    proof: ProofId,
    until: UnixMillis,
}

impl Used {
    fn of(proof: &Proof) -> Self {
        Self { mailbox: proof.key().mailbox(), proof: proof.id(), until: proof.ends_at() }
    }
}

/// Says what is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asks {
    /// The depositor's own mailbox, to note the proof.
    Note { deposit: Arc<Deposit>, used: Used, has_room: bool },
    /// Whether there is room for that, because nothing is there yet.
    RoomForNote { deposit: Arc<Deposit>, used: Used },
    /// The recipient's mailbox, to take the message in.
    Leave { deposit: Arc<Deposit>, has_room: bool },
    /// Whether there is room for that, because nobody has opened it.
    RoomForMessage { deposit: Arc<Deposit> },
    /// Whether there is a place for the mailbox of who asks.
    Place(Used),
    /// That mailbox.
    Retrieve { used: Used, opens: bool },
}

impl Asks {
    fn begin(deposit: Arc<Deposit>) -> Self {
        match deposit.depositor.as_ref().map(Used::of) {
            Some(used) => Self::Note { deposit, used, has_room: false },
            None => Self::Leave { deposit, has_room: false },
        }
    }
}

/// Says what is asked, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The count of mailboxes.
    Openings(ObjectCall),
    /// An object of this door.
    Hivemind(HivemindCall),
}

/// Waits for an object's answer.
#[derive(Debug)]
pub struct AskHivemind {
    asks: Asks,
    network: HandedOver,
}

/// Says what comes after an object's answer.
#[derive(Debug)]
pub enum HivemindNext {
    /// To ask another.
    Ask(AskHivemind),
    /// Nothing: this is the client's answer.
    Answer(Answer),
}

impl AskHivemind {
    /// Returns the most bytes of the client's answer, where what is in it is handed over once. Then a host that keeps answers
    /// until they are read has to have room for it before it asks.
    pub const fn hands_over(&self) -> Option<usize> {
        match &self.asks {
            Asks::Place(_) | Asks::Retrieve { .. } => Some(RETRIEVAL_MOST_BYTES),
            Asks::Note { .. } | Asks::RoomForNote { .. } | Asks::Leave { .. } | Asks::RoomForMessage { .. } => None,
        }
    }

    /// Returns whom to ask what.
    pub fn recipient(&self) -> Recipient {
        let network = self.network;
        Recipient::Hivemind(match &self.asks {
            Asks::Place(Used { mailbox, .. }) => {
                let take = OpeningsCall::Take { address: mailbox.place(), network };
                return Recipient::Openings(ObjectCall::Openings(take));
            }
            Asks::Note { used: Used { mailbox, proof, until }, has_room, .. } => {
                HivemindCall::NoteDeposit { mailbox: *mailbox, proof: *proof, until: *until, has_room: *has_room }
            }
            Asks::RoomForNote { .. } => HivemindCall::TakeRoom { network, bytes: UNOPENED_LEAST },
            Asks::Leave { deposit, has_room } => {
                HivemindCall::Deposit { deposit: Arc::clone(deposit), network, has_room: *has_room }
            }
            Asks::RoomForMessage { deposit } => {
                HivemindCall::TakeRoom { network, bytes: deposit.quoted_payload.len() as u64 }
            }
            Asks::Retrieve { used: Used { mailbox, proof, until }, opens } => {
                HivemindCall::Retrieve { mailbox: *mailbox, proof: *proof, until: *until, opens: *opens }
            }
        })
    }

    /// Goes on with the answer of whom [`AskHivemind::recipient`] names.
    pub fn resume(self, answer: Answer) -> HivemindNext {
        let Self { asks, network } = self;
        let is_done = answer.status == 200;
        let needs = |what| answer.outcome == Outcome::Refused(what);
        let asks = match asks {
            Asks::Note { deposit, used, has_room: false } if needs(NEEDS_ROOM) => Asks::RoomForNote { deposit, used },
            Asks::RoomForNote { deposit, used } if is_done => Asks::Note { deposit, used, has_room: true },
            Asks::Note { deposit, .. } if is_done => Asks::Leave { deposit, has_room: false },
            Asks::Leave { deposit, has_room: false } if needs(NEEDS_ROOM) => Asks::RoomForMessage { deposit },
            Asks::RoomForMessage { deposit } if is_done => Asks::Leave { deposit, has_room: true },
            Asks::Place(used) => Asks::Retrieve { used, opens: is_done },
            Asks::Retrieve { .. } if needs(NEEDS_PLACE) => {
                return HivemindNext::Answer(Refusal::NoPlace { retry_after: PLACE_RETRY_AFTER }.answer());
            }
            _ => return HivemindNext::Answer(answer),
        };
        HivemindNext::Ask(Self { asks, network })
    }
}

/// Answers where an object has not.
pub(crate) fn failed() -> Answer {
    Refusal::Internal.answer()
}
