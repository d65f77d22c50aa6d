//! What several commands work with: arguments, then variables, then defaults, put together and checked once.

use std::path::Path;

use rendezvous_protocol::announcer::Identity;
use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::ticket::{PeerData, PeerId, UserId};

use crate::beacon::{BEACONS_MAX, Beacon};
use crate::environment::{self, Environment, EnvironmentError};
use crate::failure::{Cause, Failure};
use crate::keys::{self, KeyFileError};
use crate::values::{parse_community, parse_data, parse_peer_id, parse_user_id};

/// The community of those who name none.
const DEFAULT_COMMUNITY: &str = "mainnet";

/// Settings that are missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Nobody to ask.
    #[error("no beacon to ask: give --beacon https://beacon.example.org, or set RENDEZVOUS_BEACONS")]
    NoBeacon,
    /// Too many to ask.
    #[error("{count} beacons are more than {BEACONS_MAX}")]
    TooManyBeacons {
        /// How many.
        count: usize,
    },
    /// Nothing to sign with.
    #[error(
        "no private key to sign with: give --key FILE, or set RENDEZVOUS_CAPSULE_PRIVATE_KEY to the key itself. \
         `capsule keygen` makes one"
    )]
    NoPrivateKey,
    /// Nothing to sign tickets with.
    #[error(
        "no private key to sign tickets with: give --key FILE, or set RENDEZVOUS_ANNOUNCE_PRIVATE_KEY to the key \
         itself. `capsule keygen --for node` makes one"
    )]
    NoTicketKey,
    /// Nobody to announce.
    #[error("no name to announce: give --peer-id NAME, or set RENDEZVOUS_ANNOUNCE_PEER_ID")]
    NoPeerId,
    /// Nothing to verify with.
    #[error(
        "nobody to trust: give --public-key KEY or --root FILE, or set RENDEZVOUS_CAPSULE_PUBLIC_KEY or \
         RENDEZVOUS_CAPSULE_ROOT"
    )]
    NoPublicKey,
    /// Too much to verify with.
    #[error(
        "{count} times --public-key is too often: a reader trusts one publisher's key, or a root that names several \
         (--root FILE). Only cosign takes more than one"
    )]
    SeveralPublicKeys {
        /// How many.
        count: usize,
    },
}

impl Cause for SettingsError {}

/// Returns the beacons to ask, each once: those of the option `--beacon`, or else those of `RENDEZVOUS_BEACONS`.
///
/// # Errors
/// None is named, or too many are, or the variable has something else than addresses.
pub fn beacons(arguments: &[Beacon], environment: &Environment) -> Result<Vec<Beacon>, Failure> {
    let beacons = beacons_if_any(arguments, environment)?;
    if beacons.is_empty() { Err(SettingsError::NoBeacon.into()) } else { Ok(beacons) }
}

/// The same, where nobody to ask is not an error.
pub(crate) fn beacons_if_any(arguments: &[Beacon], environment: &Environment) -> Result<Vec<Beacon>, Failure> {
    let mut beacons: Vec<Beacon> = Vec::new();
    let listed =
        if arguments.is_empty() { environment.list(environment::BEACONS, Beacon::parse)? } else { arguments.to_vec() };
    // Named twice, it would have two shares of a capsule, and two voices about the time.
    for beacon in listed {
        if !beacons.contains(&beacon) {
            beacons.push(beacon);
        }
    }
    match beacons.len() {
        0..=BEACONS_MAX => Ok(beacons),
        count => Err(SettingsError::TooManyBeacons { count }.into()),
    }
}

/// Returns the community: that of the option, or else that of `RENDEZVOUS_COMMUNITY`, or else `mainnet`.
///
/// # Errors
/// [`EnvironmentError`].
pub fn community(argument: Option<&Community>, environment: &Environment) -> Result<Community, EnvironmentError> {
    match first(argument.cloned(), environment, environment::COMMUNITY, parse_community)? {
        Some(community) => Ok(community),
        None => parse_community(DEFAULT_COMMUNITY)
            .map_err(|reason| EnvironmentError::Invalid { name: environment::COMMUNITY, reason }),
    }
}

/// The argument, or the variable.
pub(crate) fn first<T>(
    argument: Option<T>,
    environment: &Environment,
    name: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, EnvironmentError> {
    match argument {
        Some(value) => Ok(Some(value)),
        None => environment.parsed(name, parse),
    }
}

/// The private key in a file, or in a variable.
pub(crate) fn private_key(
    file: Option<&Path>,
    environment: &Environment,
    name: &'static str,
) -> Result<Option<PrivateKey>, KeyFileError> {
    Ok(match file {
        Some(path) => Some(keys::read_private_key(path, environment)?),
        None => keys::private_key_in_variable(name, environment)?,
    })
}

/// Who a ticket is of: the arguments, or the variables.
pub(crate) fn identity(
    peer_id: Option<&PeerId>,
    user_id: Option<&UserId>,
    data: Option<&PeerData>,
    community: Community,
    key: Option<&Path>,
    environment: &Environment,
) -> Result<Identity, Failure> {
    let peer_id = first(peer_id.cloned(), environment, environment::ANNOUNCE_PEER_ID, parse_peer_id)?
        .ok_or(SettingsError::NoPeerId)?;
    let user_id = first(user_id.cloned(), environment, environment::ANNOUNCE_USER_ID, parse_user_id)?
        .or_else(|| UserId::new(peer_id.as_str()))
        .ok_or(SettingsError::NoPeerId)?;
    let data = first(data.cloned(), environment, environment::ANNOUNCE_DATA, parse_data)?;
    let key = private_key(key, environment, environment::ANNOUNCE_PRIVATE_KEY)?.ok_or(SettingsError::NoTicketKey)?;
    Ok(Identity { key, peer_id, user_id, data, community })
}
