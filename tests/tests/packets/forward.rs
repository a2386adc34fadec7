//! Forwards: what comes to a port of theirs reaches their target, and nothing else does.

use vnet_common::account::Reason;
use vnet_common::flow::{flag, proto};
use vnet_common::forward::{Forward, Order, order};
use vnet_common::port::PortPool;
use vnet_common::tcp::State;
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{CLIENT, OTHER, SECOND, SERVER, datagram, key, outside};

/// A forward of one port to the client.
pub(crate) fn forward(port: u16, inside_port: u16) -> Forward {
    range(port, port, inside_port)
}

/// A forward of a range to the client.
fn range(first: u16, last: u16, inside_first: u16) -> Forward {
    let inside = CLIENT.ip().octets();
    Forward { outside: 0, inside, first, last, inside_first, reserved: 0, id: u32::from(first) }
}

fn with(forwards: &[Forward]) -> Datapath {
    let mut datapath = Datapath::new();
    datapath.forward(proto::UDP, forwards);
    datapath
}

/// A datagram from somebody outside to an outside port.
fn asked(port: u16) -> Packet {
    Packet::udp(SERVER, outside(port)).payload(b"question")
}

/// The client's port.
fn client(port: u16) -> std::net::SocketAddrV4 {
    std::net::SocketAddrV4::new(*CLIENT.ip(), port)
}

#[test]
fn the_target_sees_who_asks_and_answers_from_the_forwards_port() {
    let mut datapath = with(&[forward(53, 5353)]);
    let came = asked(53);
    assert_eq!(datapath.back(&came, Reason::NatIn), came.clone().to(client(5353)));
    let answer = Packet::udp(client(5353), SERVER).payload(b"answer");
    assert_eq!(datapath.out(&answer, Reason::NatOut), answer.clone().from(outside(53)));
    assert_eq!(datapath.flows(), 2);
    assert_eq!(datapath.state(&key(&came)), State::Replied);
    assert_eq!(
        datapath.owner(proto::UDP, 53).uses,
        0,
        "the port is the forward's, not a mapping's"
    );
    // The other protocol is not meant.
    datapath.back(&Packet::tcp(SERVER, outside(53), TcpFlags::SYN), Reason::Unsolicited);
}

#[test]
fn every_port_of_a_range_leads_to_its_own() {
    let datapath = with(&[range(8001, 8999, 1001)]);
    for port in [8001, 8002, 8191, 8192, 8500, 8998, 8999] {
        let came = asked(port);
        assert_eq!(datapath.back(&came, Reason::NatIn), came.clone().to(client(port - 7000)));
    }
    for port in [7999, 8000, 9000] {
        datapath.back(&asked(port), Reason::Unsolicited);
    }
}

#[test]
fn a_connection_is_followed_from_its_first_segment() {
    let mut datapath = Datapath::new();
    datapath.forward(proto::TCP, &[forward(80, 8080)]);
    let segment = |flags| Packet::tcp(SERVER, outside(80), flags);
    let back = |flags| Packet::tcp(client(8080), SERVER, flags);
    let syn = segment(TcpFlags::SYN).numbers(100, 0);
    datapath.back(&segment(TcpFlags::ACK), Reason::ForwardStray);
    assert_eq!(datapath.flows(), 0, "only a SYN opens");
    datapath.back(&syn, Reason::NatIn);
    assert_eq!(datapath.state(&key(&syn)), State::SynSent);
    datapath.out(&back(TcpFlags::SYN | TcpFlags::ACK).numbers(500, 101), Reason::NatOut);
    datapath.back(&segment(TcpFlags::ACK).numbers(101, 501), Reason::NatIn);
    assert_eq!(datapath.state(&key(&syn)), State::Established);
    let flow = datapath.flow(&key(&syn)).expect("the flow is there");
    assert_ne!(flow.flags & flag::FORWARD, 0);
}

#[test]
fn who_goes_on_sending_reaches_the_new_target_with_the_next_packet() {
    let mut datapath = with(&[forward(53, 5353)]);
    datapath.back(&asked(53), Reason::NatIn);
    let moved = Forward { inside: OTHER.ip().octets(), ..forward(53, 53) };
    datapath.forward(proto::UDP, &[moved]);
    let elsewhere = std::net::SocketAddrV4::new(*OTHER.ip(), 53);
    assert_eq!(datapath.back(&asked(53), Reason::NatIn), asked(53).to(elsewhere));
    assert_eq!(datapath.flows(), 2, "the former flow has ended");
    let late = Packet::udp(client(5353), SERVER);
    let left = datapath.out(&late, Reason::NatOut);
    assert_ne!(left.source(), outside(53), "the former target speaks for itself");
    datapath.forward(proto::UDP, &[]);
    datapath.back(&asked(53), Reason::Unsolicited);
    assert_eq!(datapath.flows(), 2, "only that of the former target is left");
}

#[test]
fn a_connection_whose_way_stays_lives_on() {
    let mut datapath = with(&[forward(53, 5353)]);
    datapath.back(&asked(53), Reason::NatIn);
    let first = datapath.flow(&key(&asked(53))).expect("the flow is there");
    datapath.forward(proto::UDP, &[range(50, 60, 5350), forward(99, 99)]);
    let answer = Packet::udp(client(5353), SERVER);
    assert_eq!(datapath.out(&answer, Reason::NatOut), answer.clone().from(outside(53)));
    datapath.back(&asked(53), Reason::NatIn);
    let now = datapath.flow(&key(&asked(53))).expect("the flow is there");
    assert_eq!((now.first_seen, now.ticket), (first.first_seen, first.ticket), "the same flow");
    assert_eq!((now.packets, now.epoch), (2, first.epoch + 1));
}

#[test]
fn a_forward_that_is_gone_is_in_nobodys_way() {
    let mut datapath = with(&[forward(4000, 53)]);
    datapath.back(&asked(4000), Reason::NatIn);
    datapath.forward(proto::UDP, &[]);
    // The client speaks to the same server from the very port that was forwarded.
    let sent = datagram().from(client(4000));
    let left = (0..2).find_map(|_| {
        let verdict = datapath.run_frame(
            vnet_tests::datapath::Hook::Out,
            &datapath.forwarded(),
            &sent.bytes(),
        );
        Packet::parse(&verdict.frame).ok().filter(|left| *left.source().ip() == OUTSIDE)
    });
    let left = left.expect("the second packet at the latest finds its way");
    assert_eq!(
        datapath.back(&Packet::udp(SERVER, left.source()), Reason::NatIn).destination(),
        client(4000)
    );
}

#[test]
fn two_forwards_may_lead_to_one_target() {
    let datapath = with(&[forward(80, 8080), forward(81, 8080)]);
    datapath.back(&asked(80), Reason::NatIn);
    let other = asked(81).from(SECOND);
    datapath.back(&other, Reason::NatIn);
    let answer = Packet::udp(client(8080), SECOND);
    assert_eq!(datapath.out(&answer, Reason::NatOut), answer.clone().from(outside(81)));
    // The target could not tell these two apart.
    datapath.back(&asked(81), Reason::ForwardClash);
}

#[test]
fn the_targets_own_connections_have_the_forwards_port() {
    let mut datapath = with(&[forward(5060, 4000)]);
    let sent = datagram();
    assert_eq!(datapath.out(&sent, Reason::NatOut), sent.clone().from(outside(5060)));
    // And nobody else is given it, though it is free otherwise.
    let other = datagram().from((*OTHER.ip(), 5060));
    assert_ne!(datapath.out(&other, Reason::NatOut).source(), outside(5060));
    // A stranger reaches the target as before.
    let came = asked(5060).from(SECOND);
    assert_eq!(datapath.back(&came, Reason::NatIn), came.clone().to(CLIENT));
    assert_eq!(datapath.flows(), 6);
}

#[test]
fn a_port_that_a_mapping_gives_back_is_reserved_while_a_forward_covers_it() {
    let mut datapath = with(&[forward(5060, 4000)]);
    let sent = datagram();
    datapath.out(&sent, Reason::NatOut);
    let of = |packet: &Packet| {
        let key = key(packet);
        let (saddr, daddr, sport, dport) = (key.saddr, key.daddr, key.sport, key.dport);
        let (what, proto) = (order::END, key.proto.into());
        Order { what, saddr, daddr, sport, dport, proto, ..Order::default() }
    };
    let pool = |datapath: &mut Datapath| {
        let pool: PortPool = datapath.array("pools").get(&1, 0).expect("a pool for UDP");
        (pool.reserved.contains(5060), pool.resting.contains(5060), pool.free.contains(5060))
    };
    assert_eq!(pool(&mut datapath), (false, false, false), "a mapping holds it");
    datapath.order(&of(&sent));
    assert_eq!(datapath.flows(), 0);
    assert_eq!(pool(&mut datapath), (true, false, false));
    datapath.out(&sent, Reason::NatOut);
    datapath.forward(proto::UDP, &[]);
    datapath.order(&of(&sent));
    assert_eq!(pool(&mut datapath), (false, true, false), "now it rests like any other");
}

#[test]
fn ports_are_taken_and_given_to_the_last_one() {
    let mut datapath = Datapath::new();
    let holder = datagram().from(client(20_001));
    datapath.out(&holder, Reason::NatOut);
    let order = |what, first, last| Order { what, pool: 1, first, last, ..Order::default() };
    let take = |datapath: &Datapath, first, last| datapath.order(&order(order::TAKE, first, last));
    for (first, last, held) in [(1, 1, 0), (63, 130, 0), (19_999, 20_003, 1), (65_000, 65_535, 0)] {
        for _ in 0..2 {
            assert_eq!(take(&datapath, first, last), held, "{first}-{last}");
        }
    }
    let taken = |port: u16| {
        port == 1
            || (63..=130).contains(&port)
            || (19_999..=20_003).contains(&port) && port != 20_001
            || port >= 65_000
    };
    let pool: PortPool = datapath.array("pools").get(&1, 0).expect("a pool for UDP");
    for port in 0..=u16::MAX {
        assert_eq!(pool.reserved.contains(port), taken(port), "{port}");
        assert_eq!(pool.free.contains(port), !taken(port) && port != 20_001, "{port}");
    }
    datapath.order(&order(order::GIVE, 64, 65_534));
    let pool: PortPool = datapath.array("pools").get(&1, 0).expect("a pool for UDP");
    for port in 0..=u16::MAX {
        let still = [1, 63, 65_535].contains(&port);
        assert_eq!(pool.reserved.contains(port), still, "{port}");
        assert_eq!(pool.resting.contains(port), taken(port) && !still, "{port}");
    }
}

#[test]
fn what_this_host_says_to_somebody_is_not_forwarded() {
    let mut datapath = Datapath::new();
    let socket = datapath.netns.udp(outside(53));
    let neighbour = "198.51.100.77:99";
    socket.connect(neighbour).expect("the uplink's neighbour has a route");
    datapath.forward(proto::UDP, &[forward(53, 53)]);
    datapath.back(&asked(53).from(neighbour), Reason::Unsolicited);
    datapath.back(&asked(53), Reason::NatIn);
}

#[test]
fn errors_about_what_was_forwarded_find_their_way() {
    let datapath = with(&[forward(53, 5353)]);
    datapath.back(&asked(53), Reason::NatIn);
    let refused = asked(53).to(client(5353)).error(
        *CLIENT.ip(),
        vnet_tests::packet::IcmpKind::TIME_EXCEEDED,
        8,
    );
    let left = datapath.out(&refused, Reason::IcmpErrorOut);
    assert_eq!(left.ip.source, OUTSIDE);
    assert_eq!(left.quote().expect("it quotes").destination, outside(53));
}
