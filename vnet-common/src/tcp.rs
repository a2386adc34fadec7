//! What a NAT knows of a conversation: one state for both directions, and the TCP step.
//!
//! The step follows RFC 5382 and RFC 7857: a connection is established only after both ends have
//! spoken, FIN must come from both, and a RST counts only when its sequence number lies in what the
//! other end can expect (RFC 5961), so that a blind RST cannot shorten a connection's life.

use crate::flow::Direction;

/// State of a connection.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// UDP and ICMP: only one side has spoken.
    Unreplied = 0,
    /// UDP and ICMP: both sides have spoken.
    Replied = 1,
    /// SYN went out.
    SynSent = 2,
    /// SYN was answered by a SYN.
    SynRecv = 3,
    /// Handshake complete.
    Established = 4,
    /// The inside has sent FIN.
    FinOut = 5,
    /// The outside has sent FIN.
    FinIn = 6,
    /// Both have.
    TimeWait = 7,
    /// A valid RST was seen, and nothing since.
    Reset = 8,
    /// Seen in mid-connection (after a restart): waits for the other side to confirm.
    PickedUp = 9,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::Unreplied,
        Self::Replied,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinOut,
        Self::FinIn,
        Self::TimeWait,
        Self::Reset,
        Self::PickedUp,
    ];

    /// The state with this number, if there is one.
    #[inline(always)]
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unreplied),
            1 => Some(Self::Replied),
            2 => Some(Self::SynSent),
            3 => Some(Self::SynRecv),
            4 => Some(Self::Established),
            5 => Some(Self::FinOut),
            6 => Some(Self::FinIn),
            7 => Some(Self::TimeWait),
            8 => Some(Self::Reset),
            9 => Some(Self::PickedUp),
            _ => None,
        }
    }

    /// The word for it, as `conntrack -L` would say where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreplied => "UNREPLIED",
            Self::Replied => "REPLIED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinOut => "FIN_OUT",
            Self::FinIn => "FIN_IN",
            Self::TimeWait => "TIME_WAIT",
            Self::Reset => "RESET",
            Self::PickedUp => "PICKED_UP",
        }
    }
}

/// TCP header flags (RFC 9293 section 3.1).
pub mod flags {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
}

/// What the step looks at in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Header flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Sequence number after the last one this segment uses (SYN and FIN use one each).
    pub end: u32,
}

impl Segment {
    /// Whether any of `mask` is set.
    #[inline(always)]
    #[must_use]
    pub fn has(&self, mask: u8) -> bool {
        self.flags & mask != 0
    }

    /// A segment of a connection that has been established: it acknowledges, and neither opens nor
    /// resets.
    #[inline(always)]
    #[must_use]
    pub fn continues(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST) == flags::ACK
    }

    /// A SYN that opens a connection.
    #[inline(always)]
    #[must_use]
    pub fn opens(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
    }
}

/// What has been seen of sequence numbers before a segment arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// End of the highest sequence number the sender of this segment has sent.
    pub sent: u32,
    /// Last acknowledgement number its receiver has sent.
    pub expected: u32,
    /// End of the highest sequence number its receiver has sent.
    pub receiver_sent: u32,
}

/// `a <= b` in sequence space (RFC 9293 section 3.4).
#[inline(always)]
fn before_or_at(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) < 1 << 31
}

/// Whether a RST is one its receiver would believe: between what the receiver expects next and
/// what the sender has really sent. While the handshake lasts the receiver has acknowledged
/// nothing: a refusal acknowledges its SYN instead, or continues the sender's own.
#[inline(always)]
fn reset_is_valid(state: State, segment: &Segment, window: &Window) -> bool {
    let refuses = segment.has(flags::ACK) && segment.ack == window.receiver_sent;
    match state {
        State::SynSent => refuses,
        State::SynRecv => refuses || segment.seq == window.sent,
        State::Unreplied
        | State::Replied
        | State::Established
        | State::FinOut
        | State::FinIn
        | State::TimeWait
        | State::Reset
        | State::PickedUp => {
            segment.seq == window.expected
                || before_or_at(window.expected, segment.seq)
                    && before_or_at(segment.seq, window.sent)
        }
    }
}

/// How far a segment may run ahead of what its sender sent before and still move the mark. Segments
/// that pass move it one by one, so this is what may be lost at once, not a window; a forger who
/// knows no sequence number has one chance in 4,096 to be within it.
pub const REACH: u32 = 1 << 20;

/// End of the highest sequence number sent, after one more segment.
#[inline(always)]
#[must_use]
pub fn advance(sent: u32, segment: &Segment) -> u32 {
    if segment.end.wrapping_sub(sent) < REACH { segment.end } else { sent }
}

/// The state after `segment` passed in `direction`.
#[inline(always)]
#[must_use]
pub fn step(state: State, direction: Direction, segment: &Segment, window: &Window) -> State {
    if segment.has(flags::RST) {
        // A connection that both ends have closed stays closed: what is late must not revive it.
        let ends = state != State::TimeWait && reset_is_valid(state, segment, window);
        return if ends { State::Reset } else { state };
    }
    // Traffic after a RST restores a connection (RFC 7857 section 2.2), but what its receiver has
    // never acknowledged anything of was none: a refused SYN, whatever either end sends after it.
    if state == State::Reset && window.expected == 0 && !segment.opens() {
        return state;
    }
    match direction {
        Direction::Out => step_out(state, segment),
        Direction::In => step_in(state, segment),
    }
}

#[inline(always)]
fn step_out(state: State, segment: &Segment) -> State {
    if segment.opens() {
        return match state {
            State::FinOut | State::FinIn | State::TimeWait | State::Reset => State::SynSent,
            State::Unreplied
            | State::Replied
            | State::SynSent
            | State::SynRecv
            | State::Established
            | State::PickedUp => state,
        };
    }
    let fin = segment.has(flags::FIN);
    match state {
        State::SynRecv if segment.has(flags::SYN) => State::SynRecv,
        State::SynRecv | State::Reset | State::Established if fin => State::FinOut,
        State::SynRecv | State::Reset => State::Established,
        State::FinIn if fin => State::TimeWait,
        State::Unreplied
        | State::Replied
        | State::SynSent
        | State::Established
        | State::FinOut
        | State::FinIn
        | State::TimeWait
        | State::PickedUp => state,
    }
}

#[inline(always)]
fn step_in(state: State, segment: &Segment) -> State {
    let fin = segment.has(flags::FIN);
    match state {
        State::SynSent if segment.has(flags::SYN) => State::SynRecv,
        State::Established | State::PickedUp | State::Reset if fin => State::FinIn,
        State::PickedUp | State::Reset => State::Established,
        State::FinOut if fin => State::TimeWait,
        State::Unreplied
        | State::Replied
        | State::SynSent
        | State::SynRecv
        | State::Established
        | State::FinOut
        | State::FinIn
        | State::TimeWait => state,
    }
}
