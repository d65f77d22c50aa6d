//! The environment variables of this project's programs, as an alternative to arguments. An argument always wins.
//!
//! One that is empty, or nothing but white space, counts as not set: that is how CI systems pass what is not set.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;

use crate::failure::Cause;

/// Comma-separated addresses of beacons.
pub const BEACONS: &str = "RENDEZVOUS_BEACONS";
/// Name of the community.
pub const COMMUNITY: &str = "RENDEZVOUS_COMMUNITY";
/// Directory that the capsule is written to.
pub const OUTPUT: &str = "RENDEZVOUS_CAPSULE_OUTPUT";
/// The private key itself.
pub const PRIVATE_KEY: &str = "RENDEZVOUS_CAPSULE_PRIVATE_KEY";
/// The public key that clients trust.
pub const PUBLIC_KEY: &str = "RENDEZVOUS_CAPSULE_PUBLIC_KEY";
/// The file with the root that readers were given.
pub const ROOT: &str = "RENDEZVOUS_CAPSULE_ROOT";
/// Fewest peers of a capsule.
pub const MIN_PEERS: &str = "RENDEZVOUS_CAPSULE_MIN_PEERS";
/// Most peers of a capsule.
pub const MAX_PEERS: &str = "RENDEZVOUS_CAPSULE_MAX_PEERS";
/// Life of a capsule, in milliseconds.
pub const LIFETIME_MS: &str = "RENDEZVOUS_CAPSULE_TTL_MS";
/// Time for each beacon, in milliseconds.
pub const TIMEOUT_MS: &str = "RENDEZVOUS_CAPSULE_TIMEOUT_MS";
/// Address of the bucket that the capsule is written to.
pub const BUCKET: &str = "RENDEZVOUS_CAPSULE_TO";
/// Fewest beacons with good tickets.
pub const MIN_BEACONS: &str = "RENDEZVOUS_CAPSULE_MIN_BEACONS";
/// What becomes of places that are left when every beacon has its share.
pub const SHARES: &str = "RENDEZVOUS_CAPSULE_SHARES";
/// Comma-separated files or addresses of tickets to put into the capsule.
pub const INCLUDE: &str = "RENDEZVOUS_CAPSULE_INCLUDE";
/// File with what is revoked.
pub const REVOKED: &str = "RENDEZVOUS_CAPSULE_REVOKED";
/// Where the capsule is served from.
pub const HOST: &str = "RENDEZVOUS_CAPSULE_HOST";
/// Time from one run to the next, in milliseconds.
pub const CADENCE_MS: &str = "RENDEZVOUS_CAPSULE_CADENCE_MS";
/// Comma-separated public keys, the only ones whose tickets are accepted.
pub const TRUSTED_TICKET_KEYS: &str = "RENDEZVOUS_TRUSTED_TICKET_KEYS";
/// Longest life of a ticket, in milliseconds.
pub const TICKET_MAX_LIFETIME_MS: &str = "RENDEZVOUS_TICKET_MAX_LIFETIME_MS";
/// The peer's name.
pub const ANNOUNCE_PEER_ID: &str = "RENDEZVOUS_ANNOUNCE_PEER_ID";
/// The user's name.
pub const ANNOUNCE_USER_ID: &str = "RENDEZVOUS_ANNOUNCE_USER_ID";
/// What the peer says about itself.
pub const ANNOUNCE_DATA: &str = "RENDEZVOUS_ANNOUNCE_DATA";
/// The private key itself that signs the peer's tickets.
pub const ANNOUNCE_PRIVATE_KEY: &str = "RENDEZVOUS_ANNOUNCE_PRIVATE_KEY";
/// Life of the peer's tickets, in milliseconds.
pub const ANNOUNCE_TTL_MS: &str = "RENDEZVOUS_ANNOUNCE_TTL_MS";
/// The least between two announces, in milliseconds.
pub const ANNOUNCE_INTERVAL_MS: &str = "RENDEZVOUS_ANNOUNCE_INTERVAL_MS";
/// Time for each request, in milliseconds.
pub const ANNOUNCE_TIMEOUT_MS: &str = "RENDEZVOUS_ANNOUNCE_TIMEOUT_MS";
/// File with the passphrase of the private key.
pub const PASSPHRASE_FILE: &str = "RENDEZVOUS_PASSPHRASE_FILE";
/// Directory with a mailbox and contacts.
pub const STORE: &str = "RENDEZVOUS_STORE";
/// Comma-separated origins of the relays that hold a mailbox.
pub const RELAYS: &str = "RENDEZVOUS_RELAYS";
/// File with the passphrase of an identity.
pub const SECRET_FILE: &str = "RENDEZVOUS_SECRET_FILE";
/// The passphrase of an identity itself.
pub const SECRET: &str = "RENDEZVOUS_SECRET";
/// The relay of messages.
pub const RELAY: &str = "RENDEZVOUS_RELAY";
/// retalk 0.0.1's name of the directory with an identity.
pub const RETALK_STORE: &str = "STORE";
/// retalk's name of which of the user's identities is meant.
pub const RETALK_USER: &str = "RETALK_USER";
/// retalk's name of the file with a passphrase.
pub const RETALK_PASSPHRASE_FILE: &str = "RETALK_PASSPHRASE_FILE";
/// retalk's name of a passphrase itself.
pub const RETALK_PASSPHRASE: &str = "RETALK_PASSPHRASE";
/// retalk 0.0.1's name of a passphrase itself.
pub const RETALK_SECRET: &str = "PICKLE_SECRET";
/// retalk's name of the relay.
pub const RETALK_RELAY: &str = "RETALK_RELAY";
/// retalk 0.0.1's name of the relay.
pub const RETALK_SERVER: &str = "SERVER_URL";
/// The time to work at, in seconds since 1970, instead of the clock's.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Lists the variables whose values are secrets: programs that this one runs do not get them.
pub(crate) const SECRETS: [&str; 5] = [PRIVATE_KEY, ANNOUNCE_PRIVATE_KEY, SECRET, RETALK_PASSPHRASE, RETALK_SECRET];

const NAMES: [&str; 40] = [
    BEACONS,
    COMMUNITY,
    OUTPUT,
    PRIVATE_KEY,
    PUBLIC_KEY,
    ROOT,
    MIN_PEERS,
    MAX_PEERS,
    LIFETIME_MS,
    TIMEOUT_MS,
    BUCKET,
    MIN_BEACONS,
    SHARES,
    INCLUDE,
    REVOKED,
    HOST,
    CADENCE_MS,
    TRUSTED_TICKET_KEYS,
    TICKET_MAX_LIFETIME_MS,
    ANNOUNCE_PEER_ID,
    ANNOUNCE_USER_ID,
    ANNOUNCE_DATA,
    ANNOUNCE_PRIVATE_KEY,
    ANNOUNCE_TTL_MS,
    ANNOUNCE_INTERVAL_MS,
    ANNOUNCE_TIMEOUT_MS,
    PASSPHRASE_FILE,
    STORE,
    RELAYS,
    SECRET_FILE,
    SECRET,
    RELAY,
    RETALK_STORE,
    RETALK_USER,
    RETALK_PASSPHRASE_FILE,
    RETALK_PASSPHRASE,
    RETALK_SECRET,
    RETALK_RELAY,
    RETALK_SERVER,
    SOURCE_DATE_EPOCH,
];

/// What the names of this project's variables begin with.
const PREFIX: &str = "RENDEZVOUS_";

/// Characters by which a misspelt name differs from the right one.
const NEAR_MISS: usize = 2;

/// A variable that is set to something it cannot be. Its value is never shown: it may be a secret in the wrong place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Not UTF-8.
    #[error("{name} is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        name: &'static str,
    },
    /// Almost the name of a variable: a list of trusted keys, say, would be off without a word.
    #[error("{found} is not a variable of this program: {meant} is. Rename it, or unset it")]
    NearMiss {
        /// What is set.
        found: String,
        /// What was meant.
        meant: &'static str,
    },
    /// Not what the variable is for.
    #[error("{name} {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it must be.
        reason: String,
    },
}

impl Cause for EnvironmentError {}

/// The variables above that are set.
pub struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// That of this process.
    pub fn of_process() -> Result<Self, EnvironmentError> {
        for (name, value) in std::env::vars_os() {
            let (Some(name), false) = (name.to_str(), value.is_empty()) else { continue };
            if let Some(meant) = near_miss(name) {
                return Err(EnvironmentError::NearMiss { found: name.to_owned(), meant });
            }
        }
        let values = NAMES.iter().filter_map(|name| std::env::var_os(name).map(|value| (*name, value)));
        let read = |(name, value): (&'static str, OsString)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(EnvironmentError::NotUnicode { name }),
        };
        Ok(Self(values.map(read).collect::<Result<_, _>>()?))
    }

    /// One in which nothing is set.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// The same with another value for one variable, where there is one.
    pub fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.0.insert(name, value);
        }
        self
    }

    /// The value of a variable without white space around it, if there is one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of a variable with its white space, if there is anything else in it.
    pub fn verbatim(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// The value of a variable as something else.
    pub fn parsed<T, E: Display>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, EnvironmentError> {
        self.value(name)
            .map(parse)
            .transpose()
            .map_err(|reason| EnvironmentError::Invalid { name, reason: reason.to_string() })
    }

    /// The items of a comma-separated variable, empty ones left out.
    pub fn list<T, E: Display>(
        &self,
        name: &'static str,
        parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, EnvironmentError> {
        let items = self.value(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
        items
            .map(parse)
            .collect::<Result<_, _>>()
            .map_err(|reason| EnvironmentError::Invalid { name, reason: reason.to_string() })
    }
}

/// The variable that a misspelt one of this project's was meant to be. Others' variables are nobody's business here.
fn near_miss(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    if !upper.starts_with(PREFIX) || NAMES.contains(&name) {
        return None;
    }
    NAMES.into_iter().find(|known| strsim::damerau_levenshtein(known, &upper) <= NEAR_MISS)
}

#[cfg(test)]
impl<const N: usize> From<[(&'static str, &str); N]> for Environment {
    fn from(values: [(&'static str, &str); N]) -> Self {
        Self(values.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_told_from_that_of_another_program() {
        for (name, meant) in [
            ("RENDEZVOUS_TRUSTED_TICKET_KEY", Some(TRUSTED_TICKET_KEYS)),
            ("RENDEZVOUS_BEACON", Some(BEACONS)),
            ("rendezvous_beacons", Some(BEACONS)),
            ("RENDEZVOUS_CAPSULE_REOVKED", Some(REVOKED)),
            ("RENDEZVOUS_BEACON_URL", None),
            ("RENDEZVOUS_MAILBOX_OWNER", None),
            ("RENDEZVOUZ_BEACONS", None),
            ("BEACONS", None),
        ] {
            assert_eq!(near_miss(name), meant, "{name}");
        }
        for name in NAMES {
            assert_eq!(near_miss(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let environment = Environment::from([(COMMUNITY, ""), (OUTPUT, " \n"), (MAX_PEERS, " 7 ")]);
        assert_eq!(environment.value(COMMUNITY), None);
        assert_eq!(environment.value(OUTPUT), None);
        assert_eq!(environment.value(MIN_PEERS), None);
        assert_eq!(environment.value(MAX_PEERS), Some("7"));
        assert_eq!((environment.verbatim(MAX_PEERS), environment.verbatim(OUTPUT)), (Some(" 7 "), None));
    }

    #[test]
    fn lists_are_comma_separated_and_may_have_gaps() {
        let environment = Environment::from([(BEACONS, " a, ,b,")]);
        let owned = |item: &str| Ok::<_, EnvironmentError>(item.to_owned());
        assert_eq!(environment.list(BEACONS, owned).unwrap(), ["a", "b"]);
        assert_eq!(environment.list(TRUSTED_TICKET_KEYS, owned).unwrap(), [""; 0]);
    }

    #[test]
    fn an_error_names_the_variable_and_hides_its_value() {
        let environment = Environment::from([(PRIVATE_KEY, "hunter2")]);
        let error = environment.parsed(PRIVATE_KEY, |_| Err::<(), _>("must be a key")).unwrap_err();
        assert_eq!(error.to_string(), "RENDEZVOUS_CAPSULE_PRIVATE_KEY must be a key");
    }
}
