//! IPv6 by prefix (NPTv6, RFC 6296): each packet by itself, in both directions, without state.
//!
//! Nothing but addresses is changed, also in the packet that an ICMPv6 error quotes: what makes up
//! for the prefix is in the address, so every checksum that covers it stays right. What neighbours
//! say to each other, link-local and multicast addresses, and this host's own are left alone.

use vnet_common::{
    account::Reason,
    flow::Direction,
    policy::role,
    prefix6::{Prefix6, side},
};

use crate::{
    account,
    kernel::{
        self,
        desk::desk,
        frame::{Frame, Skb},
        maps,
    },
    known, nat66,
    packet::Bytes as _,
    packet6::{self, EXTENSIONS, IPV6_HEADER, Kind6, Packet6, Words, stays},
    prefix6,
    rewrite::Patch as _,
};

/// Where the source of an IPv6 header is, and where its destination.
pub(crate) const SOURCE: u32 = 8;
pub(crate) const DESTINATION: u32 = 24;
/// Bytes of an ICMPv6 header, before what an error quotes.
pub(crate) const ICMP_HEADER: u32 = 8;
/// Not an end: the packet is on the desk.
const READ: u32 = 0xff;

/// Decides about an IPv6 packet on its way out, and says and counts its end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_six_out(skb: Skb) -> i32 {
    let frame = &Frame::new(skb);
    let code = match vnet_read6(frame.skb()) {
        READ if on_uplink(frame) => match vnet_npt_out(frame.skb()) {
            code if code == Reason::Ipv6 as u32 => nat66::out(frame),
            code => code,
        },
        end if end == Reason::Ipv6 as u32 && nat66::is_from_inside(frame) => {
            Reason::IcmpType as u32
        }
        READ => Reason::Ipv6 as u32,
        end => end,
    };
    finish(frame, Direction::Out, code)
}

/// Decides about an IPv6 packet on its way in, as [`vnet_six_out`] does.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_six_in(skb: Skb) -> i32 {
    let frame = &Frame::new(skb);
    let code = match vnet_read6(frame.skb()) {
        READ if on_uplink(frame) => match vnet_npt_in(frame.skb()) {
            code if code == Reason::Ipv6 as u32 => nat66::inward(frame),
            code => code,
        },
        READ => vnet_npt_hairpin(frame.skb()),
        end if end == Reason::Malformed as u32 => Reason::MalformedIn as u32,
        end => end,
    };
    finish(frame, Direction::In, code)
}

#[inline(always)]
fn on_uplink(frame: &Frame) -> bool {
    maps::link(frame.device()).is_some_and(|link| link.roles & role::UPLINK != 0)
}

#[inline(always)]
fn finish(frame: &Frame, direction: Direction, code: u32) -> i32 {
    account::log6(frame, direction, code);
    let payload = desk().map_or(0, |desk| desk.six.payload);
    account::tally(frame, payload, code)
}

/// Puts the packet on the desk: [`READ`], or its end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_read6(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let (l3, length) = (
        maps::link(frame.device()).map(|link| known::network_header(&frame, link)),
        frame.length(),
    );
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    desk.six = Packet6::UNKNOWN;
    let Some(l3) = l3 else { return Reason::Unmanaged as u32 };
    match read(&mut frame, &mut desk.six, l3, length) {
        Ok(()) if desk.six.kind == Kind6::Link => Reason::Ipv6 as u32,
        Ok(()) => READ,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn read(frame: &mut Frame, packet: &mut Packet6, l3: u32, length: u32) -> Result<(), Reason> {
    packet6::begin(frame, packet, l3, length)?;
    if packet6::extended(packet) {
        let mut walk = Walk { frame, packet };
        kernel::repeat(EXTENSIONS, step, &mut walk);
    }
    packet6::finish(frame, packet)
}

/// A packet whose extension headers are walked.
pub(crate) struct Walk<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) packet: &'a mut Packet6,
}

pub(crate) extern "C" fn step(_turn: u64, walk: &mut Walk<'_>) -> i64 {
    i64::from(packet6::step(walk.frame, walk.packet).is_none())
}

/// From inside: the source gets the outside prefix.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_npt_out(skb: Skb) -> u32 {
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
extern "C" fn vnet_npt_in(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    into(&mut frame, &desk.six).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn into(frame: &mut Frame, packet: &Packet6) -> Result<Reason, Reason> {
    let Some(to) = entry(&packet.daddr, side::OUTSIDE) else { return Ok(Reason::Ipv6) };
    quoted(frame, packet, SOURCE, side::OUTSIDE)?;
    write(frame, packet.l3 + DESTINATION, &packet.daddr, to)?;
    Ok(Reason::NptIn)
}

/// From inside to an outside prefix (RFC 6296 section 2.4): both at once, where it comes in, because
/// it will not cross the uplink.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_npt_hairpin(skb: Skb) -> u32 {
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
