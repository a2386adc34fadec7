//! The ICMP message (RFC 792): echo, and errors that quote the packet they are about.

use std::net::SocketAddrV4;

use super::checksum::{Sum, internet_checksum, without_field};
use super::parse::Reader;
use super::{Body, Ipv4, Packet, Protocol};

const CHECKSUM_AT: usize = 2;

/// Type and code of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpKind {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl IcmpKind {
    /// The answer to a ping.
    pub const ECHO_REPLY: Self = Self { kind: 0, code: 0 };
    /// A ping.
    pub const ECHO_REQUEST: Self = Self { kind: 8, code: 0 };
    /// No such network.
    pub const NET_UNREACHABLE: Self = Self { kind: 3, code: 0 };
    /// No such host.
    pub const HOST_UNREACHABLE: Self = Self { kind: 3, code: 1 };
    /// Nobody listens there.
    pub const PORT_UNREACHABLE: Self = Self { kind: 3, code: 3 };
    /// The packet is too big and must not be cut; the message says how big it may be.
    pub const FRAGMENTATION_NEEDED: Self = Self { kind: 3, code: 4 };
    /// Refused by an administrator's wish.
    pub const PROHIBITED: Self = Self { kind: 3, code: 13 };
    /// Too many routers.
    pub const TIME_EXCEEDED: Self = Self { kind: 11, code: 0 };
    /// A header makes no sense.
    pub const PARAMETER_PROBLEM: Self = Self { kind: 12, code: 0 };

    /// Whether such a message quotes a packet.
    pub fn is_error(self) -> bool {
        matches!(self.kind, 3 | 4 | 5 | 11 | 12)
    }
}

/// An ICMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type and code.
    pub kind: IcmpKind,
    /// Checksum over the whole message.
    pub checksum: Sum,
    /// What follows.
    pub body: IcmpBody,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcmpBody {
    /// Echo request or reply.
    Echo {
        /// Whose ping it is; what NAT translates.
        id: u16,
        /// Which one it is.
        sequence: u16,
        /// Returned as it came.
        payload: Vec<u8>,
    },
    /// An error, or anything else.
    Other {
        /// The second word of the header: next-hop MTU, pointer, RFC 4884 length.
        rest: u32,
        /// The quoted packet as it is on the wire, mostly cut short, and what follows it.
        quote: Vec<u8>,
    },
}

impl Icmp {
    /// A ping or its answer.
    pub fn echo(kind: IcmpKind, id: u16, sequence: u16) -> Self {
        let body = IcmpBody::Echo { id, sequence, payload: Vec::new() };
        Self { kind, checksum: Sum::Right, body }
    }

    /// An error about `packet`, quoting its IP header and `quoted` bytes of what it carries.
    pub fn error(kind: IcmpKind, packet: &Packet, quoted: usize) -> Self {
        let mut quote = packet.ip_bytes();
        quote.truncate(packet.ip.header_length() + quoted);
        let body = IcmpBody::Other { rest: 0, quote };
        Self { kind, checksum: Sum::Right, body }
    }

    /// What an error quotes; None for other messages and for quotes that make no sense.
    pub fn quote(&self) -> Option<Quote> {
        match &self.body {
            IcmpBody::Other { quote, .. } if self.kind.is_error() => Quote::read(quote),
            IcmpBody::Echo { .. } | IcmpBody::Other { .. } => None,
        }
    }

    /// The message as a raw ICMP socket takes it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind.kind, self.kind.code, 0, 0];
        match &self.body {
            IcmpBody::Echo { id, sequence, payload } => {
                bytes.extend(id.to_be_bytes());
                bytes.extend(sequence.to_be_bytes());
                bytes.extend(payload);
            }
            IcmpBody::Other { rest, quote } => {
                bytes.extend(rest.to_be_bytes());
                bytes.extend(quote);
            }
        }
        let sum = self.checksum.wire(internet_checksum(&bytes));
        bytes[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Reads a message; None when its header is cut short.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let kind = IcmpKind { kind: from.u8().ok()?, code: from.u8().ok()? };
        let wire = from.u16().ok()?;
        let checksum = Sum::read(wire, internet_checksum(&without_field(bytes, CHECKSUM_AT)));
        let rest = from.u32().ok()?;
        let after = from.0.to_vec();
        let body = match kind {
            IcmpKind::ECHO_REQUEST | IcmpKind::ECHO_REPLY => {
                let [a, b, c, d] = rest.to_be_bytes();
                let (id, sequence) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                IcmpBody::Echo { id, sequence, payload: after }
            }
            IcmpKind { .. } => IcmpBody::Other { rest, quote: after },
        };
        Some(Self { kind, checksum, body })
    }
}

/// The packet inside an ICMP error, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its header; its checksum is judged like any other.
    pub ip: Ipv4,
    /// Its sender, with the port, or the id of an echo request.
    pub source: SocketAddrV4,
    /// Its receiver, with the port, or the id of an echo reply.
    pub destination: SocketAddrV4,
    /// All that is there of what the packet carried.
    pub body: Vec<u8>,
    /// The whole packet, when nothing was cut off: its checksums are then judged too.
    pub whole: Option<Body>,
}

impl Quote {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (ip, length) = Ipv4::read(bytes).ok()?;
        let body = bytes[ip.header_length()..].to_vec();
        let word = |at: usize| {
            body.get(at..at + 2).and_then(|w| w.try_into().ok()).map_or(0, u16::from_be_bytes)
        };
        let (from, to) = match (ip.protocol, body.first()) {
            (Protocol::ICMP, Some(8)) => (word(4), 0),
            (Protocol::ICMP, Some(0)) => (0, word(4)),
            (Protocol::TCP | Protocol::UDP, _) => (word(0), word(2)),
            _ => (0, 0),
        };
        let whole = (bytes.len() >= length)
            .then(|| Packet::parse_ip(super::Ether::default(), bytes).ok())
            .flatten()
            .map(|packet| packet.body);
        let source = SocketAddrV4::new(ip.source, from);
        let destination = SocketAddrV4::new(ip.destination, to);
        Some(Self { ip, source, destination, body, whole })
    }
}
