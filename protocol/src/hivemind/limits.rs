//! The limits of the door for hivemind-rendezvous' users.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::time::DAY_SECONDS;

/// Bytes of a request body.
pub const BODY_MAX_BYTES: usize = 262_144;

/// Bytes of a public key as text. One of 4,096 bits has about 800.
pub const KEY_MAX_BYTES: usize = 2_048;

/// Bits of a key's modulus.
pub const MODULUS_BITS: RangeInclusive<usize> = 2_048..=4_096;

/// Bytes of a key's exponent at most. Others are nowhere in use, and not every library takes them.
pub const EXPONENT_MAX_BYTES: usize = 4;

/// Bytes of a signature as text: base64 of as many bytes as the longest modulus has.
pub const SIGNATURE_MAX_BYTES: usize = 684;

/// Digits of a timestamp in seconds, or of a lifetime.
pub const SECONDS_MAX_DIGITS: usize = 12;

/// How far the timestamp of a proof may lie from the relay's clock, in whole seconds, before or behind.
pub const TIMESTAMP_SKEW_SECONDS: u64 = 60;

/// The longest time that a message waits, and the time where nothing is said.
pub const MESSAGE_LASTS: Duration = Duration::from_secs(7 * DAY_SECONDS);

/// Messages that wait in a mailbox.
pub const MESSAGES_MAX: usize = 256;

/// Bytes that wait in a mailbox.
pub const ROOM: u64 = 4 * 1_024 * 1_024;

/// The part of a mailbox's messages and bytes that one site, an IPv4 /24 or an IPv6 /48, has, and of its messages that one
/// depositor's key has: a quarter.
pub const SHARE: u64 = 4;

/// Messages that wait in a mailbox whose owner has proved nothing yet.
pub const UNOPENED_MESSAGES_MAX: usize = 2;

/// Bytes that wait there.
pub const UNOPENED_ROOM: u64 = 16 * 1_024;

/// The longest time that a message waits there.
pub const UNOPENED_MESSAGE_LASTS: Duration = Duration::from_secs(DAY_SECONDS);

/// The time by which the room of unopened mailboxes is counted.
pub const UNOPENED_WINDOW: Duration = Duration::from_secs(DAY_SECONDS);

/// Bytes that one site leaves in unopened mailboxes in that time.
pub const UNOPENED_PER_SITE: u64 = 1_024 * 1_024;

/// Bytes that all leave there in that time. One provider has a quarter.
pub const UNOPENED_IN_ALL: u64 = 64 * 1_024 * 1_024;

/// The least that something counts there, however short it is.
pub const UNOPENED_LEAST: u64 = 1_024;

/// How long what was handed over is there for the very same request.
pub const HANDED_LASTS: Duration = Duration::from_secs(60);

/// Proofs that a mailbox remembers.
pub const PROOFS_MAX: usize = 1_024;

/// A mailbox that nobody has opened for so long is one that nobody ever has.
pub const OPENED_LASTS: Duration = Duration::from_secs(30 * DAY_SECONDS);
