//! `capsule root add-key`, `remove-key` and `renew`: the next version of a root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::root::{Role, Root, RootInvalid};
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use serde_json::json;

use super::error::RootCommandError;
use super::keys::{insert, public_keys};
use super::report::{Signing, root_json, root_text};
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::files::STANDARD;
use crate::outcome::Outcome;
use crate::reader::read_root;
use crate::secret;
use crate::values::{parse_duration, parse_threshold};

const ADD_KEY_HELP: &str = "\
Examples:
  capsule root add-key 1.root.json --publisher-key Q
      a second publisher, beside the first
  capsule root add-key 1.root.json --publisher-key Q --replacing P
      Q publishes instead of P: what to do when P's key leaks, or is lost
  capsule root add-key 2.root.json --root-key D --replacing C --expires 365d
      another root key, and another year

What it prints at the end is who has to sign: as many root keys of the old
version as that one asks for, and as many of the new one as the new one asks
for. A key that is in both counts for both. Only then do readers follow.

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is not a root
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that cannot be read or is there already";

const REMOVE_KEY_HELP: &str = "\
Examples:
  capsule root remove-key 1.root.json --publisher-key P
      P may not publish any more
  capsule root remove-key 2.root.json --root-key C --root-threshold 2
      C has lost its key

To put another key in the place of one, in one step:
  capsule root add-key 1.root.json --publisher-key Q --replacing P

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is not a root
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that cannot be read or is there already";

const RENEW_HELP: &str = "\
Examples:
  capsule root renew 2.root.json
      the same keys, for another year from now
  capsule root renew 2.root.json --publisher-threshold 2
      from then on a capsule needs two publishers: capsule cosign

Renew in good time: once the newest root has expired, readers refuse every
capsule (ROOT_EXPIRED). An expired root can still be renewed: readers follow.

Environment variables:
  SOURCE_DATE_EPOCH  the time that --expires counts from instead of the clock's,
                     in seconds since 1970

Exit codes:
  0  the next root is written
  1  refused: FILE is not a root
  2  usage: a wrong argument, thresholds above the number of keys, a file that
     cannot be read or is there already";

/// What every change has.
#[derive(Args, Debug)]
pub(crate) struct ChangeArguments {
    /// The newest root. Its name is the one that readers look for, N.root.json, N being its version.
    #[arg(value_name = "FILE")]
    pub(super) root: PathBuf,
    /// How many root keys have to sign from now on. [default: as many as before]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(super) root_threshold: Option<usize>,
    /// How many publishers have to sign a capsule from now on. [default: as many as before]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(super) publisher_threshold: Option<usize>,
    /// How long readers may believe it, from now on, like 180d. [default: until when the one before ends; renew: 365d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) expires: Option<Duration>,
    /// New file for the next root, - for the standard output. [default: (N+1).root.json in the directory of FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `root add-key`.
#[derive(Args, Debug)]
#[command(after_long_help = ADD_KEY_HELP)]
pub(crate) struct AddKeyArguments {
    #[command(flatten)]
    pub(super) change: ChangeArguments,
    /// New public key that may sign roots, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "root-key",
        value_name = "KEY_OR_FILE",
        allow_hyphen_values = true,
        value_delimiter = ',',
        required_unless_present = "publisher_keys"
    )]
    pub(super) root_keys: Vec<String>,
    /// New public key that may publish, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "publisher-key", value_name = "KEY_OR_FILE", allow_hyphen_values = true, value_delimiter = ',')]
    pub(super) publisher_keys: Vec<String>,
    /// Public key that goes at the same time, whichever it was for, or a file with it.
    #[arg(long, value_name = "KEY_OR_FILE", allow_hyphen_values = true, value_delimiter = ',')]
    pub(super) replacing: Vec<String>,
}

/// Arguments of `root remove-key`.
#[derive(Args, Debug)]
#[command(after_long_help = REMOVE_KEY_HELP)]
pub(crate) struct RemoveKeyArguments {
    #[command(flatten)]
    pub(super) change: ChangeArguments,
    /// Public key that may not sign roots any more, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "root-key",
        value_name = "KEY_OR_FILE",
        allow_hyphen_values = true,
        value_delimiter = ',',
        required_unless_present = "publisher_keys"
    )]
    pub(super) root_keys: Vec<String>,
    /// Public key that may not publish any more, or a file with it; more than one: comma-separated, or given again.
    #[arg(long = "publisher-key", value_name = "KEY_OR_FILE", allow_hyphen_values = true, value_delimiter = ',')]
    pub(super) publisher_keys: Vec<String>,
}

/// Arguments of `root renew`.
#[derive(Args, Debug)]
#[command(after_long_help = RENEW_HELP)]
pub(crate) struct RenewArguments {
    #[command(flatten)]
    pub(super) change: ChangeArguments,
}

/// How long a renewed root lives.
const RENEWED: Duration = Duration::from_secs(365 * DAY_SECONDS);

/// The keys of both roles.
struct Keys {
    root: BTreeSet<PublicKey>,
    publisher: BTreeSet<PublicKey>,
}

/// Runs `add-key`.
pub(super) fn add_key(arguments: &AddKeyArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let AddKeyArguments { change, root_keys, publisher_keys, replacing } = arguments;
    let [root_keys, publisher_keys, replacing] =
        [root_keys, publisher_keys, replacing].map(|keys| public_keys(keys.as_slice()));
    let (root_keys, publisher_keys, replacing) = (root_keys?, publisher_keys?, replacing?);
    make_next(change, change.expires, clock, |keys| {
        for key in &replacing {
            if !keys.root.remove(key) && !keys.publisher.remove(key) {
                return Err(not_there(*key, &change.root));
            }
        }
        insert(&mut keys.root, &root_keys)?;
        insert(&mut keys.publisher, &publisher_keys)
    })
}

/// Runs `remove-key`.
pub(super) fn remove_key(arguments: &RemoveKeyArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let RemoveKeyArguments { change, root_keys, publisher_keys } = arguments;
    let (root_keys, publisher_keys) = (public_keys(root_keys)?, public_keys(publisher_keys)?);
    make_next(change, change.expires, clock, |keys| {
        for (role, removed) in [(&mut keys.root, &root_keys), (&mut keys.publisher, &publisher_keys)] {
            for key in removed {
                if !role.remove(key) {
                    return Err(not_there(*key, &change.root));
                }
            }
        }
        Ok(())
    })
}

/// Runs `renew`.
pub(super) fn renew(arguments: &RenewArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let change = &arguments.change;
    make_next(change, Some(change.expires.unwrap_or(RENEWED)), clock, |_| Ok(()))
}

fn not_there(key: PublicKey, path: &Path) -> RootCommandError {
    RootCommandError::KeyNotThere { key, path: path.to_owned() }
}

fn make_next(
    arguments: &ChangeArguments,
    expires: Option<Duration>,
    clock: &Clock,
    change: impl FnOnce(&mut Keys) -> Result<(), RootCommandError>,
) -> Result<Outcome, Failure> {
    let path = &arguments.root;
    let (_, root) = read_root(path)?;
    clock.check_signing()?;
    let now = clock.now()?;
    let mut keys = Keys { root: root.root_keys().keys().clone(), publisher: root.publisher_keys().keys().clone() };
    change(&mut keys)?;
    let next = next(&root, keys, [arguments.root_threshold, arguments.publisher_threshold], expires, now)
        .map_err(|error| RootCommandError::Parts { error })?;
    if next.expires_at() <= now {
        return Err(RootCommandError::BornExpired { path: path.clone() }.into());
    }
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| path.with_file_name(Root::file_name(next.root_version())));
    if out == Path::new(STANDARD) {
        return Ok(Outcome::text(next.to_json(), Exit::Good));
    }
    files::create(&out, next.to_json().as_bytes())?;
    let file = secret::path(&out);
    let signing = Signing { previous: Some(&root), root: &next, signed: BTreeSet::new() };
    Ok(if arguments.json {
        let result = json!({ "ok": true, "file": file, "root": root_json(&next), "signatures": signing.to_json() });
        Outcome::json(&result, Exit::Good)
    } else {
        let text = format!(
            "{}\n{}\nsign  capsule root sign {file} --key FILE\n",
            root_text(("written", &file), &next, now),
            signing.to_text()
        );
        Outcome::text(text, Exit::Good)
    })
}

fn next(
    root: &Root,
    keys: Keys,
    [root_threshold, publisher_threshold]: [Option<usize>; 2],
    expires: Option<Duration>,
    now: UnixMillis,
) -> Result<Root, RootInvalid> {
    Root::new(
        root.community().clone(),
        root.root_version().saturating_add(1),
        expires.map_or_else(|| root.expires_at(), |life| now.after(life)),
        Role::new(root_threshold.unwrap_or_else(|| root.root_keys().threshold()), keys.root)?,
        Role::new(publisher_threshold.unwrap_or_else(|| root.publisher_keys().threshold()), keys.publisher)?,
    )
}
