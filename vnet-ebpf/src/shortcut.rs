//! The shortcut: what the kernel has decided about a flow is repeated where its packets come in.
//!
//! A packet that takes the kernel's way is looked at again where it leaves: the device, the link
//! header and the marks it has there are what routing, policy rules, neighbours and the firewall made
//! of it, and the flow remembers them for a second. Until then, packets that are like it in all that
//! routing may look at are translated where they come in, and leave at once. Whatever else there is
//! (handshakes, ends, fragments, options, a TTL that ends, another traffic class, more bytes than
//! have passed so far) takes the kernel's way, and so does one packet of each flow and direction a
//! second, by which a changed decision is learnt.

use vnet_common::{
    account::Reason,
    flow::{Direction, flag},
    policy::{Link, link_flag},
    shortcut::Hop,
    tcp::{State, flags},
};

use crate::{
    account, address, flow,
    kernel::{
        clock,
        desk::desk,
        flows::Entry,
        frame::{Frame, InPlace, Skb, ethertype},
        maps,
    },
    packet::{self, Bytes as _, IPV4_HEADER, Kind, Packet, Part},
    rewrite::{self, Patch as _},
};

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;
/// The bits of the type of service that routing looks at.
const CLASS: u8 = 0xfc;

/// Sends the packet the way that is remembered of its flow, if there is one and it may: the verdict,
/// or [`account::AGAIN`] when it takes the kernel's way.
#[inline(never)]
#[must_use]
pub fn take(frame: &mut Frame) -> i32 {
    let mut packet = Packet::UNKNOWN;
    let Some(entry) = way(frame, &mut packet) else { return account::AGAIN };
    let (device, direction) = (entry.hop_device().0, entry.direction());
    let present = direction == Direction::In || from_present_address(frame, &packet, &entry);
    if device == 0 || !present {
        return account::AGAIN;
    }
    let reason = pass(frame, &packet, entry, direction);
    account::log(frame, direction, &packet, reason);
    let verdict = account::tally(frame, packet.payload, reason);
    frame.take_shortcut(device);
    verdict
}

/// The packet's flow, if it may take the way that this remembers. Nothing is asked about the device it
/// has come in by: that its flow remembers that device says enough, and where its IP header would be
/// elsewhere, what is read here is of no flow that came in by it. Not inlined, because of the stack: so
/// it is given back before the kernel is asked for an address.
#[inline(never)]
fn way(frame: &Frame, packet: &mut Packet) -> Option<Entry> {
    if frame.ethertype() != ethertype::IPV4 || frame.has_tag() {
        return None;
    }
    let ethernet = frame.half(ETHERNET - 2)? == ethertype::IPV4.to_be();
    let l3 = if ethernet { ETHERNET } else { 0 };
    packet::parse(frame, packet, l3, frame.length()).ok()?;
    let entry = Entry::find(&packet.key)?;
    let (device, learnt) = entry.hop_device();
    if device == 0 || !Hop::holds(learnt, Hop::stamp(clock::now())) {
        return None;
    }
    let (from, epoch) = entry.hop_from();
    let odds = from ^ frame.device() | u32::from(epoch ^ maps::config()?.epoch as u16);
    if odds | unlike(frame, packet, &entry) != 0 {
        return None;
    }
    // Read once more: it is 0 while another CPU notes another way.
    (entry.hop_device().0 == device).then_some(entry)
}

/// States of conversations that go on, as bits; where one end has said all, the other has not.
const TALKING: u32 = 1 << State::Established as u32
    | 1 << State::FinOut as u32
    | 1 << State::FinIn as u32
    | 1 << State::Replied as u32;
/// Flags of segments that begin or end a conversation: those are for the kernel's eyes too.
const TURNS: u8 = flags::SYN | flags::FIN | flags::RST;

/// 0 when routing would see in the packet what it saw in others of its flow, and let it pass: whole,
/// for this host, without options, of their traffic class, with no more bytes than they had and a TTL
/// that lasts. (One sum of differences, because the verifier follows each branch.)
#[inline(always)]
fn unlike(frame: &Frame, packet: &Packet, entry: &Entry) -> u32 {
    let (size, class) = entry.hop_fits();
    let Some((own_class, ttl)) = facts(frame, packet) else { return 1 };
    // What a short Ethernet frame is filled up with must not become part of a packet without one.
    let filling = packet.end ^ frame.length();
    if filling != 0 && entry.hop_header() == 0 {
        return 1;
    }
    let differs = u32::from(own_class ^ class)
        | (packet.l4 ^ (packet.l3 + IPV4_HEADER))
        | packet.l3 ^ u32::from(entry.hop_came())
        | frame.kind()
        | u32::from(!entry.flags() & flag::ACCEPTED);
    let below =
        u32::from(size).wrapping_sub(frame.segment(packet)) | u32::from(ttl).wrapping_sub(2);
    differs | turns(packet, entry) | below >> 31
}

/// 0 when the packet is one of a conversation that goes on.
#[inline(always)]
fn turns(packet: &Packet, entry: &Entry) -> u32 {
    // TCP and UDP are the first two kinds.
    let other = packet.kind as u32 >> 1 | packet.part as u32;
    let state = u32::from(entry.state_number()) & 31;
    other | u32::from(packet.segment.flags & TURNS) | (!(TALKING >> state) & 1)
}

const _: () = assert!(Kind::Tcp as u8 == 0 && Kind::Udp as u8 == 1 && Part::Whole as u8 == 0);

/// Traffic class and TTL.
#[inline(always)]
fn facts(frame: &Frame, packet: &Packet) -> Option<(u8, u8)> {
    let [_, service] = frame.half(packet.l3)?.to_ne_bytes();
    let [ttl, _] = frame.half(packet.l3 + 8)?.to_ne_bytes();
    Some((service & CLASS, ttl))
}

/// Whether the flow's outside address is the uplink's: the kernel is asked once a tick.
#[inline(always)]
fn from_present_address(frame: &Frame, packet: &Packet, entry: &Entry) -> bool {
    if address::is_current(entry, false) {
        return true;
    }
    let Some(desk) = desk() else { return false };
    desk.packet.key = packet.key;
    address::refresh(frame, entry.outside().into());
    address::is_current(entry, true)
}

/// Does to the packet what NAT, forwarding and the neighbour's entry would do; the reason, as a number.
#[inline(never)]
fn pass(frame: &mut Frame, packet: &Packet, entry: Entry, direction: Direction) -> u32 {
    flow::count(frame, packet, entry, direction);
    entry.mark_as_noted(frame);
    match rewrite(frame, packet, &entry) {
        Ok(()) if direction == Direction::Out => Reason::ShortcutOut as u32,
        Ok(()) => Reason::ShortcutIn as u32,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn rewrite(frame: &mut Frame, packet: &Packet, entry: &Entry) -> Result<(), Reason> {
    let mut frame = InPlace(frame);
    rewrite::forward(&mut frame, packet, &entry.target())?;
    if entry.hop_header() == 0 {
        return Ok(());
    }
    if packet.l3 == 0 {
        if !frame.0.add_header() {
            return Err(Reason::Rewrite);
        }
        frame.set_half(ETHERNET - 2, ethertype::IPV4.to_be())?;
    }
    frame.set_words(0, &entry.hop_macs())
}

/// Notes how a packet of a known flow, translated already, leaves by the uplink. Not inlined: it is
/// off the steady path.
#[inline(never)]
pub fn learn_out(frame: &Frame, packet: &Packet, entry: &Entry, link: &Link) {
    if may_learn(packet, entry, link) {
        note(frame, packet, entry);
    }
}

/// Asks for a note where a packet of a known flow leaves that has come in by the uplink.
#[inline(always)]
pub fn ask(frame: &mut Frame, packet: &Packet, entry: &Entry, link: &Link) {
    if turns(packet, entry) == 0 && allowed(link) {
        frame.ask();
    }
}

/// Notes how a packet that asks for it leaves: it is on the desk.
#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vnet_learn(skb: Skb) -> u32 {
    let mut frame = Frame::new(skb);
    frame.set_mark(0);
    let Some(desk) = desk() else { return Reason::Unmanaged as u32 };
    let packet = &desk.packet;
    if let (Some(link), Some(entry)) = (maps::link(frame.device()), answered(&frame, packet)) {
        if may_learn(packet, &entry, link) {
            note(&frame, packet, &entry);
        }
    }
    Reason::Inside as u32
}

/// The flow of a packet from outside, translated already: the other direction's entry leads to it.
#[inline(always)]
fn answered(frame: &Frame, packet: &Packet) -> Option<Entry> {
    let out = Entry::find(&packet.key.reversed()).filter(Entry::outward)?;
    let back = Entry::find(&out.twin(packet.key.proto))?;
    back.serves(Direction::In, frame.arrived_on()).then_some(back)
}

/// Whether the packet shows the way for others: it is like most, and the device is one that packets
/// may leave by without the kernel.
#[inline(always)]
fn may_learn(packet: &Packet, entry: &Entry, link: &Link) -> bool {
    let header = packet.l3 == ETHERNET || packet.l3 == 0;
    allowed(link) && header && turns(packet, entry) == 0
}

#[inline(always)]
fn allowed(link: &Link) -> bool {
    link.flags & link_flag::NO_SHORTCUT == 0
}

#[inline(always)]
fn note(frame: &Frame, packet: &Packet, entry: &Entry) {
    let Some(came_by) = maps::link(frame.arrived_on()).filter(|link| allowed(link)) else { return };
    let (Some(config), Some((class, _))) = (maps::config(), facts(frame, packet)) else { return };
    let now = Hop::stamp(clock::now());
    let (device, learnt) = entry.hop_device();
    let (from, epoch) = entry.hop_from();
    let size = frame.segment(packet) as u16;
    let same = (device, from, epoch) == (frame.device(), frame.arrived_on(), config.epoch as u16);
    if same && Hop::holds(learnt, now) && entry.hop_fits().1 == class {
        if size > entry.hop_fits().0 {
            entry.note_size(&Hop { size, ..Hop::default() });
        }
        return;
    }
    let (mark, priority) = frame.user_marks();
    let mut hop = Hop {
        device: frame.device(),
        from: frame.arrived_on(),
        mark,
        priority,
        learnt: now,
        epoch: config.epoch as u16,
        size,
        class,
        came: if came_by.header == 0 { 0 } else { ETHERNET as u8 },
        ..Hop::default()
    };
    if packet.l3 != 0 {
        let Some([a, b, c]) = frame.words::<3>(0) else { return };
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) =
            (a.to_ne_bytes(), b.to_ne_bytes(), c.to_ne_bytes());
        hop.header = ETHERNET as u8;
        (hop.dmac, hop.smac) = ([a, b, c, d, e, f], [g, h, i, j, k, l]);
    }
    entry.note_hop(&hop);
    if entry.flags() & flag::ACCEPTED == 0 {
        accept(packet.key.proto, entry);
    }
}

/// Once both directions have passed, both may take the shortcut.
#[inline(always)]
fn accept(proto: u8, entry: &Entry) {
    let Some(twin) = Entry::find(&entry.twin(proto)) else { return };
    if twin.hop_device().0 != 0 {
        entry.set_accepted();
        twin.set_accepted();
    }
}
