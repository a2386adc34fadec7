//! What the probes about ICMP errors share: flows to quote, and reading quotes.

use std::net::Ipv4Addr;

use crate::conformance::field::{A, B, Field, S1};
use crate::conformance::{Miss, ensure, fails};
use crate::packet::{Body, Icmp, IcmpBody, IcmpKind, Packet, Quote, faults};

/// A router somewhere outside.
pub(super) const HOP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

/// The kinds that concern a NAT, and rests that must survive: an MTU, a pointer.
pub(super) const KINDS: [(IcmpKind, u32); 5] = [
    (IcmpKind::HOST_UNREACHABLE, 0),
    (IcmpKind::FRAGMENTATION_NEEDED, 1280),
    (IcmpKind::PROHIBITED, 0),
    (IcmpKind::TIME_EXCEEDED, 0),
    (IcmpKind::PARAMETER_PROBLEM, 0x1400_0000),
];

/// A UDP flow of host a whose outside port is not its own: host b has that. Quotes then need
/// their ports translated.
pub(super) fn moved(field: &Field) -> Result<Packet, Miss> {
    field.udp((B, 4000), S1)?;
    let sent = Packet::udp((A, 4000), S1).payload(b"a question of some length");
    match field.out(&sent) {
        Some(seen) if seen.source().port() == 4000 => fails("two hosts had the same outside port"),
        Some(seen) => Ok(seen),
        None => fails("a datagram did not leave"),
    }
}

pub(super) fn with_rest(mut error: Packet, new: u32) -> Packet {
    if let Body::Icmp(Icmp { body: IcmpBody::Other { rest, .. }, .. }) = &mut error.body {
        *rest = new;
    }
    error
}

pub(super) fn kind_and_rest(packet: &Packet) -> Option<(IcmpKind, u32)> {
    match &packet.body {
        Body::Icmp(Icmp { kind, body: IcmpBody::Other { rest, .. }, .. }) => Some((*kind, *rest)),
        Body::Icmp(_) | Body::Tcp(_) | Body::Udp(_) | Body::Raw(_) => None,
    }
}

/// What an error quotes as it arrives; every checksum must be right.
pub(super) fn quote(arrived: Option<Packet>) -> Result<Quote, Miss> {
    let Some(arrived) = arrived else { return fails("the error did not arrive") };
    let faults = faults(&arrived.bytes());
    ensure(faults.is_empty(), faults.join(", "))?;
    arrived.quote().map_or_else(|| fails("the quote is broken"), Ok)
}
