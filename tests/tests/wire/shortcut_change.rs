//! What changes on the router while a conversation takes the shortcut holds for it within a second.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, INSIDE, Lab, UPLINK, server_address};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::skip;
use vnet_tests::socket::receive;

use crate::scene::{Scene, ask, outside, server, wait_until};
use crate::shortcut::{VALID, shortcuts, talking};

/// Gives a namespace's firewall these rules; `false` where there is no nft, or no such kernel.
pub(crate) fn nft(netns: &Netns, rules: &str) -> bool {
    let Ok(output) = netns.command("nft", &[rules]).output() else { return false };
    let said = String::from_utf8_lossy(&output.stderr);
    let lacking = ["Operation not supported", "No such file", "Protocol not supported"];
    let lacks = lacking.iter().any(|word| said.contains(word));
    assert!(output.status.success() || lacks, "`nft {rules}`: {said}");
    output.status.success()
}

/// Sends without a pause until dropped, a few thousand packets a second.
struct Stream<'a> {
    stop: &'a AtomicBool,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs a story while the client goes on sending.
fn while_sending(client: &UdpSocket, to: SocketAddrV4, story: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A device that is down refuses.
                let _ = client.send_to(b"question", to);
                thread::sleep(Duration::from_micros(300));
            }
        });
        let _stream = Stream { stop: &stop };
        story();
    });
}

/// Empties a socket, and says how many datagrams were heard from then on within a while, and from
/// whom the last one came.
fn heard(socket: &UdpSocket, within: Duration) -> (u32, Option<SocketAddrV4>) {
    let end = Instant::now() + within;
    let (mut count, mut last) = (0, None);
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket can wait");
    while Instant::now() < end {
        if let Ok((_, std::net::SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
            (count, last) = (count + 1, Some(from));
        }
    }
    (count, last)
}

/// A second, and what a loaded machine may be late by.
fn a_second() {
    thread::sleep(VALID + Duration::from_millis(250));
}

#[test]
fn a_rule_that_rejects_is_heeded() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let guard = "table ip guard { chain forward { type filter hook forward priority 0; }; }";
    if !nft(&lab.router, guard) {
        skip!("nft is not installed here, or this kernel has no netfilter");
    }
    let (client, remote) = talking(&scene, 4000);
    while_sending(&client, server(), || {
        let (count, _) = heard(&remote, VALID);
        assert!(count > 100, "{count} arrive");
        lab.router.must("nft", &["add rule ip guard forward udp dport 5000 counter drop"]);
        a_second();
        heard(&remote, Duration::ZERO);
        let drained = heard(&remote, Duration::from_millis(300));
        let (count, _) = heard(&remote, Duration::from_millis(500));
        assert_eq!(count, 0, "after {drained:?}");
        lab.router.must("nft", &["flush", "chain", "ip", "guard", "forward"]);
        assert!(heard(&remote, VALID).0 > 100, "they arrive again");
    });
    scene.end();
}

#[test]
fn what_a_rule_rejects_from_the_start_never_takes_it() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let guard = "table ip guard { chain forward { type filter hook forward priority 0; \
                 iifname \"up0\" udp sport 5000 drop; }; }";
    if !nft(&lab.router, guard) {
        skip!("nft is not installed here, or this kernel has no netfilter");
    }
    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    for _ in 0..20 {
        client.send_to(b"question", server()).expect("a datagram can be sent");
        let (_, from) = receive(&remote);
        remote.send_to(b"answer", from).expect("a datagram can be sent");
    }
    assert_eq!(shortcuts(lab, &Counters::default()), (0, 0), "answers were dropped");
    scene.end();
}

/// A second uplink, and a server behind each that has 192.0.2.1.
struct Two {
    scene: Scene,
    other: Netns,
    first: UdpSocket,
    second: UdpSocket,
}

const FAR: &str = "192.0.2.1:5000";

impl Two {
    fn new() -> Self {
        let scene = Scene::unattached(Lab::plan());
        let lab = &scene.lab;
        let other = Netns::new("second");
        Cable::new((&lab.router, "up1"), (&other, ETH)).plug();
        link::address(&lab.router, "up1", "203.0.113.1/24");
        link::address(&other, ETH, "203.0.113.2/24");
        for netns in [&lab.server, &other] {
            netns.ip("address add 192.0.2.1/32 dev lo");
        }
        lab.router.ip(&format!("route add 192.0.2.1/32 via {}", server_address(0)));
        lab.vnetctl(&["attach", "--nat", UPLINK, "--nat", "up1", "--inside", INSIDE]).ok();
        let [first, second] = [&lab.server, &other].map(|netns| netns.udp(FAR));
        Self { other, first, second, scene }
    }

    /// A conversation by the first uplink moves to the second within a second of `change`, for good.
    fn moves(self, change: impl FnOnce(&Lab)) {
        let lab = &self.scene.lab;
        let client = self.scene.udp(0, 4000);
        let before = Counters::of(lab);
        for _ in 0..6 {
            assert_eq!(ask(&client, &self.first), outside(4000));
        }
        assert!(shortcuts(lab, &before).0 > 2);
        let far = FAR.parse().expect("an address");
        while_sending(&client, far, || {
            assert!(heard(&self.first, VALID / 2).0 > 50);
            change(lab);
            a_second();
            let (count, from) = heard(&self.second, VALID / 2);
            assert!(count > 50, "{count} come by the other uplink");
            assert_eq!(from, Some("203.0.113.1:4000".parse().expect("an address")));
            heard(&self.first, VALID / 4);
            assert_eq!(heard(&self.first, VALID / 2).0, 0, "none by the first");
        });
        drop(self.other);
        self.scene.end();
    }
}

#[test]
fn a_route_that_changes_is_followed() {
    Two::new().moves(|lab| {
        lab.router.ip("route replace 192.0.2.1/32 via 203.0.113.2");
    });
}

#[test]
fn a_policy_rule_is_followed() {
    let two = Two::new();
    two.scene.lab.router.ip("route add 192.0.2.1/32 via 203.0.113.2 table 77");
    two.moves(|lab| {
        lab.router.ip("rule add from 10.0.0.0/24 lookup 77 priority 100");
    });
}

#[test]
fn a_firewall_mark_is_followed() {
    let two = Two::new();
    let router = &two.scene.lab.router;
    let mangle = "table ip mangle { chain pre { type filter hook prerouting priority -150; }; }";
    if !nft(router, mangle) {
        skip!("nft is not installed here, or this kernel has no netfilter");
    }
    router.ip("route add 192.0.2.1/32 via 203.0.113.2 table 77");
    router.ip("rule add fwmark 7 lookup 77 priority 100");
    two.moves(|lab| {
        lab.router.must("nft", &["add rule ip mangle pre iifname in0 meta mark set 7"]);
    });
}

#[test]
fn an_uplink_that_goes_down_is_left() {
    let two = Two::new();
    let router = &two.scene.lab.router;
    router.ip("route add 192.0.2.1/32 via 203.0.113.2 metric 50");
    two.moves(|lab| {
        lab.router.ip("link set up0 down");
    });
}

#[test]
fn a_neighbour_that_changes_is_followed() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = talking(&scene, 4000);
    while_sending(&client, server(), || {
        assert!(heard(&remote, VALID / 2).0 > 50);
        lab.server.ip("link set eth0 address 02:00:00:00:77:01");
        let router = &lab.router;
        router.ip(&format!(
            "neigh replace {} lladdr 02:00:00:00:77:01 dev {UPLINK} nud reachable",
            server_address(0)
        ));
        a_second();
        assert!(heard(&remote, VALID / 2).0 > 50, "the new one hears them");
    });
    scene.end();
}

#[test]
fn a_device_that_was_down_goes_on_when_it_is_up() {
    let scene = Scene::new();
    let lab = &scene.lab;
    lab.fix_neighbours();
    let (client, remote) = talking(&scene, 4000);
    while_sending(&client, server(), || {
        for device in ["in0", UPLINK] {
            lab.router.ip(&format!("link set {device} down"));
            a_second();
            heard(&remote, Duration::from_millis(100));
            assert_eq!(heard(&remote, VALID / 4).0, 0, "{device} is down");
            lab.router.ip(&format!("link set {device} up"));
            lab.fix_neighbours();
            wait_until("packets arrive again", Duration::from_secs(5), || {
                heard(&remote, VALID / 10).0 > 0
            });
        }
    });
    scene.end();
}

#[test]
fn an_address_that_changes_is_followed_at_once() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let (client, remote) = talking(&scene, 4000);
    let before = Counters::of(lab);
    lab.router.ip(&format!("address flush dev {UPLINK}"));
    link::address(&lab.router, UPLINK, "198.51.100.9/24");
    let new: SocketAddrV4 = "198.51.100.9:4000".parse().expect("an address");
    assert_eq!(ask(&client, &remote), new, "the very next packet");
    assert_eq!(Counters::of(lab).since(&before).get("moved"), Some(&1));
    scene.end();
}
