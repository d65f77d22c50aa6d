//! The directory: vectors, properties of hubs against a plain model, and what placement comes to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops where it fails")]

#[path = "../cases/mod.rs"]
mod cases;
mod placement;
mod properties;
mod vectors;

/// Returns the registrable domain of a name.
fn domain_of(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}
