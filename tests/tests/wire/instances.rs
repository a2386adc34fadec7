//! Several instances on one host: an uplink each, in one network namespace and in several.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use serde_json::Value;
use vnet_tests::instance;
use vnet_tests::lab::{ETH, INSIDE, Lab, OUTSIDE, UPLINK, server_address};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::sentry::Sentry;
use vnet_tests::tun::Layer;
use vnet_tests::vnetctl;

use crate::scene::{PORT, Scene, ask, bulk, echo, outside, server};

const SECOND: &str = "up1";
/// The router on its second uplink.
const OTHER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The server there.
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A lab whose router has a second uplink to another server, and an instance on each.
struct Two {
    scene: Scene,
    server: Netns,
    sentry: Sentry,
    instance: String,
}

impl Two {
    fn new() -> Self {
        let two = Self::unattached();
        two.scene.lab.attach(&[]);
        two.vnetctl(&["attach", "--nat", SECOND, "--inside", INSIDE]).ok();
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
        Self { sentry, server, instance: instance::unique(), scene }
    }

    /// Runs vnetctl on the second instance.
    #[must_use = "an outcome nobody looks at tests nothing: use ok() or fails()"]
    fn vnetctl(&self, words: &[&str]) -> vnetctl::Outcome {
        let words = [words, &["--instance", &self.instance]].concat();
        let program = vnetctl::program();
        vnetctl::run(self.scene.lab.router.command(&program.to_string_lossy(), &words))
    }

    fn flows(&self) -> Vec<Value> {
        let answer = self.vnetctl(&["flows", "--json"]).ok().json();
        answer.as_array().cloned().expect("flows are a list")
    }

    fn end(self) {
        let _ = self.vnetctl(&["detach", SECOND]);
        instance::remove_pins(&self.instance);
        assert!(self.scene.end() > 0);
        assert!(self.sentry.relieve() > 0);
    }
}

fn other_outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OTHER_OUTSIDE, port)
}

#[test]
fn both_take_the_shortcut_by_the_inside_device_that_they_share() {
    let two = Two::new();
    let lab = &two.scene.lab;
    let client = two.scene.udp(0, 4000);
    let remotes = [lab.server.udp(server()), two.server.udp((OTHER_SERVER, PORT))];
    for remote in &remotes {
        for _ in 0..5 {
            ask(&client, remote);
        }
    }
    for flows in [lab.flows(), two.flows()] {
        for way in ["way_out", "way_in"] {
            // On a slow machine the last packet is more than a second away.
            let why = flows[0][way]["why"].as_str().expect("a word");
            assert!(["shortcut", "due"].contains(&why), "{flows:?}");
        }
    }
    two.end();
}

#[test]
fn what_one_translates_is_not_only_routed_to_the_other() {
    // Without --inside the first has its programs on the second's uplink too, and sees packets leave
    // there before they are translated, and answers when they are translated already.
    let two = Two::unattached();
    two.scene.lab.vnetctl(&["attach", "--nat", UPLINK]).ok();
    for more in [&[][..], &["--no-shortcut", SECOND]] {
        two.vnetctl(&[&["attach", "--nat", SECOND], more].concat()).ok();
        let client = two.scene.udp(0, 4000);
        let remote = two.server.udp((OTHER_SERVER, PORT));
        for _ in 0..40 {
            assert_eq!(ask(&client, &remote), other_outside(4000));
        }
    }
    let first = two.scene.lab.server.udp(server());
    assert_eq!(*ask(&two.scene.udp(0, 4001), &first).ip(), OUTSIDE);
    two.end();
}

#[test]
fn inside_hosts_use_two_uplinks_at_once() {
    let two = Two::new();
    let lab = &two.scene.lab;
    let first = lab.server.udp(server());
    let second = two.server.udp((OTHER_SERVER, PORT));
    // One endpoint has the same port on both: the uplinks have nothing to do with each other.
    let client = two.scene.udp(0, 4000);
    for _ in 0..3 {
        assert_eq!(ask(&client, &first), outside(4000));
        assert_eq!(ask(&client, &second), other_outside(4000));
    }
    // What is taken on one is free on the other for somebody else, each in its turn.
    let neighbour = two.scene.udp(1, 5000);
    assert_eq!(ask(&neighbour, &second), other_outside(5000));
    assert_eq!(ask(&two.scene.udp(0, 5000), &first), outside(5000));
    let moved = ask(&neighbour, &first);
    assert_ne!(moved.port(), 5000, "the other client has it on this uplink");
    assert_eq!((lab.flows().len(), two.flows().len()), (3, 2));
    two.end();
}

#[test]
fn data_goes_over_both_uplinks() {
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
fn a_route_that_moves_to_the_other_uplink_takes_its_flows_along() {
    let two = Two::new();
    let lab = &two.scene.lab;
    // One service, reached by either uplink.
    for (netns, gateway) in [(&lab.server, server_address(0)), (&two.server, OTHER_SERVER)] {
        netns.ip("address add 192.0.2.1/32 dev lo");
        lab.router
            .ip(&format!("route add 192.0.2.1/32 via {gateway} metric {}", gateway.octets()[0]));
    }
    let service: fn(&Netns) -> UdpSocket = |netns| netns.udp("192.0.2.1:5000");
    let (first, second) = (service(&lab.server), service(&two.server));
    let client = two.scene.udp(0, 4000);
    lab.router.ip(&format!("route replace 192.0.2.1/32 via {} metric 1", server_address(0)));
    assert_eq!(ask(&client, &first), outside(4000));
    lab.router.ip(&format!("route del 192.0.2.1/32 via {} metric 1", server_address(0)));
    lab.router.ip(&format!("route replace 192.0.2.1/32 via {OTHER_SERVER} metric 1"));
    assert_eq!(ask(&client, &second), other_outside(4000));
    lab.router.ip(&format!("route del 192.0.2.1/32 via {OTHER_SERVER} metric 1"));
    lab.router.ip(&format!("route replace 192.0.2.1/32 via {} metric 1", server_address(0)));
    assert_eq!(ask(&client, &first), outside(4000), "and back, as it was");
    two.end();
}

#[test]
fn one_instance_goes_and_the_other_stays() {
    let two = Two::new();
    let lab = &two.scene.lab;
    let second = two.server.udp((OTHER_SERVER, PORT));
    let client = two.scene.udp(0, 4000);
    assert_eq!(ask(&client, &second), other_outside(4000));
    lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(
        ask(&client, &second),
        other_outside(4000),
        "its neighbour's end is no matter to it"
    );
    assert_eq!(two.flows().len(), 1);
    lab.attach(&[]);
    assert_eq!(ask(&client, &lab.server.udp(server())), outside(4000));
    two.vnetctl(&["detach", SECOND]).ok();
    assert_eq!(ask(&client, &lab.server.udp(server())), outside(4000));
    lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(lab.router.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
    two.end();
}

#[test]
fn an_uplink_in_each_namespace() {
    // Two routers of one machine with the same addresses and the same device names.
    let scenes = [Scene::new(), Scene::new()];
    let talk = |scene: &Scene| {
        let remote = scene.lab.server.udp(server());
        assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
        assert_eq!(scene.lab.flows().len(), 1);
    };
    scenes.iter().for_each(talk);
    let [first, second] = scenes;
    first.lab.vnetctl(&["detach", UPLINK]).ok();
    assert!(!instance::pins(first.lab.instance()).exists());
    talk(&second);
    first.end();
    second.end();
}
