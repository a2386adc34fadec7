//! The shortcut of routed conversations, packet by packet: those that nobody translates, and those of IPv6.
//! What leaves shows the way, both directions have to, and the other's way back has to lead here.

use std::net::Ipv6Addr;

use vnet_common::account::Reason;
use vnet_common::path::{Path, PathKey, flag, written};
use vnet_common::policy::{Config, Link, role};
use vnet_common::shortcut::Hop;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::link::Port;
use vnet_tests::packet::Mac;
use vnet_tests::packet6::{ETHER_TYPE, Packet6};
use vnet_tests::test_run::Context;

use crate::shortcut::{now, way};
use crate::{nat66, npt};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 2);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 2);
const C: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
/// The next station on either side.
pub(crate) const NEXT: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;

/// Both devices, as the control plane has them.
fn managed(datapath: &mut Datapath) {
    let ports = [(datapath.inside.clone(), role::INSIDE), (datapath.uplink.clone(), role::UPLINK)];
    for (port, roles) in ports {
        datapath.role(port.index, roles);
        let mut links = datapath.hash::<u32, Link>("links");
        let link = links.get(&port.index, 0).expect("it was just written");
        links.insert(port.index, Link { mac: port.mac.0, ..link }, 0).expect("links has room");
        datapath.exit(port.index);
    }
}

pub(crate) fn datapath() -> Datapath {
    let mut datapath = Datapath::new();
    managed(&mut datapath);
    datapath
}

fn there() -> Packet6 {
    Packet6::udp((A, 4000), (B, 5000), b"question")
}

fn back() -> Packet6 {
    Packet6::udp((B, 5000), (A, 4000), b"answer")
}

fn framed(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    [&to.0, &from.0, &ETHER_TYPE.to_be_bytes()[..], packet].concat()
}

/// The context where a packet leaves that has come in by the other device.
pub(crate) fn leaving(from: &Port, by: &Port) -> Context {
    Context { ifindex: by.index, ingress_ifindex: from.index, ..Context::default() }
}

/// Lets a packet leave as the kernel would have sent it.
#[track_caller]
fn leaves(datapath: &Datapath, (from, by): (&Port, &Port), packet: &Packet6, end: Reason) {
    let frame = framed(by.mac, NEXT, &packet.bytes());
    datapath.judged_frame(Hook::Out, &leaving(from, by), &frame, end);
}

pub(crate) fn outward(datapath: &Datapath) -> (&Port, &Port) {
    (&datapath.inside, &datapath.uplink)
}

pub(crate) fn inward(datapath: &Datapath) -> (&Port, &Port) {
    (&datapath.uplink, &datapath.inside)
}

/// Both directions have passed.
fn shown(datapath: &Datapath) {
    leaves(datapath, outward(datapath), &there(), Reason::Ipv6);
    leaves(datapath, inward(datapath), &back(), Reason::Ipv6);
}

/// What comes of a packet that comes in here, at traffic control and by XDP: the same, where it is taken.
#[track_caller]
pub(crate) fn enters(datapath: &Datapath, port: &Port, packet: &Packet6, end: Reason) -> Packet6 {
    enters_as(datapath, port, &packet.bytes(), end)
}

#[track_caller]
fn enters_as(datapath: &Datapath, port: &Port, packet: &[u8], end: Reason) -> Packet6 {
    let frame = framed(Mac::default(), port.mac, packet);
    let context = Context { ifindex: port.index, ..Context::default() };
    let left = datapath.judged_frame(Hook::In, &context, &frame, end);
    let early = match end {
        Reason::ShortcutRouted => Some(Reason::XdpRouted),
        Reason::ShortcutOut => Some(Reason::XdpOut),
        Reason::ShortcutIn => Some(Reason::XdpIn),
        _ => None,
    };
    let sent = datapath.early(port, &frame, early);
    if early.is_some() {
        assert_eq!(left, sent, "XDP makes the same of it");
    }
    Packet6::read_frame(&left).expect("still a packet")
}

/// A packet that takes the shortcut untranslated, where it comes in.
pub(crate) fn routed(datapath: &mut Datapath) -> (Context, Vec<u8>) {
    managed(datapath);
    shown(datapath);
    let port = &datapath.inside;
    let context = Context { ifindex: port.index, ..Context::default() };
    (context, framed(Mac::default(), port.mac, &there().bytes()))
}

fn key((saddr, sport): (Ipv6Addr, u16), (daddr, dport): (Ipv6Addr, u16)) -> PathKey {
    let (saddr, daddr) = (saddr.octets(), daddr.octets());
    PathKey { saddr, daddr, sport, dport, proto: 17, reserved: [0; 3] }
}

/// What the programs make of a key.
fn check(key: &PathKey) -> u32 {
    let words = [&key.saddr[..], &key.daddr, &key.sport.to_ne_bytes(), &key.dport.to_ne_bytes()];
    let bytes = [&words.concat()[..], &[key.proto, 0, 0, 0]].concat();
    let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("a word")));
    words.fold(1, |sum: u32, word| (sum ^ word).wrapping_mul(0x9e37_79b1))
}

/// Notes the way of the answers to a conversation that was seen to leave translated, and accepts both: the
/// mark that says so of an answer cannot be given to the kernel here, and `wire` does it.
fn answered(datapath: &mut Datapath, from: (Ipv6Addr, u16), to: (Ipv6Addr, u16)) {
    const HOP: u16 = 4000;
    let out_key = key(from, to);
    let out: Path = datapath.hash("paths").get(&out_key, 0).expect("it was seen to leave");
    let (inside, uplink) = (datapath.inside.clone(), datapath.uplink.clone());
    let hop = Hop {
        device: inside.index,
        from: uplink.index,
        dmac: NEXT.0,
        smac: inside.mac.0,
        header: 14,
        came: 14,
        to: uplink.mac.0,
        noted: Hop::stamp(now()),
        ..Hop::default()
    };
    datapath.array("hops").set(u32::from(HOP), hop, 0).expect("there is such a number");
    let flow = datapath.flow(&out.flow).map(|flow| flow.twin(out.flow.proto)).unwrap_or_default();
    let back_key = out_key.twin(&out);
    let back = Path {
        way: way(HOP),
        last_seen: now(),
        addr: out_key.saddr,
        port: out_key.sport,
        written: written::DESTINATION,
        flags: flag::ACCEPTED,
        first_seen: out.first_seen,
        flow,
        check: check(&back_key),
        ..Path::default()
    };
    let out = Path { flags: out.flags | flag::ACCEPTED, ..out };
    for (key, path) in [(out_key, out), (back_key, back)] {
        datapath.hash("paths").insert(key, path, 0).expect("paths has room");
    }
}

fn path(datapath: &mut Datapath, from: (Ipv6Addr, u16), to: (Ipv6Addr, u16)) -> Option<Path> {
    datapath.hash::<PathKey, Path>("paths").get(&key(from, to), 0).ok()
}

#[test]
fn a_routed_packet_goes_on_as_the_kernel_has_sent_others() {
    let mut datapath = datapath();
    shown(&datapath);
    let inside = datapath.inside.clone();
    let sent = enters(&datapath, &inside, &there(), Reason::ShortcutRouted);
    assert_eq!(sent, Packet6 { hops: there().hops - 1, ..there() });
    let frame = framed(Mac::default(), inside.mac, &there().bytes());
    let context = Context { ifindex: inside.index, ..Context::default() };
    let left = datapath.judged_frame(Hook::In, &context, &frame, Reason::ShortcutRouted);
    assert_eq!(left[..12], [NEXT.0, datapath.uplink.mac.0].concat());
    let heard = enters(&datapath, &datapath.uplink, &back(), Reason::ShortcutRouted);
    assert_eq!(heard, Packet6 { hops: back().hops - 1, ..back() });
    let path = path(&mut datapath, (A, 4000), (B, 5000)).expect("it is remembered");
    assert_eq!((path.packets, path.bytes), (4, 4 * (40 + 8 + 8)), "whichever way they went");
}

#[test]
fn one_direction_alone_is_not_enough() {
    let datapath = datapath();
    leaves(&datapath, outward(&datapath), &there(), Reason::Ipv6);
    enters(&datapath, &datapath.inside, &there(), Reason::Ipv6);
    let other = Packet6::udp((B, 5001), (A, 4000), b"of another conversation");
    leaves(&datapath, inward(&datapath), &other, Reason::Ipv6);
    enters(&datapath, &datapath.inside, &there(), Reason::Ipv6);
}

#[test]
fn what_is_unlike_the_others_takes_the_kernels_way() {
    let datapath = datapath();
    shown(&datapath);
    let inside = &datapath.inside;
    let last = Packet6 { hops: 1, ..there() };
    let long = Packet6::udp((A, 4000), (B, 5000), &[7; 99]);
    for packet in [last, there().extended(), long] {
        enters(&datapath, inside, &packet, Reason::Ipv6);
    }
    let mut bytes = there().bytes();
    bytes[3] = 9;
    enters_as(&datapath, inside, &bytes, Reason::Ipv6);
    let mut bytes = there().bytes();
    bytes[0] = 0x6b;
    enters_as(&datapath, inside, &bytes, Reason::Ipv6);
    // Congestion is not a class (RFC 3168).
    let mut bytes = there().bytes();
    bytes[1] = 0x30;
    enters_as(&datapath, inside, &bytes, Reason::ShortcutRouted);
    // By another device, nothing was shown.
    enters(&datapath, &datapath.uplink, &there(), Reason::Ipv6);
}

#[test]
fn what_is_for_another_station_is_not_touched() {
    let datapath = datapath();
    shown(&datapath);
    let frame = framed(Mac::default(), NEXT, &there().bytes());
    let context = Context { ifindex: datapath.inside.index, ..Context::default() };
    datapath.judged_frame(Hook::In, &context, &frame, Reason::Ipv6);
    datapath.early(&datapath.inside, &frame, None);
}

#[test]
fn bridged_packets_show_no_way() {
    let mut datapath = datapath();
    for ((from, by), packet) in [(outward(&datapath), there()), (inward(&datapath), back())] {
        let frame = framed(NEXT, Mac([2, 0, 0, 0, 0, 9]), &packet.bytes());
        datapath.judged_frame(Hook::Out, &leaving(from, by), &frame, Reason::Ipv6);
    }
    assert_eq!(path(&mut datapath, (A, 4000), (B, 5000)), None);
}

#[test]
fn what_somebody_else_translates_is_never_taken() {
    let datapath = datapath();
    // Out it goes from C, and what comes back to C leaves to A.
    let masked = Packet6::udp((C, 4000), (B, 5000), b"question");
    for _ in 0..2 {
        leaves(&datapath, outward(&datapath), &masked, Reason::Ipv6);
        leaves(&datapath, inward(&datapath), &back(), Reason::Ipv6);
    }
    for packet in [there(), masked] {
        enters(&datapath, &datapath.inside, &packet, Reason::Ipv6);
    }
    let answer = Packet6::udp((B, 5000), (C, 4000), b"answer");
    for packet in [back(), answer] {
        enters(&datapath, &datapath.uplink, &packet, Reason::Ipv6);
    }
}

#[test]
fn beginnings_and_ends_take_the_kernels_way_and_end_what_was_accepted() {
    let datapath = datapath();
    let segment = |flags| Packet6::tcp((A, 4000), (B, 80), flags, b"");
    let answer = Packet6::tcp((B, 80), (A, 4000), ACK, b"");
    let show = || {
        leaves(&datapath, outward(&datapath), &segment(ACK), Reason::Ipv6);
        leaves(&datapath, inward(&datapath), &answer, Reason::Ipv6);
    };
    show();
    let inside = &datapath.inside;
    enters(&datapath, inside, &segment(ACK), Reason::ShortcutRouted);
    for flags in [SYN, FIN | ACK, 0x04, 0] {
        enters(&datapath, inside, &segment(flags), Reason::Ipv6);
    }
    leaves(&datapath, outward(&datapath), &segment(FIN | ACK), Reason::Ipv6);
    enters(&datapath, inside, &segment(ACK), Reason::Ipv6);
    enters(&datapath, &datapath.uplink, &answer, Reason::Ipv6);
    // Half of it is closed, the other half goes on.
    show();
    enters(&datapath, &datapath.uplink, &answer, Reason::ShortcutRouted);
    leaves(
        &datapath,
        inward(&datapath),
        &Packet6::tcp((B, 80), (A, 4000), FIN | ACK, b""),
        Reason::Ipv6,
    );
    leaves(&datapath, outward(&datapath), &segment(ACK), Reason::Ipv6);
    enters(&datapath, inside, &segment(ACK), Reason::Ipv6);
}

#[test]
fn a_change_of_configuration_counts_at_once() {
    let mut datapath = datapath();
    shown(&datapath);
    let config: Config = datapath.array("config").get(&0, 0).expect("config has an entry");
    let config = Config { epoch: config.epoch + 1, ..config };
    datapath.array("config").set(0, config, 0).expect("config has an entry");
    enters(&datapath, &datapath.inside, &there(), Reason::Ipv6);
}

#[test]
fn prefixes_are_translated_on_the_shortcut() {
    let mut datapath = datapath();
    npt::translating(&mut datapath);
    managed(&mut datapath);
    let there = Packet6::udp((npt::HOST, 4000), (npt::REMOTE, 5000), b"question");
    let answer = |to| Packet6::udp((npt::REMOTE, 5000), (to, 4000), b"answer");
    leaves(&datapath, outward(&datapath), &there, Reason::NptOut);
    answered(&mut datapath, (npt::HOST, 4000), (npt::REMOTE, 5000));
    let sent = enters(&datapath, &datapath.inside, &there, Reason::ShortcutOut);
    assert_eq!(sent, Packet6 { source: npt::HOST_OUT, hops: there.hops - 1, ..there });
    assert!(sent.is_right());
    let heard = enters(&datapath, &datapath.uplink, &answer(npt::HOST_OUT), Reason::ShortcutIn);
    assert_eq!((heard.destination, heard.is_right()), (npt::HOST, true));
}

#[test]
fn nat66_is_translated_on_the_shortcut_and_counted_in_its_flow() {
    let mut datapath = datapath();
    datapath.masquerade6(nat66::OWN, 1);
    // The other one has the port, so this one gets another.
    nat66::out(&datapath, &nat66::question(nat66::OTHER, nat66::REMOTE), Reason::NatOut);
    let there = nat66::question(nat66::HOST, nat66::REMOTE);
    let frame = framed(datapath.uplink.mac, NEXT, &there.bytes());
    let (from, by) = outward(&datapath);
    let left = datapath.judged_frame(Hook::Out, &leaving(from, by), &frame, Reason::NatOut);
    let left = Packet6::read_frame(&left).expect("a packet");
    let answer = Packet6::udp((left.destination, 5000), (left.source, left.ports().0), b"answer");
    let came = datapath.judged6(Hook::In, &datapath.own(), &answer, Reason::NatIn);
    // The first packet outward was not answered yet: the next one shows the way.
    datapath.judged_frame(
        Hook::Out,
        &leaving(&datapath.inside, &datapath.uplink),
        &frame,
        Reason::NatOut,
    );
    answered(&mut datapath, (nat66::HOST, 4000), (nat66::REMOTE, 5000));
    let heard = enters(&datapath, &datapath.uplink, &answer, Reason::ShortcutIn);
    assert_eq!(heard, Packet6 { hops: came.hops - 1, ..came });
    let sent = enters(&datapath, &datapath.inside, &there, Reason::ShortcutOut);
    assert_eq!(sent, Packet6 { hops: left.hops - 1, ..left });
    assert!(sent.is_right() && heard.is_right());
}
