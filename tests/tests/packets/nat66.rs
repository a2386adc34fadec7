//! IPv6 behind one address (NAT66): ports, filtering, errors and their quotes, and that
//! nothing from inside leaves with its own address.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use vnet_common::account::Reason;
use vnet_common::nat66::{ADDRESSES6, Fresh6, Standing};
use vnet_common::policy::filtering;
use vnet_tests::datapath::{Datapath, Hook, frame6};
use vnet_tests::packet6::Packet6;
use vnet_tests::test_run::Action;

/// The uplink's address.
pub(crate) const OWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// Hosts inside.
pub(crate) const HOST: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
pub(crate) const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3);
/// The router's own address inside.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// Hosts outside.
pub(crate) const REMOTE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
const THIRD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 3);

pub(crate) fn datapath() -> Datapath {
    let mut datapath = Datapath::new();
    datapath.masquerade6(OWN, 1);
    datapath
}

pub(crate) fn question(from: Ipv6Addr, to: Ipv6Addr) -> Packet6 {
    Packet6::udp((from, 4000), (to, 5000), b"question")
}

#[track_caller]
pub(crate) fn out(datapath: &Datapath, packet: &Packet6, end: Reason) -> Packet6 {
    let left = datapath.judged6(Hook::Out, &datapath.forwarded(), packet, end);
    if end.verdict() == vnet_common::account::Verdict::Pass {
        assert!(left.is_right(), "{left:?}");
    }
    left
}

#[track_caller]
fn back(datapath: &Datapath, packet: &Packet6, end: Reason) -> Packet6 {
    let came = datapath.judged6(Hook::In, &datapath.own(), packet, end);
    assert!(came.is_right(), "{came:?}");
    came
}

/// What the other end answers to a datagram.
fn answer(left: &Packet6) -> Packet6 {
    let (sport, dport) = left.ports();
    Packet6::udp((left.destination, dport), (left.source, sport), b"answer")
}

#[test]
fn a_datagram_leaves_with_the_uplinks_address_and_its_answer_comes_back() {
    let datapath = datapath();
    for sent in [question(HOST, REMOTE), question(HOST, REMOTE).extended()] {
        let left = out(&datapath, &sent, Reason::NatOut);
        assert_eq!((left.source, left.destination), (OWN, REMOTE));
        assert_eq!((left.ports(), left.hops), ((4000, 5000), sent.hops));
        let came = back(&datapath, &answer(&left), Reason::NatIn);
        assert_eq!((came.source, came.destination), (REMOTE, HOST));
        assert_eq!(came.ports(), (5000, 4000));
    }
}

#[test]
fn ports_are_independent_of_the_destination_and_never_shared() {
    let datapath = datapath();
    let first = out(&datapath, &question(HOST, REMOTE), Reason::NatOut).ports();
    let again = out(&datapath, &question(HOST, THIRD), Reason::NatOut).ports();
    assert_eq!(first, again, "one inside port, one outside port");
    let other = out(&datapath, &question(OTHER, REMOTE), Reason::NatOut);
    assert_ne!(other.ports().0, 4000);
    let came = back(&datapath, &answer(&other), Reason::NatIn);
    assert_eq!((came.destination, came.ports()), (OTHER, (5000, 4000)));
}

#[test]
fn only_whom_the_host_has_spoken_to_may_answer() {
    let datapath = datapath();
    let left = out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let stranger =
        Packet6 { source: THIRD, ..Packet6::udp((THIRD, 5000), (OWN, 4000), b"let me in") };
    back(&datapath, &stranger, Reason::Filtered);
    let elsewhere = Packet6::udp((REMOTE, 5001), (OWN, left.ports().0), b"me too");
    back(&datapath, &elsewhere, Reason::Filtered);
    back(&datapath, &Packet6::udp((REMOTE, 5000), (OWN, 4001), b"hello"), Reason::Unsolicited);
    back(&datapath, &question(REMOTE, HOST), Reason::NotOurs);
}

#[test]
fn with_endpoint_independent_filtering_anybody_may() {
    let mut datapath = Datapath::plan().filtering(filtering::ENDPOINT_INDEPENDENT).build();
    datapath.masquerade6(OWN, 1);
    let left = out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let stranger = Packet6::udp((THIRD, 7), (OWN, left.ports().0), b"let me in");
    let came = back(&datapath, &stranger, Reason::NatIn);
    assert_eq!((came.source, came.destination, came.ports()), (THIRD, HOST, (7, 4000)));
    let told = out(&datapath, &Packet6::udp((HOST, 4000), (THIRD, 7), b"yes"), Reason::NatOut);
    assert_eq!((told.source, told.ports()), (OWN, (4000, 7)));
}

#[test]
fn pings_are_told_apart_by_their_id() {
    let datapath = datapath();
    let first = out(&datapath, &Packet6::ping(HOST, REMOTE, 128, 7), Reason::NatOut);
    let second = out(&datapath, &Packet6::ping(OTHER, REMOTE, 128, 7), Reason::NatOut);
    assert_eq!((first.source, first.ping_id(), second.source), (OWN, 7, OWN));
    assert_ne!(second.ping_id(), 7);
    for (host, id) in [(HOST, 7), (OTHER, second.ping_id())] {
        let came = back(&datapath, &Packet6::ping(REMOTE, OWN, 129, id), Reason::NatIn);
        assert_eq!((came.destination, came.ping_id()), (host, 7));
    }
    // Who pings the router is answered by it.
    back(&datapath, &Packet6::ping(THIRD, OWN, 128, 9), Reason::Unsolicited);
    let pong = Packet6::ping(OWN, THIRD, 129, 9);
    datapath.judged6(Hook::Out, &datapath.own(), &pong, Reason::Host);
}

#[test]
fn errors_come_to_whoever_sent_what_they_quote() {
    let datapath = datapath();
    // The second one's port is another outside.
    out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    for sent in [question(OTHER, REMOTE), Packet6::ping(OTHER, REMOTE, 128, 7)] {
        out(&datapath, &Packet6::ping(HOST, REMOTE, 128, 7), Reason::NatOut);
        let left = out(&datapath, &sent, Reason::NatOut);
        let error = Packet6::error(THIRD, OWN, (2, 0), &left);
        let came = back(&datapath, &error, Reason::IcmpErrorIn);
        assert_eq!((came.source, came.destination), (THIRD, OTHER));
        assert_eq!(came.quote(), Some(sent));
    }
    let unknown = Packet6::error(THIRD, OWN, (1, 0), &Packet6::udp((OWN, 9), (REMOTE, 9), b"?"));
    back(&datapath, &unknown, Reason::Unsolicited);
}

#[test]
fn errors_about_what_came_in_show_no_inside_address() {
    let datapath = datapath();
    out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let left = out(&datapath, &question(OTHER, REMOTE), Reason::NatOut);
    let seen = answer(&left);
    let came = back(&datapath, &seen, Reason::NatIn);
    let error = Packet6::error(OTHER, REMOTE, (1, 4), &came);
    let told = out(&datapath, &error, Reason::IcmpErrorOut);
    assert_eq!((told.source, told.quote()), (OWN, Some(seen.clone())));
    // The router's own error, from whichever address it has.
    for from in [OWN, ROUTER] {
        let error = Packet6::error(from, REMOTE, (3, 0), &came);
        let told = datapath.judged6(Hook::Out, &datapath.own(), &error, Reason::IcmpErrorOut);
        assert_eq!((told.source, told.quote()), (OWN, Some(seen.clone())));
        assert!(told.is_right(), "{told:?}");
    }
    let unknown = Packet6::error(OTHER, REMOTE, (1, 4), &question(THIRD, OTHER));
    out(&datapath, &unknown, Reason::IcmpUnmatched);
}

#[test]
fn an_error_whose_quote_ends_before_the_checksum_is_right_all_the_same() {
    let datapath = datapath();
    out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let mut tcp = Packet6::udp((OTHER, 4000), (REMOTE, 80), &[0x50; 12]);
    // A SYN: its checksum is at 16, behind what will be quoted.
    tcp.protocol = 6;
    tcp.body = [4000u16, 80].map(u16::to_be_bytes).concat();
    tcp.body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let left = datapath.judged6(Hook::Out, &datapath.forwarded(), &tcp, Reason::NatOut);
    let mut quoted = left;
    quoted.body.truncate(12);
    let error = Packet6::error(THIRD, OWN, (1, 0), &quoted);
    let came = back(&datapath, &error, Reason::IcmpErrorIn);
    let quote = came.quote().expect("it still quotes");
    assert_eq!((came.destination, quote.source, quote.ports().0), (OTHER, OTHER, 4000));
}

#[test]
fn nothing_leaves_with_an_inside_address() {
    let datapath = datapath();
    let many = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
    out(&datapath, &question(HOST, many), Reason::MulticastSource);
    out(&datapath, &Packet6::ping(HOST, REMOTE, 129, 7), Reason::IcmpType);
    for kind in [133, 134, 135, 136, 137, 143, 138, 200] {
        out(&datapath, &Packet6::ping(HOST, REMOTE, kind, 7), Reason::IcmpType);
    }
    let mut icmp4 = question(HOST, REMOTE);
    icmp4.protocol = 1;
    datapath.judged6(Hook::Out, &datapath.forwarded(), &icmp4, Reason::Protocol);
    let mut short = question(HOST, REMOTE);
    short.body.truncate(7);
    datapath.judged6(Hook::Out, &datapath.forwarded(), &short, Reason::Malformed);
    // Any other protocol goes by address alone.
    let mut tunnel = question(HOST, REMOTE);
    tunnel.protocol = 47;
    let left = datapath.judged6(Hook::Out, &datapath.forwarded(), &tunnel, Reason::NatOut);
    assert_eq!((left.source, left.body), (OWN, tunnel.body.clone()));
    tunnel.source = OTHER;
    datapath.judged6(Hook::Out, &datapath.forwarded(), &tunnel, Reason::Protocol);
    // An address that routers know outside is translated too.
    let global = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
    assert_eq!(out(&datapath, &question(global, REMOTE), Reason::NatOut).source, OWN);
}

#[test]
fn what_the_router_says_itself_is_left_alone() {
    let datapath = datapath();
    let own = datapath.own();
    let near = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let global = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 99);
    for (sent, end) in [
        (question(near, REMOTE), Reason::Ipv6),
        (Packet6::ping(OWN, REMOTE, 135, 0), Reason::Ipv6),
        (question(global, REMOTE), Reason::Host),
        (question(OWN, REMOTE), Reason::Host),
    ] {
        datapath.judged6(Hook::Out, &own, &sent, end);
    }
    let left = datapath.judged6(Hook::Out, &own, &question(ROUTER, REMOTE), Reason::NatOut);
    assert_eq!(left.source, OWN);
    let came = back(&datapath, &answer(&left), Reason::NatIn);
    assert_eq!(came.destination, ROUTER);
}

#[test]
fn a_port_that_a_socket_of_the_router_has_is_not_handed_out() {
    let datapath = datapath();
    vnet_tests::link::address(&datapath.netns, "up0", &format!("{OWN}/64"));
    let _socket = datapath.netns.run(|| std::net::UdpSocket::bind(("::", 4000)));
    let left = out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    assert_ne!(left.ports().0, 4000);
}

#[test]
fn another_outside_address_ends_what_was_made_with_the_one_before() {
    let mut datapath = datapath();
    let first = out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let next = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    datapath.masquerade6(next, 2);
    back(&datapath, &answer(&first), Reason::NotOurs);
    let left = out(&datapath, &question(HOST, REMOTE), Reason::Moved);
    assert_eq!(left.source, next);
    assert_eq!(back(&datapath, &answer(&left), Reason::NatIn).destination, HOST);
    assert_eq!(datapath.flows(), 2, "the former connection is gone");
}

/// Speaks to one after the other, each of whom takes the room of the one before: nobody answers.
fn speak(datapath: &mut Datapath, mut told: impl FnMut(&mut Datapath)) {
    for n in 0..20 {
        let remote = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, n);
        let before = datapath.counter(Reason::Evicted).packets;
        let frame = frame6(&question(HOST, remote).bytes());
        // Not within the same tick of the clock.
        let mut tries =
            std::iter::repeat_with(|| datapath.run_frame(Hook::Out, &datapath.forwarded(), &frame));
        let leaves = tries.by_ref().take(100_000).any(|verdict| verdict.action == Action::Next);
        assert!(leaves, "there is room in the end");
        assert_eq!(datapath.counter(Reason::Evicted).packets - before, u64::from(n != 0));
        told(datapath);
    }
}

#[test]
fn an_address_whose_last_connection_ends_makes_room() {
    let mut datapath = Datapath::plan().max_flows(1).build();
    datapath.masquerade6(OWN, 1);
    speak(&mut datapath, |_| ());
    let standing = datapath.hash::<[u8; 16], Standing>("handles6").keys().count();
    assert_eq!(standing, 2, "the host and the last it spoke to");
}

#[test]
fn a_handle_is_never_that_of_two_addresses() {
    let mut datapath = Datapath::plan().max_flows(1).build();
    datapath.masquerade6(OWN, 1);
    let few = Fresh6 { used: ADDRESSES6 - 4 };
    datapath.array("fresh6").set(0, few, 0).expect("it has an entry");
    let mut meant = HashMap::new();
    speak(&mut datapath, |datapath| {
        let standing = datapath.hash::<[u8; 16], Standing>("handles6");
        for entry in standing.iter() {
            let (addr, standing) = entry.expect("the map can be read");
            let before = meant.insert(standing.handle, addr);
            assert!(before.is_none_or(|before| before == addr), "{before:?} was {addr:?}");
        }
    });
    assert!(meant.len() > 20, "places are taken again: {}", meant.len());
}

#[test]
fn where_there_is_no_room_for_an_address_nothing_leaves() {
    let mut datapath = datapath();
    let full = Fresh6 { used: ADDRESSES6 };
    datapath.array("fresh6").set(0, full, 0).expect("it has an entry");
    out(&datapath, &question(HOST, REMOTE), Reason::Address6);
    assert_eq!(datapath.hash::<[u8; 16], Standing>("handles6").keys().count(), 0);
}
