//! Positions: how far a viewer has come in the changes of one roster.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The most digits of a sequence number, which is below 2^53.
const SEQUENCE_MAX_DIGITS: usize = 16;

/// Holds a place in the order of a roster's changes.
///
/// On the wire: 8 lower-case hex digits of the epoch, `-`, and the sequence number in decimal without leading zeros,
/// below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Stands for one life of the log: sequence numbers of two epochs have nothing to do with each other.
    pub epoch: u32,
    /// The number of the last change that counts in.
    pub sequence: u64,
}

/// Says that a text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("since must be a position as a beacon sends it: 8 hex digits, -, and a number below 2^53")]
pub struct PositionInvalid;

impl Position {
    /// Returns whether a delta that begins at `previous` fits what a viewer at this position holds: it may repeat changes,
    /// and must not leave any out.
    pub const fn takes(self, previous: Self) -> bool {
        self.epoch == previous.epoch && previous.sequence <= self.sequence
    }
}

impl FromStr for Position {
    type Err = PositionInvalid;

    fn from_str(text: &str) -> Result<Self, PositionInvalid> {
        let (epoch, sequence) = text.split_once('-').ok_or(PositionInvalid)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_canonical = epoch.len() == 8
            && epoch.bytes().all(is_hex)
            && (1..=SEQUENCE_MAX_DIGITS).contains(&sequence.len())
            && sequence.bytes().all(|byte| byte.is_ascii_digit())
            && (sequence == "0" || !sequence.starts_with('0'));
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| PositionInvalid)?;
        let sequence = sequence.parse().map_err(|_| PositionInvalid)?;
        if is_canonical && sequence < 1 << 53 { Ok(Self { epoch, sequence }) } else { Err(PositionInvalid) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}-{}", self.epoch, self.sequence)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_in_no_other_spelling() {
        for (text, epoch, sequence) in [
            ("00000000-0", 0, 0),
            ("0a1b2c3d-1700000000000", 0x0a1b_2c3d, 1_700_000_000_000),
            ("ffffffff-9007199254740991", u32::MAX, (1 << 53) - 1),
        ] {
            let position = Position { epoch, sequence };
            assert_eq!(text.parse(), Ok(position));
            assert_eq!(position.to_string(), text);
        }
        for text in [
            "",
            "-",
            "00000000",
            "00000000-",
            "0000000-1",
            "000000000-1",
            "0000000A-1",
            "+0000000-1",
            "00000000-01",
            "00000000-+1",
            "00000000--1",
            "00000000- 1",
            "00000000-9007199254740992",
            "00000000-99999999999999999",
        ] {
            assert_eq!(text.parse::<Position>(), Err(PositionInvalid), "{text}");
        }
    }

    #[test]
    fn a_delta_fits_if_it_leaves_nothing_out() {
        let at = |epoch, sequence| Position { epoch, sequence };
        assert!(at(1, 5).takes(at(1, 5)) && at(1, 5).takes(at(1, 4)));
        assert!(!at(1, 5).takes(at(1, 6)) && !at(1, 5).takes(at(2, 5)));
    }
}
