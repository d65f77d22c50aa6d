//! What is kept in storage: rows of words, separated by spaces, each with a name of its own, and messages, each with a number.
//! No address is among them: where something came from is a salted hash.

use crate::mailbox::bytes::Bytes;
use crate::time::UnixMillis;
use crate::words::{NONE, bytes, time, words};

use super::key::MailboxId;
use super::proof::ProofId;

/// The names of rows. What comes behind a space is the rest of the name.
pub(super) const OPENED: &str = "opened";
pub(super) const PROOF: &str = "proof ";

/// Stands for a proof that came with a deposit.
const DEPOSITED: &str = "deposit";

/// Reads a row that is a time.
pub(super) fn parse_time(text: &str) -> Option<UnixMillis> {
    time(text)
}

/// Names the row of a proof.
pub(super) fn proof_name(proof: ProofId) -> String {
    format!("{PROOF}{proof}")
}

/// Reads what [`proof_name`] wrote behind [`PROOF`].
pub(super) fn parse_proof(text: &str) -> Option<ProofId> {
    bytes(text)
}

/// Holds what is known of a message besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) received_at: UnixMillis,
    pub(super) ends_at: UnixMillis,
    /// The SHA-256 of its payload.
    pub(super) content: Bytes<32>,
    /// The bytes that are handed over.
    pub(super) size: u64,
    /// A salted hash of where it came from.
    pub(super) site: Bytes<8>,
    /// Whose key has proved that it is its own, by the name of that key's mailbox.
    pub(super) depositor: Option<MailboxId>,
}

impl Message {
    pub(super) fn to_text(self) -> String {
        let Self { received_at, ends_at, content, size, site, depositor } = self;
        let depositor = depositor.map_or_else(|| NONE.to_owned(), |depositor| depositor.to_string());
        format!("{received_at} {ends_at} {content} {size} {site} {depositor}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let [received_at, ends_at, content, size, site, depositor] = words(text)?;
        Some(Self {
            received_at: time(received_at)?,
            ends_at: time(ends_at)?,
            content: bytes(content)?,
            size: size.parse().ok()?,
            site: bytes(site)?,
            depositor: if depositor == NONE { None } else { Some(depositor.parse().ok()?) },
        })
    }
}

/// Holds what a proof has served for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsedProof {
    /// When it would count no more anyway.
    pub(super) until: UnixMillis,
    pub(super) served: Served,
}

/// Says what a proof has served for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// A deposit: it hands over nothing.
    Deposit,
    /// A hand-over of these messages at that time.
    HandedOver { at: UnixMillis, numbers: Vec<u64> },
}

impl UsedProof {
    pub(super) fn to_text(&self) -> String {
        let Self { until, served } = self;
        match served {
            Served::Deposit => format!("{until} {DEPOSITED}"),
            Served::HandedOver { at, numbers } if numbers.is_empty() => format!("{until} {at} {NONE}"),
            Served::HandedOver { at, numbers } => {
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                format!("{until} {at} {}", numbers.join(","))
            }
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (until, rest) = text.split_once(' ')?;
        let served = if rest == DEPOSITED {
            Served::Deposit
        } else {
            let [at, numbers] = words(rest)?;
            let list = || numbers.split(',').map(|number| number.parse().ok()).collect();
            let numbers = if numbers == NONE { Some(Vec::new()) } else { list() };
            Served::HandedOver { at: time(at)?, numbers: numbers? }
        };
        Some(Self { until: time(until)?, served })
    }
}

/// Holds what a site has left in unopened mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) since: UnixMillis,
    pub(super) bytes: u64,
    /// A salted hash of the provider that the site is of.
    pub(super) provider: Bytes<8>,
}

impl Left {
    pub(super) fn to_text(self) -> String {
        let Self { since, bytes, provider } = self;
        format!("{since} {bytes} {provider}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let [since, left, provider] = words(text)?;
        Some(Self { since: time(since)?, bytes: left.parse().ok()?, provider: bytes(provider)? })
    }
}

/// Reads the name of a site.
pub(super) fn parse_site(text: &str) -> Option<Bytes<8>> {
    bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stored_as_before() {
        let (received_at, ends_at) =
            (UnixMillis::saturating(1_700_000_000_000), UnixMillis::saturating(1_700_000_060_000));
        let depositor = "02".repeat(32);
        let message = Message {
            received_at,
            ends_at,
            content: Bytes([1; 32]),
            size: 77,
            site: Bytes([3; 8]),
            depositor: depositor.parse().ok(),
        };
        let text = format!(
            "1700000000000 1700000060000 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= 77 AwMDAwMDAwM= {depositor}"
        );
        assert_eq!((message.to_text(), Message::parse(&text)), (text, Some(message)));
        let anonymous = Message { depositor: None, ..message };
        let text = "1700000000000 1700000060000 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= 77 AwMDAwMDAwM= -";
        assert_eq!((anonymous.to_text().as_str(), Message::parse(text)), (text, Some(anonymous)));

        for (served, text) in [
            (Served::Deposit, "1700000060000 deposit"),
            (Served::HandedOver { at: received_at, numbers: vec![] }, "1700000060000 1700000000000 -"),
            (Served::HandedOver { at: received_at, numbers: vec![4, 7] }, "1700000060000 1700000000000 4,7"),
        ] {
            let used = UsedProof { until: ends_at, served };
            assert_eq!((used.to_text().as_str(), UsedProof::parse(text)), (text, Some(used)));
        }
        assert_eq!(proof_name(Bytes([1; 32])), "proof AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        assert_eq!(proof_name(Bytes([1; 32])).strip_prefix(PROOF).and_then(parse_proof), Some(Bytes([1; 32])));

        let left = Left { since: received_at, bytes: 1_024, provider: Bytes([5; 8]) };
        let text = "1700000000000 1024 BQUFBQUFBQU=";
        assert_eq!((left.to_text().as_str(), Left::parse(text)), (text, Some(left)));
        for text in ["", "1 2", "1 2 BQUFBQUFBQU= x", "1 x BQUFBQUFBQU="] {
            assert_eq!(Left::parse(text), None, "{text}");
        }
    }
}
