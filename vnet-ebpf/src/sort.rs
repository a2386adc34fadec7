//! Fragments that come before their first: the kernel puts them in order.
//!
//! They are sent to a network namespace that does nothing but join fragments, forward the whole and
//! cut it as it was. What comes back crosses the device where it was met once more, first fragment
//! first. Once a fragment was sent there, all others of its datagram are.

use vnet_common::{
    account::Reason,
    flow::Direction,
    fragment::{Datagram, SORTER_MAC, SORTER_TTL},
};

use crate::{
    account,
    fragment::{announced, key},
    kernel::{
        clock,
        desk::desk,
        fragments,
        frame::{ETHERNET, Frame, Skb, ethertype},
        maps,
    },
    packet::{Bytes as _, Packet},
    rewrite::{self, Patch as _},
};

/// Destination and source of what goes to the sorter, as they lie in memory.
pub(crate) const STATIONS: [u32; 3] = {
    let [a, b, c, d, e, f] = SORTER_MAC;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, a, b]),
        u32::from_ne_bytes([c, d, e, f]),
    ]
};

/// Whether fragments of this packet's datagram went to be sorted, and it has not been there yet.
#[inline(always)]
#[must_use]
pub fn is_due(frame: &Frame, direction: Direction) -> bool {
    let Some(desk) = desk() else { return false };
    !frame.is_back()
        && announced(frame, &desk.packet, direction as u32)
            .is_some_and(|datagram| datagram.reason == Reason::Sorted as u8)
}

/// The end of a fragment that came before its first, or whose datagram is sorted: it is made ready
/// to be sent to the sorter, where there is one.
#[inline(always)]
pub fn detour(frame: &Frame, direction: u32) -> u32 {
    vnet_sort(frame.skb(), direction)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_sort(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let out = direction == Direction::Out as u32;
    let missing = if out { Reason::Fragment } else { Reason::FragmentIn };
    let (Some(desk), Some(config)) = (desk(), maps::config()) else {
        return Reason::Unmanaged as u32;
    };
    let packet = &desk.packet;
    // What has a tag in its bytes would have one there too.
    let fits = packet.l3 == 0 || packet.l3 == ETHERNET;
    if config.sorter == 0 || frame.is_back() || !fits {
        return missing as u32;
    }
    match enter(&mut frame, packet, direction) {
        Ok(()) => Reason::Sorted as u32,
        Err(reason) => reason as u32,
    }
}

/// Gives the packet a TTL that lasts and the sorter's link header, and notes what it had.
#[inline(always)]
fn enter(frame: &mut Frame, packet: &Packet, direction: u32) -> Result<(), Reason> {
    let before = announced(frame, packet, direction).is_some();
    let arrived = frame.arrived_on();
    let ttl = rewrite::ttl(frame, packet.l3, SORTER_TTL)?;
    let stations = if packet.l3 == 0 {
        if !frame.add_header() {
            return Err(Reason::Rewrite);
        }
        frame.set_half(12, ethertype::IPV4.to_be())?;
        [0; 3]
    } else {
        frame.words(0).ok_or(Reason::Rewrite)?
    };
    frame.set_words(0, &STATIONS)?;
    if before {
        return Ok(());
    }
    let datagram = Datagram {
        since: clock::seconds(),
        link: frame.device(),
        direction: direction as u8,
        reason: Reason::Sorted as u8,
        ttl,
        arrived,
        stations,
        ..Datagram::default()
    };
    let key = key(packet);
    if direction == Direction::In as u32 {
        fragments::note_stray(&key, &datagram);
        Ok(())
    } else if fragments::note(&key, &datagram) {
        Ok(())
    } else {
        Err(Reason::Fragment)
    }
}

/// Sends the packet to the sorter: the verdict that does.
#[inline(always)]
pub fn redirect(frame: &Frame) -> i32 {
    maps::config().map_or(account::NEXT, |config| frame.redirect(config.sorter))
}

/// What comes from the sorter goes back where it was met: the verdict that does it.
#[inline(always)]
pub fn come_back(frame: &Frame) -> i32 {
    vnet_come_back(frame.skb())
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_come_back(skb: Skb) -> i32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return account::NEXT };
    let packet = &desk.packet;
    match leave(&mut frame, packet) {
        Ok(verdict) => verdict,
        Err(reason) => account::tally(&frame, packet.payload, reason as u32),
    }
}

/// Gives the packet back what it had before it was sent to the sorter.
#[inline(always)]
fn leave(frame: &mut Frame, packet: &Packet) -> Result<i32, Reason> {
    let datagram = fragments::find(&key(packet)).ok_or(Reason::Fragment)?;
    let (device, arrived) = (datagram.link, datagram.arrived);
    let link = maps::link(device).ok_or(Reason::Unmanaged)?;
    let inward = datagram.direction == Direction::In as u8;
    rewrite::ttl(frame, packet.l3, datagram.ttl)?;
    if link.header != 0 {
        frame.set_words(0, &datagram.stations)?;
    }
    let direction = if inward { Direction::In } else { Direction::Out };
    Ok(frame.come_back(device, direction, arrived))
}
