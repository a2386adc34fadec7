//! ICMPv6 errors: the packet they quote is translated too (RFC 4443 section 3, RFC 5508 section 4).
//!
//! An IPv6 header has no checksum, and the error's own covers all that it quotes: it follows the
//! quoted address, the quoted port, and the quoted transport checksum where the quote holds it.

use vnet_common::{account::Reason, flow::proto};

use crate::{
    checksum::Change,
    kernel::{frame::Frame, sum},
    packet::{Bytes as _, Kind, Packet, Part, first, second},
    packet6::{self, DESTINATION, ICMP_HEADER, IPV6_HEADER, Packet6, SOURCE, Words},
    quote::End,
    rewrite::{Field, Patch as _, pseudo_header},
    six,
};

/// Ports of the packet that an error quotes, which is read into `quoted`; `None` when it is nothing
/// that could have been translated. Of ICMP, only a query went out, and only a reply came in.
#[inline(always)]
pub fn read(
    frame: &mut Frame,
    quoted: &mut Packet6,
    error: &Packet,
    end: End,
) -> Option<(u16, u16)> {
    let l3 = error.l4 + ICMP_HEADER;
    let [start, next] = frame.words(l3)?;
    let (saddr, daddr) = packet6::addresses(frame, l3)?;
    if u32::from_be(start) >> 28 != 6 || l3 + IPV6_HEADER > error.end {
        return None;
    }
    *quoted = Packet6 {
        saddr,
        daddr,
        l3,
        l4: l3 + IPV6_HEADER,
        end: error.end,
        proto: (u32::from_be(next) >> 8) as u8,
        ..Packet6::UNKNOWN
    };
    six::walk(frame, quoted);
    if packet6::extended(quoted) || quoted.later_fragment != 0 || quoted.l4 + 8 > error.end {
        return None;
    }
    let words: [u32; 2] = frame.words(quoted.l4)?;
    match quoted.proto {
        proto::TCP | proto::UDP => Some((first(words[0]), second(words[0]))),
        packet6::ICMP => {
            let query = match end {
                End::Source => Kind::Query,
                End::Destination => Kind::Reply,
            };
            let id = first(words[1]);
            let kind = packet6::conversation((u32::from_be(words[0]) >> 24) as u8);
            (kind == query).then_some((id, id))
        }
        proto::ICMP => None,
        _ => Some((0, 0)),
    }
}

/// Whether the checksum of an ICMPv6 error, pseudo-header included (RFC 4443 section 2.3), is right:
/// what is damaged must not come out as if it were not (RFC 5508 REQ-3). Of an error in fragments it
/// cannot be told: the checksum is that of the whole.
#[inline(always)]
#[must_use]
pub fn sound(frame: &mut Frame, error: &Packet, six: &Packet6) -> bool {
    let (from, to) = (six.saddr, six.daddr);
    let length = (error.end - error.l4).to_be();
    let words = [from[0], from[1], from[2], from[3], to[0], to[1], to[2], to[3], length];
    let mut pseudo = u64::from(u32::from(packet6::ICMP).to_be());
    for word in words {
        pseudo += u64::from(word);
    }
    // Two folds: the first may carry.
    pseudo = (pseudo & 0xffff_ffff) + (pseudo >> 32);
    pseudo = (pseudo & 0xffff_ffff) + (pseudo >> 32);
    error.part != Part::Whole || sum::adds_up_with(frame, pseudo as u32, error.l4, error.end)
}

/// Gives the quoted packet's `end` another address and port, and the error the checksum for it.
#[inline(always)]
pub fn rewrite(
    frame: &mut Frame,
    error: &Packet,
    quoted: &Packet6,
    end: End,
    addr: &Words,
    (old_port, port): (u16, u16),
) -> Result<(), Reason> {
    let (old, at, port_at) = match end {
        End::Source => (&quoted.saddr, SOURCE, quoted.l4),
        End::Destination => (&quoted.daddr, DESTINATION, quoted.l4 + 2),
    };
    frame.set_words(quoted.l3 + at, addr)?;
    let mut change = difference(old, addr);
    let sum_at = match quoted.proto {
        proto::TCP => quoted.l4 + 16,
        packet6::ICMP => quoted.l4 + 2,
        _ => quoted.l4 + 6,
    };
    let ports = matches!(quoted.proto, proto::TCP | proto::UDP | packet6::ICMP);
    if ports && old_port != port {
        let port_at = if quoted.proto == packet6::ICMP { quoted.l4 + 4 } else { port_at };
        frame.set_half(port_at, port.to_be())?;
        change = change.half(old_port.to_be(), port.to_be());
    }
    let covered = ports || pseudo_header(quoted.proto);
    let held = covered && sum_at + 2 <= quoted.end;
    if let Some(sum) = frame.half(sum_at).filter(|sum| held && *sum != 0) {
        let new = match change.apply(sum) {
            0 if quoted.proto == proto::UDP => 0xffff,
            new => new,
        };
        frame.set_half(sum_at, new)?;
        change = change.half(sum, new);
    }
    frame.checksum(error.l4 + 2, change, Field::Plain, false)
}

/// What another address in its place does to a sum.
#[inline(always)]
#[must_use]
pub fn difference(old: &Words, new: &Words) -> Change {
    Change::NONE.word(old[0], new[0]).word(old[1], new[1]).word(old[2], new[2]).word(old[3], new[3])
}
