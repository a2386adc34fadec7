//! The uplink gets another address, or none: what was translated before is translated anew.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread::sleep;
use std::time::Duration;

use vnet_common::account::Reason;
use vnet_common::flow::flag;
use vnet_common::policy::{Outside, Source, source};
use vnet_common::tcp::State;
use vnet_tests::datapath::{Datapath, OUTSIDE};
use vnet_tests::link;
use vnet_tests::packet::{IcmpKind, Packet, TcpFlags};

use crate::scene::{CLIENT, OTHER, SERVER, datagram, key, outside, ping};

const NEW: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);

/// Takes all addresses from the uplink and gives it this one, as DHCP does. What the datapath knew at
/// this tick of the clock is out of date then.
pub(crate) fn readdress(datapath: &Datapath, address: Option<&str>) {
    let netns = &datapath.netns;
    netns.set_sysctl("net/ipv4/ip_forward", "1");
    netns.ip("address flush dev up0");
    match address {
        Some(address) => link::address(netns, "up0", &format!("{address}/24")),
        // What leaves has a route all the same.
        None => drop(netns.ip("route replace 198.51.100.254 dev up0")),
    }
    netns.ip("route replace default via 198.51.100.254 dev up0");
    next_tick();
}

/// Waits for the next tick of any kernel's clock.
fn next_tick() {
    sleep(Duration::from_millis(12));
}

/// A datapath whose kernel forwards, so that it tells where it would.
fn forwarding() -> Datapath {
    let datapath = Datapath::new();
    datapath.netns.set_sysctl("net/ipv4/ip_forward", "1");
    datapath.netns.ip("route replace default via 198.51.100.254 dev up0");
    datapath
}

/// The outside address as the datapath knows it.
fn now(datapath: &mut Datapath) -> Ipv4Addr {
    datapath.array::<Outside>("outsides").get(&0, 0).expect("the first one").addr.into()
}

fn new(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(NEW, port)
}

#[test]
fn nothing_moves_while_the_address_stays() {
    let mut datapath = forwarding();
    for _ in 0..3 {
        assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), outside(4000));
        next_tick();
    }
    // Another address beside it changes nothing for anybody.
    link::address(&datapath.netns, "up0", "198.51.100.50/24");
    link::address(&datapath.netns, "up0", "192.0.2.50/24");
    next_tick();
    assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), outside(4000));
    assert_eq!(now(&mut datapath), OUTSIDE);
    let status = datapath.flows();
    assert_eq!(status, 2, "one connection");
}

#[test]
fn every_protocol_moves_to_the_new_address() {
    let mut datapath = forwarding();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    let ack = Packet::tcp(CLIENT, SERVER, TcpFlags::ACK);
    for packet in [&datagram(), &ping(7), &syn] {
        datapath.out(packet, Reason::NatOut);
    }
    readdress(&datapath, Some("198.51.100.50"));
    assert_eq!(datapath.out(&datagram(), Reason::Moved).source(), new(4000));
    assert_eq!(datapath.out(&ping(7), Reason::Moved).ip.source, NEW);
    assert_eq!(datapath.out(&ack, Reason::Moved).source(), new(4000));
    assert_eq!(datapath.state(&key(&ack)), State::PickedUp);
    assert_eq!(now(&mut datapath), NEW);
    // Once: from now on these are flows like others.
    assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), new(4000));
    datapath.back(&Packet::udp(SERVER, new(4000)), Reason::NatIn);
    datapath.back(&Packet::udp(SERVER, outside(4001)), Reason::NotOurs);
    assert_eq!(datapath.flows(), 6, "three connections, none of them left over");
}

#[test]
fn a_new_flow_finds_the_new_address_too() {
    let datapath = forwarding();
    datapath.out(&datagram(), Reason::NatOut);
    readdress(&datapath, Some("198.51.100.50"));
    assert_eq!(datapath.out(&datagram().from(OTHER), Reason::NatOut).ip.source, NEW);
    // Their ports are those of one address all along.
    assert_eq!(datapath.out(&datagram(), Reason::Moved).source(), new(4000));
}

#[test]
fn an_error_does_not_come_from_an_address_that_is_gone() {
    let datapath = forwarding();
    datapath.out(&datagram(), Reason::NatOut);
    let came = datapath.back(&Packet::udp(SERVER, outside(4000)), Reason::NatIn);
    readdress(&datapath, Some("198.51.100.50"));
    let error = came.error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8);
    datapath.out(&error, Reason::IcmpUnmatched);
}

#[test]
fn without_an_address_nothing_leaves_but_what_the_host_says() {
    let mut datapath = forwarding();
    datapath.out(&datagram(), Reason::NatOut);
    readdress(&datapath, None);
    datapath.out(&datagram(), Reason::NoAddress);
    datapath.out(&ping(7), Reason::NoAddress);
    datapath.host_out(&Packet::udp("0.0.0.0:68", "255.255.255.255:67"), Reason::Host);
    assert_eq!((now(&mut datapath), datapath.flows()), (Ipv4Addr::UNSPECIFIED, 0));
    readdress(&datapath, Some("198.51.100.50"));
    assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), new(4000));
}

#[test]
fn an_address_that_was_asked_for_is_not_followed_by_another() {
    let mut datapath = forwarding();
    let asked = Outside {
        addr: OUTSIDE.octets(),
        link: datapath.uplink.index,
        asked: OUTSIDE.octets(),
        checked: 0,
    };
    datapath.array("outsides").set(0, asked, 0).expect("there is a first one");
    datapath.out(&datagram(), Reason::NatOut);
    readdress(&datapath, Some("198.51.100.50"));
    datapath.out(&datagram(), Reason::NoAddress);
    datapath.host_out(&Packet::udp(new(5000), SERVER), Reason::Host);
    readdress(&datapath, Some("198.51.100.1"));
    assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), outside(4000));
    assert_eq!(now(&mut datapath), OUTSIDE);
}

#[test]
fn the_hosts_own_address_is_left_alone_though_everybody_is_inside() {
    let mut datapath = forwarding();
    datapath.source([0; 4], 0, source::TRANSLATE);
    link::address(&datapath.netns, "up0", "192.0.2.50/24");
    next_tick();
    datapath.host_out(&Packet::udp("198.51.100.1:5000", SERVER), Reason::Host);
    datapath.host_out(&Packet::udp("192.0.2.50:5000", "192.0.2.9:53"), Reason::Host);
    // One of another device of this host is an inside host's, as ever.
    assert_eq!(
        datapath.host_out(&Packet::udp("10.0.0.1:5000", SERVER), Reason::NatOut).ip.source,
        OUTSIDE
    );
}

#[test]
fn the_address_of_another_device_is_never_taken() {
    let mut datapath = forwarding();
    datapath.out(&datagram(), Reason::NatOut);
    readdress(&datapath, None);
    datapath.netns.ip("route replace default via 198.51.100.254 dev up0 src 10.0.0.1");
    next_tick();
    datapath.out(&datagram(), Reason::NoAddress);
    assert_eq!(now(&mut datapath), Ipv4Addr::UNSPECIFIED);
}

#[test]
fn the_new_address_is_the_hosts_own_and_the_former_one_is_not() {
    let mut datapath = forwarding();
    datapath.out(&datagram(), Reason::NatOut);
    readdress(&datapath, Some("198.51.100.50"));
    datapath.out(&datagram(), Reason::Moved);
    assert_eq!(datapath.source_of(NEW), Source { action: source::OUTSIDE, number: 0 });
    assert_eq!(datapath.source_of(OUTSIDE), Source::default(), "nothing is known of it");
    let opened = Packet::tcp(new(6000), SERVER, TcpFlags::SYN);
    datapath.host_out(&opened, Reason::NatOut);
    let flow = datapath.flow(&key(&opened)).expect("a connection of the host's own");
    assert_eq!(flow.flags & flag::HOST, flag::HOST);
}
