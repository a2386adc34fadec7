//! What is it: facts and offsets of an IPv6 packet, never pointers.
//!
//! Extension headers are walked, [`EXTENSIONS`] of them at most, and as far as a frame is read. A
//! translation by address needs no more of a packet than where an ICMPv6 error's quote is, and what
//! must never be touched: what neighbours say to each other.

use vnet_common::{Ipv6, account::Reason, flow::proto};

use crate::packet::{Bytes, Kind};

/// Bytes of an IPv6 header.
pub const IPV6_HEADER: u32 = 40;
/// Where its source is.
pub const SOURCE: u32 = 8;
/// Where its destination is.
pub const DESTINATION: u32 = 24;
/// Bytes of an ICMPv6 header, before what an error quotes.
pub const ICMP_HEADER: u32 = 8;
/// Extension headers that are walked.
pub const EXTENSIONS: u32 = 8;
/// ICMPv6 (RFC 4443).
pub const ICMP: u8 = 58;
/// Last offset of a header that can be read, whole, and the IPv6 header an error quotes.
const REACH: u32 = 0xff - 8 - IPV6_HEADER;

/// An IPv6 address: words as they lie in memory.
pub type Words = [u32; 4];

/// Numbers of headers that may follow an IPv6 header (IANA ipv6-parameters, protocol-numbers).
mod header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// What a packet is to prefix translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind6 {
    /// Nothing special.
    Plain,
    /// ICMPv6 error: it quotes another packet (RFC 4443).
    Error,
    /// Neighbour discovery or multicast listener discovery: never leaves its link.
    Link,
}

/// An address as maps and people have it.
#[inline(always)]
#[must_use]
pub fn bytes(addr: &Words) -> Ipv6 {
    let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = addr.map(u32::to_ne_bytes);
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// The same as it lies in memory.
#[inline(always)]
#[must_use]
pub fn words(addr: &Ipv6) -> Words {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *addr;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_ne_bytes)
}

/// Facts about an IPv6 packet.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Packet6 {
    /// Source.
    pub saddr: Words,
    /// Destination.
    pub daddr: Words,
    /// Offset of the IPv6 header.
    pub l3: u32,
    /// Offset of what follows the headers that were walked.
    pub l4: u32,
    /// Offset of the payload: all before it are headers that every segment of a GSO packet has.
    pub payload: u32,
    /// Offset of the packet's end: what follows is padding.
    pub end: u32,
    /// Offset of its fragment header; 0 = none.
    pub fragment: u32,
    /// Number of the header at `l4`.
    pub proto: u8,
    /// What it is.
    pub kind: Kind6,
    /// 1 in a fragment other than the first: at `l4` is the middle of something.
    pub later_fragment: u8,
    /// Always zero.
    pub reserved: u8,
}

impl Packet6 {
    /// One that was not looked at.
    pub const UNKNOWN: Self = Self {
        saddr: [0; 4],
        daddr: [0; 4],
        l3: 0,
        l4: 0,
        payload: 0,
        end: 0,
        fragment: 0,
        proto: 0,
        kind: Kind6::Plain,
        later_fragment: 0,
        reserved: 0,
    };
}

/// Reads the header at `l3`; `length` is that of the whole frame.
#[inline(always)]
pub fn begin(
    bytes: &(impl Bytes + ?Sized),
    packet: &mut Packet6,
    l3: u32,
    length: u32,
) -> Result<(), Reason> {
    let words: [u32; 2] = bytes.words(l3).ok_or(Reason::Malformed)?;
    let start = u32::from_be(words[1]);
    let total = start >> 16;
    // A packet with a jumbo payload (RFC 2675), or a GSO packet as large, says 0.
    packet.end = if total == 0 { length } else { l3 + IPV6_HEADER + total };
    if u32::from_be(words[0]) >> 28 != 6 || packet.end > length {
        return Err(Reason::Malformed);
    }
    let (saddr, daddr) = addresses(bytes, l3).ok_or(Reason::Malformed)?;
    (packet.saddr, packet.daddr) = (saddr, daddr);
    packet.l3 = l3;
    packet.l4 = l3 + IPV6_HEADER;
    packet.payload = packet.l4;
    packet.proto = (start >> 8) as u8;
    packet.kind = Kind6::Plain;
    packet.later_fragment = 0;
    packet.fragment = 0;
    Ok(())
}

/// Source and destination of the header at `l3`.
#[inline(always)]
pub fn addresses(bytes: &(impl Bytes + ?Sized), l3: u32) -> Option<(Words, Words)> {
    Some((bytes.words(l3 + 8)?, bytes.words(l3 + 24)?))
}

/// Whether an extension header is next.
#[inline(always)]
#[must_use]
pub fn extended(packet: &Packet6) -> bool {
    use header::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
    let known = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION];
    packet.later_fragment == 0 && known.contains(&packet.proto)
}

/// Walks over one extension header; `None` when there is none, or it cannot be read.
#[inline(always)]
pub fn step(bytes: &(impl Bytes + ?Sized), packet: &mut Packet6) -> Option<()> {
    if !extended(packet) {
        return None;
    }
    let [next, length] = bytes.half(packet.l4)?.to_ne_bytes();
    let size = match packet.proto {
        header::FRAGMENT => {
            let offset = u16::from_be(bytes.half(packet.l4 + 2)?) >> 3;
            packet.later_fragment = u8::from(offset != 0);
            packet.fragment = packet.l4;
            8
        }
        header::AUTHENTICATION => (u32::from(length) + 2) * 4,
        _ => (u32::from(length) + 1) * 8,
    };
    packet.l4 += size;
    packet.payload = packet.l4;
    packet.proto = next;
    Some(())
}

/// Looks at what follows the headers that were walked.
#[inline(always)]
pub fn finish(bytes: &(impl Bytes + ?Sized), packet: &mut Packet6) -> Result<(), Reason> {
    if packet.l4 > packet.end {
        return Err(Reason::Malformed);
    }
    if extended(packet) || packet.l4 > REACH {
        return Err(Reason::Extensions);
    }
    if packet.later_fragment != 0 {
        return Ok(());
    }
    match packet.proto {
        ICMP => {
            let [kind, _] = bytes.half(packet.l4).ok_or(Reason::Malformed)?.to_ne_bytes();
            packet.kind = icmp_kind(kind);
            packet.payload = packet.l4 + 8;
        }
        proto::UDP => packet.payload = packet.l4 + 8,
        proto::TCP => match bytes.half(packet.l4 + 12) {
            Some(offset) => packet.payload = packet.l4 + u32::from(u16::from_be(offset) >> 12) * 4,
            None if packet.fragment == 0 => return Err(Reason::Malformed),
            // The rest of it is in the next fragment.
            None => {}
        },
        _ => {}
    }
    Ok(())
}

/// Kind of an ICMPv6 message by its type (RFC 4443 section 2.1, RFC 4861, RFC 2710, RFC 3810).
#[inline(always)]
#[must_use]
pub fn icmp_kind(kind: u8) -> Kind6 {
    match kind {
        0..128 => Kind6::Error,
        130..=137 | 143 => Kind6::Link,
        _ => Kind6::Plain,
    }
}

/// What an ICMPv6 message is to a NAT: only echo opens conversations (RFC 4443 section 4).
#[inline(always)]
#[must_use]
pub fn conversation(kind: u8) -> Kind {
    match kind {
        128 => Kind::Query,
        129 => Kind::Reply,
        0..128 => Kind::Error,
        _ => Kind::OtherIcmp,
    }
}

/// Whether packets with this address stay on their link, or go to many: unspecified and loopback
/// (::/127), link-local (fe80::/10) and multicast (ff00::/8).
#[inline(always)]
#[must_use]
pub fn stays(addr: &Words) -> bool {
    let first = u32::from_be(addr[0]);
    let small = addr[0] | addr[1] | addr[2] | (u32::from_be(addr[3]) >> 1);
    first >> 24 == 0xff || first >> 22 == 0xfe80 >> 6 || small == 0
}
