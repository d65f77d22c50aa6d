//! A community's object: the one place in the world where its roster is.
//!
//! It decodes, asks the roster, and sees to storage and alarm; `rendezvous-protocol` decides. Both ends of the call
//! between Worker and object are in this file, so that what one writes the other reads.
//!
//! The runtime constructs the object anew after every eviction, deploy and crash: whatever it needs is restored there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rendezvous_protocol::base64;
use rendezvous_protocol::community::Community as Name;
use rendezvous_protocol::listing::{Excerpt, Listing};
use rendezvous_protocol::network::{Client, HandedOver};
use rendezvous_protocol::roster::{Announced, Excluded, Left, Roster};
use rendezvous_protocol::snapshot::Snapshot;
use rendezvous_protocol::ticket::{Purpose, VerifiedTicket};
use rendezvous_protocol::time::UnixMillis;
use rendezvous_protocol::upkeep::Upkeep;
use serde::Serialize;
use worker::js_sys::{self, Promise, Reflect};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::DurableObjectState;
use worker::{Delay, Env, ScheduledTime, SqlStorage, State, Storage, web_sys};

use crate::answer::{Answer, Content};
use crate::config::Config;
use crate::journal::Details;
use crate::objects::Attempt;
use crate::problem::Problem;
use crate::router::{self, Failure};
use crate::{journal, rate_limit, rescue, runtime};

const ANNOUNCE: &str = "/announce";
const LEAVE: &str = "/leave";
const LISTING: &str = "/listing";

/// One row, so that a snapshot is written, and billed, as one.
const CREATE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)";
const HAS_TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'snapshot'";
const DROP_TABLE: &str = "DROP TABLE IF EXISTS snapshot";
const READ_SNAPSHOT: &str = "SELECT state FROM snapshot WHERE id = 1";
const WRITE_SNAPSHOT: &str =
    "INSERT INTO snapshot (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state";

/// Hands a verified ticket to the object, to be listed or to leave. What comes back is the answer to the client.
pub(crate) fn hand_over(
    env: &Env,
    community: &Name,
    attempt: Attempt,
    client: Client,
    ticket: &VerifiedTicket,
) -> Result<Promise, JsValue> {
    let path = match ticket.payload().purpose {
        Purpose::Presence => ANNOUNCE,
        Purpose::Leave => LEAVE,
    };
    let ticket = base64::encode(ticket.as_json().as_bytes());
    let what = format!("{path}?{community}&{}&{ticket}", client.hand_over().to_text());
    runtime::call_object(env, &attempt.object_name(community), &what)
}

/// Asks the object for its list: [`read_listing`] takes what comes. So long a reader waits for a list that is on its way
/// to another.
pub(crate) fn fetch_listing(
    env: &Env,
    context: &JsValue,
    community: &Name,
    attempt: Attempt,
    patience: Duration,
) -> Result<Promise, JsValue> {
    let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    runtime::fetch_list(env, context, &attempt.object_name(community), LISTING, patience_ms)
}

/// Reads the list.
pub(crate) fn read_listing(fetched: &JsValue) -> Result<Listing, Failure> {
    match fetched.as_string() {
        Some(text) => Ok(Listing::decode(&text)?),
        None => Err(Failure::Object { status: fetched.as_f64().unwrap_or_default() as u16 }),
    }
}

#[cfg(feature = "fault-injection")]
pub(crate) fn inject_panic(env: &Env, community: &Name) -> Result<Promise, JsValue> {
    runtime::call_object(env, community.as_str(), router::PANIC)
}

/// What is handed over with a ticket, in the query: the community's name, where the client counts, and the ticket in
/// base64.
struct Handed<'a> {
    community: &'a str,
    network: HandedOver,
    ticket: VerifiedTicket,
}

impl<'a> Handed<'a> {
    fn read(query: &'a str, purpose: Purpose) -> Result<Self, Failure> {
        let mut parts = query.split('&');
        let (Some(community), Some(network), Some(ticket), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::HandOver("not three parts"));
        };
        let network = HandedOver::from_text(network).ok_or(Failure::HandOver("no network"))?;
        let json = base64::decode(ticket).and_then(|bytes| String::from_utf8(bytes).ok());
        let json = json.ok_or(Failure::HandOver("the ticket is not base64 of text"))?;
        Ok(Self { community, network, ticket: VerifiedTicket::trusted(&json, purpose)? })
    }
}

/// The Durable Object. Its name is the community's.
///
/// It is exported as it stands, not by `worker`'s macro, which makes its own of every request and of every answer.
#[wasm_bindgen]
pub struct Community {
    state: State,
    core: Result<Rc<Core>, Failure>,
}

#[wasm_bindgen(wasm_bindgen_futures = worker::wasm_bindgen_futures, js_sys = worker::js_sys)]
impl Community {
    /// The runtime constructs it, and calls the other two.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = State::from(state);
        let core = Core::load(&state, &env).map(Rc::new);
        if let Ok(core) = &core {
            rescue::register(core);
            if core.memory.borrow().rescued {
                core.changed(&state, core.started_at);
                core.write_if_due(core.started_at);
            }
        }
        Self { state, core }
    }

    /// Answers one call of the Worker. Nothing in it waits, so no other event comes between.
    pub fn fetch(&self, request: &web_sys::Request) -> Result<web_sys::Response, JsValue> {
        let now = router::clock();
        self.serve(request, now).unwrap_or_else(|failure| router::internal(now, &failure)).into_counted_response()
    }

    /// The time that was set has come.
    pub async fn alarm(&self) {
        if let Err(failure) = self.tidy_up().await {
            journal::failure("alarm_failed", &failure);
        }
    }
}

impl Community {
    fn core(&self) -> Result<&Rc<Core>, Failure> {
        self.core.as_ref().map_err(Clone::clone)
    }

    fn serve(&self, request: &web_sys::Request, now: UnixMillis) -> Result<Answer, Failure> {
        let core = self.core()?;
        let url = request.url();
        let (path, handed_over) = router::path_and_query(&url);
        let (answer, changed) = match path {
            LISTING => (core.listing(now)?, false),
            LEAVE => core.leave(now, &Handed::read(handed_over, Purpose::Leave)?),
            #[cfg(feature = "fault-injection")]
            router::PANIC => (router::inject_panic(), false),
            _ => core.announce(now, Handed::read(handed_over, Purpose::Presence)?),
        };
        if changed {
            core.changed(&self.state, now);
        }
        core.write_if_due(now);
        if let Some(at) = core.next_alarm(now) {
            let storage = self.state.storage();
            self.state.wait_until(async move {
                if let Err(error) = set_alarm(&storage, at).await {
                    // It only tidies up, and is set again when it does not come.
                    journal::failure_once("alarm_not_set", &error);
                }
            });
        }
        Ok(answer)
    }

    async fn tidy_up(&self) -> Result<(), Failure> {
        let core = self.core()?;
        let now = router::clock();
        core.memory.borrow_mut().upkeep.alarmed();
        core.write_if_due(now);
        if let Some(cause) = core.not_worth_keeping(now) {
            core.memory.borrow_mut().upkeep.drop_write();
            // Announces wait behind this write. The next one creates the table anew.
            self.state.storage().delete_all().await?;
            journal::note("roster_deleted", Details { cause: Some(cause.to_owned()), ..Details::default() });
            return Ok(());
        }
        match core.next_alarm(now) {
            Some(at) => Ok(set_alarm(&self.state.storage(), at).await?),
            None => Ok(()),
        }
    }
}

async fn set_alarm(storage: &Storage, at: UnixMillis) -> worker::Result<()> {
    let date = js_sys::Date::new(&(at.as_u64() as f64).into());
    storage.set_alarm(ScheduledTime::new(date)).await
}

/// What outlives one event: the object itself, a timer and the panic hook share it.
pub(crate) struct Core {
    identifier: String,
    config: Config,
    sql: SqlStorage,
    /// Whether anybody may have invented the community.
    is_open: bool,
    started_at: UnixMillis,
    memory: RefCell<Memory>,
}

struct Memory {
    roster: Roster,
    upkeep: Upkeep,
    /// Whether the roster was restored from a panic, and is not in storage.
    rescued: bool,
    /// Whether the last write failed, and that is in the log.
    write_failed: bool,
}

impl Core {
    fn load(state: &State, env: &Env) -> Result<Self, Failure> {
        let config = router::config(env)?.clone();
        let limits = config.roster_limits();
        let sql = state.storage().sql();
        let identifier = state.id().to_string();
        let now = router::clock();

        let decode = |text: Option<String>| match Snapshot::decode(&text?, limits, now) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                // Presence is soft: starting empty costs minutes, refusing to start would cost the community.
                journal::failure("snapshot_unreadable", &error);
                None
            }
        };
        let stored = read_snapshot(&sql).unwrap_or_else(|error| {
            journal::failure("storage_unreadable", &Failure::from(error));
            None
        });
        let stored = decode(stored);
        let rescued = decode(rescue::take(&identifier))
            .filter(|rescued| stored.as_ref().is_none_or(|stored| rescued.taken_at >= stored.taken_at));

        // Of what is in storage: a rescued roster is not, and must not wait any longer than it would have.
        let upkeep = Upkeep::new(limits.ticket_max_lifetime, stored.as_ref().map(|stored| stored.taken_at));
        let is_rescued = rescued.is_some();
        let roster = match rescued.or(stored) {
            Some(snapshot) => {
                journal::note("roster_restored", Details { peers: Some(snapshot.roster.len()), ..Details::default() });
                snapshot.roster
            }
            None => Roster::new(limits, rate_limit::random_secret()?),
        };
        let memory = RefCell::new(Memory { roster, upkeep, rescued: is_rescued, write_failed: false });
        let is_open =
            config.serves_all() && runtime::object_identifier(env, config.default_community.as_str())? != identifier;
        Ok(Self { identifier, config, sql, is_open, started_at: now, memory })
    }

    /// The object's identifier: a hash of the community's name.
    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// A snapshot, if there is something to lose and nobody is just changing it. Never panics.
    pub(crate) fn unwritten_snapshot(&self) -> Option<String> {
        let memory = self.memory.try_borrow().ok()?;
        // What is not worth a row is worth this: it costs nothing.
        if !memory.upkeep.has_unwritten() && !memory.upkeep.is_suspended() {
            return None;
        }
        Snapshot::encode(router::clock(), &memory.roster).ok()
    }

    /// The answer, and whether there is something to store.
    fn announce(&self, now: UnixMillis, handed: Handed<'_>) -> (Answer, bool) {
        let roster = &mut self.memory.borrow_mut().roster;
        let Handed { community, network, ticket } = handed;
        let path = network.hashed(roster.secret());
        let (peer_id, public_key) = (ticket.peer_id().clone(), ticket.public_key());
        let (expires_at, seed) = (ticket.payload().expires_at, roster.seed(now, Some(&ticket)));
        let signs_community = ticket.payload().community.is_some();
        roster.expire(now);
        let was_listed = roster.holds(&ticket);
        let outcome = roster.announce(now, ticket, path);
        let total = roster.len();
        let caller = Excluded::Claim(peer_id.as_str(), &public_key);
        let peers = Excerpt::of_records(&roster.answer(now, self.config.answer_limit, caller, seed));
        let announced = match outcome {
            Ok(announced) => announced,
            // A refusal changes nothing of that.
            Err(refused) => {
                let problem = Problem::Refused { refused, listed: was_listed };
                let answer =
                    if signs_community { problem.answer(now, &peers) } else { problem.answer_with_ok(now, &peers) };
                return (answer, false);
            }
        };
        let accepted = announced == Announced::Accepted;
        let fields = AnnounceFields {
            ok: true,
            accepted,
            listed: announced != Announced::NotListed,
            community,
            server_time: now,
            expires_at,
            announce_after_ms: self.config.pacing.announce_after_millis(total, random()),
            total,
        };
        (Answer::ok(&fields, Some(&peers)), accepted)
    }

    /// The answer, and whether there is something to store.
    fn leave(&self, now: UnixMillis, handed: &Handed<'_>) -> (Answer, bool) {
        let roster = &mut self.memory.borrow_mut().roster;
        let path = handed.network.hashed(roster.secret());
        let left = roster.leave(now, &handed.ticket, path);
        let fields = LeaveFields { ok: true, left: left == Left::Left, server_time: now };
        (Answer::ok(&fields, None), left != Left::Ignored)
    }

    fn listing(&self, now: UnixMillis) -> Result<Answer, Failure> {
        let roster = &mut self.memory.borrow_mut().roster;
        let body = Listing::encode(roster, now, self.started_at)?;
        Ok(Answer { status: 200, content: Content::Json, headers: Vec::new(), body })
    }

    fn next_alarm(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.weigh();
        let Memory { roster, upkeep, .. } = &mut *self.memory.borrow_mut();
        upkeep.next_alarm(now, roster.next_deadline())
    }

    /// Why nothing of the roster is worth keeping, if so.
    fn not_worth_keeping(&self, now: UnixMillis) -> Option<&'static str> {
        let roster = &mut self.memory.borrow_mut().roster;
        roster.expire(now);
        if roster.is_empty() {
            Some("nobody is present")
        } else if self.is_open && roster.is_of_one_site() {
            Some("all are in one site")
        } else {
            None
        }
    }

    /// Sees to it that nothing is written, and nothing put off, for a community that anybody may have invented and in
    /// which nobody can find anybody.
    fn weigh(&self) {
        let Memory { roster, upkeep, .. } = &mut *self.memory.borrow_mut();
        upkeep.suspend(self.is_open && roster.is_of_one_site());
    }

    /// Sees to it that a change is written in time.
    fn changed(self: &Rc<Self>, state: &State, now: UnixMillis) {
        self.weigh();
        let Some(delay) = self.memory.borrow_mut().upkeep.changed(now) else { return };
        let core = Rc::clone(self);
        state.wait_until(async move {
            Delay::from(delay).await;
            core.write_if_due(router::clock());
        });
    }

    /// Writes the roster, if that is due. A failure is logged and mended by the next write: the roster in memory is
    /// right all the same.
    fn write_if_due(&self, now: UnixMillis) {
        self.weigh();
        let memory = &mut *self.memory.borrow_mut();
        if !memory.upkeep.take_write(now) {
            return;
        }
        let written = Snapshot::encode(now, &memory.roster)
            .map_err(Failure::from)
            .and_then(|state| Ok(write_snapshot(&self.sql, &state)?));
        if let Err(failure) = &written
            && !memory.write_failed
        {
            journal::failure("snapshot_not_written", failure);
        }
        memory.write_failed = written.is_err();
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnnounceFields<'a> {
    pub(crate) ok: bool,
    pub(crate) accepted: bool,
    pub(crate) listed: bool,
    pub(crate) community: &'a str,
    pub(crate) server_time: UnixMillis,
    pub(crate) expires_at: UnixMillis,
    pub(crate) announce_after_ms: u64,
    /// Everybody who is listed, the caller too.
    pub(crate) total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaveFields {
    ok: bool,
    left: bool,
    server_time: UnixMillis,
}

/// Spreads announces out. Nobody gains anything by guessing it.
pub(crate) fn random() -> u32 {
    (js_sys::Math::random() * f64::from(u32::MAX)) as u32
}

fn write_snapshot(sql: &SqlStorage, state: &str) -> worker::Result<()> {
    let write = || {
        sql.exec(CREATE_TABLE, None)?;
        sql.exec(WRITE_SNAPSHOT, vec![state.into()])
    };
    if write().is_err() {
        // A table of another shape is of no use to anybody.
        sql.exec(DROP_TABLE, None)?;
        write()?;
    }
    Ok(())
}

/// An object that was only ever read from has no table, and is to have none: it costs nothing.
fn read_snapshot(sql: &SqlStorage) -> Result<Option<String>, JsValue> {
    if first_row(sql, HAS_TABLE)?.is_undefined() {
        return Ok(None);
    }
    let row = first_row(sql, READ_SNAPSHOT)?;
    if row.is_undefined() {
        return Ok(None);
    }
    let state = Reflect::get(&row, &"state".into())?.as_string();
    state.map(Some).ok_or_else(|| JsValue::from("the row of the snapshot is not text"))
}

/// Undefined, where there is none. `SqlCursor` would bring a deserialiser of JavaScript's values along for one text.
fn first_row(sql: &SqlStorage, query: &str) -> Result<JsValue, JsValue> {
    let sql: &worker::worker_sys::SqlStorage = sql.as_ref().unchecked_ref();
    Ok(sql.exec(query, js_sys::Array::new())?.to_array().get(0))
}
