//! The harness itself: is the lab sound, does it clean up, do packets mean what they say?
//!
//! No part of vnet is used here. What these stories establish, the others rely on: without
//! translation the server cannot answer, with the kernel's own masquerade it can, and a packet of
//! the builder's is one the kernel accepts.

use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use vnet_tests::lab::{self, ETH, Lab};
use vnet_tests::link::{self, Cable, Port};
use vnet_tests::netns::Netns;
use vnet_tests::packet::{Packet, Sum, TcpFlags, assert_valid};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{expect_silence, receive};
use vnet_tests::wire::Wire;

const SOON: Duration = Duration::from_secs(3);

/// The kernel's own NAT in the router: what a lab must be able to carry.
fn masquerade(lab: &Lab) {
    lab.forward();
    let rules = "add table ip nat; \
        add chain ip nat out { type nat hook postrouting priority 100; }; \
        add rule ip nat out oifname up0 masquerade";
    lab.router.must("nft", &[rules]);
}

fn has_nft_masquerade() -> bool {
    let scratch = Netns::new("nft");
    let rules = "add table ip nat; \
        add chain ip nat out { type nat hook postrouting priority 100; }; \
        add rule ip nat out masquerade";
    scratch.command("nft", &[rules]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_dropped_namespace_is_gone() {
    let netns = Netns::new("gone");
    let path = netns.path();
    assert!(path.exists());
    drop(netns);
    assert!(!path.exists(), "{} is still there", path.display());
}

#[test]
fn a_panic_cleans_up_as_well() {
    let mut path = None;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let netns = Netns::new("panic");
        path = Some(netns.path());
        netns.run(|| panic!("on purpose"));
    }));
    assert!(result.is_err(), "a panic inside must continue outside");
    assert!(!path.expect("the closure ran").exists());
}

#[test]
fn a_command_runs_inside() {
    let (one, other) = (Netns::new("one"), Netns::new("other"));
    Cable::new((&one, "only-here"), (&one, "and-here")).plug();
    assert!(one.ip("-o link").contains("only-here"));
    assert!(!other.ip("-o link").contains("only-here"));
}

#[test]
fn without_translation_the_server_cannot_answer() {
    let lab = Lab::new();
    lab.forward();
    let wire = Wire::open(&lab.server, &lab.server_port);
    let client = Pinger::new(&lab.client().netns);
    client.send(lab::server_address(0), 7, 1, b"").unwrap();
    let inside = lab.client().address;
    let arrived = wire.expect("the ping", |p| p.ip.source == inside);
    assert_eq!(arrived.ip.ttl, 63, "the router took one: {arrived}");
    let answer = client.ping(lab::server_address(0), 8, Duration::from_millis(300));
    assert_eq!(answer, None, "the server has a way back to the inside");
}

#[test]
fn a_router_that_was_not_told_to_forward_does_not() {
    let lab = Lab::new();
    let server = lab.server.udp(lab::server(0, 5000));
    let client = lab.client().netns.udp((lab.client().address, 4000));
    client.send_to(b"hello", lab::server(0, 5000)).unwrap();
    expect_silence(&server, || {
        lab.router.udp((lab::OUTSIDE, 0)).send_to(b"probe", lab::server(0, 5000)).unwrap();
    });
}

#[test]
fn the_kernels_masquerade_works_through_a_lab() {
    if !has_nft_masquerade() {
        vnet_tests::skip!("no nft here, or a kernel without masquerade");
    }
    let lab = Lab::plan().clients(2).server_addresses(2).build();
    masquerade(&lab);
    let listener = lab.server.listen(lab::server(1, 80));
    for client in &lab.clients {
        let pinged = Pinger::new(&client.netns).ping(lab::server_address(0), 7, SOON);
        assert!(pinged.is_some(), "no answer to {}", client.address);
        let mut outbound = client.netns.connect((client.address, 0), lab::server(1, 80)).unwrap();
        let (mut inbound, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), lab::OUTSIDE, "the server must see the router");
        outbound.write_all(b"ask").unwrap();
        let mut heard = [0; 3];
        inbound.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ask");
    }
}

#[test]
fn bridged_clients_reach_each_other_and_the_router() {
    let lab = Lab::plan().clients(2).bridged().build();
    lab.fix_neighbours();
    let pinger = Pinger::new(&lab.clients[0].netns);
    for address in [lab.clients[1].address, [10, 0, 0, 1].into()] {
        assert!(pinger.ping(address, 7, SOON).is_some(), "{address} does not answer");
    }
}

#[test]
fn with_fixed_neighbours_nobody_asks() {
    let lab = Lab::new();
    lab.fix_neighbours();
    lab.forward();
    let wire = Wire::open(&lab.server, &lab.server_port);
    let client = lab.client().netns.udp((lab.client().address, 4000));
    client.send_to(b"hello", lab::server(0, 5000)).unwrap();
    let first = wire.receive(std::time::Instant::now() + SOON).expect("the datagram");
    let first = Packet::parse(&first).expect("the first frame is no ARP");
    assert_eq!(first.data(), b"hello");
}

#[test]
fn what_the_kernel_sends_has_real_checksums() {
    let lab = Lab::new();
    let wire = Wire::open(&lab.server, &lab.server_port);
    let router = lab.router.udp((lab::OUTSIDE, 4000));
    router.send_to(b"odd", lab::server(0, 5000)).unwrap();
    let udp = wire.expect("the datagram", |p| p.data() == b"odd");
    assert_valid(&udp.bytes());
    // Nobody listens: the answer is a reset, and the SYN is all that is looked at.
    let _ = lab.router.connect((lab::OUTSIDE, 0), lab::server(0, 5001));
    let syn = wire.expect("the SYN", |p| p.destination() == lab::server(0, 5001));
    assert_valid(&syn.bytes());
}

#[test]
fn with_offloads_checksums_are_left_unfinished() {
    let lab = Lab::plan().with_offloads().build();
    let wire = Wire::open(&lab.server, &lab.server_port);
    let router = lab.router.udp((lab::OUTSIDE, 4000));
    router.send_to(b"odd", lab::server(0, 5000)).unwrap();
    let udp = wire.expect("the datagram", |p| p.data() == b"odd");
    let faults = vnet_tests::packet::faults(&udp.bytes());
    assert_eq!(faults.len(), 1, "offload on: {udp}");
}

/// Two stations on one cable, and a frame from the left one's wire to the right one's stack.
struct Pair {
    _left: Netns,
    right: Netns,
    wire: Wire,
    ports: (Port, Port),
}

impl Pair {
    fn new() -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        let (a, b) = Cable::new((&left, ETH), (&right, ETH)).plug();
        link::address(&right, ETH, "192.0.2.2/24");
        link::neighbour(&right, ETH, [192, 0, 2, 1].into(), a.mac);
        let wire = Wire::open(&left, &a);
        Self { _left: left, right, wire, ports: (a, b) }
    }

    fn send(&self, packet: &Packet) {
        self.wire.send_packet(&packet.clone().frame(self.ports.0.mac, self.ports.1.mac));
    }
}

#[test]
fn the_kernel_accepts_a_built_datagram_and_refuses_a_wrong_checksum() {
    let pair = Pair::new();
    let socket = pair.right.udp("192.0.2.2:5000");
    let good = Packet::udp("192.0.2.1:4000", "192.0.2.2:5000").payload(b"hello");
    let bad = good.clone().checksum(Sum::Wrong(0x1234)).payload(b"wrong");
    pair.send(&bad);
    pair.send(&good.clone().checksum(Sum::Absent).payload(b"absent"));
    pair.send(&good);
    assert_eq!(receive(&socket).0, b"absent", "the wrong one must not have come");
    assert_eq!(receive(&socket), (b"hello".to_vec(), "192.0.2.1:4000".parse().unwrap()));
}

#[test]
fn the_kernel_joins_built_fragments() {
    let pair = Pair::new();
    let socket = pair.right.udp("192.0.2.2:5000");
    let data: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let whole = Packet::udp("192.0.2.1:4000", "192.0.2.2:5000").payload(&data);
    for fragment in whole.fragments(1480).iter().rev() {
        pair.send(fragment);
    }
    assert_eq!(receive(&socket).0, data);
}

#[test]
fn the_kernel_answers_a_built_syn_and_a_built_ping() {
    let pair = Pair::new();
    let _listener = pair.right.listen("192.0.2.2:80");
    pair.send(&Packet::tcp("192.0.2.1:4000", "192.0.2.2:80", TcpFlags::SYN).numbers(41, 0));
    let answer = pair.wire.expect("the SYN-ACK", |p| p.source() == "192.0.2.2:80".parse().unwrap());
    assert_valid(&answer.bytes());
    let vnet_tests::packet::Body::Tcp(tcp) = &answer.body else { panic!("not TCP: {answer}") };
    assert_eq!((tcp.flags, tcp.acknowledgement), (TcpFlags::SYN | TcpFlags::ACK, 42));

    let ping = Packet::ping([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 7).payload(b"abc");
    pair.send(&ping);
    let pong = pair.wire.expect("the reply", |p| p.data() == b"abc");
    let expected = Packet::pong([192, 0, 2, 2].into(), [192, 0, 2, 1].into(), 7).payload(b"abc");
    assert_eq!(pong.body, expected.body);
}

#[test]
fn a_kernels_icmp_error_is_understood() {
    let pair = Pair::new();
    let question = Packet::udp("192.0.2.1:4000", "192.0.2.2:9").payload(b"nobody there");
    pair.send(&question);
    let error = pair.wire.expect("port unreachable", |p| p.quote().is_some());
    assert_valid(&error.bytes());
    let quote = error.quote().expect("that is what was waited for");
    assert_eq!((quote.source, quote.destination), (question.source(), question.destination()));
    assert_eq!(quote.whole, Some(question.body), "the kernel quotes all of it");
}

#[test]
fn silence_is_proved_by_a_probe() {
    let pair = Pair::new();
    let ear = Wire::open(&pair.right, &pair.ports.1);
    pair.send(&Packet::udp("192.0.2.1:1", "192.0.2.2:2").payload(b"fine"));
    ear.expect_none("an unwelcome packet", &pair.wire, |p| p.data() == b"unwelcome");

    pair.send(&Packet::udp("192.0.2.1:1", "192.0.2.2:2").payload(b"unwelcome"));
    let refused = catch_unwind(AssertUnwindSafe(|| {
        ear.expect_none("an unwelcome packet", &pair.wire, |p| p.data() == b"unwelcome");
    }));
    assert!(refused.is_err(), "the unwelcome packet was not noticed");

    let deaf = catch_unwind(AssertUnwindSafe(|| {
        ear.expect_none_until("anything", |_| false, |_| false, || ());
    }));
    assert!(deaf.is_err(), "a probe that never comes must fail");
}

#[test]
fn labs_stand_side_by_side() {
    std::thread::scope(|scope| {
        let tell = |text: &'static [u8]| {
            let lab = Lab::new();
            lab.forward();
            let server = lab.server.udp(lab::server(0, 5000));
            let client = lab.client().netns.udp((lab.client().address, 4000));
            client.send_to(text, lab::server(0, 5000)).unwrap();
            assert_eq!(receive(&server).0, text);
            lab.instance().to_owned()
        };
        let one = scope.spawn(move || tell(b"one"));
        let two = scope.spawn(move || tell(b"two"));
        assert_ne!(one.join().unwrap(), two.join().unwrap(), "names are unique");
    });
}
