//! Why a command could not do its work, and the exit code that tells causes apart.
//!
//! An error knows its own exit code, and a name for scripts where it has one: no list of all errors exists. A capsule
//! that is refused is not a failure but a result (`refusal.rs`).

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The exit codes. The help of every command explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or: the capsule is good.
    Good = 0,
    /// The capsule is refused, or there were too few good tickets to make one, or no beacon lists the peer.
    Refused = 1,
    /// A wrong argument or variable, or a file that cannot be read or written. The argument parser uses it too.
    Usage = 2,
    /// No beacon answered, or the address could not be fetched from.
    Unreachable = 3,
    /// The success rate of the last 15 minutes is too low.
    Alert = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that can end a command.
pub trait Cause: Error + Send + Sync + 'static {
    /// Returns the exit code for it.
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    /// Returns a name for scripts, where the cause is somebody else's machine.
    fn code(&self) -> Option<&'static str> {
        None
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// A name for scripts, where the cause has one.
    pub code: Option<&'static str>,
    error: Box<dyn Error + Send + Sync>,
}

impl<E: Cause> From<E> for Failure {
    fn from(cause: E) -> Self {
        Self { exit: cause.exit(), code: cause.code(), error: Box::new(cause) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}
