//! What a user has set, and what a new one begins with.

use serde::{Deserialize, Serialize};

use crate::vault::KeyDerivation;

/// Holds what a new user begins with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewUser<'a> {
    /// The name that recipients see, or nothing.
    pub name: &'a str,
    /// The address of the relay that is used where no other is given.
    pub relay: Option<&'a str>,
    /// How the passphrase becomes a key.
    pub derivation: KeyDerivation,
}

/// Says from whom messages are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// From everybody who is not blocked.
    #[default]
    Everybody,
    /// From saved contacts; messages of others are refused.
    Contacts,
}

/// Holds what the user has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name that recipients see, or nothing.
    pub name: String,
    /// The address of the relay that is used where no other is given.
    pub relay: Option<String>,
    /// From whom messages are taken.
    pub admission: Admission,
}
