//! Signatures files: what several keys say of the same bytes, a signature a line.
//!
//! `peers.json.sigs` has those of further publishers of a capsule, `N.root.json.sigs` those of a root. A file is only a
//! list: whose signatures count, and how many of them are needed, is for the reader to say.
//!
//! What is written is lines of `key SP signature LF`, both in base64. What is read may have passed through editors,
//! version control and chat: white space more or less, empty lines, other line ends and a byte order mark change
//! nothing. Anything else makes the whole file malformed: a reader that skipped what it cannot read would go on to
//! believe the keys that the file replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::base64;
use crate::code::Code;
use crate::key::PublicKey;
use crate::limits::{SIGNATURES_MAX_BYTES, SIGNATURES_MAX_LINES};

/// Says why a file is not a signatures file. [`SignaturesError::code`] names each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignaturesError {
    /// More bytes than any right one has.
    #[error("the signatures file is longer than {SIGNATURES_MAX_BYTES} bytes")]
    TooLarge,
    /// No line at all: a publisher without further signatures has no file.
    #[error("the signatures file is empty")]
    Empty,
    /// More signatures than are read.
    #[error("the signatures file has more than {SIGNATURES_MAX_LINES} signatures")]
    TooManyLines,
    /// A line that is not a key and a signature.
    #[error("line {line} of the signatures file is not a key and a signature, both in base64")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

impl SignaturesError {
    /// Returns the refusal's name, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Empty | Self::TooManyLines | Self::Line { .. } => Code::Malformed.as_str(),
        }
    }
}

/// Holds signatures over one file. None of them has been checked: [`Signatures::signers`] does that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Of one key there may be several, of which one may fit.
    lines: Vec<(PublicKey, [u8; 64])>,
}

impl Signatures {
    /// Reads a signatures file.
    ///
    /// # Errors
    /// See [`SignaturesError`].
    pub fn parse(file: &[u8]) -> Result<Self, SignaturesError> {
        if file.len() > SIGNATURES_MAX_BYTES {
            return Err(SignaturesError::TooLarge);
        }
        let mut lines = Vec::new();
        for (position, line) in without_mark(file).split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if lines.len() == SIGNATURES_MAX_LINES {
                return Err(SignaturesError::TooManyLines);
            }
            lines.push(parse_line(line).ok_or(SignaturesError::Line { line: position + 1 })?);
        }
        if lines.is_empty() { Err(SignaturesError::Empty) } else { Ok(Self { lines }) }
    }

    /// Adds a signature, in the place of all that are there by the same key.
    pub fn add(&mut self, key: PublicKey, signature: [u8; 64]) {
        self.lines.retain(|(other, _)| *other != key);
        self.lines.push((key, signature));
    }

    /// Writes the file, with the keys in order, so that it does not depend on who signed first. With more than
    /// [`SIGNATURES_MAX_LINES`] signatures, or with none, it is a file that no reader takes.
    pub fn to_text(&self) -> String {
        let mut lines = self.lines.clone();
        lines.sort_unstable();
        lines.iter().fold(String::new(), |mut text, (key, signature)| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} {}", base64::encode(signature));
            text
        })
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns how many lines there are.
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns the keys that the lines name, each once, whether their signatures fit or not.
    pub fn keys(&self) -> BTreeSet<PublicKey> {
        self.lines.iter().map(|(key, _)| *key).collect()
    }

    /// Returns those of `keys` by which there is a signature over `message`. Each counts once, whatever lines repeat
    /// it.
    pub fn signers(&self, message: &[u8], keys: &BTreeSet<PublicKey>) -> BTreeSet<PublicKey> {
        let asked: BTreeSet<_> = self.lines.iter().filter(|(key, _)| keys.contains(key)).collect();
        let fits = |(key, signature): &&(PublicKey, [u8; 64])| key.verify(message, signature).is_ok();
        asked.into_iter().filter(fits).map(|(key, _)| *key).collect()
    }

    /// Returns the signature over `message` by each of `keys` that has one: all that is worth keeping of a file that
    /// others wrote.
    pub fn fitting(&self, message: &[u8], keys: &BTreeSet<PublicKey>) -> Self {
        let fits =
            |(key, signature): &&(PublicKey, [u8; 64])| keys.contains(key) && key.verify(message, signature).is_ok();
        let fitting: BTreeMap<_, _> = self.lines.iter().filter(fits).copied().collect();
        Self { lines: fitting.into_iter().collect() }
    }
}

/// Tells a page from a signatures file: there are hosts that answer every path that they do not have with a page, and
/// status 200. `content_type` is the one that the host gave, `None` where it gave none or where there is no host.
///
/// A page begins like HTML, with `<` after any white space, which no signatures file does, and is not said to be
/// something else.
pub fn is_page(file: &[u8], content_type: Option<&str>) -> bool {
    let is_html = |content_type: &str| {
        let essence = content_type.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("text/html")
    };
    without_mark(file).trim_ascii_start().starts_with(b"<") && content_type.is_none_or(is_html)
}

fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file)
}

fn parse_line(line: &[u8]) -> Option<(PublicKey, [u8; 64])> {
    let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (key, signature) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    Some((PublicKey::from_bytes(base64::decode_array(key)?), base64::decode_array(signature)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32])
    }

    fn line(seed: u8, message: &[u8]) -> String {
        format!("{} {}\n", key(seed).public_key(), base64::encode(&key(seed).sign(message)))
    }

    fn keys(seeds: &[u8]) -> BTreeSet<PublicKey> {
        seeds.iter().map(|seed| key(*seed).public_key()).collect()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut signatures = Signatures::default();
        for seed in [3, 1, 2, 1] {
            signatures.add(key(seed).public_key(), key(seed).sign(b"message"));
        }
        let text = signatures.to_text();
        assert_eq!(text.lines().count(), 3);
        let read = Signatures::parse(text.as_bytes()).unwrap();
        assert_eq!(read.to_text(), text);
        assert_eq!(read.signers(b"message", &keys(&[1, 2, 3])), keys(&[1, 2, 3]));
        assert_eq!(read.signers(b"another", &keys(&[1, 2, 3])), keys(&[]));
    }

    #[test]
    fn only_the_keys_that_are_asked_for_count_and_each_once() {
        let text = line(1, b"m") + &line(1, b"m") + &line(2, b"other") + &line(3, b"m") + &line(2, b"m");
        let signatures = Signatures::parse(text.as_bytes()).unwrap();
        assert_eq!(signatures.signers(b"m", &keys(&[1, 2])), keys(&[1, 2]));
        assert_eq!(signatures.signers(b"m", &keys(&[4])), keys(&[]));
        assert_eq!(signatures.fitting(b"m", &keys(&[1, 2])).to_text().lines().count(), 2);
    }

    #[test]
    fn white_space_changes_nothing() {
        let good = line(1, b"m") + &line(2, b"m");
        let read = Signatures::parse(good.as_bytes()).unwrap();
        for text in [
            good.replace('\n', "\r\n"),
            good.trim_end().to_owned(),
            format!("\n{good}\n\n"),
            good.replace('\n', "\n \t\r\n"),
            good.replace(' ', "  "),
            good.replace(' ', "\t"),
            good.replace('\n', " \n "),
            format!("\u{feff}{good}"),
        ] {
            assert_eq!(Signatures::parse(text.as_bytes()).as_ref(), Ok(&read), "{text:?}");
        }
    }

    #[test]
    fn everything_else_is_no_signatures_file() {
        let good = line(1, b"m");
        let (key, signature) = good.trim_end().split_once(' ').unwrap();
        for (text, error) in [
            (String::new(), SignaturesError::Empty),
            ("\n".to_owned(), SignaturesError::Empty),
            ("\u{feff}\r\n".to_owned(), SignaturesError::Empty),
            (format!("# signed by hand\n{good}"), SignaturesError::Line { line: 1 }),
            (format!("\n{good}# signed by hand\n"), SignaturesError::Line { line: 3 }),
            (good.replace('\n', "\r") + &good, SignaturesError::Line { line: 1 }),
            (format!("{key}\n{signature}\n"), SignaturesError::Line { line: 1 }),
            (format!("{key}\u{a0}{signature}\n"), SignaturesError::Line { line: 1 }),
            (format!("{good}\u{feff}{good}"), SignaturesError::Line { line: 2 }),
            (format!("{signature} {key}\n"), SignaturesError::Line { line: 1 }),
            ("<!doctype html>\n".to_owned(), SignaturesError::Line { line: 1 }),
            (good.repeat(65), SignaturesError::TooManyLines),
            ("x".repeat(SIGNATURES_MAX_BYTES + 1), SignaturesError::TooLarge),
        ] {
            assert_eq!(Signatures::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        Signatures::parse(good.repeat(64).as_bytes()).unwrap();
    }

    #[test]
    fn a_page_begins_like_html_and_is_not_said_to_be_something_else() {
        for page in ["<!doctype html>", "\r\n <html>", "\u{feff}<!-- -->"] {
            for content_type in [None, Some("text/html"), Some("Text/HTML ;charset=utf-8")] {
                assert!(is_page(page.as_bytes(), content_type), "{page:?} {content_type:?}");
            }
            for content_type in ["", "text/plain", "application/octet-stream", "text/html2"] {
                assert!(!is_page(page.as_bytes(), Some(content_type)), "{page:?} {content_type:?}");
            }
        }
        for file in ["", "\n", "# <html>", "not found", &line(1, b"m")] {
            assert!(!is_page(file.as_bytes(), Some("text/html")), "{file:?}");
        }
    }
}
