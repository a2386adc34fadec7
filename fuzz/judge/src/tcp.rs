//! The TCP step: whatever segments come from either end, a state is reached only in the way that
//! the RFCs allow.

use vnet_common::flow::Direction::{self, In, Out};
use vnet_common::tcp::{REACH, Segment, State, Window, advance, flags::*, step};

/// Bytes of one segment.
const SEGMENT: usize = 8;

/// Judges a conversation. The first byte says whether it is seen from its SYN on or picked up.
pub fn tcp(input: &[u8]) {
    let Some((start, segments)) = input.split_first() else { return };
    let mut talk = if start & 1 == 0 {
        Conversation::starting(State::SynSent, SYN)
    } else {
        Conversation::starting(State::PickedUp, ACK)
    };
    for bytes in segments.chunks_exact(SEGMENT) {
        let (from, segment) = talk.segment(bytes);
        talk.says(from, &segment);
    }
}

/// Both ends of a connection, as a NAT sees them, and what each has said.
#[derive(Debug)]
struct Conversation {
    state: State,
    sent: [u32; 2],
    acknowledged: [u32; 2],
    noted: [bool; 2],
    said: [Said; 2],
    picked_up: bool,
}

/// What one end has said since the connection was opened; a RST says nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    anything: bool,
    syn: bool,
    fin: bool,
}

impl Conversation {
    /// One that a segment from inside has just opened.
    fn starting(state: State, flags: u8) -> Self {
        let mut talk = Self {
            state,
            sent: [0; 2],
            acknowledged: [0; 2],
            noted: [false; 2],
            said: [Said::default(); 2],
            picked_up: state == State::PickedUp,
        };
        let end = 1000 + u32::from(flags & SYN != 0);
        talk.says(Out, &Segment { flags, seq: 1000, ack: 0, end });
        talk
    }

    /// A segment whose numbers are near those that matter, or anywhere.
    fn segment(&self, bytes: &[u8]) -> (Direction, Segment) {
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let [control, flags] = [bytes[0], bytes[1]];
        let near = |number: u32, by: u16| number.wrapping_add_signed(i32::from(by.cast_signed()));
        let from = if control & 1 == 0 { Out } else { In };
        let (me, peer) = (from as usize, 1 - from as usize);
        let seq = match control >> 1 & 3 {
            0 => near(self.sent[me], half(2)),
            1 => near(self.acknowledged[peer], half(2)),
            2 => near(self.sent[me].wrapping_add(REACH), half(2)),
            _ => u32::from(half(2)) << 16 | u32::from(half(4)),
        };
        let ack = match control >> 3 & 3 {
            0 => self.sent[peer],
            1 => near(self.sent[peer], half(4)),
            2 => 0,
            _ => u32::from(half(4)) << 16 | u32::from(half(2)),
        };
        let used = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = seq.wrapping_add(u32::from(half(6)) + used);
        (from, Segment { flags, seq, ack, end })
    }

    /// Follows the segment as the datapath does (`follow_tcp` in vnet-ebpf/src/flow.rs).
    fn says(&mut self, from: Direction, segment: &Segment) {
        let (me, peer) = (from as usize, 1 - from as usize);
        let window = Window {
            sent: self.sent[me],
            expected: self.acknowledged[peer],
            receiver_sent: self.sent[peer],
        };
        let before = self.state;
        self.hear(from, segment);
        self.state = step(before, from, segment, &window);
        self.judge(before, from, segment, &window);
        if segment.has(RST) {
            return;
        }
        let handshake = matches!(self.state, State::SynSent | State::SynRecv);
        if !self.noted[me] || segment.has(SYN) && handshake {
            self.sent[me] = segment.end;
        } else {
            let moved = advance(self.sent[me], segment);
            assert!(moved.wrapping_sub(self.sent[me]) < REACH, "the mark ran: {self:?}");
            self.sent[me] = moved;
        }
        self.noted[me] = true;
        if segment.has(ACK) {
            self.acknowledged[me] = segment.ack;
        }
    }

    fn hear(&mut self, from: Direction, segment: &Segment) {
        let said = &mut self.said[from as usize];
        if !segment.has(RST) {
            said.anything = true;
            said.syn |= segment.has(SYN);
            said.fin |= segment.has(FIN);
        }
    }

    fn judge(&mut self, before: State, from: Direction, segment: &Segment, window: &Window) {
        let after = self.state;
        let said = self.said;
        let told = || format!("{before:?} > {after:?} by {from:?} {segment:?} {window:?} {said:?}");
        assert!(!matches!(after, State::Unreplied | State::Replied), "no state of TCP: {}", told());
        if segment.has(RST) {
            let counts = before != State::TimeWait && believable(before, segment, window);
            assert_eq!(after, if counts { State::Reset } else { before }, "a RST: {}", told());
            return;
        }
        if after == before {
            return;
        }
        assert_ne!(after, State::Reset, "only a RST resets: {}", told());
        if after == State::SynSent {
            assert!(from == Out && segment.opens(), "only a SYN from inside opens: {}", told());
            assert_ne!(before, State::Established, "a stray SYN ends nothing: {}", told());
            // Sequence numbers of the conversation before are still known, so who spoke has spoken.
            self.said = self.said.map(|said| Said { anything: said.anything, ..Said::default() });
            self.hear(from, segment);
            self.picked_up = false;
            return;
        }
        assert_ne!(before, State::TimeWait, "a closed connection is not revived: {}", told());
        let [out, inward] = self.said;
        if matches!(after, State::Established | State::FinOut | State::FinIn | State::TimeWait) {
            assert!(out.anything && inward.anything, "one end has said nothing: {}", told());
        }
        if after == State::Established {
            let handshake = out.syn && inward.syn || self.picked_up || before == State::Reset;
            assert!(handshake, "established without a handshake: {}", told());
            assert!(!segment.has(FIN), "a FIN establishes nothing: {}", told());
        }
        match after {
            State::FinOut => assert!(out.fin, "{}", told()),
            State::FinIn => assert!(inward.fin, "{}", told()),
            State::TimeWait => assert!(out.fin && inward.fin, "half closed: {}", told()),
            State::SynRecv => assert!(from == In && inward.syn, "{}", told()),
            _ => (),
        }
    }
}

/// Whether the receiver would believe a RST (RFC 5961 section 3, and RFC 9293 3.10.7.3 for one that
/// refuses a SYN): one that it expects, up to what the sender has really sent.
fn believable(state: State, segment: &Segment, window: &Window) -> bool {
    let after = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() >= 0;
    let refuses = segment.has(ACK) && segment.ack == window.receiver_sent;
    match state {
        State::SynSent => refuses,
        State::SynRecv => refuses || segment.seq == window.sent,
        _ => {
            let expected = segment.seq == window.expected;
            expected || after(segment.seq, window.expected) && after(window.sent, segment.seq)
        }
    }
}
