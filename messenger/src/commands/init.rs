//! `rendezvous init`: makes an identity, the only command that does.

use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_capsule::clock::Clock;
use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::fetch::Fetcher;
use rendezvous_capsule::secret;
use rendezvous_messenger::transport::RelayError;
use rendezvous_messenger::user::{ImportError, Imported, NewUser, User, UserError};
use rendezvous_messenger::vault::VaultError;
use serde_json::json;

use crate::account::{Account, Setting, new_passphrase};
use crate::ending::Report;

const HELP: &str = "\
Examples:
  rendezvous init -u --name alice --server https://relay.example.org
      in your directory for data, where every command finds it
  rendezvous init ./bot --name bot
      in a directory of its own: -s ./bot with every command
  rendezvous init ./alice --import-retalk ~/.local/share/retalk/default
      goes on with the identity of retalk, in the middle of conversations.
      The passphrase is retalk's; do not use that store with retalk any more

Prints the id, which is address and proof of your keys in one: give it to those
who are to write to you, over any way that the relay does not control. Keys are
published at once where a relay is known, else with the first message.

The passphrase encrypts all that is kept. Without it nothing can be read, and
nobody can set another one.

Exit codes:
  0  the identity is made; where its relay does not answer, keys are published
     later
  2  usage; or the identity is made and its id printed, and the relay refuses
     its keys: it takes no messages, or knows itself by another address

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                    the passphrase's file, or the passphrase itself
  RENDEZVOUS_RELAY  --server";

/// Arguments of `init`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct InitArguments {
    /// Directory for the identity; made if it is not there. Instead of it: -u.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What those call you who have saved no name for you; they see it behind a ~.
    #[arg(long, alias = "display-name", value_name = "NAME", default_value = "", hide_default_value = true)]
    name: String,
    /// Relay to go by, saved for later commands.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Ask no relay: keys are published with the first message.
    #[arg(long, alias = "no-register")]
    offline: bool,
    /// Directory of an identity of retalk to go on with.
    #[arg(long, value_name = "DIR")]
    import_retalk: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why no identity is made.
#[derive(Debug, thiserror::Error)]
enum InitError {
    /// No place was named.
    #[error(
        "say where the identity is to be: `rendezvous init DIR`, or `rendezvous init -u` for your directory for data"
    )]
    NoPlace,
    /// Two places were named.
    #[error("both a directory and -s or -u: name one place")]
    TwoPlaces,
}

impl Cause for InitError {}

impl InitArguments {
    /// Returns the directory. One that only variables name is not enough to make an identity in.
    pub(crate) fn place(&self, named: Option<PathBuf>) -> Result<PathBuf, Failure> {
        match (&self.directory, named) {
            (Some(_), Some(_)) => Err(InitError::TwoPlaces.into()),
            (Some(directory), None) => Ok(directory.clone()),
            (None, Some(named)) => Ok(named),
            (None, None) => Err(InitError::NoPlace.into()),
        }
    }
}

pub(crate) fn init(
    arguments: &InitArguments,
    directory: PathBuf,
    setting: &Setting<'_>,
    fetcher: Fetcher,
) -> Result<Report, Failure> {
    let named = setting.network(arguments.server.as_deref(), None, fetcher.clone());
    if named.url().is_some() {
        // First the address: no identity is made for a relay that is none.
        named.relay()?;
    }
    if User::is_in(&directory)? {
        // Before anybody is asked for a passphrase.
        return Err(VaultError::Exists { path: directory.join(User::FILE) }.into());
    }
    let passphrase = new_passphrase(setting.environment)?;
    let new = NewUser { name: &arguments.name, relay: named.url(), ..NewUser::default() };
    let (user, imported) = make(&directory, &passphrase, &new, arguments.import_retalk.as_deref())?;
    let id = user.id();
    setting.log.note(format_args!("made an identity in {}", secret::path(&directory)));
    if let Some(Imported { peers, sessions, outgoing, codes }) = imported {
        setting.log.note(format_args!(
            "from retalk: {peers} contacts, {sessions} sessions, {outgoing} messages that nobody has acknowledged, {codes} \
             invite codes"
        ));
    }
    let network = setting.network(arguments.server.as_deref(), user.profile()?.relay, fetcher);
    let mut account = Account { user, network, log: setting.log, directory, is_retalk: setting.is_retalk };
    let asks = !arguments.offline && account.network.url().is_some();
    let problem = if asks { publish(&mut account)? } else { None };
    let is_published = asks && problem.is_none();
    let value = json!({ "user_id": id, "directory": account.directory, "published": is_published });
    let text = format!("{id}\n");
    match problem {
        // What a relay refuses now it refuses with the first message too.
        Some(error) if error.exit() == Exit::Refused => {
            account.log.note(format_args!("{error}"));
            account.log.note(format_args!(
                "the identity is made, and has no relay that works: `rendezvous register --server URL` saves another address"
            ));
            return Ok(Report::refused(arguments.json, &value, text));
        }
        Some(error) => account.log.note(format_args!("{error}: keys are published with the first message")),
        None => {}
    }
    account.log.note(format_args!("give this id to those who are to write to you:"));
    Ok(Report::done(arguments.json, &value, text))
}

fn make(
    directory: &Path,
    passphrase: &str,
    new: &NewUser<'_>,
    retalk: Option<&Path>,
) -> Result<(User, Option<Imported>), Failure> {
    let Some(retalk) = retalk else { return Ok((User::create(directory, passphrase, new)?, None)) };
    let now = Clock::System.now()?;
    let import = |theirs| User::import_retalk(directory, passphrase, new, retalk, theirs, now);
    let (user, imported) = match import(Some(passphrase)) {
        // One that was made without a passphrase has none that could be wrong.
        Err(error @ UserError::Import(ImportError::WrongPassphrase { .. })) => import(None).map_err(|_| error)?,
        imported => imported?,
    };
    Ok((user, Some(imported)))
}

/// Publishes keys. Returns what the relay has against it, which is no reason not to have the identity.
fn publish(account: &mut Account<'_>) -> Result<Option<RelayError>, Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    match account.user.maintain(&relay, now) {
        Ok(_) => Ok(None),
        Err(UserError::Relay(error)) => Ok(Some(error)),
        Err(error) => Err(error.into()),
    }
}
