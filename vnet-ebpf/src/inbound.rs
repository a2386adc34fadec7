//! What becomes of a packet from outside that no flow wants.

use vnet_common::{account::Reason, policy::source};

use crate::{
    kernel::{
        frame::Frame,
        maps,
        socket::{self, Socket},
    },
    packet::{Kind, Packet},
    policy::{held_inside, unicast},
};

/// The end of a packet from outside that no flow wants.
#[inline(always)]
#[must_use]
pub fn unwanted(frame: &Frame, packet: &Packet) -> Reason {
    let key = &packet.key;
    let Some(number) = outside(key.daddr) else {
        return if unicast(key.daddr) { Reason::NotOurs } else { Reason::Multicast };
    };
    let held = match packet.kind {
        // Of fragments only the first has ports, and only with it the host would answer.
        Kind::Tcp | Kind::Udp | Kind::Fragment => held_inside(number, key.proto, key.dport),
        Kind::Query | Kind::Reply | Kind::Error | Kind::OtherIcmp | Kind::Other => false,
    };
    if held && socket::receiver(frame, key) == Socket::None {
        Reason::Filtered
    } else if packet.kind == Kind::Fragment {
        Reason::FragmentIn
    } else {
        Reason::Unsolicited
    }
}

/// Number of an outside address.
#[inline(always)]
#[must_use]
pub fn outside(addr: vnet_common::Ipv4) -> Option<u8> {
    let found = maps::source(addr)?;
    (found.action == source::OUTSIDE).then_some(found.number as u8)
}
