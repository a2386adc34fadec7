//! Port blocks: a host's ports are computed from its address (RFC 7422).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_common::policy::{Source, source};
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::Packet;

use crate::scene::{SERVER, datagram, echo_id};

/// Hosts from 10.0.8.0 on have blocks of four ports, from 6000 on.
fn blocks() -> Datapath {
    let mut datapath = Datapath::plan().ports(6000, 6042).blocks(4).build();
    let number = 0u32.wrapping_sub(u32::from(Ipv4Addr::new(10, 0, 8, 0)));
    let source = Source { action: source::TRANSLATE, number };
    datapath.source_record([10, 0, 8, 0], 28, source);
    datapath
}

fn host(n: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 8, n), port)
}

#[test]
fn a_host_has_its_block_and_nothing_else() {
    let datapath = blocks();
    for n in [0, 1, 9] {
        let port = |from| datapath.out(&datagram().from(host(n, from)), Reason::NatOut).source();
        let ports: BTreeSet<u16> = (0..4).map(|at| port(3000 + at).port()).collect();
        let first = 6000 + 4 * u16::from(n);
        assert_eq!(ports, (first..first + 4).collect(), "host {n}");
        datapath.out(&datagram().from(host(n, 3004)), Reason::PortsExhausted);
    }
}

#[test]
fn a_port_of_ones_own_block_is_kept_and_a_neighbours_is_not() {
    let datapath = blocks();
    let port = |from| datapath.out(&datagram().from(from), Reason::NatOut).source().port();
    assert_eq!(port(host(2, 6010)), 6010);
    assert!((6012..6016).contains(&port(host(3, 6010))));
    assert!((6004..6008).contains(&port(host(1, 53))), "no low port for anybody");
}

#[test]
fn identifiers_of_pings_are_of_the_block_too() {
    let datapath = blocks();
    let ping = Packet::ping(*host(5, 0).ip(), *SERVER.ip(), 7);
    let id = echo_id(&datapath.out(&ping, Reason::NatOut));
    assert!((6020..6024).contains(&id), "{id}");
}

#[test]
fn a_host_beyond_the_last_block_has_none() {
    let datapath = blocks();
    // 43 ports are ten blocks and three ports that are nobody's.
    datapath.out(&datagram().from(host(9, 3000)), Reason::NatOut);
    datapath.out(&datagram().from(host(10, 3000)), Reason::PortsExhausted);
}
