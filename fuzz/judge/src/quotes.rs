//! ICMP errors: the quoted packet is rewritten in its own place, and every checksum that was right
//! stays right, also the quoted packet's own.

use vnet_common::flow::proto;
use vnet_ebpf::packet::{Kind, Packet};
use vnet_ebpf::quote::{self, End, Quote};
use vnet_ebpf::rewrite::{addresses, pseudo_header};

use crate::frame::{assert_elsewhere_equal, damage, damage_of_transport, is_nothing_but_zeros};
use crate::packet::{assert_valid, faults, internet_checksum};
use crate::{ETHERNET, Frame, look};

/// What stands before the frame: the address and the port to write.
pub(crate) const WISH: usize = 6;

/// Judges an address, a port and a frame.
pub fn quotes(input: &[u8]) {
    let Some((wish, frame)) = input.split_at_checked(WISH) else { return };
    let addr = [wish[0], wish[1], wish[2], wish[3]];
    let port = u16::from_be_bytes([wish[4], wish[5]]);
    let frame = Frame(frame.to_vec());
    let Ok(error) = look(&frame, ETHERNET) else { return };
    if error.kind != Kind::Error {
        return;
    }
    for end in [End::Source, End::Destination] {
        if let Some(quote) = quote::read(&frame, &error, end) {
            in_place(&frame, &error, &quote, end);
            rewritten(&frame, &error, &quote, end, addr, port);
            rewritten(&repaired(&frame, &error, &quote), &error, &quote, end, addr, port);
        }
    }
}

/// The same error with right checksums, which no fuzzer guesses. That of the quoted packet's own
/// header comes first, because the error's covers it.
fn repaired(frame: &Frame, error: &Packet, quote: &Quote) -> Frame {
    let mut frame = frame.clone();
    for (from, to, at) in [
        (quote.l3, quote.l4, quote.l3 + 10),
        (error.l3, error.l4, error.l3 + 10),
        (error.l4, error.end, error.l4 + 2),
    ] {
        let at = at as usize;
        frame.0[at..at + 2].fill(0);
        let sum = internet_checksum(frame.part(from, to));
        frame.0[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// What was read is where the quote is, and could have been translated.
fn in_place(frame: &Frame, error: &Packet, quote: &Quote, end: End) {
    let Quote { key, l3, l4, end: last } = *quote;
    assert_eq!((l3, last), (error.l4 + 8, error.end), "{quote:?}");
    assert!(l3 + 20 <= l4 && l4 + 8 <= last, "{quote:?} is not in {error:?}");
    assert_eq!(
        (&key.saddr[..], &key.daddr[..]),
        (frame.part(l3 + 12, l3 + 16), frame.part(l3 + 16, l3 + 20))
    );
    match key.proto {
        proto::TCP | proto::UDP => {
            let ports = [key.sport.to_be_bytes(), key.dport.to_be_bytes()].concat();
            assert_eq!(ports, frame.part(l4, l4 + 4), "{quote:?}");
        }
        proto::ICMP => {
            let queries = if end == End::Source { [8, 13, 15, 17] } else { [0, 14, 16, 18] };
            assert!(queries.contains(&frame.part(l4, l4 + 1)[0]), "{quote:?}");
            assert_eq!(
                (key.sport.to_be_bytes().as_slice(), key.dport),
                (frame.part(l4 + 4, l4 + 6), key.sport)
            );
        }
        _ => assert_eq!((key.sport, key.dport), (0, 0), "ports are not looked at: {quote:?}"),
    }
}

fn rewritten(frame: &Frame, error: &Packet, quote: &Quote, end: End, addr: [u8; 4], port: u16) {
    let mut after = frame.clone();
    let done = quote::rewrite(&mut after, error, quote, end, addr, port);
    done.and_then(|()| match end {
        End::Source => addresses(&mut after, error.l3, error.key.saddr, addr),
        End::Destination => addresses(&mut after, error.l3, addr, error.key.daddr),
    })
    .unwrap_or_else(|reason| panic!("{reason:?} is not for packets in memory"));
    let places = places(error, quote, end);
    assert_elsewhere_equal(frame, &after, &places.map(|(_, start, size)| (start, size)));
    for (what, start, size) in places {
        match what {
            "address" => assert_eq!(after.part(start, start + size), addr, "{quote:?}"),
            "port" => assert_eq!(after.part(start, start + size), port.to_be_bytes(), "{quote:?}"),
            _ => (),
        }
    }
    same_damage(frame, &after, error, quote);
    let zeros = quote.key.proto == proto::ICMP && is_nothing_but_zeros(whole(&after, quote));
    if faults(&frame.0).is_empty() && !zeros {
        assert_valid(&after.0);
    }
}

/// What the quoted packet carries, as far as it is there.
fn whole<'a>(frame: &'a Frame, quote: &Quote) -> &'a [u8] {
    let total = frame.part(quote.l3 + 2, quote.l3 + 4).try_into().map_or(0, u16::from_be_bytes);
    frame.part(quote.l4, quote.l3 + u32::from(total))
}

/// What may change: addresses, the port, and the checksums that cover them.
fn places(error: &Packet, quote: &Quote, end: End) -> [(&'static str, u32, u32); 7] {
    let source = end == End::Source;
    let outer = error.l3 + if source { 16 } else { 12 };
    let addr = quote.l3 + if source { 12 } else { 16 };
    let side = if source { 0 } else { 2 };
    let (port, sum) = match quote.key.proto {
        proto::ICMP => (Some(4), Some(2)),
        proto::TCP => (Some(side), Some(16)),
        proto::UDP => (Some(side), Some(6)),
        number => (None, pseudo_header(number).then_some(6)),
    };
    // A checksum that is not wholly quoted is left as it is.
    let sum = sum.map(|sum| quote.l4 + sum).filter(|sum| sum + 2 <= quote.end);
    let sum = sum.map_or((0, 0), |sum| (sum, 2));
    [
        ("sum", error.l3 + 10, 2),
        ("address", outer, 4),
        ("sum", error.l4 + 2, 2),
        ("sum", quote.l3 + 10, 2),
        ("address", addr, 4),
        port.map_or(("sum", 0, 0), |port| ("port", quote.l4 + port, 2)),
        ("sum", sum.0, sum.1),
    ]
}

fn same_damage(before: &Frame, after: &Frame, error: &Packet, quote: &Quote) {
    let each = |judge: &dyn Fn(&Frame) -> u16, what: &str| {
        assert_eq!(judge(before), judge(after), "damage of {what}: {before:?} {after:?} {quote:?}");
    };
    each(&|frame| damage(frame.part(error.l3, error.l4)), "the IP header");
    each(&|frame| damage(frame.part(error.l4, error.end)), "the ICMP message");
    each(&|frame| damage(frame.part(quote.l3, quote.l4)), "the quoted IP header");
    let absent = |frame: &Frame| frame.part(quote.l4 + 6, quote.l4 + 8) == [0, 0];
    let body = |frame: &Frame| frame.part(quote.l4, quote.end).to_vec();
    let sum_is_there = |at| quote.l4 + at + 2 <= quote.end;
    let transport = |frame: &Frame| {
        let addresses = frame.part(quote.l3 + 12, quote.l3 + 20);
        // The quote may be cut short; what is missing counts as much before as after.
        damage_of_transport(addresses, quote.key.proto, 0, &body(frame))
    };
    match quote.key.proto {
        proto::TCP if sum_is_there(16) => each(&transport, "the quoted TCP segment"),
        proto::UDP if absent(before) => assert!(absent(after), "no checksum stays none"),
        proto::UDP => {
            each(&transport, "the quoted UDP datagram");
            assert!(!absent(after), "a checksum of zero would mean that there is none");
        }
        proto::ICMP => each(&|frame| damage(&body(frame)), "the quoted ping"),
        _ => (),
    }
}
