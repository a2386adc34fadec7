//! Options that record the way, against the plainest reading of RFC 791.

mod host;

use host::{Buffer, ETHERNET, frame};
use proptest::prelude::*;
use vnet_ebpf::options::{STEPS, Walk};

const OUTSIDE: [u8; 4] = [198, 51, 100, 1];

/// Hides what is recorded in the frame's options.
fn hide(buffer: &mut Buffer) {
    let mut walk = Walk::new(ETHERNET as u32, buffer.l4() as u32, OUTSIDE, 0);
    let steps = (0..STEPS).take_while(|_| walk.step(buffer).is_some()).count();
    assert!(steps < STEPS as usize, "the walk came to its end");
}

/// Options as they are after hiding: read byte by byte.
fn plainly(options: &[u8]) -> Vec<u8> {
    let mut after = options.to_vec();
    let mut at = 0;
    while at < options.len() {
        let (kind, length) = match options[at] {
            0 => break,
            1 => (1, 1),
            kind => (kind, usize::from(*options.get(at + 1).unwrap_or(&0))),
        };
        if kind != 1 && length < 2 {
            break;
        }
        let (first, stride) = match (kind, options.get(at + 3)) {
            (7 | 131 | 137, _) => (3, 4),
            (68, Some(flags)) if flags & 1 == 1 => (4, 8),
            _ => (length, 1),
        };
        let pointer = usize::from(*options.get(at + 2).unwrap_or(&0));
        let written = (at + pointer).saturating_sub(1).min(at + length).min(options.len());
        let mut slot = at + first;
        while slot + 4 <= written && first < length {
            after[slot..slot + 4].copy_from_slice(&OUTSIDE);
            slot += stride;
        }
        at += length;
    }
    after
}

fn check(options: &[u8]) {
    let body = [8, 0, 0, 0, 0, 7, 0, 1, b'p', b'i', b'n', b'g'];
    let mut hidden = frame(1, [198, 51, 100, 1], [203, 0, 113, 2], options, &body);
    hide(&mut hidden);
    let expected = frame(1, [198, 51, 100, 1], [203, 0, 113, 2], &plainly(options), &body);
    assert_eq!(hidden, expected, "{options:?}");
}

#[test]
fn a_recorded_route_shows_nobody() {
    // As ping -R sends it, after two hosts have written.
    let recorded = [&[1, 7, 39, 12, 10, 0, 0, 2, 10, 0, 0, 1][..], &[0; 28]].concat();
    let hidden = plainly(&recorded);
    assert_eq!(&hidden[4..12], [OUTSIDE, OUTSIDE].concat());
    assert_eq!(&hidden[12..], &recorded[12..]);
    check(&recorded);
}

#[test]
fn an_address_at_an_odd_offset_has_a_right_checksum_too() {
    check(&[7, 7, 8, 10, 0, 0, 2, 0]);
    check(&[1, 1, 7, 7, 8, 10, 0, 0, 2, 1, 1, 0]);
}

#[test]
fn a_timestamp_has_addresses_or_not() {
    let with = |flags| [68, 20, 13, flags, 10, 0, 0, 2, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    check(&with(1));
    check(&with(3));
    check(&with(0));
    assert_eq!(plainly(&with(0)), with(0));
    assert_eq!(plainly(&with(0x11))[4..8], OUTSIDE);
}

#[test]
fn lengths_that_lie_do_no_harm() {
    for options in [[7, 255, 255, 10], [7, 2, 9, 1], [7, 0, 9, 1], [7, 1, 9, 1], [68, 3, 4, 1]] {
        check(&options);
        check(&[&options[..], &options].concat());
    }
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    let known = (prop_oneof![Just(7u8), Just(68), Just(131), Just(137), any::<u8>()], 0u8..12)
        .prop_flat_map(|(kind, length)| {
            (Just(kind), Just(length), prop::collection::vec(any::<u8>(), usize::from(length)))
        });
    known.prop_map(|(kind, length, data)| [&[kind, length + 2][..], &data].concat())
}

proptest! {
    #[test]
    fn any_options(parts in prop::collection::vec(option(), 0..4), pads in 0usize..4) {
        let mut options = [vec![1; pads], parts.concat()].concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        check(&options);
    }

    #[test]
    fn any_bytes(mut options in prop::collection::vec(any::<u8>(), 0..=40)) {
        options.resize(options.len().next_multiple_of(4), 0);
        check(&options);
    }
}
