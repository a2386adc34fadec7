//! IPv6 by prefix (NPTv6, RFC 6296): each packet by itself, in both directions, without state.
//!
//! Nothing but addresses is changed, also in the packet that an ICMPv6 error quotes: what makes up
//! for the prefix is in the address, so every checksum that covers it stays right. What neighbours
//! say to each other, link-local and multicast addresses, and this host's own are left alone.

use vnet_common::{
    account::Reason,
    prefix6::{Prefix6, side},
};

use crate::{
    kernel::{
        desk::desk,
        frame::{Frame, Skb},
        maps,
    },
    packet::Bytes as _,
    packet6::{self, DESTINATION, ICMP_HEADER, IPV6_HEADER, Kind6, Packet6, SOURCE, Words, stays},
    prefix6,
    rewrite::Patch as _,
};

/// From inside: the source gets the outside prefix.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_npt_out(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    outward(&mut frame, &desk.six).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn outward(frame: &mut Frame, packet: &Packet6) -> Result<Reason, Reason> {
    if stays(&packet.daddr) {
        return Ok(Reason::Ipv6);
    }
    // An error of this host itself quotes what it has just translated, whatever its source is.
    let quoted = quoted(frame, packet, DESTINATION, side::INSIDE)?;
    match entry(&packet.saddr, side::INSIDE) {
        Some(to) => write(frame, packet.l3 + SOURCE, &packet.saddr, to)?,
        None if quoted => {}
        None => return Ok(Reason::Ipv6),
    }
    Ok(Reason::NptOut)
}

/// From outside: the destination gets the inside prefix.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_npt_in(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    into(&mut frame, &desk.six).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn into(frame: &mut Frame, packet: &Packet6) -> Result<Reason, Reason> {
    let Some(to) = entry(&packet.daddr, side::OUTSIDE) else { return Ok(Reason::Ipv6) };
    quoted(frame, packet, SOURCE, side::OUTSIDE)?;
    write(frame, packet.l3 + DESTINATION, &packet.daddr, to)?;
    frame.tell_translated();
    Ok(Reason::NptIn)
}

/// From inside to an outside prefix (RFC 6296 section 2.4): both at once, where it comes in, because
/// it will not cross the uplink.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_npt_hairpin(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    hairpin(&mut frame, &desk.six).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn hairpin(frame: &mut Frame, packet: &Packet6) -> Result<Reason, Reason> {
    let there = entry(&packet.daddr, side::OUTSIDE);
    let here = entry(&packet.saddr, side::INSIDE);
    let (Some(there), Some(here)) = (there, here) else { return Ok(Reason::Ipv6) };
    if packet.kind == Kind6::Error {
        exchange(frame, packet)?;
    }
    write(frame, packet.l3 + DESTINATION, &packet.daddr, there)?;
    write(frame, packet.l3 + SOURCE, &packet.saddr, here)?;
    frame.tell_translated();
    Ok(Reason::NptHairpin)
}

/// What the receiver of the error had sent: to the outside address of the other.
#[inline(always)]
fn exchange(frame: &mut Frame, packet: &Packet6) -> Result<(), Reason> {
    let l3 = packet.l4 + ICMP_HEADER;
    let Some((saddr, daddr)) = packet6::addresses(frame, l3) else { return Ok(()) };
    if l3 + IPV6_HEADER > packet.end {
        return Ok(());
    }
    if let Some(to) = entry(&saddr, side::OUTSIDE) {
        write(frame, l3 + SOURCE, &saddr, to)?;
    }
    if let Some(to) = entry(&daddr, side::INSIDE) {
        write(frame, l3 + DESTINATION, &daddr, to)?;
    }
    Ok(())
}

/// Translates one address of the packet that an error quotes, if there is one; whether it did.
#[inline(always)]
fn quoted(frame: &mut Frame, packet: &Packet6, at: u32, from: u32) -> Result<bool, Reason> {
    let l3 = packet.l4 + ICMP_HEADER;
    if packet.kind != Kind6::Error || l3 + IPV6_HEADER > packet.end {
        return Ok(false);
    }
    let addr: Words = frame.words(l3 + at).ok_or(Reason::Malformed)?;
    let Some(to) = entry(&addr, from) else { return Ok(false) };
    write(frame, l3 + at, &addr, to)?;
    Ok(true)
}

/// What becomes of an address of this side.
#[inline(always)]
fn entry(addr: &Words, from: u32) -> Option<&'static Prefix6> {
    maps::prefix6(addr).filter(|to| to.side == from)
}

#[inline(always)]
fn write(frame: &mut Frame, at: u32, addr: &Words, to: &Prefix6) -> Result<(), Reason> {
    let new = prefix6::translate(addr, to).ok_or(Reason::NptAddress)?;
    frame.set_words(at, &new)
}
