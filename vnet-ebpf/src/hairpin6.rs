//! An inside host reaches another one by the uplink's IPv6 address (RFC 4787 REQ-9).
//!
//! As IPv4 does it (see [`crate::hairpin`]): the destination is translated where the packet comes in,
//! the source where it leaves, and a mark on the packet ties both together. So the kernel's routing,
//! its firewall and its errors know both hosts by their own addresses.

use vnet_common::{
    account::Reason,
    flow::{Direction, FlowKey, flag, proto},
    nat66::Uplink6,
    translate::Endpoint,
};

use crate::{
    error6, flow,
    hairpin::{self, MARK},
    inbound,
    kernel::{
        addresses6,
        desk::{Desk, desk},
        flows::{Entry, mapping},
        frame::{Frame, Skb},
        maps,
        socket::{self, Socket},
        uplinks6,
    },
    nat66::{self, GOES_ON, inside, is_still, put_handles, write},
    open,
    open6::{opening, vnet_unadmit66},
    opening::Opening,
    packet::Kind,
    packet6::{DESTINATION, Kind6, SOURCE, words},
    policy,
    quote::End,
    quote6,
};

/// Decides about a packet that came in from inside and that no prefix translates; it is on the desk.
#[inline(always)]
pub fn inward(frame: &Frame) -> u32 {
    match nat66::vnet_read66(frame.skb(), nat66::FROM_INSIDE) {
        GOES_ON => {}
        end => return end,
    }
    match vnet_enter66(frame.skb()) {
        GOES_ON => {}
        ERROR => return vnet_hairpin_error66(frame.skb()),
        end => return end,
    }
    match vnet_meet66(frame.skb()) {
        open::OPENED => {}
        end => return end,
    }
    let code = open::hairpin(frame);
    if code != open::OPENED {
        vnet_unadmit66();
    }
    if !open::is_open(code) {
        return code;
    }
    match vnet_enter66(frame.skb()) {
        GOES_ON => Reason::MappingRace as u32,
        end => end,
    }
}

/// Not an end: it is an ICMPv6 error.
const ERROR: u32 = 0xf8;

/// Translates the destination of a packet of a known flow, and marks it; [`GOES_ON`] where there is
/// none.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_enter66(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if desk.packet.kind == Kind::Error {
        return ERROR;
    }
    let Some((_, uplink)) = uplinks6::owner(&desk.own6) else { return Reason::Inside as u32 };
    put_handles(desk, uplink);
    let key = &desk.packet.key;
    let entry = Entry::find(key).filter(Entry::hairpin);
    let Some(entry) = entry.filter(|_| flow::carries(desk.packet.kind, Direction::Out)) else {
        return GOES_ON;
    };
    if !is_still(key.saddr, &desk.six.saddr, uplink) {
        return GOES_ON;
    }
    match enter(&mut frame, desk, uplink, entry) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn enter(
    frame: &mut Frame,
    desk: &mut Desk,
    uplink: &Uplink6,
    entry: Entry,
) -> Result<Reason, Reason> {
    let (packet, target) = (&desk.packet, entry.target());
    flow::count(frame, packet, entry, entry.direction());
    inside(target.daddr, uplink, &desk.own6, &mut desk.new6)?;
    let ports = (packet.key.dport, target.dport);
    write(frame, packet, DESTINATION, (&desk.six.daddr, &desk.new6), ports)?;
    frame.set_mark(MARK | u16::from(entry.outside()));
    Ok(Reason::Hairpin)
}

/// Puts the opening of a connection to the inside host that holds the port on the desk, with a use of
/// both addresses: [`open::OPENED`], or the end of the packet.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_meet66(skb: Skb) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let (Some((link, uplink)), Some(config)) = (uplinks6::owner(&desk.own6), maps::config()) else {
        return Reason::Inside as u32;
    };
    let Some(state) = hairpin::begins(&desk.packet) else { return Reason::Inside as u32 };
    let (number, key) = (uplink.outside as u8, desk.packet.key);
    if !policy::held_inside(number, key.proto, key.dport)
        || socket::receiver(&frame, &key) != Socket::None
    {
        return Reason::Inside as u32;
    }
    let Some(slot) = inbound::slot(&desk.packet, number) else { return Reason::Inside as u32 };
    let (holder, dport) = slot.holder();
    let there = addresses6::read(holder, &mut desk.new6);
    let Some(daddr) = there.then(|| addresses6::acquire(&desk.new6)).flatten() else {
        return Reason::MappingRace as u32;
    };
    let Some(saddr) = addresses6::acquire(&desk.six.saddr) else {
        addresses6::release(daddr);
        return Reason::Address6 as u32;
    };
    let key = FlowKey { saddr, daddr: uplink.handle, ..key };
    desk.opening = Opening {
        daddr,
        dport,
        link,
        ports: policy::ports(&key, config),
        low: policy::low_ports(&key, config),
        flags: flag::HAIRPIN,
        ..opening(key, uplink, &frame, state)
    };
    open::OPENED
}

/// An ICMPv6 error from inside to the uplink's address: about a packet that came to its sender from
/// there. The quoted packet becomes what the one who gets the error has sent.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_hairpin_error66(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    match error(&mut frame, desk) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn error(frame: &mut Frame, desk: &mut Desk) -> Result<Reason, Reason> {
    let (_, uplink) = uplinks6::owner(&desk.own6).ok_or(Reason::Inside)?;
    let error = &desk.packet;
    let ports = quote6::read(frame, &mut desk.quoted, error, End::Source);
    let (sport, dport) = ports.ok_or(Reason::Inside)?;
    let quoted = &desk.quoted;
    let found = error6::find(quoted, (sport, dport), &desk.own6, uplink);
    let entry = found.filter(Entry::hairpin).ok_or(Reason::Inside)?;
    if !quote6::sound(frame, error, &desk.six) {
        return Err(Reason::IcmpChecksum);
    }
    let target = entry.target();
    inside(target.daddr, uplink, &desk.own6, &mut desk.new6)?;
    quote6::rewrite(frame, error, quoted, End::Source, &desk.new6, (sport, target.dport))?;
    quote6::rewrite(frame, error, quoted, End::Destination, &desk.own6, (dport, target.sport))?;
    write(frame, error, DESTINATION, (&desk.own6, &desk.new6), (0, 0))?;
    frame.set_mark(MARK | u16::from(entry.outside()));
    Ok(Reason::Hairpin)
}

/// Decides about a packet that leaves for the inside, which is on the desk: one that was marked on its
/// way in gets its sender's outside endpoint.
#[inline(always)]
pub fn outward(frame: &Frame) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let marked = frame.mark() & 0xff00 == MARK;
    let own_error = frame.arrived_on() == 0 && desk.six.kind == Kind6::Error;
    if !marked && !own_error {
        return Reason::Ipv6 as u32;
    }
    match nat66::vnet_read66(frame.skb(), nat66::TO_INSIDE) {
        GOES_ON if marked => vnet_leave66(frame.skb()),
        GOES_ON => vnet_hairpin_own_error66(frame.skb()),
        end => end,
    }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_leave66(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    match leave(&mut frame, desk) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn leave(frame: &mut Frame, desk: &mut Desk) -> Result<Reason, Reason> {
    let number = frame.mark() as u8;
    let (_, uplink) = uplinks6::with_number(number).ok_or(Reason::HairpinLost)?;
    desk.own6 = words(&uplink.addr);
    let (packet, key) = (&desk.packet, desk.packet.key);
    let mut ports = (0, 0);
    if packet.kind != Kind::Error {
        let addr = addresses6::handle(&desk.six.saddr).ok_or(Reason::HairpinLost)?;
        let sender = Endpoint { addr, port: key.sport, proto: key.proto, outside: number };
        ports = (key.sport, mapping(&sender).ok_or(Reason::HairpinLost)?.port);
    }
    write(frame, packet, SOURCE, (&desk.six.saddr, &desk.own6), ports)?;
    Ok(Reason::HairpinOut)
}

/// An ICMPv6 error that this host itself sends to an inside host: about a packet whose destination it
/// had translated, which the sender knows by its outside endpoint.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_hairpin_own_error66(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    match own_error(&mut frame, desk) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

/// Uplinks that an own error is tried with.
const TRIED: u32 = 4;

#[inline(always)]
fn own_error(frame: &mut Frame, desk: &mut Desk) -> Result<Reason, Reason> {
    let error = &desk.packet;
    let ports = quote6::read(frame, &mut desk.quoted, error, End::Source);
    let ((sport, dport), quoted) = (ports.ok_or(Reason::Ipv6)?, &desk.quoted);
    if !matches!(quoted.proto, proto::TCP | proto::UDP) {
        return Err(Reason::Ipv6);
    }
    let receiver = addresses6::handle(&quoted.daddr).ok_or(Reason::Ipv6)?;
    let saddr = addresses6::handle(&quoted.saddr).ok_or(Reason::Ipv6)?;
    let last = maps::config().ok_or(Reason::Ipv6)?.addresses;
    let key = FlowKey { saddr, sport, proto: quoted.proto, ..FlowKey::default() };
    let receiver = Endpoint { addr: receiver, port: dport, proto: quoted.proto, outside: 0 };
    let mut port = 0;
    for turn in 1..=TRIED {
        let outside = last.wrapping_sub(turn) as u8;
        let Some((_, uplink)) = uplinks6::with_number(outside) else { continue };
        let Some(held) = mapping(&Endpoint { outside, ..receiver }) else { continue };
        let sent = FlowKey { daddr: uplink.handle, dport: held.port, ..key };
        if Entry::find(&sent).is_some_and(|entry| entry.hairpin()) {
            (desk.new6, port) = (words(&uplink.addr), held.port);
            break;
        }
    }
    if port == 0 {
        return Err(Reason::Ipv6);
    }
    quote6::rewrite(frame, error, quoted, End::Destination, &desk.new6, (dport, port))?;
    Ok(Reason::Hairpin)
}
