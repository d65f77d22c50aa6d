//! Registration: what is signed, and what is remembered, against a plain model.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

mod properties;
mod records;
mod rules;
