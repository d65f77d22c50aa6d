//! From a request to its answer: what one process does, and what it remembers.
//!
//! A request comes in as a [`Head`]. A [`Step`] comes out: the answer, or what the host has to do before there
//! is one. The host then resumes that step with what came of it, and gets the next one. An answer for which everything
//! is at hand is the first step.
//!
//! What is remembered is for this process alone and goes with it: a first line that costs nothing, not an exact count.
//! The fairness of rosters does not depend on it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::kept_lists::KeptLists;
use rendezvous_protocol::limits::{
    KEPT_LISTS_MAX_BYTES, LIVE_OPENING_REQUESTS, RATE_LIMIT_NETWORKS, SIGNATURE_CACHE_TICKETS,
};
use rendezvous_protocol::live::{CHALLENGE_BYTES, CloseCode, Penalties, Position};
use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::network::{Client, NetworkHash, RatePath};
use rendezvous_protocol::origin::{Origin, is_foreign};
use rendezvous_protocol::peer_list::{Excerpt, PeerList};
use rendezvous_protocol::rate_limit::{NewCommunities, RateLimit, RateLimited};
use rendezvous_protocol::request::{
    Exclusion, RequestError, TicketBody, choose_community, choose_limit, signs_community,
};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::signature_cache::SignatureCache;
use rendezvous_protocol::ticket::{Purpose, Ticket, TicketError, Unverified, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use serde::Serialize;

use crate::admin::{self, Refusals};
use crate::answer::{AnnounceFields, Answer};
use crate::asset::{self, Asset};
use crate::call::{Call, LIST_TIMEOUT, OBJECT_TIMEOUT, ObjectError};
use crate::circuit_relay;
use crate::config::{Config, MailDoor, Viewers};
use crate::directory::{self, DirectoryStep, HubCall, ReadRecord, Wanted as WantedOfHub};
use crate::documents;
use crate::goop2::{self, Asked, Door, GuestConnection, GuestStep, ReadPresence};
use crate::hivemind::{self, HivemindDoor, HivemindStep, ReadHivemind, VerifyHivemind};
use crate::info;
use crate::live::{Checks, Connection, Kind, Opened, Opening};
use crate::mailbox::{
    self, CountedAs, ListenerConnection, MailboxStep, OpenListener, Peers, ReadPush, ReadRecords, Routed, VerifyRecords,
};
use crate::mesh::{self, EnvelopeDoor, EnvelopeRequest};
use crate::methods::{GET, GET_ALONE, POST};
use crate::network_shares::NetworkShares;
use crate::note::{Details, Note};
use crate::own_names::is_own_machine;
use crate::platform::{AddressSource, Doors, Platform};
use crate::problem::{HubProblem, Problem, RegistrationProblem, internal};
use crate::query::{matches, origin_of, parameter, path_and_query, prefers_json};
use crate::registration::{self, Gate, RegistrationDoor, RegistrationStep};
use crate::retalk::{self, AskRetalk, ReadRetalk, RetalkStep, VerifyRetalk};
use crate::spare::{Attempt, SpareObjects};
use crate::survey::{About, Summary, Survey};
use crate::templates::{self, Catalogue, TemplateAnswer};
use crate::turn::{self, Issuer, Place};

const ADMIN: &str = "GET, HEAD";

/// Holds what a request says of itself before its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL, normalised: absolute, or its path and query alone.
    pub url: &'a str,
    /// The client's address, absent where the source that [`Platform`] and configuration name holds none.
    pub address: Option<IpAddr>,
    /// The number of the client's autonomous system, empty where the host does not know it.
    pub autonomous_system: &'a str,
    /// `If-None-Match`, empty where there is none.
    pub if_none_match: &'a str,
    /// `Origin`, where there is one.
    pub origin: Option<&'a str>,
    /// `Host`, with its port, where the request names one.
    pub host: Option<&'a str>,
    /// What the connection is to become.
    pub upgrade: Upgrade,
    /// `Last-Event-ID`, where there is one.
    pub last_event_id: Option<&'a str>,
    /// The bytes of the body, where that is known before it is read. A host that does not describe every header says so of
    /// requests with a body alone.
    pub body_bytes: Option<u64>,
}

/// Says what a request wants its connection to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing else.
    #[default]
    None,
    /// A WebSocket of version 13 (RFC 6455), with everything that its handshake has.
    WebSocket,
    /// Anything else, or a handshake that is not whole.
    Other,
}

/// Says what one request needs next.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Nothing: this is the answer.
    Answer(Answer),
    /// A file of the page, which is the answer.
    Asset(Asset),
    /// Headers of which few requests have need.
    ReadHeaders(ReadHeaders),
    /// The request's body.
    ReadBody(ReadBody),
    /// Whether a signature fits.
    Verify(Verify),
    /// An object's answer, which goes to the client as it comes.
    Relay(Relay),
    /// An object's list.
    FetchList(FetchList),
    /// A connection that stays.
    OpenLive(Box<OpenLive>),
    /// What a request of goop2's peers needs.
    Guest(Box<GuestStep>),
    /// What a request about a mailbox needs.
    Mailbox(Box<MailboxStep>),
    /// What a request of retalk's users needs.
    Retalk(Box<RetalkStep>),
    /// What a request of hivemind-rendezvous' users needs.
    Hivemind(Box<HivemindStep>),
    /// What a request about the directory needs.
    Directory(Box<DirectoryStep>),
    /// What a request about registration needs.
    Registration(Box<RegistrationStep>),
    /// What a request at the door for another fleet's envelopes needs: two headers, the body, and then its store's answer.
    Envelope(EnvelopeRequest),
    /// Nothing: this is the answer, whose body is the catalogue's.
    Template(Box<TemplateAnswer>),
}

/// Says who brings a ticket, and what for.
#[derive(Clone, Copy)]
struct Bringer {
    client: Client,
    purpose: Purpose,
    /// Whether a page of an origin does that is not the community's.
    is_foreign: bool,
}

impl fmt::Debug for Bringer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the client: its address is for nobody to read.
        let Self { client: _, purpose, is_foreign } = self;
        let mut fields = formatter.debug_struct("Bringer");
        fields.field("purpose", purpose).field("is_foreign", is_foreign).finish_non_exhaustive()
    }
}

/// Says who is told what is wrong with a ticket.
#[derive(Debug)]
struct Caller {
    claim: Exclusion,
    /// Whether the ticket signs a community. If not, the client may be one that takes any status but 2xx for an outage.
    signs_community: bool,
}

/// Takes a request that comes by the door for goop2's peers.
type TakeGuest = fn(&mut Edge, UnixMillis, &Head<'_>, &str, &str) -> Step;

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
type TakeTemplate = fn(&mut Edge, UnixMillis, &Head<'_>, &str) -> Step;

/// Returns the document at a path.
type FindDocument = fn(&str) -> Option<Asset>;

/// Takes a push of a peer.
type TakePush = fn(&mut Edge, UnixMillis, &Head<'_>) -> Step;

/// Holds the peers of a relay, and counts whose pushes are being read.
#[derive(Debug)]
struct Replication {
    peers: Arc<Peers>,
    take: TakePush,
    /// Whoever pushes is known by the body alone, which is long.
    read: NetworkShares,
}

/// Holds what one process remembers of connections that were opened.
#[derive(Debug)]
struct Live {
    openings: RateLimit,
    penalties: Penalties,
    /// Connections to mailboxes: each mailbox bounds its own, but whoever likes has many mailboxes.
    listeners: NetworkShares,
}

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
    goop2: Option<(Door, TakeGuest)>,
    retalk: Option<(retalk::Door, TakeRetalk)>,
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

    /// Returns the same edge with a door for goop2's peers. Where a host has none, nothing of the door is reached.
    #[must_use]
    pub fn with_goop2(self, door: Door) -> Self {
        Self { goop2: Some((door, Self::take_guest)), ..self }
    }

    /// Returns the same edge with a door for retalk's users. Where a host has none, nothing of the door is reached.
    #[must_use]
    pub fn with_retalk(self, door: retalk::Door) -> Self {
        Self { retalk: Some((door, Self::take_retalk)), ..self }
    }

    /// Returns the same edge, of a host that has a hub. Where a host has none, nothing of the directory is reached.
    #[must_use]
    pub fn with_directory(self) -> Self {
        Self { directory: Some(Self::take_directory), ..self }
    }

    /// Returns the same edge, of a host that registers keys. Where a host does not, nothing of registration is reached.
    #[must_use]
    pub fn with_registration(self, door: Arc<RegistrationDoor>) -> Self {
        let gate: Arc<dyn Gate> = Arc::clone(&door) as Arc<dyn Gate>;
        Self { registration: Some((door, Self::take_registration)), gate: Some(gate), ..self }
    }

    /// Returns the same edge with a door for another fleet's envelopes. Where a host has none, nothing of it is reached.
    #[must_use]
    pub fn with_envelopes(self, door: Arc<EnvelopeDoor>) -> Self {
        Self { envelopes: Some((door, Self::take_envelope)), ..self }
    }

    /// Returns the same edge with a door for hivemind-rendezvous' users. Where a host has none, nothing of it is reached.
    #[must_use]
    pub fn with_hivemind(self, door: Arc<HivemindDoor>) -> Self {
        Self { hivemind: Some((door, Self::take_hivemind)), ..self }
    }

    /// Returns the same edge, of a host that has the documents. Where a host has none, nothing of them is reached.
    #[must_use]
    pub fn with_documents(self) -> Self {
        Self { documents: Some(documents::at), ..self }
    }

    /// Returns the same edge, of a host that offers templates. Where a host has none, nothing of them is reached.
    #[must_use]
    pub fn with_templates(self, catalogue: Arc<Catalogue>) -> Self {
        Self { templates: Some((catalogue, Self::take_template)), ..self }
    }

    /// Returns the same edge, of a relay with peers. Where a host has none, nothing of replication is reached.
    #[must_use]
    pub fn with_replication(self, peers: Arc<Peers>) -> Self {
        let replication = Replication { peers, take: Self::take_push, read: NetworkShares::default() };
        Self { replication: Some(replication), ..self }
    }

    /// Returns the same edge, of a host that computes what opens a relay, if one is configured.
    #[must_use]
    pub fn with_turn(self) -> Self {
        let relay = turn::Relay::new(&self.config, self.platform.edges(), self.secret);
        Self { turn: relay.map(|relay| Box::new(relay) as Box<dyn Issuer>), ..self }
    }

    /// Takes a request.
    pub fn receive(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        let step = self.route(now, head);
        self.counted(step)
    }

    fn route(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        let reads = matches!(head.method, "GET" | "HEAD");
        let writes = head.method == "POST";
        let (path, query) = path_and_query(head.url);
        if self.platform.doors() == Doors::Operator && path != admin::PATH && Asset::at(path).is_none() {
            return Step::Answer(plain(now, &Problem::NotFound));
        }
        if let (Some((_, take)), Some(rest)) = (&self.goop2, path.strip_prefix("/goop2/")) {
            return take(self, now, head, rest, query);
        }
        if let Some((_, take)) = self.registration.as_ref().filter(|_| registration::is_route(path))
            && head.method != "OPTIONS"
        {
            let take = *take;
            return take(self, now, head, path, query);
        }
        if let (Some((_, take)), Some(rest)) = (&self.templates, path.strip_prefix('/'))
            && head.method != "OPTIONS"
            && templates::is_route(rest)
        {
            return take(self, now, head, rest);
        }
        if let Some((_, take)) = &self.envelopes
            && let take = *take
            && let Some(step) = take(self, now, head, path)
        {
            return step;
        }
        if let Some((_, take)) = &self.hivemind
            && let take = *take
            && let Some(step) = take(self, now, head, path)
        {
            return step;
        }
        if let Some(Replication { take, .. }) = self.replication.as_ref().filter(|_| path == mailbox::REPLICATE) {
            let take = *take;
            return take(self, now, head);
        }
        if let (Some(take), Some(rest)) = (self.directory, path.strip_prefix("/v1/"))
            && let Some(step) = take(self, now, head, rest, query)
        {
            return step;
        }
        if let Some(rest) = path.strip_prefix("/v1/")
            && self.config.doors.contains(&MailDoor::V1)
        {
            return self.take_mail(now, head, rest, self.platform.describes_headers());
        }
        if let Some((_, take)) = &self.retalk
            && head.method != "OPTIONS"
            && ((path == "/" && writes) || !(is_route(path) || registration::is_route(path)))
            && let Some(step) = take(self, now, head, path, query)
        {
            return step;
        }
        let answer = match path {
            admin::PATH if self.has_admin() => return self.admin(now, head, reads),
            _ if head.method == "OPTIONS" => preflight("GET, POST, OPTIONS"),
            "/announce" if writes => return self.take_ticket(now, head, query, Purpose::Presence),
            "/leave" if writes => return self.take_ticket(now, head, query, Purpose::Leave),
            "/peers" if reads => return self.list(now, head, query),
            "/healthz" if reads => health(now),
            "/" | info::PATH if reads => return self.inform(now, head, path),
            circuit_relay::PATH => match &self.config.circuit_relay {
                Some(relay) if reads => circuit_relay::answer(relay),
                Some(_) => plain(now, &Problem::MethodNotAllowed { allow: GET }),
                None => plain(now, &Problem::NotFound),
            },
            "/live" if head.method == "GET" && !self.platform.describes_headers() => return ask_for_live_headers(head),
            "/live" if head.method == "GET" => return self.open_live(now, head, query),
            "/live" => plain(now, &Problem::MethodNotAllowed { allow: GET_ALONE }),
            "/announce" | "/leave" => plain(now, &Problem::MethodNotAllowed { allow: POST }),
            _ if registration::is_route(path) => plain(now, &Problem::RegistersNobody),
            "/peers" | "/healthz" | "/" | info::PATH => plain(now, &Problem::MethodNotAllowed { allow: GET }),
            _ => match Asset::at(path).or_else(|| self.documents.and_then(|find| find(path))) {
                Some(asset) if reads => return Step::Asset(asset),
                Some(_) => plain(now, &Problem::MethodNotAllowed { allow: GET }),
                None => plain(now, &Problem::NotFound),
            },
        };
        Step::Answer(answer)
    }

    /// Counts an answer that is a refusal. One that an object gives the object counts.
    fn counted(&mut self, step: Step) -> Step {
        if let Step::Answer(answer) = &step {
            self.refusals.count(answer.outcome);
        }
        step
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

    /// Says a failure in full, and answers without detail: with whatever list is at hand, where the object may answer later.
    fn failed(&mut self, now: UnixMillis, community: &Community, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        if *error != ObjectError::TimedOut {
            return Step::Answer(internal(now));
        }
        let caller = Caller { claim: Exclusion::Nobody, signs_community: true };
        let list = self.lists.any(community);
        Step::Answer(refusal(now, &self.config, &Problem::Unavailable, &caller, list))
    }

    fn client(&mut self, head: &Head<'_>) -> Client {
        let client = Client { address: head.address, autonomous_system: head.autonomous_system.parse().ok() };
        let source = self.platform.address_source(&self.config);
        if client.address.is_none() {
            const EVENT: &str = "client_address_unreadable";
            if !self.said.contains(&EVENT) {
                // Not what it holds: that may be most of an address.
                let cause = match source {
                    AddressSource::Header(header) => format!(
                        "the header {header} of a request has no address: all such clients count as one household"
                    ),
                    AddressSource::Connection => {
                        "a connection has no address: all such clients count as one household".to_owned()
                    }
                };
                self.note_once(Note::failure(EVENT, &cause));
            }
        } else if self.platform.says_autonomous_system(&self.config) && client.autonomous_system.is_none() {
            const EVENT: &str = "autonomous_system_unknown";
            if !self.said.contains(&EVENT) {
                let cause = Some("an IPv4 /16 or an IPv6 /29 counts as a provider".to_owned());
                self.note_once(Note::info(EVENT, Details { cause, ..Details::default() }));
            }
        }
        client
    }

    fn take_request(&mut self, now: UnixMillis, client: Client) -> Result<(), RateLimited> {
        self.requests.take(now, client.rate_path(&self.secret))
    }

    /// Lets a community through to its object, if it is not one that was invented too much.
    fn admit(&mut self, now: UnixMillis, client: Client, community: &Community) -> Result<(), RateLimited> {
        if !self.config.is_open(community) {
            return Ok(());
        }
        self.new_communities.admit(now, client.rate_path(&self.secret), community)
    }

    /// Begins `POST /announce` and `POST /leave`.
    fn take_ticket(&mut self, now: UnixMillis, head: &Head<'_>, query: &str, purpose: Purpose) -> Step {
        let is_foreign = purpose == Purpose::Presence && is_foreign(self.config.origins.as_ref(), head.origin);
        let bringer = Bringer { client: self.client(head), purpose, is_foreign };
        let community = parameter(query, "community");
        match self.take_request(now, bringer.client) {
            Ok(()) => Step::ReadBody(ReadBody { community, bringer }),
            Err(limited) => self.rate_limited(now, limited, community.as_deref()),
        }
    }

    fn has_admin(&self) -> bool {
        self.platform.doors() != Doors::Everybody && self.config.notice.admin_password().is_some()
    }

    /// Begins `/admin`.
    fn admin(&mut self, now: UnixMillis, head: &Head<'_>, reads: bool) -> Step {
        let client = self.client(head);
        let problem = match self.take_request(now, client) {
            Ok(()) if reads => {
                return Step::ReadHeaders(ReadHeaders { what: Wanting::Admin(client.rate_path(&self.secret)) });
            }
            Ok(()) => Problem::MethodNotAllowed { allow: ADMIN },
            Err(limited) => Problem::RateLimited(limited),
        };
        Step::Answer(admin::refuse(now, &problem))
    }

    /// Begins `GET /` and the info document.
    fn inform(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Step {
        let client = self.client(head);
        match self.take_request(now, client) {
            Ok(()) if path == info::PATH => self.survey(now, Survey::new(About::Info)),
            Ok(()) => Step::ReadHeaders(ReadHeaders { what: Wanting::PageOrInfo }),
            Err(limited) => Step::Answer(plain(now, &Problem::RateLimited(limited))),
        }
    }

    /// Looks at communities until one's list has to be fetched, or all have been looked at.
    fn survey(&mut self, now: UnixMillis, mut survey: Survey) -> Step {
        while let Some(community) = survey.next(&self.config) {
            let Some(summary) = self.summary(now, &community, survey.about) else {
                if survey.has_given_up() {
                    survey.found(None);
                    continue;
                }
                let attempt = self.spares.first(now, &community);
                return self.fetch_list(now, now.after(OBJECT_TIMEOUT), community, attempt, ListUse::Survey(survey));
            };
            survey.found(Some(summary));
        }
        Step::Answer(match survey.about {
            About::Info => info::answer(now, &self.config, &survey),
            About::Admin => admin::answer(now, &self.config, &self.refusals, &survey),
        })
    }

    /// Returns the figures of the list that is kept, if it is good for this.
    fn summary(&mut self, now: UnixMillis, community: &Community, about: About) -> Option<Summary> {
        let live = self.lists.any(community)?.total();
        let max_age = match about {
            About::Info => info::count_max_age(&self.config, live),
            About::Admin => self.config.peers_max_age,
        };
        Some(figures(now, self.lists.fresh(now, community, max_age)?, about))
    }

    /// Goes on with a survey where the list of its next community has come, or will not.
    fn surveyed(
        &mut self,
        now: UnixMillis,
        asked_at: UnixMillis,
        community: Community,
        mut survey: Survey,
        fetched: Result<String, ObjectError>,
    ) -> Step {
        match fetched.and_then(|text| Ok(PeerList::decode(&text)?)) {
            Ok(mut list) => {
                survey.found(Some(figures(now, &mut list, survey.about)));
                self.lists.keep(asked_at, community, list);
            }
            Err(error) => {
                survey.found(None);
                if error == ObjectError::TimedOut {
                    survey.give_up();
                }
                self.notes.push(Note::failure("list_unavailable", &error));
            }
        }
        self.survey(now, survey)
    }

    /// Answers `GET /peers`.
    fn list(&mut self, now: UnixMillis, head: &Head<'_>, query: &str) -> Step {
        let client = self.client(head);
        let community = parameter(query, "community");
        if let Err(limited) = self.take_request(now, client) {
            return self.rate_limited(now, limited, community.as_deref());
        }
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let limit = choose_limit(parameter(query, "limit").as_deref(), self.config.answer_limit)?;
            Ok((community, limit))
        });
        let (community, limit) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(plain(now, &error.into())),
        };
        if let Err(limited) = self.admit(now, client, &community) {
            return self.rate_limited(now, limited, Some(community.as_str()));
        }
        let exclude = Exclusion::parse(parameter(query, "exclude"));
        self.answer_from_list(now, community, Wanted::List { limit, exclude, known: head.if_none_match.to_owned() })
    }

    /// Takes a request that comes by the door for goop2's peers.
    fn take_guest(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str) -> Step {
        let Some((door, _)) = &self.goop2 else { return Step::Answer(plain(now, &Problem::NotFound)) };
        if head.method == "OPTIONS" {
            return Step::Answer(preflight("GET, POST, OPTIONS"));
        }
        let (is_websocket, is_of_page) = (head.upgrade == Upgrade::WebSocket, head.origin.is_some());
        let templates = self.templates.as_ref().map(|(_, take)| *take);
        let has_templates = templates.is_some();
        match goop2::route(door, Asked { method: head.method, rest, query, is_websocket, is_of_page, has_templates }) {
            goop2::Routed::Answer(answer) => Step::Answer(answer),
            goop2::Routed::Templates(path) => match templates {
                Some(take) => take(self, now, head, path),
                None => Step::Answer(plain(now, &Problem::NotFound)),
            },
            goop2::Routed::Counted(request) => {
                let client = self.client(head);
                let path = client.rate_path(&self.secret);
                let is_opening = request.opens();
                if is_opening && let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
                    return Step::Answer(goop2::too_many(retry_after));
                }
                let mut taken = self.take_request(now, client);
                if is_opening {
                    taken = taken.and_then(|()| self.live.openings.take(now, path));
                }
                match taken {
                    Ok(()) => Step::Guest(Box::new(request.of(client, path.address))),
                    Err(limited) => Step::Answer(goop2::too_many(limited.retry_after())),
                }
            }
        }
    }

    /// Takes a request about templates.
    fn take_template(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Step {
        let client = self.client(head);
        let found = self.templates.as_ref().ok_or(Problem::NotFound);
        let found = found.and_then(|(catalogue, _)| templates::route(catalogue, head.method, path, head.if_none_match));
        let requests = found.as_ref().map_or(1, TemplateAnswer::requests);
        if let Err(limited) = self.requests.take_several(now, client.rate_path(&self.secret), requests) {
            return Step::Answer(plain(now, &Problem::RateLimited(limited)));
        }
        match found {
            Ok(answer) => Step::Template(Box::new(answer)),
            Err(problem) => Step::Answer(plain(now, &problem)),
        }
    }

    /// Takes a request about the directory, if it is one.
    fn take_directory(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, query: &str) -> Option<Step> {
        let method = if head.method == "OPTIONS" { "GET" } else { head.method };
        let wanted = directory::route(method, rest, query)?;
        if head.method == "OPTIONS" {
            return Some(Step::Answer(preflight("GET, POST, PUT, OPTIONS")));
        }
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Some(Step::Answer(HubProblem::RateLimited(limited).answer(now)));
        }
        let step = match wanted {
            WantedOfHub::Refused(problem) => return Some(Step::Answer(problem.answer(now))),
            WantedOfHub::List(call) => DirectoryStep::Ask(Box::new(call)),
            WantedOfHub::Put(name) => DirectoryStep::ReadBody(ReadRecord::new(Some(name), Vec::new())),
            WantedOfHub::Exchange => DirectoryStep::ReadBody(ReadRecord::new(None, self.audiences(head))),
        };
        Some(Step::Directory(Box::new(step)))
    }

    /// Goes on with the body of a request about the directory, of at most [`ReadRecord::most`] bytes, or with why there is
    /// none.
    pub fn read_record(&mut self, now: UnixMillis, read: ReadRecord, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = read.resume(now, body);
        self.counted(step.map_or_else(Step::Answer, |step| Step::Directory(Box::new(step))))
    }

    /// Goes on with what came of verifying one.
    pub fn record_verified(&mut self, verified: Result<HubCall, Answer>) -> Step {
        let step = verified.map(|call| DirectoryStep::Ask(Box::new(call)));
        self.counted(step.map_or_else(Step::Answer, |step| Step::Directory(Box::new(step))))
    }

    /// Takes a request about registration.
    fn take_registration(&mut self, now: UnixMillis, head: &Head<'_>, path: &str, query: &str) -> Step {
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Step::Answer(RegistrationProblem::RateLimited(limited).answer(now));
        }
        let Some((door, _)) = &self.registration else { return Step::Answer(plain(now, &Problem::NotFound)) };
        let asked = (head.method, path, query);
        let step = match registration::route(door, asked, head.origin, client.hand_over()) {
            registration::Routed::Answer(answer) => return Step::Answer(answer),
            registration::Routed::Read(read) => RegistrationStep::ReadBody(read),
            registration::Routed::Ask(call) => RegistrationStep::Ask(Box::new(call)),
        };
        Step::Registration(Box::new(step))
    }

    /// Takes a request that comes by the door for mailboxes. `is_described` says whether its head has every header.
    fn take_mail(&mut self, now: UnixMillis, head: &Head<'_>, rest: &str, is_described: bool) -> Step {
        if head.method == "OPTIONS" {
            return Step::Answer(preflight("GET, POST, PUT, OPTIONS"));
        }
        let request = match mailbox::route(head.method, rest) {
            Routed::Counted(request) => request,
            Routed::Live(_) if !is_described => return ask_for_live_headers(head),
            Routed::Live(mailbox) => {
                let opened = self.open_listener(now, head, mailbox);
                return mailbox_step(
                    opened.map(MailboxStep::Listen).map_err(|problem| problem.answer_about_mailbox(now)),
                );
            }
            Routed::Refused(problem) => return Step::Answer(problem.answer_about_mailbox(now)),
        };
        let client = self.client(head);
        let counted = CountedAs { path: client.rate_path(&self.secret), requests: request.requests(head.body_bytes) };
        if let Err(limited) = self.requests.take_several(now, counted.path, counted.requests) {
            return Step::Answer(Problem::RateLimited(limited).answer_about_mailbox(now));
        }
        let audiences = self.audiences(head);
        let relay_key = self.replication.as_ref().map(|replication| replication.peers.public_key());
        mailbox_step(request.begin(now, &self.config, client.hand_over(), audiences, counted, relay_key))
    }

    /// Opens a connection to a mailbox, if the client may have another one.
    fn open_listener(&mut self, now: UnixMillis, head: &Head<'_>, mailbox: Address) -> Result<OpenListener, Problem> {
        let client = self.client(head);
        let path = client.rate_path(&self.secret);
        self.take_request(now, client).map_err(Problem::RateLimited)?;
        self.take_live_opening(now, head, path)?;
        // By the rule for connections of `GET /live`.
        let (network, limits) = (client.hand_over().hashed(&self.secret), self.config.live_limits);
        let place = self.live.listeners.take(network, 1, |held| !limits.are_taken(held.household, held.site));
        let place = place.ok_or(Problem::ListenersFull)?;
        Ok(OpenListener { mailbox, audiences: self.audiences(head), address: path.address, _place: place })
    }

    /// Takes a request that comes by the door for retalk's users: a path that is no other route.
    fn take_retalk(&mut self, now: UnixMillis, head: &Head<'_>, path: &str, query: &str) -> Option<Step> {
        match retalk::route(head.method, path, head.origin.is_some()) {
            retalk::Routed::Answer(answer) => Some(Step::Answer(answer)),
            retalk::Routed::NotFound => None,
            retalk::Routed::Counted => {
                let whole = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
                let audiences = self.retalk.as_ref().map(|(door, _)| door.audiences(&whole)).unwrap_or_default();
                let client = self.client(head);
                let requests = mailbox::requests_of_body(head.body_bytes);
                let path = client.rate_path(&self.secret);
                let limited: retalk::Limited = self.requests.take_several(now, path, requests).err();
                let read = ReadRetalk { audiences, network: client.hand_over(), limited };
                Some(Step::Retalk(Box::new(RetalkStep::ReadBody(read))))
            }
        }
    }

    /// Goes on with the body of a request of retalk's users, of at most [`ReadRetalk::most`] bytes, or with why there is none.
    pub fn read_retalk(&mut self, now: UnixMillis, read: ReadRetalk, body: Result<Vec<u8>, RequestError>) -> Step {
        let verify = read.resume(now, body).map(RetalkStep::Verify);
        self.counted(retalk_step(verify))
    }

    /// Goes on with whether the signatures of a request of retalk's users fit.
    pub fn retalk_verified(&mut self, now: UnixMillis, verify: VerifyRetalk, fit: bool) -> Step {
        let ask = verify.resume(now, fit).map(RetalkStep::Ask);
        self.counted(retalk_step(ask))
    }

    /// Goes on where the mailbox of one of retalk's users has not answered. `is_send` is [`AskRetalk::is_send`].
    pub fn retalk_failed(&mut self, now: UnixMillis, is_send: bool, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(AskRetalk::failed(now, is_send)))
    }

    /// Takes a request at the door for another fleet's envelopes. Whose it is shows in the body, which its network has to
    /// pay for like any other.
    fn take_envelope(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Option<Step> {
        let (door, _) = self.envelopes.as_ref()?;
        let request = match EnvelopeRequest::route(door, head.method, path)? {
            Ok(request) => request,
            Err(answer) => return Some(Step::Answer(answer)),
        };
        let client = self.client(head);
        Some(match self.take_request(now, client) {
            Ok(()) => Step::Envelope(request),
            Err(limited) => Step::Answer(mesh::too_many(limited.retry_after())),
        })
    }

    /// Takes a request of hivemind-rendezvous' users, if it is one.
    fn take_hivemind(&mut self, now: UnixMillis, head: &Head<'_>, path: &str) -> Option<Step> {
        let door = Arc::clone(&self.hivemind.as_ref()?.0);
        let wanted = match hivemind::route(head.method, path, head.origin.is_some())? {
            hivemind::Routed::Refused(answer) => return Some(Step::Answer(answer)),
            hivemind::Routed::Name => None,
            hivemind::Routed::Wanted(wanted) => Some(wanted),
        };
        let client = self.client(head);
        let requests = mailbox::requests_of_body(head.body_bytes);
        if let Err(limited) = self.requests.take_several(now, client.rate_path(&self.secret), requests) {
            return Some(Step::Answer(hivemind::too_many(limited.retry_after())));
        }
        Some(match wanted {
            None => Step::Answer(door.name_answer()),
            Some(wanted) => {
                let read = ReadHivemind { door, wanted, network: client.hand_over() };
                Step::Hivemind(Box::new(HivemindStep::ReadBody(read)))
            }
        })
    }

    /// Goes on with the body of a request of hivemind-rendezvous' users, of at most [`ReadHivemind::most`] bytes, or with why
    /// there is none.
    pub fn read_hivemind(&mut self, now: UnixMillis, read: ReadHivemind, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = read.resume(now, body);
        self.counted(step.map_or_else(Step::Answer, |step| Step::Hivemind(Box::new(step))))
    }

    /// Goes on with whether the signature of [`VerifyHivemind::proof`] fits.
    pub fn hivemind_verified(&mut self, verify: VerifyHivemind, fits: bool) -> Step {
        let ask = verify.resume(fits).map(HivemindStep::Ask);
        self.counted(ask.map_or_else(Step::Answer, |step| Step::Hivemind(Box::new(step))))
    }

    /// Goes on where an object of hivemind-rendezvous' users has not answered.
    pub fn hivemind_failed(&mut self, error: &ObjectError) -> Step {
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(hivemind::failed()))
    }

    /// Takes a push of a peer. Who it is shows in the body, which its network has to pay for like any other.
    fn take_push(&mut self, now: UnixMillis, head: &Head<'_>) -> Step {
        if head.method != "POST" {
            // Not for pages: there is no answer to a preflight.
            let problem = Problem::MethodNotAllowed { allow: "POST" };
            return Step::Answer(problem.answer_about_mailbox(now));
        }
        let client = self.client(head);
        if let Err(limited) = self.take_request(now, client) {
            return Step::Answer(Problem::RateLimited(limited).answer_about_mailbox(now));
        }
        let Some(Replication { peers, read, .. }) = &self.replication else {
            return Step::Answer(plain(now, &Problem::NotFound));
        };
        let read = ReadPush::begin(Arc::clone(peers), client.hand_over(), read, &self.secret);
        let step = read.map(MailboxStep::Replicate);
        mailbox_step(step.map_err(|problem| problem.answer_about_mailbox(now)))
    }

    /// Checks that another connection to a mailbox may be opened.
    fn take_live_opening(&mut self, now: UnixMillis, head: &Head<'_>, path: RatePath) -> Result<(), Problem> {
        if let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
            return Err(Problem::LivePenalty { retry_after });
        }
        self.live.openings.take(now, path).map_err(Problem::RateLimited)?;
        if head.upgrade == Upgrade::WebSocket { Ok(()) } else { Err(Problem::SocketRequired) }
    }

    /// Takes that a connection to a mailbox has ended, and why.
    pub fn close_listener(&mut self, now: UnixMillis, connection: &ListenerConnection, code: CloseCode) {
        if code.is_penalised() {
            self.live.penalties.add(now, connection.address());
        }
    }

    /// Goes on with the body of a request about a mailbox, of at most [`ReadRecords::most`] bytes, or with why there is none.
    pub fn read_records(&mut self, now: UnixMillis, read: ReadRecords, body: Result<Vec<u8>, RequestError>) -> Step {
        let CountedAs { path, requests } = read.counted();
        let next = read.resume(now, body).and_then(|verify| {
            // Few bytes can be many signatures, which are most of the work.
            let more = verify.requests().saturating_sub(requests);
            match self.requests.take_several(now, path, more) {
                Ok(()) => Ok(MailboxStep::Verify(verify)),
                Err(limited) => Err(Problem::RateLimited(limited).answer_about_mailbox(now)),
            }
        });
        self.counted(mailbox_step(next))
    }

    /// Goes on with whether all signatures of a request about a mailbox fit.
    pub fn records_verified(&mut self, now: UnixMillis, verify: VerifyRecords, fit: bool) -> Step {
        self.counted(mailbox_step(verify.resume(now, fit)))
    }

    /// Counts an answer that goes out in the place of an object's.
    pub fn answer_in_place(&mut self, answer: Answer) -> Step {
        self.counted(Step::Answer(answer))
    }

    /// Goes on where an object of a mailbox has not answered.
    pub fn mailbox_failed(&mut self, now: UnixMillis, error: &ObjectError) -> Step {
        let problem = if *error == ObjectError::TimedOut { Problem::Unavailable } else { Problem::Internal };
        self.notes.push(Note::failure("request_failed", error));
        self.counted(Step::Answer(problem.answer_about_mailbox(now)))
    }

    /// Goes on with the body of a guest's message, of at most
    /// [`GUEST_BODY_MAX_BYTES`](rendezvous_protocol::limits::GUEST_BODY_MAX_BYTES), or with why there is none.
    pub fn read_presence(&mut self, read: ReadPresence, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = match read.resume(body) {
            Ok(ask) => Step::Guest(Box::new(GuestStep::Ask(ask))),
            Err(answer) => Step::Answer(answer),
        };
        self.counted(step)
    }

    /// Begins `GET /live` where the host first had to be asked for headers. It sees to the handshake by itself.
    fn describe_live(&mut self, now: UnixMillis, head: Head<'_>, header: impl Fn(&str) -> Option<String>) -> Step {
        let [upgrade, last_event_id, origin, host] = ["Upgrade", "Last-Event-ID", "Origin", "Host"].map(header);
        // As with announces: what names no origin is not a page of the community's.
        let origin = origin.map(|origin| if origin.is_empty() { "null".to_owned() } else { origin });
        let upgrade = match upgrade.as_deref() {
            None => Upgrade::None,
            Some(protocol) if protocol.eq_ignore_ascii_case("websocket") => Upgrade::WebSocket,
            Some(_) => Upgrade::Other,
        };
        let (last_event_id, origin, host) = (last_event_id.as_deref(), origin.as_deref(), host.as_deref());
        let (path, query) = path_and_query(head.url);
        let head = Head { upgrade, last_event_id, origin, host, ..head };
        match path.strip_prefix("/v1/") {
            Some(rest) => self.take_mail(now, &head, rest, true),
            None => self.open_live(now, &head, query),
        }
    }

    /// Begins `GET /live`.
    fn open_live(&mut self, now: UnixMillis, head: &Head<'_>, query: &str) -> Step {
        let client = self.client(head);
        let community = parameter(query, "community");
        let path = client.rate_path(&self.secret);
        if let Some(retry_after) = self.live.penalties.remaining(now, path.address) {
            return Step::Answer(plain(now, &Problem::LivePenalty { retry_after }));
        }
        if let Err(limited) = self.take_request(now, client).and_then(|()| self.live.openings.take(now, path)) {
            return self.rate_limited(now, limited, community.as_deref());
        }
        let kind = match head.upgrade {
            Upgrade::WebSocket => Kind::Socket,
            Upgrade::None if self.config.viewers == Viewers::Bound => {
                return Step::Answer(plain(now, &Problem::BindRequired));
            }
            Upgrade::None => Kind::Stream,
            Upgrade::Other => return Step::Answer(plain(now, &Problem::UpgradeRequired)),
        };
        let parsed = self.community(community.as_deref(), None).and_then(|community| {
            let since = parameter(query, "since");
            let since = head.last_event_id.or(since.as_deref()).map(str::parse::<Position>).transpose()?;
            Ok((community, since))
        });
        let (community, since) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(plain(now, &error.into())),
        };
        if let Err(limited) = self.admit(now, client, &community) {
            return self.rate_limited(now, limited, Some(community.as_str()));
        }
        // An event stream is for frames alone.
        let watches_guests = kind == Kind::Socket
            && self.goop2.as_ref().is_some_and(|(door, _)| door.opens(&community))
            && parameter(query, "guests").as_deref() == Some("1");
        let opened = Opened {
            kind,
            address: path.address,
            place: Place {
                provider: client.hand_over().hashed(&self.secret).provider,
                site: path.site.unwrap_or(path.network),
            },
            is_foreign: is_foreign(self.config.origins.as_ref(), head.origin),
            audiences: self.audiences(head),
            since,
            most_frames: self.platform.live_frames(&self.config),
            community,
        };
        Step::OpenLive(Box::new(OpenLive {
            watches_guests,
            opening: Opening { network: client.hand_over(), since, is_stream: kind == Kind::Stream },
            opened,
        }))
    }

    /// Returns the origins that are this beacon's: those that are configured. Where none are, the one that the client
    /// dialled, if nobody can have written another one there: on a platform that routes by name over TLS, or on the own
    /// machine, as `Host` has it, where only somebody on that machine could.
    fn audiences(&self, head: &Head<'_>) -> Vec<Origin> {
        if !self.config.external_urls.is_empty() {
            return self.config.external_urls.clone();
        }
        if self.platform.routes_by_name()
            && let Some(origin) = origin_of(head.url, "https://")
        {
            return vec![origin];
        }
        // Where the host gives an absolute URL, `Host` is in it.
        let dialled = match head.host {
            Some(host) => Origin::parse(&format!("http://{host}")),
            None => origin_of(head.url, "http://"),
        };
        dialled.filter(|origin| is_own_machine(origin.host(), false)).into_iter().collect()
    }

    /// Takes that a connection has ended, and why.
    pub fn close_live(&mut self, now: UnixMillis, connection: &Connection, code: CloseCode) {
        if code.is_penalised() {
            self.live.penalties.add(now, connection.address());
        }
    }

    /// Takes that a connection of goop2's door has ended.
    pub fn close_guest(&mut self, now: UnixMillis, connection: &GuestConnection) {
        if connection.closed_by().is_some_and(CloseCode::is_penalised) {
            self.live.penalties.add(now, connection.address_hash());
        }
    }

    /// Returns what the messages of connections are checked by.
    pub fn checks(&mut self) -> Checks<'_> {
        let (turn, random) = (self.turn.as_deref_mut(), self.spread.next());
        Checks { config: &self.config, gate: self.gate.as_deref(), signatures: &mut self.signatures, turn, random }
    }

    fn community(&self, query: Option<&str>, body: Option<&str>) -> Result<Community, RequestError> {
        let community = choose_community(query, body, &self.config.default_community)?;
        if self.config.serves(&community) { Ok(community) } else { Err(RequestError::CommunityUnknown(community)) }
    }

    fn conclude(
        &mut self,
        now: UnixMillis,
        verified: Result<VerifiedTicket, TicketError>,
        caller: Caller,
        community: Community,
        bringer: Bringer,
    ) -> Step {
        match verified {
            Ok(ticket) if bringer.is_foreign => {
                let expires_at = ticket.payload().expires_at;
                let wanted = Wanted::Announced { expires_at, claim: caller.claim, random: self.spread.next() };
                self.answer_from_list(now, community, wanted)
            }
            Ok(ticket) => {
                let attempt = self.spares.first(now, &community);
                let call = Call::hand_over(community.clone(), bringer.client, ticket);
                Step::Relay(Relay { call, community, attempt, deadline: now.after(OBJECT_TIMEOUT) })
            }
            Err(error) => self.refuse(now, error, community, caller),
        }
    }

    /// Says what is wrong with a ticket, with the community's list: a peer that is refused still finds others.
    fn refuse(&mut self, now: UnixMillis, error: TicketError, community: Community, caller: Caller) -> Step {
        self.answer_from_list(now, community, Wanted::Refusal { problem: Problem::Ticket(error), caller })
    }

    /// Refuses with whatever list is at hand, because a request over its limit must not cost an object anything.
    fn rate_limited(&mut self, now: UnixMillis, limited: RateLimited, community: Option<&str>) -> Step {
        let problem = Problem::RateLimited(limited);
        let caller = Caller { claim: Exclusion::Nobody, signs_community: true };
        let community = self.community(community, None).ok();
        let list = community.as_ref().and_then(|community| self.lists.any(community));
        Step::Answer(refusal(now, &self.config, &problem, &caller, list))
    }

    /// Answers with what is wanted of the community's list: the one that is kept, or the object's, which then is.
    fn answer_from_list(&mut self, now: UnixMillis, community: Community, wanted: Wanted) -> Step {
        if let Some(answer) = self.answer_from_fresh(now, &community, &wanted) {
            return Step::Answer(answer);
        }
        let attempt = self.spares.first(now, &community);
        self.fetch_list(now, now.after(OBJECT_TIMEOUT), community, attempt, ListUse::Answer(wanted))
    }

    fn answer_from_fresh(&mut self, now: UnixMillis, community: &Community, wanted: &Wanted) -> Option<Answer> {
        let list = self.lists.fresh(now, community, self.config.peers_max_age)?;
        Some(wanted.answer(now, &self.config, community, list))
    }

    fn fetch_list(
        &self,
        now: UnixMillis,
        deadline: UnixMillis,
        community: Community,
        attempt: Attempt,
        list_use: ListUse,
    ) -> Step {
        // Whoever wants no list that is older than the request does not wait for one that was asked for before.
        let patience = if self.config.peers_max_age.is_zero() { Duration::ZERO } else { LIST_TIMEOUT };
        Step::FetchList(FetchList { community, attempt, list_use, patience, asked_at: now, deadline })
    }

    /// Returns the attempt after one that has failed, if there is another.
    fn next_attempt(
        &mut self,
        now: UnixMillis,
        failed: Attempt,
        community: &Community,
        error: &ObjectError,
    ) -> Option<Attempt> {
        let next = self.spares.next(failed, now, community, error);
        if next == Some(Attempt::Spare) {
            self.note_once(Note::failure("object_not_started", error));
        }
        next
    }
}

/// Waits for headers that most requests have no need of.
#[derive(Debug)]
pub struct ReadHeaders {
    what: Wanting,
}

enum Wanting {
    PageOrInfo,
    /// From where the attempt counts.
    Admin(RatePath),
    /// What else the request's head has.
    Live {
        url: String,
        address: Option<IpAddr>,
        autonomous_system: String,
    },
}

impl fmt::Debug for Wanting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which is for nobody to read.
        formatter.write_str(match self {
            Self::PageOrInfo => "PageOrInfo",
            Self::Admin(_) => "Admin",
            Self::Live { .. } => "Live",
        })
    }
}

impl ReadHeaders {
    /// Goes on with the request's headers. One that stands there twice is given as one, with a comma between; one that is
    /// not text, as an empty one.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, header: impl Fn(&str) -> Option<String>) -> Step {
        if let Wanting::Live { url, address, autonomous_system } = &self.what {
            let step = edge.describe_live(
                now,
                Head { method: "GET", url, address: *address, autonomous_system, ..Head::default() },
                header,
            );
            return edge.counted(step);
        }
        let as_json = prefers_json(&header("Accept").unwrap_or_default());
        let step = match (self.what, edge.config.notice.admin_password()) {
            (Wanting::PageOrInfo, _) if as_json => edge.survey(now, Survey::new(About::Info)),
            (Wanting::Admin(path), Some(password)) => {
                let authorization = header("Authorization");
                // A page of elsewhere uses up no attempt, or it would keep out whoever has it open.
                let outcome = admin::check_site(header("Sec-Fetch-Site").as_deref())
                    .and_then(|()| edge.attempts.take(now, path).map_err(Problem::RateLimited))
                    .and_then(|()| admin::check(&edge.secret, password, authorization.as_deref()));
                match outcome {
                    Ok(()) if as_json => edge.survey(now, Survey::new(About::Admin)),
                    Ok(()) => Step::Asset(asset::ADMIN),
                    Err(problem) => Step::Answer(admin::refuse(now, &problem)),
                }
            }
            (Wanting::PageOrInfo, _) => Step::Asset(asset::PAGE),
            // A door that is not there is never come to.
            (Wanting::Admin(_) | Wanting::Live { .. }, _) => Step::Answer(plain(now, &Problem::NotFound)),
        };
        edge.counted(step)
    }
}

/// Waits for a request's body.
#[derive(Debug)]
pub struct ReadBody {
    /// The community that the query names.
    community: Option<String>,
    bringer: Bringer,
}

impl ReadBody {
    /// Goes on with the body, of at most [`BODY_MAX_BYTES`](rendezvous_protocol::limits::BODY_MAX_BYTES), or with why
    /// there is none.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Step {
        let step = self.read(edge, now, body);
        edge.counted(step)
    }

    fn read(self, edge: &mut Edge, now: UnixMillis, body: Result<Vec<u8>, RequestError>) -> Step {
        let Self { community, bringer } = self;
        let parsed = body.as_deref().map_err(Clone::clone).and_then(|body| {
            let body = TicketBody::parse(body)?;
            let community = edge.community(community.as_deref(), body.community.as_deref())?;
            Ok((body.ticket, community))
        });
        let (json, community) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Step::Answer(plain(now, &error.into())),
        };
        if let Err(limited) = edge.admit(now, bringer.client, &community) {
            return edge.rate_limited(now, limited, Some(community.as_str()));
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
                return edge.refuse(now, error, community, caller);
            }
        };
        let claim = Exclusion::Claim(ticket.payload().peer_id.as_str().to_owned(), ticket.public_key());
        let caller = told(claim, ticket.payload().community.is_some());
        let checked = registration::check_ticket(edge.gate.as_deref(), &edge.config, ticket, &community, now);
        match checked {
            Ok(ticket) if edge.signatures.contains(&ticket) => {
                edge.conclude(now, ticket.accept(true), caller, community, bringer)
            }
            Ok(ticket) => Step::Verify(Verify { ticket, caller, community, bringer }),
            Err(error) => edge.refuse(now, error, community, caller),
        }
    }
}

/// Waits for whether a signature fits.
#[derive(Debug)]
pub struct Verify {
    ticket: Unverified,
    caller: Caller,
    community: Community,
    bringer: Bringer,
}

impl Verify {
    /// Returns the ticket, of which everything else has been checked: the key, the signature and what is signed.
    pub const fn ticket(&self) -> &Unverified {
        &self.ticket
    }

    /// Goes on with whether the signature is one of the key over the message.
    pub fn resume(self, edge: &mut Edge, now: UnixMillis, holds: bool) -> Step {
        let Self { ticket, caller, community, bringer } = self;
        let verified = ticket.accept(holds);
        if let Ok(ticket) = &verified {
            edge.signatures.insert(ticket);
        }
        let step = edge.conclude(now, verified, caller, community, bringer);
        edge.counted(step)
    }
}

/// Waits for an object's answer, which then goes to the client as it comes.
#[derive(Debug)]
pub struct Relay {
    call: Call,
    community: Community,
    attempt: Attempt,
    deadline: UnixMillis,
}

impl Relay {
    /// Returns the object's name.
    pub fn object(&self) -> String {
        self.attempt.object_name(&self.community)
    }

    /// Returns what it is asked.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Returns for how long to wait for the answer. Without one, the request goes on with [`ObjectError::TimedOut`].
    pub fn time_left(&self, now: UnixMillis) -> Duration {
        time_left(now, self.deadline)
    }

    /// Returns the call, and who waits for its answer, for a host whose objects are in its own process, and which has nobody
    /// else to ask.
    pub fn into_call(self) -> (Call, Unanswered) {
        (self.call, Unanswered { community: self.community })
    }

    /// Goes on where no answer came.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        match edge.next_attempt(now, self.attempt, &self.community, error) {
            Some(attempt) => Step::Relay(Self { attempt, ..self }),
            None => {
                let step = edge.failed(now, &self.community, error);
                edge.counted(step)
            }
        }
    }
}

/// Waits for the answer to a call that was handed over.
#[derive(Debug)]
pub struct Unanswered {
    community: Community,
}

impl Unanswered {
    /// Goes on where no answer came.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        let step = edge.failed(now, &self.community, error);
        edge.counted(step)
    }
}

/// Waits for whether an object has a place for a connection.
#[derive(Debug)]
pub struct OpenLive {
    watches_guests: bool,
    opening: Opening,
    opened: Opened,
}

impl OpenLive {
    /// Returns the object's name.
    pub fn object(&self) -> &str {
        self.opened.community.as_str()
    }

    /// Returns whether the client wants to know of the community's guests, too.
    pub const fn watches_guests(&self) -> bool {
        self.watches_guests
    }

    /// Returns what it is told.
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Returns whether the client reads from a WebSocket, not from an event stream.
    pub fn is_socket(&self) -> bool {
        self.opened.kind == Kind::Socket
    }

    /// Opens the connection, for which there is a place. `challenge` is 16 bytes from a secure source of randomness.
    pub fn admitted(self, now: UnixMillis, challenge: [u8; CHALLENGE_BYTES]) -> Connection {
        Connection::new(now, self.opened, challenge)
    }

    /// Returns for how long to wait for whether there is a place. Without an answer, the request goes on with
    /// [`ObjectError::TimedOut`].
    pub const fn time_left(&self) -> Duration {
        OBJECT_TIMEOUT
    }

    /// Goes on where the object could not be asked.
    pub fn failed(self, edge: &mut Edge, now: UnixMillis, error: &ObjectError) -> Step {
        let step = edge.failed(now, &self.opened.community, error);
        edge.counted(step)
    }
}

/// Waits for an object's list.
#[derive(Debug)]
pub struct FetchList {
    community: Community,
    attempt: Attempt,
    list_use: ListUse,
    patience: Duration,
    asked_at: UnixMillis,
    deadline: UnixMillis,
}

impl FetchList {
    /// Returns the object's name.
    pub fn object(&self) -> String {
        self.attempt.object_name(&self.community)
    }

    /// Returns what it is asked.
    pub const fn call(&self) -> &Call {
        &Call::List
    }

    /// Returns for how long the request waits for a list that another one has asked this object for, before it asks by
    /// itself. Zero: not at all.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns for how long to wait for a list in all. Without one, the request goes on with [`ObjectError::TimedOut`].
    pub fn time_left(&self, now: UnixMillis) -> Duration {
        time_left(now, self.deadline)
    }

    /// Goes on with the text of the list. Of several who waited for one list the first reads it for all, so `fetched` is
    /// called only by the first.
    pub fn resume(
        self,
        edge: &mut Edge,
        now: UnixMillis,
        fetched: impl FnOnce() -> Result<String, ObjectError>,
    ) -> Step {
        let step = self.read(edge, now, fetched);
        edge.counted(step)
    }

    fn read(self, edge: &mut Edge, now: UnixMillis, fetched: impl FnOnce() -> Result<String, ObjectError>) -> Step {
        let Self { community, attempt, list_use, patience: _, asked_at, deadline } = self;
        let wanted = match list_use {
            ListUse::Survey(survey) => {
                // Of several who waited for the list, another may have read it.
                if edge.summary(now, &community, survey.about).is_some() {
                    return edge.survey(now, survey);
                }
                let fetched = fetched();
                if let Err(error) = &fetched
                    && let Some(next) = edge.next_attempt(now, attempt, &community, error)
                {
                    return edge.fetch_list(now, deadline, community, next, ListUse::Survey(survey));
                }
                return edge.surveyed(now, asked_at, community, survey, fetched);
            }
            ListUse::Answer(wanted) => wanted,
        };
        if let Some(answer) = edge.answer_from_fresh(now, &community, &wanted) {
            return Step::Answer(answer);
        }
        let fetched = fetched();
        if let Err(error) = &fetched
            && let Some(next) = edge.next_attempt(now, attempt, &community, error)
        {
            return edge.fetch_list(now, deadline, community, next, ListUse::Answer(wanted));
        }
        match fetched.and_then(|text| Ok(PeerList::decode(&text)?)) {
            Ok(mut list) => {
                let answer = wanted.answer(now, &edge.config, &community, &mut list);
                edge.lists.keep(asked_at, community, list);
                Step::Answer(answer)
            }
            Err(error) => match wanted {
                Wanted::Refusal { problem, caller } => {
                    edge.notes.push(Note::failure("list_unavailable", &error));
                    Step::Answer(refusal(now, &edge.config, &problem, &caller, edge.lists.any(&community)))
                }
                Wanted::List { .. } | Wanted::Announced { .. } => edge.failed(now, &community, &error),
            },
        }
    }
}

/// Says what a community's list is fetched for.
#[derive(Debug)]
enum ListUse {
    /// One answer of its peers.
    Answer(Wanted),
    /// Figures of it, among those of others.
    Survey(Survey),
}

/// Says what is answered with a community's list.
#[derive(Debug)]
enum Wanted {
    /// A reader.
    List {
        limit: usize,
        exclude: Exclusion,
        /// `If-None-Match`.
        known: String,
    },
    /// Who announces and is not to be listed, as if it were a reader.
    Announced { expires_at: UnixMillis, claim: Exclusion, random: u32 },
    /// Whose ticket is wrong.
    Refusal { problem: Problem, caller: Caller },
}

impl Wanted {
    fn answer(&self, now: UnixMillis, config: &Config, community: &Community, list: &mut PeerList) -> Answer {
        match self {
            Self::List { limit, exclude, known } => {
                list.expire(now);
                // Weak, because `serverTime` differs between two answers of one tag. What the URL says need not be in it.
                let tag = format!("W/\"{}\"", list.tag(*limit));
                let unchanged = matches(known, &tag);
                let max_age = format!("public, max-age={}", config.peers_max_age.as_secs());
                let headers = vec![("Cache-Control", max_age), ("ETag", tag)];
                if unchanged {
                    return Answer::empty(304, headers);
                }
                let fields =
                    ListFields { ok: true, community: community.as_str(), server_time: now, total: list.total() };
                Answer::ok(&fields, Some(&*list.answer(*limit, exclude.as_excluded()))).with_headers(headers)
            }
            Self::Announced { expires_at, claim, random } => {
                list.expire(now);
                let total = list.total();
                let fields = AnnounceFields {
                    ok: true,
                    accepted: false,
                    listed: false,
                    community: community.as_str(),
                    server_time: now,
                    expires_at: *expires_at,
                    announce_after_ms: config.pacing.announce_after_millis(total, *random),
                    total,
                };
                Answer::ok(&fields, Some(&*list.answer(config.answer_limit, claim.as_excluded())))
            }
            Self::Refusal { problem, caller } => refusal(now, config, problem, caller, Some(list)),
        }
    }
}

/// Returns how much of a request's time is left. A clock that has jumped back gives nobody more than there was.
fn time_left(now: UnixMillis, deadline: UnixMillis) -> Duration {
    deadline.since(now).min(OBJECT_TIMEOUT)
}

fn figures(now: UnixMillis, list: &mut PeerList, about: About) -> Summary {
    list.expire(now);
    let mut networks = [0; 3];
    let mut of_itself = &list.figures().trend;
    if about == About::Admin {
        of_itself = &list.figures().activity;
        // Of few, and seldom: a set would be more code than it saves time.
        let mut seen: [Vec<NetworkHash>; 3] = Default::default();
        for path in list.paths() {
            for (seen, network) in seen.iter_mut().zip([path.provider, path.site, path.household]) {
                if !seen.contains(&network) {
                    seen.push(network);
                }
            }
        }
        networks = seen.map(|seen| seen.len());
    }
    Summary { live: list.total(), networks, of_itself: of_itself.clone() }
}

fn refusal(
    now: UnixMillis,
    config: &Config,
    problem: &Problem,
    caller: &Caller,
    list: Option<&mut PeerList>,
) -> Answer {
    let peers = match list {
        Some(list) => {
            list.expire(now);
            list.answer(config.answer_limit, caller.claim.as_excluded())
        }
        None => Cow::Owned(Excerpt::default()),
    };
    if caller.signs_community { problem.answer(now, &peers) } else { problem.answer_with_ok(now, &peers) }
}

/// Returns a problem where no community is known.
fn plain(now: UnixMillis, problem: &Problem) -> Answer {
    problem.answer(now, &Excerpt::default())
}

/// Asks the host for the headers of a request that opens a connection.
fn ask_for_live_headers(head: &Head<'_>) -> Step {
    let Head { url, address, autonomous_system, .. } = *head;
    let (url, autonomous_system) = (url.to_owned(), autonomous_system.to_owned());
    Step::ReadHeaders(ReadHeaders { what: Wanting::Live { url, address, autonomous_system } })
}

fn mailbox_step(next: Result<MailboxStep, Answer>) -> Step {
    next.map_or_else(Step::Answer, |step| Step::Mailbox(Box::new(step)))
}

fn retalk_step(next: Result<RetalkStep, Answer>) -> Step {
    next.map_or_else(Step::Answer, |step| Step::Retalk(Box::new(step)))
}

/// Returns whether a path is one of the beacon's own, but for those of mailboxes and guests.
fn is_route(path: &str) -> bool {
    matches!(path, "/" | "/announce" | "/leave" | "/peers" | "/healthz" | "/live" | info::PATH | circuit_relay::PATH)
        || Asset::at(path).is_some()
}

fn health(now: UnixMillis) -> Answer {
    Answer::ok(&HealthFields { ok: true, version: env!("CARGO_PKG_VERSION"), server_time: now }, None)
}

fn preflight(methods: &str) -> Answer {
    Answer::empty(
        204,
        vec![
            ("Access-Control-Allow-Methods", methods.to_owned()),
            // Whatever header a page's monitoring adds. The asterisk does not cover Authorization.
            ("Access-Control-Allow-Headers", "*, Authorization".to_owned()),
            ("Access-Control-Max-Age", "86400".to_owned()),
        ],
    )
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

/// `GET /peers`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListFields<'a> {
    ok: bool,
    community: &'a str,
    server_time: UnixMillis,
    total: usize,
}

/// `GET /healthz`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthFields {
    ok: bool,
    version: &'static str,
    server_time: UnixMillis,
}
