//! The thread of registrations: one call after the other, each on disk before it is answered, and mail only after that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rendezvous_protocol::registration::limits::TOKEN_BYTES;
use rendezvous_protocol::registration::{MailOutcome, RegistrationWrite};
use rendezvous_protocol::secret::Secret;
use rendezvous_service::answer::Answer;
use rendezvous_service::note::Note;
use rendezvous_service::problem::registration_failed;
use rendezvous_service::registration::{
    Delivery, OutgoingMail, RegistrationCall, RegistrationDoor, RegistrationObject,
};
use tokio::sync::oneshot;

use crate::clock::unix_now;
use crate::failure::Failure;
use crate::journal;
use crate::registration::smtp;
use crate::registration::storage::{RegistrationStorage, unreadable};
use crate::registration::webhook;
use crate::restoring::{PAUSE, Restoring};

/// How often the thread looks whether the operator's command has written.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the thread is told.
enum RegistrationMail {
    /// A call, and who waits for its answer.
    Ask { call: Box<RegistrationCall>, answer: oneshot::Sender<Answer> },
    /// What came of sending a mail.
    Mailed { mail: Box<OutgoingMail>, outcome: MailOutcome },
    /// Whether a delivery was made.
    Delivered { delivery: Delivery, is_made: bool },
    /// It is to end.
    End,
}

/// Reaches the thread from every other one.
#[derive(Clone)]
pub(crate) struct RegistrationHandle(Sender<RegistrationMail>);

impl RegistrationHandle {
    /// Asks the thread.
    pub(crate) async fn ask(&self, call: RegistrationCall) -> Answer {
        let (answer, answered) = oneshot::channel();
        // One that has ended lets go of who asks.
        let _ = self.0.send(RegistrationMail::Ask { call: Box::new(call), answer });
        answered.await.unwrap_or_else(|_| {
            journal::failure("request_failed", &"the thread of registrations has ended");
            registration_failed(unix_now())
        })
    }

    /// Lets it end, after what it was asked before.
    pub(crate) fn end(&self) {
        let _ = self.0.send(RegistrationMail::End);
    }
}

/// Starts the thread, which has restored everything before this returns, and those that send. These are not waited for at the
/// end: what they have not sent yet is still on disk.
pub(crate) fn start(
    door: Arc<RegistrationDoor>,
    state: PathBuf,
    storage: RegistrationStorage,
) -> Result<(RegistrationHandle, JoinHandle<()>), Failure> {
    let sender = smtp::MailSender::new(door.config())?;
    let (mail, received) = channel();
    let (mails, to_send) = channel();
    let (deliveries, to_deliver) = channel();
    let version = storage.version()?;
    let mut thread =
        RegistrationThread { door, state, storage, version, object: None, restoring: Restoring::default() };
    thread.object = Some(thread.restore()?);
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let to_thread = mail.clone();
    let tell = move |mail, outcome| to_thread.send(RegistrationMail::Mailed { mail: Box::new(mail), outcome }).is_ok();
    named("mail").spawn(move || sender.run(&to_send, tell)).map_err(Failure::EventLoop)?;
    let to_thread = mail.clone();
    let tell = move |delivery, is_made| to_thread.send(RegistrationMail::Delivered { delivery, is_made }).is_ok();
    named("webhook").spawn(move || webhook::run(&to_deliver, tell)).map_err(Failure::EventLoop)?;
    let running = named("registration").spawn(move || thread.run(&received, &mails, &deliveries));
    Ok((RegistrationHandle(mail), running.map_err(Failure::EventLoop)?))
}

struct RegistrationThread {
    door: Arc<RegistrationDoor>,
    state: PathBuf,
    storage: RegistrationStorage,
    /// Of what the object was made of.
    version: i64,
    /// Absent after a change that could not be written, until it was read anew.
    object: Option<RegistrationObject>,
    restoring: Restoring,
}

impl RegistrationThread {
    fn restore(&mut self) -> Result<RegistrationObject, Failure> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        self.version = self.storage.version()?;
        let rows = self.storage.read()?;
        let restored = RegistrationObject::restore(Arc::clone(&self.door), Secret::from_bytes(secret), rows);
        restored.map_err(|error| unreadable(&self.state, &error).into())
    }

    fn run(
        mut self,
        received: &Receiver<RegistrationMail>,
        mails: &Sender<OutgoingMail>,
        deliveries: &Sender<Delivery>,
    ) {
        loop {
            let wait = match &self.object {
                Some(object) => {
                    object.deadline().map_or(LOOK_EVERY, |at| at.since(unix_now())).clamp(PAUSE, LOOK_EVERY)
                }
                None => self.restoring.wait(Instant::now()).min(LOOK_EVERY),
            };
            let mail = received.recv_timeout(wait);
            self.refresh();
            match mail {
                Ok(RegistrationMail::Ask { call, answer }) => {
                    let confirms = matches!(*call, RegistrationCall::Confirm(_));
                    let answered = self.change(|object| object.handle(unix_now(), *call));
                    // Before the answer: who has confirmed announces at once.
                    if let Some(object) = self.object.as_ref().filter(|_| confirms) {
                        object.tell_door();
                    }
                    // Whoever asked may have gone away.
                    let _ = answer.send(answered.unwrap_or_else(|| registration_failed(unix_now())));
                }
                Ok(RegistrationMail::Mailed { mail, outcome }) => {
                    let random = fastrand::u8(..);
                    self.note(|object| object.mailed(unix_now(), &mail, outcome, random));
                }
                Ok(RegistrationMail::Delivered { delivery, is_made }) => {
                    let random = fastrand::u8(..);
                    self.note(|object| object.delivered(unix_now(), &delivery, is_made, random));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(RegistrationMail::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.change(|object| ((), object.handle_timeout(unix_now())));
            self.send(mails, deliveries);
        }
    }

    /// Makes the object anew, where that is due: after a change that could not be written, or where the operator's command
    /// has made one.
    fn refresh(&mut self) {
        let is_changed = self.object.is_some() && self.storage.version().is_ok_and(|version| version != self.version);
        if !is_changed && (self.object.is_some() || !self.restoring.is_due(Instant::now())) {
            return;
        }
        match self.restore() {
            Ok(object) => self.object = Some(object),
            Err(error) => {
                self.object = None;
                self.restoring.failed(Instant::now());
                journal::failure("registrations_not_restored", &error);
            }
        }
    }

    /// Hands out everything that is due.
    fn send(&mut self, mails: &Sender<OutgoingMail>, deliveries: &Sender<Delivery>) {
        loop {
            let mut random = [0; TOKEN_BYTES];
            if let Err(error) = getrandom::fill(&mut random) {
                journal::failure("mail_failed", &format_args!("no randomness: {error}"));
                return;
            }
            let Some(Some(mail)) = self.change(|object| object.next_mail(unix_now(), random)) else { break };
            // The thread that sends ends after this one.
            let _ = mails.send(mail);
        }
        while let Some(Some(delivery)) = self.change(|object| object.next_delivery(unix_now())) {
            let _ = deliveries.send(delivery);
        }
    }

    fn note(&mut self, work: impl FnOnce(&mut RegistrationObject) -> (Vec<RegistrationWrite>, Vec<Note>)) {
        let notes = self.change(|object| {
            let (writes, notes) = work(object);
            (notes, writes)
        });
        journal::write(notes.into_iter().flatten());
    }

    /// Lets the object do something, and writes what has changed. If that cannot be written it counts for nothing: the object
    /// is made anew of what is on disk.
    fn change<T>(&mut self, work: impl FnOnce(&mut RegistrationObject) -> (T, Vec<RegistrationWrite>)) -> Option<T> {
        let (done, writes) = work(self.object.as_mut()?);
        match self.storage.commit(&writes) {
            Ok(()) => {
                if !writes.is_empty() {
                    self.restoring = Restoring::default();
                }
                Some(done)
            }
            Err(error) => {
                journal::failure("registrations_not_written", &error);
                self.object = None;
                self.restoring.failed(Instant::now());
                None
            }
        }
    }
}
