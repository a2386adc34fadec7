//! The shortcut: what goes on takes it, and nobody can tell but by the counters.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use vnet_tests::counters::Counters;
use vnet_tests::lab::{Lab, UPLINK};
use vnet_tests::netns::Netns;
use vnet_tests::packet::{Body, Packet};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{PATIENCE, receive};
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, bulk, echo, exchange, outside, server};

/// How long a decision of the kernel is repeated.
pub(crate) const VALID: Duration = Duration::from_secs(1);

/// A UDP conversation that takes the shortcut: both ends of it.
pub(crate) fn talking(scene: &Scene, port: u16) -> (UdpSocket, UdpSocket) {
    let (client, remote) = (scene.udp(0, port), scene.lab.server.udp(server()));
    talk(&client, &remote, 5);
    assert!(shortcuts(&scene.lab, &Counters::default()).0 > 0);
    (client, remote)
}

/// How many packets took the shortcut since.
#[track_caller]
pub(crate) fn shortcuts(lab: &Lab, since: &Counters) -> (i128, i128) {
    let moved = Counters::of(lab).since(since);
    let count = |name: &str| moved.get(name).copied().unwrap_or(0);
    (count("shortcut_out"), count("shortcut_in"))
}

/// Packets that a device says it has received and sent.
fn device_counts(netns: &Netns, device: &str) -> (u64, u64) {
    let shown = netns.ip(&format!("-j -s link show dev {device}"));
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("ip prints JSON");
    let packets = |way: &str| shown[0]["stats64"][way]["packets"].as_u64().expect("a number");
    (packets("rx"), packets("tx"))
}

#[test]
fn a_conversation_is_seen_by_the_kernel_first_and_once_a_second() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    // The first exchange makes the flow, the second shows both ways.
    let before = Counters::of(lab);
    ask(&client, &remote);
    ask(&client, &remote);
    assert_eq!(shortcuts(lab, &before), (0, 0));
    let mut slow = 0;
    let begun = Instant::now();
    for _ in 0..100 {
        let before = Counters::of(lab);
        assert_eq!(ask(&client, &remote), outside(4000));
        let moved = Counters::of(lab).since(&before);
        let (out, back) = (moved.get("nat_out"), moved.get("nat_in"));
        assert!(out.is_none_or(|out| *out == 1) && back.is_none_or(|back| *back == 1));
        slow += out.unwrap_or(&0) + back.unwrap_or(&0);
    }
    let seconds = i128::from(begun.elapsed().as_secs()) + 1;
    assert!(slow <= 2 * seconds, "{slow} packets took the kernel's way in {seconds} s");
    let flow = &lab.flows()[0];
    assert_eq!((&flow["packets_out"], &flow["packets_in"]), (&102.into(), &102.into()), "{flow}");
    assert_eq!(flow["bytes_out"], 102 * 36, "{flow}");
    scene.end();
}

#[test]
fn the_ttl_falls_by_one_and_all_else_is_as_the_kernel_sends_it() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let wire = Wire::open(&lab.server, &lab.server_port);
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    ask(&client, &remote);
    let heard = |wire: &Wire| {
        let packet = wire.expect("the question", |packet: &Packet| {
            packet.ip.source == *outside(4000).ip() && matches!(packet.body, Body::Udp(_))
        });
        (packet.ip.ttl, packet.ip.tos, packet.ether.source, packet.ether.destination)
    };
    let slow = heard(&wire);
    assert_eq!(slow.0, 63);
    talk(&client, &remote, 3);
    // Once a second it is the kernel's way that is seen.
    let seen = (0..20).any(|_| {
        while wire.receive(Instant::now()).is_some() {}
        let before = Counters::of(lab);
        talk(&client, &remote, 1);
        assert_eq!(heard(&wire), slow);
        shortcuts(lab, &before) == (1, 1)
    });
    assert!(seen, "an exchange took the shortcut");
    scene.end();
}

fn talk(client: &UdpSocket, remote: &UdpSocket, times: u32) {
    for _ in 0..times {
        ask(client, remote);
    }
}

#[test]
fn devices_count_what_takes_the_shortcut() {
    let scene = Scene::new();
    let lab = &scene.lab;
    lab.fix_neighbours();
    let (client, remote) = talking(&scene, 4000);
    let counts = || (device_counts(&lab.router, "in0"), device_counts(&lab.router, UPLINK));
    let (before, ends) = (counts(), Counters::of(lab));
    talk(&client, &remote, 20);
    let (after, (out, back)) = (counts(), shortcuts(lab, &ends));
    assert!(out >= 15 && back >= 15, "{out} and {back} took the shortcut");
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert_eq!((after.0 - before.0, after.1 - before.1), (20, 20));
    }
    scene.end();
}

#[test]
fn tcp_takes_it_but_for_its_beginning_and_its_end() {
    for plan in [Lab::plan(), Lab::plan().with_offloads(), Lab::plan().bridged()] {
        let scene = Scene::of(plan, &[]);
        let lab = &scene.lab;
        let listener = lab.server.listen(server());
        let before = Counters::of(lab);
        let from = thread::scope(|scope| {
            let served = scope.spawn(|| echo(&listener));
            bulk(&scene.connect(0, 4000, server()), 3_000_000);
            served.join().expect("the server does not panic")
        });
        assert_eq!(from, outside(4000));
        let moved = Counters::of(lab).since(&before);
        let (out, back) = shortcuts(lab, &before);
        let slow = moved.get("nat_out").unwrap_or(&0) + moved.get("nat_in").unwrap_or(&0);
        assert!(out + back > 2000 && slow < (out + back) / 2, "{moved:?}");
        let flow = &lab.flows()[0];
        assert_eq!(flow["state"], "TIME_WAIT", "{flow}");
        let all = flow["packets_out"].as_i64().zip(flow["packets_in"].as_i64());
        let (packets_out, packets_in) = all.expect("numbers");
        assert_eq!(i128::from(packets_out), out + moved["nat_out"], "{flow}: {moved:?}");
        assert_eq!(i128::from(packets_in), back + moved["nat_in"], "{flow}: {moved:?}");
        scene.end();
    }
}

#[test]
fn what_the_kernel_has_to_see_takes_its_way() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = talking(&scene, 4000);
    let slow = |what: &str, say: &dyn Fn()| {
        // Within a second of the last look.
        talk(&client, &remote, 2);
        let before = Counters::of(lab);
        say();
        let moved = Counters::of(lab).since(&before);
        assert!(moved.contains_key("nat_out"), "{what}: {moved:?}");
    };
    slow("another traffic class", &|| {
        set_tos(&client, 0xb8);
        ask(&client, &remote);
        set_tos(&client, 0);
    });
    slow("more bytes than before", &|| {
        client.send_to(&[7; 1200], server()).expect("a datagram can be sent");
        assert_eq!(receive(&remote).0.len(), 1200);
    });
    // The TTL ends here, and the kernel says so.
    let ear = Pinger::new(&lab.client().netns);
    talk(&client, &remote, 2);
    client.set_ttl(1).expect("a socket has a TTL");
    client.send_to(b"how far?", server()).expect("a datagram can be sent");
    let told = ear.receive(PATIENCE, |packet| packet.ip.source == Ipv4Addr::new(10, 0, 0, 1));
    assert!(told.is_some(), "the router told that the TTL was over");
    scene.end();
}

fn set_tos(socket: &UdpSocket, tos: u8) {
    rustix::net::sockopt::set_ip_tos(socket, tos).expect("a socket has a type of service");
}

#[test]
fn flows_tell_which_way_is_taken_and_why() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    let ways = || {
        let flows = lab.flows();
        ["way_out", "way_in"].map(|way| flows[0][way]["why"].as_str().unwrap_or("").to_owned())
    };
    client.send_to(b"question", server()).expect("a datagram can be sent");
    receive(&remote);
    assert_eq!(ways(), ["unanswered", "unanswered"]);
    remote.send_to(b"answer", outside(4000)).expect("a datagram can be sent");
    receive(&client);
    assert_eq!(ways(), ["unseen", "unseen"]);
    // Said within a second of the kernel's word; a slow machine takes more than one try.
    let mut told = None;
    for _ in 0..10 {
        talk(&client, &remote, 3);
        let answer = lab.vnetctl(&["flows", "-d"]).ok();
        if answer.stdout.contains("out  shortcut") && answer.stdout.contains("in   shortcut") {
            told = Some(answer);
            break;
        }
    }
    let told = told.expect("both directions are told to take it");
    let mac = lab.server_port.mac;
    told.says(&format!("out  shortcut: in0 -> up0 lladdr {mac}, up to 36 bytes"));
    thread::sleep(VALID);
    assert_eq!(ways(), ["due", "due"]);
    lab.attach(&["--no-shortcut", "in0"]);
    assert_eq!(ways(), ["kept_off", "kept_off"]);
    scene.end();
}

#[test]
fn a_device_can_be_kept_off_it() {
    let scene = Scene::of(Lab::plan(), &["--no-shortcut", UPLINK]);
    let lab = &scene.lab;
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    talk(&client, &remote, 10);
    assert_eq!(shortcuts(lab, &Counters::default()), (0, 0));
    lab.attach(&[]);
    talk(&client, &remote, 10);
    let on = Counters::of(lab);
    let (out, back) = shortcuts(lab, &Counters::default());
    assert!(out > 5 && back > 5, "{out} {back}");
    // At once, while it is in use, and by the other end too.
    lab.attach(&["--no-shortcut", "in0"]);
    talk(&client, &remote, 10);
    assert_eq!(shortcuts(lab, &on), (0, 0));
    scene.end();
}

#[test]
fn a_firewall_that_wants_valid_connections_loses_nothing() {
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    if !crate::shortcut_change::nft(&lab.router, VALID_ONLY) {
        vnet_tests::skip!("nft is not installed here, or this kernel has no connection tracking");
    }
    let liberal = "net/netfilter/nf_conntrack_tcp_be_liberal";
    lab.router.set_sysctl(liberal, "0");
    lab.attach(&[]);
    assert_eq!(lab.router.sysctl(liberal).as_deref(), Some("1"));
    let listener = lab.server.listen(server());
    thread::scope(|scope| {
        let served = scope.spawn(|| listener.accept().expect("a connection comes").0);
        let mut client = scene.connect(0, 4000, server());
        let mut served = served.join().expect("the server does not panic");
        let before = Counters::of(lab);
        // Megabytes by the shortcut, and every second some packets by the kernel.
        let end = Instant::now() + 3 * VALID;
        while Instant::now() < end {
            for _ in 0..200 {
                exchange(&mut client, &mut served);
            }
        }
        assert!(shortcuts(lab, &before).0 > 1000);
    });
    let listed = lab.router.must("nft", &["list", "chain", "ip", "guard", "forward"]);
    let dropped = listed.lines().find(|line| line.contains("invalid")).expect("the rule is there");
    assert!(dropped.contains("packets 0 "), "{listed}");
    lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(lab.router.sysctl(liberal).as_deref(), Some("0"), "as it was");
    scene.end();
}

/// What hosts' firewalls have.
const VALID_ONLY: &str = "table ip guard { chain forward { type filter hook forward priority 0; policy drop; \
     ct state invalid counter drop; ct state established,related accept; iifname \"in0\" accept; }; }";
