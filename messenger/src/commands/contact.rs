//! `rendezvous contact`: those whom the user can write to.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::{STANDARD, read_file};
use rendezvous_capsule::secret;
use rendezvous_capsule::text;
use rendezvous_protocol::mailbox::invite::{INVITE_MAX_CHARS, INVITE_SCHEME, Invite, InviteError};
use serde_json::{Value, json};

use crate::ending::Report;
use crate::name::Name;
use crate::recipient::Recipient;
use crate::sending::Sending;
use crate::session::Session;
use crate::store::random;

const ADD_HELP: &str = "\
Examples:
  rendezvous contact add bob <invite.txt
  rendezvous contact add bob
      then paste the invite, and press Ctrl-D

An invite is a secret, so it is never an argument: others can see those in
process lists and in your shell's history.";

const LIST_HELP: &str = "\
Examples:
  rendezvous contact list";

const REMOVE_HELP: &str = "\
Examples:
  rendezvous contact remove bob
      forgets the keys with which you write to Bob, and what waits for him in
      the outbox. To write to him again takes a new invite";

/// The commands about contacts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactCommand {
    /// Make a contact of an invite.
    Add(AddArguments),
    /// Show all contacts.
    List(ListArguments),
    /// Forget a contact.
    Remove(RemoveArguments),
}

impl ContactCommand {
    /// Returns whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::Add(arguments) => arguments.json,
            Self::List(arguments) => arguments.json,
            Self::Remove(arguments) => arguments.json,
        }
    }
}

/// Arguments of `contact add`.
#[derive(Args, Debug)]
#[command(after_long_help = ADD_HELP)]
pub(crate) struct AddArguments {
    /// What you call whoever gave you the invite.
    #[arg(value_name = "NAME")]
    name: Name,
    /// File with the invite; - is the standard input.
    #[arg(value_name = "FILE", default_value = STANDARD)]
    file: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `contact list`.
#[derive(Args, Debug)]
#[command(after_long_help = LIST_HELP)]
pub(crate) struct ListArguments {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `contact remove`.
#[derive(Args, Debug)]
#[command(after_long_help = REMOVE_HELP)]
pub(crate) struct RemoveArguments {
    /// The contact.
    #[arg(value_name = "NAME")]
    name: Name,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Says why there is no new contact.
#[derive(Debug, thiserror::Error)]
enum ContactFailure {
    /// The invite on the command line.
    #[error(
        "that is an invite itself, which others can see in process lists and in your shell's history: ask for a new one, \
         and give it on the standard input, or name its file"
    )]
    InviteAsArgument,
    /// No file, and on `rendezvous add` no id either.
    #[error("{} is no file with an invite, and no id, which is 32 of 0-9 a-f", secret::path(.path))]
    Absent {
        /// What was given.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("the invite cannot be read from {}: {error}", secret::path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something else than an invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// One of that name.
    #[error("{name} is a contact already: choose another name, or `rendezvous contact remove {name}` first")]
    Exists {
        /// The name.
        name: Name,
    },
    /// One's own.
    #[error("that invite is to your own mailbox: give it to somebody else")]
    Own,
}

impl Cause for ContactFailure {}

impl AddArguments {
    /// Holds what `rendezvous add` was given.
    pub(super) const fn new(name: Name, file: PathBuf, json: bool) -> Self {
        Self { name, file, json }
    }

    /// Reads the invite.
    pub(crate) fn invite(&self) -> Result<Invite, Failure> {
        let file = &self.file;
        if file.to_string_lossy().starts_with(INVITE_SCHEME) {
            return Err(ContactFailure::InviteAsArgument.into());
        }
        let bytes = read_file(file, 2 * INVITE_MAX_CHARS);
        let bytes = bytes.map_err(|error| {
            let path = file.clone();
            match error.kind() {
                ErrorKind::NotFound => ContactFailure::Absent { path },
                _ => ContactFailure::Read { path, error },
            }
        })?;
        let text = str::from_utf8(&bytes).map_err(|_| ContactFailure::Invite(InviteError::Scheme))?;
        Ok(Invite::parse(text).map_err(ContactFailure::Invite)?)
    }
}

pub(crate) fn add(arguments: &AddArguments, invite: &Invite, session: &Session<'_>) -> Result<Report, Failure> {
    let AddArguments { name, json, .. } = arguments;
    if session.store.contact::<Recipient>(name)?.is_some() {
        return Err(ContactFailure::Exists { name: name.clone() }.into());
    }
    if invite.owner() == session.owner_key()?.public_key() {
        return Err(ContactFailure::Own.into());
    }
    let contact = Recipient::new(invite, random()?);
    session.store.set_contact(name, &contact)?;
    let value = json!({ "ok": true, "name": name, "mailbox": contact.mailbox(), "relays": contact.relays() });
    let mailbox = contact.mailbox();
    let text = text::fields(&[("contact", name), ("mailbox", &mailbox), ("relays", &contact.relays().join(" "))]);
    Ok(Report::done(*json, &value, format!("{text}\nWrite: rendezvous mailbox deposit {name} FILE\n")))
}

pub(crate) fn list(arguments: &ListArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let (mut rows, mut values): (Vec<Vec<String>>, Vec<Value>) = (Vec::new(), Vec::new());
    for name in session.store.contacts()? {
        let Some(contact) = session.store.contact::<Recipient>(&name)? else { continue };
        let relays = contact.relays();
        values.push(json!({
            "name": name, "mailbox": contact.mailbox(), "owner": contact.owner(), "relays": relays,
        }));
        rows.push(vec![name.to_string(), contact.mailbox().to_string(), relays.join(" ")]);
    }
    Ok(Report::done(arguments.json, &json!({ "ok": true, "contacts": values }), text::table(&rows)))
}

pub(crate) fn remove(arguments: &RemoveArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let RemoveArguments { name, json } = arguments;
    let waiting = Sending::load(session, name)?.outgoing;
    // The contact last, so that a run that is cut off can be made again.
    for outgoing in &waiting {
        session.store.remove_outgoing(&outgoing.file())?;
    }
    session.store.remove_contact(name)?;
    let value = json!({ "ok": true, "name": name, "forgotten": waiting.len() });
    Ok(Report::done(*json, &value, format!("{name} is forgotten\n")))
}
