//! What is counted: packets and bytes by reason and by flow, segments of what is yet to be cut.

use vnet_common::account::Reason;
use vnet_common::flow::Flow;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{Packet, TcpFlags};
use vnet_tests::test_run::Context;

use crate::scene::{CLIENT, SERVER, datagram, key, outside};

#[test]
fn a_flow_counts_each_direction_from_the_ip_header_on() {
    let mut datapath = Datapath::new();
    let answer = Packet::udp(SERVER, outside(4000)).payload(&[1; 100]);
    for _ in 0..3 {
        datapath.out(&datagram(), Reason::NatOut);
    }
    for _ in 0..2 {
        datapath.back(&answer, Reason::NatIn);
    }
    let out = datapath.flow(&key(&datagram())).expect("the flow is there");
    let question = datagram().ip_bytes().len() as u64;
    assert_eq!((out.packets, out.bytes), (3, 3 * question));
    let back = datapath.flow(&key(&answer)).expect("the flow is there");
    assert_eq!((back.packets, back.bytes), (2, 2 * 128));
    assert!(out.first_seen > 0 && Flow::stamp(out.last_seen) >= out.first_seen);
    assert!(back.last_seen >= out.last_seen && back.first_seen == out.first_seen);
}

#[test]
fn reasons_count_bytes_from_the_link_header_on() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&datagram().from("192.168.0.2:1"), Reason::PrivateSource);
    let length = datagram().bytes().len() as u64;
    for reason in [Reason::NatOut, Reason::PrivateSource] {
        let counter = datapath.counter(reason);
        assert_eq!((counter.packets, counter.bytes), (1, length), "{}", reason.name());
    }
}

#[test]
fn a_packet_yet_to_be_cut_counts_as_its_segments() {
    let mut datapath = Datapath::new();
    let data = Packet::tcp(CLIENT, SERVER, TcpFlags::ACK).payload(&[9; 1000]);
    let (segments, size) = (4, 250);
    let gso = Context { gso: (segments, size), ..datapath.forwarded() };
    datapath.judged(Hook::Out, &gso, &data, Reason::NatOut);
    // Each of the four carries its own headers: 14 Ethernet, 20 IP, 20 TCP.
    let counter = datapath.counter(Reason::NatOut);
    assert_eq!((counter.packets, counter.bytes), (4, 1000 + 4 * 54));
    let flow = datapath.flow(&key(&data)).expect("the flow is there");
    assert_eq!((flow.packets, flow.bytes), (4, 1000 + 4 * 40));
}

#[test]
fn a_datagram_yet_to_be_cut_counts_as_its_segments() {
    let mut datapath = Datapath::new();
    let data = datagram().payload(&[9; 1000]);
    let gso = Context { gso: (10, 100), ..datapath.forwarded() };
    datapath.judged(Hook::Out, &gso, &data, Reason::NatOut);
    let flow = datapath.flow(&key(&data)).expect("the flow is there");
    assert_eq!((flow.packets, flow.bytes), (10, 1000 + 10 * 28));
}

#[test]
fn padding_of_a_short_frame_is_no_part_of_the_conversation() {
    let mut datapath = Datapath::new();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(10, 0);
    let mut frame = syn.bytes();
    frame.resize(60, 0);
    let left = datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::NatOut);
    assert_eq!(Packet::parse(&left), Ok(syn.clone().from(outside(4000))));
    let flow = datapath.flow(&key(&syn)).expect("the flow is there");
    assert_eq!(flow.seq_end, 11, "six bytes of padding are not data");
}

#[test]
fn padding_is_not_counted() {
    let mut datapath = Datapath::new();
    let short = datagram().payload(b"ab");
    let mut frame = short.bytes();
    frame.resize(60, 0);
    datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::NatOut);
    let flow = datapath.flow(&key(&short)).expect("the flow is there");
    assert_eq!((flow.packets, flow.bytes), (1, 30), "IP, UDP and two bytes");
}

#[test]
fn segments_that_nobody_has_counted_yet_are_counted() {
    // As a virtual machine sends it: the size of segments, but not how many there are.
    for (length, segments) in [(1000, 4), (1001, 5), (250, 1), (1, 1)] {
        let mut datapath = Datapath::new();
        let data = datagram().payload(&vec![9; length]);
        let gso = Context { gso: (0, 250), ..datapath.forwarded() };
        datapath.judged(Hook::Out, &gso, &data, Reason::NatOut);
        let flow = datapath.flow(&key(&data)).expect("the flow is there");
        let bytes = length as u64 + segments * 28;
        assert_eq!((flow.packets, flow.bytes), (segments, bytes), "{length} bytes");
    }
}
