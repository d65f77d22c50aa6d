//! The files that are published.

use rendezvous_protocol::capsule::{CapsuleBytes, CapsuleFiles};

/// The capsule's file name.
pub(crate) const CAPSULE: &str = "peers.json";
/// The signature's file name.
pub(crate) const SIGNATURE: &str = "peers.json.sig";
/// The file name of the signature in minisign's format.
pub(crate) const MINISIG: &str = "peers.json.minisig";

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// `peers.json` and `peers.json.sig`.
    pub(crate) capsule: CapsuleFiles,
    /// `peers.json.minisig`.
    pub(crate) minisig: String,
}

impl Files {
    /// Names and contents, in the order in which they are written.
    pub(crate) const fn in_order(&self) -> [(&'static str, &String); 3] {
        [(MINISIG, &self.minisig), (SIGNATURE, &self.capsule.signature), (CAPSULE, &self.capsule.json)]
    }
}

/// The capsule that is there, as far as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// `peers.json`.
    pub(crate) json: Option<Vec<u8>>,
    /// `peers.json.sig`.
    pub(crate) signature: Option<Vec<u8>>,
}

impl Held {
    /// As it is verified, if it is there.
    pub(crate) fn bytes(&self) -> Option<CapsuleBytes<'_>> {
        let json = self.json.as_deref()?;
        Some(CapsuleBytes { json, signature: self.signature.as_deref(), cosignatures: None })
    }
}
