//! The name of a community: whom a ticket, a roster and a capsule are for.

use std::fmt;

use serde::Serialize;

use crate::limits::COMMUNITY_MAX_BYTES;

/// Holds a community's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Community(String);

/// A name that no community can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a community's name is 1 to {COMMUNITY_MAX_BYTES} of A-Z a-z 0-9 . _ -")]
pub struct CommunityInvalid;

impl Community {
    /// Takes a name that follows the rule above.
    ///
    /// # Errors
    /// [`CommunityInvalid`] for any other.
    pub fn new(name: &str) -> Result<Self, CommunityInvalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > COMMUNITY_MAX_BYTES || !name.bytes().all(allowed) {
            return Err(CommunityInvalid);
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Community {
    type Err = CommunityInvalid;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
