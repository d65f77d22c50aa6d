//! `rendezvous check`: tries every request of a relay with keys that are thrown away.

use std::time::Duration;

use clap::Args;
use rendezvous_capsule::clock::Clock;
use rendezvous_capsule::failure::Failure;
use rendezvous_capsule::text;
use rendezvous_messenger::transport::{self, HttpTransport};
use rendezvous_messenger::user::{User, UserError};
use rendezvous_protocol::code::Code;
use rendezvous_protocol::key::PrivateKey;
use rendezvous_protocol::mailbox::bytes::{Address, Bytes};
use rendezvous_protocol::mailbox::envelope::Signed;
use rendezvous_protocol::mailbox::invite::Invite;
use rendezvous_protocol::mailbox::limits::DEPOSIT_MIN_LIFETIME;
use rendezvous_protocol::mailbox::record::SlotQuestion;
use rendezvous_protocol::time::UnixMillis;
use serde_json::json;

use crate::collecting::{Judged, judge};
use crate::ending::Report;
use crate::name::{Name, NameInvalid};
use crate::own::{OwnError, OwnMailbox};
use crate::recipient::{PendingMessage, Recipient, RecipientError};
use crate::relay::{MailboxRelay, MailboxRelayError};
use crate::store::{StoreError, random};

/// Twice the shortest life: it is closed again at once.
const LIFETIME: Duration = DEPOSIT_MIN_LIFETIME.saturating_mul(2);

const CONTENT: &[u8] = b"A message of `rendezvous check`.\n";

const HELP: &str = "\
Examples:
  rendezvous check https://relay.example.org
      opens a mailbox, leaves a message, collects and acknowledges it, asks for
      the receipt, and closes the mailbox again. Your own keys are not used
  rendezvous check https://relay.example.org --messages
      requires the door for `rendezvous send` and `receive` too, which each
      check tries, and which a relay may keep closed

Exit codes:
  0  every line says `good`, but for the last one, `takes messages`, which may
     say why not unless --messages is given
  1  the relay does not answer
  2  another line says why not, or with --messages the last one";

/// Arguments of `check`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct CheckArguments {
    /// The relay, by its origin.
    #[arg(value_name = "RELAY")]
    relay: String,
    /// Require that it takes the messages of `rendezvous send`.
    #[arg(long)]
    messages: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Why a step is not good.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Relay(#[from] MailboxRelayError),
    #[error(transparent)]
    Own(#[from] OwnError),
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] rendezvous_protocol::mailbox::record::RecordError),
    #[error(transparent)]
    Name(#[from] NameInvalid),
    #[error("{0}")]
    Other(String),
}

fn require(holds: bool, otherwise: &str) -> Result<(), StepError> {
    if holds { Ok(()) } else { Err(StepError::Other(otherwise.to_owned())) }
}

/// A mailbox and a sender that nobody else has heard of.
struct Trial<'a> {
    relay: MailboxRelay<'a>,
    now: UnixMillis,
    owner: PrivateKey,
    mailbox: OwnMailbox,
    sender: PrivateKey,
    contact: Recipient,
    name: Name,
    outgoing: Option<PendingMessage>,
}

type Step<'a> = (&'static str, fn(&mut Trial<'a>) -> Result<(), StepError>);

/// Returns what is tried, in this order: each builds on those before it.
fn steps<'a>() -> [Step<'a>; 10] {
    [
        ("says what it is", Trial::about),
        ("opens a mailbox", Trial::open),
        ("hands out its card", Trial::card),
        ("takes a message", Trial::deposit),
        ("takes it once", Trial::deposit_again),
        ("refuses what nobody signed", Trial::forge),
        ("hands the message over", Trial::collect),
        ("gives the receipt", Trial::receipt),
        ("closes the mailbox", Trial::close),
        ("forgets what was in it", Trial::is_closed),
    ]
}

/// Runs the command.
pub(crate) fn check(arguments: &CheckArguments, http: &HttpTransport) -> Result<Report, Failure> {
    let relay = MailboxRelay::new(&arguments.relay, http)?;
    let now = Clock::System.now()?;
    let mut trial = Trial::new(relay, now)?;
    let (mut rows, mut values, mut is_good) = (Vec::new(), Vec::new(), true);
    for (what, step) in steps() {
        let result = match is_good.then(|| step(&mut trial)) {
            None => "not tried".to_owned(),
            Some(Ok(())) => "good".to_owned(),
            // Somebody who is not there lacks nothing.
            Some(Err(StepError::Relay(error @ MailboxRelayError::Unreachable { .. }))) => return Err(error.into()),
            Some(Err(error)) => error.to_string(),
        };
        is_good = is_good && result == "good";
        values.push(json!({ "step": what, "result": result }));
        rows.push(vec![what.to_owned(), result]);
    }
    let door = messages(&arguments.relay, now, http);
    rows.push(vec![
        "takes messages".to_owned(),
        door.as_ref().err().map_or("good".to_owned(), |why| format!("no: {why}")),
    ]);
    is_good = is_good && (door.is_ok() || !arguments.messages);
    let value = json!({ "ok": is_good, "relay": trial.relay.origin(), "steps": values, "takesMessages": door.is_ok() });
    let text = text::table(&rows);
    Ok(if is_good { Report::done(arguments.json, &value, text) } else { Report::refused(arguments.json, &value, text) })
}

/// Returns whether `rendezvous send` goes by the relay at the address as it was written, or why it does not.
fn messages(url: &str, now: UnixMillis, http: &HttpTransport) -> Result<(), UserError> {
    User::try_relay(&transport::Relay::new(url, http)?, now)
}

impl<'a> Trial<'a> {
    fn new(relay: MailboxRelay<'a>, now: UnixMillis) -> Result<Self, Failure> {
        let [owner, sender] = [random()?, random()?].map(|seed| PrivateKey::from_seed(&seed));
        let seed = random()?;
        let origin = crate::relay::parse_relay(relay.origin())?;
        let invite = Invite::new(seed, owner.public_key(), vec![origin]).map_err(OwnError::from)?;
        let mut mailbox = OwnMailbox::new(random()?, now);
        let name: Name = "check".parse().map_err(OwnError::from)?;
        mailbox.relays = vec![relay.origin().to_owned()];
        mailbox.add_sealing_keys(random()?, random()?, now);
        mailbox.add_invite(&name, invite.slot().public_key(), 1, now.after(LIFETIME))?;
        mailbox.revise(now);
        let contact = Recipient::new(&invite, random()?);
        Ok(Self { relay, now, owner, mailbox, sender, contact, name, outgoing: None })
    }

    fn address(&self) -> Address {
        Address::of(&self.owner.public_key())
    }

    fn sent(&self) -> Result<&PendingMessage, StepError> {
        self.outgoing.as_ref().ok_or_else(|| StepError::Other("nothing was sent".to_owned()))
    }

    fn about(&mut self) -> Result<(), StepError> {
        let about = self.relay.about()?;
        require(about.doors.iter().any(|door| door == "v1"), "its door v1 is closed (its operator's DOORS)")?;
        let origin = self.relay.origin();
        let is_named = about.audiences.is_empty() || about.audiences.iter().any(|audience| audience == origin);
        require(is_named, "it does not know itself by this address (its operator's EXTERNAL_URLS)")
    }

    fn open(&mut self) -> Result<(), StepError> {
        let (card, policy) = (self.mailbox.card(&self.owner)?, self.mailbox.policy(&self.owner)?);
        Ok(self.relay.put(self.address(), &card.to_json(), &policy.to_json())?)
    }

    fn card(&mut self) -> Result<(), StepError> {
        let card = Signed::parse(&self.relay.card(self.address())?)?;
        self.contact.take_card(card, self.now)?;
        Ok(())
    }

    fn deposit(&mut self) -> Result<(), StepError> {
        let (name, expires_at) = (self.name.clone(), self.now.after(LIFETIME));
        let outgoing = self.contact.write(&name, &self.sender, CONTENT.to_vec(), false, (self.now, expires_at))?;
        self.outgoing = Some(outgoing);
        let sent = self.sent()?;
        let answer = self.relay.deposit(self.address(), &sent.deposit, &sent.sealed)?;
        require(answer.accepted, "it does not say that it has taken the message")
    }

    fn deposit_again(&mut self) -> Result<(), StepError> {
        let sent = self.sent()?;
        let answer = self.relay.deposit(self.address(), &sent.deposit, &sent.sealed)?;
        require(answer.duplicate && !answer.accepted, "it does not say that it has the message already")
    }

    fn forge(&mut self) -> Result<(), StepError> {
        let forged = self.sent()?.deposit.replace("\"sequence\":1", "\"sequence\":2");
        match self.relay.deposit(self.address(), &forged, &self.sent()?.sealed) {
            Err(error) if error.refusal() == Some(Code::SignatureInvalid) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(StepError::Other("it takes a deposit that nobody signed".to_owned())),
        }
    }

    fn collect(&mut self) -> Result<(), StepError> {
        let (owner, relay) = (&self.owner, self.relay.origin());
        let question = self.mailbox.question(owner, self.address(), relay, 0, random()?, self.now)?;
        let answer = self.relay.collect(self.address(), &question.to_json())?;
        let [handed_over] = answer.messages.as_slice() else {
            return Err(StepError::Other(format!("it hands over {} messages of one", answer.messages.len())));
        };
        let judged = judge(handed_over, &self.mailbox, self.address(), self.now);
        let Judged::New(message) = judged.map_err(|error| StepError::Other(error.to_string()))? else {
            return Err(StepError::Other("it hands over another message".to_owned()));
        };
        require(message.opened() == Some((self.sender.public_key(), CONTENT)), "the message was changed on its way")?;
        self.mailbox.accept(&message.incoming, self.now)?;
        let ack = self.mailbox.acknowledgement(message.slot(), &self.owner, self.address(), self.now)?;
        Ok(self.relay.acknowledge(self.address(), &ack.into_iter().collect::<Vec<_>>())?)
    }

    fn receipt(&mut self) -> Result<(), StepError> {
        let (slot, sequence) = (self.sent()?.slot, self.sent()?.sequence);
        let key = self.contact.slots().map(|slot| slot.key()).find(|key| key.public_key() == slot);
        let key = key.ok_or_else(|| StepError::Other("the slot has no key".to_owned()))?;
        let question = SlotQuestion {
            audience: self.relay.origin().to_owned(),
            issued_at: self.now,
            mailbox: self.address(),
            nonce: Bytes(random()?),
        };
        let ack = self.relay.receipt(self.address(), &Signed::sign(question, &key)?.to_json())?;
        let ack = ack.ok_or_else(|| StepError::Other("it has no receipt".to_owned()))?;
        self.contact.take_ack(Signed::parse(&ack)?, self.now, &mut [])?;
        require(self.contact.has(slot, sequence), "the receipt is of another message")
    }

    fn close(&mut self) -> Result<(), StepError> {
        Ok(self.relay.close(self.address(), &self.mailbox.close(&self.owner)?.to_json())?)
    }

    fn is_closed(&mut self) -> Result<(), StepError> {
        match self.relay.card(self.address()) {
            Err(error) if matches!(error.refusal(), Some(Code::MailboxClosed | Code::MailboxUnknown)) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(StepError::Other("the mailbox is still there".to_owned())),
        }
    }
}
