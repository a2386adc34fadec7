//! ICMP errors from inside about what came from outside: they leave as the router's own, and quote
//! what the outside sent.

use std::net::Ipv4Addr;

use vnet_common::account::Reason;
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::packet::{IcmpKind, Packet, Sum, TcpFlags};

use crate::scene::{CLIENT, HOP, OTHER, SERVER, datagram, key, ping};

/// A router between the client and ours.
const INNER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// Sends `first` out by a moved port and lets `answer` come back; the error `by` sends about that
/// must leave as the error the outside would expect.
#[track_caller]
fn translated(first: &Packet, answer: impl Fn(&Packet) -> Packet, by: Ipv4Addr, quoted: usize) {
    let mut datapath = Datapath::new();
    datapath.out(&first.clone().from(OTHER), Reason::NatOut);
    let left = datapath.out(first, Reason::NatOut);
    let sent = answer(&left);
    let arrived = datapath.back(&sent, Reason::NatIn);
    let before = datapath.flow(&key(first));
    for kind in [IcmpKind::PORT_UNREACHABLE, IcmpKind::TIME_EXCEEDED] {
        let error = datapath.out(&arrived.error(by, kind, quoted), Reason::IcmpErrorOut);
        assert_eq!(error, sent.error(OUTSIDE, kind, quoted));
    }
    assert_eq!(datapath.flow(&key(first)), before, "an error changes nothing about the flow");
}

#[test]
fn about_a_datagram() {
    let answer = |left: &Packet| Packet::udp(SERVER, left.source()).payload(b"too late");
    translated(&datagram(), answer, *CLIENT.ip(), 8);
    translated(&datagram(), answer, *CLIENT.ip(), 100);
    translated(&datagram(), |left| answer(left).checksum(Sum::Absent), *CLIENT.ip(), 100);
}

#[test]
fn about_tcp() {
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(77, 0);
    let answer = |left: &Packet| {
        Packet::tcp(SERVER, left.source(), TcpFlags::SYN | TcpFlags::ACK).numbers(500, 78)
    };
    translated(&syn, answer, *CLIENT.ip(), 8);
    translated(&syn, answer, *CLIENT.ip(), 100);
}

#[test]
fn about_an_echo_reply() {
    let answer = |left: &Packet| {
        Packet::pong(*SERVER.ip(), OUTSIDE, crate::scene::echo_id(left)).payload(b"here")
    };
    translated(&ping(7), answer, *CLIENT.ip(), 8);
    translated(&ping(7), answer, *CLIENT.ip(), 100);
}

#[test]
fn a_router_inside_is_not_seen_outside() {
    let answer = |left: &Packet| Packet::udp(SERVER, left.source()).payload(b"too late");
    translated(&datagram(), answer, INNER, 8);
}

#[test]
fn an_error_about_nothing_of_ours_does_not_leave() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let strange = [
        Packet::udp((HOP, 9), CLIENT),
        Packet::tcp(SERVER, CLIENT, TcpFlags::SYN),
        // What the client itself has sent: nobody inside tells the outside about that.
        datagram(),
    ];
    for about in strange {
        let mut error = about.error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8);
        error.ip.destination = HOP;
        datapath.out(&error, Reason::IcmpUnmatched);
    }
}
