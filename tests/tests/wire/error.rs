//! ICMP errors reach whom they concern.

use std::io::ErrorKind;
use std::net::SocketAddrV4;

use vnet_tests::lab::{Lab, OUTSIDE};
use vnet_tests::packet::{IcmpKind, Packet, assert_valid};
use vnet_tests::socket::try_receive;
use vnet_tests::wire::Wire;

use crate::scene::{Scene, ask, outside, server};

#[test]
fn a_closed_port_outside_is_told_to_the_client() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    // Both use the same port, so one of the quotes has to be translated.
    for n in 0..2 {
        let client = scene.udp(n, 4000);
        client.connect(server()).expect("a UDP socket can be connected");
        client.send(b"anybody?").expect("a datagram can be sent");
        let refused = try_receive(&client).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "client {n}");
    }
    scene.end();
}

#[test]
fn a_refused_connection_is_told_to_the_client() {
    let scene = Scene::new();
    let client = scene.lab.client();
    let refused = client.netns.connect((client.address, 4000), server());
    assert_eq!(refused.expect_err("nobody is there").kind(), ErrorKind::ConnectionRefused);
    scene.end();
}

#[test]
fn a_closed_port_inside_is_told_to_the_server_by_the_router() {
    let scene = Scene::new();
    let remote = scene.lab.server.udp(server());
    let wire = Wire::open(&scene.lab.server, &scene.lab.server_port);
    let client = scene.udp(0, 4000);
    ask(&client, &remote);
    drop(client);
    remote.connect(outside(4000)).expect("a UDP socket can be connected");
    remote.send(b"still there?").expect("a datagram can be sent");
    let refused = try_receive(&remote).expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let error = wire.expect("the error", |packet| packet.quote().is_some());
    assert_eq!(error.ip.source, OUTSIDE, "it is the router who says so");
    let quote = error.quote().expect("that is what was waited for");
    assert_eq!((quote.source, quote.destination), (server(), outside(4000)));
    scene.end();
}

#[test]
fn an_error_from_somewhere_on_the_way_reaches_the_client() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let server_wire = Wire::open(&lab.server, &lab.server_port);
    let client_wire = Wire::open(&lab.client().netns, &lab.client().port);
    ask(&scene.udp(0, 4000), &lab.server.udp(server()));
    let sent = Packet::udp(outside(4000), server()).payload(b"question");
    let hop = [203, 0, 113, 99].into();
    for kind in [IcmpKind::HOST_UNREACHABLE, IcmpKind::PROHIBITED, IcmpKind::TIME_EXCEEDED] {
        let error = sent.error(hop, kind, 8).frame(lab.server_port.mac, lab.uplink.mac);
        server_wire.send_packet(&error);
        let arrived = client_wire.expect("the error", |packet| packet.ip.source == hop);
        let client = lab.client().address;
        assert_eq!(arrived.ip.destination, client);
        let quote = arrived.quote().expect("an error quotes");
        assert_eq!(quote.source, SocketAddrV4::new(client, 4000));
        assert_valid(&arrived.bytes());
    }
    scene.end();
}
