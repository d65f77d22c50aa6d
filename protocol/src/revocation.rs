//! Revocations: the keys and the beacons that a publisher warns of.
//!
//! They travel in the field `revoked` of a capsule, and the publisher keeps them in a file `revoked.json` of the same
//! form. What each of them means to a reader is in section 7 of the specification; here is only what they say.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::base64;
use crate::beacon_url::{BeaconUrl, is_normal};
use crate::canonical::canonical;
use crate::code::Code;
use crate::fields::{json_detail, shortened};
use crate::key::PublicKey;
use crate::limits::{BEACON_URL_MAX_BYTES, REVOCATIONS_MAX, REVOCATIONS_MAX_BYTES};
use crate::object::{Object, present};

/// All that revocations have.
const FIELDS: &str = "ticketKeys, publisherKeys and beacons";

/// Says why a text is not a list of revocations. [`RevocationError::code`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// Larger than a capsule could carry.
    #[error("the revocations are longer than {REVOCATIONS_MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON of revocations.
    #[error("revocations: {0}")]
    Malformed(String),
    /// Too many in one list.
    #[error("revocations: {list} has {count} entries, at most {REVOCATIONS_MAX} are allowed")]
    TooMany {
        /// The list's name.
        list: &'static str,
        /// How many.
        count: usize,
    },
    /// Something else than a key. It is not repeated: it may be a private one in the wrong place.
    #[error("revocations: entry {position} of {list} is not the base64 of 32 bytes")]
    Key {
        /// The list's name.
        list: &'static str,
        /// Counted from 1.
        position: usize,
    },
    /// A field of the publisher's own file that no reader knows: a misspelt list would revoke nothing.
    #[error("revocations: the field {name:?} has no meaning here, only {FIELDS} have")]
    UnknownField {
        /// Its name.
        name: String,
    },
    /// Something else than the URL of a beacon, or another spelling of it, which would match nothing.
    #[error(
        "revocations: {url:?} is not the URL of a beacon in its normal form, of 1 to {BEACON_URL_MAX_BYTES} bytes, \
         without fragment and without a slash at its end"
    )]
    Beacon {
        /// What is there.
        url: String,
    },
}

impl RevocationError {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge
            | Self::Malformed(_)
            | Self::TooMany { .. }
            | Self::Key { .. }
            | Self::UnknownField { .. }
            | Self::Beacon { .. } => Code::Malformed.as_str(),
        }
    }
}

/// Holds what is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Peers whose tickets are refused, wherever they come from.
    pub ticket_keys: BTreeSet<PublicKey>,
    /// Publishers whose signatures count for nothing from the next capsule on.
    pub publisher_keys: BTreeSet<PublicKey>,
    /// Beacons that are not asked, each in its one spelling.
    pub beacons: BTreeSet<String>,
}

/// In a capsule, fields that are not here are allowed, and ignored: it may be from a later version.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RevocationFields {
    #[serde(deserialize_with = "present")]
    ticket_keys: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    publisher_keys: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    beacons: Option<Vec<String>>,
}

impl TryFrom<RevocationFields> for Revocations {
    type Error = RevocationError;

    fn try_from(fields: RevocationFields) -> Result<Self, RevocationError> {
        Ok(Self {
            ticket_keys: read_list("ticketKeys", fields.ticket_keys, read_key)?,
            publisher_keys: read_list("publisherKeys", fields.publisher_keys, read_key)?,
            beacons: read_list("beacons", fields.beacons, |_, _, url| read_beacon(url))?,
        })
    }
}

impl Revocations {
    /// Reads a file `revoked.json`, the publisher's own: other fields than the three are refused in it.
    ///
    /// # Errors
    /// See [`RevocationError`].
    pub fn parse(json: &[u8]) -> Result<Self, RevocationError> {
        if json.len() > REVOCATIONS_MAX_BYTES {
            return Err(RevocationError::TooLarge);
        }
        let Object(fields): Object<RevocationFields> =
            serde_json::from_slice(json).map_err(|error| RevocationError::Malformed(json_detail(&error)))?;
        let names: BTreeMap<String, IgnoredAny> =
            serde_json::from_slice(json).map_err(|error| RevocationError::Malformed(json_detail(&error)))?;
        let is_known = |name: &String| matches!(name.as_str(), "ticketKeys" | "publisherKeys" | "beacons");
        match names.into_keys().find(|name| !is_known(name)) {
            Some(name) => Err(RevocationError::UnknownField { name: shortened(&name) }),
            None => fields.try_into(),
        }
    }

    /// Writes the canonical JSON, with all three lists, that a capsule carries and a file can hold.
    pub fn to_json(&self) -> String {
        let texts = |keys: &BTreeSet<PublicKey>| keys.iter().map(PublicKey::to_string).collect::<BTreeSet<_>>();
        canonical(&json!({
            "ticketKeys": texts(&self.ticket_keys),
            "publisherKeys": texts(&self.publisher_keys),
            "beacons": self.beacons,
        }))
    }

    /// Returns whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.ticket_keys.is_empty() && self.publisher_keys.is_empty() && self.beacons.is_empty()
    }

    /// Returns whether a beacon is not to be asked.
    pub fn revokes(&self, beacon: &BeaconUrl) -> bool {
        self.beacons.contains(beacon.as_str())
    }
}

fn read_list<T: Ord>(
    name: &'static str,
    list: Option<Vec<String>>,
    read: impl Fn(&'static str, usize, String) -> Result<T, RevocationError>,
) -> Result<BTreeSet<T>, RevocationError> {
    let list = list.unwrap_or_default();
    check_count(name, list.len())?;
    list.into_iter().enumerate().map(|(position, entry)| read(name, position + 1, entry)).collect()
}

const fn check_count(list: &'static str, count: usize) -> Result<(), RevocationError> {
    if count > REVOCATIONS_MAX { Err(RevocationError::TooMany { list, count }) } else { Ok(()) }
}

fn read_key(list: &'static str, position: usize, key: String) -> Result<PublicKey, RevocationError> {
    base64::decode_array(&key).map(PublicKey::from_bytes).ok_or(RevocationError::Key { list, position })
}

fn read_beacon(url: String) -> Result<String, RevocationError> {
    if is_normal(&url) { Ok(url) } else { Err(RevocationError::Beacon { url: shortened(&url) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=";

    #[test]
    fn what_is_written_is_what_is_read_and_unchanged() {
        let json = format!(
            r#"{{"beacons":["https://a.example","https://b.example:8443/x"],"publisherKeys":[],"ticketKeys":["{KEY}"]}}"#
        );
        assert_eq!(Revocations::parse(json.as_bytes()).unwrap().to_json(), json);
        assert_eq!(Revocations::parse(b"{}"), Ok(Revocations::default()));
    }

    #[test]
    fn one_spelling_of_a_beacon_is_right() {
        let long = format!("https://a.example/{}", "x".repeat(2_030));
        for (text, is_right) in [
            ("https://beacon.example", true),
            ("https://beacon.example:8443/x?y", true),
            (&long, true),
            (&format!("{long}x"), false),
            ("https://beacon.example/", false),
            ("https://beacon.example#x", false),
            ("https://Beacon.example", false),
            ("https://beacon.example:443", false),
            ("https://b\u{fc}cher.example", false),
            ("", false),
            ("beacon.example", false),
            ("https://", false),
        ] {
            let json = json!({ "beacons": [text] }).to_string();
            assert_eq!(Revocations::parse(json.as_bytes()).is_ok(), is_right, "{text}");
        }
        let revocations = Revocations::parse(br#"{"beacons":["https://beacon.example/eu"]}"#).unwrap();
        let revokes = |text: &str| revocations.revokes(&BeaconUrl::parse(text).unwrap());
        assert!(revokes("HTTPS://Beacon.Example:443/eu/") && !revokes("https://beacon.example"));
    }

    #[test]
    fn a_field_that_no_reader_knows_is_named() {
        for (json, name) in [
            (r#"{"reason":"stolen"}"#, "reason"),
            (&format!(r#"{{"ticketkeys":["{KEY}"]}}"#), "ticketkeys"),
            (&format!(r#"{{"ticketKeys":[],"ticket_keys":["{KEY}"]}}"#), "ticket_keys"),
            (&format!(r#"{{"revoked":{{"ticketKeys":["{KEY}"]}}}}"#), "revoked"),
        ] {
            let error = Revocations::parse(json.as_bytes()).unwrap_err();
            assert_eq!(error, RevocationError::UnknownField { name: name.to_owned() });
        }
        let error = Revocations::parse(br#"{"ticketKeys":["secret"]}"#).unwrap_err();
        assert_eq!(error, RevocationError::Key { list: "ticketKeys", position: 1 });
    }

    #[test]
    fn anything_else_is_refused() {
        let many = vec![KEY; REVOCATIONS_MAX + 1];
        for json in [
            json!([]),
            json!({ "ticketKeys": null }),
            json!({ "ticketKeys": KEY }),
            json!({ "ticketKeys": [1] }),
            json!({ "publisherKeys": [""] }),
            json!({ "publisherKeys": ["A"] }),
            json!({ "beacons": {} }),
            json!({ "ticketKeys": many }),
        ] {
            let error = Revocations::parse(json.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.code(), "MALFORMED");
        }
        assert_eq!(Revocations::parse(&vec![b' '; REVOCATIONS_MAX_BYTES + 1]), Err(RevocationError::TooLarge));
    }
}
