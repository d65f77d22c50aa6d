//! What the operator tells everybody, and what is bounded and checked the same way: the password of who is told more, and the
//! relay of peers.

use std::fmt;

use rendezvous_protocol::key::PublicKey;

use crate::config::reader::{PUBLIC_KEYS, Variables};
use crate::config::variable::ConfigError;

const ADDRESSES: &str = "at most 32 addresses such as https://a.example, separated by commas";
const NAME: &str = "a line of at most 100 bytes";
const CONTACT: &str = "an address such as https://a.example or name@a.example";
const RULES: &str = "an address such as https://a.example, or a text of at most 2000 bytes";
const PASSWORD: &str = "of 16 to 200 printable ASCII characters, or not be set";

const RELAYS: &str = "at most 8 addresses such as turn:turn.example:3478?transport=udp, separated by commas";
pub(super) const RELAY_FOR_NOBODY: &str =
    "empty unless COMMUNITIES names communities, whose peers alone are given a relay";
const WITH_RELAYS: &str = "set where the other of TURN_URLS and TURN_SECRET is";

/// The most addresses in `TURN_URLS`.
const RELAYS_MAX: usize = 8;

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

/// Holds what the operator tells everybody, the password of who is told more, and the relay of peers with the secret that
/// opens it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Notice([String; NOTICE.len()]);

impl Notice {
    /// Reads each text, or says of which variable it is not.
    pub(super) fn read<F: Fn(&str) -> Option<String>>(variables: &Variables<F>) -> Result<Self, ConfigError> {
        let mut notice = Self::default();
        for (text, (variable, expected, is_right)) in notice.0.iter_mut().zip(NOTICE) {
            variables.text(variable).trim().clone_into(text);
            if variable == SHOW_PEERS && text == "off" {
                text.clear();
            }
            if !text.is_empty() && !is_right(text) {
                let mut error = variables.error(variable, expected);
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
        let Self([.., urls, secret]) = &notice;
        match (urls.is_empty(), secret.is_empty()) {
            (true, false) => Err(variables.error(TURN_URLS, WITH_RELAYS)),
            (false, true) => Err(variables.error(TURN_SECRET, WITH_RELAYS)),
            _ => Ok(notice),
        }
    }

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

impl fmt::Debug for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password and the secret: they are for nobody to read.
        formatter.debug_tuple("Notice").field(&self.texts()).finish_non_exhaustive()
    }
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
pub(super) const TURN_URLS: &str = "TURN_URLS";
const TURN_SECRET: &str = "TURN_SECRET";

fn are_addresses(text: &str) -> bool {
    text.split(',').count() <= ADDRESSES_MAX && text.split(',').all(|address| is_web_address(address.trim()))
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

fn is_password(text: &str) -> bool {
    PASSWORD_BYTES.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Returns whether a text has at most so many bytes and no control character but the end of a line.
fn is_plain(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes && !text.chars().any(|character| character.is_control() && character != '\n')
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::community::Community;

    use super::*;
    use crate::config::{Config, given};

    fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(given(variables))
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
            (ADDRESSES, ADDRESSES_MAX),
            (NAME, NAME_MAX_BYTES),
            (RULES, RULES_MAX_BYTES),
            (PASSWORD, *PASSWORD_BYTES.start()),
            (PASSWORD, *PASSWORD_BYTES.end()),
        ] {
            assert!(text.split_whitespace().any(|word| word == number.to_string()), "{number} in {text}");
        }
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
}
