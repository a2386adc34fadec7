//! Forwards: ports of an outside address that lead to an inside host.
//!
//! A connection that came through a forward uses no mapping: the port is the forward's own. It bears
//! the epoch under which it was last looked at; when that has passed, its next packet looks whether
//! the forward still leads where it did, and ends the connection if not.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{Direction, FlowKey, flag},
    translate::pool,
};

use crate::{
    inbound,
    kernel::{
        desk::desk,
        flows::Entry,
        forwards,
        frame::{Frame, Skb},
        maps, ports,
        socket::{self, Socket},
    },
    open,
    opening::Opening,
    packet::{Kind, Packet},
    port::{Pool, Set},
    translate,
};

/// Not an end: no forward leads from there.
pub const NONE: u32 = 0xfd;

/// Looks whether a packet from outside is led somewhere: [`open::OPENED`] when the opening of that
/// connection is on the desk now, [`NONE`] when no forward leads from there, else the packet's end.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_forward(skb: Skb) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return NONE };
    let packet = &desk.packet;
    match target(&frame, packet) {
        Ok(Some(Way { addr, port, number })) => {
            open::prepare(&frame, (addr, port), number, flag::FORWARD)
        }
        Ok(None) => NONE,
        Err(reason) => reason as u32,
    }
}

/// Where a packet is led.
#[derive(Clone, Copy)]
pub struct Way {
    /// Inside address.
    pub addr: Ipv4,
    /// Inside port.
    pub port: u16,
    /// Number of the outside address it is for.
    pub number: u8,
}

/// Where a packet to an outside address is led, if it is.
#[inline(always)]
pub fn target(frame: &Frame, packet: &Packet) -> Result<Option<Way>, Reason> {
    let key = &packet.key;
    if !matches!(packet.kind, Kind::Tcp | Kind::Udp) {
        return Ok(None);
    }
    let Some(number) = inbound::outside(key.daddr) else { return Ok(None) };
    let Some(forward) = forwards::from_outside(number, key.proto, key.dport) else {
        return Ok(None);
    };
    // What this host has been saying to somebody since before is not for others to hear.
    if socket::receiver(frame, key) == Socket::Connected {
        return Ok(None);
    }
    if packet.kind == Kind::Tcp && !packet.segment.opens() {
        return Err(Reason::ForwardStray);
    }
    Ok(Some(Way { addr: forward.inside, port: forward.inward(key.dport), number }))
}

/// Whether the connection came through a forward and was last looked at under another epoch.
#[inline(always)]
#[must_use]
pub fn stale(entry: &Entry) -> bool {
    entry.forwarded() && maps::config().is_some_and(|config| config.epoch != entry.epoch())
}

/// Looks at the flow of the packet on the desk anew, where that is due; whether it stays. One whose
/// forward leads elsewhere now, or is gone, is ended.
#[inline(always)]
#[must_use]
pub fn stays() -> bool {
    let Some(desk) = desk() else { return false };
    desk.reviewed = desk.packet.key;
    reviewed() >= STAYS
}

/// The same; whether it was due, and the flow stays. A fragment may have the tuple of one, and is
/// none of it.
#[inline(always)]
#[must_use]
pub fn renewed() -> bool {
    let Some(desk) = desk() else { return false };
    if !matches!(desk.packet.kind, Kind::Tcp | Kind::Udp) {
        return false;
    }
    desk.reviewed = desk.packet.key;
    reviewed() == RENEWED
}

/// Looks at both flows that are in the way of the opening on the desk: those that a forward has left
/// behind are ended, and what comes next finds the way clear.
#[inline(always)]
pub fn clear_way() {
    if let Some(desk) = desk() {
        desk.reviewed = desk.opening.key;
        reviewed();
    }
    if let Some(desk) = desk() {
        desk.reviewed = desk.opening.twin();
        reviewed();
    }
}

/// There is no such flow, or none any more.
const ABSENT: u32 = 0;
/// It is to be ended: it is what is reviewed now, by the tuple of its inside end, or of who opened it
/// between two of them.
const ENDS: u32 = 1;
/// It is there, and there was nothing to look at.
const STAYS: u32 = 2;
/// It is there, and still right.
const RENEWED: u32 = 3;

/// Looks at the flow that is to be reviewed, and ends it if need be. Two steps, one after the other
/// and not one within the other: there is little stack.
#[inline(always)]
fn reviewed() -> u32 {
    let found = vnet_review();
    if found == ENDS { vnet_end() } else { found }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_review() -> u32 {
    let (Some(desk), Some(config)) = (desk(), maps::config()) else { return ABSENT };
    let key = &mut desk.reviewed;
    let Some(entry) = Entry::find(key) else { return ABSENT };
    if !stale(&entry) {
        return STAYS;
    }
    if leads_the_same_way(key, &entry) {
        entry.set_epoch(config.epoch);
        if let Some(other) = Entry::find(&entry.twin(key.proto)) {
            other.set_epoch(config.epoch);
        }
        return RENEWED;
    }
    if entry.direction() == Direction::In {
        *key = entry.twin(key.proto);
    }
    ENDS
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_end() -> u32 {
    let Some(key) = desk().map(|desk| desk.reviewed) else { return ABSENT };
    if let Some(entry) = Entry::find(&key) {
        translate::end(&key, entry);
    }
    ABSENT
}

/// Whether the forward of this flow still leads where the flow goes.
#[inline(always)]
fn leads_the_same_way(key: &FlowKey, entry: &Entry) -> bool {
    let target = entry.target();
    let to_target = (entry.direction() == Direction::In) != entry.hairpin();
    let (outside, inside) = if to_target {
        ((key.daddr, key.dport), (target.daddr, target.dport))
    } else {
        ((target.saddr, target.sport), (key.saddr, key.sport))
    };
    let number = inbound::outside(outside.0);
    let forward = number.and_then(|number| forwards::from_outside(number, key.proto, outside.1));
    forward.is_some_and(|forward| (forward.inside, forward.inward(outside.1)) == inside)
}

/// Why a connection through a forward could not be made though there is room.
#[inline(always)]
#[must_use]
pub fn clash() -> u32 {
    clear_way();
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if Entry::find(&desk.packet.key).is_some() || Entry::find(&desk.opening.key).is_none() {
        return open::FOUND;
    }
    Reason::ForwardClash as u32
}

/// Number of the outside address that the inside host's own connections have because a forward
/// leads from it to the port they come from, where the same uplink has it.
#[inline(always)]
#[must_use]
pub fn own_number(key: &FlowKey, link: u32) -> Option<u8> {
    let forward = forwards::to_inside(key.saddr, key.proto, key.sport)?;
    let number = forward.outside as u8;
    (maps::outside_link(number) == Some(link)).then_some(number)
}

/// The outside port that an inside host's own connections have because a forward leads from it to
/// the port they come from.
#[inline(always)]
#[must_use]
pub fn own_port(opening: &Opening) -> Option<u16> {
    let key = &opening.key;
    let forward = forwards::to_inside(key.saddr, key.proto, key.sport)?;
    (forward.outside == u32::from(opening.outside)).then_some(forward.outward(key.sport))
}

/// Whether a forward leads from this port of the outside address with that number.
#[inline(always)]
fn leads_from(outside: u8, proto: u8, port: u16) -> bool {
    forwards::from_outside(outside, proto, port).is_some()
}

/// Gives a port back that a mapping held: it rests, or is reserved for the forward that leads from
/// it.
#[inline(always)]
pub fn put_back(outside: u8, proto: u8, port: u16) {
    put_down(outside, proto, port, |pool| &pool.resting);
}

/// Gives a port back that was taken for a mapping that was not made: it need not rest.
#[inline(always)]
pub fn put_back_unused(outside: u8, proto: u8, port: u16) {
    put_down(outside, proto, port, |pool| &pool.free);
}

/// A forward may come or go at this very moment, and its order to the pool with it: whoever looks
/// again after having put the port down cannot leave it in the wrong place.
#[inline(always)]
fn put_down(outside: u8, proto: u8, port: u16, set: impl Fn(&Pool) -> &Set) {
    let Some(pool) = pool::number(outside, proto).and_then(ports::pool) else { return };
    let covered = leads_from(outside, proto, port);
    let (place, other) =
        if covered { (&pool.reserved, set(pool)) } else { (set(pool), &pool.reserved) };
    place.add(port);
    if leads_from(outside, proto, port) != covered && place.claim(port) {
        other.add(port);
    }
}
