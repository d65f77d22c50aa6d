//! `rendezvous mailbox policy`: who may write, and how much of it may wait.

use clap::{Args, ValueEnum};
use rendezvous_capsule::failure::Failure;
use rendezvous_protocol::mailbox::limits::DIFFICULTY_MAX;

use super::show;
use crate::ending::Report;
use crate::name::Name;
use crate::session::Session;

const HELP: &str = "\
Examples:
  rendezvous mailbox policy
      shows it
  rendezvous mailbox policy --limit alice=8
      at most 8 messages of Alice wait; she is told when she comes to that
  rendezvous mailbox policy --remove alice
      Alice writes no more. What waits of her is still collected. Her slot is
      never listed again: to take her back, give her a new invite
  rendezvous mailbox policy --requests open --difficulty 20
      strangers may leave up to 12 small messages, for a second of work each

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store";

/// Says whether strangers may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RequestsArgument {
    /// They may.
    Open,
    /// Only contacts and invites.
    Closed,
}

/// Arguments of `policy`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct PolicyArguments {
    /// How many messages of a contact (1 to 32) or over an invite (1 to 8) may wait.
    #[arg(long, value_name = "NAME=N", value_parser = parse_limit)]
    limit: Vec<(Name, u8)>,
    /// Contact or invite to strike off.
    #[arg(long, value_name = "NAME")]
    remove: Vec<Name>,
    /// Whether strangers may write.
    #[arg(long, value_name = "STATE")]
    requests: Option<RequestsArgument>,
    /// Zero bits of a stranger's proof of work; each more doubles the work.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(0..=i64::from(DIFFICULTY_MAX)))]
    difficulty: Option<u8>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_limit(text: &str) -> Result<(Name, u8), String> {
    let (name, limit) = text.split_once('=').ok_or("must be NAME=N, like alice=8")?;
    let limit = limit.parse().map_err(|_| "must be NAME=N, with N from 1 to 32")?;
    Ok((name.parse().map_err(|error| format!("must be NAME=N: {error}"))?, limit))
}

pub(crate) fn policy(arguments: &PolicyArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let PolicyArguments { limit, remove, requests, difficulty, json } = arguments;
    let mut mailbox = session.mailbox()?;
    let now = session.now()?;
    let before = mailbox.clone();
    for (name, limit) in limit {
        mailbox.set_limit(name, *limit)?;
    }
    for name in remove {
        mailbox.strike_off(name, now)?;
    }
    if let Some(requests) = requests {
        mailbox.requests.open = *requests == RequestsArgument::Open;
    }
    if let Some(difficulty) = difficulty {
        mailbox.requests.difficulty = *difficulty;
    }
    if mailbox != before {
        mailbox.revise(now);
        session.store.set_mailbox(&mailbox)?;
    }
    session.publish_and_say(&mut mailbox, &session.owner_key()?)?;
    show::report(*json, &mailbox, session)
}
