//! Which outside port stands for which inside end: learned from what comes out, per lab.
//!
//! Which port a router chooses is its own business. Comparing undoes the choice, so that only a
//! port that means two things, or none, is seen as a difference.

use std::collections::HashMap;
use std::net::SocketAddrV4;

use super::step::{About, Kind};
use crate::packet::Protocol;

/// Where numbers are told apart: a protocol's ports, or the identifiers of one kind of ICMP query,
/// named by the type of its request (0 in other protocols).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space(pub Protocol, pub u8);

impl Space {
    /// That of a packet, or of what an error quotes.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Tcp(_) | Kind::Error(_, About::Tcp) => Self(Protocol::TCP, 0),
            Kind::Udp | Kind::Error(_, About::Udp) => Self(Protocol::UDP, 0),
            Kind::Ping | Kind::Pong | Kind::Error(_, About::Ping) => Self::icmp(8),
            Kind::Icmp(kind) => Self::icmp(kind.kind),
            Kind::Other(number) => Self(Protocol(number), 0),
        }
    }

    /// That of an ICMP message: a query and its answer share one.
    pub fn icmp(kind: u8) -> Self {
        let request = match kind {
            0 => 8,
            14 | 16 | 18 => kind - 1,
            other => other,
        };
        Self(Protocol::ICMP, request)
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(protocol, request) = self;
        if *request == 0 { write!(f, "{protocol}") } else { write!(f, "{protocol} {request}") }
    }
}

/// The ports one sequence has in one lab.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    ports: HashMap<(Space, SocketAddrV4, SocketAddrV4), u16>,
    latest: HashMap<(Space, SocketAddrV4), u16>,
    holders: HashMap<(Space, u16, SocketAddrV4), SocketAddrV4>,
}

impl Mappings {
    /// Notes that `inside` appeared as `port` to `remote`. What the port stood for before is
    /// forgotten: the kernel gives the port of a closed connection to another.
    pub fn learn(&mut self, space: Space, inside: SocketAddrV4, remote: SocketAddrV4, port: u16) {
        let remote = end(space, remote);
        self.holders.insert((space, port, remote), inside);
        self.ports.insert((space, inside, remote), port);
        self.latest.insert((space, inside), port);
    }

    /// The port that `inside` has towards `remote`, or else the one it had last.
    pub fn port(&self, space: Space, inside: SocketAddrV4, remote: SocketAddrV4) -> Option<u16> {
        let own = self.ports.get(&(space, inside, end(space, remote)));
        own.or_else(|| self.latest.get(&(space, inside))).copied()
    }

    /// Whether `inside` was seen by `remote` itself.
    pub fn is_known(&self, space: Space, inside: SocketAddrV4, remote: SocketAddrV4) -> bool {
        self.ports.contains_key(&(space, inside, end(space, remote)))
    }

    /// For whom `port` stands towards `remote`.
    pub fn holder(&self, space: Space, port: u16, remote: SocketAddrV4) -> Option<SocketAddrV4> {
        self.holders.get(&(space, port, end(space, remote))).copied()
    }
}

/// An identifier has no second end: queries to an address are told apart by it alone.
fn end(space: Space, remote: SocketAddrV4) -> SocketAddrV4 {
    if space.0 == Protocol::ICMP { SocketAddrV4::new(*remote.ip(), 0) } else { remote }
}

/// Outside ports of a whole lab, for the router that promises more: one port for an inside end
/// towards everybody, and no port for two (RFC 4787 REQ-1, RFC 6888).
#[derive(Debug, Default)]
pub struct Ownership {
    holders: HashMap<(Space, u16), SocketAddrV4>,
    ports: HashMap<(Space, SocketAddrV4), u16>,
}

impl Ownership {
    /// Notes a port.
    ///
    /// # Errors
    /// When it is another's, or not the one that `inside` has.
    pub fn learn(&mut self, space: Space, inside: SocketAddrV4, port: u16) -> Result<(), String> {
        let holder = *self.holders.entry((space, port)).or_insert(inside);
        let own = *self.ports.entry((space, inside)).or_insert(port);
        match (holder == inside, own == port) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{space} port {port} is both {holder}'s and {inside}'s")),
            (true, false) => Err(format!("{inside} has {space} ports {own} and {port}")),
        }
    }
}
