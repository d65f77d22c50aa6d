#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announcer;
pub mod answer;
pub mod backoff;
pub mod beacon_url;
pub mod capsule;
pub mod directory;
pub mod envelope;
pub mod freshness;
pub mod goop2;
pub mod hivemind;
pub mod lan;
pub mod mailbox;
pub mod merge;
pub mod message_addresses;
mod object;
pub mod origin;
pub mod publication;
pub mod registration;
pub mod retalk;
pub mod revocation;
pub mod root;
pub mod root_walk;
pub mod safe_text;
pub mod signatures;
pub mod success_rate;
pub mod upkeep;
pub mod watch;
mod words;

pub use rendezvous_presence::{
    base64, bytes, canonical, code, community, fields, kept_lists, key, limits, live, network, pacing, peer_list,
    rate_limit, request, roster, secret, signature_cache, snapshot, sorted_map, sorted_set, ticket, time, token_bucket,
};
