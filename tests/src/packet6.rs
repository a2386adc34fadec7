//! IPv6 packets by hand: as little of them as tests need.

mod cut;

use std::net::Ipv6Addr;

use crate::packet::internet_checksum;

pub use cut::Piece;

/// EtherType of IPv6.
pub const ETHER_TYPE: u16 = 0x86dd;
/// Protocol numbers.
pub const UDP: u8 = 17;
/// TCP.
pub const TCP: u8 = 6;
/// ICMPv6.
pub const ICMP: u8 = 58;
/// Hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// A fragment.
const FRAGMENT: u8 = 44;
const HEADER: usize = 40;

/// An IPv6 packet without extension headers, or with a Hop-by-Hop header of padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Hop limit.
    pub hops: u8,
    /// Number of the transport header.
    pub protocol: u8,
    /// Whether a Hop-by-Hop header is before it.
    pub extended: bool,
    /// The transport header, its checksum included, and the data.
    pub body: Vec<u8>,
}

impl Packet6 {
    /// A datagram with a right checksum.
    pub fn udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), data: &[u8]) -> Self {
        let length = u16::try_from(8 + data.len()).expect("it is short");
        let mut body = [from.1, to.1, length, 0].map(u16::to_be_bytes).concat();
        body.extend(data);
        Self::new(from.0, to.0, UDP, body, 6)
    }

    /// A TCP segment with these flags.
    pub fn tcp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), flags: u8, data: &[u8]) -> Self {
        let mut body = [from.1, to.1].map(u16::to_be_bytes).concat();
        body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(data);
        Self::new(from.0, to.0, TCP, body, 16)
    }

    /// An ICMPv6 error that quotes a packet.
    pub fn error(from: Ipv6Addr, to: Ipv6Addr, kind: (u8, u8), quoted: &Self) -> Self {
        let mut body = vec![kind.0, kind.1, 0, 0, 0, 0, 0, 0];
        body.extend(quoted.bytes());
        Self::new(from, to, ICMP, body, 2)
    }

    /// A ping, or (kind 129) its answer.
    pub fn ping(from: Ipv6Addr, to: Ipv6Addr, kind: u8, id: u16) -> Self {
        Self::ping_with(from, to, (kind, id), &[0xaa, 0xbb])
    }

    /// The same with data.
    pub fn ping_with(from: Ipv6Addr, to: Ipv6Addr, (kind, id): (u8, u16), data: &[u8]) -> Self {
        let mut body = vec![kind, 0, 0, 0];
        body.extend(id.to_be_bytes());
        body.extend([0, 1]);
        body.extend(data);
        Self::new(from, to, ICMP, body, 2)
    }

    fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        protocol: u8,
        mut body: Vec<u8>,
        checksum_at: usize,
    ) -> Self {
        let sum = checksum(source, destination, protocol, &body);
        body[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        Self { source, destination, hops: 64, protocol, extended: false, body }
    }

    /// With a Hop-by-Hop header before the transport header.
    pub fn extended(self) -> Self {
        Self { extended: true, ..self }
    }

    /// The packet as it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let extension =
            if self.extended { vec![self.protocol, 0, 1, 4, 0, 0, 0, 0] } else { vec![] };
        let first = if self.extended { HOP_BY_HOP } else { self.protocol };
        let length = u16::try_from(extension.len() + self.body.len()).expect("it is short");
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([first, self.hops]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        [bytes, extension, self.body.clone()].concat()
    }

    /// The packet in two fragments, as they are on the wire.
    pub fn halves(&self, id: u32) -> [Vec<u8>; 2] {
        const FIRST: u16 = 64;
        let (first, rest) = self.body.split_at(usize::from(FIRST));
        let piece = |offset, more| Piece { next: self.protocol, offset, more, id };
        [self.piece(piece(0, true), first), self.piece(piece(FIRST, false), rest)]
    }

    /// Reads a frame; None when it carries something else.
    pub fn read_frame(frame: &[u8]) -> Option<Self> {
        let (header, packet) = frame.split_at_checked(14)?;
        (header[12..] == ETHER_TYPE.to_be_bytes()).then(|| Self::read(packet)).flatten()
    }

    /// Reads a packet.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let address =
            |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(Ipv6Addr::from);
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let rest = &bytes[HEADER..bytes.len().min(HEADER + length)];
        let extended = header[6] == HOP_BY_HOP;
        let (protocol, body) =
            if extended { (*rest.first()?, rest.get(8..)?) } else { (header[6], rest) };
        let (source, destination, body) = (address(8)?, address(24)?, body.to_vec());
        Some(Self { source, destination, hops: header[7], protocol, extended, body })
    }

    /// Whether the transport checksum is right.
    pub fn is_right(&self) -> bool {
        checksum(self.source, self.destination, self.protocol, &self.body) == 0
    }

    /// Ports, where there are some.
    pub fn ports(&self) -> (u16, u16) {
        let word =
            |at: usize| self.body.get(at..at + 2).map_or(0, |w| u16::from_be_bytes([w[0], w[1]]));
        (word(0), word(2))
    }

    /// The id of a ping.
    pub fn ping_id(&self) -> u16 {
        self.body.get(4..6).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]))
    }

    /// What an error quotes.
    pub fn quote(&self) -> Option<Self> {
        let error = self.protocol == ICMP && self.body.first()? < &128;
        if error { Self::read(self.body.get(8..)?) } else { None }
    }
}

/// Over pseudo-header and body; 0 over a body whose own checksum is right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, protocol]];
    internet_checksum(&[&pseudo.concat()[..], body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (a, b) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        let udp = Packet6::udp((a, 1), (b, 2), b"odd");
        let error = Packet6::error(b, a, (1, 4), &udp);
        for packet in [udp.clone(), udp.clone().extended(), error.clone()] {
            assert_eq!(Packet6::read(&packet.bytes()), Some(packet.clone()));
            assert!(packet.is_right());
        }
        assert_eq!(error.quote(), Some(udp));
    }
}
