//! The relay of libp2p's that runs beside the beacon: whether there is one, where it listens, and where peers are told it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rendezvous_protocol::goop2::CircuitRelay;

use crate::config::{Config, ConfigError, Kind, Variable};

const PORT: &str = "RELAY_PORT";
const KEY_FILE: &str = "RELAY_KEY_FILE";

/// The variables of the relay, in the order in which they are explained.
pub const VARIABLES: [Variable; 2] =
    [Variable::new(PORT, Kind::Number, "0"), Variable::new(KEY_FILE, Kind::Text, "data/relay.key")];

const EXTERNAL_URLS: &str = "EXTERNAL_URLS";

const ONE_ALONE: &str = "empty where RELAY_PORT is set, because GET /relay tells of one relay";
const TOLD: &str = "set where RELAY_PORT is and HOST is all addresses: its hosts are where peers are told to dial";
const HOSTS: &str =
    "addresses at no more than 8 hosts, each an IP address or a name of a-z 0-9 . -, where RELAY_PORT is set";

/// Describes the relay that runs beside the beacon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRelay {
    port: u16,
    key_file: String,
    listens_on: Vec<IpAddr>,
    /// As the beginnings of its addresses.
    hosts: Vec<String>,
}

impl OwnRelay {
    /// Reads the relay's variables. There is none where its port is 0. `host` is where the beacon itself listens.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind, or does not go with the others.
    pub fn parse(
        config: &Config,
        host: IpAddr,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let text = |name: &'static str| variable(name).unwrap_or_default().trim().to_owned();
        let error = |variable, expected: &str| {
            Err(ConfigError { variable, value: text(variable), expected: expected.to_owned() })
        };
        let Ok(port) = text(PORT).parse::<u16>() else {
            return error(PORT, "a whole number from 0 to 65535, 0 for no relay");
        };
        if port == 0 {
            return Ok(None);
        }
        if config.circuit_relay.is_some() {
            return error("CIRCUIT_RELAY_ADDRESSES", ONE_ALONE);
        }
        let key_file = text(KEY_FILE);
        if key_file.is_empty() {
            return error(KEY_FILE, "the path of a file where RELAY_PORT is set");
        }
        let host = host.to_canonical();
        let everywhere = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let is_named = !config.external_urls.is_empty();
        let listens_on = match host {
            // A proxy asks there, and passes on HTTP alone: peers come by themselves.
            host if host.is_loopback() && is_named => everywhere.to_vec(),
            IpAddr::V6(host) if host.is_unspecified() => everywhere.to_vec(),
            host => vec![host],
        };
        let mut hosts: Vec<String> = Vec::new();
        for host in config.external_urls.iter().map(|url| beginning(url.host())) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if !is_named {
            if host.is_unspecified() {
                return error(EXTERNAL_URLS, TOLD);
            }
            hosts.push(beginning(&host.to_string()));
        }
        Ok(Some(Self { port, key_file, listens_on, hosts }))
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the file with its key, which is made where it is absent.
    pub fn key_file(&self) -> &str {
        &self.key_file
    }

    /// Returns the addresses to listen on. The second, all of IPv6, is for machines that have it.
    pub fn listens_on(&self) -> &[IpAddr] {
        &self.listens_on
    }

    /// Returns what everybody is told of the relay with this name.
    ///
    /// # Errors
    /// [`ConfigError`], if an address that follows from `EXTERNAL_URLS` is none of libp2p's, or there are too many.
    pub fn told(&self, name: &str) -> Result<CircuitRelay, ConfigError> {
        let Self { port, hosts, .. } = self;
        let addresses = hosts.iter().map(|host| format!("{host}/tcp/{port}/p2p/{name}"));
        CircuitRelay::new(addresses.collect()).map_err(|_| ConfigError {
            variable: EXTERNAL_URLS,
            value: hosts.join(","),
            expected: HOSTS.to_owned(),
        })
    }
}

/// Returns how an address of libp2p's begins that is at this host, an IPv6 address in brackets or not.
fn beginning(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse() {
        Ok(IpAddr::V4(address)) => format!("/ip4/{address}"),
        Ok(IpAddr::V6(address)) => format!("/ip6/{address}"),
        Err(_) => format!("/dns/{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn parse(host: &str, variables: &[(&str, &str)]) -> Result<Option<OwnRelay>, ConfigError> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let with_defaults = |name: &str| {
            let default = VARIABLES.iter().find(|known| known.name == name).map(|known| known.default.to_owned());
            variable(name).or(default)
        };
        OwnRelay::parse(&Config::parse(variable).unwrap(), host.parse().unwrap(), with_defaults)
    }

    #[test]
    fn there_is_a_relay_where_it_has_a_port() {
        assert_eq!(parse("127.0.0.1", &[]), Ok(None));
        assert_eq!(parse("0.0.0.0", &[(PORT, "0"), (KEY_FILE, "")]), Ok(None));
        let relay = parse("127.0.0.1", &[(PORT, " 4001 ")]).unwrap().unwrap();
        assert_eq!((relay.port(), relay.key_file()), (4001, "data/relay.key"));
        let told = relay.told(NAME).unwrap();
        assert_eq!(
            (told.id().as_str(), told.addresses()),
            (NAME, &[format!("/ip4/127.0.0.1/tcp/4001/p2p/{NAME}")][..])
        );
    }

    #[test]
    fn peers_dial_the_beacons_own_names_and_the_relay_listens_there() {
        let public =
            "https://beacon.example, https://beacon.example:8443, http://192.0.2.1:8787, https://[2001:db8::1]";
        let named = ["/dns/beacon.example", "/ip4/192.0.2.1", "/ip6/2001:db8::1"];
        for (host, urls, listens_on, told) in [
            ("127.0.0.1", "", &["127.0.0.1"][..], &["/ip4/127.0.0.1"][..]),
            ("::1", "", &["::1"], &["/ip6/::1"]),
            ("192.0.2.9", "", &["192.0.2.9"], &["/ip4/192.0.2.9"]),
            ("192.0.2.9", public, &["192.0.2.9"], &named),
            ("0.0.0.0", public, &["0.0.0.0"], &named),
            ("::", public, &["0.0.0.0", "::"], &named),
            ("127.0.0.1", public, &["0.0.0.0", "::"], &named),
        ] {
            let relay = parse(host, &[(PORT, "4001"), (EXTERNAL_URLS, urls)]).unwrap().unwrap();
            assert_eq!(relay.listens_on().iter().map(ToString::to_string).collect::<Vec<_>>(), listens_on, "{host}");
            let expected: Vec<_> = told.iter().map(|host| format!("{host}/tcp/4001/p2p/{NAME}")).collect();
            assert_eq!(relay.told(NAME).unwrap().addresses(), expected, "{host}");
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        let elsewhere = format!("/ip4/203.0.113.9/tcp/4001/p2p/{NAME}");
        let port = (PORT, "4001");
        for (host, variables, variable) in [
            ("127.0.0.1", &[(PORT, "65536")][..], PORT),
            ("127.0.0.1", &[(PORT, "-1")], PORT),
            ("127.0.0.1", &[port, ("CIRCUIT_RELAY_ADDRESSES", &elsewhere)], "CIRCUIT_RELAY_ADDRESSES"),
            ("127.0.0.1", &[port, (KEY_FILE, " ")], KEY_FILE),
            ("0.0.0.0", &[port], EXTERNAL_URLS),
            ("::", &[port], EXTERNAL_URLS),
        ] {
            assert_eq!(parse(host, variables).unwrap_err().variable, variable, "{variables:?}");
        }
        let many = (0..9).map(|number| format!("https://b{number}.example")).collect::<Vec<_>>().join(",");
        for urls in ["https://my_beacon.example", &many] {
            let relay = parse("0.0.0.0", &[port, (EXTERNAL_URLS, urls)]).unwrap().unwrap();
            assert_eq!(relay.told(NAME).unwrap_err().variable, EXTERNAL_URLS);
        }
    }
}
