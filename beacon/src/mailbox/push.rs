//! Pushes that go out: which mailbox is next at a peer, what the request says, and what its answer means.
//!
//! Each peer has its own [`PeerTurns`], so that one which hangs keeps nothing from another. At a peer mailboxes take turns,
//! one push each. A peer that fails is left alone for a time that doubles, whatever mailbox it failed for.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rendezvous_protocol::backoff::Backoff;
use rendezvous_protocol::code::Code;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::record::{RecordError, Replicate};
use rendezvous_protocol::mailbox::replica::digest_of;
use rendezvous_protocol::time::UnixMillis;
use serde_json::Value;

use crate::mailbox::peers::Peers;

/// The path of a push.
pub const REPLICATE: &str = "/v1/replicate";

/// Bytes of an answer. One with 64 results has less than three thousand.
pub const ANSWER_MAX_BYTES: usize = 16_384;

/// Waits between attempts. The longest is short: an attempt costs a peer one request, however many mailboxes wait.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), most: Duration::from_secs(300) };

/// Holds whose turn it is at one peer.
#[derive(Debug, Default)]
pub struct PeerTurns {
    queue: VecDeque<Address>,
    queued: BTreeSet<Address>,
    failures: u32,
    not_before: Option<UnixMillis>,
}

impl PeerTurns {
    /// Takes that something of a mailbox is to be pushed.
    pub fn add(&mut self, mailbox: Address) {
        if self.queued.insert(mailbox) {
            self.queue.push_back(mailbox);
        }
    }

    /// Returns the mailbox of which something is pushed now, if one is.
    pub fn next(&mut self, now: UnixMillis) -> Option<Address> {
        if self.wait(now) != Some(Duration::ZERO) {
            return None;
        }
        let mailbox = self.queue.pop_front()?;
        self.queued.remove(&mailbox);
        Some(mailbox)
    }

    /// Returns how long it is until [`PeerTurns::next`] has something; absent, until something is added.
    pub fn wait(&self, now: UnixMillis) -> Option<Duration> {
        // By a clock that jumped back nobody waits longer than the longest wait.
        let wait = || self.not_before.map_or(Duration::ZERO, |at| at.since(now).min(BACKOFF.most));
        (!self.queue.is_empty()).then(wait)
    }

    /// Takes that a push of a mailbox was answered, of which there may be more.
    pub fn answered(&mut self, mailbox: Address) {
        (self.failures, self.not_before) = (0, None);
        self.add(mailbox);
    }

    /// Takes that a push failed, and will be made again. `random` spreads those that failed together. Returns whether it is
    /// the first failure since a push was answered.
    pub fn failed(&mut self, now: UnixMillis, mailbox: Address, retry_after: Option<Duration>, random: u8) -> bool {
        self.failures = self.failures.saturating_add(1);
        let wait = BACKOFF.wait(self.failures, random).max(retry_after.unwrap_or_default()).min(BACKOFF.most);
        self.not_before = Some(now.after(wait));
        self.add(mailbox);
        self.failures == 1
    }
}

/// Writes the body of a push to a peer. `items` are the texts of its items; `nonce` is random.
///
/// # Errors
/// [`RecordError`], if there is no such peer or no reader would take it.
pub fn push_body(
    peers: &Peers,
    peer: usize,
    now: UnixMillis,
    mailbox: Address,
    items: &[String],
    nonce: [u8; 16],
) -> Result<String, RecordError> {
    let audience = peers.origin(peer).map(|origin| origin.as_str().to_owned()).unwrap_or_default();
    let items = format!("[{}]", items.join(","));
    let payload = Replicate { audience, issued_at: now, items: digest_of(&items), mailbox, nonce: Bytes(nonce) };
    let relay = Signed::sign(payload, peers.key())?.to_json();
    Ok(format!(r#"{{"relay":{relay},"items":{items}}}"#))
}

/// Says what a peer's answer to a push means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushAnswer {
    /// Every item is dealt with: so many the peer has, so many it will not have.
    Settled {
        /// Items that it has, or had.
        taken: usize,
        /// Items that it refuses.
        rejected: usize,
    },
    /// Nothing is known of the items, and they are pushed again.
    Failed {
        /// The code, or the status, for the log.
        cause: String,
        /// When the peer wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl PushAnswer {
    /// Reads an answer to a push of so many items.
    pub fn read(status: u16, body: &[u8], items: usize) -> Self {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let field = |name: &str| json.as_ref().and_then(|json| json.get(name));
        let code = field("code").and_then(Value::as_str);
        match (status, code) {
            (200, _) => {
                let results = field("results").and_then(Value::as_array).filter(|results| results.len() == items);
                match results {
                    Some(results) => {
                        let is_taken = |result: &&Value| {
                            matches!(result.as_str(), Some("accepted" | "duplicate" | "acknowledged" | "ended"))
                        };
                        let taken = results.iter().filter(is_taken).count();
                        Self::Settled { taken, rejected: items - taken }
                    }
                    None => Self::Failed {
                        cause: "the answer has not a result for each item".to_owned(),
                        retry_after: None,
                    },
                }
            }
            // The owner has it at this relay alone, or has closed it there.
            (404 | 410, Some(code))
                if code == Code::MailboxUnknown.as_str() || code == Code::MailboxClosed.as_str() =>
            {
                Self::Settled { taken: 0, rejected: items }
            }
            (status, code) => {
                let is_code = |code: &&str| {
                    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                };
                let cause =
                    code.filter(is_code).map_or_else(|| format!("status {status}"), |code| format!("{status} {code}"));
                let retry_after = field("retryAfterMs").and_then(Value::as_u64).map(Duration::from_millis);
                Self::Failed { cause, retry_after }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_protocol::key::PublicKey;

    use super::*;

    const START: UnixMillis = UnixMillis::saturating(1_700_000_000_000);

    fn mailbox(number: u8) -> Address {
        Address::of(&PublicKey::from_bytes([number; 32]))
    }

    fn at(seconds: u64) -> UnixMillis {
        START.after(Duration::from_secs(seconds))
    }

    #[test]
    fn mailboxes_take_turns_and_one_is_queued_once() {
        let mut turns = PeerTurns::default();
        assert_eq!((turns.next(START), turns.wait(START)), (None, None));
        for number in [1, 2, 1] {
            turns.add(mailbox(number));
        }
        assert_eq!(turns.next(START), Some(mailbox(1)));
        turns.answered(mailbox(1));
        assert_eq!(turns.next(START), Some(mailbox(2)));
        assert_eq!(turns.next(START), Some(mailbox(1)));
        assert_eq!(turns.next(START), None);
    }

    #[test]
    fn a_peer_that_fails_is_left_alone_for_longer_each_time_and_an_answer_ends_that() {
        let mut turns = PeerTurns::default();
        turns.add(mailbox(1));
        let first = turns.next(START).unwrap();
        assert!(turns.failed(START, first, None, 255));
        turns.add(mailbox(2));
        assert_eq!((turns.next(at(4)), turns.wait(START)), (None, Some(Duration::from_secs(5))));
        let second = turns.next(at(5)).unwrap();
        assert_eq!(second, mailbox(1), "the one that failed was there first");
        assert!(!turns.failed(at(5), second, None, 255));
        assert_eq!(turns.wait(at(5)), Some(Duration::from_secs(10)));
        let third = turns.next(at(15)).unwrap();
        assert!(!turns.failed(at(15), third, Some(Duration::from_secs(60)), 0), "as long as the peer wants");
        assert_eq!(turns.wait(at(15)), Some(Duration::from_secs(60)));
        let fourth = turns.next(at(75)).unwrap();
        assert!(
            !turns.failed(at(75), fourth, Some(Duration::from_secs(1_000_000)), 0),
            "and no longer than is sensible"
        );
        assert_eq!(turns.wait(at(75)), Some(Duration::from_secs(300)));
        assert_eq!(turns.wait(at(0)), Some(Duration::from_secs(300)), "also when the clock jumps back");
        let fifth = turns.next(at(375)).unwrap();
        turns.answered(fifth);
        assert_eq!(turns.wait(at(375)), Some(Duration::ZERO));
        let next = turns.next(at(375)).unwrap();
        assert!(turns.failed(at(375), next, None, 0));
    }

    #[test]
    fn an_answer_settles_the_items_or_leaves_them() {
        let settled = |taken, rejected| PushAnswer::Settled { taken, rejected };
        let failed = |cause: &str, millis: Option<u64>| PushAnswer::Failed {
            cause: cause.to_owned(),
            retry_after: millis.map(Duration::from_millis),
        };
        for (status, body, expected) in [
            (200, r#"{"ok":true,"results":["accepted","duplicate"]}"#, settled(2, 0)),
            (200, r#"{"ok":true,"results":["acknowledged","ended"]}"#, settled(2, 0)),
            (200, r#"{"ok":true,"results":["SIGNATURE_INVALID",1]}"#, settled(0, 2)),
            (200, r#"{"ok":true,"results":["accepted"]}"#, failed("the answer has not a result for each item", None)),
            (200, "<html>", failed("the answer has not a result for each item", None)),
            (404, r#"{"code":"MAILBOX_UNKNOWN"}"#, settled(0, 2)),
            (410, r#"{"code":"MAILBOX_CLOSED"}"#, settled(0, 2)),
            // A relay that has no peers, or is no relay at all: nothing is known of the mailbox.
            (404, r#"{"code":"NOT_FOUND"}"#, failed("404 NOT_FOUND", None)),
            (404, "", failed("status 404", None)),
            (429, r#"{"code":"THROTTLED","retryAfterMs":700}"#, failed("429 THROTTLED", Some(700))),
            (500, r#"{"code":"in the log\n\u001b[31m"}"#, failed("status 500", None)),
        ] {
            assert_eq!(PushAnswer::read(status, body.as_bytes(), 2), expected, "{status} {body}");
        }
    }
}
