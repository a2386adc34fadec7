//! The shortcut of routed conversations of IPv4, packet by packet: those that nobody translates.

use vnet_common::account::Reason;
use vnet_common::path::{Path, PathKey};
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{Mac, Packet, TcpFlags};
use vnet_tests::packet6::Packet6;
use vnet_tests::test_run::Context;

use crate::path::{NEXT, datapath, enters, inward, leaving, outward};

/// Nothing for there is translated.
const THERE: &str = "172.16.5.9:80";

fn there() -> Packet {
    Packet::udp("10.0.0.2:4000", THERE)
}

fn back() -> Packet {
    Packet::udp(there().destination(), there().source())
}

/// A datapath that has seen both directions leave.
fn shown() -> Datapath {
    let mut datapath = datapath();
    datapath.exclude([172, 16, 0, 0], 12);
    outward_leaves(&datapath, there());
    let (from, by) = inward(&datapath);
    let packet = back().frame(by.mac, NEXT);
    datapath.judged(Hook::Out, &leaving(from, by), &packet, Reason::Inside);
    datapath
}

fn outward_leaves(datapath: &Datapath, packet: Packet) {
    let (from, by) = outward(datapath);
    let packet = packet.frame(by.mac, NEXT);
    datapath.judged(Hook::Out, &leaving(from, by), &packet, Reason::Excluded);
}

#[test]
fn untranslated_ipv4_is_taken_too() {
    let datapath = shown();
    for (port, packet) in [(&datapath.inside, there()), (&datapath.uplink, back())] {
        let framed = packet.clone().frame(Mac::default(), port.mac);
        let context = Context { ifindex: port.index, ..Context::default() };
        let left = datapath.judged(Hook::In, &context, &framed, Reason::ShortcutRouted);
        assert_eq!((left.source(), left.destination()), (packet.source(), packet.destination()));
        assert_eq!((left.ip.ttl, left.ether.destination), (packet.ip.ttl - 1, NEXT));
        let sent = datapath.early(port, &framed.bytes(), Some(Reason::XdpRouted));
        assert_eq!(sent, left.bytes());
    }
}

#[test]
fn what_ipv4s_nat_has_is_none_of_its_business() {
    let mut datapath = datapath();
    let left = crate::scene::answered(
        &datapath,
        &Packet::tcp(crate::scene::CLIENT, crate::scene::SERVER, TcpFlags::SYN),
    );
    let reset = Packet::tcp(left.destination(), crate::scene::CLIENT, TcpFlags::ACK)
        .frame(datapath.inside.mac, NEXT);
    let (from, by) = inward(&datapath);
    datapath.judged(Hook::Out, &leaving(from, by), &reset, Reason::Inside);
    assert_eq!(datapath.hash::<PathKey, Path>("paths").keys().count(), 0);
}

#[test]
fn what_is_written_as_ipv6_but_is_ipv4s_is_no_packet() {
    let datapath = shown();
    let ends =
        ["::ffff:10.0.0.2", "::ffff:172.16.5.9"].map(|addr| addr.parse().expect("an address"));
    let odd = Packet6::udp((ends[0], 4000), (ends[1], 80), b"");
    enters(&datapath, &datapath.inside, &odd, Reason::Ipv6);
}

#[test]
fn a_fragment_does_not_end_what_was_accepted() {
    let datapath = shown();
    outward_leaves(&datapath, there().payload(&[1; 99]).fragments(64).remove(0));
    let framed = there().frame(Mac::default(), datapath.inside.mac);
    let context = Context { ifindex: datapath.inside.index, ..Context::default() };
    datapath.judged(Hook::In, &context, &framed, Reason::ShortcutRouted);
}
