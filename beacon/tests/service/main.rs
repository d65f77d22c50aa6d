//! The service on a host that is made of values: every request, call, write and alarm in milliseconds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

mod activity;
mod community;
mod directory;
mod edge;
mod front;
mod guest_object;
mod guests;
mod hivemind;
mod host;
mod live;
mod mailbox;
mod places;
mod registration;
mod replication;
mod retalk;
mod retalk_object;
mod signals;
mod templates;
mod turn;
