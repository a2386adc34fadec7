//! The uplink's address is added to, removed, replaced, while nobody runs vnetctl.

use std::net::{Ipv4Addr, SocketAddrV4};

use vnet_tests::counters::Counters;
use vnet_tests::lab::{INSIDE, Lab, UPLINK};
use vnet_tests::link;
use vnet_tests::netns::Netns;
use vnet_tests::ping::Pinger;
use vnet_tests::sentry::Sentry;
use vnet_tests::skip;
use vnet_tests::socket::{PATIENCE, expect_silence};
use vnet_tests::tun::{self, Layer, TunCable};

use crate::scene::{PORT, Scene, ask, outside, server};

const NEW: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

fn new(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(NEW, port)
}

/// As DHCP and PPP do it: the device has nothing, then the new address.
fn replace(router: &Netns, device: &str, address: Ipv4Addr) {
    router.ip(&format!("address flush dev {device}"));
    link::address(router, device, &format!("{address}/24"));
}

#[test]
fn a_new_address_is_taken_up_by_itself() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    let before = Counters::of(lab);
    replace(&lab.router, UPLINK, NEW);
    assert_eq!(ask(&client, &remote), new(4000), "an old flow");
    assert_eq!(ask(&scene.udp(0, 4001), &remote), new(4001), "a new one");
    assert_eq!(Counters::of(lab).since(&before).get("moved"), Some(&1));
    assert_eq!(lab.flows().len(), 2, "the flow from the old address has ended");
    // The router's own conversations are its own at once.
    assert_eq!(ask(&lab.router.udp(new(6000)), &remote), new(6000));
    assert!(Pinger::new(&lab.router).ping(*server().ip(), 3, PATIENCE).is_some());
    let status = lab.vnetctl(&["status", "--json"]).ok().json();
    assert_eq!(
        (status[0]["health"].as_str(), &status[0]["outside"]),
        (Some("ok"), &"198.51.100.9".into())
    );
    lab.vnetctl(&["attach", "--nat", UPLINK, "--inside", INSIDE]).ok().says("nothing to do");
    // And back again.
    replace(&lab.router, UPLINK, *outside(0).ip());
    assert_eq!(ask(&client, &remote), outside(4000));
    scene.end();
}

#[test]
fn a_second_address_changes_nothing_and_is_the_routers_own() {
    // Everybody is inside: the router's new address too, if one did not look.
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    lab.vnetctl(&["attach", "--nat", UPLINK]).ok();
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    link::address(&lab.router, UPLINK, "198.51.100.9/24");
    assert_eq!(ask(&lab.router.udp(new(6000)), &remote), new(6000));
    assert_eq!(ask(&client, &remote), outside(4000));
    lab.router.ip("address del 198.51.100.9/24 dev up0");
    assert_eq!(ask(&client, &remote), outside(4000));
    assert!(!Counters::of(lab).0.contains_key("moved"));
    scene.end();
}

#[test]
fn without_an_address_nothing_leaves_until_there_is_one_again() {
    let scene = Scene::new();
    let lab = &scene.lab;
    // Where the network is reached by the device alone, packets go on being routed there.
    lab.router.ip("address flush dev up0");
    lab.router.ip("address add 198.51.100.1/32 dev up0");
    lab.router.ip("route replace 198.51.100.0/24 dev up0 src 198.51.100.1");
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    lab.router.ip("address flush dev up0");
    lab.router.ip("route replace 198.51.100.0/24 dev up0");
    lab.fix_neighbours();
    let before = Counters::of(lab);
    expect_silence(&remote, || {
        client.send_to(b"anybody?", server()).expect("a datagram can be sent");
        assert!(Counters::of(lab).since(&before).contains_key("no_address"));
        link::address(&lab.router, UPLINK, "198.51.100.9/24");
        // Where the kernel does not tell the address, the router's own traffic does.
        let _ = Pinger::new(&lab.router).ping(*server().ip(), 3, PATIENCE);
        client.send_to(b"anybody now?", server()).expect("a datagram can be sent");
    });
    assert_eq!(ask(&client, &remote), new(4000));
    scene.end();
}

#[test]
fn an_address_that_was_named_is_waited_for() {
    let scene = Scene::of(Lab::plan(), &["--address", "198.51.100.1"]);
    let lab = &scene.lab;
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    replace(&lab.router, UPLINK, NEW);
    let before = Counters::of(lab);
    client.send_to(b"anybody?", server()).expect("a datagram can be sent");
    assert_eq!(ask(&lab.router.udp(new(6000)), &remote), new(6000), "the router itself goes on");
    assert_eq!(Counters::of(lab).since(&before).get("no_address"), Some(&1));
    let status = lab.vnetctl(&["status", "--json"]).ok().json();
    assert!(status[0]["problems"][0].to_string().contains("put it back"), "{status}");
    replace(&lab.router, UPLINK, *outside(0).ip());
    assert_eq!(ask(&client, &remote), outside(4000));
    scene.end();
}

#[test]
fn a_tunnel_gets_another_address() {
    if !tun::exists() {
        skip!("this kernel has no tun devices");
    }
    let lab = Lab::new();
    let _cable = TunCable::plug(Layer::Ip, (&lab.router, "wan0"), (&lab.server, "wan0"));
    link::address(&lab.router, "wan0", "203.0.113.1/24");
    link::address(&lab.server, "wan0", "203.0.113.2/24");
    let sentry = Sentry::at(&lab.server, "wan0", Layer::Ip);
    lab.vnetctl(&["attach", "--nat", "wan0", "--inside", INSIDE]).ok();
    let there = Ipv4Addr::new(203, 0, 113, 2);
    let remote = lab.server.udp((there, PORT));
    let client = lab.client().netns.udp((lab.client().address, 4000));
    assert_eq!(ask(&client, &remote), "203.0.113.1:4000".parse().expect("an address"));
    replace(&lab.router, "wan0", [203, 0, 113, 9].into());
    // Where the kernel does not tell the address, the router's own traffic does.
    assert!(Pinger::new(&lab.router).ping(there, 3, PATIENCE).is_some());
    assert_eq!(ask(&client, &remote), "203.0.113.9:4000".parse().expect("an address"));
    // An address on the tunnel that no network belongs to.
    lab.router.ip("address flush dev wan0");
    lab.router.ip("address add 203.0.113.17/32 dev wan0");
    lab.router.ip("route replace default dev wan0");
    assert!(Pinger::new(&lab.router).ping(there, 4, PATIENCE).is_some());
    assert_eq!(ask(&client, &remote), "203.0.113.17:4000".parse().expect("an address"));
    assert!(sentry.relieve() > 0);
}
