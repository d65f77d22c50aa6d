//! The relays that this one pushes to, and that push to it, as the operator names them.

use std::collections::BTreeSet;

use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::origin::Origin;

use crate::config::{Config, ConfigError, Kind, MailDoor, Variable};
use crate::own_names::is_own_machine;

const RELAY_PEERS: &str = "RELAY_PEERS";
const RELAY_PRIVATE_KEY: &str = "RELAY_PRIVATE_KEY";

/// The variables of replication, in the order in which they are explained.
pub const VARIABLES: [Variable; 2] =
    [Variable::new(RELAY_PEERS, Kind::List, ""), Variable::new(RELAY_PRIVATE_KEY, Kind::Secret, "")];

/// The most peers: a card names four relays, and an operator knows a few.
const PEERS_MAX: usize = 8;

const PEERS: &str = "at most 8 relays, none twice and none this one, each as its origin, = and its public key in base64 \
    (https://relay.example=A6EH…), separated by commas; http:// on this machine alone";
const NO_ORIGIN: &str = "nothing where EXTERNAL_URLS is: peers are told apart by their origins, and so is this relay";
const NO_DOOR: &str = "nothing where DOORS has no v1: there are no mailboxes to replicate";
const KEY: &str = "an Ed25519 private key, PKCS#8 in PEM or the base64 of its DER, where RELAY_PEERS is set";
const NO_PEERS: &str = "nothing where RELAY_PEERS is: nobody is pushed to";

/// Holds one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where it is, and what cards name it by.
    pub(crate) origin: Origin,
    /// The key by which it signs its pushes.
    pub(crate) key: PublicKey,
}

/// Holds this relay's own key and its peers.
#[derive(Debug)]
pub struct Peers {
    key: PrivateKey,
    own: Vec<Origin>,
    peers: Vec<Peer>,
}

impl Peers {
    /// Reads the variables of replication. Absent are peers where none are named.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let text = |name: &'static str| variable(name).unwrap_or_default().trim().to_owned();
        let error = |variable, value: &str, expected: &str| {
            Err(ConfigError { variable, value: value.to_owned(), expected: expected.to_owned() })
        };
        // Whoever reads an error need not be who may read the key.
        const NOT_SHOWN: &str = "not shown";
        let (named, key) = (text(RELAY_PEERS), text(RELAY_PRIVATE_KEY));
        match (named.is_empty(), key.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return error(RELAY_PRIVATE_KEY, NOT_SHOWN, NO_PEERS),
            (false, _) => {}
        }
        if !config.doors.contains(&MailDoor::V1) {
            return error(RELAY_PEERS, &named, NO_DOOR);
        }
        let own = config.external_urls.clone();
        if own.is_empty() {
            return error(RELAY_PEERS, &named, NO_ORIGIN);
        }
        let Ok(key) = PrivateKey::from_text(&key) else {
            return error(RELAY_PRIVATE_KEY, if key.is_empty() { "" } else { NOT_SHOWN }, KEY);
        };
        let peers: Option<Vec<_>> = named.split(',').map(|item| parse_peer(item.trim())).collect();
        let is_right = |peers: &Vec<Peer>| {
            let origins: BTreeSet<_> = peers.iter().map(|peer| &peer.origin).collect();
            let keys: BTreeSet<_> = peers.iter().map(|peer| peer.key).collect();
            peers.len() <= PEERS_MAX
                && origins.len() == peers.len()
                && keys.len() == peers.len()
                && !keys.contains(&key.public_key())
                && !own.iter().any(|own| origins.contains(own))
        };
        match peers.filter(is_right) {
            Some(peers) => Ok(Some(Self { key, own, peers })),
            None => error(RELAY_PEERS, &named, PEERS),
        }
    }

    /// Returns the public key of this relay, which its peers' operators name.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Returns how many peers there are. They are numbered from 0 on.
    pub const fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns whether there are none, which is never.
    pub const fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Returns the origin of a peer.
    pub fn origin(&self, peer: usize) -> Option<&Origin> {
        self.peers.get(peer).map(|peer| &peer.origin)
    }

    /// Returns this relay's own origins.
    pub(crate) fn own(&self) -> &[Origin] {
        &self.own
    }

    pub(crate) const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Returns which peer has this key.
    pub(crate) fn of_key(&self, key: &PublicKey) -> Option<usize> {
        self.peers.iter().position(|peer| peer.key == *key)
    }

    /// Returns the peers at the relays that are named.
    pub(crate) fn among(&self, relays: &[String]) -> Vec<usize> {
        let is_named = |peer: &Peer| relays.iter().any(|relay| relay == peer.origin.as_str());
        self.peers.iter().enumerate().filter(|(_, peer)| is_named(peer)).map(|(number, _)| number).collect()
    }

    /// Returns which peer has this origin.
    pub(crate) fn of_origin(&self, origin: &str) -> Option<usize> {
        self.peers.iter().position(|peer| peer.origin.as_str() == origin)
    }
}

fn parse_peer(item: &str) -> Option<Peer> {
    // The key's own base64 ends in the same character.
    let (origin, key) = item.split_once('=')?;
    let origin = Origin::parse(origin.trim())?;
    let is_safe = origin.as_str().starts_with("https://")
        || (origin.as_str().starts_with("http://") && is_own_machine(origin.host(), false));
    Some(Peer { origin, key: PublicKey::from_text(key.trim()).ok()? }).filter(|_| is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    const KEY_A: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
    const URLS: (&str, &str) = ("EXTERNAL_URLS", "https://own.example, https://own2.example");

    fn pem() -> String {
        PrivateKey::from_seed(&[9; 32]).to_pem().unwrap()
    }

    fn parse(variables: &[(&str, &str)]) -> Result<Option<Peers>, ConfigError> {
        Peers::parse(&Config::parse(given(variables)).unwrap(), given(variables))
    }

    #[test]
    fn peers_are_origins_with_keys_and_none_where_none_are_named() {
        assert!(parse(&[URLS]).unwrap().is_none());
        let other = PrivateKey::from_seed(&[8; 32]).public_key().to_string();
        let named = format!("https://a.example={KEY_A}, http://127.0.0.1:8788 = {other}");
        let peers = parse(&[URLS, (RELAY_PEERS, &named), (RELAY_PRIVATE_KEY, &pem())]).unwrap().unwrap();
        assert_eq!(peers.len(), 2);
        assert_eq!(peers.origin(1).unwrap().as_str(), "http://127.0.0.1:8788");
        assert_eq!(peers.of_key(&PublicKey::from_text(KEY_A).unwrap()), Some(0));
        assert_eq!(peers.among(&["https://own.example".to_owned(), "https://a.example".to_owned()]), [0]);
        assert_eq!(peers.public_key(), PrivateKey::from_seed(&[9; 32]).public_key());
        assert!(!format!("{peers:?}").contains("BEGIN"));
    }

    #[test]
    fn what_is_wrong_with_them_is_named_and_the_key_is_not_shown() {
        let own_key = PrivateKey::from_seed(&[9; 32]).public_key();
        let good = format!("https://a.example={KEY_A}");
        let pem = pem();
        let with = |peers: &str| parse(&[URLS, (RELAY_PEERS, peers), (RELAY_PRIVATE_KEY, &pem)]).unwrap_err();
        for peers in [
            "https://a.example".to_owned(),
            "https://a.example=AAAA".to_owned(),
            format!("{good},"),
            format!("{good},https://b.example={KEY_A}"),
            format!("{good},{good}"),
            format!("https://own2.example={KEY_A}"),
            format!("https://a.example={own_key}"),
            format!("http://a.example={KEY_A}"),
            format!("https://a.example/={KEY_A}"),
            (0..9)
                .map(|n| format!("https://{n}.example={}", PrivateKey::from_seed(&[n + 20; 32]).public_key()))
                .collect::<Vec<_>>()
                .join(","),
        ] {
            let error = with(&peers);
            assert_eq!((error.variable, error.value.as_str(), error.expected.as_str()), (RELAY_PEERS, &*peers, PEERS));
        }
        for (variables, variable, expected) in [
            (vec![URLS, (RELAY_PRIVATE_KEY, &*pem)], RELAY_PRIVATE_KEY, NO_PEERS),
            (vec![URLS, (RELAY_PEERS, &*good)], RELAY_PRIVATE_KEY, KEY),
            (vec![URLS, (RELAY_PEERS, &*good), (RELAY_PRIVATE_KEY, "c2VjcmV0")], RELAY_PRIVATE_KEY, KEY),
            (vec![(RELAY_PEERS, &*good), (RELAY_PRIVATE_KEY, &*pem)], RELAY_PEERS, NO_ORIGIN),
            (vec![URLS, ("DOORS", ""), (RELAY_PEERS, &*good), (RELAY_PRIVATE_KEY, &*pem)], RELAY_PEERS, NO_DOOR),
        ] {
            let error = parse(&variables).unwrap_err();
            assert_eq!((error.variable, error.expected.as_str()), (variable, expected));
            assert!(!error.to_string().contains("c2VjcmV0") && !error.to_string().contains("BEGIN"), "{error}");
        }
        let text = PEERS.split_whitespace();
        assert!(text.into_iter().any(|word| word == PEERS_MAX.to_string()));
    }
}
