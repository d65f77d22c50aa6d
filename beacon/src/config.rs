//! The operator's variables, read once into one typed value.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::goop2::CircuitRelay;
use rendezvous_protocol::key::{KeyError, PublicKey};
use rendezvous_protocol::limits;
use rendezvous_protocol::live::LiveLimits;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::pacing::Pacing;
use rendezvous_protocol::rate_limit::RateLimit;
use rendezvous_protocol::roster::RosterLimits;
use rendezvous_protocol::safe_text;
use rendezvous_protocol::sorted_set::SortedSet;
use rendezvous_protocol::ticket::TicketRules;
use rendezvous_protocol::time::DAY_MILLIS;

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
    /// Section 19, for the users of retalk. Not every host has it.
    Retalk,
    /// Section 22, for the users of hivemind-rendezvous. Not every host has it.
    Hivemind,
}

impl MailDoor {
    /// All of them, for a host that has each.
    pub const ALL: [Self; 3] = [Self::V1, Self::Retalk, Self::Hivemind];

    /// Returns the door's name in `DOORS`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Retalk => "retalk",
            Self::Hivemind => "hivemind",
        }
    }
}

/// Holds what the operator tells everybody, the password of who is told more, and the relay of peers with the secret that
/// opens it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Notice([String; NOTICE.len()]);

impl Notice {
    /// Returns the name of whoever runs the beacon, how to reach them, the rules of the place, and three lists, separated by
    /// commas, in which nothing needs an escape in JSON: other beacons for the same communities, capsules, and the public
    /// keys in base64 that sign these. Each is empty where nothing is said.
    pub(crate) fn texts(&self) -> [&str; 6] {
        let Self([name, contact, rules, beacons, capsules, capsule_keys, _, _, _, _]) = self;
        [name, contact, rules, beacons, capsules, capsule_keys]
    }

    /// Returns whether the page shows who is present in the listed communities.
    pub(crate) fn shows_peers(&self) -> bool {
        let Self([.., shows_peers, _, _, _]) = self;
        shows_peers == "on"
    }

    /// Returns the password of `/admin`, which is not there without one.
    pub fn admin_password(&self) -> Option<&str> {
        let Self([.., password, _, _]) = self;
        Some(password.as_str()).filter(|password| !password.is_empty())
    }

    /// Returns the addresses of the relay, separated by commas, in which nothing needs an escape in JSON, and the secret that
    /// it shares.
    pub(crate) fn turn(&self) -> Option<(&str, &str)> {
        let Self([.., urls, secret]) = self;
        (!urls.is_empty()).then_some((urls, secret))
    }
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password and the secret: they are for nobody to read.
        formatter.debug_tuple("Notice").field(&self.texts()).finish_non_exhaustive()
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

/// The variables of the service, in the order in which they are explained.
pub const VARIABLES: [Variable; 35] = [
    Variable::new("DEFAULT_COMMUNITY", Kind::Text, "mainnet"),
    Variable::new("COMMUNITIES", Kind::List, ""),
    Variable::new("ORIGINS", Kind::List, ""),
    Variable::new("EXTERNAL_URLS", Kind::List, ""),
    Variable::new("TRUSTED_TICKET_KEYS", Kind::List, ""),
    Variable::new("REVOKED_TICKET_KEYS", Kind::List, ""),
    Variable::new("TICKET_MAX_LIFETIME_MS", Kind::Number, "180000"),
    Variable::new("ANNOUNCE_INTERVAL_MS", Kind::Number, "45000"),
    Variable::new("ANNOUNCE_AFTER_MIN_MS", Kind::Number, "45000"),
    Variable::new("ANNOUNCE_AFTER_MAX_MS", Kind::Number, "75000"),
    Variable::new("ANNOUNCES_PER_DAY", Kind::Number, "0"),
    Variable::new("ANSWER_LIMIT", Kind::Number, "50"),
    Variable::new("PEERS_MAX_AGE_SECONDS", Kind::Number, "5"),
    Variable::new("NETWORK_REQUESTS_PER_MINUTE", Kind::Number, "600"),
    Variable::new("ADDRESS_REQUESTS_PER_MINUTE", Kind::Number, ""),
    Variable::new("CLIENT_ADDRESS_HEADER", Kind::Text, ""),
    Variable::new("LISTED_COMMUNITIES", Kind::List, ""),
    Variable::new("SHOW_PEERS", Kind::Text, "off"),
    Variable::new("OPERATOR_NAME", Kind::Text, ""),
    Variable::new("OPERATOR_CONTACT", Kind::Text, ""),
    Variable::new("OPERATOR_RULES", Kind::Text, ""),
    Variable::new("OTHER_BEACONS", Kind::List, ""),
    Variable::new("CAPSULES", Kind::List, ""),
    Variable::new("CAPSULE_KEYS", Kind::List, ""),
    Variable::new("ADMIN_PASSWORD", Kind::Secret, ""),
    Variable::new("LIVE_CONNECTIONS", Kind::Number, "512"),
    Variable::new("LIVE_CONNECTIONS_PER_HOUSEHOLD", Kind::Number, "16"),
    Variable::new("LIVE_FRAMES", Kind::Number, ""),
    Variable::new("LIVE_VIEWERS", Kind::Text, "all"),
    Variable::new("TURN_URLS", Kind::List, ""),
    Variable::new("TURN_SECRET", Kind::Secret, ""),
    Variable::new("TURN_PER_DAY", Kind::Number, "1000"),
    Variable::new("DOORS", Kind::List, "v1"),
    Variable::new("MAILBOXES", Kind::Number, "1000"),
    Variable::new("CIRCUIT_RELAY_ADDRESSES", Kind::List, ""),
];

const PUBLIC_KEYS: &str = "public keys in base64, separated by commas";
const ADDRESSES: &str = "at most 32 addresses such as https://a.example, separated by commas";
const LISTED: &str = "at most 16 names of communities that are served, separated by commas";
const NAME: &str = "a line of at most 100 bytes";
const CONTACT: &str = "an address such as https://a.example or name@a.example";
const RULES: &str = "an address such as https://a.example, or a text of at most 2000 bytes";
const PASSWORD: &str = "of 16 to 200 printable ASCII characters, or not be set";

const RELAYS: &str = "at most 8 addresses such as turn:turn.example:3478?transport=udp, separated by commas";
const RELAY_FOR_NOBODY: &str = "empty unless COMMUNITIES names communities, whose peers alone are given a relay";
const WITH_RELAYS: &str = "set where the other of TURN_URLS and TURN_SECRET is";

const CIRCUIT_RELAY: &str = "up to 8 addresses of one relay, such as /ip4/203.0.113.9/tcp/4001/p2p/12D3KooW…, separated by commas, \
                             all with the same name at the end";

/// The most addresses in `TURN_URLS`.
const RELAYS_MAX: usize = 8;

/// The most mailboxes: the object that counts them reads a row of each when it wakes up.
const MAILBOXES_MAX: u64 = 20_000;

/// The most communities that are listed: a reader of the info document may cost each of them a call of its object.
const LISTED_MAX: usize = 16;

/// The most addresses in `OTHER_BEACONS` and in `CAPSULES`.
const ADDRESSES_MAX: usize = 32;

/// Bytes of an address that is told to everybody.
const ADDRESS_MAX_BYTES: usize = 300;

/// Bytes of the operator's name.
const NAME_MAX_BYTES: usize = 100;

/// Bytes of the operator's rules, which every visitor of the page is sent.
const RULES_MAX_BYTES: usize = 2_000;

/// Bytes of the password of `/admin`. At ten attempts a minute 16 random letters are never guessed.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 16..=200;

/// Describes a variable for whoever reads it out of something else than text: a file, a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// The value where nothing is said; empty where that is nothing at all.
    pub default: &'static str,
}

/// What the value of a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// Texts, as text separated by commas.
    List,
    /// A text that nothing prints.
    Secret,
}

impl Variable {
    /// Describes a variable.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self { name, kind, default }
    }
}

/// Writes a list as the text of a variable, or returns the item that cannot be in one: one that is empty, or that would
/// be two.
///
/// # Errors
/// The item.
pub fn list_text<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<String, &'a str> {
    let items: Vec<_> = items.into_iter().collect();
    match items.iter().find(|item| item.trim().is_empty() || item.contains(',')) {
        Some(item) => Err(item),
        None => Ok(items.join(",")),
    }
}

/// Returns the variable that a name which is not one was almost certainly meant to be: a letter or two more, fewer, or
/// others, or the other number. Short names, which are those of many programs, have to be one letter away; the shortest
/// have no near misses at all, for `HOME` is not a misspelt `HOST`.
pub fn near_miss(name: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let singular = |name: &str| {
        name.strip_suffix("IES").map_or_else(|| name.trim_end_matches('S').to_owned(), |stem| format!("{stem}Y"))
    };
    let is_near = |known: &&'static str| {
        let most = match known.len() {
            ..=5 => 0,
            6..=9 => 1,
            _ => 2,
        };
        strsim::damerau_levenshtein(known, &upper) <= most || (most > 0 && singular(known) == singular(&upper))
    };
    let known: Vec<_> = known.into_iter().collect();
    if known.contains(&name) { None } else { known.into_iter().find(is_near) }
}

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

/// Names a variable whose value is not of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} is {}: it must be {expected}", shown(value))]
pub struct ConfigError {
    /// Its name.
    pub variable: &'static str,
    /// Its value; in the place of a secret what it is.
    pub value: String,
    /// What it should be.
    pub expected: String,
}

/// Quotes a value that is refused, unless a private key is in it, alone or in a list, or a user's name or password: whoever
/// reads the log need not be who may have these.
pub fn shown(value: &str) -> String {
    let is_private = |text: &str| matches!(PublicKey::from_text(text), Err(KeyError::Private));
    let has_private = |item: &str| is_private(item) || item.split_once('=').is_some_and(|(_, key)| is_private(key));
    if is_private(value) || value.split(',').any(has_private) {
        return "not shown, because a private key is in it".to_owned();
    }
    if safe_text::is_secret(value) {
        return "not shown, because a key, or a user's name or password, may be in it".to_owned();
    }
    format!("{value:?}")
}

impl Config {
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
        let notice = variables.notice()?;
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
            doors: variables
                .list("DOORS", &doors_expected(doors), |name| doors.iter().copied().find(|door| door.name() == name))?
                .unwrap_or_default(),
            mailboxes: variables.number("MAILBOXES", 0, MAILBOXES_MAX)?,
            circuit_relay: variables.one("CIRCUIT_RELAY_ADDRESSES", CIRCUIT_RELAY, |text| match text {
                "" => Some(None),
                addresses => CircuitRelay::new(addresses.split(',').map(|address| address.trim().to_owned()))
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

/// Returns whether a text is an address that a page may link to. Whether anything is there only asking would tell.
fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    text.len() <= ADDRESS_MAX_BYTES
        && rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        // A user's name or password is for nobody else, also where somebody has put several addresses in one.
        && text.split("://").skip(1).all(|rest| !rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@'))
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte))
}

/// Returns whether a text may be an address of e-mail. Only sending to it would tell whether it is one.
fn is_mail_address(text: &str) -> bool {
    text.len() <= ADDRESS_MAX_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._%+-@".contains(&byte))
        && text.split('@').filter(|part| !part.is_empty()).count() == 2
        && text.bytes().filter(|byte| *byte == b'@').count() == 1
}

/// Returns whether a text is an address of a relay, or of a server that tells addresses (RFC 7064, RFC 7065).
fn is_relay(text: &str) -> bool {
    let (address, transport) = text.split_once('?').unwrap_or((text, "transport=udp"));
    let host = ["turn:", "turns:", "stun:", "stuns:"].into_iter().find_map(|scheme| address.strip_prefix(scheme));
    text.len() <= ADDRESS_MAX_BYTES
        && host.is_some_and(|host| !host.is_empty())
        && address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        && matches!(transport, "transport=udp" | "transport=tcp")
}

/// Names a variable, says what it has to be, and whether a text that is not empty is that.
type Rule = (&'static str, &'static str, fn(&str) -> bool);

/// The variables of what people are told.
const NOTICE: [Rule; 10] = [
    ("OPERATOR_NAME", NAME, |text| is_plain(text, NAME_MAX_BYTES) && !text.contains('\n')),
    ("OPERATOR_CONTACT", CONTACT, |text| is_web_address(text) || is_mail_address(text)),
    ("OPERATOR_RULES", RULES, |text| is_plain(text, RULES_MAX_BYTES)),
    ("OTHER_BEACONS", ADDRESSES, are_addresses),
    ("CAPSULES", ADDRESSES, are_addresses),
    (CAPSULE_KEYS, PUBLIC_KEYS, |text| text.split(',').all(|key| PublicKey::from_text(key.trim()).is_ok())),
    (SHOW_PEERS, "on or off", |text| text == "on"),
    (ADMIN_PASSWORD, PASSWORD, is_password),
    (TURN_URLS, RELAYS, |text| {
        text.split(',').count() <= RELAYS_MAX && text.split(',').all(|url| is_relay(url.trim()))
    }),
    (TURN_SECRET, PASSWORD, is_password),
];

const CAPSULE_KEYS: &str = "CAPSULE_KEYS";
const SHOW_PEERS: &str = "SHOW_PEERS";
const ADMIN_PASSWORD: &str = "ADMIN_PASSWORD";
const TURN_URLS: &str = "TURN_URLS";
const TURN_SECRET: &str = "TURN_SECRET";

fn are_addresses(text: &str) -> bool {
    text.split(',').count() <= ADDRESSES_MAX && text.split(',').all(|address| is_web_address(address.trim()))
}

fn is_password(text: &str) -> bool {
    PASSWORD_BYTES.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Returns whether a text has at most so many bytes and no control character but the end of a line.
fn is_plain(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes && !text.chars().any(|character| character.is_control() && character != '\n')
}

/// Reads a comma-separated list; none, where it is empty.
#[expect(clippy::option_option, reason = "a list that cannot be read is not a list that is not there")]
fn list<T: Ord>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<SortedSet<T>>> {
    if text.is_empty() {
        return Some(None);
    }
    text.split(',').map(|item| parse(item.trim())).collect::<Option<_>>().map(Some)
}

struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn text(&self, variable: &'static str) -> String {
        let default = || VARIABLES.iter().find(|known| known.name == variable).map(|known| known.default.to_owned());
        (self.0)(variable).or_else(default).unwrap_or_default()
    }

    fn one<T>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        parse(self.text(variable).trim()).ok_or_else(|| self.error(variable, expected))
    }

    /// Reads a comma-separated list; none, where it is empty.
    fn list<T: Ord>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<SortedSet<T>>, ConfigError> {
        self.one(variable, expected, |text| list(text, parse))
    }

    fn keys(&self, variable: &'static str) -> Result<Option<SortedSet<PublicKey>>, ConfigError> {
        self.list(variable, PUBLIC_KEYS, |text| PublicKey::from_text(text).ok())
    }

    fn error(&self, variable: &'static str, expected: &str) -> ConfigError {
        ConfigError { variable, value: self.text(variable), expected: expected.to_owned() }
    }

    fn notice(&self) -> Result<Notice, ConfigError> {
        let mut notice = Notice::default();
        for (text, (variable, expected, is_right)) in notice.0.iter_mut().zip(NOTICE) {
            self.text(variable).trim().clone_into(text);
            if variable == SHOW_PEERS && text == "off" {
                text.clear();
            }
            if !text.is_empty() && !is_right(text) {
                let mut error = self.error(variable, expected);
                if [ADMIN_PASSWORD, TURN_SECRET].contains(&variable) {
                    // Whoever reads the log need not be who may read the password.
                    "not shown".clone_into(&mut error.value);
                }
                return Err(error);
            }
            if variable == CAPSULE_KEYS {
                // A key may come as PEM, which is several lines.
                let keys = text.split(',').filter_map(|key| PublicKey::from_text(key.trim()).ok());
                *text = keys.map(|key| key.to_string()).collect::<Vec<_>>().join(",");
            }
        }
        let Notice([.., urls, secret]) = &notice;
        match (urls.is_empty(), secret.is_empty()) {
            (true, false) => Err(self.error(TURN_URLS, WITH_RELAYS)),
            (false, true) => Err(self.error(TURN_SECRET, WITH_RELAYS)),
            _ => Ok(notice),
        }
    }

    fn number<T: TryFrom<u64>>(&self, variable: &'static str, least: u64, most: u64) -> Result<T, ConfigError> {
        let number = self.text(variable).trim().parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.error(variable, &format!("a whole number from {least} to {most}")))
    }

    fn millis(&self, variable: &'static str, least: u64, most: u64) -> Result<Duration, ConfigError> {
        self.number(variable, least, most).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        assert_eq!(vars.len(), 31);
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
    fn a_misspelt_name_is_told_from_that_of_another_program() {
        let names = || VARIABLES.into_iter().map(|variable| variable.name).chain(["HOST", "PORT", "STATE"]);
        for (name, meant) in [
            ("TRUSTED_TICKET_KEY", Some("TRUSTED_TICKET_KEYS")),
            ("REVOKED_TICKETS_KEYS", Some("REVOKED_TICKET_KEYS")),
            ("trusted_ticket_keys", Some("TRUSTED_TICKET_KEYS")),
            ("COMMUNITY", Some("COMMUNITIES")),
            ("ORIGIN", Some("ORIGINS")),
            ("ORGINS", Some("ORIGINS")),
            ("EXTERNAL_URL", Some("EXTERNAL_URLS")),
            ("DEFAULT_COMUNITY", Some("DEFAULT_COMMUNITY")),
            ("CLIENT_ADDRESS_HEADERS", Some("CLIENT_ADDRESS_HEADER")),
            ("HOME", None),
            ("HOSTS", None),
            ("STATUS", None),
            ("POST", None),
            ("TERM", None),
            ("TICKET_LIFETIME", None),
        ] {
            assert_eq!(near_miss(name, names()), meant, "{name}");
        }
        for name in names() {
            assert_eq!(near_miss(name, names()), None, "{name}");
        }
    }

    #[test]
    fn a_list_is_the_text_that_reads_as_it() {
        assert_eq!(list_text(["a", "b"]), Ok("a,b".to_owned()));
        assert_eq!(list_text([]), Ok(String::new()));
        for item in ["a,b", "", " "] {
            assert_eq!(list_text(["a", item]), Err(item));
        }
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
    fn what_the_operator_tells_everybody_is_kept_as_it_is() {
        let key = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
        let config = parse(&[
            ("COMMUNITIES", "a,b,c"),
            ("LISTED_COMMUNITIES", "b, a"),
            ("SHOW_PEERS", "on"),
            ("OPERATOR_NAME", "Zoë & friends"),
            ("OPERATOR_CONTACT", "zoe@a.example"),
            ("OPERATOR_RULES", "Be kind.\nOr leave."),
            ("OTHER_BEACONS", "https://b.example, http://[::1]:8788"),
            ("CAPSULES", "https://c.example/x/peers.json?y=1"),
            ("CAPSULE_KEYS", key),
        ])
        .unwrap();
        let notice = &config.notice;
        let [name, contact, rules, beacons, capsules, capsule_keys] = notice.texts();
        assert_eq!([name, contact, rules], ["Zoë & friends", "zoe@a.example", "Be kind.\nOr leave."]);
        assert_eq!([beacons, capsules], ["https://b.example, http://[::1]:8788", "https://c.example/x/peers.json?y=1"]);
        assert_eq!(capsule_keys, key);
        assert_eq!(config.listed_communities.iter().map(Community::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(notice.shows_peers());
        let silent = parse(&[]).unwrap();
        assert_eq!((silent.notice, silent.listed_communities.len()), (Notice::default(), 0));
    }

    #[test]
    fn what_is_told_to_everybody_is_bounded() {
        for (text, number) in [
            (LISTED, LISTED_MAX),
            (ADDRESSES, ADDRESSES_MAX),
            (NAME, NAME_MAX_BYTES),
            (RULES, RULES_MAX_BYTES),
            (PASSWORD, *PASSWORD_BYTES.start()),
            (PASSWORD, *PASSWORD_BYTES.end()),
        ] {
            assert!(text.split_whitespace().any(|word| word == number.to_string()), "{number} in {text}");
        }
        let all = ("COMMUNITIES", "*");
        let names = |count: usize| (0..count).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
        assert!(parse(&[all, ("LISTED_COMMUNITIES", &names(LISTED_MAX))]).is_ok());
        assert!(parse(&[all, ("LISTED_COMMUNITIES", &names(LISTED_MAX + 1))]).is_err());
        for (variable, start, most) in [
            ("OPERATOR_NAME", "", NAME_MAX_BYTES),
            ("OPERATOR_RULES", "", RULES_MAX_BYTES),
            ("OPERATOR_CONTACT", "https://a.example/", ADDRESS_MAX_BYTES),
            ("CAPSULES", "https://a.example/", ADDRESS_MAX_BYTES),
        ] {
            let text = |length: usize| format!("{start}{}", "x".repeat(length - start.len()));
            assert!(parse(&[(variable, &text(most))]).is_ok(), "{variable}");
            assert!(parse(&[(variable, &text(most + 1))]).is_err(), "{variable}");
        }
        let addresses = vec!["https://a.example"; ADDRESSES_MAX + 1].join(",");
        assert!(parse(&[("OTHER_BEACONS", &addresses)]).is_err());
    }

    #[test]
    fn a_password_is_long_enough_or_refused_by_name_and_nothing_prints_it() {
        assert_eq!(parse(&[]).unwrap().notice.admin_password(), None);
        let config = parse(&[("ADMIN_PASSWORD", "correct horse ba")]).unwrap();
        assert!(config.notice.admin_password().is_some() && !format!("{config:?}").contains("horse"));
        for password in ["hunter2", "fifteen letters", &"x".repeat(201), "correct hörse battery"] {
            let error = parse(&[("ADMIN_PASSWORD", password)]).unwrap_err();
            assert_eq!(error.variable, "ADMIN_PASSWORD");
            assert!(!error.to_string().contains(password), "{error}");
        }
    }

    #[test]
    fn a_relay_has_addresses_and_a_secret_or_is_refused_by_name_and_nothing_prints_the_secret() {
        let secret = ("TURN_SECRET", "north west south east");
        let named = ("COMMUNITIES", "mainnet");
        assert_eq!(parse(&[]).unwrap().notice.turn(), None);
        for urls in ["turn:a.example", "turns:a.example:5349?transport=tcp, stun:[2001:db8::1]:3478"] {
            let config = parse(&[named, ("TURN_URLS", urls), secret]).unwrap();
            assert_eq!(config.notice.turn(), Some((urls, secret.1)));
            assert!(!format!("{config:?}").contains("north"));
        }
        let many = ["turn:a.example"; 9].join(",");
        for urls in ["https://a.example", "turn:", "turn:a b", "turn:a?transport=x", "turn:a,", "turn:a\"", &many] {
            let error = parse(&[("TURN_URLS", urls), secret]).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), ("TURN_URLS", urls));
        }
        let missing = |variables: &[(&str, &str)]| parse(variables).unwrap_err();
        assert_eq!(missing(&[secret]).variable, "TURN_URLS");
        let error = missing(&[("TURN_URLS", "turn:a.example")]);
        assert_eq!((error.variable, error.expected.as_str()), ("TURN_SECRET", WITH_RELAYS));
        let error = missing(&[("TURN_URLS", "turn:a.example"), ("TURN_SECRET", "hunter2")]);
        assert!(error.variable == "TURN_SECRET" && !error.to_string().contains("hunter2"), "{error}");
        for communities in ["", "*"] {
            let error = missing(&[("COMMUNITIES", communities), ("TURN_URLS", "turn:a.example"), secret]);
            assert_eq!((error.variable, error.expected.as_str()), ("TURN_URLS", RELAY_FOR_NOBODY));
        }
    }

    #[test]
    fn a_user_in_an_address_is_refused_and_neither_it_nor_a_key_is_repeated() {
        let key = "MC4CAQAwBQYDK2VwBCIEIB8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8f";
        for variable in
            ["EXTERNAL_URLS", "ORIGINS", "OTHER_BEACONS", "CAPSULES", "OPERATOR_CONTACT", "DEFAULT_COMMUNITY"]
        {
            // A community may have the name that a key looks like.
            let key = (variable != "DEFAULT_COMMUNITY").then_some(key);
            let users = [
                "https://zoe:sesame@a.example",
                "https://sesame@a.example",
                "https://zoe:open, sesame@a.example/x",
                "https://a.example,https://zoe:open,sesame@b.example",
            ];
            for value in users.into_iter().chain(key) {
                let error = parse(&[(variable, value)]).unwrap_err();
                assert_eq!(error.variable, variable);
                let text = error.to_string();
                assert!(
                    ["open", "sesame", "zoe"].into_iter().chain(key).all(|secret| !text.contains(secret)),
                    "{text}"
                );
            }
        }
        // Not every @ is a user's.
        assert!(parse(&[("CAPSULES", "https://a.example/@zoe/peers.json")]).is_ok());
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
