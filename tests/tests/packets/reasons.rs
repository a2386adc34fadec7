//! No end of a packet is forgotten: for every reason there is a packet that meets it, and nothing
//! else is counted then.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use vnet_common::account::{Reason, Verdict};
use vnet_common::flow::proto;
use vnet_common::nat66::{ADDRESSES6, Fresh6};
use vnet_common::policy::role;
use vnet_common::translate::{Endpoint, Mapping};
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE, frame6};
use vnet_tests::packet::{EtherType, IcmpKind, Mac, Packet, Protocol, TcpFlags};
use vnet_tests::test_run::Context;

use crate::address::readdress;
use crate::forward::forward;
use crate::nat66;
use crate::npt::{self, HOST, HOST_OUT, NOWHERE, OTHER_OUT, REMOTE, translating};
use crate::path;
use crate::scene::{CLIENT, HOP, OTHER, SECOND, SERVER, answered, datagram, endpoint, outside};
use crate::shortcut;

/// What a single frame cannot bring about here, and why.
const NOT_BY_TEST_RUN: [(Reason, &str); 9] = [
    (Reason::HairpinOut, "the mark of the way in cannot be given to the kernel: `wire` does it"),
    (Reason::HairpinLost, "the same, and the mapping would have to end between two devices"),
    (Reason::IcmpSent, "it comes with the end of the packet it is about: `answer` has some"),
    (Reason::EventLost, "it takes a full buffer, and comes with another end: `events` has it"),
    (Reason::Evicted, "it comes with the end of the packet it is done for: `room` has some"),
    (Reason::XdpOut, "it is an end of the XDP program: `xdp` has it"),
    (Reason::XdpIn, "the same"),
    (Reason::XdpRouted, "the same: `path` has it"),
    (Reason::Rewrite, "the kernel refuses to change a packet only when it has no memory left"),
];

/// Somebody on the uplink's own network.
const NEIGHBOUR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 53);

/// A frame about to be tried.
struct Try {
    hook: Hook,
    context: Context,
    frame: Vec<u8>,
    /// What must stay open meanwhile.
    held: Option<UdpSocket>,
}

fn out(datapath: &Datapath, packet: &Packet) -> Option<Try> {
    Some(Try { hook: Hook::Out, context: datapath.forwarded(), frame: packet.bytes(), held: None })
}

fn back(datapath: &Datapath, packet: &Packet) -> Option<Try> {
    Some(Try { hook: Hook::In, context: datapath.own(), frame: packet.bytes(), held: None })
}

/// The frame without its last byte, so that it is shorter than its headers say.
fn cut(tried: Option<Try>) -> Option<Try> {
    let mut tried = tried?;
    tried.frame.pop();
    Some(tried)
}

/// Brings a fresh datapath to where the frame it returns must meet that end; nothing where none
/// can. There is no wildcard: a new reason does not compile until it has its packet.
fn provoke(datapath: &mut Datapath, end: Reason) -> Option<Try> {
    match end.verdict() {
        Verdict::Pass => passing(datapath, end),
        Verdict::Drop => refused(datapath, end),
        Verdict::Detour => elsewhere(datapath, end),
        Verdict::Shortcut => short(datapath, end),
    }
}

fn passing(datapath: &mut Datapath, end: Reason) -> Option<Try> {
    let known = Packet::udp(SERVER, outside(4000));
    match end {
        Reason::NatOut => out(datapath, &datagram()),
        Reason::NatIn => {
            datapath.out(&datagram(), Reason::NatOut);
            back(datapath, &known)
        }
        Reason::IcmpErrorOut => {
            datapath.out(&datagram(), Reason::NatOut);
            refused(datapath, Reason::IcmpUnmatched)
        }
        Reason::IcmpErrorIn => {
            let left = datapath.out(&datagram(), Reason::NatOut);
            back(datapath, &left.error(HOP, IcmpKind::TIME_EXCEEDED, 8))
        }
        Reason::Host => {
            let context = datapath.own();
            Some(Try { context, ..out(datapath, &Packet::udp(outside(5000), SERVER))? })
        }
        Reason::Unsolicited => back(datapath, &known),
        Reason::NotOurs => back(datapath, &known.to("198.51.100.77:1")),
        Reason::Excluded => {
            datapath.exclude([203, 0, 113, 0], 24);
            out(datapath, &datagram())
        }
        Reason::Routed => out(datapath, &datagram().from("8.8.8.8:1")),
        Reason::Inside => {
            datapath.role(datapath.uplink.index, role::INSIDE);
            out(datapath, &datagram())
        }
        Reason::Moved => {
            datapath.out(&datagram(), Reason::NatOut);
            readdress(datapath, Some("198.51.100.50"));
            out(datapath, &datagram())
        }
        // A tag beside the frame cannot be given to the kernel here: `wire` sends one.
        Reason::Ipv6 | Reason::NotIp | Reason::Vlan => {
            let kind = match end {
                Reason::Ipv6 => EtherType::IPV6,
                Reason::Vlan => EtherType::VLAN,
                _ => EtherType::ARP,
            };
            let frame = [&[2; 12][..], &kind.0.to_be_bytes(), &[0; 46]].concat();
            Some(Try { frame, ..out(datapath, &datagram())? })
        }
        Reason::Multicast => back(datapath, &known.to("224.0.0.251:5353")),
        Reason::FragmentIn => back(datapath, &known.payload(&[1; 99]).fragments(64)[1]),
        Reason::MalformedIn => cut(back(datapath, &known)),
        Reason::Unmanaged => {
            let context = Context { ifindex: datapath.inside.index, ..datapath.own() };
            Some(Try { context, ..out(datapath, &datagram())? })
        }
        Reason::ForwardStray => {
            datapath.forward(proto::TCP, &[forward(80, 80)]);
            back(datapath, &Packet::tcp(SERVER, outside(80), TcpFlags::ACK))
        }
        Reason::Hairpin => {
            datapath.role(datapath.inside.index, role::INSIDE);
            let sent = datapath.out(&datagram(), Reason::NatOut);
            let context = Context { ifindex: datapath.inside.index, ..Context::default() };
            let packet = Packet::udp(OTHER, sent.source());
            // What is for another station would pass by.
            let frame = packet.frame(Mac::default(), datapath.inside.mac).bytes();
            Some(Try { hook: Hook::In, context, frame, held: None })
        }
        Reason::NptOut => {
            translating(datapath);
            let frame = frame6(&npt::datagram(HOST, REMOTE).bytes());
            Some(Try { frame, ..out(datapath, &datagram())? })
        }
        Reason::NptIn => {
            translating(datapath);
            let frame = frame6(&npt::datagram(REMOTE, HOST_OUT).bytes());
            Some(Try { frame, ..back(datapath, &known)? })
        }
        Reason::NptHairpin => {
            translating(datapath);
            let frame = frame6(&npt::datagram(HOST, OTHER_OUT).bytes());
            Some(Try { context: npt::at_inside(datapath), frame, ..back(datapath, &known)? })
        }
        Reason::NptAddress
        | Reason::Address6
        | Reason::Extensions
        | Reason::HairpinOut
        | Reason::HairpinLost
        | Reason::IcmpChecksum
        | Reason::Fragment
        | Reason::NoAddress
        | Reason::PrivateSource
        | Reason::MulticastSource
        | Reason::Protocol
        | Reason::IcmpType
        | Reason::TcpNoFlow
        | Reason::Filtered
        | Reason::IcmpUnmatched
        | Reason::PortsExhausted
        | Reason::FlowsFull
        | Reason::HostPorts
        | Reason::HostFlows
        | Reason::SocketClash
        | Reason::MappingRace
        | Reason::Malformed
        | Reason::Rewrite
        | Reason::IcmpSent
        | Reason::FragmentTiny
        | Reason::FragmentOverlap
        | Reason::Evicted
        | Reason::ForwardClash
        | Reason::EventLost
        | Reason::ShortcutOut
        | Reason::ShortcutIn
        | Reason::Sorted
        | Reason::XdpOut
        | Reason::XdpIn
        | Reason::ShortcutRouted
        | Reason::XdpRouted => None,
    }
}

fn short(datapath: &mut Datapath, end: Reason) -> Option<Try> {
    if matches!(end, Reason::XdpOut | Reason::XdpIn | Reason::XdpRouted) {
        return None;
    }
    if end == Reason::ShortcutRouted {
        let (context, frame) = path::routed(datapath);
        return Some(Try { hook: Hook::In, context, frame, held: None });
    }
    let left = shortcut::both_ways(datapath, &datagram());
    let (context, packet, port) = if end == Reason::ShortcutOut {
        (shortcut::at_inside(datapath), datagram(), &datapath.inside)
    } else {
        (datapath.own(), Packet::udp(left.destination(), left.source()), &datapath.uplink)
    };
    let frame = packet.frame(Mac::default(), port.mac).bytes();
    Some(Try { hook: Hook::In, context, frame, held: None })
}

/// All that goes elsewhere comes before the first fragment of its datagram.
fn elsewhere(datapath: &mut Datapath, _end: Reason) -> Option<Try> {
    *datapath = Datapath::plan().sorter().build();
    out(datapath, &datagram().payload(&[1; 99]).fragments(64)[1])
}

fn refused(datapath: &mut Datapath, end: Reason) -> Option<Try> {
    match end {
        Reason::Fragment => out(datapath, &datagram().payload(&[1; 99]).fragments(64)[1]),
        Reason::FragmentTiny => {
            let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
            out(datapath, &syn.fragments(16)[0])
        }
        Reason::FragmentOverlap => {
            let cut = datagram().payload(&[1; 99]).fragments(64);
            datapath.out(&cut[0], Reason::NatOut);
            let mut over = cut[1].clone();
            over.ip.fragment_offset -= 1;
            out(datapath, &over)
        }
        Reason::PrivateSource => out(datapath, &datagram().from("192.168.0.2:1")),
        Reason::MulticastSource => out(datapath, &datagram().to("224.0.0.251:5353")),
        Reason::Protocol => {
            let tunnel =
                |from: SocketAddrV4| Packet::raw(*from.ip(), *SERVER.ip(), Protocol::GRE, &[0; 8]);
            datapath.out(&tunnel(CLIENT), Reason::NatOut);
            out(datapath, &tunnel(OTHER))
        }
        Reason::IcmpType => out(datapath, &Packet::pong(*CLIENT.ip(), *SERVER.ip(), 7)),
        Reason::TcpNoFlow => out(datapath, &Packet::tcp(CLIENT, SERVER, TcpFlags::RST)),
        Reason::Filtered => {
            datapath.out(&datagram(), Reason::NatOut);
            back(datapath, &Packet::udp(SECOND, outside(4000)))
        }
        Reason::IcmpUnmatched => {
            let answer = Packet::udp(SERVER, CLIENT);
            out(datapath, &answer.error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8))
        }
        Reason::PortsExhausted => {
            *datapath = Datapath::plan().ports(7000, 7000).build();
            datapath.out(&datagram(), Reason::NatOut);
            out(datapath, &datagram().from(OTHER))
        }
        Reason::HostPorts => {
            *datapath = Datapath::plan().limits(1, 0).build();
            datapath.out(&datagram(), Reason::NatOut);
            out(datapath, &datagram().from((*CLIENT.ip(), 4001)))
        }
        Reason::HostFlows => {
            *datapath = Datapath::plan().limits(0, 1).build();
            datapath.out(&datagram(), Reason::NatOut);
            out(datapath, &datagram().to(SECOND))
        }
        Reason::FlowsFull => {
            *datapath = Datapath::plan().max_flows(1).build();
            answered(datapath, &datagram());
            out(datapath, &datagram().from(OTHER))
        }
        Reason::SocketClash => {
            datapath.out(&datagram().to(SECOND), Reason::NatOut);
            let socket = datapath.netns.udp(outside(4000));
            socket.connect(NEIGHBOUR).expect("the uplink's neighbour has a route");
            Some(Try { held: Some(socket), ..out(datapath, &datagram().to(NEIGHBOUR))? })
        }
        Reason::MappingRace => {
            let ending = Mapping { addr: OUTSIDE.octets(), port: 5555, ..Mapping::default() };
            let mut mappings = datapath.hash::<Endpoint, Mapping>("mappings");
            mappings.insert(endpoint(&datagram()), ending, 0).expect("mappings has room");
            out(datapath, &datagram())
        }
        Reason::NoAddress => {
            readdress(datapath, None);
            out(datapath, &datagram())
        }
        Reason::NptAddress => {
            translating(datapath);
            let frame = frame6(&npt::datagram(NOWHERE, REMOTE).bytes());
            Some(Try { frame, ..out(datapath, &datagram())? })
        }
        Reason::Extensions => {
            translating(datapath);
            let mut packet = npt::datagram(HOST, REMOTE);
            // Options that are followed by options, nine times.
            (packet.protocol, packet.body) = (60, [60, 0, 1, 4, 0, 0, 0, 0].repeat(9));
            let frame = frame6(&packet.bytes());
            Some(Try { frame, ..out(datapath, &datagram())? })
        }
        Reason::Address6 => {
            datapath.masquerade6(nat66::OWN, 1);
            let full = Fresh6 { used: ADDRESSES6 };
            datapath.array("fresh6").set(0, full, 0).expect("it has an entry");
            let frame = frame6(&nat66::question(nat66::HOST, nat66::REMOTE).bytes());
            Some(Try { frame, ..out(datapath, &datagram())? })
        }
        Reason::Malformed => cut(out(datapath, &datagram())),
        Reason::IcmpChecksum => {
            let left = datapath.out(&datagram(), Reason::NatOut);
            let mut frame = left.error(HOP, IcmpKind::TIME_EXCEEDED, 8).bytes();
            *frame.last_mut().expect("it is not empty") ^= 1;
            Some(Try { frame, ..back(datapath, &left)? })
        }
        Reason::ForwardClash => {
            datapath.forward(proto::UDP, &[forward(80, 8080), forward(81, 8080)]);
            datapath.back(&Packet::udp(SERVER, outside(80)), Reason::NatIn);
            back(datapath, &Packet::udp(SERVER, outside(81)))
        }
        Reason::NptOut
        | Reason::NptIn
        | Reason::NptHairpin
        | Reason::HairpinLost
        | Reason::Hairpin
        | Reason::HairpinOut
        | Reason::ForwardStray
        | Reason::Rewrite
        | Reason::Moved
        | Reason::NatOut
        | Reason::NatIn
        | Reason::IcmpErrorOut
        | Reason::IcmpErrorIn
        | Reason::Host
        | Reason::Unsolicited
        | Reason::NotOurs
        | Reason::Routed
        | Reason::Inside
        | Reason::Ipv6
        | Reason::NotIp
        | Reason::Vlan
        | Reason::Multicast
        | Reason::FragmentIn
        | Reason::MalformedIn
        | Reason::Unmanaged
        | Reason::IcmpSent
        | Reason::Excluded
        | Reason::Evicted
        | Reason::EventLost
        | Reason::ShortcutOut
        | Reason::ShortcutIn
        | Reason::Sorted
        | Reason::XdpOut
        | Reason::XdpIn
        | Reason::ShortcutRouted
        | Reason::XdpRouted => None,
    }
}

#[test]
fn every_end_is_met_by_some_packet_and_no_other_end_with_it() {
    std::thread::scope(|scope| {
        for half in Reason::ALL.chunks(Reason::ALL.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(|end| meet(*end)));
        }
    });
}

fn meet(end: Reason) {
    let mut datapath = Datapath::new();
    let tried = provoke(&mut datapath, end);
    let excuse = NOT_BY_TEST_RUN.iter().find(|(excused, _)| *excused == end);
    assert_eq!(tried.is_none(), excuse.is_some(), "{} needs a packet or an excuse", end.name());
    if let Some(Try { hook, context, frame, held: _held }) = tried {
        datapath.judged_frame(hook, &context, &frame, end);
    }
}

#[test]
fn names_are_words_and_no_two_are_the_same() {
    for end in Reason::ALL {
        let name = end.name();
        assert!(
            name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')),
            "{name}"
        );
        assert_eq!(Reason::ALL.iter().filter(|other| other.name() == name).count(), 1, "{name}");
        assert!(!end.meaning().is_empty(), "{name} has a meaning");
    }
}
