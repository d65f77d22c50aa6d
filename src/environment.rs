//! What the runtime has for the service: the time, random numbers, and the configuration.

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::Duration;

use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_service::call::{CallError, ObjectError};
use rendezvous_service::config::{Config, ConfigError, Kind, MailDoor, VARIABLES, list_text};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::{goop2, retalk};
use worker::Env;
use worker::js_sys::{Array, Date, Math, Number, Reflect};
use worker::wasm_bindgen::{JsCast as _, JsValue};

use crate::runtime;

/// Says why the beacon could not do its work. It goes to the log; the client learns `INTERNAL`.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("the runtime: {0}")]
    Runtime(String),
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("{0}")]
    Object(#[from] ObjectError),
}

impl From<JsValue> for Failure {
    fn from(error: JsValue) -> Self {
        Self::Runtime(runtime::describe(&error))
    }
}

/// Returns the time. It is read once for each event.
pub(crate) fn clock() -> UnixMillis {
    UnixMillis::saturating(Date::now() as u64)
}

/// Returns the configuration, which is parsed once in the life of an isolate.
pub(crate) fn config(env: &Env) -> Result<&'static Config, Failure> {
    static CONFIG: OnceLock<Result<Config, ConfigError>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Config::parse_for(&MailDoor::ON_CLOUDFLARE, |name| variable(env, name)));
    config.as_ref().map_err(|error| error.clone().into())
}

/// Returns the door for goop2's peers, if one is opened.
pub(crate) fn goop2_door(env: &Env) -> Result<Option<goop2::Door>, Failure> {
    Ok(goop2::Door::parse(config(env)?, |name| variable(env, name))?)
}

/// Returns the door for retalk's users, if it is opened.
pub(crate) fn retalk_door(env: &Env) -> Result<Option<retalk::Door>, Failure> {
    let config = config(env)?;
    // Cloudflare routes requests by name. Here it is whoever starts the beacon on the own machine who has other names.
    let names = OwnNames::new(config, Ipv4Addr::LOCALHOST.into());
    Ok(retalk::Door::parse(config, &names, |name| variable(env, name))?)
}

/// Returns the text of a variable that is set.
fn variable(env: &Env, name: &str) -> Option<String> {
    // Null is workerd's word for a variable that its own environment has not (`fromEnvironment`).
    let is_set = |value: &JsValue| !value.is_undefined() && !value.is_null();
    let value = Reflect::get(env, &name.into()).ok().filter(is_set)?;
    let mut known = VARIABLES.iter().chain(&goop2::VARIABLES).chain(&retalk::VARIABLES);
    let is_list = known.any(|variable| variable.name == name && variable.kind == Kind::List);
    Some(is_list.then(|| text_of_list(&value)).flatten().unwrap_or_else(|| text_of(&value)))
}

/// Returns the text of a list of texts, which TOML has too; nothing, where the value is not one.
fn text_of_list(value: &JsValue) -> Option<String> {
    let items = Array::is_array(value).then(|| Array::from(value))?;
    let items: Vec<_> = items.iter().map(|item| item.as_string()).collect::<Option<_>>()?;
    list_text(items.iter().map(String::as_str)).ok()
}

/// Returns a variable's text. What is neither text nor a number is text that no variable may have: it is not absent.
fn text_of(value: &JsValue) -> String {
    // TOML's bare numbers arrive as numbers.
    let of_number = || value.dyn_ref::<Number>()?.to_string_with_radix(10).ok().map(String::from);
    let text = value.as_string().or_else(of_number);
    text.unwrap_or_else(|| format!("({})", value.js_typeof().as_string().unwrap_or_default()))
}

/// Returns a new secret.
pub(crate) fn random_secret() -> Result<Secret, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::from_bytes(bytes))
}

/// Returns a time in milliseconds, as the runtime's timers take it.
pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(saturating_millis(time)).unwrap_or(u32::MAX)
}

/// Returns a random number that somebody may guess.
pub(crate) fn random() -> u32 {
    (Math::random() * f64::from(u32::MAX)) as u32
}
