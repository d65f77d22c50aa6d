//! The figures that the specification states for the roster, from the real code.
//!
//! Every run is the same: seeds are fixed and the clock is simulated, so a figure that is off by three of its standard
//! deviations is a defect and not chance. `cargo test -p rendezvous-protocol --test figures -- --nocapture` prints the
//! tables. Networks are what an object would make of addresses: numbers without meaning, alike or different.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

mod attacks;
mod communities;
mod draw;
mod sample;
mod simulation;
mod statistics;
