//! Checksums: right stays right, none stays none, wrong stays wrong.

use vnet_common::account::Reason;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Body, Packet, Sum, TcpFlags};

use crate::scene::{CLIENT, OTHER, SERVER, datagram, outside};

/// Moves the port too, so that all that can change does.
fn busy() -> Datapath {
    let datapath = Datapath::new();
    datapath.out(&datagram().from(OTHER), Reason::NatOut);
    datapath
}

#[test]
fn a_datagram_without_checksum_keeps_none() {
    let datapath = busy();
    let sent = datagram().checksum(Sum::Absent);
    let left = datapath.out(&sent, Reason::NatOut);
    assert_eq!(left, sent.from(left.source()));
    let answer = Packet::udp(SERVER, left.source()).checksum(Sum::Absent);
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn a_checksum_that_comes_to_zero_is_written_as_ones() {
    let datapath = Datapath::new();
    let sent = (0..=u16::MAX).map(|word| datagram().payload(&word.to_be_bytes()));
    let ones =
        |packet: &Packet| packet.clone().from(outside(4000)).ip_bytes()[26..28] == [0xff, 0xff];
    let sent = sent.into_iter().find(ones).expect("one in 65,536 payloads does");
    assert_eq!(datapath.out(&sent, Reason::NatOut), sent.from(outside(4000)));
}

#[test]
fn a_damaged_packet_stays_damaged() {
    let datapath = busy();
    for sent in [
        datagram().checksum(Sum::Wrong(0x1234)),
        Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).checksum(Sum::Wrong(0x1234)),
        crate::scene::ping(4).checksum(Sum::Wrong(0x1234)),
    ] {
        // That wrong sums stay wrong is part of every judgement.
        datapath.out(&sent, Reason::NatOut);
    }
    let mut sent = datagram();
    sent.ip.checksum = Sum::Wrong(0x4321);
    datapath.out(&sent, Reason::NatOut);
}

#[test]
fn every_length_comes_out_right() {
    let datapath = busy();
    let data: Vec<u8> = (0..=255).cycle().take(1400).collect();
    for length in (0..70).chain([127, 128, 575, 1399, 1400]) {
        let sent = datagram().payload(&data[..length]);
        let left = datapath.out(&sent, Reason::NatOut);
        assert_eq!(left, sent.from(left.source()));
    }
}

#[test]
fn options_of_every_length_are_stepped_over() {
    let datapath = busy();
    for words in 0..=10 {
        let mut syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).payload(b"data");
        syn.ip.options = vec![1; words * 4];
        let Body::Tcp(tcp) = &mut syn.body else { panic!("a SYN is TCP") };
        tcp.options = vec![1; (10 - words) * 4];
        let left = datapath.out(&syn, Reason::NatOut);
        assert_eq!(left, syn.from(left.source()));
    }
}

#[test]
fn many_addresses_and_ports_come_out_right() {
    let datapath = Datapath::plan().ports(1, 65535).build();
    let mut random = 0x9e37_79b9_u32;
    for _ in 0..300 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, d] = random.to_be_bytes();
        let client = ([10, a, b, c].into(), u16::from_be_bytes([c, d]).max(1));
        let server = ([203, d, c, b].into(), u16::from_be_bytes([a, b]).max(1));
        let sent = Packet::udp(client, server).payload(&[d, c, b]);
        let left = datapath.out(&sent, Reason::NatOut);
        assert_eq!(left, sent.from(left.source()));
        let answer = Packet::udp(server, left.source()).payload(&[a]);
        assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(client));
    }
}
