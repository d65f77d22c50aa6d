//! Values out of texts: each is of its kind, or the variable is named.

use std::time::Duration;

use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::sorted_set::SortedSet;

use crate::config::variable::{ConfigError, VARIABLES};

pub(super) const PUBLIC_KEYS: &str = "public keys in base64, separated by commas";

pub(super) struct Variables<F>(pub(super) F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub(super) fn text(&self, variable: &'static str) -> String {
        let default = || VARIABLES.iter().find(|known| known.name == variable).map(|known| known.default.to_owned());
        (self.0)(variable).or_else(default).unwrap_or_default()
    }

    pub(super) fn one<T>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        parse(self.text(variable).trim()).ok_or_else(|| self.error(variable, expected))
    }

    /// Reads a comma-separated list; none, where it is empty.
    pub(super) fn list<T: Ord>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<SortedSet<T>>, ConfigError> {
        self.one(variable, expected, |text| list(text, parse))
    }

    pub(super) fn keys(&self, variable: &'static str) -> Result<Option<SortedSet<PublicKey>>, ConfigError> {
        self.list(variable, PUBLIC_KEYS, |text| PublicKey::from_text(text).ok())
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &self,
        variable: &'static str,
        least: u64,
        most: u64,
    ) -> Result<T, ConfigError> {
        let number = self.text(variable).trim().parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.error(variable, &format!("a whole number from {least} to {most}")))
    }

    pub(super) fn millis(&self, variable: &'static str, least: u64, most: u64) -> Result<Duration, ConfigError> {
        self.number(variable, least, most).map(Duration::from_millis)
    }

    pub(super) fn error(&self, variable: &'static str, expected: &str) -> ConfigError {
        ConfigError { variable, value: self.text(variable), expected: expected.to_owned() }
    }
}

/// Reads a comma-separated list; none, where it is empty.
#[expect(clippy::option_option, reason = "a list that cannot be read is not a list that is not there")]
pub(super) fn list<T: Ord>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<SortedSet<T>>> {
    if text.is_empty() {
        return Some(None);
    }
    text.split(',').map(|item| parse(item.trim())).collect::<Option<_>>().map(Some)
}
