//! What a request says of itself before its body.

use std::net::IpAddr;

use rendezvous_protocol::network::Client;

/// Holds what a request says of itself before its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL, normalised: absolute, or its path and query alone.
    pub url: &'a str,
    /// The client's address, absent where the source that [`Platform`](crate::platform::Platform) and configuration name holds none.
    pub address: Option<IpAddr>,
    /// The number of the client's autonomous system, empty where the host does not know it.
    pub autonomous_system: &'a str,
    /// `If-None-Match`, empty where there is none.
    pub if_none_match: &'a str,
    /// `Origin`, where there is one.
    pub origin: Option<&'a str>,
    /// `Host`, with its port, where the request names one.
    pub host: Option<&'a str>,
    /// What the connection is to become.
    pub upgrade: Upgrade,
    /// `Last-Event-ID`, where there is one.
    pub last_event_id: Option<&'a str>,
    /// The bytes of the body, where that is known before it is read. A host that does not describe every header says so of
    /// requests with a body alone.
    pub body_bytes: Option<u64>,
}

impl Head<'_> {
    /// Returns who asks.
    pub fn client(&self) -> Client {
        Client { address: self.address, autonomous_system: self.autonomous_system.parse().ok() }
    }
}

/// Says what a request wants its connection to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing else.
    #[default]
    None,
    /// A WebSocket of version 13 (RFC 6455), with everything that its handshake has.
    WebSocket,
    /// Anything else, or a handshake that is not whole.
    Other,
}
