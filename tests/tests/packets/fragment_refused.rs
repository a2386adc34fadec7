//! Fragments that must not pass, each by its name (RFC 1858, RFC 3128), and what is forgotten.

use vnet_common::account::Reason;
use vnet_common::fragment::{Datagram, FragmentKey};
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{CLIENT, SERVER, datagram, outside};

fn large(packet: Packet) -> Packet {
    packet.payload(&[7; 300])
}

/// The fragment, moved so many units of 8 bytes towards the first one.
fn nearer(fragment: &Packet, units: u16) -> Packet {
    let mut moved = fragment.clone();
    moved.ip.fragment_offset -= units;
    moved
}

#[test]
fn nothing_but_a_first_fragment_makes_state() {
    let mut datapath = Datapath::new();
    for fragment in &large(datagram()).fragments(104)[1..] {
        datapath.out(fragment, Reason::Fragment);
    }
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn a_tiny_first_fragment_and_all_that_follow() {
    let datapath = Datapath::new();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    for size in [8, 16] {
        for fragment in syn.clone().id(size).fragments(size.into()) {
            datapath.out(&fragment, Reason::FragmentTiny);
        }
    }
    datapath.out(&syn, Reason::NatOut);
    let answer = Packet::tcp(SERVER, outside(CLIENT.port()), TcpFlags::SYN | TcpFlags::ACK);
    for fragment in answer.fragments(16) {
        datapath.back(&fragment, Reason::FragmentTiny);
    }
    // To a port nobody inside has, it is the host's to refuse.
    let stranger = Packet::tcp(SERVER, outside(22), TcpFlags::SYN).id(5);
    for fragment in stranger.fragments(16) {
        datapath.back(&fragment, Reason::Unsolicited);
    }
}

#[test]
fn what_lies_over_the_first_fragment() {
    let datapath = Datapath::new();
    let syn = large(Packet::tcp(CLIENT, SERVER, TcpFlags::SYN)).fragments(104);
    datapath.out(&syn[0], Reason::NatOut);
    // RFC 1858 section 3.2: the second fragment would write other flags into the first.
    datapath.out(&nearer(&syn[1], 12), Reason::FragmentOverlap);
    datapath.out(&nearer(&syn[1], 1), Reason::FragmentOverlap);
    datapath.out(&syn[1], Reason::NatOut);
    let answer = Packet::tcp(SERVER, outside(CLIENT.port()), TcpFlags::SYN | TcpFlags::ACK);
    let answer = large(answer).fragments(104);
    datapath.back(&answer[0], Reason::NatIn);
    datapath.back(&nearer(&answer[1], 1), Reason::FragmentOverlap);
    datapath.back(&answer[1], Reason::NatIn);
}

#[test]
fn another_first_fragment_begins_another_datagram() {
    let datapath = Datapath::new();
    let long = large(datagram());
    let first = datapath.out(&long.fragments(104)[0], Reason::NatOut);
    // Of the same id, but longer: at the server it must not lie over the other.
    let again = datapath.out(&long.fragments(208)[0], Reason::NatOut);
    assert_ne!(first.ip.id, again.ip.id);
    datapath.out(&long.fragments(104)[1], Reason::FragmentOverlap);
    let last = datapath.out(&long.fragments(208)[1], Reason::NatOut);
    assert_eq!(last.ip.id, again.ip.id);
}

#[test]
fn lengths_that_no_fragment_has() {
    let datapath = Datapath::new();
    let mut odd = large(datagram()).fragments(104);
    for (at, length) in [(0, 100), (1, 0)] {
        let data = vec![7; length];
        odd[at] = odd[at].clone().payload(&data);
        datapath.out(&odd[at], Reason::Malformed);
    }
    let mut past_the_end = large(datagram()).fragments(104).remove(2);
    past_the_end.ip.fragment_offset = 0x1fff;
    datapath.out(&past_the_end, Reason::Malformed);
    datapath.back(&past_the_end.clone().to("198.51.100.1:1"), Reason::MalformedIn);
}

#[test]
fn what_was_noted_too_long_ago() {
    let mut datapath = Datapath::new();
    let cut = large(datagram()).fragments(104);
    datapath.out(&cut[0], Reason::NatOut);
    datapath.out(&cut[1], Reason::NatOut);
    let mut notes = datapath.hash::<FragmentKey, Datagram>("fragments");
    let key = notes.keys().next().expect("one datagram is noted").expect("and can be read");
    let note = notes.get(&key, 0).expect("it is there");
    let since = note.since.wrapping_sub(31);
    notes.insert(key, Datagram { since, ..note }, 0).expect("it is replaced");
    datapath.out(&cut[2], Reason::Fragment);
}

#[test]
fn a_datagram_of_the_other_direction_is_another() {
    let datapath = Datapath::new();
    let cut = large(datagram()).fragments(104);
    datapath.out(&cut[0], Reason::NatOut);
    // Somebody outside who knows an inside address and an id gains nothing by them.
    datapath.back(&cut[1], Reason::NotOurs);
}

#[test]
fn a_flood_of_first_fragments_takes_no_more_room_than_there_is() {
    let mut datapath = Datapath::new();
    let flood = large(datagram()).fragments(104).remove(0);
    for id in 0..6000 {
        datapath.out(&flood.clone().id(id), Reason::NatOut);
    }
    let stray = large(Packet::udp(SERVER, outside(9))).fragments(104).remove(0);
    for id in 0..6000 {
        datapath.back(&stray.clone().id(id), Reason::Unsolicited);
    }
    for name in ["fragments", "strays"] {
        let noted = datapath.hash::<FragmentKey, Datagram>(name).keys().count();
        assert!((1..=4096).contains(&noted), "{noted} in {name}");
    }
    // And what comes after it finds its place.
    let late = large(datagram()).id(60_000).fragments(104);
    for fragment in &late {
        datapath.out(fragment, Reason::NatOut);
    }
}
