//! Ports of the outside address that lead to hosts inside.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use vnet_tests::lab::{self, Lab, OUTSIDE};
use vnet_tests::socket::{NOT_COMING, receive};

use crate::scene::{Scene, ask, bulk, echo, exchange, outside, server};

/// A running sender must reach the new target within this.
const CUT_OVER: Duration = Duration::from_secs(1);

impl Scene {
    /// Has vnetctl change a forward.
    #[track_caller]
    fn forward(&self, words: &str) -> Value {
        let words: Vec<_> = ["-j", "forward"].into_iter().chain(words.split(' ')).collect();
        self.lab.vnetctl(&words).ok().json()
    }

    /// The n-th client's address with a port.
    fn client(&self, n: usize, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.lab.clients[n].address, port)
    }
}

#[test]
fn a_server_inside_is_reached_and_sees_who_it_is() {
    let scene = Scene::new();
    scene.forward("add tcp 80 10.0.0.2:8080");
    let listener = scene.lab.client().netns.listen(scene.client(0, 8080));
    let from = std::thread::scope(|scope| {
        let served = scope.spawn(|| echo(&listener));
        let stream = scene.lab.server.connect(lab::server(0, 7777), outside(80));
        bulk(&stream.expect("the forward is reached"), 300_000);
        served.join().expect("the server does not panic")
    });
    assert_eq!(from, lab::server(0, 7777), "the real client");
    let flow = &scene.lab.flows()[0];
    assert_eq!((&flow["outside_port"], &flow["sport"]), (&80.into(), &8080.into()), "{flow}");
    scene.end();
}

#[test]
fn udp_is_forwarded_and_answered_from_the_same_port() {
    let scene = Scene::new();
    scene.forward("add udp 53 10.0.0.2:5353");
    let service = scene.udp(0, 5353);
    let stranger = scene.lab.server.udp(lab::server(0, 9999));
    stranger.connect(outside(53)).expect("a UDP socket can be connected");
    for _ in 0..3 {
        stranger.send(b"question").expect("a datagram can be sent");
        let (heard, from) = receive(&service);
        assert_eq!((heard.as_slice(), from), (b"question".as_slice(), lab::server(0, 9999)));
        service.send_to(b"answer", from).expect("a datagram can be sent");
        assert_eq!(receive(&stranger).0, b"answer");
    }
    scene.end();
}

#[test]
fn ten_thousand_ports_lead_to_their_own() {
    let scene = Scene::new();
    scene.forward("add udp 30001-40000 10.0.0.2:20001-30000");
    let stranger = scene.lab.server.udp(lab::server(0, 9999));
    for port in [30_001, 32_767, 32_768, 36_000, 39_999, 40_000] {
        let service = scene.udp(0, port - 10_000);
        stranger.send_to(b"question", outside(port)).expect("a datagram can be sent");
        assert_eq!(receive(&service).1, lab::server(0, 9999), "port {port}");
    }
    // None of them is given to anybody else.
    let remote = scene.lab.server.udp(server());
    let client = scene.udp(0, 35_000);
    let given = ask(&client, &remote).port();
    assert!(!(30_001..=40_000).contains(&given), "{given} belongs to the forward");
    scene.end();
}

#[test]
fn two_ports_may_lead_to_one_server() {
    let scene = Scene::new();
    scene.forward("add tcp 80 10.0.0.2:8080");
    scene.forward("add tcp 81 10.0.0.2:8080");
    let listener = scene.lab.client().netns.listen(scene.client(0, 8080));
    for port in [80, 81] {
        let mut stream =
            scene.lab.server.connect(lab::server(0, 0), outside(port)).expect("reached");
        let (mut there, _) = listener.accept().expect("a connection comes");
        exchange(&mut stream, &mut there);
    }
    scene.end();
}

#[test]
fn a_servers_own_connections_have_the_port_it_is_known_by() {
    let scene = Scene::new();
    scene.forward("add udp 5060 10.0.0.2:4000");
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(5060));
    scene.end();
}

/// Sends a number every few milliseconds, until one arrives there; returns how long that took.
#[track_caller]
fn until_heard(sender: &UdpSocket, to: SocketAddrV4, there: &UdpSocket) -> Duration {
    let begin = Instant::now();
    there.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket takes a time limit");
    while begin.elapsed() < Duration::from_secs(5) {
        sender.send_to(b"again", to).expect("a datagram can be sent");
        if there.recv(&mut [0; 16]).is_ok() {
            return begin.elapsed();
        }
    }
    panic!("after {:?} nothing has arrived", begin.elapsed());
}

#[test]
fn a_running_sender_reaches_the_new_target_within_a_second() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    scene.forward("add udp 514 10.0.0.2 --name syslog");
    let (old, new) = (scene.udp(0, 514), scene.udp(1, 514));
    let sender = scene.lab.server.udp(lab::server(0, 9999));
    until_heard(&sender, outside(514), &old);
    std::thread::scope(|scope| {
        // It never stops, so that a flow that is only left alone would live for ever.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let steady = sender.try_clone().expect("a socket can be shared");
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                steady.send_to(b"steady", outside(514)).expect("a datagram can be sent");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let begin = Instant::now();
        scene.forward("add udp 514 10.0.1.2 --name syslog");
        let changed = begin.elapsed();
        let took = until_heard(&sender, outside(514), &new);
        assert!(
            took < CUT_OVER,
            "the new target heard {took:?} after vnetctl, which took {changed:?}"
        );
        drop(stop);
    });
    for socket in [&old, &new] {
        socket.set_read_timeout(Some(NOT_COMING)).expect("a socket takes a time limit");
        while socket.recv(&mut [0; 16]).is_ok() {}
    }
    sender.send_to(b"last", outside(514)).expect("a datagram can be sent");
    assert_eq!(receive(&new).0, b"last");
    assert!(old.recv(&mut [0; 16]).is_err(), "the former target hears nothing any more");
    assert_eq!(scene.lab.flows().len(), 1, "the former flow has ended");
    scene.end();
}

#[test]
fn a_forward_that_is_gone_ends_its_connections() {
    let scene = Scene::new();
    scene.forward("add tcp 80 10.0.0.2");
    let listener = scene.lab.client().netns.listen(scene.client(0, 80));
    let mut stream = scene.lab.server.connect(lab::server(0, 0), outside(80)).expect("reached");
    let (mut there, _) = listener.accept().expect("a connection comes");
    exchange(&mut stream, &mut there);
    scene.forward("del tcp-80");
    use std::io::{ErrorKind, Read as _, Write as _};
    stream.write_all(b"still there?").expect("the first bytes are only queued");
    let ended = stream.read(&mut [0; 1]).expect_err("the router resets it");
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
    let refused = scene.lab.server.connect(lab::server(0, 0), outside(80));
    assert_eq!(refused.expect_err("nobody is there").kind(), ErrorKind::ConnectionRefused);
    scene.end();
}

#[test]
fn attaching_again_leaves_forwards_and_their_connections_alone() {
    let scene = Scene::new();
    scene.forward("add tcp 80 10.0.0.2");
    let listener = scene.lab.client().netns.listen(scene.client(0, 80));
    let mut stream = scene.lab.server.connect(lab::server(0, 0), outside(80)).expect("reached");
    let (mut there, _) = listener.accept().expect("a connection comes");
    for words in [&[][..], &["--timeout-udp", "42"], &["--log-level", "warn"], &[]] {
        scene.lab.attach(words);
        exchange(&mut stream, &mut there);
    }
    let mut second = scene.lab.server.connect(lab::server(0, 0), outside(80)).expect("reached");
    exchange(&mut second, &mut listener.accept().expect("a connection comes").0);
    scene.end();
}

/// Two clients behind different devices, or behind one bridge.
fn scenes() -> [Scene; 2] {
    [
        Scene::of(Lab::plan().clients(2), &["--inside", "in0", "--inside", "in1"]),
        Scene::of(Lab::plan().clients(2).bridged(), &["--inside", "br0"]),
    ]
}

#[test]
fn from_inside_a_forward_is_reached_by_the_outside_address() {
    for scene in scenes() {
        let target = scene.client(0, 8080);
        scene.forward(&format!("add tcp 80 {target}"));
        scene.forward(&format!("add tcp 81 {target}"));
        let listener = scene.lab.client().netns.listen(target);
        // The second port tells whether the answer finds its way by the flow, not by the target.
        for (n, port) in [(1, 80), (1, 81), (0, 80), (0, 81)] {
            let mut stream = scene.connect(n, 0, outside(port));
            assert_eq!(stream.peer_addr().expect("connected"), outside(port).into());
            let (mut there, from) = listener.accept().expect("a connection comes");
            assert_eq!(from.ip(), OUTSIDE, "client {n} is seen by its outside address");
            exchange(&mut stream, &mut there);
        }
        scene.end();
    }
}

#[test]
fn from_inside_udp_too_follows_a_forward_that_moves() {
    for scene in scenes() {
        let (old, new) = (scene.client(0, 53), scene.client(1, 53));
        scene.forward(&format!("add udp 53 {old} --name dns"));
        let (first, second) = (scene.udp(0, 53), scene.udp(1, 53));
        let asking = scene.udp(1, 4000);
        asking.send_to(b"one", outside(53)).expect("a datagram can be sent");
        let (heard, from) = receive(&first);
        assert_eq!((heard.as_slice(), from), (b"one".as_slice(), outside(4000)));
        first.send_to(b"answer", from).expect("a datagram can be sent");
        assert_eq!(receive(&asking).1, outside(53));
        scene.forward(&format!("add udp 53 {new} --name dns"));
        asking.send_to(b"two", outside(53)).expect("a datagram can be sent");
        assert_eq!(receive(&second).0, b"two");
        scene.end();
    }
}

#[test]
fn by_force_a_port_is_taken_from_who_has_it() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    let remote = scene.lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    let refused = scene.lab.vnetctl(&["forward", "add", "udp", "4000", "10.0.1.2"]).fails(6);
    refused.complains("udp port 4000 of 198.51.100.1 is held by 10.0.0.2:4000");
    scene.forward("add udp 4000 10.0.1.2 --force");
    let service = scene.udp(1, 4000);
    remote.send_to(b"hello", outside(4000)).expect("a datagram can be sent");
    assert_eq!(receive(&service).1, SocketAddr::from(server()).to_string().parse().expect("IPv4"));
    assert_ne!(ask(&client, &remote).port(), 4000, "its former owner has another now");
    scene.end();
}

#[test]
fn the_target_may_have_the_port_already() {
    let scene = Scene::new();
    let remote = scene.lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    scene.forward("add udp 4000 10.0.0.2");
    assert_eq!(ask(&client, &remote), outside(4000), "the same flow goes on");
    let stranger = scene.lab.server.udp(lab::server(0, 9999));
    stranger.send_to(b"hello", outside(4000)).expect("a datagram can be sent");
    assert_eq!(receive(&client).1, lab::server(0, 9999));
    scene.end();
}
