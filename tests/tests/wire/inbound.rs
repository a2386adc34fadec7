//! What comes from outside unasked.

use std::io::ErrorKind;

use vnet_tests::lab::{self, Lab, OUTSIDE};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{PATIENCE, expect_silence, try_receive};

use crate::scene::{PORT, Scene, ask, exchange, outside, server};

#[test]
fn a_stranger_does_not_reach_a_mapped_port_and_hears_nothing() {
    let scene = Scene::of(Lab::plan().server_addresses(2), &[]);
    let (client, remote) = (scene.udp(0, 4000), scene.lab.server.udp(server()));
    ask(&client, &remote);
    let stranger = scene.lab.server.udp(lab::server(1, PORT));
    stranger.connect(outside(4000)).expect("a UDP socket can be connected");
    stranger.send(b"unasked").expect("a datagram can be sent");
    expect_silence(&client, || {
        remote.send_to(b"asked", outside(4000)).expect("a datagram can be sent");
    });
    // Were an ICMP error on its way, this would tell.
    stranger.send(b"unasked").expect("no ICMP error has come");
    scene.end();
}

#[test]
fn a_port_nobody_has_is_answered_by_the_host() {
    let scene = Scene::new();
    ask(&scene.udp(0, 4000), &scene.lab.server.udp(server()));
    let stranger = scene.lab.server.udp(lab::server(0, 6000));
    stranger.connect(outside(9)).expect("a UDP socket can be connected");
    stranger.send(b"anybody?").expect("a datagram can be sent");
    let refused = try_receive(&stranger).expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let refused = scene.lab.server.connect(lab::server(0, 0), outside(9));
    assert_eq!(refused.expect_err("nobody is there").kind(), ErrorKind::ConnectionRefused);
    scene.end();
}

#[test]
fn the_host_is_pinged_and_served_from() {
    let scene = Scene::new();
    let pinger = Pinger::new(&scene.lab.server);
    assert!(pinger.ping(OUTSIDE, 7, PATIENCE).is_some(), "the router does not answer");
    let listener = scene.lab.router.listen(outside(2222));
    let mut outer = scene.lab.server.connect(lab::server(0, 0), outside(2222)).expect("connects");
    let (mut inner, from) = listener.accept().expect("a connection comes");
    assert_eq!(from.ip(), lab::server_address(0), "the host sees who it is");
    exchange(&mut outer, &mut inner);
    assert_eq!(scene.lab.flows().len(), 0, "what comes from outside makes no state");
    scene.end();
}
