//! What a store keeps, read with the rules that it was written by: what breaks one is an error, and is never taken for none.

use rendezvous_protocol::mailbox::envelope::Verified;
use rendezvous_protocol::mailbox::limits::CONTACT_LIMIT_MAX;
use rendezvous_protocol::mailbox::record::Record;
use rendezvous_protocol::mailbox::sealed::Suite;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Above the highest sequence that a record may have.
const SEQUENCE_END: u64 = 1 << 53;

/// Reads a record that was verified before, as it travels.
pub(crate) fn record<'de, T: Record, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Verified::<T>::trusted(&text).map_err(D::Error::custom)?;
    Ok(text)
}

/// Reads the same where there may be none.
pub(crate) fn optional_record<'de, T: Record, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if let Some(text) = &text {
        Verified::<T>::trusted(text).map_err(D::Error::custom)?;
    }
    Ok(text)
}

/// Reads the number of a message.
pub(crate) fn sequence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let sequence = u64::deserialize(deserializer)?;
    if (1..SEQUENCE_END).contains(&sequence) {
        Ok(sequence)
    } else {
        Err(D::Error::custom("no message has this number"))
    }
}

/// Reads how many messages of a slot may wait.
pub(crate) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let limit = u8::deserialize(deserializer)?;
    if (1..=CONTACT_LIMIT_MAX).contains(&limit) { Ok(limit) } else { Err(D::Error::custom("no slot has this limit")) }
}

/// Reads the number of a suite.
pub(crate) fn suite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let suite = u8::deserialize(deserializer)?;
    if Suite::from_number(suite).is_some() { Ok(suite) } else { Err(D::Error::custom("no suite has this number")) }
}
