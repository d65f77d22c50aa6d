//! What every announce goes through: tickets, rosters, the lists of them, live presence, and what these are made of.
//!
//! `rendezvous-protocol` passes all of it on, and is what others depend on. It is a package of its own because the Worker is
//! built for size but for this.

#![forbid(unsafe_code)]

pub mod base64;
pub mod bytes;
pub mod canonical;
pub mod code;
pub mod community;
pub mod fields;
pub mod kept_lists;
pub mod key;
pub mod limits;
pub mod live;
pub mod network;
pub mod pacing;
pub mod peer_list;
pub mod rate_limit;
pub mod request;
pub mod roster;
pub mod secret;
pub mod signature_cache;
pub mod snapshot;
pub mod sorted_map;
pub mod sorted_set;
pub mod ticket;
pub mod time;
pub mod token_bucket;
