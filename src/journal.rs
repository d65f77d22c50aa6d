//! What an operator reads in the logs: one JSON object a line, and nothing for a request that went well.
//!
//! No address, key or ticket is ever logged.

use serde_json::{Value, json};
use worker::{console_error, console_log};

/// Something that an operator may want to know.
pub(crate) fn note(event: &str, details: Value) {
    console_log!("{}", line("info", event, details));
}

/// Something that an operator has to mend.
pub(crate) fn failure(event: &str, details: Value) {
    console_error!("{}", line("error", event, details));
}

fn line(level: &str, event: &str, details: Value) -> String {
    json!({ "level": level, "event": event, "details": details }).to_string()
}
