//! Longer ways: a router behind the router, and narrow places.

use std::net::SocketAddrV4;
use std::thread;

use vnet_tests::lab::{self, ETH, INSIDE, Lab, OUTSIDE};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::packet::IcmpKind;
use vnet_tests::ping::Pinger;
use vnet_tests::socket::PATIENCE;

use crate::scene::{PORT, Scene, ask, bulk, echo, server};

/// A machine behind the server, which becomes a router.
pub(crate) fn far(scene: &Scene) -> (Netns, SocketAddrV4) {
    let lab = &scene.lab;
    let far = Netns::new("far");
    Cable::new((&lab.server, "eth1"), (&far, ETH)).plug();
    link::address(&lab.server, "eth1", "203.0.113.1/24");
    link::address(&far, ETH, "203.0.113.2/24");
    lab.server.set_sysctl("net/ipv4/ip_forward", "1");
    far.ip("route add default via 203.0.113.1");
    lab.router.ip(&format!("route add 203.0.113.0/24 via {}", lab::server_address(0)));
    (far, "203.0.113.2:5000".parse().expect("an address and port"))
}

#[test]
fn a_router_further_on_is_seen_by_traceroute() {
    let scene = Scene::new();
    let (far, remote) = far(&scene);
    let client = scene.udp(0, 4000);
    let ear = Pinger::new(&scene.lab.client().netns);
    let probe = |ttl, hop, kind| {
        client.set_ttl(ttl).expect("a socket has a TTL");
        client.send_to(b"how far?", remote).expect("a datagram can be sent");
        let told = ear.receive(PATIENCE, |packet| packet.ip.source == hop);
        let told = told.unwrap_or_else(|| panic!("{hop} did not tell about TTL {ttl}"));
        let quote = told.quote().expect("an error quotes");
        assert_eq!((quote.source, quote.destination), (client_of(&scene), remote));
        assert!(matches!(&told.body, vnet_tests::packet::Body::Icmp(icmp) if icmp.kind == kind));
    };
    probe(1, [10, 0, 0, 1].into(), IcmpKind::TIME_EXCEEDED);
    probe(2, lab::server_address(0), IcmpKind::TIME_EXCEEDED);
    probe(3, *remote.ip(), IcmpKind::PORT_UNREACHABLE);
    ask(&client, &far.udp(remote));
    scene.end();
}

/// Lets a router's device take no more than 1300 bytes. The machine behind it knows that and sends
/// no more, but announces that it takes segments of any size, so that only ICMP can tell the other
/// end.
pub(crate) fn narrow(router: &Netns, device: &str, behind: &Netns, gateway: &str) {
    router.ip(&format!("link set {device} mtu 1300"));
    behind.ip(&format!("route replace default via {gateway} mtu 1300 advmss 1460"));
}

fn client_of(scene: &Scene) -> SocketAddrV4 {
    SocketAddrV4::new(scene.lab.client().address, 4000)
}

#[test]
fn a_narrow_place_outside_is_told_to_the_client() {
    let scene = Scene::new();
    let (far, remote) = far(&scene);
    narrow(&scene.lab.server, "eth1", &far, "203.0.113.1");
    let ear = Pinger::new(&scene.lab.client().netns);
    let listener = far.listen(remote);
    thread::scope(|scope| {
        let served = scope.spawn(|| echo(&listener));
        bulk(&scene.connect(0, 4000, remote), 200_000);
        assert_eq!(served.join().expect("the server does not panic").ip(), &OUTSIDE);
    });
    // What is bigger than the narrow place cannot have got through without this.
    let told = ear.receive(PATIENCE, |packet| packet.ip.source == lab::server_address(0));
    let quote = told.and_then(|told| told.quote()).expect("the narrow place was told about");
    assert_eq!(quote.source, client_of(&scene));
    scene.end();
}

#[test]
fn a_narrow_place_inside_is_told_to_the_server_by_the_router() {
    let scene = Scene::new();
    let lab = &scene.lab;
    narrow(&lab.router, "in0", &lab.client().netns, "10.0.0.1");
    let ear = Pinger::new(&lab.server);
    let listener = lab.server.listen(server());
    thread::scope(|scope| {
        let served = scope.spawn(|| echo(&listener));
        bulk(&scene.connect(0, 4000, server()), 200_000);
        served.join().expect("the server does not panic");
    });
    let told = ear.receive(PATIENCE, |packet| packet.quote().is_some());
    let told = told.expect("the narrow place was told about");
    assert_eq!(told.ip.source, OUTSIDE);
    let quote = told.quote().expect("that is what was waited for");
    assert_eq!((quote.source, quote.destination), (server(), SocketAddrV4::new(OUTSIDE, 4000)));
    scene.end();
}

#[test]
fn networks_further_inside_are_translated_too() {
    let scene = Scene::of(Lab::plan(), &[]);
    let lab = &scene.lab;
    let inner = Netns::new("inner");
    let client = lab.client();
    Cable::new((&client.netns, "eth1"), (&inner, ETH)).plug();
    link::address(&client.netns, "eth1", "10.0.200.1/24");
    link::address(&inner, ETH, "10.0.200.2/24");
    client.netns.set_sysctl("net/ipv4/ip_forward", "1");
    inner.ip("route add default via 10.0.200.1");
    lab.router.ip(&format!("route add 10.0.200.0/24 via {}", client.address));
    assert!(INSIDE.starts_with("10.0."), "the further network is inside");
    let remote = lab.server.udp(lab::server(0, PORT));
    assert_eq!(ask(&inner.udp("10.0.200.2:4000"), &remote).ip(), &OUTSIDE);
    scene.end();
}
