//! An inside host reaches another one by its outside address (RFC 4787 REQ-9).
//!
//! The packet is for this host as far as routing knows, so it is met where it comes in: there its
//! destination becomes the inside one, and the kernel routes it as it would route any other between
//! two inside hosts. Where it leaves for its destination, its source becomes the sender's outside
//! endpoint. A mark on the packet ties both together: what the two hosts say to each other by their
//! inside addresses is not touched, though it may have the very same tuple. Filtering is about
//! outside: who is inside is let in.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{Direction, FlowKey, flag},
    tcp::State,
    translate::{Endpoint, pool},
};

use crate::{
    flow, forward, inbound,
    kernel::{
        desk::desk,
        flows::{Entry, mapping},
        forwards,
        frame::{Frame, Skb},
        maps,
        ports::Slot,
        socket::{self, Socket},
    },
    open,
    opening::Opening,
    packet::{Kind, Packet},
    policy,
    quote::{self, End},
    rewrite::{self, Target},
};

/// What of the mark says that it is ours; the rest is the number of the sender's outside address.
/// (`skb->tc_index`: the mark that firewalls see belongs to the user.)
pub(crate) const MARK: u16 = 0x5600;
/// The same on what comes back from where a forward leads, which need not have a mapping: the rest is
/// the number of the receiver's outside address.
const MARK_FORWARD: u16 = 0x5700;

/// What the mark of a packet tells.
#[derive(Clone, Copy)]
pub struct Mark {
    /// Number of the sender's outside address, or of the receiver's.
    outside: u8,
    /// Whether the sender is where a forward leads.
    forward: bool,
}

/// Translates the destination of a packet of a known flow, and marks it.
#[inline(always)]
pub fn enter(frame: &mut Frame, packet: &Packet, entry: &Entry) -> Result<Reason, Reason> {
    let key = &packet.key;
    let target = Target { saddr: key.saddr, sport: key.sport, ..entry.target() };
    flow::count(frame, packet, *entry, entry.direction());
    rewrite::apply(frame, packet, &target)?;
    let mut mark = MARK | u16::from(entry.outside());
    if entry.forwarded() && entry.direction() == Direction::In {
        let receiver = Entry::find(&entry.twin(key.proto)).ok_or(Reason::HairpinLost)?;
        mark = MARK_FORWARD | u16::from(receiver.outside());
    }
    frame.set_mark(mark);
    Ok(Reason::Hairpin)
}

/// The mark of a packet that got one on its way in.
#[inline(always)]
#[must_use]
pub fn marked(frame: &Frame) -> Option<Mark> {
    let mark = frame.mark();
    let forward = mark & 0xff00 == MARK_FORWARD;
    (forward || mark & 0xff00 == MARK).then_some(Mark { outside: mark as u8, forward })
}

/// Translates the source of a marked packet: to the sender's outside endpoint.
#[inline(always)]
pub fn leave(frame: &mut Frame, packet: &Packet, mark: Mark) -> Result<Reason, Reason> {
    let key = &packet.key;
    let outside = mark.outside;
    if mark.forward {
        let sender = forwarded(key, outside).ok_or(Reason::HairpinLost)?.target();
        let target = Target { daddr: key.daddr, dport: key.dport, ..sender };
        rewrite::apply(frame, packet, &target)?;
        return Ok(Reason::HairpinOut);
    }
    let addr = maps::outside(outside).ok_or(Reason::HairpinLost)?;
    if packet.kind == Kind::Error {
        rewrite::addresses(frame, packet.l3, addr, key.daddr)?;
        return Ok(Reason::HairpinOut);
    }
    let sender = Endpoint { addr: key.saddr, port: key.sport, proto: key.proto, outside };
    let sport = mapping(&sender).ok_or(Reason::HairpinLost)?.port;
    let target = Target { saddr: addr, daddr: key.daddr, sport, dport: key.dport };
    rewrite::apply(frame, packet, &target)?;
    Ok(Reason::HairpinOut)
}

/// The entry of a packet that has come back from where a forward leads: as it was before its
/// destination was translated, it was for the receiver's outside endpoint.
#[inline(always)]
fn forwarded(key: &FlowKey, outside: u8) -> Option<Entry> {
    let receiver = Endpoint { addr: key.daddr, port: key.dport, proto: key.proto, outside };
    let held = mapping(&receiver)?;
    let sent = FlowKey { daddr: held.addr, dport: held.port, ..*key };
    Entry::find(&sent).filter(Entry::hairpin)
}

/// Decides about a packet of no known flow that came in from inside: one for an outside endpoint
/// that an inside host holds opens a connection to it.
#[inline(always)]
pub fn decide(frame: &Frame) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    let Some(number) = inbound::outside(packet.key.daddr) else { return Reason::Inside as u32 };
    if packet.kind == Kind::Error {
        return vnet_hairpin_error(frame.skb());
    }
    if forward::renewed() {
        return open::OPENED;
    }
    begin(frame, number)
}

/// The state of the connection that this packet begins, if one inside host may begin one to another
/// with it.
#[inline(always)]
pub(crate) fn begins(packet: &Packet) -> Option<State> {
    match packet.kind {
        Kind::Tcp if packet.segment.opens() => Some(State::SynSent),
        Kind::Udp => Some(State::Unreplied),
        Kind::Tcp
        | Kind::Query
        | Kind::Reply
        | Kind::Error
        | Kind::OtherIcmp
        | Kind::Fragment
        | Kind::Other => None,
    }
}

/// Opens the connection to an inside host that the packet on the desk asks for, or says why not.
#[inline(always)]
fn begin(frame: &Frame, number: u8) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    let Some(state) = begins(packet) else { return Reason::Inside as u32 };
    let (daddr, dport, flags) = match forward::target(frame, packet) {
        Ok(Some(way)) => (way.addr, way.port, flag::HAIRPIN | flag::FORWARD),
        Err(reason) => return reason as u32,
        Ok(None) => match receiver(frame, &packet.key, number) {
            Some((addr, port)) => (addr, port, flag::HAIRPIN),
            None => return Reason::Inside as u32,
        },
    };
    let Some(link) = maps::outside_link(number).and_then(maps::link) else {
        return Reason::Inside as u32;
    };
    let Some(config) = maps::config() else { return Reason::Unmanaged as u32 };
    match policy::opening(&packet.key, link, state, config) {
        Ok(opening) => {
            let other = number;
            desk.opening = Opening { daddr, dport, other, flags, ..opening };
            open::hairpin(frame)
        }
        Err(reason) => reason as u32,
    }
}

/// The inside endpoint that holds the outside one.
#[inline(always)]
fn receiver(frame: &Frame, key: &FlowKey, number: u8) -> Option<(Ipv4, u16)> {
    let slot = Slot::find(pool::number(number, key.proto)?, key.dport)?;
    let free = slot.held() && !slot.of_host() && socket::receiver(frame, key) == Socket::None;
    free.then(|| slot.holder())
}

/// An ICMP error from inside to an outside address: about a packet that came to its sender from
/// there. The quoted packet becomes what the one who gets the error has sent.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_hairpin_error(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    error(&mut frame, &desk.packet).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn error(frame: &mut Frame, packet: &Packet) -> Result<Reason, Reason> {
    let mut quote = quote::read(frame, packet, End::Source).ok_or(Reason::Inside)?;
    let entry = Entry::find(&quote.key.reversed()).filter(Entry::hairpin).ok_or(Reason::Inside)?;
    if !quote::sound(frame, packet, &quote) {
        return Err(Reason::IcmpChecksum);
    }
    let target = entry.target();
    quote::rewrite(frame, packet, &quote, End::Source, target.daddr, target.dport)?;
    (quote.key.saddr, quote.key.sport) = (target.daddr, target.dport);
    quote::rewrite(frame, packet, &quote, End::Destination, target.saddr, target.sport)?;
    rewrite::addresses(frame, packet.l3, packet.key.saddr, target.daddr)?;
    frame.set_mark(MARK | u16::from(entry.outside()));
    Ok(Reason::Hairpin)
}

/// An ICMP error that this host itself sends to an inside host: about a packet whose destination it
/// had translated, which the sender knows by its outside endpoint.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_hairpin_own_error(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    own_error(&mut frame, &desk.packet).unwrap_or_else(|reason| reason) as u32
}

#[inline(always)]
fn own_error(frame: &mut Frame, packet: &Packet) -> Result<Reason, Reason> {
    let quote = quote::read(frame, packet, End::Source).ok_or(Reason::Inside)?;
    if let Some((addr, port)) = sent_through(&quote.key) {
        quote::rewrite(frame, packet, &quote, End::Destination, addr, port)?;
        return Ok(Reason::Hairpin);
    }
    for outside in 0..TRIED {
        let Some((addr, port)) = sent_to(&quote.key, outside) else { continue };
        quote::rewrite(frame, packet, &quote, End::Destination, addr, port)?;
        return Ok(Reason::Hairpin);
    }
    Err(Reason::Inside)
}

/// Outside addresses that an own error is tried with.
const TRIED: u8 = 8;

/// The same, if it is one that a forward leads from.
#[inline(always)]
fn sent_through(key: &FlowKey) -> Option<(Ipv4, u16)> {
    let forward = forwards::to_inside(key.daddr, key.proto, key.dport)?;
    let daddr = maps::outside(forward.outside as u8)?;
    let sent = FlowKey { daddr, dport: forward.outward(key.dport), ..*key };
    Entry::find(&sent).filter(Entry::hairpin)?;
    Some((sent.daddr, sent.dport))
}

/// The outside endpoint that the sender of a packet (as translated on its way in) has sent it to, if
/// it is one of this outside address.
#[inline(always)]
fn sent_to(key: &FlowKey, outside: u8) -> Option<(Ipv4, u16)> {
    let receiver = Endpoint { addr: key.daddr, port: key.dport, proto: key.proto, outside };
    let held = mapping(&receiver)?;
    let sent = FlowKey { daddr: held.addr, dport: held.port, ..*key };
    Entry::find(&sent).filter(Entry::hairpin)?;
    Some((held.addr, held.port))
}
