//! Conversations from inside: data both ways, and whom the server sees.

use std::thread;
use std::time::Duration;

use vnet_tests::lab::{self, Lab, OUTSIDE};
use vnet_tests::ping::Pinger;
use vnet_tests::wire::Wire;

use crate::scene::{PORT, Scene, ask, bulk, echo, exchange, outside, server};

const SOON: Duration = Duration::from_secs(3);

#[test]
fn tcp_carries_data_both_ways() {
    let scene = Scene::new();
    let listener = scene.lab.server.listen(server());
    let from = thread::scope(|scope| {
        let served = scope.spawn(|| echo(&listener));
        bulk(&scene.connect(0, 4000, server()), 300_000);
        served.join().expect("the server does not panic")
    });
    assert_eq!(from, outside(4000), "the port is kept");
    assert!(scene.end() > 0, "the sentry has seen it");
}

#[test]
fn udp_is_asked_and_answered() {
    let scene = Scene::new();
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    assert_eq!(scene.end(), 1);
}

#[test]
fn ping_is_answered() {
    let scene = Scene::new();
    let pinger = Pinger::new(&scene.lab.client().netns);
    for id in [1, 7, 0xffff] {
        assert!(pinger.ping(lab::server_address(0), id, SOON).is_some(), "no answer to id {id}");
    }
    assert_eq!(scene.end(), 3);
}

#[test]
fn two_clients_with_the_same_port_talk_to_the_same_server_at_once() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    let listener = scene.lab.server.listen(server());
    let mut first = scene.connect(0, 4000, server());
    let (mut first_there, first_from) = listener.accept().expect("the first connection comes");
    let mut second = scene.connect(1, 4000, server());
    let (mut second_there, second_from) = listener.accept().expect("the second connection comes");
    assert_eq!(first_from, outside(4000).into(), "the first keeps its port");
    assert_eq!(second_from.ip(), OUTSIDE);
    assert_ne!(second_from.port(), 4000, "the second is moved");
    for _ in 0..3 {
        exchange(&mut first, &mut first_there);
        exchange(&mut second, &mut second_there);
    }
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote).port(), 4000);
    assert_ne!(ask(&scene.udp(1, 4000), &remote).port(), 4000);
    scene.end();
}

#[test]
fn two_clients_ping_with_the_same_id_at_once() {
    let scene = Scene::of(Lab::plan().clients(2), &[]);
    let ids = Wire::open(&scene.lab.server, &scene.lab.server_port);
    for client in &scene.lab.clients {
        let answer = Pinger::new(&client.netns).ping(lab::server_address(0), 7, SOON);
        assert!(answer.is_some(), "no answer to {}", client.address);
    }
    let id = |what| ids.expect(what, |p| p.ip.source == OUTSIDE && p.quote().is_none());
    assert_ne!(id("the first ping").body, id("the second ping").body);
    scene.end();
}

#[test]
fn one_port_is_one_port_to_every_server() {
    let scene = Scene::of(Lab::plan().clients(2).server_addresses(2), &[]);
    let remotes = [0, 1].map(|n| scene.lab.server.udp(lab::server(n, PORT)));
    let (first, second) = (scene.udp(0, 4000), scene.udp(1, 4000));
    assert_eq!(ask(&first, &remotes[0]).port(), 4000);
    let moved = ask(&second, &remotes[1]);
    assert_ne!(moved.port(), 4000, "also where nobody holds it towards that server");
    assert_eq!(ask(&second, &remotes[0]), moved);
    assert_eq!(ask(&first, &remotes[1]).port(), 4000);
    scene.end();
}

#[test]
fn clients_behind_a_bridge_are_translated_too() {
    let scene = Scene::of(Lab::plan().clients(2).bridged(), &[]);
    let remote = scene.lab.server.udp(server());
    for n in 0..2 {
        assert_eq!(ask(&scene.udp(n, 0), &remote).ip(), &OUTSIDE);
    }
    scene.end();
}

#[test]
fn inside_may_be_a_device() {
    let scene = Scene::unattached(Lab::plan());
    let attach = ["attach", "--nat", lab::UPLINK, "--inside", "in0"];
    scene.lab.vnetctl(&attach).ok();
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    scene.end();
}

#[test]
fn everybody_is_inside_when_nobody_is_named() {
    let scene = Scene::unattached(Lab::plan());
    scene.lab.vnetctl(&["attach", "--nat", lab::UPLINK]).ok();
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    scene.end();
}
