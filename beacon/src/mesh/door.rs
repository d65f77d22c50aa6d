//! What the operator decides of the door: whose pushes are taken, by which secrets.

use std::collections::BTreeSet;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rendezvous_protocol::origin::Origin;
use sha2::Sha256;

use crate::config::{ConfigError, Kind, Variable};

const REPLICATION_PEERS: &str = "REPLICATION_PEERS";

/// The variables of the door.
pub const VARIABLES: [Variable; 1] = [Variable::new(REPLICATION_PEERS, Kind::Secret, "")];

/// The most peers.
const PEERS_MAX: usize = 8;

/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=200;

const PEERS: &str = "at most 8 addresses with secrets of 16 to 200 printable ASCII characters, \
    https://peer.example=secret, none twice, separated by commas";

/// What the peers' keys are derived with, as theirs are.
const DOMAIN: &[u8] = b"sb-peer-auth-v1";

type HmacSha256 = Hmac<Sha256>;

/// Holds the peers, each with the MAC that its pushes are checked by.
#[derive(Clone)]
pub struct EnvelopeDoor(Vec<(Origin, HmacSha256)>);

impl fmt::Debug for EnvelopeDoor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the keys.
        formatter.debug_list().entries(self.0.iter().map(|(origin, _)| origin.as_str())).finish()
    }
}

impl EnvelopeDoor {
    /// Reads the door's variable. There is no door where no peers are named.
    ///
    /// # Errors
    /// [`ConfigError`], which does not repeat the value: there are secrets in it.
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let text = variable(REPLICATION_PEERS).unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let peers: Option<Vec<_>> = text.split(',').map(|item| parse_peer(item.trim())).collect();
        let is_right = |peers: &Vec<(Origin, HmacSha256)>| {
            let distinct: BTreeSet<_> = peers.iter().map(|(origin, _)| origin).collect();
            peers.len() <= PEERS_MAX && distinct.len() == peers.len()
        };
        let error =
            || ConfigError { variable: REPLICATION_PEERS, value: "not shown".to_owned(), expected: PEERS.to_owned() };
        peers.filter(is_right).map(|peers| Some(Self(peers))).ok_or_else(error)
    }

    /// Returns the peers' origins, in the order of their numbers.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter().map(|(origin, _)| origin)
    }

    /// Returns whose push this is: that of the peer at `url`, if `mac` is one by its key over the body.
    pub(crate) fn peer_of(&self, url: &str, mac: &str, body: &[u8]) -> Option<usize> {
        let url = Origin::parse(url.trim().trim_end_matches('/'))?;
        let mac = from_hex(mac.trim())?;
        let peer = self.0.iter().position(|(origin, _)| *origin == url)?;
        let (_, key) = self.0.get(peer)?;
        // In constant time.
        key.clone().chain_update(body).verify_slice(&mac).ok().map(|()| peer)
    }
}

fn parse_peer(item: &str) -> Option<(Origin, HmacSha256)> {
    let (url, secret) = item.split_once('=')?;
    let origin = Origin::parse(url.trim_end_matches('/'))?;
    let is_web = origin.as_str().starts_with("https://") || origin.as_str().starts_with("http://");
    let is_secret = SECRET_BYTES.contains(&secret.len()) && secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_web || !is_secret {
        return None;
    }
    let key = key_of(secret.as_bytes(), origin.as_str())?;
    Some((origin, HmacSha256::new_from_slice(&key).ok()?))
}

/// Derives a peer's key. Every length is one that HMAC takes.
fn key_of(secret: &[u8], url: &str) -> Option<[u8; 32]> {
    let mac = |key: &[u8], message: &[u8]| -> Option<[u8; 32]> {
        Some(HmacSha256::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().into())
    };
    let extracted = mac(DOMAIN, secret)?;
    mac(&extracted, &[url.as_bytes(), &[1]].concat())
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if !rest.is_empty() || pairs.len() != bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::bytes::hex;

    use super::*;

    fn parse(value: &str) -> Result<Option<EnvelopeDoor>, ConfigError> {
        EnvelopeDoor::parse(|name| (name == REPLICATION_PEERS).then(|| value.to_owned()))
    }

    #[test]
    fn the_key_and_the_mac_are_those_of_the_fleet() {
        let key = key_of(b"s3cret", "https://peer.example:8443").unwrap();
        assert_eq!(hex(&key), "29ef947f64a85d919b934655d53d8521282b86f0ae55c7c0fc24648fbe67e8fd");
        let mac = HmacSha256::new_from_slice(&key).unwrap().chain_update(br#"{"envelope":{"msg_id":"m1"}}"#).finalize();
        let mac = hex(&mac.into_bytes());
        assert_eq!(mac, "fd5bdf61907a5ec389e361cb0ca3eb82e347ca33a7027241cce1d8493e85f4cc");
    }

    #[test]
    fn a_push_is_the_peers_whose_key_has_made_its_mac() {
        let door =
            parse("https://Peer.example:8443/=correct horse battery, http://b.example=x=y and something more").unwrap();
        let door = door.unwrap();
        let body = b"{}";
        let mac = |secret: &str, url: &str| {
            let key = key_of(secret.as_bytes(), url).unwrap();
            hex(&HmacSha256::new_from_slice(&key).unwrap().chain_update(body).finalize().into_bytes())
        };
        let good = mac("correct horse battery", "https://peer.example:8443");
        for url in ["https://peer.example:8443", "HTTPS://PEER.example:8443/"] {
            assert_eq!(door.peer_of(url, &good, body), Some(0));
            assert_eq!(door.peer_of(url, &good.to_uppercase(), body), Some(0));
        }
        let other = mac("x=y and something more", "http://b.example");
        assert_eq!(door.peer_of("http://b.example:80", &other, body), Some(1));
        for (url, mac) in [
            ("https://peer.example:8443", other.as_str()),
            ("http://b.example", &good),
            ("https://peer.example", &good),
            ("https://peer.example:8443", ""),
            ("https://peer.example:8443", good.strip_prefix(|_: char| true).unwrap()),
            ("", &good),
        ] {
            assert_eq!(door.peer_of(url, mac, body), None, "{url} {mac}");
        }
        assert_eq!(door.peer_of("https://peer.example:8443", &good, b"{ }"), None);
        assert!(!format!("{door:?}").contains("horse"));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_shown() {
        assert!(parse(" ").unwrap().is_none());
        let many = (0..9).map(|n| format!("https://{n}.example=sixteen letters!")).collect::<Vec<_>>().join(",");
        for value in [
            "https://a.example",
            "https://a.example=short",
            "a.example=sixteen letters!",
            "ftp://a.example=sixteen letters!",
            "https://a.example/path=sixteen letters!",
            "https://a.example=sixteen letters!,",
            "https://a.example=sixteen letters!,https://A.example/=another sixteen!",
            &many,
        ] {
            let error = parse(value).unwrap_err();
            assert_eq!((error.variable, error.expected.as_str()), (REPLICATION_PEERS, PEERS));
            assert!(!error.to_string().contains("letters"), "{error}");
        }
        assert!(PEERS.split_whitespace().any(|word| word == PEERS_MAX.to_string()));
    }
}
