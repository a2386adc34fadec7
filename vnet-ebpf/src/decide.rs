//! What becomes of a packet that belongs to no known flow. Each step here that is exported is
//! walked by the verifier once and by itself, whoever calls it, so that what a NAT must know adds
//! up instead of multiplying.

use vnet_common::{
    account::Reason,
    flow::Direction,
    policy::{Link, role},
};

use crate::{
    account::{self, AGAIN},
    address, answer, flow, forward, fragment, hairpin, inbound,
    kernel::{
        desk::desk,
        flows::Entry,
        frame::{Frame, Skb, ethertype},
        maps,
    },
    known, learn, learn_path, open, options,
    packet::{self, Kind, Packet, Part},
    policy,
    quote::{self, End},
    rewrite, sort, translate,
};

/// Decides about a packet on its way out; [`AGAIN`] when its flow is known from now on.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_decide_out(skb: Skb) -> i32 {
    let frame = Frame::new(skb);
    let code = match read(&frame) {
        Ok(link) if link.roles & role::UPLINK == 0 && frame.asks() => learn::vnet_learn(skb),
        Ok(link) if link.roles & role::UPLINK == 0 => hairpin::vnet_hairpin_own_error(skb),
        Ok(link) => by_part(&frame, Direction::Out, link),
        Err(reason) => {
            learn(&frame);
            reason as u32
        }
    };
    finish(&frame, Direction::Out, code)
}

/// Decides about a packet on its way in, as [`vnet_decide_out`] does.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_decide_in(skb: Skb) -> i32 {
    let frame = Frame::new(skb);
    let code = match read(&frame) {
        Ok(link) if link.roles & role::SORTER != 0 => return sort::come_back(&frame),
        Ok(link) if link.roles & role::UPLINK == 0 => hairpin::decide(&frame),
        Ok(link) => by_part(&frame, Direction::In, link),
        Err(Reason::Malformed) => Reason::MalformedIn as u32,
        Err(reason) => reason as u32,
    };
    finish(&frame, Direction::In, code)
}

/// Says and counts the end, if it is one.
#[inline(always)]
fn finish(frame: &Frame, direction: Direction, code: u32) -> i32 {
    if code == open::FOUND {
        forward::clear_way();
    }
    if open::is_open(code) {
        frame.forget_detour();
        return AGAIN;
    }
    let Some(desk) = desk() else { return account::NEXT };
    account::log(frame, direction, &desk.packet, code);
    let verdict = account::tally(frame, desk.packet.payload, code);
    if code == Reason::Sorted as u32 {
        return sort::redirect(frame);
    }
    let verdict = answer::or_verdict(frame, code, verdict);
    // What comes back has not come in where it seems to.
    let learns = direction == Direction::Out && !frame.is_back();
    frame.forget_detour();
    if learns { learn_path::or_verdict(code, verdict) } else { verdict }
}

/// Puts the packet on the desk.
#[inline(always)]
fn read(frame: &Frame) -> Result<&'static Link, Reason> {
    let link = known::managed(frame)?;
    let desk = desk().ok_or(Reason::Unmanaged)?;
    (desk.packet, desk.moved) = (Packet::UNKNOWN, 0);
    packet::parse(frame, &mut desk.packet, known::network_header(frame, link), frame.length())?;
    Ok(link)
}

/// Of a datagram in fragments, the first is decided about like a whole one, and the others follow it.
#[inline(always)]
fn by_part(frame: &Frame, direction: Direction, link: &Link) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let part = desk.packet.part;
    match part {
        Part::Later => return fragment::later(frame, direction),
        Part::First if sort::is_due(frame, direction) => {
            return sort::detour(frame, direction as u32);
        }
        Part::First | Part::Whole => {}
    }
    // No closures, of which the compiler may make functions that have stack of their own.
    let code = match direction {
        Direction::Out => outward(frame, link),
        Direction::In => inward(frame),
    };
    if part == Part::First { fragment::first(frame, direction, code) } else { code }
}

#[inline(always)]
fn outward(frame: &Frame, link: &Link) -> u32 {
    address::refresh(frame, link.outside);
    if let Some(saddr) = desk().map(|desk| desk.packet.key.saddr).filter(|_| link.outsides > 1) {
        address::refresh(frame, policy::place(saddr, link).0);
    }
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if desk.packet.kind == Kind::Error {
        return vnet_error_out(frame.skb());
    }
    if goes_on(frame) && forward::stays() {
        return open::OPENED;
    }
    match policy::admit(frame, link) {
        Ok(()) => open::open(frame),
        Err(reason) => reason as u32,
    }
}

/// Whether the packet's flow goes on: its address was looked at anew, or another CPU has made it at
/// this moment. One that is on another uplink by now, or on an address that is gone, is ended.
/// A packet that cannot be of a flow (a fragment, a reply to a query) has the addresses and ports of
/// one at most, and ends nothing.
#[inline(always)]
fn goes_on(frame: &Frame) -> bool {
    let Some(desk) = desk() else { return false };
    let (key, kind) = (desk.packet.key, desk.packet.kind);
    if !flow::carries(kind, Direction::Out) {
        return false;
    }
    let Some(entry) = Entry::find(&key).filter(Entry::outward) else { return false };
    if entry.serves(Direction::Out, frame.device()) {
        address::refresh(frame, entry.outside().into());
        if address::serves(frame, &entry) {
            return true;
        }
        desk.moved = 1;
    }
    translate::end(&key, entry);
    false
}

/// Learns the uplink's address from an ARP request of this host's own.
#[inline(always)]
fn learn(frame: &Frame) {
    if frame.ethertype() != ethertype::ARP || frame.arrived_on() != 0 {
        return;
    }
    let Some(link) = maps::link(frame.device()).filter(|link| link.roles & role::UPLINK != 0)
    else {
        return;
    };
    let Some(desk) = desk() else { return };
    desk.packet = Packet::UNKNOWN;
    let Some((from, to)) = address::asking(frame) else { return };
    (desk.packet.key.saddr, desk.packet.key.daddr) = (from, to);
    address::refresh(frame, link.outside);
}

#[inline(always)]
fn inward(frame: &Frame) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if desk.packet.kind == Kind::Error {
        return vnet_error_in(frame.skb());
    }
    let packet = &desk.packet;
    let known =
        packet.part == Part::First && flow::known(packet, Direction::In, frame.device()).is_some();
    if known && forward::stays() {
        return open::OPENED;
    }
    inbound::decide(frame)
}

/// An error about a packet that came in: the quoted destination becomes the outside endpoint
/// again, and the error comes from the outside address, whoever inside sent it.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_error_out(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    error_outward(&mut frame, &desk.packet).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn error_outward(frame: &mut Frame, packet: &Packet) -> Result<Reason, Reason> {
    let quoted = quote::read(frame, packet, End::Destination);
    let found = quoted.and_then(|quote| Some((quote, Entry::find(&quote.key.reversed())?)));
    let Some((quote, entry)) = found
        .filter(|(_, entry)| entry.serves(Direction::Out, frame.device()))
        .filter(|(_, entry)| address::serves(frame, entry))
    else {
        return Err(policy::unmatched(frame, packet));
    };
    if !quote::sound(frame, packet, &quote) {
        return Err(Reason::IcmpChecksum);
    }
    let target = entry.target();
    quote::rewrite(frame, packet, &quote, End::Destination, target.saddr, target.sport)?;
    rewrite::addresses(frame, packet.l3, target.saddr, packet.key.daddr)?;
    // What was written into a packet that came in is written into the error about it too.
    options::hide(frame, packet.l3, packet.l4, target.saddr);
    options::hide(frame, quote.l3, quote.l4, target.saddr);
    Ok(Reason::IcmpErrorOut)
}

/// An error about a packet that went out: it goes to whoever sent that packet.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_error_in(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    error_inward(&mut frame, &desk.packet).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn error_inward(frame: &mut Frame, packet: &Packet) -> Result<Reason, Reason> {
    let quoted = quote::read(frame, packet, End::Source);
    let found = quoted.and_then(|quote| Some((quote, Entry::find(&quote.key.reversed())?)));
    let Some((quote, entry)) =
        found.filter(|(_, entry)| entry.serves(Direction::In, frame.device()))
    else {
        return Ok(inbound::unwanted(frame, packet));
    };
    if !quote::sound(frame, packet, &quote) {
        return Err(Reason::IcmpChecksum);
    }
    let target = entry.target();
    quote::rewrite(frame, packet, &quote, End::Source, target.daddr, target.dport)?;
    rewrite::addresses(frame, packet.l3, packet.key.saddr, target.daddr)?;
    Ok(Reason::IcmpErrorIn)
}
