//! Reads the value of one argument or variable. Each error ends a sentence that begins with the name of either.

use std::fmt::Display;
use std::time::Duration;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::limits::{CAPSULE_MAX_PEERS, DATA_MAX_BYTES, ROLE_MAX_KEYS};
use rendezvous_protocol::merge::Shares;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::EmailAddress;
use rendezvous_protocol::registration::limits::EMAIL_MAX_BYTES;
use rendezvous_protocol::ticket::{PeerData, PeerId, UserId};
use rendezvous_protocol::time::UnixMillis;

use crate::beacon::BEACONS_MAX;

/// From one run of a schedule of GitHub Actions to the next. Observed, whatever the schedule says: runs begin two to four
/// times an hour, because GitHub leaves out what it has no room for.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#schedule>
pub(crate) const GITHUB_ACTIONS_CADENCE: Duration = Duration::from_secs(30 * 60);

/// A community's name.
pub fn parse_community(text: &str) -> Result<Community, String> {
    Community::new(text).map_err(|error| format!("must be a community: {error}"))
}

/// A public key.
pub fn parse_public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_text(text).map_err(|error| format!("must have public keys: {error}"))
}

/// The origin of a page.
pub(crate) fn parse_origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text)
        .ok_or_else(|| "must be the origin of a page, like https://app.example.org, and nothing more".to_owned())
}

/// An address of e-mail.
pub(crate) fn parse_email(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).ok_or_else(|| {
        format!(
            "must be an address such as name@a.example of at most {EMAIL_MAX_BYTES} bytes of ASCII, without quotes and \
             white space"
        )
    })
}

/// A peer's name.
pub(crate) fn parse_peer_id(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).ok_or_else(|| {
        "must be 1 to 128 bytes of printable ASCII without \" \\ < > &, and no space at either end".to_owned()
    })
}

/// A user's name.
pub(crate) fn parse_user_id(text: &str) -> Result<UserId, String> {
    UserId::new(text).ok_or_else(|| "must be 1 to 128 bytes of UTF-8 without control characters".to_owned())
}

/// What a peer says about itself.
pub(crate) fn parse_data(text: &str) -> Result<PeerData, String> {
    PeerData::new(text).ok_or_else(|| {
        format!("must be 1 to {DATA_MAX_BYTES} bytes of UTF-8 without control characters, and it has {}", text.len())
    })
}

/// A number of peers in a capsule.
pub(crate) fn parse_peer_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=CAPSULE_MAX_PEERS).contains(count))
        .ok_or_else(|| format!("must be a number of peers from 1 to {CAPSULE_MAX_PEERS}"))
}

/// A number of live peers, which may be none.
pub(crate) fn parse_live_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (0..=CAPSULE_MAX_PEERS).contains(count))
        .ok_or_else(|| format!("must be a number of peers from 0 to {CAPSULE_MAX_PEERS}"))
}

/// A number of beacons.
pub(crate) fn parse_beacon_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=BEACONS_MAX).contains(count))
        .ok_or_else(|| format!("must be a number of beacons from 1 to {BEACONS_MAX}"))
}

/// What becomes of places that are left.
pub(crate) fn parse_shares(text: &str) -> Result<Shares, String> {
    match text {
        "equal" => Ok(Shares::Equal),
        "available" => Ok(Shares::Available),
        _ => Err("must be `equal` or `available`".to_owned()),
    }
}

/// How many keys have to sign.
pub(crate) fn parse_threshold(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=ROLE_MAX_KEYS).contains(count))
        .ok_or_else(|| format!("must be a number of keys from 1 to {ROLE_MAX_KEYS}"))
}

/// A point in time.
pub(crate) fn parse_time(text: &str) -> Result<UnixMillis, String> {
    let time = text.parse().ok().and_then(UnixMillis::new);
    time.ok_or_else(|| "must be milliseconds since 1970, below 2^53".to_owned())
}

/// A duration with units.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    positive(humantime::parse_duration(text), "must be a duration above zero with its units, like 90s, 30m or 1h 15m")
}

/// How often a program is run: a duration, or who runs it, where that is known.
pub(crate) fn parse_cadence(text: &str) -> Result<Duration, String> {
    match text {
        "github-actions" => Ok(GITHUB_ACTIONS_CADENCE),
        _ => parse_duration(text).map_err(|reason| format!("{reason}, or github-actions")),
    }
}

/// A duration without its unit.
pub(crate) fn parse_millis(text: &str) -> Result<Duration, String> {
    positive(text.parse().map(Duration::from_millis), "must be a whole number of milliseconds above zero")
}

fn positive<E: Display>(duration: Result<Duration, E>, otherwise: &str) -> Result<Duration, String> {
    // Below a millisecond there is nothing on the wire.
    duration.ok().filter(|duration| duration.as_millis() > 0).ok_or_else(|| otherwise.to_owned())
}
