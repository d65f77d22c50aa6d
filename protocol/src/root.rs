//! Roots: who may publish for a community, for the day when a publisher's key leaks or is lost.
//!
//! A root names two sets of keys. Root keys are kept offline and sign nothing but roots; publisher keys sign capsules.
//! A reader is given one root beforehand, believes it, and from then on follows the chain: root N + 1 counts if enough
//! of N's root keys signed it. So a stolen publisher key can be taken out, and a stolen root key too, as long as fewer
//! than the threshold are stolen.
//!
//! Out of scope: fetching, and remembering the newest root.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::base64;
use crate::code::Code;
use crate::community::Community;
use crate::fields::json_detail;
use crate::key::PublicKey;
use crate::limits::{ROLE_MAX_KEYS, ROOT_MAX_BYTES};
use crate::object::Object;
use crate::signatures::{Signatures, SignaturesError};
use crate::time::{UnixMillis, saturating_millis};

const TYPE: &str = "root";
const VERSION: u64 = 1;

/// The highest `rootVersion`, 2^53 - 1, for the sake of those who read numbers as doubles.
const ROOT_VERSION_MAX: u64 = (1 << 53) - 1;

/// Says why parts do not make a root. [`RootInvalid::code`] names each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootInvalid {
    /// No keys in a role, or too many.
    #[error("a role has 1 to {ROLE_MAX_KEYS} keys, not {count}")]
    KeyCount {
        /// How many.
        count: usize,
    },
    /// Nobody would have to sign, or more than could.
    #[error("a threshold of {threshold} is impossible with {keys} keys: it is 1 to {keys}")]
    Threshold {
        /// How many keys would have to sign.
        threshold: usize,
        /// How many there are.
        keys: usize,
    },
    /// A key that is used every day would open the safe.
    #[error("the key {key} is in both roles: a root key signs nothing but roots")]
    KeyInBothRoles {
        /// The key.
        key: PublicKey,
    },
    /// A number that no root has.
    #[error("rootVersion is 1 to 2^53 - 1, not {root_version}")]
    RootVersion {
        /// The number.
        root_version: u64,
    },
}

impl RootInvalid {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyCount { .. } | Self::Threshold { .. } | Self::KeyInBothRoles { .. } | Self::RootVersion { .. } => {
                Code::Malformed.as_str()
            }
        }
    }
}

/// Says whose root keys have to sign a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Those of the root before it, which thereby hands over.
    ByPredecessor,
    /// Its own, which thereby show that they are there.
    ByItself,
}

impl Signed {
    const fn whose(self) -> &'static str {
        match self {
            Self::ByPredecessor => "the root keys of the root before it",
            Self::ByItself => "its own root keys",
        }
    }
}

/// Says why a root is refused. [`RootError::code`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Larger than any root may be.
    #[error("the root is longer than {ROOT_MAX_BYTES} bytes")]
    TooLarge,
    /// The file beside it is not a signatures file.
    #[error("{0}")]
    SignaturesMalformed(#[from] SignaturesError),
    /// Too few of those who have to sign it did.
    #[error("{signed} of {} have signed the root, {threshold} have to", .by.whose())]
    ThresholdNotMet {
        /// Whose root keys.
        by: Signed,
        /// How many signed.
        signed: usize,
        /// How many have to.
        threshold: usize,
    },
    /// Not the JSON of a root.
    #[error("root: {0}")]
    Malformed(String),
    /// Parts that do not go together.
    #[error("root: {0}")]
    Invalid(#[from] RootInvalid),
    /// Another version than 1.
    #[error("version {found} of roots is not supported, only {VERSION}")]
    UnsupportedVersion {
        /// What the root says.
        found: u64,
    },
    /// For another community than the root before it.
    #[error("the root is for the community {found}, and the one before it for {expected}")]
    CommunityMismatch {
        /// What the root says.
        found: Community,
        /// What the root before it says.
        expected: Community,
    },
    /// Not the one that comes next.
    #[error("the root's rootVersion is {found}, where {expected} comes next")]
    OutOfSequence {
        /// What the root says.
        found: u64,
        /// What comes next.
        expected: u64,
    },
    /// Over: nobody knows whether it has a successor that is being kept from this reader.
    #[error("the root expired {} ms ago", saturating_millis(now.since(*.expires_at)))]
    Expired {
        /// The root's.
        expires_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
}

impl RootError {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Malformed(_) => Code::Malformed.as_str(),
            Self::Invalid(invalid) => invalid.code(),
            Self::SignaturesMalformed(error) => error.code(),
            Self::ThresholdNotMet { .. } => Code::ThresholdNotMet.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::CommunityMismatch { .. } => Code::CommunityMismatch.as_str(),
            Self::OutOfSequence { .. } => Code::RootOutOfSequence.as_str(),
            Self::Expired { .. } => Code::RootExpired.as_str(),
        }
    }
}

/// Holds keys, and how many of them have to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    threshold: usize,
    keys: BTreeSet<PublicKey>,
}

impl Role {
    /// Takes 1 to 16 keys and a threshold of 1 to their number.
    ///
    /// # Errors
    /// [`RootInvalid::KeyCount`], [`RootInvalid::Threshold`].
    pub fn new(threshold: usize, keys: BTreeSet<PublicKey>) -> Result<Self, RootInvalid> {
        if !(1..=ROLE_MAX_KEYS).contains(&keys.len()) {
            return Err(RootInvalid::KeyCount { count: keys.len() });
        }
        if !(1..=keys.len()).contains(&threshold) {
            return Err(RootInvalid::Threshold { threshold, keys: keys.len() });
        }
        Ok(Self { threshold, keys })
    }

    /// Returns how many of the keys have to sign.
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Returns the keys.
    pub const fn keys(&self) -> &BTreeSet<PublicKey> {
        &self.keys
    }

    fn check(&self, by: Signed, message: &[u8], signatures: &Signatures) -> Result<(), RootError> {
        let signed = signatures.signers(message, &self.keys).len();
        if signed < self.threshold {
            return Err(RootError::ThresholdNotMet { by, signed, threshold: self.threshold });
        }
        Ok(())
    }

    fn to_json(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(|key| format!("\"{key}\"")).collect();
        format!("{{\"threshold\":{},\"keys\":[\n{}\n]}}", self.threshold, keys.join(",\n"))
    }
}

/// Says who may publish for a community.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    community: Community,
    root_version: u64,
    expires_at: UnixMillis,
    root_keys: Role,
    publisher_keys: Role,
}

/// Fields that are not here are refused: what a root says, every reader understands.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RootFields {
    r#type: String,
    version: u64,
    community: String,
    root_version: u64,
    expires_at: UnixMillis,
    root_keys: Object<RoleFields>,
    publisher_keys: Object<RoleFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleFields {
    threshold: usize,
    keys: Vec<String>,
}

impl RoleFields {
    fn into_role(self) -> Result<Role, RootError> {
        let mut keys = BTreeSet::new();
        for text in &self.keys {
            let key = base64::decode_array(text).map(PublicKey::from_bytes);
            let key = key.ok_or_else(|| RootError::Malformed("a key must be the base64 of 32 bytes".to_owned()))?;
            // Twice in the list, it would look like two people.
            if !keys.insert(key) {
                return Err(RootError::Malformed(format!("the key {key} is twice in one role")));
            }
        }
        Ok(Role::new(self.threshold, keys)?)
    }
}

impl Root {
    /// Puts a root together. `root_version` is 1 for the first, and one more for each after it.
    ///
    /// # Errors
    /// [`RootInvalid::RootVersion`], [`RootInvalid::KeyInBothRoles`].
    pub fn new(
        community: Community,
        root_version: u64,
        expires_at: UnixMillis,
        root_keys: Role,
        publisher_keys: Role,
    ) -> Result<Self, RootInvalid> {
        if !(1..=ROOT_VERSION_MAX).contains(&root_version) {
            return Err(RootInvalid::RootVersion { root_version });
        }
        if let Some(key) = root_keys.keys.intersection(&publisher_keys.keys).next() {
            return Err(RootInvalid::KeyInBothRoles { key: *key });
        }
        Ok(Self { community, root_version, expires_at, root_keys, publisher_keys })
    }

    /// Returns the name of the file that readers look for.
    pub fn file_name(root_version: u64) -> String {
        format!("{root_version}.root.json")
    }

    /// Returns the only community that it speaks of.
    pub const fn community(&self) -> &Community {
        &self.community
    }

    /// Returns its number in the chain, from 1.
    pub const fn root_version(&self) -> u64 {
        self.root_version
    }

    /// Returns when it ends, unless a successor takes its place.
    pub const fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    /// Returns the keys that sign the next root.
    pub const fn root_keys(&self) -> &Role {
        &self.root_keys
    }

    /// Returns the keys that sign capsules.
    pub const fn publisher_keys(&self) -> &Role {
        &self.publisher_keys
    }

    /// Writes the file: the same root gives the same bytes, one key a line, so that two roots can be compared line by
    /// line.
    pub fn to_json(&self) -> String {
        let Self { community, root_version, expires_at, root_keys, publisher_keys } = self;
        format!(
            "{{\"type\":\"{TYPE}\",\"version\":{VERSION},\"community\":\"{community}\",\
             \"rootVersion\":{root_version},\"expiresAt\":{expires_at},\n\
             \"rootKeys\":{},\n\"publisherKeys\":{}}}\n",
            root_keys.to_json(),
            publisher_keys.to_json()
        )
    }

    /// Reads a root that is believed without signatures: the one that a reader was given beforehand, or has remembered.
    ///
    /// # Errors
    /// `MALFORMED`, then `UNSUPPORTED_VERSION`.
    pub fn parse(json: &[u8]) -> Result<Self, RootError> {
        check_size(json)?;
        let Object(fields): Object<RootFields> =
            serde_json::from_slice(json).map_err(|error| RootError::Malformed(json_detail(&error)))?;
        if fields.r#type != TYPE {
            return Err(RootError::Malformed(format!("the type must be {TYPE}")));
        }
        let community = Community::new(&fields.community).map_err(|error| RootError::Malformed(error.to_string()))?;
        let (root_keys, publisher_keys) = (fields.root_keys.0.into_role()?, fields.publisher_keys.0.into_role()?);
        let root = Self::new(community, fields.root_version, fields.expires_at, root_keys, publisher_keys)?;
        if fields.version != VERSION {
            return Err(RootError::UnsupportedVersion { found: fields.version });
        }
        Ok(root)
    }

    /// Checks that the root in `json` is the one that comes after this one. Its expiry is not looked at: those on the
    /// way to the newest may be over.
    ///
    /// # Errors
    /// The first rule that it breaks, in the order of the specification: nothing is parsed that is not signed.
    pub fn succeed(&self, json: &[u8], signatures: &Signatures) -> Result<Self, RootError> {
        check_size(json)?;
        self.root_keys.check(Signed::ByPredecessor, json, signatures)?;
        let root = Self::parse(json)?;
        self.check_successor(&root)?;
        root.root_keys.check(Signed::ByItself, json, signatures)?;
        Ok(root)
    }

    /// Checks what no signature can make a successor: that `root` is for the same community, and comes next.
    ///
    /// # Errors
    /// [`RootError::CommunityMismatch`], then [`RootError::OutOfSequence`].
    pub fn check_successor(&self, root: &Self) -> Result<(), RootError> {
        if root.community != self.community {
            let (found, expected) = (root.community.clone(), self.community.clone());
            return Err(RootError::CommunityMismatch { found, expected });
        }
        // Not a later one either: its signers may have been taken out in between. (2^53 - 1 has no successor.)
        let expected = self.root_version.saturating_add(1);
        if root.root_version != expected {
            return Err(RootError::OutOfSequence { found: root.root_version, expected });
        }
        Ok(())
    }

    /// Checks that it is not over. Asked of the newest one only.
    ///
    /// # Errors
    /// [`RootError::Expired`].
    pub const fn check_expiry(&self, now: UnixMillis) -> Result<(), RootError> {
        if self.expires_at.as_u64() <= now.as_u64() {
            return Err(RootError::Expired { expires_at: self.expires_at, now });
        }
        Ok(())
    }
}

const fn check_size(json: &[u8]) -> Result<(), RootError> {
    if json.len() > ROOT_MAX_BYTES { Err(RootError::TooLarge) } else { Ok(()) }
}
