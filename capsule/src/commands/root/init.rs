//! `capsule root init`: a community's first root.

use std::collections::BTreeSet;
use std::path::Path;

use rendezvous_protocol::root::{Role, Root};
use serde_json::json;

use super::report::{Signing, root_json, root_text};
use super::{RootCommandError, insert, public_keys};
use crate::arguments::InitArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::files;
use crate::outcome::{Exit, Failure, Outcome};
use crate::settings::community;
use crate::source::STANDARD;

/// Runs the command.
pub(super) fn init(arguments: &InitArguments, environment: &Environment, clock: &Clock) -> Result<Outcome, Failure> {
    let community = community(arguments.community.as_ref(), environment)?;
    let role = |keys: &[String], threshold: &dyn Fn(usize) -> usize| -> Result<Role, Failure> {
        let mut set = BTreeSet::new();
        insert(&mut set, &public_keys(keys)?)?;
        let threshold = threshold(set.len());
        Ok(Role::new(threshold, set).map_err(|error| RootCommandError::Parts { error })?)
    };
    let root_keys = role(&arguments.root_keys, &|keys| arguments.root_threshold.unwrap_or_else(|| majority(keys)))?;
    let publisher_keys = role(&arguments.publisher_keys, &|_| arguments.publisher_threshold.unwrap_or(1))?;
    clock.check_signing()?;
    let now = clock.now()?;
    let root = Root::new(community, 1, now.after(arguments.expires), root_keys, publisher_keys)
        .map_err(|error| RootCommandError::Parts { error })?;
    if arguments.out == Path::new(STANDARD) {
        return Ok(Outcome::text(root.to_json(), Exit::Good));
    }
    files::create(&arguments.out, root.to_json().as_bytes())?;
    let path = arguments.out.display().to_string();
    let signing = Signing { previous: None, root: &root, signed: BTreeSet::new() };
    Ok(if arguments.json {
        let result = json!({ "ok": true, "file": path, "root": root_json(&root), "signatures": signing.to_json() });
        Outcome::json(&result, Exit::Good)
    } else {
        let text = format!(
            "{}\n{}\nsign  capsule root sign {path} --key FILE\n",
            root_text(("written", &path), &root, now),
            signing.to_text()
        );
        Outcome::text(text, Exit::Good)
    })
}

/// More than half: two such groups have a key in common, so that no two of them can go different ways unseen.
const fn majority(keys: usize) -> usize {
    keys / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half_and_never_more_than_all() {
        assert_eq!([1, 2, 3, 4, 5, 16].map(majority), [1, 2, 2, 3, 3, 9]);
    }
}
