//! Whom the NAT refuses hears so at once, by ICMP: programs see an error, not a silence.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vnet_tests::lab::{Lab, Plan, server_address};
use vnet_tests::packet::{Body, IcmpKind, Packet, assert_valid};
use vnet_tests::skip;
use vnet_tests::socket::try_receive;
use vnet_tests::wire::Wire;

use crate::scene::{PORT, Scene, ask, outside, server};
use crate::tool_route::installed;

/// Soon enough: after the second SYN, a second after the first. Over a cable without any length the
/// first answer comes while the client's kernel is still at work on the socket, and ignores it.
const SOON: Duration = Duration::from_millis(2500);

/// Two clients and one port, which the first one has, for UDP and for TCP.
fn crowded(plan: Plan) -> (Scene, TcpStream) {
    let scene = Scene::of(plan.clients(2), &["--ports", "4000-4000"]);
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    let _listener = scene.lab.server.listen(server());
    let first = scene.connect(0, 4000, server());
    (scene, first)
}

/// What the second client hears on its wire.
fn heard(wire: &Wire) -> Packet {
    wire.expect(
        "the answer",
        |packet| matches!(&packet.body, Body::Icmp(icmp) if icmp.kind == IcmpKind::PROHIBITED),
    )
}

fn stories(plan: impl Fn() -> Plan) {
    let (scene, _first) = crowded(plan());
    let client = &scene.lab.clients[1];
    let wire = Wire::open(&client.netns, &client.port);

    let started = Instant::now();
    let refused = client.netns.connect((client.address, 4000), server());
    assert_eq!(refused.expect_err("no port is left").kind(), ErrorKind::HostUnreachable);
    assert!(started.elapsed() < SOON, "told after {:?}", started.elapsed());
    let answer = heard(&wire);
    assert_eq!(answer.quote().expect("an error quotes").destination, server());
    assert_eq!((answer.ip.destination, answer.ip.ttl), (client.address, 64), "{answer}");
    assert_valid(&answer.bytes());

    for length in [0, 1, 1472, 4000] {
        let socket = client.netns.udp((client.address, 4000));
        socket.connect(server()).expect("a UDP socket can be connected");
        socket.send(&vec![b'x'; length]).expect("a datagram can be sent");
        if length > 1472 {
            // A fragment is another matter.
            continue;
        }
        let told = try_receive(&socket).expect_err("no port is left");
        assert_eq!(told.kind(), ErrorKind::HostUnreachable, "{length} bytes");
        assert!(heard(&wire).quote().is_some_and(|quote| quote.destination == server()));
    }
    scene.end();
}

#[test]
fn rfc5508_req8_a_client_without_a_port_is_told() {
    stories(Lab::plan);
}

#[test]
fn rfc5508_req8_a_client_with_offloads_is_told() {
    stories(|| Lab::plan().with_offloads());
}

#[test]
fn clients_behind_a_bridge_are_told() {
    stories(|| Lab::plan().bridged().with_offloads());
}

#[test]
fn ping_says_that_it_was_filtered() {
    let scene = Scene::of(Lab::plan(), &["--max-flows", "16"]);
    let listener = scene.lab.server.listen(server());
    let _held: Vec<_> = (0..16)
        .map(|n| (scene.connect(0, 4000 + n, server()), listener.accept().expect("it comes")))
        .collect();
    let client = &scene.lab.client().netns;
    let words = ["-n", "-c", "1", "-W", "2", &server_address(0).to_string()];
    let said = client.command("ping", &words).output().expect("ping is installed");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Packet filtered"), "{said}");
    scene.end();
}

#[test]
fn tcpdump_finds_every_checksum_right() {
    if !installed("tcpdump") {
        skip!("tcpdump is not installed");
    }
    let (scene, _first) = crowded(Lab::plan().with_offloads());
    let client = &scene.lab.clients[1];
    let words = "-n -vv -c 3 -i eth0 --immediate-mode -l icmp";
    let words: Vec<_> = words.split(' ').collect();
    let mut tcpdump = vnet_tests::vnetctl::start(client.netns.command("tcpdump", &words));
    let lines = tcpdump.lines();
    let mut said = String::new();
    let until = Instant::now() + Duration::from_secs(5);
    while said.matches("admin prohibited").count() < 3 && Instant::now() < until {
        let _ = client.netns.connect((client.address, 0), server());
        said.extend(lines.try_iter().map(|line| line + "\n"));
    }
    assert!(said.matches("admin prohibited").count() >= 3, "{said}");
    assert!(!said.contains("wrong icmp cksum") && !said.contains("bad cksum"), "{said}");
    scene.end();
}

#[test]
fn told_not_to_tell_it_does_not() {
    let scene = Scene::of(Lab::plan().clients(2), &["--ports", "4000-4000", "--no-answer"]);
    let remote = scene.lab.server.udp(server());
    let first = scene.udp(0, 4000);
    assert_eq!(ask(&first, &remote), outside(4000));
    let client = &scene.lab.clients[1];
    let wire = Wire::open(&client.netns, &client.port);
    let router = Wire::open(&scene.lab.router, &client.router_port);
    scene.udp(1, PORT).send_to(b"refused", server()).expect("a datagram can be sent");
    wire.expect_none("an answer", &router, |packet| packet.quote().is_some());
    scene.end();
}
