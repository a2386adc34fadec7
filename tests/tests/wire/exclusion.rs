//! Destinations that inside hosts reach by their own addresses.

use vnet_tests::lab::{self, ETH, Lab, UPLINK, server_address};

use crate::scene::{PORT, Scene, ask, outside, server};

#[test]
fn rfc6888_req6_an_excluded_destination_sees_who_is_inside() {
    // No sentry: what it looks for is what is wanted here.
    let lab = Lab::plan().server_addresses(2).build();
    lab.server.ip("address add 172.16.5.9/32 dev lo");
    lab.server.ip(&format!("route add 10.0.0.0/16 via {} dev {ETH}", lab::OUTSIDE));
    lab.router.ip(&format!("route add 172.16.0.0/12 via {} dev {UPLINK}", server_address(0)));
    lab.attach(&["--exclude", "172.16.0.0/12"]);
    let client = lab.client();
    let far = lab.server.udp("172.16.5.9:5000");
    let near = lab.server.udp(server());
    let socket = client.netns.udp((client.address, 4000));
    assert_eq!(*ask(&socket, &far).ip(), client.address);
    assert_eq!(ask(&socket, &near), outside(4000));
    assert_eq!(lab.flows().len(), 1);
}

#[test]
fn an_exclusion_comes_and_goes_and_connections_stay() {
    let scene = Scene::of(Lab::plan().server_addresses(2), &[]);
    let lab = &scene.lab;
    let first = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &first), outside(4000));
    lab.attach(&["--exclude", "198.51.100.3", "--exclude", "203.0.113.0/24"]);
    assert_eq!(ask(&client, &first), outside(4000));
    lab.attach(&[]);
    let second = lab.server.udp(lab::server(1, PORT));
    assert_eq!(ask(&client, &second), outside(4000));
    scene.end();
}
