//! A table that is full: who was never answered makes room, who was answered stays, and nobody
//! outside has a say.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_common::flow::proto;
use vnet_common::policy::filtering;
use vnet_ctl::view;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{
    CLIENT, OTHER, SECOND, SERVER, answered, datagram, endpoint, key, outside, ping,
};

/// Waits for the datapath's clock to go on: what was sent before is not being sent now.
pub(crate) fn tick() {
    let now = view::now();
    while view::now() == now {
        std::thread::yield_now();
    }
}

/// Tries a packet from inside that must be translated, in the place of another's connection.
#[track_caller]
pub(crate) fn displaces(datapath: &Datapath, packet: &Packet) {
    let before = datapath.counters();
    let verdict = datapath.run_frame(Hook::Out, &datapath.forwarded(), &packet.bytes());
    let moved = datapath.counters().since(&before);
    let wanted = [Reason::NatOut, Reason::Evicted].map(|end| (end.name().to_owned(), 1));
    assert_eq!(moved, wanted.into_iter().collect(), "ends of {packet}: {verdict}");
}

/// The n-th packet of a scan by the client: SYNs and datagrams in turns.
fn probe(n: u16) -> Packet {
    let to = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 200), 1000 + n);
    let from = SocketAddrV4::new(*CLIENT.ip(), 20_000 + n);
    if n.is_multiple_of(2) { Packet::tcp(from, to, TcpFlags::SYN) } else { Packet::udp(from, to) }
}

#[test]
fn the_oldest_that_nobody_answered_makes_room() {
    let mut datapath = Datapath::plan().max_flows(3).build();
    datapath.out(&datagram(), Reason::NatOut);
    answered(&datapath, &datagram().to(SECOND));
    datapath.out(&datagram().from(OTHER), Reason::NatOut);
    tick();
    displaces(&datapath, &Packet::tcp(OTHER, SERVER, TcpFlags::SYN));
    assert!(datapath.flow(&key(&datagram())).is_none(), "the oldest one is gone");
    for stays in [datagram().to(SECOND), datagram().from(OTHER)] {
        assert!(datapath.flow(&key(&stays)).is_some(), "{stays}");
    }
    assert_eq!(datapath.flows(), 6);
}

#[test]
fn its_port_is_given_back_when_it_was_the_last_to_use_it() {
    let mut datapath = Datapath::plan().max_flows(1).build();
    datapath.out(&datagram(), Reason::NatOut);
    tick();
    displaces(&datapath, &ping(7));
    assert_eq!(datapath.owner(proto::UDP, 4000).uses, 0);
    assert_eq!(datapath.mapping(&endpoint(&datagram())), None);
    tick();
    displaces(&datapath, &datagram());
    assert_eq!(datapath.owner(proto::UDP, 4000).uses, 1, "and may be had again");
}

#[test]
fn who_was_answered_never_makes_room() {
    let mut datapath = Datapath::plan().max_flows(3).build();
    answered(&datapath, &datagram());
    answered(&datapath, &ping(7));
    answered(&datapath, &Packet::tcp(CLIENT, SERVER, TcpFlags::SYN));
    tick();
    for n in 0..200 {
        datapath.out(&probe(n), Reason::FlowsFull);
    }
    assert_eq!(datapath.flows(), 6);
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&ping(7), Reason::NatOut);
}

#[test]
fn who_is_sending_at_this_moment_does_not_make_room() {
    let datapath = Datapath::plan().max_flows(1).build();
    datapath.out(&datagram(), Reason::NatOut);
    tick();
    // The clock may go on between the two.
    let now = view::now();
    datapath.out(&datagram(), Reason::NatOut);
    let before = datapath.counters();
    let _ = datapath.run_frame(Hook::Out, &datapath.forwarded(), &ping(7).bytes());
    let moved = datapath.counters().since(&before);
    assert!(moved.contains_key("flows_full") || view::now() != now, "{moved:?}");
}

#[test]
fn a_scan_from_inside_displaces_itself_and_nobody_who_talks() {
    let mut datapath = Datapath::plan().max_flows(64).build();
    let talks: Vec<_> = (0..16).map(|n| datagram().from((*OTHER.ip(), 5000 + n))).collect();
    for packet in &talks {
        answered(&datapath, packet);
    }
    for n in 0..2000 {
        let _ = datapath.run_frame(Hook::Out, &datapath.forwarded(), &probe(n).bytes());
        if n.is_multiple_of(40) {
            tick();
        }
    }
    assert!(datapath.counter(Reason::Evicted).packets > 500, "{:?}", datapath.counters());
    for packet in &talks {
        let left = datapath.out(packet, Reason::NatOut);
        datapath.back(&Packet::udp(SERVER, left.source()), Reason::NatIn);
    }
    // In the middle of it, somebody else is served.
    tick();
    displaces(&datapath, &Packet::tcp(OTHER, SERVER, TcpFlags::SYN));
    assert!(datapath.flows() <= 128);
}

#[test]
fn a_flood_from_outside_makes_no_state_and_displaces_nobody() {
    let mut datapath = Datapath::plan().max_flows(1).build();
    datapath.out(&datagram(), Reason::NatOut);
    tick();
    for n in 0..500 {
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 1000 + n);
        datapath.back(&Packet::udp(from, outside(4000)), Reason::Filtered);
        datapath.back(&Packet::udp(from, outside(5000 + n)), Reason::Unsolicited);
        datapath.back(&Packet::tcp(from, outside(5000 + n), TcpFlags::SYN), Reason::Unsolicited);
    }
    assert_eq!(datapath.flows(), 2);
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(datapath.counter(Reason::Evicted).packets, 0);
}

#[test]
fn where_filtering_lets_them_in_they_displace_nobody_either() {
    let mut datapath =
        Datapath::plan().max_flows(1).filtering(filtering::ENDPOINT_INDEPENDENT).build();
    datapath.out(&datagram(), Reason::NatOut);
    tick();
    datapath.back(&Packet::udp(SECOND, outside(4000)), Reason::FlowsFull);
    assert_eq!(datapath.flows(), 2);
    datapath.out(&datagram(), Reason::NatOut);
}
