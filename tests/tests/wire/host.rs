//! The router's own traffic while it translates for others.

use std::net::SocketAddrV4;

use vnet_tests::counters::Counters;
use vnet_tests::lab::{self, Lab, OUTSIDE};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::PATIENCE;

use crate::scene::{PORT, Scene, ask, exchange, outside, server};

#[test]
fn the_hosts_own_connections_work() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let listener = lab.server.listen(server());
    let mut own = lab.router.connect(outside(6000), server()).expect("connects");
    let (mut there, from) = listener.accept().expect("a connection comes");
    assert_eq!(from, outside(6000).into());
    exchange(&mut own, &mut there);
    assert!(Pinger::new(&lab.router).ping(lab::server_address(0), 3, PATIENCE).is_some());
    let remote = lab.server.udp(server());
    assert_eq!(ask(&lab.router.udp(outside(6001)), &remote), outside(6001));
    let hosts = lab.flows().iter().filter(|flow| flow["host"] == true).count();
    assert_eq!(hosts, 2, "the connection and the ping; a bound UDP socket needs no flow");
    scene.end();
}

#[test]
fn host_and_client_with_the_same_port_do_not_meet() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let listener = lab.server.listen(server());
    let mut client = scene.connect(0, 4000, server());
    let (mut client_there, client_from) = listener.accept().expect("a connection comes");
    assert_eq!(client_from, outside(4000).into());
    let mut own = lab.router.connect(outside(4000), server()).expect("connects");
    let (mut own_there, own_from) = listener.accept().expect("a connection comes");
    assert_eq!(own_from.ip(), OUTSIDE);
    assert_ne!(own_from.port(), 4000);
    exchange(&mut client, &mut client_there);
    exchange(&mut own, &mut own_there);
    scene.end();
}

#[test]
fn a_port_the_host_listens_on_is_not_given_to_a_client() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let service = lab.router.listen(outside(4000));
    let listener = lab.server.listen(server());
    let mut client = scene.connect(0, 4000, server());
    let (mut there, from) = listener.accept().expect("a connection comes");
    assert_ne!(from.port(), 4000, "the host listens there");
    exchange(&mut client, &mut there);
    let mut outer = lab.server.connect(lab::server(0, 0), outside(4000)).expect("connects");
    exchange(&mut outer, &mut service.accept().expect("a connection comes").0);
    scene.end();
}

#[test]
fn a_client_talks_to_the_router_itself() {
    let scene = Scene::new();
    let remote = scene.lab.router.udp("10.0.0.1:5000");
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), SocketAddrV4::new(scene.lab.client().address, 4000));
    scene.end();
}

#[test]
fn a_connection_of_the_host_from_before_is_safe_from_clients() {
    let scene = Scene::unattached(Lab::plan().server_addresses(2));
    let lab = &scene.lab;
    let (first, second) = (server(), lab::server(1, PORT));
    let listener = lab.server.listen(first);
    let mut own = lab.router.connect(outside(4000), first).expect("connects");
    let (mut own_there, _) = listener.accept().expect("a connection comes");
    lab.attach(&[]);
    let other = lab.server.listen(second);
    let mut client = scene.connect(0, 4000, second);
    let (mut there, from) = other.accept().expect("a connection comes");
    let before = Counters::of(lab);
    if from == outside(4000).into() {
        // The same port towards the host's own server would be the host's own conversation.
        let address = lab.client().address;
        let clash = lab.client().netns.connect((address, 4000), first);
        assert!(clash.is_err(), "the host has this conversation");
        assert!(Counters::of(lab).since(&before).contains_key("socket_clash"));
    }
    exchange(&mut client, &mut there);
    exchange(&mut own, &mut own_there);
    scene.end();
}

#[test]
fn a_full_table_is_no_matter_to_the_host() {
    let scene = Scene::of(Lab::plan(), &["--max-flows", "16"]);
    let lab = &scene.lab;
    for port in 7000..7032 {
        scene.udp(0, port).send_to(b"one more", server()).expect("a datagram can be sent");
    }
    assert_eq!(lab.flows().len(), 16);
    let listener = lab.server.listen(server());
    let mut own = lab.router.connect(outside(6000), server()).expect("connects");
    exchange(&mut own, &mut listener.accept().expect("a connection comes").0);
    assert!(Pinger::new(&lab.router).ping(lab::server_address(0), 3, PATIENCE).is_some());
    scene.end();
}
