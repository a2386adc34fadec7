//! Several ways to one destination: each flow keeps its own on the shortcut, and leaves it with the route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, Lab, UPLINK, server_address};
use vnet_tests::link;
use vnet_tests::packet::{Body, Mac, Packet};
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask};
use crate::shortcut::{VALID, shortcuts};

/// The destination, behind both gateways.
const FAR: &str = "192.0.2.1:5000";
/// Conversations: so many that both ways have some (by chance none in 32,768 runs).
const FLOWS: u16 = 16;

/// A lab whose server is two gateways, told apart by their link addresses.
fn lab() -> Lab {
    let lab = Lab::plan().server_addresses(2).build();
    let second = Mac([2, 0xaa, 0, 0, 0, 2]);
    lab.server
        .ip(&format!("link add link {ETH} name gw2 address {second} type macvlan mode bridge"));
    lab.server.ip("link set gw2 up");
    lab.server.ip("address add 192.0.2.1/32 dev lo");
    // What comes by one and leaves by the other is no fault here.
    for name in ["all", "default", ETH, "gw2"] {
        lab.server.set_sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0");
    }
    lab.fix_neighbours();
    link::neighbour(&lab.router, UPLINK, server_address(1), second);
    lab.router.set_sysctl("net/ipv4/fib_multipath_hash_policy", "1");
    let [a, b] = [0, 1].map(server_address);
    lab.router.ip(&format!(
        "route add 192.0.2.1/32 nexthop via {a} dev {UPLINK} nexthop via {b} dev {UPLINK}"
    ));
    lab
}

/// Where each flow's packets have gone, until nothing more comes.
fn gateways(wire: &Wire) -> BTreeMap<u16, BTreeSet<[u8; 6]>> {
    let mut seen: BTreeMap<u16, BTreeSet<_>> = BTreeMap::new();
    while let Some(frame) = wire.receive(Instant::now()) {
        let Ok(packet) = Packet::parse(&frame) else { continue };
        let Body::Udp(_) = packet.body else { continue };
        if packet.destination().to_string() == FAR {
            seen.entry(packet.source().port()).or_default().insert(packet.ether.destination.0);
        }
    }
    seen
}

fn talk(clients: &[UdpSocket], remote: &UdpSocket, times: u32) {
    for _ in 0..times {
        for client in clients {
            ask(client, remote);
        }
    }
}

#[test]
fn each_flow_keeps_its_way_until_the_route_changes() {
    let scene = Scene::at(lab(), &[]);
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let remote = lab.server.udp(FAR.parse::<std::net::SocketAddrV4>().expect("it is one"));
    let clients: Vec<_> = (0..FLOWS).map(|n| scene.udp(0, 4000 + n)).collect();
    talk(&clients, &remote, 2);
    let routed = gateways(&wire);
    assert_eq!(routed.len(), usize::from(FLOWS));
    assert!(routed.values().all(|ways| ways.len() == 1), "a flow has one way: {routed:?}");
    let ways: BTreeSet<_> = routed.values().flatten().collect();
    assert_eq!(ways.len(), 2, "both ways are used: {routed:?}");
    let before = Counters::of(lab);
    talk(&clients, &remote, 5);
    assert!(shortcuts(lab, &before).0 > 40, "most took the shortcut");
    assert_eq!(gateways(&wire), routed, "on the shortcut each keeps its way");
    // One of the two is taken out of the route.
    lab.router.ip(&format!("route replace 192.0.2.1/32 via {} dev {UPLINK}", server_address(1)));
    let end = Instant::now() + VALID + Duration::from_millis(250);
    while Instant::now() < end {
        talk(&clients, &remote, 1);
        thread::sleep(Duration::from_millis(50));
    }
    gateways(&wire);
    let before = Counters::of(lab);
    talk(&clients, &remote, 3);
    assert!(shortcuts(lab, &before).0 > 20, "most took the shortcut");
    let left = gateways(&wire);
    let second = BTreeSet::from([[2, 0xaa, 0, 0, 0, 2]]);
    assert!(
        left.len() == usize::from(FLOWS) && left.values().all(|ways| *ways == second),
        "{left:?}"
    );
    scene.end();
}
