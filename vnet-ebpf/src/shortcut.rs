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
        hops::{HopPlace, Leave},
        in_place::InPlace,
        maps,
    },
    packet::{self, Bytes, IPV4_HEADER, Kind, Packet, Part},
    rewrite::{self, Patch as _},
};

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// The bits of the type of service that routing looks at.
const CLASS: u8 = 0xfc;

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
    let way = entry.way();
    let hop = HopPlace::find(way.hop)?;
    let fresh =
        now.saturating_sub(entry.last_seen()) < SECOND && Way::holds(way.learnt, Way::stamp(now));
    if !fresh {
        // Or it would seem fresh again when its time has gone round.
        entry.note_way(Way::default());
        return None;
    }
    let odds = hop.from() ^ frame.device() | u32::from(way.epoch ^ maps::config()?.epoch as u16);
    (odds | unlike(frame, packet, &entry, &hop, way.size) == 0).then_some((entry, hop))
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
fn unlike(frame: &impl Arrival, packet: &Packet, entry: &Entry, hop: &HopPlace, size: u16) -> u32 {
    let (came, header) = hop.headers();
    let Some(facts) = facts(frame, packet) else { return 1 };
    // What a short frame is filled up with must not become part of a packet without a link header.
    let filled = packet.end != frame.length();
    if filled && (header == 0 || frame.length() > SHORTEST) {
        return 1;
    }
    let differs = u32::from(facts.class ^ hop.class())
        | facts.damage
        | (packet.l4 ^ (packet.l3 + IPV4_HEADER))
        | packet.l3 ^ u32::from(came)
        | frame.stranger(hop)
        | u32::from(!entry.flags() & flag::ACCEPTED);
    let below = u32::from(size).wrapping_sub(frame.segment(packet)) | facts.ttl.wrapping_sub(2);
    differs | turns(packet, entry) | below >> 31
}

/// 0 when the packet is one of a conversation that goes on.
#[inline(always)]
pub(crate) fn turns(packet: &Packet, entry: &Entry) -> u32 {
    // TCP and UDP are the first two kinds; TCP without an acknowledgement is not sound.
    let kind = packet.kind as u32;
    let ack = u32::from(flags::ACK) * (kind ^ 1);
    let turns = (u32::from(packet.segment.flags) ^ ack) & u32::from(TURNS | flags::ACK);
    let state = u32::from(entry.state_number()) & 31;
    kind >> 1 | packet.part as u32 | turns | (!(TALKING >> state) & 1)
}

const _: () = assert!(Kind::Tcp as u8 == 0 && Kind::Udp as u8 == 1 && Part::Whole as u8 == 0);

/// What routing looks at besides addresses.
pub(crate) struct Facts {
    /// Traffic class.
    pub(crate) class: u8,
    /// TTL.
    ttl: u32,
    /// 0 when the header adds up (RFC 1812 section 5.2.2), where it has no options.
    damage: u32,
}

#[inline(always)]
pub(crate) fn facts(frame: &impl Bytes, packet: &Packet) -> Option<Facts> {
    let words: [u32; 5] = frame.words(packet.l3)?;
    let [_, service, ..] = words[0].to_ne_bytes();
    let [ttl, ..] = words[2].to_ne_bytes();
    let sum = words.iter().fold(0, |sum, word| sum + u64::from(*word));
    Some(Facts { class: service & CLASS, ttl: ttl.into(), damage: checksum::of(sum).into() })
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
    if leave.header == 0 {
        return Ok(());
    }
    if packet.l3 == 0 {
        if !frame.0.add_header() {
            return Err(Reason::Rewrite);
        }
        frame.set_half(ETHERNET - 2, ethertype::IPV4.to_be())?;
    }
    frame.set_words(0, &leave.macs)
}
