//! Making packets in a few words, and writing them to the wire.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Body, Ether, EtherType, Icmp, IcmpBody, IcmpKind, Ipv4, Mac, Packet, Protocol};
use super::{Sum, Tcp, TcpFlags, Udp};

/// An address and port as a test writes it: a `SocketAddrV4`, or text such as `10.0.0.2:4000`.
pub trait Endpoint {
    /// The address and port meant.
    fn endpoint(self) -> SocketAddrV4;
}

impl Endpoint for SocketAddrV4 {
    fn endpoint(self) -> SocketAddrV4 {
        self
    }
}

impl Endpoint for &str {
    fn endpoint(self) -> SocketAddrV4 {
        let wrong = || panic!("`{self}` is not an address and port such as 10.0.0.2:4000");
        self.parse().unwrap_or_else(|_| wrong())
    }
}

impl Endpoint for (Ipv4Addr, u16) {
    fn endpoint(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.0, self.1)
    }
}

impl Packet {
    /// An empty UDP datagram.
    pub fn udp(from: impl Endpoint, to: impl Endpoint) -> Self {
        let (from, to) = (from.endpoint(), to.endpoint());
        Self::new(*from.ip(), *to.ip(), Protocol::UDP, Body::Udp(Udp::new(from.port(), to.port())))
    }

    /// A TCP segment with these flags, e.g. `TcpFlags::SYN`.
    pub fn tcp(from: impl Endpoint, to: impl Endpoint, flags: TcpFlags) -> Self {
        let (from, to) = (from.endpoint(), to.endpoint());
        let tcp = Tcp { flags, ..Tcp::new(from.port(), to.port()) };
        Self::new(*from.ip(), *to.ip(), Protocol::TCP, Body::Tcp(tcp))
    }

    /// An echo request.
    pub fn ping(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Self {
        Self::icmp(from, to, Icmp::echo(IcmpKind::ECHO_REQUEST, id, 1))
    }

    /// An echo reply.
    pub fn pong(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Self {
        Self::icmp(from, to, Icmp::echo(IcmpKind::ECHO_REPLY, id, 1))
    }

    /// An ICMP message.
    pub fn icmp(from: Ipv4Addr, to: Ipv4Addr, icmp: Icmp) -> Self {
        Self::new(from, to, Protocol::ICMP, Body::Icmp(icmp))
    }

    /// The error a router or host at `from` sends about this packet: to its source, quoting its
    /// IP header and `quoted` bytes of what it carries.
    pub fn error(&self, from: Ipv4Addr, kind: IcmpKind, quoted: usize) -> Self {
        Self::icmp(from, self.ip.source, Icmp::error(kind, self, quoted))
    }

    /// Any protocol, any bytes.
    pub fn raw(from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, body: &[u8]) -> Self {
        Self::new(from, to, protocol, Body::Raw(body.to_vec()))
    }

    fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, body: Body) -> Self {
        Self { ether: Ether::default(), ip: Ipv4::new(from, to, protocol), body }
    }

    /// Puts it in a frame from one station to another.
    pub fn frame(mut self, source: Mac, destination: Mac) -> Self {
        self.ether = Ether { source, destination, ..self.ether };
        self
    }

    /// Tags the frame with a VLAN id.
    pub fn vlan(mut self, id: u16) -> Self {
        self.ether.vlan = Some(id);
        self
    }

    /// Sends it from elsewhere: address, and port where the packet has ports.
    pub fn from(mut self, from: impl Endpoint) -> Self {
        let from = from.endpoint();
        self.ip.source = *from.ip();
        match &mut self.body {
            Body::Tcp(tcp) => tcp.source = from.port(),
            Body::Udp(udp) => udp.source = from.port(),
            Body::Icmp(_) | Body::Raw(_) => {}
        }
        self
    }

    /// Sends it elsewhere: address, and port where the packet has ports.
    pub fn to(mut self, to: impl Endpoint) -> Self {
        let to = to.endpoint();
        self.ip.destination = *to.ip();
        match &mut self.body {
            Body::Tcp(tcp) => tcp.destination = to.port(),
            Body::Udp(udp) => udp.destination = to.port(),
            Body::Icmp(_) | Body::Raw(_) => {}
        }
        self
    }

    /// Another TTL.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.ttl = ttl;
        self
    }

    /// Another IP id.
    pub fn id(mut self, id: u16) -> Self {
        self.ip.id = id;
        self
    }

    /// Routers must not cut it.
    pub fn dont_fragment(mut self) -> Self {
        self.ip.dont_fragment = true;
        self
    }

    /// Another TCP sequence and acknowledgement number.
    ///
    /// # Panics
    /// When it is not TCP.
    pub fn numbers(mut self, sequence: u32, acknowledgement: u32) -> Self {
        let Body::Tcp(tcp) = &mut self.body else { panic!("only TCP has sequence numbers") };
        (tcp.sequence, tcp.acknowledgement) = (sequence, acknowledgement);
        self
    }

    /// Another id of an echo request or reply.
    ///
    /// # Panics
    /// When it is neither.
    pub fn echo_id(mut self, new: u16) -> Self {
        let Body::Icmp(Icmp { body: IcmpBody::Echo { id, .. }, .. }) = &mut self.body else {
            panic!("only echo requests and replies have an id")
        };
        *id = new;
        self
    }

    /// Other data behind the headers (of an ICMP error: another quote).
    pub fn payload(mut self, data: &[u8]) -> Self {
        match &mut self.body {
            Body::Tcp(tcp) => tcp.payload = data.to_vec(),
            Body::Udp(udp) => udp.payload = data.to_vec(),
            Body::Icmp(icmp) => match &mut icmp.body {
                IcmpBody::Echo { payload, .. } => *payload = data.to_vec(),
                IcmpBody::Other { quote, .. } => *quote = data.to_vec(),
            },
            Body::Raw(bytes) => *bytes = data.to_vec(),
        }
        self
    }

    /// Another checksum behind the IP header: a wrong one, or none.
    ///
    /// # Panics
    /// When the packet's protocol has none that the harness knows.
    pub fn checksum(mut self, sum: Sum) -> Self {
        match &mut self.body {
            Body::Tcp(tcp) => tcp.checksum = sum,
            Body::Udp(udp) => udp.checksum = sum,
            Body::Icmp(icmp) => icmp.checksum = sum,
            Body::Raw(_) => panic!("raw bytes have no checksum of their own"),
        }
        self
    }

    /// The frame as it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.ether.write(EtherType::IPV4, &mut bytes);
        bytes.extend(self.ip_bytes());
        bytes
    }

    /// The packet alone, without the frame's header.
    pub fn ip_bytes(&self) -> Vec<u8> {
        let body = self.body_bytes();
        let mut bytes = Vec::new();
        self.ip.write(body.len(), &mut bytes);
        bytes.extend(body);
        bytes
    }

    /// What follows the IP header.
    pub(super) fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Tcp(tcp) => tcp.write(&self.ip),
            Body::Udp(udp) => udp.write(&self.ip),
            Body::Icmp(icmp) => icmp.bytes(),
            Body::Raw(bytes) => bytes.clone(),
        }
    }
}
