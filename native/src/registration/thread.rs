//! The thread of registrations: one call after the other, each on disk before it is answered, and mail only after that.

use std::collections::VecDeque;
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
use crate::database::StorageError;
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
    /// What came of something that was sent.
    Came(Sent),
    /// It is to end.
    End,
}

/// Holds what came of something that was sent.
enum Sent {
    /// Of a mail.
    Mail { mail: Box<OutgoingMail>, outcome: MailOutcome },
    /// Whether a delivery was made.
    Delivery { delivery: Delivery, is_made: bool },
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
    let thread = RegistrationThread::restore(door, state, storage)?;
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let to_thread = mail.clone();
    let tell = move |mail, outcome| {
        to_thread.send(RegistrationMail::Came(Sent::Mail { mail: Box::new(mail), outcome })).is_ok()
    };
    named("mail").spawn(move || sender.run(&to_send, tell)).map_err(Failure::EventLoop)?;
    let to_thread = mail.clone();
    let tell =
        move |delivery, is_made| to_thread.send(RegistrationMail::Came(Sent::Delivery { delivery, is_made })).is_ok();
    named("webhook").spawn(move || webhook::run(&to_deliver, tell)).map_err(Failure::EventLoop)?;
    let running = named("registration").spawn(move || thread.run(&received, &mails, &deliveries));
    Ok((RegistrationHandle(mail), running.map_err(Failure::EventLoop)?))
}

struct RegistrationThread {
    state: PathBuf,
    storage: RegistrationStorage,
    /// Counts what others have written: the object knows what is on disk as of this version. Absent after a change that could
    /// not be written, until everything was read anew.
    version: Option<i64>,
    object: RegistrationObject,
    restoring: Restoring,
    /// What came of mails and deliveries and could not be written yet: no more than are on their way.
    sent: VecDeque<Sent>,
}

impl RegistrationThread {
    fn restore(door: Arc<RegistrationDoor>, state: PathBuf, mut storage: RegistrationStorage) -> Result<Self, Failure> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let stored = storage.begin()?;
        let (version, rows) = (Some(stored.version()?), stored.read()?);
        drop(stored);
        let restored = RegistrationObject::restore(door, Secret::from_bytes(secret), rows);
        let object = restored.map_err(|error| unreadable(&state, &error))?;
        Ok(Self { state, storage, version, object, restoring: Restoring::default(), sent: VecDeque::new() })
    }

    fn run(
        mut self,
        received: &Receiver<RegistrationMail>,
        mails: &Sender<OutgoingMail>,
        deliveries: &Sender<Delivery>,
    ) {
        loop {
            let wait = match self.version {
                Some(_) => {
                    let deadline = self.object.deadline();
                    deadline.map_or(LOOK_EVERY, |at| at.since(unix_now())).clamp(PAUSE, LOOK_EVERY)
                }
                None => self.restoring.wait(Instant::now()).min(LOOK_EVERY),
            };
            let mail = received.recv_timeout(wait);
            match mail {
                Ok(RegistrationMail::Ask { call, answer }) => {
                    let confirms = matches!(*call, RegistrationCall::Confirm(_));
                    let answered = self.change(|object| object.handle(unix_now(), *call));
                    // Before the answer: who has confirmed announces at once.
                    if confirms && answered.is_some() {
                        self.object.tell_door();
                    }
                    // Whoever asked may have gone away.
                    let _ = answer.send(answered.unwrap_or_else(|| registration_failed(unix_now())));
                }
                Ok(RegistrationMail::Came(sent)) => self.sent.push_back(sent),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(RegistrationMail::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.take_outcomes();
            self.note(|object| object.handle_timeout(unix_now()));
            self.send(mails, deliveries);
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

    /// Takes what came of what was sent, one after the other. What cannot be written is taken again later: lost, it would leave
    /// a mail on its way for good.
    fn take_outcomes(&mut self) {
        while let Some(sent) = self.sent.pop_front() {
            let (now, random) = (unix_now(), fastrand::u8(..));
            let is_taken = self.note(|object| match &sent {
                Sent::Mail { mail, outcome } => object.mailed(now, mail, *outcome, random),
                Sent::Delivery { delivery, is_made } => object.delivered(now, delivery, *is_made, random),
            });
            if !is_taken {
                self.sent.push_front(sent);
                return;
            }
        }
    }

    /// Returns whether the change was made.
    fn note(&mut self, work: impl FnOnce(&mut RegistrationObject) -> (Vec<RegistrationWrite>, Vec<Note>)) -> bool {
        let notes = self.change(|object| {
            let (writes, notes) = work(object);
            (notes, writes)
        });
        let is_made = notes.is_some();
        journal::write(notes.into_iter().flatten());
        is_made
    }

    /// Lets the object do something, and writes what has changed. If that cannot be written it counts for nothing: what is on
    /// disk is read anew, after a while.
    fn change<T>(&mut self, work: impl FnOnce(&mut RegistrationObject) -> (T, Vec<RegistrationWrite>)) -> Option<T> {
        if self.version.is_none() && !self.restoring.is_due(Instant::now()) {
            return None;
        }
        let outcome = self.try_change(work);
        if let Err(error) = &outcome {
            journal::failure("registrations_not_written", error);
            self.version = None;
            self.restoring.failed(Instant::now());
        }
        outcome.ok()
    }

    /// In one transaction: whether the operator's command has written, the change, and its writes. Decided on what was there
    /// before, a change could bring back what the operator has just removed.
    fn try_change<T>(
        &mut self,
        work: impl FnOnce(&mut RegistrationObject) -> (T, Vec<RegistrationWrite>),
    ) -> Result<T, StorageError> {
        let stored = self.storage.begin()?;
        let version = Some(stored.version()?);
        if version != self.version {
            let outcome = self.object.reread(stored.read()?);
            outcome.map_err(|error| unreadable(&self.state, &error))?;
            self.version = version;
        }
        let (done, writes) = work(&mut self.object);
        stored.commit(&writes)?;
        if !writes.is_empty() {
            self.restoring = Restoring::default();
        }
        Ok(done)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use rendezvous_protocol::mailbox::bytes::ContentId;
    use rendezvous_protocol::registration::Token;
    use rendezvous_protocol::time::UnixMillis;
    use rendezvous_service::config::Config;
    use rendezvous_service::registration::RegistrationConfig;

    use super::*;

    const NAME: &str = "registered/chess/iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";
    const ROW: &str = r#"{"email":"a@b.example","issuedAt":1700000000000,"verifiedAt":1700000000000}"#;

    fn door() -> Arc<RegistrationDoor> {
        let variable = |name: &str| {
            let value = match name {
                "SMTP_HOST" => "mail.example",
                "SMTP_FROM" => "beacon@a.example",
                "EXTERNAL_URLS" => "https://beacon.example",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let service = Config::parse(variable).unwrap();
        let config = RegistrationConfig::parse(&service, variable).unwrap().unwrap();
        Arc::new(RegistrationDoor::new(&service, config))
    }

    fn write(row: Option<&str>) -> RegistrationWrite {
        RegistrationWrite { name: NAME.to_owned(), row: row.map(str::to_owned) }
    }

    fn registered(thread: &mut RegistrationThread) -> usize {
        let rows = thread.storage.begin().unwrap().read().unwrap();
        RegistrationObject::list(rows).unwrap().len()
    }

    #[test]
    fn nothing_that_the_operator_has_just_removed_is_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let now = UnixMillis::saturating(1_700_000_000_000);
        let token = [7; TOKEN_BYTES];
        let pending = RegistrationWrite {
            name: NAME.replace("registered", "pending"),
            row: Some(format!(
                r#"{{"email":"a@b.example","endsAt":{},"issuedAt":{now},"mailed":true,"token":"{}","tries":1}}"#,
                now.after(Duration::from_secs(60)),
                ContentId::of(&token)
            )),
        };
        let mut storage = RegistrationStorage::open(directory.path()).unwrap();
        storage.begin().unwrap().commit(&[pending]).unwrap();
        let mut thread = RegistrationThread::restore(door(), directory.path().to_owned(), storage).unwrap();
        let call = |call: fn(Token) -> RegistrationCall| call(Token::from_random(token));
        let looked = thread.change(|object| object.handle(now, call(RegistrationCall::Look))).unwrap();
        assert_eq!(looked.status, 200);
        let mut operator = RegistrationStorage::open_beside(directory.path()).unwrap();
        let removing = operator.begin().unwrap();
        let (writes, removed) = RegistrationObject::remove(removing.read().unwrap(), |_, _| true).unwrap();
        removing.commit(&writes).unwrap();
        assert_eq!(removed, 1);
        let confirmed = thread.change(|object| object.handle(now, call(RegistrationCall::Confirm))).unwrap();
        assert_eq!((confirmed.status, registered(&mut thread)), (410, 0));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_read_again_later_and_nothing_is_decided_until_then() {
        let directory = tempfile::tempdir().unwrap();
        let storage = RegistrationStorage::open(directory.path()).unwrap();
        let mut thread = RegistrationThread::restore(door(), directory.path().to_owned(), storage).unwrap();
        let mut operator = RegistrationStorage::open_beside(directory.path()).unwrap();
        operator.begin().unwrap().commit(&[write(Some("?"))]).unwrap();
        assert_eq!(thread.change(|_| ((), Vec::new())), None);
        operator.begin().unwrap().commit(&[write(Some(ROW))]).unwrap();
        assert_eq!(thread.change(|_| ((), Vec::new())), None, "not at once");
        thread.restoring = Restoring::default();
        assert_eq!(thread.change(|_| ((), Vec::new())), Some(()));
        assert_eq!(registered(&mut thread), 1);
    }
}
