//! One inside host reaches another by its outside address (RFC 4787 REQ-9, RFC 5382 REQ-8,
//! RFC 5508 REQ-7).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, UdpSocket};
use std::thread;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{Lab, OUTSIDE};
use vnet_tests::packet::{IcmpKind, Sum, assert_valid};
use vnet_tests::socket::{receive, try_receive};
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, server};

fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, port)
}

/// Two clients behind different devices, or behind one bridge.
fn scenes() -> [Scene; 2] {
    [
        Scene::of(Lab::plan().clients(2), &["--inside", "in0", "--inside", "in1"]),
        Scene::of(Lab::plan().clients(2).bridged(), &["--inside", "br0"]),
    ]
}

/// Both clients' sockets, known outside by the ports they have inside.
fn mapped(scene: &Scene) -> (UdpSocket, UdpSocket) {
    let remote = scene.lab.server.udp(server());
    let (a, b) = (scene.udp(0, 4000), scene.udp(1, 4001));
    assert_eq!(ask(&a, &remote), outside(4000));
    assert_eq!(ask(&b, &remote), outside(4001));
    (a, b)
}

#[test]
fn by_udp_each_sees_the_others_outside_endpoint() {
    for scene in scenes() {
        let (a, b) = mapped(&scene);
        for _ in 0..3 {
            a.send_to(b"hello", outside(4001)).expect("a datagram can be sent");
            let (heard, from) = receive(&b);
            assert_eq!((heard.as_slice(), from), (b"hello".as_slice(), outside(4000)));
            b.send_to(b"hello yourself", from).expect("a datagram can be sent");
            let (heard, from) = receive(&a);
            assert_eq!((heard.as_slice(), from), (b"hello yourself".as_slice(), outside(4001)));
        }
        scene.end();
    }
}

#[test]
fn what_they_say_by_their_inside_addresses_is_not_touched() {
    for scene in scenes() {
        let (a, b) = mapped(&scene);
        a.send_to(b"around", outside(4001)).expect("a datagram can be sent");
        assert_eq!(receive(&b).1, outside(4000));
        // The same sockets, so the very tuple that the packet above had between both devices.
        a.send_to(b"straight", b.local_addr().expect("bound")).expect("a datagram can be sent");
        assert_eq!(receive(&b).1, SocketAddrV4::new(scene.lab.clients[0].address, 4000));
        scene.end();
    }
}

#[test]
fn a_host_reaches_itself() {
    for scene in scenes() {
        let (a, _b) = mapped(&scene);
        a.send_to(b"echo", outside(4000)).expect("a datagram can be sent");
        let (heard, from) = receive(&a);
        assert_eq!((heard.as_slice(), from), (b"echo".as_slice(), outside(4000)));
        scene.end();
    }
}

#[test]
fn by_tcp() {
    for scene in scenes() {
        // A connection to the outside gives the listener's port its mapping.
        let listening = scene.lab.server.listen(server());
        let holder = scene.connect(1, 4001, server());
        let client = &scene.lab.clients[1];
        let listener = client.netns.listen((client.address, 4001));
        let serving = thread::spawn(move || {
            let (mut stream, from) = listener.accept().expect("a connection comes");
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).expect("all is heard");
            stream.write_all(&heard).expect("it can be said back");
            (from, heard.len())
        });
        let mut stream = scene.connect(0, 4000, outside(4001));
        stream.write_all(&[7; 100_000]).expect("it can be said");
        stream.shutdown(std::net::Shutdown::Write).expect("the end can be said");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("all comes back");
        assert_eq!(heard.len(), 100_000);
        let (from, length) = serving.join().expect("the server lives");
        assert_eq!((from, length), (outside(4000).into(), 100_000));
        drop((listening, holder));
        scene.end();
    }
}

#[test]
fn an_error_about_it_arrives() {
    for scene in scenes() {
        let (a, b) = mapped(&scene);
        a.connect(outside(4001)).expect("a socket can be connected");
        drop(b);
        a.send(b"anybody?").expect("a datagram can be sent");
        let error = try_receive(&a).expect_err("nobody is there");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        scene.end();
    }
}

#[test]
fn its_flow_is_shown_and_its_packets_are_counted() {
    let scene = Scene::of(Lab::plan().clients(2).bridged(), &["--inside", "br0"]);
    let (a, b) = mapped(&scene);
    a.send_to(b"hello", outside(4001)).expect("a datagram can be sent");
    receive(&b);
    let before = Counters::of(&scene.lab);
    a.send_to(b"hello", outside(4001)).expect("a datagram can be sent");
    receive(&b);
    let moved = Counters::of(&scene.lab).since(&before);
    assert_eq!((moved["hairpin"], moved["hairpin_out"]), (1, 1), "{moved:?}");
    let flows = scene.lab.flows();
    assert_eq!(flows.len(), 3, "{flows:?}");
    scene.end();
}

#[test]
fn rfc5508_req3_a_damaged_error_between_inside_hosts_is_dropped() {
    for scene in scenes() {
        let (a, b) = mapped(&scene);
        let [one, other] = &scene.lab.clients[..] else { panic!("two clients") };
        let (wire_a, wire_b) =
            (Wire::open(&one.netns, &one.port), Wire::open(&other.netns, &other.port));
        a.send_to(b"hello", outside(4001)).expect("a datagram can be sent");
        assert_eq!(receive(&b).1, outside(4000));
        let heard = wire_b.expect("the datagram", |packet| packet.source() == outside(4000));
        let to = heard.ether.source;
        let error = heard.error(other.address, IcmpKind::HOST_UNREACHABLE, 8);
        let before = Counters::of(&scene.lab);
        wire_b.send_packet(&error.clone().checksum(Sum::Wrong(0xbad)).frame(other.port.mac, to));
        // One that is right follows, so that the other one would have come before it.
        wire_b.send_packet(&error.frame(other.port.mac, to));
        let told = wire_a.expect("an error", |packet| packet.quote().is_some());
        assert_valid(&told.bytes());
        let moved = Counters::of(&scene.lab).since(&before);
        assert_eq!(moved.get("icmp_checksum"), Some(&1), "{moved:?}");
        scene.end();
    }
}
