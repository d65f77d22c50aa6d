//! What the operator decides of the directory.

use std::sync::Arc;
use std::time::Duration;

use rendezvous_protocol::directory::limits::EXCHANGE_INTERVAL_MIN;
use rendezvous_protocol::directory::state::Trust;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::origin::Origin;

use crate::config::{Config, ConfigError, Kind, Variable};
use crate::own_names::is_own_machine;

const ORIGINS: &str = "HUB_ORIGINS";
const PEERS: &str = "HUB_PEERS";
const KEY: &str = "HUB_KEY";
const PULL_SECONDS: &str = "HUB_PULL_SECONDS";

/// The variables of the directory, in the order in which they are explained.
pub const VARIABLES: [Variable; 4] = [
    Variable::new(ORIGINS, Kind::List, ""),
    Variable::new(PEERS, Kind::List, ""),
    Variable::new(KEY, Kind::Secret, ""),
    Variable::new(PULL_SECONDS, Kind::Number, "60"),
];

/// The most origins that may put entries here.
const ORIGINS_MAX: usize = 64;

/// The most peers: with each the share of the others is smaller.
const PEERS_MAX: usize = 16;

/// Seconds. A peer that is asked more often refuses it.
const PULL_SECONDS_MIN: u64 = EXCHANGE_INTERVAL_MIN.as_secs();
const PULL_SECONDS_MAX: u64 = 3_600;

const KEYS: &str = "at most 64 public keys in base64, separated by commas";
const ADDRESSES: &str = "at most 16 of https://hub.example=KEY, separated by commas, no origin and no key twice, KEY being \
    that hub's public key in base64";
const OTHERS: &str = "other hubs, and not this one's own origin or key";
const PRIVATE: &str = "the private key of this hub, PKCS#8 in base64, where HUB_PEERS is set";
const FOR_PEERS: &str = "nothing where HUB_PEERS is: it signs what peers are asked";

/// Holds another hub that this one asks, and that may ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubPeer {
    /// Where it is.
    pub origin: Origin,
    /// By what it signs when it asks.
    pub key: PublicKey,
}

/// Holds what the operator decides.
#[derive(Clone, Debug)]
pub struct HubConfig {
    origins: Vec<PublicKey>,
    pub(crate) peers: Vec<HubPeer>,
    /// Absent where there are no peers.
    pub(crate) key: Option<Arc<PrivateKey>>,
    pub(crate) interval: Duration,
}

impl HubConfig {
    /// Reads the variables of the directory. There is no hub where nothing is set.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let default = |name: &str| VARIABLES.iter().find(|known| known.name == name).map(|known| known.default);
        let text = |name: &str| {
            let text = variable(name).unwrap_or_else(|| default(name).unwrap_or_default().to_owned());
            text.trim().to_owned()
        };
        let error = |variable: &'static str, expected: &str| {
            // Whoever reads the log need not be who may read the key.
            let value = if variable == KEY { "not shown".to_owned() } else { text(variable) };
            ConfigError { variable, value, expected: expected.to_owned() }
        };
        let items = |name: &str| -> Vec<String> {
            let text = text(name);
            if text.is_empty() { Vec::new() } else { text.split(',').map(|item| item.trim().to_owned()).collect() }
        };
        let origins: Option<Vec<_>> = items(ORIGINS).iter().map(|key| PublicKey::from_text(key).ok()).collect();
        let origins = origins.filter(|origins| origins.len() <= ORIGINS_MAX && are_distinct(origins));
        let origins = origins.ok_or_else(|| error(ORIGINS, KEYS))?;
        let peers: Option<Vec<_>> = items(PEERS).iter().map(|peer| read_peer(peer)).collect();
        let peers = peers.filter(|peers| {
            let (origins, keys): (Vec<_>, Vec<_>) = peers.iter().map(|peer| (&peer.origin, peer.key)).unzip();
            peers.len() <= PEERS_MAX && are_distinct(&origins) && are_distinct(&keys)
        });
        let peers = peers.ok_or_else(|| error(PEERS, ADDRESSES))?;
        let key = match text(KEY).as_str() {
            "" => None,
            key => Some(PrivateKey::from_text(key).map_err(|_| error(KEY, PRIVATE))?),
        };
        match (&key, peers.is_empty()) {
            (None, false) => return Err(error(KEY, PRIVATE)),
            (Some(_), true) => return Err(error(KEY, FOR_PEERS)),
            _ => {}
        }
        let own = key.as_ref().map(PrivateKey::public_key);
        if peers.iter().any(|peer| Some(peer.key) == own || config.external_urls.contains(&peer.origin)) {
            return Err(error(PEERS, OTHERS));
        }
        let seconds =
            text(PULL_SECONDS).parse().ok().filter(|seconds| (PULL_SECONDS_MIN..=PULL_SECONDS_MAX).contains(seconds));
        let expected = || format!("a whole number from {PULL_SECONDS_MIN} to {PULL_SECONDS_MAX}");
        let interval = Duration::from_secs(seconds.ok_or_else(|| error(PULL_SECONDS, &expected()))?);
        let is_off = origins.is_empty() && peers.is_empty();
        Ok((!is_off).then_some(Self { origins, peers, key: key.map(Arc::new), interval }))
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust { origins: self.origins.clone(), peers: self.peers.iter().map(|peer| peer.key).collect() }
    }

    pub(crate) fn is_peer(&self, key: &PublicKey) -> bool {
        self.peers.iter().any(|peer| peer.key == *key)
    }
}

fn are_distinct<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().all(|(at, item)| !items.iter().skip(at + 1).any(|other| other == item))
}

/// Reads a peer. Without TLS it is on this machine, or anybody on the way could withhold what it says.
fn read_peer(text: &str) -> Option<HubPeer> {
    let (origin, key) = text.split_once('=')?;
    let origin = origin.trim();
    let origin = Origin::parse(origin.strip_suffix('/').unwrap_or(origin))?;
    let is_secure = origin.as_str().starts_with("https://")
        || (origin.as_str().starts_with("http://") && is_own_machine(origin.host(), false));
    let key = PublicKey::from_text(key).ok()?;
    is_secure.then_some(HubPeer { origin, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    const PUBLIC: &str = "AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=";
    const OTHER: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn own() -> String {
        let pem = PrivateKey::from_seed(&[9; 32]).to_pem().unwrap();
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    fn parse(variables: &[(&str, &str)]) -> Result<Option<HubConfig>, ConfigError> {
        HubConfig::parse(&Config::parse(given(variables)).unwrap(), given(variables))
    }

    #[test]
    fn a_private_key_in_the_place_of_another_is_not_shown() {
        let pem = PrivateKey::from_seed(&[9; 32]).to_pem().unwrap();
        for key in [own(), pem] {
            for (name, value) in [
                (ORIGINS, key.clone()),
                (ORIGINS, format!("{PUBLIC}, {key}")),
                (PEERS, format!("https://hub.example={key}")),
            ] {
                let error = parse(&[(name, &value)]).unwrap_err().to_string();
                assert!(error.starts_with(&format!("the variable {name} is not shown, because")), "{error}");
                assert!(!error.contains(&own()), "{error}");
            }
        }
        let error = parse(&[(ORIGINS, "abc")]).unwrap_err().to_string();
        assert!(error.starts_with("the variable HUB_ORIGINS is \"abc\": it must be "), "{error}");
    }

    #[test]
    fn there_is_no_hub_unless_one_is_configured() {
        assert!(parse(&[]).unwrap().is_none());
        assert!(parse(&[(ORIGINS, " "), (PEERS, "")]).unwrap().is_none());
        let hub = parse(&[(ORIGINS, PUBLIC)]).unwrap().unwrap();
        assert_eq!((hub.trust().origins.len(), hub.peers.len(), hub.interval.as_secs()), (1, 0, 60));
        let peers = format!("https://hub.example/={PUBLIC}, http://127.0.0.1:8787={OTHER}");
        let hub = parse(&[(PEERS, &peers), (KEY, &own()), (PULL_SECONDS, "5")]).unwrap().unwrap();
        let origins: Vec<_> = hub.peers.iter().map(|peer| peer.origin.as_str()).collect();
        assert_eq!(origins, ["https://hub.example", "http://127.0.0.1:8787"]);
        assert_eq!(hub.interval.as_secs(), 5);
        assert!(!format!("{hub:?}").contains(&own()));
    }

    #[test]
    fn a_bad_value_is_named_and_a_private_key_is_not_shown() {
        let (own, peer) = (own(), format!("https://hub.example={PUBLIC}"));
        let own_key = PrivateKey::from_seed(&[9; 32]).public_key();
        let itself = format!("https://hub.example={own_key}");
        let many: Vec<_> = (0..=PEERS_MAX)
            .map(|number| {
                let key = PrivateKey::from_seed(&[100 + number as u8; 32]).public_key();
                format!("https://h{number}.example={key}")
            })
            .collect();
        for (variables, variable) in [
            (&[(ORIGINS, "key")][..], ORIGINS),
            (&[(ORIGINS, &format!("{PUBLIC},{PUBLIC}"))], ORIGINS),
            (&[(ORIGINS, &format!("{PUBLIC},"))], ORIGINS),
            (&[(PEERS, "https://hub.example"), (KEY, &own)], PEERS),
            (&[(PEERS, &format!("http://hub.example={PUBLIC}")), (KEY, &own)], PEERS),
            (&[(PEERS, &format!("https://hub.example/path={PUBLIC}")), (KEY, &own)], PEERS),
            (&[(PEERS, &format!("{peer},https://b.example={PUBLIC}")), (KEY, &own)], PEERS),
            (&[(PEERS, &format!("{peer},https://hub.example={OTHER}")), (KEY, &own)], PEERS),
            (&[(PEERS, &many.join(",")), (KEY, &own)], PEERS),
            (&[(PEERS, &itself), (KEY, &own)], PEERS),
            (&[(PEERS, &peer), (KEY, &own), ("EXTERNAL_URLS", "https://hub.example")], PEERS),
            (&[(PEERS, &peer)], KEY),
            (&[(ORIGINS, PUBLIC), (KEY, &own)], KEY),
            (&[(PEERS, &peer), (KEY, "secret")], KEY),
            (&[(ORIGINS, PUBLIC), (PULL_SECONDS, "0")], PULL_SECONDS),
            (&[(ORIGINS, PUBLIC), (PULL_SECONDS, &(PULL_SECONDS_MIN - 1).to_string())], PULL_SECONDS),
            (&[(ORIGINS, PUBLIC), (PULL_SECONDS, "3601")], PULL_SECONDS),
        ] {
            let error = parse(variables).unwrap_err();
            assert_eq!(error.variable, variable, "{variables:?}");
            assert!(!error.to_string().contains(&own) && !error.to_string().contains("secret"), "{error}");
        }
    }
}
