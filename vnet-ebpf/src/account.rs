//! Every end is counted, and said aloud when somebody listens.

use aya_log_ebpf::debug;
use vnet_common::account::Reason;

use crate::{
    kernel::{frame::Frame, maps},
    packet::Packet,
    run::Hook,
};

/// Counts the packet's end. Segments that a GSO packet is yet to be cut into count, each with its
/// own copy of the headers.
#[inline(always)]
pub fn tally(frame: &Frame, packet: &Packet, reason: Reason) {
    let segments = frame.segments();
    maps::count(reason, segments, wire_bytes(frame.length(), segments, packet.payload));
}

/// Bytes on the wire of a packet of `length` that goes out as `segments`, each with `headers`.
#[inline(always)]
#[must_use]
pub fn wire_bytes(length: u32, segments: u32, headers: u32) -> u64 {
    u64::from(length) + u64::from(segments - 1) * u64::from(headers)
}

/// Logs the decision. The verifier removes it while the log is off. `reason` and `hook` are
/// numbers here, because text tables do not survive the trip into the kernel; whoever prints the
/// log gives them their names. Not inlined: a function has 512 bytes of stack with all that it
/// calls, and formatting takes many.
#[inline(never)]
pub fn log(frame: &Frame, hook: Hook, packet: &Packet, reason: Reason) {
    let key = &packet.key;
    debug!(
        frame.context(),
        "dev={} hook={} reason={} proto={} {:i}:{} > {:i}:{}",
        frame.device(),
        hook as u32,
        reason as u32,
        key.proto,
        key.saddr,
        key.sport,
        key.daddr,
        key.dport
    );
}
