//! Who takes part: clients inside, servers outside, the router between them.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_common::flow::{FlowKey, proto};
use vnet_common::translate::Endpoint;
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::packet::{Body, Icmp, IcmpBody, Packet, Protocol, TcpFlags};

/// The client, with the port most stories use.
pub(crate) const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 4000);
/// Another client that happens to use the same port.
pub(crate) const OTHER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 3), 4000);
/// The server.
pub(crate) const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 5), 80);
/// Another server.
pub(crate) const SECOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 6), 80);
/// Somebody on the way between router and servers.
pub(crate) const HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// The outside address with a port.
pub(crate) fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, port)
}

/// The tuple a packet is looked up by.
pub(crate) fn key(packet: &Packet) -> FlowKey {
    let (from, to) = (packet.source(), packet.destination());
    let (sport, dport) = match &packet.body {
        Body::Icmp(Icmp { body: IcmpBody::Echo { id, .. }, .. }) => (*id, *id),
        Body::Icmp(_) | Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => (from.port(), to.port()),
    };
    let Protocol(proto) = packet.ip.protocol;
    let (saddr, daddr) = (from.ip().octets(), to.ip().octets());
    FlowKey { saddr, daddr, sport, dport, proto, reserved: [0; 3] }
}

/// Who sent a packet, as mappings know it.
pub(crate) fn endpoint(packet: &Packet) -> Endpoint {
    let key = key(packet);
    Endpoint { addr: key.saddr, port: key.sport, proto: key.proto, outside: 0 }
}

/// A datagram from the client to the server.
pub(crate) fn datagram() -> Packet {
    Packet::udp(CLIENT, SERVER).payload(b"question")
}

/// Sends a packet out and has it answered: a connection that lasts. Returns what left.
#[track_caller]
pub(crate) fn answered(datapath: &Datapath, packet: &Packet) -> Packet {
    let left = datapath.out(packet, Reason::NatOut);
    let (from, to) = (left.destination(), left.source());
    let answer = match &left.body {
        Body::Tcp(_) => Packet::tcp(from, to, TcpFlags::SYN | TcpFlags::ACK),
        Body::Udp(_) => Packet::udp(from, to),
        Body::Icmp(_) | Body::Raw(_) => Packet::pong(*from.ip(), *to.ip(), key(&left).sport),
    };
    datapath.back(&answer, Reason::NatIn);
    left
}

/// A ping from the client to the server.
pub(crate) fn ping(id: u16) -> Packet {
    Packet::ping(*CLIENT.ip(), *SERVER.ip(), id).payload(b"are you there?")
}

/// The id of an echo request or reply.
pub(crate) fn echo_id(packet: &Packet) -> u16 {
    let key = key(packet);
    assert_eq!(key.proto, proto::ICMP, "not a ping: {packet}");
    key.sport
}
