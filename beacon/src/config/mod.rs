//! The operator's variables, read once into one typed value.

mod notice;
mod reader;
mod variable;

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::goop2::CircuitRelay;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits;
use rendezvous_protocol::live::LiveLimits;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::pacing::Pacing;
use rendezvous_protocol::rate_limit::RateLimit;
use rendezvous_protocol::roster::RosterLimits;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::ticket::TicketRules;
use rendezvous_protocol::time::DAY_MILLIS;

pub use notice::Notice;
use notice::{RELAY_FOR_NOBODY, TURN_URLS};
use reader::{Variables, list};
#[cfg(test)]
pub(crate) use variable::given;
pub use variable::{ConfigError, Kind, VARIABLES, Variable, list_text, near_miss, shown};

/// Holds everything that an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The community of a request that names none.
    pub default_community: Community,
    communities: Communities,
    known_communities: SortedSet<Community>,
    /// The only origins whose pages may announce; all, where absent.
    pub origins: Option<SortedSet<Origin>>,
    /// The only keys whose tickets are accepted; all, where absent.
    trusted_keys: Option<SortedSet<PublicKey>>,
    /// Keys whose tickets are refused; none, where absent.
    revoked_keys: Option<SortedSet<PublicKey>>,
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
    /// The only header that the client's address is read from; what the platform has, where absent.
    pub client_address_header: Option<String>,
    /// The origins at which this beacon is reached, the one for links first.
    pub external_urls: Vec<Origin>,
    /// What the operator tells everybody.
    pub notice: Notice,
    /// The communities of which the page and the info document speak. No other one is ever named there.
    pub listed_communities: SortedSet<Community>,
    /// How many connections there may be on `GET /live`.
    pub live_limits: LiveLimits,
    /// Frames after which a connection ends, so that its client opens another one; absent, it does not.
    pub live_frames: Option<u32>,
    /// Who is sent who is present.
    pub viewers: Viewers,
    /// Credentials for the relay in a day, counted in UTC.
    pub(crate) turn_per_day: u32,
    /// How long a change of a roster may wait until it is written.
    pub(crate) snapshot_interval: Duration,
    /// The doors by which messages come in for those who are not online.
    pub(crate) doors: SortedSet<MailDoor>,
    /// Mailboxes that there may be.
    pub(crate) mailboxes: u32,
    /// The relay of libp2p's that peers are told of.
    pub(crate) circuit_relay: Option<Arc<CircuitRelay>>,
}

/// Names a door by which messages come in for those who are not online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailDoor {
    /// Section 17 of the specification, under `/v1/`.
    V1,
    /// Section 19, for the users of retalk.
    Retalk,
    /// Section 22, for the users of hivemind-rendezvous. Not every host has it.
    Hivemind,
}

impl MailDoor {
    /// All of them, for a host that has each.
    pub const ALL: [Self; 3] = [Self::V1, Self::Retalk, Self::Hivemind];

    /// Holds those that are there on Cloudflare.
    pub const ON_CLOUDFLARE: [Self; 2] = [Self::V1, Self::Retalk];

    /// Returns the door's name in `DOORS`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Retalk => "retalk",
            Self::Hivemind => "hivemind",
        }
    }
}

/// Says who may see the list over `GET /live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewers {
    /// Everybody, as with `GET /peers`.
    Everybody,
    /// Connections that are bound to a claim that is listed.
    Bound,
}

const LISTED: &str = "at most 16 names of communities that are served, separated by commas";

const CIRCUIT_RELAY: &str = "up to 8 addresses of one relay, such as /ip4/203.0.113.9/tcp/4001/p2p/12D3KooW…, separated by commas, \
                             all with the same name at the end";

/// The most mailboxes: the object that counts them reads a row of each when it wakes up.
const MAILBOXES_MAX: u64 = 20_000;

/// Milliseconds for which a change of a roster may wait until it is written. A roster that is written more often than once a
/// second is written for its own sake, whole; peers announce themselves again in less than the most, and Cloudflare may take an
/// object out of memory that has slept for longer.
const SNAPSHOT_INTERVAL_MILLIS: std::ops::RangeInclusive<u64> = 1_000..=60_000;

/// The most communities that are listed: a reader of the info document may cost each of them a call of its object.
const LISTED_MAX: usize = 16;

/// Says which communities are served.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Communities {
    DefaultAlone,
    These(SortedSet<Community>),
    All,
}

impl Communities {
    fn serve(&self, community: &Community, default: &Community) -> bool {
        match self {
            Self::DefaultAlone => community == default,
            Self::These(served) => served.contains(community),
            Self::All => true,
        }
    }
}

impl Config {
    /// Returns the same, with a relay of libp2p's that everybody is told of.
    #[must_use]
    pub fn with_circuit_relay(mut self, relay: Arc<CircuitRelay>) -> Self {
        self.circuit_relay = Some(relay);
        self
    }

    /// Reads the configuration of a host that has the door for mailboxes of the project's own and no other. `variable` gives a
    /// variable's value; one that is absent has its default.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::parse_for(&[MailDoor::V1], variable)
    }

    /// Reads the configuration of a host that has these doors.
    ///
    /// # Errors
    /// [`ConfigError`], as with [`Config::parse`]. A door that the host has not is named by it.
    pub fn parse_for(doors: &[MailDoor], variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(variable);
        let notice = Notice::read(&variables)?;
        let announce_interval = variables.millis("ANNOUNCE_INTERVAL_MS", 0, DAY_MILLIS)?;
        let ticket_max_lifetime = variables.millis("TICKET_MAX_LIFETIME_MS", 1, DAY_MILLIS)?;
        // A peer that does as it is asked must neither come too soon nor after its ticket has ended.
        let earliest = variables.millis("ANNOUNCE_AFTER_MIN_MS", whole(announce_interval), DAY_MILLIS)?;
        let latest = variables.millis("ANNOUNCE_AFTER_MAX_MS", whole(earliest), whole(ticket_max_lifetime))?;
        let default_community =
            variables.one("DEFAULT_COMMUNITY", "1 to 64 of A-Z a-z 0-9 . _ -", |text| Community::new(text).ok())?;
        let network_requests_per_minute = variables.number("NETWORK_REQUESTS_PER_MINUTE", 1, 60_000_000)?;
        let address_requests_per_minute = variables.one(
            "ADDRESS_REQUESTS_PER_MINUTE",
            &format!("a whole number up to NETWORK_REQUESTS_PER_MINUTE, {network_requests_per_minute}, or nothing"),
            |text| match text {
                "" | "0" => Some(RateLimit::address_share(network_requests_per_minute)),
                number => number.parse().ok().filter(|number| (1..=network_requests_per_minute).contains(number)),
            },
        )?;
        let community = |name: &str| Community::new(name).ok();
        let communities =
            variables.one("COMMUNITIES", "names of communities, separated by commas, or * alone for all", |text| {
                match text {
                    "*" => Some(Communities::All),
                    names => {
                        list(names, community).map(|names| names.map_or(Communities::DefaultAlone, Communities::These))
                    }
                }
            })?;
        if notice.turn().is_some() && !matches!(communities, Communities::These(_)) {
            return Err(variables.error(TURN_URLS, RELAY_FOR_NOBODY));
        }
        let listed_communities = variables.list("LISTED_COMMUNITIES", LISTED, community)?.unwrap_or_default();
        if listed_communities.len() > LISTED_MAX
            || !listed_communities.iter().all(|community| communities.serve(community, &default_community))
        {
            return Err(variables.error("LISTED_COMMUNITIES", LISTED));
        }
        let mut known_communities = SortedSet::new();
        if let Communities::These(served) = &communities {
            known_communities.clone_from(served);
        } else {
            known_communities.insert(default_community.clone());
        }
        Ok(Self {
            default_community,
            communities,
            known_communities,
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
                announces_per_day: Some(variables.number("ANNOUNCES_PER_DAY", 0, u32::MAX.into())?)
                    .filter(|per_day| *per_day > 0),
            },
            answer_limit: variables.number("ANSWER_LIMIT", 1, limits::ROSTER_CAPACITY as u64)?,
            peers_max_age: variables.number("PEERS_MAX_AGE_SECONDS", 0, 60).map(Duration::from_secs)?,
            network_requests_per_minute,
            address_requests_per_minute,
            client_address_header: Some(variables.one(
                "CLIENT_ADDRESS_HEADER",
                "the name of a header, or nothing",
                |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then(|| text.to_owned()),
            )?)
            .filter(|name| !name.is_empty()),
            external_urls: variables.one(
                "EXTERNAL_URLS",
                "addresses of this beacon such as https://beacon.example, separated by commas and without a path",
                |text| match text {
                    "" => Some(Vec::new()),
                    urls => urls.split(',').map(external_url).collect(),
                },
            )?,
            notice,
            listed_communities,
            live_limits: LiveLimits {
                connections: variables.number("LIVE_CONNECTIONS", 0, 32_768)?,
                connections_per_household: variables.number("LIVE_CONNECTIONS_PER_HOUSEHOLD", 1, 32_768)?,
            },
            live_frames: variables.one(
                "LIVE_FRAMES",
                "a whole number, 0 for no end, or nothing for what suits the host",
                |text| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) },
            )?,
            viewers: variables.one("LIVE_VIEWERS", "all, or bound for bound peers alone", |text| match text {
                "all" => Some(Viewers::Everybody),
                "bound" => Some(Viewers::Bound),
                _ => None,
            })?,
            turn_per_day: variables.number("TURN_PER_DAY", 1, 1_000_000)?,
            snapshot_interval: variables.millis(
                "SNAPSHOT_INTERVAL_MS",
                *SNAPSHOT_INTERVAL_MILLIS.start(),
                *SNAPSHOT_INTERVAL_MILLIS.end(),
            )?,
            doors: variables
                .list("DOORS", &doors_expected(doors), |name| doors.iter().copied().find(|door| door.name() == name))?
                .unwrap_or_default(),
            mailboxes: variables.number("MAILBOXES", 0, MAILBOXES_MAX)?,
            circuit_relay: variables.one("CIRCUIT_RELAY_ADDRESSES", CIRCUIT_RELAY, |text| match text {
                "" => Some(None),
                addresses => CircuitRelay::new(addresses.split(',').map(|address| address.trim().to_owned()).collect())
                    .ok()
                    .map(|relay| Some(Arc::new(relay))),
            })?,
        })
    }

    /// Returns whether this beacon serves the community.
    pub fn serves(&self, community: &Community) -> bool {
        self.communities.serve(community, &self.default_community)
    }

    /// Returns the communities that are served and that the configuration names.
    pub(crate) const fn known_communities(&self) -> &SortedSet<Community> {
        &self.known_communities
    }

    /// Returns the communities that the configuration names, the default one among them.
    pub fn named_communities(&self) -> SortedSet<Community> {
        let mut named = self.known_communities.clone();
        named.insert(self.default_community.clone());
        named
    }

    /// Returns whether a door is open by which messages come in.
    pub fn opens(&self, door: MailDoor) -> bool {
        self.doors.contains(&door)
    }

    /// Returns whether the operator names the community in `COMMUNITIES`.
    pub(crate) fn names(&self, community: &Community) -> bool {
        matches!(&self.communities, Communities::These(named) if named.contains(community))
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

/// Says what `DOORS` has to be.
fn doors_expected(doors: &[MailDoor]) -> String {
    let names: Vec<_> = doors.iter().copied().map(MailDoor::name).collect();
    format!("{}, or nothing for no mailboxes", names.join(", "))
}

fn whole(duration: Duration) -> u64 {
    rendezvous_protocol::time::saturating_millis(duration)
}

/// Reads an address of this beacon, which has the one path that everything of the beacon is under.
fn external_url(text: &str) -> Option<Origin> {
    let text = text.trim();
    let origin = Origin::parse(text.strip_suffix('/').unwrap_or(text))?;
    (origin.as_str().starts_with("http://") || origin.as_str().starts_with("https://")).then_some(origin)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rendezvous_protocol::upkeep::SNAPSHOT_INTERVAL;

    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(given(variables))
    }

    #[test]
    fn the_defaults_are_those_of_wrangler_toml() {
        let shipped = include_str!("../../../wrangler.toml");
        let (_, vars) = shipped.split_once("[vars]").unwrap();
        let vars: Vec<_> = vars
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        assert_eq!(vars.len(), 37);
        assert_eq!(parse(&vars).unwrap(), parse(&[]).unwrap());
    }

    #[test]
    fn a_door_for_messages_is_open_unless_it_is_closed() {
        for (value, expected) in [(None, &["v1"][..]), (Some("v1, v1"), &["v1"]), (Some(" "), &[])] {
            let variables: Vec<_> = value.into_iter().map(|value| ("DOORS", value)).collect();
            let doors = parse(&variables).unwrap().doors;
            assert_eq!(doors.iter().map(|door| door.name()).collect::<Vec<_>>(), expected, "{value:?}");
        }
        assert_eq!(parse(&[]).unwrap().mailboxes, 1_000);
    }

    #[test]
    fn lists_are_split_at_commas() {
        let config = parse(&[("COMMUNITIES", "a, b")]).unwrap();
        assert!(config.serves(&Community::new("b").unwrap()));
        assert!(!config.serves(&Community::new("c").unwrap()));
        let config = parse(&[("ORIGINS", "https://a.example, HTTPS://B.example:443")]).unwrap();
        let expected = ["https://a.example", "https://b.example"].map(|origin| Origin::parse(origin).unwrap());
        assert_eq!(config.origins, Some(SortedSet::from_iter(expected)));
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
    fn the_defaults_are_the_limits_and_all_that_is_asked_for_is_described() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.announce_interval, config.answer_limit), (limits::ANNOUNCE_INTERVAL, limits::ANSWER_LIMIT));
        assert_eq!(config.ticket_max_lifetime, limits::TICKET_MAX_LIFETIME);
        assert_eq!(config.pacing.earliest, limits::ANNOUNCE_AFTER_MIN);
        assert_eq!(config.pacing.latest, limits::ANNOUNCE_AFTER_MAX);
        assert_eq!(config.snapshot_interval, SNAPSHOT_INTERVAL);
        assert_eq!(config.peers_max_age, limits::PEERS_MAX_AGE);
        assert_eq!(config.network_requests_per_minute, limits::NETWORK_REQUESTS_PER_MINUTE);
        let LiveLimits { connections, connections_per_household } = config.live_limits;
        assert_eq!(connections, limits::LIVE_CONNECTIONS);
        assert_eq!(connections_per_household, limits::LIVE_CONNECTIONS_PER_HOUSEHOLD);
        let asked = std::cell::RefCell::new(BTreeSet::new());
        Config::parse(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        })
        .unwrap();
        assert_eq!(asked.into_inner(), VARIABLES.map(|variable| variable.name.to_owned()).into());
    }

    #[test]
    fn a_beacon_is_reached_at_origins_in_the_order_in_which_they_are_given() {
        let config = parse(&[("EXTERNAL_URLS", "https://b.example/, http://A.example:8787")]).unwrap();
        assert_eq!(
            config.external_urls.iter().map(Origin::as_str).collect::<Vec<_>>(),
            ["https://b.example", "http://a.example:8787"]
        );
        assert_eq!(parse(&[]).unwrap().external_urls, []);
    }

    #[test]
    fn the_communities_that_are_listed_are_bounded() {
        assert!(LISTED.split_whitespace().any(|word| word == LISTED_MAX.to_string()));
        let all = ("COMMUNITIES", "*");
        let names = |count: usize| (0..count).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
        assert!(parse(&[all, ("LISTED_COMMUNITIES", &names(LISTED_MAX))]).is_ok());
        assert!(parse(&[all, ("LISTED_COMMUNITIES", &names(LISTED_MAX + 1))]).is_err());
    }

    #[test]
    fn the_communities_that_are_named_are_known() {
        for (value, expected) in [("", &["mainnet"][..]), ("*", &["mainnet"]), ("b,a", &["a", "b", "mainnet"])] {
            let named = parse(&[("COMMUNITIES", value)]).unwrap().named_communities();
            assert_eq!(named.iter().map(Community::as_str).collect::<Vec<_>>(), expected);
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
            ("SNAPSHOT_INTERVAL_MS", "999"),
            ("SNAPSHOT_INTERVAL_MS", "60001"),
            ("SNAPSHOT_INTERVAL_MS", "9.3"),
            ("ANSWER_LIMIT", "201"),
            ("PEERS_MAX_AGE_SECONDS", "5.0"),
            ("NETWORK_REQUESTS_PER_MINUTE", "0"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "601"),
            ("ADDRESS_REQUESTS_PER_MINUTE", "many"),
            ("CLIENT_ADDRESS_HEADER", "X Real IP"),
            ("EXTERNAL_URLS", "beacon.example"),
            ("EXTERNAL_URLS", "https://beacon.example/path"),
            ("EXTERNAL_URLS", "ftp://beacon.example"),
            ("EXTERNAL_URLS", "https://a.example,"),
            ("LISTED_COMMUNITIES", "mainnet,other"),
            ("LISTED_COMMUNITIES", "*"),
            ("SHOW_PEERS", "yes"),
            ("OPERATOR_NAME", "two\nlines"),
            ("OPERATOR_CONTACT", "javascript:alert(1)"),
            ("OPERATOR_CONTACT", "nobody"),
            ("OPERATOR_CONTACT", "https://a.example/\"onclick=\""),
            ("OPERATOR_RULES", "a\u{7}b"),
            ("OTHER_BEACONS", "https://a.example,"),
            ("OTHER_BEACONS", "a.example"),
            ("CAPSULES", "https://"),
            ("CAPSULES", "ftp://a.example/peers.json"),
            ("CAPSULE_KEYS", "AAAA"),
            ("DOORS", "v2"),
            ("DOORS", "v1,"),
            ("DOORS", "V1"),
            ("MAILBOXES", "20001"),
            ("MAILBOXES", "many"),
            ("CIRCUIT_RELAY_ADDRESSES", "/ip4/203.0.113.9/tcp/4001"),
            ("CIRCUIT_RELAY_ADDRESSES", "https://relay.example"),
            ("CIRCUIT_RELAY_ADDRESSES", ","),
        ] {
            let error = parse(&[(variable, value)]).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), (variable, value));
        }
    }
}
