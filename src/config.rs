//! The variables of `wrangler.toml`, read once into one typed value.

use std::collections::BTreeSet;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits;
use rendezvous_protocol::pacing::Pacing;
use rendezvous_protocol::roster::RosterLimits;
use rendezvous_protocol::ticket::TicketRules;

/// Everything that an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The community of a request that names none.
    pub(crate) default_community: Community,
    /// The only communities served; all, where absent.
    communities: Option<BTreeSet<Community>>,
    /// The only keys whose tickets are accepted; all, where absent.
    trusted_keys: Option<BTreeSet<PublicKey>>,
    /// Keys whose tickets are refused; none, where absent.
    revoked_keys: Option<BTreeSet<PublicKey>>,
    ticket_max_lifetime: Duration,
    announce_interval: Duration,
    /// When a peer is asked to announce again.
    pub(crate) pacing: Pacing,
    /// Peers in one answer.
    pub(crate) answer_limit: usize,
    /// How long a list may be served from caches.
    pub(crate) peers_max_age: Duration,
    pub(crate) network_requests_per_minute: u32,
    /// The header with the client's address where `CF-Connecting-IP` is absent.
    pub(crate) client_address_header: Option<String>,
}

/// A variable whose value is not of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    /// Its name in `[vars]`.
    pub(crate) variable: &'static str,
    /// Its value.
    pub(crate) value: String,
    /// What it should be.
    pub(crate) expected: String,
}

impl Config {
    /// Reads the configuration. `variable` gives a variable's value; one that is absent has its default.
    pub(crate) fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(variable);
        let announce_interval = variables.millis("ANNOUNCE_INTERVAL_MS", limits::ANNOUNCE_INTERVAL, 0, DAY)?;
        let ticket_max_lifetime = variables.millis("TICKET_MAX_LIFETIME_MS", limits::TICKET_MAX_LIFETIME, 1, DAY)?;
        // A peer that does as it is asked must neither come too soon nor after its ticket has ended.
        let earliest =
            variables.millis("ANNOUNCE_AFTER_MIN_MS", limits::ANNOUNCE_AFTER_MIN, whole(announce_interval), DAY)?;
        let latest = variables.millis(
            "ANNOUNCE_AFTER_MAX_MS",
            limits::ANNOUNCE_AFTER_MAX,
            whole(earliest),
            whole(ticket_max_lifetime),
        )?;
        Ok(Self {
            default_community: variables.one(
                "DEFAULT_COMMUNITY",
                "mainnet",
                "1 to 64 of A-Z a-z 0-9 . _ -",
                |text| Community::new(text).ok(),
            )?,
            communities: variables
                .list("COMMUNITIES", "names of communities, separated by commas", |text| Community::new(text).ok())?,
            trusted_keys: variables.keys("TRUSTED_TICKET_KEYS")?,
            revoked_keys: variables.keys("REVOKED_TICKET_KEYS")?,
            ticket_max_lifetime,
            announce_interval,
            pacing: Pacing {
                earliest,
                latest,
                ticket_max_lifetime,
                announces_per_day: Some(variables.number("ANNOUNCES_PER_DAY", 0, 0, u32::MAX)?)
                    .filter(|budget| *budget > 0),
            },
            answer_limit: variables.number("ANSWER_LIMIT", limits::ANSWER_LIMIT, 1, limits::ROSTER_CAPACITY)?,
            peers_max_age: Duration::from_secs(variables.number(
                "PEERS_MAX_AGE_SECONDS",
                limits::PEERS_MAX_AGE.as_secs(),
                0,
                60,
            )?),
            network_requests_per_minute: variables.number(
                "NETWORK_REQUESTS_PER_MINUTE",
                limits::NETWORK_REQUESTS_PER_MINUTE,
                1,
                60_000_000,
            )?,
            client_address_header: Some(variables.one(
                "CLIENT_ADDRESS_HEADER",
                "",
                "the name of a header, or nothing",
                |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then(|| text.to_owned()),
            )?)
            .filter(|name| !name.is_empty()),
        })
    }

    /// Whether this beacon serves the community.
    pub(crate) fn serves(&self, community: &Community) -> bool {
        self.communities.as_ref().is_none_or(|served| served.contains(community))
    }

    /// What is asked of a ticket for this community.
    pub(crate) fn ticket_rules<'a>(&'a self, community: &'a Community) -> TicketRules<'a> {
        TicketRules {
            community,
            max_lifetime: self.ticket_max_lifetime,
            trusted_keys: self.trusted_keys.as_ref(),
            revoked_keys: self.revoked_keys.as_ref(),
        }
    }

    pub(crate) fn roster_limits(&self) -> RosterLimits {
        RosterLimits {
            announce_interval: self.announce_interval,
            ticket_max_lifetime: self.ticket_max_lifetime,
            ..RosterLimits::default()
        }
    }
}

const DAY: u64 = 86_400_000;

fn whole(duration: Duration) -> u64 {
    rendezvous_protocol::time::saturating_millis(duration)
}

struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn one<T>(
        &self,
        variable: &'static str,
        default: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = (self.0)(variable).unwrap_or_else(|| default.to_owned());
        parse(value.trim()).ok_or_else(|| ConfigError { variable, value, expected: expected.to_owned() })
    }

    /// A comma-separated list; none, where it is empty.
    fn list<T: Ord>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<BTreeSet<T>>, ConfigError> {
        self.one(variable, "", expected, |text| {
            if text.is_empty() {
                return Some(None);
            }
            let mut items = BTreeSet::new();
            for item in text.split(',') {
                items.insert(parse(item.trim())?);
            }
            Some(Some(items))
        })
    }

    fn keys(&self, variable: &'static str) -> Result<Option<BTreeSet<PublicKey>>, ConfigError> {
        self.list(variable, "public keys in base64, separated by commas", |text| PublicKey::from_text(text).ok())
    }

    fn number<T>(&self, variable: &'static str, default: T, least: T, most: T) -> Result<T, ConfigError>
    where
        T: std::str::FromStr + std::fmt::Display + PartialOrd,
    {
        let expected = format!("a whole number from {least} to {most}");
        self.one(variable, &default.to_string(), &expected, |text| {
            text.parse().ok().filter(|number| (&least..=&most).contains(&number))
        })
    }

    fn millis(
        &self,
        variable: &'static str,
        default: Duration,
        least: u64,
        most: u64,
    ) -> Result<Duration, ConfigError> {
        self.number(variable, whole(default), least, most).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_defaults_are_those_of_wrangler_toml() {
        let shipped = include_str!("../wrangler.toml");
        let (_, vars) = shipped.split_once("[vars]").unwrap();
        let vars: Vec<_> = vars
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        assert_eq!(vars.len(), 13);
        assert_eq!(parse(&vars).unwrap(), parse(&[]).unwrap());
    }

    #[test]
    fn lists_are_split_at_commas() {
        let config = parse(&[("COMMUNITIES", "a, b")]).unwrap();
        assert!(config.serves(&Community::new("b").unwrap()));
        assert!(!config.serves(&Community::new("c").unwrap()));
        assert!(parse(&[]).unwrap().serves(&Community::new("c").unwrap()));
    }

    #[test]
    fn a_bad_value_is_named() {
        for (variable, value) in [
            ("DEFAULT_COMMUNITY", ""),
            ("COMMUNITIES", "a,,b"),
            ("COMMUNITIES", "a b"),
            ("TRUSTED_TICKET_KEYS", "AAAA"),
            ("REVOKED_TICKET_KEYS", "AAAA"),
            ("TICKET_MAX_LIFETIME_MS", "0"),
            ("TICKET_MAX_LIFETIME_MS", "3m"),
            ("ANNOUNCE_INTERVAL_MS", "-1"),
            ("ANNOUNCE_AFTER_MIN_MS", "44999"),
            ("ANNOUNCE_AFTER_MAX_MS", "44999"),
            ("ANNOUNCE_AFTER_MAX_MS", "180001"),
            ("ANNOUNCES_PER_DAY", "unlimited"),
            ("ANSWER_LIMIT", "201"),
            ("PEERS_MAX_AGE_SECONDS", "5.0"),
            ("NETWORK_REQUESTS_PER_MINUTE", "0"),
            ("CLIENT_ADDRESS_HEADER", "X Real IP"),
        ] {
            let error = parse(&[(variable, value)]).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), (variable, value));
        }
    }
}
