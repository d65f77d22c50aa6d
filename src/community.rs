//! The Durable Object of a community: carries out its effects.

use std::cell::RefCell;
use std::rc::Rc;

use rendezvous_protocol::live::CloseCode;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::community::{CommunityObject, Effects, Found};
use rendezvous_service::goop2::{GuestOpening, RoomCall};
use rendezvous_service::live::{ConnectionId, Opening, Push, Pushed};
use worker::js_sys::{Array, Promise, Reflect};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::{DurableObjectState, SqlStorage};
use worker::{Env, web_sys};

use crate::environment::{Failure, clock, config, millis, random, random_secret};
use crate::sockets::LastId;
use crate::waiting::{after, answered};
use crate::{alarm, journal, rescue, respond, runtime, sockets};

/// One row, so that a snapshot is written, and billed, as one.
const CREATE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL)";
const HAS_TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'snapshot'";
const DROP_TABLE: &str = "DROP TABLE IF EXISTS snapshot";
const READ_SNAPSHOT: &str = "SELECT state FROM snapshot WHERE id = 1";
const WRITE_SNAPSHOT: &str =
    "INSERT INTO snapshot (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state";

/// The Durable Object. Its name is the community's.
///
/// It is exported as it stands, not by `worker`'s macro, which makes its own of every request and of every answer. And it
/// calls the runtime by its own functions: what `worker` makes of them brings an executor of futures along, and words for
/// the errors of products that a beacon has nothing to do with.
#[wasm_bindgen]
pub struct Community {
    state: Rc<DurableObjectState>,
    core: Result<Rc<Core>, Failure>,
}

#[wasm_bindgen]
impl Community {
    /// Makes the object. The runtime calls this, and the other two.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = Rc::new(state);
        Self { core: Core::load(Rc::clone(&state), &env), state }
    }

    /// Answers one call of the Worker. Nothing in it waits, so no other event comes between; but for a call that is in the
    /// request's body, of which it returns a promise. Once that is there, nothing waits.
    pub fn fetch(&self, request: &web_sys::Request) -> Result<JsValue, JsValue> {
        let now = clock();
        let answer = || {
            let core = self.core.as_ref().map_err(Clone::clone)?;
            let url = request.url();
            #[cfg(feature = "fault-injection")]
            crate::faults::panic_if_asked(&url);
            if RoomCall::is_in(&url) {
                return Rc::clone(core).ask_room(url, request);
            }
            if let Some(opening) = Opening::parse(&url) {
                let opening = opening?;
                return core.open(now, &mut |object, id| {
                    let (outcome, effects) = object.open_live(now, id, &opening);
                    (outcome.err().map(|full| full.answer(now)), effects)
                });
            }
            if let Some(opening) = GuestOpening::parse(&url) {
                let opening = opening?;
                return core.open(now, &mut |object, id| {
                    let (outcome, effects) = object.open_guest(now, id, &opening);
                    (outcome.err().map(|refusal| refusal.answer()), effects)
                });
            }
            let (answer, effects) = core.object.borrow_mut().receive(now, &url, random());
            core.carry_out(effects);
            Ok(respond::counted_with(&answer)?.into())
        };
        answered(now, answer())
    }

    /// Takes a message of a connection, of `GET /live` or of goop2's door.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn web_socket_message(&self, socket: &web_sys::WebSocket, message: &JsValue) {
        self.take(socket, Some(message));
    }

    /// Takes that a connection has ended.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn web_socket_close(&self, socket: &web_sys::WebSocket) {
        self.take(socket, None);
        // A runtime that does not answer a close by itself waits for this; else there is nothing left to close.
        let _ = socket.close();
    }

    /// Takes that a connection has broken.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn web_socket_error(&self, socket: &web_sys::WebSocket) {
        self.take(socket, None);
    }

    /// Tidies up, when the time that was set has come. Returns a promise where there is something to wait for.
    pub fn alarm(&self) -> Result<JsValue, JsValue> {
        alarm::end(&self.state, self.tidy_up())
    }
}

impl Community {
    /// Takes a message of a connection, or its end.
    fn take(&self, socket: &web_sys::WebSocket, message: Option<&JsValue>) {
        let take = || {
            let core = self.core.as_ref().map_err(Clone::clone)?;
            let id = sockets::connection_of(&core.state, socket)?;
            let text = message.map(|message| message.as_string().unwrap_or_default());
            core.take(id, text.as_deref())
        };
        if let Err(failure) = take() {
            journal::failure("request_failed", &failure);
            let code = CloseCode::Internal;
            let _ = socket.close_with_code_and_reason(code.as_u16(), code.reason());
        }
    }

    fn tidy_up(&self) -> Result<JsValue, Failure> {
        let core = self.core.as_ref().map_err(Clone::clone)?;
        let mut effects = core.object.borrow_mut().handle_alarm(clock());
        let erase = effects.erase.take();
        core.carry_out(effects);
        let Some(note) = erase else { return Ok(JsValue::UNDEFINED) };
        // Announces wait behind this write. The next one creates the table anew.
        let state = Rc::clone(&core.state);
        after(&core.state.storage()?.delete_all()?, move |_, erased| match erased {
            Ok(_) => {
                journal::write([note]);
                Ok(JsValue::UNDEFINED)
            }
            Err(error) => Ok(alarm::set_again(&state, "alarm_failed", &Failure::from(error))?),
        })
    }
}

/// Asks an object for a place for a connection. Returns the answer where there is none.
type Admit<'a> = dyn FnMut(&mut CommunityObject, ConnectionId) -> (Option<Answer>, Effects) + 'a;

/// Holds what outlives one event: the object itself and a timer share it.
struct Core {
    state: Rc<DurableObjectState>,
    sql: SqlStorage,
    object: Rc<RefCell<CommunityObject>>,
    last_id: LastId,
}

impl Core {
    fn load(state: Rc<DurableObjectState>, env: &Env) -> Result<Rc<Self>, Failure> {
        let config = config(env)?;
        let sql = state.storage()?.sql();
        let identifier = state.id()?.to_string()?;
        let stored = read_snapshot(&sql).map_err(|error| Failure::from(error).to_string());
        let connections = sockets::connections(&state)?;
        let last_id = LastId::of(&connections);
        let found = Found { stored, rescued: rescue::take(&identifier), connections: Some(connections) };
        // The default community's object is the one that nobody can have invented.
        let is_open =
            config.serves_all() && runtime::object_identifier(env, config.default_community.as_str())? != identifier;
        let (object, effects) = CommunityObject::restore(clock(), config, is_open, found, random_secret()?);
        let object = Rc::new(RefCell::new(object));
        rescue::register(identifier, &object);
        let core = Rc::new(Self { state, sql, object, last_id });
        core.carry_out(effects);
        Ok(core)
    }

    /// Asks the room of goop2's peers what is in a URL and a body. Returns a promise of the answer.
    fn ask_room(self: Rc<Self>, url: String, request: &web_sys::Request) -> Result<JsValue, Failure> {
        after(&request.text()?, move |now, body| {
            let body = body?.as_string().unwrap_or_default();
            let (answer, effects) = self.object.borrow_mut().receive_guest(now, &url, &body);
            self.carry_out(effects);
            Ok(respond::counted_with(&answer)?.into())
        })
    }

    /// Opens a connection, and answers with a socket to it, or with why the object refuses it.
    fn open(self: &Rc<Self>, now: UnixMillis, admit: &mut Admit<'_>) -> Result<JsValue, Failure> {
        let id = self.last_id.next(now);
        let (refusal, effects) = admit(&mut self.object.borrow_mut(), id);
        let response = match refusal {
            None => sockets::accept(&self.state, id),
            Some(answer) => respond::with(&answer),
        };
        if response.is_err() {
            self.take(id, None)?;
        }
        self.carry_out(effects);
        Ok(response?.into())
    }

    /// Takes a text of a connection, or its end.
    fn take(self: &Rc<Self>, id: ConnectionId, text: Option<&str>) -> Result<(), Failure> {
        let effects = self.object.borrow_mut().receive_text(clock(), id, text, random())?;
        self.carry_out(effects);
        Ok(())
    }

    /// Gives a connection what it is to keep.
    fn attach(&self, id: ConnectionId) -> Result<(), Failure> {
        if let Some(text) = self.object.borrow().attachment(clock(), id)? {
            sockets::attach(&self.state, id, &text)?;
        }
        Ok(())
    }

    /// Gives connections what there is for them.
    fn push(&self, Push { to, what }: Push) -> Result<(), JsValue> {
        match (&what, what.to_text()) {
            (_, Some(text)) => sockets::push(&self.state, to, &text),
            (Pushed::Close(code), None) => sockets::close(&self.state, to, *code),
            (_, None) => Ok(()),
        }
    }

    /// Does what the object wants done, but for erasing, which waits.
    fn carry_out(self: &Rc<Self>, effects: Effects) {
        let Effects { write, erase: _, wake_at, timer, push_after, attach, push, notes } = effects;
        journal::write(notes);
        // One that fails takes nothing from the others.
        for id in attach {
            if let Err(failure) = self.attach(id) {
                journal::failure("attachment_not_kept", &failure);
            }
        }
        for push in push {
            if let Err(error) = self.push(push) {
                journal::failure("push_failed", &Failure::from(error));
            }
        }
        for delay in [timer, push_after].into_iter().flatten() {
            let core = Rc::clone(self);
            self.go_on_after(&runtime::delay(millis(delay)), move |now, _| {
                let effects = core.object.borrow_mut().handle_timer(now);
                core.carry_out(effects);
            });
        }
        if let Some(state) = write {
            let outcome = write_snapshot(&self.sql, &state).map_err(|error| Failure::from(error).to_string());
            journal::write(self.object.borrow_mut().written(outcome));
        }
        if let Some(at) = wake_at {
            match runtime::set_alarm(&self.state, at.as_u64() as f64) {
                Ok(set) => self.go_on_after(&set, |_, outcome| {
                    if let Err(error) = outcome {
                        journal::alarm_not_set(&Failure::from(error));
                    }
                }),
                Err(error) => journal::alarm_not_set(&Failure::from(error)),
            }
        }
    }

    /// Does something when a promise has come to something, and keeps the object until then.
    fn go_on_after(&self, promise: &Promise, next: impl FnOnce(UnixMillis, Result<JsValue, JsValue>) + 'static) {
        let next = move |now, outcome| {
            next(now, outcome);
            Ok(JsValue::UNDEFINED)
        };
        let kept = after(promise, next).and_then(|done| Ok(self.state.wait_until(done.unchecked_ref())?));
        if let Err(failure) = kept {
            journal::failure("request_failed", &failure);
        }
    }
}

fn write_snapshot(sql: &SqlStorage, state: &str) -> Result<(), JsValue> {
    let write = || {
        sql.exec(CREATE_TABLE, Array::new())?;
        sql.exec(WRITE_SNAPSHOT, Array::of1(&state.into()))
    };
    if write().is_err() {
        // A table of another shape is of no use to anybody.
        sql.exec(DROP_TABLE, Array::new())?;
        write()?;
    }
    Ok(())
}

/// Reads the stored text. An object that was only ever read from has no table, and is to have none: it costs nothing.
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

/// Returns the first row, undefined where there is none.
fn first_row(sql: &SqlStorage, query: &str) -> Result<JsValue, JsValue> {
    Ok(sql.exec(query, Array::new())?.to_array().get(0))
}
