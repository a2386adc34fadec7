//! Processes of the router itself reach the target of a forward by the forward's port: by the outside
//! address and by those of the loopback. Nobody else's processes are led anywhere.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use vnet_tests::instance;
use vnet_tests::lab::Lab;
use vnet_tests::netns::Netns;
use vnet_tests::socket::{expect_silence, receive};

use crate::scene::{Scene, exchange};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who the target sees: the router, on its side of the first client's cable.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

impl Scene {
    #[track_caller]
    fn publish(&self, words: &str) -> Value {
        let words: Vec<_> = ["-j", "forward"].into_iter().chain(words.split(' ')).collect();
        self.lab.vnetctl(&words).ok().json()
    }

    /// Whether programs sit on calls of sockets for this instance.
    fn sits_on_calls(&self) -> bool {
        let pins = std::fs::read_dir(instance::pins(self.lab.instance()));
        let names = pins.expect("the instance has pins").flatten().map(|pin| pin.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("call_"))
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn connect(from: &Netns, to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A UDP socket of the same family that is bound to no address.
fn udp(from: &Netns, to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.run(|| UdpSocket::bind(any)).expect("a socket can be bound to nothing");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
    socket
}

#[test]
fn by_tcp_a_process_of_the_router_reaches_the_target() {
    let scene = Scene::new();
    scene.publish("add tcp 80-89 10.0.0.2:8080-8089");
    let target = SocketAddrV4::new(scene.lab.client().address, 8085);
    let listener = scene.lab.client().netns.listen(target);
    for to in
        ["127.0.0.1:85", "127.0.1.1:85", "198.51.100.1:85", "[::1]:85", "[::ffff:127.0.0.1]:85"]
    {
        let mut stream =
            connect(&scene.lab.router, addr(to)).unwrap_or_else(|e| panic!("{to}: {e}"));
        assert_eq!(stream.peer_addr().expect("connected"), addr(to), "who it believes to talk to");
        let (mut there, from) = listener.accept().expect("a connection comes");
        assert_eq!(from.ip(), ROUTER, "the target sees the router");
        exchange(&mut stream, &mut there);
    }
    for to in ["127.0.0.1:90", "198.51.100.1:90", "[::1]:90", "10.0.0.1:85"] {
        let refused = connect(&scene.lab.router, addr(to)).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{to} is no forward");
    }
    scene.end();
}

/// Sends to where it is, and is answered by who it believes to be.
#[track_caller]
fn asks(asking: &UdpSocket, to: SocketAddr, service: &UdpSocket) {
    asking.send_to(b"question", to).unwrap_or_else(|e| panic!("{to}: {e}"));
    let (heard, from) = receive(service);
    assert_eq!((heard.as_slice(), from.ip()), (b"question".as_slice(), &ROUTER), "{to}");
    service.send_to(b"answer", from).expect("a datagram can be sent");
    let mut answer = [0; 16];
    let (length, by) = asking.recv_from(&mut answer).unwrap_or_else(|e| panic!("{to}: {e}"));
    assert_eq!((&answer[..length], by), (b"answer".as_slice(), to));
}

#[test]
fn by_udp_too_and_the_answers_come_from_where_it_had_asked() {
    let scene = Scene::new();
    scene.publish("add udp 53 10.0.0.2:5353");
    let service = scene.udp(0, 5353);
    let one = udp(&scene.lab.router, addr("127.0.0.1:53"));
    for to in ["127.0.0.1:53", "198.51.100.1:53", "127.0.0.1:53"] {
        asks(&one, addr(to), &service);
    }
    let six = udp(&scene.lab.router, addr("[::1]:53"));
    asks(&six, addr("[::ffff:127.0.0.1]:53"), &service);
    for to in ["127.0.0.1:53", "198.51.100.1:53", "[::1]:53", "[::ffff:198.51.100.1]:53"] {
        let asking = udp(&scene.lab.router, addr(to));
        scene.lab.router.run(|| asking.connect(addr(to))).unwrap_or_else(|e| panic!("{to}: {e}"));
        assert_eq!(asking.peer_addr().expect("connected"), addr(to));
        asking.send(b"question").unwrap_or_else(|e| panic!("{to}: {e}"));
        let (heard, from) = receive(&service);
        assert_eq!(heard, b"question");
        service.send_to(b"answer", from).expect("a datagram can be sent");
        let mut answer = [0; 16];
        let (length, by) = asking.recv_from(&mut answer).unwrap_or_else(|e| panic!("{to}: {e}"));
        assert_eq!((&answer[..length], by), (b"answer".as_slice(), addr(to)));
    }
    scene.end();
}

#[test]
fn a_forward_that_changes_leads_the_next_datagram() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    scene.publish("add udp 514 10.0.0.2 --name syslog");
    let (old, new) = (scene.udp(0, 514), scene.udp(1, 514));
    let sender = udp(&scene.lab.router, addr("127.0.0.1:514"));
    sender.send_to(b"one", addr("127.0.0.1:514")).expect("a datagram can be sent");
    assert_eq!(receive(&old).0, b"one");
    scene.publish("add udp 514 10.0.1.2 --name syslog");
    sender.send_to(b"two", addr("127.0.0.1:514")).expect("a datagram can be sent");
    assert_eq!(receive(&new).0, b"two");
    scene.end();
}

#[test]
fn a_service_of_the_router_keeps_its_port_on_the_loopback() {
    let scene = Scene::new();
    scene.publish("add tcp 80 10.0.0.2");
    scene.publish("add udp 53 10.0.0.2");
    let listener = scene.lab.client().netns.listen((scene.lab.client().address, 80));
    let own = scene.lab.router.listen("127.0.0.1:80");
    let mut stream = connect(&scene.lab.router, addr("127.0.0.1:80")).expect("it listens");
    exchange(&mut stream, &mut own.accept().expect("a connection comes").0);
    let resolver = scene.lab.router.udp("127.0.0.53:53");
    let asking = udp(&scene.lab.router, addr("127.0.0.53:53"));
    asking.send_to(b"own", addr("127.0.0.53:53")).expect("a datagram can be sent");
    assert_eq!(receive(&resolver).0, b"own");
    // By the outside address it is the forward's, from here as from everywhere.
    let mut stream = connect(&scene.lab.router, addr("198.51.100.1:80")).expect("it is forwarded");
    exchange(&mut stream, &mut listener.accept().expect("a connection comes").0);
    // Who is bound to the loopback stays there.
    let bound = scene.lab.router.udp("127.0.0.1:0");
    let service = scene.udp(0, 53);
    bound.send_to(b"lost", addr("127.0.0.1:53")).expect("a datagram can be sent");
    expect_silence(&service, || {
        asking.send_to(b"led", addr("127.0.0.1:53")).expect("a datagram can be sent");
    });
    scene.end();
}

#[test]
fn two_namespaces_lead_their_own_processes_and_a_third_none() {
    let (one, other) = (Scene::new(), Scene::new());
    for scene in [&one, &other] {
        scene.publish("add tcp 80 10.0.0.2");
    }
    for scene in [&one, &other] {
        let listener = scene.lab.client().netns.listen((scene.lab.client().address, 80));
        let mut stream = connect(&scene.lab.router, addr("127.0.0.1:80")).expect("it is led");
        exchange(&mut stream, &mut listener.accept().expect("a connection comes").0);
        for elsewhere in [&scene.lab.server, &scene.lab.client().netns] {
            let refused = connect(elsewhere, addr("127.0.0.1:80")).expect_err("nobody is there");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
    }
    one.end();
    other.end();
}

#[test]
fn programs_sit_on_calls_only_while_there_is_a_forward() {
    let scene = Scene::new();
    assert!(!scene.sits_on_calls());
    scene.publish("add tcp 80 10.0.0.2");
    scene.publish("add tcp 81 10.0.0.2");
    assert!(scene.sits_on_calls());
    scene.publish("del 80");
    scene.lab.attach(&["--log-level", "debug"]);
    scene.lab.attach(&[]);
    let listener = scene.lab.client().netns.listen((scene.lab.client().address, 81));
    let mut stream = connect(&scene.lab.router, addr("[::1]:81")).expect("it is led");
    let (mut there, _) = listener.accept().expect("a connection comes");
    scene.publish("del 81");
    assert!(!scene.sits_on_calls());
    exchange(&mut stream, &mut there);
    let refused = connect(&scene.lab.router, addr("127.0.0.1:81")).expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    scene.end();
}
