//! Two uplinks of one instance: routing chooses, and NAT follows.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_tests::lab::{ETH, INSIDE, Lab, OUTSIDE, UPLINK, server_address};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::sentry::Sentry;
use vnet_tests::tun::Layer;

use crate::scene::{PORT, Scene, ask, bulk, echo, outside, server};

const SECOND: &str = "up1";
/// The router on its second uplink.
const OTHER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The server there.
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const ATTACH: [&str; 7] = ["attach", "--nat", UPLINK, "--nat", SECOND, "--inside", INSIDE];

/// A router with two uplinks, both in one instance.
struct Two {
    scene: Scene,
    server: Netns,
    sentry: Sentry,
}

impl Two {
    fn new() -> Self {
        let two = Self::unattached();
        two.scene.lab.vnetctl(&ATTACH).ok().says("attached: up0 and up1 translate");
        two
    }

    fn unattached() -> Self {
        let scene = Scene::unattached(Lab::plan().clients(2));
        let lab = &scene.lab;
        let server = Netns::new("second");
        Cable::new((&lab.router, SECOND), (&server, ETH)).plug();
        link::address(&lab.router, SECOND, &format!("{OTHER_OUTSIDE}/24"));
        link::address(&server, ETH, &format!("{OTHER_SERVER}/24"));
        let sentry = Sentry::at(&server, ETH, Layer::Ethernet);
        Self { sentry, server, scene }
    }

    fn end(self) {
        let lab = &self.scene.lab;
        lab.vnetctl(&["detach", SECOND]).ok().complains("on up0 and up1");
        assert!(!vnet_tests::instance::pins(lab.instance()).exists());
        assert!(self.scene.end() > 0);
        assert!(self.sentry.relieve() > 0);
    }
}

fn other_outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OTHER_OUTSIDE, port)
}

#[test]
fn each_uplink_has_its_address_and_its_ports() {
    let two = Two::new();
    let lab = &two.scene.lab;
    let (first, second) = (lab.server.udp(server()), two.server.udp((OTHER_SERVER, PORT)));
    let client = two.scene.udp(0, 4000);
    for _ in 0..3 {
        assert_eq!(ask(&client, &first), outside(4000));
        assert_eq!(ask(&client, &second), other_outside(4000));
    }
    let neighbour = two.scene.udp(1, 5000);
    assert_eq!(ask(&neighbour, &second), other_outside(5000));
    assert_eq!(ask(&two.scene.udp(0, 5000), &first), outside(5000));
    assert_ne!(ask(&neighbour, &first).port(), 5000, "the other client has it on this uplink");
    assert_eq!(lab.flows().len(), 5);
    let devices: Vec<_> = lab.flows().iter().map(|flow| flow["ifname"].to_string()).collect();
    assert!(devices.contains(&"\"up0\"".into()) && devices.contains(&"\"up1\"".into()));
    two.end();
}

#[test]
fn data_goes_over_both() {
    let two = Two::new();
    let lab = &two.scene.lab;
    for (netns, address, seen) in
        [(&lab.server, server_address(0), OUTSIDE), (&two.server, OTHER_SERVER, OTHER_OUTSIDE)]
    {
        let listener = netns.listen((address, PORT));
        let from = std::thread::scope(|scope| {
            let served = scope.spawn(|| echo(&listener));
            bulk(&two.scene.connect(0, 4000, (address, PORT)), 200_000);
            served.join().expect("the server does not panic")
        });
        assert_eq!(from, SocketAddrV4::new(seen, 4000));
    }
    two.end();
}

#[test]
fn a_flow_whose_route_moves_begins_anew_on_the_other_uplink() {
    let two = Two::new();
    let lab = &two.scene.lab;
    for netns in [&lab.server, &two.server] {
        netns.ip("address add 192.0.2.1/32 dev lo");
    }
    let by = |gateway| lab.router.ip(&format!("route replace 192.0.2.1/32 via {gateway}"));
    let [first, second] = [&lab.server, &two.server].map(|netns| netns.udp("192.0.2.1:5000"));
    let client = two.scene.udp(0, 4000);
    by(server_address(0));
    assert_eq!(ask(&client, &first), outside(4000));
    by(OTHER_SERVER);
    assert_eq!(ask(&client, &second), other_outside(4000));
    assert_eq!(lab.flows().len(), 1, "what was on the first has ended");
    by(server_address(0));
    assert_eq!(ask(&client, &first), outside(4000), "and back, as it was");
    two.end();
}

#[test]
fn an_uplink_comes_and_goes_and_the_other_does_not_notice() {
    let two = Two::unattached();
    let lab = &two.scene.lab;
    lab.attach(&[]);
    let (first, second) = (lab.server.udp(server()), two.server.udp((OTHER_SERVER, PORT)));
    let client = two.scene.udp(0, 4000);
    assert_eq!(ask(&client, &first), outside(4000));
    lab.vnetctl(&ATTACH).ok().says("uplinks: up0 -> up0, up1");
    assert_eq!(ask(&client, &first), outside(4000));
    assert_eq!(ask(&client, &second), other_outside(4000));
    assert_eq!(lab.flows().len(), 2);
    lab.attach(&[]);
    assert_eq!(ask(&client, &first), outside(4000));
    lab.vnetctl(&ATTACH).ok();
    assert_eq!(ask(&client, &second), other_outside(4000));
    two.end();
}
