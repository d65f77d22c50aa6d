//! Every limit of mailboxes, with its unit.

use std::time::Duration;

use crate::limits::CLOCK_SKEW;
use crate::time::DAY_SECONDS;

/// The four lengths that sealed bytes can have: a relay learns of a message which of them it is, and nothing more.
pub const SEALED_BYTES: [u32; 4] = [2_048, 8_192, 32_768, 131_072];

/// Bytes of a request body. The largest sealed bytes are 174,764 characters of base64.
pub const BODY_MAX_BYTES: usize = 262_144;

/// A request counts in the rate limit as one more for every so many bytes of its body: the longest as 17.
pub const BODY_BYTES_OF_A_REQUEST: usize = 16_384;

/// A request counts as one more for every so many signatures in it, where that is more than its bytes count: the 129 of a
/// collect with 64 acknowledgements as 17 requests.
pub const SIGNATURES_OF_A_REQUEST: usize = 8;

/// How far the `issuedAt` of a request that is bound to one relay may lie from the relay's clock.
pub const REQUEST_SKEW: Duration = Duration::from_secs(60);

/// Longest life of a card, a policy and prekeys.
pub const RECORD_MAX_LIFETIME: Duration = Duration::from_secs(90 * DAY_SECONDS);

/// Longest life of a sealing key, from the `issuedAt` of its card.
pub const SEALING_KEY_MAX_LIFETIME: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// Shortest life of a deposit: whoever signs shorter ones would run through sequences for nothing.
pub const DEPOSIT_MIN_LIFETIME: Duration = Duration::from_secs(3_600);

/// Longest life of a deposit, and longest time for which a relay holds one.
pub const DEPOSIT_MAX_LIFETIME: Duration = Duration::from_secs(7 * DAY_SECONDS);

/// Bytes of a relay's origin. The longest name of the DNS has 253, with scheme and port 267.
pub const ORIGIN_MAX_BYTES: usize = 300;

/// Origins in a card.
pub const RELAYS_MAX: usize = 4;

/// Reader keys in a card.
pub const READERS_MAX: usize = 8;

/// Sealing keys in a card.
pub const SEALING_KEYS_MAX: usize = 3;

/// Zero bits that a card may ask of a stranger's proof of work. 28 bits are 2.7 · 10⁸ hashes.
pub const DIFFICULTY_MAX: u8 = 28;

/// Contacts in a policy.
pub const CONTACTS_MAX: usize = 256;

/// Invites in a policy.
pub const INVITES_MAX: usize = 32;

/// Messages that may wait of one contact.
pub const CONTACT_LIMIT_MAX: u8 = 32;

/// Messages that may wait of one invite.
pub const INVITE_LIMIT_MAX: u8 = 8;

/// Sequences that an acknowledgement can name as missing.
pub const MISSING_MAX: usize = CONTACT_LIMIT_MAX as usize;

/// A message counts as read that was acknowledged longer than this before its end: `at` is rounded down to a minute, and two
/// clocks differ.
pub const RECEIPT_MARGIN: Duration = Duration::from_secs(60 + 2 * CLOCK_SKEW.as_secs());

/// How much older than a message its acknowledgement may look: `at` is rounded down to a minute, the recipient's clock may be
/// behind by as much as relays take, and the sender's ahead.
pub const ACK_LOOKS_OLDER_MOST: Duration = Duration::from_secs(60 + REQUEST_SKEW.as_secs() + CLOCK_SKEW.as_secs());

/// Acknowledgements in one request.
pub const ACKS_MAX: usize = 64;

/// One-time keys in one record.
pub const ONE_TIME_KEYS_MAX: usize = 100;

/// One-time keys that a mailbox holds.
pub const ONE_TIME_KEYS_HELD: usize = 200;

/// One-time keys of which a mailbox remembers that they were served: as many as it holds, twice over.
pub const ONE_TIME_KEYS_SERVED: usize = 2 * ONE_TIME_KEYS_HELD;

/// Time in which the limits of claims count.
pub const CLAIM_WINDOW: Duration = Duration::from_secs(3_600);

/// One-time keys that one slot key is served in that time.
pub const CLAIMS_PER_KEY: usize = 3;

/// One-time keys that one site is served in that time.
pub const CLAIMS_PER_SITE: usize = 10;

/// One-time keys that a mailbox serves in that time, which is how many claims it remembers.
pub const CLAIMS_MAX: usize = ONE_TIME_KEYS_HELD;

/// Bytes of a prekey's identifier.
pub const PREKEY_ID_MAX_BYTES: usize = 32;

/// Records in one push of a peer.
pub const REPLICATE_MAX_ITEMS: usize = 64;

/// Bytes of the body of one push: of messages of the largest size it takes five.
pub const REPLICATE_MAX_BYTES: usize = 1024 * 1024;

/// Messages that wait in a mailbox.
pub const MESSAGES_MAX: usize = 512;

/// Bytes that wait in a mailbox from its beginning on.
pub const ROOM_AT_FIRST: u64 = 1024 * 1024;

/// Bytes that wait in a mailbox that somebody collects from.
pub const ROOM: u64 = 8 * 1024 * 1024;

/// A mailbox has grown when it was collected from on so many days.
pub const GROWS_AFTER_DAYS: u64 = 3;

/// The part of a mailbox's room that one slot has: an eighth. Of the room at first that is one message of the largest size.
pub const SLOT_SHARE: u64 = 8;

/// Messages that one slot may leave in a day, for each message that may wait of it.
pub const DEPOSITS_PER_DAY: u64 = 8;

/// Messages that wait in the request lane. Their places and bytes are set aside: no stranger takes a contact's room.
pub const REQUESTS_MAX: usize = 12;

/// Messages that may wait of one key in the request lane.
pub const REQUESTS_PER_KEY: u8 = 2;

/// Sealed bytes of a message in the request lane.
pub const REQUEST_MAX_BYTES: u32 = 8_192;

/// Bytes that are set aside for the request lane.
pub const REQUEST_ROOM: u64 = REQUESTS_MAX as u64 * REQUEST_MAX_BYTES as u64;

/// How long a message that was handed over is kept from other collectors.
pub const LEASE: Duration = Duration::from_secs(60);

/// Messages in one collect.
pub const COLLECT_MAX_MESSAGES: u32 = 100;

/// Sealed bytes in one collect, whatever it asks for; but always one message, if there is one.
pub const COLLECT_MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Nonces of collects that one mailbox remembers: of nine signers, one a second for the two minutes in which one is good.
pub const NONCES_MAX: usize = 1_080;

/// Slot keys struck off that one mailbox remembers, so that none is ever listed again.
pub const STRUCK_OFF_MAX: usize = 4_096;

/// Connections of readers on which the news of a mailbox are told. A slot has one.
pub const LISTENING_READERS_MAX: usize = 8;

/// Time in which a connection says, signed, who listens on it.
pub const LISTENER_SILENCE: Duration = Duration::from_secs(10);

/// Bytes of a message that a client sends on such a connection.
pub const LISTENER_MESSAGE_MAX_BYTES: usize = 2_048;

/// Days after which a mailbox is deleted that nobody collects from.
pub const LAPSES_AFTER_DAYS: u64 = 90;

/// How long a closed mailbox says that it is closed.
pub const CLOSED_IS_SAID: Duration = Duration::from_secs(30 * DAY_SECONDS);

/// How long the highest revision of a mailbox that was closed or lapsed is remembered: no older record rises again, because
/// none lives longer.
pub const REVISION_IS_REMEMBERED: Duration = RECORD_MAX_LIFETIME;
