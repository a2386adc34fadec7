//! IPv6 behind one address (NAT66), with the real kernel's IPv6 at both ends: outside nothing knows a
//! way to the inside prefix, so what is answered was translated.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use vnet_tests::lab::UPLINK;
use vnet_tests::netns::Netns;
use vnet_tests::skip;
use vnet_tests::snapshot::Snapshot;
use vnet_tests::socket::PATIENCE;

use crate::npt::{CLIENT, FAR, ROUTER, SERVER, Six, advertising, at, talk};
use crate::scene::wait_until;
use crate::tool_route::installed;

pub(crate) fn masqueraded() -> Six {
    let six = Six::new();
    // Nobody outside has a way to the inside prefix, nor to what it was under NPTv6.
    six.lab.server.ip("-6 route del 2001:db8:1::/48");
    six.lab.attach(&["--nat66"]);
    six
}

/// The uplink's address, as others see it.
fn outside() -> IpAddr {
    ROUTER[1].parse().expect("an address")
}

pub(crate) fn udp(netns: &Netns, port: u16) -> UdpSocket {
    let socket = netns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))).expect("it binds");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time limit");
    socket
}

#[test]
fn pings_datagrams_and_connections_go_out_by_the_uplinks_address() {
    let six = masqueraded();
    let client = six.client();
    client.must("ping", &["-6", "-n", "-c", "2", "-i", "0.2", "-W", "3", FAR]);
    // In fragments, both ways.
    client.must("ping", &["-6", "-n", "-c", "1", "-s", "4000", "-W", "3", FAR]);
    assert_eq!(talk(client, &six.far, FAR, 500_000), outside());
    let (near, far) = (udp(client, 4000), udp(&six.far, 5000));
    let mut heard = [0; 9];
    near.send_to(b"question", at(FAR, 5000)).expect("a datagram can be sent");
    let (_, from) = far.recv_from(&mut heard).expect("the question arrives");
    assert_eq!((from.ip(), from.port()), (outside(), 4000));
    far.send_to(b"answer", from).expect("a datagram can be sent");
    let (_, by) = near.recv_from(&mut heard).expect("the answer arrives");
    assert_eq!(by, at(FAR, 5000));
    // The host itself goes on as before, and is reached.
    six.lab.router.must("ping", &["-6", "-n", "-c", "1", "-W", "3", FAR]);
    six.far.must("ping", &["-6", "-n", "-c", "1", "-W", "3", ROUTER[1]]);
}

#[test]
fn what_is_translated_is_shown_with_its_ipv6_addresses() {
    let six = masqueraded();
    let (near, far) = (udp(six.client(), 4000), udp(&six.far, 5000));
    near.send_to(b"question", at(FAR, 5000)).expect("a datagram can be sent");
    far.recv_from(&mut [0; 9]).expect("the question arrives");
    let flows = six.lab.flows();
    assert_eq!(flows.len(), 1, "{flows:?}");
    for (key, address) in [("src", CLIENT), ("dst", FAR), ("outside", ROUTER[1])] {
        assert_eq!(flows[0][key], address, "{flows:?}");
    }
    let mappings = six.lab.mappings();
    assert_eq!(
        (&mappings[0]["src"], &mappings[0]["outside"]),
        (&flows[0]["src"], &flows[0]["outside"])
    );
    let found = six.lab.vnetctl(&["-j", "flows", "--src", "fd01:203:405::/48"]).ok().json();
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let status = six.lab.vnetctl(&["-j", "status"]).ok().json();
    assert_eq!(status[0]["outsides6"][0]["address"], ROUTER[1], "{status}");
    assert_eq!(status[0]["health"], "ok", "{status}");
    assert_eq!(status[0]["spec"]["nat66"], true, "{status}");
}

#[test]
fn a_closed_port_is_told() {
    let six = masqueraded();
    let socket = udp(six.client(), 0);
    socket.connect(at(FAR, 9)).expect("a peer can be set");
    socket.send(b"anybody?").expect("a datagram can be sent");
    let refused = socket.recv(&mut [0; 9]).expect_err("nobody is there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
}

#[test]
fn traceroute_shows_the_way() {
    if !installed("traceroute") {
        skip!("traceroute is not installed");
    }
    let six = masqueraded();
    for way in ["-U", "-I"] {
        let words = ["-6", "-n", "-q", "1", "-w", "3", way, FAR];
        let said = six.client().must("traceroute", &words);
        let seen = said.lines().skip(1).map(|line| line.split_whitespace().nth(1));
        let seen: Vec<_> = seen.flatten().collect();
        assert_eq!(seen, [ROUTER[0], SERVER[0], FAR], "{way}: {said}");
    }
}

#[test]
fn a_narrow_place_outside_is_found() {
    let six = masqueraded();
    six.lab.server.ip("link set eth1 mtu 1300");
    six.far.ip("link set eth0 mtu 1300");
    six.far.ip(&format!("-6 route change {}", advertising(&six.far)));
    assert_eq!(talk(six.client(), &six.far, FAR, 100_000), outside());
    let learnt = || six.client().ip(&format!("-6 route get {FAR}")).contains("mtu 1300");
    wait_until("the path's MTU is known", Duration::from_secs(3), learnt);
}

#[test]
fn detached_nothing_is_left() {
    let six = Six::new();
    let before = Snapshot::of(&six.lab);
    let words = ["--inside", "10.0.0.0/16", "--nat66", "--address6", ROUTER[1]];
    let words = [&["attach", "--nat", UPLINK][..], &words].concat();
    six.lab.vnetctl(&words).ok();
    assert_eq!(six.lab.vnetctl(&words).ok().stdout.trim(), "nothing to do");
    six.lab.vnetctl(&["detach", UPLINK]).ok();
    Snapshot::of(&six.lab).assert_same(&before);
}
