//! The limits of retalk's door, beside those that it shares with [`mailbox::limits`](crate::mailbox::limits).

use std::time::Duration;

/// Bytes of a request body.
pub const BODY_MAX_BYTES: usize = 262_144;

/// Characters of the base64 of one message.
pub const MESSAGE_MAX_BYTES: usize = 196_608;

/// How far a request's timestamp may lie from the relay's clock, before or behind.
pub const TIMESTAMP_SKEW: Duration = Duration::from_secs(150);

/// Characters of a nonce: 32 of hexadecimal are what clients send.
pub const NONCE_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Digits of a timestamp in seconds.
pub const TIMESTAMP_MAX_DIGITS: usize = 12;

/// Bytes of a peer's name as an argument. One that is not an id names nobody.
pub const PEER_MAX_BYTES: usize = 256;

/// One-time keys in one request.
pub const ONE_TIME_KEYS_MAX: usize = 200;

/// Messages that may wait of one sender: Olm keeps 40 keys of messages that were passed over.
pub const MESSAGES_PER_SENDER: usize = 32;

/// Bytes that wait in a mailbox.
pub const ROOM: u64 = 4 * 1024 * 1024;

/// The part of a mailbox's bytes that one sender has: an eighth.
pub const SENDER_SHARE: u64 = 8;

/// The part of a mailbox's messages and bytes that all senders of one site, an IPv4 /24 or an IPv6 /48, have: a quarter.
pub const SITE_SHARE: u64 = 4;

/// The part of a mailbox's messages and bytes that is kept for those to whom its owner has written: a quarter.
pub const CORRESPONDENTS_SHARE: u64 = 4;

/// Users of whom a mailbox remembers that its owner has written to them.
pub const CORRESPONDENTS_MAX: usize = 1_024;

/// How long a message waits.
pub const MESSAGE_LASTS: Duration = crate::mailbox::limits::DEPOSIT_MAX_LIFETIME;

/// A read gets nothing that came this much later than its timestamp: whoever sees a read and holds it back takes little.
pub const READ_REACHES: Duration = Duration::from_secs(30);

/// Bodies of which a mailbox remembers that its owner refuses them.
pub const REFUSED_BODIES_MAX: usize = 1_000;

/// How long a mailbox remembers so.
pub const REFUSED_BODY_LASTS: Duration = MESSAGE_LASTS;

/// Requests that one mailbox remembers of its owner, and as many of all others together.
pub const NONCES_MAX: usize = 4_096;

/// Requests that a mailbox remembers of each to whom its owner has written, before they count among those of all others: as
/// many as the messages that may wait of one. So strangers, whose keys are free, silence nobody else.
pub const NONCES_OF_CORRESPONDENT: usize = MESSAGES_PER_SENDER;

/// A nonce of a read that found nothing is in storage after this time, if nothing was written before.
pub const NONCE_WRITTEN_WITHIN: Duration = Duration::from_secs(60);
