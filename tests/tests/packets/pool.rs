//! Ports and room: all of what there is can be used, and when it is used up that is said.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_common::flow::proto;
use vnet_common::port::PortPool;
use vnet_common::translate::{Endpoint, Mapping, Owner, owner_index};
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::packet::Packet;

use crate::scene::{CLIENT, OTHER, SECOND, SERVER, answered, datagram, endpoint, key, outside};

/// The n-th client, which uses port 7 like all the others.
fn client(n: u16) -> SocketAddrV4 {
    let [high, low] = n.to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(10, 7, high, low), 7)
}

#[test]
fn both_of_two_ports_are_used_and_a_third_client_is_refused() {
    let datapath = Datapath::plan().ports(6000, 6001).build();
    let port = |n| datapath.out(&datagram().from(client(n)), Reason::NatOut).source().port();
    assert_eq!(BTreeSet::from([port(1), port(2)]), BTreeSet::from([6000, 6001]));
    datapath.out(&datagram().from(client(3)), Reason::PortsExhausted);
    // Those that are there go on, also to others.
    datapath.out(&datagram().from(client(1)), Reason::NatOut);
    datapath.out(&datagram().from(client(2)).to(SECOND), Reason::NatOut);
    // Every protocol has ports of its own.
    datapath
        .out(&Packet::tcp(client(3), SERVER, vnet_tests::packet::TcpFlags::SYN), Reason::NatOut);
}

#[test]
fn every_port_of_a_range_is_used() {
    let datapath = Datapath::plan().ports(20_000, 20_999).build();
    let port = |n| datapath.out(&datagram().from(client(n)), Reason::NatOut).source().port();
    let used: BTreeSet<u16> = (0..1000).map(port).collect();
    assert_eq!(used, (20_000..21_000).collect());
    datapath.out(&datagram().from(client(1000)), Reason::PortsExhausted);
}

#[test]
fn a_refused_client_leaves_nothing_behind() {
    let mut datapath = Datapath::plan().ports(6000, 6000).build();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&datagram().from(OTHER), Reason::PortsExhausted);
    assert_eq!(datapath.flows(), 2);
    assert_eq!(datapath.mapping(&endpoint(&datagram().from(OTHER))), None);
    assert_eq!(datapath.owner(proto::UDP, 6000).uses, 1);
}

#[test]
fn when_the_flow_table_is_full_that_is_said_and_nothing_is_half_made() {
    let mut datapath = Datapath::plan().max_flows(16).build();
    for n in 0..16 {
        answered(&datapath, &datagram().from(client(n)));
    }
    let refused = datagram().from((*client(99).ip(), 9999));
    datapath.out(&refused, Reason::FlowsFull);
    assert_eq!(datapath.flows(), 32);
    assert_eq!(datapath.mapping(&endpoint(&refused)), None, "its port is given back");
    assert_eq!(datapath.owner(proto::UDP, 9999).uses, 0);
    // A client that has a mapping keeps it, and loses only what does not fit.
    let mapped = datagram().from(client(3));
    datapath.out(&mapped.clone().to(SECOND), Reason::FlowsFull);
    let left = datapath.out(&mapped, Reason::NatOut);
    assert_eq!(datapath.owner(proto::UDP, left.source().port()).uses, 1);
}

#[test]
fn when_only_one_half_of_a_flow_fits_none_is_made() {
    let mut datapath = Datapath::plan().max_flows(16).build();
    for n in 0..15 {
        answered(&datapath, &datagram().from(client(n)));
    }
    // One entry that belongs to nobody leaves room for just one more.
    let stray = key(&Packet::udp(SECOND, outside(1)));
    let flow = datapath.flow(&key(&datagram().from(client(0)))).expect("the flow is there");
    datapath.hash("flows4").insert(stray, flow, 0).expect("there is room for one");
    datapath.out(&datagram(), Reason::FlowsFull);
    assert_eq!(datapath.flows(), 31);
    assert_eq!(datapath.mapping(&endpoint(&datagram())), None);
}

#[test]
fn a_port_given_back_rests_but_is_had_again_when_no_other_is_left() {
    let mut datapath = Datapath::plan().ports(6000, 6001).build();
    // As expiry leaves it: 6000 rests, 6001 has rested.
    let mut pool = PortPool::FULL;
    for port in 6000..=6001 {
        pool.free.remove(port);
    }
    insert(&mut pool.resting, 6000);
    insert(&mut pool.rested, 6001);
    datapath.array("pools").set(1, pool, 0).expect("a pool for UDP");
    let port = |n| datapath.out(&datagram().from(client(n)), Reason::NatOut).source().port();
    assert_eq!((port(1), port(2)), (6001, 6000), "what has rested longest goes first");
    datapath.out(&datagram().from(client(3)), Reason::PortsExhausted);
}

#[test]
fn the_host_that_had_a_port_last_need_not_wait() {
    let mut datapath = Datapath::new();
    let mut pool = PortPool::FULL;
    pool.free.remove(4000);
    insert(&mut pool.resting, 4000);
    datapath.array("pools").set(1, pool, 0).expect("a pool for UDP");
    let last = Owner { addr: CLIENT.ip().octets(), port: 4000, ..Owner::default() };
    datapath.array("owners").set(owner_index(1, 4000), last, 0).expect("an entry for every port");
    let other = datapath.out(&datagram().from(OTHER), Reason::NatOut);
    assert_ne!(other.source().port(), 4000, "another host waits");
    let again = datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(again.source().port(), 4000);
}

#[test]
fn a_mapping_that_is_just_ending_is_not_joined() {
    let mut datapath = Datapath::new();
    let inside = endpoint(&datagram());
    let ending = Mapping { addr: OUTSIDE.octets(), port: 5555, ..Mapping::default() };
    // Nobody uses it any more, and its entry is about to go.
    datapath.hash::<Endpoint, Mapping>("mappings").insert(inside, ending, 0).expect("room");
    datapath.out(&datagram(), Reason::MappingRace);
    assert_eq!((datapath.flows(), datapath.owner(proto::UDP, 5555).uses), (0, 0));
    // The port has gone to another meanwhile.
    let taken = Owner { uses: 1, addr: OTHER.ip().octets(), port: 1, flags: 0 };
    datapath.array("owners").set(owner_index(1, 5555), taken, 0).expect("an entry for every port");
    datapath.out(&datagram(), Reason::MappingRace);
    assert_eq!(datapath.owner(proto::UDP, 5555), taken, "its new owner keeps it");
}

/// Puts a port into a set.
fn insert(set: &mut vnet_common::port::PortSet, port: u16) {
    let place = vnet_common::port::position(port);
    let word = usize::from(place) / 64;
    set.words[word] |= 1 << (place % 64);
    set.index[word / 64] |= 1 << (word % 64);
    set.top |= 1 << (word / 64);
}
