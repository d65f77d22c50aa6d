//! Every limit of the wire formats, with its unit.
//!
//! The ones that an operator may change are defaults here; the beacon reads its own from its configuration.

use std::time::Duration;

use crate::time::DAY_SECONDS;

/// Tickets that a roster holds.
pub const ROSTER_CAPACITY: usize = 200;

/// Longest life of a ticket, from `issuedAt` to `expiresAt` (default).
pub const TICKET_MAX_LIFETIME: Duration = Duration::from_secs(180);

/// How far a ticket's `issuedAt` may lie in the verifier's future: honest clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(15);

/// Shortest time between two new tickets of one peer (default).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(45);

/// A network that has brought none of a claim's tickets for so long yields to the next that does.
pub const NETWORK_YIELDS_AFTER: Duration = Duration::from_secs(180);

/// Earliest moment for which a peer is asked to announce again (default).
pub const ANNOUNCE_AFTER_MIN: Duration = ANNOUNCE_INTERVAL;

/// Latest moment for which a peer is asked to announce again (default).
pub const ANNOUNCE_AFTER_MAX: Duration = Duration::from_secs(75);

/// Peers in one answer (default).
pub const ANSWER_LIMIT: usize = 50;

/// How long a list may be served from caches (default).
pub const PEERS_MAX_AGE: Duration = Duration::from_secs(5);

/// Requests a minute that one network may make (default).
pub const NETWORK_REQUESTS_PER_MINUTE: u32 = 600;

/// One address (in IPv6 a /64) may make this part of its network's requests: four machines can silence a network, one
/// cannot.
pub const ADDRESSES_IN_A_NETWORK: u32 = 4;

/// An IPv6 /48 may make so many times the requests of a /56, of which it has 256.
pub const NETWORKS_IN_A_SITE: u32 = 4;

/// Addresses, networks and sites, each, whose rate one process remembers, at 16 bytes each.
pub const RATE_LIMIT_NETWORKS: usize = 4_096;

/// Communities a minute that one network may name and that one process has not seen lately. A page has one; each that
/// is invented keeps an object awake for 10 s, of 128 MB by which it is billed: ten a minute from one network are
/// 10 · 10 s · 0.128 GB · 1,440 = 18,400 GB-s a day.
pub const NEW_COMMUNITIES_PER_NETWORK_AND_MINUTE: u32 = 10;

/// The same for everybody together: 600 · 10 s / 60 s = 100 objects awake at a time.
pub const NEW_COMMUNITIES_PER_MINUTE: u32 = 600;

/// A community is known for as long as this after it was last asked for, and for less than twice as long.
pub const RECENT_COMMUNITIES_AGE: Duration = Duration::from_secs(300);

/// Communities that one process knows in that time, and as many of the time before, at about 150 bytes each. New ones
/// are 600 · 5 = 3,000 at most: those who invent communities do not push out what others ask for.
pub const RECENT_COMMUNITIES: usize = 6_000;

/// Tickets whose signatures one process remembers to be good, at about 500 bytes each, 2,000 at most.
pub const SIGNATURE_CACHE_TICKETS: usize = 1_024;

/// Bytes of a request body.
pub const BODY_MAX_BYTES: usize = 4_096;

/// Bytes of a request body that are read in all, those beyond [`BODY_MAX_BYTES`] to be thrown away.
pub const BODY_MAX_READ_BYTES: usize = 64 * BODY_MAX_BYTES;

/// Time in which a request body has to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// When a body may be sent again for which there was no room beside others that were arriving.
pub const BODIES_FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Bytes of the lists that one process keeps for readers.
pub const KEPT_LISTS_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a community's name.
pub const COMMUNITY_MAX_BYTES: usize = 64;

/// Bytes of a `peerId`.
pub const PEER_ID_MAX_BYTES: usize = 128;

/// Bytes of a `userId`, in UTF-8.
pub const USER_ID_MAX_BYTES: usize = 128;

/// Bytes of a ticket's `data`, in UTF-8.
pub const DATA_MAX_BYTES: usize = 512;

/// Bytes of a ticket in its normal form. The longest one has 1,842: `data` and `userId` of nothing but `"`, which is
/// escaped, and every other field as long as it can be.
pub const TICKET_MAX_BYTES: usize = 1_900;

/// Fewest bytes of a nonce.
pub const NONCE_MIN_BYTES: usize = 12;

/// Most bytes of a nonce.
pub const NONCE_MAX_BYTES: usize = 32;

/// Bytes of a beacon's whole answer: 200 of the longest tickets, each with a time in `since`, are 200 · (1,842 + 15) =
/// 371,400.
pub const ANSWER_MAX_BYTES: usize = 512 * 1024;

/// Tickets that are looked at in one beacon's answer.
pub const ANSWER_MAX_TICKETS: usize = ROSTER_CAPACITY;

/// Bytes of a capsule file.
pub const CAPSULE_MAX_BYTES: usize = 1024 * 1024;

/// Tickets in a capsule.
pub const CAPSULE_MAX_PEERS: usize = 1_000;

/// The most presence that a crash may lose, unless the operator lets changes wait for longer.
pub const SNAPSHOT_LOSS: Duration = Duration::from_secs(10);

/// Longest life of a ticket in a capsule, 7 days: a stable node's, put there by its publisher. Beacons refuse it.
pub const CAPSULE_TICKET_MAX_LIFETIME: Duration = Duration::from_secs(7 * DAY_SECONDS);

/// Signatures in a signatures file.
pub const SIGNATURES_MAX_LINES: usize = 64;

/// Bytes of a signatures file. The longest right one has 64 lines of 134 bytes, 8,576.
pub const SIGNATURES_MAX_BYTES: usize = 16_384;

/// Bytes of a root file. The longest right one has 32 keys of 48 bytes and little else.
pub const ROOT_MAX_BYTES: usize = 16_384;

/// Keys in one role of a root.
pub const ROLE_MAX_KEYS: usize = 16;

/// Successors of a root that a reader looks for at a time.
pub const ROOT_MAX_STEPS: usize = 64;

/// Entries in each of the three lists of revocations.
pub const REVOCATIONS_MAX: usize = 256;

/// Bytes of a file of revocations, which have to fit into a capsule.
pub const REVOCATIONS_MAX_BYTES: usize = CAPSULE_MAX_BYTES;

/// Bytes of a beacon's URL in a list of revocations.
pub const BEACON_URL_MAX_BYTES: usize = 2_048;

/// The least that a capsule's life has to exceed what its schedule and its host's cache need.
pub const FRESHNESS_MIN_SLACK: Duration = Duration::from_secs(60);

/// Connections of one community on `GET /live` (default).
pub const LIVE_CONNECTIONS: usize = 512;

/// Connections of one household on `GET /live` (default).
pub const LIVE_CONNECTIONS_PER_HOUSEHOLD: usize = 16;

/// A client may open one connection on `GET /live` for every so many requests of its rate limit.
pub const LIVE_OPENING_REQUESTS: u32 = 10;

/// Bytes of a message that a client sends, unless it is a signal.
pub const LIVE_CLIENT_MESSAGE_MAX_BYTES: usize = BODY_MAX_BYTES;

/// Bytes of a signal: its data, its sender's ticket, about 700 bytes of the rest, and room for escapes.
pub const LIVE_SIGNAL_MESSAGE_MAX_BYTES: usize = 12_288;

/// Bytes of a signal's data, in UTF-8. Browsers describe a data channel in some 400 bytes and their candidates, audio and
/// video in 1,500 to 6,000.
pub const LIVE_SIGNAL_DATA_MAX_BYTES: usize = 8_192;

/// How far a signal's time may lie from a beacon's clock.
pub const LIVE_SIGNAL_SKEW: Duration = Duration::from_secs(30);

/// How far a signal's time may lie from its receiver's clock, which need not be the beacon's.
pub const LIVE_SIGNAL_SKEW_RECEIVED: Duration = Duration::from_secs(45);

/// How long a receiver remembers a signal: from [`LIVE_SIGNAL_SKEW_RECEIVED`] before its time until as long after.
pub const LIVE_SIGNAL_REPLAY: Duration = Duration::from_secs(90);

/// Signals that a receiver remembers, at about 100 bytes each.
pub const LIVE_SIGNALS_REMEMBERED: usize = 1_024;

/// The same of one key: an honest one sends 10 + 90 / 3 = 40 in that time.
pub const LIVE_SIGNALS_REMEMBERED_OF_KEY: usize = 64;

/// Signals that a client may send at once.
pub const LIVE_SIGNALS_AT_ONCE: u64 = 10;

/// Time in which a client gains one signal more.
pub const LIVE_SIGNAL_INTERVAL: Duration = Duration::from_secs(3);

/// Signals that a peer may be sent at once, by everybody together.
pub const LIVE_SIGNALS_RECEIVED_AT_ONCE: u64 = 20;

/// Of these, those that only the first signal of a site may take.
pub const LIVE_SIGNALS_FOR_NEW_SITES: u64 = LIVE_SIGNALS_RECEIVED_AT_ONCE / 4;

/// Time in which a peer may be sent one signal more.
pub const LIVE_SIGNAL_RECEIVED_INTERVAL: Duration = Duration::from_secs(1);

/// Signals that the peers of one site may send to one peer at once. With [`LIVE_SIGNAL_OF_SITE_INTERVAL`] that is never a
/// quarter of what everybody together may send.
pub const LIVE_SIGNALS_OF_SITE_AT_ONCE: u64 = 4;

/// Time in which a site gains one signal more to one peer.
pub const LIVE_SIGNAL_OF_SITE_INTERVAL: Duration = Duration::from_secs(10);

/// A site of which a peer was sent nothing for so long is new to it. Until then its bucket is full again.
pub const LIVE_SIGNAL_SITE_FORGOTTEN: Duration = Duration::from_secs(60);

/// Bytes of a message that a beacon sends.
pub const LIVE_MESSAGE_MAX_BYTES: usize = 65_536;

/// Bytes that a beacon sends without an acknowledgement. The frame that crosses the limit is sent whole.
pub const LIVE_ACK_BYTES: usize = 262_144;

/// A client that owes acknowledgements for [`LIVE_ACK_BYTES`] and sends none for so long is taken not to read.
pub const LIVE_ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// Time in which the bucket of frames gains one.
pub const LIVE_FRAME_INTERVAL: Duration = Duration::from_secs(14);

/// Frames that the bucket holds.
pub const LIVE_FRAMES_AT_ONCE: u64 = 6;

/// How long a frame of renewals may wait for the next event of its object once it may be sent, where waiting for itself would
/// cost one.
pub const LIVE_RENEWAL_GRACE: Duration = Duration::from_secs(2);

/// How long before a ticket ends a peer is asked, at the latest, to renew it over a connection: a renewal waits for a frame for
/// [`LIVE_FRAME_INTERVAL`] and [`LIVE_RENEWAL_GRACE`], 16 s, and has 2 s for its way to the beacon and on to all viewers.
pub const LIVE_RENEWAL_MARGIN: Duration = Duration::from_secs(18);

/// The longest that an arrival or a departure waits for a frame.
pub const LIVE_URGENT_WITHIN: Duration = Duration::from_secs(1);

/// Messages that a client may send at once.
pub const LIVE_MESSAGES_AT_ONCE: u64 = 30;

/// Time in which a client gains one message more.
pub const LIVE_MESSAGE_INTERVAL: Duration = Duration::from_secs(2);

/// A client that has sent nothing for so long sends `ping`, whatever it is sent: well before [`LIVE_SILENCE`] and
/// [`LIVE_FIRST_SILENCE`].
pub const LIVE_PING_AFTER: Duration = Duration::from_secs(50);

/// A socket from which nothing comes for so long ends.
pub const LIVE_SILENCE: Duration = Duration::from_secs(120);

/// The same until something has come: a client may be gone before it knew that it was connected.
pub const LIVE_FIRST_SILENCE: Duration = Duration::from_secs(60);

/// How often an event stream says that it is there.
pub const LIVE_STREAM_PING: Duration = Duration::from_secs(25);

/// How long an event stream lasts.
pub const LIVE_STREAM_DURATION: Duration = Duration::from_secs(600);

/// Messages that cannot be read before the connection ends.
pub const LIVE_MALFORMED_MESSAGES: u32 = 3;

/// How long an address is refused, one of whose connections was closed for what it sent.
pub const LIVE_PENALTY: Duration = Duration::from_secs(60);

/// Fewest bytes of a message's `id`.
pub const LIVE_ID_MIN_BYTES: usize = 8;

/// Most bytes of a message's `id`.
pub const LIVE_ID_MAX_BYTES: usize = 32;

/// Claims about which a log of changes has a word: those who are listed, and as many again who left or had to go. A
/// goodbye takes up to 1,900 bytes.
pub const LIVE_WORDS: usize = 2 * ROSTER_CAPACITY;

/// Records that one connection keeps for its object, its own one among them: the largest takes 2,100 bytes, and of the
/// 16,384 that Cloudflare gives a connection half are used.
pub const LIVE_RECORDS_KEPT: usize = 3;

/// Guests of one community.
pub const GUESTS: usize = 64;

/// Of these, guests of one household. A site has twice that, a provider a quarter of all.
pub const GUESTS_PER_HOUSEHOLD: usize = 4;

/// Connections of one community's guests: two of each, because a client opens the next before the last has ended.
pub const GUEST_CONNECTIONS: usize = 2 * GUESTS;

/// Of these, connections of one household.
pub const GUEST_CONNECTIONS_PER_HOUSEHOLD: usize = 2 * GUESTS_PER_HOUSEHOLD;

/// Bytes of a guest's message.
pub const GUEST_BODY_MAX_BYTES: usize = 16_384;

/// Bytes of what a guest says of itself in one line.
pub const GUEST_CONTENT_MAX_BYTES: usize = 4_096;

/// Bytes of each other text of a guest.
pub const GUEST_FIELD_MAX_BYTES: usize = 256;

/// Addresses in a guest's message.
pub const GUEST_ADDRESSES_READ: usize = 20;

/// Addresses of a guest that are passed on.
pub const GUEST_ADDRESSES: usize = 8;

/// Bytes of an address of a guest.
pub const GUEST_ADDRESS_MAX_BYTES: usize = 256;

/// Time in which a guest gains one message more: 60 a minute.
pub const GUEST_MESSAGE_INTERVAL: Duration = Duration::from_secs(1);

/// Messages that a guest may send at once.
pub const GUEST_MESSAGES_AT_ONCE: u64 = 60;

/// A guest of whom nothing is heard for so long is gone.
pub const GUEST_SILENCE: Duration = Duration::from_secs(30);

/// How often a guest is told to the others anew: they forget one of whom they hear nothing for 20 s.
pub const GUEST_REPETITION: Duration = Duration::from_secs(15);

/// A guest's socket to which nothing was sent for so long is sent a ping.
pub const GUEST_SOCKET_PING: Duration = Duration::from_secs(5);

/// Bytes that a guest's connection may have been sent without a sign that they were read: after them a stream loses
/// messages, and a socket ends, for its client to open another one. All guests with the longest messages have as many.
pub const GUEST_UNREAD_MAX_BYTES: usize = GUESTS * GUEST_BODY_MAX_BYTES;

/// Bytes in a second of who the guests are for one connection of `GET /live` that watches: after a list of all of them the next
/// one waits for so long, up to [`GUEST_REPETITION`]. Else each change of one guest would send everything of all to everybody.
pub const GUEST_VIEW_BYTES_PER_SECOND: usize = 16_384;

/// A guest's socket from which nothing comes for so long ends.
pub const GUEST_SOCKET_SILENCE: Duration = Duration::from_secs(15);
