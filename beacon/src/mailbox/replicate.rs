//! A push that comes in, `POST /v1/replicate`: from a request to what its mailbox is asked.
//!
//! A peer is believed nothing but who it is. It can bring what authors signed, within a budget of its own, to mailboxes
//! whose owners want them at both relays; it opens none. So a hostile peer costs what its budget allows, and changes
//! nothing that the authors could not have changed by bringing the same records here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::envelope::{Unverified, Verified, VerifiedAck};
use rendezvous_protocol::mailbox::limits::{REPLICATE_MAX_BYTES, REQUEST_SKEW};
use rendezvous_protocol::mailbox::proof::Proof;
use rendezvous_protocol::mailbox::record::{Card, Deposit, Policy, RecordError, RecordRules, Replicate};
use rendezvous_protocol::mailbox::refused::Refused;
use rendezvous_protocol::mailbox::replica::{Item, ReplicateBody};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::request::RequestError;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::token_bucket::TokenBucket;

use crate::answer::Answer;
use crate::mailbox::call::ObjectName;
use crate::mailbox::peers::Peers;
use crate::network_shares::{HeldThere, NetworkShare, NetworkShares};
use crate::problem::Problem;

/// Pushes that one peer may make in a minute, and as many at once. One takes up to 64 records.
const PER_MINUTE: u64 = 120;

const BUDGET: TokenBucket = TokenBucket::new(Duration::from_millis(60_000 / PER_MINUTE), PER_MINUTE);

/// How long a push is good, and its nonce is remembered.
const NONCE_LASTS: Duration = REQUEST_SKEW.saturating_mul(2);

/// Nonces that are remembered of one peer: what its budget lets in while one is good, and the bucket full at first.
const NONCES_MAX: usize = 3 * PER_MINUTE as usize;

/// Holds what one process remembers of its peers' pushes.
#[derive(Debug)]
pub struct PeerLimits(Vec<PeerLimit>);

#[derive(Debug, Default)]
struct PeerLimit {
    full_at: u64,
    /// The oldest first.
    nonces: VecDeque<(Bytes<16>, UnixMillis)>,
}

impl PeerLimits {
    /// Makes limits of which nothing is used.
    pub fn new(peers: &Peers) -> Self {
        Self((0..peers.len()).map(|_| PeerLimit::default()).collect())
    }

    fn admit(&mut self, now: UnixMillis, peer: usize, nonce: Bytes<16>) -> Result<(), Problem> {
        let limit = self.0.get_mut(peer).ok_or(Problem::PeerUnknown)?;
        BUDGET
            .take(&mut limit.full_at, now.as_u64())
            .map_err(|wait| Problem::PeerThrottled { retry_after: Duration::from_millis(wait) })?;
        limit.nonces.retain(|(_, until)| *until >= now && *until <= now.after(NONCE_LASTS));
        if limit.nonces.iter().any(|(used, _)| *used == nonce) {
            return Err(Problem::Mailbox(Refused::Replayed));
        }
        if limit.nonces.len() >= NONCES_MAX {
            limit.nonces.pop_front();
        }
        limit.nonces.push_back((nonce, now.after(NONCE_LASTS)));
        Ok(())
    }
}

/// Pushes of a household, a site, a provider and all that are read and verified at once. A peer makes one at a time; as
/// anybody can begin one, this bounds what their bodies take of memory.
const AT_ONCE: [usize; 4] = [4, 8, 16, 32];

/// When a push that was one too many at once may be made again.
const AT_ONCE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Waits for the body of a push.
#[derive(Debug)]
pub struct ReadPush {
    peers: Arc<Peers>,
    network: HandedOver,
    place: NetworkShare,
}

impl ReadPush {
    /// Begins to serve a push, if not too many from there are being read.
    pub(crate) fn begin(
        peers: Arc<Peers>,
        network: HandedOver,
        read: &NetworkShares,
        secret: &Secret,
    ) -> Result<Self, Problem> {
        let [household, site, provider, all] = AT_ONCE;
        let may = |held: HeldThere| {
            held.household < household && held.site < site && held.provider < provider && held.all < all
        };
        let place = read.take(network.hashed(secret), 1, may);
        let place = place.ok_or(Problem::PeerThrottled { retry_after: AT_ONCE_RETRY_AFTER })?;
        Ok(Self { peers, network, place })
    }

    /// Returns how many bytes the body may have.
    pub const fn most(&self) -> usize {
        REPLICATE_MAX_BYTES
    }

    /// Goes on with the body, or with why there is none.
    ///
    /// # Errors
    /// The answer, where the push is refused.
    pub fn resume(self, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Result<VerifyPush, Answer> {
        let read = body.map_err(|error| match error {
            // It has another limit than the bodies that this error is of.
            RequestError::BodyTooLarge => Problem::PushTooLarge,
            error => Problem::Request(error),
        });
        read.and_then(|body| self.read(now, body)).map_err(|problem| problem.answer_about_mailbox(now))
    }

    fn read(self, now: UnixMillis, body: Vec<u8>) -> Result<VerifyPush, Problem> {
        let Self { peers, network, place } = self;
        let ReplicateBody { relay, .. } = ReplicateBody::parse(&body)?;
        let peer = peers.of_key(&relay.public_key()).ok_or(Problem::PeerUnknown)?;
        let relay = Box::new(relay.check(&RecordRules { now, audiences: peers.own() })?);
        Ok(VerifyPush { peers, network, peer, relay, body, place })
    }
}

/// Waits for whether the peer's own signature fits.
#[derive(Debug)]
pub struct VerifyPush {
    peers: Arc<Peers>,
    network: HandedOver,
    peer: usize,
    relay: Box<Unverified<Replicate>>,
    body: Vec<u8>,
    place: NetworkShare,
}

impl VerifyPush {
    /// Verifies the peer's signature.
    pub fn verify_signature(&self) -> bool {
        self.relay.verify_signature()
    }

    /// Goes on with whether it fits, within what the peer may.
    ///
    /// # Errors
    /// The answer, where the push is refused.
    pub fn resume(self, now: UnixMillis, fits: bool, limits: &mut PeerLimits) -> Result<VerifyItems, Answer> {
        let Self { peers, network, peer, relay, body, place } = self;
        let admit = || -> Result<VerifyItems, Problem> {
            let relay = relay.accept(fits)?;
            let Replicate { mailbox, nonce, .. } = *relay.payload();
            limits.admit(now, peer, nonce)?;
            Ok(VerifyItems { peers, network, peer, mailbox, body, _place: place })
        };
        admit().map_err(|problem| problem.answer_about_mailbox(now))
    }
}

/// Waits for the items of a push to be verified, which is most of the work.
#[derive(Debug)]
pub struct VerifyItems {
    peers: Arc<Peers>,
    network: HandedOver,
    peer: usize,
    mailbox: Address,
    body: Vec<u8>,
    _place: NetworkShare,
}

impl VerifyItems {
    /// Verifies each item as if its author had brought it.
    ///
    /// # Errors
    /// The answer, where the push is refused.
    pub fn verify(self, now: UnixMillis) -> Result<PushCall, Answer> {
        let Self { peers, network, peer, mailbox, body, _place } = self;
        let body = ReplicateBody::parse(&body).map_err(|error| Problem::from(error).answer_about_mailbox(now))?;
        let rules = RecordRules { now, audiences: peers.own() };
        let items = body.items().map(|item| item.and_then(|item| verify(item, mailbox, &rules)));
        // The text of an error is for an author, not for the relay between.
        let items = items.map(|item| item.map_err(|error| error.code())).collect();
        Ok(PushCall { mailbox, peer, network, items, peers: Arc::clone(&peers) })
    }
}

fn verify(item: Item<'_>, mailbox: Address, rules: &RecordRules<'_>) -> Result<PushedItem, RecordError> {
    let is_of = |found: Address| {
        if found == mailbox { Ok(()) } else { Err(RecordError::Malformed("it is about another mailbox".to_owned())) }
    };
    match item {
        Item::Card(card) => {
            is_of(card.payload().mailbox)?;
            card.verify(rules).map(|card| PushedItem::Card(Box::new(card)))
        }
        Item::Policy(policy) => {
            is_of(policy.payload().mailbox)?;
            policy.verify(rules).map(|policy| PushedItem::Policy(Box::new(policy)))
        }
        Item::Ack(ack) => {
            is_of(ack.ack.payload().mailbox)?;
            ack.verify().map(|ack| PushedItem::Ack(Box::new(ack)))
        }
        Item::Deposit(body) => {
            is_of(body.deposit.payload().mailbox)?;
            let deposit = Box::new(body.deposit.verify(rules)?);
            Ok(PushedItem::Deposit { deposit, sealed: body.sealed.into_owned(), proof: body.proof })
        }
    }
}

/// Holds one item, which its author signed.
#[derive(Clone, Debug)]
pub(crate) enum PushedItem {
    Card(Box<Verified<Card>>),
    Policy(Box<Verified<Policy>>),
    Ack(Box<VerifiedAck>),
    Deposit { deposit: Box<Verified<Deposit>>, sealed: String, proof: Option<Proof> },
}

/// Holds what a mailbox is asked by a push.
#[derive(Clone, Debug)]
pub struct PushCall {
    pub(crate) mailbox: Address,
    pub(crate) peer: usize,
    pub(crate) network: HandedOver,
    /// In the order in which they came; of one that no mailbox is asked about the code of why.
    pub(crate) items: Vec<Result<PushedItem, &'static str>>,
    peers: Arc<Peers>,
}

impl PushCall {
    /// Returns the object's name.
    pub const fn object(&self) -> ObjectName {
        ObjectName::Mailbox(self.mailbox)
    }

    /// Returns where the peer is that pushes.
    pub(crate) fn peer(&self) -> Option<&Origin> {
        self.peers.origin(self.peer)
    }

    /// Returns the relay's own origins.
    pub(crate) fn own(&self) -> &[Origin] {
        self.peers.own()
    }
}
