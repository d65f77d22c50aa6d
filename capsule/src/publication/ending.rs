//! How a round ends.

use rendezvous_protocol::time::UnixMillis;

use crate::failure::Exit;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Written,
    NoBeaconAnswered,
    TooFewBeacons,
    TooFewPeers,
    /// The capsule that is there was issued later than now.
    ClockWentBack {
        held: UnixMillis,
    },
    /// The capsule that is there is the last one of this key.
    KeyRevoked,
    /// The program was told to stop before it wrote anything.
    Stopped,
}

impl Ending {
    pub(super) const fn exit(self) -> Exit {
        match self {
            Self::Written => Exit::Good,
            Self::NoBeaconAnswered => Exit::Unreachable,
            Self::TooFewBeacons | Self::TooFewPeers | Self::ClockWentBack { .. } | Self::KeyRevoked | Self::Stopped => {
                Exit::Refused
            }
        }
    }

    /// A name for scripts.
    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Written => None,
            Self::NoBeaconAnswered => Some("NO_BEACON_ANSWERED"),
            Self::TooFewBeacons => Some("TOO_FEW_BEACONS"),
            Self::TooFewPeers => Some("TOO_FEW_PEERS"),
            Self::ClockWentBack { .. } => Some("CLOCK_WENT_BACK"),
            Self::KeyRevoked => Some("REVOKED_PUBLIC_KEY"),
            Self::Stopped => Some("STOPPED"),
        }
    }
}
