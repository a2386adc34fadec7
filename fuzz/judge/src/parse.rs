//! The parser: no bytes make it panic, its facts are those of the harness's own parser, and nothing
//! behind the packet's end has a say.

use vnet_common::account::Reason;
use vnet_common::flow::proto;
use vnet_ebpf::packet::{self, Kind, Packet};

use crate::packet::{self as oracle, Body, Ether, Icmp, IcmpBody, Malformed, Protocol};
use crate::{ETHERNET, Frame};

/// Judges a frame, once with a link header and once, as on a tunnel, without.
pub fn parse(frame: &[u8]) {
    let frame = Frame(frame.to_vec());
    for l3 in [0, ETHERNET] {
        if l3 <= frame.length() {
            judge(&frame, l3);
        }
    }
}

/// What the datapath's parser says of a frame.
pub fn look(frame: &Frame, l3: u32) -> Result<Packet, Reason> {
    let mut packet = Packet::UNKNOWN;
    packet::parse(frame, &mut packet, l3, frame.length()).map(|()| packet)
}

fn judge(frame: &Frame, l3: u32) {
    let ours = look(frame, l3);
    if let Ok(packet) = &ours {
        in_order(frame, packet);
    }
    if total(frame, l3) == Some(0) {
        // A GSO packet over 64 KiB has no length of its own; the harness has no such packets.
        return;
    }
    match (&ours, oracle::Packet::parse_ip(Ether::default(), frame.part(l3, frame.length()))) {
        (Ok(packet), Ok(known)) => same_facts(packet, &known),
        (Ok(packet), Err(why)) => panic!("{why} was taken for {packet:?}"),
        (Err(reason), known) => refused_rightly(*reason, known),
    }
    if let Ok(packet) = &ours {
        the_end_is_the_end(frame, packet);
    }
}

fn total(frame: &Frame, l3: u32) -> Option<u16> {
    frame.part(l3 + 2, l3 + 4).try_into().ok().map(u16::from_be_bytes)
}

fn in_order(frame: &Frame, packet: &Packet) {
    let Packet { l3, l4, payload, end, .. } = *packet;
    assert!(l3 + 20 <= l4 && l4 <= payload, "{packet:?}");
    assert!(payload <= end && end <= frame.length(), "of {} bytes: {packet:?}", frame.0.len());
    assert_eq!(packet.key.saddr, frame.part(l3 + 12, l3 + 16), "{packet:?}");
    assert_eq!(packet.key.daddr, frame.part(l3 + 16, l3 + 20), "{packet:?}");
    assert_eq!([packet.key.proto], frame.part(l3 + 9, l3 + 10), "{packet:?}");
}

/// The datapath and the harness have understood the same.
fn same_facts(packet: &Packet, known: &oracle::Packet) {
    let (kind, sport, dport) = match &known.body {
        Body::Tcp(tcp) => (Kind::Tcp, tcp.source, tcp.destination),
        Body::Udp(udp) => (Kind::Udp, udp.source, udp.destination),
        Body::Icmp(icmp) => icmp_facts(icmp),
        Body::Raw(bytes) if known.ip.is_fragment() => fragment_facts(known, bytes),
        // The harness wants UDP's own length to be right, which is none of a NAT's business.
        Body::Raw(bytes) if known.ip.protocol == Protocol::UDP && bytes.len() >= 8 => {
            (Kind::Udp, word(bytes, 0), word(bytes, 2))
        }
        Body::Raw(_) => (Kind::Other, 0, 0),
    };
    assert_eq!((packet.kind, packet.key.sport, packet.key.dport), (kind, sport, dport), "{known}");
    if let Body::Tcp(tcp) = &known.body {
        let segment = &packet.segment;
        assert_eq!((segment.flags, segment.seq), (tcp.flags.0, tcp.sequence), "{known}");
        assert_eq!(segment.ack, tcp.acknowledgement, "{known}");
        let controls = u32::from(tcp.flags.0 & 2 != 0) + u32::from(tcp.flags.0 & 1 != 0);
        let used = tcp.payload.len() as u32 + controls;
        assert_eq!(segment.end, tcp.sequence.wrapping_add(used), "{known}");
    }
}

fn icmp_facts(icmp: &Icmp) -> (Kind, u16, u16) {
    let id = match &icmp.body {
        IcmpBody::Echo { id, .. } => *id,
        IcmpBody::Other { rest, .. } => (rest >> 16) as u16,
    };
    match icmp.kind.kind {
        0 | 14 | 16 | 18 => (Kind::Reply, id, id),
        8 | 13 | 15 | 17 => (Kind::Query, id, id),
        3 | 11 | 12 => (Kind::Error, 0, 0),
        _ => (Kind::OtherIcmp, 0, 0),
    }
}

/// A first fragment is what its transport header says, if that is whole. Any other is a fragment;
/// of a protocol without ports it is like all of that protocol.
fn fragment_facts(known: &oracle::Packet, bytes: &[u8]) -> (Kind, u16, u16) {
    let first = known.ip.fragment_offset == 0;
    let ports = if first && bytes.len() >= 4 { (word(bytes, 0), word(bytes, 2)) } else { (0, 0) };
    match known.ip.protocol {
        Protocol::TCP if first && has_tcp_header(bytes) => (Kind::Tcp, ports.0, ports.1),
        Protocol::UDP if first && bytes.len() >= 8 => (Kind::Udp, ports.0, ports.1),
        Protocol::TCP | Protocol::UDP => (Kind::Fragment, ports.0, ports.1),
        Protocol::ICMP if first && bytes.len() >= 8 => match bytes[0] {
            0 | 14 | 16 | 18 => (Kind::Reply, word(bytes, 4), word(bytes, 4)),
            8 | 13 | 15 | 17 => (Kind::Query, word(bytes, 4), word(bytes, 4)),
            3 | 11 | 12 => (Kind::Error, 0, 0),
            _ => (Kind::OtherIcmp, 0, 0),
        },
        Protocol::ICMP => (Kind::Fragment, 0, 0),
        Protocol(_) => (Kind::Other, 0, 0),
    }
}

fn has_tcp_header(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && (20..=bytes.len()).contains(&(usize::from(bytes[12] >> 4) * 4))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// What is refused is cut short or contradicts itself.
fn refused_rightly(reason: Reason, known: Result<oracle::Packet, Malformed>) {
    assert_eq!(reason, Reason::Malformed);
    let Ok(known) = known else { return };
    let Body::Raw(_) = &known.body else { panic!("refused, but a good packet: {known}") };
    let Protocol(protocol) = known.ip.protocol;
    let has_header = matches!(protocol, proto::ICMP | proto::TCP | proto::UDP);
    let bad_fragment = known.ip.is_fragment() && !is_sound_fragment(&known);
    let cut_short = has_header && !known.ip.is_fragment();
    assert!(cut_short || bad_fragment, "refused for no reason: {known}");
}

/// Whole 8 bytes but for the last, and within the longest packet there is.
fn is_sound_fragment(known: &oracle::Packet) -> bool {
    let size = known.data().len();
    let whole = !known.ip.more_fragments || size.is_multiple_of(8);
    size > 0 && whole && usize::from(known.ip.fragment_offset) * 8 + size <= 0xffff
}

/// Padding changes nothing, and a packet that ends earlier than it says is none.
fn the_end_is_the_end(frame: &Frame, packet: &Packet) {
    let mut bare = frame.clone();
    bare.0.truncate(packet.end as usize);
    let same = look(&bare, packet.l3).unwrap_or_else(|_| panic!("padding was needed: {packet:?}"));
    assert_eq!(format!("{same:?}"), format!("{packet:?}"), "padding had a say");
    bare.0.pop();
    assert_eq!(look(&bare, packet.l3).err(), Some(Reason::Malformed), "cut short: {packet:?}");
}
