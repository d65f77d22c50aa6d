//! The relays that an invite, or a word in a ticket, names by their origins.

use super::limits::{ORIGIN_MAX_BYTES, RELAYS_MAX};
use crate::origin::Origin;

/// Says why relays cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelaysError {
    /// Something else than an origin of the web, or one in another spelling than that of browsers.
    #[error(
        "a relay is named by its http or https origin as browsers write it, like https://relay.example.org, of at most \
         {ORIGIN_MAX_BYTES} bytes"
    )]
    NotAnOrigin,
    /// One relay twice.
    #[error("a relay is named twice")]
    Twice,
    /// More than there may be.
    #[error("more than {RELAYS_MAX} relays are named")]
    TooMany,
}

/// Reads origins of relays, at most [`RELAYS_MAX`].
///
/// # Errors
/// [`RelaysError`], of the first that is not good.
pub fn read_relays<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Origin>, RelaysError> {
    let mut relays = Vec::new();
    for text in texts {
        if relays.len() == RELAYS_MAX {
            return Err(RelaysError::TooMany);
        }
        let relay = relay(text).ok_or(RelaysError::NotAnOrigin)?;
        if relays.contains(&relay) {
            return Err(RelaysError::Twice);
        }
        relays.push(relay);
    }
    Ok(relays)
}

fn relay(text: &str) -> Option<Origin> {
    let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let origin = Origin::parse(text).filter(|_| is_web && text.len() <= ORIGIN_MAX_BYTES)?;
    (origin.as_str() == text).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_a_name_of_its_own() {
        let long = |bytes: usize| format!("https://{}", "a".repeat(bytes - "https://".len()));
        let five: Vec<_> = (0..5).map(|number| format!("https://{number}.example")).collect();
        let read = |texts: &[&str]| read_relays(texts.iter().copied()).map(|relays| relays.len());
        let all = five.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(read(&[]), Ok(0));
        assert_eq!(read(all.get(..RELAYS_MAX).unwrap()), Ok(RELAYS_MAX));
        assert_eq!(read(&[&long(ORIGIN_MAX_BYTES)]), Ok(1));
        for (texts, fault) in [
            (&all[..], RelaysError::TooMany),
            (&["https://a.example", "http://b.example", "https://a.example"], RelaysError::Twice),
            (&[&long(ORIGIN_MAX_BYTES + 1)], RelaysError::NotAnOrigin),
            (&[""], RelaysError::NotAnOrigin),
            (&["https://a.example/"], RelaysError::NotAnOrigin),
            (&["https://A.example"], RelaysError::NotAnOrigin),
            (&["ftp://a.example"], RelaysError::NotAnOrigin),
        ] {
            assert_eq!(read(texts), Err(fault), "{texts:?}");
        }
    }
}
