#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announcer;
pub mod answer;
pub mod backoff;
pub mod base64;
pub mod beacon_url;
pub mod canonical;
pub mod capsule;
pub mod code;
pub mod community;
pub mod freshness;
pub mod kept_lists;
pub mod key;
pub mod limits;
pub mod merge;
pub mod network;
mod object;
pub mod origin;
pub mod pacing;
pub mod peer_list;
pub mod publication;
pub mod rate_limit;
pub mod request;
pub mod revocation;
pub mod root;
pub mod root_walk;
pub mod roster;
pub mod secret;
pub mod signature_cache;
pub mod signatures;
pub mod snapshot;
pub mod ticket;
pub mod time;
pub mod token_bucket;
pub mod upkeep;
pub mod watch;
