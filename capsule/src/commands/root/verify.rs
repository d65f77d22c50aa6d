//! `capsule root verify`: checks a root and its successors as readers do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{ROOT_MAX_BYTES, SIGNATURES_MAX_BYTES};
use rendezvous_protocol::root::{Root, RootError};
use rendezvous_protocol::signatures::Signatures;
use rendezvous_protocol::time::UnixMillis;
use serde_json::{Value, json};

use super::error::RootCommandError;
use super::report::{Signing, root_json, root_text};
use super::signatures::signatures_refused;
use crate::clock::Clock;
use crate::failure::{Exit, Failure};
use crate::outcome::Outcome;
use crate::reader::{Reader, TimeoutArguments, WalkError, read_root, root_refused};
use crate::refusal::{Refusal, Unfinished};
use crate::source::Source;

const VERIFY_HELP: &str = "\
Examples:
  capsule root verify 1.root.json
      shape and life of a single root, which is believed as it is
  capsule root verify 1.root.json 2.root.json 3.root.json
      believes the first, and checks each as the successor of the one before it
  capsule root verify --from 1.root.json https://example.org/capsules/
      walks as readers do: looks there for 2.root.json, 3.root.json and so on

What it checks of each successor, in this order: at most 16,384 bytes; signed by
as many root keys of the version before it as that one asks for; shape; version;
community; rootVersion is the next; signed by as many of its own root keys as it
asks for itself. In the end, that the newest has not expired. The signatures of
a root are in the file beside it, with .sigs added to its name.

Environment variables:
  SOURCE_DATE_EPOCH  the time to judge at instead of the clock's, in seconds
                     since 1970
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  good
  1  refused: `code` names the rule that is broken; readers keep the root before
  2  usage: a wrong argument, a file that cannot be read
  3  could not reach: an address could not be fetched";

/// Arguments of `root verify`.
#[derive(Args, Debug)]
#[command(after_long_help = VERIFY_HELP)]
pub(crate) struct RootVerifyArguments {
    /// The roots, oldest first: files, or http(s) URLs. With --from: the directory with the roots that follow.
    #[arg(value_name = "FILE_OR_URL", required = true)]
    pub(super) roots: Vec<String>,
    /// The root that is believed: then FILE_OR_URL is a directory.
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    #[command(flatten)]
    pub(super) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A root that was accepted.
struct Accepted {
    source: Source,
    root: Root,
    /// Those of its own root keys, and of the version before it, that signed it.
    signed: BTreeSet<PublicKey>,
}

/// What was found so far.
#[derive(Default)]
struct Walk {
    accepted: Vec<Accepted>,
    /// What the refused one says, where it wants nothing but signatures: for those who are to sign it.
    unsigned: Option<(Root, BTreeSet<PublicKey>)>,
}

/// Runs the command.
pub(super) fn verify(arguments: &RootVerifyArguments, clock: &Clock) -> Result<Outcome, Failure> {
    let reader = Reader::new(arguments.timeout.duration())?;
    let mut walk = Walk::default();
    let end = match &arguments.from {
        Some(from) => walk.look_for(&reader, from, &arguments.roots),
        None => walk.follow(&reader, &arguments.roots),
    };
    let now = clock.now()?;
    match end.and_then(|()| walk.check_expiry(now)) {
        Err(Unfinished::Failed(failure)) => Err(failure),
        Err(Unfinished::Refused(refusal)) => Ok(walk.refused(&clock.explain(refusal), arguments.json, now)),
        Ok(()) if arguments.json => {
            let newest = walk.newest().map(root_json);
            Ok(Outcome::json(&json!({ "ok": true, "newest": newest, "roots": walk.to_json() }), Exit::Good))
        }
        Ok(()) => Ok(Outcome::text(walk.to_text(now), Exit::Good)),
    }
}

impl Walk {
    fn newest(&self) -> Option<&Root> {
        self.accepted.last().map(|accepted| &accepted.root)
    }

    fn accept(&mut self, source: &Source, json: &[u8], signatures: &Signatures, root: Root) {
        let signed = signed(json, signatures, self.newest(), &root);
        self.accepted.push(Accepted { source: source.clone(), root, signed });
    }

    /// Takes the roots that are named, one after the other.
    fn follow(&mut self, reader: &Reader, names: &[String]) -> Result<(), Unfinished> {
        for name in names {
            let source = Source::new(name);
            let json = reader.read(&source, ROOT_MAX_BYTES)?;
            let signatures = read_signatures(reader, &source)?;
            let root = match self.newest() {
                None => Root::parse(&json),
                Some(previous) => previous.succeed(&json, &signatures),
            };
            match root {
                Ok(root) => self.accept(&source, &json, &signatures, root),
                Err(error) => {
                    if let (RootError::ThresholdNotMet { .. }, Ok(root)) = (&error, Root::parse(&json)) {
                        let signed = signed(&json, &signatures, self.newest(), &root);
                        self.unsigned = Some((root, signed));
                    }
                    return Err(root_refused(&source, &error).into());
                }
            }
        }
        Ok(())
    }

    /// Looks for the successors of a root in a directory.
    fn look_for(&mut self, reader: &Reader, path: &Path, names: &[String]) -> Result<(), Unfinished> {
        let [directory] = names else { return Err(RootCommandError::OneDirectory { count: names.len() }.into()) };
        let directory = Source::new(directory);
        let (json, root) = read_root(path)?;
        let from = Source::File(path.to_owned());
        let signatures = read_signatures(reader, &from)?;
        self.accept(&from, &json, &signatures, root.clone());
        let find = |name: &str| directory.below(name);
        let walked = reader.walk(root, find, |source, json, signatures, root| {
            self.accept(source, json, signatures, root.clone());
        });
        match walked {
            Ok(_) => Ok(()),
            Err(WalkError::Source(error)) => Err(error.into()),
            Err(WalkError::Refused { source, error }) => Err(root_refused(&source, &error).into()),
        }
    }

    fn check_expiry(&self, now: UnixMillis) -> Result<(), Unfinished> {
        match self.accepted.last() {
            Some(Accepted { source, root, .. }) => {
                root.check_expiry(now).map_err(|error| root_refused(source, &error).into())
            }
            None => Ok(()),
        }
    }

    fn to_json(&self) -> Value {
        let roots = self.accepted.iter().map(|Accepted { source, root, signed }| {
            json!({
                "source": source.to_string(),
                "root": root_json(root),
                "signedBy": signed.iter().map(PublicKey::to_string).collect::<Vec<_>>(),
            })
        });
        roots.collect()
    }

    fn to_text(&self, now: UnixMillis) -> String {
        let texts = self.accepted.iter().enumerate().map(|(position, Accepted { source, root, signed })| {
            let head = if position == 0 { "believed" } else { "good" };
            let signed: Vec<_> = signed.iter().map(PublicKey::to_string).collect();
            let signed = if signed.is_empty() { "nobody".to_owned() } else { signed.join(" ") };
            format!("{}signed by     {signed}\n", root_text((head, &source.to_string()), root, now))
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    fn refused(&self, refusal: &Refusal, json: bool, now: UnixMillis) -> Outcome {
        let signing = self.unsigned.as_ref().map(|(root, signed)| Signing {
            previous: self.newest(),
            root,
            signed: signed.clone(),
        });
        if json {
            let mut fields = json!({ "source": refusal.source, "roots": self.to_json() });
            if let (Some(signing), Value::Object(fields)) = (signing, &mut fields) {
                fields.insert("root".to_owned(), root_json(signing.root));
                fields.insert("signatures".to_owned(), signing.to_json());
            }
            return refusal.outcome(true, fields);
        }
        let mut text = self.to_text(now);
        if let Some(signing) = signing {
            let head = root_text(("not yet good", &refusal.source), signing.root, now);
            text = format!("{text}\n{head}\n{}", signing.to_text());
        }
        if !text.is_empty() {
            text.push('\n');
        }
        refusal.outcome(false, Value::Null).preceded_by(text)
    }
}

/// The signatures beside a root; none where there is no such file.
fn read_signatures(reader: &Reader, root: &Source) -> Result<Signatures, Unfinished> {
    let source = root.signatures();
    match reader.read_if_there(&source, SIGNATURES_MAX_BYTES)?.map(|bytes| Signatures::parse(&bytes)) {
        None => Ok(Signatures::default()),
        Some(Ok(signatures)) => Ok(signatures),
        Some(Err(error)) => Err(signatures_refused(&source, error).into()),
    }
}

fn signed(json: &[u8], signatures: &Signatures, previous: Option<&Root>, root: &Root) -> BTreeSet<PublicKey> {
    let keys = Signing { previous, root, signed: BTreeSet::new() }.keys();
    signatures.signers(json, &keys)
}
