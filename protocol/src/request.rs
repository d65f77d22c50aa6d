//! What a beacon is asked: the parts of a request that no ticket carries.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use crate::base64;
use crate::code::Code;
use crate::community::{Community, CommunityInvalid};
use crate::fields::{FieldError, Fields};
use crate::key::PublicKey;
use crate::limits::{BODIES_FULL_RETRY_AFTER, BODY_MAX_BYTES, BODY_TIMEOUT};
use crate::live::PositionInvalid;
use crate::roster::Excluded;
use crate::time::saturating_millis;

/// Says why a request is refused before its ticket is looked at. [`RequestError::code`] is the name of each on the
/// wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not the JSON it should be.
    #[error("{0}")]
    Malformed(String),
    /// More bytes than a body may have.
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    BodyTooLarge,
    /// The client went away before the end of the body.
    #[error("body: it broke off")]
    BodyBrokenOff,
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} ms", saturating_millis(BODY_TIMEOUT))]
    BodyTimeout,
    /// Too many bytes of bodies are arriving, of this network or in all.
    #[error(
        "too many bodies are arriving, of this network or in all: send this one again in {} ms",
        saturating_millis(BODIES_FULL_RETRY_AFTER)
    )]
    BodiesFull,
    /// Not a community's name.
    #[error("{0}")]
    CommunityInvalid(#[from] CommunityInvalid),
    /// The query and the body name different communities.
    #[error("the query names the community {query}, the body {body}")]
    CommunityMismatch {
        /// In the query.
        query: Community,
        /// In the body.
        body: Community,
    },
    /// This beacon serves a list of communities, and this is not on it.
    #[error("this beacon does not serve the community {0}")]
    CommunityUnknown(Community),
    /// Not a position.
    #[error(transparent)]
    SinceInvalid(#[from] PositionInvalid),
    /// Not a number of peers.
    #[error("limit must be a whole number from 1 on")]
    LimitInvalid,
}

impl RequestError {
    /// Returns the code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::BodyBrokenOff => Code::Malformed.as_str(),
            Self::BodyTooLarge => Code::BodyTooLarge.as_str(),
            Self::BodyTimeout => Code::BodyTimeout.as_str(),
            Self::BodiesFull => Code::Throttled.as_str(),
            Self::CommunityInvalid(_) => Code::CommunityInvalid.as_str(),
            Self::CommunityMismatch { .. } => Code::CommunityMismatch.as_str(),
            Self::CommunityUnknown(_) => Code::CommunityUnknown.as_str(),
            Self::LimitInvalid => Code::LimitInvalid.as_str(),
            Self::SinceInvalid(_) => Code::SinceInvalid.as_str(),
        }
    }

    /// Returns after what time the same request may be served, where that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BodiesFull => Some(BODIES_FULL_RETRY_AFTER),
            _ => None,
        }
    }
}

/// Holds the body of `POST /announce` and `POST /leave`: `{"ticket":{…},"community"?:"…"}`, nothing else, nothing
/// twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketBody<'a> {
    /// The ticket, not parsed yet: a bad one is answered with the community's list, so the community comes first.
    pub ticket: &'a str,
    /// The community's name, not checked yet.
    pub community: Option<String>,
}

impl<'a> TicketBody<'a> {
    /// Parses a body.
    ///
    /// # Errors
    /// [`RequestError::BodyTooLarge`] and [`RequestError::Malformed`].
    pub fn parse(body: &'a [u8]) -> Result<Self, RequestError> {
        if body.len() > BODY_MAX_BYTES {
            return Err(RequestError::BodyTooLarge);
        }
        let malformed = |error: &dyn Display| RequestError::Malformed(format!("body: {error}"));
        // As text, like all other JSON, so that one parser will do.
        let body = str::from_utf8(body).map_err(|error| malformed(&error))?;
        Self::read(body).map_err(|error| malformed(&error))
    }

    fn read(body: &'a str) -> Result<Self, FieldError> {
        let mut fields = Fields::parse(body)?;
        let (ticket, community) = (fields.json("ticket")?, fields.optional_text("community")?);
        fields.end()?;
        Ok(Self { ticket, community: community.map(Cow::into_owned) })
    }
}

/// Returns whether there is a field `community` in a ticket's payload, whatever else is wrong with the ticket. Clients
/// that do not sign a community take every status but 2xx for an outage, and after three of those never come again.
pub fn signs_community(ticket: &str) -> bool {
    let community = || Fields::parse(ticket)?.object("payload")?.json("community");
    community().is_ok()
}

/// Settles which community a request is for: the query's, the body's, the default one, in this order.
///
/// # Errors
/// [`RequestError::CommunityInvalid`], and [`RequestError::CommunityMismatch`] when query and body disagree.
pub fn choose_community(
    query: Option<&str>,
    body: Option<&str>,
    default: &Community,
) -> Result<Community, RequestError> {
    match (query.map(Community::new).transpose()?, body.map(Community::new).transpose()?) {
        (Some(query), Some(body)) if query != body => Err(RequestError::CommunityMismatch { query, body }),
        (Some(community), _) | (None, Some(community)) => Ok(community),
        (None, None) => Ok(default.clone()),
    }
}

/// Settles how many peers a list has: what is asked for, at most `most`, which is also what no wish means.
///
/// # Errors
/// [`RequestError::LimitInvalid`] for anything but a whole number from 1 on.
pub fn choose_limit(asked: Option<&str>, most: usize) -> Result<usize, RequestError> {
    let Some(asked) = asked else { return Ok(most) };
    if asked.is_empty() || !asked.bytes().all(|byte| byte.is_ascii_digit()) || asked.bytes().all(|byte| byte == b'0') {
        return Err(RequestError::LimitInvalid);
    }
    // More digits than a usize has is still a number above the most.
    Ok(asked.parse().unwrap_or(most).min(most))
}

/// Says whom a reader asks to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Nobody.
    Nobody,
    /// Every claim to a name.
    PeerId(String),
    /// One claim.
    Claim(String, PublicKey),
}

impl Exclusion {
    /// Reads `peerId`, or `peerId:publicKey` with the base64 of 32 bytes. A name may contain a colon: only what follows
    /// the last one can be a key.
    pub fn parse(asked: Option<String>) -> Self {
        let Some(asked) = asked else { return Self::Nobody };
        let claim = asked.rsplit_once(':').and_then(|(peer_id, key)| Some((peer_id, base64::decode_array(key)?)));
        match claim {
            Some((peer_id, key)) => Self::Claim(peer_id.to_owned(), PublicKey::from_bytes(key)),
            None => Self::PeerId(asked),
        }
    }

    /// Returns the same for a roster.
    pub fn as_excluded(&self) -> Excluded<'_> {
        match self {
            Self::Nobody => Excluded::Nobody,
            Self::PeerId(peer_id) => Excluded::PeerId(peer_id),
            Self::Claim(peer_id, key) => Excluded::Claim(peer_id, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_object_with_a_ticket() {
        let body = TicketBody::parse(br#" {"community":"a","ticket":{"any":[1]}} "#).unwrap();
        assert_eq!(body, TicketBody { ticket: r#"{"any":[1]}"#, community: Some("a".into()) });
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"[{},"a"]"#,
            r#"{"ticket":1,"ticket":1}"#,
            r#"{"ticket":1,"community":null}"#,
            r#"{"ticket":1,"community":1}"#,
            r#"{"ticket":1,"more":1}"#,
            r#"{"ticket":1} 1"#,
            "{\"ticket\":\"\u{1}\"}",
        ] {
            assert_eq!(TicketBody::parse(body.as_bytes()).unwrap_err().code(), "MALFORMED", "{body}");
        }
        assert_eq!(TicketBody::parse(b"{\"ticket\":\"\xff\"}").unwrap_err().code(), "MALFORMED");
    }

    #[test]
    fn a_body_has_at_most_4096_bytes() {
        let mut body = br#"{"ticket":1}"#.to_vec();
        body.resize(BODY_MAX_BYTES, b' ');
        assert!(TicketBody::parse(&body).is_ok());
        body.push(b' ');
        assert_eq!(TicketBody::parse(&body), Err(RequestError::BodyTooLarge));
    }

    #[test]
    fn query_and_body_must_agree_on_the_community() {
        let default = Community::new("mainnet").unwrap();
        let choose = |query, body| choose_community(query, body, &default).map(|community| community.to_string());
        assert_eq!(choose(None, None).unwrap(), "mainnet");
        assert_eq!(choose(Some("a"), None).unwrap(), "a");
        assert_eq!(choose(None, Some("b")).unwrap(), "b");
        assert_eq!(choose(Some("a"), Some("a")).unwrap(), "a");
        assert_eq!(choose(Some("a"), Some("A")).unwrap_err().code(), "COMMUNITY_MISMATCH");
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for invalid in ["", " ", "a b", "a/b", "ä", &too_long] {
            assert_eq!(choose(Some(invalid), None).unwrap_err().code(), "COMMUNITY_INVALID", "{invalid}");
            assert_eq!(choose(Some("a"), Some(invalid)).unwrap_err().code(), "COMMUNITY_INVALID", "{invalid}");
        }
        assert!(choose(Some(&longest), None).is_ok());
    }

    #[test]
    fn a_ticket_signs_a_community_if_its_payload_has_one_of_whatever_kind() {
        for ticket in [
            r#"{"payload":{"community":"a"}}"#,
            r#"{"payload":{"community":null,"more":1},"more":{"payload":{}}}"#,
            r#" { "payload" : { "community" : 7 } } "#,
        ] {
            assert!(signs_community(ticket), "{ticket}");
        }
        for ticket in [
            "{}",
            "null",
            "[]",
            r#"{"payload":{}}"#,
            r#"{"payload":null}"#,
            r#"{"payload":["a"]}"#,
            r#"{"payload":"community"}"#,
            r#"{"payload":{"more":{"community":"a"}}}"#,
            r#"{"community":"a","payload":{}}"#,
            r#"[{"community":"a"}]"#,
        ] {
            assert!(!signs_community(ticket), "{ticket}");
        }
    }

    #[test]
    fn who_is_excluded_is_a_name_or_a_name_and_a_key() {
        let key = PublicKey::from_bytes([7; 32]);
        let claim = |peer_id: &str| Exclusion::Claim(peer_id.to_owned(), key);
        let name = |peer_id: &str| Exclusion::PeerId(peer_id.to_owned());
        assert_eq!(Exclusion::parse(None), Exclusion::Nobody);
        for (asked, expected) in [
            (String::new(), name("")),
            ("peer".to_owned(), name("peer")),
            ("a:b".to_owned(), name("a:b")),
            (format!("peer:{key}"), claim("peer")),
            (format!("a:b:{key}"), claim("a:b")),
            (format!("peer:{key}:"), name(&format!("peer:{key}:"))),
            (format!("peer:{}", base64::encode(&[7; 31])), name(&format!("peer:{}", base64::encode(&[7; 31])))),
            (
                format!("peer:{}", key.to_string().trim_end_matches('=')),
                name(&format!("peer:{}", key.to_string().trim_end_matches('='))),
            ),
        ] {
            assert_eq!(Exclusion::parse(Some(asked)), expected);
        }
    }

    #[test]
    fn a_limit_is_a_whole_number_from_one_on() {
        for (asked, expected) in
            [(None, 50), (Some("1"), 1), (Some("050"), 50), (Some("51"), 50), (Some("99999999999999999999999"), 50)]
        {
            assert_eq!(choose_limit(asked, 50), Ok(expected), "{asked:?}");
        }
        for asked in ["", "0", "00", "-1", "+1", "1.0", "1e1", " 1", "ten"] {
            assert_eq!(choose_limit(Some(asked), 50), Err(RequestError::LimitInvalid), "{asked}");
        }
    }
}
