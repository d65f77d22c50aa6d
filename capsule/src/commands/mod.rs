//! What each command does.

pub(crate) mod announce;
pub(crate) mod cosign;
pub(crate) mod inspect;
pub(crate) mod keygen;
pub(crate) mod publish;
pub(crate) mod root;
pub(crate) mod ticket;
pub(crate) mod verify;
