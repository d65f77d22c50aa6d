//! What makes two tickets of one millisecond differ.

use rendezvous_protocol::ticket::Nonce;

use crate::failure::Cause;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 16;

/// The system gave none.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no randomness to make a ticket of")]
pub(crate) struct NoRandomness;

impl Cause for NoRandomness {}

/// A new one.
pub(crate) fn new_nonce() -> Result<Nonce, NoRandomness> {
    let mut bytes = vec![0; NONCE_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Nonce::new(bytes).ok_or(NoRandomness)
}
