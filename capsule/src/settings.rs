//! What `publish` and `verify` work with: arguments, then variables, then defaults, put together and checked once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::limits::{CAPSULE_MAX_PEERS, TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::TicketRules;

use crate::arguments::{PublishArguments, TicketArguments};
use crate::beacon::Beacon;
use crate::environment::{self, Environment, EnvironmentError};
use crate::keys::{self, KeyFileError};

/// The community of those who name none.
const DEFAULT_COMMUNITY: &str = "mainnet";
/// Where static hosts look for it in most projects.
const DEFAULT_OUTPUT: &str = "public/capsules";
/// Fewest peers: an empty capsule helps nobody.
const DEFAULT_MIN_PEERS: usize = 1;
/// Most peers.
const DEFAULT_MAX_PEERS: usize = 100;
/// Life of a capsule: several runs of a schedule may be late or fail.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Time for each beacon, all attempts together.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// Beacons, each of which is asked in a thread of its own.
const BEACONS_MAX: usize = 64;

/// Settings that are missing or do not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A variable.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A file with a key.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Nobody to ask.
    #[error("no beacon to ask: give --beacon https://beacon.example.org, or set RENDEZVOUS_BEACONS")]
    NoBeacon,
    /// Too many to ask.
    #[error("{count} beacons are more than {BEACONS_MAX}")]
    TooManyBeacons {
        /// How many.
        count: usize,
    },
    /// Nothing to sign with.
    #[error(
        "no private key to sign with: give --key FILE, or set RENDEZVOUS_CAPSULE_PRIVATE_KEY to the key itself. \
         `capsule keygen` makes one"
    )]
    NoPrivateKey,
    /// Nothing to verify with.
    #[error("no public key to verify with: give --public-key KEY, or set RENDEZVOUS_CAPSULE_PUBLIC_KEY")]
    NoPublicKey,
    /// Clients would refuse the capsule.
    #[error(
        "RENDEZVOUS_CAPSULE_PUBLIC_KEY is {expected}, but the private key's public key is {actual}: clients would \
         refuse this capsule. Use the private key that belongs to it, or correct or remove the variable"
    )]
    OtherPublicKey {
        /// What the variable says.
        expected: PublicKey,
        /// What would sign.
        actual: PublicKey,
    },
    /// Could never be fulfilled.
    #[error("at least {min} peers and at most {max} is impossible: change --min-peers or --max-peers")]
    MinAboveMax {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
}

/// What is asked of tickets.
#[derive(Debug)]
pub(crate) struct TicketSettings {
    /// Whose they are, and the capsule.
    pub(crate) community: Community,
    trusted_keys: Option<BTreeSet<PublicKey>>,
    max_lifetime: Duration,
}

impl TicketSettings {
    /// Puts them together.
    pub(crate) fn new(arguments: &TicketArguments, environment: &Environment) -> Result<Self, SettingsError> {
        let community = first(arguments.community.clone(), environment, environment::COMMUNITY, parse_community)?;
        let community = match community {
            Some(community) => community,
            None => parse_community(DEFAULT_COMMUNITY)
                .map_err(|reason| EnvironmentError::Invalid { name: environment::COMMUNITY, reason })?,
        };
        let trusted_keys = if arguments.trusted_keys.is_empty() {
            environment.list(environment::TRUSTED_TICKET_KEYS, parse_public_key)?
        } else {
            arguments.trusted_keys.clone()
        };
        let max_lifetime =
            first(arguments.ticket_max_lifetime, environment, environment::TICKET_MAX_LIFETIME_MS, parse_millis)?;
        let trusted_keys = Some(trusted_keys.into_iter().collect()).filter(|keys: &BTreeSet<_>| !keys.is_empty());
        Ok(Self { community, trusted_keys, max_lifetime: max_lifetime.unwrap_or(TICKET_MAX_LIFETIME) })
    }

    /// As rules.
    pub(crate) fn rules(&self) -> TicketRules<'_> {
        TicketRules {
            community: &self.community,
            max_lifetime: self.max_lifetime,
            trusted_keys: self.trusted_keys.as_ref(),
        }
    }
}

/// All that `publish` works with.
#[derive(Debug)]
pub(crate) struct PublishSettings {
    /// Whom to ask, each once.
    pub(crate) beacons: Vec<Beacon>,
    /// Which tickets to take.
    pub(crate) tickets: TicketSettings,
    /// What to sign with.
    pub(crate) key: PrivateKey,
    /// Where to write.
    pub(crate) out: PathBuf,
    /// Fewest peers.
    pub(crate) min_peers: usize,
    /// Most peers.
    pub(crate) max_peers: usize,
    /// Life of the capsule.
    pub(crate) lifetime: Duration,
    /// Time for each beacon.
    pub(crate) timeout: Duration,
}

impl PublishSettings {
    /// Puts them together.
    pub(crate) fn new(arguments: &PublishArguments, environment: &Environment) -> Result<Self, SettingsError> {
        let mut beacons: Vec<Beacon> = Vec::new();
        let listed = if arguments.beacons.is_empty() {
            environment.list(environment::BEACONS, Beacon::parse)?
        } else {
            arguments.beacons.clone()
        };
        // Asked twice, it would have two shares of the capsule.
        for beacon in listed {
            if !beacons.contains(&beacon) {
                beacons.push(beacon);
            }
        }
        if beacons.is_empty() {
            return Err(SettingsError::NoBeacon);
        }
        if beacons.len() > BEACONS_MAX {
            return Err(SettingsError::TooManyBeacons { count: beacons.len() });
        }
        let min_peers = first(arguments.min_peers, environment, environment::MIN_PEERS, parse_peer_count)?;
        let max_peers = first(arguments.max_peers, environment, environment::MAX_PEERS, parse_peer_count)?;
        let (min, max) = (min_peers.unwrap_or(DEFAULT_MIN_PEERS), max_peers.unwrap_or(DEFAULT_MAX_PEERS));
        if min > max {
            return Err(SettingsError::MinAboveMax { min, max });
        }
        let lifetime = first(arguments.lifetime, environment, environment::LIFETIME_MS, parse_millis)?;
        let timeout = first(arguments.timeout, environment, environment::TIMEOUT_MS, parse_millis)?;
        let out = arguments.out.clone().or_else(|| environment.value(environment::OUTPUT).map(PathBuf::from));
        Ok(Self {
            beacons,
            tickets: TicketSettings::new(&arguments.tickets, environment)?,
            key: signing_key(arguments, environment)?,
            out: out.unwrap_or_else(|| DEFAULT_OUTPUT.into()),
            min_peers: min,
            max_peers: max,
            lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        })
    }
}

/// The argument, or the variable.
fn first<T>(
    argument: Option<T>,
    environment: &Environment,
    name: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, EnvironmentError> {
    match argument {
        Some(value) => Ok(Some(value)),
        None => environment.parsed(name, parse),
    }
}

fn signing_key(arguments: &PublishArguments, environment: &Environment) -> Result<PrivateKey, SettingsError> {
    let key = match &arguments.key {
        Some(path) => keys::read_private_key(path)?,
        None => environment
            .parsed(environment::PRIVATE_KEY, |text| {
                PrivateKey::from_text(text).map_err(|error| format!("is no key: {error}"))
            })?
            .ok_or(SettingsError::NoPrivateKey)?,
    };
    let actual = key.public_key();
    match environment.parsed(environment::PUBLIC_KEY, parse_public_key)? {
        Some(expected) if expected != actual => Err(SettingsError::OtherPublicKey { expected, actual }),
        _ => Ok(key),
    }
}

/// The publisher's key for `verify`.
pub(crate) fn publishers_key(argument: Option<&str>, environment: &Environment) -> Result<PublicKey, SettingsError> {
    match argument {
        Some(text) => Ok(keys::public_key(text)?),
        None => environment.parsed(environment::PUBLIC_KEY, parse_public_key)?.ok_or(SettingsError::NoPublicKey),
    }
}

// What follows reads the value of one argument or variable. The errors end a sentence that begins with its name.

/// A community's name.
pub(crate) fn parse_community(text: &str) -> Result<Community, String> {
    Community::new(text).map_err(|error| format!("must be a community: {error}"))
}

/// A public key.
pub(crate) fn parse_public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_text(text).map_err(|error| format!("must have public keys: {error}"))
}

/// A number of peers in a capsule.
pub(crate) fn parse_peer_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=CAPSULE_MAX_PEERS).contains(count))
        .ok_or_else(|| format!("must be a number of peers from 1 to {CAPSULE_MAX_PEERS}"))
}

/// A duration with units.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    positive(humantime::parse_duration(text), "must be a duration above zero with its units, like 90s, 30m or 1h 15m")
}

/// A duration without its unit.
fn parse_millis(text: &str) -> Result<Duration, String> {
    positive(text.parse().map(Duration::from_millis), "must be a whole number of milliseconds above zero")
}

fn positive<E: Display>(duration: Result<Duration, E>, otherwise: &str) -> Result<Duration, String> {
    // Below a millisecond there is nothing on the wire.
    duration.ok().filter(|duration| duration.as_millis() > 0).ok_or_else(|| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rendezvous_protocol::limits::TICKET_MAX_LIFETIME;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn private_key(seed: u8) -> String {
        PrivateKey::from_seed(&[seed; 32]).to_pem().unwrap()
    }

    fn settings<const N: usize>(
        arguments: &str,
        variables: [(&'static str, &str); N],
    ) -> Result<PublishSettings, SettingsError> {
        let arguments = ["capsule", "publish"].into_iter().chain(arguments.split_whitespace());
        let Command::Publish(arguments) = Arguments::try_parse_from(arguments).unwrap().command else { panic!() };
        PublishSettings::new(&arguments, &Environment::from(variables))
    }

    #[test]
    fn defaults() {
        let key = private_key(1);
        let settings = settings("--beacon https://a.example", [(environment::PRIVATE_KEY, &key)]).unwrap();
        assert_eq!(settings.tickets.community.as_str(), "mainnet");
        assert_eq!(settings.out, PathBuf::from("public/capsules"));
        assert_eq!((settings.min_peers, settings.max_peers), (1, 100));
        assert_eq!(settings.lifetime, Duration::from_secs(1800));
        assert_eq!(settings.timeout, Duration::from_secs(20));
        let rules = settings.tickets.rules();
        assert_eq!((rules.max_lifetime, rules.trusted_keys), (TICKET_MAX_LIFETIME, None));
    }

    #[test]
    fn variables_set_everything() {
        let key = private_key(1);
        let public_key = PrivateKey::from_seed(&[1; 32]).public_key();
        let trusted = public_key.to_string();
        let settings = settings(
            "",
            [
                (environment::BEACONS, "https://a.example, https://b.example/,,https://a.example/"),
                (environment::COMMUNITY, "testnet"),
                (environment::OUTPUT, "site"),
                (environment::PRIVATE_KEY, &key),
                (environment::PUBLIC_KEY, &trusted),
                (environment::MIN_PEERS, "2"),
                (environment::MAX_PEERS, "3"),
                (environment::LIFETIME_MS, "4000"),
                (environment::TIMEOUT_MS, "5000"),
                (environment::TRUSTED_TICKET_KEYS, &trusted),
                (environment::TICKET_MAX_LIFETIME_MS, "6000"),
            ],
        )
        .unwrap();
        assert_eq!(settings.beacons, ["https://a.example", "https://b.example"].map(|url| Beacon::parse(url).unwrap()));
        assert_eq!(settings.tickets.community.as_str(), "testnet");
        assert_eq!(settings.out, PathBuf::from("site"));
        assert_eq!((settings.min_peers, settings.max_peers), (2, 3));
        assert_eq!(settings.lifetime, Duration::from_secs(4));
        assert_eq!(settings.timeout, Duration::from_secs(5));
        let rules = settings.tickets.rules();
        assert_eq!(
            (rules.max_lifetime, rules.trusted_keys),
            (Duration::from_secs(6), Some(&BTreeSet::from([public_key])))
        );
    }

    #[test]
    fn arguments_win_over_variables() {
        let directory = tempfile::tempdir().unwrap();
        let key_file = directory.path().join("key.pem");
        std::fs::write(&key_file, private_key(2)).unwrap();
        let trusted = PublicKey::from_bytes([9; 32]);
        let other_key = private_key(1);
        let settings = settings(
            &format!(
                "--beacon https://b.example,https://c.example --community testnet --out site --min-peers 2 --max-peers 3 \
                 --lifetime 4s --timeout 5s --ticket-max-lifetime 6s --trusted-key {trusted} --key {}",
                key_file.display()
            ),
            [
                (environment::BEACONS, "not even a URL"),
                (environment::COMMUNITY, "other"),
                (environment::OUTPUT, "other"),
                (environment::PRIVATE_KEY, &other_key),
                (environment::MIN_PEERS, "77"),
                (environment::MAX_PEERS, "77"),
                (environment::LIFETIME_MS, "77"),
                (environment::TIMEOUT_MS, "77"),
                (environment::TRUSTED_TICKET_KEYS, "77"),
                (environment::TICKET_MAX_LIFETIME_MS, "77"),
            ],
        )
        .unwrap();
        assert_eq!(settings.beacons, ["https://b.example", "https://c.example"].map(|url| Beacon::parse(url).unwrap()));
        assert_eq!(settings.key.public_key(), PrivateKey::from_seed(&[2; 32]).public_key());
        assert_eq!(settings.tickets.community.as_str(), "testnet");
        assert_eq!(settings.out, PathBuf::from("site"));
        assert_eq!((settings.min_peers, settings.max_peers), (2, 3));
        assert_eq!((settings.lifetime, settings.timeout), (Duration::from_secs(4), Duration::from_secs(5)));
        let rules = settings.tickets.rules();
        assert_eq!(
            (rules.max_lifetime, rules.trusted_keys),
            (Duration::from_secs(6), Some(&BTreeSet::from([trusted])))
        );
    }

    #[test]
    fn a_public_key_that_is_set_must_belong_to_the_private_one() {
        let key = private_key(1);
        let other = PrivateKey::from_seed(&[2; 32]).public_key().to_string();
        let variables = [(environment::PRIVATE_KEY, key.as_str()), (environment::PUBLIC_KEY, other.as_str())];
        let error = settings("--beacon https://a.example", variables).unwrap_err();
        assert!(matches!(error, SettingsError::OtherPublicKey { .. }), "{error}");
    }

    #[test]
    fn what_is_missing_or_impossible_is_named() {
        let key = private_key(1);
        let named = |arguments: &str, variable: (&'static str, &str)| {
            settings(arguments, [(environment::PRIVATE_KEY, &key), variable]).unwrap_err().to_string()
        };
        assert!(named("", (environment::BEACONS, "")).contains("RENDEZVOUS_BEACONS"));
        let key_missing = settings("--beacon https://a.example", []).unwrap_err().to_string();
        assert!(key_missing.contains("RENDEZVOUS_CAPSULE_PRIVATE_KEY"), "{key_missing}");
        for (name, value) in [
            (environment::BEACONS, "beacon.example"),
            (environment::COMMUNITY, "main net"),
            (environment::PUBLIC_KEY, "x"),
            (environment::MIN_PEERS, "0"),
            (environment::MAX_PEERS, "1001"),
            (environment::MAX_PEERS, "-1"),
            (environment::LIFETIME_MS, "30m"),
            (environment::LIFETIME_MS, "0"),
            (environment::TIMEOUT_MS, "1.5"),
            (environment::TRUSTED_TICKET_KEYS, "x"),
            (environment::TICKET_MAX_LIFETIME_MS, "x"),
        ] {
            let arguments = if name == environment::BEACONS { "" } else { "--beacon https://a.example" };
            let error = named(arguments, (name, value));
            assert!(error.starts_with(&format!("{name} must ")), "{error}");
        }
        let error = named("--beacon https://a.example --min-peers 5 --max-peers 4", (environment::COMMUNITY, ""));
        assert!(error.contains("at least 5 peers and at most 4"), "{error}");
    }

    #[test]
    fn beacons_are_not_too_many_to_ask_at_once() {
        let key = private_key(1);
        let list = |count| (0..count).map(|number| format!("https://{number}.example")).collect::<Vec<_>>().join(",");
        for (count, fits) in [(64, true), (65, false)] {
            let list = list(count);
            let variables = [(environment::PRIVATE_KEY, key.as_str()), (environment::BEACONS, list.as_str())];
            assert_eq!(settings("", variables).is_ok(), fits);
        }
    }
}
