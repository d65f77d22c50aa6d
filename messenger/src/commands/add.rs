//! `rendezvous add`: makes a contact of a user's id, or of an invite to a mailbox.

use std::path::PathBuf;

use clap::Args;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files::STANDARD;
use rendezvous_capsule::text;
use rendezvous_protocol::retalk::user::{UserId, UserIdInvalid};

use super::contact::AddArguments as AddInviteArguments;
use super::verify;
use crate::account::Account;
use crate::ending::Report;
use crate::line;
use crate::name::{Name, NameInvalid};

/// Digits from which on a text of nothing but hexadecimal is meant as an id.
const ID_MIN_DIGITS: usize = 16;

const HELP: &str = "\
Examples:
  rendezvous add bob f1041c25c87351d8550b31cc6b13ab04
      saves Bob's id, which `rendezvous id` prints there: `rendezvous send bob`
  rendezvous add f1041c25c87351d8550b31cc6b13ab04 --peer bob --verify
      and asks the relay whether it has the keys that the id stands for
  rendezvous add bob <invite.txt
      saves an invite to Bob's mailbox, as `rendezvous contact add` does:
      `rendezvous mailbox deposit bob`

An id is the fingerprint of both of a user's public keys: whoever hands out
other keys for it is found out. An invite is a secret, and so never an argument.";

/// Arguments of `add`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP, override_usage = "rendezvous add [OPTIONS] NAME ID\n       rendezvous add [OPTIONS] ID --peer NAME\n       rendezvous add [OPTIONS] NAME [FILE]")]
pub(crate) struct AddArguments {
    /// What you call them; or their id, with the name second or in --peer.
    #[arg(value_name = "NAME")]
    first: String,
    /// Their id; or a file with an invite, - for the standard input.
    #[arg(value_name = "ID")]
    second: Option<String>,
    /// What you call them.
    #[arg(long, value_name = "NAME", conflicts_with = "second")]
    peer: Option<String>,
    /// The identity key that they must have, beside the id.
    #[arg(long, value_name = "KEY")]
    pin: Option<String>,
    /// Ask the relay for their keys at once.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Relay to ask, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL", requires = "verify")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom `add` makes a contact of.
pub(crate) enum Added {
    /// A user.
    User {
        /// What they are called.
        name: String,
        /// Who they are.
        id: UserId,
    },
    /// Whoever gave an invite.
    Invite(AddInviteArguments),
}

/// Says why there is no contact.
#[derive(Debug, thiserror::Error)]
enum AddError {
    /// An id alone.
    #[error("give the id a name: `rendezvous add NAME ID`, or --peer NAME")]
    NoName,
    /// Two ids.
    #[error("both are ids: a name is something else, so that no id can be taken for another")]
    NameIsId,
    /// Almost an id.
    #[error("{text} is not an id: {error}", text = text::printable(.text))]
    Id {
        /// What was given.
        text: String,
        /// What it must be.
        error: UserIdInvalid,
    },
    /// A name that cannot be one of a file.
    #[error("{text}: {error}", text = text::printable(.text))]
    Name {
        /// What was given.
        text: String,
        /// What it must be.
        error: NameInvalid,
    },
    /// What belongs to ids alone.
    #[error("--peer, --pin and --verify go with an id, not with an invite")]
    OfIds,
}

impl Cause for AddError {}

impl AddArguments {
    /// Tells an id from an invite.
    pub(crate) fn added(&self) -> Result<Added, Failure> {
        let Self { first, second, peer, pin, verify, .. } = self;
        let (name, id) = match (read_id(first)?, second.as_deref().map(read_id).transpose()?.flatten()) {
            (Some(_), Some(_)) => return Err(AddError::NameIsId.into()),
            (Some(id), None) => (peer.as_ref().or(second.as_ref()).ok_or(AddError::NoName)?, id),
            (None, Some(id)) => (first, id),
            (None, None) if peer.is_some() || pin.is_some() || *verify => return Err(AddError::OfIds.into()),
            (None, None) => {
                let name: Name = first.parse().map_err(|error| AddError::Name { text: first.clone(), error })?;
                let file = PathBuf::from(second.as_deref().unwrap_or(STANDARD));
                return Ok(Added::Invite(AddInviteArguments::new(name, file, self.json)));
            }
        };
        if read_id(name)?.is_some() {
            return Err(AddError::NameIsId.into());
        }
        Ok(Added::User { name: name.clone(), id })
    }
}

/// Reads an id. What is only meant as one is an error, lest it be looked for as a file.
fn read_id(text: &str) -> Result<Option<UserId>, AddError> {
    let lower = text.to_ascii_lowercase();
    match lower.parse() {
        Ok(id) => Ok(Some(id)),
        Err(error) if text.len() >= ID_MIN_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(AddError::Id { text: text.to_owned(), error })
        }
        Err(_) => Ok(None),
    }
}

/// Saves an id under a name.
pub(crate) fn add(
    arguments: &AddArguments,
    name: &str,
    id: UserId,
    account: &mut Account<'_>,
) -> Result<Report, Failure> {
    // First the keys: nothing is saved where they are not those of the id.
    if arguments.verify {
        let now = account.now()?;
        let relay = account.network.relay()?;
        account.user.verify(&relay, id, now)?;
    }
    let before = account.peer(&id.to_string())?.name;
    account.user.add(name, id, arguments.pin.as_deref())?;
    let shown = text::printable(name);
    match before {
        Some(before) if before != name => {
            account.log.note(format_args!("{} is called {shown} from now on ({id})", text::printable(&before)));
        }
        _ => account.log.note(format_args!("added {shown} ({id})")),
    }
    if arguments.verify {
        account.log.note(format_args!("verified {shown} ({id})"));
    }
    let contact = account.peer(&id.to_string())?;
    Ok(Report::text(if arguments.json { line::ascii(&verify::as_json(&contact)) } else { String::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "f1041c25c87351d8550b31cc6b13ab04";

    fn added(first: &str, second: Option<&str>, peer: Option<&str>) -> Result<String, String> {
        let arguments = AddArguments {
            first: first.to_owned(),
            second: second.map(str::to_owned),
            peer: peer.map(str::to_owned),
            pin: None,
            verify: false,
            server: None,
            json: false,
        };
        match arguments.added() {
            Ok(Added::User { name, id }) => Ok(format!("{name} {id}")),
            Ok(Added::Invite(_)) => Ok("invite".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn either_may_come_first_and_what_is_no_id_is_an_invite() {
        let bob = || Ok(format!("bob {ID}"));
        assert_eq!(added("bob", Some(ID), None), bob());
        assert_eq!(added(ID, Some("bob"), None), bob());
        assert_eq!(added(ID, None, Some("bob")), bob());
        assert_eq!(added(&ID.to_uppercase(), None, Some("bob")), bob());
        for file in [None, Some("-"), Some("invite.txt")] {
            assert_eq!(added("bob", file, None), Ok("invite".to_owned()), "{file:?}");
        }
    }

    #[test]
    fn what_may_be_a_mistake_is_not_guessed_at() {
        for (first, second, peer) in [
            (ID, Some(ID), None),
            (ID, None, Some(ID)),
            (ID, None, None),
            ("bob", ID.get(1..), None),
            ("bob", None, Some("bob")),
            ("../bob", None, None),
        ] {
            assert!(added(first, second, peer).is_err(), "{first} {second:?} {peer:?}");
        }
    }
}
