//! The router's own traffic: left as it is, and its ports never given away.

use std::net::UdpSocket;

use vnet_common::account::Reason;
use vnet_common::flow::{flag, proto};
use vnet_tests::datapath::{Datapath, KEPT, OUTSIDE};
use vnet_tests::packet::{IcmpKind, Packet, Protocol, TcpFlags};

use crate::scene::{CLIENT, SECOND, SERVER, answered, datagram, echo_id, key, outside, ping};

#[test]
fn a_connection_of_its_own_stays_what_it_is() {
    let mut datapath = Datapath::new();
    let syn = Packet::tcp(outside(5000), SERVER, TcpFlags::SYN);
    assert_eq!(datapath.host_out(&syn, Reason::NatOut), syn);
    let flow = datapath.flow(&key(&syn)).expect("it is entered, so that its port is taken");
    assert_eq!(flow.flags & flag::HOST, flag::HOST);
    assert_eq!(datapath.owner(proto::TCP, 5000).addr, OUTSIDE.octets());
    let answer = Packet::tcp(SERVER, outside(5000), TcpFlags::SYN | TcpFlags::ACK);
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer);
}

#[test]
fn a_ping_of_its_own_stays_what_it_is() {
    let datapath = Datapath::new();
    let ping = Packet::ping(OUTSIDE, *SERVER.ip(), 9);
    assert_eq!(datapath.host_out(&ping, Reason::NatOut), ping);
    let pong = Packet::pong(*SERVER.ip(), OUTSIDE, 9);
    assert_eq!(datapath.back(&pong, Reason::NatIn), pong);
}

#[test]
fn a_low_port_of_its_own_is_not_moved() {
    let datapath = Datapath::plan().ports(2000, 2999).build();
    let syn = Packet::tcp(outside(700), SERVER, TcpFlags::SYN);
    assert_eq!(datapath.host_out(&syn, Reason::NatOut), syn);
}

#[test]
fn its_answers_to_others_make_no_state() {
    let mut datapath = Datapath::new();
    let answers = [
        Packet::tcp(outside(22), SERVER, TcpFlags::SYN | TcpFlags::ACK),
        Packet::tcp(outside(22), SERVER, TcpFlags::RST),
        Packet::tcp(outside(22), SERVER, TcpFlags::ACK).payload(b"more"),
        Packet::udp(outside(53), SERVER).payload(b"answer"),
        Packet::pong(OUTSIDE, *SERVER.ip(), 1),
        Packet::udp(SERVER, outside(9)).error(OUTSIDE, IcmpKind::PORT_UNREACHABLE, 8),
    ];
    for answer in &answers {
        datapath.host_out(answer, Reason::Host);
    }
    for fragment in answers[3].clone().payload(&[1; 100]).fragments(64) {
        datapath.host_out(&fragment, Reason::Host);
    }
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn its_tunnel_keeps_inside_hosts_from_one_with_the_same_peer() {
    let datapath = Datapath::new();
    let esp = |from| Packet::raw(from, *SERVER.ip(), Protocol::ESP, &[7; 40]);
    datapath.host_out(&esp(OUTSIDE), Reason::NatOut);
    datapath.out(&esp(*CLIENT.ip()), Reason::Protocol);
}

#[test]
fn its_other_addresses_are_left_alone() {
    let mut datapath = Datapath::new();
    datapath.host_out(&Packet::tcp((KEPT, 5000), SERVER, TcpFlags::SYN), Reason::Host);
    datapath.back(&Packet::tcp(SERVER, (KEPT, 22), TcpFlags::SYN), Reason::NotOurs);
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn a_host_without_an_address_may_ask_for_one() {
    let datapath = Datapath::new();
    let discover = Packet::udp("0.0.0.0:68", "255.255.255.255:67").payload(&[1; 244]);
    datapath.host_out(&discover, Reason::Host);
    datapath.out(&discover, Reason::PrivateSource);
}

#[test]
fn a_clients_port_that_a_socket_owns_is_moved() {
    let datapath = Datapath::new();
    let _udp = datapath.netns.udp(outside(4000));
    let _everywhere = datapath.netns.udp("0.0.0.0:4001");
    let _tcp = datapath.netns.listen(outside(4000));
    for port in [4000, 4001] {
        let left = datapath.out(&datagram().from((*CLIENT.ip(), port)), Reason::NatOut);
        assert_ne!(left.source().port(), port, "{left}");
    }
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    let left = datapath.out(&syn, Reason::NatOut);
    assert_ne!(left.source().port(), 4000, "{left}");
}

#[test]
fn a_socket_hears_on_its_port() {
    let datapath = Datapath::new();
    let _socket = datapath.netns.udp(outside(4000));
    datapath.out(&datagram(), Reason::NatOut);
    datapath.back(&Packet::udp(SECOND, outside(4000)), Reason::Unsolicited);
}

#[test]
fn a_connected_socket_is_entered_and_hears_its_peer() {
    let datapath = Datapath::new();
    let socket: UdpSocket = datapath.netns.udp(outside(5000));
    datapath.netns.ip("route add default via 198.51.100.2");
    socket.connect(SERVER).expect("a UDP socket can be connected");
    let sent = Packet::udp(outside(5000), SERVER);
    assert_eq!(datapath.host_out(&sent, Reason::NatOut), sent);
    let answer = Packet::udp(SERVER, outside(5000));
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer);
    // The socket would not hear this one, but the port is the host's: its stack answers.
    datapath.back(&Packet::udp(SECOND, outside(5000)), Reason::Unsolicited);
}

#[test]
fn a_port_that_a_client_holds_is_not_the_hosts() {
    let datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let sent = Packet::udp(outside(4000), SERVER).payload(b"from the router");
    let left = datapath.host_out(&sent, Reason::NatOut);
    let port = left.source().port();
    assert_ne!(port, 4000, "a client holds that port: {left}");
    assert_eq!(left, sent.from(outside(port)));
    let answer = Packet::udp(SERVER, outside(port));
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(outside(4000)));
    let answer = Packet::udp(SERVER, outside(4000));
    assert_eq!(datapath.back(&answer, Reason::NatIn), answer.to(CLIENT));
}

#[test]
fn an_echo_id_that_a_client_holds_is_not_the_hosts() {
    let datapath = Datapath::new();
    datapath.out(&ping(7), Reason::NatOut);
    let left = datapath.host_out(&Packet::ping(OUTSIDE, *SERVER.ip(), 7), Reason::NatOut);
    assert_ne!(echo_id(&left), 7, "{left}");
}

#[test]
fn a_port_that_the_host_holds_is_not_a_clients() {
    let datapath = Datapath::new();
    let syn = Packet::tcp(outside(4000), SECOND, TcpFlags::SYN);
    datapath.host_out(&syn, Reason::NatOut);
    let left = datapath.out(&syn.clone().from(CLIENT).to(SERVER), Reason::NatOut);
    assert_ne!(left.source().port(), 4000, "{left}");
}

#[test]
fn its_multicast_is_never_translated() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram().from((*CLIENT.ip(), 5353)), Reason::NatOut);
    datapath.host_out(&Packet::udp(outside(5353), "224.0.0.251:5353"), Reason::Host);
    datapath.host_out(&Packet::udp(outside(5353), "255.255.255.255:67"), Reason::Host);
    assert_eq!(datapath.flows(), 2, "the client's two entries");
}

#[test]
fn its_service_answers_from_its_own_port_even_if_a_client_had_it_first() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    let _service = datapath.netns.udp(outside(4000));
    datapath.back(&Packet::udp(SECOND, outside(4000)), Reason::Unsolicited);
    let answer = Packet::udp(outside(4000), SECOND).payload(b"answer");
    assert_eq!(datapath.host_out(&answer, Reason::Host), answer);
    assert_eq!(datapath.flows(), 2, "the client's two entries");
}

#[test]
fn it_goes_on_when_clients_have_filled_the_table() {
    let mut datapath = Datapath::plan().max_flows(1).build();
    answered(&datapath, &datagram());
    datapath.out(&datagram().to(SECOND), Reason::FlowsFull);
    datapath.host_out(&Packet::tcp(outside(5000), SERVER, TcpFlags::SYN), Reason::Host);
    datapath.host_out(&Packet::ping(OUTSIDE, *SERVER.ip(), 77), Reason::Host);
    assert_eq!(datapath.flows(), 2, "the client's two entries");
}
