//! What is counted is what was said, and nothing else.

use std::thread;
use std::time::Duration;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{self, Lab, UPLINK};
use vnet_tests::link::Port;
use vnet_tests::packet::{Packet, TcpFlags};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{expect_silence, receive};
use vnet_tests::wire::Wire;

use crate::scene::{PORT, Scene, ask, outside, server};

fn quiet() -> Scene {
    // What the shortcut counts depends on when; its own stories look at that.
    let scene = Scene::of(Lab::plan().server_addresses(2), &["--no-shortcut", UPLINK]);
    scene.lab.fix_neighbours();
    scene
}

#[test]
fn where_nobody_speaks_nothing_is_counted() {
    let scene = quiet();
    let before = Counters::of(&scene.lab);
    // As long as IPv6 takes to tell, and tell again, of groups it listens to (RFC 3810 section 9.11).
    thread::sleep(Duration::from_secs(3));
    Counters::of(&scene.lab).assert_moved(&before, &[]);
    assert_eq!(scene.end(), 0);
}

#[test]
fn every_packet_is_counted_once() {
    let scene = quiet();
    let lab = &scene.lab;
    let before = Counters::of(lab);
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    for _ in 0..3 {
        ask(&client, &remote);
    }
    let stranger = lab.server.udp(lab::server(1, PORT));
    stranger.send_to(b"unasked", outside(4000)).expect("a datagram can be sent");
    let pinger = Pinger::new(&lab.client().netns);
    pinger.ping(lab::server_address(0), 9, vnet_tests::socket::PATIENCE).expect("an answer");
    // Once on each device: what inside hosts say and hear is counted there as `inside`.
    let moved = [("filtered", 1), ("inside", 8), ("nat_in", 4), ("nat_out", 4)];
    Counters::of(lab).assert_moved(&before, &moved);
    let flows = lab.flows();
    let udp = flows.iter().find(|flow| flow["proto"] == "udp").expect("the flow is shown");
    assert_eq!((&udp["packets_out"], &udp["packets_in"]), (&3.into(), &3.into()), "{udp}");
    assert_eq!(
        (&udp["bytes_out"], &udp["bytes_in"]),
        (&(3 * 36).into(), &(3 * 34).into()),
        "{udp}"
    );
    assert_eq!((&udp["state"], &udp["outside_port"]), (&"REPLIED".into(), &4000.into()), "{udp}");
    scene.end();
}

#[test]
fn what_does_not_leave_is_counted_by_its_reason() {
    let scene = quiet();
    let lab = &scene.lab;
    let client = lab.client();
    let wire = Wire::open(&client.netns, &client.port);
    let framed = |packet: Packet| packet.frame(client.port.mac, client.router_port.mac);
    let before = Counters::of(lab);
    let datagram = Packet::udp((client.address, 4000), server()).payload(&[1; 100]);
    wire.send_packet(&framed(datagram.clone().from("192.168.1.1:4000")));
    wire.send_packet(&framed(Packet::tcp((client.address, 4000), server(), TcpFlags::RST)));
    // Its first fragment does not come: it waits for it where fragments are put in order.
    wire.send_packet(&framed(datagram.fragments(64).remove(1)));
    wire.send_packet(&framed(Packet::pong(client.address, *server().ip(), 7)));
    // What comes through last proves that the others had their time.
    ask(&scene.udp(0, 5000), &lab.server.udp(server()));
    let moved = [
        ("icmp_type", 1),
        ("inside", 6),
        ("nat_in", 1),
        ("nat_out", 1),
        ("private_source", 1),
        ("sorted", 1),
        ("tcp_no_flow", 1),
    ];
    Counters::of(lab).assert_moved(&before, &moved);
    assert_eq!(scene.end(), 1, "the one question is all that left");
}

#[test]
fn a_tagged_frame_belongs_to_another_device() {
    let scene = quiet();
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let client = scene.udp(0, 4000);
    let remote = lab.server.udp(server());
    ask(&client, &remote);
    let before = Counters::of(lab);
    let Port { mac, .. } = lab.server_port;
    let tagged = Packet::udp(server(), outside(4000)).payload(b"tagged").vlan(5);
    wire.send_packet(&tagged.frame(mac, lab.uplink.mac));
    expect_silence(&client, || {
        remote.send_to(b"untagged", outside(4000)).expect("a datagram can be sent");
    });
    Counters::of(lab).assert_moved(&before, &[("inside", 1), ("nat_in", 1), ("vlan", 1)]);
    assert_eq!(lab.router.index(UPLINK), lab.uplink.index);
    scene.end();
}

#[test]
fn a_tag_that_only_tells_the_priority_changes_nothing() {
    let scene = quiet();
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let client = scene.udp(0, 4000);
    ask(&client, &lab.server.udp(server()));
    let before = Counters::of(lab);
    // 802.1Q: VLAN id 0 is no VLAN.
    let tagged = Packet::udp(server(), outside(4000)).payload(b"urgent").vlan(0);
    wire.send_packet(&tagged.frame(lab.server_port.mac, lab.uplink.mac));
    assert_eq!(receive(&client).0, b"urgent");
    Counters::of(lab).assert_moved(&before, &[("inside", 1), ("nat_in", 1)]);
    scene.end();
}
