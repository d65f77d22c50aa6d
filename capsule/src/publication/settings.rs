//! What `publish` and `watch` work with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rendezvous_protocol::freshness::{LifetimeTooShort, Schedule};
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::limits::FRESHNESS_MIN_SLACK;
use rendezvous_protocol::merge::Shares;
use rendezvous_protocol::publication::WriteRules;
use rendezvous_protocol::watch::PAUSE_MIN;

use super::arguments::PublicationArguments;
use super::probe::Probe;
use crate::beacon::Beacon;
use crate::destination::{Address, Target};
use crate::environment::{self, Environment};
use crate::failure::{Cause, Failure};
use crate::fetch::DEFAULT_TIMEOUT;
use crate::host::Host;
use crate::settings::{SettingsError, beacons_if_any, first, private_key};
use crate::source::Source;
use crate::text;
use crate::tickets::TicketSettings;
use crate::values::{parse_beacon_count, parse_millis, parse_peer_count, parse_public_key, parse_shares};

/// How long the command may take that runs afterwards.
const DEFAULT_RUN_TIMEOUT: Duration = Duration::from_secs(60);
/// Where static hosts look for it in most projects.
const DEFAULT_OUTPUT: &str = "public/capsules";
/// Most peers.
const DEFAULT_MAX_PEERS: usize = 100;
/// Life of a capsule: several runs of a schedule may be late or fail.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Tickets that are read from elsewhere, and probes, each in a thread of its own.
const INCLUDES_MAX: usize = 64;

/// Settings that do not go together.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishSettingsError {
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

impl Cause for PublishSettingsError {}

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

/// How often the program publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Once; something else runs it again.
    Once {
        /// How often that is, where it is known.
        cadence: Option<Duration>,
        /// Whether it is this key's last capsule.
        farewell: bool,
    },
    /// For ever, by itself.
    Every(Duration),
}

/// A command to run after each capsule that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// For the shell.
    pub(crate) command: String,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// All that `publish` and `watch` work with.
#[derive(Debug)]
pub(crate) struct PublishSettings {
    /// Whom to ask, each once.
    pub(crate) beacons: Vec<Beacon>,
    /// Which tickets to take.
    pub(crate) tickets: TicketSettings,
    /// Where it is written what is revoked. Read for every capsule, so that it can be added to while `watch` runs.
    pub(crate) revoked: Option<PathBuf>,
    /// Where the tickets are that come first. Read for every capsule too.
    pub(crate) includes: Vec<Source>,
    /// Which of them are only put in while something answers.
    pub(crate) probes: Vec<Probe>,
    /// What to sign with.
    pub(crate) key: PrivateKey,
    /// Where to write.
    pub(crate) target: Target,
    /// When a capsule is written.
    pub(crate) write: WriteRules,
    /// What becomes of places that are left when every beacon has its share.
    pub(crate) shares: Shares,
    /// Life of the capsule.
    pub(crate) lifetime: Duration,
    /// Time for each beacon.
    pub(crate) timeout: Duration,
    /// What to run afterwards.
    pub(crate) run: Option<Run>,
}

impl PublishSettings {
    /// Puts them together.
    pub(crate) fn new(
        arguments: &PublicationArguments,
        pace: Pace,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let includes = includes(&arguments.includes, environment)?;
        if arguments.probes.len() > INCLUDES_MAX {
            return Err(PublishSettingsError::TooManyProbes { count: arguments.probes.len() }.into());
        }
        let beacons = beacons_if_any(&arguments.beacons, environment)?;
        if beacons.is_empty() && includes.is_empty() {
            return Err(SettingsError::NoBeacon.into());
        }
        let has_beacons = !beacons.is_empty();
        let min_peers = first(arguments.min_peers, environment, environment::MIN_PEERS, parse_peer_count)?;
        let max_peers = first(arguments.max_peers, environment, environment::MAX_PEERS, parse_peer_count)?;
        let min_beacons = first(arguments.min_beacons, environment, environment::MIN_BEACONS, parse_beacon_count)?;
        let shares = first(arguments.shares, environment, environment::SHARES, parse_shares)?;
        let max = max_peers.unwrap_or(DEFAULT_MAX_PEERS);
        if let Some(min) = min_peers.filter(|min| *min > max) {
            return Err(PublishSettingsError::MinAboveMax { min, max }.into());
        }
        let lifetime = first(arguments.lifetime, environment, environment::LIFETIME_MS, parse_millis)?;
        let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
        let timeout = first(arguments.timeout.timeout, environment, environment::TIMEOUT_MS, parse_millis)?;
        let host = first(arguments.host, environment, environment::HOST, Host::parse)?;
        let revoked = arguments.revoked.clone().or_else(|| environment.value(environment::REVOKED).map(PathBuf::from));
        let run = arguments
            .run
            .clone()
            .map(|command| Run { command, limit: arguments.run_timeout.unwrap_or(DEFAULT_RUN_TIMEOUT) });
        Ok(Self {
            beacons,
            tickets: TicketSettings::new(&arguments.tickets, environment)?,
            revoked,
            includes,
            probes: arguments.probes.clone(),
            key: signing_key(arguments, environment)?,
            target: target(arguments, environment)?,
            write: WriteRules {
                min_peers,
                max_peers: max,
                min_beacons: min_beacons.unwrap_or_default(),
                gap: gap(pace, host, lifetime, environment)?,
                has_beacons,
                farewell: matches!(pace, Pace::Once { farewell: true, .. }),
            },
            shares: shares.unwrap_or_default(),
            lifetime,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            run,
        })
    }
}

/// The time until the next capsule reaches readers. Refuses a lifetime that does not span it, where it is known.
fn gap(pace: Pace, host: Option<Host>, lifetime: Duration, environment: &Environment) -> Result<Duration, Failure> {
    let (cadence, option) = match pace {
        Pace::Every(every) if every < PAUSE_MIN => return Err(PublishSettingsError::TooOften { every }.into()),
        Pace::Every(every) => (Some(every), "--every"),
        Pace::Once { cadence, .. } => {
            (first(cadence, environment, environment::CADENCE_MS, parse_millis)?, "--cadence")
        }
    };
    if cadence.is_none() && host.is_none() {
        return Ok(Duration::ZERO);
    }
    let host = host.unwrap_or(Host::None);
    let schedule = Schedule::new(cadence.unwrap_or_default(), host.figure().cache);
    schedule.check(lifetime).map_err(|error| PublishSettingsError::LifetimeTooShort {
        error,
        host: host.name(),
        pace: option,
    })?;
    Ok(schedule.cadence.saturating_add(schedule.cache))
}

fn includes(arguments: &[String], environment: &Environment) -> Result<Vec<Source>, Failure> {
    let source = |text: &str| Ok::<_, String>(Source::new(text));
    let includes = if arguments.is_empty() {
        environment.list(environment::INCLUDE, source)?
    } else {
        arguments.iter().map(|text| Source::new(text)).collect()
    };
    match includes.len() {
        0..=INCLUDES_MAX => Ok(includes),
        count => Err(PublishSettingsError::TooManyIncludes { count }.into()),
    }
}

fn target(arguments: &PublicationArguments, environment: &Environment) -> Result<Target, Failure> {
    let directory = |path: &Path| Target::Directory(path.to_owned());
    if let Some(address) = &arguments.to {
        return Ok(Target::Bucket(address.clone()));
    }
    if let Some(path) = &arguments.out {
        return Ok(directory(path));
    }
    match (environment.value(environment::OUTPUT), environment.parsed(environment::BUCKET, Address::parse)?) {
        (Some(_), Some(_)) => Err(PublishSettingsError::TwoDestinations.into()),
        (None, Some(address)) => Ok(Target::Bucket(address)),
        (path, None) => Ok(directory(Path::new(path.unwrap_or(DEFAULT_OUTPUT)))),
    }
}

fn signing_key(arguments: &PublicationArguments, environment: &Environment) -> Result<PrivateKey, Failure> {
    let key = private_key(arguments.key.as_deref(), environment, environment::PRIVATE_KEY)?
        .ok_or(SettingsError::NoPrivateKey)?;
    let actual = key.public_key();
    match environment.parsed(environment::PUBLIC_KEY, parse_public_key)? {
        Some(expected) if expected != actual => Err(PublishSettingsError::OtherPublicKey { expected, actual }.into()),
        _ => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rendezvous_protocol::key::PublicKey;
    use rendezvous_protocol::limits::TICKET_MAX_LIFETIME;
    use rendezvous_protocol::sorted_set::SortedSet;

    use super::*;
    use crate::values::parse_duration;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        publication: PublicationArguments,
        #[arg(long, value_parser = parse_duration)]
        cadence: Option<Duration>,
    }

    fn private_key(seed: u8) -> String {
        PrivateKey::from_seed(&[seed; 32]).to_pem().unwrap()
    }

    fn settings<const N: usize>(
        arguments: &str,
        variables: [(&'static str, &str); N],
    ) -> Result<PublishSettings, Failure> {
        let arguments = ["publish"].into_iter().chain(arguments.split_whitespace());
        let Program { publication, cadence } = Program::try_parse_from(arguments).unwrap();
        let pace = Pace::Once { cadence, farewell: false };
        PublishSettings::new(&publication, pace, &Environment::from(variables))
    }

    #[test]
    fn defaults() {
        let key = private_key(1);
        let settings = settings("--beacon https://a.example", [(environment::PRIVATE_KEY, &key)]).unwrap();
        assert_eq!(settings.tickets.community.as_str(), "mainnet");
        assert_eq!(settings.target, Target::Directory("public/capsules".into()));
        assert_eq!((settings.write.min_peers, settings.write.max_peers), (None, 100));
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
        assert_eq!(settings.target, Target::Directory("site".into()));
        assert_eq!((settings.write.min_peers, settings.write.max_peers), (Some(2), 3));
        assert_eq!(settings.lifetime, Duration::from_secs(4));
        assert_eq!(settings.timeout, Duration::from_secs(5));
        let rules = settings.tickets.rules();
        assert_eq!(
            (rules.max_lifetime, rules.trusted_keys),
            (Duration::from_secs(6), Some(&SortedSet::from_iter([public_key])))
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
        assert_eq!(settings.target, Target::Directory("site".into()));
        assert_eq!((settings.write.min_peers, settings.write.max_peers), (Some(2), 3));
        assert_eq!((settings.lifetime, settings.timeout), (Duration::from_secs(4), Duration::from_secs(5)));
        let rules = settings.tickets.rules();
        assert_eq!(
            (rules.max_lifetime, rules.trusted_keys),
            (Duration::from_secs(6), Some(&SortedSet::from_iter([trusted])))
        );
    }

    #[test]
    fn a_public_key_that_is_set_must_belong_to_the_private_one() {
        let key = private_key(1);
        let other = PrivateKey::from_seed(&[2; 32]).public_key().to_string();
        let variables = [(environment::PRIVATE_KEY, key.as_str()), (environment::PUBLIC_KEY, other.as_str())];
        let error = settings("--beacon https://a.example", variables).unwrap_err();
        assert!(error.to_string().starts_with("RENDEZVOUS_CAPSULE_PUBLIC_KEY is "), "{error}");
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

    #[test]
    fn variables_set_what_has_one_and_arguments_win() {
        let key = private_key(1);
        let variables = [
            (environment::PRIVATE_KEY, key.as_str()),
            (environment::BEACONS, "https://a.example"),
            (environment::BUCKET, "s3://bucket/a"),
            (environment::MIN_BEACONS, "2"),
            (environment::SHARES, "available"),
            (environment::INCLUDE, "a.json, https://a.example/ticket"),
            (environment::REVOKED, "revoked.json"),
            (environment::HOST, "github-pages"),
            (environment::CADENCE_MS, "300000"),
        ];
        let set = settings("", variables).unwrap();
        assert_eq!(set.target, Target::Bucket(Address::parse("s3://bucket/a").unwrap()));
        assert_eq!((set.write.min_beacons, set.shares), (2, Shares::Available));
        assert_eq!(set.includes, ["a.json", "https://a.example/ticket"].map(Source::new));
        assert_eq!(set.revoked, Some("revoked.json".into()));
        assert_eq!(set.write.gap, Duration::from_secs(900));
        let arguments =
            "--out site --min-beacons 3 --shares equal --include b,c.json --revoked r --host none --cadence 1m";
        let set = settings(arguments, variables).unwrap();
        assert_eq!(set.target, Target::Directory("site".into()));
        assert_eq!((set.write.min_beacons, set.shares), (3, Shares::Equal));
        assert_eq!(set.includes, [Source::new("b,c.json")]);
        assert_eq!(set.revoked, Some("r".into()));
        assert_eq!(set.write.gap, Duration::from_secs(60));
    }

    #[test]
    fn a_capsule_goes_to_one_place() {
        let key = private_key(1);
        let key = (environment::PRIVATE_KEY, key.as_str());
        let both = [key, (environment::OUTPUT, "site"), (environment::BUCKET, "s3://bucket")];
        let error = settings("--beacon https://a.example", both).unwrap_err();
        assert!(error.to_string().contains("are both set"), "{error}");
        for argument in ["--out x", "--to s3://other"] {
            assert!(settings(&format!("--beacon https://a.example {argument}"), both).is_ok());
        }
    }

    #[test]
    fn without_a_cadence_and_a_host_no_lifetime_is_too_short() {
        let key = private_key(1);
        let variables = [(environment::PRIVATE_KEY, key.as_str())];
        let set = settings("--beacon https://a.example --lifetime 1ms", variables).unwrap();
        assert_eq!(set.write.gap, Duration::ZERO);
    }

    #[test]
    fn there_are_bounds_to_what_is_read_and_probed() {
        let key = private_key(1);
        let variables = [(environment::PRIVATE_KEY, key.as_str())];
        for (argument, count, fits) in [
            ("--include a.json", 64, true),
            ("--include a.json", 65, false),
            ("--probe a=https://a.example", 64, true),
            ("--probe a=https://a.example", 65, false),
        ] {
            let arguments = format!(
                "--include a.json {}",
                [argument].repeat(count - usize::from(argument.contains("inc"))).join(" ")
            );
            assert_eq!(settings(&arguments, variables).is_ok(), fits, "{count} times {argument}");
        }
    }
}
