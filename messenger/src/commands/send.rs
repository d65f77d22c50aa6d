//! `rendezvous send`: one message to one user.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::Args;
use rendezvous_capsule::beacon::Beacon;
use rendezvous_capsule::failure::{Cause, Failure};
use rendezvous_capsule::fetch::Fetcher;
use rendezvous_capsule::files::{STANDARD, read_file};
use rendezvous_capsule::log::Log;
use rendezvous_capsule::present::{self, Present};
use rendezvous_capsule::text;
use rendezvous_capsule::values::{parse_community, parse_duration};
use rendezvous_capsule::{secret, signals};
use rendezvous_messenger::transport::RelayError;
use rendezvous_messenger::user::{Outgoing, OutgoingState, Problem, UserError};
use rendezvous_protocol::community::Community;
use rendezvous_protocol::retalk::user::UserId;
use serde_json::json;

use super::outbox::describe;
use super::who;
use crate::account::{Account, MAINTAIN_EVERY, Setting};
use crate::ending::{Ending, Report};
use crate::line;

/// Bytes that are read of a text; what is too long for a message is refused before it is encrypted.
const TEXT_MAX_BYTES: usize = 1024 * 1024;

/// How often --wait asks whether the recipient has the message.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How often --when-online asks beacons: what they say may be as old.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const HELP: &str = "\
Examples:
  rendezvous send bob 'See you at eight'
  git log -1 | rendezvous send bob -
      from the standard input, without the line feed at its end
  rendezvous send bob --file notes.txt --wait 10m
      until Bob has it, or ten minutes have passed
  rendezvous send bob 'Are you there?' --when-online --within 8h \
    --community my-app --beacon https://beacon.example.org
      once a beacon lists a ticket that names Bob's id, as `rendezvous who` shows

PEER is a name that `rendezvous add` saved, or an id. The message is encrypted
and written down first, then left at the relay. It stays in the outbox until the
recipient's program says, encrypted too, that it has it; what is not
acknowledged after two minutes is sent again by --wait, and by the next command.

With --when-online it is written down at once too, and nothing leaves before Bob
is seen. So it is not lost when the wait ends, by a signal or by --within: it
stays in the outbox, and the next command that asks the relay sends it, unless
`rendezvous outbox --cancel` gives it up. Anybody can name Bob's id in a ticket:
the message leaves too early then, and can be read by Bob alone all the same.

Exit codes:
  0  a relay has it; with --wait: the recipient has it
  2  refused, and not kept: PIN MISMATCH, too long, no such peer; with --wait:
     `rendezvous outbox --cancel` has given it up
  3  it waits in the outbox: no relay answers, or there is no room; with --wait:
     it is not acknowledged yet; with --within: nobody was seen in that time
  130  a signal has ended --when-online: it waits in the outbox

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_STORE  --store
  RENDEZVOUS_RELAY  --server
  RENDEZVOUS_SECRET_FILE, RENDEZVOUS_SECRET
                    the passphrase's file, or the passphrase itself
  RENDEZVOUS_COMMUNITY, RENDEZVOUS_BEACONS
                    --community, and --beacon, comma-separated";

/// Arguments of `send`.
#[derive(Args, Debug)]
#[command(after_long_help = HELP, override_usage = "rendezvous send [OPTIONS] PEER TEXT\n       rendezvous send [OPTIONS] --peer PEER TEXT\n       rendezvous send [OPTIONS] PEER --file FILE")]
pub(crate) struct SendArguments {
    /// The peer, if not in --peer, and the text, if not in --file; - is the standard input.
    #[arg(value_name = "PEER TEXT", num_args = 0..=2)]
    words: Vec<String>,
    /// The peer.
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
    /// File with the text; - is the standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Wait until the recipient has it, at most for so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Send it once the recipient is seen present in a community.
    #[arg(long)]
    when_online: bool,
    /// With --when-online: wait for that at most so long. [default: until a signal comes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "when_online")]
    within: Option<Duration>,
    /// With --when-online: the community. [default: mainnet]
    #[arg(long, value_name = "NAME", value_parser = parse_community, requires = "when_online")]
    community: Option<Community>,
    /// With --when-online: address of a beacon to ask; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse, requires = "when_online")]
    beacons: Vec<Beacon>,
    /// Relay to go by, instead of the saved one.
    #[arg(long, alias = "relay", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Says why nothing is sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// Not one peer and one text.
    #[error("one peer and one text: `rendezvous send PEER TEXT`, or --peer PEER, or --file FILE")]
    Words,
    /// The signals cannot be held.
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
    /// The text cannot be read.
    #[error("the text cannot be read from {}: {error}", secret::path(.path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something else than text.
    #[error("{} is not text (UTF-8): `rendezvous mailbox deposit` takes any bytes", secret::path(.path))]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl Cause for SendError {}

impl SendArguments {
    /// Returns the peer and the text.
    fn message(&self) -> Result<(&str, String), Failure> {
        let (peer, text) = match (&*self.words, &self.peer, &self.file) {
            ([peer, text], None, None) => (peer, Some(text)),
            ([text], Some(peer), None) => (peer, Some(text)),
            ([peer], None, Some(_)) | ([], Some(peer), Some(_)) => (peer, None),
            _ => return Err(SendError::Words.into()),
        };
        let text = match (text, &self.file) {
            (Some(text), _) if text == STANDARD => read(Path::new(STANDARD))?,
            (Some(text), _) => text.clone(),
            (None, Some(file)) => read(file)?,
            (None, None) => return Err(SendError::Words.into()),
        };
        Ok((peer, text))
    }
}

fn read(path: &Path) -> Result<String, SendError> {
    let bytes = read_file(path, TEXT_MAX_BYTES).map_err(|error| SendError::Read { path: path.to_owned(), error })?;
    let mut text = String::from_utf8(bytes).map_err(|_| SendError::NotText { path: path.to_owned() })?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Where the recipient of a message is looked for.
struct Lookout {
    community: Community,
    beacons: Vec<Beacon>,
    fetcher: Fetcher,
    timeout: Duration,
    within: Option<Duration>,
    /// Ends when a signal comes.
    stopped: Receiver<()>,
}

/// Says how the wait for somebody has ended.
enum Seen {
    /// By a ticket that names them.
    Present,
    /// By --within.
    Absent,
    /// By a signal.
    Stopped,
}

impl Lookout {
    /// Puts together whom to ask, before anything is written down.
    fn new(arguments: &SendArguments, setting: &Setting<'_>, fetcher: Fetcher) -> Result<Self, Failure> {
        let beacons = present::beacons(&arguments.beacons, setting.environment)?;
        let community = present::community(arguments.community.as_ref(), setting.environment)?;
        let (stop, stopped) = channel();
        signals::on_stop(move || drop::<Sender<()>>(stop)).map_err(SendError::Signals)?;
        Ok(Self { community, beacons, fetcher, timeout: setting.timeout, within: arguments.within, stopped })
    }

    /// Waits until a beacon lists a ticket that names this user.
    fn wait(&self, user: UserId, log: &Log) -> Seen {
        let begun = Instant::now();
        let mut told = Vec::new();
        loop {
            let (is_seen, problems) = match present::ask(&self.beacons, &self.community, &self.fetcher, self.timeout) {
                Ok(Present { peers, problems, .. }) => (peers.iter().any(|peer| who::names(peer, user)), problems),
                Err(failure) => (false, vec![failure.to_string()]),
            };
            if is_seen {
                return Seen::Present;
            }
            if problems != told {
                for problem in &problems {
                    log.note(format_args!("{}", text::printable(problem)));
                }
                told = problems;
            }
            let left = self.within.map_or(LOOK_EVERY, |within| within.saturating_sub(begun.elapsed()));
            if left.is_zero() {
                return Seen::Absent;
            }
            if self.is_stopped_within(LOOK_EVERY.min(left)) {
                return Seen::Stopped;
            }
        }
    }

    /// Waits, and returns whether a signal has come.
    fn is_stopped_within(&self, time: Duration) -> bool {
        matches!(self.stopped.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
    }
}

pub(crate) fn send(
    arguments: &SendArguments,
    setting: &Setting<'_>,
    fetcher: Fetcher,
    account: &mut Account<'_>,
) -> Result<Report, Failure> {
    let (peer, text) = arguments.message()?;
    let to = account.peer(peer)?.id;
    let lookout = arguments.when_online.then(|| Lookout::new(arguments, setting, fetcher)).transpose()?;
    let fate = match &lookout {
        Some(lookout) => send_when_online((peer, to), &text, lookout, account)?,
        None => send_now(to, &text, account)?,
    };
    let fate = match (fate, arguments.wait) {
        (Fate::Waits { id, .. }, Some(most)) => wait(account, id, most, lookout.as_ref())?,
        (fate, _) => fate,
    };
    report(arguments, (peer, to), &fate, account)
}

/// Puts a message into the outbox, and sends it.
fn send_now(to: UserId, text: &str, account: &mut Account<'_>) -> Result<Fate, Failure> {
    let now = account.now()?;
    let relay = account.network.relay()?;
    match account.user.maintain(&relay, now) {
        Ok(maintained) => say(&maintained.problems, account),
        // The message is kept all the same, and says so.
        Err(UserError::Relay(RelayError::Unreached { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let Outgoing { id, state, .. } = account.user.send(&relay, to, text, now)?;
    Ok(Fate::Waits { id, state })
}

/// Puts a message into the outbox, and sends it once its recipient is seen.
fn send_when_online(
    (peer, to): (&str, UserId),
    text: &str,
    lookout: &Lookout,
    account: &mut Account<'_>,
) -> Result<Fate, Failure> {
    let now = account.now()?;
    let Outgoing { id, state, .. } = account.user.send(&account.network.relay()?.held(), to, text, now)?;
    let (peer, community) = (text::printable(peer), &lookout.community);
    account.log.note(format_args!(
        "{id} is in the outbox, and leaves once {} in {community} a ticket that names {peer} ({to})",
        match lookout.beacons.len() {
            1 => "the beacon lists".to_owned(),
            count => format!("one of {count} beacons lists"),
        }
    ));
    match lookout.wait(to, account.log) {
        Seen::Present => account.log.note(format_args!("{peer} is present")),
        Seen::Absent => return Ok(Fate::NotSeen { id, state }),
        Seen::Stopped => return Ok(Fate::Stopped { id, state }),
    }
    let now = account.now()?;
    let relay = account.network.relay()?;
    match account.user.maintain(&relay, now) {
        Ok(maintained) => say(&maintained.problems, account),
        // What is wrong is said, and the message waits.
        Err(error @ UserError::Relay(_)) => account.log.note(format_args!("{error}")),
        Err(error) => return Err(error.into()),
    }
    let outgoing = account.user.outbox()?.into_iter().find(|outgoing| outgoing.id == id);
    match outgoing {
        Some(Outgoing { state, .. }) => Ok(Fate::Waits { id, state }),
        None => fate_of_absent(account, id),
    }
}

/// Tells what became of a message that is not in the outbox any more.
fn fate_of_absent(account: &Account<'_>, id: String) -> Result<Fate, Failure> {
    Ok(if account.user.is_cancelled(&id)? { Fate::Cancelled { id } } else { Fate::Acknowledged { id } })
}

/// Says what became of a message.
fn report(
    arguments: &SendArguments,
    (peer, to): (&str, UserId),
    fate: &Fate,
    account: &Account<'_>,
) -> Result<Report, Failure> {
    let (log, id) = (account.log, fate.id());
    let door = account.user.outbox()?.into_iter().find(|outgoing| outgoing.id == id).and_then(|outgoing| outgoing.door);
    match fate {
        Fate::Acknowledged { .. } => log.note(format_args!("{} has it", text::printable(peer))),
        Fate::Cancelled { .. } => log.note(format_args!("{id} was given up by `rendezvous outbox --cancel`")),
        Fate::Waits { state: OutgoingState::Stored, .. } => match arguments.wait.map(text::duration) {
            Some(most) => log.note(format_args!("not acknowledged within {most}: {id} stays in the outbox")),
            None => {
                let by = door.as_ref().map(describe).unwrap_or_default();
                log.note(format_args!("sent to {} {by}", text::printable(peer)));
            }
        },
        Fate::Waits { state, .. } => {
            log.note(format_args!("{id} waits in the outbox: {}", text::printable(&state.to_string())));
        }
        Fate::Stopped { state: OutgoingState::Stored, .. } => {
            log.note(format_args!("not acknowledged yet: {id} stays in the outbox"));
        }
        Fate::NotSeen { .. } | Fate::Stopped { .. } => log.note(format_args!(
            "{} was not seen: {id} stays in the outbox, and leaves with the next command that asks the relay; `rendezvous \
             outbox --cancel {id}` gives it up",
            text::printable(peer)
        )),
    }
    let is_waited_for = arguments.wait.is_some();
    // retalk prints that from 0.0.2 on, where the peer is named by --peer.
    let is_for_script = arguments.json || (account.is_retalk && arguments.peer.is_some());
    let mut value = json!({ "id": id, "to": to.to_string(), "state": fate.name() });
    if let (Some(door), Some(fields)) = (&door, value.as_object_mut()) {
        fields.insert("door".to_owned(), door.name().into());
        fields.insert("why".to_owned(), json!(door.why().map(ToString::to_string)));
    }
    let text = if is_for_script { line::ascii(&value) } else { String::new() };
    Ok(match fate {
        Fate::Cancelled { .. } => Report::refused(false, &value, text),
        Fate::Acknowledged { .. } => Report::text(text),
        Fate::Waits { state: OutgoingState::Stored, .. } if !is_waited_for => Report::text(text),
        Fate::Waits { .. } | Fate::NotSeen { .. } => Report::new(false, &value, text, Ending::Waiting),
        Fate::Stopped { .. } => Report::new(false, &value, text, Ending::Interrupted),
    })
}

/// Is what became of a message.
enum Fate {
    /// Its recipient has it.
    Acknowledged { id: String },
    /// It was given up, by another run of this program.
    Cancelled { id: String },
    /// It is in the outbox.
    Waits { id: String, state: OutgoingState },
    /// It is in the outbox, because its recipient was not seen.
    NotSeen { id: String, state: OutgoingState },
    /// It is in the outbox, and a signal has ended the wait.
    Stopped { id: String, state: OutgoingState },
}

impl Fate {
    /// Returns the message.
    fn id(&self) -> &str {
        match self {
            Self::Acknowledged { id }
            | Self::Cancelled { id }
            | Self::Waits { id, .. }
            | Self::NotSeen { id, .. }
            | Self::Stopped { id, .. } => id,
        }
    }

    /// Returns what scripts call it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Acknowledged { .. } => "acknowledged",
            Self::Cancelled { .. } => "cancelled",
            Self::Waits { state, .. } | Self::NotSeen { state, .. } | Self::Stopped { state, .. } => {
                super::outbox::state_name(state)
            }
        }
    }
}

/// Waits until a message is acknowledged, given up or refused for good. What comes meanwhile is kept for the next `receive`,
/// and what is due is sent again.
fn wait(account: &mut Account<'_>, id: String, most: Duration, lookout: Option<&Lookout>) -> Result<Fate, Failure> {
    let begun = Instant::now();
    let mut maintained = begun;
    loop {
        let now = account.now()?;
        let relay = account.network.relay()?;
        let mut has_room = false;
        match account.user.receive(&relay, now) {
            Ok(report) => has_room = report.acknowledged > 0,
            Err(error) => account.log.note(format_args!("{error}")),
        }
        // An acknowledgement makes room for a message that waits for earlier ones.
        if has_room || maintained.elapsed() >= MAINTAIN_EVERY {
            maintained = Instant::now();
            match account.user.maintain(&relay, now) {
                Ok(report) => say(&report.problems, account),
                Err(error) => account.log.note(format_args!("{error}")),
            }
        }
        let outgoing = account.user.outbox()?.into_iter().find(|outgoing| outgoing.id == id);
        let left = most.saturating_sub(begun.elapsed());
        match outgoing {
            None => return fate_of_absent(account, id),
            Some(Outgoing { state, .. }) if left.is_zero() || state == OutgoingState::Refused => {
                return Ok(Fate::Waits { id, state });
            }
            Some(Outgoing { state, .. }) => {
                let time = ASK_EVERY.min(left);
                match lookout {
                    // Signals are held, so that the first does not end the program by itself.
                    Some(lookout) if lookout.is_stopped_within(time) => return Ok(Fate::Stopped { id, state }),
                    Some(_) => {}
                    None => std::thread::sleep(time),
                }
            }
        }
    }
}

fn say(problems: &[Problem], account: &Account<'_>) {
    for problem in problems {
        account.log.note(format_args!("{}", text::printable(&problem.to_string())));
    }
}
