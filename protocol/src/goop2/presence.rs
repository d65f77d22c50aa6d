//! What goop2's peers say of themselves.
//!
//! Read leniently, as their own server does: unknown fields are ignored, `null` is absent. What names or vouches for a
//! person (`email`, `verificationToken`, `verified`) is not even looked at, so it goes nowhere.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;

use crate::fields::{FieldError, Fields};
use crate::goop2::address::keep_addresses;
use crate::goop2::guest_id::GuestId;
use crate::goop2::relay::CircuitRelay;
use crate::limits::{
    DATA_MAX_BYTES, GUEST_ADDRESS_MAX_BYTES, GUEST_ADDRESSES_READ, GUEST_CONTENT_MAX_BYTES, GUEST_FIELD_MAX_BYTES,
    LIVE_MESSAGE_MAX_BYTES,
};
use crate::time::UnixMillis;

/// Says what a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PresenceKind {
    /// The peer is there.
    Online,
    /// The peer is there, and has changed.
    Update,
    /// The peer goes.
    Offline,
}

impl PresenceKind {
    /// Returns how the kind is spelt.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Update => "update",
            Self::Offline => "offline",
        }
    }
}

/// Says why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Not a JSON object with fields of the right types.
    #[error("this is not the JSON of a presence message")]
    NotJson,
    /// Neither `online`, `update` nor `offline`: `punch` is the server's alone.
    #[error("type must be online, update or offline")]
    Kind,
    /// Not a name that goop2 makes.
    #[error("peerId must be the base58btc of an Ed25519 identity with a key that can sign")]
    PeerId,
    /// A text of too many bytes.
    #[error("{field} has more than {most} bytes")]
    TooLong {
        /// Its name.
        field: &'static str,
        /// The most.
        most: usize,
    },
    /// Too many addresses.
    #[error("addrs has more than {GUEST_ADDRESSES_READ} addresses")]
    TooManyAddresses,
}

/// Holds what a peer says of itself, of which none is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceFields {
    /// One line about the peer, at most 4,096 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// The name of the peer's picture, at most 256 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub avatar_hash: String,
    /// Whether the peer takes no calls.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub video_disabled: bool,
    /// The name of the peer's template, at most 256 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active_template: String,
    /// Where the peer is reached, by the rules of section 18.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addrs: Vec<String>,
    /// The key for messages between peers, at most 256 bytes. Without it they fall back to plain text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Whether the peer knows such messages.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encryption_supported: bool,
    /// The version of the peer's program, at most 256 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub goop_client_version: String,
}

/// Holds a message of a peer, without what is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// What it tells.
    pub kind: PresenceKind,
    /// Whom it is about, by its own word.
    pub id: GuestId,
    /// What it says.
    pub fields: PresenceFields,
    /// When it was written, in milliseconds since the epoch by the peer's clock.
    pub ts: i64,
}

impl Presence {
    /// Reads a message, which the host has bounded to
    /// [`GUEST_BODY_MAX_BYTES`](crate::limits::GUEST_BODY_MAX_BYTES). `publisher` is the address that it comes from:
    /// only addresses that lead there, or to a circuit of `relay`, stay in it.
    ///
    /// # Errors
    /// [`PresenceError`] names what is wrong first.
    pub fn parse(text: &[u8], publisher: Option<IpAddr>, relay: Option<&CircuitRelay>) -> Result<Self, PresenceError> {
        let keep = |addresses, id: &GuestId| keep_addresses(addresses, publisher, id, relay);
        Self::read(text, GuestId::new, &keep)
    }

    /// Reads what [`Presence::to_text`] wrote of a message that was read before.
    ///
    /// # Errors
    /// See [`Presence::parse`].
    pub fn trusted(text: &str) -> Result<Self, PresenceError> {
        Self::read(text.as_bytes(), GuestId::trusted, &|addresses, _| addresses)
    }

    fn read(
        text: &[u8],
        name: fn(&str) -> Option<GuestId>,
        keep: &dyn Fn(Vec<String>, &GuestId) -> Vec<String>,
    ) -> Result<Self, PresenceError> {
        let not_json = |_| PresenceError::NotJson;
        let text = std::str::from_utf8(text).map_err(|_| PresenceError::NotJson)?;
        let mut given = Fields::parse(text).map_err(not_json)?.without_nulls();
        let kind = match &*given.text("type").map_err(not_json)? {
            "online" => PresenceKind::Online,
            "update" => PresenceKind::Update,
            "offline" => PresenceKind::Offline,
            _ => return Err(PresenceError::Kind),
        };
        // As goop2's documentation has it, too.
        let [own, other] = ["peerId", "peerID"].map(|field| given.optional_text(field).map_err(not_json));
        let id = match (own?, other?) {
            (Some(id), None) | (None, Some(id)) => name(&id).ok_or(PresenceError::PeerId)?,
            _ => return Err(PresenceError::NotJson),
        };
        let mut fields = PresenceFields::default();
        for (to, field, most) in [
            (&mut fields.content, "content", GUEST_CONTENT_MAX_BYTES),
            (&mut fields.avatar_hash, "avatarHash", GUEST_FIELD_MAX_BYTES),
            (&mut fields.active_template, "activeTemplate", GUEST_FIELD_MAX_BYTES),
            (&mut fields.public_key, "publicKey", GUEST_FIELD_MAX_BYTES),
            (&mut fields.goop_client_version, "goopClientVersion", GUEST_FIELD_MAX_BYTES),
        ] {
            let text = given.optional_text(field).map_err(not_json)?.unwrap_or_default();
            if text.len() > most {
                return Err(PresenceError::TooLong { field, most });
            }
            *to = text.into_owned();
        }
        for (to, field) in
            [(&mut fields.video_disabled, "videoDisabled"), (&mut fields.encryption_supported, "encryptionSupported")]
        {
            *to = given.optional_flag(field).map_err(not_json)?.unwrap_or_default();
        }
        let ts = given.optional_json("ts").map_err(not_json)?.map_or(Ok(0), str::parse);
        let ts = ts.map_err(|_| PresenceError::NotJson)?;
        let addresses = match given.texts("addrs") {
            Err(FieldError::Missing(_)) => Vec::new(),
            addresses => addresses.map_err(not_json)?,
        };
        if addresses.len() > GUEST_ADDRESSES_READ {
            return Err(PresenceError::TooManyAddresses);
        }
        if addresses.iter().any(|address| address.len() > GUEST_ADDRESS_MAX_BYTES) {
            return Err(PresenceError::TooLong { field: "an address", most: GUEST_ADDRESS_MAX_BYTES });
        }
        let addresses = addresses.into_iter().map(Cow::into_owned).collect();
        fields.addrs = keep(addresses, &id);
        Ok(Self { kind, id, fields, ts })
    }

    /// Returns the message that says that a guest is gone.
    pub(crate) fn offline(now: UnixMillis, id: GuestId) -> Self {
        let ts = i64::try_from(now.as_u64()).unwrap_or(i64::MAX);
        Self { kind: PresenceKind::Offline, id, fields: PresenceFields::default(), ts }
    }

    /// Writes the message as it goes to other peers.
    pub fn to_text(&self) -> String {
        let Self { kind, id, fields, ts } = self;
        let written = Written { kind: kind.as_str(), peer_id: id.as_str(), fields, ts: *ts };
        // Texts and numbers can always be written.
        serde_json::to_string(&written).unwrap_or_default()
    }
}

/// Writes messages that tell viewers of `GET /live` of guests: all of these take the place of all before.
pub fn viewers_messages<'a>(guests: impl Iterator<Item = &'a Presence>) -> Vec<String> {
    let mut messages = vec![String::new()];
    for Presence { id, fields, .. } in guests {
        let told = Told {
            peer_id: id.as_str(),
            content: Some(fields.content.as_str()).filter(|text| !text.is_empty() && text.len() <= DATA_MAX_BYTES),
            addrs: &fields.addrs,
            public_key: &fields.public_key,
            verified: false,
        };
        // Texts can always be written.
        let told = serde_json::to_string(&told).unwrap_or_default();
        match messages.last_mut() {
            Some(last) if last.len() + told.len() + ENVELOPE_BYTES <= LIVE_MESSAGE_MAX_BYTES => {
                if !last.is_empty() {
                    last.push(',');
                }
                last.push_str(&told);
            }
            _ => messages.push(told),
        }
    }
    let more = messages.len() - 1;
    let write = |(position, guests): (usize, String)| {
        let more = if position < more { ",\"more\":true" } else { "" };
        format!("{{\"t\":\"guests\",\"guests\":[{guests}]{more}}}")
    };
    messages.into_iter().enumerate().map(write).collect()
}

/// Bytes around the guests of a message, and more.
const ENVELOPE_BYTES: usize = 64;

/// What a viewer is told of a guest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    peer_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    addrs: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    public_key: &'a str,
    verified: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    peer_id: &'a str,
    #[serde(flatten)]
    fields: &'a PresenceFields,
    ts: i64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::goop2::guest_id::tests::id;
    use crate::limits::GUEST_BODY_MAX_BYTES;

    fn parse(text: &str) -> Result<Presence, PresenceError> {
        assert!(text.len() <= GUEST_BODY_MAX_BYTES);
        Presence::parse(text.as_bytes(), None, None)
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn a_message_is_passed_on_without_what_names_or_vouches_for_a_person() {
        let id = id(1);
        let text = format!(
            r#"{{"type":"online","peerId":"{id}","content":"Zoë's \"page\"","email":"zoe@a.example","avatarHash":"ab12",
                "videoDisabled":true,"activeTemplate":"blog","target":"x","addrs":null,"verificationToken":"secret",
                "publicKey":"a2V5","encryptionSupported":true,"goopClientVersion":"2.5.21","ts":1700000000000,
                "verified":true,"unknown":[1]}}"#
        );
        let expected = format!(
            r#"{{"type":"online","peerId":"{id}","content":"Zoë's \"page\"","avatarHash":"ab12","videoDisabled":true,"activeTemplate":"blog","publicKey":"a2V5","encryptionSupported":true,"goopClientVersion":"2.5.21","ts":1700000000000}}"#
        );
        assert_eq!(parse(&text).unwrap().to_text(), expected);
        let read = parse(&text).unwrap();
        assert_eq!(Presence::trusted(&expected), Ok(read), "in another process");
        let shortest = format!(r#"{{"type":"update","peerID":"{id}"}}"#);
        assert_eq!(parse(&shortest).unwrap().to_text(), format!(r#"{{"type":"update","peerId":"{id}","ts":0}}"#));
    }

    #[test]
    fn viewers_are_told_of_guests_as_of_nobody_who_has_proved_anything() {
        let guest = |seed, content: &str| {
            let text =
                format!(r#"{{"type":"online","peerId":"{}","content":"{content}","publicKey":"a2V5"}}"#, id(seed));
            parse(&text).unwrap()
        };
        assert_eq!(viewers_messages([].iter()), [r#"{"t":"guests","guests":[]}"#]);
        let (short, long) = (guest(1, "hello"), guest(2, &"x".repeat(DATA_MAX_BYTES + 1)));
        let expected = format!(
            r#"{{"t":"guests","guests":[{{"peerId":"{}","content":"hello","publicKey":"a2V5","verified":false}},{{"peerId":"{}","publicKey":"a2V5","verified":false}}]}}"#,
            id(1),
            id(2)
        );
        assert_eq!(viewers_messages([&short, &long].into_iter()), [expected]);
        let all: Vec<_> = (0..200).map(|seed| guest(seed, &"x".repeat(DATA_MAX_BYTES))).collect();
        let messages = viewers_messages(all.iter());
        assert!(messages.len() > 1 && messages.iter().all(|text| text.len() <= LIVE_MESSAGE_MAX_BYTES));
        let read: Vec<serde_json::Value> = messages.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let told: usize = read.iter().map(|message| message["guests"].as_array().unwrap().len()).sum();
        let more: Vec<_> = read.iter().map(|message| message["more"] == true).collect();
        let expected: Vec<_> = (1..=read.len()).map(|position| position < read.len()).collect();
        assert_eq!((told, more), (200, expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let id = id(1);
        let with = |fields: &str| parse(&format!(r#"{{"type":"online","peerId":"{id}",{fields}}}"#)).map(|_| ());
        for text in ["", "[]", "online", r#"{"type":"online"}"#, r#"{"type":1,"peerId":"x"}"#] {
            assert_eq!(parse(text), Err(PresenceError::NotJson), "{text}");
        }
        for field in [r#""ts":"now""#, r#""ts":1.5"#, r#""addrs":"x""#, r#""addrs":[1]"#, r#""peerID":"too""#] {
            assert_eq!(with(field), Err(PresenceError::NotJson), "{field}");
        }
        assert_eq!(with(r#""ts":-1"#), Ok(()));
        assert_eq!(with(r#""peerId":"again""#), Err(PresenceError::NotJson));
        for kind in ["punch", "Online", ""] {
            assert_eq!(parse(&format!(r#"{{"type":"{kind}","peerId":"{id}"}}"#)), Err(PresenceError::Kind));
        }
        assert_eq!(parse(r#"{"type":"online","peerId":"peer"}"#), Err(PresenceError::PeerId));
        for (field, most) in [
            ("content", GUEST_CONTENT_MAX_BYTES),
            ("avatarHash", GUEST_FIELD_MAX_BYTES),
            ("activeTemplate", GUEST_FIELD_MAX_BYTES),
            ("publicKey", GUEST_FIELD_MAX_BYTES),
            ("goopClientVersion", GUEST_FIELD_MAX_BYTES),
        ] {
            let of = |length| with(&format!(r#""{field}":"{}""#, "x".repeat(length)));
            assert_eq!((of(most), of(most + 1)), (Ok(()), Err(PresenceError::TooLong { field, most })));
        }
        let addresses = |count, length| with(&format!(r#""addrs":{:?}"#, vec!["x".repeat(length); count]));
        assert_eq!(addresses(20, 256), Ok(()));
        assert_eq!(addresses(21, 1), Err(PresenceError::TooManyAddresses));
        assert!(matches!(addresses(1, 257), Err(PresenceError::TooLong { .. })));
    }
}
