//! Registration, at `/register` and `/verify` (section 21 of the specification): who confirms an address of e-mail is listed
//! where a community asks for that.
//!
//! [`RegistrationConfig`] is what the operator decides, [`RegistrationDoor`] who is registered, as every edge sees it,
//! [`RegistrationStep`] what a request needs next, and [`RegistrationObject`] the one place where it is all remembered. What
//! that wants sent goes out as an [`OutgoingMail`] or a [`Delivery`], for the host to carry out. An address of e-mail is in
//! these, in rows, and on the page of a link; never in a list, an answer to who asks, or a log. Where a host has no such door,
//! nothing of this is reached.

mod config;
mod delivery;
mod door;
mod object;
mod page;
mod request;

pub use config::{RegistrationConfig, SmtpConfig, VARIABLES};
pub use delivery::{Delivery, SIGNATURE_HEADER, TIME_HEADER};
pub use door::RegistrationDoor;
pub(crate) use door::{Gate, check_ticket};
pub use object::{OutgoingMail, RegistrationObject};
pub(crate) use page::problem as problem_page;
pub use request::{ReadRegistration, RegistrationCall, RegistrationStep};
pub(crate) use request::{Routed, is_route, route};
