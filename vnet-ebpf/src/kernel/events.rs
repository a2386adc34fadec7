//! `events`: a ring buffer of mappings that begin and end, or of blocks.

use aya_ebpf::{Global, bindings::BPF_RB_NO_WAKEUP, btf_maps::RingBuf, macros::btf_map};
use vnet_common::{
    Ipv4,
    account::Reason,
    event::{Event, telling},
    flow::flag,
    translate::{Endpoint, Mapping},
};

use super::{clock, frame::Wire, hosts::Block, maps, ports::Slot};

/// Bytes of the buffer: 8,192 events of 24 bytes, with their headers.
const SIZE: usize = 1 << 18;
#[btf_map(name = "events")]
static EVENTS: RingBuf<Event, SIZE> = RingBuf::new();

/// What is written ([`telling`]): said by the loader, so that the verifier removes what is not done.
#[unsafe(no_mangle)]
static VNET_EVENTS: Global<u8> = Global::new(0);

/// Tells of a mapping, when that is wished for.
#[inline(always)]
pub fn tell(kind: u8, inside: &Endpoint, mapping: &Mapping, slot: &Slot) {
    let telling = VNET_EVENTS.load();
    if telling == telling::NOTHING || telling == telling::BLOCKS && !slot.of_host() {
        return;
    }
    write(Event {
        time: clock::now(),
        inside: inside.addr,
        outside: mapping.addr,
        inside_port: inside.port,
        outside_port: mapping.port,
        proto: inside.proto,
        kind,
        flags: if slot.of_host() { u16::from(flag::HOST) } else { 0 },
    });
}

/// Whether blocks are told of, and not the mappings in them.
#[inline(always)]
#[must_use]
pub fn of_blocks() -> bool {
    VNET_EVENTS.load() == telling::BLOCKS
}

/// Tells of the block of a host.
#[inline(always)]
pub fn tell_block(kind: u8, host: Ipv4, block: Block) {
    write(Event {
        time: clock::now(),
        inside: host,
        outside: block.addr,
        inside_port: block.min,
        outside_port: block.max,
        proto: 0,
        kind,
        flags: 0,
    });
}

#[inline(always)]
fn write(event: Event) {
    let Some(mut place) = EVENTS.reserve(0) else {
        maps::count(Reason::EventLost as u32, Wire { packets: 1, bytes: 0 });
        return;
    };
    // Written where it is read, as stack is short here.
    place.write(event);
    // Readers look at it now and then: nobody is woken up.
    place.submit(u64::from(BPF_RB_NO_WAKEUP));
}
