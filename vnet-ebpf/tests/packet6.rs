//! IPv6 headers: what is walked, what is refused, and that nothing is read past an end.

use proptest::prelude::*;
use vnet_common::account::Reason;
use vnet_ebpf::packet6::{EXTENSIONS, Kind6, Packet6, begin, finish, stays, step};

const L3: u32 = 14;

/// As the programs do it.
fn parse(frame: &[u8]) -> Result<Packet6, Reason> {
    let mut packet = Packet6::UNKNOWN;
    begin(frame, &mut packet, L3, frame.len() as u32)?;
    for _ in 0..EXTENSIONS {
        if step(frame, &mut packet).is_none() {
            break;
        }
    }
    finish(frame, &mut packet).map(|()| packet)
}

/// A frame with these headers, each given its number and its bytes after the first.
fn frame(headers: &[(u8, Vec<u8>)], last: u8, body: &[u8]) -> Vec<u8> {
    let mut numbers: Vec<_> = headers.iter().map(|(number, _)| *number).collect();
    numbers.push(last);
    let mut payload = Vec::new();
    for ((_, rest), next) in headers.iter().zip(&numbers[1..]) {
        payload.push(*next);
        payload.extend(rest);
    }
    payload.extend(body);
    let mut frame = vec![0; L3 as usize];
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([numbers[0], 64]);
    frame.extend([0x20; 32]);
    frame.extend(payload);
    frame
}

/// A header of options, of eight bytes and so many times eight more.
fn options(more: u8) -> Vec<u8> {
    let mut rest = vec![0; 7 + usize::from(more) * 8];
    rest[0] = more;
    rest
}

#[test]
fn every_extension_header_is_walked_over() {
    let authentication = vec![4; 23];
    let headers = [
        (0, options(0)),
        (60, options(1)),
        (43, options(2)),
        (44, vec![0; 7]),
        (51, authentication),
        (60, options(0)),
    ];
    let packet = parse(&frame(&headers, 17, &[0; 8])).unwrap();
    assert_eq!((packet.proto, packet.kind), (17, Kind6::Plain));
    assert_eq!(packet.l4, L3 + 40 + 8 + 16 + 24 + 8 + 24 + 8);
    assert_eq!(packet.payload, packet.l4 + 8);
}

#[test]
fn more_than_the_bound_is_refused() {
    let headers = |count| vec![(60, options(0)); count];
    assert!(parse(&frame(&headers(8), 17, &[0; 8])).is_ok());
    assert_eq!(parse(&frame(&headers(9), 17, &[0; 8])).unwrap_err(), Reason::Extensions);
    let long = vec![(60, options(30))];
    assert_eq!(parse(&frame(&long, 17, &[0; 8])).unwrap_err(), Reason::Extensions);
}

#[test]
fn behind_a_later_fragment_there_is_no_header() {
    let fragment = |offset: u8| vec![(44, vec![0, 0, offset, 0, 0, 0, 1])];
    let first = parse(&frame(&fragment(1), 58, &[1, 4, 0, 0, 0, 0, 0, 0])).unwrap();
    assert_eq!((first.later_fragment, first.kind), (0, Kind6::Error));
    let later = parse(&frame(&fragment(8), 58, &[1, 4, 0, 0, 0, 0, 0, 0])).unwrap();
    assert_eq!((later.later_fragment, later.kind), (1, Kind6::Plain));
}

#[test]
fn what_neighbours_say_is_told_apart() {
    let kind = |number| parse(&frame(&[], 58, &[number, 0, 0, 0, 0, 0, 0, 0])).unwrap().kind;
    assert!((0..128).all(|number| kind(number) == Kind6::Error));
    for number in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
        assert_eq!(kind(number), Kind6::Link, "{number}");
    }
    assert_eq!([kind(128), kind(129), kind(138)], [Kind6::Plain; 3]);
}

#[test]
fn a_length_beyond_the_frame_is_refused() {
    let mut cut = frame(&[(0, options(0))], 17, &[0; 8]);
    cut.pop();
    assert_eq!(parse(&cut).unwrap_err(), Reason::Malformed);
    let past = frame(&[(0, vec![1; 7])], 17, &[]);
    assert_eq!(parse(&past).unwrap_err(), Reason::Malformed);
    let mut fourth = frame(&[], 17, &[0; 8]);
    fourth[14] = 0x45;
    assert_eq!(parse(&fourth).unwrap_err(), Reason::Malformed);
}

#[test]
fn addresses_that_stay_on_their_link() {
    let words = |text: &str| {
        let bytes = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        [0, 4, 8, 12].map(|at| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()))
    };
    for addr in ["::", "::1", "fe80::1", "febf::1", "ff02::1", "ff0e::1"] {
        assert!(stays(&words(addr)), "{addr}");
    }
    for addr in ["::2", "fec0::1", "fd00::1", "2001:db8::1"] {
        assert!(!stays(&words(addr)), "{addr}");
    }
}

proptest! {
    #[test]
    fn any_bytes_have_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(byte) = bytes.get_mut(14) {
            *byte = 0x60;
        }
        if let Ok(packet) = parse(&bytes) {
            prop_assert!(packet.l4 <= packet.end && packet.end <= bytes.len() as u32);
        }
    }
}
