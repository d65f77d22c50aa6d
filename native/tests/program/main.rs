//! The program as whoever runs it meets it: started, asked over HTTP, killed, and started wrongly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test stops where it fails"
)]

mod beacon;
mod configuration;
mod hostile;
mod life;
mod mailboxes;
mod start;
mod templates;
