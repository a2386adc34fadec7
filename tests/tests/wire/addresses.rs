//! Several outside addresses of one uplink: RFC 4787 REQ-2, paired.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::thread;

use vnet_tests::lab::{self, ETH, Lab, OUTSIDE, UPLINK};
use vnet_tests::link;

use crate::scene::{PORT, Scene, ask, echo, server};

/// The other outside address.
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const BOTH: [&str; 4] = ["--address", "198.51.100.1", "--address", "198.51.100.7"];
/// How many hosts there are inside.
const HOSTS: u8 = 12;

/// One client with many addresses: as many hosts as far as NAT can tell.
fn crowd() -> Scene {
    let scene = Scene::unattached(Lab::plan().server_addresses(2));
    link::address(&scene.lab.router, UPLINK, &format!("{OTHER}/24"));
    for n in 1..HOSTS {
        link::address(&scene.lab.client().netns, ETH, &format!("{}/24", host(n)));
    }
    scene
}

/// The n-th host.
fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 2 + n)
}

#[test]
fn rfc4787_req2_one_inside_host_has_one_outside_address() {
    let scene = crowd();
    let lab = &scene.lab;
    lab.attach(&BOTH);
    let remotes = [0, 1].map(|n| lab.server.udp(lab::server(n, PORT)));
    let listener = lab.server.listen(server());
    let mut seen = BTreeMap::new();
    for n in 0..HOSTS {
        let netns = &lab.client().netns;
        let socket = netns.udp((host(n), 4000));
        let first = ask(&socket, &remotes[0]);
        assert_eq!(ask(&socket, &remotes[1]), first, "also towards another server");
        let other = ask(&netns.udp((host(n), 4001)), &remotes[0]);
        assert_eq!(other.ip(), first.ip(), "also from another port");
        let tcp = thread::scope(|scope| {
            let served = scope.spawn(|| echo(&listener));
            drop(netns.connect((host(n), 4002), server()).expect("connects"));
            served.join().expect("the server does not panic")
        });
        assert_eq!(tcp.ip(), first.ip(), "also by another protocol");
        seen.insert(host(n), *first.ip());
    }
    let used: BTreeSet<_> = seen.values().copied().collect();
    assert_eq!(used, BTreeSet::from([OUTSIDE, OTHER]), "{seen:?}");
    scene.end();
}

#[test]
fn an_address_that_replaces_another_takes_its_hosts() {
    let scene = crowd();
    let lab = &scene.lab;
    lab.attach(&BOTH);
    let remote = lab.server.udp(server());
    let talk = || -> Vec<_> {
        let sockets = (0..HOSTS).map(|n| lab.client().netns.udp((host(n), 4000)));
        sockets.map(|socket| *ask(&socket, &remote).ip()).collect()
    };
    let before = talk();
    let third = Ipv4Addr::new(198, 51, 100, 8);
    link::address(&lab.router, UPLINK, &format!("{third}/24"));
    lab.router.ip(&format!("address del {OTHER}/24 dev {UPLINK}"));
    lab.attach(&["--address", "198.51.100.8", "--address", "198.51.100.1"]);
    let moved = |from: &Ipv4Addr| if *from == OTHER { third } else { *from };
    let expected: Vec<_> = before.iter().map(moved).collect();
    assert_eq!(talk(), expected);
    scene.end();
}
