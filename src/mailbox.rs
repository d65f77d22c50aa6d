//! The Durable Object of a mailbox, one of retalk's users' too, or of the count of all mailboxes: carries out its effects.
//!
//! Everything that it holds is in storage before an answer goes out, so that a panic or a crash costs nothing but time.
//! News goes to sockets that stay while the object hibernates, for clients whose end is in `listening.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::config::Config;
use rendezvous_service::mail_object::{MailCall, MailName, MailObject};
use rendezvous_service::mailbox::{Effects, Found, ListenCall, News, NewsPush, Write};
use worker::js_sys::{Array, Promise, Reflect};
use worker::wasm_bindgen::prelude::*;
use worker::worker_sys::{DurableObjectState, SqlStorage};
use worker::{Env, web_sys};

use crate::environment::{Failure, clock, config, random_secret};
use crate::sockets::LastId;
use crate::waiting::{after, answered};
use crate::{alarm, journal, respond, runtime, sockets};

/// Two tables, each without a further index: a row that is written is billed as one.
const CREATE_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS rows (name TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, row TEXT NOT NULL, body TEXT NOT NULL)",
];
const HAS_TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('rows', 'messages')";
const READ_ROWS: &str = "SELECT name, row FROM rows";
const READ_MESSAGES: &str = "SELECT number, row FROM messages ORDER BY number";
const READ_BODY: &str = "SELECT body FROM messages WHERE number = ?";
const PUT: &str = "INSERT INTO rows (name, row) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET row = excluded.row";
const ERASE: &str = "DELETE FROM rows WHERE name = ?";
const PUT_MESSAGE: &str = "INSERT INTO messages (number, row, body) VALUES (?, ?, ?)";
const ERASE_MESSAGE: &str = "DELETE FROM messages WHERE number = ?";

/// The Durable Object. Its name says which it is. It is exported as the class `Community` is, for the same reasons.
#[wasm_bindgen]
pub struct Mailbox {
    state: Rc<DurableObjectState>,
    core: Result<Rc<Core>, Failure>,
}

#[wasm_bindgen]
impl Mailbox {
    /// Makes the object. The runtime calls this, and the others.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = Rc::new(state);
        Self { core: Core::new(Rc::clone(&state), &env).map(Rc::new), state }
    }

    /// Answers one call of the Worker. Returns a promise, because the call is in the request's body. Once that is there,
    /// nothing waits, so no other event comes between.
    pub fn fetch(&self, request: &web_sys::Request) -> Result<JsValue, JsValue> {
        let now = clock();
        let take = || {
            let core = Rc::clone(self.core.as_ref().map_err(Clone::clone)?);
            if let Some(call) = ListenCall::parse(&request.url()) {
                return core.listen(now, &call?);
            }
            after(&request.text()?, move |now, text| core.answer(now, &text?.as_string().unwrap_or_default()))
        };
        answered(now, take())
    }

    /// Takes that a connection has ended.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn web_socket_close(&self, socket: &web_sys::WebSocket) {
        self.stop_listening(socket);
        // As in the class `Community`.
        let _ = socket.close();
    }

    /// Takes that a connection has broken.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn web_socket_error(&self, socket: &web_sys::WebSocket) {
        self.stop_listening(socket);
    }

    /// Tidies up, when the time that was set has come. Returns a promise where there is something to wait for.
    pub fn alarm(&self) -> Result<JsValue, JsValue> {
        let outcome = self.core.as_ref().map_err(Clone::clone).and_then(|core| core.tidy_up(clock()));
        alarm::end(&self.state, outcome)
    }
}

impl Mailbox {
    fn stop_listening(&self, socket: &web_sys::WebSocket) {
        let stop = || {
            let core = self.core.as_ref().map_err(Clone::clone)?;
            let id = sockets::connection_of(&core.state, socket)?;
            // One that is not in memory finds the connections that are there when it is made.
            if let Some(object) = &mut *core.object.borrow_mut() {
                object.stop_listening(id);
            }
            Ok::<_, Failure>(())
        };
        if let Err(failure) = stop() {
            journal::failure("request_failed", &failure);
        }
    }
}

/// Holds what outlives one event.
struct Core {
    state: Rc<DurableObjectState>,
    sql: SqlStorage,
    config: &'static Config,
    /// Absent until it is asked for something, and after a write that failed: what is in storage is what it is.
    object: RefCell<Option<MailObject>>,
    has_tables: Cell<bool>,
    last_id: LastId,
}

impl Core {
    fn new(state: Rc<DurableObjectState>, env: &Env) -> Result<Self, Failure> {
        let sql = state.storage()?.sql();
        let (has_tables, last_id) = (Cell::new(false), LastId::of(&sockets::connections(&state)?));
        Ok(Self { state, sql, config: config(env)?, object: RefCell::default(), has_tables, last_id })
    }

    fn answer(&self, now: UnixMillis, text: &str) -> Result<JsValue, Failure> {
        let call = MailCall::parse(text)?;
        let answered = self.with_object(now, Some(call.object()), |object| {
            let (answer, effects) = object.handle(now, call)?;
            // Before anything is carried out: handing over may be deleting.
            Ok((answer.join(|number| self.read_body(number))?, effects))
        })?;
        let answer = answered.ok_or_else(Failure::nameless)?;
        Ok(respond::counted_with(&answer)?.into())
    }

    /// Opens a connection, and answers with a socket to it.
    fn listen(&self, now: UnixMillis, call: &ListenCall) -> Result<JsValue, Failure> {
        let id = self.last_id.next(now);
        let accept = || {
            let response = sockets::accept(&self.state, id)?;
            sockets::attach(&self.state, id, &call.attachment())?;
            Ok(response)
        };
        // Once the object is there: one that is made now would find the connection among those that it had before.
        let opened = self.with_object(now, Some(MailName::Own(call.object())), |object| {
            Ok(match accept() {
                Ok(response) => (Ok(response), object.listen(now, id, call)),
                Err(error) => (Err::<_, JsValue>(error), Effects::default()),
            })
        })?;
        Ok(opened.ok_or_else(Failure::nameless)??.into())
    }

    fn tidy_up(&self, now: UnixMillis) -> Result<JsValue, Failure> {
        self.with_object(now, None, |object| Ok(((), object.handle_alarm(now))))?;
        Ok(JsValue::UNDEFINED)
    }

    /// Does something with the object, which is made of what is in storage first where it is not there, and carries out
    /// the effects. Absent where there is nothing in storage, and `name` does not say which object it would be. Of work that fails
    /// nothing is carried out, and the object is made anew.
    fn with_object<T>(
        &self,
        now: UnixMillis,
        name: Option<MailName>,
        work: impl FnOnce(&mut MailObject) -> Result<(T, Effects), Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut place = self.object.borrow_mut();
        let known = place.take();
        let is_restored = known.is_none();
        let mut object = match known {
            Some(object) => object,
            None => match MailObject::restore(now, self.config, name, self.read()?, random_secret()?)? {
                Some((object, effects)) => {
                    self.carry_out(effects)?;
                    object
                }
                None => return Ok(None),
            },
        };
        let (result, effects) = work(&mut object)?;
        self.carry_out(effects)?;
        // An object that is woken has no alarm, and sets its next one by itself.
        let lost = object.next_alarm().filter(|_| is_restored && name.is_some());
        if let Some(at) = lost {
            Self::watch_alarm(&runtime::set_lost_alarm(&self.state, at.as_u64() as f64)?)?;
        }
        // Only now: an object that is ahead of storage would answer for what a crash undoes.
        *place = Some(object);
        Ok(Some(result))
    }

    /// Reads what is in storage. A mailbox that does not exist has no table, and is to have none: it costs nothing.
    fn read(&self) -> Result<Found, Failure> {
        let has_tables = !runtime::read_texts(&self.sql, HAS_TABLES)?.is_empty();
        self.has_tables.set(has_tables);
        let listeners = sockets::connections(&self.state)?;
        if !has_tables {
            return Ok(Found { listeners, ..Found::default() });
        }
        let mut messages = Vec::new();
        for (number, row) in pairs(runtime::read_texts(&self.sql, READ_MESSAGES)?) {
            let number = number.parse().map_err(|_| Failure::Runtime("a message has no number".to_owned()))?;
            messages.push((number, row));
        }
        Ok(Found { rows: pairs(runtime::read_texts(&self.sql, READ_ROWS)?).collect(), messages, listeners })
    }

    fn read_body(&self, number: u64) -> Result<String, Failure> {
        let row = self.sql.exec(READ_BODY, Array::of1(&number_value(number)))?.to_array().get(0);
        let body = Reflect::get(&row, &"body".into()).ok().and_then(|body| body.as_string());
        body.ok_or_else(|| Failure::Runtime(format!("the body of message {number} is not there")))
    }

    /// Does what the object wants done. What it writes is written all or not at all, and the runtime holds the answer back until
    /// that is durable.
    fn carry_out(&self, effects: Effects) -> Result<(), Failure> {
        let Effects { writes, wake_at, push } = effects;
        self.write(writes)?;
        for NewsPush { to, what } in push {
            let pushed = match what {
                News::Text(text) => sockets::push(&self.state, to, &text),
                News::Close(code) => sockets::close(&self.state, to, code),
            };
            if let Err(error) = pushed {
                journal::failure("push_failed", &Failure::from(error));
            }
        }
        let Some(at) = wake_at else { return Ok(()) };
        Self::watch_alarm(&runtime::set_alarm(&self.state, at.as_u64() as f64)?)
    }

    /// Writes where an alarm could not be set.
    fn watch_alarm(set: &Promise) -> Result<(), Failure> {
        after(set, |_, outcome| {
            if let Err(error) = outcome {
                journal::alarm_not_set(&Failure::from(error));
            }
            Ok(JsValue::UNDEFINED)
        })?;
        Ok(())
    }

    fn write(&self, writes: Vec<Write>) -> Result<(), Failure> {
        let statements = Array::new();
        for write in writes {
            if !matches!(write, Write::EraseAll) && !self.has_tables.replace(true) {
                for table in CREATE_TABLES {
                    statements.push(&Array::of1(&table.into()));
                }
            }
            let statement = match write {
                Write::Put { name, row } => Array::of3(&PUT.into(), &name.into(), &row.into()),
                Write::Erase { name } => Array::of2(&ERASE.into(), &name.into()),
                Write::PutMessage { number, row, body } => {
                    Array::of4(&PUT_MESSAGE.into(), &number_value(number), &row.into(), &body.into())
                }
                Write::EraseMessage { number } => Array::of2(&ERASE_MESSAGE.into(), &number_value(number)),
                // It is the only one.
                Write::EraseAll => return self.erase_all(),
            };
            statements.push(&statement);
        }
        if statements.length() > 0 { Ok(runtime::transact(&self.state, &statements)?) } else { Ok(()) }
    }

    fn erase_all(&self) -> Result<(), Failure> {
        self.has_tables.set(false);
        let (state, erased) = (Rc::clone(&self.state), runtime::erase_all(&self.state)?);
        after(&erased, move |_, outcome| match outcome {
            Ok(_) => Ok(JsValue::UNDEFINED),
            Err(error) => Ok(alarm::set_again(&state, "erase_failed", &Failure::from(error))?),
        })?;
        Ok(())
    }
}

impl Failure {
    fn nameless() -> Self {
        Self::Runtime("an object was called that does not know which it is".to_owned())
    }
}

/// Returns a number as SQLite takes it from the runtime.
fn number_value(number: u64) -> JsValue {
    JsValue::from_f64(number as f64)
}

/// Returns texts two by two.
fn pairs(texts: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut texts = texts.into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}
