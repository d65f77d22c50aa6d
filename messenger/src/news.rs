//! What commands wait for that go on until a signal comes: the signal, the time of their next look at relays, and what relays tell
//! on connections for news. When to do what is decided by a [`Following`] of each relay; a look is at all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::log::Log;
use rendezvous_capsule::text;
use rendezvous_messenger::following::{Expected, Following, Next};
use rendezvous_messenger::live::{Heard, Listen};
use rendezvous_messenger::transport::HttpTransport;

use crate::listening::{self, ListenError};
use crate::store::random;

/// Events that wait to be heard while the command looks: a relay that tells more is read no further until then.
const EVENTS_MAX: usize = 16;

/// Says what has happened.
enum Event {
    /// A signal has come.
    Stopped,
    /// What is heard from a relay, or why nothing more is.
    News { relay: String, heard: Result<Heard, ListenError> },
}

/// Says what a command is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To look at the relays.
    Look,
    /// To end.
    Stop,
}

/// Tells a command that goes on when to look at relays, and when to end.
pub(crate) struct News<'a> {
    interval: Duration,
    transport: HttpTransport,
    log: &'a Log,
    is_begun: bool,
    relays: Vec<(String, Following)>,
    is_stopped: Arc<AtomicBool>,
    tell: SyncSender<Event>,
    told: Receiver<Event>,
}

impl<'a> News<'a> {
    /// Begins with a look. `interval` is the time after one that something came of.
    pub(crate) fn new(interval: Duration, transport: HttpTransport, log: &'a Log) -> Self {
        let (tell, told) = sync_channel(EVENTS_MAX);
        let is_stopped = Arc::new(AtomicBool::new(false));
        Self { interval, transport, log, is_begun: false, relays: Vec::new(), is_stopped, tell, told }
    }

    /// Returns what is to be called when a signal has come.
    pub(crate) fn stop(&self) -> impl FnOnce() + Send + 'static {
        let (tell, is_stopped) = (self.tell.clone(), Arc::clone(&self.is_stopped));
        move || {
            is_stopped.store(true, Ordering::SeqCst);
            // Where nobody waits any more, the command has ended, and where much waits to be heard, it does not wait itself.
            let _ = tell.try_send(Event::Stopped);
        }
    }

    /// Returns whether a signal has come.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Takes that a look at these relays begins, which answers what was heard until now.
    pub(crate) fn begin_look<'b>(&mut self, relays: impl Iterator<Item = &'b str> + Clone) {
        let now = Instant::now();
        self.is_begun = true;
        self.relays.retain(|(relay, _)| relays.clone().any(|name| name == relay));
        for name in relays {
            if !self.relays.iter().any(|(relay, _)| relay == name) {
                self.relays.push((name.to_owned(), Following::new(self.interval, now)));
            }
        }
        self.relays.iter_mut().for_each(|(_, following)| following.begin_look(now));
    }

    /// Takes that the relays were looked at, whether something has come of that, and what is to be expected of each. Returns how
    /// long it is until the next look, if no news come.
    pub(crate) fn note_look(&mut self, has_come: bool, expected: impl Fn(&str) -> Expected) -> Duration {
        let now = Instant::now();
        for (relay, following) in &mut self.relays {
            following.note_look(now, has_come, expected(relay));
        }
        self.relays.iter().map(|(_, following)| following.wait(now)).min().unwrap_or_default()
    }

    /// Waits until the command is to do something. Meanwhile connections are opened by what `listen` returns for a relay; absent is
    /// that of a mailbox that the relay does not have any more.
    pub(crate) fn next(
        &mut self,
        mut listen: impl FnMut(&str) -> Result<Option<Listen>, Failure>,
    ) -> Result<Turn, Failure> {
        loop {
            while let Ok(event) = self.told.try_recv() {
                self.note(event)?;
            }
            if self.is_stopped() {
                return Ok(Turn::Stop);
            }
            let now = Instant::now();
            let nexts: Vec<_> = self.relays.iter().map(|(_, following)| following.next(now)).collect();
            if !self.is_begun || nexts.contains(&Next::Look) {
                return Ok(Turn::Look);
            }
            let mut until = None;
            for (at, next) in nexts.into_iter().enumerate() {
                let moment = match next {
                    Next::Wait(moment) => moment,
                    // Once it is being opened, there is a time to wait until.
                    Next::Connect | Next::Look => {
                        self.connect(at, &mut listen)?;
                        now
                    }
                };
                until = Some(until.map_or(moment, |until: Instant| until.min(moment)));
            }
            let event = match until {
                Some(until) => self.told.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
                // Without relays there is nothing to wait for but a signal.
                None => self.told.recv().ok(),
            };
            if let Some(event) = event {
                self.note(event)?;
            }
        }
    }

    /// Opens the connection of a relay.
    fn connect(
        &mut self,
        at: usize,
        listen: &mut impl FnMut(&str) -> Result<Option<Listen>, Failure>,
    ) -> Result<(), Failure> {
        let Some((relay, following)) = self.relays.get_mut(at) else { return Ok(()) };
        following.note_opening();
        let (name, tell) = (relay.clone(), self.tell.clone());
        let hand_on = move |heard| drop(tell.send(Event::News { relay: name.clone(), heard }));
        let begun = match listen(relay)? {
            Some(listen) => listening::listen(self.transport.clone(), listen, hand_on),
            // Another program has closed the mailbox meanwhile.
            None => Err(ListenError::Closed),
        };
        match begun {
            Ok(()) => Ok(()),
            Err(error) => {
                let relay = relay.clone();
                self.note(Event::News { relay, heard: Err(error) })
            }
        }
    }

    fn note(&mut self, event: Event) -> Result<(), Failure> {
        // Whoever waits looks for signals itself.
        let Event::News { relay, heard } = event else { return Ok(()) };
        let is_one = self.relays.len() == 1;
        // One that is none of the mailbox's any more tells on until its connection ends.
        let Some((_, following)) = self.relays.iter_mut().find(|(name, _)| *name == relay) else { return Ok(()) };
        match heard {
            Ok(heard) => following.hear(Instant::now(), heard),
            Err(error) => {
                let [random] = random()?;
                let wait = text::duration(following.end(Instant::now(), error.ended(), random));
                if is_one {
                    self.log.note(format_args!("{error}: trying again in {wait}"));
                } else {
                    self.log.note(format_args!("{relay}: {error}: trying again in {wait}"));
                }
            }
        }
        Ok(())
    }
}
