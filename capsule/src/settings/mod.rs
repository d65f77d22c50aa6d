//! What `publish`, `announce` and `verify` work with: arguments, then variables, then defaults, put together and checked once.

mod publish;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use rendezvous_protocol::announcer::{Identity, LIFETIME_MAX, LIFETIME_MIN, TicketPacing as Pacing};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::freshness::{LifetimeTooShort, Schedule};
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::limits::{CAPSULE_MAX_PEERS, FRESHNESS_MIN_SLACK, ROLE_MAX_KEYS, TICKET_MAX_LIFETIME};
use rendezvous_protocol::ticket::{PeerId, TicketRules, UserId};
use rendezvous_protocol::time::UnixMillis;

use crate::arguments::{AnnounceArguments, TicketArguments};
use crate::beacon::Beacon;
use crate::environment::{self, Environment, EnvironmentError};
use crate::keys::{self, KeyFileError};
use crate::text;

pub(crate) use self::publish::{Pace, Probe, PublishSettings, Target, parse_beacon_count, parse_probe, parse_shares};

/// The community of those who name none.
const DEFAULT_COMMUNITY: &str = "mainnet";
/// Time for each beacon, all attempts together.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for each request of `announce`.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Beacons, each of which is asked in a thread of its own.
pub(crate) const BEACONS_MAX: usize = 64;
/// Tickets that are read from elsewhere, and probes, each in a thread of its own.
const INCLUDES_MAX: usize = 64;

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
    /// Nothing to sign tickets with.
    #[error(
        "no private key to sign tickets with: give --key FILE, or set RENDEZVOUS_ANNOUNCE_PRIVATE_KEY to the key \
         itself. `capsule keygen --out node-key.pem` makes one"
    )]
    NoTicketKey,
    /// Nobody to announce.
    #[error("no name to announce: give --peer-id NAME, or set RENDEZVOUS_ANNOUNCE_PEER_ID")]
    NoPeerId,
    /// No beacon can be set to allow it, or it is over before it arrives.
    #[error("a ticket's life of {} is impossible: change --lifetime to one from {} to {}",
        text::duration(*.lifetime), text::duration(LIFETIME_MIN), text::duration(LIFETIME_MAX))]
    TicketLifetime {
        /// What was asked for.
        lifetime: Duration,
    },
    /// Nothing to verify with.
    #[error(
        "nobody to trust: give --public-key KEY or --root FILE, or set RENDEZVOUS_CAPSULE_PUBLIC_KEY or \
         RENDEZVOUS_CAPSULE_ROOT"
    )]
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
    /// Two places at once.
    #[error(
        "RENDEZVOUS_CAPSULE_OUTPUT and RENDEZVOUS_CAPSULE_TO are both set, and a capsule is written to one place: \
         remove one of them, or give --out or --to"
    )]
    TwoDestinations,
    /// Too many to read.
    #[error("{count} times --include is more than {INCLUDES_MAX}")]
    TooManyIncludes {
        /// How many.
        count: usize,
    },
    /// Too many to ask.
    #[error("{count} times --probe is more than {INCLUDES_MAX}")]
    TooManyProbes {
        /// How many.
        count: usize,
    },
    /// It would not wait at all.
    #[error("--every {} is too often: change it to 1s or more; beacons give out the same list for 5s anyway",
        text::duration(*.every))]
    TooOften {
        /// What was asked for.
        every: Duration,
    },
    /// Readers would be left without one.
    #[error("{}", too_short(.error, .host, .pace))]
    LifetimeTooShort {
        /// The numbers.
        error: LifetimeTooShort,
        /// Where it is served from.
        host: &'static str,
        /// The option that the cadence was given with.
        pace: &'static str,
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

/// Which number to change, and to what.
fn too_short(LifetimeTooShort { lifetime, schedule }: &LifetimeTooShort, host: &str, pace: &str) -> String {
    let Schedule { cadence, cache, slack } = *schedule;
    let [lives, until_next, cached, late] = [*lifetime, cadence, cache, slack].map(text::compact);
    let least = text::compact(schedule.least_lifetime());
    let mut text = format!(
        "a capsule that lives {lives} is over before its successor reaches its readers: {until_next} until the next \
         run, {cached} in caches (--host {host}) and {late} in case a run is late are {least}. Change --lifetime \
         (RENDEZVOUS_CAPSULE_TTL_MS) to {least} or more"
    );
    // Half of what the caches leave, where the slack is one more cadence; all of it but the least slack below that.
    let room = lifetime.saturating_sub(cache);
    let most = (room / 2).min(room.saturating_sub(FRESHNESS_MIN_SLACK)).as_secs();
    if !cadence.is_zero() && most > 0 {
        text.push_str(&format!(", or {pace} to {} or less", text::compact(Duration::from_secs(most))));
    }
    text
}

/// What is asked of tickets.
#[derive(Debug)]
pub(crate) struct TicketSettings {
    /// Whose they are, and the capsule.
    pub(crate) community: Community,
    trusted_keys: Option<BTreeSet<PublicKey>>,
    max_lifetime: Option<Duration>,
}

impl TicketSettings {
    /// Puts them together.
    pub(crate) fn new(arguments: &TicketArguments, environment: &Environment) -> Result<Self, SettingsError> {
        let community = community(arguments.community.as_ref(), environment)?;
        let trusted_keys = if arguments.trusted_keys.is_empty() {
            environment.list(environment::TRUSTED_TICKET_KEYS, parse_public_key)?
        } else {
            arguments.trusted_keys.clone()
        };
        let max_lifetime =
            first(arguments.ticket_max_lifetime, environment, environment::TICKET_MAX_LIFETIME_MS, parse_millis)?;
        let trusted_keys = Some(trusted_keys.into_iter().collect()).filter(|keys: &BTreeSet<_>| !keys.is_empty());
        Ok(Self { community, trusted_keys, max_lifetime })
    }

    /// As rules for what beacons answer.
    pub(crate) fn rules(&self) -> TicketRules<'_> {
        self.complete(TicketRules::new(&self.community))
    }

    /// As rules for what is in a capsule, where tickets may live longer.
    pub(crate) fn rules_in_capsule(&self) -> TicketRules<'_> {
        self.complete(TicketRules::in_capsule(&self.community))
    }

    fn complete<'a>(&'a self, defaults: TicketRules<'a>) -> TicketRules<'a> {
        TicketRules {
            max_lifetime: self.max_lifetime.unwrap_or(defaults.max_lifetime),
            trusted_keys: self.trusted_keys.as_ref(),
            ..defaults
        }
    }
}

/// All that `announce` works with.
#[derive(Debug)]
pub(crate) struct AnnounceSettings {
    /// Whom to announce to, each once.
    pub(crate) beacons: Vec<Beacon>,
    /// Who is announced.
    pub(crate) identity: Identity,
    /// How often.
    pub(crate) pacing: Pacing,
    /// Time for each request.
    pub(crate) timeout: Duration,
}

impl AnnounceSettings {
    /// Puts them together.
    pub(crate) fn new(arguments: &AnnounceArguments, environment: &Environment) -> Result<Self, SettingsError> {
        let beacons = beacons(&arguments.beacons, environment)?;
        let community = community(arguments.community.as_ref(), environment)?;
        let peer_id = first(arguments.peer_id.clone(), environment, environment::ANNOUNCE_PEER_ID, parse_peer_id)?
            .ok_or(SettingsError::NoPeerId)?;
        let user_id = first(arguments.user_id.clone(), environment, environment::ANNOUNCE_USER_ID, parse_user_id)?
            .or_else(|| UserId::new(peer_id.as_str()))
            .ok_or(SettingsError::NoPeerId)?;
        let key = private_key(arguments.key.as_deref(), environment, environment::ANNOUNCE_PRIVATE_KEY)?
            .ok_or(SettingsError::NoTicketKey)?;
        let lifetime = first(arguments.lifetime, environment, environment::ANNOUNCE_TTL_MS, parse_millis)?
            .unwrap_or(TICKET_MAX_LIFETIME);
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) {
            return Err(SettingsError::TicketLifetime { lifetime });
        }
        let interval = first(arguments.interval, environment, environment::ANNOUNCE_INTERVAL_MS, parse_millis)?;
        let timeout = first(arguments.timeout, environment, environment::ANNOUNCE_TIMEOUT_MS, parse_millis)?;
        Ok(Self {
            beacons,
            identity: Identity { key, peer_id, user_id, community },
            pacing: Pacing { lifetime, interval: interval.unwrap_or_default() },
            timeout: timeout.unwrap_or(DEFAULT_REQUEST_TIMEOUT),
        })
    }
}

/// Whom to ask, each once: the arguments, or the variable.
pub(crate) fn beacons(arguments: &[Beacon], environment: &Environment) -> Result<Vec<Beacon>, SettingsError> {
    let beacons = beacons_if_any(arguments, environment)?;
    if beacons.is_empty() { Err(SettingsError::NoBeacon) } else { Ok(beacons) }
}

fn beacons_if_any(arguments: &[Beacon], environment: &Environment) -> Result<Vec<Beacon>, SettingsError> {
    let mut beacons: Vec<Beacon> = Vec::new();
    let listed =
        if arguments.is_empty() { environment.list(environment::BEACONS, Beacon::parse)? } else { arguments.to_vec() };
    // Named twice, it would have two shares of a capsule, and two voices about the time.
    for beacon in listed {
        if !beacons.contains(&beacon) {
            beacons.push(beacon);
        }
    }
    match beacons.len() {
        0..=BEACONS_MAX => Ok(beacons),
        count => Err(SettingsError::TooManyBeacons { count }),
    }
}

/// The community that is named, or the default one.
pub(crate) fn community(
    argument: Option<&Community>,
    environment: &Environment,
) -> Result<Community, EnvironmentError> {
    match first(argument.cloned(), environment, environment::COMMUNITY, parse_community)? {
        Some(community) => Ok(community),
        None => parse_community(DEFAULT_COMMUNITY)
            .map_err(|reason| EnvironmentError::Invalid { name: environment::COMMUNITY, reason }),
    }
}

/// The argument, or the variable.
pub(crate) fn first<T>(
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

/// The private key in a file, or in a variable.
pub(crate) fn private_key(
    file: Option<&Path>,
    environment: &Environment,
    name: &'static str,
) -> Result<Option<PrivateKey>, SettingsError> {
    Ok(match file {
        Some(path) => Some(keys::read_private_key(path, environment)?),
        None => keys::private_key_in_variable(name, environment)?,
    })
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

/// A peer's name.
pub(crate) fn parse_peer_id(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).ok_or_else(|| {
        "must be 1 to 128 bytes of printable ASCII without \" \\ < > &, and no space at either end".to_owned()
    })
}

/// A user's name.
pub(crate) fn parse_user_id(text: &str) -> Result<UserId, String> {
    UserId::new(text).ok_or_else(|| "must be 1 to 128 bytes of UTF-8 without control characters".to_owned())
}

/// A number of peers in a capsule.
pub(crate) fn parse_peer_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=CAPSULE_MAX_PEERS).contains(count))
        .ok_or_else(|| format!("must be a number of peers from 1 to {CAPSULE_MAX_PEERS}"))
}

/// A number of live peers, which may be none.
pub(crate) fn parse_live_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (0..=CAPSULE_MAX_PEERS).contains(count))
        .ok_or_else(|| format!("must be a number of peers from 0 to {CAPSULE_MAX_PEERS}"))
}

/// How many keys have to sign.
pub(crate) fn parse_threshold(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=ROLE_MAX_KEYS).contains(count))
        .ok_or_else(|| format!("must be a number of keys from 1 to {ROLE_MAX_KEYS}"))
}

/// A point in time.
pub(crate) fn parse_time(text: &str) -> Result<UnixMillis, String> {
    let time = text.parse().ok().and_then(UnixMillis::new);
    time.ok_or_else(|| "must be milliseconds since 1970, below 2^53".to_owned())
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

    fn announce_settings<const N: usize>(
        arguments: &str,
        variables: [(&'static str, &str); N],
    ) -> Result<AnnounceSettings, SettingsError> {
        let arguments = ["capsule", "announce"].into_iter().chain(arguments.split_whitespace());
        let Command::Announce(arguments) = Arguments::try_parse_from(arguments).unwrap().command else { panic!() };
        AnnounceSettings::new(&arguments, &Environment::from(variables))
    }

    #[test]
    fn announce_needs_a_beacon_a_name_and_a_key_and_has_defaults_for_the_rest() {
        let key = private_key(1);
        let key = (environment::ANNOUNCE_PRIVATE_KEY, key.as_str());
        let settings = announce_settings("--beacon https://a.example --peer-id node", [key]).unwrap();
        let Identity { peer_id, user_id, community, .. } = &settings.identity;
        assert_eq!([peer_id.as_str(), user_id.as_str(), community.as_str()], ["node", "node", "mainnet"]);
        assert_eq!(settings.pacing, Pacing { lifetime: TICKET_MAX_LIFETIME, interval: Duration::ZERO });
        assert_eq!(settings.timeout, Duration::from_secs(10));
        for (arguments, variables, part) in [
            ("--peer-id node", [key], "no beacon"),
            ("--beacon https://a.example", [key], "--peer-id"),
            // The key that signs capsules is another one.
            ("--beacon https://a.example --peer-id node", [(environment::PRIVATE_KEY, key.1)], "no private key"),
            ("--beacon https://a.example --peer-id node --lifetime 25h", [key], "from 1s to 1day"),
        ] {
            let error = announce_settings(arguments, variables).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn variables_set_everything_of_announce_and_arguments_win() {
        let key = private_key(1);
        let variables = [
            (environment::BEACONS, "https://a.example,https://a.example/"),
            (environment::COMMUNITY, "testnet"),
            (environment::ANNOUNCE_PRIVATE_KEY, key.as_str()),
            (environment::ANNOUNCE_PEER_ID, "node"),
            (environment::ANNOUNCE_USER_ID, "Zo\u{eb}"),
            (environment::ANNOUNCE_TTL_MS, "60000"),
            (environment::ANNOUNCE_INTERVAL_MS, "50000"),
            (environment::ANNOUNCE_TIMEOUT_MS, "4000"),
        ];
        let arguments = "--beacon https://b.example,https://c.example --community other --peer-id x --user-id y \
                         --lifetime 1s --interval 2s --timeout 3s";
        for (arguments, beacons, names, seconds) in
            [("", 1, ["testnet", "node", "Zo\u{eb}"], [60, 50, 4]), (arguments, 2, ["other", "x", "y"], [1, 2, 3])]
        {
            let AnnounceSettings { beacons: found, identity, pacing, timeout } =
                announce_settings(arguments, variables).unwrap();
            let Identity { community, peer_id, user_id, .. } = &identity;
            assert_eq!(found.len(), beacons);
            assert_eq!([community.as_str(), peer_id.as_str(), user_id.as_str()], names);
            assert_eq!([pacing.lifetime, pacing.interval, timeout].map(|time| time.as_secs()), seconds);
        }
    }
}
