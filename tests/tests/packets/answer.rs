//! Who is refused is told: the refused packet becomes an ICMP error to its sender.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_common::account::Reason;
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE};
use vnet_tests::packet::{Body, Icmp, IcmpKind, Packet, TcpFlags};
use vnet_tests::skip;
use vnet_tests::test_run::{Action, Context};

use crate::scene::{CLIENT, OTHER, SERVER, datagram, ping};

/// One port, which the client has for every protocol; others are refused.
fn full() -> Datapath {
    let datapath = Datapath::plan().ports(7000, 7000).answering().build();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&Packet::tcp(CLIENT, SERVER, TcpFlags::SYN), Reason::NatOut);
    datapath
}

#[track_caller]
fn answered(datapath: &Datapath, packet: &Packet) -> Packet {
    datapath.answered(Hook::Out, &datapath.forwarded(), packet, Reason::PortsExhausted)
}

/// The n-th host that was told nothing yet.
fn host(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, n), 4000)
}

/// Bytes that an answer quotes behind the IP header.
fn quoted(answer: &Packet, of: &Packet) -> usize {
    let Body::Icmp(Icmp { kind, .. }) = &answer.body else { panic!("no ICMP: {answer}") };
    assert_eq!(*kind, IcmpKind::PROHIBITED, "{answer}");
    let quote = answer.quote().expect("an error quotes");
    assert_eq!((quote.source, quote.destination), (of.source(), of.destination()), "{answer}");
    assert_eq!(quote.ip, of.ip, "{answer}");
    quote.body.len()
}

#[test]
fn rfc5508_req8_a_refusal_is_answered_as_prohibited() {
    let datapath = full();
    let packet = datagram().from(OTHER);
    let answer = answered(&datapath, &packet);
    assert_eq!(quoted(&answer, &packet), 8);
    assert_eq!((answer.ip.ttl, answer.ip.tos), (64, 0xc0));
    assert_eq!(answer.ip.source, OUTSIDE, "where the kernel does not tell: {answer}");
}

#[test]
fn an_answer_comes_from_the_address_its_receiver_knows() {
    if !names_sources() {
        skip!("this kernel does not tell programs which source it would use (before Linux 6.7)");
    }
    let datapath = full();
    // Devices that do not forward have no ways.
    datapath.netns.set_sysctl("net/ipv4/ip_forward", "1");
    let answer = answered(&datapath, &datagram().from(OTHER));
    assert_eq!(answer.ip.source, Ipv4Addr::new(10, 0, 0, 1), "{answer}");
}

/// Whether the kernel tells which address it would send from (BPF_FIB_LOOKUP_SRC).
fn names_sources() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is Linux");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or_default();
    (next(), next()) >= (6, 7)
}

#[test]
fn packets_of_all_sizes_are_quoted() {
    let datapath = full();
    for (n, length) in [0, 1, 7, 8, 100, 1472, 3000].into_iter().enumerate() {
        let from = host(u8::try_from(n).expect("a few"));
        let payload = vec![b'x'; length];
        let datagram = datagram().from(from).payload(&payload);
        assert_eq!(quoted(&answered(&datapath, &datagram), &datagram), 8, "{length}");
        let segment = Packet::tcp(from, SERVER, TcpFlags::SYN).payload(&payload);
        assert_eq!(quoted(&answered(&datapath, &segment), &segment), 20, "{length}");
    }
}

#[test]
fn options_are_quoted() {
    let datapath = full();
    for (n, length) in [4, 20, 40].into_iter().enumerate() {
        let mut packet = datagram().from(host(n as u8));
        packet.ip.options = vec![1; length];
        assert_eq!(quoted(&answered(&datapath, &packet), &packet), 8, "{length}");
    }
    let mut packet = Packet::tcp(OTHER, SERVER, TcpFlags::SYN);
    packet.ip.options = vec![1; 40];
    let Body::Tcp(tcp) = &mut packet.body else { panic!("it is TCP") };
    tcp.options = vec![1; 40];
    assert_eq!(quoted(&answered(&datapath, &packet), &packet), 20);
}

#[test]
fn a_ping_is_answered_when_the_flow_table_is_full() {
    let datapath = Datapath::plan().max_flows(1).answering().build();
    crate::scene::answered(&datapath, &ping(7));
    let second = ping(8);
    let answer = datapath.answered(Hook::Out, &datapath.forwarded(), &second, Reason::FlowsFull);
    assert_eq!(answer.quote().expect("an error quotes").body[..8], second.ip_bytes()[20..28]);
}

#[test]
fn segments_joined_are_answered_once() {
    let datapath = full();
    let packet = datagram().from(OTHER).payload(&[1; 1200]);
    let context = Context { gso: (3, 400), ..datapath.forwarded() };
    let verdict = datapath.run_frame(Hook::Out, &context, &packet.bytes());
    assert_eq!(verdict.action, Action::Redirect);
    assert_eq!(quoted(&verdict.packet(), &packet), 8);
    assert_eq!(datapath.counter(Reason::IcmpSent).packets, 1);
    assert_eq!(datapath.counter(Reason::PortsExhausted).packets, 3);
}

#[test]
fn a_host_that_does_not_stop_is_told_only_so_often() {
    let datapath = full();
    let packet = datagram().from(OTHER);
    for _ in 0..6 {
        answered(&datapath, &packet);
    }
    datapath.out(&packet, Reason::PortsExhausted);
    // Others are still told.
    answered(&datapath, &datagram().from(host(1)));
}

#[test]
fn all_together_are_told_only_so_often() {
    let datapath = full();
    for n in 0..=255 {
        let packet = datagram().from(host(n));
        let _ = datapath.run_frame(Hook::Out, &datapath.forwarded(), &packet.bytes());
    }
    let (refused, told) = (
        datapath.counter(Reason::PortsExhausted).packets,
        datapath.counter(Reason::IcmpSent).packets,
    );
    assert_eq!(refused, 256);
    assert!((50..256).contains(&told), "{told} answers at once");
}

#[test]
fn switched_off_nobody_is_told() {
    let datapath = Datapath::plan().ports(7000, 7000).build();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&datagram().from(OTHER), Reason::PortsExhausted);
    assert_eq!(datapath.counter(Reason::IcmpSent).packets, 0);
}

#[test]
fn what_is_dropped_for_other_reasons_is_not_answered() {
    let datapath = full();
    datapath.out(&datagram().from("192.168.0.2:1"), Reason::PrivateSource);
    datapath.out(&Packet::tcp(OTHER, SERVER, TcpFlags::RST), Reason::TcpNoFlow);
    datapath.back(
        &Packet::udp(SERVER, crate::scene::outside(7000)).from("8.8.8.8:1"),
        Reason::Filtered,
    );
}
