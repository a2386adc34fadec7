//! Hosts inside that talk to each other by their outside addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::conformance::Level::Must;
use crate::conformance::field::{A, B, B_BRIDGED, Field, S1, carry};
use crate::conformance::tcp::{Connection, DATA, SYN_ACK};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::lab::OUTSIDE;
use crate::packet::{Endpoint as _, IcmpKind, Packet, TcpFlags, faults};

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 4787 REQ-9"),
        "rfc4787_req9_hairpin_other_device",
        "UDP: two hosts behind different devices reach each other by their outside addresses.",
        |translator| udp_pair(&apart(translator)?).map(|_| ()),
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-9"),
        "rfc4787_req9_hairpin_same_device",
        "UDP: the same for two hosts in one network.",
        |translator| udp_pair(&together(translator)?).map(|_| ()),
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-9a"),
        "rfc4787_req9_hairpin_external_source",
        "What arrives so comes from the sender's outside address and port, and its checksums are \
         right.",
        external_source,
    ),
    Requirement::new(
        (Must, "RFC 5382 REQ-8"),
        "rfc5382_req8_hairpin",
        "TCP: two hosts that know each other's outside address and port open a connection, on one \
         device and across two.",
        tcp_pair,
    ),
    Requirement::new(
        (Must, "RFC 5508 REQ-7, REQ-7a"),
        "rfc5508_req7_hairpinned_errors",
        "An ICMP error about such a packet reaches its sender, from the outside address, and quotes \
         what the sender sent.",
        errors,
    ),
    Requirement::new(
        (Must, "RFC 4787 REQ-9"),
        "rfc4787_req9_hairpin_whoever_is_inside",
        "Hosts reach each other so also when the inside is told by a prefix, not by its devices.",
        |translator| udp_pair(&Pair { field: Field::plain(translator)?, b: B }).map(|_| ()),
    ),
];

/// Two hosts and where they are.
struct Pair {
    field: Field,
    b: Ipv4Addr,
}

fn apart(translator: Translator) -> Result<Pair, Miss> {
    let wish = Wish::plain().words(&["--inside", "in0", "--inside", "in1"]);
    Ok(Pair { field: Field::of(translator, &wish)?, b: B })
}

fn together(translator: Translator) -> Result<Pair, Miss> {
    let wish = Wish::plain().words(&["--inside", "br0"]);
    Ok(Pair { field: Field::bridged(translator, &wish)?, b: B_BRIDGED })
}

/// Has both hosts speak to each other's mapping, so that no filter is in the way; then host a is
/// heard by host b. Host b's mapping has another port than host b.
fn udp_pair(Pair { field, b }: &Pair) -> Result<(SocketAddrV4, Packet), Miss> {
    let (a_out, b_out) = (field.udp((A, 4000), S1)?, field.udp((*b, 4000), S1)?);
    field.a.send(&Packet::udp((A, 4000), b_out).payload(b"too early"));
    field.b.send(&Packet::udp((*b, 4000), a_out).payload(b"open"));
    let sent = Packet::udp((A, 4000), b_out).payload(b"an odd question");
    match carry(&field.a, &field.b, &sent) {
        Some(heard) if heard.destination() == (*b, 4000).endpoint() => Ok((a_out, heard)),
        Some(_) => fails("it arrived at another port"),
        None => fails("a packet to a mapping of the other host did not arrive"),
    }
}

fn external_source(translator: Translator) -> Seen {
    for pair in [apart(translator)?, together(translator)?] {
        let (a_out, heard) = udp_pair(&pair)?;
        ensure(heard.source() == a_out, format!("it came from {}", heard.source()))?;
        let faults = faults(&heard.bytes());
        ensure(faults.is_empty(), faults.join(", "))?;
    }
    Ok(())
}

fn tcp_pair(translator: Translator) -> Seen {
    for Pair { field, b } in [apart(translator)?, together(translator)?] {
        let a_out = Connection::open(&field, (A, 4000), S1)?.mapped;
        let b_out = Connection::open(&field, (b, 4000), S1)?.mapped;
        // Host b opens its filter by a SYN of its own that meets host a's (simultaneous open).
        field.b.send(&Packet::tcp((b, 4000), a_out, TcpFlags::SYN).numbers(500, 0));
        let syn = Packet::tcp((A, 4000), b_out, TcpFlags::SYN).numbers(100, 0);
        let Some(heard) = carry(&field.a, &field.b, &syn) else {
            return fails("a SYN to a mapping of the other host did not arrive");
        };
        ensure(heard.source() == a_out, format!("it came from {}", heard.source()))?;
        let answer = Packet::tcp((b, 4000), a_out, SYN_ACK).numbers(500, 101);
        let heard = carry(&field.b, &field.a, &answer);
        let right = heard.is_some_and(|heard| heard.source() == b_out);
        ensure(right, "the answer to a SYN did not arrive")?;
        let data = Packet::tcp((A, 4000), b_out, DATA).numbers(101, 501).payload(b"data");
        ensure(carry(&field.a, &field.b, &data).is_some(), "data did not arrive")?;
    }
    Ok(())
}

fn errors(translator: Translator) -> Seen {
    for pair in [apart(translator)?, together(translator)?] {
        let (_, heard) = udp_pair(&pair)?;
        let Pair { field, b } = &pair;
        let error = heard.error(*b, IcmpKind::PORT_UNREACHABLE, 100);
        let Some(told) = carry(&field.b, &field.a, &error) else {
            return fails("the error did not arrive");
        };
        ensure(told.ip.source == OUTSIDE, format!("it came from {}", told.ip.source))?;
        let faults = faults(&told.bytes());
        ensure(faults.is_empty(), faults.join(", "))?;
        let quoted = told.quote().map(|quote| quote.source);
        ensure(quoted == Some((A, 4000).endpoint()), "the quote is not what the host sent")?;
    }
    Ok(())
}
