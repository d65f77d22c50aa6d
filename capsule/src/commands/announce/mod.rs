//! `capsule announce`: keeps a server announced. When to send what is decided by `rendezvous_protocol::announcer`; here
//! are threads that send it, the clocks, the signals and what people and scripts get to read.

mod arguments;
mod event_loop;
mod output;
mod report;
mod settings;

use std::io;
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Instant;

use rendezvous_protocol::announcer::Announcer;
use rendezvous_protocol::lan::LocalBeacons;
use serde_json::json;

pub(crate) use self::arguments::AnnounceArguments;
use self::event_loop::{Clocks, Event, EventLoop, Messenger};
use self::output::Output;
use self::report::OnceReport;
use self::settings::AnnounceSettings;
use crate::beacon::Beacon;
use crate::clock::Clock;
use crate::environment::Environment;
use crate::failure::{Cause, Exit, Failure};
use crate::fetch::Fetcher;
use crate::lan::Finder;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::signals;
use crate::text;

/// Why nothing can be announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnnounceError {
    /// The end would come without leaving.
    #[error("SIGTERM and SIGINT cannot be waited for: {0}")]
    Signals(io::Error),
    /// The local network would not be asked.
    #[error("the local network cannot be asked for beacons: {0}")]
    Thread(io::Error),
}

impl Cause for AnnounceError {}

/// Runs the command.
pub(crate) fn announce(
    arguments: &AnnounceArguments,
    environment: &Environment,
    clock: &Clock,
    log: &Log,
) -> Result<Outcome, Failure> {
    let AnnounceSettings { beacons, identity, pacing, timeout } = AnnounceSettings::new(arguments, environment)?;
    let public_key = identity.key.public_key().to_string();
    let (peer_id, user_id) = (identity.peer_id.clone(), identity.user_id.clone());
    let community = identity.community.clone();
    let urls = beacons.iter().map(|beacon| beacon.url().clone()).collect();
    let messenger = Messenger { beacons, community: community.clone(), fetcher: Fetcher::new()? };
    let (sender, events) = channel();
    let mut event_loop = EventLoop {
        announcer: Announcer::new(identity, pacing, messenger.beacons.len()),
        output: match (arguments.once, arguments.json) {
            (true, _) => Output::Silent,
            (false, true) => Output::Json,
            (false, false) => Output::Text(*log),
        },
        configured: messenger.beacons.len(),
        messenger,
        local: LocalBeacons::new(urls),
        local_problem: None,
        clocks: Clocks { clock: *clock, started: Instant::now() },
        timeout,
        sender,
        events,
        clock_is_behind: 0,
        has_unconfirmed_clock: false,
        leave_before: None,
    };
    let mut beacons = text::count(event_loop.messenger.beacons.len(), "beacon", "beacons");
    if arguments.lan {
        beacons.push_str(" and those of the local network");
    }
    let begin = format!("announcing {peer_id} in {community} to {beacons}, with the key {public_key}");
    let finder = arguments.lan.then(Finder::new).transpose()?;
    if arguments.once {
        log.note(format_args!("{begin}"));
        if let Some(finder) = finder {
            let found = finder.ask_for_some();
            match found {
                Err(error) if event_loop.configured == 0 => return Err(error.into()),
                Err(error) => log.note(format_args!("{error}")),
                Ok(_) => event_loop.find(found),
            }
        }
        event_loop.run(EventLoop::is_settled)?;
        let report = OnceReport::new(&event_loop, peer_id.as_str(), &public_key);
        let exit = report.exit();
        return Ok(if arguments.json {
            Outcome::json(&report, exit)
        } else {
            Outcome::text(report.to_text(event_loop.clocks.now()), exit)
        });
    }
    let sender = event_loop.sender.clone();
    // The receiver lives as long as the program.
    signals::on_stop(move || drop(sender.send(Event::Stop))).map_err(AnnounceError::Signals)?;
    event_loop.output.say(event_loop.clocks.now(), "started", None, format_args!("{begin}"), || {
        json!({
            "peerId": peer_id.as_str(),
            "userId": user_id.as_str(),
            "community": community.as_str(),
            "publicKey": public_key,
            "beacons": event_loop.messenger.beacons.iter().map(Beacon::to_string).collect::<Vec<_>>(),
        })
    });
    if let Some(finder) = finder {
        let sender = event_loop.sender.clone();
        let watch = move || finder.watch(|found| sender.send(Event::Found(found)).is_ok());
        Builder::new().spawn(watch).map_err(AnnounceError::Thread)?;
    }
    event_loop.run(EventLoop::is_stopped)?;
    Ok(Outcome::text(String::new(), Exit::Good))
}
