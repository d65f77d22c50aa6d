//! Base64 as every format here has it: the standard alphabet with padding, and strict (RFC 4648, sections 3.5 and 4).
//!
//! Wrong length, missing padding, white space, `-` and `_`, and trailing bits that are not zero are refused, so that
//! one value has one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Encodes with padding.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes a text. Returns `None` for any other spelling than the one that [`encode`] gives.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes exactly `N` bytes.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}
