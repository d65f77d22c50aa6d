//! Mailboxes: the vectors of their records, and the state machine against a model that is obviously right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

#[path = "../cases/mod.rs"]
mod cases;
mod model;
mod properties;
mod rules;
mod sealed;
mod vectors;
mod world;
