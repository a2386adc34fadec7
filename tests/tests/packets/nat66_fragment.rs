//! Fragments of masqueraded IPv6: the first one of a datagram says where the others go, and what
//! must not pass does not, by its name (RFC 5722, RFC 6946, RFC 8200 section 4.5). And errors that
//! are damaged.

use std::net::Ipv6Addr;

use vnet_common::account::Reason;
use vnet_common::nat66::{Datagram6, FragmentKey6};
use vnet_tests::datapath::{Datapath, Hook, frame6};
use vnet_tests::packet6::{Packet6, Piece};
use vnet_tests::test_run::Action;

use crate::nat66::{HOST, OTHER, OWN, REMOTE, question};

const SYN: u8 = 2;

fn datapath() -> Datapath {
    masquerading(Datapath::new())
}

fn masquerading(mut datapath: Datapath) -> Datapath {
    datapath.masquerade6(OWN, 1);
    datapath
}

/// 300 bytes of data, which make three pieces or more.
fn large(from: Ipv6Addr, port: u16) -> Packet6 {
    Packet6::udp((from, port), (REMOTE, 5000), &[7; 300])
}

#[track_caller]
fn out(datapath: &Datapath, piece: &[u8], end: Reason) -> Packet6 {
    let left = datapath.judged_frame(Hook::Out, &datapath.forwarded(), &frame6(piece), end);
    Packet6::read_frame(&left).expect("it is a packet")
}

#[track_caller]
fn back(datapath: &Datapath, piece: &[u8], end: Reason) -> Packet6 {
    let came = datapath.judged_frame(Hook::In, &datapath.own(), &frame6(piece), end);
    Packet6::read_frame(&came).expect("it is a packet")
}

/// Sends all of them out and joins what leaves, in the order of its offsets.
#[track_caller]
fn out_joined(datapath: &Datapath, pieces: &[Vec<u8>]) -> Packet6 {
    joined(pieces.iter().map(|piece| out(datapath, piece, Reason::NatOut)).collect())
}

#[track_caller]
fn joined(mut left: Vec<Packet6>) -> Packet6 {
    left.sort_by_key(|piece| piece.as_piece().map_or(0, |(piece, _)| piece.offset));
    let whole = Packet6::joined(&left).unwrap_or_else(|| panic!("no datagram: {left:?}"));
    assert!(whole.is_right(), "{whole:?}");
    whole
}

fn id(piece: &Packet6) -> u32 {
    piece.as_piece().expect("it is a fragment").0.id
}

#[test]
fn of_every_protocol_go_out_and_back() {
    let syn = Packet6::tcp((HOST, 4000), (REMOTE, 5000), SYN, &[7; 300]);
    let ping = Packet6::ping_with(HOST, REMOTE, (128, 7), &[7; 300]);
    let answers = [
        Packet6::udp((REMOTE, 5000), (OWN, 4000), &[8; 300]),
        Packet6::tcp((REMOTE, 5000), (OWN, 4000), 0x12, &[8; 300]),
        Packet6::ping_with(REMOTE, OWN, (129, 7), &[8; 300]),
    ];
    for (sent, answer) in [large(HOST, 4000), syn, ping].into_iter().zip(answers) {
        let datapath = datapath();
        let left = out_joined(&datapath, &sent.pieces(9, 104));
        assert_eq!(left, out_whole(&sent), "as if it had been whole");
        let came = answer.pieces(77, 64);
        let came: Vec<_> = came.iter().map(|one| back(&datapath, one, Reason::NatIn)).collect();
        assert_eq!(id(&came[0]), 77, "inward the id stays");
        let came = joined(came);
        assert_eq!(
            (came.source, came.destination, came.body.len()),
            (REMOTE, HOST, answer.body.len())
        );
    }
}

fn out_whole(packet: &Packet6) -> Packet6 {
    out(&datapath(), &packet.bytes(), Reason::NatOut)
}

#[test]
fn behind_an_extension_header_go_out_and_back() {
    let datapath = datapath();
    let sent = large(HOST, 4000).extended();
    let left = out_joined(&datapath, &sent.pieces(9, 104));
    assert_eq!((left.source, left.extended), (OWN, true));
    let answer = Packet6::udp((REMOTE, 5000), (OWN, 4000), &[8; 300]).extended();
    let came = answer.pieces(9, 104);
    let came = joined(came.iter().map(|one| back(&datapath, one, Reason::NatIn)).collect());
    assert_eq!((came.destination, came.extended), (HOST, true));
}

#[test]
fn after_the_first_may_come_in_any_order() {
    for order in [[0, 3, 2, 1], [0, 2, 1, 3], [0, 1, 3, 2]] {
        let cut = large(HOST, 4000).pieces(9, 80);
        out_joined(&datapath(), &order.map(|at: usize| cut[at].clone()));
    }
}

#[test]
fn of_two_hosts_with_equal_ids_do_not_mix() {
    let datapath = datapath();
    let cut = [HOST, OTHER].map(|host| large(host, 4000).pieces(77, 104));
    let mut left = [Vec::new(), Vec::new()];
    for (one, two) in cut[0].iter().zip(&cut[1]) {
        left[0].push(out(&datapath, one, Reason::NatOut));
        left[1].push(out(&datapath, two, Reason::NatOut));
    }
    assert_ne!(id(&left[0][0]), id(&left[1][0]));
    let [one, two] = left.map(joined);
    assert_ne!(one.ports(), two.ports());
}

#[test]
fn that_come_twice_leave_twice_the_same() {
    let datapath = datapath();
    let cut = large(HOST, 4000).pieces(9, 104);
    let leave =
        || -> Vec<_> { cut.iter().map(|one| out(&datapath, one, Reason::NatOut)).collect() };
    assert_eq!(leave(), leave());
}

#[test]
fn before_the_first_make_a_detour_where_there_is_one() {
    let sorted = masquerading(Datapath::plan().sorter().build());
    let cut = large(HOST, 4000).pieces(9, 104);
    let early = out(&sorted, &cut[1], Reason::Sorted);
    assert_eq!((early.source, early.hops), (HOST, 64), "it is not translated yet");
    // Once one of them is away, all of them are.
    out(&sorted, &cut[0], Reason::Sorted);
    out(&sorted, &cut[2], Reason::Sorted);
    // Another host's of the same id are in order.
    out_joined(&sorted, &large(OTHER, 4000).pieces(9, 104));
    let answer = Packet6::udp((REMOTE, 5000), (OWN, 4000), &[8; 300]).pieces(9, 104);
    back(&sorted, &answer[2], Reason::Sorted);
    let without = datapath();
    out(&without, &cut[1], Reason::Fragment);
    back(&without, &answer[2], Reason::FragmentIn);
}

#[test]
fn follow_a_first_that_the_host_is_given() {
    let datapath = datapath();
    for piece in Packet6::udp((REMOTE, 5000), (OWN, 53), &[8; 300]).pieces(9, 104) {
        back(&datapath, &piece, Reason::Unsolicited);
    }
    out(&datapath, &question(HOST, REMOTE).bytes(), Reason::NatOut);
    let stranger = Packet6::udp((REMOTE, 9), (OWN, 4000), &[8; 300]);
    for piece in stranger.pieces(10, 104) {
        back(&datapath, &piece, Reason::Filtered);
    }
}

#[test]
fn rfc5722_4_what_lies_over_the_first_ends_its_datagram() {
    let datapath = datapath();
    let sent = Packet6::tcp((HOST, 4000), (REMOTE, 5000), SYN, &[7; 300]);
    let cut = sent.pieces(9, 104);
    out(&datapath, &cut[0], Reason::NatOut);
    for offset in [8, 96] {
        let over = Piece { next: 6, offset, more: true, id: 9 };
        out(&datapath, &sent.piece(over, &[9; 104]), Reason::FragmentOverlap);
    }
    out(&datapath, &cut[1], Reason::FragmentOverlap);
    // Of another id it passes.
    out_joined(&datapath, &sent.pieces(10, 104));
    let answer = Packet6::tcp((REMOTE, 5000), (OWN, 4000), 0x12, &[8; 300]);
    let cut = answer.pieces(9, 104);
    back(&datapath, &cut[0], Reason::NatIn);
    let over = Piece { next: 6, offset: 8, more: false, id: 9 };
    back(&datapath, &answer.piece(over, &[9; 104]), Reason::FragmentOverlap);
    back(&datapath, &cut[1], Reason::FragmentOverlap);
}

#[test]
fn another_first_fragment_begins_another_datagram() {
    let datapath = datapath();
    let long = large(HOST, 4000);
    let first = out(&datapath, &long.pieces(9, 104)[0], Reason::NatOut);
    let again = out(&datapath, &long.pieces(9, 208)[0], Reason::NatOut);
    assert_ne!(id(&first), id(&again));
    let last = out(&datapath, &long.pieces(9, 208)[1], Reason::NatOut);
    assert_eq!(id(&last), id(&again));
}

#[test]
fn rfc7112_5_a_first_without_its_transport_header_and_all_that_follow() {
    let mut datapath = datapath();
    let syn = Packet6::tcp((HOST, 4000), (REMOTE, 5000), SYN, &[]);
    for (id, size) in [(1, 8), (2, 16)] {
        for piece in syn.pieces(id, size) {
            out(&datapath, &piece, Reason::FragmentTiny);
        }
    }
    let answer = Packet6::tcp((REMOTE, 5000), (OWN, 4000), 0x12, &[]);
    for piece in answer.pieces(3, 16) {
        back(&datapath, &piece, Reason::FragmentTiny);
    }
    assert_eq!(datapath.flows(), 0);
}

#[test]
fn rfc8200_4_5_of_a_length_that_cannot_be() {
    let datapath = datapath();
    let sent = large(HOST, 4000);
    let piece = |offset, more| Piece { next: 17, offset, more, id: 9 };
    for (piece, length) in [
        // All but the last are of whole 8 bytes, none is empty, and none goes past the longest packet.
        (piece(0, true), 100),
        (piece(104, true), 100),
        (piece(104, false), 0),
        (piece(0xfff8, false), 8),
    ] {
        out(&datapath, &sent.piece(piece, &vec![7; length]), Reason::Malformed);
    }
}

#[test]
fn rfc6946_3_a_datagram_in_one_fragment_is_like_a_whole_one() {
    let datapath = datapath();
    let cut = large(HOST, 4000).pieces(9, 104);
    out(&datapath, &cut[0], Reason::NatOut);
    // Of the same id as one that is under way: they have nothing to do with each other.
    let sent = question(HOST, REMOTE);
    let alone = sent.pieces(9, 104);
    let left = out(&datapath, &alone[0], Reason::NatOut);
    assert_eq!((left.source, id(&left)), (OWN, 9));
    let (_, data) = left.as_piece().expect("it still has its header");
    assert!(Packet6 { protocol: 17, body: data.to_vec(), ..left.clone() }.is_right());
    out(&datapath, &cut[1], Reason::NatOut);
    let answer = Packet6::udp((REMOTE, 5000), (OWN, 4000), b"answer").pieces(9, 104);
    assert_eq!(back(&datapath, &answer[0], Reason::NatIn).destination, HOST);
}

#[test]
fn are_noted_in_bounded_room() {
    let mut datapath = datapath();
    let answer = Packet6::udp((REMOTE, 9), (OWN, 9), &[8; 300]);
    for id in 0..6000 {
        let [first, stray] =
            [&large(HOST, 4000), &answer].map(|one| frame6(&one.pieces(id, 104)[0]));
        let left = datapath.run_frame(Hook::Out, &datapath.forwarded(), &first);
        let came = datapath.run_frame(Hook::In, &datapath.own(), &stray);
        assert_eq!([left.action, came.action], [Action::Next; 2]);
    }
    for name in ["fragments6", "strays6"] {
        let noted = datapath.hash::<FragmentKey6, Datagram6>(name).keys().count();
        assert!((1..=4096).contains(&noted), "{noted} in {name}");
    }
    out_joined(&datapath, &large(HOST, 4000).pieces(60_000, 104));
}

#[test]
fn rfc5508_req3_a_damaged_error_ends_here_both_ways() {
    let datapath = datapath();
    let left = out(&datapath, &question(HOST, REMOTE).bytes(), Reason::NatOut);
    let error = Packet6::error(REMOTE, OWN, (1, 4), &left);
    let answer = Packet6::udp((REMOTE, 5000), (OWN, 4000), b"answer");
    let came = back(&datapath, &answer.bytes(), Reason::NatIn);
    let told = Packet6::error(HOST, REMOTE, (1, 4), &came);
    for at in [1, 4, 8 + 40 + 9] {
        let damaged = |packet: &Packet6| {
            let mut packet = packet.clone();
            packet.body[at] ^= 1;
            packet.bytes()
        };
        back(&datapath, &damaged(&error), Reason::IcmpChecksum);
        out(&datapath, &damaged(&told), Reason::IcmpChecksum);
    }
    assert!(back(&datapath, &error.bytes(), Reason::IcmpErrorIn).is_right());
    assert!(out(&datapath, &told.bytes(), Reason::IcmpErrorOut).is_right());
}
