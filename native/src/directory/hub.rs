//! The thread of the hub: one call after the other, each on disk before it is answered.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rendezvous_protocol::directory::state::HubWrite;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::answer::Answer;
use rendezvous_service::directory::{HubCall, HubConfig, HubObject, Pull, PulledPage};
use rendezvous_service::problem::hub_failed;
use tokio::sync::oneshot;

use crate::clock::unix_now;
use crate::directory::peers;
use crate::directory::storage::HubStorage;
use crate::failure::Failure;
use crate::journal;
use crate::restoring::{PAUSE, Restoring, WAIT_MAX};

/// What the hub is told.
pub(super) enum HubMail {
    /// A call, and who waits for its answer.
    Ask { call: HubCall, answer: oneshot::Sender<Answer> },
    /// What came of asking another hub.
    Pulled { pull: Pull, outcome: Result<PulledPage, String> },
    /// It is to end.
    End,
}

/// Reaches the hub from every thread.
#[derive(Clone)]
pub(crate) struct HubHandle(Sender<HubMail>);

impl HubHandle {
    /// Asks the hub.
    pub(crate) async fn ask(&self, call: HubCall) -> Answer {
        let (answer, answered) = oneshot::channel();
        // One that has ended lets go of who asks.
        let _ = self.0.send(HubMail::Ask { call, answer });
        answered.await.unwrap_or_else(|_| {
            journal::failure("request_failed", &"the thread of the hub has ended");
            hub_failed(unix_now())
        })
    }

    /// Lets it end, after what it was asked before.
    pub(crate) fn end(&self) {
        let _ = self.0.send(HubMail::End);
    }
}

/// Starts the hub, which is restored before this returns.
pub(crate) fn start(config: HubConfig, storage: HubStorage) -> Result<(HubHandle, JoinHandle<()>), Failure> {
    let (mail, received) = channel();
    let (orders, ordered) = channel();
    let mut thread = HubThread { config, storage, object: None, restoring: Restoring::default() };
    thread.object = Some(thread.restore()?);
    let to_hub = mail.clone();
    let of_peers = std::thread::Builder::new().name("hub-peers".to_owned());
    // Not waited for at the end: it may be waiting for another hub, and has nothing to lose.
    let tell = move |pull, outcome| to_hub.send(HubMail::Pulled { pull, outcome }).is_ok();
    of_peers.spawn(move || peers::ask_all(&ordered, tell)).map_err(Failure::EventLoop)?;
    let of_hub = std::thread::Builder::new().name("hub".to_owned());
    let running = of_hub.spawn(move || thread.run(&received, &orders)).map_err(Failure::EventLoop)?;
    Ok((HubHandle(mail), running))
}

struct HubThread {
    config: HubConfig,
    storage: HubStorage,
    /// Absent after a change that could not be written, until it was read anew.
    object: Option<HubObject>,
    restoring: Restoring,
}

impl HubThread {
    fn restore(&mut self) -> Result<HubObject, Failure> {
        let (mut secret, mut epoch) = ([0; 16], [0; 4]);
        getrandom::fill(&mut secret)?;
        getrandom::fill(&mut epoch)?;
        let rows = self.storage.read()?;
        let (secret, epoch) = (Secret::from_bytes(secret), u32::from_be_bytes(epoch));
        let (object, writes) = HubObject::restore(self.config.clone(), secret, epoch, rows, unix_now())?;
        self.storage.commit(&writes)?;
        Ok(object)
    }

    fn run(mut self, received: &Receiver<HubMail>, orders: &Sender<Pull>) {
        loop {
            let now = unix_now();
            if self.object.is_none() && self.restoring.is_due(Instant::now()) {
                match self.restore() {
                    Ok(object) => self.object = Some(object),
                    Err(error) => {
                        self.restoring.failed(Instant::now());
                        journal::failure("hub_not_restored", &error);
                    }
                }
            }
            let wait = match &self.object {
                Some(object) => object.deadline().since(now).clamp(PAUSE, WAIT_MAX),
                None => self.restoring.wait(Instant::now()),
            };
            match received.recv_timeout(wait) {
                Ok(HubMail::Ask { call, answer }) => {
                    let answered = self.change(|object| object.handle(unix_now(), call));
                    // Whoever asked may have gone away.
                    let _ = answer.send(answered.unwrap_or_else(|| hub_failed(unix_now())));
                }
                Ok(HubMail::Pulled { pull, outcome }) => {
                    let random = fastrand::u8(..);
                    let notes = self.change(|object| {
                        let (writes, notes) = object.pulled(unix_now(), &pull, outcome, random);
                        (notes, writes)
                    });
                    journal::write(notes.into_iter().flatten());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(HubMail::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.change(|object| ((), object.handle_timeout(unix_now())));
            let mut nonce = [0; 16];
            if getrandom::fill(&mut nonce).is_ok()
                && let Some(pull) = self.object.as_mut().and_then(|object| object.next_pull(unix_now(), nonce))
            {
                // The thread that asks ends after this one.
                let _ = orders.send(pull);
            }
        }
    }

    /// Lets the object do something, and writes what has changed. If that cannot be written it counts for nothing: the object
    /// is made anew of what is on disk.
    fn change<T>(&mut self, work: impl FnOnce(&mut HubObject) -> (T, Vec<HubWrite>)) -> Option<T> {
        let (done, writes) = work(self.object.as_mut()?);
        match self.storage.commit(&writes) {
            Ok(()) => {
                if !writes.is_empty() {
                    self.restoring = Restoring::default();
                }
                Some(done)
            }
            Err(error) => {
                journal::failure("hub_not_written", &error);
                self.object = None;
                self.restoring.failed(Instant::now());
                None
            }
        }
    }
}
