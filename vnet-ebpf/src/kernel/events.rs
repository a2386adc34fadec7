//! `events`: a ring buffer of mappings that begin and end.

use aya_ebpf::{Global, bindings::BPF_RB_NO_WAKEUP, btf_maps::RingBuf, macros::btf_map};
use vnet_common::{
    account::Reason,
    event::Event,
    flow::flag,
    translate::{Endpoint, Mapping},
};

use super::{clock, frame::Wire, maps, ports::Slot};

/// Bytes of the buffer: 8,192 events of 24 bytes, with their headers.
const SIZE: usize = 1 << 18;
#[btf_map(name = "events")]
static EVENTS: RingBuf<Event, SIZE> = RingBuf::new();

/// Whether they are written: said by the loader, so that the verifier removes what is not done.
#[unsafe(no_mangle)]
static VNET_EVENTS: Global<u8> = Global::new(0);

/// Tells of a mapping, when that is wished for.
#[inline(always)]
pub fn tell(kind: u8, inside: &Endpoint, mapping: &Mapping, slot: &Slot) {
    if VNET_EVENTS.load() == 0 {
        return;
    }
    let event = Event {
        time: clock::now(),
        inside: inside.addr,
        outside: mapping.addr,
        inside_port: inside.port,
        outside_port: mapping.port,
        proto: inside.proto,
        kind,
        flags: if slot.of_host() { u16::from(flag::HOST) } else { 0 },
    };
    // Readers look at it now and then: nobody is woken up.
    if EVENTS.output(event, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        maps::count(Reason::EventLost as u32, Wire { packets: 1, bytes: 0 });
    }
}
