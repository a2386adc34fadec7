//! What a packet does to the entries of its flow: as `vnet-ebpf/src/flow.rs` does it, with the same TCP
//! step.

use vnet_common::flow::{Direction, Flow, flag, proto};
use vnet_common::tcp::{State, Window, advance, flags, step};
use vnet_ebpf::packet::{Kind, Packet};

/// Both entries of a connection: the packet's own, and the other direction's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entries {
    /// The one that the packet's tuple finds.
    pub(crate) own: Flow,
    /// The other.
    pub(crate) twin: Flow,
}

impl Entries {
    /// Those of a connection that this packet opens; the rest of them is as it was made (`made`).
    pub(crate) fn opened_by(packet: &Packet, made: Self) -> Self {
        let state = match packet.kind {
            Kind::Tcp if packet.segment.opens() => State::SynSent,
            Kind::Tcp => State::PickedUp,
            _ => State::Unreplied,
        };
        let host = |flow: Flow| flow.flags & flag::HOST;
        let fresh = |flow: Flow| Flow {
            state: state as u8,
            flags: host(flow),
            packets: 0,
            bytes: 0,
            seq_end: 0,
            ack: 0,
            ..flow
        };
        Self { own: fresh(made.own), twin: fresh(made.twin) }
    }

    /// After one packet more.
    pub(crate) fn after(mut self, packet: &Packet, direction: Direction) -> Self {
        if packet.key.proto == proto::TCP {
            self.follow_tcp(packet, direction);
        } else if direction == Direction::In && self.own.flags & flag::REPLIED == 0 {
            self.set(State::Replied);
        }
        self.own.packets += 1;
        self.own.bytes += u64::from(packet.end - packet.l3);
        self
    }

    fn follow_tcp(&mut self, packet: &Packet, direction: Direction) {
        let segment = &packet.segment;
        let before = State::from_number(self.own.state).expect("a state that is known");
        let window = Window {
            sent: self.own.seq_end,
            expected: self.twin.ack,
            receiver_sent: self.twin.seq_end,
        };
        let state = step(before, direction, segment, &window);
        if state != before {
            if state == State::SynSent {
                for entry in [&mut self.own, &mut self.twin] {
                    (entry.seq_end, entry.ack) = (0, 0);
                }
            }
            self.set(state);
        }
        if segment.has(flags::RST) {
            return;
        }
        let handshake = matches!(state, State::SynSent | State::SynRecv);
        let first = self.own.packets == 0 || segment.has(flags::SYN) && handshake;
        self.own.seq_end = if first { segment.end } else { advance(self.own.seq_end, segment) };
        if segment.has(flags::ACK) {
            self.own.ack = segment.ack;
        }
    }

    fn set(&mut self, state: State) {
        let embryonic = matches!(state, State::Unreplied | State::SynSent | State::PickedUp);
        for entry in [&mut self.own, &mut self.twin] {
            entry.state = state as u8;
            entry.flags |= if embryonic { 0 } else { flag::REPLIED };
        }
    }

    /// Without what is not computed: when it was, and which ticket it has.
    pub(crate) fn timeless(self) -> Self {
        let timeless = |flow: Flow| Flow { first_seen: 0, last_seen: 0, ticket: 0, ..flow };
        Self { own: timeless(self.own), twin: timeless(self.twin) }
    }
}
