//! What the program says on the standard error while it works. Results go to the standard output.

use std::fmt;
use std::io::{self, Write as _};

use crate::secret::hide;

/// Says on the standard error what is going on.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    quiet: bool,
}

impl Log {
    /// A log that says nothing if `quiet`.
    pub const fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Whether it says nothing.
    pub const fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Says one line. A standard error that is closed is not a reason to stop.
    pub fn note(self, line: fmt::Arguments<'_>) {
        if !self.quiet {
            // In one piece, because several threads say something at once.
            let _ = io::stderr().write_all(format!("{}\n", hide(&line.to_string())).as_bytes());
        }
    }
}
