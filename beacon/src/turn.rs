//! Credentials for a relay (TURN, RFC 8656), for peers whose networks let no direct connection through.
//!
//! They are those of coturn's `use-auth-secret`: the user name is the second in which they end and a name, the password the
//! HMAC-SHA1 (RFC 2104) of that under a secret that the relay shares. The relay asks nobody. In scope: who gets them,
//! how many there are, and for how long they are good. Out of scope: what the relay lets their holders do. It has
//! quotas of its own.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::network::NetworkHash;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::sorted_map::SortedMap;
use rendezvous_protocol::time::{DAY_MILLIS, UnixMillis};
use rendezvous_protocol::token_bucket::TokenBucket;
use sha1::Sha1;

use crate::config::Config;

/// How long credentials are good for.
pub(crate) const TURN_LIFETIME: Duration = Duration::from_secs(600);

/// Credentials that the peers of one site may have: 4 at once, then one in 15 minutes.
const SITE: TokenBucket = TokenBucket::new(Duration::from_secs(15 * 60), 4);

/// The peers of one provider have at most this part of a day's credentials, so that its sites do not use up the day of all.
const PROVIDERS_A_DAY: u32 = 8;

/// Holds credentials as a client hands them to its browser.
#[derive(Clone)]
pub(crate) struct IceServers {
    /// When they end.
    pub(crate) ends_at: UnixMillis,
    /// A JSON array of one `RTCIceServer` (W3C WebRTC, section 4.2.4).
    pub(crate) json: String,
}

impl fmt::Debug for IceServers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what opens the relay.
        formatter.debug_struct("IceServers").field("ends_at", &self.ends_at).finish_non_exhaustive()
    }
}

/// Issues credentials. By a table of functions: a host that has no relay does not carry the code.
pub(crate) trait Issuer: fmt::Debug + Send {
    /// Issues credentials to whoever has shown to have this key, and counts them for where it is. None, where there are no
    /// more for the site, or today for the provider or for anybody.
    fn issue(&mut self, now: UnixMillis, place: Place, key: &PublicKey) -> Option<IceServers>;
}

/// Says for whom credentials are counted, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The provider of a [`NetworkPath`](rendezvous_protocol::network::NetworkPath).
    pub(crate) provider: NetworkHash,
    /// An IPv4 /24 or an IPv6 /48.
    pub(crate) site: NetworkHash,
}

/// Issues the credentials of one relay.
pub(crate) struct Relay {
    /// As what is in a JSON array, but for the first and the last quotation mark.
    urls: String,
    secret: String,
    /// What makes a user name of a key, which the relay is not to recognise.
    pseudonyms: Secret,
    per_day: u32,
    day: u64,
    issued_today: u32,
    /// Of these, those of each provider.
    of_providers: SortedMap<NetworkHash, u32>,
    /// When the bucket of each site is full again.
    sites: SortedMap<NetworkHash, u64>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        formatter.debug_struct("Relay").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Relay {
    /// Makes the issuer of the relay that is configured, if one is. `edges` share what may be issued in a day.
    pub(crate) fn new(config: &Config, edges: u32, pseudonyms: Secret) -> Option<Self> {
        let (urls, secret) = config.notice.turn()?;
        Some(Self {
            urls: urls.split(',').map(str::trim).collect::<Vec<_>>().join(r#"",""#),
            secret: secret.to_owned(),
            pseudonyms,
            per_day: config.turn_per_day.div_ceil(edges.max(1)),
            day: 0,
            issued_today: 0,
            of_providers: SortedMap::new(),
            sites: SortedMap::new(),
        })
    }

    /// Takes one from what a site, a provider and a day have left.
    fn take(&mut self, now: u64, Place { provider, site }: Place) -> bool {
        let day = now / DAY_MILLIS;
        // A clock that goes back over midnight gives no second day; one that goes back further was wrong.
        if day > self.day || day.saturating_add(1) < self.day {
            (self.day, self.issued_today) = (day, 0);
            self.of_providers = SortedMap::new();
        }
        let of_provider = self.of_providers.get(&provider).copied().unwrap_or_default();
        if self.issued_today >= self.per_day || of_provider >= self.per_day.div_ceil(PROVIDERS_A_DAY) {
            return false;
        }
        self.sites.retain(|_, full_at| SITE.settle(full_at, now) > 0);
        if SITE.take(self.sites.get_or_default(site), now).is_err() {
            return false;
        }
        self.issued_today += 1;
        self.of_providers.insert(provider, of_provider + 1);
        true
    }
}

impl Issuer for Relay {
    fn issue(&mut self, now: UnixMillis, place: Place, key: &PublicKey) -> Option<IceServers> {
        if !self.take(now.as_u64(), place) {
            return None;
        }
        let ends_at = now.after(TURN_LIFETIME);
        let username = format!("{}:{:016x}", ends_at.as_u64() / 1_000, self.pseudonyms.pseudonym(key));
        let credential = base64::encode(&hmac_sha1(self.secret.as_bytes(), username.as_bytes()));
        // Neither addresses nor base64 have anything that needs an escape.
        let json = format!(r#"[{{"urls":["{}"],"username":"{username}","credential":"{credential}"}}]"#, self.urls);
        Some(IceServers { ends_at, json })
    }
}

/// Computes the HMAC-SHA1 of a message.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    // Keys of any length are taken. What is returned otherwise opens nothing.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return [0; 20] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rendezvous_protocol::bytes::hex;

    use super::*;
    use crate::config::given;

    const URLS: &str = "turn:turn.example:3478?transport=udp, turns:turn.example:5349";
    const SECRET: &str = "north west south east";

    /// The second and the sixth case of RFC 2202, section 3.
    #[test]
    fn the_password_is_the_hmac_of_rfc_2202() {
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (key, message, expected) in [
            (&b"Jefe"[..], &b"what do ya want for nothing?"[..], "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (&[0xaa; 80], long, "aa4ae5e15272d00e95705637ce8a3b55ed402112"),
        ] {
            assert_eq!(hex(&hmac_sha1(key, message)), expected);
        }
    }

    fn relay(per_day: &str, edges: u32) -> Relay {
        let variables =
            [("COMMUNITIES", "mainnet"), ("TURN_URLS", URLS), ("TURN_SECRET", SECRET), ("TURN_PER_DAY", per_day)];
        Relay::new(&Config::parse(given(&variables)).unwrap(), edges, Secret::from_bytes([1; 16])).unwrap()
    }

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::saturating(1_700_000_000_000 + millis)
    }

    /// A site of a provider.
    fn place(provider: u32, number: u32) -> Place {
        let [provider, site] = [provider, number].map(|hash| NetworkHash::from_bytes(u64::from(hash).to_be_bytes()));
        Place { provider, site }
    }

    /// A site of a provider that has no other one.
    fn site(number: u32) -> Place {
        place(number, number)
    }

    const QUARTER: u64 = 15 * 60 * 1_000;
    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

    #[test]
    fn credentials_are_those_of_coturn_and_say_nothing_of_the_key_or_the_secret() {
        let mut relay = relay("1000", 1);
        let issued = relay.issue(at(0), site(1), &KEY).unwrap();
        let pseudonym = Secret::from_bytes([1; 16]).pseudonym(&KEY);
        let username = format!("1700000600:{pseudonym:016x}");
        let credential = base64::encode(&hmac_sha1(SECRET.as_bytes(), username.as_bytes()));
        let urls = r#"["turn:turn.example:3478?transport=udp","turns:turn.example:5349"]"#;
        let expected = format!(r#"[{{"urls":{urls},"username":"{username}","credential":"{credential}"}}]"#);
        assert_eq!((issued.ends_at, &issued.json), (at(600_000), &expected));
        let debug = format!("{relay:?} {issued:?}");
        assert!(!debug.contains("north") && !debug.contains(&credential), "{debug}");
        let other = relay.issue(at(0), site(1), &PublicKey::from_bytes([8; 32])).unwrap();
        assert_ne!(issued.json, other.json);
    }

    #[test]
    fn without_a_relay_there_is_no_issuer() {
        let config = Config::parse(|_| None).unwrap();
        assert!(Relay::new(&config, 1, Secret::from_bytes([1; 16])).is_none());
    }

    #[test]
    fn a_provider_has_an_eighth_of_a_day_however_many_sites_it_has() {
        let mut relay = relay("1000", 1);
        let mut served = |millis: u64, provider: u32, sites: std::ops::Range<u32>| {
            sites.filter(|number| relay.issue(at(millis), place(provider, *number), &KEY).is_some()).count()
        };
        assert_eq!(served(0, 1, 0..1_000), 125);
        assert_eq!(served(0, 2, 1_000..1_004), 4, "the day is not used up for others");
        assert_eq!(served(QUARTER, 1, 2_000..2_100), 0);
        assert_eq!(served(DAY_MILLIS, 1, 0..1_000), 125, "the next day has begun");
    }

    #[test]
    fn edges_share_a_day() {
        let mut relay = relay("10", 4);
        assert_eq!((0..100).filter(|number| relay.issue(at(0), site(*number), &KEY).is_some()).count(), 3);
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out_and_gives_no_second_day_at_midnight() {
        const HOUR: u64 = 4 * QUARTER;
        let mut relay = relay("40", 1);
        let issue = |relay: &mut Relay, millis: u64, number: u32| relay.issue(at(millis), site(number), &KEY).is_some();
        let served = |relay: &mut Relay, millis: u64| (0..9).filter(|_| issue(relay, millis, 1)).count();
        // 22:13 UTC, a year ahead.
        let ahead = 365 * DAY_MILLIS;
        assert_eq!(served(&mut relay, ahead), 4);
        assert_eq!(served(&mut relay, 0), 0);
        assert_eq!(served(&mut relay, QUARTER), 1);
        assert_eq!(
            (100..199).filter(|number| issue(&mut relay, QUARTER, *number)).count(),
            39,
            "the day has begun anew"
        );
        assert!(issue(&mut relay, 2 * HOUR, 200), "it is past midnight");
        assert_eq!((300..399).filter(|number| issue(&mut relay, HOUR, *number)).count(), 39, "and back");
        assert!((400..499).all(|number| !issue(&mut relay, 2 * HOUR, number)), "and past it again");
    }

    proptest! {
        /// The model counts what each site, each provider and each day had.
        #[test]
        fn a_site_has_four_at_once_then_one_in_fifteen_minutes_and_a_provider_and_a_day_have_their_numbers(
            steps in prop::collection::vec((0_u64..2_000_000, 0_u32..20), 1..300),
        ) {
            let mut relay = relay("40", 1);
            let mut now = 0;
            let mut issued: Vec<(u64, u32)> = Vec::new();
            let mut left = BTreeMap::<u32, u64>::new();
            for (pause, number) in steps {
                now += pause;
                left.values_mut().for_each(|left| *left = (*left + pause).min(4 * QUARTER));
                let day = at(now).as_u64() / DAY_MILLIS;
                let today = || issued.iter().filter(|(moment, _)| at(*moment).as_u64() / DAY_MILLIS == day);
                let of_provider = today().filter(|(_, other)| other % 10 == number % 10).count();
                let has_left = today().count() < 40 && of_provider < 5;
                let of_site = left.entry(number).or_insert(4 * QUARTER);
                let expected = has_left && *of_site >= QUARTER;
                if expected {
                    *of_site -= QUARTER;
                    issued.push((now, number));
                }
                prop_assert_eq!(relay.issue(at(now), place(number % 10, number), &KEY).is_some(), expected);
                prop_assert!(relay.sites.len() <= 20 && relay.of_providers.len() <= 10);
            }
        }
    }
}
