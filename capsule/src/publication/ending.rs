//! How a round ends.

use rendezvous_protocol::code::Code;
use rendezvous_protocol::publication::NotWritten;

use crate::beacon::NO_BEACON_ANSWERED;
use crate::failure::Exit;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Written,
    /// What was found, or the capsule that is there, stood against it.
    NotWritten(NotWritten),
    /// The program was told to stop before it wrote anything.
    Stopped,
}

impl Ending {
    pub(super) const fn exit(self) -> Exit {
        match self {
            Self::Written => Exit::Good,
            Self::NotWritten(NotWritten::NoBeaconAnswered) => Exit::Unreachable,
            Self::NotWritten(_) | Self::Stopped => Exit::Refused,
        }
    }

    /// A name for scripts.
    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Written => None,
            Self::NotWritten(NotWritten::NoBeaconAnswered) => Some(NO_BEACON_ANSWERED),
            Self::NotWritten(NotWritten::TooFewBeacons) => Some("TOO_FEW_BEACONS"),
            Self::NotWritten(NotWritten::TooFewPeers { .. }) => Some("TOO_FEW_PEERS"),
            Self::NotWritten(NotWritten::ClockWentBack { .. }) => Some("CLOCK_WENT_BACK"),
            Self::NotWritten(NotWritten::KeyRevoked) => Some(Code::RevokedPublicKey.as_str()),
            Self::NotWritten(NotWritten::FarFewerPeers { .. }) => Some("FAR_FEWER_PEERS"),
            Self::Stopped => Some("STOPPED"),
        }
    }
}
