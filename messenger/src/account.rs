//! The identity that a command works with, unlocked: where it is, its passphrase, and the relay that it goes by.
//!
//! None is ever made by accident: only `init` makes one. Each command says which one acts.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rendezvous_capsule::clock::{Clock, ClockError};
use rendezvous_capsule::environment::{self, Environment};
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::fetch::Fetcher;
use rendezvous_capsule::keys::passphrase_in_file;
use rendezvous_capsule::log::Log;
use rendezvous_capsule::terminal::ask_passphrase;
use rendezvous_capsule::{secret, text};
use rendezvous_messenger::transport::{HttpTransport, Relay};
use rendezvous_messenger::user::{Contact, User};
use rendezvous_protocol::retalk::user::UserId;
use rendezvous_protocol::time::UnixMillis;

use crate::store::{self, Store};

/// How often a command that goes on looks after keys, and after messages that nobody has acknowledged.
pub(crate) const MAINTAIN_EVERY: Duration = Duration::from_secs(60);

/// Names a variable with a passphrase, or with the name of a file that has one.
enum Source {
    File(&'static str),
    Value(&'static str),
}

/// Lists where passphrases are looked for. The first that is set counts.
const SOURCES: [Source; 6] = [
    Source::File(environment::SECRET_FILE),
    Source::Value(environment::SECRET),
    Source::File(environment::RETALK_PASSPHRASE_FILE),
    Source::Value(environment::RETALK_PASSPHRASE),
    Source::Value(environment::RETALK_SECRET),
    // The one that unlocks the key of a mailbox.
    Source::File(environment::PASSPHRASE_FILE),
];

/// Names both ways to name the first of them.
const PASSPHRASE_FILE_OR_VARIABLE: &str = "--passphrase-file or RENDEZVOUS_SECRET_FILE";

/// Lists where the relay's address is looked for, after the option.
const RELAYS: [&str; 3] = [environment::RELAY, environment::RETALK_RELAY, environment::RETALK_SERVER];

/// Says why there is nobody to act as.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// No identity there.
    #[error("there is no identity in {}: `rendezvous init DIR`, or `rendezvous init -u`, makes one", secret::path(.path))]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// No identity there, and keys for mailboxes.
    #[error(
        "there is no identity in {}, which has keys for mailboxes alone: `rendezvous mailbox deposit NAME` and `rendezvous \
         mailbox collect` go by those, and `rendezvous init DIR` makes an identity",
        secret::path(.path)
    )]
    OnlyMailboxes {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing there.
    #[error(
        "there is no identity and no mailbox in {}: `rendezvous init DIR` makes the one, `rendezvous mailbox open --relay \
         URL` the other",
        secret::path(.path)
    )]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody to ask for the passphrase.
    #[error(
        "there is no passphrase, and no terminal to ask for it: name a file that has it with --passphrase-file or \
         RENDEZVOUS_SECRET_FILE, or set RENDEZVOUS_SECRET"
    )]
    NoPassphrase,
    /// One of no characters.
    #[error("the passphrase from {origin} is empty")]
    EmptyPassphrase {
        /// The variable, the option or the terminal.
        origin: &'static str,
    },
    /// The terminal did not give one.
    #[error("the passphrase cannot be read from the terminal: {0}")]
    Terminal(io::Error),
    /// Two that should be one.
    #[error("the two passphrases differ: no identity is made")]
    PassphrasesDiffer,
    /// No address of a relay.
    #[error(
        "no relay is known: give --server https://relay.example.org, set RENDEZVOUS_RELAY, or save one with \
         `rendezvous register --server URL`"
    )]
    NoRelay,
    /// Nobody of that name.
    #[error(
        "nobody is known as {}: `rendezvous add NAME ID` saves a user's id under a name, and an id itself will do",
        text::printable(.name)
    )]
    PeerUnknown {
        /// The name.
        name: String,
    },
    /// The contact is one of mailboxes.
    #[error("{name} is known by an invite, not by an id: `rendezvous mailbox deposit {name}` writes to their mailbox")]
    PeerHasMailbox {
        /// The name.
        name: String,
    },
}

impl Cause for AccountError {}

/// Reaches the relay.
pub(crate) struct Network {
    transport: HttpTransport,
    url: Option<String>,
}

impl Network {
    /// Returns the relay.
    pub(crate) fn relay(&self) -> Result<Relay<'_>, Failure> {
        let url = self.url.as_deref().ok_or(AccountError::NoRelay)?;
        Ok(Relay::new(url, &self.transport)?)
    }

    /// Returns what carries requests.
    pub(crate) const fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    /// Returns the relay's address, if one is known.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// Holds what a command about messages works with.
pub(crate) struct Account<'a> {
    /// The identity.
    pub(crate) user: User,
    /// The relay.
    pub(crate) network: Network,
    /// What people read meanwhile.
    pub(crate) log: &'a Log,
    /// Where the identity is.
    pub(crate) directory: PathBuf,
    /// True where the program was called `retalk`, and prints what that prints.
    pub(crate) is_retalk: bool,
}

/// Holds what is the same for all commands.
pub(crate) struct Setting<'a> {
    /// The variables.
    pub(crate) environment: &'a Environment,
    /// What people read meanwhile.
    pub(crate) log: &'a Log,
    /// The time for each request.
    pub(crate) timeout: Duration,
    /// True where the program was called `retalk`.
    pub(crate) is_retalk: bool,
}

impl Setting<'_> {
    /// Returns the relay that is named by an option or a variable, or else the one that was `saved`.
    pub(crate) fn network(&self, option: Option<&str>, saved: Option<String>, fetcher: Fetcher) -> Network {
        let named = option.or_else(|| RELAYS.into_iter().find_map(|name| self.environment.value(name)));
        let url = named.map(str::to_owned).or(saved);
        Network { transport: HttpTransport::new(fetcher, self.timeout), url }
    }
}

impl<'a> Account<'a> {
    /// Unlocks the identity in this directory, and says which it is.
    pub(crate) fn open(
        directory: PathBuf,
        relay: Option<&str>,
        setting: &Setting<'a>,
        fetcher: Fetcher,
    ) -> Result<Self, Failure> {
        if !User::is_in(&directory)? {
            return Err(match Store::is_in(&directory)? {
                true => AccountError::OnlyMailboxes { path: directory },
                false => AccountError::Absent { path: directory },
            }
            .into());
        }
        let user = User::open(&directory, &passphrase(setting.environment, &directory)?)?;
        let network = setting.network(relay, user.profile()?.relay, fetcher);
        Ok(Self { user, network, log: setting.log, directory, is_retalk: setting.is_retalk })
    }

    /// Says which identity acts.
    pub(crate) fn introduce(&self) -> Result<(), Failure> {
        let name = self.user.profile()?.name;
        let name = if name.is_empty() { "user" } else { &name };
        let (id, directory) = (self.user.id(), secret::path(&self.directory));
        self.log.note(format_args!("using {} ({id}) from {directory}", text::printable(name)));
        Ok(())
    }

    /// Reads the clock.
    pub(crate) fn now(&self) -> Result<UnixMillis, ClockError> {
        Clock::System.now()
    }

    /// Returns whom a saved name or an id means.
    pub(crate) fn peer(&self, name_or_id: &str) -> Result<Contact, Failure> {
        if let Some(contact) = self.user.contact(name_or_id)? {
            return Ok(contact);
        }
        let name = name_or_id.to_owned();
        Err(match name_or_id.parse() {
            Ok(contact) if store::has_contact(&self.directory, &contact)? => AccountError::PeerHasMailbox { name },
            _ => AccountError::PeerUnknown { name },
        }
        .into())
    }

    /// Returns what an id is called: the saved name, else the id.
    pub(crate) fn name_of(&self, id: UserId) -> Result<String, Failure> {
        let contact = self.user.contact(&id.to_string())?;
        Ok(contact.and_then(|contact| contact.name).unwrap_or_else(|| id.to_string()))
    }
}

/// Finds the passphrase of an identity that is there.
fn passphrase(environment: &Environment, directory: &Path) -> Result<String, Failure> {
    if let Some(found) = found_passphrase(environment)? {
        return Ok(found);
    }
    if !io::stdin().is_terminal() {
        return Err(AccountError::NoPassphrase.into());
    }
    ask(&format!("Passphrase of the identity in {}: ", secret::path(directory)))
}

/// Finds the passphrase for a new identity.
pub(crate) fn new_passphrase(environment: &Environment) -> Result<String, Failure> {
    if let Some(found) = found_passphrase(environment)? {
        return Ok(found);
    }
    if !io::stdin().is_terminal() {
        return Err(AccountError::NoPassphrase.into());
    }
    let passphrase = ask("Passphrase for the new identity, without which it is lost: ")?;
    if passphrase.is_empty() {
        return Err(AccountError::EmptyPassphrase { origin: "the terminal" }.into());
    }
    if ask("The same again: ")? == passphrase { Ok(passphrase) } else { Err(AccountError::PassphrasesDiffer.into()) }
}

fn found_passphrase(environment: &Environment) -> Result<Option<String>, Failure> {
    for source in SOURCES {
        let (name, found) = match source {
            Source::File(name) => (name, passphrase_in_file(environment, name)?),
            Source::Value(name) => (name, environment.verbatim(name).map(str::to_owned)),
        };
        match found {
            Some(passphrase) if passphrase.is_empty() => {
                // The option stands in the place of the variable.
                let origin = if name == environment::SECRET_FILE { PASSPHRASE_FILE_OR_VARIABLE } else { name };
                return Err(AccountError::EmptyPassphrase { origin }.into());
            }
            Some(passphrase) => return Ok(Some(passphrase)),
            None => {}
        }
    }
    Ok(None)
}

fn ask(prompt: &str) -> Result<String, Failure> {
    Ok(ask_passphrase(prompt).map_err(AccountError::Terminal)?)
}
