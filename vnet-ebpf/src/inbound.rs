//! What becomes of a packet from outside that no flow wants.

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::flag,
    policy::{filtering, source},
    translate::{Peer, pool},
};

use crate::{
    forward,
    kernel::{
        desk::desk,
        flows::is_peer,
        frame::Frame,
        maps,
        ports::Slot,
        socket::{self, Socket},
    },
    open,
    packet::{Kind, Packet, Part},
    policy::{held_inside, unicast},
};

/// Decides about a packet from outside that no flow wants: its end, or [`open::OPENED`].
#[inline(always)]
pub fn decide(frame: &Frame) -> u32 {
    if forward::renewed() {
        return open::OPENED;
    }
    match forward::vnet_forward(frame.skb()) {
        open::OPENED => return open::through(),
        forward::NONE => (),
        code => return code,
    }
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    let end = unwanted(frame, packet);
    let Some(number) = outside(packet.key.daddr) else { return end as u32 };
    if end != Reason::Filtered || !welcome(packet, number) {
        return end as u32;
    }
    let Some(slot) = slot(packet, number) else { return end as u32 };
    open::inward(frame, slot.holder(), number, flag::INVITED)
}

/// The end of a packet from outside that opens nothing.
#[inline(always)]
#[must_use]
pub fn unwanted(frame: &Frame, packet: &Packet) -> Reason {
    let key = &packet.key;
    let Some(number) = outside(key.daddr) else {
        return if unicast(key.daddr) { Reason::NotOurs } else { Reason::Multicast };
    };
    let held = match packet.kind {
        // Of fragments only the first may have ports, and only with it the host would answer.
        Kind::Tcp | Kind::Udp | Kind::Fragment => held_inside(number, key.proto, key.dport),
        Kind::Query | Kind::Reply | Kind::Error | Kind::OtherIcmp | Kind::Other => false,
    };
    if held && socket::receiver(frame, key) == Socket::None {
        if packet.part == Part::First && packet.kind == Kind::Fragment {
            Reason::FragmentTiny
        } else {
            Reason::Filtered
        }
    } else if packet.part == Part::Later {
        Reason::FragmentIn
    } else {
        Reason::Unsolicited
    }
}

/// Whether the mapping lets this packet's sender in (RFC 4787 section 5). Of TCP only a SYN opens.
#[inline(always)]
pub(crate) fn welcome(packet: &Packet, number: u8) -> bool {
    let Some(config) = maps::config() else { return false };
    let opens = packet.kind == Kind::Udp || packet.kind == Kind::Tcp && packet.segment.opens();
    opens
        && match config.filtering {
            filtering::ENDPOINT_INDEPENDENT => true,
            filtering::ADDRESS_DEPENDENT => is_peer(&Peer {
                addr: packet.key.saddr,
                port: packet.key.dport,
                proto: packet.key.proto,
                outside: number,
            }),
            _ => false,
        }
}

/// The slot of the outside port that a packet is for.
#[inline(always)]
pub(crate) fn slot(packet: &Packet, number: u8) -> Option<Slot> {
    Slot::find(pool::number(number, packet.key.proto)?, packet.key.dport)
}

/// Number of an outside address.
#[inline(always)]
#[must_use]
pub fn outside(addr: Ipv4) -> Option<u8> {
    let found = maps::source(addr)?;
    (found.action == source::OUTSIDE).then_some(found.number as u8)
}
