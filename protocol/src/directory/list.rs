//! The list of communities as a file on a static host: `communities.json`, and `communities.json.sig` beside it.
//!
//! It begins with `{"type":"communities"`, as a root begins with its type: the key that signs it may sign capsules, which
//! have no such field, and nobody can hand out one as the other. Whoever publishes it says which entries there are, and
//! nothing about them: each proves itself.

use super::envelope::{Record, Signed, VerifiedRecord};
use super::limits::{HUB_MAX_RECORDS, LIST_MAX_BYTES, LIST_MAX_LIFETIME};
use super::record::{Entry, RecordError};
use crate::base64;
use crate::code::Code;
use crate::fields::Fields;
use crate::key::PublicKey;
use crate::limits::CLOCK_SKEW;
use crate::time::{UnixMillis, saturating_millis};

/// What the field `type` says.
const TYPE: &str = "communities";

/// Says why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// More bytes than a list may have.
    #[error("it has {found} bytes, at most {LIST_MAX_BYTES} are allowed")]
    TooLarge {
        /// How many it has.
        found: usize,
    },
    /// Not the trusted key's signature over these bytes.
    #[error("communities.json.sig is not a signature of the trusted key over these bytes")]
    SignatureInvalid,
    /// Another shape.
    #[error("{0}")]
    Malformed(String),
    /// Another version than 1.
    #[error("version {found} of lists is not supported, only 1")]
    UnsupportedVersion {
        /// What the list says.
        found: u64,
    },
    /// It lives too long.
    #[error("it lives longer than {} ms", saturating_millis(LIST_MAX_LIFETIME))]
    LifetimeTooLong,
    /// Older than one that was accepted.
    #[error("one of {newest} was accepted before")]
    Rollback {
        /// The newest `issuedAt` that was accepted.
        newest: UnixMillis,
    },
    /// From the reader's future.
    #[error("issuedAt is {} ms ahead of this clock", saturating_millis(issued_at.since(*.now)))]
    NotYetValid {
        /// The list's.
        issued_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
    /// Over.
    #[error("it ended {} ms ago", saturating_millis(now.since(*.ended_at)))]
    Expired {
        /// When it ended.
        ended_at: UnixMillis,
        /// The reader's clock.
        now: UnixMillis,
    },
}

impl ListError {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::Malformed(_) => Code::Malformed.as_str(),
            Self::SignatureInvalid => Code::SignatureInvalid.as_str(),
            Self::UnsupportedVersion { .. } => Code::UnsupportedVersion.as_str(),
            Self::LifetimeTooLong => Code::LifetimeTooLong.as_str(),
            Self::Rollback { .. } => Code::Rollback.as_str(),
            Self::NotYetValid { .. } => Code::NotYetValid.as_str(),
            Self::Expired { .. } => Code::Expired.as_str(),
        }
    }
}

/// Holds a list that was verified.
#[derive(Debug)]
pub struct CommunityList {
    /// When it was signed.
    pub issued_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// Its entries, in its order: the good ones, and why the others are not. One costs only itself.
    pub entries: Vec<Result<VerifiedRecord, RecordError>>,
}

/// Says by what a list is judged.
#[derive(Clone, Copy, Debug)]
pub struct ListRules {
    /// The publisher's key.
    pub key: PublicKey,
    /// The reader's clock.
    pub now: UnixMillis,
    /// The newest `issuedAt` that was accepted from this key.
    pub newest: Option<UnixMillis>,
}

/// Writes a list of entries, leaving out those at the end for which there is no room.
pub fn write<'a>(
    issued_at: UnixMillis,
    expires_at: UnixMillis,
    entries: impl IntoIterator<Item = &'a Signed<Entry>>,
) -> (String, usize) {
    let mut text = format!(
        "{{\"type\":\"{TYPE}\",\"version\":1,\"issuedAt\":{issued_at},\"expiresAt\":{expires_at},\"entries\":["
    );
    let mut written = 0;
    for entry in entries {
        let json = entry.to_json();
        // A comma, a line end, and what ends the file.
        if written == HUB_MAX_RECORDS || text.len() + json.len() + 5 > LIST_MAX_BYTES {
            break;
        }
        text.push_str(if written == 0 { "\n" } else { ",\n" });
        text.push_str(&json);
        written += 1;
    }
    text.push_str("\n]}\n");
    (text, written)
}

/// Reads `communities.json` with what is in `communities.json.sig`.
///
/// # Errors
/// [`ListError`], in the order of its variants.
pub fn read(file: &[u8], sig: &[u8], rules: &ListRules) -> Result<CommunityList, ListError> {
    if file.len() > LIST_MAX_BYTES {
        return Err(ListError::TooLarge { found: file.len() });
    }
    let signature = str::from_utf8(sig).ok().and_then(|sig| base64::decode_array(sig.trim_ascii()));
    let signature: [u8; 64] = signature.ok_or(ListError::SignatureInvalid)?;
    rules.key.verify(file, &signature).map_err(|_| ListError::SignatureInvalid)?;
    let text = str::from_utf8(file).map_err(|_| ListError::Malformed("it is not UTF-8".to_owned()))?;
    let parse = || {
        let mut fields = Fields::parse(text)?;
        let kind = fields.text("type")?;
        let version = fields.number("version")?;
        let (issued_at, expires_at) = (fields.time("issuedAt")?, fields.time("expiresAt")?);
        Ok::<_, crate::fields::FieldError>((kind, version, issued_at, expires_at, fields.items("entries")?))
    };
    let parsed = parse().map_err(|error| ListError::Malformed(error.to_string()))?;
    let (kind, version, issued_at, expires_at, entries) = parsed;
    if kind != TYPE || !text.starts_with(&format!("{{\"type\":\"{TYPE}\"")) {
        return Err(ListError::Malformed("it must begin with {\"type\":\"communities\"".to_owned()));
    }
    if issued_at >= expires_at || entries.len() > HUB_MAX_RECORDS {
        return Err(ListError::Malformed(format!(
            "expiresAt must be later than issuedAt, and there are at most {HUB_MAX_RECORDS} entries"
        )));
    }
    if version != 1 {
        return Err(ListError::UnsupportedVersion { found: version });
    }
    if expires_at.since(issued_at) > LIST_MAX_LIFETIME {
        return Err(ListError::LifetimeTooLong);
    }
    let now = rules.now;
    if let Some(newest) = rules.newest.filter(|newest| issued_at < *newest) {
        return Err(ListError::Rollback { newest });
    }
    if issued_at > now.after(CLOCK_SKEW) {
        return Err(ListError::NotYetValid { issued_at, now });
    }
    if expires_at <= now {
        return Err(ListError::Expired { ended_at: expires_at, now });
    }
    let entries = entries.into_iter();
    let entries = entries.map(|entry| Record::parse_entry(entry.get())?.verify_for_reader(now)).collect();
    Ok(CommunityList { issued_at, expires_at, entries })
}
