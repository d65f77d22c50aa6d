//! The directory: the thread of the hub, what is kept of it on disk, and how other hubs are asked.

mod domain;
mod hub;
mod peers;
mod storage;

pub(crate) use domain::domain_of;
pub(crate) use hub::{HubHandle, start};
pub(crate) use storage::HubStorage;
