//! How the network is reached: the proxy, the hosts that are reached without one, and the authorities whose certificates
//! are believed, from the variables that other programs read too.
//!
//! What cannot be obeyed is an error: whoever sets a proxy may depend on it that nothing goes past it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ureq::Proxy;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::failure::Cause;
use crate::files::read_file;

/// The variables that name a proxy, the first that is set counting.
const PROXY: [&str; 6] = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
/// The variables that name hosts, in the order in which curl reads them.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];
const CERTIFICATE_FILE: &str = "SSL_CERT_FILE";
const CERTIFICATE_DIRECTORIES: &str = "SSL_CERT_DIR";

/// Bytes of a file of certificates. Those of a whole system have 250,000.
const CERTIFICATES_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A variable that cannot be obeyed. Its value is not shown: there may be a password in it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Not UTF-8.
    #[error("{name} is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        name: &'static str,
    },
    /// Not a proxy that this program can use.
    #[error(
        "{name} must be the address of a proxy, like http://proxy.example.org:3128, https://…, socks5://…, socks5h://…, \
         socks4:// or socks4a://…: it cannot be obeyed, and nothing is sent past it. Correct the variable, or unset it"
    )]
    Proxy {
        /// The variable.
        name: &'static str,
    },
    /// A file or a directory of certificates that cannot be read.
    #[error("{name} names {}, which cannot be read: {error}", .path.display())]
    Certificates {
        /// The variable.
        name: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Files without a certificate: nobody at all would be believed.
    #[error("{name} names {}, in which there is no certificate in PEM", .path.display())]
    NoCertificate {
        /// The variable.
        name: &'static str,
        /// The file or the directory.
        path: PathBuf,
    },
}

impl Cause for NetworkError {}

/// What the variables say.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// The proxy of all requests but those to hosts that are excepted.
    pub(crate) proxy: Option<Proxy>,
    excepted: Excepted,
    /// Whose certificates are believed.
    pub(crate) authorities: RootCerts,
}

impl Network {
    /// Reads the variables of this process.
    pub(crate) fn of_process() -> Result<Self, NetworkError> {
        Self::new(|name| std::env::var_os(name))
    }

    /// Reads variables.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, NetworkError> {
        let first = |names: &[&'static str]| {
            let set = names
                .iter()
                .find_map(|name| variable(name).filter(|value| !is_blank(value)).map(|value| (*name, value)));
            set.map(|(name, value)| {
                value.into_string().map(|value| (name, value)).map_err(|_| NetworkError::NotUnicode { name })
            })
            .transpose()
        };
        let proxy = match first(&PROXY)? {
            Some((name, value)) => Some(parse_proxy(value.trim()).ok_or(NetworkError::Proxy { name })?),
            None => None,
        };
        let excepted = first(&NO_PROXY)?.map(|(_, value)| Excepted::parse(&value)).unwrap_or_default();
        let mut certificates = Vec::new();
        let mut is_set = false;
        if let Some(file) = variable(CERTIFICATE_FILE).filter(|value| !is_blank(value)) {
            is_set = true;
            certificates.extend(read_certificates(CERTIFICATE_FILE, Path::new(&file))?);
        }
        for directory in variable(CERTIFICATE_DIRECTORIES).iter().flat_map(std::env::split_paths) {
            if !is_blank(directory.as_os_str()) {
                is_set = true;
                certificates.extend(read_directory(CERTIFICATE_DIRECTORIES, &directory)?);
            }
        }
        let authorities = if is_set { RootCerts::from(certificates) } else { RootCerts::WebPki };
        Ok(Self { proxy, excepted, authorities })
    }

    /// Whether a host is reached without the proxy. `host` is as in a URL: an IPv6 address has its brackets.
    pub(crate) fn is_direct(&self, host: &str) -> bool {
        self.proxy.is_none() || self.excepted.contains(host)
    }
}

fn is_blank(value: &std::ffi::OsStr) -> bool {
    value.to_str().is_some_and(|value| value.trim().is_empty())
}

fn parse_proxy(text: &str) -> Option<Proxy> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let has_host = !authority.host().trim_matches(['[', ']']).is_empty();
    let plain = matches!(uri.path_and_query().map(ToString::to_string).as_deref(), None | Some("/"));
    (has_host && plain && has_port_or_none(authority.as_str())).then(|| Proxy::new(text).ok())?
}

/// Whether what stands after the host is a port from 1 to 65,535, or nothing.
pub(crate) fn has_port_or_none(authority: &str) -> bool {
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let port = match host_and_port.rsplit_once(']') {
        Some((_, "")) => return true,
        Some((_, after)) => after.strip_prefix(':'),
        None => match host_and_port.split_once(':') {
            Some((_, port)) => Some(port),
            None => return true,
        },
    };
    port.is_some_and(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn read_certificates(name: &'static str, path: &Path) -> Result<Vec<Certificate<'static>>, NetworkError> {
    let bytes = read_file(path, CERTIFICATES_MAX_BYTES).map_err(|error| NetworkError::Certificates {
        name,
        path: path.to_owned(),
        error,
    })?;
    let found = certificates_in(&bytes);
    if found.is_empty() { Err(NetworkError::NoCertificate { name, path: path.to_owned() }) } else { Ok(found) }
}

/// All files of a directory, those without a certificate left out: there may be others.
fn read_directory(name: &'static str, path: &Path) -> Result<Vec<Certificate<'static>>, NetworkError> {
    let failed = |error| NetworkError::Certificates { name, path: path.to_owned(), error };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        // Most are links, under a hash of the subject's name, to others here.
        if file.is_file() {
            found.extend(certificates_in(&read_file(&file, CERTIFICATES_MAX_BYTES).map_err(failed)?));
        }
    }
    if found.is_empty() { Err(NetworkError::NoCertificate { name, path: path.to_owned() }) } else { Ok(found) }
}

fn certificates_in(pem: &[u8]) -> Vec<Certificate<'static>> {
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    parse_pem(pem).filter_map(certificate).collect()
}

/// The hosts that are reached without the proxy, as curl reads `NO_PROXY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Excepted {
    #[default]
    None,
    All,
    Some(Vec<Exception>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    /// The host itself, and every one below it.
    Domain(String),
    /// All addresses whose first `bits` are those of `address`.
    Network { address: IpAddr, bits: u32 },
}

impl Excepted {
    /// Names and addresses, with commas or white space between them. One that curl cannot use matches nothing.
    fn parse(list: &str) -> Self {
        if list.trim() == "*" {
            return Self::All;
        }
        let words = list.split(|character: char| character == ',' || character.is_whitespace());
        Self::Some(words.filter_map(Exception::parse).collect())
    }

    fn contains(&self, host: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(exceptions) => exceptions.iter().any(|exception| exception.covers(host)),
        }
    }
}

impl Exception {
    fn parse(word: &str) -> Option<Self> {
        let (address, bits) = word.split_once('/').map_or((word, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            let most = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
            return Some(Self::Network { address, bits });
        }
        let name = word.strip_prefix('.').unwrap_or(word);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Domain(name))
    }

    fn covers(&self, host: &str) -> bool {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        match (self, address) {
            (Self::Network { address: IpAddr::V4(network), bits }, Some(IpAddr::V4(host))) => {
                let shift = Ipv4Addr::BITS - bits;
                network.to_bits().checked_shr(shift) == host.to_bits().checked_shr(shift)
            }
            (Self::Network { address: IpAddr::V6(network), bits }, Some(IpAddr::V6(host))) => {
                let shift = Ipv6Addr::BITS - bits;
                network.to_bits().checked_shr(shift) == host.to_bits().checked_shr(shift)
            }
            (Self::Domain(name), None) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                host.strip_suffix(name.as_str()).is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(variables: &[(&str, &str)]) -> Result<Network, NetworkError> {
        Network::new(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_first_proxy_that_is_set_counts_and_one_that_cannot_be_obeyed_is_named() {
        assert!(network(&[("ALL_PROXY", " ")]).unwrap().proxy.is_none());
        for good in [
            "http://proxy:3128",
            "https://proxy",
            "socks5://u:p@proxy:1080/",
            "socks5h://[::1]:1",
            "socks4a://proxy",
            "proxy:8080",
        ] {
            assert!(network(&[("HTTP_PROXY", good)]).unwrap().proxy.is_some(), "{good}");
        }
        for bad in [
            "ftp://proxy",
            "socks6://proxy",
            "http://",
            "http://proxy:99999",
            "http://proxy:0",
            "http://proxy:x",
            "http://:80",
            "://",
            "http://proxy/path",
            "a b",
        ] {
            let error = network(&[("HTTPS_PROXY", bad), ("HTTP_PROXY", "http://proxy")]).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY must be"), "{bad}: {error}");
        }
    }

    #[test]
    fn hosts_are_excepted_as_curl_does() {
        for (list, host, direct) in [
            ("*", "example.org", true),
            ("*,other", "example.org", false),
            ("example.org", "example.org", true),
            ("example.org", "EXAMPLE.org.", true),
            ("example.org", "a.example.org", true),
            ("example.org", "badexample.org", false),
            (".example.org", "example.org", true),
            (".example.org", "a.example.org", true),
            ("*.example.org", "a.example.org", false),
            ("other, example.org", "example.org", true),
            ("other example.org.", "example.org", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.0/8", "127.1.2.3", true),
            ("10.0.0.0/8,127.0.0.0/30", "127.0.0.4", false),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("127.0.0.0/33", "127.0.0.1", false),
            ("0.0.1", "127.0.0.1", false),
            ("::1", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("2001:db8::/32", "[2001:db8:1::1]", true),
            ("2001:db8::/32", "[2001:db9::1]", false),
            ("::/0", "127.0.0.1", false),
            (",, ", "example.org", false),
        ] {
            let network = network(&[("ALL_PROXY", "http://proxy"), ("no_proxy", list), ("NO_PROXY", "*")]).unwrap();
            assert_eq!(network.is_direct(host), direct, "{list:?} {host}");
        }
        assert!(network(&[]).unwrap().is_direct("example.org"));
    }

    #[test]
    fn ports_are_numbers_of_ports() {
        for good in ["host", "host:1", "host:65535", "[::1]", "[::1]:80", "u:99999@host:80"] {
            assert!(has_port_or_none(good), "{good}");
        }
        for bad in
            ["host:", "host:0", "host:65536", "host:99999", "host:-1", "host:+1", "[::1]:", "[::1]80", "u:80@host:x"]
        {
            assert!(!has_port_or_none(bad), "{bad}");
        }
    }

    #[test]
    fn authorities_of_ones_own_have_to_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        let path = file.to_str().unwrap();
        let error = network(&[(CERTIFICATE_FILE, path)]).unwrap_err();
        assert!(matches!(error, NetworkError::Certificates { .. }), "{error}");
        std::fs::write(&file, "nothing").unwrap();
        let error = network(&[(CERTIFICATE_FILE, path)]).unwrap_err();
        assert!(matches!(error, NetworkError::NoCertificate { .. }), "{error}");
        let error = network(&[(CERTIFICATE_DIRECTORIES, directory.path().to_str().unwrap())]).unwrap_err();
        assert!(matches!(error, NetworkError::NoCertificate { .. }), "{error}");
    }
}
