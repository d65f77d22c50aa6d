//! The relay of libp2p's that runs beside the beacon, in a program that is built with the feature `relay`.

#[cfg(not(feature = "relay"))]
mod absent;
#[cfg(feature = "relay")]
mod admission;
#[cfg(feature = "relay")]
mod key;
#[cfg(feature = "relay")]
mod server;
#[cfg(feature = "relay")]
mod streams;

#[cfg(not(feature = "relay"))]
pub(crate) use absent::RunningRelay;
#[cfg(feature = "relay")]
pub(crate) use key::RelayKeyError;
#[cfg(feature = "relay")]
pub(crate) use server::RunningRelay;
