//! ICMP errors from outside about what a client sent: they reach that client, and what they quote
//! is what it sent.

use vnet_common::account::Reason;
use vnet_common::flow::flag;
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE};
use vnet_tests::packet::{
    Body, Icmp, IcmpBody, IcmpKind, Packet, Protocol, Sum, TcpFlags, assert_valid,
};

use crate::scene::{CLIENT, HOP, OTHER, SECOND, SERVER, datagram, key, outside, ping};

const EVERY_KIND: [IcmpKind; 4] = [
    IcmpKind::PORT_UNREACHABLE,
    IcmpKind::FRAGMENTATION_NEEDED,
    IcmpKind::TIME_EXCEEDED,
    IcmpKind::PARAMETER_PROBLEM,
];

/// A datapath where the port has been moved, so that address and port both change.
fn moved(first: &Packet) -> (Datapath, Packet) {
    let datapath = Datapath::new();
    datapath.out(&first.clone().from(OTHER), Reason::NatOut);
    let left = datapath.out(first, Reason::NatOut);
    (datapath, left)
}

/// The error about `left` comes in; what comes out must be the error about `sent`.
#[track_caller]
fn translated(datapath: &Datapath, sent: &Packet, left: &Packet, kind: IcmpKind, quoted: usize) {
    let arrived = datapath.back(&left.error(HOP, kind, quoted), Reason::IcmpErrorIn);
    assert_eq!(arrived, sent.error(HOP, kind, quoted));
}

#[test]
fn about_tcp_with_the_least_quote_there_is() {
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(77, 0);
    let (datapath, left) = moved(&syn);
    for kind in EVERY_KIND {
        translated(&datapath, &syn, &left, kind, 8);
    }
}

#[test]
fn about_tcp_quoted_in_full() {
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(77, 0).payload(b"fast open");
    let (datapath, left) = moved(&syn);
    translated(&datapath, &syn, &left, IcmpKind::PORT_UNREACHABLE, 1000);
}

#[test]
fn about_every_length_of_quote() {
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(77, 0).payload(b"fast open");
    let (datapath, left) = moved(&syn);
    // From the checksum's first byte on, half a checksum is no checksum.
    for quoted in (8..30).filter(|quoted| *quoted != 17) {
        translated(&datapath, &syn, &left, IcmpKind::TIME_EXCEEDED, quoted);
    }
}

#[test]
fn about_a_datagram_with_and_without_checksum() {
    for sent in [datagram(), datagram().checksum(Sum::Absent)] {
        let (datapath, left) = moved(&sent);
        translated(&datapath, &sent, &left, IcmpKind::PORT_UNREACHABLE, 8);
        translated(&datapath, &sent, &left, IcmpKind::TIME_EXCEEDED, 100);
    }
}

#[test]
fn about_a_ping() {
    let (datapath, left) = moved(&ping(7));
    translated(&datapath, &ping(7), &left, IcmpKind::TIME_EXCEEDED, 8);
    translated(&datapath, &ping(7), &left, IcmpKind::PORT_UNREACHABLE, 100);
}

#[test]
fn about_a_packet_whose_port_was_kept() {
    let datapath = Datapath::new();
    let left = datapath.out(&datagram(), Reason::NatOut);
    translated(&datapath, &datagram(), &left, IcmpKind::PORT_UNREACHABLE, 8);
}

#[test]
fn about_a_packet_with_options() {
    let mut sent = datagram();
    sent.ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    let (datapath, left) = moved(&sent);
    assert_eq!(left.ip.options, sent.ip.options);
    translated(&datapath, &sent, &left, IcmpKind::PORT_UNREACHABLE, 8);
}

#[test]
fn about_the_first_fragment_of_a_packet() {
    // What a router further on says about a packet that another one has cut.
    let big = datagram().payload(&[5; 200]);
    let (datapath, left) = moved(&big);
    let cut =
        |packet: &Packet| packet.fragments(104).remove(0).error(HOP, IcmpKind::TIME_EXCEEDED, 8);
    let arrived = datapath.back(&cut(&left), Reason::IcmpErrorIn);
    assert_eq!(arrived, cut(&big));
    let later = left.fragments(104).remove(1).error(HOP, IcmpKind::TIME_EXCEEDED, 8);
    datapath.back(&later, Reason::Unsolicited);
}

#[test]
fn the_mtu_and_what_follows_the_quote_arrive() {
    let (datapath, left) = moved(&datagram());
    // RFC 4884: the quote padded to 128 bytes, the rest an extension nobody here understands.
    let with_extension = |packet: &Packet| {
        let mut error = packet.error(HOP, IcmpKind::FRAGMENTATION_NEEDED, 100);
        let Body::Icmp(Icmp { body: IcmpBody::Other { rest, quote }, .. }) = &mut error.body else {
            panic!("an error has a quote")
        };
        *rest = 32 << 16 | 1400;
        quote.resize(128, 0);
        quote.extend([0x20, 0, 0xde, 0xad, 0, 8, 1, 1, 1, 2, 3, 4]);
        error
    };
    let arrived = datapath.back(&with_extension(&left), Reason::IcmpErrorIn);
    assert_eq!(arrived, with_extension(&datagram()));
}

#[test]
fn a_quoted_checksum_that_comes_to_zero_is_written_as_ones() {
    let datapath = Datapath::new();
    // Some payload makes the client's own checksum 0xffff, which is 0 to the arithmetic.
    let sent = (0..=u16::MAX).map(|word| datagram().payload(&word.to_be_bytes()));
    let sent = sent.into_iter().find(|packet| packet.ip_bytes()[26..28] == [0xff, 0xff]);
    let sent = sent.expect("one in 65,536 payloads does");
    let left = datapath.out(&sent, Reason::NatOut);
    translated(&datapath, &sent, &left, IcmpKind::PORT_UNREACHABLE, 100);
}

#[test]
fn an_error_changes_nothing_about_the_flow() {
    let (mut datapath, left) = moved(&datagram());
    let before = datapath.flow(&key(&datagram()));
    datapath.back(&left.error(HOP, IcmpKind::PORT_UNREACHABLE, 8), Reason::IcmpErrorIn);
    assert_eq!(datapath.flow(&key(&datagram())), before);
    assert_eq!(before.expect("the flow is there").flags & flag::REPLIED, 0);
}

#[test]
fn an_error_about_nothing_of_ours_is_the_hosts_business() {
    let (datapath, left) = moved(&datagram());
    let strange = [
        left.clone().to(SECOND),
        left.clone().from(outside(9)),
        Packet::tcp(left.source(), SERVER, TcpFlags::SYN),
        Packet::raw(OUTSIDE, *SERVER.ip(), Protocol::GRE, &[0; 20]),
        Packet::icmp(OUTSIDE, *SERVER.ip(), Icmp::echo(IcmpKind { kind: 13, code: 0 }, 1, 1)),
    ];
    for about in strange {
        datapath.back(&about.error(HOP, IcmpKind::PORT_UNREACHABLE, 28), Reason::Unsolicited);
    }
    let cut_short = left.error(HOP, IcmpKind::PORT_UNREACHABLE, 7);
    datapath.back(&cut_short, Reason::Unsolicited);
    let no_quote = left.error(HOP, IcmpKind::PORT_UNREACHABLE, 8).payload(b"");
    datapath.back(&no_quote, Reason::Unsolicited);
}

#[test]
fn an_error_that_quotes_an_answer_is_not_about_what_we_sent() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let answer = Packet::udp(SERVER, outside(4000));
    let mut error = answer.error(HOP, IcmpKind::PORT_UNREACHABLE, 8);
    error.ip.destination = OUTSIDE;
    datapath.back(&error, Reason::Unsolicited);
}

#[test]
fn an_error_about_the_hosts_own_connection_stays_what_it_is() {
    let datapath = Datapath::new();
    let syn = Packet::tcp(outside(5000), SERVER, TcpFlags::SYN);
    let left = datapath.host_out(&syn, Reason::NatOut);
    let error = left.error(HOP, IcmpKind::TIME_EXCEEDED, 100);
    assert_eq!(datapath.back(&error, Reason::IcmpErrorIn), error);
    assert_valid(&error.bytes());
}

#[test]
fn bytes_behind_the_packet_are_no_part_of_its_checksum() {
    let (datapath, left) = moved(&datagram());
    let mut frame = left.error(HOP, IcmpKind::PORT_UNREACHABLE, 8).bytes();
    frame.extend([0x55; 7]);
    let arrived = datapath.judged_frame(Hook::In, &datapath.own(), &frame, Reason::IcmpErrorIn);
    let expected = datagram().error(HOP, IcmpKind::PORT_UNREACHABLE, 8);
    assert_eq!(Packet::parse(&arrived), Ok(expected));
}

#[test]
fn an_error_about_the_hosts_own_answer_is_not_a_clients() {
    let datapath = Datapath::new();
    datapath.out(&ping(7), Reason::NatOut);
    // The server has pinged the router with the id the client uses; the router's reply met an error.
    let reply = Packet::pong(OUTSIDE, *SERVER.ip(), 7);
    datapath.host_out(&reply, Reason::Host);
    datapath.back(&reply.error(HOP, IcmpKind::TIME_EXCEEDED, 8), Reason::Unsolicited);
    let query = Packet::ping(OUTSIDE, *SERVER.ip(), 7);
    datapath.back(&query.error(HOP, IcmpKind::TIME_EXCEEDED, 8), Reason::IcmpErrorIn);
}
