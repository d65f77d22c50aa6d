//! The wire of hivemind-rendezvous' users: keys, requests, and a mailbox against a model that is obviously right.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

mod properties;
mod requests;
mod rules;
mod world;
