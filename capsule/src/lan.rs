//! Asking the local network for beacons, by multicast DNS. What counts of the answers is decided by
//! `rendezvous_protocol::lan`; here are the sockets, and the packets.
//!
//! A question is sent from a port of its own, so that answers come to it alone (RFC 6762, sections 5.1 and 6.7): each says by
//! its source who answers, nothing is cached, and nobody has to share the port of multicast DNS with what else the machine
//! runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use if_addrs::{IfAddr, Interface, get_if_addrs};
use rendezvous_protocol::lan::{LocalBeacon, ROUND_BACKOFF, Round, SERVICE, is_local, is_on_link};
use rendezvous_protocol::secret::Secret;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, TYPE, header_buffer};
use socket2::{Domain, Protocol, Socket, Type};

use crate::beacon::{Beacon, NO_BEACON_ANSWERED};
use crate::failure::{Cause, Exit};
use crate::fetch::random_byte;
use crate::text;

/// The port of multicast DNS, and its groups.
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// How long answers are waited for. Responders wait up to 500 ms, so as not to answer all at once (RFC 6762, section 6).
const ROUND: Duration = Duration::from_secs(2);

/// When the question is asked again, in case it was lost.
const AGAIN: Duration = Duration::from_millis(700);

/// The most networks of this machine that are asked.
const LINKS_MAX: usize = 16;

/// Bytes of a packet (RFC 6762, section 17).
const PACKET_MAX_BYTES: usize = 9_000;

/// The most records in each part of a packet. A beacon's answer has four or five in all.
const RECORDS_MAX: u16 = 64;

/// Why the local network cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LanError {
    /// The system does not tell its addresses.
    #[error("the addresses of this machine cannot be read: {0}")]
    Addresses(io::Error),
    /// Nothing to ask.
    #[error("this machine has no private address, and so is in no local network that could be asked for beacons")]
    NoNetwork,
    /// No network could be asked.
    #[error("the local network cannot be asked for beacons: {0}")]
    NotAsked(io::Error),
    /// The question cannot be written.
    #[error("the question for beacons cannot be written: {0}")]
    Question(simple_dns::SimpleDnsError),
    /// Nobody is there.
    #[error(
        "no beacon answers in the local network, which was asked by multicast DNS for {}: one is there once somebody runs \
         `rendezvous-beacon serve --lan`; one elsewhere is used by its address",
        text::duration(ROUND)
    )]
    NobodyAnswers,
    /// Nobody could be told from who guesses.
    #[error("the system has no randomness to ask the local network with")]
    NoRandomness,
}

impl Cause for LanError {
    fn exit(&self) -> Exit {
        Exit::Unreachable
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::NobodyAnswers => Some(NO_BEACON_ANSWERED),
            _ => None,
        }
    }
}

/// One network that this machine is in.
struct Link {
    own: IpAddr,
    prefix: u8,
    index: u32,
}

/// Asks the local network for beacons.
#[derive(Debug)]
pub(crate) struct Finder {
    secret: Secret,
}

impl Finder {
    /// Makes one with a secret of its own, which decides whose turn is first.
    pub(crate) fn new() -> Result<Self, LanError> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|_| LanError::NoRandomness)?;
        Ok(Self { secret: Secret::from_bytes(secret) })
    }

    /// Asks all networks of this machine at once, for two seconds, and returns the beacons that answered, in turns.
    pub(crate) fn ask(&self) -> Result<Vec<Beacon>, LanError> {
        let links = links().map_err(LanError::Addresses)?;
        let round = Mutex::new(Round::new(self.secret));
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|_| LanError::NoRandomness)?;
        let id = u16::from_le_bytes(id);
        let question = question(id).map_err(LanError::Question)?;
        let asked = std::thread::scope(|scope| {
            let ask = |link: Link| {
                let (question, round) = (&question, &round);
                Builder::new().spawn_scoped(scope, move || ask_link(&link, id, question, round))
            };
            let threads: Vec<_> = links.into_iter().map(ask).collect();
            // One that panicked in a library has asked, whatever came of it.
            threads
                .into_iter()
                .map(|thread| thread.and_then(|thread| thread.join().unwrap_or(Ok(()))))
                .collect::<Vec<_>>()
        });
        if asked.is_empty() {
            return Err(LanError::NoNetwork);
        }
        let found = round.into_inner().unwrap_or_else(PoisonError::into_inner).in_turns();
        match asked.into_iter().find_map(Result::err) {
            // One network that does not work takes nothing from what the others say.
            Some(error) if found.is_empty() => Err(LanError::NotAsked(error)),
            _ => Ok(found.into_iter().map(Beacon::from).collect()),
        }
    }

    /// Asks in the same way, where nothing is done without a beacon.
    pub(crate) fn ask_for_some(&self) -> Result<Vec<Beacon>, LanError> {
        match self.ask() {
            Ok(found) if found.is_empty() => Err(LanError::NobodyAnswers),
            asked => asked,
        }
    }

    /// Asks for ever, and hands over what each round found, until `take` says that it is enough.
    pub(crate) fn watch(&self, take: impl Fn(Result<Vec<Beacon>, LanError>) -> bool) {
        let mut rounds = 0_u32;
        while take(self.ask()) {
            rounds = rounds.saturating_add(1);
            sleep(ROUND_BACKOFF.wait(rounds, random_byte()));
        }
    }
}

/// Returns the networks that this machine is in by an address that counts.
fn links() -> io::Result<Vec<Link>> {
    let link = |interface: Interface| {
        let (own, prefix) = match &interface.addr {
            IfAddr::V4(address) => (IpAddr::V4(address.ip), address.prefixlen),
            IfAddr::V6(address) => (IpAddr::V6(address.ip), address.prefixlen),
        };
        (interface.is_oper_up() && is_local(own)).then(|| Link { own, prefix, index: interface.index.unwrap_or(0) })
    };
    Ok(get_if_addrs()?.into_iter().filter_map(link).take(LINKS_MAX).collect())
}

fn question(id: u16) -> simple_dns::Result<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(Name::new(SERVICE)?, TYPE::PTR.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

fn ask_link(link: &Link, id: u16, question: &[u8], round: &Mutex<Round>) -> io::Result<()> {
    let (socket, group) = open(link)?;
    let begun = Instant::now();
    socket.send_to(question, group)?;
    let mut is_repeated = false;
    let mut packet = vec![0; PACKET_MAX_BYTES];
    loop {
        let elapsed = begun.elapsed();
        if !is_repeated && elapsed >= AGAIN {
            socket.send_to(question, group)?;
            is_repeated = true;
        }
        let until = if is_repeated { ROUND } else { AGAIN };
        // The system does not take a wait of zero for one.
        let wait = until.saturating_sub(elapsed).max(Duration::from_millis(1));
        if elapsed >= ROUND {
            return Ok(());
        }
        socket.set_read_timeout(Some(wait))?;
        match socket.recv_from(&mut packet) {
            Ok((length, from)) if is_on_link(from.ip(), link.own, link.prefix) => {
                let found = packet.get(..length).map(|packet| beacons_in(packet, id, from.ip())).unwrap_or_default();
                let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
                found.into_iter().for_each(|beacon| round.take(beacon));
            }
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether nothing came, or somebody whom the question reached does not want it.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | Interrupted | TimedOut | WouldBlock)
}

/// Opens a socket that asks one network, and returns it with the group's address there.
fn open(link: &Link) -> io::Result<(UdpSocket, SocketAddr)> {
    let domain = if link.own.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::new(link.own, 0).into())?;
    let group = match link.own {
        IpAddr::V4(own) => {
            socket.set_multicast_if_v4(&own)?;
            SocketAddr::from((GROUP_V4, PORT))
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(link.index)?;
            SocketAddrV6::new(GROUP_V6, PORT, 0, link.index).into()
        }
    };
    Ok((socket.into(), group))
}

/// Returns the beacons in an answer to this question: those of which it has everything.
fn beacons_in(packet: &[u8], id: u16, from: IpAddr) -> Vec<LocalBeacon> {
    use header_buffer::{additional_records, answers, name_servers, questions};
    let is_short = |count: simple_dns::Result<u16>| count.is_ok_and(|count| count <= RECORDS_MAX);
    // The parser makes room for as many as the header says.
    if ![questions(packet), answers(packet), name_servers(packet), additional_records(packet)].into_iter().all(is_short)
    {
        return Vec::new();
    }
    let (Ok(packet), Ok(service)) = (Packet::parse(packet), Name::new(SERVICE)) else { return Vec::new() };
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return Vec::new();
    }
    let records = || packet.answers.iter().chain(&packet.additional_records);
    let instances = records().filter(|record| record.name == service).filter_map(|record| match &record.rdata {
        RData::PTR(instance) => Some(&instance.0),
        _ => None,
    });
    let beacon = |instance: &Name<'_>| {
        let of_instance = || records().filter(|record| record.name == *instance);
        let port = of_instance().find_map(|record| match &record.rdata {
            RData::SRV(place) => Some(place.port),
            _ => None,
        })?;
        let text = of_instance().find_map(|record| match &record.rdata {
            RData::TXT(text) => Some(text),
            _ => None,
        })?;
        // What is not to be used is not worth a word: anybody can say it, as often as they like.
        LocalBeacon::read(from, port, text.iter_raw()).ok()
    };
    instances.filter_map(beacon).collect()
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{PTR, SRV, TXT};

    use super::*;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

    /// What `rendezvous-beacon serve --lan` answers to a question of the number 0x1234, as it was captured, in hexadecimal.
    const CAPTURED: &str = "1234840000010001000000030b5f72656e64657a766f7573045f746370056c6f63616c00000c0001c00c000c00010000000a\
         001d1a72656e64657a766f75732d626561636f6e2d3838666565643930c00cc034002100010000000a00230000000022531a\
         72656e64657a766f75732d626561636f6e2d3838666565643930c01dc034001000010000000a001809747874766572733d31\
         06706174683d2f06746c733d6e6fc063000100010000000a00040a630001";

    fn captured() -> Vec<u8> {
        let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        CAPTURED.as_bytes().chunks(2).map(byte).collect()
    }

    fn urls(packet: &[u8], id: u16) -> Vec<String> {
        beacons_in(packet, id, FROM).iter().map(|beacon| beacon.url().to_string()).collect()
    }

    fn record<'a>(name: &'a str, rdata: RData<'a>) -> ResourceRecord<'a> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 10, rdata)
    }

    fn answer(records: Vec<ResourceRecord<'_>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(0x1234);
        packet.answers = records;
        packet.build_bytes_vec_compressed().unwrap()
    }

    #[test]
    fn the_question_is_the_one_of_the_standard() {
        let expected = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x0b_rendezvous\x04_tcp\x05local\0\0\x0c\0\x01";
        assert_eq!(question(0x1234).unwrap(), expected);
    }

    #[test]
    fn an_answer_to_this_question_names_a_beacon_and_any_other_none() {
        let captured = captured();
        assert_eq!(urls(&captured, 0x1234), ["http://10.0.0.5:8787"]);
        assert_eq!(urls(&captured, 0x1235), [""; 0], "of another question");
        for length in 0..captured.len() {
            assert_eq!(urls(&captured[..length], 0x1234), [""; 0], "{length} bytes");
        }
        let mut of_many = captured;
        of_many[6] = 0xff;
        assert_eq!(urls(&of_many, 0x1234), [""; 0], "room for 65,280 records is not made");
    }

    #[test]
    fn an_instance_has_a_place_and_attributes_of_its_own_or_is_none() {
        let service = SERVICE.to_owned();
        let instance = |name: &str| format!("{name}.{SERVICE}");
        let [one, two] = ["one", "two"].map(instance);
        let points = |name: &'static str| record(SERVICE, RData::PTR(PTR(Name::new_unchecked(name).into_owned())));
        let place =
            |port| RData::SRV(SRV { priority: 0, weight: 0, port, target: Name::new_unchecked("elsewhere.example") });
        let text = || RData::TXT(TXT::new().with_string("txtvers=1").unwrap());
        let [to_one, to_two] = [points("one._rendezvous._tcp.local"), points("two._rendezvous._tcp.local")];
        let packet = answer(vec![
            to_one.clone(),
            to_two.clone(),
            record(&one, place(1)),
            record(&one, text()),
            record(&two, place(2)),
            record(&two, text()),
        ]);
        assert_eq!(urls(&packet, 0x1234), ["http://10.0.0.5:1", "http://10.0.0.5:2"], "wherever the target is");
        for records in [
            vec![],
            vec![record(&one, place(1)), record(&one, text())],
            vec![to_one.clone(), record(&one, place(1))],
            vec![to_one.clone(), record(&one, text())],
            vec![to_one.clone(), record(&two, place(1)), record(&one, text())],
            vec![to_two, record(&service, place(1)), record(&service, text())],
        ] {
            assert_eq!(urls(&answer(records), 0x1234), [""; 0]);
        }
        let mut query = Packet::new_query(0x1234);
        query.answers = vec![to_one, record(&one, place(1)), record(&one, text())];
        assert_eq!(urls(&query.build_bytes_vec().unwrap(), 0x1234), [""; 0], "a question is not an answer");
    }
}
