//! Whom a reader trusts, and what it makes of a capsule: fetched, with the roots beside it, and verified.

use std::path::PathBuf;

use clap::Args;
use rendezvous_protocol::capsule::{Capsule, CapsuleError, CapsuleRules, Trust};
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::revocation::Revocations;
use rendezvous_protocol::root::Root;
use rendezvous_protocol::time::UnixMillis;

use crate::clock::Clock;
use crate::environment::{self, Environment};
use crate::failure::Failure;
use crate::keys;
use crate::reader::{CapsuleParts, Reader, WalkError, read_root, root_refused};
use crate::refusal::Refusal;
use crate::settings::SettingsError;
use crate::source::{Source, SourceError};
use crate::tickets::{TicketArguments, TicketSettings};
use crate::values::{parse_public_key, parse_time};

/// Whom a reader trusts: a publisher's key, or a root.
#[derive(Args, Debug)]
pub(crate) struct TrustArguments {
    /// The publisher's public key (base64), or a file with it (base64, or SPKI in PEM). For cosign more than one:
    /// comma-separated, or given again.
    #[arg(long = "public-key", value_name = "KEY_OR_FILE", allow_hyphen_values = true, value_delimiter = ',')]
    pub(crate) public_keys: Vec<String>,
    /// The root that the reader was given, or the newest that it has verified since: a file.
    #[arg(long, value_name = "FILE", conflicts_with = "public_keys")]
    pub(crate) root: Option<PathBuf>,
    /// Believe that root alone, and do not look for its successors beside the capsule.
    #[arg(long)]
    pub(crate) no_successors: bool,
}

/// What a reader has seen before.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct NewestSeenArguments {
    /// `issuedAt` of the newest capsule seen, in milliseconds since 1970: an older one is refused.
    #[arg(long, value_name = "MS", value_parser = parse_time)]
    pub(crate) newest_seen: Option<UnixMillis>,
}

/// Whom a reader trusts.
#[derive(Clone, Debug)]
pub(crate) enum Trusted {
    /// One publisher.
    Key(PublicKey),
    /// Those whom a root names, the newest that is known.
    Root(Root),
}

impl Trusted {
    /// The argument, or the variable; of the variables, the root wins.
    pub(crate) fn new(arguments: &TrustArguments, environment: &Environment) -> Result<Self, Failure> {
        if let Some(trusted) = Self::given(arguments)? {
            return Ok(trusted);
        }
        match environment.value(environment::ROOT) {
            Some(path) => Ok(Self::Root(read_root(&PathBuf::from(path))?.1)),
            None => Ok(Self::Key(key_in_variable(environment)?)),
        }
    }

    /// The argument, if there is one.
    pub(crate) fn given(arguments: &TrustArguments) -> Result<Option<Self>, Failure> {
        Ok(match (&arguments.root, arguments.public_keys.as_slice()) {
            (Some(path), _) => Some(Self::Root(read_root(path)?.1)),
            (None, [key]) => Some(Self::Key(keys::public_key(key)?)),
            (None, []) => None,
            (None, keys) => return Err(SettingsError::SeveralPublicKeys { count: keys.len() }.into()),
        })
    }

    /// As a rule.
    pub(crate) const fn rule(&self) -> Trust<'_> {
        match self {
            Self::Key(key) => Trust::Key(*key),
            Self::Root(root) => Trust::Root(root),
        }
    }

    /// The version of the root, where there is one.
    pub(crate) const fn root_version(&self) -> Option<u64> {
        match self {
            Self::Key(_) => None,
            Self::Root(root) => Some(root.root_version()),
        }
    }

    /// Goes on to the newest root that lies beside the capsule.
    pub(crate) fn follow(self, reader: &Reader, capsule: &Source) -> Result<Self, JudgeError> {
        let Self::Root(root) = self else { return Ok(self) };
        match reader.walk(root, |name| capsule.beside(name), |_, _, _, _| {}) {
            Ok(root) => Ok(Self::Root(root)),
            Err(WalkError::Source(error)) => Err(error.into()),
            Err(WalkError::Refused { source, error }) => Err(JudgeError::Root(root_refused(&source, &error))),
        }
    }
}

fn key_in_variable(environment: &Environment) -> Result<PublicKey, Failure> {
    let key = environment.parsed(environment::PUBLIC_KEY, parse_public_key)?;
    Ok(key.ok_or(SettingsError::NoPublicKey)?)
}

/// What a reader asks of a capsule.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Whom it trusts beforehand.
    pub(crate) trusted: Trusted,
    /// Whether it looks for that root's successors.
    pub(crate) successors: bool,
    /// What it asks of tickets.
    pub(crate) tickets: TicketSettings,
    /// `issuedAt` of the newest capsule that it has seen.
    pub(crate) newest_seen: Option<UnixMillis>,
    /// What it remembers as revoked.
    pub(crate) revoked: Option<Revocations>,
}

/// Why there is no verdict.
#[derive(Debug)]
pub(crate) enum JudgeError {
    /// Something could not be read.
    Source(SourceError),
    /// A successor of the root is refused, and with it the capsule.
    Root(Refusal),
    /// There is no time to judge at.
    Clock(Failure),
}

impl From<SourceError> for JudgeError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// What a reader makes of a capsule.
#[derive(Debug)]
pub(crate) struct CapsuleVerdict {
    /// Its files.
    pub(crate) parts: CapsuleParts,
    /// By whom it was judged in the end.
    pub(crate) trusted: Trusted,
    /// When.
    pub(crate) now: UnixMillis,
    /// The verdict.
    pub(crate) result: Result<Capsule, CapsuleError>,
}

impl Judge {
    /// Puts one together that has seen nothing before. With a root, its community is the one that is meant, unless one
    /// is named.
    pub(crate) fn new(
        trusted: Trusted,
        arguments: &TrustArguments,
        tickets: &TicketArguments,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let is_named = tickets.community.is_some() || environment.value(environment::COMMUNITY).is_some();
        let mut tickets = TicketSettings::new(tickets, environment)?;
        if let (Trusted::Root(root), false) = (&trusted, is_named) {
            tickets.community = root.community().clone();
        }
        Ok(Self { trusted, successors: !arguments.no_successors, tickets, newest_seen: None, revoked: None })
    }

    /// Fetches a capsule, and the roots beside it, and verifies it.
    pub(crate) fn judge(
        &self,
        reader: &Reader,
        capsule: &Source,
        signature: Option<&Source>,
        clock: &Clock,
    ) -> Result<CapsuleVerdict, JudgeError> {
        let parts = reader.capsule(capsule, signature, matches!(self.trusted, Trusted::Root(_)))?;
        let trusted = self.trusted.clone();
        let trusted = if self.successors { trusted.follow(reader, capsule)? } else { trusted };
        // Only now, so that what took long to fetch is not taken for fresher than it is.
        let now = clock.now().map_err(|error| JudgeError::Clock(error.into()))?;
        let result = self.verify(&parts, &trusted, now);
        Ok(CapsuleVerdict { parts, trusted, now, result })
    }

    /// Verifies what was fetched.
    pub(crate) fn verify(
        &self,
        parts: &CapsuleParts,
        trusted: &Trusted,
        now: UnixMillis,
    ) -> Result<Capsule, CapsuleError> {
        let rules = CapsuleRules {
            trust: trusted.rule(),
            tickets: self.tickets.rules_in_capsule(),
            newest_seen: self.newest_seen,
            revoked: self.revoked.as_ref(),
        };
        Capsule::verify(parts.bytes(), &rules, now)
    }
}

/// Which root decided: the one that was given, or a successor of it.
pub(crate) fn root_line(given: &Trusted, newest: &Trusted) -> Option<String> {
    let (given, Trusted::Root(newest)) = (given.root_version()?, newest) else { return None };
    let version = newest.root_version();
    let way = if version > given { format!(", followed from version {given}") } else { String::new() };
    Some(format!("version {version}{way}"))
}

/// Whose signatures counted, and how many had to.
pub(crate) fn publishers_line(capsule: &Capsule, trusted: &Trusted) -> String {
    let keys: Vec<_> = capsule.publishers.iter().map(PublicKey::to_string).collect();
    let keys = keys.join(" ");
    match trusted {
        Trusted::Key(_) => keys,
        Trusted::Root(root) => format!("{keys} ({} needed)", root.publisher_keys().threshold()),
    }
}

/// What is refused of a capsule.
pub(crate) fn capsule_refused(source: &Source, error: &CapsuleError) -> Refusal {
    Refusal::new(source, error.code(), error, &advice(error))
}

/// What the reader of a refusal can do.
const fn advice(error: &CapsuleError) -> &'static str {
    match error {
        CapsuleError::TooLarge | CapsuleError::Malformed(_) | CapsuleError::RevocationsMalformed(_) => {
            "see what it is: capsule inspect"
        }
        CapsuleError::RootExpired { .. } => {
            "ask for the newest root, and for it to be put beside the capsule: capsule root renew makes one"
        }
        CapsuleError::RevokedPublicKey => "ask the publisher, on another way than this one, for its new key",
        CapsuleError::CosignaturesMalformed(_) => {
            "ask the publisher to remove peers.json.sigs, and to have the capsule signed again: capsule cosign"
        }
        CapsuleError::ThresholdNotMet { .. } => "have it signed by more publishers: capsule cosign",
        CapsuleError::DetachedSignatureMissing => {
            "publish peers.json.sig beside peers.json, or name it with --signature"
        }
        CapsuleError::DetachedSignatureInvalid => {
            "if it is being replaced just now, try again; else it was changed, or signed by another key than those \
             that are trusted"
        }
        CapsuleError::EmbeddedSignatureInvalid => "ask the publisher: whatever made this file did it wrong",
        CapsuleError::UnsupportedVersion { .. } | CapsuleError::UnsupportedAlgorithm => {
            "use a newer version of this program"
        }
        CapsuleError::CommunityMismatch { .. } | CapsuleError::RootOfAnotherCommunity { .. } => {
            "name the community that you mean with --community"
        }
        CapsuleError::Rollback { .. } => "keep the newer one, and ask the host for this one's successor",
        CapsuleError::NotYetValid { .. } => "check this machine's clock, then the publisher's",
        CapsuleError::Expired { .. } => {
            "see whether the publisher still runs: capsules are replaced before they expire"
        }
    }
}
