//! `rendezvous mailbox collect`: fetches what has come, hands it on, and only then acknowledges it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rendezvous_capsule::failure::{Cause, Exit, Failure};
use rendezvous_capsule::files::{self, FileError, read_file};
use rendezvous_capsule::hook::{Ran, run_program};
use rendezvous_capsule::outcome::print_result;
use rendezvous_capsule::secret::hide;
use rendezvous_capsule::signals::SecondSignal;
use rendezvous_capsule::text;
use rendezvous_capsule::values::parse_duration;
use rendezvous_messenger::following::Expected;
use rendezvous_messenger::live::Listen;
use rendezvous_protocol::base64;
use rendezvous_protocol::key::{PrivateKey, PublicKey};
use rendezvous_protocol::mailbox::bytes::{Address, ContentId};
use rendezvous_protocol::mailbox::limits::{ACKS_MAX, COLLECT_MAX_MESSAGES};
use serde_json::{Value, json};

use crate::collecting::{CollectedMessage, Judged, Unreadable, judge};
use crate::ending::{Ending, Report};
use crate::news::{News, Turn};
use crate::own::{OwnError, OwnMailbox};
use crate::relay::{MailboxRelay, MailboxRelayError};
use crate::session::Session;
use crate::store::random;

/// Rounds at one relay in one run: 512 messages wait there at most.
const ROUNDS_MAX: usize = 16;

/// The name of the option that sets how long a command may take.
const EXEC_TIMEOUT: &str = "--exec-timeout";

const HELP: &str = "\
Examples:
  rendezvous mailbox collect
      shows what waits, and leaves it there: rendezvous mailbox ack --all
  rendezvous mailbox collect --output inbox
      writes each message to inbox/NAME-NUMBER-ID, then acknowledges it
  rendezvous mailbox collect --follow --exec ./on-message
      runs the command for each, with the message on its standard input, and
      acknowledges it if it ends with exit code 0; else it comes again. Run
      without a shell: what a message says is never part of a command line

The command of --exec, which takes the rest of the line, gets RENDEZVOUS_FROM
(the sender's key), RENDEZVOUS_CONTACT (your name for it, if you have one),
RENDEZVOUS_SEQUENCE and RENDEZVOUS_CONTENT_ID. A message comes at least once,
and may come twice after a crash: the content id tells.

Exit codes:
  1    no relay answered
  3    something is left there: it cannot be read, or --exec failed
  130  ended by a signal, after the message that was at hand. A second signal is
       the command's of --exec too, as SIGTERM: it has 5 seconds to end, and the
       message is left there unless it ends with exit code 0

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE            --store
  RENDEZVOUS_PASSPHRASE_FILE  --passphrase-file";

/// Arguments of `collect`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct CollectArguments {
    /// Directory to write messages to; made if it is not there.
    #[arg(long, value_name = "DIR", conflicts_with = "exec")]
    output: Option<PathBuf>,
    /// Program to run for each message, and its arguments.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    exec: Option<Vec<OsString>>,
    /// How long the command of --exec may take.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5m", requires = "exec")]
    exec_timeout: Duration,
    /// Go on until a signal comes. With a time: after which relays are asked again. [default time: 2s; up to 10s while nothing
    /// comes, and a minute where all relays tell when something comes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, num_args = 0..=1, default_missing_value = "2s")]
    follow: Option<Duration>,
    /// Print one line of JSON for each message, and one at the end.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why a message is not handed on.
#[derive(Debug, thiserror::Error)]
enum HandOnError {
    /// The signals cannot be held.
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
    /// The standard output is full, or broken.
    #[error("a message could not be written to the standard output: {0}")]
    Output(std::io::Error),
}

impl Cause for HandOnError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Counts what one run has done.
#[derive(Default)]
struct Tally {
    new: usize,
    left: usize,
    is_stopped: bool,
}

pub(crate) fn collect(arguments: &CollectArguments, session: &Session<'_>) -> Result<Report, Failure> {
    let interval = arguments.follow.unwrap_or_default();
    let news = News::new(interval, session.transport().clone(), session.log);
    let second = SecondSignal::on_stop(news.stop()).map_err(HandOnError::Signals)?;
    if let Some(directory) = &arguments.output {
        files::create_directory(directory)?;
    }
    let mut run = Run {
        arguments,
        session,
        owner: session.owner_key()?,
        mailbox: session.mailbox()?,
        news,
        second,
        tally: Tally::default(),
    };
    loop {
        run.news.begin_look(run.mailbox.relays.iter().map(String::as_str));
        let before = run.tally.new;
        let outcome = run.once();
        if arguments.follow.is_none() {
            outcome?;
            break;
        }
        let (has_come, mailbox) = (run.tally.new > before, &run.mailbox);
        let wait = run.news.note_look(has_come, |relay| match mailbox.is_published_at(relay) {
            true => Expected::ByMailbox,
            false => Expected::ByRetalk,
        });
        if let Err(failure) = outcome {
            // A relay that refuses, because it is asked too often, say, may do better the next time; the own disk does not.
            if !matches!(failure.exit, Exit::Unreachable | Exit::Refused) {
                return Err(failure);
            }
            session.log.note(format_args!("{failure}: trying again in {}", text::duration(wait)));
        }
        // Others may use the store meanwhile.
        if run.tally.is_stopped || session.store.unlocked(|| run.wait())?? == Turn::Stop {
            run.tally.is_stopped = true;
            break;
        }
        run.mailbox = session.mailbox()?;
    }
    let Tally { new, left, is_stopped } = run.tally;
    let ending = match (is_stopped, left) {
        (true, _) => Ending::Interrupted,
        (false, 0) => Ending::Done,
        _ => Ending::Waiting,
    };
    let value = json!({ "ok": true, "new": new, "left": left });
    let is_nothing = new + left == 0 && arguments.follow.is_none();
    let text = if is_nothing { "nothing new\n" } else { "" }.to_owned();
    Ok(Report::new(arguments.json, &value, text, ending))
}

struct Run<'a> {
    arguments: &'a CollectArguments,
    session: &'a Session<'a>,
    owner: PrivateKey,
    mailbox: OwnMailbox,
    news: News<'a>,
    second: SecondSignal,
    tally: Tally,
}

impl Run<'_> {
    fn address(&self) -> Address {
        Address::of(&self.owner.public_key())
    }

    /// Waits until relays are to be asked again, or a signal comes.
    fn wait(&mut self) -> Result<Turn, Failure> {
        let (session, owner, mailbox) = (self.session, &self.owner, self.address());
        self.news.next(|origin| {
            let relay = session.relay(origin)?;
            Ok(Some(Listen::new(&relay, mailbox, owner, random()?, session.now()?).map_err(OwnError::from)?))
        })
    }

    /// Asks every relay once.
    fn once(&mut self) -> Result<(), Failure> {
        self.session.renew_keys(&mut self.mailbox, self.session.now()?)?;
        self.session.publish_and_say(&mut self.mailbox, &self.owner)?;
        self.mailbox.settle(self.session.now()?);
        self.tally.left = 0;
        let mut seen = BTreeSet::new();
        let (mut answered, mut last) = (0, None);
        for origin in self.mailbox.relays.clone() {
            let relay = self.session.relay(&origin)?;
            match self.empty(&relay, &mut seen)? {
                Ok(()) => answered += 1,
                Err(error) => {
                    self.session.log.note(format_args!("{error}"));
                    last = Some(error);
                }
            }
            if self.tally.is_stopped {
                break;
            }
        }
        match last {
            Some(error) if answered == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Collects from one relay until it has no more that is new.
    fn empty(
        &mut self,
        relay: &MailboxRelay<'_>,
        seen: &mut BTreeSet<ContentId>,
    ) -> Result<Result<(), MailboxRelayError>, Failure> {
        let mut left_rounds = 0;
        for _ in 0..ROUNDS_MAX {
            let answer = match relay.collect(self.address(), &self.question(relay, left_rounds)?) {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(error)),
            };
            let (mut slots, mut is_left) = (BTreeSet::new(), false);
            for handed_over in answer.messages.iter().take(COLLECT_MAX_MESSAGES as usize) {
                if self.news.is_stopped() {
                    self.tally.is_stopped = true;
                    break;
                }
                match judge(handed_over, &self.mailbox, self.address(), self.session.now()?) {
                    Ok(Judged::Known { slot }) => {
                        slots.insert(slot);
                    }
                    Ok(Judged::HandedOn) => is_left = true,
                    Ok(Judged::New(message)) if !seen.insert(message.content_id()) => is_left = true,
                    Ok(Judged::New(message)) => {
                        if self.take(&message)? {
                            slots.insert(message.slot());
                        } else {
                            is_left = true;
                        }
                    }
                    Err(error) => {
                        is_left = true;
                        self.tally.left += 1;
                        self.session.log.note(format_args!("{}: a message is left there: {error}", relay.origin()));
                    }
                }
            }
            if !slots.is_empty() {
                // Whoever wrote over an invite finds the other slot listed before it sees the receipt.
                self.session.publish_and_say(&mut self.mailbox, &self.owner)?;
                acknowledge(self.session, &mut self.mailbox, &self.owner, &slots)?;
            }
            if !answer.more || self.tally.is_stopped {
                break;
            }
            left_rounds += u8::from(is_left);
        }
        Ok(Ok(()))
    }

    fn question(&self, relay: &MailboxRelay<'_>, left_rounds: u8) -> Result<String, Failure> {
        let (nonce, now) = (random()?, self.session.now()?);
        Ok(self.mailbox.question(&self.owner, self.address(), relay.origin(), left_rounds, nonce, now)?.to_json())
    }

    /// Hands a message on. Returns whether it may be acknowledged.
    fn take(&mut self, message: &CollectedMessage) -> Result<bool, Failure> {
        let now = self.session.now()?;
        let is_shown_only = self.arguments.output.is_none() && self.arguments.exec.is_none();
        let handed_on = match message.opened() {
            None => Err(message.unreadable.map(|reason| reason.to_string()).unwrap_or_default()),
            Some(_) if is_shown_only => Ok(None),
            Some((from, content)) => self.hand_on(message, from, content)?,
        };
        if self.arguments.exec.is_some() {
            // Others could use the store meanwhile.
            self.mailbox = self.session.mailbox()?;
        }
        if self.arguments.json {
            // As it is: what somebody wrote is a result, even where it looks like a key.
            print_result(&format!("{}\n", event(message, handed_on.as_ref()))).map_err(HandOnError::Output)?;
        } else {
            let mut text = String::new();
            describe(&mut text, message, handed_on.as_ref(), is_shown_only);
            print_result(&text).map_err(HandOnError::Output)?;
        }
        match handed_on {
            Ok(_) if !is_shown_only => {
                self.tally.new += 1;
                if self.mailbox.accept(&message.incoming, now)? {
                    self.mailbox.revise(now);
                }
                self.session.store.set_mailbox(&self.mailbox)?;
                Ok(true)
            }
            Ok(_) => {
                self.tally.new += 1;
                self.mailbox.note_shown(&message.incoming, now);
                self.session.store.set_mailbox(&self.mailbox)?;
                Ok(false)
            }
            Err(reason) => {
                self.tally.left += 1;
                self.session.log.note(format_args!("{} is left there: {reason}", message.content_id()));
                self.mailbox.note_shown(&message.incoming, now);
                self.session.store.set_mailbox(&self.mailbox)?;
                Ok(false)
            }
        }
    }

    /// Writes a message to its file, or runs the command for it. What keeps all messages from being handed on is a failure,
    /// what keeps this one is a reason.
    fn hand_on(
        &self,
        message: &CollectedMessage,
        from: PublicKey,
        content: &[u8],
    ) -> Result<Result<Option<PathBuf>, String>, Failure> {
        if let Some(directory) = &self.arguments.output {
            return Ok(write(directory, message, content)?.map(Some));
        }
        let Some((program, arguments)) = self.arguments.exec.as_deref().and_then(<[OsString]>::split_first) else {
            return Ok(Ok(None));
        };
        let variables = [
            ("RENDEZVOUS_FROM", from.to_string()),
            ("RENDEZVOUS_CONTACT", message.name.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("RENDEZVOUS_SEQUENCE", message.deposit().sequence.to_string()),
            ("RENDEZVOUS_CONTENT_ID", message.content_id().to_string()),
        ];
        let limit = (self.arguments.exec_timeout, EXEC_TIMEOUT);
        // The first signal does not cut it short: it ends the run afterwards. The command may use the store, to answer, say.
        let run =
            || self.second.during(|is_stopped| run_program(program, arguments, &variables, content, limit, is_stopped));
        Ok(match self.session.store.unlocked(run)? {
            Ran::Well => Ok(None),
            Ran::Badly { reason, .. } => Err(format!("--exec: {reason}")),
        })
    }
}

/// Sends the acknowledgements of these slots to all relays. A relay that cannot be told now hands the messages over again,
/// and is told then.
pub(super) fn acknowledge(
    session: &Session<'_>,
    mailbox: &mut OwnMailbox,
    owner: &PrivateKey,
    slots: &BTreeSet<PublicKey>,
) -> Result<Vec<MailboxRelayError>, Failure> {
    let address = Address::of(&owner.public_key());
    let now = session.now()?;
    let mut acks = Vec::new();
    for slot in slots {
        acks.extend(mailbox.acknowledgement(*slot, owner, address, now)?);
    }
    session.store.set_mailbox(mailbox)?;
    let mut problems = Vec::new();
    for origin in &mailbox.relays {
        let relay = session.relay(origin)?;
        for acks in acks.chunks(ACKS_MAX) {
            // The first that is refused keeps those after it from being looked at.
            let told = match relay.acknowledge(address, acks) {
                Err(MailboxRelayError::Refused { .. }) if acks.len() > 1 => {
                    acks.iter().map(|ack| relay.acknowledge(address, std::slice::from_ref(ack))).collect()
                }
                told => vec![told],
            };
            for error in told.into_iter().filter_map(Result::err) {
                session.log.note(format_args!("not acknowledged: {error}"));
                problems.push(error);
            }
        }
    }
    Ok(problems)
}

/// Octets of the content id in a file's name: so many that no sender finds two messages of one name.
const ID_IN_NAME_BYTES: usize = 16;

/// Writes a message to a file of its own, or finds that an earlier run did. A file of that name with something else in it
/// keeps this message alone from being written.
fn write(directory: &Path, message: &CollectedMessage, content: &[u8]) -> Result<Result<PathBuf, String>, Failure> {
    let name = message.name.as_ref().map_or_else(|| "stranger".to_owned(), ToString::to_string);
    let id: String = message.content_id().0.iter().take(ID_IN_NAME_BYTES).map(|octet| format!("{octet:02x}")).collect();
    let path = directory.join(format!("{name}-{}-{id}", message.deposit().sequence));
    match files::create_private(&path, content) {
        Err(FileError::Exists { .. }) => {
            let is_it = read_file(&path, content.len()).is_ok_and(|found| found == content);
            let other = || format!("{} is there already, and is not this message: move it away", path.display());
            Ok(if is_it { Ok(path) } else { Err(other()) })
        }
        written => {
            written?;
            Ok(Ok(path))
        }
    }
}

fn event(message: &CollectedMessage, handed_on: Result<&Option<PathBuf>, &String>) -> Value {
    let (from, content) = message.opened().unzip();
    let text = content.and_then(|content| std::str::from_utf8(content).ok());
    json!({
        "event": "message",
        "contact": message.name,
        "from": from,
        "mailboxOfSender": from.map(|from| Address::of(&from)),
        "slot": message.slot(),
        "sequence": message.deposit().sequence,
        "contentId": message.content_id(),
        "receivedAt": message.received_at,
        "expiresAt": message.deposit().expires_at,
        "content": content.map(base64::encode),
        "text": text,
        "file": handed_on.ok(),
        "error": handed_on.err().map(|reason| hide(reason)),
        "code": message.unreadable.map(Unreadable::code),
    })
}

/// Shows a message to people: whatever a stranger wrote is escaped, line by line.
fn describe(
    shown: &mut String,
    message: &CollectedMessage,
    handed_on: Result<&Option<PathBuf>, &String>,
    with_content: bool,
) {
    let Some((from, content)) = message.opened() else { return };
    let name = message.name.as_ref().map_or_else(|| from.to_string(), ToString::to_string);
    let came = message.received_at.map(|at| format!(", {}", text::date(at))).unwrap_or_default();
    let id = message.content_id();
    // Writing to a String does not fail.
    let _ = match handed_on {
        Ok(Some(path)) => writeln!(shown, "{name} {}{came}: {}", message.deposit().sequence, path.display()),
        Ok(None) if !with_content => writeln!(shown, "{name} {}{came}: handed on", message.deposit().sequence),
        Ok(None) => writeln!(shown, "{name} {}{came}, {id}", message.deposit().sequence),
        Err(_) => Ok(()),
    };
    if with_content && handed_on.is_ok() {
        match std::str::from_utf8(content) {
            Ok(content) => content.lines().for_each(|line| {
                let _ = writeln!(shown, "  {}", text::printable(line));
            }),
            Err(_) => {
                let _ = writeln!(shown, "  ({} bytes that are not text: --output DIR writes them)", content.len());
            }
        }
    }
}
