//! `capsule cosign`: adds a publisher's signature to a capsule that another one made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use rendezvous_protocol::capsule::{Capsule, CapsuleError};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::limits::SIGNATURES_MAX_BYTES;
use rendezvous_protocol::root::Root;
use rendezvous_protocol::signatures::Signatures;
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::{Cause, Exit, Failure};
use crate::files;
use crate::keys;
use crate::outcome::Outcome;
use crate::reader::{CapsuleParts, Reader, TimeoutArguments, read_root};
use crate::refusal::{Refusal, Unfinished};
use crate::secret;
use crate::settings::{SettingsError, private_key};
use crate::source::{Source, SourceError};
use crate::text;
use crate::tickets::TicketArguments;
use crate::trust::{Judge, JudgeError, NewestSeenArguments, TrustArguments, Trusted, capsule_refused};
use crate::values::parse_public_key;

const COSIGN_HELP: &str = "\
Examples:
  capsule cosign public/capsules/peers.json --key publisher-b.pem \\
    --root 1.root.json
      adds a line to public/capsules/peers.json.sigs
  capsule cosign https://a.example.org/capsules/peers.json \\
    --key publisher-b.pem --root 1.root.json --out public/capsules
      fetches the capsule, and writes it with all its signatures

What it is for:
  A root may ask for the signatures of several publishers, so that a single one
  whose key leaks, or who lies, can publish nothing. One runs `capsule publish`,
  the others run this over the very bytes that came of it, each with an eye on
  what they sign: `capsule explain` shows it.

What it does:
  Verifies the capsule as readers do, except that it need not have enough
  signatures yet. Signs nothing that readers would refuse, nothing older than
  what is in --out already, and with no key but a publisher's. Keeps the
  lines of others that fit, leaves out those that do not. Signing again changes
  nothing.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_CAPSULE_PRIVATE_KEY     the private key itself: PKCS#8 in PEM, or
                                     the base64 of its DER; --key FILE wins
  RENDEZVOUS_PASSPHRASE_FILE         --passphrase-file
  RENDEZVOUS_CAPSULE_ROOT            --root
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, comma-separated keys
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at, in seconds since 1970,
                                     instead of the clock's
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  signed, now or before
  1  refused: `code` names the rule that the capsule breaks, or the key is no
     publisher's; nothing is written
  2  usage: a wrong argument or variable, a file that cannot be read or written
  3  could not reach: the address could not be fetched";

/// Arguments of `cosign`.
#[derive(Args, Debug)]
#[command(after_long_help = COSIGN_HELP)]
pub(crate) struct CosignArguments {
    /// The capsule: a file, or an http(s) URL. Redirects are not followed.
    #[arg(value_name = "FILE_OR_URL")]
    pub(crate) capsule: String,
    /// File with the private key: PKCS#8 in PEM, or the base64 of its DER.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// Directory to write to, for a URL; made if it is not there. [default for a file: beside it]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) newest_seen: NewestSeenArguments,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The capsule's name in --out.
const CAPSULE: &str = "peers.json";

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CosignError {
    /// Nothing can be written where the capsule is.
    #[error("the capsule is on another machine: give --out DIR, the directory to write it to with its signatures")]
    NoOut,
}

impl Cause for CosignError {}

/// Who may sign a capsule.
enum Publishers {
    Root(Root),
    /// Those who were named.
    Keys(BTreeSet<PublicKey>),
}

impl Publishers {
    fn new(arguments: &CosignArguments, environment: &Environment) -> Result<Self, Failure> {
        if let Some(path) = &arguments.trust.root {
            return Ok(Self::Root(read_root(path)?.1));
        }
        let mut keys = BTreeSet::new();
        for key in &arguments.trust.public_keys {
            keys.insert(keys::public_key(key)?);
        }
        if keys.is_empty() {
            if let Some(path) = environment.value(environment::ROOT) {
                return Ok(Self::Root(read_root(Path::new(path))?.1));
            }
            keys.extend(environment.list(environment::PUBLIC_KEY, parse_public_key)?);
        }
        if keys.is_empty() { Err(SettingsError::NoPublicKey.into()) } else { Ok(Self::Keys(keys)) }
    }

    const fn keys(&self) -> &BTreeSet<PublicKey> {
        match self {
            Self::Root(root) => root.publisher_keys().keys(),
            Self::Keys(keys) => keys,
        }
    }

    /// How many of them a reader asks for.
    const fn threshold(&self) -> usize {
        match self {
            Self::Root(root) => root.publisher_keys().threshold(),
            Self::Keys(_) => 1,
        }
    }
}

/// What is to be signed, and where it goes.
struct Work<'a> {
    arguments: &'a CosignArguments,
    source: Source,
    target: PathBuf,
    key: PrivateKey,
    reader: Reader,
    now: UnixMillis,
    publishers: Publishers,
    judge: Judge,
}

/// Runs the command.
pub(crate) fn cosign(
    arguments: &CosignArguments,
    environment: &Environment,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let publishers = Publishers::new(arguments, environment)?;
    let key = private_key(arguments.key.as_deref(), environment, environment::PRIVATE_KEY)?
        .ok_or(SettingsError::NoPrivateKey)?;
    let source = Source::new(&arguments.capsule);
    let target = match (&source, &arguments.out) {
        (_, Some(directory)) => directory.join(CAPSULE),
        (Source::File(path), None) => path.clone(),
        (Source::Url(_), None) => return Err(CosignError::NoOut.into()),
    };
    // Replaced below by each of the publishers in turn: the threshold need not be met yet.
    let trusted = match &publishers {
        Publishers::Root(root) => Trusted::Root(root.clone()),
        Publishers::Keys(_) => Trusted::Key(key.public_key()),
    };
    let judge = Judge {
        newest_seen: arguments.newest_seen.newest_seen,
        ..Judge::new(trusted, &arguments.trust, &arguments.tickets, environment)?
    };
    let reader = Reader::new(arguments.timeout.duration())?;
    let mut work = Work { arguments, source, target, key, reader, now: clock.now()?, publishers, judge };
    match work.run(clock) {
        Ok(outcome) => Ok(outcome),
        Err(Unfinished::Failed(failure)) => Err(failure),
        Err(Unfinished::Refused(refusal)) => {
            let fields = json!({
                "capsule": work.source.to_string(),
                "publicKey": work.key.public_key().to_string(),
                "community": work.judge.tickets.community.as_str(),
            });
            Ok(clock.explain(refusal).outcome(arguments.json, fields))
        }
    }
}

impl From<JudgeError> for Unfinished {
    fn from(error: JudgeError) -> Self {
        match error {
            JudgeError::Source(error) => error.into(),
            JudgeError::Root(refusal) => refusal.into(),
            JudgeError::Clock(failure) => Self::Failed(failure),
        }
    }
}

impl Work<'_> {
    fn run(&mut self, clock: &Clock) -> Result<Outcome, Unfinished> {
        if let Some(directory) = &self.arguments.out {
            files::create_directory(directory)?;
        }
        // From reading to writing: another publisher may be signing the same capsule. Not while it is fetched, which may
        // take long.
        let in_place = self.is_in_place().then(|| files::lock(files::directory_of(&self.target)));
        let parts = self.reader.capsule(&self.source, None, true)?;
        if self.judge.successors
            && let Publishers::Root(root) = &self.publishers
            && let Trusted::Root(newest) = Trusted::Root(root.clone()).follow(&self.reader, &self.source)?
        {
            self.publishers = Publishers::Root(newest);
        }
        let _lock = in_place.unwrap_or_else(|| files::lock(files::directory_of(&self.target)));
        self.now = clock.now()?;
        self.judge.newest_seen = self.judge.newest_seen.max(self.held()?);
        let signer = self.check(&parts).map_err(|error| capsule_refused(&self.source, &error))?;
        let own = self.key.public_key();
        if !self.publishers.keys().contains(&own) {
            return Err(self.no_publisher(own).into());
        }
        let signatures = match parts.signatures.as_deref().map(Signatures::parse) {
            Some(Ok(signatures)) => self.with_held(&parts.json, &signatures)?,
            Some(Err(error)) => return Err(capsule_refused(&self.source, &error.into()).into()),
            None => self.with_held(&parts.json, &Signatures::default())?,
        };
        let mut signed = signatures.clone();
        if signer != own {
            signed.add(own, self.key.sign(&parts.json));
        }
        self.write(&parts, &signed)?;
        let added = signer != own && !signatures.keys().contains(&own);
        let mut publishers = signed.keys();
        publishers.insert(signer);
        Ok(self.report(added, &publishers))
    }

    /// Checks all that a reader does, but for the number of signatures. Returns who made the detached one.
    fn check(&self, parts: &CapsuleParts) -> Result<PublicKey, CapsuleError> {
        if let Publishers::Root(root) = &self.publishers {
            if root.check_expiry(self.now).is_err() {
                return Err(CapsuleError::RootExpired { expires_at: root.expires_at(), now: self.now });
            }
            if *root.community() != self.judge.tickets.community {
                let (root, asked) = (root.community().clone(), self.judge.tickets.community.clone());
                return Err(CapsuleError::RootOfAnotherCommunity { root, asked });
            }
        }
        for key in self.publishers.keys() {
            match self.verify(parts, *key) {
                Ok(_) => return Ok(*key),
                Err(CapsuleError::DetachedSignatureInvalid) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CapsuleError::DetachedSignatureInvalid)
    }

    fn verify(&self, parts: &CapsuleParts, key: PublicKey) -> Result<Capsule, CapsuleError> {
        self.judge.verify(parts, &Trusted::Key(key), self.now)
    }

    /// When the capsule was issued that is in the way, if that is one by these publishers.
    fn held(&self) -> Result<Option<UnixMillis>, SourceError> {
        let there = Source::File(self.target.clone());
        if self.is_in_place() || !self.target.exists() {
            return Ok(None);
        }
        let parts = self.reader.capsule(&there, None, false)?;
        let issued_at = self.publishers.keys().iter().find_map(|key| match self.verify(&parts, *key) {
            Ok(Capsule { issued_at, .. }) | Err(CapsuleError::NotYetValid { issued_at, .. }) => Some(issued_at),
            Err(_) => None,
        });
        Ok(issued_at)
    }

    /// Whether the capsule is signed where it is.
    fn is_in_place(&self) -> bool {
        self.source == Source::File(self.target.clone())
    }

    /// The publishers' signatures over `json` among these, and among those that lie in --out already.
    fn with_held(&self, json: &[u8], signatures: &Signatures) -> Result<Signatures, SourceError> {
        let keys = self.publishers.keys();
        let signatures = signatures.fitting(json, keys);
        if self.is_in_place() {
            return Ok(signatures);
        }
        let there = Source::File(self.target.clone()).signatures();
        let held = self.reader.read_if_there(&there, SIGNATURES_MAX_BYTES)?;
        let held = held.and_then(|file| Signatures::parse(&file).ok()).unwrap_or_default().fitting(json, keys);
        // At most a line of each publisher in either: no more than a file may have.
        Ok(Signatures::parse((held.to_text() + &signatures.to_text()).as_bytes())
            .map_or(signatures, |all| all.fitting(json, keys)))
    }

    fn no_publisher(&self, key: PublicKey) -> Refusal {
        let reason = format!("the key {key} is not one of the publishers");
        let advice = match &self.publishers {
            Publishers::Root(root) if root.root_keys().keys().contains(&key) => {
                "it is a root key, which signs nothing but roots: capsule root sign"
            }
            Publishers::Root(_) => "have it put into the next root: capsule root add-key --publisher-key",
            Publishers::Keys(_) => "name all publishers with --public-key, this one too",
        };
        Refusal::new(&self.source, Code::UntrustedPublicKey.as_str(), &reason, &advice)
    }

    /// Readers fetch the capsule first, and its signatures after it: they are replaced the other way round.
    fn write(&self, parts: &CapsuleParts, signatures: &Signatures) -> Result<(), Failure> {
        let path = files::with_suffix(&self.target, ".sigs");
        if !signatures.is_empty() {
            files::replace(&path, signatures.to_text().as_bytes())?;
        } else if path.exists() {
            // Of another capsule, or of nobody who counts.
            std::fs::remove_file(&path).map_err(|error| files::FileError::Write { path, error })?;
        }
        if !self.is_in_place() {
            let signature = parts.signature.as_deref().unwrap_or_default();
            files::replace(&files::with_suffix(&self.target, ".sig"), signature)?;
            files::replace(&self.target, &parts.json)?;
        }
        Ok(())
    }

    fn report(&self, added: bool, publishers: &BTreeSet<PublicKey>) -> Outcome {
        let threshold = self.publishers.threshold();
        let missing = threshold.saturating_sub(publishers.len());
        let keys: Vec<_> = publishers.iter().map(PublicKey::to_string).collect();
        let root_version = match &self.publishers {
            Publishers::Root(root) => Some(root.root_version()),
            Publishers::Keys(_) => None,
        };
        let target = secret::path(&self.target);
        if self.arguments.json {
            let result = json!({
                "ok": true,
                "capsule": target,
                "added": added,
                "publicKey": self.key.public_key().to_string(),
                "rootVersion": root_version,
                "publishers": keys,
                "threshold": threshold,
                "missing": missing,
            });
            return Outcome::json(&result, Exit::Good);
        }
        let head = if added { "signed" } else { "signed before" };
        let keys = format!("{} ({threshold} needed)", keys.join(" "));
        let shown = text::printable(&target);
        let last = match missing {
            0 => "Complete: upload peers.json, peers.json.sig and peers.json.sigs together.\n".to_owned(),
            missing => {
                format!("{} more to sign: capsule cosign\n", text::count(missing, "publisher has", "publishers have"))
            }
        };
        Outcome::text(text::fields(&[(head, &shown), ("publishers", &keys)]) + &last, Exit::Good)
    }
}
