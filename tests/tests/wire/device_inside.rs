//! Devices of every kind as the inside, named by `--inside DEV`.

use std::net::SocketAddrV4;

use vnet_tests::lab::{Lab, OUTSIDE, server_address};
use vnet_tests::link::{self, Port};
use vnet_tests::netns::Netns;
use vnet_tests::packet::{Mac, Packet};
use vnet_tests::skip;
use vnet_tests::tun::{self, Layer, TunCable};
use vnet_tests::wire::Wire;

use crate::passage::{End, Passage};
use crate::scene::{Scene, ask, outside, server};

const DEVICE: &str = "lan0";

/// Talks from behind the router's device [`DEVICE`], which alone is inside.
fn talk_from(scene: &Scene, client: &Netns) {
    let lab = &scene.lab;
    link::address(&lab.router, DEVICE, "10.0.77.1/24");
    client.ip("route add default via 10.0.77.1");
    passage(lab, End { netns: client, address: [10, 0, 77, 2].into() }).attach(DEVICE);
    passage(lab, End { netns: client, address: [10, 0, 77, 2].into() }).is_open();
    let status = lab.vnetctl(&["status", "--json"]).ok().json();
    let devices = status[0]["devices"].as_array().expect("devices are a list");
    assert!(devices.iter().any(|device| device["role"] == "inside"), "{status}");
}

fn passage<'a>(lab: &'a Lab, client: End<'a>) -> Passage<'a> {
    let server = End { netns: &lab.server, address: server_address(0) };
    Passage { lab, uplink: vnet_tests::lab::UPLINK, outside: OUTSIDE, client, server }
}

#[test]
fn a_bridge_as_inside() {
    let scene = Scene::unattached(Lab::plan().bridged());
    let client = scene.lab.client();
    let end = End { netns: &client.netns, address: client.address };
    passage(&scene.lab, end).attach("br0");
    passage(&scene.lab, end).is_open();
    scene.end();
}

#[test]
fn a_tun_or_tap_device_as_inside() {
    if !tun::exists() {
        skip!("this kernel has no tun and tap devices");
    }
    for layer in [Layer::Ip, Layer::Ethernet] {
        let scene = Scene::unattached(Lab::plan());
        let client = Netns::new("guest");
        let _cable = TunCable::plug(layer, (&scene.lab.router, DEVICE), (&client, "eth0"));
        link::address(&client, "eth0", "10.0.77.2/24");
        talk_from(&scene, &client);
        scene.end();
    }
}

#[test]
fn a_tap_device_in_a_bridge_as_inside() {
    if !tun::exists() {
        skip!("this kernel has no tap devices");
    }
    let scene = Scene::unattached(Lab::plan());
    let (router, client) = (&scene.lab.router, Netns::new("guest"));
    let _cable = TunCable::plug(Layer::Ethernet, (router, "tap0"), (&client, "eth0"));
    link::address(&client, "eth0", "10.0.77.2/24");
    router.ip(&format!("link add {DEVICE} type bridge forward_delay 0 mcast_snooping 0"));
    router.ip(&format!("link set tap0 master {DEVICE}"));
    router.ip(&format!("link set {DEVICE} up"));
    link::wait_running(router, DEVICE);
    talk_from(&scene, &client);
    scene.end();
}

#[test]
fn a_macvlan_child_of_the_inside_device() {
    let scene = Scene::unattached(Lab::plan());
    let router = &scene.lab.router;
    router.ip(&format!("link add link in0 name {DEVICE} type macvlan mode bridge"));
    router.ip(&format!("link set {DEVICE} up"));
    // The device below hears the question too, and shall not answer it.
    router.set_sysctl("net/ipv4/conf/all/arp_ignore", "1");
    let client = &scene.lab.client().netns;
    link::address(client, "eth0", "10.0.77.2/24");
    client.ip("route del default");
    talk_from(&scene, client);
    scene.end();
}

#[test]
fn what_is_for_a_macvlan_child_of_the_inside_device_is_not_touched() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    let (lab, guest) = (&scene.lab, Netns::new("guest"));
    let mac = "02:76:6e:00:77:01";
    let line = format!("link add link in0 name {DEVICE} address {mac} type macvlan mode bridge");
    lab.router.ip(&line);
    lab.router.ip(&format!("link set {DEVICE} netns {}", guest.path().display()));
    guest.ip(&format!("link set {DEVICE} up"));
    let remote = lab.server.udp(server());
    let (a, b) = (scene.udp(0, 4000), scene.udp(1, 4001));
    ask(&a, &remote);
    ask(&b, &remote);
    let [one, other] = &lab.clients[..] else { panic!("two clients") };
    let child = Mac([0x02, 0x76, 0x6e, 0, 0x77, 1]);
    let port = Port { device: DEVICE.to_owned(), index: guest.index(DEVICE), mac: child };
    let (wire, child_wire) = (Wire::open(&one.netns, &one.port), Wire::open(&guest, &port));
    let other_wire = Wire::open(&other.netns, &other.port);
    let sent = Packet::udp((one.address, 4000), outside(4001)).payload(b"around");
    wire.send_packet(&sent.clone().frame(one.port.mac, child));
    let came = child_wire.expect("what is for it", |packet| packet.source() == sent.source());
    assert_eq!(came.destination(), outside(4001), "it is not the router's");
    wire.send_packet(&sent.clone().frame(one.port.mac, one.router_port.mac));
    let told =
        other_wire.expect("what is for the router", |packet| packet.source() == outside(4000));
    assert_eq!(told.destination(), SocketAddrV4::new(other.address, 4001));
    scene.end();
}
