//! What is inside sealed bytes: a body, who signed it, and zeros that hide its length.
//!
//! The relay sees a slot key and no more. Who writes stands here, under the seal, together with the place for which it was
//! written: whoever receives a message cannot pass it on as if it had been written to somebody else.

use super::sealed::{Place, SealedError, Suite};
use crate::key::{PrivateKey, PublicKey};

/// Stands before what is signed. Records have their purpose here and go on with `{`, which is not a kind.
const DOMAIN: &[u8] = b"rendezvous-mailbox-v1:body\n";

/// Octets of the length before the body.
const LENGTH_BYTES: usize = 4;

/// Octets of a body before its content: kind, `from`, `to`, slot key, sequence, signature.
const HEAD_BYTES: usize = 1 + 32 + 32 + 32 + 8;
const SIGNATURE_BYTES: usize = 64;

const MESSAGE: u8 = 0;
const INTRODUCTION: u8 = 1;

/// Holds what a sender writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The slot key that the sender has made for this mailbox, in what it writes over an invite.
    pub introduces: Option<PublicKey>,
    /// Whatever the sender likes.
    pub content: Vec<u8>,
}

/// Holds what a recipient reads: everything is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The sender's owner key.
    pub from: PublicKey,
    /// What it wrote.
    pub written: Written,
}

/// Says that a content is longer than any sealed bytes have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} octets are more than a message has room for, {most}")]
pub struct ContentTooLong {
    /// How many there are.
    pub found: usize,
    /// How many may be there.
    pub most: usize,
}

/// Returns how many octets of content a message has room for.
pub fn content_max_bytes(suite: Suite, is_introduction: bool) -> usize {
    let around = LENGTH_BYTES + HEAD_BYTES + SIGNATURE_BYTES + if is_introduction { 32 } else { 0 };
    let mut most = 0;
    // From one room to the next, and the last one has none after it.
    while let Some(room) = suite.plaintext_bytes(most + 1) {
        most = room;
    }
    most.saturating_sub(around)
}

fn head(kind: u8, from: PublicKey, place: &Place) -> Vec<u8> {
    let Place { mailbox, slot, sequence, .. } = place;
    let mut head = vec![kind];
    head.extend(from.as_bytes());
    head.extend(mailbox.as_bytes());
    head.extend(slot.as_bytes());
    head.extend(sequence.to_be_bytes());
    head
}

impl Written {
    /// Writes the plaintext that a sender seals, which fills the smallest sealed bytes that will do.
    ///
    /// # Errors
    /// [`ContentTooLong`].
    pub fn to_plaintext(&self, suite: Suite, from: &PrivateKey, place: &Place) -> Result<Vec<u8>, ContentTooLong> {
        let kind = if self.introduces.is_some() { INTRODUCTION } else { MESSAGE };
        let head = head(kind, from.public_key(), place);
        let introduced = self.introduces.map_or(Vec::new(), |key| key.as_bytes().to_vec());
        let content = [introduced, self.content.clone()].concat();
        let signature = from.sign(&[DOMAIN, &head, &content].concat());
        let body = [head.as_slice(), &signature, &content].concat();

        let too_long =
            || ContentTooLong { found: self.content.len(), most: content_max_bytes(suite, self.introduces.is_some()) };
        let room = suite.plaintext_bytes(LENGTH_BYTES + body.len()).ok_or_else(too_long)?;
        let length = u32::try_from(body.len()).map_err(|_| too_long())?;
        let mut plaintext = [length.to_be_bytes().as_slice(), &body].concat();
        plaintext.resize(room, 0);
        Ok(plaintext)
    }
}

impl Opened {
    /// Reads a plaintext that came out of the seal of a deposit with this place.
    ///
    /// # Errors
    /// [`SealedError::Padding`] and those after it.
    pub fn from_plaintext(plaintext: &[u8], place: &Place) -> Result<Self, SealedError> {
        let body = body(plaintext)?;
        let (head, rest) = body.split_at_checked(HEAD_BYTES).ok_or(SealedError::Body)?;
        let (signature, content) = rest.split_first_chunk::<SIGNATURE_BYTES>().ok_or(SealedError::Body)?;
        let (kind, from) = head.split_first().ok_or(SealedError::Body)?;
        let from = from.first_chunk().ok_or(SealedError::Body)?;
        let from = PublicKey::from_bytes(*from);
        let (introduces, written) = match *kind {
            MESSAGE => (None, content),
            INTRODUCTION => {
                let (key, written) = content.split_first_chunk().ok_or(SealedError::Body)?;
                (Some(PublicKey::from_bytes(*key)), written)
            }
            _ => return Err(SealedError::Body),
        };
        if head != self::head(*kind, from, place) {
            return Err(SealedError::Misdirected);
        }
        from.verify(&[DOMAIN, head, content].concat(), signature).map_err(|_| SealedError::Signature)?;
        Ok(Self { from, written: Written { introduces, content: written.to_vec() } })
    }
}

/// Takes the body out of the zeros after it.
fn body(plaintext: &[u8]) -> Result<&[u8], SealedError> {
    let (length, rest) = plaintext.split_first_chunk::<LENGTH_BYTES>().ok_or(SealedError::Padding)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SealedError::Padding)?;
    let (body, padding) = rest.split_at_checked(length).ok_or(SealedError::Padding)?;
    if padding.iter().all(|octet| *octet == 0) { Ok(body) } else { Err(SealedError::Padding) }
}
