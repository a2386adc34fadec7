//! What NAT has nothing to do with passes untouched; what it cannot translate does not leave.

use std::net::Ipv4Addr;

use vnet_common::account::Reason;
use vnet_common::policy::role;
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE};
use vnet_tests::packet::{
    Body, EtherType, Icmp, IcmpBody, IcmpKind, Packet, Protocol, Sum, internet_checksum,
};
use vnet_tests::test_run::Context;

use crate::scene::{CLIENT, OTHER, SECOND, SERVER, datagram, outside};

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
fn protocols_without_ports_are_translated_by_address_for_one_host_at_a_time() {
    let datapath = Datapath::new();
    for protocol in [Protocol::GRE, Protocol::ESP, Protocol::SCTP, Protocol(4), Protocol(255)] {
        let of = |from, to| Packet::raw(from, to, protocol, &[7; 40]);
        datapath.back(&of(*SERVER.ip(), OUTSIDE), Reason::Unsolicited);
        let left = datapath.out(&of(*CLIENT.ip(), *SERVER.ip()), Reason::NatOut);
        assert_eq!(left, of(OUTSIDE, *SERVER.ip()));
        let came = datapath.back(&of(*SERVER.ip(), OUTSIDE), Reason::NatIn);
        assert_eq!(came, of(*SERVER.ip(), *CLIENT.ip()));
        datapath.out(&of(*OTHER.ip(), *SERVER.ip()), Reason::Protocol);
        datapath.out(&of(*OTHER.ip(), *SECOND.ip()), Reason::NatOut);
    }
}

/// The checksum of these two covers the addresses (RFC 3828 section 3.1, RFC 4340 section 9).
#[test]
fn udp_lite_and_dccp_stay_right() {
    let datapath = Datapath::new();
    for protocol in [Protocol(33), Protocol(136)] {
        let sum = |packet: &Packet| {
            let mut covered =
                [packet.source().ip().octets(), packet.destination().ip().octets()].concat();
            let Body::Raw(body) = &packet.body else { panic!("{packet} has no bytes") };
            covered.extend([0, packet.ip.protocol.0, 0, body.len() as u8]);
            covered.extend(body);
            internet_checksum(&covered)
        };
        let mut body = [3; 24];
        body[6..8].fill(0);
        let right = sum(&Packet::raw(*CLIENT.ip(), *SERVER.ip(), protocol, &body));
        body[6..8].copy_from_slice(&right.to_be_bytes());
        let left =
            datapath.out(&Packet::raw(*CLIENT.ip(), *SERVER.ip(), protocol, &body), Reason::NatOut);
        assert_eq!(sum(&left), 0, "{left}");
    }
}

#[test]
fn other_queries_than_echo_are_translated_by_their_identifier() {
    let datapath = Datapath::new();
    // Timestamp, information and mask requests and their replies (RFC 792, RFC 950).
    for kind in [13, 15, 17] {
        let icmp = |kind| Icmp {
            kind: IcmpKind { kind, code: 0 },
            checksum: Sum::Right,
            body: IcmpBody::Other { rest: 0x1234_0001, quote: vec![0; 12] },
        };
        let query = Packet::icmp(*CLIENT.ip(), *SERVER.ip(), icmp(kind));
        let left = datapath.out(&query, Reason::NatOut);
        assert_eq!(left, Packet::icmp(OUTSIDE, *SERVER.ip(), icmp(kind)));
        let reply = Packet::icmp(*SERVER.ip(), OUTSIDE, icmp(kind + 1));
        let came = datapath.back(&reply, Reason::NatIn);
        assert_eq!(came, Packet::icmp(*SERVER.ip(), *CLIENT.ip(), icmp(kind + 1)));
    }
}

#[test]
fn icmp_that_is_neither_query_nor_error_does_not_leave() {
    let datapath = Datapath::new();
    // Source quench, redirect, router advertisement, router solicitation.
    for kind in [4, 5, 9, 10] {
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
