//! IPv6 by prefix (NPTv6): the example of RFC 6296, errors and their quotes, and what is not touched.

use std::net::Ipv6Addr;

use vnet_common::account::Reason;
use vnet_common::policy::role;
use vnet_tests::datapath::{Datapath, Hook, frame6};
use vnet_tests::packet6::Packet6;
use vnet_tests::test_run::{Action, Context};

const INSIDE: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 0, 0, 0, 0, 0);
const OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
/// The router's own address, in the outside prefix.
const OWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// A host inside, and what it is outside (RFC 6296 section 3.6).
pub(crate) const HOST: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 1, 0, 0, 0, 0x1234);
pub(crate) const HOST_OUT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0xd550, 0, 0, 0, 0x1234);
/// Another one.
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 2, 0, 0, 0, 0x1234);
pub(crate) const OTHER_OUT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0xd551, 0, 0, 0, 0x1234);
pub(crate) const REMOTE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);
/// One whose subnet is all ones.
pub(crate) const NOWHERE: Ipv6Addr = Ipv6Addr::new(0xfd01, 0x203, 0x405, 0xffff, 0, 0, 0, 1);

/// Makes the datapath translate by prefix.
pub(crate) fn translating(datapath: &mut Datapath) {
    datapath.prefixes6(INSIDE, OUTSIDE, OWN);
    datapath.role(datapath.inside.index, role::HOOKED);
}

fn datapath() -> Datapath {
    let mut datapath = Datapath::new();
    translating(&mut datapath);
    datapath
}

pub(crate) fn at_inside(datapath: &Datapath) -> Context {
    Context { ifindex: datapath.inside.index, ..Context::default() }
}

pub(crate) fn datagram(from: Ipv6Addr, to: Ipv6Addr) -> Packet6 {
    Packet6::udp((from, 4000), (to, 5000), b"question")
}

/// The same with other addresses and nothing else changed: checksums are right as they are.
#[track_caller]
fn assert_readdressed(before: &Packet6, after: &Packet6, from: Ipv6Addr, to: Ipv6Addr) {
    let wanted = Packet6 { source: from, destination: to, ..before.clone() };
    assert_eq!(*after, wanted);
    assert!(after.is_right(), "{after:?}");
}

#[test]
fn addresses_change_both_ways_and_nothing_else() {
    let datapath = datapath();
    for sent in [datagram(HOST, REMOTE), datagram(HOST, REMOTE).extended()] {
        let left = datapath.judged6(Hook::Out, &datapath.forwarded(), &sent, Reason::NptOut);
        assert_readdressed(&sent, &left, HOST_OUT, REMOTE);
    }
    let answer = Packet6::ping(REMOTE, HOST_OUT, 128, 7);
    let came = datapath.judged6(Hook::In, &datapath.own(), &answer, Reason::NptIn);
    assert_readdressed(&answer, &came, REMOTE, HOST);
}

#[test]
fn fragments_are_translated_by_address() {
    let datapath = datapath();
    let sent = Packet6::udp((HOST, 4000), (REMOTE, 5000), &[7; 200]);
    for half in sent.halves(9) {
        let frame = frame6(&half);
        let left = datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame, Reason::NptOut);
        assert_eq!(left[14 + 8..14 + 24], HOST_OUT.octets());
        assert_eq!(left[14 + 24..], frame[14 + 24..]);
    }
}

#[test]
fn errors_are_translated_with_what_they_quote() {
    let datapath = datapath();
    let seen = datagram(HOST_OUT, REMOTE);
    let error = Packet6::error(REMOTE, HOST_OUT, (2, 0), &seen);
    let came = datapath.judged6(Hook::In, &datapath.own(), &error, Reason::NptIn);
    assert_eq!((came.destination, came.quote()), (HOST, Some(datagram(HOST, REMOTE))));
    assert!(came.is_right(), "{came:?}");
    let error = Packet6::error(HOST, REMOTE, (1, 4), &datagram(REMOTE, HOST));
    let left = datapath.judged6(Hook::Out, &datapath.forwarded(), &error, Reason::NptOut);
    assert_eq!((left.source, left.quote()), (HOST_OUT, Some(datagram(REMOTE, HOST_OUT))));
    assert!(left.is_right(), "{left:?}");
}

#[test]
fn an_error_of_the_router_itself_shows_no_inside_address() {
    let datapath = datapath();
    let error = Packet6::error(OWN, REMOTE, (3, 0), &datagram(REMOTE, HOST));
    let left = datapath.judged6(Hook::Out, &datapath.own(), &error, Reason::NptOut);
    assert_eq!((left.source, left.quote()), (OWN, Some(datagram(REMOTE, HOST_OUT))));
    assert!(left.is_right(), "{left:?}");
}

#[test]
fn an_error_that_quotes_next_to_nothing_is_translated_alone() {
    let datapath = datapath();
    let mut error = Packet6::error(REMOTE, HOST_OUT, (1, 0), &datagram(HOST_OUT, REMOTE));
    error.body.truncate(8 + 39);
    let came = datapath.judged6(Hook::In, &datapath.own(), &error, Reason::NptIn);
    assert_eq!((came.destination, came.body), (HOST, error.body));
}

#[test]
fn hosts_inside_reach_each_other_by_outside_addresses() {
    let datapath = datapath();
    let inside = at_inside(&datapath);
    let sent = datagram(HOST, OTHER_OUT);
    let came = datapath.judged6(Hook::In, &inside, &sent, Reason::NptHairpin);
    assert_readdressed(&sent, &came, HOST_OUT, OTHER);
    let error = Packet6::error(OTHER, HOST_OUT, (1, 4), &came);
    let told = datapath.judged6(Hook::In, &inside, &error, Reason::NptHairpin);
    assert_eq!((told.source, told.destination), (OTHER_OUT, HOST));
    assert_eq!(told.quote(), Some(sent));
    assert!(told.is_right(), "{told:?}");
    // By their inside addresses they talk as before.
    datapath.judged6(Hook::In, &inside, &datagram(HOST, OTHER), Reason::Ipv6);
    datapath.judged6(Hook::Out, &inside, &datagram(HOST, OTHER), Reason::Ipv6);
}

#[test]
fn what_belongs_to_the_link_or_the_router_is_left_alone() {
    let datapath = datapath();
    let (own, forwarded) = (datapath.own(), datapath.forwarded());
    let many = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
    let near = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for sent in [datagram(HOST, many), datagram(HOST, near), datagram(OWN, REMOTE)] {
        datapath.judged6(Hook::Out, &forwarded, &sent, Reason::Ipv6);
    }
    for came in [datagram(REMOTE, OWN), datagram(REMOTE, HOST), datagram(REMOTE, many)] {
        datapath.judged6(Hook::In, &own, &came, Reason::Ipv6);
    }
    for kind in [133, 134, 135, 136, 137] {
        let mut said = Packet6::ping(REMOTE, HOST_OUT, kind, 0);
        datapath.judged6(Hook::In, &own, &said, Reason::Ipv6);
        (said.source, said.destination) = (HOST, REMOTE);
        datapath.judged6(Hook::Out, &own, &said, Reason::Ipv6);
    }
}

#[test]
fn without_the_option_ipv6_is_left_alone() {
    let datapath = Datapath::new();
    datapath.judged6(Hook::Out, &datapath.own(), &datagram(HOST, REMOTE), Reason::Ipv6);
    datapath.judged6(Hook::In, &datapath.own(), &datagram(REMOTE, HOST_OUT), Reason::Ipv6);
}

#[test]
fn a_large_packet_counts_as_its_segments() {
    let datapath = datapath();
    let sent = Packet6::udp((HOST, 4000), (REMOTE, 5000), &[7; 1000]);
    let before = datapath.counter(Reason::NptOut);
    let context = Context { gso: (10, 100), ..datapath.forwarded() };
    let verdict = datapath.run_frame(Hook::Out, &context, &frame6(&sent.bytes()));
    assert_eq!(verdict.action, Action::Next, "{verdict}");
    let counted = datapath.counter(Reason::NptOut);
    assert_eq!(counted.packets - before.packets, 10);
    assert_eq!(counted.bytes - before.bytes, 10 * (14 + 40 + 8) + 1000);
}
