//! What NAT has nothing to do with passes untouched; what it cannot translate does not leave.

use std::net::Ipv4Addr;

use vnet_common::account::Reason;
use vnet_common::policy::role;
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE};
use vnet_tests::packet::{EtherType, Icmp, IcmpBody, IcmpKind, Packet, Protocol, Sum};
use vnet_tests::test_run::Context;

use crate::scene::{CLIENT, SERVER, datagram, outside};

fn frame_of(kind: EtherType, body: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.0.to_be_bytes(), body].concat()
}

#[test]
fn other_protocols_than_ipv4_pass() {
    let datapath = Datapath::new();
    for hook in [Hook::In, Hook::Out] {
        let arp = frame_of(EtherType::ARP, &[0; 28]);
        datapath.judged_frame(hook, &datapath.own(), &arp, Reason::NotIp);
        let ipv6 = frame_of(EtherType::IPV6, &[0x60, 0, 0, 0, 0, 0, 59, 64]);
        let ipv6 = [ipv6, vec![0xfe; 32]].concat();
        datapath.judged_frame(hook, &datapath.own(), &ipv6, Reason::Ipv6);
        let probe = frame_of(EtherType::EXPERIMENT, b"anything");
        datapath.judged_frame(hook, &datapath.own(), &probe, Reason::NotIp);
    }
}

#[test]
fn devices_that_are_no_uplink_are_left_alone() {
    let mut datapath = Datapath::new();
    let at_inside = Context { ifindex: datapath.inside.index, ..Context::default() };
    for hook in [Hook::In, Hook::Out] {
        let frame = datagram().bytes();
        datapath.judged_frame(hook, &at_inside, &frame, Reason::Unmanaged);
    }
    datapath.role(datapath.inside.index, role::INSIDE);
    for hook in [Hook::In, Hook::Out] {
        datapath.judged_frame(hook, &at_inside, &datagram().bytes(), Reason::Inside);
    }
}

#[test]
fn public_sources_outside_every_inside_are_routed() {
    let mut datapath = Datapath::new();
    for address in [
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.0.1",
        "100.128.0.1",
        "169.253.0.1",
        "192.167.0.1",
        "192.169.0.1",
        "11.0.0.1",
        "128.0.0.1",
        "1.0.0.1",
    ] {
        let address: Ipv4Addr = address.parse().unwrap();
        datapath.out(&datagram().from((address, 4000)), Reason::Routed);
    }
    assert_eq!(datapath.flows(), 0);
    datapath.back(&Packet::udp(SERVER, "8.8.8.8:4000"), Reason::NotOurs);
}

#[test]
fn private_sources_outside_every_inside_do_not_leave() {
    let datapath = Datapath::new();
    for address in [
        "0.0.0.1",
        "127.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "169.254.1.1",
    ] {
        let address: Ipv4Addr = address.parse().unwrap();
        datapath.out(&datagram().from((address, 4000)), Reason::PrivateSource);
        datapath.host_out(&datagram().from((address, 4000)), Reason::PrivateSource);
    }
}

#[test]
fn multicast_and_broadcast_are_not_translated() {
    let datapath = Datapath::new();
    for group in ["224.0.0.251:5353", "239.1.2.3:99", "255.255.255.255:67", "240.0.0.1:1"] {
        datapath.out(&datagram().to(group), Reason::MulticastSource);
        datapath.back(&Packet::udp(SERVER, group), Reason::Multicast);
        datapath.host_out(&Packet::udp(outside(5000), group), Reason::Host);
    }
}

#[test]
fn protocols_without_ports_do_not_leave() {
    let datapath = Datapath::new();
    for protocol in [Protocol::GRE, Protocol::ESP, Protocol::SCTP, Protocol(4), Protocol(255)] {
        let sent = Packet::raw(*CLIENT.ip(), *SERVER.ip(), protocol, &[7; 40]);
        datapath.out(&sent, Reason::Protocol);
        let answer = Packet::raw(*SERVER.ip(), OUTSIDE, protocol, &[7; 40]);
        datapath.back(&answer, Reason::Unsolicited);
    }
}

#[test]
fn icmp_that_is_neither_query_nor_error_does_not_leave() {
    let datapath = Datapath::new();
    // Source quench, redirect, router advertisement, timestamp, address mask.
    for kind in [4, 5, 9, 13, 17] {
        let body = IcmpBody::Other { rest: 0, quote: vec![0; 12] };
        let icmp = Icmp { kind: IcmpKind { kind, code: 0 }, checksum: Sum::Right, body };
        let message = Packet::icmp(*CLIENT.ip(), *SERVER.ip(), icmp);
        datapath.out(&message, Reason::IcmpType);
        let mut message = message.from((*SERVER.ip(), 0));
        message.ip.destination = OUTSIDE;
        datapath.back(&message, Reason::Unsolicited);
    }
    datapath.out(&Packet::pong(*CLIENT.ip(), *SERVER.ip(), 7), Reason::IcmpType);
}

#[test]
fn a_vlan_device_may_have_its_tag_in_the_bytes_or_not() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram().vlan(100), Reason::Vlan);
    datapath.vlan_uplink();
    let tagged = datapath.out(&datagram().vlan(100), Reason::NatOut);
    assert_eq!((tagged.source(), tagged.ether.vlan), (outside(4000), Some(100)));
    let plain = datapath.out(&datagram(), Reason::NatOut);
    assert_eq!((plain.source(), plain.ether.vlan), (outside(4000), None));
    for answer in [Packet::udp(SERVER, outside(4000)), Packet::udp(SERVER, outside(4000)).vlan(7)] {
        let came = datapath.back(&answer, Reason::NatIn);
        assert_eq!((came.destination(), came.ether.vlan), (CLIENT, answer.ether.vlan));
    }
    let error = Packet::udp(SERVER, CLIENT).error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8);
    let error = datapath.out(&error.vlan(100), Reason::IcmpErrorOut);
    assert_eq!((error.ip.source, error.ether.vlan), (OUTSIDE, Some(100)));
}
