//! The shortcut: what the kernel has decided about a flow is repeated where its packets come in.
//!
//! What was learnt of a packet that took the kernel's way (see [`crate::learn`]) holds for a second. Until
//! then, packets that are like it in all that routing may look at are translated where they come in, and
//! leave at once. Whatever else there is (handshakes, ends, fragments, options, a TTL that ends, another
//! traffic class, more bytes than have passed so far) takes the kernel's way, and so does one packet of
//! each flow and direction a second, by which a changed decision is learnt.

use vnet_common::{
    account::Reason,
    flow::{Direction, flag},
    shortcut::Way,
    tcp::{State, flags},
};

use crate::{
    account, address, checksum, flow,
    kernel::{
        clock,
        desk::desk,
        flows::Entry,
        frame::{ETHERNET, Frame, ethertype},
        hops::{HopPlace, Leave, WayPlace},
        in_place::InPlace,
        maps,
    },
    packet::{self, Bytes, IPV4_HEADER, Kind, Packet, Part},
    rewrite::{self, Patch as _},
};

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The bits of the type of service that routing looks at.
pub(crate) const CLASS: u8 = 0xfc;

/// An entry that remembers a way.
pub trait Remembered {
    /// Where it has it.
    fn way(&self) -> WayPlace;

    /// When its direction last saw a packet.
    fn last_seen(&self) -> u64;
}

/// A packet where it comes in: what the shortcut looks at besides its bytes.
pub trait Arrival: Bytes {
    /// Length from the link header on.
    fn length(&self) -> u32;

    /// Index of the device it has come in by.
    fn device(&self) -> u32;

    /// 0 when it came in for this host, as its link layer sees it.
    fn stranger(&self, hop: &HopPlace) -> u32;

    /// Bytes from its IP header on; of a GSO packet, of each segment.
    fn segment(&self, packet: &Packet) -> u32;
}

/// Sends the packet the way that is remembered of its flow, if there is one and it may: the verdict,
/// or [`account::AGAIN`] when it takes the kernel's way.
#[inline(never)]
#[must_use]
pub fn take(frame: &mut Frame) -> i32 {
    let mut packet = Packet::UNKNOWN;
    let now = clock::now();
    let Some(l3) = network_header(frame) else { return account::AGAIN };
    let Some((entry, hop)) = way(frame, &mut packet, l3, now) else { return account::AGAIN };
    let direction = entry.direction();
    if direction == Direction::Out && !from_present_address(frame, &packet, &entry, now) {
        return account::AGAIN;
    }
    let (device, leave) = (hop.device(), hop.leave());
    if device == 0 {
        return account::AGAIN;
    }
    let wire = frame.on_wire(0, packet.payload, frame.length());
    let reason = pass(frame, &packet, entry, &leave, now);
    account::log(frame, direction, &packet, reason);
    frame.take_shortcut(device);
    account::tally_wire(wire, reason)
}

/// Offset of the IPv4 header, where there is one and nothing but Ethernet before it.
#[inline(always)]
fn network_header(frame: &Frame) -> Option<u32> {
    if frame.ethertype() != ethertype::IPV4 || frame.has_tag() {
        return None;
    }
    let ethernet = frame.half(ETHERNET - 2)? == ethertype::IPV4.to_be();
    Some(if ethernet { ETHERNET } else { 0 })
}

/// The packet's flow, if it may take the way that this remembers. Nothing is asked about the device it
/// has come in by: that its flow remembers that device says enough, and where its IP header would be
/// elsewhere, what is read here is of no flow that came in by it. Not inlined, because of the stack: so
/// it is given back before the kernel is asked for an address.
#[inline(never)]
pub fn way(
    frame: &impl Arrival,
    packet: &mut Packet,
    l3: u32,
    now: u64,
) -> Option<(Entry, HopPlace)> {
    packet::parse(frame, packet, l3, frame.length()).ok()?;
    let entry = Entry::find(&packet.key)?;
    let (size, hop) = fresh(frame, &entry, now)?;
    let facts = facts(frame, packet)?;
    let accepted = u32::from(!entry.flags() & flag::ACCEPTED);
    let odds = unlike(frame, packet, &facts, &hop, size) | turns(packet, &entry) | accepted;
    (odds == 0).then_some((entry, hop))
}

/// The way that an entry remembers, while it may be repeated: the largest packet's size, and the hop.
#[inline(always)]
pub(crate) fn fresh(
    frame: &impl Arrival,
    entry: &impl Remembered,
    now: u64,
) -> Option<(u16, HopPlace)> {
    let place = entry.way();
    let way = place.read();
    let hop = HopPlace::find(way.hop)?;
    if !holds(way, entry.last_seen(), now) {
        // Or it would seem fresh again when its time has gone round.
        place.note(Way::default());
        return None;
    }
    let odds = hop.from() ^ frame.device() | u32::from(way.epoch ^ maps::config()?.epoch as u16);
    (odds == 0).then_some((way.size, hop))
}

/// Whether a way holds, of an entry that last saw a packet then.
#[inline(always)]
pub(crate) fn holds(way: Way, last_seen: u64, now: u64) -> bool {
    now.saturating_sub(last_seen) < SECOND && Way::holds(way.learnt, Way::stamp(now))
}

/// States of conversations that go on, as bits; where one end has said all, the other has not.
const TALKING: u32 = 1 << State::Established as u32
    | 1 << State::FinOut as u32
    | 1 << State::FinIn as u32
    | 1 << State::Replied as u32;
/// Flags of segments that begin or end a conversation: those are for the kernel's eyes too.
const TURNS: u8 = flags::SYN | flags::FIN | flags::RST;
/// Bytes of the shortest Ethernet frame, which shorter packets are filled up to.
const SHORTEST: u32 = 60;

/// 0 when routing would see in the packet what it saw in others of its flow, and let it pass: whole,
/// sound, for this host, without options, of their traffic class, with no more bytes than they had and a
/// TTL that lasts. (One sum of differences, because the verifier follows each branch.)
#[inline(always)]
pub(crate) fn unlike(
    frame: &impl Arrival,
    packet: &Packet,
    facts: &Facts,
    hop: &HopPlace,
    size: u16,
) -> u32 {
    let (came, header) = hop.headers();
    // What a short frame is filled up with must not become part of a packet without a link header.
    let filled = packet.end != frame.length();
    if filled && (header == 0 || frame.length() > SHORTEST) {
        return 1;
    }
    let differs = u32::from(facts.class ^ hop.class())
        | facts.damage
        | (packet.l4 ^ (packet.l3 + facts.header))
        | packet.l3 ^ u32::from(came)
        | frame.stranger(hop);
    let below = u32::from(size).wrapping_sub(frame.segment(packet)) | facts.ttl.wrapping_sub(2);
    differs | below >> 31
}

/// 0 when the packet is one of a conversation that goes on.
#[inline(always)]
pub(crate) fn turns(packet: &Packet, entry: &Entry) -> u32 {
    let state = u32::from(entry.state_number()) & 31;
    begins_or_ends(packet) | (!(TALKING >> state) & 1)
}

/// 0 when the packet neither begins nor ends a conversation, as far as it can be seen in it.
#[inline(always)]
pub(crate) fn begins_or_ends(packet: &Packet) -> u32 {
    // TCP and UDP are the first two kinds; TCP without an acknowledgement is not sound.
    let kind = packet.kind as u32;
    let ack = u32::from(flags::ACK) * (kind ^ 1);
    let turns = (u32::from(packet.segment.flags) ^ ack) & u32::from(TURNS | flags::ACK);
    kind >> 1 | packet.part as u32 | turns
}

const _: () = assert!(Kind::Tcp as u8 == 0 && Kind::Udp as u8 == 1 && Part::Whole as u8 == 0);

/// What routing looks at besides addresses.
pub(crate) struct Facts {
    /// Bytes of an IP header without options.
    pub(crate) header: u32,
    /// Traffic class.
    pub(crate) class: u8,
    /// TTL, or hop limit.
    pub(crate) ttl: u32,
    /// Flow label, of IPv6.
    pub(crate) label: u32,
    /// 0 when the header adds up (RFC 1812 section 5.2.2), where it has no options.
    pub(crate) damage: u32,
}

#[inline(always)]
pub(crate) fn facts(frame: &impl Bytes, packet: &Packet) -> Option<Facts> {
    let words: [u32; 5] = frame.words(packet.l3)?;
    let [_, service, ..] = words[0].to_ne_bytes();
    let [ttl, ..] = words[2].to_ne_bytes();
    let sum = words.iter().fold(0, |sum, word| sum + u64::from(*word));
    Some(Facts {
        header: IPV4_HEADER,
        class: service & CLASS,
        ttl: ttl.into(),
        label: 0,
        damage: checksum::of(sum).into(),
    })
}

/// Whether the flow's outside address is the uplink's: the kernel is asked once a tick.
#[inline(always)]
fn from_present_address(frame: &Frame, packet: &Packet, entry: &Entry, now: u64) -> bool {
    let tick = clock::tick_of(now);
    if address::is_current(entry, false, tick) {
        return true;
    }
    let Some(desk) = desk() else { return false };
    desk.packet.key = packet.key;
    address::refresh(frame, entry.outside().into());
    address::is_current(entry, true, tick)
}

/// Does to the packet what NAT, forwarding and the neighbour's entry would do; the reason, as a number.
#[inline(never)]
fn pass(frame: &mut Frame, packet: &Packet, entry: Entry, leave: &Leave, now: u64) -> u32 {
    let direction = entry.direction();
    let wire = frame.on_wire(packet.l3, packet.payload, packet.end);
    flow::count_at(packet, entry, direction, wire, now);
    frame.mark_as(leave);
    match rewrite(frame, packet, &entry, leave) {
        Ok(()) if direction == Direction::Out => Reason::ShortcutOut as u32,
        Ok(()) => Reason::ShortcutIn as u32,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn rewrite(frame: &mut Frame, packet: &Packet, entry: &Entry, leave: &Leave) -> Result<(), Reason> {
    let mut frame = InPlace(frame);
    rewrite::forward(&mut frame, packet, &entry.target())?;
    link(&mut frame, packet, leave, ethertype::IPV4)
}

/// Gives the packet the link header that it leaves with.
#[inline(always)]
pub(crate) fn link(
    frame: &mut InPlace<'_>,
    packet: &Packet,
    leave: &Leave,
    ethertype: u16,
) -> Result<(), Reason> {
    if leave.header == 0 {
        return Ok(());
    }
    if packet.l3 == 0 {
        if !frame.0.add_header() {
            return Err(Reason::Rewrite);
        }
        frame.set_half(ETHERNET - 2, ethertype.to_be())?;
    }
    frame.set_words(0, &leave.macs)
}
