//! Frames with a VLAN tag on an uplink that is no VLAN device: they pass as they are and are counted,
//! wherever the kernel keeps the tag.

use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, Lab, UPLINK};
use vnet_tests::link;
use vnet_tests::packet::{Packet, faults};
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, outside, server};

const VLAN: u16 = 100;

/// Bytes of an 802.1Q tag (0x8100) or a service tag (0x88a8) for a VLAN.
fn tag(kind: u16, vlan: u16) -> [u8; 4] {
    let [[a, b], [c, d]] = [kind.to_be_bytes(), vlan.to_be_bytes()];
    [a, b, c, d]
}

/// A frame whose tags are given, outermost first.
fn tagged(packet: &Packet, tags: &[[u8; 4]]) -> Vec<u8> {
    let plain = packet.bytes();
    [&plain[..12], &tags.concat(), &plain[12..]].concat()
}

/// A router that also bridges its uplink with the client's cable, so that whole frames can be seen
/// to pass its uplink in both directions. A mapping of the client's is there to be mistaken for.
fn bridging() -> Scene {
    let scene = Scene::new();
    let lab = &scene.lab;
    ask(&scene.udp(0, 4000), &lab.server.udp(server()));
    lab.router.ip("link add br9 type bridge forward_delay 0 mcast_snooping 0");
    for port in [UPLINK, "in0"] {
        lab.router.ip(&format!("link set {port} master br9"));
    }
    lab.router.ip("link set br9 up");
    link::wait_running(&lab.router, "br9");
    scene
}

/// Each way a frame's tags can be.
fn ways() -> [(&'static str, Vec<[u8; 4]>); 4] {
    [
        ("one tag, beside the packet", vec![tag(0x8100, VLAN)]),
        ("a service tag, beside the packet", vec![tag(0x88a8, VLAN)]),
        ("two tags, the second in the bytes", vec![tag(0x8100, VLAN), tag(0x8100, 7)]),
        ("a priority tag, and a tag in the bytes", vec![tag(0x8100, 0), tag(0x8100, VLAN)]),
    ]
}

#[test]
fn a_tagged_frame_passes_the_uplink_untouched() {
    let scene = bridging();
    let lab = &scene.lab;
    let client = lab.client();
    let inner = Wire::open(&client.netns, &client.port);
    let outer = Wire::open(&lab.server, &lab.server_port);
    let to_client = Packet::udp(server(), outside(4000)).payload(b"tagged");
    let to_client = to_client.frame(lab.server_port.mac, client.port.mac);
    // Not an inside address: the sentry would take it for one that has leaked.
    let to_server = Packet::udp("192.0.2.2:4000", server()).payload(b"tagged");
    let to_server = to_server.frame(client.port.mac, lab.server_port.mac);
    for (way, tags) in ways() {
        for (from, to, packet) in [(&outer, &inner, &to_client), (&inner, &outer, &to_server)] {
            let (before, frame) = (Counters::of(lab), tagged(packet, &tags));
            from.send(&frame);
            hears(to, &frame, way);
            let moved = Counters::of(lab).since(&before);
            assert_eq!(moved.get("vlan"), Some(&2), "on both devices, {way}: {moved:?}");
        }
    }
    assert_eq!(lab.flows().len(), 1, "a tag makes no flow");
    scene.end();
}

#[test]
fn what_the_host_itself_tags_passes_untouched() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let own = Wire::open(&lab.router, &lab.uplink);
    let outer = Wire::open(&lab.server, &lab.server_port);
    let packet = Packet::udp("192.0.2.1:4000", server()).payload(b"tagged by hand");
    let packet = packet.frame(lab.uplink.mac, lab.server_port.mac);
    assert!(faults(&packet.bytes()).is_empty());
    for (way, tags) in ways() {
        let (before, frame) = (Counters::of(lab), tagged(&packet, &tags));
        own.send(&frame);
        hears(&outer, &frame, way);
        let moved = Counters::of(lab).since(&before);
        assert_eq!(moved.get("vlan"), Some(&1), "{way}: {moved:?}");
    }
    scene.end();
}

#[test]
fn a_vlan_device_beside_the_uplink_keeps_its_traffic() {
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    for (netns, below) in [(&lab.router, UPLINK), (&lab.server, ETH)] {
        let line = ["link", "add", "link", below, "name", "v100", "type", "vlan", "id", "100"];
        if !netns.command("ip", &line).output().is_ok_and(|output| output.status.success()) {
            vnet_tests::skip!("this kernel has no 802.1Q VLAN devices");
        }
        netns.ip("link set v100 up");
    }
    link::address(&lab.router, "v100", "203.0.113.1/24");
    link::address(&lab.server, "v100", "203.0.113.2/24");
    lab.attach(&[]);
    let before = Counters::of(lab);
    let remote = lab.server.udp("203.0.113.2:5000");
    let own = lab.router.udp("203.0.113.1:4000");
    assert_eq!(ask(&own, &remote), "203.0.113.1:4000".parse().expect("an address"));
    let moved = Counters::of(lab).since(&before);
    assert!(moved.get("vlan").is_some_and(|n| *n >= 2), "{moved:?}");
    assert!(!moved.contains_key("nat_out"), "{moved:?}");
    scene.end();
}

/// Waits for just this frame. A packet socket is given a frame without the tag that the kernel keeps
/// beside it: all but that must be there.
#[track_caller]
fn hears(wire: &Wire, frame: &[u8], way: &str) {
    let stripped = [&frame[..12], &frame[16..]].concat();
    let until = std::time::Instant::now() + vnet_tests::wire::PATIENCE;
    while let Some(heard) = wire.receive(until) {
        if heard == frame || heard == stripped {
            return;
        }
    }
    panic!("the frame did not come, or not as it was: {way}");
}
