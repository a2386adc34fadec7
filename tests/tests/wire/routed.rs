//! The shortcut of what no port is translated for, and of IPv6: over real links, with the kernel's own
//! stacks at both ends.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vnet_tests::counters::Counters;
use vnet_tests::lab::{ETH, INSIDE, Lab, OUTSIDE, UPLINK, server_address};
use vnet_tests::skip;

use crate::nat66::{masqueraded, udp};
use crate::npt::{CLIENT, FAR, ROUTER, Six, at, talk};
use crate::scene::{ask, server};
use crate::shortcut::VALID;
use crate::shortcut_change::nft;

/// How often ends that begin so were met since, by the first of these words.
fn met(lab: &Lab, since: &Counters, ends: [&str; 2]) -> i128 {
    let moved = Counters::of(lab).since(since);
    ends.iter().map(|end| moved.get(*end).copied().unwrap_or(0)).sum()
}

/// IPv6 that is only routed: whoever is outside knows a way to the inside prefix.
fn routed(words: &[&str]) -> Six {
    let six = Six::new();
    six.lab.server.ip(&format!("-6 route add fd01:203:405::/48 via {}", ROUTER[1]));
    six.lab.attach(words);
    six
}

/// A question and its answer; whom the far end heard.
#[track_caller]
fn asks(near: &UdpSocket, far: &UdpSocket) -> SocketAddr {
    let mut heard = [0; 16];
    near.send_to(b"question", at(FAR, 5000)).expect("a datagram can be sent");
    let (_, from) = far.recv_from(&mut heard).expect("the question arrives");
    far.send_to(b"answer", from).expect("a datagram can be sent");
    let (_, by) = near.recv_from(&mut heard).expect("the answer arrives");
    assert_eq!(by, at(FAR, 5000));
    from
}

/// Datagrams and a connection that go by these two ends, mostly.
fn goes_by(six: &Six, ends: [&str; 2], seen: &str) {
    let seen: IpAddr = seen.parse().expect("an address");
    let (near, far) = (udp(six.client(), 4000), udp(&six.far, 5000));
    for _ in 0..3 {
        asks(&near, &far);
    }
    let before = Counters::of(&six.lab);
    for _ in 0..50 {
        assert_eq!(asks(&near, &far).ip(), seen);
    }
    let count = met(&six.lab, &before, ends);
    // Once a second one of each direction takes the kernel's way.
    assert!(count > 70, "{count} of 100 took the shortcut");
    let before = Counters::of(&six.lab);
    assert_eq!(talk(six.client(), &six.far, FAR, 2_000_000), seen);
    let count = met(&six.lab, &before, ends);
    assert!(count > 1000, "{count} segments took the shortcut");
}

#[test]
fn ipv6_that_is_routed_takes_it_and_is_counted() {
    let six = routed(&["--inside", "in0"]);
    goes_by(&six, ["shortcut_routed", "xdp_routed"], CLIENT);
    assert!(six.lab.flows().is_empty(), "nothing is translated");
    let rows = six.lab.vnetctl(&["-j", "flows", "--routed", "--proto", "udp"]).ok().json();
    let row = &rows[0];
    assert_eq!(
        (&row["src"], &row["dst"], &row["outside"]),
        (&CLIENT.into(), &FAR.into(), &CLIENT.into())
    );
    assert_eq!((&row["packets_out"], &row["packets_in"]), (&53.into(), &53.into()), "{row}");
    assert_eq!(
        (&row["bytes_out"], &row["bytes_in"]),
        (&(53 * 56).into(), &(53 * 54).into()),
        "{row}"
    );
    assert_eq!(
        (&row["state"], &row["way_out"]["from"]),
        (&"ROUTED".into(), &"in0".into()),
        "{row}"
    );
    let said = six.lab.vnetctl(&["flows", "--routed", "-d"]).ok();
    assert!(said.stdout.contains("in0 -> up0 lladdr"), "{}", said.stdout);
}

#[test]
fn ipv6_that_is_routed_goes_by_xdp_too() {
    let six = routed(&["--inside", "in0", "--xdp", "generic"]);
    let before = Counters::of(&six.lab);
    goes_by(&six, ["shortcut_routed", "xdp_routed"], CLIENT);
    assert!(met(&six.lab, &before, ["xdp_routed", "xdp_in"]) > 100);
}

#[test]
fn ipv6_behind_another_prefix_takes_it() {
    let six = Six::new();
    six.lab.attach(&["--nptv6", "fd01:203:405::/48=2001:db8:1::/48"]);
    goes_by(&six, ["shortcut_out", "shortcut_in"], "2001:db8:1:d550::2");
}

#[test]
fn ipv6_behind_one_address_takes_it_and_is_counted_in_its_flow() {
    let six = masqueraded();
    goes_by(&six, ["shortcut_out", "shortcut_in"], ROUTER[1]);
    let flows = six.lab.flows();
    let flow = flows.iter().find(|flow| flow["proto"] == "udp").expect("the datagrams have one");
    assert_eq!((&flow["packets_out"], &flow["packets_in"]), (&53.into(), &53.into()), "{flow}");
    assert_eq!(flow["way_in"]["dev"], "in0", "{flow}");
}

/// Sends without a pause while a story goes on.
fn while_sending(near: &UdpSocket, story: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                near.send_to(b"question", at(FAR, 5000)).expect("a datagram can be sent");
                thread::sleep(Duration::from_micros(500));
            }
        });
        let _over = Over(&stop);
        story();
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many arrive from now on within a while, what has arrived already left out.
fn arrive(far: &UdpSocket, within: Duration) -> usize {
    let mut buffer = [0; 16];
    far.set_nonblocking(true).expect("a socket can be asked not to wait");
    while far.recv_from(&mut buffer).is_ok() {}
    let end = Instant::now() + within;
    let mut count = 0;
    while Instant::now() < end {
        while far.recv_from(&mut buffer).is_ok() {
            count += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    count
}

/// What the router is told holds for a conversation on the shortcut within a second, and its end too.
fn heeds(forbid: impl FnOnce(&Lab), allow: impl FnOnce(&Lab)) {
    let six = routed(&["--inside", "in0"]);
    let lab = &six.lab;
    let (near, far) = (udp(six.client(), 4000), udp(&six.far, 5000));
    for _ in 0..5 {
        asks(&near, &far);
    }
    while_sending(&near, || {
        let before = Counters::of(lab);
        assert!(arrive(&far, VALID / 2) > 100);
        assert!(met(lab, &before, ["shortcut_routed", "xdp_routed"]) > 100);
        forbid(lab);
        thread::sleep(VALID + Duration::from_millis(250));
        // What is under way still arrives.
        arrive(&far, Duration::from_millis(200));
        assert_eq!(arrive(&far, VALID / 2), 0);
        allow(lab);
        thread::sleep(Duration::from_millis(250));
        assert!(arrive(&far, VALID) > 100, "they arrive again");
    });
}

#[test]
fn a_rule_that_rejects_is_heeded() {
    let probe = Lab::new();
    let guard = "table ip6 guard { chain forward { type filter hook forward priority 0; }; }";
    if !nft(&probe.router, guard) {
        skip!("nft is not installed here, or this kernel has no netfilter");
    }
    drop(probe);
    heeds(
        |lab| {
            assert!(nft(&lab.router, guard));
            lab.router.must("nft", &["add rule ip6 guard forward udp dport 5000 drop"]);
        },
        |lab| _ = lab.router.must("nft", &["delete", "table", "ip6", "guard"]),
    );
}

#[test]
fn a_route_that_changes_is_followed() {
    heeds(
        |lab| _ = lab.router.ip(&format!("-6 route add blackhole {FAR}/128")),
        |lab| _ = lab.router.ip(&format!("-6 route del blackhole {FAR}/128")),
    );
}

/// IPv4 that is not translated, to 172.16.5.9; outside has a way back to the inside network.
fn excluded() -> Lab {
    let lab = Lab::plan().server_addresses(2).build();
    lab.server.ip("address add 172.16.5.9/32 dev lo");
    lab.server.ip(&format!("route add {INSIDE} via {OUTSIDE} dev {ETH}"));
    lab.router.ip(&format!("route add 172.16.0.0/12 via {} dev {UPLINK}", server_address(0)));
    lab.attach(&["--inside", "in0", "--exclude", "172.16.0.0/12"]);
    lab
}

#[test]
fn ipv4_that_is_excluded_takes_it() {
    let lab = excluded();
    let end = lab.client();
    let (client, far) = (end.netns.udp((end.address, 4000)), lab.server.udp("172.16.5.9:5000"));
    for _ in 0..3 {
        ask(&client, &far);
    }
    let before = Counters::of(&lab);
    for _ in 0..50 {
        assert_eq!(*ask(&client, &far).ip(), end.address);
    }
    let count = met(&lab, &before, ["shortcut_routed", "xdp_routed"]);
    assert!(count > 70, "{count} of 100 took the shortcut");
    // What is translated is so as ever, and takes the other one.
    let near = lab.server.udp(server());
    let other = end.netns.udp((end.address, 4001));
    let before = Counters::of(&lab);
    for _ in 0..50 {
        assert_eq!(*ask(&other, &near).ip(), OUTSIDE);
    }
    assert!(met(&lab, &before, ["shortcut_out", "shortcut_in"]) > 70);
    let rows = lab.vnetctl(&["-j", "flows", "--routed"]).ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
}

#[test]
fn what_the_kernel_translates_itself_never_takes_it() {
    let lab = excluded();
    let table = "table ip nat { chain post { type nat hook postrouting priority 100; \
                 ip daddr 172.16.0.0/12 masquerade; }; }";
    if !nft(&lab.router, table) {
        skip!("nft is not installed here, or this kernel has no netfilter");
    }
    let end = lab.client();
    let (client, far) = (end.netns.udp((end.address, 4000)), lab.server.udp("172.16.5.9:5000"));
    let before = Counters::of(&lab);
    for _ in 0..20 {
        assert_eq!(*ask(&client, &far).ip(), OUTSIDE);
    }
    assert_eq!(met(&lab, &before, ["shortcut_routed", "xdp_routed"]), 0);
}
