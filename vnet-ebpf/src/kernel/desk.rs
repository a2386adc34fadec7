//! Where a program keeps what it is working on while it makes up its mind: this CPU's own desk.
//!
//! A program and all that it calls share 512 bytes of stack, so what several stages need lies in a
//! map. What is read from it is a number the verifier knows nothing about, which is also what lets
//! it walk each stage by itself. A stage takes the desk anew and never holds a part of it while it
//! calls another.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};

use vnet_common::flow::FlowKey;

use super::sum::Sum;
use crate::{
    answer::Answer,
    learn_path::Trail,
    opening::Opening,
    packet::Packet,
    packet6::{Packet6, Words},
    translate::Search,
};

/// What lies on the desk.
#[repr(C)]
pub struct Desk {
    /// The packet.
    pub packet: Packet,
    /// The packet, when it is one of IPv6.
    pub six: Packet6,
    /// The packet that an ICMPv6 error quotes.
    pub quoted: Packet6,
    /// What is found out about a packet that leaves.
    pub trail: Trail,
    /// The uplink's own IPv6 address.
    pub own6: Words,
    /// The IPv6 address that is written.
    pub new6: Words,
    /// The tuple for which a socket is looked for, of either family, as the kernel has it.
    pub tuple: [u32; 9],
    /// 1 when its flow was ended because its outside address is gone.
    pub moved: u32,
    /// The connection it is about to open.
    pub opening: Opening,
    /// Tuple of the flow that is looked at anew.
    pub reviewed: FlowKey,
    /// The search for its port.
    pub search: Search,
    /// The sum of its bytes.
    pub sum: Sum,
    /// What is said back.
    pub answer: Answer,
}

#[btf_map(name = "desk")]
static DESK: PerCpuArray<Desk, 1> = PerCpuArray::new();

/// This CPU's desk. Programs of one CPU's hooks do not interrupt each other, so what one finds here
/// is its own.
#[inline(always)]
#[must_use]
pub fn desk() -> Option<&'static mut Desk> {
    let desk = DESK.get_ptr_mut(0)?;
    // SAFETY: this CPU's own entry, which lives as long as the map; its parts are plain numbers.
    // Nobody else holds it: a stage gives it back before it calls another (see above).
    Some(unsafe { &mut *desk })
}
