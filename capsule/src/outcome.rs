//! How a command ends: what it prints on the standard output, and its exit code.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::secret::hide;

/// What a command says on the standard output, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    text: String,
    exit: Exit,
}

impl Outcome {
    /// Text for people.
    pub const fn text(text: String, exit: Exit) -> Self {
        Self { text, exit }
    }

    /// One line of JSON for scripts.
    pub fn json(value: &impl Serialize, exit: Exit) -> Self {
        // What is serialised here has only strings as keys, so that it cannot fail.
        let text =
            serde_json::to_string(value).unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string());
        Self { text: text + "\n", exit }
    }

    /// A failure, which has been explained on the standard error already.
    pub fn failed(failure: &Failure, json: bool) -> Self {
        let exit = failure.exit;
        if json {
            let mut report = json!({ "ok": false, "error": hide(&failure.to_string()) });
            if let (Some(report), Some(code)) = (report.as_object_mut(), failure.code) {
                report.insert("code".to_owned(), code.into());
            }
            Self::json(&report, exit)
        } else {
            Self::text(String::new(), exit)
        }
    }

    /// The same after something else.
    #[must_use]
    pub fn preceded_by(mut self, mut text: String) -> Self {
        text.push_str(&self.text);
        self.text = text;
        self
    }

    /// Prints it.
    ///
    /// # Errors
    /// If that fails for another reason than a reader that has seen enough (`| head`).
    pub fn print(self) -> io::Result<Exit> {
        // What is refused may be something else than its name was meant for.
        let text = if self.exit == Exit::Good { self.text } else { hide(&self.text) };
        match print_result(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(self.exit),
        }
    }
}

/// Prints one line of JSON on the standard output while the command goes on. That nobody reads it is not a reason to stop.
pub fn print_event(event: &serde_json::Value) {
    print_text(&format!("{}\n", hide(&event.to_string())));
}

/// Prints text on the standard output while the command goes on. That nobody reads it is not a reason to stop.
pub fn print_text(text: &str) {
    let _ = print_result(text);
}

/// Prints a result, which is not hidden, on the standard output while the command goes on.
///
/// # Errors
/// If that fails, also with [`io::ErrorKind::BrokenPipe`] because nobody reads it any more (`| head`): what nobody got is not
/// deleted, nor acknowledged.
pub fn print_result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}
