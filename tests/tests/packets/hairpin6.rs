//! Two inside hosts talk by the uplink's IPv6 address: what is seen where the packet comes in. (The mark
//! ties the way in to the way out; no test run takes one, so the rest is in `wire`.)

use std::net::Ipv6Addr;

use vnet_common::account::Reason;
use vnet_common::nat66::{Address6, Standing};
use vnet_common::policy::role;
use vnet_tests::datapath::{Datapath, Hook, frame6};
use vnet_tests::packet6::Packet6;
use vnet_tests::test_run::Context;

use crate::nat66::{HOST, OTHER, OWN, REMOTE, datapath, out, question};

/// The context of a packet that comes in on the device towards the inside.
fn entering(datapath: &Datapath) -> Context {
    let index = datapath.inside.index;
    Context { ifindex: index, ingress_ifindex: index, ..Context::default() }
}

#[track_caller]
fn enter(datapath: &Datapath, packet: &Packet6, end: Reason) -> Packet6 {
    let mut frame = frame6(&packet.bytes());
    // What is for another station would pass by.
    frame[..6].copy_from_slice(&datapath.inside.mac.0);
    let left = datapath.judged_frame(Hook::In, &entering(datapath), &frame, end);
    let left = Packet6::read_frame(&left).expect("a packet is left");
    assert_eq!(left.is_right(), packet.is_right(), "{left:?}");
    left
}

/// Both hosts have a port outside: 4000 and what the other one got.
fn met() -> (Datapath, u16) {
    let mut datapath = datapath();
    let index = datapath.inside.index;
    datapath.role(index, role::INSIDE);
    out(&datapath, &question(HOST, REMOTE), Reason::NatOut);
    let port = out(&datapath, &question(OTHER, REMOTE), Reason::NatOut).ports().0;
    assert_ne!(port, 4000);
    (datapath, port)
}

fn to_outside(from: (Ipv6Addr, u16), port: u16) -> Packet6 {
    Packet6::udp(from, (OWN, port), b"neighbour")
}

#[test]
fn rfc4787_req9_nat66_a_neighbour_is_reached_by_the_outside_address() {
    let (mut datapath, port) = met();
    let came = enter(&datapath, &to_outside((HOST, 4000), port), Reason::Hairpin);
    // The source follows where it leaves.
    assert_eq!((came.source, came.destination, came.ports()), (HOST, OTHER, (4000, 4000)));
    let back = enter(&datapath, &to_outside((OTHER, 4000), 4000), Reason::Hairpin);
    assert_eq!((back.source, back.destination, back.ports()), (OTHER, HOST, (4000, 4000)));
    assert_eq!(datapath.flows(), 6, "one connection more, not two");
}

#[test]
fn rfc4787_req9_nat66_a_host_reaches_itself() {
    let (datapath, _) = met();
    let came = enter(&datapath, &to_outside((HOST, 4000), 4000), Reason::Hairpin);
    assert_eq!((came.source, came.destination, came.ports()), (HOST, HOST, (4000, 4000)));
}

#[test]
fn rfc5382_req8_nat66_only_a_syn_opens() {
    let (datapath, _) = met();
    let mut tcp = Packet6::udp((OTHER, 80), (REMOTE, 80), &[0x50; 12]);
    tcp.protocol = 6;
    tcp.body = [80u16, 80].map(u16::to_be_bytes).concat();
    tcp.body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let port = datapath.judged6(Hook::Out, &datapath.forwarded(), &tcp, Reason::NatOut).ports().0;
    let mut syn = Packet6 { source: HOST, destination: OWN, ..tcp };
    syn.body[2..4].copy_from_slice(&port.to_be_bytes());
    let mut ack = syn.clone();
    ack.body[13] = 16;
    enter(&datapath, &ack, Reason::Inside);
    let came = enter(&datapath, &syn, Reason::Hairpin);
    assert_eq!((came.destination, came.ports()), (OTHER, (80, 80)));
    enter(&datapath, &ack, Reason::Hairpin);
}

#[test]
fn rfc5508_req7_nat66_an_error_finds_back() {
    let (datapath, port) = met();
    let sent = to_outside((HOST, 4000), port);
    enter(&datapath, &sent, Reason::Hairpin);
    // As the other host got it, with its source translated where it left.
    let seen = Packet6::udp((OWN, 4000), (OTHER, 4000), b"neighbour");
    let error = Packet6::error(OTHER, OWN, (1, 4), &seen);
    let came = enter(&datapath, &error, Reason::Hairpin);
    assert_eq!((came.source, came.destination), (OTHER, HOST));
    assert_eq!(came.quote(), Some(sent));
    let unknown = Packet6::error(OTHER, OWN, (1, 4), &Packet6::udp((OWN, 9), (OTHER, 9), b"?"));
    enter(&datapath, &unknown, Reason::Inside);
}

#[test]
fn rfc5508_req3_nat66_a_damaged_error_between_inside_hosts_ends() {
    let (datapath, port) = met();
    enter(&datapath, &to_outside((HOST, 4000), port), Reason::Hairpin);
    let seen = Packet6::udp((OWN, 4000), (OTHER, 4000), b"neighbour");
    for at in [1, 4, 8 + 40 + 9] {
        let mut error = Packet6::error(OTHER, OWN, (1, 4), &seen);
        error.body[at] ^= 1;
        enter(&datapath, &error, Reason::IcmpChecksum);
    }
}

#[test]
fn the_routers_own_errors_quote_what_was_sent() {
    let (datapath, port) = met();
    let sent = to_outside((HOST, 4000), port);
    let routed = enter(&datapath, &sent, Reason::Hairpin);
    let router = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
    let error = Packet6::error(router, HOST, (3, 0), &routed);
    let own = Context { ifindex: datapath.inside.index, ..Context::default() };
    let told = datapath.judged6(Hook::Out, &own, &error, Reason::Hairpin);
    assert!(told.is_right(), "{told:?}");
    assert_eq!((told.source, told.quote()), (router, Some(sent)));
}

#[test]
fn what_no_host_holds_is_for_the_router() {
    let (datapath, _) = met();
    enter(&datapath, &to_outside((HOST, 4000), 9), Reason::Inside);
    enter(&datapath, &Packet6::ping(HOST, OWN, 128, 7), Reason::Inside);
    enter(&datapath, &question(HOST, OTHER), Reason::Ipv6);
    enter(&datapath, &question(HOST, REMOTE), Reason::Ipv6);
}

#[test]
fn addresses_stay_as_long_as_a_neighbour_talks_to_them() {
    let (mut datapath, port) = met();
    enter(&datapath, &to_outside((HOST, 4000), port), Reason::Hairpin);
    let standing = datapath.hash::<[u8; 16], Standing>("handles6").keys().count();
    assert_eq!(standing, 3);
    let uses = datapath.array::<Address6>("addresses6");
    let uses: u32 = (0..3).map(|n| uses.get(&n, 0).expect("it is there").uses).sum();
    // Two connections to the remote host, one between the two.
    assert_eq!(uses, 6);
}
