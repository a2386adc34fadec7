//! Fragments of IPv6 that come before their first: the kernel puts them in order, where those of IPv4
//! are (see [`crate::sort`]).
//!
//! A datagram of IPv6 that the kernel has joined and cuts again gets another identification, and one
//! that then fits into what was its longest fragment is not cut at all. So what goes to the sorter
//! bears the identification it had, half of it beside the packet (`skb->tc_index`) and half in its
//! flow label: by this its note is found when it comes back.

use vnet_common::{
    account::Reason,
    flow::Direction,
    fragment::SORTER_TTL,
    nat66::{Datagram6, FragmentKey6},
};

use crate::{
    account,
    fragment6::{ID, announced, key},
    kernel::{
        clock,
        desk::{Desk, desk},
        fragments6,
        frame::{ETHERNET, Frame, Skb, ethertype},
        maps,
    },
    packet::Bytes as _,
    packet6::{Packet6, bytes},
    rewrite::Patch as _,
    sort::STATIONS,
};

/// Where the lower half of the flow label is.
const LABEL: u32 = 2;
/// Where the next header's number is, and the hop limit behind it.
const HOPS: u32 = 6;

/// Whether fragments of this packet's datagram went to be sorted, and it has not been there yet.
#[inline(always)]
#[must_use]
pub fn is_due(frame: &Frame, direction: Direction) -> bool {
    let Some(desk) = desk() else { return false };
    let Some(key) = key(frame, &desk.six) else { return false };
    !frame.is_back()
        && announced(frame, &key, direction as u32)
            .is_some_and(|datagram| datagram.reason == Reason::Sorted as u8)
}

/// The end of a fragment that came before its first, or whose datagram is sorted: it is made ready
/// to be sent to the sorter, where there is one.
#[inline(always)]
pub fn detour(frame: &Frame, direction: u32) -> u32 {
    vnet_sort66(frame.skb(), direction)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_sort66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let out = direction == Direction::Out as u32;
    let missing = if out { Reason::Fragment } else { Reason::FragmentIn };
    let (Some(desk), Some(config)) = (desk(), maps::config()) else {
        return Reason::Unmanaged as u32;
    };
    // What has a tag in its bytes would have one there too.
    let fits = desk.six.l3 == 0 || desk.six.l3 == ETHERNET;
    if config.sorter == 0 || frame.is_back() || !fits {
        return missing as u32;
    }
    match enter(&mut frame, desk, direction) {
        Ok(()) => Reason::Sorted as u32,
        Err(reason) => reason as u32,
    }
}

/// Gives the packet a hop limit that lasts, what its note is found by, and the sorter's link header,
/// and notes what it had.
#[inline(always)]
fn enter(frame: &mut Frame, desk: &Desk, direction: u32) -> Result<(), Reason> {
    let l3 = desk.six.l3;
    let key = key(frame, &desk.six).ok_or(Reason::Malformed)?;
    let before = announced(frame, &key, direction).is_some();
    let mut datagram = Datagram6 {
        since: clock::seconds(),
        link: frame.device(),
        direction: direction as u8,
        reason: Reason::Sorted as u8,
        label: frame.half(l3 + LABEL).ok_or(Reason::Rewrite)?.into(),
        arrived: frame.arrived_on(),
        ..Datagram6::default()
    };
    datagram.hops = hops(frame, l3, SORTER_TTL)?;
    let id = u32::from_be(key.id);
    frame.set_half(l3 + LABEL, (id as u16).to_be())?;
    if l3 == 0 {
        if !frame.add_header() {
            return Err(Reason::Rewrite);
        }
        frame.set_half(12, ethertype::IPV6.to_be())?;
    } else {
        datagram.stations = frame.words(0).ok_or(Reason::Rewrite)?;
    }
    frame.set_words(0, &STATIONS)?;
    frame.set_mark((id >> 16) as u16);
    if before {
        return Ok(());
    }
    if direction == Direction::In as u32 {
        fragments6::note_stray(&key, &datagram);
        Ok(())
    } else if fragments6::note(&key, &datagram) {
        Ok(())
    } else {
        Err(Reason::Fragment)
    }
}

/// Gives the IPv6 header at `l3` another hop limit, and returns what it was.
#[inline(always)]
fn hops(frame: &mut Frame, l3: u32, hops: u8) -> Result<u8, Reason> {
    let [next, was] = frame.half(l3 + HOPS).ok_or(Reason::Rewrite)?.to_ne_bytes();
    frame.set_half(l3 + HOPS, u16::from_ne_bytes([next, hops]))?;
    Ok(was)
}

/// What comes from the sorter goes back where it was met: the verdict that does it.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_come_back66(skb: Skb) -> i32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return account::NEXT };
    match leave(&mut frame, &desk.six) {
        Ok(verdict) => verdict,
        Err(reason) => account::tally(&frame, desk.six.payload, reason as u32),
    }
}

/// Gives the packet back what it had before it was sent to the sorter.
#[inline(always)]
fn leave(frame: &mut Frame, six: &Packet6) -> Result<i32, Reason> {
    let low = u16::from_be(frame.half(six.l3 + LABEL).ok_or(Reason::Rewrite)?);
    let id = (u32::from(frame.mark()) << 16 | u32::from(low)).to_be();
    let key = FragmentKey6 { saddr: bytes(&six.saddr), daddr: bytes(&six.daddr), id };
    let datagram = fragments6::find(&key).ok_or(Reason::Fragment)?;
    let (device, arrived) = (datagram.link, datagram.arrived);
    let link = maps::link(device).ok_or(Reason::Unmanaged)?;
    let inward = datagram.direction == Direction::In as u8;
    frame.set_half(six.l3 + LABEL, datagram.label as u16)?;
    hops(frame, six.l3, datagram.hops)?;
    if six.fragment != 0 {
        frame.set_words(six.fragment + ID, &[id])?;
    }
    if link.header != 0 {
        frame.set_words(0, &datagram.stations)?;
    }
    let direction = if inward { Direction::In } else { Direction::Out };
    Ok(frame.come_back(device, direction, arrived))
}
