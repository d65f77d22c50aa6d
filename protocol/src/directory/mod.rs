//! The directory: communities and their beacons, exchanged between hubs (section 20 of the specification).
//!
//! An entry belongs to (origin key, name). Names are labels, and never unique; only the origin changes or deletes its
//! entry, and a hub can do no more than withhold it: every record proves itself (`record.rs`, `envelope.rs`). What a hub
//! remembers (`state.rs`) is a join of all that it was ever given, so that hubs that were given the same hold the same,
//! in whatever order and how often it came.
//!
//! In scope: records and their signatures, the memory of a hub, the questions of one hub to another (`exchange.rs`), the
//! signed list for a static host (`list.rs`), and which beacons of an entry a client uses (`placement.rs`). Out of scope:
//! HTTP, whom a hub trusts, and what is at a URL.

pub mod address;
pub mod envelope;
pub mod exchange;
pub mod limits;
pub mod list;
pub mod placement;
pub mod record;
pub mod state;
pub mod steady_clock;
