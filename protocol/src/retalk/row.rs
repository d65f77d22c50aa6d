//! What one mailbox keeps in storage: rows of words, separated by spaces, each with a name of its own, and messages, each with
//! a number. No address is among them: where a message came from is a salted hash.

use std::collections::VecDeque;

use super::request::{MessageKind, Prekey};
use super::user::UserId;
use crate::mailbox::bytes::Bytes;
use crate::time::UnixMillis;
use crate::words::{NONE, bytes, time, words};

/// The names of rows.
pub(super) const KEYS: &str = "keys";
pub(super) const CLAIMS: &str = "claims";
pub(super) const READ_ON: &str = "read-on";
pub(super) const NONCE: &str = "nonce ";
pub(super) const NONCES: &str = "nonces ";
pub(super) const REFUSED: &str = "refused ";
pub(super) const CORRESPONDENT: &str = "correspondent ";

fn list<T>(text: &str, separator: char, parse: impl Fn(&str) -> Option<T>) -> Option<VecDeque<T>> {
    if text == NONE { Some(VecDeque::new()) } else { text.split(separator).map(parse).collect() }
}

fn list_text(items: impl Iterator<Item = String>, separator: &str) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(separator) }
}

/// Holds what others begin sessions with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) identity_key: String,
    pub(super) signing_key: String,
    pub(super) fallback: Option<Prekey>,
    /// The oldest first.
    pub(super) one_time: VecDeque<Prekey>,
    /// The beginnings of hashes of keys that were served, the oldest first.
    pub(super) served: VecDeque<Bytes<8>>,
}

impl Keys {
    pub(super) fn to_text(&self) -> String {
        let Self { identity_key, signing_key, fallback, one_time, served } = self;
        // No colon, comma or space is in a name or in base64.
        let prekey = |Prekey { id, key }: &Prekey| format!("{id}:{key}");
        let fallback = list_text(fallback.iter().map(prekey), ",");
        let one_time = list_text(one_time.iter().map(prekey), ",");
        let served = list_text(served.iter().map(ToString::to_string), ",");
        format!("{identity_key} {signing_key} {fallback} {one_time} {served}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let [identity_key, signing_key, fallback, one_time, served] = words(text)?;
        let prekey = |text: &str| text.split_once(':').and_then(|(id, key)| Prekey::parse(id, key));
        let mut fallbacks = list(fallback, ',', prekey)?;
        let fallback = fallbacks.pop_front();
        fallbacks.is_empty().then_some(Self {
            identity_key: identity_key.to_owned(),
            signing_key: signing_key.to_owned(),
            fallback,
            one_time: list(one_time, ',', prekey)?,
            served: list(served, ',', bytes)?,
        })
    }
}

/// Notes a claim that got a one-time key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) at: UnixMillis,
    pub(super) by: UserId,
    /// A salted hash.
    pub(super) site: Bytes<8>,
}

impl Claim {
    pub(super) fn list_text(claims: &VecDeque<Self>) -> String {
        list_text(claims.iter().map(|Self { at, by, site }| format!("{at}:{by}:{site}")), ",")
    }

    pub(super) fn parse_list(text: &str) -> Option<VecDeque<Self>> {
        list(text, ',', |text| {
            let (at, rest) = text.split_once(':')?;
            let (by, site) = rest.split_once(':')?;
            Some(Self { at: time(at)?, by: by.parse().ok()?, site: bytes(site)? })
        })
    }
}

/// Holds what is known of a message that waits, besides its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) from: UserId,
    pub(super) kind: MessageKind,
    pub(super) received_at: UnixMillis,
    /// The SHA-256 of its text.
    pub(super) body: Bytes<32>,
    /// The characters of its text.
    pub(super) size: u64,
    /// A salted hash of where it came from.
    pub(super) site: Bytes<8>,
}

impl Waiting {
    pub(super) fn to_text(self) -> String {
        let Self { from, kind, received_at, body, size, site } = self;
        format!("{from} {} {received_at} {body} {size} {site}", kind.number())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let [from, kind, received_at, body, size, site] = words(text)?;
        Some(Self {
            from: from.parse().ok()?,
            kind: MessageKind::of(kind.parse().ok()?)?,
            received_at: time(received_at)?,
            body: bytes(body)?,
            size: size.parse().ok()?,
            site: bytes(site)?,
        })
    }
}

/// Holds what a sender of a body is shown that the owner refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedBody {
    pub(super) at: UnixMillis,
    /// The owner's signature, as the owner wrote it.
    pub(super) signature: String,
}

impl RefusedBody {
    pub(super) fn to_text(&self) -> String {
        format!("{} {}", self.at, self.signature)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let [at, signature] = words(text)?;
        Some(Self { at: time(at)?, signature: signature.to_owned() })
    }
}

/// Reads a row that is a time.
pub(super) fn parse_time(text: &str) -> Option<UnixMillis> {
    time(text)
}

/// Names the row of a nonce.
pub(super) fn nonce_name(user: UserId, nonce: Bytes<16>) -> String {
    format!("{NONCE}{user} {nonce}")
}

/// Reads what [`nonce_name`] wrote after [`NONCE`].
pub(super) fn parse_nonce(text: &str) -> Option<(UserId, Bytes<16>)> {
    let [user, nonce] = words(text)?;
    Some((user.parse().ok()?, bytes(nonce)?))
}

/// Writes nonces that were written together, each with the end of its request.
pub(super) fn nonces_text(nonces: &[(UserId, Bytes<16>, UnixMillis)]) -> String {
    list_text(nonces.iter().map(|(user, nonce, until)| format!("{user}:{nonce}:{until}")), ",")
}

/// Reads what [`nonces_text`] wrote.
pub(super) fn parse_nonces(text: &str) -> Option<VecDeque<(UserId, Bytes<16>, UnixMillis)>> {
    let nonces = list(text, ',', |text| {
        let (user, rest) = text.split_once(':')?;
        let (nonce, until) = rest.split_once(':')?;
        Some((user.parse().ok()?, bytes(nonce)?, time(until)?))
    });
    nonces.filter(|nonces| !nonces.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stored_as_before() {
        let user: UserId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let prekey = |id: &str| Prekey::parse(id, key).unwrap();
        let keys = Keys {
            identity_key: key.to_owned(),
            signing_key: key.to_owned(),
            fallback: Some(prekey("AAAAAAAAAAM")),
            one_time: [prekey("AAAAAAAAAAE"), prekey("AAAAAAAAAAI")].into(),
            served: [Bytes([7; 8])].into(),
        };
        let text = format!("{key} {key} AAAAAAAAAAM:{key} AAAAAAAAAAE:{key},AAAAAAAAAAI:{key} BwcHBwcHBwc=");
        assert_eq!((keys.to_text(), Keys::parse(&text)), (text.clone(), Some(keys.clone())));
        let empty = Keys { fallback: None, one_time: VecDeque::new(), served: VecDeque::new(), ..keys };
        let text = format!("{key} {key} - - -");
        assert_eq!((empty.to_text(), Keys::parse(&text)), (text.clone(), Some(empty)));
        assert_eq!(Keys::parse(&format!("{key} {key} a:{key},b:{key} - -")), None);

        let at = UnixMillis::saturating(1_700_000_000_000);
        let claims: VecDeque<_> = [Claim { at, by: user, site: Bytes([1; 8]) }].into();
        let text = "1700000000000:000102030405060708090a0b0c0d0e0f:AQEBAQEBAQE=";
        assert_eq!((Claim::list_text(&claims).as_str(), Claim::parse_list(text)), (text, Some(claims)));

        let kind = MessageKind::Normal;
        let waiting = Waiting { from: user, kind, received_at: at, body: Bytes([2; 32]), size: 9, site: Bytes([3; 8]) };
        let text = "000102030405060708090a0b0c0d0e0f 1 1700000000000 AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= 9 AwMDAwMDAwM=";
        assert_eq!((waiting.to_text().as_str(), Waiting::parse(text)), (text, Some(waiting)));

        let refused = RefusedBody { at, signature: "abc".to_owned() };
        assert_eq!(
            (refused.to_text().as_str(), RefusedBody::parse("1700000000000 abc")),
            ("1700000000000 abc", Some(refused))
        );

        let nonces = [(user, Bytes([4; 16]), at), (user, Bytes([5; 16]), at)];
        let text = "000102030405060708090a0b0c0d0e0f:BAQEBAQEBAQEBAQEBAQEBA==:1700000000000,000102030405060708090a0b0c0d0e0f:BQUFBQUFBQUFBQUFBQUFBQ==:1700000000000";
        assert_eq!((nonces_text(&nonces).as_str(), parse_nonces(text)), (text, Some(nonces.into())));

        let name = "nonce 000102030405060708090a0b0c0d0e0f BAQEBAQEBAQEBAQEBAQEBA==";
        assert_eq!(nonce_name(user, Bytes([4; 16])), name);
        assert_eq!(name.strip_prefix(NONCE).and_then(parse_nonce), Some((user, Bytes([4; 16]))));
    }
}
