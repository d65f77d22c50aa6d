//! Registration on this host: the thread that remembers, those that send mail and tell a webhook, and the operator's command.
//! What is remembered, sent and answered the service decides.

mod command;
mod smtp;
mod storage;
mod thread;
mod webhook;

pub(crate) use command::{RegistrationsCommand, run};
pub(crate) use storage::RegistrationStorage;
pub(crate) use thread::{RegistrationHandle, start};
