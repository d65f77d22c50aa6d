//! `capsule root add-key`, `remove-key` and `renew`: the next version of a root.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::root::{Role, Root, RootInvalid};
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use super::report::{Signing, root_json, root_text};
use super::{RootCommandError, insert, public_keys};
use crate::arguments::{AddKeyArguments, ChangeArguments, RemoveKeyArguments, RenewArguments};
use crate::clock::Clock;
use crate::files;
use crate::outcome::{Exit, Failure, Outcome};
use crate::reader::{read_root, root_file_name};
use crate::source::STANDARD;

/// How long a renewed root lives.
const RENEWED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

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
    let out = out.unwrap_or_else(|| path.with_file_name(root_file_name(next.root_version())));
    if out == Path::new(STANDARD) {
        return Ok(Outcome::text(next.to_json(), Exit::Good));
    }
    files::create(&out, next.to_json().as_bytes())?;
    let file = out.display().to_string();
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
