//! Serving: what is opened at the start, who takes connections, and the orderly end.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rendezvous_protocol::hivemind::key::relay_name;
use rendezvous_protocol::secret::Secret;
use rendezvous_service::circuit_relay;
use rendezvous_service::config::MailDoor;
use rendezvous_service::hivemind::HivemindDoor;
use rendezvous_service::note::{Details, Note};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::templates::Catalogue;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::admission::Admitted;
use crate::circuit_relay::RunningRelay;
use crate::directory::{self, HubHandle, HubStorage};
use crate::envelopes::Envelopes;
use crate::event_loop::{Doors, Mail, Shared};
use crate::failure::Failure;
use crate::journal;
use crate::lan::{Announcement, LocalName};
use crate::mailboxes::{MailName, MailStorage, Replication, start_replication};
use crate::metrics;
use crate::operator;
use crate::registration::{self, RegistrationHandle, RegistrationStorage};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::templates::{self, Found};
use crate::thread::{self, Own};

/// Connections that the system keeps while they are not taken yet.
const BACKLOG: u32 = 1_024;

/// The most connections. One that waits takes about 12 kB.
const CONNECTIONS_MAX: usize = 20_000;

/// Open files that are not connections: the databases, for each event loop, and their logs.
const OTHER_FILES: usize = 128;

/// Edges for each event loop, so that two loops seldom want the same one.
const EDGES_PER_LOOP: usize = 4;

/// The most edges. Each may keep lists of 8 MB for readers.
const EDGES_MAX: usize = 64;

/// How long to wait where a connection could not be taken, for want of memory or files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves a beacon until a signal asks to end.
pub(crate) fn serve(settings: Settings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(Failure::EventLoop)?.block_on(run(settings))
}

async fn run(mut settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(Failure::Signals)?;
    let folder = settings.templates.as_ref();
    let found = folder.map(|folder| templates::read(&folder.path, folder.is_default)).transpose()?;
    let (templates, of_another) = match found {
        Some(Found::Templates(templates)) => (Some(templates), None),
        Some(Found::SomethingElse(cause)) => (None, Some(cause)),
        Some(Found::Nothing) | None => (None, None),
    };
    let storage = Arc::new(Storage::open(&settings.state)?);
    let mail = MailStorage::open(&settings.state)?;
    let hub = settings.hub.as_ref().map(|_| HubStorage::open(&settings.state)).transpose()?;
    let registrations =
        settings.doors.registration.as_ref().map(|_| RegistrationStorage::open(&settings.state)).transpose()?;
    let listener = listen("HOST and PORT", settings.listen)?;
    let metrics = settings.metrics.map(|address| listen("METRICS_ADDRESS", address)).transpose()?;
    let operator = settings.admin.map(|address| listen("ADMIN_ADDRESS", address)).transpose()?;
    let relay = settings.own_relay.as_ref().map(RunningRelay::start).transpose()?;
    if let Some(relay) = &relay {
        settings = settings.with_circuit_relay(&relay.told());
    }
    let address = |listener: &TcpListener| listener.local_addr().map_err(Failure::EventLoop);
    let databases = Databases { storage: &storage, mail: &mail, hub, registrations };
    let local = settings.lan.then(LocalName::draw).transpose()?;
    let names = OwnNames::new(&settings.config, address(&listener)?.ip());
    let names = local.iter().fold(names, |names, local| names.with(local.host()));
    let mut beacon = Beacon::start(&settings, databases, names, templates)?;

    if let Some(listener) = metrics {
        say_url("metrics_listening", address(&listener)?, "/metrics");
        tokio::spawn(metrics::serve(listener, Arc::clone(&beacon.shared), Arc::clone(&storage)));
    }
    if let Some(listener) = operator {
        say_url("admin_listening", address(&listener)?, "/admin");
        tokio::spawn(operator::serve(listener, Arc::clone(&beacon.shared)));
    }
    say_url("listening", address(&listener)?, "");
    if let Some(cause) = of_another {
        let details = Details { cause: Some(cause.to_string()), ..Details::default() };
        journal::write([Note::info("templates_ignored", details)]);
    }
    let listened = address(&listener)?;
    let announcement = local.map(|local| Announcement::start(&local, listened, &settings.config)).transpose()?;
    if announcement.is_some() {
        journal::write([Note::info("lan_announced", Details::default())]);
    }

    let mut next = 0_usize;
    loop {
        tokio::select! {
            (stream, client, admitted) = accept(&listener, &beacon.shared) => {
                beacon.shared.hand_over(next, Mail::Connection { stream, client, admitted });
                next = next.wrapping_add(1);
            }
            () = signals.next() => break,
            _ = beacon.ended.recv() => return Err(Failure::EventLoopEnded),
        }
    }
    // Before the last answers: nobody new is to come.
    let telling = announcement.map(|announcement| tokio::task::spawn_blocking(move || announcement.end()));
    drop(listener);
    journal::write([Note::info("ending", Details::default())]);
    tokio::select! {
        _ = beacon.shared.ask_all(Mail::Drain) => {}
        () = signals.next() => return Err(Failure::Interrupted),
    }
    if let Some(relay) = relay {
        relay.end();
    }
    beacon.end()?;
    if let Some(telling) = telling {
        // One that panicked in a library has told what it could.
        let _ = telling.await;
    }
    journal::write([Note::info("ended", Details::default())]);
    Ok(())
}

/// What runs beside the thread that takes connections.
struct Beacon {
    shared: Arc<Shared>,
    loops: Vec<JoinHandle<()>>,
    writer: JoinHandle<usize>,
    mail_writer: JoinHandle<()>,
    hub: Option<(HubHandle, JoinHandle<()>)>,
    /// Absent where no door is opened for envelopes.
    envelopes_writer: Option<JoinHandle<()>>,
    registration: Option<(RegistrationHandle, JoinHandle<()>)>,
    /// Says when a loop has ended, which none does by itself.
    ended: UnboundedReceiver<()>,
}

/// What is on disk. Absent is what the operator has not opened.
struct Databases<'a> {
    storage: &'a Storage,
    mail: &'a MailStorage,
    hub: Option<HubStorage>,
    registrations: Option<RegistrationStorage>,
}

impl Beacon {
    fn start(
        settings: &Settings,
        databases: Databases<'_>,
        names: OwnNames,
        templates: Option<Arc<Catalogue>>,
    ) -> Result<Self, Failure> {
        let Databases { storage, mail, hub, registrations } = databases;
        let threads = settings.threads;
        let edges = if threads == 1 { 1 } else { (threads * EDGES_PER_LOOP).next_power_of_two().min(EDGES_MAX) };
        let config = Arc::new(settings.config.clone());
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let (loops, mailboxes): (Vec<_>, Vec<_>) = (0..threads).map(|_| unbounded_channel()).unzip();
        let secret = Secret::from_bytes(secret);
        let hub =
            settings.hub.clone().zip(hub).map(|(config, storage)| directory::start(config, storage)).transpose()?;
        let (replication, peers) = settings.doors.peers.clone().map(Replication::new).unzip();
        let envelopes = settings.doors.envelopes.as_deref().map(|door| Envelopes::start(&settings.state, door));
        let (envelopes, envelopes_writer) = envelopes.transpose()?.unzip();
        let registration = settings.doors.registration.clone().zip(registrations);
        let registration = registration
            .map(|(door, storage)| registration::start(door, settings.state.clone(), storage))
            .transpose()?;
        let hivemind =
            settings.config.opens(MailDoor::Hivemind).then(|| open_hivemind(mail)).transpose()?.map(Arc::new);
        let doors = Doors {
            opened: settings.doors.clone(),
            hub: hub.as_ref().map(|(handle, _)| handle.clone()),
            replication,
            envelopes,
            registration: registration.as_ref().map(|(handle, _)| handle.clone()),
            hivemind,
            templates,
        };
        // Those of the relay's peers are open files, too.
        let of_relay = settings.own_relay.as_ref().map_or(0, |_| circuit_relay::CONNECTIONS);
        let connections = most_connections(OTHER_FILES + of_relay);
        let shared = Shared::new(config, doors, names, edges, secret, loops.into(), connections);
        let shared = Arc::new(shared);

        let mut stored = vec![Vec::new(); threads];
        for name in storage.names()? {
            if let Some(of_owner) = stored.get_mut(shared.owner(&name)) {
                of_owner.push(name);
            }
        }
        let mut stored_mailboxes = vec![Vec::new(); threads];
        for name in mail.names()? {
            let of_owner = stored_mailboxes.get_mut(shared.owner(&name));
            match (name.parse::<MailName>(), of_owner) {
                (Ok(name), Some(of_owner)) => of_owner.push(name),
                (Err(error), _) => journal::failure("mailbox_unreadable", &error),
                (Ok(_), None) => {}
            }
        }
        let mut pushes = vec![Vec::new(); threads];
        if shared.doors.replication.is_some() {
            for (name, waiting) in mail.pushes()? {
                // Of one whose name cannot be read the log says so already.
                if let (Ok(object), Some(of_owner)) = (name.parse(), pushes.get_mut(shared.owner(&name))) {
                    of_owner.push((object, waiting));
                }
            }
        }
        let (orders, writer) = storage.start_writer()?;
        let (mail_orders, mail_writer) = mail.start_writer()?;
        let (says_ended, ended) = unbounded_channel();
        let mut loops = Vec::new();
        let stored = stored.into_iter().zip(stored_mailboxes).zip(pushes);
        for (index, (mailbox, ((stored, stored_mailboxes), pushes))) in mailboxes.into_iter().zip(stored).enumerate() {
            let own = Own {
                reader: storage.reader()?,
                orders: orders.clone(),
                stored,
                mail_reader: mail.reader()?,
                mail_orders: mail_orders.clone(),
                stored_mailboxes,
                pushes,
                mailbox,
                says_ended: says_ended.clone(),
            };
            loops.push(thread::start(Arc::clone(&shared), index, own).map_err(Failure::EventLoop)?);
        }
        if let Some(peers) = peers {
            start_replication(&shared, peers).map_err(Failure::EventLoop)?;
        }
        Ok(Self { shared, loops, writer, mail_writer, hub, envelopes_writer, registration, ended })
    }

    /// Lets the loops order what is not written yet, and waits until it is.
    fn end(self) -> Result<(), Failure> {
        let Self { shared, loops, writer, mail_writer, hub, envelopes_writer, registration, ended: _ } = self;
        shared.broadcast(|| Mail::End);
        for thread in loops {
            thread.join().map_err(|_| Failure::EventLoopEnded)?;
        }
        if let Some((handle, thread)) = hub {
            handle.end();
            thread.join().map_err(|_| Failure::WriterEnded)?;
        }
        if let Some((handle, thread)) = registration {
            handle.end();
            thread.join().map_err(|_| Failure::WriterEnded)?;
        }
        mail_writer.join().map_err(|_| Failure::WriterEnded)?;
        if let (Some(envelopes), Some(writer)) = (&shared.doors.envelopes, envelopes_writer) {
            envelopes.end();
            writer.join().map_err(|_| Failure::WriterEnded)?;
        }
        match writer.join() {
            Ok(0) => Ok(()),
            Ok(communities) => Err(Failure::NotWritten { communities }),
            Err(_) => Err(Failure::WriterEnded),
        }
    }
}

/// Opens the door for hivemind-rendezvous' users, under the name that this relay has or has from now on.
fn open_hivemind(mail: &MailStorage) -> Result<HivemindDoor, Failure> {
    let mut random = [0; 256];
    getrandom::fill(&mut random)?;
    Ok(HivemindDoor::new(mail.hivemind_name(&relay_name(random))?))
}

fn listen(variable: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let in_error = |error| Failure::Listen { variable, address: address.to_string(), error };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let listening = socket.and_then(|socket| {
        // Else a restart would have to wait until the system has forgotten the connections before it.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    listening.map_err(in_error)
}

/// Says where the beacon listens: the line that whoever starts it waits for.
fn say_url(event: &'static str, address: SocketAddr, path: &str) {
    let url = Some(format!("http://{address}{path}"));
    journal::write([Note::info(event, Details { url, ..Details::default() })]);
}

/// Takes the next connection, once there may be one more.
async fn accept(listener: &TcpListener, shared: &Shared) -> (std::net::TcpStream, IpAddr, Admitted) {
    // Once for each time that the system is out of something, not ten times a second.
    let mut has_failed = false;
    loop {
        let Some(place) = shared.admission.place().await else { return pending().await };
        let accepted = listener.accept().await.and_then(|(stream, client)| Ok((stream.into_std()?, client)));
        match accepted {
            Ok((stream, client)) => {
                // One that is not admitted is closed.
                if let Some(admitted) = shared.admission.admit(place, client.ip()) {
                    return (stream, client.ip(), admitted);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !has_failed {
                    journal::failure("connection_not_taken", &error);
                }
                has_failed = true;
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Returns how many connections there may be beside so many other files, having raised the limit of open files as far as this
/// user may.
fn most_connections(other_files: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (CONNECTIONS_MAX + other_files) as u64;
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let is_raised = current.is_some_and(|current| current < raised)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok();
    let files = if is_raised { raised } else { current.unwrap_or(wanted) };
    usize::try_from(files).unwrap_or(CONNECTIONS_MAX).saturating_sub(other_files).clamp(16, CONNECTIONS_MAX)
}

/// The signals that ask to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
