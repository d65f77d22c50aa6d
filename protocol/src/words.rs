//! Rows that are words, with a space between each two.

use crate::base64;
use crate::mailbox::bytes::Bytes;
use crate::time::UnixMillis;

/// Stands for nothing where a word must be.
pub(crate) const NONE: &str = "-";

/// Reads a time.
pub(crate) fn time(text: &str) -> Option<UnixMillis> {
    text.parse().ok().and_then(UnixMillis::new)
}

/// Reads so many bytes, in base64.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<Bytes<N>> {
    base64::decode_array(text).map(Bytes)
}

/// Takes so many words, and no more.
pub(crate) fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    let words: Vec<_> = text.split(' ').collect();
    words.try_into().ok()
}
