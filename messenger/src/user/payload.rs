//! What stands inside Olm: JSON with an id, a kind, and what goes with that. retalk's clients read and write the same.

use serde::{Deserialize, Serialize};

use super::{Content, NAME_MAX_CHARS};

/// Bytes of a message's id. Those of all clients have 32.
const ID_MAX_BYTES: usize = 64;

const MESSAGE: &str = "msg";
const ACKNOWLEDGEMENT: &str = "ack";

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    id: String,
    kind: String,
    text: Option<String>,
    name: Option<String>,
}

/// Is what was decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Something for the user.
    Message { id: String, claimed_name: Option<String>, content: Content },
    /// The peer has the message of this id.
    Acknowledgement { id: String },
}

/// Writes a message.
pub(super) fn message(id: &str, name: &str, text: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { id, kind: MESSAGE, text: Some(text), name: Some(name) })
}

/// Writes an acknowledgement of the message of this id.
pub(super) fn acknowledgement(id: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { id, kind: ACKNOWLEDGEMENT, text: None, name: None })
}

impl Payload {
    /// Reads what was decrypted. Absent is what no client writes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let json = str::from_utf8(bytes).ok()?;
        let Read { id, kind, text, name } = serde_json::from_str(json).ok()?;
        if id.is_empty() || id.len() > ID_MAX_BYTES {
            return None;
        }
        if kind == ACKNOWLEDGEMENT {
            return Some(Self::Acknowledgement { id });
        }
        let content =
            if kind == MESSAGE { Content::Text(text?) } else { Content::Other { kind, json: json.to_owned() } };
        // More are cut off.
        let name = name.map(|name| name.chars().take(NAME_MAX_CHARS).collect::<String>());
        Some(Self::Message { id, claimed_name: name.filter(|name| !name.is_empty()), content })
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
        assert_eq!(Payload::parse(text), Some(message));
        let ack = br#"{"id": "0123456789abcdef0123456789abcdef", "kind": "ack"}"#;
        assert_eq!(Payload::parse(ack), Some(Payload::Acknowledgement { id }));
        let card = r#"{"id": "1", "kind": "contact", "name": "al", "card": {"fingerprint": "f"}}"#;
        let content = Content::Other { kind: "contact".to_owned(), json: card.to_owned() };
        let message = Payload::Message { id: "1".to_owned(), claimed_name: Some("al".to_owned()), content };
        assert_eq!(Payload::parse(card.as_bytes()), Some(message));
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
        let written = message("1", "a", "line\nline \u{1b}[2J").unwrap();
        let content = Content::Text("line\nline \u{1b}[2J".to_owned());
        let read = Payload::Message { id: "1".to_owned(), claimed_name: Some("a".to_owned()), content };
        assert_eq!(Payload::parse(written.as_bytes()), Some(read));
        assert_eq!(acknowledgement("1").unwrap(), r#"{"id":"1","kind":"ack"}"#);
    }
}
