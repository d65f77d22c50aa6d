//! What stands inside Olm: JSON with an id, a kind, and what goes with that. retalk's clients read and write the same, but for
//! the field `mailbox`, which they pass over: it says that the writer's program takes messages by mailboxes, and offers one.

use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::retalk::user::{Identity, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::Content;
use super::naming::NAME_MAX_CHARS;

/// Bytes of a message's id. Those of all clients have 32.
const ID_MAX_BYTES: usize = 64;

const MESSAGE: &str = "msg";
const ACKNOWLEDGEMENT: &str = "ack";
const CONTACT_REQUEST: &str = "contact_request";

/// The version of what the field `mailbox` says.
const OFFER_VERSION: u64 = 1;

/// Says that the writer's program takes offers of mailboxes, and offers its user's own, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    version: u64,
    /// The invite to the slot that the owner has listed for the reader alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) invite: Option<String>,
}

impl Offer {
    /// Writes the version that this program reads.
    pub(super) const fn new(invite: Option<String>) -> Self {
        Self { version: OFFER_VERSION, invite }
    }
}

/// Says what a peer's program says of mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// Nothing, or something of another version.
    Nothing,
    /// That it takes offers, and perhaps one.
    Takes(Option<Invite>),
    /// Something that breaks the rules of this version.
    Unreadable,
}

impl Offered {
    fn read(value: Option<Value>) -> Self {
        let Some(value) = value else { return Self::Nothing };
        if value.get("version").and_then(Value::as_u64).is_some_and(|version| version != OFFER_VERSION) {
            return Self::Nothing;
        }
        let Ok(Offer { invite, .. }) = serde_json::from_value(value) else { return Self::Unreadable };
        match invite.as_deref().map(Invite::parse).transpose() {
            Ok(invite) => Self::Takes(invite),
            Err(_) => Self::Unreadable,
        }
    }
}

/// Says of a user what a contact's programs keep, as retalk's write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    /// What the user is called by itself.
    #[serde(default)]
    pub(super) name: String,
    fingerprint: String,
    identity_key: String,
    signing_key: String,
    #[serde(default)]
    verified: bool,
}

impl Card {
    /// Writes the card of a user with these keys.
    pub(super) fn new(name: &str, identity: &Identity) -> Self {
        Self {
            name: name.to_owned(),
            fingerprint: identity.user_id().to_string(),
            identity_key: identity.identity_key().to_owned(),
            signing_key: identity.signing_key().to_owned(),
            verified: true,
        }
    }

    /// Returns whether the keys are this user's, by name and by hash.
    pub(super) fn is_of(&self, user: UserId) -> bool {
        let identity = Identity::parse(&self.identity_key, &self.signing_key);
        self.fingerprint == user.to_string() && identity.is_some_and(|identity| identity.user_id() == user)
    }
}

#[derive(Serialize)]
struct WrittenRequest<'a> {
    id: &'a str,
    kind: &'a str,
    code: &'a str,
    card: &'a Card,
    mailbox: &'a Offer,
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    mailbox: &'a Offer,
}

#[derive(Deserialize)]
struct Read {
    id: String,
    kind: String,
    text: Option<String>,
    name: Option<String>,
    code: Option<Value>,
    card: Option<Value>,
    mailbox: Option<Value>,
}

/// Is what was decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Something for the user.
    Message { id: String, claimed_name: Option<String>, content: Content },
    /// The peer has the message of this id.
    Acknowledgement { id: String },
    /// The peer asks to be made a contact. A code or a card that cannot be read is like none.
    ContactRequest { id: String, code: String, card: Option<Card> },
}

/// Writes a message.
pub(super) fn message(id: &str, name: &str, text: &str, mailbox: &Offer) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { id, kind: MESSAGE, text: Some(text), name: Some(name), mailbox })
}

/// Writes an acknowledgement of the message of this id.
pub(super) fn acknowledgement(id: &str, mailbox: &Offer) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { id, kind: ACKNOWLEDGEMENT, text: None, name: None, mailbox })
}

/// Writes the request of whoever has this card to be made a contact, by this code.
pub(super) fn contact_request(id: &str, code: &str, card: &Card, mailbox: &Offer) -> Result<String, serde_json::Error> {
    serde_json::to_string(&WrittenRequest { id, kind: CONTACT_REQUEST, code, card, mailbox })
}

impl Payload {
    /// Reads what was decrypted, and what stands beside it of mailboxes. Absent is what no client writes.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, Offered)> {
        let json = str::from_utf8(bytes).ok()?;
        let Read { id, kind, text, name, code, card, mailbox } = serde_json::from_str(json).ok()?;
        if id.is_empty() || id.len() > ID_MAX_BYTES {
            return None;
        }
        let offered = Offered::read(mailbox);
        if kind == ACKNOWLEDGEMENT {
            return Some((Self::Acknowledgement { id }, offered));
        }
        if kind == CONTACT_REQUEST {
            let code = code.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            let card = card.and_then(|card| serde_json::from_value(card).ok());
            return Some((Self::ContactRequest { id, code, card }, offered));
        }
        let content =
            if kind == MESSAGE { Content::Text(text?) } else { Content::Other { kind, json: json.to_owned() } };
        // More are cut off.
        let name = name.map(|name| name.chars().take(NAME_MAX_CHARS).collect::<String>());
        Some((Self::Message { id, claimed_name: name.filter(|name| !name.is_empty()), content }, offered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retalks_clients_write_is_read() {
        // As Python's json.dumps writes it.
        let text =
            br#"{"id": "0123456789abcdef0123456789abcdef", "kind": "msg", "text": "h\u00e9 \ud834\udd1e", "name": ""}"#;
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        let message =
            Payload::Message { id: id.clone(), claimed_name: None, content: Content::Text("hé 𝄞".to_owned()) };
        assert_eq!(Payload::parse(text), Some((message, Offered::Nothing)));
        let ack = br#"{"id": "0123456789abcdef0123456789abcdef", "kind": "ack"}"#;
        assert_eq!(Payload::parse(ack), Some((Payload::Acknowledgement { id }, Offered::Nothing)));
        let card = r#"{"id": "1", "kind": "contact", "name": "al", "card": {"fingerprint": "f"}}"#;
        let content = Content::Other { kind: "contact".to_owned(), json: card.to_owned() };
        let message = Payload::Message { id: "1".to_owned(), claimed_name: Some("al".to_owned()), content };
        assert_eq!(Payload::parse(card.as_bytes()), Some((message, Offered::Nothing)));
    }

    #[test]
    fn what_no_client_writes_is_not_read() {
        let long = format!(r#"{{"id":"{}","kind":"ack"}}"#, "x".repeat(65));
        for text in [
            "",
            "[]",
            "null",
            r#"{"id":"1"}"#,
            r#"{"id":"","kind":"ack"}"#,
            r#"{"id":1,"kind":"ack"}"#,
            r#"{"id":"1","kind":"msg"}"#,
            r#"{"id":"1","kind":"msg","text":7}"#,
            r#"{"id":"1","kind":"msg","text":"\ud834"}"#,
            &long,
        ] {
            assert_eq!(Payload::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Payload::parse(b"{\"id\":\"\xff\",\"kind\":\"ack\"}"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = message("1", "a", "line\nline \u{1b}[2J", &Offer::new(None)).unwrap();
        let content = Content::Text("line\nline \u{1b}[2J".to_owned());
        let read = Payload::Message { id: "1".to_owned(), claimed_name: Some("a".to_owned()), content };
        assert_eq!(Payload::parse(written.as_bytes()), Some((read, Offered::Takes(None))));
        let written = acknowledgement("1", &Offer::new(None)).unwrap();
        assert_eq!(written, r#"{"id":"1","kind":"ack","mailbox":{"version":1}}"#);
    }

    #[test]
    fn a_contact_request_is_what_retalks_clients_write_and_says_whose_it_is() {
        let key = |byte: u8| rendezvous_protocol::base64::encode(&[byte; 32]).trim_end_matches('=').to_owned();
        let identity = Identity::parse(&key(1), &key(2)).unwrap();
        let (user, card) = (identity.user_id(), Card::new("carol", &identity));
        let written = contact_request("1", "the code", &card, &Offer::new(None)).unwrap();
        let expected = format!(
            r#"{{"id":"1","kind":"contact_request","code":"the code","card":{{"name":"carol","fingerprint":"{user}","identity_key":"{}","signing_key":"{}","verified":true}},"mailbox":{{"version":1}}}}"#,
            key(1),
            key(2)
        );
        assert_eq!(written, expected);
        let request = |code: &str, card: Option<Card>| Payload::ContactRequest {
            id: "1".to_owned(),
            code: code.to_owned(),
            card,
        };
        let (read, _) = Payload::parse(written.as_bytes()).unwrap();
        assert_eq!(read, request("the code", Some(card.clone())));
        let other = "00112233445566778899aabbccddeeff".parse().unwrap();
        assert!(card.is_of(user) && !card.is_of(other));
        let another = Identity::parse(&key(1), &key(3)).unwrap();
        assert!(!Card { fingerprint: user.to_string(), ..Card::new("carol", &another) }.is_of(user));
        assert!(!Card { fingerprint: other.to_string(), ..card }.is_of(other));
        for (text, code) in [
            (r#"{"id":"1","kind":"contact_request"}"#, ""),
            (r#"{"id":"1","kind":"contact_request","code":7,"card":[]}"#, ""),
            (r#"{"id":"1","kind":"contact_request","code":"c","card":{"fingerprint":"f"}}"#, "c"),
        ] {
            assert_eq!(Payload::parse(text.as_bytes()).unwrap().0, request(code, None), "{text}");
        }
    }

    #[test]
    fn an_offer_is_read_or_said_to_be_unreadable_and_loses_no_message() {
        let owner = rendezvous_protocol::key::PrivateKey::from_seed(&[1; 32]).public_key();
        let relay = rendezvous_protocol::origin::Origin::parse("https://relay.example").unwrap();
        let invite = Invite::new([2; 32], owner, vec![relay]).unwrap();
        let written = acknowledgement("1", &Offer::new(Some(invite.to_text().unwrap()))).unwrap();
        let read = |text: &str| Payload::parse(text.as_bytes()).unwrap();
        let ack = Payload::Acknowledgement { id: "1".to_owned() };
        assert_eq!(read(&written), (ack.clone(), Offered::Takes(Some(invite))));
        for (mailbox, expected) in [
            (r#"{"version":2,"invite":7}"#, Offered::Nothing),
            (r#"{"version":1,"invite":"rendezvous:x"}"#, Offered::Unreadable),
            (r#"{"version":1,"invite":7}"#, Offered::Unreadable),
            (r#"{"version":"1"}"#, Offered::Unreadable),
            ("7", Offered::Unreadable),
        ] {
            let text = format!(r#"{{"id":"1","kind":"ack","mailbox":{mailbox}}}"#);
            assert_eq!(read(&text), (ack.clone(), expected), "{mailbox}");
        }
    }
}
