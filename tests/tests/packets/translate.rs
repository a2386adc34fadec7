//! Conversations from inside: outward, back, and nobody else's.

use std::net::SocketAddrV4;

use vnet_common::account::Reason;
use vnet_common::flow::{Direction, flag, proto};
use vnet_common::policy::role;
use vnet_common::tcp::State;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{
    CLIENT, OTHER, SECOND, SERVER, datagram, echo_id, endpoint, key, outside, ping,
};

fn syn() -> Packet {
    Packet::tcp(CLIENT, SERVER, TcpFlags::SYN).numbers(100, 0)
}

#[test]
fn a_datagram_keeps_its_port_and_is_answered() {
    let datapath = Datapath::new();
    assert_eq!(datapath.out(&datagram(), Reason::NatOut), datagram().from(outside(4000)));
    let answer = Packet::udp(SERVER, outside(4000)).payload(b"answer");
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn a_connection_keeps_its_port_and_is_answered() {
    let datapath = Datapath::new();
    assert_eq!(datapath.out(&syn(), Reason::NatOut), syn().from(outside(4000)));
    let answer = Packet::tcp(SERVER, outside(4000), TcpFlags::SYN | TcpFlags::ACK);
    let answer = answer.numbers(500, 101);
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn a_ping_keeps_its_id_and_is_answered() {
    let datapath = Datapath::new();
    let left = datapath.out(&ping(7), Reason::NatOut);
    assert_eq!(left, ping(7).from(outside(0)));
    let answer = Packet::pong(*SERVER.ip(), *outside(0).ip(), 7).payload(b"I am");
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn only_addresses_and_ports_change() {
    let datapath = Datapath::new();
    let mut sent = datagram().ttl(3).id(0xbeef).dont_fragment();
    sent.ip.tos = 0xb9;
    assert_eq!(datapath.out(&sent, Reason::NatOut), sent.from(outside(4000)));
}

#[test]
fn a_second_client_with_the_same_port_gets_another() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let second = datagram().from(OTHER);
    let left = datapath.out(&second, Reason::NatOut);
    let port = left.source().port();
    assert!(port >= 1024 && port != 4000, "{left}");
    assert_eq!(left, second.from(outside(port)));
    let answer = Packet::udp(SERVER, outside(port)).payload(b"yours");
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(OTHER));
    let answer = Packet::udp(SERVER, outside(4000)).payload(b"the first one's");
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn a_second_client_with_the_same_echo_id_gets_another() {
    let datapath = Datapath::new();
    datapath.out(&ping(7), Reason::NatOut);
    let second = ping(7).from(OTHER);
    let left = datapath.out(&second, Reason::NatOut);
    let id = echo_id(&left);
    assert_ne!(id, 7, "{left}");
    assert_eq!(left, second.from(outside(0)).echo_id(id));
    let answer = Packet::pong(*SERVER.ip(), *outside(0).ip(), id).payload(b"yours");
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(OTHER).echo_id(7));
}

#[test]
fn a_port_moved_is_the_same_towards_everybody() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let first = datapath.out(&datagram().from(OTHER), Reason::NatOut);
    let second = datapath.out(&datagram().from(OTHER).to(SECOND), Reason::NatOut);
    assert_eq!(first.source(), second.source(), "endpoint-independent mapping");
    assert_eq!(second.destination(), SECOND);
}

#[test]
fn a_port_kept_is_the_same_towards_everybody_also_when_others_want_it() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    // Towards the second server nobody holds port 4000 yet: a NAT that maps for each destination
    // would give it away here.
    let polluted = datapath.out(&datagram().from(OTHER).to(SECOND), Reason::NatOut);
    assert_ne!(polluted.source().port(), 4000);
    let kept = datapath.out(&datagram().to(SECOND), Reason::NatOut);
    assert_eq!(kept.source(), outside(4000));
    assert_eq!(datapath.owner(proto::UDP, 4000).uses, 2, "two flows use the mapping");
}

#[test]
fn tcp_and_udp_ports_are_not_each_others() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let left = datapath.out(&syn().from(OTHER), Reason::NatOut);
    assert_eq!(left.source(), outside(4000), "UDP's 4000 is no reason to move TCP's");
}

#[test]
fn a_low_port_is_moved_into_the_range() {
    let datapath = Datapath::plan().ports(2000, 2999).build();
    let left = datapath.out(&datagram().from((*CLIENT.ip(), 53)), Reason::NatOut);
    assert!((2000..3000).contains(&left.source().port()), "{left}");
}

#[test]
fn what_is_known_is_written_down() {
    let mut datapath = Datapath::new();
    let left = datapath.out(&datagram(), Reason::NatOut);
    let flow = datapath.flow(&key(&datagram())).expect("a flow for the way out");
    assert_eq!((flow.saddr, flow.sport), ([198, 51, 100, 1], 4000));
    assert_eq!((flow.daddr, flow.dport), (SERVER.ip().octets(), SERVER.port()));
    assert_eq!((flow.direction, flow.flags), (Direction::Out as u8, 0));
    assert_eq!((flow.packets, flow.link), (1, datapath.uplink.index));
    let answer = Packet::udp(SERVER, left.source());
    assert_eq!(flow.twin(proto::UDP), key(&answer), "its twin is the answer's entry");
    let back = datapath.flow(&key(&answer)).expect("a flow for the way back");
    assert_eq!((back.direction, back.packets), (Direction::In as u8, 0));
    assert_eq!((back.daddr, back.dport), (CLIENT.ip().octets(), CLIENT.port()));
    let mapping = datapath.mapping(&endpoint(&datagram())).expect("a mapping");
    assert_eq!((mapping.addr, mapping.port), ([198, 51, 100, 1], 4000));
    let owner = datapath.owner(proto::UDP, 4000);
    assert_eq!((owner.uses, owner.addr, owner.port), (1, CLIENT.ip().octets(), 4000));
}

#[test]
fn an_answer_confirms_the_flow() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(datapath.state(&key(&datagram())), State::Unreplied);
    datapath.back(&Packet::udp(SERVER, outside(4000)), Reason::NatIn);
    assert_eq!(datapath.state(&key(&datagram())), State::Replied);
    let flow = datapath.flow(&key(&datagram())).expect("the flow is still there");
    assert_eq!(flow.flags, flag::REPLIED);
}

#[test]
fn others_do_not_reach_a_mapped_port() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let flows = datapath.flows();
    for stranger in [SECOND, SocketAddrV4::new(*SERVER.ip(), 81)] {
        datapath.back(&Packet::udp(stranger, outside(4000)), Reason::Filtered);
    }
    datapath.out(&syn(), Reason::NatOut);
    let syn = Packet::tcp(SECOND, outside(4000), TcpFlags::SYN);
    datapath.back(&syn, Reason::Filtered);
    assert_eq!(datapath.flows(), flows + 2, "what comes from outside makes no state");
}

#[test]
fn a_port_nobody_holds_is_the_hosts_business() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.back(&Packet::udp(SERVER, outside(4001)), Reason::Unsolicited);
    datapath.back(&Packet::tcp(SERVER, outside(4000), TcpFlags::SYN), Reason::Unsolicited);
    datapath.back(&Packet::ping(*SERVER.ip(), *outside(0).ip(), 7), Reason::Unsolicited);
    datapath.back(&Packet::pong(*SERVER.ip(), *outside(0).ip(), 7), Reason::Unsolicited);
}

#[test]
fn an_echo_request_does_not_pass_as_an_answer() {
    let datapath = Datapath::new();
    datapath.out(&ping(7), Reason::NatOut);
    // Same addresses and same id as the reply would have, but it asks.
    datapath.back(&Packet::ping(*SERVER.ip(), *outside(0).ip(), 7), Reason::Unsolicited);
    datapath.out(&Packet::pong(*CLIENT.ip(), *SERVER.ip(), 7), Reason::IcmpType);
}

#[test]
fn everything_that_comes_by_an_inside_device_is_inside() {
    let mut datapath = Datapath::new();
    let sent = datagram().from("192.168.7.7:4000");
    datapath.out(&sent, Reason::PrivateSource);
    datapath.role(datapath.inside.index, role::INSIDE);
    assert_eq!(datapath.out(&sent, Reason::NatOut), sent.from(outside(4000)));
    let public = datagram().from("8.8.8.8:5000");
    assert_eq!(datapath.out(&public, Reason::NatOut), public.from(outside(5000)));
}

#[test]
fn a_flow_that_moved_here_from_another_uplink_begins_anew() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let key = key(&datagram());
    let mut flow = datapath.flow(&key).expect("the flow is there");
    flow.link += 1;
    datapath.hash("flows4").insert(key, flow, 0).expect("the entry can be written");
    datapath.out(&datagram(), Reason::NatOut);
    let flow = datapath.flow(&self::key(&datagram())).expect("the flow is there");
    assert_eq!((flow.link, flow.packets), (datapath.uplink.index, 1));
}

#[test]
fn what_only_looks_like_a_packet_of_a_flow_does_not_end_it() {
    let mut datapath = Datapath::new();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    datapath.out(&syn, Reason::NatOut);
    let flow = datapath.flow(&key(&syn));
    datapath.out(&syn.fragments(16)[0], Reason::FragmentTiny);
    assert_eq!(datapath.flow(&key(&syn)), flow, "the tiny fragment has its ports");
    datapath.out(&ping(7), Reason::NatOut);
    datapath.out(&Packet::pong(*CLIENT.ip(), *SERVER.ip(), 7), Reason::IcmpType);
    assert!(datapath.flow(&key(&ping(7))).is_some(), "a reply has the id of the query");
}
