//! Any packet to any target: what comes out is the packet that the harness would have made so from
//! scratch, and what was damaged is exactly as damaged as before.

use std::net::Ipv4Addr;

use vnet_common::flow::proto;
use vnet_ebpf::packet::{Kind, Packet};
use vnet_ebpf::rewrite::{Target, apply};

use crate::frame::{assert_elsewhere_equal, damage, damage_of_transport, is_nothing_but_zeros};
use crate::packet::{self as oracle, Body, Icmp, IcmpBody, Sum, faults};
use crate::{ETHERNET, Frame, look};

/// What stands before the frame: both addresses and both ports to write.
pub(crate) const WISH: usize = 12;

/// Judges a target and a frame.
pub fn rewrite(input: &[u8]) {
    let Some((wish, frame)) = input.split_at_checked(WISH) else { return };
    let frame = Frame(frame.to_vec());
    judge(wish, &frame);
    if let Some(repaired) = repaired(&frame) {
        judge(wish, &repaired);
    }
}

/// The same packet with right checksums, which no fuzzer guesses.
fn repaired(frame: &Frame) -> Option<Frame> {
    let mut packet = oracle::Packet::parse(&frame.0).ok()?;
    packet.ip.checksum = Sum::Right;
    match &mut packet.body {
        Body::Tcp(tcp) => tcp.checksum = Sum::Right,
        Body::Udp(udp) if udp.checksum != Sum::Absent => udp.checksum = Sum::Right,
        Body::Icmp(icmp) => icmp.checksum = Sum::Right,
        Body::Udp(_) | Body::Raw(_) => (),
    }
    let mut bytes = packet.bytes();
    bytes.extend(frame.0.get(bytes.len()..)?);
    Some(Frame(bytes))
}

fn judge(wish: &[u8], before: &Frame) {
    let Ok(packet) = look(before, ETHERNET) else { return };
    let target = target(wish, &packet);
    let mut after = before.clone();
    apply(&mut after, &packet, &target)
        .unwrap_or_else(|reason| panic!("{reason:?} is not for packets in memory: {packet:?}"));
    assert_elsewhere_equal(before, &after, &places(&packet));
    let [saddr, daddr] = [&target.saddr, &target.daddr];
    assert_eq!(after.part(packet.l3 + 12, packet.l3 + 20), [*saddr, *daddr].concat());
    same_damage(before, &after, &packet);
    made_from_scratch(before, &after, &packet, &target);
}

fn target(wish: &[u8], packet: &Packet) -> Target {
    let half = |at: usize| u16::from_be_bytes([wish[at], wish[at + 1]]);
    let [saddr, daddr] = [0, 4].map(|at| [wish[at], wish[at + 1], wish[at + 2], wish[at + 3]]);
    // A query has one identifier, and both ports are it.
    let dport = if packet.key.proto == proto::ICMP { half(8) } else { half(10) };
    Target { saddr, daddr, sport: half(8), dport }
}

/// What may change: addresses, ports, and the checksums that cover them.
fn places(packet: &Packet) -> Vec<(u32, u32)> {
    let mut places = vec![(packet.l3 + 10, 2), (packet.l3 + 12, 8)];
    match packet.kind {
        Kind::Tcp => places.extend([(packet.l4, 4), (packet.l4 + 16, 2)]),
        Kind::Udp => places.extend([(packet.l4, 4), (packet.l4 + 6, 2)]),
        Kind::Query | Kind::Reply => places.extend([(packet.l4 + 2, 2), (packet.l4 + 4, 2)]),
        _ => (),
    }
    places
}

fn same_damage(before: &Frame, after: &Frame, packet: &Packet) {
    let each = |judge: &dyn Fn(&Frame) -> u16, what: &str| {
        assert_eq!(judge(before), judge(after), "damage of {what}: {before:?} {after:?}");
    };
    let body = |frame: &Frame| frame.part(packet.l4, packet.end).to_vec();
    let transport = |frame: &Frame| {
        let addresses = frame.part(packet.l3 + 12, packet.l3 + 20);
        let length = (packet.end - packet.l4) as u16;
        damage_of_transport(addresses, packet.key.proto, length, &body(frame))
    };
    let absent = |frame: &Frame| frame.part(packet.l4 + 6, packet.l4 + 8) == [0, 0];
    each(&|frame| damage(frame.part(packet.l3, packet.l4)), "the IP header");
    match packet.kind {
        Kind::Tcp => each(&transport, "the TCP segment"),
        Kind::Udp if absent(before) => assert!(absent(after), "no checksum stays none"),
        Kind::Udp => {
            each(&transport, "the UDP datagram");
            assert!(!absent(after), "a checksum of zero would mean that there is none");
        }
        Kind::Query | Kind::Reply => each(&|frame| damage(&body(frame)), "the ping"),
        _ => (),
    }
}

/// The harness reads the packet, changes it in its own words and writes it anew.
fn made_from_scratch(before: &Frame, after: &Frame, packet: &Packet, target: &Target) {
    let Ok(mut made) = oracle::Packet::parse(&before.0) else { return };
    let end = packet.end as usize;
    if made.bytes() != before.0[..end] || !faults(&before.0).is_empty() {
        // It is damaged, or says something that the harness has no words for, such as a reserved
        // bit: [`same_damage`] has judged it.
        return;
    }
    made.ip.source = Ipv4Addr::from(target.saddr);
    made.ip.destination = Ipv4Addr::from(target.daddr);
    match &mut made.body {
        Body::Tcp(tcp) => (tcp.source, tcp.destination) = (target.sport, target.dport),
        Body::Udp(udp) => (udp.source, udp.destination) = (target.sport, target.dport),
        Body::Icmp(Icmp { body: IcmpBody::Echo { id, .. }, .. }) => *id = target.sport,
        Body::Icmp(_) | Body::Raw(_) => return,
    }
    let wanted = made.bytes();
    if packet.kind == Kind::Reply && is_nothing_but_zeros(&wanted[packet.l4 as usize..]) {
        return;
    }
    assert_eq!(after.0[..end], wanted, "not as if made so: {made}");
}
