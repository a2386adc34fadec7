//! Fragments: what becomes of a datagram's first one, which has the ports, is noted for those that
//! follow. They end as it did; where it was translated, they get its addresses (RFC 3022 section
//! 6.3), and on their way out its identification: two inside hosts may use the same one.

use vnet_common::{
    account::Reason,
    flow::{Direction, FlowKey},
    fragment::{Datagram, FragmentKey},
};

use crate::{
    inbound,
    kernel::{
        clock,
        desk::desk,
        flows::Entry,
        fragments,
        frame::{Frame, Skb},
        maps,
    },
    open,
    packet::{Bytes, Packet},
    policy, rewrite, sort,
};

/// What the fragments of this packet's datagram have in common.
#[inline(always)]
#[must_use]
pub fn key(packet: &Packet) -> FragmentKey {
    let FlowKey { saddr, daddr, proto, .. } = packet.key;
    FragmentKey { saddr, daddr, id: packet.id, proto, reserved: 0 }
}

/// Whether fragments that end so are translated.
#[inline(always)]
fn is_translation(reason: u32) -> bool {
    reason <= Reason::IcmpErrorIn as u32
}

/// What is noted of this packet's datagram, if it was noted lately, here, and for this direction.
#[inline(always)]
#[must_use]
pub fn announced(frame: &Frame, packet: &Packet, direction: u32) -> Option<&'static Datagram> {
    let time = maps::config()?.fragments;
    let found = fragments::find(&key(packet))?;
    let lives = clock::seconds().wrapping_sub(found.since) <= time;
    let here = found.link == frame.device() && u32::from(found.direction) == direction;
    (lives && here).then_some(found)
}

/// The end of a fragment that is not its datagram's first.
#[inline(always)]
pub fn later(frame: &Frame, direction: Direction) -> u32 {
    vnet_fragment_later(frame.skb(), direction as u32)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_fragment_later(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    let Some(datagram) = announced(&frame, packet, direction) else {
        return unannounced(&frame, packet, direction);
    };
    if datagram.reason == Reason::Sorted as u8 {
        return sort::detour(&frame, direction);
    }
    if !is_translation(datagram.reason.into()) {
        return datagram.reason.into();
    }
    if packet.offset < datagram.end {
        return Reason::FragmentOverlap as u32;
    }
    count(&frame, packet, datagram);
    let (saddr, daddr) = (datagram.saddr, datagram.daddr);
    let written = rewrite::addresses(&mut frame, packet.l3, saddr, daddr)
        .and_then(|_| rewrite::identification(&mut frame, packet.l3, datagram.id));
    match written {
        Ok(()) => datagram.reason.into(),
        Err(reason) => reason as u32,
    }
}

/// Counts a fragment in its flow. Errors have none.
#[inline(always)]
fn count(frame: &Frame, packet: &Packet, datagram: &Datagram) {
    let (sport, dport) = (datagram.sport, datagram.dport);
    if let Some(entry) = Entry::find(&FlowKey { sport, dport, ..packet.key }) {
        entry.count(frame.on_wire(packet.l3, packet.payload, packet.end), clock::now());
    }
}

/// The end of a fragment whose datagram's first one was not seen.
#[inline(always)]
fn unannounced(frame: &Frame, packet: &Packet, direction: u32) -> u32 {
    if direction == Direction::In as u32 {
        let reason = inbound::unwanted(frame, packet);
        let early = matches!(reason, Reason::FragmentIn);
        return if early { sort::detour(frame, direction) } else { reason as u32 };
    }
    match policy::from_host(frame, packet) {
        Ok(Some(_)) => Reason::Host as u32,
        Ok(None) => sort::detour(frame, direction),
        Err(reason) => reason as u32,
    }
}

/// Notes what becomes of a first fragment; `code` says it. Returns what becomes of it after all.
#[inline(always)]
pub fn first(frame: &Frame, direction: Direction, code: u32) -> u32 {
    if is_told_by_address(code) {
        return code;
    }
    vnet_fragment_first(frame.skb(), direction as u32, code)
}

/// Whether fragments that follow end so by themselves.
#[inline(always)]
fn is_told_by_address(code: u32) -> bool {
    const REASONS: [Reason; 6] = [
        Reason::Host,
        Reason::NotOurs,
        Reason::Routed,
        Reason::Multicast,
        Reason::PrivateSource,
        Reason::MulticastSource,
    ];
    const BITS: u32 = {
        let (mut bits, mut i) = (0, 0);
        while i < REASONS.len() {
            bits |= 1 << REASONS[i] as u32;
            i += 1;
        }
        bits
    };
    code < u32::BITS && BITS >> code & 1 != 0
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_fragment_first(skb: Skb, direction: u32, code: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    let mut datagram = Datagram {
        saddr: packet.key.saddr,
        daddr: packet.key.daddr,
        sport: packet.key.sport,
        dport: packet.key.dport,
        id: packet.id,
        end: (packet.end - packet.l4) as u16,
        since: clock::seconds(),
        link: frame.device(),
        direction: direction as u8,
        reason: code as u8,
        ..Datagram::default()
    };
    keep(&key(packet), &mut datagram);
    if !open::is_open(code) && !is_translation(code) {
        fragments::note_stray(&key(packet), &datagram);
        return code;
    }
    match translated(&mut frame, packet, &mut datagram, code) {
        Ok(()) => code,
        Err(reason) => reason as u32,
    }
}

/// Those that come back from the sorter after this one, which may have come twice, need what was noted
/// when they went there.
#[inline(always)]
fn keep(key: &FragmentKey, datagram: &mut Datagram) {
    if let Some(before) = fragments::find(key) {
        (datagram.ttl, datagram.arrived) = (before.ttl, before.arrived);
        datagram.stations = before.stations;
    }
}

/// Notes a translation, and gives the first fragment its identification.
#[inline(always)]
fn translated(
    frame: &mut Frame,
    packet: &Packet,
    datagram: &mut Datagram,
    code: u32,
) -> Result<(), Reason> {
    let out = u32::from(datagram.direction) == Direction::Out as u32;
    if open::is_open(code) {
        let target = Entry::find(&packet.key).ok_or(Reason::MappingRace)?.target();
        (datagram.saddr, datagram.daddr) = (target.saddr, target.daddr);
        datagram.reason = if out { Reason::NatOut as u8 } else { Reason::NatIn as u8 };
    } else {
        // An error has been translated already.
        let [saddr, daddr] = frame.words(packet.l3 + 12).ok_or(Reason::Rewrite)?;
        (datagram.saddr, datagram.daddr) = (saddr.to_ne_bytes(), daddr.to_ne_bytes());
    }
    if out {
        datagram.id = identification(frame, packet, datagram);
        rewrite::identification(frame, packet.l3, datagram.id)?;
    }
    let key = key(packet);
    if !fragments::note(&key, datagram) {
        return Err(Reason::Fragment);
    }
    if frame.is_back() {
        fragments::forget_stray(&key);
    }
    Ok(())
}

/// The identification of a datagram on its way out: that of the same first fragment seen before, else
/// a fresh one. What differs in anything is another datagram.
#[inline(always)]
fn identification(frame: &Frame, packet: &Packet, datagram: &Datagram) -> u16 {
    match announced(frame, packet, Direction::Out as u32) {
        Some(before)
            if is_translation(before.reason.into())
                && (before.sport, before.dport) == (datagram.sport, datagram.dport)
                && (before.saddr, before.end) == (datagram.saddr, datagram.end) =>
        {
            before.id
        }
        Some(_) | None => fragments::fresh_id(),
    }
}
