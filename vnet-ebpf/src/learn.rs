//! Learning what the kernel has decided, for the shortcut.
//!
//! A packet that takes the kernel's way is looked at again where it leaves: the device, the link
//! header and the marks it has there are what routing, policy rules, neighbours and the firewall made
//! of it, and its flow remembers them. On an uplink the flow is known there anyway; where packets from
//! outside leave, only those are looked at that ask for it.

use vnet_common::{
    account::Reason,
    flow::{Direction, flag},
    policy::{Link, link_flag},
    shortcut::{Hop, Way},
};

use crate::{
    forward,
    kernel::{
        clock,
        desk::desk,
        flows::Entry,
        frame::{ETHERNET, Frame, Skb},
        hops::{self, HopPlace},
        maps,
    },
    packet::{Bytes as _, Packet},
    shortcut::{Facts, Remembered as _, facts, turns},
};

/// Notes how a packet of a known flow, translated already, leaves by the uplink. Not inlined: it is
/// off the steady path.
#[inline(never)]
pub fn outward(frame: &Frame, packet: &Packet, entry: &Entry, link: &Link) {
    if may_learn(packet, entry, link) {
        note(frame, packet, entry);
    }
}

/// Asks for a note where a packet of a known flow leaves that has come in by the uplink; at least, says there
/// that it was translated: to another instance it looks as if it were only routed.
#[inline(always)]
pub fn ask(frame: &mut Frame, packet: &Packet, entry: &Entry, link: &Link) {
    if turns(packet, entry) == 0 && allowed(link) {
        frame.ask();
    } else {
        frame.tell_translated();
    }
}

/// Notes how a packet that asks for it leaves: it is on the desk.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_learn(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    // Else it is another instance's, which is asked after this one.
    if let (Some(link), Some(entry)) = (maps::link(frame.device()), answered(&frame, packet)) {
        frame.set_mark(0);
        if may_learn(packet, &entry, link) {
            note(&frame, packet, &entry);
        }
    }
    Reason::Inside as u32
}

/// The flow of a packet from outside, translated already: the other direction's entry leads to it.
#[inline(always)]
fn answered(frame: &Frame, packet: &Packet) -> Option<Entry> {
    let out = Entry::find(&packet.key.reversed()).filter(Entry::outward)?;
    let back = Entry::find(&out.twin(packet.key.proto))?;
    back.serves(Direction::In, frame.arrived_on()).then_some(back)
}

/// Whether the packet shows the way for others: it is like most, and the device is one that packets
/// may leave by without the kernel.
#[inline(always)]
fn may_learn(packet: &Packet, entry: &Entry, link: &Link) -> bool {
    let header = packet.l3 == ETHERNET || packet.l3 == 0;
    allowed(link) && header && turns(packet, entry) == 0
}

#[inline(always)]
pub(crate) fn allowed(link: &Link) -> bool {
    link.flags & (link_flag::NO_SHORTCUT | link_flag::NEEDS_ROUTE) == 0
}

#[inline(always)]
fn note(frame: &Frame, packet: &Packet, entry: &Entry) {
    // The epoch first: what is looked at after it is not older.
    let Some(epoch) = epoch() else { return };
    let Some(came_by) = came_by(frame) else { return };
    let Some(facts) = facts(frame, packet) else { return };
    if forward::stale(entry) {
        return;
    }
    let now = clock::now();
    let place = entry.way();
    let way = place.read();
    let size = frame.segment(packet) as u16;
    if way.epoch == epoch && Way::holds(way.learnt, Way::stamp(now)) && goes(way, frame, &facts) {
        if size > way.size {
            place.note(Way { size, ..way });
        }
        return;
    }
    let Some(hop) = hop(frame, packet, &facts, came_by, now) else { return };
    place.note(Way { hop, size, learnt: Way::stamp(now), epoch });
    if entry.flags() & flag::ACCEPTED == 0 {
        accept(packet.key.proto, entry);
    }
}

/// The present epoch, as ways have it.
#[inline(always)]
pub(crate) fn epoch() -> Option<u16> {
    maps::config().map(|config| config.epoch as u16)
}

/// The device that the packet has come in by, if packets may be sent on from there.
#[inline(always)]
pub(crate) fn came_by(frame: &Frame) -> Option<&'static Link> {
    maps::link(frame.arrived_on()).filter(|link| allowed(link))
}

/// Whether the packet goes this way: by the same devices, with the same traffic class.
#[inline(always)]
pub(crate) fn goes(way: Way, frame: &Frame, facts: &Facts) -> bool {
    HopPlace::find(way.hop).is_some_and(|hop| {
        (hop.device(), hop.from()) == (frame.device(), frame.arrived_on())
            && hop.class() == facts.class
    })
}

/// The number of the hop that the packet leaves by.
#[inline(always)]
pub(crate) fn hop(
    frame: &Frame,
    packet: &Packet,
    facts: &Facts,
    came_by: &Link,
    now: u64,
) -> Option<u16> {
    let (mark, priority) = frame.user_marks();
    let mut hop = Hop {
        device: frame.device(),
        from: frame.arrived_on(),
        mark,
        priority,
        class: facts.class,
        came: if came_by.header == 0 { 0 } else { ETHERNET as u8 },
        to: came_by.mac,
        ..Hop::default()
    };
    if packet.l3 != 0 {
        let [a, b, c] = frame.words::<3>(0)?;
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) =
            (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes());
        hop.header = ETHERNET as u8;
        (hop.dmac, hop.smac) = ([a, b, c, d, e, f], [g, h, i, j, k, l]);
    }
    hops::number(&hop, Hop::stamp(now))
}

/// Once both directions have passed, both may take the shortcut.
#[inline(always)]
fn accept(proto: u8, entry: &Entry) {
    let Some(twin) = Entry::find(&entry.twin(proto)) else { return };
    if twin.way().read().hop != 0 {
        entry.set_accepted();
        twin.set_accepted();
    }
}
