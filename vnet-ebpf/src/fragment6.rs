//! Fragments of IPv6: what becomes of a datagram's first one, which has the ports, is noted for those
//! that follow, as for IPv4. They end as it did; where it was translated, they get its address, and on
//! their way out its identification: two inside hosts may use the same one.

use vnet_common::{
    account::Reason,
    flow::Direction,
    nat66::{Datagram6, FragmentKey6},
};

use crate::{
    kernel::{
        addresses6::same,
        clock,
        desk::{Desk, desk},
        flows::Entry,
        fragments, fragments6,
        frame::{Frame, Skb},
        maps,
    },
    packet::{Bytes as _, Packet, Part},
    packet6::{DESTINATION, Packet6, SOURCE, bytes, words},
    rewrite::Patch as _,
    sort6,
};

/// Bytes of the fragment header before the identification.
pub(crate) const ID: u32 = 4;

/// Reads the fragment header of a packet that has one: which part it is (RFC 8200 section 4.5). All
/// but the last are of whole 8 bytes, and none goes past the longest packet there is.
#[inline(always)]
pub fn read(frame: &Frame, six: &Packet6, packet: &mut Packet) -> Option<()> {
    let [start] = frame.words::<1>(six.fragment)?;
    let field = u32::from_be(start) & 0xffff;
    let (offset, more) = (field & 0xfff8, field & 1 != 0);
    let size = six.end.checked_sub(six.l4)?;
    if offset == 0 && !more {
        // A datagram in one fragment (RFC 6946).
        return Some(());
    }
    if size == 0 || more && size & 7 != 0 || offset + size > 0xffff {
        return None;
    }
    packet.part = if offset == 0 { Part::First } else { Part::Later };
    packet.offset = offset as u16;
    Some(())
}

/// What the fragments of this packet's datagram have in common.
#[inline(always)]
pub(crate) fn key(frame: &Frame, six: &Packet6) -> Option<FragmentKey6> {
    let [id] = frame.words::<1>(six.fragment + ID)?;
    Some(FragmentKey6 { saddr: bytes(&six.saddr), daddr: bytes(&six.daddr), id })
}

/// What is noted of a datagram, if it was noted lately, here, and for this direction.
#[inline(always)]
pub(crate) fn announced(
    frame: &Frame,
    key: &FragmentKey6,
    direction: u32,
) -> Option<&'static Datagram6> {
    let time = maps::config()?.fragments;
    let found = fragments6::find(key)?;
    let lives = clock::seconds().wrapping_sub(found.since) <= time;
    let here = found.link == frame.device() && u32::from(found.direction) == direction;
    (lives && here).then_some(found)
}

/// Whether fragments that end so are translated.
#[inline(always)]
fn is_translation(reason: u32) -> bool {
    reason <= Reason::IcmpErrorIn as u32
}

/// Notes what becomes of the first fragment on the desk, which may have been translated already;
/// `code` says it. On its way out it gets an identification that no other host's datagrams have; the
/// same again where the same one comes again. Returns what becomes of it after all.
#[inline(always)]
pub fn first(frame: &Frame, direction: Direction, code: u32) -> u32 {
    // What this host sends is told by its address.
    if code == Reason::Host as u32 {
        return code;
    }
    vnet_first66(frame.skb(), direction as u32, code)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_first66(skb: Skb, direction: u32, code: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    match announce(&mut frame, desk, direction, code) {
        Ok(()) => code,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn announce(frame: &mut Frame, desk: &Desk, direction: u32, code: u32) -> Result<(), Reason> {
    let (six, packet) = (&desk.six, &desk.packet);
    let key = key(frame, six).ok_or(Reason::Malformed)?;
    let out = direction == Direction::Out as u32;
    let at = if out { SOURCE } else { DESTINATION };
    let before = announced(frame, &key, direction);
    let mut datagram = Datagram6 {
        addr: bytes(&frame.words(six.l3 + at).ok_or(Reason::Rewrite)?),
        key: packet.key,
        id: key.id,
        end: packet.end - packet.l4,
        since: clock::seconds(),
        link: frame.device(),
        direction: direction as u8,
        // One that has moved is translated as any other.
        reason: if code == Reason::Moved as u32 { Reason::NatOut as u8 } else { code as u8 },
        ..Datagram6::default()
    };
    if let Some(before) = before {
        // Those that come back from the sorter after this one need it.
        (datagram.hops, datagram.label) = (before.hops, before.label);
        (datagram.arrived, datagram.stations) = (before.arrived, before.stations);
    }
    if !is_translation(datagram.reason.into()) {
        fragments6::note_stray(&key, &datagram);
        return Ok(());
    }
    if out {
        let again = before.filter(|before| {
            is_translation(before.reason.into())
                && (before.key, before.end) == (datagram.key, datagram.end)
        });
        datagram.id = again.map_or_else(fragments::fresh_id6, |before| before.id);
        frame.set_words(six.fragment + ID, &[datagram.id])?;
    }
    if !fragments6::note(&key, &datagram) {
        return Err(Reason::Fragment);
    }
    if frame.is_back() {
        fragments6::forget_stray(&key);
    }
    Ok(())
}

/// The end of a fragment that is not its datagram's first.
#[inline(always)]
pub fn later(frame: &Frame, direction: Direction) -> u32 {
    match vnet_later66(frame.skb(), direction as u32) {
        EARLY => sort6::detour(frame, direction as u32),
        end => end,
    }
}

/// Not an end: its first has not been seen, or is being sorted.
const EARLY: u32 = 0xfb;

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_later66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let Some(key) = key(&frame, &desk.six) else { return Reason::Malformed as u32 };
    let Some(datagram) = announced(&frame, &key, direction) else {
        let own = same(&desk.six.saddr, &desk.own6);
        return if own { Reason::Host as u32 } else { EARLY };
    };
    if datagram.reason == Reason::Sorted as u8 {
        return EARLY;
    }
    if !is_translation(datagram.reason.into()) {
        return datagram.reason.into();
    }
    if u32::from(desk.packet.offset) < datagram.end {
        // None of its fragments counts any more (RFC 5722 section 4, RFC 8200 section 4.5).
        let over = Datagram6 { reason: Reason::FragmentOverlap as u8, ..*datagram };
        let _ = fragments6::note(&key, &over);
        return Reason::FragmentOverlap as u32;
    }
    match follow(&mut frame, desk, datagram) {
        Ok(()) => datagram.reason.into(),
        Err(reason) => reason as u32,
    }
}

/// Counts a fragment in its flow (errors have none), and writes what its first was given.
#[inline(always)]
fn follow(frame: &mut Frame, desk: &Desk, datagram: &Datagram6) -> Result<(), Reason> {
    let (six, packet) = (&desk.six, &desk.packet);
    let out = u32::from(datagram.direction) == Direction::Out as u32;
    if let Some(entry) = Entry::find(&datagram.key) {
        entry.count(frame.on_wire(packet.l3, packet.payload, packet.end), clock::now());
    }
    let at = if out { SOURCE } else { DESTINATION };
    frame.set_bare_words(packet.l3 + at, &words(&datagram.addr))?;
    if out { frame.set_words(six.fragment + ID, &[datagram.id]) } else { Ok(()) }
}
