//! What a user calls somebody: a name that is good in a file name and on a terminal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Characters of a name that is good in the name of a file, with what else stands there.
const FILE_NAME_MAX_CHARS: usize = 48;

/// The name of a contact: letters, digits, `.`, `_` and `-`, the first of which is a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {FILE_NAME_MAX_CHARS} of A-Z a-z 0-9 . _ - and begins with a letter or a digit")]
pub struct NameInvalid;

impl Name {
    /// Returns it as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameInvalid;

    fn from_str(text: &str) -> Result<Self, NameInvalid> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins_well && text.len() <= FILE_NAME_MAX_CHARS && text.bytes().all(is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameInvalid)
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameInvalid;

    fn try_from(text: String) -> Result<Self, NameInvalid> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_in_a_file_name_and_on_a_terminal() {
        for good in ["a", "Bob", "bob.example-2_x", "7"] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        let long = "a".repeat(49);
        for bad in ["", ".", "..", ".bob", "-x", "a/b", "a b", "é", "a\u{1b}[2J", "a\n", long.as_str()] {
            assert_eq!(bad.parse::<Name>(), Err(NameInvalid), "{bad:?}");
        }
    }
}
