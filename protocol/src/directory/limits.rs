//! Every limit of the directory, with its unit.

use std::time::Duration;

use crate::time::DAY_SECONDS;

/// Longest life of an entry, from `updated` to `expiresAt`; and for so long after `updated` a record is remembered, because
/// until then an older one of its name may be good.
pub const ENTRY_MAX_LIFETIME: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// Bytes of an entry in its normal form. A tombstone has some 400.
pub const ENTRY_MAX_BYTES: usize = 4_096;

/// Bytes of a description.
pub const DESCRIPTION_MAX_BYTES: usize = 280;

/// Tags of an entry.
pub const TAGS_MAX: usize = 8;

/// Bytes of a tag.
pub const TAG_MAX_BYTES: usize = 32;

/// Beacons of an entry.
pub const BEACONS_MAX: usize = 32;

/// Capsules of an entry.
pub const CAPSULES_MAX: usize = 8;

/// Bytes of an address in an entry.
pub const ADDRESS_MAX_BYTES: usize = 300;

/// Records that a hub remembers, at [`ENTRY_MAX_BYTES`] and as much again for finding them: 80 MB at most.
pub const HUB_MAX_RECORDS: usize = 10_000;

/// Records of one origin that a hub remembers, tombstones and what has ended counted in.
pub const ORIGIN_MAX_RECORDS: usize = 64;

/// The largest distance of a record, in hubs. What comes from farther counts as from there.
pub const DISTANCE_MAX: u8 = 8;

/// Records in the answer to an exchange.
pub const EXCHANGE_MAX_RECORDS: usize = 500;

/// Bytes of the records in the answer to an exchange.
pub const EXCHANGE_MAX_BYTES: usize = 1_024 * 1_024;

/// Bytes of the whole answer to an exchange: the records, and what stands around and between them.
pub const EXCHANGE_ANSWER_MAX_BYTES: usize = EXCHANGE_MAX_BYTES + 64 * 1_024;

/// How often a hub looks for what it may forget.
pub const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How far the time by which a hub forgets goes on each time that it looks. Twice what passes, so that it comes up with the
/// clock after a hub was away.
pub const FORGET_STEP_MAX: Duration = Duration::from_secs(2 * FORGET_EVERY.as_secs());

/// How far the `issuedAt` of an exchange may lie from the clock of the hub that is asked.
pub const EXCHANGE_SKEW: Duration = Duration::from_secs(60);

/// Exchanges of one peer that a hub remembers, which is for twice the skew: one in two seconds.
pub const EXCHANGES_REMEMBERED: usize = 60;

/// How often a hub asks a peer at most. By asking once in so long it stays below what the peer remembers, whose answer would be
/// `THROTTLED`, and has turns left for further pages.
pub const EXCHANGE_INTERVAL_MIN: Duration =
    Duration::from_secs(2 * EXCHANGE_SKEW.as_secs() / EXCHANGES_REMEMBERED as u64 + 1);

/// Bytes of a request body about the directory. Layout and order of keys are free, and an entry may come with white space.
pub const BODY_MAX_BYTES: usize = 4 * ENTRY_MAX_BYTES;

/// Bytes of a list for a static host.
pub const LIST_MAX_BYTES: usize = 8 * 1_024 * 1_024;

/// Longest life of such a list.
pub const LIST_MAX_LIFETIME: Duration = ENTRY_MAX_LIFETIME;

/// Random bytes that the origin gave a beacon.
pub const BEACON_ID_BYTES: usize = 16;
