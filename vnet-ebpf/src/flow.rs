//! Known flows: look up, follow, remember, forget.

use vnet_common::{
    account::Reason,
    expire::Ticket,
    flow::{Direction, Flow, FlowKey, proto},
    tcp::{self, Segment, State, Window, flags},
};

use crate::{
    kernel::{
        clock,
        flows::{Entry, Refusal},
        frame::{Frame, Wire},
        tickets::Line,
    },
    opening::Opening,
    options,
    packet::{Kind, Packet},
    rewrite,
};

/// The entry for a packet of `direction` on device `link`, by the packet's own tuple.
#[inline(always)]
#[must_use]
pub fn known(packet: &Packet, direction: Direction, link: u32) -> Option<Entry> {
    if !carries(packet.kind, direction) {
        return None;
    }
    Entry::find(&packet.key).filter(|entry| entry.serves(direction, link))
}

/// Whether packets of this kind make up flows in this direction. Others may have the tuple of one.
#[inline(always)]
#[must_use]
pub fn carries(kind: Kind, direction: Direction) -> bool {
    let query = match direction {
        Direction::Out => Kind::Query,
        Direction::In => Kind::Reply,
    };
    kind == query || matches!(kind, Kind::Tcp | Kind::Udp | Kind::Other)
}

/// Counts a packet of a known flow, follows the conversation and translates.
#[inline(always)]
pub fn forward(
    frame: &mut Frame,
    packet: &Packet,
    entry: Entry,
    direction: Direction,
) -> Result<(), Reason> {
    let target = entry.target();
    count(frame, packet, entry, direction);
    rewrite::apply(frame, packet, &target)?;
    if direction == Direction::Out {
        options::hide(frame, packet.l3, packet.l4, target.saddr);
    }
    Ok(())
}

/// Counts a packet of a known flow and follows the conversation.
#[inline(always)]
pub fn count(frame: &Frame, packet: &Packet, entry: Entry, direction: Direction) {
    let wire = frame.on_wire(packet.l3, packet.payload, packet.end);
    count_at(packet, entry, direction, wire, clock::now());
}

/// The same, given what the packet is on the wire, from its IP header on, and the present time.
#[inline(always)]
pub fn count_at(packet: &Packet, entry: Entry, direction: Direction, wire: Wire, now: u64) {
    match packet.kind {
        Kind::Tcp => follow_tcp(&entry, &packet.segment, direction),
        Kind::Udp
        | Kind::Query
        | Kind::Reply
        | Kind::Error
        | Kind::OtherIcmp
        | Kind::Fragment
        | Kind::Other => follow(&entry, packet.key.proto, direction),
    }
    entry.count(wire, now);
}

/// UDP and ICMP: an answer confirms the flow, once.
#[inline(always)]
fn follow(entry: &Entry, proto: u8, direction: Direction) {
    if !entry.replied() && entry.as_opener_sees(direction) == Direction::In {
        set_state(entry, Entry::find(&entry.twin(proto)), State::Replied);
    }
}

/// TCP: notes sequence numbers, and steps where the step can change something.
#[inline(always)]
fn follow_tcp(entry: &Entry, segment: &Segment, direction: Direction) {
    let state = entry.state().unwrap_or(State::PickedUp);
    let quiet = state == State::Established && !segment.has(flags::SYN | flags::FIN | flags::RST);
    if !quiet {
        step(entry, segment, direction, state);
    }
    if segment.has(flags::RST) {
        return;
    }
    // A SYN says where numbers begin, but only in a handshake: later, anybody could say so.
    let begins = segment.has(flags::SYN) && entry.in_handshake();
    let sent = if begins || entry.packets() == 0 {
        segment.end
    } else {
        tcp::advance(entry.sent(), segment)
    };
    let ack = if segment.has(flags::ACK) { segment.ack } else { entry.acknowledged() };
    entry.set_sequence(sent, ack);
}

/// Where the state may change: rarely, so it has a stack frame of its own.
#[inline(never)]
fn step(entry: &Entry, segment: &Segment, direction: Direction, state: State) {
    let twin = Entry::find(&entry.twin(proto::TCP));
    let (expected, receiver_sent) = twin.map_or((0, 0), |twin| (twin.acknowledged(), twin.sent()));
    let window = Window { sent: entry.sent(), expected, receiver_sent };
    let next = tcp::step(state, entry.as_opener_sees(direction), segment, &window);
    if next != state {
        if next == State::SynSent {
            // A new conversation: what the one before it said is no measure.
            [Some(*entry), twin].into_iter().flatten().for_each(|end| end.set_sequence(0, 0));
        }
        set_state(entry, twin, next);
    }
}

/// Both entries of a connection say the same.
#[inline(always)]
fn set_state(entry: &Entry, twin: Option<Entry>, state: State) {
    let replied = !matches!(state, State::Unreplied | State::SynSent | State::PickedUp);
    for entry in [Some(*entry), twin].into_iter().flatten() {
        entry.set_state(state);
        if replied {
            entry.set_replied();
        }
    }
}

/// Makes both entries of a new connection and its ticket, or nothing.
#[inline(always)]
pub fn remember(opening: &Opening, epoch: u32) -> Result<(), Refusal> {
    let key = &opening.key;
    let ticket = clock::random();
    let mut flow = Flow {
        saddr: opening.addr,
        daddr: opening.daddr,
        sport: opening.port,
        // A query has one identifier, and both ports are it.
        dport: if key.proto == proto::ICMP { opening.port } else { opening.dport },
        direction: Direction::Out as u8,
        state: opening.state as u8,
        flags: opening.flags,
        outside: opening.outside,
        first_seen: Flow::stamp(clock::now()),
        epoch,
        last_seen: clock::now(),
        ticket,
        link: opening.link,
        ..Flow::default()
    };
    let twin = flow.twin(key.proto);
    Entry::insert(key, &flow)?;
    flow.direction = Direction::In as u8;
    flow.outside = opening.other;
    (flow.saddr, flow.daddr) = (key.daddr, key.saddr);
    (flow.sport, flow.dport) = (key.dport, key.sport);
    // Who talks to itself has one entry for both directions.
    let mut made = if twin == *key { Ok(()) } else { Entry::insert(&twin, &flow) };
    if made.is_ok() && !enqueue(key, ticket, false) {
        Entry::remove(&twin);
        made = Err(Refusal::Full);
    }
    if made.is_err() {
        Entry::remove(key);
    }
    made
}

/// Puts a connection's ticket at the tail of its queue.
#[inline(always)]
#[must_use]
pub fn enqueue(key: &FlowKey, number: u32, answered: bool) -> bool {
    let ticket = Ticket { key: *key, number, since: clock::seconds() };
    !answered && Line::Embryonic.push(&ticket) || Line::Settled.push(&ticket)
}

/// Removes both entries of a connection; `true` for exactly one of all who try at once.
#[inline(always)]
#[must_use]
pub fn forget(key: &FlowKey, twin: &FlowKey) -> bool {
    let ours = Entry::remove(key);
    Entry::remove(twin);
    ours
}
