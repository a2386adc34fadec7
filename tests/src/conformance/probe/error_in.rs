//! ICMP errors from outside about what came from inside.

use super::quoting::{HOP, KINDS, kind_and_rest, moved, quote, with_rest};
use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1, S2, outside};
use crate::conformance::tcp::{Connection, DATA};
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::OUTSIDE;
use crate::packet::{Body, Endpoint as _, Icmp, IcmpBody, IcmpKind, Packet, Sum, faults};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Should, "RFC 5508 REQ-3"),
        "rfc5508_req3_wrong_checksum_is_dropped",
        "An error whose own checksum is wrong is dropped.",
        wrong_checksum,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-3a"),
        "rfc5508_req3a_wrong_quoted_header_is_dropped",
        "An error that quotes a header with a wrong checksum is dropped.",
        wrong_quoted_checksum,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-3b"),
        "rfc5508_req3b_quoted_options",
        "IP options of the quoted packet are stepped over.",
        quoted_options,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-3c"),
        "rfc5508_req3c_quoted_transport_checksum_is_not_judged",
        "A wrong transport checksum in the quote is no reason to drop the error.",
        quoted_transport_checksum,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-3d"),
        "rfc5508_req3d_extensions",
        "ICMP extensions (RFC 4884) behind the quote arrive as they were.",
        extensions,
    ),
    Requirement::new(
        (Should, "RFC 5508 REQ-4"),
        "rfc5508_req4_error_from_outside_about_nothing",
        "An error from outside about no flow reaches nobody inside, and is not answered.",
        in_about_nothing,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-4a"),
        "rfc5508_req4a_quote_is_translated_back",
        "The quoted packet is given back the addresses, ports and checksums it had inside: UDP, \
         TCP and pings, whole or cut to eight bytes.",
        in_quote,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-4b, REQ-10a"),
        "rfc5508_req4b_kinds_from_outside",
        "Destination unreachable, time exceeded and parameter problem come in with their type, \
         code and rest as they were (RFC 5382 REQ-9).",
        in_kinds,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-4c"),
        "rfc5508_req4c_receiver_is_the_quoted_sender",
        "An error goes to the host that sent what it quotes, and keeps its sender.",
        in_addresses,
    ),
    Requirement::new(
        (Should, "RFC 4787 REQ-12a"),
        "rfc4787_req12a_any_router_may_send_errors",
        "An error is not judged by who sends it: any router on the way may.",
        any_router,
    ),
];

fn wrong_checksum(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let error = moved(&field)?.error(HOP, IcmpKind::HOST_UNREACHABLE, 8);
    let came = field.intrudes(&error.checksum(Sum::Wrong(0x1234)), A);
    ensure(!came, "it was forwarded")
}

fn wrong_quoted_checksum(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut about = moved(&field)?;
    about.ip.checksum = Sum::Wrong(0x1234);
    let came = field.intrudes(&about.error(HOP, IcmpKind::HOST_UNREACHABLE, 8), A);
    ensure(!came, "it was forwarded")
}

fn quoted_options(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let mut about = moved(&field)?;
    // Router alert and padding.
    about.ip.options = vec![0x94, 4, 0, 0, 1, 1, 1, 0];
    let quote = quote(field.back(&about.error(HOP, IcmpKind::HOST_UNREACHABLE, 8), A))?;
    ensure(quote.source == (A, 4000).endpoint(), format!("the quote says {}", quote.source))
}

fn quoted_transport_checksum(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = moved(&field)?.checksum(Sum::Wrong(0x1234));
    let error = about.error(HOP, IcmpKind::HOST_UNREACHABLE, 100);
    let Some(arrived) = field.back(&error, A) else { return fails("it was dropped") };
    let quoted = arrived.quote().map(|quote| quote.source);
    ensure(quoted == Some((A, 4000).endpoint()), "the quote was not translated")
}

fn extensions(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = moved(&field)?;
    let mut error = with_rest(about.error(HOP, IcmpKind::TIME_EXCEEDED, 200), 32 << 16);
    // 32 words of quote, padded with zeros, then an MPLS label stack (RFC 4950).
    let extension = [0x20, 0, 0xdd, 0xf5, 0, 8, 1, 1, 0x01, 0x02, 0x03, 0x40];
    let Body::Icmp(Icmp { body: IcmpBody::Other { quote, .. }, .. }) = &mut error.body else {
        return fails("an error is an ICMP message");
    };
    quote.resize(128, 0);
    quote.extend(extension);
    let Some(arrived) = field.back(&error, A) else { return fails("the error did not arrive") };
    let whole = faults(&arrived.bytes());
    ensure(whole.is_empty(), whole.join(", "))?;
    ensure(arrived.data().ends_with(&extension), "the extension was changed")?;
    let quoted = arrived.quote().map(|quote| quote.source);
    ensure(quoted == Some((A, 4000).endpoint()), "the quote was not translated")
}

fn in_about_nothing(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = Packet::udp(outside(4000), S1).error(HOP, IcmpKind::HOST_UNREACHABLE, 8);
    for host in [A, B] {
        ensure(!field.intrudes(&about, host), "it reached a host")?;
    }
    let answer = field.outside.overhear(|heard| heard.ip.source == OUTSIDE);
    ensure(answer.is_none(), "it was answered")
}

/// The packets of three protocols as they are seen outside, and as they were.
fn three(field: &Field) -> Result<Vec<(Packet, Packet)>, Miss> {
    moved(field)?;
    Connection::open(field, (B, 4000), S1)?;
    let tcp = Connection::open(field, (A, 4000), S1)?;
    field.out(&Packet::ping(B, *S1.ip(), 4000));
    let sent = [
        Packet::udp((A, 4000), S1).payload(b"an odd question"),
        tcp.outward(DATA).payload(b"an odd question"),
        Packet::ping(A, *S1.ip(), 4000).payload(b"an odd question"),
    ];
    let carried = sent.into_iter().map(|packet| match field.out(&packet) {
        Some(seen) => Ok((packet.id(seen.ip.id), seen)),
        None => fails("a packet did not leave"),
    });
    carried.collect()
}

fn in_quote(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    for (sent, seen) in three(&field)? {
        for length in [8, 1000] {
            let error = seen.error(HOP, IcmpKind::HOST_UNREACHABLE, length);
            let quote = quote(field.back(&error, A))?;
            let expected = sent.error(HOP, IcmpKind::HOST_UNREACHABLE, length).quote();
            let (what, expected) = (sent.ip.protocol, expected.expect("an error quotes"));
            let same = (quote.source, quote.destination) == (expected.source, expected.destination);
            ensure(same, format!("{what}: the quote says {}", quote.source))?;
            let bytes = quote.body.get(4..8) == expected.body.get(4..8);
            ensure(bytes || what.0 == 17, format!("{what}: the quoted bytes differ"))?;
        }
    }
    Ok(())
}

fn in_kinds(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = moved(&field)?;
    for (kind, rest) in KINDS {
        let arrived = field.back(&with_rest(about.error(HOP, kind, 8), rest), A);
        let name = format!("type {} code {}", kind.kind, kind.code);
        let Some(arrived) = arrived else { return fails(format!("{name} did not arrive")) };
        ensure(kind_and_rest(&arrived) == Some((kind, rest)), format!("{name} was changed"))?;
    }
    Ok(())
}

fn in_addresses(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let error = moved(&field)?.error(HOP, IcmpKind::HOST_UNREACHABLE, 8);
    let Some(arrived) = field.back(&error, A) else { return fails("the error did not arrive") };
    let (from, to) = (arrived.ip.source, arrived.ip.destination);
    ensure((from, to) == (HOP, A), format!("it went from {from} to {to}"))
}

fn any_router(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let about = moved(&field)?;
    for from in [*S1.ip(), *S2.ip(), HOP] {
        let arrived = field.back(&about.error(from, IcmpKind::TIME_EXCEEDED, 8), A);
        ensure(arrived.is_some(), format!("an error of {from} did not arrive"))?;
    }
    Ok(())
}
