//! Whom the NAT refuses hears so at once, by ICMP: programs see an error, not a silence.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vnet_tests::lab::{Lab, Plan, server_address};
use vnet_tests::link;
use vnet_tests::netns::Netns;
use vnet_tests::packet::{Body, IcmpKind, Packet, assert_valid};
use vnet_tests::skip;
use vnet_tests::socket::try_receive;
use vnet_tests::tun::{self, Layer, TunCable};
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

/// A connection from the server's own network to the client's mapping, which was not asked for.
fn intrude(scene: &Scene) -> (std::io::Error, Duration) {
    let started = Instant::now();
    let to = outside(4000).into();
    let tried = scene.lab.server.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(30)));
    (tried.expect_err("nobody let it in"), started.elapsed())
}

#[test]
fn rfc5382_req4_an_uninvited_connection_is_refused_after_six_seconds() {
    let scene = Scene::of(Lab::plan().with_offloads(), &[]);
    let listener = scene.lab.server.listen(server());
    let _held = (scene.connect(0, 4000, server()), listener.accept().expect("it comes"));
    let (error, after) = intrude(&scene);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(after >= Duration::from_secs(6), "refused after {after:?}");
    scene.end();
}

#[test]
fn devices_without_a_link_header_carry_answers_too() {
    if !tun::exists() {
        skip!("this kernel has no tun devices");
    }
    let lab = Lab::new();
    let inside = Netns::new("vpn");
    let _cables = [
        TunCable::plug(Layer::Ip, (&lab.router, "wan0"), (&lab.server, "wan0")),
        TunCable::plug(Layer::Ip, (&lab.router, "vpn0"), (&inside, "vpn0")),
    ];
    for (netns, device, address) in [
        (&lab.router, "wan0", "203.0.113.1/24"),
        (&lab.server, "wan0", "203.0.113.2/24"),
        (&lab.router, "vpn0", "10.0.9.1/24"),
        (&inside, "vpn0", "10.0.9.2/24"),
    ] {
        link::address(netns, device, address);
    }
    inside.ip("route add default via 10.0.9.1");
    let words = ["attach", "--nat", "wan0", "--inside", "10.0.0.0/16", "--ports", "4000-4000"];
    lab.vnetctl(&words).ok();
    let remote = lab.server.udp("203.0.113.2:5000");
    let holder = lab.client().netns.udp((lab.client().address, 4000));
    assert_eq!(ask(&holder, &remote), "203.0.113.1:4000".parse().expect("an address"));
    // From a cable over a tun device to another tun device, and back over a cable.
    for (netns, address) in [(&inside, "10.0.9.2:4001"), (&lab.client().netns, "10.0.0.2:4001")] {
        let socket = netns.udp(address);
        socket.connect("203.0.113.2:5000").expect("a UDP socket can be connected");
        socket.send(b"refused").expect("a datagram can be sent");
        let told = try_receive(&socket).expect_err("no port is left");
        assert_eq!(told.kind(), ErrorKind::HostUnreachable, "{address}");
    }
    // Out of the uplink itself: an uninvited connection.
    let listener = lab.server.listen("203.0.113.2:5000");
    let client = lab.client().netns.connect((lab.client().address, 4000), "203.0.113.2:5000");
    let _held = (client.expect("connects"), listener.accept().expect("it comes"));
    let to = "203.0.113.1:4000".parse().expect("an address");
    let tried = lab.server.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(30)));
    assert_eq!(tried.expect_err("nobody let it in").kind(), ErrorKind::ConnectionRefused);
    lab.vnetctl(&["detach", "wan0"]).ok();
}
