//! Learning what the kernel has decided about routed conversations that `flows4` does not have, for
//! [`crate::path`]. It happens where packets leave, once it is clear that they may.
//!
//! An entry is keyed by the tuple as the packet came in. What leaves may have another: vnet's own
//! translation is known here, and nobody else's is. So a direction is accepted only once the other leads
//! back to it, which it does not where somebody else has changed addresses on the way.

use vnet_common::{
    account::Reason,
    flow::{Flow, flag},
    path::{Path, PathKey, flag::ANSWER, written},
    policy::Link,
    shortcut::Way,
};

use crate::{
    account::LEARN,
    forward,
    kernel::{
        clock,
        desk::{Desk, desk},
        flows::Entry,
        frame::{ETHERNET, Frame, Skb, ethertype},
        maps,
        paths::{self, PathEntry},
    },
    learn::{allowed, came_by, epoch, goes, hop},
    packet::{Bytes as _, Packet, Part},
    packet6, path,
    shortcut::{self, Facts, Remembered as _},
};

/// What is found out about a packet that leaves.
#[repr(C)]
pub struct Trail {
    /// Its end, a [`Reason`] as a number.
    pub end: u32,
    /// The epoch under which that was decided.
    pub epoch: u16,
    /// 1 for a packet of IPv6.
    pub six: u16,
    /// What it is now.
    pub packet: Packet,
    /// Its tuple when it came in.
    pub key: PathKey,
    /// The other direction's.
    pub twin: PathKey,
    /// What is to be remembered.
    pub path: Path,
}

/// Notes how a packet leaves for which [`or_verdict`] has asked for it. Always 0.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_learn_path(skb: Skb) -> u32 {
    let frame = Frame::new(skb);
    let Some(desk) = desk() else { return 0 };
    let Some(link) = maps::link(frame.device()).filter(|link| allowed(link)) else { return 0 };
    let Some(came_by) = came_by(&frame) else { return 0 };
    let Some(translated) = frame.was_translated() else { return 0 };
    let Some(facts) = read(&frame, desk, link) else { return 0 };
    if came_as(desk, translated).is_none() {
        return 0;
    }
    if desk.trail.packet.part != Part::Whole {
        return 0;
    }
    if shortcut::begins_or_ends(&desk.trail.packet) != 0 {
        // A new conversation, or the end of one: what was accepted does not hold for what follows.
        PathEntry::remove(&desk.trail.key);
        PathEntry::remove(&desk.trail.twin);
        return 0;
    }
    note(&frame, &mut desk.trail, &facts, came_by);
    0
}

/// A packet is about to leave. The epoch first: what is decided about it is not older.
#[inline(always)]
pub fn begin() {
    if let (Some(desk), Some(epoch)) = (desk(), epoch()) {
        desk.trail.epoch = epoch;
    }
}

/// [`LEARN`], where it is to be noted how a packet of this end leaves, a [`Reason`] as a number; else the
/// verdict. By then there is stack for it.
#[inline(always)]
#[must_use]
pub fn or_verdict(code: u32, verdict: i32) -> i32 {
    if ROUTED >> (code & 63) & 1 == 0 {
        return verdict;
    }
    let Some(desk) = desk() else { return verdict };
    desk.trail.end = code;
    LEARN
}

/// Ends of packets that are routed but for `flows4`, as bits.
const ROUTED: u64 = 1 << Reason::Routed as u32
    | 1 << Reason::Inside as u32
    | 1 << Reason::Excluded as u32
    | 1 << Reason::Ipv6 as u32
    | 1 << Reason::NptOut as u32
    | 1 << Reason::NatOut as u32;

/// Reads the packet, if it is one that this host has routed: then its link header is this device's.
#[inline(always)]
fn read(frame: &Frame, desk: &mut Desk, link: &Link) -> Option<Facts> {
    let six = match frame.ethertype() {
        ethertype::IPV4 => false,
        ethertype::IPV6 => true,
        _ => return None,
    };
    if frame.has_tag() {
        return None;
    }
    // On a VLAN device there may be a tag in the bytes: then this is not where the type is.
    let l3 = if link.header == 0 { 0 } else { ETHERNET };
    if l3 != 0 {
        let [_, from, rest] = frame.words::<3>(0)?.map(u32::to_ne_bytes);
        let mac = [from[2], from[3], rest[0], rest[1], rest[2], rest[3]];
        if mac != link.mac || frame.half(ETHERNET - 2)? != frame.ethertype().to_be() {
            return None;
        }
    }
    let trail = &mut desk.trail;
    (trail.packet, trail.path) = (Packet::UNKNOWN, Path::default());
    let (key, facts) = path::read(frame, &mut trail.packet, (l3, frame.length()), six)?;
    (trail.key, trail.six) = (key, six.into());
    Some(facts)
}

/// Finds out which tuple the packet came in with: its key then, and what is written into it.
#[inline(always)]
fn came_as(desk: &mut Desk, translated: bool) -> Option<()> {
    let Desk { trail, six, packet, .. } = desk;
    let Trail { key, twin, path, end, .. } = trail;
    let code = *end;
    path.first_seen = Flow::stamp(clock::now());
    if code == Reason::NatOut as u32 || code == Reason::NptOut as u32 {
        if translated {
            return None;
        }
        (path.written, path.addr, path.port) = (written::SOURCE, key.saddr, key.sport);
        key.saddr = packet6::bytes(&six.saddr);
        if code == Reason::NatOut as u32 {
            let flow = Entry::find(&packet.key).filter(is_nat66)?;
            key.sport = packet.key.sport;
            (path.flow, path.first_seen) = (packet.key, flow.first_seen());
        }
        *twin = key.twin(path);
        return Some(());
    }
    if trail.six == 0 && Entry::find(&trail.packet.key.reversed()).is_some() {
        // `flows4` has it.
        return None;
    }
    *twin = key.reversed();
    if !translated {
        return Some(());
    }
    // By this instance, if it knows of an answer that would be: else it is another's matter.
    let out = PathEntry::find(twin).filter(|out| out.written() == written::SOURCE)?;
    (path.written, path.addr, path.port) = (written::DESTINATION, key.daddr, key.dport);
    if let Some(flow) = out.flow() {
        let entry = Entry::find(&flow).filter(is_nat66)?;
        (path.flow, path.first_seen) = (entry.twin(flow.proto), entry.first_seen());
    }
    (key.daddr, key.dport) = (packet6::bytes(&out.addr()), out.port());
    Some(())
}

/// Whether a connection is an inside host's, with somebody outside.
#[inline(always)]
fn is_nat66(flow: &Entry) -> bool {
    flow.flags() & (flag::HOST | flag::HAIRPIN) == 0 && !forward::stale(flow)
}

#[inline(always)]
fn note(frame: &Frame, trail: &mut Trail, facts: &Facts, came_by: &Link) {
    let Trail { packet, key, twin, path, epoch, .. } = trail;
    let epoch = *epoch;
    let (now, size) = (clock::now(), frame.segment(packet) as u16);
    let wire = frame.on_wire(packet.l3, packet.payload, packet.end);
    let found = PathEntry::find(key).filter(|entry| entry.leads_to(path));
    if let Some(entry) = found {
        let place = entry.way();
        let way = place.read();
        let holds = way.epoch == epoch && shortcut::holds(way, entry.last_seen(), now);
        if path.flow.proto == 0 {
            entry.count(wire, now);
        } else {
            entry.touch(now);
        }
        if holds && goes(way, frame, facts) && entry.label() == facts.label {
            if size > way.size {
                place.note(Way { size, ..way });
            }
            return;
        }
    }
    let Some(hop) = hop(frame, packet, facts, came_by, now) else { return };
    let way = Way { hop, size, learnt: Way::stamp(now), epoch };
    if let Some(entry) = found {
        entry.set_label(facts.label);
        entry.way().note(way);
        if !entry.is_of(paths::check(key)) {
            // It has become another's meanwhile, whose way this is not.
            entry.way().note(Way::default());
            return;
        }
    } else {
        if path.flow.proto == 0 {
            (path.packets, path.bytes) = (wire.packets.into(), wire.bytes);
        }
        (path.way, path.last_seen, path.label) = (way, now, facts.label);
        path.check = paths::check(key);
        if PathEntry::find(twin).is_some() {
            path.flags = ANSWER;
        }
        PathEntry::put(key, path);
    }
    accept(key, twin, now);
}

/// How long one direction may be silent before the other one's packets take the kernel's way.
const SILENCE: u64 = 30 * 1_000_000_000;

/// Once both directions have passed, and each leads back to the other, both may take the shortcut; as long as
/// that is so.
#[inline(always)]
fn accept(key: &PathKey, twin: &PathKey, now: u64) {
    let Some(entry) = PathEntry::find(key) else { return };
    let back = PathEntry::find(twin).filter(|back| {
        let silent = now.saturating_sub(back.last_seen()) > SILENCE;
        !silent && back.twin(twin) == *key
    });
    let Some(back) = back else { return entry.set_accepted(false) };
    if entry.is_of(paths::check(key)) && back.is_of(paths::check(twin)) {
        entry.set_accepted(true);
        back.set_accepted(true);
    }
}
