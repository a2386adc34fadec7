//! Whether the outside address is still the uplink's, and which one is in its place.
//!
//! Nobody tells the datapath that the uplink has another address, so it asks the kernel: with the
//! first packet outward at each tick of the clock. Where the kernel knows which address the uplink
//! sends from (6.7), that one is taken. Before, one is learnt from what this host itself sends, ARP
//! requests among it: the kernel asks for its new gateway before it forwards anything there.

use vnet_common::{Ipv4, policy::source};

use crate::{
    kernel::{
        clock,
        desk::desk,
        fib::{self, Way},
        flows::Entry,
        frame::{Frame, Skb},
        maps,
        outsides::Place,
    },
    packet::Bytes as _,
    policy::unicast,
};

/// What routing tells about an address of the device that a packet leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Presence {
    /// Nobody can tell.
    Unknown = 0,
    /// It is one of the device's own.
    Here = 1,
    /// It is not.
    Gone = 2,
    /// No route leads to it or to its neighbours: it may be the device's own, without a network.
    Alone = 3,
}

const NONE: Ipv4 = [0; 4];

/// Whether the flow's outside address is that of its number, as far as this tick knows. Nothing else
/// is needed on the steady path. `asked`: the kernel has been asked for this very packet.
#[inline(always)]
#[must_use]
pub fn is_current(entry: &Entry, asked: bool, tick: u32) -> bool {
    Place::find(entry.outside().into()).is_some_and(|place| {
        place.addr() == entry.target().saddr && (asked || place.is_fresh(tick))
    })
}

/// Whether the flow's outside address is that of its number, as far as was known a second ago: XDP
/// cannot ask the kernel.
#[inline(always)]
#[must_use]
pub fn was_current(entry: &Entry, tick: u32) -> bool {
    Place::find(entry.outside().into())
        .is_some_and(|place| place.addr() == entry.target().saddr && place.is_recent(tick))
}

/// Whether the flow can go on from its outside address: it is that of its number, or another that the
/// uplink still has.
#[inline(always)]
#[must_use]
pub fn serves(frame: &Frame, entry: &Entry) -> bool {
    let addr = entry.target().saddr;
    let kept = || maps::source(addr).is_some_and(|found| found.action != source::TRANSLATE);
    maps::outside(entry.outside()) == Some(addr)
        || kept() && presence(frame, addr) != Presence::Gone
}

/// Whether `addr` is one of the addresses of the device that the packet leaves by.
#[inline(always)]
#[must_use]
pub fn presence(frame: &Frame, addr: Ipv4) -> Presence {
    presence_on(frame, frame.device(), addr)
}

/// The same of any device.
#[inline(always)]
fn presence_on(frame: &Frame, device: u32, addr: Ipv4) -> Presence {
    match vnet_presence(frame.skb(), device, u32::from_ne_bytes(addr)) {
        1 => Presence::Here,
        2 => Presence::Gone,
        3 => Presence::Alone,
        _ => Presence::Unknown,
    }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_presence(skb: Skb, device: u32, addr: u32) -> u32 {
    let frame = Frame::new(skb);
    look(&frame, device, addr.to_ne_bytes()) as u32
}

#[inline(always)]
fn look(frame: &Frame, device: u32, addr: Ipv4) -> Presence {
    match fib::way(frame, device, addr) {
        Way::Unknown => return Presence::Unknown,
        Way::Out => return Presence::Gone,
        Way::Not => (),
    }
    // Its own, or there is no route to it. There is one to its neighbours if it has a network, or
    // the device leads everywhere.
    let [a, b, c, d] = addr;
    for neighbour in [d ^ 1, d ^ 2, d ^ 4] {
        if fib::way(frame, device, [a, b, c, neighbour]) == Way::Out {
            return Presence::Here;
        }
    }
    Presence::Alone
}

/// Brings an outside address up to date, once at each tick. The packet that leaves by its uplink, or
/// is about to, is on the desk: its tuple at least.
#[inline(always)]
pub fn refresh(frame: &Frame, number: u32) {
    vnet_refresh(frame.skb(), number);
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_refresh(skb: Skb, number: u32) -> u32 {
    let frame = Frame::new(skb);
    let (Some(place), Some(desk)) = (Place::find(number), desk()) else { return 0 };
    if !place.refresh(clock::tick()) {
        return 0;
    }
    let (from, to) = (desk.packet.key.saddr, desk.packet.key.daddr);
    let (addr, asked, device) = (place.addr(), place.asked(), place.link());
    let wanted = if asked == NONE { addr } else { asked };
    let told = fib::source(&frame, device, to);
    let next = match told {
        Some(told) if told == wanted => wanted,
        _ => match presence_on(&frame, device, wanted) {
            Presence::Here => wanted,
            // As it was: nothing is known that speaks against it.
            Presence::Unknown => addr,
            Presence::Alone if told.is_none() && wanted != NONE => addr,
            Presence::Alone | Presence::Gone if asked != NONE => NONE,
            Presence::Alone | Presence::Gone => another(&frame, device, told, from),
        },
    };
    if next != addr {
        place.set(next);
    }
    0
}

/// The address that the uplink sends from now: the kernel says so, else this host has just done it.
/// A route may ask for the address of another device, and a device without any borrows one; that must
/// not be seen here.
#[inline(always)]
fn another(frame: &Frame, device: u32, told: Option<Ipv4>, from: Ipv4) -> Ipv4 {
    let candidate = match told {
        Some(told) => told,
        None if frame.arrived_on() == 0 => from,
        None => NONE,
    };
    let usable = candidate != NONE && unicast(candidate) && candidate[0] != 127;
    if usable && presence_on(frame, device, candidate) == Presence::Here { candidate } else { NONE }
}

/// Sender and target of an ARP request on Ethernet (RFC 826).
#[inline(always)]
#[must_use]
pub fn asking(frame: &Frame) -> Option<(Ipv4, Ipv4)> {
    const REQUEST: u16 = 1;
    const HEADER: u32 = 14;
    let asks = u16::from_be(frame.half(HEADER + 6)?) == REQUEST;
    let [from] = frame.words::<1>(HEADER + 14)?;
    let [to] = frame.words::<1>(HEADER + 24)?;
    asks.then(|| (from.to_ne_bytes(), to.to_ne_bytes()))
}
