//! The steady path: a packet of a known flow is found by one lookup, counted and translated. What
//! it does not know, it declines.

use vnet_common::{
    account::Reason,
    flow::Direction,
    policy::{Link, role},
};

use crate::{
    account::{self, AGAIN, SIX},
    address, flow, forward, hairpin, inbound,
    kernel::{
        clock,
        desk::desk,
        flows::Entry,
        frame::{ETHERNET, Frame, Skb, ethertype},
        maps,
    },
    learn, learn_path,
    packet::{self, Bytes as _, Kind, Packet, Part},
};

/// Bytes of an Ethernet header with a VLAN tag in it.
const TAGGED: u32 = 18;

/// Takes the packet to its end, and returns that: a verdict, or [`AGAIN`] when somebody has to
/// decide, or [`SIX`] when somebody has to who knows IPv6. `last`: nobody will, because somebody just has. Not inlined: deciding needs the stack.
#[inline(never)]
pub fn pass(frame: &mut Frame, direction: Direction, last: bool) -> i32 {
    let mut packet = Packet::UNKNOWN;
    let reason = match known(frame, direction, last, &mut packet) {
        Some(Reason::Ipv6) if maps::ipv6() => return SIX,
        Some(reason) => reason,
        None if last => Reason::MappingRace,
        None => return AGAIN,
    };
    account::log(frame, direction, &packet, reason as u32);
    let verdict = account::tally(frame, packet.payload, reason as u32);
    let routed = matches!(reason, Reason::Inside | Reason::Ipv6) && direction == Direction::Out;
    if routed { learn_path::or_verdict(reason as u32, verdict) } else { verdict }
}

#[inline(always)]
fn known(
    frame: &mut Frame,
    direction: Direction,
    last: bool,
    packet: &mut Packet,
) -> Option<Reason> {
    let link = match managed(frame) {
        Ok(link) => link,
        // It may tell the uplink's address.
        Err(_) if direction == Direction::Out && frame.ethertype() == ethertype::ARP => {
            return None;
        }
        Err(reason) => return Some(reason),
    };
    if link.roles & role::SORTER != 0 {
        return None;
    }
    if link.roles & role::UPLINK == 0 {
        return inside(frame, direction, packet, link);
    }
    packet::parse(frame, packet, network_header(frame, link), frame.length()).ok()?;
    if packet.part != Part::Whole && !last {
        return None;
    }
    let entry = flow::known(packet, direction, frame.device())?;
    let outdated =
        direction == Direction::Out && !last && !address::is_current(&entry, false, clock::tick());
    if outdated || forward::stale(&entry) {
        return None;
    }
    if direction == Direction::In {
        learn::ask(frame, packet, &entry, link);
    }
    let passed = flow::forward(frame, packet, entry, direction);
    if direction == Direction::Out && passed.is_ok() {
        learn::outward(frame, packet, &entry, link);
    }
    match passed {
        Ok(()) if direction == Direction::Out => Some(if last { opened() } else { Reason::NatOut }),
        Ok(()) => Some(Reason::NatIn),
        Err(reason) => Some(reason),
    }
}

/// On a device towards the inside, only what goes from one inside host to the outside address of
/// another is touched.
#[inline(always)]
fn inside(
    frame: &mut Frame,
    direction: Direction,
    packet: &mut Packet,
    link: &Link,
) -> Option<Reason> {
    // By the parent of a macvlan comes what is for its children, too.
    if direction == Direction::In && !frame.is_for_this_host() {
        return Some(Reason::Inside);
    }
    if direction == Direction::Out && frame.asks() {
        return None;
    }
    let marked = hairpin::marked(frame);
    if direction == Direction::Out && marked.is_none() && frame.arrived_on() != 0 {
        return Some(Reason::Inside);
    }
    let parsed = packet::parse(frame, packet, network_header(frame, link), frame.length());
    if parsed.is_err() || packet.part != Part::Whole {
        return Some(Reason::Inside);
    }
    match (direction, marked) {
        (Direction::Out, Some(outside)) => {
            Some(hairpin::leave(frame, packet, outside).unwrap_or_else(|reason| reason))
        }
        (Direction::Out, None) if packet.kind == Kind::Error => None,
        (Direction::Out, None) => Some(Reason::Inside),
        (Direction::In, _) => match Entry::find(&packet.key) {
            Some(entry) if entry.hairpin() && forward::stale(&entry) => None,
            // A first fragment may have the tuple of one; its port cannot be translated alone.
            Some(entry) if entry.hairpin() && flow::carries(packet.kind, Direction::Out) => {
                Some(hairpin::enter(frame, packet, &entry).unwrap_or_else(|reason| reason))
            }
            Some(_) => Some(Reason::Inside),
            None if inbound::outside(packet.key.daddr).is_some() => None,
            None => Some(Reason::Inside),
        },
    }
}

/// The device this packet crosses, if it is one that NAT looks at.
#[inline(always)]
pub fn managed(frame: &Frame) -> Result<&'static Link, Reason> {
    if frame.tagged() {
        return Err(Reason::Vlan);
    }
    match frame.ethertype() {
        ethertype::IPV4 => (),
        ethertype::IPV6 => return Err(Reason::Ipv6),
        ethertype::VLAN | ethertype::SERVICE_VLAN => return own_tag(frame),
        _ => return Err(Reason::NotIp),
    }
    maps::link(frame.device()).ok_or(Reason::Unmanaged)
}

/// The device, if it is a VLAN device that keeps its own tag in the frame's bytes (`reorder_hdr off`)
/// and an IPv4 packet follows; else what the frame is. Not inlined: it is rare.
#[inline(never)]
fn own_tag(frame: &Frame) -> Result<&'static Link, Reason> {
    let link = maps::link(frame.device()).filter(|link| link.header == TAGGED);
    let link = link.ok_or(Reason::Vlan)?;
    match u16::from_be(frame.half(TAGGED - 2).ok_or(Reason::Vlan)?) {
        ethertype::IPV4 => Ok(link),
        ethertype::IPV6 => Err(Reason::Ipv6),
        ethertype::VLAN | ethertype::SERVICE_VLAN => Err(Reason::Vlan),
        _ => Err(Reason::NotIp),
    }
}

/// Offset of the IP header of packets on this device.
#[inline(always)]
#[must_use]
pub fn network_header(frame: &Frame, link: &Link) -> u32 {
    // Not one of three numbers, which the verifier would follow one by one.
    let header = link.header;
    if header == TAGGED { vnet_after_tag(frame.skb()) } else { header }
}

/// The same on a VLAN device, where frames may have its tag in their bytes or not.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_after_tag(skb: Skb) -> u32 {
    match Frame::new(skb).half(ETHERNET - 2).map(u16::from_be) {
        Some(ethertype::VLAN | ethertype::SERVICE_VLAN) => TAGGED,
        _ => ETHERNET,
    }
}

/// The end of a packet about which somebody has just decided. Its flow may have been ended, and
/// opened again from another outside address.
#[inline(always)]
fn opened() -> Reason {
    if desk().is_some_and(|desk| desk.moved != 0) { Reason::Moved } else { Reason::NatOut }
}
