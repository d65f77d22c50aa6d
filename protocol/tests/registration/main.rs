//! Registration: vectors, what is signed, and what is remembered, against a plain model.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

#[path = "../cases/mod.rs"]
mod cases;
mod properties;
mod records;
mod rules;
mod vectors;
