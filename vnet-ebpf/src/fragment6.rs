//! Fragments of IPv6: what becomes of a datagram's first one, which has the ports, is noted for those
//! that follow, as for IPv4. Those that come before their first are not put in order.

use vnet_common::{
    account::Reason,
    flow::Direction,
    nat66::{Datagram6, FragmentKey6},
};

use crate::{
    kernel::{
        addresses6::{self, same},
        clock,
        desk::desk,
        flows::Entry,
        fragments,
        frame::{Frame, Skb},
        maps,
    },
    packet::{Bytes as _, Packet, Part},
    packet6::{DESTINATION, Packet6, SOURCE, bytes, words},
    rewrite::Patch as _,
};

/// Bytes of the fragment header before the identification.
const ID: u32 = 4;

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

#[inline(always)]
fn key(frame: &Frame, six: &Packet6) -> Option<FragmentKey6> {
    let [id] = frame.words::<1>(six.fragment + ID)?;
    Some(FragmentKey6 {
        saddr: bytes(&six.saddr),
        daddr: bytes(&six.daddr),
        id,
        link: frame.device(),
    })
}

/// What is noted of this packet's datagram, if it was noted lately and for this direction.
#[inline(always)]
fn announced(key: &FragmentKey6, direction: u32) -> Option<&'static Datagram6> {
    let time = maps::config()?.fragments;
    let found = addresses6::datagram(key)?;
    let lives = clock::seconds().wrapping_sub(found.since) <= time;
    (lives && found.direction == direction).then_some(found)
}

/// Not an end: the datagram is noted.
pub const NOTED: u32 = 0xfb;

/// Notes that the first fragment on the desk gets the new address there, and on its way out gives it
/// an identification that no other host's datagrams have; the same again where the same one comes
/// again.
#[inline(always)]
pub fn first(frame: &Frame, direction: Direction) -> u32 {
    vnet_first66(frame.skb(), direction as u32)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_first66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    match announce(&mut frame, direction) {
        Ok(()) => NOTED,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn announce(frame: &mut Frame, direction: u32) -> Result<(), Reason> {
    let desk = desk().ok_or(Reason::Unmanaged)?;
    let (six, packet) = (&desk.six, &desk.packet);
    let key = key(frame, six).ok_or(Reason::Malformed)?;
    let mut datagram = Datagram6 {
        addr: bytes(&desk.new6),
        key: packet.key,
        id: key.id,
        end: packet.end - packet.l4,
        since: clock::seconds(),
        direction,
    };
    if direction == Direction::Out as u32 {
        let again = announced(&key, direction)
            .filter(|before| (before.key, before.end) == (datagram.key, datagram.end));
        datagram.id = again.map_or_else(fragments::fresh_id6, |before| before.id);
        frame.set_words(six.fragment + ID, &[datagram.id])?;
    }
    if addresses6::note(&key, &datagram) { Ok(()) } else { Err(Reason::Fragment) }
}

/// The end of a fragment that is not its datagram's first.
#[inline(always)]
pub fn later(frame: &Frame, direction: Direction) -> u32 {
    vnet_later66(frame.skb(), direction as u32)
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_later66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    match follow(&mut frame, direction) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn follow(frame: &mut Frame, direction: u32) -> Result<Reason, Reason> {
    let (desk, out) = (desk().ok_or(Reason::Unmanaged)?, direction == Direction::Out as u32);
    let (six, packet) = (&desk.six, &desk.packet);
    let key = key(frame, six).ok_or(Reason::Malformed)?;
    let Some(datagram) = announced(&key, direction) else {
        return Err(match direction {
            _ if !out => Reason::FragmentIn,
            _ if same(&six.saddr, &desk.own6) => Reason::Host,
            _ => Reason::Fragment,
        });
    };
    if u32::from(packet.offset) < datagram.end {
        return Err(Reason::FragmentOverlap);
    }
    let (addr, id) = (words(&datagram.addr), datagram.id);
    if let Some(entry) = Entry::find(&datagram.key) {
        entry.count(frame.on_wire(packet.l3, packet.payload, packet.end), clock::now());
    }
    let at = if out { SOURCE } else { DESTINATION };
    frame.set_address6(packet.l3 + at, &addr)?;
    if !out {
        return Ok(Reason::NatIn);
    }
    frame.set_words(six.fragment + ID, &[id])?;
    Ok(Reason::NatOut)
}
