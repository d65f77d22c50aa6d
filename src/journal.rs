//! What an operator reads in the logs: one JSON object a line, and nothing for a request that went well.
//!
//! No address, key or ticket is ever logged.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Serialize;
use worker::{console_error, console_log};

thread_local! {
    static SAID: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Something that an operator may want to know.
pub(crate) fn note(event: &str, details: Details) {
    console_log!("{}", line("info", event, details));
}

/// Something that an operator has to mend.
pub(crate) fn failure(event: &str, cause: &impl Display) {
    console_error!("{}", line("error", event, Details { cause: Some(cause.to_string()), ..Details::default() }));
}

/// The same, said once in the life of an isolate: it will not be otherwise for the next request.
pub(crate) fn failure_once(event: &'static str, cause: &impl Display) {
    if is_first(event) {
        failure(event, cause);
    }
}

/// The same of something that an operator may want to know.
pub(crate) fn note_once(event: &'static str, cause: &str) {
    if is_first(event) {
        note(event, Details { cause: Some(cause.to_owned()), ..Details::default() });
    }
}

fn is_first(event: &'static str) -> bool {
    SAID.with_borrow_mut(|said| said.insert(event))
}

/// What is known of an event.
#[derive(Default, Serialize)]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers: Option<usize>,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    event: &'a str,
    details: Details,
}

fn line(level: &str, event: &str, details: Details) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(&Line { level, event, details }).unwrap_or_default()
}
