//! The shortcut by XDP over real devices: who talks cannot tell, and the counters can.

use std::thread;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{Lab, Plan, UPLINK};
use vnet_tests::link;
use vnet_tests::packet::{Body, Packet};
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, bulk, echo, outside, server};
use crate::shortcut::shortcuts;

/// A lab with an XDP program on each of its devices, or the reason why there is none: natively, it takes
/// a kernel that tells what drivers can do, and a veth sends for XDP when its peer polls (NAPI).
fn scene(plan: Plan, mode: &str) -> Result<Scene, String> {
    if mode == "generic" {
        return Ok(Scene::of(plan, &["--inside", "in0", "--xdp", mode]));
    }
    let scene = Scene::joining(plan);
    for (netns, device) in [(&scene.lab.client().netns, "eth0"), (&scene.lab.server, "eth0")] {
        link::polls(netns, device);
    }
    let words = ["attach", "--nat", UPLINK, "--inside", "in0", "--xdp", mode];
    let outcome = scene.lab.vnetctl(&words);
    if outcome.stderr.contains("does not tell") {
        return Err(outcome.stderr);
    }
    outcome.ok();
    Ok(scene)
}

/// How many packets went by XDP since.
fn early(lab: &Lab, since: &Counters) -> (i128, i128) {
    let moved = Counters::of(lab).since(since);
    let count = |name: &str| moved.get(name).copied().unwrap_or(0);
    (count("xdp_out"), count("xdp_in"))
}

/// Datagrams and a connection, of which most packets go by XDP.
fn talks(scene: &Scene) {
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    for _ in 0..3 {
        ask(&client, &remote);
    }
    let before = Counters::of(lab);
    for _ in 0..40 {
        assert_eq!(ask(&client, &remote), outside(4000));
    }
    let (out, back) = early(lab, &before);
    // Once a second one of each takes the kernel's way; the next one shows the address.
    assert!(out >= 25 && back >= 25, "{out} and {back} of 40 went by XDP");
    let flow = &lab.flows()[0];
    assert_eq!((&flow["packets_out"], &flow["packets_in"]), (&43.into(), &43.into()), "{flow}");
    let before = Counters::of(lab);
    let listener = lab.server.listen(server());
    let stream = scene.connect(0, 4001, server());
    let heard = thread::scope(|scope| {
        let echoing = scope.spawn(|| echo(&listener));
        bulk(&stream, 1_000_000);
        echoing.join().expect("the server heard all")
    });
    assert_eq!(heard, outside(4001));
    let (out, back) = early(lab, &before);
    assert!(out > 100 && back > 100, "{out} and {back} segments went by XDP");
}

#[test]
fn natively() {
    match scene(Lab::plan(), "native") {
        Ok(scene) => {
            talks(&scene);
            scene.end();
        }
        Err(why) => vnet_tests::skip!("{}", why.trim()),
    }
}

#[test]
fn generically() {
    let scene = scene(Lab::plan(), "generic").expect("every kernel can");
    talks(&scene);
    scene.end();
}

#[test]
fn a_packet_looks_as_if_it_had_been_routed() {
    let scene = scene(Lab::plan(), "generic").expect("every kernel can");
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    let heard = || {
        let packet = wire.expect("the question", |packet: &Packet| {
            packet.ip.source == *outside(4000).ip() && matches!(packet.body, Body::Udp(_))
        });
        (packet.ip.ttl, packet.ip.tos, packet.ether.source, packet.ether.destination)
    };
    ask(&client, &remote);
    let routed = heard();
    let seen = (0..20).any(|_| {
        while wire.receive(std::time::Instant::now()).is_some() {}
        let before = Counters::of(lab);
        ask(&client, &remote);
        assert_eq!(heard(), routed);
        early(lab, &before) == (1, 1)
    });
    assert!(seen, "an exchange went by XDP");
    scene.end();
}

#[test]
fn a_checksum_that_is_left_to_hardware_is_left_to_the_kernel() {
    for mode in ["native", "generic"] {
        let Ok(scene) = scene(Lab::plan().with_offloads(), mode) else { continue };
        let lab = &scene.lab;
        let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
        for _ in 0..3 {
            ask(&client, &remote);
        }
        let before = Counters::of(lab);
        for _ in 0..20 {
            assert_eq!(ask(&client, &remote), outside(4000));
        }
        assert_eq!(early(lab, &before), (0, 0), "by XDP, {mode}");
        let (out, back) = shortcuts(lab, &before);
        assert!(out >= 15 && back >= 15, "{out} and {back} took the other shortcut, {mode}");
        scene.end();
    }
}

#[test]
fn a_qdisc_that_makes_packets_wait_is_not_passed_by() {
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    let shape = ["qdisc", "add", "dev", UPLINK, "root", "tbf", "rate", "1gbit"];
    lab.router.must("tc", &[&shape[..], &["burst", "64kb", "latency", "50ms"]].concat());
    lab.attach(&["--inside", "in0", "--xdp", "generic"]);
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    for _ in 0..3 {
        ask(&client, &remote);
    }
    let before = Counters::of(lab);
    for _ in 0..20 {
        ask(&client, &remote);
    }
    let (out, back) = early(lab, &before);
    assert_eq!(out, 0, "past the shaper");
    assert!(back >= 15, "{back} of 20 answers went by XDP");
    scene.end();
}
