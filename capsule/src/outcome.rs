//! How a command ends: what it prints, and the exit code that tells causes apart.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::announce::AnnounceError;
use crate::check::CheckError;
use crate::claims::ClaimsError;
use crate::clock::ClockError;
use crate::cosign::CosignError;
use crate::destination::DestinationError;
use crate::environment::EnvironmentError;
use crate::fetch::FetchError;
use crate::files::FileError;
use crate::keygen::KeygenError;
use crate::keys::KeyFileError;
use crate::network::NetworkError;
use crate::nonce::NoRandomness;
use crate::publication::PublicationError;
use crate::reader::NotARoot;
use crate::root::RootCommandError;
use crate::secret::hide;
use crate::settings::SettingsError;
use crate::source::SourceError;
use crate::ticket::MintError;
use crate::verify::NotRevocations;
use crate::watch::WatchError;

/// The exit codes. The help of every command explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or: the capsule is good.
    Good = 0,
    /// The capsule is refused, or there were too few good tickets to make one, or no beacon lists the peer.
    Refused = 1,
    /// A wrong argument or variable, or a file that cannot be read or written. The argument parser uses it too.
    Usage = 2,
    /// No beacon answered, or the address could not be fetched from.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work. A capsule that is refused is no failure but a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Keygen(#[from] KeygenError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Cosign(#[from] CosignError),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    NotARoot(#[from] NotARoot),
    #[error(transparent)]
    NotRevocations(#[from] NotRevocations),
    #[error(transparent)]
    Root(#[from] RootCommandError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Publication(#[from] PublicationError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Watch(#[from] WatchError),
}

impl Failure {
    /// The exit code for it.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Source(SourceError::Fetch { error: FetchError::BadUrl { .. }, .. }) => Exit::Usage,
            Self::Source(SourceError::Fetch { .. }) => Exit::Unreachable,
            Self::Destination(DestinationError::Bucket(error)) if error.is_passing() => Exit::Unreachable,
            Self::Claims(ClaimsError::NotJson { .. }) | Self::NotARoot(_) => Exit::Refused,
            _ => Exit::Usage,
        }
    }

    /// A name for scripts, where the cause is somebody else's machine.
    const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Source(SourceError::Fetch { error, .. }) => Some(error.code()),
            _ => None,
        }
    }
}

/// What a command says on the standard output, and its exit code.
#[derive(Debug)]
pub(crate) struct Outcome {
    text: String,
    exit: Exit,
}

impl Outcome {
    /// Text for people.
    pub(crate) const fn text(text: String, exit: Exit) -> Self {
        Self { text, exit }
    }

    /// One line of JSON for scripts.
    pub(crate) fn json(value: &impl Serialize, exit: Exit) -> Self {
        // What is serialised here has only strings as keys, so that it cannot fail.
        let text =
            serde_json::to_string(value).unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string());
        Self { text: text + "\n", exit }
    }

    /// A failure, which has been explained on the standard error already.
    pub(crate) fn failed(failure: &Failure, json: bool) -> Self {
        let exit = failure.exit();
        if json {
            let mut report = json!({ "ok": false, "error": hide(&failure.to_string()) });
            if let (Some(report), Some(code)) = (report.as_object_mut(), failure.code()) {
                report.insert("code".to_owned(), code.into());
            }
            Self::json(&report, exit)
        } else {
            Self::text(String::new(), exit)
        }
    }

    /// The same after something else.
    #[must_use]
    pub(crate) fn preceded_by(mut self, mut text: String) -> Self {
        text.push_str(&self.text);
        self.text = text;
        self
    }

    /// Prints it.
    ///
    /// # Errors
    /// If that fails for another reason than a reader that has seen enough (`| head`).
    pub(crate) fn print(self) -> io::Result<Exit> {
        // What is refused may be something else than its name was meant for.
        let text = if self.exit == Exit::Good { self.text } else { hide(&self.text) };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(self.exit),
        }
    }
}

/// Prints one line of JSON on the standard output while the command goes on. That nobody reads it is no reason to stop.
pub(crate) fn print_event(event: &serde_json::Value) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(format!("{}\n", hide(&event.to_string())).as_bytes()).and_then(|()| stdout.flush());
}

/// Says on the standard error what is going on. Results go to the standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    quiet: bool,
}

impl Log {
    /// A log that says nothing if `quiet`.
    pub(crate) const fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Whether it says nothing.
    pub(crate) const fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Says one line. A standard error that is closed is no reason to stop.
    pub(crate) fn note(self, line: fmt::Arguments<'_>) {
        if !self.quiet {
            // In one piece, because several threads say something at once.
            let _ = io::stderr().write_all(format!("{}\n", hide(&line.to_string())).as_bytes());
        }
    }
}
