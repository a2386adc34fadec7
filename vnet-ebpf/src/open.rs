//! Opening a connection: a port for it, then both of its entries, or nothing.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{FlowKey, flag},
    tcp::State,
    translate::pool,
};

use crate::{
    flow, forward, host,
    kernel::{
        desk::desk,
        flows::{Entry, Refusal, add_peer},
        frame::{Frame, Skb},
        maps,
    },
    opening::Opening,
    packet::Kind,
    policy,
    port::Range,
    room, translate,
};

/// Not an end: the connection is open, and its packet is one of a known flow.
pub const OPENED: u32 = 0xff;
/// The same: another CPU has opened it at this moment.
pub const FOUND: u32 = 0xfe;

/// Opens the connection that is on the desk: [`OPENED`], or the end of its packet.
#[inline(always)]
pub fn open(frame: &Frame) -> u32 {
    let code = with_room(frame);
    // Others may have used up what there is; the host's own port needs no translation.
    if !is_open(code) && policy::needs_none() { Reason::Host as u32 } else { code }
}

/// Whether the packet is one of a known flow by now.
#[inline(always)]
#[must_use]
pub fn is_open(code: u32) -> bool {
    code == OPENED || code == FOUND
}

/// Opens the connection on the desk between two inside hosts: it uses the mappings of both.
#[inline(always)]
pub fn hairpin(frame: &Frame) -> u32 {
    let Some(Opening { key, other, flags, .. }) = desk().map(|desk| desk.opening) else {
        return Reason::Unmanaged as u32;
    };
    let forwarded = flags & flag::FORWARD != 0;
    if !forwarded && !translate::join_held(other, key.proto, key.dport) {
        return Reason::MappingRace as u32;
    }
    let code = with_room(frame);
    if code != OPENED && !forwarded {
        translate::release(other, key.proto, key.dport);
    }
    code
}

/// Opens the connection on the desk that came through a forward, which uses no mapping.
#[inline(always)]
pub fn through() -> u32 {
    match vnet_remember() {
        FOUND => forward::clash(),
        code => code,
    }
}

/// Opens the connection on the desk; where there is no room for it, some is made. (From outside
/// there is none to be made: nobody out there shall end what is inside.)
#[inline(always)]
fn with_room(frame: &Frame) -> u32 {
    let code = make(frame);
    if code == Reason::FlowsFull as u32 && room::make() { make(frame) } else { code }
}

/// Opens a connection from outside to an inside endpoint, by its outside `port` on outside address
/// number `outside`: [`OPENED`], or the end of its packet. `flags` say by what right.
#[inline(always)]
pub fn inward(frame: &Frame, inside: (Ipv4, u16), outside: u8, flags: u8) -> u32 {
    match prepare(frame, inside, outside, flags) {
        OPENED => make(frame),
        code => code,
    }
}

/// Puts the opening of a connection from outside on the desk: [`OPENED`], or the end of its packet.
#[inline(always)]
pub fn prepare(frame: &Frame, (addr, port): (Ipv4, u16), outside: u8, flags: u8) -> u32 {
    let (Some(desk), Some(link)) = (desk(), maps::outside(outside)) else {
        return Reason::Unmanaged as u32;
    };
    let packet = &desk.packet;
    let key = FlowKey {
        saddr: addr,
        daddr: packet.key.saddr,
        sport: port,
        dport: packet.key.sport,
        ..packet.key
    };
    let state = if packet.kind == Kind::Tcp { State::SynSent } else { State::Unreplied };
    let (daddr, dport) = (key.daddr, key.dport);
    let its_own = Range { min: packet.key.dport, max: packet.key.dport };
    desk.opening = Opening {
        key,
        daddr,
        dport,
        addr: link,
        link: frame.device(),
        port: packet.key.dport,
        ports: its_own,
        low: Range::NONE,
        outside,
        other: outside,
        state,
        flags,
    };
    OPENED
}

/// First it is counted for its host, then it gets its port, then its entries. One after the other
/// and not one within the other: a chain of calls has 512 bytes of stack, and both are at the end of long ones.
#[inline(always)]
pub(crate) fn make(frame: &Frame) -> u32 {
    let counted = vnet_count(1);
    if counted != OPENED {
        return counted;
    }
    let acquired = acquire(frame);
    let code = if acquired == OPENED { remember() } else { acquired };
    if code != OPENED {
        vnet_count(0);
    }
    code
}

/// Writes both entries of what has got its port, or gives the port back.
#[inline(always)]
fn remember() -> u32 {
    let code = vnet_remember();
    let opening = desk().map(|desk| &desk.opening).filter(|_| code != OPENED);
    if let Some(Opening { outside, key, port, .. }) = opening {
        translate::release(*outside, key.proto, *port);
    }
    code
}

/// Counts the connection on the desk for its host, or takes that back (0): [`OPENED`], or the end
/// of its packet.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_count(one: u32) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if one == 0 {
        host::close(&mut desk.opening);
        return OPENED;
    }
    match host::open(&mut desk.opening) {
        Ok(()) => OPENED,
        Err(reason) => reason as u32,
    }
}

/// Looks for a port for the connection on the desk: [`OPENED`], or the end of its packet.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_seek(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    match translate::seek(&mut frame) {
        Ok(()) => OPENED,
        Err(reason) => reason as u32,
    }
}

/// Gives the connection on the desk its port: [`OPENED`], or the end of its packet. Where another CPU
/// was faster, its mapping is the one to use.
#[inline(always)]
fn acquire(frame: &Frame) -> u32 {
    let code = acquire_once(frame);
    let code = if code == LATE { acquire_once(frame) } else { code };
    if code == LATE { Reason::MappingRace as u32 } else { code }
}

#[inline(always)]
fn acquire_once(frame: &Frame) -> u32 {
    let sought = vnet_seek(frame.skb());
    if sought != OPENED {
        return sought;
    }
    match vnet_acquire() {
        LEFT => {
            if let Some(Opening { outside, key, port, .. }) = desk().map(|desk| &desk.opening) {
                translate::release(*outside, key.proto, *port);
            }
            Reason::MappingRace as u32
        }
        code => code,
    }
}

/// Not an end: another CPU has made the mapping at this moment.
const LATE: u32 = 0xfa;
/// Not an end: the port is somebody else's by now, and has one use too many.
const LEFT: u32 = 0xf9;

/// Gives the connection on the desk the port that was found: [`OPENED`], or the end of its packet.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_acquire() -> u32 {
    let made = desk().is_some_and(|desk| desk.search.is_over());
    match translate::acquire() {
        Ok(true) => OPENED,
        Ok(false) => {
            if made {
                LATE
            } else {
                LEFT
            }
        }
        Err(reason) => reason as u32,
    }
}

/// Remembers the connection that is on the desk and has its port.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_remember() -> u32 {
    let (Some(desk), Some(config)) = (desk(), maps::config()) else {
        return Reason::Unmanaged as u32;
    };
    let opening = &desk.opening;
    let portless = pool::number(opening.outside, opening.key.proto).is_none();
    match flow::remember(opening, config.epoch) {
        Ok(()) => {
            if translate::by_address() {
                add_peer(&opening.peer());
            }
            OPENED
        }
        // Without ports there is no telling whose the answers would be.
        Err(Refusal::Exists) if portless && Entry::find(&opening.key).is_none() => {
            Reason::Protocol as u32
        }
        Err(Refusal::Exists) => FOUND,
        Err(Refusal::Full) => Reason::FlowsFull as u32,
    }
}
