//! How a command ends: what it prints, and the exit codes of this program.

use std::process::ExitCode;

use rendezvous_capsule::failure::{Exit, Failure};
use rendezvous_capsule::outcome::Outcome;
use rendezvous_capsule::program;

/// Says whether all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Done.
    Done,
    /// Something waits: for a relay, for room, or for its recipient.
    Waiting,
    /// A signal has come.
    Interrupted,
}

/// Holds what a command prints, and whether all is done.
#[derive(Debug)]
pub(crate) struct Report {
    outcome: Outcome,
    ending: Ending,
}

impl Report {
    /// Returns the report of a command that is done: one line of JSON for scripts, or text for people.
    pub(crate) fn done(json: bool, value: &serde_json::Value, text: String) -> Self {
        Self::new(json, value, text, Ending::Done)
    }

    /// Returns the same, of any ending.
    pub(crate) fn new(json: bool, value: &serde_json::Value, text: String, ending: Ending) -> Self {
        let outcome = if json { Outcome::json(value, Exit::Good) } else { Outcome::text(text, Exit::Good) };
        Self { outcome, ending }
    }

    /// Returns the report of a command that is done, with one text for scripts and people.
    pub(crate) const fn text(text: String) -> Self {
        Self::of(Outcome::text(text, Exit::Good))
    }

    /// Returns the report of a command that has printed everything already.
    pub(crate) const fn printed(ending: Ending) -> Self {
        Self { outcome: Outcome::text(String::new(), Exit::Good), ending }
    }

    /// Returns the report of a command that has said already what is wrong.
    pub(crate) const fn refused_as_said() -> Self {
        Self::of(Outcome::text(String::new(), Exit::Refused))
    }

    /// Returns the report of a command that found something that does not do what it should.
    pub(crate) fn refused(json: bool, value: &serde_json::Value, text: String) -> Self {
        let outcome = if json { Outcome::json(value, Exit::Refused) } else { Outcome::text(text, Exit::Refused) };
        Self::of(outcome)
    }

    /// Takes over what another program's code has put together.
    pub(crate) const fn of(outcome: Outcome) -> Self {
        Self { outcome, ending: Ending::Done }
    }
}

/// Prints what a command has come to.
pub(crate) fn end(report: Result<Report, Failure>, json: bool) -> ExitCode {
    let (outcome, ending) = match report {
        Ok(Report { outcome, ending }) => (Ok(outcome), ending),
        Err(failure) => (Err(failure), Ending::Done),
    };
    code(program::end(outcome, json), ending)
}

/// Returns the exit code, as the help explains it.
pub(crate) fn code(exit: Exit, ending: Ending) -> ExitCode {
    ExitCode::from(match (exit, ending) {
        (Exit::Good, Ending::Done) => 0,
        (Exit::Good, Ending::Waiting) => 3,
        (Exit::Good, Ending::Interrupted) => 130,
        (Exit::Unreachable | Exit::Alert, _) => 1,
        (Exit::Refused | Exit::Usage, _) => 2,
    })
}
