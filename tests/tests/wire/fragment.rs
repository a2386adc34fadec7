//! What is too long for one packet passes, both ways, as if there were no NAT.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{self, Lab};
use vnet_tests::packet::{Mac, Packet};
use vnet_tests::ping::{Pinger, is_reply};
use vnet_tests::socket::receive;
use vnet_tests::wire::Wire;

use crate::scene::{Scene, outside, server};

const SOON: Duration = Duration::from_secs(3);

/// Bytes that are nowhere the same for long.
fn long(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Sends a datagram of this length there, and another one back.
#[track_caller]
fn carry(client: &UdpSocket, remote: &UdpSocket, length: usize) {
    let said = long(length);
    client.send_to(&said, server()).expect("a datagram can be sent");
    let (heard, from) = receive(remote);
    assert!(heard == said, "{} bytes of {length} arrived, or others", heard.len());
    let answer: Vec<_> = said.iter().rev().copied().collect();
    remote.send_to(&answer, from).expect("a datagram can be sent");
    let (heard, by) = receive(client);
    assert!(heard == answer, "{} bytes of {length} came back, or others", heard.len());
    assert_eq!(by, server());
}

#[test]
fn long_datagrams_go_there_and_back() {
    let scene = Scene::new();
    let (client, remote) = (scene.udp(0, 4000), scene.lab.server.udp(server()));
    for length in [1473, 3000, 9000, 65_507] {
        carry(&client, &remote, length);
    }
    let Counters(counted) = Counters::of(&scene.lab);
    let lost = ["fragment", "fragment_in"].map(|name| counted.get(name).copied().unwrap_or(0));
    assert_eq!(lost, [0, 0], "all of them came after their first");
    scene.end();
}

#[test]
fn long_pings_are_answered() {
    let scene = Scene::new();
    let pinger = Pinger::new(&scene.lab.client().netns);
    let data = long(4000);
    for sequence in 1..=3 {
        pinger.send(lab::server_address(0), 7, sequence, &data).expect("a ping can be sent");
        let answer = pinger.receive(SOON, |packet| is_reply(packet, 7) && packet.data() == data);
        assert!(answer.is_some(), "no answer to ping {sequence}");
    }
    scene.end();
}

#[test]
fn what_the_router_itself_must_cut_arrives() {
    let scene = Scene::of(Lab::plan().uplink_mtu(1000), &[]);
    let (client, remote) = (scene.lab.client(), scene.lab.server.udp(server()));
    let wire = Wire::open(&client.netns, &client.port);
    // Fits the client's wire, but not the uplink, and may be cut.
    let said = long(1400);
    let packet = Packet::udp((client.address, 4000), server()).payload(&said);
    wire.send_packet(&packet.frame(client.port.mac, client.router_port.mac));
    let (heard, from) = receive(&remote);
    assert!(heard == said, "{} bytes arrived, or others", heard.len());
    assert_eq!(from, outside(4000));
    scene.end();
}

#[test]
fn many_clients_send_long_datagrams_at_once() {
    let scene = Scene::of(Lab::plan().clients(3), &[]);
    let remote = scene.lab.server.udp(server());
    thread::scope(|scope| {
        for n in 0..3 {
            let client = scene.udp(n, 0);
            scope.spawn(move || {
                for _ in 0..50 {
                    let said = vec![n as u8; 5000];
                    client.send_to(&said, server()).expect("a datagram can be sent");
                    let (heard, _) = receive(&client);
                    assert!(heard == said, "another's datagram came to client {n}");
                }
            });
        }
        let echo = || {
            for _ in 0..150 {
                let (heard, from) = receive(&remote);
                assert!(heard.iter().all(|byte| *byte == heard[0]), "datagrams were mixed");
                remote.send_to(&heard, from).expect("a datagram can be sent");
            }
        };
        scope.spawn(echo);
    });
    scene.end();
}

#[test]
fn the_routers_own_long_datagrams_pass() {
    let scene = Scene::new();
    let remote = scene.lab.server.udp(server());
    let own = scene.lab.router.udp(outside(6000));
    carry(&own, &remote, 9000);
    // And what the router is asked by somebody it has not spoken to.
    let service = scene.lab.router.udp(outside(53));
    let said = long(5000);
    remote.send_to(&said, outside(53)).expect("a datagram can be sent");
    let (heard, from) = receive(&service);
    assert!(heard == said, "the router did not hear it whole");
    service.send_to(&said, from).expect("a datagram can be sent");
    assert!(receive(&remote).0 == said, "nor was it heard");
    scene.end();
}

/// Sends the fragments of a packet in this order, from a station on the wire.
fn send(wire: &Wire, (from, to): (Mac, Mac), packet: &Packet, order: &[usize]) {
    let cut = packet.fragments(256);
    assert_eq!(cut.len(), order.len(), "every fragment is sent once");
    for at in order {
        wire.send_packet(&cut[*at].clone().frame(from, to));
    }
}

/// Every order of four.
fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6]);
    all.filter(|order| (0..4).all(|at| order.contains(&at))).collect()
}

#[test]
fn in_every_order_they_arrive_both_ways() {
    let scene = Scene::new();
    scene.lab.fix_neighbours();
    let (lab, client) = (&scene.lab, scene.lab.client());
    let (socket, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    let inside = Wire::open(&client.netns, &client.port);
    let outer = Wire::open(&lab.server, &lab.server_port);
    let before = Counters::of(lab);
    for (id, order) in (100..).zip(orders()) {
        let said = long(800 + usize::from(id));
        let packet = Packet::udp((client.address, 4000), server()).payload(&said).id(id);
        send(&inside, (client.port.mac, client.router_port.mac), &packet, &order);
        let (heard, from) = receive(&remote);
        assert!(heard == said, "{order:?}: {} bytes arrived, or others", heard.len());
        assert_eq!(from, outside(4000));
        let packet = Packet::udp(server(), from).payload(&said).id(id);
        send(&outer, (lab.server_port.mac, lab.uplink.mac), &packet, &order);
        let (heard, by) = receive(&socket);
        assert!(heard == said, "{order:?}: {} bytes came back, or others", heard.len());
        assert_eq!(by, server());
    }
    // Of 24 orders six begin with the first; in the others all four go by way of the sorter.
    let translated = 24 * 4;
    let moved = [("nat_in", translated), ("nat_out", translated), ("sorted", 2 * 18 * 4)];
    let mut expected = moved.to_vec();
    let inside = Counters::of(lab).since(&before).get("inside").copied().unwrap_or(0);
    expected.push(("inside", inside));
    Counters::of(lab).assert_moved(&before, &expected);
    scene.end();
}
