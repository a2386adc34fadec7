//! Fragments: the first one of a datagram says where the others go.

use vnet_common::account::Reason;
use vnet_common::flow::FlowKey;
use vnet_common::fragment::{Datagram, FragmentKey};
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{IcmpKind, Packet, Sum, TcpFlags};

use crate::scene::{CLIENT, HOP, OTHER, SECOND, SERVER, datagram, key, outside, ping};

/// Sends all fragments out, in this order, and joins what leaves.
#[track_caller]
fn out(datapath: &Datapath, fragments: &[Packet]) -> Packet {
    let left: Vec<_> = fragments.iter().map(|one| datapath.out(one, Reason::NatOut)).collect();
    Packet::joined(&left).unwrap_or_else(|| panic!("not one datagram's fragments: {left:?}"))
}

/// Lets all fragments come back, in this order, and joins what arrives.
#[track_caller]
fn back(datapath: &Datapath, fragments: &[Packet]) -> Packet {
    let arrived: Vec<_> = fragments.iter().map(|one| datapath.back(one, Reason::NatIn)).collect();
    Packet::joined(&arrived).unwrap_or_else(|| panic!("not one datagram's fragments: {arrived:?}"))
}

fn large(packet: Packet) -> Packet {
    packet.payload(&[7; 300])
}

#[test]
fn of_every_protocol_go_out_and_back() {
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    for sent in [datagram(), datagram().checksum(Sum::Absent), syn, ping(7)].map(large) {
        let datapath = Datapath::new();
        let left = out(&datapath, &sent.fragments(104));
        let whole = Datapath::new().out(&sent, Reason::NatOut);
        assert_eq!(left, whole.clone().id(left.ip.id), "as if it had been whole");
        let answer = match &sent.body {
            vnet_tests::packet::Body::Icmp(_) => Packet::pong(*SERVER.ip(), left.ip.source, 7),
            vnet_tests::packet::Body::Tcp(_) => {
                Packet::tcp(SERVER, left.source(), TcpFlags::SYN | TcpFlags::ACK)
            }
            _ => Packet::udp(SERVER, left.source()),
        };
        let arrived = back(&datapath, &large(answer).fragments(64));
        assert_eq!(arrived.destination(), sent.source());
        assert_eq!(arrived.ip.id, 1, "inward the id stays");
    }
}

#[test]
fn are_counted_in_their_flow() {
    let mut datapath = Datapath::new();
    let sent = large(datagram());
    out(&datapath, &sent.fragments(104));
    let flow = datapath.flow(&key(&sent)).expect("the flow is there");
    // 308 bytes of UDP in three fragments, each with a header of its own.
    assert_eq!((flow.packets, flow.bytes), (3, 308 + 3 * 20));
}

#[test]
fn the_size_of_each_stays() {
    let datapath = Datapath::new();
    for fragment in large(datagram()).fragments(104) {
        let left = datapath.out(&fragment, Reason::NatOut);
        assert_eq!(left.bytes().len(), fragment.bytes().len());
        assert_eq!(left.ip.fragment_offset, fragment.ip.fragment_offset);
        assert_eq!(left.ip.more_fragments, fragment.ip.more_fragments);
    }
}

#[test]
fn of_two_hosts_with_equal_ids_do_not_mix() {
    let datapath = Datapath::new();
    let one = large(datagram()).id(77).fragments(104);
    let two = large(datagram().from(OTHER)).id(77).fragments(104);
    let mut left = (Vec::new(), Vec::new());
    for (one, two) in one.iter().zip(&two) {
        left.0.push(datapath.out(one, Reason::NatOut));
        left.1.push(datapath.out(two, Reason::NatOut));
    }
    let joined = |fragments: &[Packet]| Packet::joined(fragments).expect("all of one datagram");
    let (one, two) = (joined(&left.0), joined(&left.1));
    assert_ne!(one.ip.id, two.ip.id);
    assert_ne!(one.source(), two.source());
}

#[test]
fn of_two_datagrams_never_have_one_id() {
    let datapath = Datapath::new();
    let ids: std::collections::BTreeSet<_> =
        (0..300).map(|id| out(&datapath, &large(datagram()).id(id).fragments(208)).ip.id).collect();
    assert_eq!(ids.len(), 300);
}

#[test]
fn that_come_twice_leave_twice_the_same() {
    let datapath = Datapath::new();
    let cut = large(datagram()).fragments(104);
    let once: Vec<_> = cut.iter().map(|one| datapath.out(one, Reason::NatOut)).collect();
    let twice: Vec<_> = cut.iter().map(|one| datapath.out(one, Reason::NatOut)).collect();
    assert_eq!(once, twice);
}

#[test]
fn after_the_first_may_come_in_any_order() {
    for order in [[0, 3, 2, 1], [0, 2, 1, 3], [0, 1, 3, 2]] {
        let datapath = Datapath::new();
        let cut = large(datagram()).fragments(80);
        let left = out(&datapath, &order.map(|at: usize| cut[at].clone()));
        let answer = large(Packet::udp(SERVER, left.source())).fragments(80);
        back(&datapath, &order.map(|at: usize| answer[at].clone()));
    }
}

#[test]
fn of_an_error_follow_it() {
    let datapath = Datapath::new();
    let sent = large(datagram());
    let left = datapath.out(&sent, Reason::NatOut);
    let error = left.error(HOP, IcmpKind::PORT_UNREACHABLE, 200);
    let cut = error.fragments(104);
    let arrived: Vec<_> = cut.iter().map(|one| datapath.back(one, Reason::IcmpErrorIn)).collect();
    // Only the first fragment's part of the quote is known, so only headers are translated back.
    let arrived = Packet::joined(&arrived).expect("all of one error");
    assert_eq!(arrived, sent.error(HOP, IcmpKind::PORT_UNREACHABLE, 200));
}

#[test]
fn of_the_hosts_own_datagrams_pass_unseen() {
    let mut datapath = Datapath::new();
    for fragment in large(Packet::udp(outside(53), SERVER)).fragments(104) {
        datapath.host_out(&fragment, Reason::Host);
    }
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn for_the_host_end_as_their_first() {
    let datapath = Datapath::new();
    let cut = large(Packet::udp(SERVER, outside(4000))).fragments(104);
    for fragment in &cut {
        datapath.back(fragment, Reason::Unsolicited);
    }
    datapath.back(&cut[1].clone().id(9), Reason::FragmentIn);
    datapath.back(&cut[0].clone().to("198.51.100.77:1"), Reason::NotOurs);
    datapath.back(&cut[1].clone().to("198.51.100.77:1"), Reason::NotOurs);
    datapath.back(&cut[1].clone().to("224.0.0.251:5353"), Reason::Multicast);
}

#[test]
fn from_a_stranger_are_filtered_all_of_them() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let cut = large(Packet::udp(SECOND, outside(4000))).fragments(104);
    for fragment in &cut {
        datapath.back(fragment, Reason::Filtered);
    }
    let _socket = datapath.netns.udp(outside(4000));
    for fragment in &cut {
        datapath.back(fragment, Reason::Unsolicited);
    }
}

#[test]
fn whose_first_was_refused_are_refused_like_it() {
    let datapath = Datapath::plan().ports(7000, 7000).build();
    datapath.out(&datagram(), Reason::NatOut);
    for fragment in large(datagram().from(OTHER)).fragments(104) {
        datapath.out(&fragment, Reason::PortsExhausted);
    }
    for fragment in large(datagram().from("192.168.7.7:1")).fragments(104) {
        datapath.out(&fragment, Reason::PrivateSource);
    }
    for fragment in large(datagram().from("8.8.8.8:1")).fragments(104) {
        datapath.out(&fragment, Reason::Routed);
    }
    for fragment in large(datagram().to("224.0.0.251:1")).fragments(104) {
        datapath.out(&fragment, Reason::MulticastSource);
    }
}

#[test]
fn a_first_one_that_comes_twice_keeps_what_was_noted_for_those_being_sorted() {
    let mut datapath = Datapath::new();
    let cut = large(datagram()).fragments(104);
    datapath.out(&cut[0], Reason::NatOut);
    let FlowKey { saddr, daddr, proto, .. } = key(&cut[0]);
    let noted = FragmentKey { saddr, daddr, id: cut[0].ip.id, proto, reserved: 0 };
    let mut notes = datapath.hash::<FragmentKey, Datagram>("fragments");
    let translated = notes.get(&noted, 0).expect("the first one is noted");
    let sorted = Datagram { ttl: 61, arrived: 7, stations: [1, 2, 3], ..translated };
    notes.insert(noted, sorted, 0).expect("the map has room");
    datapath.out(&cut[0], Reason::NatOut);
    let again = datapath.hash::<FragmentKey, Datagram>("fragments").get(&noted, 0);
    let again = again.expect("it is still noted");
    assert_eq!((again.ttl, again.arrived, again.stations), (61, 7, [1, 2, 3]));
}
