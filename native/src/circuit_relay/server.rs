//! The relay, which is rust-libp2p's, in a thread of its own and within the limits of the service.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use libp2p_connection_limits::ConnectionLimits;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::TransportError;
use libp2p_core::upgrade::Version;
use libp2p_core::{Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use libp2p_relay::RateLimiter;
use libp2p_swarm::{NetworkBehaviour, Swarm};
use rendezvous_protocol::goop2::CircuitRelay;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::{UnixMillis, saturating_millis};
use rendezvous_service::circuit_relay::{
    CIRCUIT_DURATION, CIRCUIT_MAX_BYTES, CIRCUITS, CIRCUITS_PER_PEER, CONNECTIONS_PER_PEER, OwnRelay,
    RESERVATION_DURATION, RESERVATIONS, RESERVATIONS_PER_PEER, RelayConnections, RelayRate, STREAMS,
};
use rustix::io::Errno;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::circuit_relay::admission::{Admission, ip_of};
use crate::circuit_relay::key;
use crate::circuit_relay::streams::BoundedMuxer;
use crate::failure::Failure;
use crate::journal;

/// What it says of itself to peers that ask.
const AGENT: &str = concat!("rendezvous-beacon/", env!("CARGO_PKG_VERSION"));
const PROTOCOL: &str = "/rendezvous-beacon/relay/1";

/// Time for what comes before a connection can be used: encryption, and how streams share it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection stays that has neither a reservation nor a circuit.
const IDLE: Duration = Duration::from_secs(30);

/// Streams of one connection that its client is opening.
const NEW_STREAMS: usize = 8;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    // First: whom it refuses costs the others nothing.
    admission: Admission,
    per_peer: libp2p_connection_limits::Behaviour,
    identify: libp2p_identify::Behaviour,
    ping: libp2p_ping::Behaviour,
    relay: libp2p_relay::Behaviour,
}

/// The relay that runs, until it is told to end.
pub(crate) struct RunningRelay {
    told: Arc<CircuitRelay>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl RunningRelay {
    /// Starts the relay. It listens when this returns.
    pub(crate) fn start(own: &OwnRelay) -> Result<Self, Failure> {
        let key = key::open(Path::new(own.key_file()))?;
        let told = Arc::new(own.told(&key.public().to_peer_id().to_string()).map_err(Failure::RelayAddresses)?);
        let (own, dialled) = (own.clone(), Arc::clone(&told));
        let (end, asked) = oneshot::channel();
        let (says_listening, listening) = channel();
        // All of it there: a runtime must not end within another one.
        let run = move || match open(&own, &key, &dialled) {
            Ok((runtime, swarm)) => {
                // Whoever starts it waits for this.
                let _ = says_listening.send(Ok(()));
                serve(&runtime, swarm, asked);
            }
            Err(failure) => {
                let _ = says_listening.send(Err(failure));
            }
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(run).map_err(Failure::EventLoop)?;
        listening.recv().map_err(|_| Failure::EventLoopEnded)??;
        Ok(Self { told, end, thread })
    }

    /// Returns what everybody is told of the relay.
    pub(crate) fn told(&self) -> Arc<CircuitRelay> {
        Arc::clone(&self.told)
    }

    /// Ends the relay, with its circuits.
    pub(crate) fn end(self) {
        let Self { end, thread, .. } = self;
        drop(end);
        // One that panicked has said so.
        let _ = thread.join();
    }
}

/// Says when the relay has ended by itself, which only a panic in a library makes it do. The beacon goes on without.
struct SaysEnded {
    is_asked: bool,
}

impl Drop for SaysEnded {
    fn drop(&mut self) {
        if !self.is_asked {
            journal::failure("relay_ended", &"it has ended by itself: the beacon has to be started again");
        }
    }
}

fn serve(runtime: &Runtime, mut swarm: Swarm<Behaviour>, asked: oneshot::Receiver<()>) {
    let mut says_ended = SaysEnded { is_asked: false };
    runtime.block_on(async {
        tokio::select! {
            _ = asked => says_ended.is_asked = true,
            () = async { while swarm.next().await.is_some() {} } => {}
        }
    });
}

/// Makes the relay, which listens then.
fn open(own: &OwnRelay, key: &Keypair, dialled: &CircuitRelay) -> Result<(Runtime, Swarm<Behaviour>), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(Failure::EventLoop)?;
    let mut swarm = make_swarm(&runtime, key)?;
    listen(&runtime, &mut swarm, own)?;
    for address in dialled.addresses() {
        // What peers dial is what their reservations say.
        if let Ok(address) = address.parse() {
            swarm.add_external_address(address);
        }
    }
    Ok((runtime, swarm))
}

fn make_swarm(runtime: &Runtime, key: &Keypair) -> Result<Swarm<Behaviour>, Failure> {
    let [connections, reservations, circuits] = [new_secret()?, new_secret()?, new_secret()?];
    let start = Instant::now();
    let config = libp2p_relay::Config {
        max_reservations: RESERVATIONS,
        // Of one peer libp2p takes one more than it is told.
        max_reservations_per_peer: RESERVATIONS_PER_PEER - 1,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: vec![limiter(start, RelayRate::of_reservations(reservations))],
        max_circuits: CIRCUITS,
        max_circuits_per_peer: CIRCUITS_PER_PEER - 1,
        max_circuit_duration: CIRCUIT_DURATION,
        max_circuit_bytes: CIRCUIT_MAX_BYTES,
        circuit_src_rate_limiters: vec![limiter(start, RelayRate::of_circuits(circuits))],
    };
    let per_peer = ConnectionLimits::default().with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
    let behaviour = Behaviour {
        admission: Admission::new(RelayConnections::new(connections)),
        per_peer: libp2p_connection_limits::Behaviour::new(per_peer),
        identify: libp2p_identify::Behaviour::new(
            // Where it listens may be an address of a network of the operator's own.
            libp2p_identify::Config::new(PROTOCOL.to_owned(), key.public())
                .with_agent_version(AGENT.to_owned())
                .with_hide_listen_addrs(true)
                .with_cache_size(0),
        ),
        ping: libp2p_ping::Behaviour::default(),
        relay: libp2p_relay::Behaviour::new(key.public().to_peer_id(), config),
    };
    let mut multiplexer = libp2p_yamux::Config::default();
    multiplexer.set_max_num_streams(STREAMS);
    // Its sockets and timers are the runtime's.
    let _entered = runtime.enter();
    let transport = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(libp2p_noise::Config::new(key).map_err(Failure::RelayEncryption)?)
        .multiplex(multiplexer)
        .timeout(CONNECTION_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(BoundedMuxer::new(muxer))))
        .boxed();
    let config = libp2p_swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(NEW_STREAMS);
    Ok(Swarm::new(transport, behaviour, key.public().to_peer_id(), config))
}

fn new_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::from_bytes(bytes))
}

/// Makes a rule of the service one of libp2p's.
fn limiter(start: Instant, mut rate: RelayRate) -> Box<dyn RateLimiter> {
    Box::new(move |_: PeerId, client: &Multiaddr, now: Instant| {
        let elapsed = saturating_millis(now.saturating_duration_since(start));
        rate.take(UnixMillis::saturating(elapsed), ip_of(client))
    })
}

fn listen(runtime: &Runtime, swarm: &mut Swarm<Behaviour>, own: &OwnRelay) -> Result<(), Failure> {
    let _entered = runtime.enter();
    // libp2p shares a port with whoever shares it too: another relay of the same user's would get part of the peers. All are
    // looked at before the first is listened on, because here all of IPv6 is all of IPv4 as well.
    for (index, ip) in own.listens_on().iter().enumerate() {
        let address = SocketAddr::new(*ip, own.port());
        pass_over_missing_ipv6(index, address, TcpListener::bind(address).map(drop))?;
    }
    for (index, ip) in own.listens_on().iter().enumerate() {
        let address = Multiaddr::from(*ip).with(Protocol::Tcp(own.port()));
        let listening = swarm.listen_on(address).map(drop).map_err(cause_of);
        pass_over_missing_ipv6(index, SocketAddr::new(*ip, own.port()), listening)?;
    }
    Ok(())
}

fn pass_over_missing_ipv6(index: usize, address: SocketAddr, listening: io::Result<()>) -> Result<(), Failure> {
    match listening.as_ref().map_err(Errno::from_io_error) {
        Err(Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)) if index > 0 => Ok(()),
        _ => listening.map_err(|error| Failure::Listen { variable: "RELAY_PORT", address: address.to_string(), error }),
    }
}

/// Finds what the system has said, which libp2p puts into errors of its own.
fn cause_of(error: TransportError<io::Error>) -> io::Error {
    let TransportError::Other(error) = error else { return io::Error::other(error) };
    let mut within = error.get_ref().map(|error| error as &(dyn Error + 'static));
    while let Some(error) = within {
        let of_system = error.downcast_ref::<io::Error>();
        if let Some(code) = of_system.and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        within = match of_system.and_then(io::Error::get_ref) {
            Some(error) => Some(error),
            None => error.source(),
        };
    }
    error
}
