//! The log: what the service says, a line of JSON each, on the standard output.

use std::fmt::Display;
use std::io::Write as _;

use rendezvous_service::note::Note;

/// Writes what the service says. A log that nobody reads any more ends nothing.
pub(crate) fn write(notes: impl IntoIterator<Item = Note>) {
    for note in notes {
        let mut line = note.to_json();
        line.push('\n');
        // In one piece, so that lines of several threads do not mix.
        let _ = std::io::stdout().write_all(line.as_bytes());
    }
}

/// Writes that something outside the service did not do its work.
pub(crate) fn failure(event: &'static str, cause: &impl Display) {
    write([Note::failure(event, cause)]);
}
