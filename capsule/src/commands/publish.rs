//! `capsule publish`: asks every beacon, and makes a capsule out of what holds.

use crate::arguments::PublishArguments;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::outcome::{Failure, Log, Outcome};
use crate::publication::{Interruptions, Publisher};
use crate::settings::{Pace, PublishSettings};

/// Runs the command.
pub(crate) fn publish(
    arguments: &PublishArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    clock.check_signing()?;
    let pace = Pace::Once { cadence: arguments.cadence, farewell: arguments.farewell };
    let publisher = Publisher::new(PublishSettings::new(&arguments.publication, pace, environment)?)?;
    let report = publisher.round(|| clock.now(), Interruptions::Held, log)?;
    let exit = report.exit();
    Ok(if arguments.json { Outcome::json(&report, exit) } else { Outcome::text(report.to_text(), exit) })
}
