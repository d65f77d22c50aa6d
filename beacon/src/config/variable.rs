//! What a variable is, which the service has, and how one is named that is wrong.

use rendezvous_protocol::key::{KeyError, PublicKey};
use rendezvous_protocol::safe_text;

/// The variables of the service, in the order in which they are explained.
pub const VARIABLES: [Variable; 36] = [
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
    Variable::new("SNAPSHOT_INTERVAL_MS", Kind::Number, "9300"),
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

/// Gives variables as a host does, for a test. Of two with one name the later one counts.
#[cfg(test)]
pub(crate) fn given(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + Copy {
    move |name| variables.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
