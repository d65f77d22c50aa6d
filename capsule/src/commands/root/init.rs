//! `capsule root init`: a community's first root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::root::{Role, Root};
use serde_json::json;

use super::error::RootCommandError;
use super::keys::{insert, public_keys};
use super::report::{Signing, root_json, root_text};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::files::STANDARD;
use crate::outcome::Outcome;
use crate::secret;
use crate::settings::community;
use crate::values::{parse_community, parse_duration, parse_threshold};

const INIT_HELP: &str = "\
Examples:
  capsule root init --community mainnet \\
    --root-key root-a.pub,root-b.pub,root-c.pub --publisher-key publisher.pub
      three keys, any two of which may make the next root; one publisher
  capsule root init --root-key A,B,C,D,E --root-threshold 3 \\
    --publisher-key P,Q --publisher-threshold 2 --expires 180d
      a capsule then needs the signatures of both publishers: capsule cosign

Readers are given this file as it is, out of band, and believe it without
signatures. Have it signed all the same (`capsule root sign`), by as many as may
change it later: that shows that their keys are what the file says.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_COMMUNITY  --community
  SOURCE_DATE_EPOCH     the time that --expires counts from instead of the
                        clock's, in seconds since 1970

Exit codes:
  0  the root is written
  2  usage: a wrong argument, keys and thresholds that do not go together, a
     file that is there already";

/// Arguments of `root init`.
#[derive(Args, Debug)]
#[command(after_long_help = INIT_HELP)]
pub(crate) struct InitArguments {
    /// Name of the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community)]
    pub(super) community: Option<Community>,
    /// Public key that may sign the next root, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "root-key",
        value_name = "KEY_OR_FILE",
        allow_hyphen_values = true,
        value_delimiter = ',',
        required = true
    )]
    pub(super) root_keys: Vec<String>,
    /// Public key that may publish, or a file with it; more than one: comma-separated, or given again.
    #[arg(
        long = "publisher-key",
        value_name = "KEY_OR_FILE",
        allow_hyphen_values = true,
        value_delimiter = ',',
        required = true
    )]
    pub(super) publisher_keys: Vec<String>,
    /// How many root keys have to sign the next root. [default: more than half of them]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(super) root_threshold: Option<usize>,
    /// How many publishers have to sign a capsule. [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_threshold)]
    pub(super) publisher_threshold: Option<usize>,
    /// How long readers may believe it, like 180d. They refuse all capsules after that, unless there is a next root.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "365d")]
    pub(super) expires: Duration,
    /// New file for the root, - for the standard output.
    #[arg(long, value_name = "FILE", default_value = "1.root.json")]
    pub(super) out: PathBuf,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

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
    let path = secret::path(&arguments.out);
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
