//! IPv6 behind one address (NAT66): the rules, the tables and the timers of IPv4's NAT, with handles
//! in the place of addresses (see [`addresses6`]).
//!
//! What leaves by an uplink where this is asked for leaves with the uplink's address, or not at all.
//! What this host itself sends is left alone, but for what it sends from an address that means
//! nothing outside.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{Direction, proto},
    nat66::Uplink6,
};

use crate::{
    error6, flow, fragment6,
    kernel::{
        addresses6::{self, same},
        desk::{Desk, desk},
        flows::Entry,
        frame::{Frame, Skb},
        uplinks6,
    },
    open, open6,
    packet::{self, Bytes as _, Kind, Packet, Part},
    packet6::{self, DESTINATION, Kind6, Packet6, SOURCE, Words, stays, words},
    quote6::difference,
    rewrite::{Field, Patch as _, pseudo_header},
    sort6, translate,
};

/// Not an end: there is something to decide.
pub(crate) const GOES_ON: u32 = 0xfc;

/// Beside the directions in which a packet crosses an uplink: it comes in by another device, to the
/// address of one.
pub(crate) const FROM_INSIDE: u32 = 2;
/// It leaves by another device.
pub(crate) const TO_INSIDE: u32 = 3;

/// Decides about an IPv6 packet on its way out that no prefix translates; it is on the desk.
#[inline(always)]
pub fn out(frame: &Frame) -> u32 {
    decide(frame, Direction::Out)
}

/// Decides about one on its way in, as [`out`] does.
#[inline(always)]
pub fn inward(frame: &Frame) -> u32 {
    decide(frame, Direction::In)
}

#[inline(always)]
fn decide(frame: &Frame, direction: Direction) -> u32 {
    match vnet_read66(frame.skb(), direction as u32) {
        GOES_ON => by_part(frame, direction),
        // Its followers end as it does.
        end if end == Reason::FragmentTiny as u32 => fragment6::first(frame, direction, end),
        end => end,
    }
}

/// Whether what neighbours say to each other was forwarded to an uplink all the same.
#[inline(always)]
pub fn is_from_inside(frame: &Frame) -> bool {
    let routable = desk().is_some_and(|desk| !stays(&desk.six.saddr));
    routable && frame.arrived_on() != 0 && uplinks6::uplink(frame.device()).is_some()
}

#[inline(always)]
fn by_part(frame: &Frame, direction: Direction) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let part = desk.packet.part;
    match part {
        Part::Later => return fragment6::later(frame, direction),
        Part::First if sort6::is_due(frame, direction) => {
            return sort6::detour(frame, direction as u32);
        }
        Part::First | Part::Whole => {}
    }
    let code = by_kind(frame, direction);
    if part == Part::First { fragment6::first(frame, direction, code) } else { code }
}

#[inline(always)]
fn by_kind(frame: &Frame, direction: Direction) -> u32 {
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    if desk.packet.kind == Kind::Error {
        return error6::vnet_error66(frame.skb(), direction as u32);
    }
    match vnet_known66(frame.skb(), direction as u32) {
        GOES_ON => {
            if desk.moved == ENDS {
                vnet_end66();
            }
            match direction {
                Direction::Out => outward(frame),
                Direction::In => from_outside(frame),
            }
        }
        end => end,
    }
}

#[inline(always)]
fn outward(frame: &Frame) -> u32 {
    opened(frame, open6::vnet_admit66(frame.skb()), Direction::Out)
}

#[inline(always)]
fn from_outside(frame: &Frame) -> u32 {
    opened(frame, open6::vnet_invite66(frame.skb()), Direction::In)
}

/// Opens the connection on the desk, if there is one, and translates the packet.
#[inline(always)]
fn opened(frame: &Frame, admitted: u32, direction: Direction) -> u32 {
    if admitted != open::OPENED {
        return admitted;
    }
    let out = direction == Direction::Out;
    let code = if out { open::open(frame) } else { open::make(frame) };
    if code != open::OPENED {
        // Its uses are the connection's once that is there.
        open6::vnet_unadmit66();
    }
    if !open::is_open(code) {
        return code;
    }
    match vnet_known66(frame.skb(), direction as u32) {
        GOES_ON => Reason::MappingRace as u32,
        end => end,
    }
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn vnet_read66(skb: Skb, direction: u32) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let uplink = match direction {
        TO_INSIDE => None,
        FROM_INSIDE => uplinks6::owner(&desk.six.daddr).map(|(_, uplink)| uplink),
        _ => uplinks6::uplink(frame.device()),
    };
    if let Some(uplink) = uplink {
        desk.own6 = words(&uplink.addr);
    } else if direction != TO_INSIDE {
        return Reason::Ipv6 as u32;
    }
    let may = if direction == Direction::Out as u32 {
        may_leave(&frame, &desk.six, &desk.own6)
    } else if direction == TO_INSIDE {
        Ok(())
    } else if direction == FROM_INSIDE {
        may_enter(&frame, &desk.six)
    } else if same(&desk.six.daddr, &desk.own6) {
        Ok(())
    } else {
        Err(if stays(&desk.six.daddr) { Reason::Ipv6 } else { Reason::NotOurs })
    };
    (desk.packet, desk.moved) = (Packet::UNKNOWN, 0);
    match may.and_then(|()| facts(&frame, &desk.six, &mut desk.packet)) {
        Ok(()) => GOES_ON,
        Err(_) if direction == FROM_INSIDE => Reason::Inside as u32,
        Err(_) if direction == TO_INSIDE => Reason::HairpinLost as u32,
        Err(Reason::Malformed) if direction != Direction::Out as u32 => Reason::MalformedIn as u32,
        Err(reason) => reason as u32,
    }
}

/// Whether it may be for an inside host: by the parent of a macvlan comes what is for its children,
/// too, and what is in fragments the kernel puts together for this host.
#[inline(always)]
fn may_enter(frame: &Frame, packet: &Packet6) -> Result<(), Reason> {
    let may = frame.is_for_this_host() && !stays(&packet.saddr) && packet.fragment == 0;
    if may { Ok(()) } else { Err(Reason::Inside) }
}

/// Whether it is to be translated on its way out; if not, its end.
#[inline(always)]
fn may_leave(frame: &Frame, packet: &Packet6, own: &Words) -> Result<(), Reason> {
    let arrived = frame.arrived_on() != 0;
    if stays(&packet.saddr) {
        return Err(Reason::Ipv6);
    }
    if stays(&packet.daddr) {
        return Err(if arrived { Reason::MulticastSource } else { Reason::Ipv6 });
    }
    // What this host's errors quote is looked at, wherever they come from.
    let of_host = !arrived && !same(&packet.saddr, own) && !unique_local(&packet.saddr);
    if of_host && packet.kind != Kind6::Error { Err(Reason::Host) } else { Ok(()) }
}

/// Unique local addresses mean nothing outside (RFC 4193).
#[inline(always)]
pub(crate) fn unique_local(addr: &Words) -> bool {
    u32::from_be(addr[0]) >> 25 == 0xfc >> 1
}

/// The same facts as of an IPv4 packet, but for addresses.
#[inline(always)]
fn facts(frame: &Frame, six: &Packet6, packet: &mut Packet) -> Result<(), Reason> {
    packet.l3 = six.l3;
    packet.l4 = six.l4;
    packet.payload = six.l4;
    packet.end = six.end;
    packet.key.proto = match six.proto {
        packet6::ICMP => proto::ICMP,
        // A number that stands for another protocol in the tables.
        proto::ICMP => return Err(Reason::Protocol),
        other => other,
    };
    if six.fragment != 0 {
        fragment6::read(frame, six, packet).ok_or(Reason::Malformed)?;
    }
    if packet.part == Part::Later {
        packet.kind = Kind::Fragment;
        return Ok(());
    }
    match transport(frame, six.proto, packet) {
        Some(()) => Ok(()),
        None if packet.part == Part::First => Err(Reason::FragmentTiny),
        None => Err(Reason::Malformed),
    }
}

#[inline(always)]
fn transport(frame: &Frame, number: u8, packet: &mut Packet) -> Option<()> {
    let end = packet.end;
    match number {
        proto::TCP => packet::tcp(frame, packet, end),
        proto::UDP => packet::udp(frame, packet, end),
        packet6::ICMP => {
            let words: [u32; 2] = frame.words(packet.l4)?;
            packet.payload = packet.l4 + 8;
            if packet.payload > end {
                return None;
            }
            packet.kind = packet6::conversation((u32::from_be(words[0]) >> 24) as u8);
            if matches!(packet.kind, Kind::Query | Kind::Reply) {
                let id = packet::first(words[1]);
                (packet.key.sport, packet.key.dport) = (id, id);
            }
            Some(())
        }
        _ => Some(()),
    }
}

/// Translates a packet of a known flow; [`GOES_ON`] where there is none.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_known66(skb: Skb, direction: u32) -> u32 {
    let mut frame = Frame::new(skb);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let Some(uplink) = uplinks6::uplink(frame.device()) else { return Reason::Ipv6 as u32 };
    put_handles(desk, uplink);
    let direction = if direction == Direction::In as u32 { Direction::In } else { Direction::Out };
    let Some(entry) = flow::known(&desk.packet, direction, frame.device()) else {
        return GOES_ON;
    };
    // What has left since, and another address has come in its place, is not this packet's.
    let key = &desk.packet.key;
    let still = is_still(key.saddr, &desk.six.saddr, uplink)
        && is_still(key.daddr, &desk.six.daddr, uplink);
    if !still {
        return GOES_ON;
    }
    if direction == Direction::Out && entry.target().saddr != uplink.handle {
        desk.moved = ENDS;
        return GOES_ON;
    }
    match forward(&mut frame, desk, uplink, entry, direction) {
        Ok(reason) | Err(reason) => reason as u32,
    }
}

/// The flow on the desk is of an outside address that is gone, and ends.
const ENDS: u32 = 2;

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_end66() -> u32 {
    let Some(desk) = desk() else { return 0 };
    desk.moved = 1;
    let key = desk.packet.key;
    if let Some(entry) = Entry::find(&key) {
        translate::end(&key, entry);
    }
    0
}

/// Gives the packet on the desk its tuple of handles; 0 where there is none.
#[inline(always)]
pub(crate) fn put_handles(desk: &mut Desk, uplink: &Uplink6) {
    desk.packet.key.saddr = handle(&desk.six.saddr, &desk.own6, uplink).unwrap_or_default();
    desk.packet.key.daddr = handle(&desk.six.daddr, &desk.own6, uplink).unwrap_or_default();
}

#[inline(always)]
pub(crate) fn handle(addr: &Words, own: &Words, uplink: &Uplink6) -> Option<Ipv4> {
    if same(addr, own) { Some(uplink.handle) } else { addresses6::handle(addr) }
}

#[inline(always)]
pub(crate) fn is_still(handle: Ipv4, addr: &Words, uplink: &Uplink6) -> bool {
    handle == uplink.handle || addresses6::stands_for(handle, addr)
}

/// Counts a packet of a known flow, follows the conversation and translates.
#[inline(always)]
fn forward(
    frame: &mut Frame,
    desk: &mut Desk,
    uplink: &Uplink6,
    entry: Entry,
    direction: Direction,
) -> Result<Reason, Reason> {
    let (packet, target) = (&desk.packet, entry.target());
    flow::count(frame, packet, entry, direction);
    if direction == Direction::Out {
        desk.new6 = desk.own6;
    } else {
        inside(target.daddr, uplink, &desk.own6, &mut desk.new6)?;
    }
    if direction == Direction::Out {
        let ports = (packet.key.sport, target.sport);
        write(frame, packet, SOURCE, (&desk.six.saddr, &desk.new6), ports)?;
        return Ok(if desk.moved != 0 { Reason::Moved } else { Reason::NatOut });
    }
    let ports = (packet.key.dport, target.dport);
    write(frame, packet, DESTINATION, (&desk.six.daddr, &desk.new6), ports)?;
    frame.tell_translated();
    Ok(Reason::NatIn)
}

/// Writes down the address of an inside end, which may be this host.
#[inline(always)]
pub(crate) fn inside(
    handle: Ipv4,
    uplink: &Uplink6,
    own: &Words,
    addr: &mut Words,
) -> Result<(), Reason> {
    if handle == uplink.handle {
        *addr = *own;
        return Ok(());
    }
    if addresses6::read(handle, addr) { Ok(()) } else { Err(Reason::MappingRace) }
}

/// Gives one end of the packet another address and port, and the checksum for it.
#[inline(always)]
pub(crate) fn write(
    frame: &mut Frame,
    packet: &Packet,
    at: u32,
    (old, new): (&Words, &Words),
    (old_port, port): (u16, u16),
) -> Result<(), Reason> {
    let field = if packet.kind == Kind::Udp { Field::Udp } else { Field::Plain };
    let sum = match packet.kind {
        Kind::Tcp => 16,
        Kind::Udp => 6,
        Kind::Query | Kind::Reply | Kind::Error | Kind::OtherIcmp => 2,
        Kind::Other if pseudo_header(packet.key.proto) => 6,
        Kind::Other | Kind::Fragment => 0,
    };
    if !same(old, new) {
        frame.set_bare_words(packet.l3 + at, new)?;
        if sum != 0 {
            frame.checksum(packet.l4 + sum, difference(old, new), field, true)?;
        }
    }
    if old_port == port {
        return Ok(());
    }
    let port_at = match packet.kind {
        Kind::Query | Kind::Reply => 4,
        Kind::Tcp | Kind::Udp | Kind::Error | Kind::OtherIcmp | Kind::Fragment | Kind::Other => {
            if at == SOURCE {
                0
            } else {
                2
            }
        }
    };
    frame.checksum_port(packet.l4 + sum, old_port, port, field)?;
    frame.set_half(packet.l4 + port_at, port.to_be())
}
