//! The clock, and the way to set it for a reproducible run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rendezvous_protocol::code::Code;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis, saturating_millis};

use crate::environment::{Environment, EnvironmentError, SOURCE_DATE_EPOCH};
use crate::failure::Cause;
use crate::refusal::Refusal;
use crate::text;

/// How long before this machine's clock something may be signed for.
const SIGNING_MAX_AGE: Duration = Duration::from_secs(365 * DAY_SECONDS);

/// Where the time comes from. A command reads it once.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Always this time.
    Fixed(UnixMillis),
}

/// A clock that tells no usable time.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// `SOURCE_DATE_EPOCH` has no time in it.
    #[error(transparent)]
    Variable(#[from] EnvironmentError),
    /// The system's clock is before 1970.
    #[error("this machine's clock is before 1970: set it, since tickets and capsules are judged by it")]
    BeforeEpoch,
    /// `SOURCE_DATE_EPOCH` is so long ago that nobody would mean it. Build tools set it without being asked.
    #[error(
        "SOURCE_DATE_EPOCH says that it is {}, more than a year before this machine's clock: what is signed for then is \
         over before anybody reads it. Some shells and build tools set this variable. Unset it (env -u SOURCE_DATE_EPOCH capsule …), or set it to the time that is \
         meant",
        text::date(*.time)
    )]
    TooLongAgo {
        /// What it says.
        time: UnixMillis,
    },
}

impl Cause for ClockError {}

impl Clock {
    /// The system's clock, unless `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>) sets
    /// another time.
    pub fn new(environment: &Environment) -> Result<Self, ClockError> {
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

    /// Checks that what is signed now can be of use to anybody.
    pub(crate) fn check_signing(self) -> Result<(), ClockError> {
        match self {
            Self::System => Ok(()),
            Self::Fixed(time) => check_age(time, Self::System.now()?),
        }
    }

    /// What to do about a refusal that the time that was set may be the reason of.
    pub(crate) fn explain(self, refusal: Refusal) -> Refusal {
        let of_time = matches!(Code::parse(&refusal.code), Some(Code::NotYetValid | Code::Expired | Code::RootExpired));
        match self {
            Self::Fixed(time) if of_time => {
                let Refusal { advice, .. } = &refusal;
                let advice = format!(
                    "{advice}; SOURCE_DATE_EPOCH sets the time to {}: unset it to judge by this machine's clock",
                    text::date(time)
                );
                Refusal { advice, ..refusal }
            }
            _ => refusal,
        }
    }

    /// Reads it.
    pub fn now(self) -> Result<UnixMillis, ClockError> {
        match self {
            Self::Fixed(time) => Ok(time),
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ClockError::BeforeEpoch)?;
                Ok(UnixMillis::saturating(saturating_millis(since_epoch)))
            }
        }
    }
}

fn check_age(time: UnixMillis, machine: UnixMillis) -> Result<(), ClockError> {
    if machine.since(time) > SIGNING_MAX_AGE { Err(ClockError::TooLongAgo { time }) } else { Ok(()) }
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
    fn nothing_is_signed_for_more_than_a_year_ago() {
        let machine = UnixMillis::saturating(1_796_000_000_000);
        let year = UnixMillis::saturating(1_796_000_000_000 - 365 * 24 * 60 * 60 * 1_000);
        let before = UnixMillis::saturating(year.as_u64() - 1);
        for (time, good) in [(UnixMillis::saturating(0), false), (before, false), (year, true), (UnixMillis::MAX, true)]
        {
            assert_eq!(check_age(time, machine).is_ok(), good, "{time}");
        }
        let clock = Clock::new(&Environment::from([(SOURCE_DATE_EPOCH, "315532800")])).unwrap();
        assert!(matches!(clock.check_signing(), Err(ClockError::TooLongAgo { .. })));
        assert!(Clock::System.check_signing().is_ok());
    }

    #[test]
    fn source_date_epoch_must_be_a_time() {
        for text in ["yesterday", "-1", "1.5", "9007199254741", "18446744073709551616"] {
            let error = Clock::new(&Environment::from([(SOURCE_DATE_EPOCH, text)])).unwrap_err();
            assert!(error.to_string().starts_with("SOURCE_DATE_EPOCH must be"), "{error}");
        }
    }
}
