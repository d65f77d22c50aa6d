//! What is refused, by a rule of the protocol: a result, not a failure.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::outcome::Outcome;
use crate::text;

/// What is refused, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The file or address.
    pub(crate) source: String,
    /// The rule's name, for scripts.
    pub(crate) code: Cow<'static, str>,
    /// What does not fit.
    pub(crate) reason: String,
    /// What the reader can do.
    pub(crate) advice: String,
}

impl Refusal {
    /// Puts one together. The reason may repeat what strangers wrote: it is escaped where people see it.
    pub(crate) fn new(
        source: &impl Display,
        code: impl Into<Cow<'static, str>>,
        reason: &impl Display,
        advice: &impl Display,
    ) -> Self {
        Self { source: source.to_string(), code: code.into(), reason: reason.to_string(), advice: advice.to_string() }
    }

    /// As the result of a command. `fields` are more for scripts.
    pub(crate) fn outcome(&self, json: bool, fields: Value) -> Outcome {
        if !json {
            let [source, reason] = [&self.source, &self.reason].map(|text| text::printable(text));
            let Self { code, advice, .. } = self;
            let lines = text::fields(&[("refused", &source), ("code", code), ("reason", &reason), ("advice", advice)]);
            return Outcome::text(lines, Exit::Refused);
        }
        // What is refused may be another file than the one that the command is about: a root beside a capsule.
        let Self { source, code, reason, advice } = self;
        let mut object = json!({ "ok": false, "source": source, "code": code, "error": reason, "advice": advice });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        Outcome::json(&object, Exit::Refused)
    }
}

/// Why a command did not come to its end.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// Something is refused.
    Refused(Refusal),
    /// Something could not be done.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Unfinished {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Refusal> for Unfinished {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
