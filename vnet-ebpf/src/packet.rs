//! What is it: facts and offsets of an IPv4 packet, never pointers.
//!
//! Lengths are checked here, once; later stages see only a [`Packet`].

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{FlowKey, proto},
    tcp::{Segment, flags},
};

/// Something with bytes at offsets: the kernel's packet, or a slice on the host.
///
/// Headers are made of 32-bit words, and are read so: a word is as it lies in memory (network
/// order), and one instruction where four bytes would be ten.
pub trait Bytes {
    /// `N` words at `offset`, or nothing where the packet ends before.
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]>;

    /// Half a word at `offset`, or nothing where the packet ends before.
    fn half(&self, offset: u32) -> Option<u16>;
}

/// The upper (first) 16 bits of a word, in host order.
#[inline(always)]
pub(crate) fn first(word: u32) -> u16 {
    (u32::from_be(word) >> 16) as u16
}

/// The lower (second) 16 bits of a word, in host order.
#[inline(always)]
pub(crate) fn second(word: u32) -> u16 {
    u32::from_be(word) as u16
}

/// The bit that says that more fragments follow (RFC 791).
const MORE: u16 = 0x2000;

/// Bytes of an IPv4 header without options.
pub const IPV4_HEADER: u32 = 20;

/// What a packet is to a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP query (echo, timestamp, information or mask request): opens a conversation.
    Query,
    /// ICMP reply to one.
    Reply,
    /// ICMP error that quotes another packet (RFC 792).
    Error,
    /// Any other ICMP.
    OtherIcmp,
    /// A fragment of one of the above that does not begin with its whole transport header.
    Fragment,
    /// Any other protocol.
    Other,
}

/// Whether a packet is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// It is.
    Whole,
    /// The first fragment of a datagram, which has the ports.
    First,
    /// Any other fragment.
    Later,
}

/// Facts about an IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Its own 5-tuple; ports are 0 where [`Packet::kind`] has none.
    pub key: FlowKey,
    /// What it is.
    pub kind: Kind,
    /// Whether it is whole.
    pub part: Part,
    /// Identification: fragments of a datagram have the same (RFC 791).
    pub id: u16,
    /// Where in its datagram a fragment begins, in bytes behind the IP header.
    pub offset: u16,
    /// Offset of the IP header.
    pub l3: u32,
    /// Offset of what the IP header carries.
    pub l4: u32,
    /// Offset of the payload: all before it are headers that every segment of a GSO packet has.
    pub payload: u32,
    /// Offset of the packet's end: what follows is padding.
    pub end: u32,
    /// TCP's part of the facts.
    pub segment: Segment,
}

impl Packet {
    /// One that was not looked at.
    pub const UNKNOWN: Self = Self {
        key: FlowKey {
            saddr: [0; 4],
            daddr: [0; 4],
            sport: 0,
            dport: 0,
            proto: 0,
            reserved: [0; 3],
        },
        kind: Kind::Other,
        part: Part::Whole,
        id: 0,
        offset: 0,
        l3: 0,
        l4: 0,
        payload: 0,
        end: 0,
        segment: Segment { flags: 0, seq: 0, ack: 0, end: 0 },
    };
}

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Header {
    /// Header length in bytes.
    pub length: u32,
    /// Total length in bytes; 0 in a GSO packet larger than 64 KiB.
    pub total: u32,
    /// Identification.
    pub id: u16,
    /// More fragments follow.
    pub more: bool,
    /// Where in its datagram it begins, in bytes; where that is not 0, no transport header follows.
    pub offset: u16,
    /// Protocol.
    pub proto: u8,
    /// Source.
    pub saddr: Ipv4,
    /// Destination.
    pub daddr: Ipv4,
}

impl Ipv4Header {
    /// Reads the header at `offset`; `None` when it is cut short or contradicts itself.
    #[inline(always)]
    pub fn read(bytes: &impl Bytes, offset: u32) -> Option<Self> {
        let words: [u32; 5] = bytes.words(offset)?;
        let start = u32::from_be(words[0]);
        let (length, total) = ((start >> 24 & 0x0f) * 4, start & 0xffff);
        if start >> 28 != 4 || length < IPV4_HEADER || (total != 0 && total < length) {
            return None;
        }
        let fragment = second(words[1]);
        Some(Self {
            length,
            total,
            id: first(words[1]),
            more: fragment & MORE != 0,
            offset: (fragment & 0x1fff) << 3,
            proto: (u32::from_be(words[2]) >> 16) as u8,
            saddr: words[3].to_ne_bytes(),
            daddr: words[4].to_ne_bytes(),
        })
    }
}

/// Parses the IPv4 packet whose header starts at `l3` into `packet`; `length` is that of the whole
/// frame.
#[inline(always)]
pub fn parse(bytes: &impl Bytes, packet: &mut Packet, l3: u32, length: u32) -> Result<(), Reason> {
    let ip = Ipv4Header::read(bytes, l3).ok_or(Reason::Malformed)?;
    if l3 + ip.total > length {
        return Err(Reason::Malformed);
    }
    packet.key.saddr = ip.saddr;
    packet.key.daddr = ip.daddr;
    packet.key.proto = ip.proto;
    packet.l3 = l3;
    packet.l4 = l3 + ip.length;
    packet.payload = packet.l4;
    packet.end = if ip.total == 0 { length } else { l3 + ip.total };
    if packet.l4 > packet.end {
        return Err(Reason::Malformed);
    }
    packet.id = ip.id;
    if ip.more || ip.offset != 0 {
        return fragment(bytes, packet, &ip).ok_or(Reason::Malformed);
    }
    transport(bytes, packet, ip.proto).ok_or(Reason::Malformed)
}

/// What the IP header carries.
#[inline(always)]
fn transport(bytes: &impl Bytes, packet: &mut Packet, proto: u8) -> Option<()> {
    let end = packet.end;
    match proto {
        proto::TCP => tcp(bytes, packet, end),
        proto::UDP => udp(bytes, packet, end),
        proto::ICMP => icmp(bytes, packet, end),
        _ => Some(()),
    }
}

/// All but the last fragment are of whole 8 bytes, and none goes past the longest packet there is
/// (RFC 791). A first fragment is what its transport header says; one that is too short to have it
/// whole is a fragment like any other, but may have ports, which tell whom it is for.
#[inline(always)]
fn fragment(bytes: &impl Bytes, packet: &mut Packet, ip: &Ipv4Header) -> Option<()> {
    let size = packet.end - packet.l4;
    let whole = !ip.more || size & 7 == 0;
    if size == 0 || !whole || u32::from(ip.offset) + size > u32::from(u16::MAX) {
        return None;
    }
    packet.part = if ip.offset == 0 { Part::First } else { Part::Later };
    packet.offset = ip.offset;
    if ip.offset == 0 && transport(bytes, packet, ip.proto).is_some() {
        return Some(());
    }
    packet.payload = packet.l4;
    if matches!(ip.proto, proto::TCP | proto::UDP | proto::ICMP) {
        packet.kind = Kind::Fragment;
    }
    if ip.offset == 0 && matches!(ip.proto, proto::TCP | proto::UDP) {
        let [ports] = bytes.words::<1>(packet.l4)?;
        packet.key.sport = first(ports);
        packet.key.dport = second(ports);
    }
    Some(())
}

#[inline(always)]
pub(crate) fn tcp(bytes: &impl Bytes, packet: &mut Packet, end: u32) -> Option<()> {
    let words: [u32; 5] = bytes.words(packet.l4)?;
    let control = u32::from_be(words[3]) >> 16;
    let header = (control >> 12) * 4;
    packet.payload = packet.l4 + header;
    if header < 20 || packet.payload > end {
        return None;
    }
    packet.kind = Kind::Tcp;
    packet.key.sport = first(words[0]);
    packet.key.dport = second(words[0]);
    let bits = control as u8;
    let used = u32::from(bits & flags::SYN != 0) + u32::from(bits & flags::FIN != 0);
    packet.segment.flags = bits;
    packet.segment.seq = u32::from_be(words[1]);
    packet.segment.ack = u32::from_be(words[2]);
    packet.segment.end = packet.segment.seq.wrapping_add(end - packet.payload).wrapping_add(used);
    Some(())
}

#[inline(always)]
pub(crate) fn udp(bytes: &impl Bytes, packet: &mut Packet, end: u32) -> Option<()> {
    let words: [u32; 2] = bytes.words(packet.l4)?;
    packet.payload = packet.l4 + 8;
    if packet.payload > end {
        return None;
    }
    packet.kind = Kind::Udp;
    packet.key.sport = first(words[0]);
    packet.key.dport = second(words[0]);
    Some(())
}

#[inline(always)]
fn icmp(bytes: &impl Bytes, packet: &mut Packet, end: u32) -> Option<()> {
    let words: [u32; 2] = bytes.words(packet.l4)?;
    packet.payload = packet.l4 + 8;
    if packet.payload > end {
        return None;
    }
    packet.kind = icmp_kind((u32::from_be(words[0]) >> 24) as u8);
    if matches!(packet.kind, Kind::Query | Kind::Reply) {
        packet.key.sport = first(words[1]);
        packet.key.dport = first(words[1]);
    }
    Some(())
}

/// Ports of a quoted packet: all of a transport header that a quote surely holds (RFC 792). An ICMP
/// packet must be a `query`.
#[inline(always)]
pub fn quoted_ports(bytes: &impl Bytes, proto: u8, l4: u32, query: Kind) -> Option<(u16, u16)> {
    let words: [u32; 2] = bytes.words(l4)?;
    match proto {
        proto::TCP | proto::UDP => Some((first(words[0]), second(words[0]))),
        proto::ICMP => {
            let kind = icmp_kind((u32::from_be(words[0]) >> 24) as u8);
            let id = first(words[1]);
            (kind == query).then_some((id, id))
        }
        _ => Some((0, 0)),
    }
}

/// Kind of an ICMP message by its type (RFC 792, RFC 950).
#[inline(always)]
#[must_use]
pub fn icmp_kind(kind: u8) -> Kind {
    match kind {
        0 | 14 | 16 | 18 => Kind::Reply,
        8 | 13 | 15 | 17 => Kind::Query,
        3 | 11 | 12 => Kind::Error,
        _ => Kind::OtherIcmp,
    }
}

impl Bytes for [u8] {
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let start = usize::try_from(offset).ok()?;
        let bytes = self.get(start..start.checked_add(N * 4)?)?;
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().ok()?);
        }
        Some(words)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        let start = usize::try_from(offset).ok()?;
        let bytes = self.get(start..start.checked_add(2)?)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    }
}
