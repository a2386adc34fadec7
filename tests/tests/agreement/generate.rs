//! Frames: packets of every kind that a NAT meets, between few enough ends that they meet again, with
//! everything a header may hold; and what damage makes of them.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::flow::{Direction, Flow, FlowKey, proto};
use vnet_common::tcp::REACH;
use vnet_tests::datapath::{KEPT, OUTSIDE};
use vnet_tests::packet::{Body, Icmp, IcmpKind, Packet, Protocol, Sum, TcpFlags};

use crate::random::Random;

const SENDERS: [Ipv4Addr; 8] = [
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(10, 255, 255, 255),
    OUTSIDE,
    KEPT,
    Ipv4Addr::new(192, 168, 5, 5),
    Ipv4Addr::new(8, 8, 8, 8),
];
const RECEIVERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(203, 0, 113, 5),
    Ipv4Addr::new(203, 0, 113, 6),
    Ipv4Addr::new(223, 255, 255, 255),
    Ipv4Addr::new(224, 0, 0, 251),
];
const PORTS: [u16; 8] = [0, 53, 1023, 1024, 4000, 4001, 40_000, 65_535];
const FLAGS: [TcpFlags; 9] = [
    TcpFlags::SYN,
    TcpFlags::SYN,
    TcpFlags(0x12),
    TcpFlags::ACK,
    TcpFlags(0x18),
    TcpFlags(0x11),
    TcpFlags::RST,
    TcpFlags(0x14),
    TcpFlags(0),
];

/// A packet from inside, or of the router's own.
pub(crate) fn outward(random: &mut Random) -> Packet {
    let from = SocketAddrV4::new(random.of(&SENDERS), random.of(&PORTS));
    let to = SocketAddrV4::new(random.of(&RECEIVERS), random.of(&PORTS));
    let packet = any(random, from, to);
    dressed(random, packet)
}

/// A packet from outside that answers nobody.
pub(crate) fn inward(random: &mut Random) -> Packet {
    let from = SocketAddrV4::new(random.of(&RECEIVERS), random.of(&PORTS));
    let to = SocketAddrV4::new(random.of(&[OUTSIDE, OUTSIDE, KEPT]), random.of(&PORTS));
    let packet = any(random, from, to);
    dressed(random, packet)
}

fn any(random: &mut Random, from: SocketAddrV4, to: SocketAddrV4) -> Packet {
    match random.below(12) {
        0..4 => {
            let numbers = (random.word(), random.word());
            Packet::tcp(from, to, flags(random)).numbers(numbers.0, numbers.1)
        }
        4..7 => Packet::udp(from, to),
        7 | 8 => Packet::ping(*from.ip(), *to.ip(), from.port()),
        9 => Packet::pong(*from.ip(), *to.ip(), from.port()),
        10 => {
            let kind = IcmpKind { kind: random.byte() % 20, code: random.byte() % 5 };
            Packet::icmp(*from.ip(), *to.ip(), Icmp::echo(kind, random.half(), random.half()))
        }
        _ => {
            let protocol = random.of(&[Protocol::GRE, Protocol::SCTP, Protocol(0), Protocol(136)]);
            let length = random.below(40);
            Packet::raw(*from.ip(), *to.ip(), protocol, &random.bytes(length))
        }
    }
}

fn flags(random: &mut Random) -> TcpFlags {
    if random.one_in(8) { TcpFlags(random.byte()) } else { random.of(&FLAGS) }
}

/// A packet with this tuple, as one that travels in this direction.
pub(crate) fn with_key(random: &mut Random, key: &FlowKey, direction: Direction) -> Packet {
    let from = SocketAddrV4::new(key.saddr.into(), key.sport);
    let to = SocketAddrV4::new(key.daddr.into(), key.dport);
    let packet = match (key.proto, direction) {
        (proto::TCP, _) => {
            Packet::tcp(from, to, flags(random)).numbers(random.word(), random.word())
        }
        (proto::UDP, _) => Packet::udp(from, to),
        (_, Direction::Out) => Packet::ping(*from.ip(), *to.ip(), key.sport),
        (_, Direction::In) => Packet::pong(*from.ip(), *to.ip(), key.sport),
    };
    dressed(random, packet)
}

/// The next packet of a conversation, with numbers that matter to it.
pub(crate) fn next(random: &mut Random, key: &FlowKey, entry: &Flow, twin: &Flow) -> Packet {
    let direction = if entry.direction == 0 { Direction::Out } else { Direction::In };
    let packet = with_key(random, key, direction);
    if key.proto != proto::TCP {
        return packet;
    }
    let mut near = |number: u32| {
        let far = random.word();
        let by = random.of(&[0, 0, 0, 1, u32::MAX, 100, REACH - 1, REACH, far]);
        number.wrapping_add(by)
    };
    let (seq, ack) = (near(entry.seq_end), near(twin.seq_end));
    packet.numbers(seq, ack)
}

/// The error of somebody on the way about the packets that this entry's packets answer.
pub(crate) fn error_about(random: &mut Random, key: &FlowKey, entry: &Flow) -> Packet {
    let travelled = if entry.direction == 0 { Direction::In } else { Direction::Out };
    let quoted = with_key(random, &key.reversed(), travelled);
    let kind = random.of(&[
        IcmpKind::PORT_UNREACHABLE,
        IcmpKind::FRAGMENTATION_NEEDED,
        IcmpKind::TIME_EXCEEDED,
        IcmpKind::PARAMETER_PROBLEM,
    ]);
    let from = random.of(&[Ipv4Addr::new(192, 0, 2, 7), key.saddr.into()]);
    let length = random.of(&[7, 8, 8, 12, 17, 18, 19, 20, 28, 64, 2000]);
    let quoted = if random.one_in(6) { quoted.fragments(64).swap_remove(0) } else { quoted };
    let error = quoted.error(from, kind, length);
    dressed_header(random, error)
}

/// Options, data, and everything else that must pass as it is.
fn dressed(random: &mut Random, mut packet: Packet) -> Packet {
    let length = random.of(&[0, 0, 1, 2, 7, 33, 200, 1400]);
    let data = random.bytes(length);
    let options = if random.one_in(3) { 4 * random.below(11) } else { 0 };
    match &mut packet.body {
        Body::Tcp(tcp) => {
            (tcp.window, tcp.urgent) = (random.half(), random.half());
            (tcp.options, tcp.payload) = (random.bytes(options), data);
        }
        Body::Udp(udp) => {
            udp.payload = data;
            udp.checksum = if random.one_in(6) { Sum::Absent } else { Sum::Right };
        }
        Body::Icmp(_) => packet = packet.payload(&data),
        Body::Raw(_) => (),
    }
    dressed_header(random, packet)
}

fn dressed_header(random: &mut Random, mut packet: Packet) -> Packet {
    if random.one_in(4) {
        let options = 4 * random.below(11);
        packet.ip.options = random.bytes(options);
    }
    (packet.ip.tos, packet.ip.id, packet.ip.ttl) = (random.byte(), random.half(), random.byte());
    packet.ip.dont_fragment = random.one_in(2);
    packet
}

/// The frame of a packet: whole, or a fragment of it, or tagged, or damaged.
pub(crate) fn frame(random: &mut Random, packet: Packet) -> Vec<u8> {
    let packet = match random.below(24) {
        0 => {
            let mut fragments = packet.fragments(random.of(&[8, 16, 64]));
            // Of a packet that carries nothing there are none.
            let one = random.below(fragments.len().max(1));
            if fragments.is_empty() { packet } else { fragments.swap_remove(one) }
        }
        1 => packet.vlan(random.half()),
        _ => packet,
    };
    let mut bytes = packet.bytes();
    if random.one_in(3) {
        damage(random, &mut bytes);
    }
    if random.one_in(4) {
        let padding = random.below(30);
        bytes.extend(random.bytes(padding));
    }
    bytes.resize(bytes.len().max(least(&bytes)), 0);
    bytes
}

/// Least bytes of a frame that the kernel tries a program on: Ethernet, and the IP header that its
/// EtherType promises.
pub(crate) fn least(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x86, 0xdd]) { 54 } else { 34 }
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    const IP: usize = 14;
    let l4 = IP + usize::from(bytes[IP] & 15) * 4;
    match random.below(10) {
        0 => {
            let bit = random.below((bytes.len() - IP) * 8);
            bytes[IP + bit / 8] ^= 1 << (bit % 8);
        }
        1 => bytes.truncate(random.below(bytes.len() + 1).max(IP + 20)),
        2 => bytes[IP + 2..IP + 4].copy_from_slice(&random.half().to_be_bytes()),
        3 => bytes[IP + 3] = bytes[IP + 3].wrapping_add(random.of(&[1, 255, 8, 248])),
        4 => bytes[IP + 2..IP + 4].fill(0),
        5 => bytes[IP] = random.byte() & 0x1f | 0x40,
        6 => bytes[IP + 6..IP + 8].copy_from_slice(&random.half().to_be_bytes()),
        7 => bytes[12..14].copy_from_slice(&random.of(&[
            [8, 6],
            [0x86, 0xdd],
            [0x88, 0xa8],
            [0, 60],
        ])),
        8 => {
            // A checksum field that is one of the two zeros: TCP's, UDP's or ICMP's.
            let at = l4 + random.of(&[16, 6, 2]);
            let zero = random.of(&[0, 0xff]);
            bytes.iter_mut().skip(at).take(2).for_each(|byte| *byte = zero);
        }
        _ => {
            let at = l4 + random.below(20);
            let any = random.byte();
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = any);
        }
    }
}
