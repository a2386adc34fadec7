//! ICMP errors of the router's own kernel: packets too big, and hops at their end.

use super::quoting::{kind_and_rest, moved, quote};
use crate::conformance::Level::Must;
use crate::conformance::field::{A, Field, S1};
use crate::conformance::translator::Wish;
use crate::conformance::{Requirement, Seen, Translator, ensure, fails};
use crate::lab::{Lab, OUTSIDE};
use crate::packet::{Endpoint as _, IcmpKind, Packet};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-13"),
        "rfc4787_req13_too_big_from_inside_is_told",
        "A packet from inside that is too big for the uplink and must not be cut is told to its \
         sender, with its own addresses in the quote.",
        too_big_out,
    ),
    Requirement::new(
        (Must, "RFC 1191"),
        "rfc1191_too_big_from_outside_is_told",
        "A packet from outside that is too big for the inside is told to its sender, with the \
         outside addresses in the quote.",
        too_big_in,
    ),
    Requirement::new(
        (Must, "RFC 1812 section 5.3.1"),
        "rfc1812_5_3_1_router_is_a_hop",
        "A packet whose hops end at the router is told to its sender, in terms the sender knows, \
         from inside and from outside (traceroute).",
        router_is_a_hop,
    ),
];

fn too_big_out(translator: Translator) -> Seen {
    let field = Field::build(translator, &Wish::plain(), Lab::plan().uplink_mtu(1400))?;
    field.udp((A, 4000), S1)?;
    let big = Packet::udp((A, 4000), S1).payload(&[7; 1450]).dont_fragment();
    field.a.send(&big);
    let told = field.a.hear(|heard| heard.quote().is_some());
    let Some(told) = told else { return fails("no error came") };
    let wanted = Some((IcmpKind::FRAGMENTATION_NEEDED, 1400));
    ensure(kind_and_rest(&told) == wanted, "another error came")?;
    let quote = quote(Some(told))?;
    ensure(quote.source == (A, 4000).endpoint(), format!("the quote says {}", quote.source))
}

fn too_big_in(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let seen = moved(&field)?;
    field.lab.router.ip("link set dev in0 mtu 1400");
    let big = Packet::udp(S1, seen.source()).payload(&[7; 1450]).dont_fragment();
    field.outside.send(&big);
    let told = field.outside.hear(|heard| heard.quote().is_some());
    let Some(told) = told else { return fails("no error came") };
    let wanted = Some((IcmpKind::FRAGMENTATION_NEEDED, 1400));
    ensure(kind_and_rest(&told) == wanted, "another error came")?;
    ensure(told.ip.source == OUTSIDE, format!("it came from {}", told.ip.source))?;
    let quote = quote(Some(told))?;
    ensure(quote.destination == seen.source(), format!("the quote says {}", quote.destination))
}

fn router_is_a_hop(translator: Translator) -> Seen {
    let field = Field::plain(translator)?;
    let seen = moved(&field)?;
    field.a.send(&Packet::udp((A, 4000), S1).payload(b"probe").ttl(1));
    let inside = quote(field.a.hear(|heard| heard.quote().is_some()))?;
    ensure(inside.source == (A, 4000).endpoint(), format!("inside was told of {}", inside.source))?;
    field.outside.send(&Packet::udp(S1, seen.source()).payload(b"probe").ttl(1));
    let told = field.outside.hear(|heard| heard.quote().is_some());
    let from = told.as_ref().map(|told| told.ip.source);
    let outer = quote(told)?;
    ensure(from == Some(OUTSIDE), format!("outside was told by {from:?}"))?;
    let expected = seen.source();
    ensure(outer.destination == expected, format!("outside was told of {}", outer.destination))
}
