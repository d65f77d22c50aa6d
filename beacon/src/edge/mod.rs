//! From a request to its answer: what one process does, and what it remembers.
//!
//! A request comes in as a [`Head`]. A [`Step`] comes out: the answer, or what the host has to do before there
//! is one. The host then resumes that step with what came of it, and gets the next one. An answer for which everything
//! is at hand is the first step.
//!
//! What is remembered is for this process alone and goes with it: a first line that costs nothing, not an exact count.
//! The fairness of rosters does not depend on it.

mod announce;
mod client;
mod directory;
mod goop2;
mod head;
mod hivemind;
mod list_answer;
mod lists;
mod live;
mod mailbox;
mod mesh;
mod pages;
mod registration;
mod retalk;
mod route;
mod step;
mod templates;

use std::sync::Arc;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::kept_lists::KeptLists;
use rendezvous_protocol::limits::{
    KEPT_LISTS_MAX_BYTES, LIVE_OPENING_REQUESTS, RATE_LIMIT_NETWORKS, SIGNATURE_CACHE_TICKETS,
};
use rendezvous_protocol::live::Penalties;
use rendezvous_protocol::rate_limit::{NewCommunities, RateLimit};
use rendezvous_protocol::request::{RequestError, choose_community};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::signature_cache::SignatureCache;
use rendezvous_protocol::time::UnixMillis;

pub use head::{Head, Upgrade};
pub use step::{FetchList, OpenLive, ReadBody, ReadHeaders, Relay, Step, Unanswered, Verify};

use crate::admin::{self, Refusals};
use crate::answer::Answer;
use crate::asset::Asset;
use crate::config::Config;
use crate::documents;
use crate::goop2::Door as Goop2Door;
use crate::hivemind::HivemindDoor;
use crate::mailbox::Peers;
use crate::mesh::EnvelopeDoor;
use crate::network_shares::NetworkShares;
use crate::note::Note;
use crate::platform::Platform;
use crate::registration::{Gate, RegistrationDoor};
use crate::retalk::{Door as RetalkDoor, Renewals};
use crate::spare::SpareObjects;
use crate::templates::Catalogue;
use crate::turn::Issuer;

/// Holds what one process remembers.
#[derive(Debug)]
pub struct Edge {
    config: Config,
    platform: Platform,
    secret: Secret,
    requests: RateLimit,
    /// Limits requests of `/admin`.
    attempts: RateLimit,
    refusals: Refusals,
    live: Live,
    goop2: Option<(Goop2Door, TakeGuest)>,
    retalk: Option<(RetalkDoor, TakeRetalk)>,
    renewals: Renewals,
    directory: Option<TakeDirectory>,
    registration: Option<(Arc<RegistrationDoor>, TakeRegistration)>,
    /// Absent where nobody has to be registered.
    gate: Option<Arc<dyn Gate>>,
    replication: Option<Replication>,
    envelopes: Option<(Arc<EnvelopeDoor>, TakeEnvelope)>,
    hivemind: Option<(Arc<HivemindDoor>, TakeHivemind)>,
    documents: Option<FindDocument>,
    templates: Option<(Arc<Catalogue>, TakeTemplate)>,
    /// Absent where there is no relay.
    turn: Option<Box<dyn Issuer>>,
    new_communities: NewCommunities,
    lists: KeptLists,
    signatures: SignatureCache,
    spares: SpareObjects,
    spread: Spread,
    /// The events of which one note is enough: they will not be otherwise for the next request.
    said: Vec<&'static str>,
    notes: Vec<Note>,
}

/// Holds what one process remembers of connections that were opened.
#[derive(Debug)]
struct Live {
    openings: RateLimit,
    penalties: Penalties,
    /// Connections to mailboxes: each mailbox bounds its own, but whoever likes has many mailboxes.
    listeners: NetworkShares,
}

/// Holds the peers of a relay, and counts whose pushes are being read.
#[derive(Debug)]
struct Replication {
    peers: Arc<Peers>,
    take: TakePush,
    /// Whoever pushes is known by the body alone, which is long.
    read: NetworkShares,
}

/// Takes a request that comes by the door for goop2's peers. Whether its head has every header is the last.
type TakeGuest = fn(&mut Edge, UnixMillis, &Head<'_>, &str, &str, bool) -> Step;

/// Takes a request that comes by the door for retalk's users, if it is one.
type TakeRetalk = fn(&mut Edge, UnixMillis, &Head<'_>, &str, &str) -> Option<Step>;

/// Takes a request about the directory, if it is one: its path without `/v1/`, and its query.
type TakeDirectory = fn(&mut Edge, UnixMillis, &Head<'_>, &str, &str) -> Option<Step>;

/// Takes a request at the door for another fleet's envelopes, if it is one.
type TakeEnvelope = fn(&mut Edge, UnixMillis, &Head<'_>, &str) -> Option<Step>;

/// Takes a request about registration: its path, and its query.
type TakeRegistration = fn(&mut Edge, UnixMillis, &Head<'_>, &str, &str) -> Step;

/// Takes a request of hivemind-rendezvous' users, if it is one.
type TakeHivemind = fn(&mut Edge, UnixMillis, &Head<'_>, &str) -> Option<Step>;

/// Takes a request about templates: its path without the first slash.
type TakeTemplate = fn(&mut Edge, UnixMillis, &Head<'_>, &Catalogue, &str) -> Step;

/// Returns the document at a path.
type FindDocument = fn(&str) -> Option<Asset>;

/// Takes a push of a peer.
type TakePush = fn(&mut Edge, UnixMillis, &Head<'_>) -> Step;

impl Edge {
    /// Makes an edge that remembers nothing yet. `secret` and `seed` are random; only the secret has to be secure.
    /// Edges that share a process share the secret.
    pub fn new(config: Config, platform: Platform, secret: Secret, seed: u64) -> Self {
        let [address, network] = [config.address_requests_per_minute, config.network_requests_per_minute]
            .map(|requests| (requests / LIVE_OPENING_REQUESTS).max(1));
        Self {
            secret,
            requests: RateLimit::new(
                config.address_requests_per_minute,
                config.network_requests_per_minute,
                RATE_LIMIT_NETWORKS,
            ),
            attempts: RateLimit::new(admin::ATTEMPTS_PER_ADDRESS, admin::ATTEMPTS_PER_NETWORK, RATE_LIMIT_NETWORKS),
            refusals: Refusals::default(),
            live: Live {
                openings: RateLimit::new(address, network, RATE_LIMIT_NETWORKS),
                penalties: Penalties::new(RATE_LIMIT_NETWORKS),
                listeners: NetworkShares::default(),
            },
            goop2: None,
            retalk: None,
            renewals: Renewals::new(),
            directory: None,
            registration: None,
            gate: None,
            replication: None,
            envelopes: None,
            hivemind: None,
            documents: None,
            templates: None,
            turn: None,
            new_communities: NewCommunities::new(platform.new_communities_per_minute(), RATE_LIMIT_NETWORKS),
            lists: KeptLists::new(KEPT_LISTS_MAX_BYTES),
            signatures: SignatureCache::new(SIGNATURE_CACHE_TICKETS),
            spares: SpareObjects::default(),
            spread: Spread(seed),
            said: Vec::new(),
            notes: Vec::new(),
            platform,
            config,
        }
    }

    /// Returns the same edge, of a host that has the documents. Where a host has none, nothing of them is reached.
    #[must_use]
    pub fn with_documents(self) -> Self {
        Self { documents: Some(documents::at), ..self }
    }

    /// Counts an answer that is a refusal. One that an object gives the object counts.
    fn counted(&mut self, step: Step) -> Step {
        if let Step::Answer(answer) = &step {
            self.refusals.count(answer.outcome);
        }
        step
    }

    /// Counts an answer that goes out in the place of an object's.
    pub fn answer_in_place(&mut self, answer: Answer) -> Step {
        self.counted(Step::Answer(answer))
    }

    /// Takes what was counted of refusals, for the edge that tells the operator of them.
    pub fn take_refusals(&mut self) -> Refusals {
        std::mem::take(&mut self.refusals)
    }

    /// Adds what other edges have counted.
    pub fn add_refusals(&mut self, others: &Refusals) {
        self.refusals.add(others);
    }

    /// Returns what there is for the log since this was last called.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn note_once(&mut self, note: Note) {
        if !self.said.contains(&note.event) {
            self.said.push(note.event);
            self.notes.push(note);
        }
    }

    fn community(&self, query: Option<&str>, body: Option<&str>) -> Result<Community, RequestError> {
        let community = choose_community(query, body, &self.config.default_community)?;
        if self.config.serves(&community) { Ok(community) } else { Err(RequestError::CommunityUnknown(community)) }
    }
}

/// Draws numbers that spread announces out: SplitMix64. Nobody gains anything by guessing them.
#[derive(Debug)]
struct Spread(u64);

impl Spread {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }
}
