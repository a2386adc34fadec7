//! Every end is counted, and said aloud when somebody listens.

use aya_log_ebpf::{debug, warn};
use vnet_common::{
    account::{Reason, Verdict},
    flow::Direction,
};

use crate::{
    kernel::{frame::Frame, maps},
    packet::Packet,
};

/// Counts the packet's end, as the packets it is on the wire. Not inlined: the verifier then walks
/// it once for each reason, not once for each way to it.
#[inline(never)]
pub fn tally(frame: &Frame, packet: &Packet, reason: Reason) {
    maps::count(reason, frame.on_wire(0, packet.payload, frame.length()));
}

/// Says a decision at one level. `reason` and `hook` are numbers here, because text tables do not
/// survive the trip into the kernel; whoever prints the log gives them their names.
macro_rules! say {
    ($level:ident, $frame:expr, $direction:expr, $packet:expr, $reason:expr) => {{
        let key = &$packet.key;
        $level!(
            $frame.context(),
            "dev={} hook={} reason={} proto={} {:i}:{} > {:i}:{}",
            $frame.device(),
            // Hooks are numbered in the order of a packet's way: in, then out.
            u32::from($direction == Direction::Out),
            $reason as u32,
            key.proto,
            key.saddr,
            key.sport,
            key.daddr,
            key.dport
        );
    }};
}

/// Logs the decision: drops as warnings, the rest for debugging. The verifier removes what is below
/// the level the programs were loaded with. Not inlined: a program and all that it calls share 512
/// bytes of stack, and formatting takes many.
#[inline(never)]
pub fn log(frame: &Frame, direction: Direction, packet: &Packet, reason: Reason) {
    match reason.verdict() {
        Verdict::Drop => say!(warn, frame, direction, packet, reason),
        Verdict::Pass => say!(debug, frame, direction, packet, reason),
    }
}
