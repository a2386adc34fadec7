//! Who may send to a mapping (RFC 4787 section 5, RFC 5382 section 4.3).

use vnet_common::account::Reason;
use vnet_common::flow::{flag, proto};
use vnet_common::policy::filtering;
use vnet_common::tcp::State;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{CLIENT, SERVER, datagram, key};

/// Another port of the server's, and another server.
const ELSEWHERE: &str = "203.0.113.5:9999";
const STRANGER: &str = "203.0.113.77:9999";
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;

fn with(mode: u32) -> Datapath {
    Datapath::plan().filtering(mode).build()
}

/// What a stranger sends to the mapping that `sent` made.
fn answer_from(who: &str, sent: &Packet) -> Packet {
    Packet::udp(who, sent.source())
}

#[test]
fn endpoint_independent_lets_anybody_in() {
    let mut datapath = with(filtering::ENDPOINT_INDEPENDENT);
    let sent = datapath.out(&datagram(), Reason::NatOut);
    for who in [ELSEWHERE, STRANGER] {
        let came = answer_from(who, &sent);
        assert_eq!(datapath.back(&came, Reason::NatIn), came.clone().to(CLIENT));
        let back = datagram().to(who);
        assert_eq!(datapath.out(&back, Reason::NatOut), back.from(sent.source()));
    }
    assert_eq!(datapath.flows(), 6);
    assert_eq!(datapath.owner(proto::UDP, sent.source().port()).uses, 3);
}

#[test]
fn address_dependent_lets_the_address_in_that_was_sent_to() {
    let datapath = with(filtering::ADDRESS_DEPENDENT);
    let sent = datapath.out(&datagram(), Reason::NatOut);
    let came = answer_from(ELSEWHERE, &sent);
    assert_eq!(datapath.back(&came, Reason::NatIn), came.clone().to(CLIENT));
    datapath.back(&answer_from(STRANGER, &sent), Reason::Filtered);
}

#[test]
fn address_and_port_dependent_lets_nobody_else_in() {
    let mut datapath = with(filtering::ADDRESS_AND_PORT_DEPENDENT);
    let sent = datapath.out(&datagram(), Reason::NatOut);
    for who in [ELSEWHERE, STRANGER] {
        datapath.back(&answer_from(who, &sent), Reason::Filtered);
    }
    assert_eq!(datapath.flows(), 2, "what comes from outside makes no state");
}

#[test]
fn a_connection_from_outside_is_followed_from_its_own_end() {
    let mut datapath = with(filtering::ENDPOINT_INDEPENDENT);
    let mapped = datapath.out(&Packet::tcp(CLIENT, SERVER, SYN), Reason::NatOut).source();
    let came = |flags| Packet::tcp(STRANGER, mapped, flags);
    datapath.back(&came(ACK).numbers(7, 9), Reason::Filtered);
    datapath.back(&came(SYN).numbers(500, 0), Reason::NatIn);
    let key = key(&Packet::tcp(CLIENT, STRANGER, SYN));
    let flow = datapath.flow(&key).expect("the flow is there");
    assert_eq!((flow.state, flow.flags), (State::SynSent as u8, flag::INVITED));
    let answer = Packet::tcp(CLIENT, STRANGER, SYN | ACK).numbers(900, 501);
    datapath.out(&answer, Reason::NatOut);
    datapath.back(&came(ACK).numbers(501, 901), Reason::NatIn);
    let flow = datapath.flow(&key).expect("the flow is there");
    assert_eq!(flow.state, State::Established as u8);
    assert_eq!(flow.flags, flag::INVITED | flag::REPLIED);
}
