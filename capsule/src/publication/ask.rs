//! Asking everybody at once: beacons, the places where tickets of nodes are, and what is probed. Each has a thread of
//! its own, so that one that hangs keeps nobody waiting, and a limit in time and in bytes.

use std::thread::{Builder, ScopedJoinHandle};
use std::time::Duration;

use rendezvous_protocol::limits::BODY_MAX_BYTES;

use super::settings::PublishSettings;
use crate::beacon::{Beacon, BeaconAnswer};
use crate::fetch::{FetchError, Fetcher};
use crate::log::Log;
use crate::source::{Source, SourceError};
use crate::text;

/// What came back, in the order of the settings.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answers: Vec<BeaconAnswer>,
    pub(super) tickets: Vec<Result<Vec<u8>, SourceError>>,
    pub(super) probes: Vec<Result<(), FetchError>>,
}

pub(super) fn ask_all(beacons: &[&Beacon], settings: &PublishSettings, fetcher: &Fetcher, log: &Log) -> Asked {
    let PublishSettings { includes, probes, timeout, .. } = settings;
    let community = &settings.tickets.community;
    if !beacons.is_empty() {
        log.note(format_args!(
            "asking {} for the peers of {community}, at most {}",
            text::count(beacons.len(), "beacon", "beacons"),
            text::duration(*timeout),
        ));
    }
    std::thread::scope(|scope| {
        let ask = |beacon: &Beacon| {
            let answer = beacon.ask(community, fetcher, *timeout);
            if let Err(error) = &answer.body {
                log.note(format_args!("{beacon}: {error}"));
            }
            answer
        };
        let read = |source: &Source| Ok(source.read(BODY_MAX_BYTES, fetcher, *timeout)?.bytes);
        let answers: Vec<_> =
            beacons.iter().map(|beacon| Builder::new().spawn_scoped(scope, move || ask(beacon)).ok()).collect();
        let tickets: Vec<_> =
            includes.iter().map(|source| Builder::new().spawn_scoped(scope, move || read(source)).ok()).collect();
        let probes: Vec<_> = probes
            .iter()
            .map(|probe| Builder::new().spawn_scoped(scope, || fetcher.probe(&probe.url, *timeout)).ok())
            .collect();
        Asked {
            answers: answers.into_iter().map(|thread| end(thread).unwrap_or_else(no_answer)).collect(),
            tickets: tickets
                .into_iter()
                .zip(includes)
                .map(|(thread, from)| end(thread).unwrap_or_else(|| no_ticket(from)))
                .collect(),
            probes: probes.into_iter().map(|thread| end(thread).unwrap_or_else(|| Err(died()))).collect(),
        }
    })
}

/// What it found, unless it could not start, or panicked in a library: that one is lost, the others are not.
fn end<T>(thread: Option<ScopedJoinHandle<'_, T>>) -> Option<T> {
    thread?.join().ok()
}

fn died() -> FetchError {
    FetchError::Broken { reason: "this program failed while asking".to_owned() }
}

fn no_answer() -> BeaconAnswer {
    BeaconAnswer { body: Err(died().into()), attempts: 1, took: Duration::ZERO }
}

fn no_ticket(source: &Source) -> Result<Vec<u8>, SourceError> {
    Err(SourceError::Fetch { url: source.to_string(), error: died() })
}
