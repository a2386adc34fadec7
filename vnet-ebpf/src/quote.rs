//! ICMP errors: the packet they quote is translated too (RFC 5508 section 4, RFC 792).
//!
//! Inside the error's payload, the quoted IP header's own checksum makes up for its new address, so
//! the ICMP checksum only has to follow the quoted port and, where the quote is long enough to hold
//! it, the quoted transport checksum.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{FlowKey, proto},
};

use crate::{
    checksum::Change,
    kernel::{frame::Frame, sum},
    packet::{Bytes, Ipv4Header, Kind, Packet, Part, quoted_ports},
    rewrite::{Field, Patch, addresses, pseudo_header},
};

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Its 5-tuple.
    pub key: FlowKey,
    /// Offset of its IP header.
    pub l3: u32,
    /// Offset of its transport header.
    pub l4: u32,
    /// Offset of the error's end: no more of it is quoted.
    pub end: u32,
}

/// Reads what the error quotes; `None` when it is not something that could have been translated.
/// `end` is the one that may have been: of ICMP, only a query went out, and only a reply came in.
#[inline(always)]
pub fn read(bytes: &impl Bytes, error: &Packet, end: End) -> Option<Quote> {
    let l3 = error.l4 + 8;
    let ip = Ipv4Header::read(bytes, l3)?;
    let l4 = l3 + ip.length;
    if ip.offset != 0 || l4 + 8 > error.end {
        return None;
    }
    let query = match end {
        End::Source => Kind::Query,
        End::Destination => Kind::Reply,
    };
    let (sport, dport) = quoted_ports(bytes, ip.proto, l4, query)?;
    let key = FlowKey {
        saddr: ip.saddr,
        daddr: ip.daddr,
        sport,
        dport,
        proto: ip.proto,
        reserved: [0; 3],
    };
    Some(Quote { key, l3, l4, end: error.end })
}

/// Whether the checksums of an ICMP error and of the IP header it quotes are right (RFC 5508 REQ-3):
/// what is damaged must not come out as if it were not. Of an error in fragments, only the header it
/// quotes can be looked at: the checksum is that of the whole.
#[inline(always)]
#[must_use]
pub fn sound(frame: &mut Frame, error: &Packet, quote: &Quote) -> bool {
    let whole = error.part == Part::Whole;
    (!whole || sum::adds_up(frame, error.l4, error.end)) && sum::adds_up(frame, quote.l3, quote.l4)
}

/// Which end of the quoted packet changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its source: the error came from outside about a packet that went out.
    Source,
    /// Its destination: the error goes out about a packet that came in.
    Destination,
}

/// Rewrites the quoted packet's `end` to `addr` and `port`, and the error's own checksum.
#[inline(always)]
pub fn rewrite(
    frame: &mut impl Patch,
    error: &Packet,
    quote: &Quote,
    end: End,
    addr: Ipv4,
    port: u16,
) -> Result<(), Reason> {
    let (saddr, daddr, old_port, at) = match end {
        End::Source => (addr, quote.key.daddr, quote.key.sport, 0),
        End::Destination => (quote.key.saddr, addr, quote.key.dport, 2),
    };
    let address_change = addresses(frame, quote.l3, saddr, daddr)?;
    let transport = quote.key.proto;
    if !matches!(transport, proto::TCP | proto::UDP | proto::ICMP) {
        let sum = pseudo_header(transport);
        let change = if sum { inner_checksum(frame, quote, address_change)? } else { Change::NONE };
        return frame.checksum(error.l4 + 2, change, Field::Plain, false);
    }
    let query = transport == proto::ICMP;
    let port_at = if query { quote.l4 + 4 } else { quote.l4 + at };
    frame.set_half(port_at, port.to_be())?;
    let port_change = Change::NONE.half(old_port.to_be(), port.to_be());
    let covered = if query { port_change } else { port_change.and(address_change) };
    let sum_change = inner_checksum(frame, quote, covered)?;
    frame.checksum(error.l4 + 2, port_change.and(sum_change), Field::Plain, false)
}

/// Follows up the quoted transport checksum if the quote holds it and the packet had one.
#[inline(always)]
fn inner_checksum(frame: &mut impl Patch, quote: &Quote, change: Change) -> Result<Change, Reason> {
    let offset = match quote.key.proto {
        proto::TCP => quote.l4 + 16,
        proto::ICMP => quote.l4 + 2,
        _ => quote.l4 + 6,
    };
    if offset + 2 > quote.end {
        return Ok(Change::NONE);
    }
    let Some(old) = frame.half(offset) else { return Ok(Change::NONE) };
    if quote.key.proto == proto::UDP && old == 0 {
        return Ok(Change::NONE);
    }
    let mut new = change.apply(old);
    if quote.key.proto == proto::UDP && new == 0 {
        new = 0xffff;
    }
    frame.set_half(offset, new)?;
    Ok(Change::NONE.half(old, new))
}
