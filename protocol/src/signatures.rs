//! Signatures files: what several keys say of the same bytes, a signature a line.
//!
//! `peers.json.sigs` has those of further publishers of a capsule, `N.root.json.sigs` those of a root. A file is only a
//! list: whose signatures count, and how many of them are needed, is for the reader to say.
//!
//! Each line is `key SP signature LF`, both in base64; 1 to 64 lines, no other byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::base64;
use crate::key::PublicKey;
use crate::limits::{SIGNATURES_MAX_BYTES, SIGNATURES_MAX_LINES};

/// Why a file is no signatures file. [`SignaturesError::code`] names each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignaturesError {
    /// More bytes than any right one has.
    #[error("the signatures file is longer than {SIGNATURES_MAX_BYTES} bytes")]
    TooLarge,
    /// No line at all: a publisher without further signatures has no file.
    #[error("the signatures file is empty")]
    Empty,
    /// More lines than are read.
    #[error("the signatures file has more than {SIGNATURES_MAX_LINES} lines")]
    TooManyLines,
    /// A line that is no signature.
    #[error("line {line} of the signatures file is not a key, a space, a signature and a line feed")]
    Line {
        /// Counted from 1.
        line: usize,
    },
}

impl SignaturesError {
    /// A name for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Empty | Self::TooManyLines | Self::Line { .. } => "MALFORMED",
        }
    }
}

/// Signatures over one file. None of them has been checked: that is what [`Signatures::signers`] does.
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
        if file.is_empty() {
            return Err(SignaturesError::Empty);
        }
        let mut lines = Vec::new();
        for (position, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if position == SIGNATURES_MAX_LINES {
                return Err(SignaturesError::TooManyLines);
            }
            lines.push(parse_line(line).ok_or(SignaturesError::Line { line: position + 1 })?);
        }
        Ok(Self { lines })
    }

    /// Adds a signature, in the place of all that are there by the same key.
    pub fn add(&mut self, key: PublicKey, signature: [u8; 64]) {
        self.lines.retain(|(other, _)| *other != key);
        self.lines.push((key, signature));
    }

    /// The file: the keys in order, so that it does not depend on who signed first. With more than
    /// [`SIGNATURES_MAX_LINES`] signatures it is one that no reader takes, and so it is with none.
    pub fn to_text(&self) -> String {
        let mut lines = self.lines.clone();
        lines.sort_unstable();
        lines.iter().fold(String::new(), |mut text, (key, signature)| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} {}", base64::encode(signature));
            text
        })
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many lines there are.
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// The keys that the lines name, each once, whether their signatures fit or not.
    pub fn keys(&self) -> BTreeSet<PublicKey> {
        self.lines.iter().map(|(key, _)| *key).collect()
    }

    /// Those of `keys` by which there is a signature over `message`. Each counts once, whatever lines repeat it.
    pub fn signers(&self, message: &[u8], keys: &BTreeSet<PublicKey>) -> BTreeSet<PublicKey> {
        let asked: BTreeSet<_> = self.lines.iter().filter(|(key, _)| keys.contains(key)).collect();
        let fits = |(key, signature): &&(PublicKey, [u8; 64])| key.verify(message, signature).is_ok();
        asked.into_iter().filter(fits).map(|(key, _)| *key).collect()
    }

    /// The signature over `message` by each of `keys` that has one: what is worth keeping of a file that others wrote.
    pub fn fitting(&self, message: &[u8], keys: &BTreeSet<PublicKey>) -> Self {
        let fits =
            |(key, signature): &&(PublicKey, [u8; 64])| keys.contains(key) && key.verify(message, signature).is_ok();
        let fitting: BTreeMap<_, _> = self.lines.iter().filter(fits).copied().collect();
        Self { lines: fitting.into_iter().collect() }
    }
}

fn parse_line(line: &[u8]) -> Option<(PublicKey, [u8; 64])> {
    let line = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (key, signature) = line.split_once(' ')?;
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
    fn everything_else_is_no_signatures_file() {
        let good = line(1, b"m");
        let (key, signature) = good.trim_end().split_once(' ').unwrap();
        for (text, error) in [
            (String::new(), SignaturesError::Empty),
            ("\n".to_owned(), SignaturesError::Line { line: 1 }),
            (good.trim_end().to_owned(), SignaturesError::Line { line: 1 }),
            (format!("{good}\n"), SignaturesError::Line { line: 2 }),
            (good.replace('\n', "\r\n"), SignaturesError::Line { line: 1 }),
            (format!("{key}  {signature}\n"), SignaturesError::Line { line: 1 }),
            (format!("{key}\t{signature}\n"), SignaturesError::Line { line: 1 }),
            (format!(" {key} {signature}\n"), SignaturesError::Line { line: 1 }),
            (format!("{key} {signature} \n"), SignaturesError::Line { line: 1 }),
            (format!("{signature} {key}\n"), SignaturesError::Line { line: 1 }),
            ("<!doctype html>\n".to_owned(), SignaturesError::Line { line: 1 }),
            (good.repeat(65), SignaturesError::TooManyLines),
            ("x".repeat(SIGNATURES_MAX_BYTES + 1), SignaturesError::TooLarge),
        ] {
            assert_eq!(Signatures::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        Signatures::parse(good.repeat(64).as_bytes()).unwrap();
    }
}
