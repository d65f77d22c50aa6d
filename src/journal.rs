//! The log of the runtime.

use std::cell::Cell;
use std::fmt::Display;

use rendezvous_service::note::{Level, Note};
use worker::{console_error, console_log};

/// Writes what the service says.
pub(crate) fn write(notes: impl IntoIterator<Item = Note>) {
    for note in notes {
        match note.level {
            Level::Info => console_log!("{}", note.to_json()),
            Level::Error => console_error!("{}", note.to_json()),
        }
    }
}

/// Writes that the runtime did not do its work.
pub(crate) fn failure(event: &'static str, cause: &impl Display) {
    write([Note::failure(event, cause)]);
}

/// Writes, once in the life of an isolate, that an alarm could not be set. It only tidies up, and is set again when it
/// does not come.
pub(crate) fn alarm_not_set(cause: &impl Display) {
    thread_local! {
        static SAID: Cell<bool> = const { Cell::new(false) };
    }
    if !SAID.replace(true) {
        failure("alarm_not_set", cause);
    }
}
