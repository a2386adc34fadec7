//! The shortcut by XDP: what [`crate::shortcut`] does, before the kernel has made a packet of it.
//!
//! It is for what is complete as it comes in. A sender on this machine may leave the transport checksum
//! to hardware that never comes, and its receiver is told so beside the packet, which does not get past
//! XDP; but the field shows it: it then holds the sum of the pseudo-header. Such a packet passes, as
//! does all that the shortcut does not take; nothing is learnt here.

use vnet_common::{account::Reason, flow::Direction, flow::proto};

use crate::{
    account, address, checksum, flow,
    kernel::{
        clock,
        early::{DROP, EarlyFrame, PASS},
        flows::Entry,
        frame::{ETHERNET, ethertype},
        maps,
    },
    packet::{Bytes, Packet},
    rewrite::{self, Patch as _},
    shortcut::{self, Arrival as _},
};

/// UDP ports of tunnels (VXLAN, Geneve, VXLAN as Linux once had it): what is in there may be as
/// unfinished as what is around it.
const TUNNELS: [u16; 3] = [4789, 6081, 8472];

/// Sends the packet the way that is remembered of its flow, if there is one and it may; else it passes.
#[inline(always)]
#[must_use]
pub fn take(frame: &mut EarlyFrame) -> u32 {
    let mut packet = Packet::UNKNOWN;
    let now = clock::now();
    if frame.half(ETHERNET - 2) != Some(ethertype::IPV4.to_be()) {
        return PASS;
    }
    let Some((entry, hop)) = shortcut::way(frame, &mut packet, ETHERNET, now) else { return PASS };
    let direction = entry.direction();
    let present = direction == Direction::In || address::was_current(&entry, clock::tick_of(now));
    if !present || !is_finished(frame, &packet) {
        return PASS;
    }
    let (device, leave) = (hop.device(), hop.leave());
    if u32::from(leave.header) != ETHERNET {
        return PASS;
    }
    let Some(verdict) = frame.redirect(device) else { return PASS };
    let wire = frame.on_wire(0, frame.length());
    flow::count_at(&packet, entry, direction, frame.on_wire(packet.l3, packet.end), now);
    let reason = match rewrite(frame, &packet, &entry, &leave.macs) {
        Ok(()) if direction == Direction::Out => Reason::XdpOut,
        Ok(()) => Reason::XdpIn,
        Err(reason) => reason,
    };
    account::log_early(frame, &packet, reason as u32);
    maps::count(reason as u32, wire);
    if reason == Reason::Rewrite { DROP } else { verdict }
}

#[inline(always)]
fn rewrite(
    frame: &mut EarlyFrame,
    packet: &Packet,
    entry: &Entry,
    macs: &[u32; 3],
) -> Result<(), Reason> {
    rewrite::forward(frame, packet, &entry.target())?;
    frame.set_words(0, macs)
}

/// Whether the checksum of a TCP or UDP packet is one, as far as it can be seen.
#[inline(always)]
#[must_use]
pub fn is_finished(bytes: &impl Bytes, packet: &Packet) -> bool {
    let key = &packet.key;
    let udp = key.proto == proto::UDP;
    let at = packet.l4 + if udp { 6 } else { 16 };
    let Some(field) = bytes.half(at) else { return false };
    if udp && (field == 0 || TUNNELS.contains(&key.dport)) {
        return false;
    }
    let words = [u32::from_ne_bytes(key.saddr), u32::from_ne_bytes(key.daddr)];
    let halves = [u16::from(key.proto).to_be(), ((packet.end - packet.l4) as u16).to_be()];
    let sum = words.into_iter().map(u64::from).chain(halves.into_iter().map(u64::from)).sum();
    !checksum::is_begun(field, sum)
}
