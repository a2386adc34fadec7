//! The places of an IPv4 packet that NAT changes, and changing them so that every checksum follows.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::checksum::{field, follow};
use super::mapping::Space;
use crate::packet::{Protocol, internet_checksum};

/// An end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who sent it.
    Source,
    /// Who gets it.
    Destination,
}

impl End {
    fn address_at(self) -> usize {
        if self == Self::Source { 12 } else { 16 }
    }

    /// The other one.
    pub fn other(self) -> Self {
        if self == Self::Source { Self::Destination } else { Self::Source }
    }
}

/// The address of an end.
pub fn address(packet: &[u8], end: End) -> Option<Ipv4Addr> {
    let four = packet.get(end.address_at()..end.address_at() + 4)?;
    Some(Ipv4Addr::new(four[0], four[1], four[2], four[3]))
}

/// Address and port of an end.
pub fn endpoint(packet: &[u8], end: End) -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(address(packet, end)?, port(packet, end)?))
}

/// The port of an end, or the query identifier.
pub fn port(packet: &[u8], end: End) -> Option<u16> {
    let at = port_at(packet, end)?;
    Some(u16::from_be_bytes([packet[at], packet[at + 1]]))
}

/// Where a packet's port or identifier counts.
pub fn space(packet: &[u8]) -> Option<Space> {
    match Protocol(*packet.get(9)?) {
        Protocol::ICMP => Some(Space::icmp(*packet.get(header_length(packet))?)),
        protocol => Some(Space(protocol, 0)),
    }
}

fn port_at(packet: &[u8], end: End) -> Option<usize> {
    let l4 = header_length(packet);
    let at = match (Protocol(*packet.get(9)?), end) {
        (Protocol::TCP | Protocol::UDP, End::Source) => l4,
        (Protocol::TCP | Protocol::UDP, End::Destination) => l4 + 2,
        (Protocol::ICMP, _) if matches!(packet.get(l4), Some(0 | 8 | 13..=18)) => l4 + 4,
        _ => return None,
    };
    let first = packet.get(6..8).is_some_and(|word| word[0] & 0x1f == 0 && word[1] == 0);
    (first && packet.len() >= at + 2).then_some(at)
}

/// Whether it is a piece of a packet.
pub fn is_fragment(packet: &[u8]) -> bool {
    packet.get(6..8).is_some_and(|word| word[0] & 0x3f != 0 || word[1] != 0)
}

/// Where the quote of an ICMP error begins.
pub fn quote_at(packet: &[u8]) -> Option<usize> {
    let l4 = header_length(packet);
    let error = packet.get(9) == Some(&Protocol::ICMP.0)
        && matches!(packet.get(l4), Some(3 | 4 | 5 | 11 | 12));
    (error && packet.len() >= l4 + 28).then_some(l4 + 8)
}

/// Changes the quote of an ICMP error; the error's own checksum follows.
pub fn in_quote(packet: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let Some(at) = quote_at(packet) else { return };
    let before = even(packet[at..].to_vec());
    change(&mut packet[at..]);
    let after = even(packet[at..].to_vec());
    follow(&mut packet[at - 6..at - 4], &before, &after);
}

/// Gives an end another address, and another port where it has one.
pub fn set(packet: &mut [u8], end: End, new: SocketAddrV4) {
    let Some(protocol) = packet.get(9).filter(|_| packet.len() >= 20).map(|byte| Protocol(*byte))
    else {
        return;
    };
    let (at, l4) = (end.address_at(), header_length(packet));
    let port_at = port_at(packet, end);
    let words = |packet: &[u8]| {
        let port = port_at.map_or([0, 0], |at| [packet[at], packet[at + 1]]);
        [&packet[at..at + 4], &port[..]].concat()
    };
    let before = words(packet);
    packet[at..at + 4].copy_from_slice(&new.ip().octets());
    if let Some(at) = port_at {
        packet[at..at + 2].copy_from_slice(&new.port().to_be_bytes());
    }
    let after = words(packet);
    follow(&mut packet[10..12], &before[..4], &after[..4]);
    // ICMP knows no pseudo-header.
    let covered = if protocol == Protocol::ICMP { 4.. } else { 0.. };
    let Some(sum_at) = field(protocol).map(|field| l4 + field) else { return };
    let none = protocol == Protocol::UDP && packet.get(sum_at..sum_at + 2) == Some(&[0, 0]);
    if let Some(sum) = packet.get_mut(sum_at..sum_at + 2).filter(|_| !none) {
        follow(sum, &before[covered.clone()], &after[covered]);
    }
}

/// Changes a half of a word of the IP header; its checksum follows.
pub fn set_half(packet: &mut [u8], at: usize, half: u16) {
    if packet.len() < 20 {
        return;
    }
    let before = packet[at..at + 2].to_vec();
    packet[at..at + 2].copy_from_slice(&half.to_be_bytes());
    follow(&mut packet[10..12], &before, &half.to_be_bytes());
}

/// Writes in one way what can be written in two: the IP header's checksum is taken out where it is
/// right, and a transport checksum of zero becomes all ones, which says the same (of UDP it says
/// something else).
pub fn normalise(packet: &mut [u8]) {
    let length = header_length(packet);
    let Some(header) = packet.get(..length).filter(|header| header.len() >= 20) else { return };
    let (right, protocol) = (internet_checksum(header) == 0, Protocol(header[9]));
    if right {
        packet[10..12].fill(0);
    }
    let sum = field(protocol).filter(|_| protocol != Protocol::UDP).map(|field| length + field);
    if let Some(sum) = sum.and_then(|at| packet.get_mut(at..at + 2)).filter(|sum| **sum == [0, 0]) {
        sum.fill(0xff);
    }
}

fn header_length(packet: &[u8]) -> usize {
    usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4
}

fn even(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{IcmpKind, Packet, faults};

    const NEW: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 8, 7), 4711);

    #[test]
    fn a_changed_packet_is_one_that_was_written_so() {
        let packet = Packet::udp("198.51.100.1:5000", "198.18.0.1:53").payload(b"abc");
        let mut bytes = packet.ip_bytes();
        set(&mut bytes, End::Source, NEW);
        assert_eq!(bytes, packet.from(NEW).ip_bytes());
    }

    #[test]
    fn a_changed_quote_leaves_a_good_error() {
        let about = Packet::tcp("198.51.100.1:5000", "198.18.0.1:80", Default::default());
        let error = about.error(*NEW.ip(), IcmpKind::PORT_UNREACHABLE, 999);
        let mut bytes = error.ip_bytes();
        in_quote(&mut bytes, |quote| set(quote, End::Source, NEW));
        let frame = [&[0; 12][..], &[8, 0], &bytes].concat();
        assert_eq!(faults(&frame), [""; 0]);
        assert_eq!(Packet::parse(&frame).unwrap().quote().unwrap().source, NEW);
    }
}
