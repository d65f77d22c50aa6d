//! What a file says of itself, be it true or not: nothing is checked, and nothing is left out because it is wrong.

use std::collections::BTreeMap;

use rendezvous_protocol::capsule::Origins;
use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use rendezvous_protocol::ticket::{Purpose, Ticket};
use rendezvous_protocol::time::UnixMillis;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Cause, Exit};
use crate::source::Source;
use crate::text;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimsError {
    /// Not JSON, or no object.
    #[error("{} is no JSON object: {}", text::printable(.source_name), text::printable(.reason))]
    NotJson {
        /// The file or address.
        source_name: String,
        /// What the parser says.
        reason: String,
    },
}

impl Cause for ClaimsError {
    fn exit(&self) -> Exit {
        Exit::Refused
    }
}

/// What a file says.
#[derive(Debug)]
pub(crate) struct Claims {
    /// How long it is.
    pub(crate) bytes: usize,
    /// All but `peers`.
    pub(crate) fields: BTreeMap<String, Value>,
    /// Where `peers` is a list: each ticket, or what is wrong with its shape.
    pub(crate) peers: Option<Vec<Result<Ticket, String>>>,
}

/// For each entry, who listed it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClaimedOrigins {
    /// The capsule does not say.
    Absent,
    /// It says something that cannot be.
    Malformed,
    /// For each entry the beacons that listed it; none for what the publisher included itself.
    Known(Vec<Vec<String>>),
}

impl Claims {
    /// Reads what was read from `source`.
    pub(crate) fn of(source: &Source, bytes: &[u8]) -> Result<Self, ClaimsError> {
        Self::read(bytes).map_err(|reason| ClaimsError::NotJson { source_name: source.to_string(), reason })
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > CAPSULE_MAX_BYTES {
            return Err(format!("it is longer than {CAPSULE_MAX_BYTES} bytes"));
        }
        let raw: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let peers = raw.get("peers").and_then(|peers| serde_json::from_str::<Vec<&RawValue>>(peers.get()).ok());
        let ticket = |raw: &RawValue| Ticket::parse(raw.get(), Purpose::Presence).map_err(|error| error.to_string());
        let peers = peers.map(|peers| peers.into_iter().map(ticket).collect());
        let fields = raw.into_iter().filter(|(name, _)| name != "peers");
        let fields = fields.map(|(name, raw)| serde_json::from_str(raw.get()).map(|value| (name, value)));
        Ok(Self {
            bytes: bytes.len(),
            fields: fields.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            peers,
        })
    }

    /// A field that is a time.
    pub(crate) fn time(&self, name: &str) -> Option<UnixMillis> {
        self.fields.get(name).and_then(Value::as_u64).and_then(UnixMillis::new)
    }

    /// A field as people read it; `-` where it is absent.
    pub(crate) fn shown(&self, name: &str) -> String {
        match self.fields.get(name) {
            Some(Value::String(text)) => text::printable(text),
            Some(value) => text::printable(&value.to_string()),
            None => "-".to_owned(),
        }
    }

    /// A field that should be a time, as people read it.
    pub(crate) fn shown_time(&self, name: &str, now: UnixMillis) -> String {
        match self.time(name) {
            Some(time) => format!("{} ({})", text::date(time), text::distance(time, now)),
            None => self.shown(name),
        }
    }

    /// The entries that are tickets.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.peers.iter().flatten().flatten()
    }

    /// Who listed each entry.
    pub(crate) fn origins(&self) -> ClaimedOrigins {
        let Some(value) = self.fields.get("origins") else { return ClaimedOrigins::Absent };
        let Some(peers) = &self.peers else { return ClaimedOrigins::Malformed };
        let Ok(Origins { beacons, listed_by }) = Origins::parse(&value.to_string(), peers.len()) else {
            return ClaimedOrigins::Malformed;
        };
        let names = |positions: Vec<usize>| positions.into_iter().filter_map(|at| beacons.get(at).cloned()).collect();
        ClaimedOrigins::Known(listed_by.into_iter().map(names).collect())
    }

    /// Who is revoked, by one of the lists in `revoked`; what is not text is left out.
    pub(crate) fn revoked(&self, list: &str) -> Vec<&str> {
        let list = self.fields.get("revoked").and_then(|revoked| revoked.get(list)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(json: &str) -> ClaimedOrigins {
        Claims::read(json.as_bytes()).unwrap().origins()
    }

    #[test]
    fn origins_are_known_only_where_they_fit_the_entries() {
        let known = origins(r#"{"peers":[1,2],"origins":{"beacons":["https://a.example"],"peers":[[0],[]]}}"#);
        assert_eq!(known, ClaimedOrigins::Known(vec![vec!["https://a.example".to_owned()], vec![]]));
        assert_eq!(origins(r#"{"peers":[]}"#), ClaimedOrigins::Absent);
        for malformed in [
            r#"{"peers":[1],"origins":7}"#,
            r#"{"peers":[1],"origins":{"beacons":[],"peers":[]}}"#,
            r#"{"peers":[1],"origins":{"beacons":[],"peers":[[0]]}}"#,
            r#"{"peers":[1],"origins":{"beacons":[],"peers":[[-1]]}}"#,
            r#"{"origins":{"beacons":[],"peers":[]}}"#,
        ] {
            assert_eq!(origins(malformed), ClaimedOrigins::Malformed, "{malformed}");
        }
    }

    #[test]
    fn what_is_revoked_is_read_from_whatever_is_there() {
        let claims = Claims::read(br#"{"revoked":{"ticketKeys":["a",7],"beacons":"x"}}"#).unwrap();
        assert_eq!(claims.revoked("ticketKeys"), ["a"]);
        assert_eq!(claims.revoked("beacons"), [""; 0]);
        assert_eq!(claims.revoked("publisherKeys"), [""; 0]);
    }
}
