//! The operator's variables, read once into one typed value.

use std::collections::BTreeSet;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::pacing::Pacing;
use rendezvous_protocol::rate_limit::RateLimit;
use rendezvous_protocol::roster::RosterLimits;
use rendezvous_protocol::ticket::TicketRules;

/// Holds everything that an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The community of a request that names none.
    pub default_community: Community,
    communities: Communities,
    /// The only origins whose pages may announce; all, where absent.
    pub origins: Option<BTreeSet<Origin>>,
    /// The only keys whose tickets are accepted; all, where absent.
    trusted_keys: Option<BTreeSet<PublicKey>>,
    /// Keys whose tickets are refused; none, where absent.
    revoked_keys: Option<BTreeSet<PublicKey>>,
    ticket_max_lifetime: Duration,
    announce_interval: Duration,
    /// When a peer is asked to announce again.
    pub pacing: Pacing,
    /// Peers in one answer.
    pub answer_limit: usize,
    /// How long a list may be served from caches.
    pub peers_max_age: Duration,
    /// Requests a minute that one IPv4 /24 or IPv6 /56 may make.
    pub network_requests_per_minute: u32,
    /// Requests a minute that one address, in IPv6 a /64, may make.
    pub address_requests_per_minute: u32,
    /// The only header that the client's address is read from; Cloudflare's own, where absent.
    pub client_address_header: Option<String>,
}

/// Says which communities are served.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Communities {
    DefaultAlone,
    These(BTreeSet<Community>),
    All,
}

/// Names a variable whose value is not of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} is {value:?}: it must be {expected}")]
pub struct ConfigError {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What it should be.
    pub expected: String,
}

impl Config {
    /// Reads the configuration. `variable` gives a variable's value; one that is absent has its default.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
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
        let default_community =
            variables.one("DEFAULT_COMMUNITY", "mainnet", "1 to 64 of A-Z a-z 0-9 . _ -", |text| {
                Community::new(text).ok()
            })?;
        let network_requests_per_minute =
            variables.number("NETWORK_REQUESTS_PER_MINUTE", limits::NETWORK_REQUESTS_PER_MINUTE, 1, 60_000_000)?;
        let address_requests_per_minute = variables.one(
            "ADDRESS_REQUESTS_PER_MINUTE",
            "",
            &format!("a whole number up to NETWORK_REQUESTS_PER_MINUTE, {network_requests_per_minute}, or nothing"),
            |text| match text {
                "" | "0" => Some(RateLimit::address_share(network_requests_per_minute)),
                number => number.parse().ok().filter(|number| (1..=network_requests_per_minute).contains(number)),
            },
        )?;
        Ok(Self {
            default_community,
            communities: variables.one(
                "COMMUNITIES",
                "",
                "names of communities, separated by commas, or * alone for all",
                |text| match text {
                    "*" => Some(Communities::All),
                    names => list(names, |name| Community::new(name).ok())
                        .map(|names| names.map_or(Communities::DefaultAlone, Communities::These)),
                },
            )?,
            origins: variables.list(
                "ORIGINS",
                "origins such as https://app.example, separated by commas",
                Origin::parse,
            )?,
            trusted_keys: variables.keys("TRUSTED_TICKET_KEYS")?,
            revoked_keys: variables.keys("REVOKED_TICKET_KEYS")?,
            ticket_max_lifetime,
            announce_interval,
            pacing: Pacing {
                earliest,
                latest,
                ticket_max_lifetime,
                announces_per_day: Some(variables.number("ANNOUNCES_PER_DAY", 0, 0, u32::MAX)?)
                    .filter(|per_day| *per_day > 0),
            },
            answer_limit: variables.number("ANSWER_LIMIT", limits::ANSWER_LIMIT, 1, limits::ROSTER_CAPACITY)?,
            peers_max_age: Duration::from_secs(variables.number(
                "PEERS_MAX_AGE_SECONDS",
                limits::PEERS_MAX_AGE.as_secs(),
                0,
                60,
            )?),
            network_requests_per_minute,
            address_requests_per_minute,
            client_address_header: Some(variables.one(
                "CLIENT_ADDRESS_HEADER",
                "",
                "the name of a header, or nothing",
                |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then(|| text.to_owned()),
            )?)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("CF-Connecting-IP")),
        })
    }

    /// Returns whether this beacon serves the community.
    pub fn serves(&self, community: &Community) -> bool {
        match &self.communities {
            Communities::DefaultAlone => *community == self.default_community,
            Communities::These(served) => served.contains(community),
            Communities::All => true,
        }
    }

    /// Returns whether communities are served that nobody but their own peers has ever heard of.
    pub const fn serves_all(&self) -> bool {
        matches!(self.communities, Communities::All)
    }

    /// Returns whether this community is one that anybody may have invented.
    pub fn is_open(&self, community: &Community) -> bool {
        self.serves_all() && *community != self.default_community
    }

    /// Returns what is asked of a ticket for this community.
    pub fn ticket_rules<'a>(&'a self, community: &'a Community) -> TicketRules<'a> {
        TicketRules {
            community,
            max_lifetime: self.ticket_max_lifetime,
            trusted_keys: self.trusted_keys.as_ref(),
            revoked_keys: self.revoked_keys.as_ref(),
        }
    }

    /// Returns the limits of every community's roster.
    pub fn roster_limits(&self) -> RosterLimits {
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

/// Reads a comma-separated list; none, where it is empty.
#[expect(clippy::option_option, reason = "a list that cannot be read is not a list that is not there")]
fn list<T: Ord>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<BTreeSet<T>>> {
    if text.is_empty() {
        return Some(None);
    }
    let mut items = BTreeSet::new();
    for item in text.split(',') {
        // One by one, because collecting them would sort them first, by 5 kB of code for each kind.
        items.insert(parse(item.trim())?);
    }
    Some(Some(items))
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

    /// Reads a comma-separated list; none, where it is empty.
    fn list<T: Ord>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<BTreeSet<T>>, ConfigError> {
        self.one(variable, "", expected, |text| list(text, parse))
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
        let shipped = include_str!("../../wrangler.toml");
        let (_, vars) = shipped.split_once("[vars]").unwrap();
        let vars: Vec<_> = vars
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        assert_eq!(vars.len(), 15);
        assert_eq!(parse(&vars).unwrap(), parse(&[]).unwrap());
    }

    #[test]
    fn lists_are_split_at_commas() {
        let config = parse(&[("COMMUNITIES", "a, b")]).unwrap();
        assert!(config.serves(&Community::new("b").unwrap()));
        assert!(!config.serves(&Community::new("c").unwrap()));
        let config = parse(&[("ORIGINS", "https://a.example, HTTPS://B.example:443")]).unwrap();
        let expected = ["https://a.example", "https://b.example"].map(|origin| Origin::parse(origin).unwrap());
        assert_eq!(config.origins, Some(BTreeSet::from(expected)));
        assert_eq!(parse(&[]).unwrap().origins, None);
    }

    #[test]
    fn the_default_community_alone_is_served_or_those_named_or_all() {
        let [default, other] = ["mainnet", "other"].map(|name| Community::new(name).unwrap());
        for (value, serves_default, serves_other, other_is_open) in [
            ("", true, false, false),
            ("other", false, true, false),
            ("mainnet, other", true, true, false),
            (" * ", true, true, true),
        ] {
            let config = parse(&[("COMMUNITIES", value)]).unwrap();
            assert!(!config.is_open(&default), "{value}");
            assert_eq!(config.serves(&default), serves_default, "{value}");
            assert_eq!((config.serves(&other), config.is_open(&other)), (serves_other, other_is_open), "{value}");
        }
    }

    #[test]
    fn an_address_has_a_quarter_of_its_networks_requests_unless_it_is_said_otherwise() {
        for (network, address, expected) in
            [("600", "", 150), ("600", "0", 150), ("3", "", 1), ("600", "600", 600), ("600", "20", 20)]
        {
            let vars = [("NETWORK_REQUESTS_PER_MINUTE", network), ("ADDRESS_REQUESTS_PER_MINUTE", address)];
            assert_eq!(parse(&vars).unwrap().address_requests_per_minute, expected);
        }
    }

    #[test]
    fn cloudflares_own_header_is_the_default_however_it_is_written() {
        for (value, expected) in [("", None), ("cf-connecting-ip", None), ("X-Real-IP", Some("X-Real-IP"))] {
            let config = parse(&[("CLIENT_ADDRESS_HEADER", value)]).unwrap();
            assert_eq!(config.client_address_header.as_deref(), expected);
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        for (variable, value) in [
            ("DEFAULT_COMMUNITY", ""),
            ("COMMUNITIES", "a,,b"),
            ("COMMUNITIES", "a b"),
            ("COMMUNITIES", "*,a"),
            ("COMMUNITIES", "a,*"),
            ("ORIGINS", "https://a.example/"),
            ("ORIGINS", "https://*.a.example"),
            ("ORIGINS", "a.example"),
            ("ORIGINS", "https://a.example,,https://b.example"),
            ("ORIGINS", "null"),
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
            ("ADDRESS_REQUESTS_PER_MINUTE", "601"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "many"),
            ("CLIENT_ADDRESS_HEADER", "X Real IP"),
        ] {
            let error = parse(&[(variable, value)]).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), (variable, value));
        }
    }
}
