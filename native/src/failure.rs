//! Why the program ends otherwise than it should, and with which exit code.

use std::io;
use std::process::ExitCode;

use rendezvous_protocol::directory::state::RowError;
#[cfg(feature = "relay")]
use rendezvous_service::config::ConfigError;

#[cfg(feature = "relay")]
use crate::circuit_relay::RelayKeyError;
use crate::database::StorageError;
use crate::retalk_server::RetalkServerError;
use crate::settings::SettingsError;
use crate::templates::TemplatesError;

/// The exit codes. The help explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Ended as it was asked to.
    Good = 0,
    /// The port, the state or the system does not allow it.
    Failed = 1,
    /// A wrong argument, variable or file of configuration. The parser of arguments uses it too.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the beacon is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    RetalkServer(#[from] RetalkServerError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "the directory: {0}; move directory.sqlite away with its -wal and -shm, or bring those of the three back that a copy has"
    )]
    Hub(#[from] RowError),
    #[error("{variable}: {address} cannot be listened on: {error}")]
    Listen { variable: &'static str, address: String, error: io::Error },
    #[error("the beacon cannot be announced in the local network: {0}")]
    Lan(#[from] mdns_sd::Error),
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    #[error("an event loop cannot be started: {0}")]
    EventLoop(io::Error),
    #[error("an event loop has ended by itself")]
    EventLoopEnded,
    #[error("the thread that writes the state has ended by itself: what was not written yet is lost")]
    WriterEnded,
    #[error("the last changes of {communities} communities could not be written, and are lost")]
    NotWritten { communities: usize },
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    #[error("asked twice to end: what was not written yet is lost")]
    Interrupted,
    #[error("SMTP_CA_FILE: {path} cannot be used: {cause}")]
    Authorities { path: String, cause: String },
    #[error("TEMPLATES_DIR: {0}")]
    Templates(#[from] TemplatesError),
    #[cfg(feature = "relay")]
    #[error("RELAY_KEY_FILE: {0}")]
    RelayKey(#[from] RelayKeyError),
    #[cfg(feature = "relay")]
    #[error("{0}")]
    RelayAddresses(ConfigError),
    #[cfg(feature = "relay")]
    #[error("the relay's encryption cannot be set up: {0}")]
    RelayEncryption(libp2p_noise::Error),
    #[cfg(not(feature = "relay"))]
    #[error("RELAY_PORT is set, and this program was built without the relay")]
    RelayNotBuilt,
    #[error("TLS for mail cannot be set up: {0}")]
    MailTls(lettre::transport::smtp::Error),
    #[error("no mail can be sent in the name of SMTP_FROM")]
    MailSender,
    #[error("nothing of that is registered")]
    NotRegistered,
    #[error("the output could not be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// Returns the exit code for it.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Settings(_)
            | Self::RetalkServer(_)
            | Self::Authorities { .. }
            | Self::Templates(_)
            | Self::MailSender => Exit::Usage,
            #[cfg(feature = "relay")]
            Self::RelayKey(_) | Self::RelayAddresses(_) => Exit::Usage,
            #[cfg(not(feature = "relay"))]
            Self::RelayNotBuilt => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// Returns what to do about it, where there is something.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Settings(error) => error.hint(),
            Self::Storage(error) => Some(error.hint()),
            Self::Listen { error, .. } => match error.kind() {
                io::ErrorKind::AddrInUse => Some("end what listens there, or set another port; 0 takes a free one"),
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 are for privileged users: set another, and let a proxy listen there")
                }
                io::ErrorKind::AddrNotAvailable => {
                    Some("the address is not one of this machine's; 0.0.0.0 listens on all of IPv4, :: on all")
                }
                _ => None,
            },
            Self::NotWritten { .. } => Some("the log says why; peers announce themselves again within minutes"),
            Self::Templates(_) => Some("each folder there is a template; TEMPLATES_DIR = \"\" in the file offers none"),
            #[cfg(not(feature = "relay"))]
            Self::RelayNotBuilt => Some(
                "build it with the relay: cargo build --locked --profile native --package rendezvous-native --features relay",
            ),
            Self::EventLoop(_) => Some("raise the limit of threads and of open files"),
            _ => None,
        }
    }
}
