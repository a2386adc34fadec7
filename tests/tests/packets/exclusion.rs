//! Destinations that are not translated: whatever goes there goes as it is.

use vnet_common::account::Reason;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{IcmpKind, Packet, Protocol, TcpFlags};

use crate::scene::{CLIENT, OTHER, SERVER, datagram, outside};

/// Somebody beyond a tunnel, say.
const FAR: &str = "172.16.5.9:80";

fn excluding() -> Datapath {
    let mut datapath = Datapath::new();
    datapath.exclude([172, 16, 0, 0], 12);
    datapath
}

#[test]
fn everything_to_an_excluded_destination_leaves_as_it_is() {
    let mut datapath = excluding();
    let far = "172.16.5.9".parse().expect("an address");
    let packets = [
        datagram().to(FAR),
        Packet::tcp(CLIENT, FAR, TcpFlags::SYN),
        Packet::tcp(CLIENT, FAR, TcpFlags::RST),
        Packet::ping(*CLIENT.ip(), far, 7),
        Packet::pong(*CLIENT.ip(), far, 7),
        Packet::raw(*CLIENT.ip(), far, Protocol::GRE, &[0; 8]),
        Packet::udp(FAR, CLIENT).error(*CLIENT.ip(), IcmpKind::PORT_UNREACHABLE, 8),
    ];
    for packet in packets {
        let left = datapath.out(&packet, Reason::Excluded);
        assert_eq!(left.source().ip(), CLIENT.ip(), "{packet}");
    }
    for fragment in datagram().to(FAR).payload(&[1; 99]).fragments(64) {
        datapath.out(&fragment, Reason::Excluded);
    }
    assert_eq!(datapath.flows(), 0, "nothing is remembered");
}

#[test]
fn others_are_translated_and_strangers_kept_in_as_ever() {
    let datapath = excluding();
    assert_eq!(datapath.out(&datagram(), Reason::NatOut).source(), outside(4000));
    datapath.out(&datagram().from("192.168.9.9:1").to(FAR), Reason::PrivateSource);
    datapath.out(&datagram().from(OTHER).to("224.0.0.251:5353"), Reason::MulticastSource);
}

#[test]
fn a_flow_that_was_there_goes_on() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.exclude(SERVER.ip().octets(), 32);
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&datagram().from(OTHER), Reason::Excluded);
}
