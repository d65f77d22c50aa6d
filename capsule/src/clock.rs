//! The clock, and the way to set it for a reproducible run.

use std::time::{SystemTime, UNIX_EPOCH};

use rendezvous_protocol::time::{UnixMillis, saturating_millis};

use crate::environment::{Environment, EnvironmentError, SOURCE_DATE_EPOCH};

/// Where the time comes from. A command reads it once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The system's clock.
    System,
    /// Always this time.
    Fixed(UnixMillis),
}

/// A clock that tells no usable time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    /// `SOURCE_DATE_EPOCH` has no time in it.
    #[error(transparent)]
    Variable(#[from] EnvironmentError),
    /// The system's clock is before 1970.
    #[error("this machine's clock is before 1970: set it, since tickets and capsules are judged by it")]
    BeforeEpoch,
}

impl Clock {
    /// The system's clock, unless `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>) sets
    /// another time.
    pub(crate) fn new(environment: &Environment) -> Result<Self, ClockError> {
        let fixed = environment.parsed(SOURCE_DATE_EPOCH, |text| {
            let seconds: Option<u64> = text.parse().ok();
            let millis = seconds.and_then(|seconds| seconds.checked_mul(1000)).and_then(UnixMillis::new);
            millis.ok_or("must be whole seconds since 1970, as `date +%s` prints them")
        })?;
        Ok(fixed.map_or(Self::System, Self::Fixed))
    }

    /// The time that it was set to, if it was.
    pub(crate) const fn fixed(self) -> Option<UnixMillis> {
        match self {
            Self::System => None,
            Self::Fixed(time) => Some(time),
        }
    }

    /// Reads it.
    pub(crate) fn now(self) -> Result<UnixMillis, ClockError> {
        match self {
            Self::Fixed(time) => Ok(time),
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ClockError::BeforeEpoch)?;
                Ok(UnixMillis::saturating(saturating_millis(since_epoch)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_date_epoch_sets_it_in_seconds() {
        let clock = Clock::new(&Environment::from([(SOURCE_DATE_EPOCH, "1700000000")])).unwrap();
        assert_eq!(clock.now().unwrap().as_u64(), 1_700_000_000_000);
        assert!(Clock::new(&Environment::from([])).unwrap().fixed().is_none());
    }

    #[test]
    fn source_date_epoch_must_be_a_time() {
        for text in ["yesterday", "-1", "1.5", "9007199254741", "18446744073709551616"] {
            let error = Clock::new(&Environment::from([(SOURCE_DATE_EPOCH, text)])).unwrap_err();
            assert!(error.to_string().starts_with("SOURCE_DATE_EPOCH must be"), "{error}");
        }
    }
}
