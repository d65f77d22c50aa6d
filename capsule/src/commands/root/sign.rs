//! `capsule root sign`: adds a root key's signature to those of a root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::root::Root;
use serde_json::json;

use super::report::{Signing, root_json, root_text};
use super::signatures::{read_signatures, signatures_path, signatures_refused};
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::keys;
use crate::outcome::Outcome;
use crate::reader::{read_root, root_refused};
use crate::refusal::Refusal;
use crate::secret;

const SIGN_HELP: &str = "\
Examples:
  capsule root verify 1.root.json 2.root.json
      first: see what is to be signed. It is refused for want of signatures,
      and says what the file would allow
  capsule root sign 2.root.json --key /media/stick/root-a.pem
      adds this key's line to 2.root.json.sigs, and says who else has to sign
  capsule root sign 2.root.json --key root-a.pem --previous old/1.root.json

What it does:
  Signs the exact bytes of FILE, and adds the line to FILE.sigs, or replaces the
  one that this key has there; lines that do not fit FILE are left out. The lines
  of several machines may also be put together with `cat`.
  Refuses a key that is a root key neither of FILE nor of the version before it.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file

Exit codes:
  0  signed; what is still missing, if anything, is printed
  1  refused: FILE is not a root, or not the successor of the one before it, or the key
     has no part in it
  2  usage: a wrong argument, a file that cannot be read or written";

/// Arguments of `root sign`.
#[derive(Args, Debug)]
#[command(after_long_help = SIGN_HELP)]
pub(crate) struct SignArguments {
    /// The root to sign.
    #[arg(value_name = "FILE")]
    pub(super) root: PathBuf,
    /// File with the private root key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) key: PathBuf,
    /// The version before it. [default: (N-1).root.json in the directory of FILE, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(super) previous: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the command.
pub(super) fn sign(arguments: &SignArguments, environment: &Environment, clock: &Clock) -> Result<Outcome, Failure> {
    let path = &arguments.root;
    let refuse = |refusal: Refusal| Ok(refusal.outcome(arguments.json, json!({ "file": secret::path(path) })));
    let now = clock.now()?;
    let (json, root) = read_root(path)?;
    let previous = previous(arguments, &root)?;
    if let Some((previous_path, previous)) = &previous
        && let Some(refusal) = no_successor(path, &root, previous_path, previous)
    {
        return refuse(refusal);
    }
    let key = keys::read_private_key(&arguments.key, environment)?;
    let mut signing =
        Signing { previous: previous.as_ref().map(|(_, root)| root), root: &root, signed: BTreeSet::new() };
    if !signing.keys().contains(&key.public_key()) {
        return refuse(no_part(path, &signing, key.public_key()));
    }
    // Others may be signing in the same directory at this moment.
    let _lock = files::lock(files::directory_of(path));
    let signatures = match read_signatures(path)? {
        Ok(signatures) => signatures,
        Err(error) => return refuse(signatures_refused(&signatures_path(path).display(), error)),
    };
    let mut signatures = signatures.fitting(&json, &signing.keys());
    signatures.add(key.public_key(), key.sign(&json));
    files::replace(&signatures_path(path), signatures.to_text().as_bytes())?;
    signing.signed = signatures.keys();
    let file = secret::path(&signatures_path(path));
    Ok(if arguments.json {
        let result = json!({
            "ok": true,
            "file": file,
            "publicKey": key.public_key().to_string(),
            "root": root_json(&root),
            "signatures": signing.to_json(),
            "complete": signing.is_complete(),
        });
        Outcome::json(&result, Exit::Good)
    } else {
        let head = root_text(("signed", &secret::path(path)), &root, now);
        let last = if signing.is_complete() {
            format!("Complete: put {} and {file} beside peers.json, and leave them there.\n", secret::path(path))
        } else {
            format!("written: {file}. Take both files to whoever has to sign next.\n")
        };
        Outcome::text(format!("{head}\n{}{last}", signing.to_text()), Exit::Good)
    })
}

/// The version before it: the one that is named, or the one that lies beside it.
fn previous(arguments: &SignArguments, root: &Root) -> Result<Option<(PathBuf, Root)>, Failure> {
    if let Some(path) = &arguments.previous {
        return Ok(Some((path.clone(), read_root(path)?.1)));
    }
    let path = arguments.root.with_file_name(Root::file_name(root.root_version().saturating_sub(1)));
    if root.root_version() == 1 || !path.exists() {
        return Ok(None);
    }
    Ok(Some((path.clone(), read_root(&path)?.1)))
}

/// What no signature can make a successor.
fn no_successor(path: &Path, root: &Root, previous_path: &Path, previous: &Root) -> Option<Refusal> {
    let error = previous.check_successor(root).err()?;
    let refusal = root_refused(&path.display(), &error);
    Some(Refusal {
        advice: format!("it is compared with {}: name another with --previous", previous_path.display()),
        ..refusal
    })
}

fn no_part(path: &Path, signing: &Signing<'_>, key: PublicKey) -> Refusal {
    let advice = if signing.root.publisher_keys().keys().contains(&key) {
        "it is a publisher's, which signs capsules: capsule cosign"
    } else if signing.previous.is_none() && signing.root.root_version() > 1 {
        "if it is one of the version before it, name that with --previous"
    } else {
        "see whose signatures count: capsule root verify"
    };
    let reason = format!("the key {key} is not a root key of it or of the version before it");
    Refusal::new(&path.display(), Code::UntrustedPublicKey.as_str(), &reason, &advice)
}
