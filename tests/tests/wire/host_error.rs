//! ICMP errors that this host's own kernel makes about translated packets: in the name of the outside
//! address, about the packet as it was outside.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use vnet_tests::lab::OUTSIDE;
use vnet_tests::packet::{Body, IcmpKind, Packet, assert_valid};
use vnet_tests::ping::Pinger;
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, outside, server};

/// The server, which has been spoken to from the client's port 4000, with an ear for ICMP.
fn spoken_to(scene: &Scene) -> (UdpSocket, UdpSocket, Wire) {
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    assert_eq!(ask(&client, &remote), outside(4000));
    (client, remote, Wire::open(&lab.server, &lab.server_port))
}

/// Waits for an error of this kind from the outside address about what the server sent to the
/// mapping, and looks at every byte of it.
#[track_caller]
fn is_told(wire: &Wire, kind: IcmpKind, to: SocketAddrV4) -> Packet {
    let error = wire.expect("the error", |packet| packet.quote().is_some());
    assert!(matches!(&error.body, Body::Icmp(icmp) if icmp.kind == kind), "{error}");
    assert_eq!((error.ip.source, error.ip.destination), (OUTSIDE, *server().ip()), "{error}");
    let quote = error.quote().expect("that is what was waited for");
    assert_eq!((quote.source, quote.destination), (server(), to), "{error}");
    assert_valid(&error.bytes());
    error
}

#[test]
fn a_ttl_that_ends_here_is_told_to_the_server() {
    let scene = Scene::new();
    let (_client, remote, wire) = spoken_to(&scene);
    remote.set_ttl(1).expect("a socket has a TTL");
    remote.send_to(b"too far", outside(4000)).expect("a datagram can be sent");
    is_told(&wire, IcmpKind::TIME_EXCEEDED, outside(4000));
    scene.end();
}

#[test]
fn a_client_that_is_gone_is_told_to_the_server() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (_client, remote, wire) = spoken_to(&scene);
    // A neighbour that does not answer: after three questions the kernel tells the sender.
    lab.router.set_sysctl("net/ipv4/neigh/in0/retrans_time_ms", "50");
    lab.client().netns.ip("link set eth0 arp off");
    lab.router.ip("neighbour flush all");
    remote.send_to(b"still there?", outside(4000)).expect("a datagram can be sent");
    is_told(&wire, IcmpKind::HOST_UNREACHABLE, outside(4000));
    scene.end();
}

#[test]
fn a_network_that_is_gone_is_told_to_the_server() {
    let scene = Scene::new();
    let lab = &scene.lab;
    for (route, kind) in
        [("unreachable", IcmpKind::HOST_UNREACHABLE), ("prohibit", IcmpKind::PROHIBITED)]
    {
        let (_client, remote, wire) = spoken_to(&scene);
        lab.router.ip(&format!("route add {route} {}/32", lab.client().address));
        remote.send_to(b"still there?", outside(4000)).expect("a datagram can be sent");
        is_told(&wire, kind, outside(4000));
        lab.router.ip(&format!("route del {route} {}/32", lab.client().address));
    }
    scene.end();
}

#[test]
fn a_narrow_place_inside_is_told_to_whoever_sends_datagrams() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (_client, remote, wire) = spoken_to(&scene);
    lab.router.ip("link set in0 mtu 1300");
    remote.send_to(&[b'x'; 1400], outside(4000)).expect("a datagram can be sent");
    let error = is_told(&wire, IcmpKind::FRAGMENTATION_NEEDED, outside(4000));
    assert_eq!(next_mtu(&error), Some(1300), "{error}");
    scene.end();
}

/// What the error says that would fit (RFC 1191).
fn next_mtu(error: &Packet) -> Option<u16> {
    let Body::Icmp(icmp) = &error.body else { return None };
    let bytes = icmp.bytes();
    Some(u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]))
}

#[test]
fn an_error_about_a_ping_is_told_to_the_server() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let address = lab.client().address;
    let pinger = Pinger::new(&lab.client().netns);
    let patience = std::time::Duration::from_secs(3);
    assert!(pinger.ping(*server().ip(), 77, patience).is_some());
    // The answer to a second ping comes with a TTL that ends here.
    let own: Ipv4Addr = OUTSIDE;
    let pong = Packet::pong(*server().ip(), own, 77).ttl(1);
    wire.send_packet(&pong.frame(lab.server_port.mac, lab.uplink.mac));
    let error = wire.expect("the error", |packet| packet.quote().is_some());
    let quote = error.quote().expect("that is what was waited for");
    assert_eq!((error.ip.source, quote.ip.destination), (own, own), "{error}");
    assert_ne!(quote.ip.destination, address);
    assert_valid(&error.bytes());
    scene.end();
}
