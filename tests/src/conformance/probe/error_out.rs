//! ICMP errors from inside, and what errors must not do to flows.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use super::quoting::{HOP, KINDS, kind_and_rest, moved, quote, with_rest};
use super::timeout::TURNS;
use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, Field, S1, unique_id};
use crate::conformance::tcp::{Connection, DATA};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::OUTSIDE;
use crate::packet::{IcmpKind, Packet};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Should, "RFC 5508 REQ-5"),
        "rfc5508_req5_error_from_inside_about_nothing",
        "An error from inside about no flow does not leave.",
        out_about_nothing,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-5a"),
        "rfc5508_req5a_quote_is_translated",
        "The packet quoted by an error from inside shows outside addresses, ports and checksums.",
        out_quote,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-5b"),
        "rfc5508_req5b_kinds_from_inside",
        "Destination unreachable, time exceeded and parameter problem leave with their type and code.",
        out_kinds,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-5c"),
        "rfc5508_req5c_sender_is_our_address",
        "The sender of an error from inside becomes the outside address, also when a router on the \
         way to the host sends it.",
        out_addresses,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-6, RFC 4787 REQ-12, RFC 5382 REQ-10"),
        "rfc5508_req6_errors_end_nothing",
        "No ICMP error ends a mapping or a connection.",
        errors_end_nothing,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-6"),
        "rfc5508_req6_errors_refresh_nothing",
        "No ICMP error from outside keeps a mapping alive.",
        errors_refresh_nothing,
    ),
];

fn out_about_nothing(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = Packet::udp(S1, (A, 4000)).error(A, IcmpKind::PORT_UNREACHABLE, 8);
    let about = about.id(unique_id());
    field.a.send(&about);
    let left = field.outside.overhear(|heard| heard.ip.id == about.ip.id);
    ensure(
        left.is_none(),
        left.map_or(String::new(), |p| format!("it left as from {}", p.ip.source)),
    )
}

/// A datagram from outside as it arrives at host a.
fn received(field: &Field) -> Result<(Packet, Packet), Miss> {
    let seen = moved(field)?;
    let sent = Packet::udp(S1, seen.source()).payload(b"an odd answer");
    match field.back(&sent, A) {
        Some(heard) => Ok((sent.id(heard.ip.id), heard)),
        None => fails("an answer did not arrive"),
    }
}

fn out_quote(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (sent, heard) = received(&field)?;
    for length in [8, 1000] {
        let quote = quote(field.out(&heard.error(A, IcmpKind::PORT_UNREACHABLE, length)))?;
        let same = (quote.source, quote.destination) == (sent.source(), sent.destination());
        ensure(same, format!("the quote says {}", quote.destination))?;
    }
    Ok(())
}

fn out_kinds(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (_, heard) = received(&field)?;
    for (kind, rest) in KINDS {
        let left = field.out(&with_rest(heard.error(A, kind, 8), rest));
        let name = format!("type {} code {}", kind.kind, kind.code);
        let Some(left) = left else { return fails(format!("{name} did not leave")) };
        ensure(kind_and_rest(&left) == Some((kind, rest)), format!("{name} was changed"))?;
    }
    Ok(())
}

fn out_addresses(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let (_, heard) = received(&field)?;
    for from in [A, Ipv4Addr::new(10, 0, 0, 77)] {
        let error = heard.error(from, IcmpKind::HOST_UNREACHABLE, 8).id(unique_id());
        field.a.send(&error);
        let left = field.outside.hear(|seen| seen.ip.id == error.ip.id);
        let Some(left) = left else { return fails(format!("an error of {from} did not leave")) };
        ensure(left.ip.source == OUTSIDE, format!("it left as from {}", left.ip.source))?;
    }
    Ok(())
}

fn errors_end_nothing(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let udp = moved(&field)?;
    let mut tcp = Connection::open(&field, (A, 4001), S1)?;
    let about_tcp = field.out(&tcp.outward(DATA).payload(b"last"));
    tcp.next.0 += 4;
    let Some(about_tcp) = about_tcp else { return fails("data did not leave") };
    for (kind, rest) in KINDS {
        field.outside.send(&with_rest(udp.error(HOP, kind, 8), rest));
        field.outside.send(&with_rest(about_tcp.error(HOP, kind, 8), rest));
    }
    field.a.all();
    ensure(field.answer(S1, udp.source(), (A, 4000)), "the UDP mapping was ended")?;
    tcp.talks(&field)
}

fn errors_refresh_nothing(translator: Translator) -> Seen {
    let field = Field::of(translator, &Wish::plain().short())?;
    let udp = moved(&field)?;
    for _ in 0..TURNS {
        field.outside.send(&udp.error(HOP, IcmpKind::HOST_UNREACHABLE, 8));
        sleep(Duration::from_millis(500));
    }
    let gone = !field.intrudes(&Packet::udp(S1, udp.source()), A);
    ensure(gone, "errors kept the mapping")
}
