//! Several outside addresses: each inside host has one of them, with ports of its own.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_common::flow::proto;
use vnet_common::policy::{Link, role};
use vnet_common::translate::{Owner, owner_index, pool};
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{SECOND, SERVER, datagram};

/// The other outside addresses.
const MORE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 2), Ipv4Addr::new(198, 51, 100, 3)];

/// A datapath whose uplink has three outside addresses.
fn three() -> Datapath {
    let mut datapath = Datapath::new();
    let uplink = datapath.uplink.index;
    for (number, address) in (1..).zip(MORE) {
        datapath.outside(number, address, uplink);
        vnet_tests::link::address(&datapath.netns, "up0", &format!("{address}/24"));
    }
    let addr = OUTSIDE.octets();
    let link = Link { roles: role::UPLINK, header: 14, addr, outsides: 3, ..Link::default() };
    datapath.hash("links").insert(uplink, link, 0).expect("links has room");
    datapath
}

fn client(n: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 3, n), port)
}

/// Whom the server sees when a client speaks to it.
fn seen(datapath: &Datapath, from: SocketAddrV4) -> SocketAddrV4 {
    datapath.out(&datagram().from(from), Reason::NatOut).source()
}

#[test]
fn a_host_keeps_its_address_and_hosts_share_them_evenly() {
    let datapath = three();
    let mut hosts = [0; 3];
    for n in 0..99 {
        let address = *seen(&datapath, client(n, 4000)).ip();
        for packet in [
            datagram().from(client(n, 5000)).to(SECOND),
            Packet::tcp(client(n, 6000), SERVER, TcpFlags::SYN),
            Packet::ping(*client(n, 0).ip(), *SERVER.ip(), 7),
        ] {
            let left = datapath.out(&packet, Reason::NatOut);
            assert_eq!(*left.source().ip(), address, "{packet}");
        }
        hosts[usize::from(address.octets()[3]) - 1] += 1;
    }
    assert!(hosts.iter().all(|count| (25..=41).contains(count)), "{hosts:?}");
}

#[test]
fn every_address_has_ports_of_its_own() {
    let datapath = three();
    let ports: Vec<_> = (0..9).map(|n| seen(&datapath, client(n, 4000))).collect();
    let kept = ports.iter().filter(|seen| seen.port() == 4000);
    let kept: BTreeSet<_> = kept.map(|seen| *seen.ip()).collect();
    assert_eq!(kept, BTreeSet::from([OUTSIDE, MORE[0], MORE[1]]), "{ports:?}");
}

#[test]
fn answers_come_back_by_each_address_and_nobody_elses_do() {
    let datapath = three();
    for n in 0..9 {
        let from = client(n, 4000);
        let seen = seen(&datapath, from);
        let back = datapath.back(&Packet::udp(SERVER, seen), Reason::NatIn);
        assert_eq!(back.destination(), from);
        datapath.back(&Packet::udp(SECOND, seen), Reason::Filtered);
    }
    // A port that nobody holds on this address, whoever holds it on others.
    let free = SocketAddrV4::new(MORE[0], 4999);
    datapath.back(&Packet::udp(SERVER, free), Reason::Unsolicited);
}

#[test]
fn the_router_itself_is_under_the_authority_of_each_pool() {
    let mut datapath = three();
    let own = SocketAddrV4::new(MORE[1], 4000);
    let left = datapath.host_out(&Packet::tcp(own, SERVER, TcpFlags::SYN), Reason::NatOut);
    assert_eq!(left.source(), own, "a connection of its own keeps its port");
    let number = pool::number(2, proto::TCP).expect("a protocol with ports");
    let owner: Owner =
        datapath.array("owners").get(&owner_index(number, 4000), 0).expect("a slot for each port");
    assert_eq!((owner.uses, owner.addr), (1, MORE[1].octets()));
    let inside = (0..9).map(|n| {
        let packet = Packet::tcp(client(n, 4000), SECOND, TcpFlags::SYN);
        datapath.out(&packet, Reason::NatOut).source()
    });
    assert!(inside.collect::<Vec<_>>().iter().all(|seen| *seen != own), "the port is the router's");
}

#[test]
fn an_address_of_another_uplink_is_left_alone() {
    let mut datapath = three();
    let elsewhere = datapath.inside.index;
    datapath.outside(3, Ipv4Addr::new(192, 0, 2, 1), elsewhere);
    let own = Packet::tcp("192.0.2.1:4000", SERVER, TcpFlags::SYN);
    datapath.host_out(&own, Reason::Host);
}
