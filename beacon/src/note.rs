//! What an operator reads in the log: one JSON object a line, and nothing for a request that went well.
//!
//! No address, key or ticket is ever in one.

use std::fmt::Display;

use serde::Serialize;

/// Says who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nobody: an operator may want to know.
    Info,
    /// The operator, who has to mend something.
    Error,
}

/// Holds one line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Who has to do something.
    pub level: Level,
    /// The name of what happened, in `snake_case`.
    pub event: &'static str,
    /// What is known of it.
    pub details: Details,
}

/// Holds what is known of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// Why it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Peers that are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<usize>,
    /// Where the beacon is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Note {
    /// Makes a note that an operator may want to read.
    pub fn info(event: &'static str, details: Details) -> Self {
        Self { level: Level::Info, event, details }
    }

    /// Makes a note of a failure.
    pub fn failure(event: &'static str, cause: &dyn Display) -> Self {
        Self { level: Level::Error, event, details: Details { cause: Some(cause.to_string()), ..Details::default() } }
    }

    /// Writes the line, without its end.
    pub fn to_json(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_of_json() {
        let note = Note::failure("request_failed", &"a \"bad\"\nday");
        let expected = r#"{"level":"error","event":"request_failed","details":{"cause":"a \"bad\"\nday"}}"#;
        assert_eq!(note.to_json(), expected);
        let note = Note::info("roster_restored", Details { peers: Some(3), ..Details::default() });
        assert_eq!(note.to_json(), r#"{"level":"info","event":"roster_restored","details":{"peers":3}}"#);
    }
}
