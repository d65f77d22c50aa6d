//! `rendezvous mailbox invite`: lets somebody write to the own mailbox.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::files;
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_duration;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::limits::INVITE_LIMIT_MAX;
use rendezvous_protocol::time::DAY_SECONDS;
use serde_json::json;

use super::show;
use crate::ending::{Ending, Report};
use crate::name::Name;
use crate::own::OwnError;
use crate::relay::parse_relay;
use crate::session::Session;
use crate::store::random;

/// The longest time for which an invite is good.
const INVITE_MAX_LIFETIME: Duration = Duration::from_secs(90 * DAY_SECONDS);

const NEW_HELP: &str = "\
Examples:
  rendezvous mailbox invite new alice
      prints an invite. Give it to Alice over a way that you trust, and to
      nobody else: whoever has it can write to you in her place
  rendezvous mailbox invite new alice --out invite.txt --expires 2days

With the first message that you collect over an invite it is hers: you are
shown nothing over it of anybody else, and she goes on with a key that only she
has.

Exit codes:
  3  a relay could not be told of it yet: run `rendezvous mailbox open`

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file";

const REVOKE_HELP: &str = "\
Examples:
  rendezvous mailbox invite revoke alice
      nobody can write over it any more";

const LIST_HELP: &str = "\
Examples:
  rendezvous mailbox invite list";

/// The commands about invites to the own mailbox.
#[derive(Debug, Subcommand)]
pub(crate) enum MailboxInviteCommand {
    /// Make an invite, and print it.
    New(NewArguments),
    /// Show who may write.
    List(ListArguments),
    /// Strike an invite off that nobody has used.
    Revoke(RevokeArguments),
}

impl MailboxInviteCommand {
    /// Returns whether the result is for a script.
    pub(crate) const fn json(&self) -> bool {
        match self {
            Self::New(arguments) => arguments.json,
            Self::List(arguments) => arguments.json,
            Self::Revoke(arguments) => arguments.json,
        }
    }
}

/// Arguments of `mailbox invite new`.
#[derive(Args, Debug)]
#[command(after_long_help = NEW_HELP)]
pub(crate) struct NewArguments {
    /// What you call whoever gets it.
    #[arg(value_name = "NAME")]
    name: Name,
    /// How long it is good for.
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime, default_value = "7days")]
    expires: Duration,
    /// How many messages over it may wait, 1 to 8.
    #[arg(long, value_name = "N", default_value_t = INVITE_LIMIT_MAX,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(INVITE_LIMIT_MAX)))]
    limit: u8,
    /// New file for the invite, readable by you alone. [default: the standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `mailbox invite list`.
#[derive(Args, Debug)]
#[command(after_long_help = LIST_HELP)]
pub(crate) struct ListArguments {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `mailbox invite revoke`.
#[derive(Args, Debug)]
#[command(after_long_help = REVOKE_HELP)]
pub(crate) struct RevokeArguments {
    /// The invite.
    #[arg(value_name = "NAME")]
    name: Name,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text)?;
    if lifetime <= INVITE_MAX_LIFETIME { Ok(lifetime) } else { Err("must be at most 90days".to_owned()) }
}

/// Says why there is no invite.
#[derive(Debug, thiserror::Error)]
enum InviteFailure {
    /// A contact of that name.
    #[error("{name} is a contact, not an invite: `rendezvous mailbox policy --remove {name}` strikes a contact off")]
    IsContact {
        /// The name.
        name: Name,
    },
}

impl Cause for InviteFailure {}

pub(crate) fn invite(command: &MailboxInviteCommand, session: &Session<'_>) -> Result<Report, Failure> {
    match command {
        MailboxInviteCommand::New(arguments) => new(arguments, session),
        MailboxInviteCommand::List(arguments) => show::report(arguments.json, &session.mailbox()?, session),
        MailboxInviteCommand::Revoke(arguments) => revoke(arguments, session),
    }
}

fn new(arguments: &NewArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let NewArguments { name, expires, limit, out, json } = arguments;
    let owner = session.owner_key()?;
    let mut mailbox = session.mailbox()?;
    let now = session.now()?;
    let seed = random()?;
    let relays = mailbox.relays.iter().map(|relay| parse_relay(relay)).collect::<Result<_, _>>()?;
    let invite = Invite::new(seed, owner.public_key(), relays).map_err(OwnError::from)?;
    let text = invite.to_text().map_err(OwnError::from)?;
    let expires_at = now.after(*expires);
    mailbox.add_invite(name, PrivateKey::from_seed(&seed).public_key(), *limit, expires_at)?;
    mailbox.revise(now);
    // First the file: where it cannot be written, there is no invite.
    if let Some(out) = out {
        files::create_private(out, format!("{text}\n").as_bytes())?;
    }
    session.store.set_mailbox(&mailbox)?;
    let is_known = session.publish_and_say(&mut mailbox, &owner)?;
    let ending = if is_known { Ending::Done } else { Ending::Waiting };
    session.log.note(format_args!("good until {}, for {name} alone", text::date(expires_at)));
    let (shown, value) = match out {
        None => (
            format!("{text}\n"),
            json!({ "ok": true, "name": name, "invite": text, "expiresAt": expires_at, "published": is_known }),
        ),
        Some(out) => (
            format!("written: {}\n", out.display()),
            json!({ "ok": true, "name": name, "file": out, "expiresAt": expires_at, "published": is_known }),
        ),
    };
    Ok(Report::new(*json, &value, shown, ending))
}

fn revoke(arguments: &RevokeArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let RevokeArguments { name, json } = arguments;
    let mut mailbox = session.mailbox()?;
    let now = session.now()?;
    if mailbox.listed(name).is_some_and(|slot| !slot.is_invite()) {
        return Err(InviteFailure::IsContact { name: name.clone() }.into());
    }
    mailbox.strike_off(name, now)?;
    mailbox.revise(now);
    session.store.set_mailbox(&mailbox)?;
    session.publish_and_say(&mut mailbox, &session.owner_key()?)?;
    show::report(*json, &mailbox, session)
}
