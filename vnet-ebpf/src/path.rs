//! The shortcut of routed conversations that `flows4` does not have: those of addresses that nobody
//! translates, and those of IPv6. What holds for others ([`crate::shortcut`]) holds for them; what they
//! remember is in `paths`, by [`crate::learn_path`].

use vnet_common::{
    Ipv4,
    account::Reason,
    flow::{Direction, FlowKey, proto},
    path::{PathKey, written},
};

use crate::{
    account::{self, AGAIN},
    flow,
    kernel::{
        clock,
        flows::Entry,
        frame::{ETHERNET, Frame, Skb, Wire, ethertype},
        hops::{HopPlace, Leave},
        in_place::InPlace,
        paths::{self, PathEntry},
    },
    packet::{self, Bytes, Kind, Packet},
    packet6::{self, DESTINATION, IPV6_HEADER, SOURCE, Words},
    quote6::difference,
    rewrite::{self, Field, Patch},
    shortcut::{self, Arrival, CLASS, Facts},
};

/// The word before an IPv4 address in IPv6's form, behind two that are zero (RFC 4291 section 2.5.5.2).
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// Reads a TCP or UDP packet of either family: its tuple, and the facts that routing looks at. An IPv6
/// packet with extension headers is none, nor one longer than its header can say.
#[inline(always)]
pub(crate) fn read(
    bytes: &impl Bytes,
    packet: &mut Packet,
    (l3, length): (u32, u32),
    six: bool,
) -> Option<(PathKey, Facts)> {
    let (facts, saddr, daddr) = if six {
        let facts = read6(bytes, packet, l3, length)?;
        let (saddr, daddr) = packet6::addresses(bytes, l3)?;
        if is_mapped(&saddr) {
            // No such packet is one of IPv6 (`ip6_rcv_core`), and in the table they are IPv4's.
            return None;
        }
        (facts, saddr, daddr)
    } else {
        packet::parse(bytes, packet, l3, length).ok()?;
        let key = &packet.key;
        (shortcut::facts(bytes, packet)?, mapped(key.saddr), mapped(key.daddr))
    };
    let FlowKey { sport, dport, proto, reserved, .. } = packet.key;
    let (saddr, daddr) = (packet6::bytes(&saddr), packet6::bytes(&daddr));
    let key = PathKey { saddr, daddr, sport, dport, proto, reserved };
    (packet.kind as u32 >> 1 == 0).then_some((key, facts))
}

/// Whether it is an IPv4 address in IPv6's form.
#[inline(always)]
fn is_mapped(addr: &Words) -> bool {
    addr[0] | addr[1] | (addr[2] ^ MAPPED) == 0
}

/// An IPv4 address in IPv6's form.
#[inline(always)]
fn mapped(addr: Ipv4) -> Words {
    [0, 0, MAPPED, u32::from_ne_bytes(addr)]
}

#[inline(always)]
fn read6(bytes: &impl Bytes, packet: &mut Packet, l3: u32, length: u32) -> Option<Facts> {
    let [first, second] = bytes.words::<2>(l3)?.map(u32::from_be);
    let payload = second >> 16;
    let end = l3 + IPV6_HEADER + payload;
    if first >> 28 != 6 || payload == 0 || end > length {
        return None;
    }
    (packet.l3, packet.l4, packet.end) = (l3, l3 + IPV6_HEADER, end);
    packet.key.proto = (second >> 8) as u8;
    match packet.key.proto {
        proto::TCP => packet::tcp(bytes, packet, end)?,
        proto::UDP => packet::udp(bytes, packet, end)?,
        _ => return None,
    }
    Some(Facts {
        header: IPV6_HEADER,
        class: (first >> 20) as u8 & CLASS,
        ttl: second & 0xff,
        label: first & 0xf_ffff,
        damage: 0,
    })
}

/// A packet's way, of a conversation in `paths`: what is remembered, as it was while it was this one's.
#[derive(Clone, Copy)]
pub struct Found {
    /// Where it is remembered, and counted.
    path: PathEntry,
    /// The connection that counts, if there is one.
    flow: Option<Entry>,
    /// Where the packet goes.
    pub hop: HopPlace,
    /// What is written into it: one of [`written`].
    pub written: u8,
    port: u16,
    addr: Words,
}

/// What is found by the packet's tuple.
struct Known {
    hop: Option<HopPlace>,
    check: u32,
}

/// The way of a packet, if it may take the one that its entry remembers.
#[inline(always)]
pub fn find(frame: &impl Arrival, packet: &mut Packet, network: (u32, bool)) -> Option<Found> {
    let mut known = Known { hop: None, check: 0 };
    let path = look(frame, packet, network, &mut known)?;
    let (written, port, addr) = (path.written(), path.port(), path.addr());
    let flow = match path.flow() {
        Some(key) => Some(Entry::find(&key).filter(|flow| serves(&path, flow, packet))?),
        None => None,
    };
    // All that was read of it is this conversation's, or the packet takes the kernel's way.
    let still = path.is_of(known.check);
    let hop = known.hop.filter(|_| still)?;
    Some(Found { path, flow, hop, written, port, addr })
}

/// What is remembered of the packet's conversation, if it may take that way, and its hop. Not inlined,
/// because of the stack; and what it returns is one pointer: where a function writes down more than that,
/// the verifier sees what the compiler leaves behind.
#[inline(never)]
fn look(
    frame: &impl Arrival,
    packet: &mut Packet,
    (l3, six): (u32, bool),
    known: &mut Known,
) -> Option<PathEntry> {
    let (key, facts) = read(frame, packet, (l3, frame.length()), six)?;
    let path = PathEntry::find(&key)?;
    let (size, hop) = shortcut::fresh(frame, &path, clock::now())?;
    let odds = shortcut::unlike(frame, packet, &facts, &hop, size)
        | shortcut::begins_or_ends(packet)
        | facts.label ^ path.label();
    if odds != 0 || !path.accepted() {
        return None;
    }
    (known.hop, known.check) = (Some(hop), paths::check(&key));
    Some(path)
}

/// Whether it is the very connection whose way this is, and goes on.
#[inline(always)]
fn serves(path: &PathEntry, flow: &Entry, packet: &Packet) -> bool {
    let target = flow.target();
    let port = if path.written() == written::SOURCE { target.sport } else { target.dport };
    flow.first_seen() == path.first_seen()
        && port == path.port()
        && shortcut::turns(packet, flow) == 0
}

/// Sends the packet the way that is remembered of its conversation, if there is one and it may: the
/// verdict, or [`AGAIN`] when it takes the kernel's way.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_take_path(skb: Skb) -> i32 {
    let mut frame = Frame::new(skb);
    let mut packet = Packet::UNKNOWN;
    let now = clock::now();
    let Some(network) = network_header(&frame) else { return AGAIN };
    let Some(found) = find(&frame, &mut packet, network) else { return AGAIN };
    let (device, leave) = (found.hop.device(), found.hop.leave());
    if device == 0 {
        return AGAIN;
    }
    let wire = frame.on_wire(0, packet.payload, frame.length());
    let reason = pass(&mut frame, &packet, &found, &leave, now);
    account::log_path(&frame, &packet, reason);
    frame.take_shortcut(device);
    account::tally_wire(wire, reason)
}

/// Offset of the IP header, and whether it is IPv6's, where there is one and nothing but Ethernet before.
#[inline(always)]
fn network_header(frame: &Frame) -> Option<(u32, bool)> {
    let found = frame.ethertype();
    let six = found == ethertype::IPV6;
    if !six && found != ethertype::IPV4 || frame.has_tag() {
        return None;
    }
    let ethernet = frame.half(ETHERNET - 2)? == found.to_be();
    Some((if ethernet { ETHERNET } else { 0 }, six))
}

/// Does to the packet what forwarding and translation would do; the reason, as a number.
#[inline(always)]
fn pass(frame: &mut Frame, packet: &Packet, found: &Found, leave: &Leave, now: u64) -> u32 {
    let wire = frame.on_wire(packet.l3, packet.payload, packet.end);
    count(packet, found, wire, now);
    frame.mark_as(leave);
    let six = packet.l4 == packet.l3 + IPV6_HEADER;
    let mut frame = InPlace(frame);
    let ethertype = if six { ethertype::IPV6 } else { ethertype::IPV4 };
    let written = rewrite(&mut frame, packet, found)
        .and_then(|()| shortcut::link(&mut frame, packet, leave, ethertype));
    match (written, found.written) {
        (Err(reason), _) => reason as u32,
        (Ok(()), written::SOURCE) => Reason::ShortcutOut as u32,
        (Ok(()), written::DESTINATION) => Reason::ShortcutIn as u32,
        (Ok(()), _) => Reason::ShortcutRouted as u32,
    }
}

/// Counts the packet where its conversation is counted.
#[inline(always)]
pub(crate) fn count(packet: &Packet, found: &Found, wire: Wire, now: u64) {
    let Some(flow) = found.flow else { return found.path.count(wire, now) };
    let out = found.written == written::SOURCE;
    let direction = if out { Direction::Out } else { Direction::In };
    flow::count_at(packet, flow, direction, wire, now);
    found.path.touch(now);
}

/// Takes one from the hop limit, and writes what the path says.
#[inline(always)]
pub(crate) fn rewrite(
    frame: &mut impl Patch,
    packet: &Packet,
    found: &Found,
) -> Result<(), Reason> {
    if packet.l4 != packet.l3 + IPV6_HEADER {
        return rewrite::age(frame, packet);
    }
    let [next, hops] = frame.half(packet.l3 + 6).ok_or(Reason::Rewrite)?.to_ne_bytes();
    let aged = u16::from_ne_bytes([next, hops.wrapping_sub(1)]);
    frame.set_bare_half(packet.l3 + 6, aged)?;
    match found.written {
        written::SOURCE => write(frame, packet, found, (SOURCE, 0, packet.key.sport)),
        written::DESTINATION => write(frame, packet, found, (DESTINATION, 2, packet.key.dport)),
        _ => Ok(()),
    }
}

#[inline(always)]
fn write(
    frame: &mut impl Patch,
    packet: &Packet,
    found: &Found,
    (at, port_at, old_port): (u32, u32, u16),
) -> Result<(), Reason> {
    let old: Words = frame.words(packet.l3 + at).ok_or(Reason::Rewrite)?;
    let (new, port) = (found.addr, found.port);
    frame.set_bare_words(packet.l3 + at, &new)?;
    if found.flow.is_none() {
        // A prefix's translation leaves the sum of an address as it is (RFC 6296 section 3.1).
        return Ok(());
    }
    let udp = packet.kind == Kind::Udp;
    let (field, sum) =
        if udp { (Field::Udp, packet.l4 + 6) } else { (Field::Plain, packet.l4 + 16) };
    frame.checksum(sum, difference(&old, &new), field, true)?;
    if old_port == port {
        return Ok(());
    }
    frame.checksum_port(sum, old_port, port, field)?;
    frame.set_half(packet.l4 + port_at, port.to_be())
}
