//! The parser takes what is well-formed and nothing else, and never looks past a packet's end.

mod host;

use host::{Buffer, ETHERNET, frame};
use proptest::prelude::*;
use vnet_common::account::Reason;
use vnet_ebpf::{
    packet::{Kind, Packet, Part, parse},
    quote::{self, End},
};

const A: [u8; 4] = [10, 0, 0, 2];
const B: [u8; 4] = [198, 51, 100, 2];

fn look(buffer: &Buffer) -> Result<Packet, Reason> {
    let mut packet = Packet::UNKNOWN;
    parse(buffer, &mut packet, ETHERNET as u32, buffer.0.len() as u32).map(|()| packet)
}

fn syn() -> Buffer {
    let body =
        [0x30, 0x39, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4];
    frame(6, A, B, &[], &body)
}

#[test]
fn facts_of_a_syn() {
    let packet = look(&syn()).unwrap();
    assert_eq!((packet.kind, packet.key.sport, packet.key.dport), (Kind::Tcp, 12345, 80));
    assert_eq!((packet.key.saddr, packet.key.daddr), (A, B));
    assert_eq!((packet.l3, packet.l4, packet.payload), (14, 34, 58));
    assert!(packet.segment.opens());
    assert_eq!((packet.segment.seq, packet.segment.end), (9, 10), "a SYN uses a sequence number");
}

#[test]
fn link_padding_is_not_payload() {
    let mut buffer = syn();
    buffer.0.extend([0; 6]);
    assert_eq!(look(&buffer).unwrap().segment.end, 10);
}

#[test]
fn a_gso_packet_over_64_kib_has_no_total_length() {
    let mut buffer = syn();
    buffer.0[ETHERNET + 2..ETHERNET + 4].fill(0);
    buffer.0.extend([0; 100]);
    assert_eq!(look(&buffer).unwrap().segment.end, 110);
}

#[test]
fn a_packet_cut_anywhere_is_malformed() {
    let whole = syn();
    for length in ETHERNET..whole.0.len() {
        let cut = Buffer(whole.0[..length].to_vec());
        assert_eq!(look(&cut).err(), Some(Reason::Malformed), "cut to {length} bytes");
    }
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    for (at, value, what) in [
        (ETHERNET, 0x44, "IP header of 16 bytes"),
        (ETHERNET, 0x55, "version 5"),
        (ETHERNET + 3, 19, "total length below the header's"),
        (ETHERNET + 2, 0xff, "total length past the frame"),
        (34 + 12, 0x40, "TCP header of 16 bytes"),
        (34 + 12, 0xf0, "TCP header past the packet"),
    ] {
        let mut buffer = syn();
        buffer.0[at] = value;
        assert_eq!(look(&buffer).err(), Some(Reason::Malformed), "{what}");
    }
}

#[test]
fn every_fragment_is_told_by_its_place() {
    use Part::{First, Later, Whole};
    for (bytes, offset, part, kind) in [
        ([0x20, 0], 0, First, Kind::Tcp),
        ([0, 1], 8, Later, Kind::Fragment),
        ([0x20, 1], 8, Later, Kind::Fragment),
        ([0x40, 0], 0, Whole, Kind::Tcp),
    ] {
        let mut buffer = syn();
        buffer.0[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&bytes);
        let packet = look(&buffer).unwrap();
        assert_eq!((packet.part, packet.offset, packet.kind), (part, offset, kind), "{bytes:?}");
    }
}

#[test]
fn a_fragment_but_the_last_is_of_whole_eights() {
    let mut buffer = syn();
    buffer.0.extend([7; 4]);
    buffer.0[ETHERNET + 3] += 4;
    buffer.0[ETHERNET + 6] = 0x20;
    assert_eq!(look(&buffer).err(), Some(Reason::Malformed));
}

#[test]
fn options_without_end_or_total_length_are_malformed() {
    let mut buffer = syn();
    buffer.0[ETHERNET] = 0x4f;
    buffer.0[ETHERNET + 2..ETHERNET + 4].fill(0);
    buffer.0[ETHERNET + 9] = 47;
    buffer.0.truncate(ETHERNET + 59);
    assert_eq!(look(&buffer).err(), Some(Reason::Malformed));
}

#[test]
fn padding_behind_a_first_fragment_is_no_header() {
    let mut buffer = frame(47, A, B, &[], &[0x30, 0x39, 0, 80, 0, 0, 0, 0]);
    buffer.0[ETHERNET + 6] = 0x20;
    buffer.0[ETHERNET + 9] = 6;
    buffer.0.extend([0x55; 32]);
    let packet = look(&buffer).unwrap();
    assert_eq!((packet.kind, packet.key.sport, packet.key.dport), (Kind::Fragment, 12345, 80));
}

#[test]
fn icmp_kinds() {
    for (kind, expected) in [
        (0, Kind::Reply),
        (3, Kind::Error),
        (4, Kind::OtherIcmp),
        (5, Kind::OtherIcmp),
        (8, Kind::Query),
        (11, Kind::Error),
        (12, Kind::Error),
        (13, Kind::Query),
    ] {
        let packet = look(&frame(1, A, B, &[], &[kind, 0, 0, 0, 0x12, 0x34, 0, 1])).unwrap();
        assert_eq!(packet.kind, expected, "type {kind}");
        let id = if matches!(expected, Kind::Query | Kind::Reply) { 0x1234 } else { 0 };
        assert_eq!((packet.key.sport, packet.key.dport), (id, id), "type {kind}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0u32..40) {
        let buffer = Buffer(bytes);
        let mut packet = Packet::UNKNOWN;
        if parse(&buffer, &mut packet, start, buffer.0.len() as u32).is_ok() {
            prop_assert!(packet.payload as usize <= buffer.0.len());
            let _ = quote::read(&buffer, &packet, End::Source);
        }
    }

    #[test]
    fn a_quote_is_read_or_refused_never_guessed(body in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut error = vec![3, 1, 0, 0, 0, 0, 0, 0];
        error.extend(&body);
        let buffer = frame(1, B, A, &[], &error);
        let packet = look(&buffer).unwrap();
        if let Some(quote) = quote::read(&buffer, &packet, End::Destination) {
            prop_assert!(matches!(quote.key.proto, 1 | 6 | 17));
            prop_assert!(quote.l4 as usize + 8 <= buffer.0.len());
            prop_assert_eq!(quote.key.saddr.as_slice(), &body[12..16]);
        }
    }
}
