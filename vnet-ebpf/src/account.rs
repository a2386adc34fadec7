//! Every end is counted, and said aloud when somebody listens.

use aya_log_ebpf::debug;
use vnet_common::{account::Reason, flow::Direction};

use crate::{
    kernel::{frame::Frame, maps},
    packet::Packet,
};

/// Counts the packet's end, as the packets it is on the wire.
#[inline(always)]
pub fn tally(frame: &Frame, packet: &Packet, reason: Reason) {
    maps::count(reason, frame.segments(), frame.wire_bytes(0, packet.payload));
}

/// Logs the decision. The verifier removes it while the log is off. `reason` and `hook` are
/// numbers here, because text tables do not survive the trip into the kernel; whoever prints the
/// log gives them their names. Not inlined: a function has 512 bytes of stack with all that it
/// calls, and formatting takes many.
#[inline(never)]
pub fn log(frame: &Frame, direction: Direction, packet: &Packet, reason: Reason) {
    let key = &packet.key;
    debug!(
        frame.context(),
        "dev={} hook={} reason={} proto={} {:i}:{} > {:i}:{}",
        frame.device(),
        // Hooks are numbered in the order of a packet's way: in, then out.
        u32::from(direction == Direction::Out),
        reason as u32,
        key.proto,
        key.saddr,
        key.sport,
        key.daddr,
        key.dport
    );
}
