//! The directory of communities, under `/v1/communities` and `/v1/hubs` (section 20 of the specification).
//!
//! [`HubConfig`] is what the operator decides, [`DirectoryStep`] what a request needs next, [`HubObject`] the one place
//! where a hub's entries are, and [`Pull`] a question to another hub, for the host to carry out. Where a host has no hub,
//! nothing of this is reached.

mod config;
mod object;
mod pull;
mod request;

pub use config::{HubConfig, HubPeer, VARIABLES};
pub use object::HubObject;
pub use pull::{Pull, PulledPage};
pub use request::{DirectoryStep, HubCall, ReadRecord, VerifyRecord};
pub(crate) use request::{Wanted, route};
