//! The one place where registrations are remembered. A call comes in, an answer and writes go out; both are made together.

use std::sync::Arc;

use rendezvous_protocol::canonical::quoted;
use rendezvous_protocol::registration::limits::TOKEN_BYTES;
use rendezvous_protocol::registration::{
    Due, EmailAddress, MailOutcome, Registered, RegistrationWrite, Registrations, Subject, Token, UnreadableRow,
};
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::Answer;
use crate::note::Note;
use crate::problem::RegistrationProblem;
use crate::registration::delivery::{self, Deliveries, Delivery};
use crate::registration::door::RegistrationDoor;
use crate::registration::page::{self, VERIFY};
use crate::registration::request::RegistrationCall;

/// Holds a mail, for the host to send: plain text in ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMail {
    due: Due,
    /// The subject, one line.
    pub subject: String,
    /// The text, its lines with a line feed each.
    pub text: String,
}

impl OutgoingMail {
    /// Returns to whom it goes.
    pub const fn to(&self) -> &EmailAddress {
        &self.due.email
    }
}

/// Holds everything that a beacon remembers of registrations.
#[derive(Debug)]
pub struct RegistrationObject {
    door: Arc<RegistrationDoor>,
    secret: Secret,
    registrations: Registrations,
    deliveries: Deliveries,
}

impl RegistrationObject {
    /// Makes the object of what was stored, and lets the door know who is registered. `secret` is random.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row.
    pub fn restore(
        door: Arc<RegistrationDoor>,
        secret: Secret,
        rows: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, UnreadableRow> {
        let (registrations, deliveries) = apart(rows);
        let registrations = Registrations::restore(door.config().mails_per_day, registrations)?;
        let object = Self { door, secret, registrations, deliveries: Deliveries::restore(deliveries)? };
        object.tell_door();
        Ok(object)
    }

    /// Takes what is stored now, where the operator's command has written or a write has failed, and lets the door know. What
    /// is not stored is not forgotten: shares of networks, and what is on its way.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row; nothing changes then.
    pub fn reread(&mut self, rows: impl IntoIterator<Item = (String, String)>) -> Result<(), UnreadableRow> {
        let (registrations, deliveries) = apart(rows);
        let deliveries = Deliveries::restore(deliveries)?;
        self.registrations.reread(registrations)?;
        self.deliveries.reread(deliveries);
        self.tell_door();
        Ok(())
    }

    /// Returns the registrations that a stored state has, with their addresses, for the operator: a line of JSON each.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row.
    pub fn list(rows: impl IntoIterator<Item = (String, String)>) -> Result<Vec<String>, UnreadableRow> {
        let registrations = Registrations::restore(0, apart(rows).0)?;
        let line = |(subject, registered): (&Subject, &Registered)| {
            let (community, key) = (&subject.community, subject.public_key);
            let (email, at) = (quoted(registered.email.as_str()), registered.verified_at);
            format!(r#"{{"community":"{community}","email":{email},"publicKey":"{key}","verifiedAt":{at}}}"#)
        };
        Ok(registrations.registered().map(line).collect())
    }

    /// Returns the writes that remove registrations from a stored state, and how many those are, confirmed or not.
    ///
    /// # Errors
    /// [`UnreadableRow`] names the row.
    pub fn remove(
        rows: impl IntoIterator<Item = (String, String)>,
        is_meant: impl Fn(&Subject, &EmailAddress) -> bool,
    ) -> Result<(Vec<RegistrationWrite>, usize), UnreadableRow> {
        let mut registrations = Registrations::restore(0, apart(rows).0)?;
        let mut writes = Vec::new();
        let removed = registrations.remove(is_meant, &mut writes);
        Ok((writes, removed))
    }

    /// Lets every edge know who is registered now. What is said there has to be on the disk.
    pub fn tell_door(&self) {
        self.door.admit_these(self.registrations.registered().map(|(subject, _)| subject));
    }

    /// Does what it is asked. After a confirmation that is written, [`RegistrationObject::tell_door`] is to be called.
    pub fn handle(&mut self, now: UnixMillis, call: RegistrationCall) -> (Answer, Vec<RegistrationWrite>) {
        let mut writes = Vec::new();
        let answer = match call {
            RegistrationCall::Register { registration, network, is_form } => {
                let network = network.hashed(&self.secret);
                match self.registrations.ask(now, network, &registration, &mut writes) {
                    Ok(()) if is_form => page::taken(),
                    Ok(()) => Answer { status: 202, ..Answer::of_json(format!(r#"{{"ok":true,"serverTime":{now}}}"#)) },
                    Err(error) if is_form => RegistrationProblem::TooManyMails(error).page(),
                    Err(error) => RegistrationProblem::TooManyMails(error).answer(now),
                }
            }
            RegistrationCall::Look(token) => match self.registrations.look(now, &token) {
                Ok(confirmed) => page::question(&confirmed, token),
                Err(error) => RegistrationProblem::NotConfirmed(error).page(),
            },
            RegistrationCall::Confirm(token) => match self.registrations.confirm(now, &token, &mut writes) {
                Ok(confirmed) => {
                    if self.door.config().webhook.is_some() {
                        self.deliveries.add(now, &confirmed, &mut writes);
                    }
                    page::confirmed(&confirmed)
                }
                Err(error) => RegistrationProblem::NotConfirmed(error).page(),
            },
        };
        (answer, writes)
    }

    /// Returns when there is something to do without being asked, if ever.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.registrations.deadline().into_iter().chain(self.deliveries.deadline()).min()
    }

    /// Does what is due. Early or repeated, nothing happens.
    pub fn handle_timeout(&mut self, now: UnixMillis) -> (Vec<RegistrationWrite>, Vec<Note>) {
        let mut writes = Vec::new();
        self.registrations.handle_timeout(now, &mut writes);
        if self.door.config().webhook.is_none() {
            self.deliveries.clear(&mut writes);
        }
        let given_up = self.deliveries.drop_used_up(&mut writes);
        (writes, (0..given_up).map(|_| webhook_given_up()).collect())
    }

    /// Returns the mail that is to be sent now, if there is one. `random` is from a secure source. The writes are to be on the
    /// disk before it is sent.
    pub fn next_mail(
        &mut self,
        now: UnixMillis,
        random: [u8; TOKEN_BYTES],
    ) -> (Option<OutgoingMail>, Vec<RegistrationWrite>) {
        let mut writes = Vec::new();
        let due = self.registrations.next_mail(now, Token::from_random(random), &mut writes);
        (due.map(|due| self.write_mail(due)), writes)
    }

    fn write_mail(&self, due: Due) -> OutgoingMail {
        let Subject { community, public_key } = &due.subject;
        let (origin, host) = (self.door.config().link.as_str(), self.door.config().own_host());
        let token = due.token.to_text();
        let subject = format!("Confirm your address for {community} at {host}");
        let text = format!(
            "Somebody, most likely you, asks the beacon {origin}\n\
             to register a key with this address.\n\
             \n\
             Community: {community}\n\
             Key:       {public_key}\n\
             \n\
             If the key is yours, open this page within an hour, and press its button:\n\
             \n\
             {origin}{VERIFY}?token={token}\n\
             \n\
             If not, do nothing: without the button nothing is registered.\n"
        );
        OutgoingMail { due, subject, text }
    }

    /// Takes what came of sending a mail. `random` spreads out when it is tried again.
    pub fn mailed(
        &mut self,
        now: UnixMillis,
        mail: &OutgoingMail,
        outcome: MailOutcome,
        random: u8,
    ) -> (Vec<RegistrationWrite>, Vec<Note>) {
        let mut writes = Vec::new();
        let kept = self.registrations.mailed(now, &mail.due, outcome, random, &mut writes);
        let cause = "a mail with a link is not tried again, and its registration is forgotten";
        let notes = kept.err().map(|_| Note::failure("mail_not_sent", &cause));
        (writes, notes.into_iter().collect())
    }

    /// Returns what the operator's own program is to be told now, if anything is.
    pub fn next_delivery(&mut self, now: UnixMillis) -> (Option<Delivery>, Vec<RegistrationWrite>) {
        let mut writes = Vec::new();
        let delivery = match &self.door.config().webhook {
            Some(webhook) => self.deliveries.next(now, webhook, &mut writes),
            None => None,
        };
        (delivery, writes)
    }

    /// Takes whether it was told. `random` spreads out when that is tried again.
    pub fn delivered(
        &mut self,
        now: UnixMillis,
        delivery: &Delivery,
        is_made: bool,
        random: u8,
    ) -> (Vec<RegistrationWrite>, Vec<Note>) {
        let mut writes = Vec::new();
        let is_given_up = self.deliveries.delivered(now, delivery, is_made, random, &mut writes);
        (writes, is_given_up.then(webhook_given_up).into_iter().collect())
    }
}

fn webhook_given_up() -> Note {
    let cause = "REGISTRATION_WEBHOOK did not take a registration, which `registrations list` has";
    Note::failure("webhook_given_up", &cause)
}

/// Rows of storage: names and texts.
type Rows = Vec<(String, String)>;

/// Sets rows of registrations apart from those of deliveries.
fn apart(rows: impl IntoIterator<Item = (String, String)>) -> (Rows, Rows) {
    rows.into_iter().partition(|(name, _)| !name.starts_with(delivery::ROW))
}
