//! What has been said before, as both ends know it: the numbers of the next TCP segment, and
//! whether a connection has been a textbook one so far.
//!
//! It depends on the sequence alone, not on what a router made of it, so both labs are sent the
//! same.

use std::collections::HashMap;

use super::step::{Kind, Quirk, Step, Talk, Way};
use crate::packet::TcpFlags;

const FIRST_OUT: u32 = 1_000_000;
const FIRST_IN: u32 = 5_000_000;
const FIRST_ID: u16 = 0x4000;

/// The conversations of one sequence.
#[derive(Debug, Default)]
pub struct History {
    /// Whether it is a hairpin, and who with whom.
    talks: HashMap<(bool, Talk), Connection>,
    packets: u16,
}

/// What a packet says that depends on those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// TCP sequence number.
    pub sequence: u32,
    /// TCP acknowledgement number.
    pub acknowledgement: u32,
    /// IP id: each packet has its own.
    pub id: u16,
    /// Nothing about the packet or what led to it is unusual: no NAT may treat it otherwise than
    /// another.
    pub orderly: bool,
}

#[derive(Debug)]
struct Connection {
    next_out: u32,
    next_in: u32,
    stage: Stage,
}

/// How far a textbook connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Closed,
    Asked,
    Answered,
    Open,
    /// One side has said all; `Way` is its direction.
    Closing(Way),
    /// Over, or never a textbook one: anything may be made of what follows.
    Disorder,
}

impl Default for Connection {
    fn default() -> Self {
        Self { next_out: FIRST_OUT, next_in: FIRST_IN, stage: Stage::Closed }
    }
}

impl History {
    /// What the next packet says.
    pub fn next(&mut self, step: &Step) -> Facts {
        let id = FIRST_ID.wrapping_add(self.packets);
        self.packets += 1;
        match step.kind {
            Kind::Tcp(flags) => {
                let (key, way) = self.conversation(step);
                let talk = self.talks.entry(key).or_default();
                Facts { id, ..talk.next(step, way, flags) }
            }
            Kind::Udp
            | Kind::Ping
            | Kind::Pong
            | Kind::Icmp(_)
            | Kind::Error(..)
            | Kind::Other(_) => Facts { id, orderly: step.is_sound(), ..Facts::default() },
        }
    }

    /// The numbers a packet of this conversation had that came to the sender of `step`.
    pub fn last(&self, step: &Step) -> (u32, u32) {
        let (key, way) = self.conversation(step);
        let (out, back) = self
            .talks
            .get(&key)
            .map_or((FIRST_OUT, FIRST_IN), |talk| (talk.next_out, talk.next_in));
        if way == Way::In { (out, back) } else { (back, out) }
    }

    /// The conversation of a step, and the step's direction in it. Who opens a hairpin is outward.
    fn conversation(&self, step: &Step) -> ((bool, Talk), Way) {
        let turned = (true, step.talk.turned());
        match step.way {
            Way::Hairpin if self.talks.contains_key(&turned) => (turned, Way::In),
            Way::Hairpin => ((true, step.talk), Way::Out),
            way => ((false, step.talk), way),
        }
    }
}

impl Connection {
    fn next(&mut self, step: &Step, way: Way, flags: TcpFlags) -> Facts {
        let outward = way == Way::Out;
        let (first, own, other) = match outward {
            true => (FIRST_OUT, self.next_out, self.next_in),
            false => (FIRST_IN, self.next_in, self.next_out),
        };
        let sequence = if flags.has(TcpFlags::SYN) { first } else { own };
        let acknowledgement = if flags.has(TcpFlags::ACK) { other } else { 0 };
        let used = u32::from(step.length())
            + u32::from(flags.has(TcpFlags::SYN))
            + u32::from(flags.has(TcpFlags::FIN));
        let off = |find: fn(Quirk) -> Option<i32>| step.find(find).unwrap_or(0);
        let ahead = off(|q| if let Quirk::Sequence(by) = q { Some(by) } else { None });
        let acked = off(|q| if let Quirk::Acknowledgement(by) = q { Some(by) } else { None });
        let odd = ahead != 0 || acked != 0;
        let orderly = step.is_sound() && !odd && self.step(step, way, flags);
        if odd {
            self.stage = Stage::Disorder;
        } else if arrives(step) {
            let end = sequence.wrapping_add(used);
            let next = if outward { &mut self.next_out } else { &mut self.next_in };
            *next = (*next).max(end);
        }
        let sequence = sequence.wrapping_add_signed(ahead);
        let acknowledgement = acknowledgement.wrapping_add_signed(acked);
        Facts { sequence, acknowledgement, id: 0, orderly }
    }

    /// Whether a textbook connection goes on like this; follows it.
    fn step(&mut self, step: &Step, way: Way, flags: TcpFlags) -> bool {
        let next = self.stage.next(way, flags.0 & !TcpFlags::PSH.0, step.length());
        if arrives(step) || next == Stage::Disorder {
            let orderly = next != Stage::Disorder || self.stage.may_reset(flags);
            self.stage = next;
            return orderly;
        }
        true
    }
}

impl Stage {
    fn next(self, way: Way, flags: u8, length: u16) -> Self {
        const SYN: u8 = 0x02;
        const ACK: u8 = 0x10;
        const FIN: u8 = 0x11;
        match (self, way, flags) {
            (Self::Closed | Self::Asked, Way::Out, SYN) if length == 0 => Self::Asked,
            (Self::Asked | Self::Answered, Way::In, flags) if flags == SYN | ACK && length == 0 => {
                Self::Answered
            }
            (Self::Answered, Way::Out, ACK) => Self::Open,
            (Self::Open, _, ACK) => Self::Open,
            (Self::Open, way, FIN) => Self::Closing(way),
            (Self::Closing(ended), way, ACK) if way != ended || length == 0 => self,
            _ => Self::Disorder,
        }
    }

    /// A RST ends an open connection, and belongs to it.
    fn may_reset(self, flags: TcpFlags) -> bool {
        self == Self::Open && flags.0 & !TcpFlags::ACK.0 == TcpFlags::RST.0
    }
}

/// Whether the other end gets it, so far as one can tell from the packet.
fn arrives(step: &Step) -> bool {
    let stopped = step.has(|q| matches!(q, Quirk::Ttl(0 | 1) | Quirk::DontFragment));
    step.is_sound() && !stopped
}
