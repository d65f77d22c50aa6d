//! What `publish` and `watch` work with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rendezvous_protocol::freshness::Schedule;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::merge::Shares;
use rendezvous_protocol::ticket::PeerId;
use rendezvous_protocol::watch::PAUSE_MIN;

use super::{
    BEACONS_MAX, DEFAULT_TIMEOUT, INCLUDES_MAX, SettingsError, TicketSettings, beacons_if_any, first, parse_millis,
    parse_peer_count, parse_public_key, private_key,
};
use crate::arguments::PublicationArguments;
use crate::beacon::Beacon;
use crate::bucket::Address;
use crate::environment::{self, Environment};
use crate::fetch::parse_url;
use crate::host::Host;
use crate::source::Source;

/// How long the command may take that runs afterwards.
const DEFAULT_RUN_TIMEOUT: Duration = Duration::from_secs(60);
/// Where static hosts look for it in most projects.
const DEFAULT_OUTPUT: &str = "public/capsules";
/// Fewest peers: an empty capsule helps nobody.
const DEFAULT_MIN_PEERS: usize = 1;
/// Most peers.
const DEFAULT_MAX_PEERS: usize = 100;
/// Life of a capsule: several runs of a schedule may be late or fail.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Where the capsule is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A directory.
    Directory(PathBuf),
    /// A bucket.
    Bucket(Address),
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

/// A peer that is put into the capsule only while something answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The peer.
    pub(crate) peer_id: PeerId,
    /// What has to answer.
    pub(crate) url: String,
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
    /// Fewest peers.
    pub(crate) min_peers: usize,
    /// Most peers.
    pub(crate) max_peers: usize,
    /// Fewest beacons with good tickets.
    pub(crate) min_beacons: usize,
    /// What becomes of places that are left when every beacon has its share.
    pub(crate) shares: Shares,
    /// Life of the capsule.
    pub(crate) lifetime: Duration,
    /// For how long the capsule that is there has to last to do without a new one.
    pub(crate) gap: Duration,
    /// Time for each beacon.
    pub(crate) timeout: Duration,
    /// What to run afterwards.
    pub(crate) run: Option<Run>,
    /// Whether it is this key's last capsule.
    pub(crate) farewell: bool,
}

impl PublishSettings {
    /// Puts them together.
    pub(crate) fn new(
        arguments: &PublicationArguments,
        pace: Pace,
        environment: &Environment,
    ) -> Result<Self, SettingsError> {
        let includes = includes(&arguments.includes, environment)?;
        if arguments.probes.len() > INCLUDES_MAX {
            return Err(SettingsError::TooManyProbes { count: arguments.probes.len() });
        }
        let beacons = beacons_if_any(&arguments.beacons, environment)?;
        if beacons.is_empty() && includes.is_empty() {
            return Err(SettingsError::NoBeacon);
        }
        let min_peers = first(arguments.min_peers, environment, environment::MIN_PEERS, parse_peer_count)?;
        let max_peers = first(arguments.max_peers, environment, environment::MAX_PEERS, parse_peer_count)?;
        let min_beacons = first(arguments.min_beacons, environment, environment::MIN_BEACONS, parse_beacon_count)?;
        let shares = first(arguments.shares, environment, environment::SHARES, parse_shares)?;
        let (min, max) = (min_peers.unwrap_or(DEFAULT_MIN_PEERS), max_peers.unwrap_or(DEFAULT_MAX_PEERS));
        if min > max {
            return Err(SettingsError::MinAboveMax { min, max });
        }
        let lifetime = first(arguments.lifetime, environment, environment::LIFETIME_MS, parse_millis)?;
        let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
        let timeout = first(arguments.timeout, environment, environment::TIMEOUT_MS, parse_millis)?;
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
            min_peers: min,
            max_peers: max,
            min_beacons: min_beacons.unwrap_or_default(),
            shares: shares.unwrap_or_default(),
            lifetime,
            gap: gap(pace, host, lifetime, environment)?,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            run,
            farewell: matches!(pace, Pace::Once { farewell: true, .. }),
        })
    }
}

/// The time until the next capsule reaches readers. Refuses a lifetime that does not span it, where it is known.
fn gap(
    pace: Pace,
    host: Option<Host>,
    lifetime: Duration,
    environment: &Environment,
) -> Result<Duration, SettingsError> {
    let (cadence, option) = match pace {
        Pace::Every(every) if every < PAUSE_MIN => return Err(SettingsError::TooOften { every }),
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
    schedule.check(lifetime).map_err(|error| SettingsError::LifetimeTooShort {
        error,
        host: host.name(),
        pace: option,
    })?;
    Ok(schedule.cadence.saturating_add(schedule.cache))
}

fn includes(arguments: &[String], environment: &Environment) -> Result<Vec<Source>, SettingsError> {
    let source = |text: &str| Ok::<_, String>(Source::new(text));
    let includes = if arguments.is_empty() {
        environment.list(environment::INCLUDE, source)?
    } else {
        arguments.iter().map(|text| Source::new(text)).collect()
    };
    match includes.len() {
        0..=INCLUDES_MAX => Ok(includes),
        count => Err(SettingsError::TooManyIncludes { count }),
    }
}

fn target(arguments: &PublicationArguments, environment: &Environment) -> Result<Target, SettingsError> {
    let directory = |path: &Path| Target::Directory(path.to_owned());
    if let Some(address) = &arguments.to {
        return Ok(Target::Bucket(address.clone()));
    }
    if let Some(path) = &arguments.out {
        return Ok(directory(path));
    }
    match (environment.value(environment::OUTPUT), environment.parsed(environment::BUCKET, Address::parse)?) {
        (Some(_), Some(_)) => Err(SettingsError::TwoDestinations),
        (None, Some(address)) => Ok(Target::Bucket(address)),
        (path, None) => Ok(directory(Path::new(path.unwrap_or(DEFAULT_OUTPUT)))),
    }
}

fn signing_key(arguments: &PublicationArguments, environment: &Environment) -> Result<PrivateKey, SettingsError> {
    let key = private_key(arguments.key.as_deref(), environment, environment::PRIVATE_KEY)?
        .ok_or(SettingsError::NoPrivateKey)?;
    let actual = key.public_key();
    match environment.parsed(environment::PUBLIC_KEY, parse_public_key)? {
        Some(expected) if expected != actual => Err(SettingsError::OtherPublicKey { expected, actual }),
        _ => Ok(key),
    }
}

/// A number of beacons.
pub(crate) fn parse_beacon_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=BEACONS_MAX).contains(count))
        .ok_or_else(|| format!("must be a number of beacons from 1 to {BEACONS_MAX}"))
}

/// What becomes of places that are left.
pub(crate) fn parse_shares(text: &str) -> Result<Shares, String> {
    match text {
        "equal" => Ok(Shares::Equal),
        "available" => Ok(Shares::Available),
        _ => Err("must be `equal` or `available`".to_owned()),
    }
}

/// `PEER_ID=URL`. A peerId may have a `=` in it too.
pub(crate) fn parse_probe(text: &str) -> Result<Probe, String> {
    const MUST: &str = "must be a peerId, `=` and an address, like my-server=https://my-server.example.org/healthz";
    let position = ["=https://", "=http://"].iter().filter_map(|scheme| text.find(scheme)).min().ok_or(MUST)?;
    let (peer_id, url) = text.split_at(position);
    let url = url.strip_prefix('=').unwrap_or(url);
    let peer_id = PeerId::new(peer_id).ok_or(MUST)?;
    parse_url(url).map_err(|error| format!("{MUST}: {error}"))?;
    Ok(Probe { peer_id, url: url.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;
    use rendezvous_protocol::key::PublicKey;
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
        let pace = Pace::Once { cadence: arguments.cadence, farewell: arguments.farewell };
        PublishSettings::new(&arguments.publication, pace, &Environment::from(variables))
    }

    #[test]
    fn defaults() {
        let key = private_key(1);
        let settings = settings("--beacon https://a.example", [(environment::PRIVATE_KEY, &key)]).unwrap();
        assert_eq!(settings.tickets.community.as_str(), "mainnet");
        assert_eq!(settings.target, Target::Directory("public/capsules".into()));
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
        assert_eq!(settings.target, Target::Directory("site".into()));
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
        assert_eq!(settings.target, Target::Directory("site".into()));
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
        assert_eq!((set.min_beacons, set.shares), (2, Shares::Available));
        assert_eq!(set.includes, ["a.json", "https://a.example/ticket"].map(Source::new));
        assert_eq!(set.revoked, Some("revoked.json".into()));
        assert_eq!(set.gap, Duration::from_secs(900));
        let arguments =
            "--out site --min-beacons 3 --shares equal --include b,c.json --revoked r --host none --cadence 1m";
        let set = settings(arguments, variables).unwrap();
        assert_eq!(set.target, Target::Directory("site".into()));
        assert_eq!((set.min_beacons, set.shares), (3, Shares::Equal));
        assert_eq!(set.includes, [Source::new("b,c.json")]);
        assert_eq!(set.revoked, Some("r".into()));
        assert_eq!(set.gap, Duration::from_secs(60));
    }

    #[test]
    fn a_capsule_goes_to_one_place() {
        let key = private_key(1);
        let key = (environment::PRIVATE_KEY, key.as_str());
        let both = [key, (environment::OUTPUT, "site"), (environment::BUCKET, "s3://bucket")];
        let error = settings("--beacon https://a.example", both).unwrap_err();
        assert!(matches!(error, SettingsError::TwoDestinations));
        for argument in ["--out x", "--to s3://other"] {
            assert!(settings(&format!("--beacon https://a.example {argument}"), both).is_ok());
        }
    }

    #[test]
    fn without_a_cadence_and_a_host_no_lifetime_is_too_short() {
        let key = private_key(1);
        let variables = [(environment::PRIVATE_KEY, key.as_str())];
        let set = settings("--beacon https://a.example --lifetime 1ms", variables).unwrap();
        assert_eq!(set.gap, Duration::ZERO);
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

    #[test]
    fn a_probe_is_a_peer_and_an_address() {
        for (text, peer_id, url) in [
            ("a=https://a.example/", "a", "https://a.example/"),
            ("a=b==http://a.example/?x=https://b.example", "a=b=", "http://a.example/?x=https://b.example"),
        ] {
            let probe = parse_probe(text).unwrap();
            assert_eq!((probe.peer_id.as_str(), probe.url.as_str()), (peer_id, url));
        }
        for text in ["", "a", "a=", "=https://a.example", "a=ftp://a.example", "a=https://", "a=https://u:p@a.example"]
        {
            let error = parse_probe(text).unwrap_err();
            assert!(error.starts_with("must be a peerId") && !error.contains("u:p"), "{error}");
        }
    }
}
