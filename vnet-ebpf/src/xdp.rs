//! The shortcut by XDP: what [`crate::shortcut`] does, before the kernel has made a packet of it.
//!
//! It is for what is complete as it comes in. A sender on this machine may leave the transport checksum
//! to hardware that never comes, and its receiver is told so beside the packet, which does not get past
//! XDP; but the field shows it: it then holds the sum of the pseudo-header. Such a packet passes, as
//! does all that the shortcut does not take; nothing is learnt here.

use vnet_common::{account::Reason, flow::Direction, flow::proto, path::written};

use crate::{
    account, address, checksum, flow,
    kernel::{
        clock,
        early::{DROP, EarlyFrame, PASS},
        frame::{ETHERNET, ethertype},
        hops::{HopPlace, Leave},
        maps,
    },
    packet::{Bytes, Packet},
    packet6::{IPV6_HEADER, SOURCE},
    path,
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
    match frame.half(ETHERNET - 2).map(u16::from_be) {
        Some(ethertype::IPV4) => match take_flow(frame) {
            PASS => take_path(frame, false),
            verdict => verdict,
        },
        Some(ethertype::IPV6) => take_path(frame, true),
        _ => PASS,
    }
}

/// The same for a packet of a flow in `flows4`.
#[inline(always)]
fn take_flow(frame: &mut EarlyFrame) -> u32 {
    let mut packet = Packet::UNKNOWN;
    let now = clock::now();
    let Some((entry, hop)) = shortcut::way(frame, &mut packet, ETHERNET, now) else { return PASS };
    let direction = entry.direction();
    let present = direction == Direction::In || address::was_current(&entry, clock::tick_of(now));
    if !present || !is_finished(frame, &packet) {
        return PASS;
    }
    let leave = hop.leave();
    let Some(verdict) = exit(frame, &hop, &leave) else { return PASS };
    let wire = frame.on_wire(packet.l3, packet.end);
    flow::count_at(&packet, entry, direction, wire, now);
    let written = rewrite::forward(frame, &packet, &entry.target());
    let reason = match direction {
        Direction::Out => Reason::XdpOut,
        Direction::In => Reason::XdpIn,
    };
    send(frame, &packet, &leave, written.map(|()| reason), verdict)
}

/// The same for a packet of a conversation in `paths`.
#[inline(always)]
fn take_path(frame: &mut EarlyFrame, six: bool) -> u32 {
    let mut packet = Packet::UNKNOWN;
    let Some(found) = path::find(frame, &mut packet, (ETHERNET, six)) else { return PASS };
    if !is_finished(frame, &packet) {
        return PASS;
    }
    let leave = found.hop.leave();
    let Some(verdict) = exit(frame, &found.hop, &leave) else { return PASS };
    path::count(&packet, &found, frame.on_wire(packet.l3, packet.end), clock::now());
    let written = path::rewrite(frame, &packet, &found);
    let reason = match found.written {
        written::SOURCE => Reason::XdpOut,
        written::DESTINATION => Reason::XdpIn,
        _ => Reason::XdpRouted,
    };
    send(frame, &packet, &leave, written.map(|()| reason), verdict)
}

/// What the program returns to send the packet to its hop; nothing when XDP cannot.
#[inline(always)]
fn exit(frame: &EarlyFrame, hop: &HopPlace, leave: &Leave) -> Option<u32> {
    let device = hop.device();
    (u32::from(leave.header) == ETHERNET).then(|| frame.redirect(device))?
}

/// Writes the link header, and says and counts the end.
#[inline(always)]
fn send(
    frame: &mut EarlyFrame,
    packet: &Packet,
    leave: &Leave,
    written: Result<Reason, Reason>,
    verdict: u32,
) -> u32 {
    let wire = frame.on_wire(0, frame.length());
    let sent = written.and_then(|reason| frame.set_words(0, &leave.macs).map(|()| reason));
    let reason = sent.unwrap_or_else(|reason| reason);
    account::log_early(frame, packet, reason as u32);
    maps::count(reason as u32, wire);
    if reason == Reason::Rewrite { DROP } else { verdict }
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
    let halves = [u16::from(key.proto).to_be(), ((packet.end - packet.l4) as u16).to_be()];
    let mut sum = u64::from(halves[0]) + u64::from(halves[1]);
    if packet.l4 == packet.l3 + IPV6_HEADER {
        let Some(words) = bytes.words::<8>(packet.l3 + SOURCE) else { return false };
        sum += words.into_iter().map(u64::from).sum::<u64>();
    } else {
        sum += u64::from(u32::from_ne_bytes(key.saddr)) + u64::from(u32::from_ne_bytes(key.daddr));
    }
    !checksum::is_begun(field, sum)
}
