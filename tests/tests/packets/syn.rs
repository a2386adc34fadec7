//! A SYN from outside to a port that an inside host holds, uninvited: silence for six seconds, then
//! an ICMP error, and a connection if the inside opens it from its end meanwhile (RFC 5382 REQ-4).

use vnet_common::account::Reason;
use vnet_common::answer::Unsolicited;
use vnet_common::flow::FlowKey;
use vnet_common::tcp::State;
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE};
use vnet_tests::packet::{Body, IcmpKind, Packet, TcpFlags};

use crate::scene::{CLIENT, SECOND, SERVER, key, outside};

const SECONDS: u64 = 1_000_000_000;

/// A client that has spoken to one server.
fn mapped() -> Datapath {
    let datapath = Datapath::plan().answering().build();
    datapath.out(&Packet::tcp(CLIENT, SERVER, TcpFlags::SYN), Reason::NatOut);
    datapath
}

/// Another server's SYN to its mapping.
fn syn(sequence: u32) -> Packet {
    Packet::tcp(SECOND, outside(4000), TcpFlags::SYN).numbers(sequence, 0)
}

/// Lets time pass for that SYN.
fn wait(datapath: &mut Datapath, seconds: u64) {
    let mut syns = datapath.hash::<FlowKey, Unsolicited>("syns");
    let mut seen = syns.get(&key(&syn(0)), 0).expect("it is remembered");
    seen.since -= seconds * SECONDS;
    syns.insert(key(&syn(0)), seen, 0).expect("there is room");
}

#[test]
fn rfc5382_req4_six_seconds_of_silence_and_then_port_unreachable() {
    let mut datapath = mapped();
    datapath.back(&syn(77), Reason::Filtered);
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 5);
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 1);
    let answer = datapath.answered(Hook::In, &datapath.own(), &syn(77), Reason::Filtered);
    assert!(
        matches!(&answer.body, Body::Icmp(icmp) if icmp.kind == IcmpKind::PORT_UNREACHABLE),
        "{answer}"
    );
    assert_eq!(answer.ip.source, OUTSIDE, "{answer}");
    let quote = answer.quote().expect("an error quotes");
    assert_eq!((quote.source, quote.destination), (SECOND, outside(4000)), "as it was outside");
    assert_eq!(quote.body.len(), 20);
    assert_eq!(datapath.flows(), 2, "what comes from outside makes no state");
}

#[test]
fn rfc5382_req4_another_syn_begins_anew() {
    let mut datapath = mapped();
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 60);
    datapath.back(&syn(78), Reason::Filtered);
    datapath.back(&syn(78), Reason::Filtered);
    wait(&mut datapath, 6);
    let _ = datapath.answered(Hook::In, &datapath.own(), &syn(78), Reason::Filtered);
}

#[test]
fn rfc5382_req4_a_connection_that_the_inside_opens_meanwhile() {
    let mut datapath = mapped();
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 60);
    let out = Packet::tcp(CLIENT, SECOND, TcpFlags::SYN);
    datapath.out(&out, Reason::NatOut);
    datapath.back(&syn(77), Reason::NatIn);
    assert_eq!(datapath.state(&key(&out)), State::SynRecv);
}

#[test]
fn other_segments_and_datagrams_are_never_answered() {
    let mut datapath = mapped();
    datapath.out(&Packet::udp(CLIENT, SERVER), Reason::NatOut);
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 60);
    for flags in [TcpFlags::ACK, TcpFlags::RST, TcpFlags::FIN | TcpFlags::ACK] {
        let segment = Packet::tcp(SECOND, outside(4000), flags).numbers(77, 0);
        datapath.back(&segment, Reason::Filtered);
    }
    datapath.back(&Packet::udp(SECOND, outside(4000)), Reason::Filtered);
}

#[test]
fn switched_off_there_is_silence_for_good() {
    let mut datapath = Datapath::new();
    datapath.out(&Packet::tcp(CLIENT, SERVER, TcpFlags::SYN), Reason::NatOut);
    datapath.back(&syn(77), Reason::Filtered);
    wait(&mut datapath, 60);
    datapath.back(&syn(77), Reason::Filtered);
}
