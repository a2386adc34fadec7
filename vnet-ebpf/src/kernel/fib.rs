//! What the kernel's routing says about addresses: whether one is of a device, and which one a device
//! sends from. Each question is walked by the verifier once, whoever asks.

use aya_ebpf::{
    bindings::{
        BPF_FIB_LOOKUP_OUTPUT, BPF_FIB_LOOKUP_SKIP_NEIGH, BPF_FIB_LOOKUP_SRC, bpf_fib_lookup,
    },
    helpers::bpf_fib_lookup,
};
use vnet_common::Ipv4;

use super::frame::{Frame, Skb};

/// `AF_INET`.
const IPV4: u8 = 2;
/// Answers of the helper (`BPF_FIB_LKUP_RET_…`): a route was found.
const SUCCESS: i64 = 0;
/// To be delivered here, or there is no route.
const NOT_FORWARDED: i64 = 4;
/// The device does not forward, so nothing is known.
const FORWARDING_DISABLED: i64 = 5;
/// A route was found that the packet is too big for.
const FRAGMENTATION_NEEDED: i64 = 8;

/// Where the kernel sends what this host sends to an address by one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nobody can tell.
    Unknown,
    /// Out of the device.
    Out,
    /// Not out of the device: the address is its own, or there is no route.
    Not,
}

/// Where packets to `to` go when they are to go by `device`.
#[inline(always)]
#[must_use]
pub fn way(frame: &Frame, device: u32, to: Ipv4) -> Way {
    match vnet_route(frame.skb(), device, u32::from_ne_bytes(to)) {
        0 => Way::Unknown,
        1 => Way::Out,
        _ => Way::Not,
    }
}

/// The address that packets to `to` are sent from when they leave by `device`; `None` when there is
/// none, or the kernel does not tell (before 6.7).
#[inline(always)]
#[must_use]
pub fn source(frame: &Frame, device: u32, to: Ipv4) -> Option<Ipv4> {
    let source = vnet_source(frame.skb(), device, u32::from_ne_bytes(to));
    (source != 0).then(|| source.to_ne_bytes())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_route(skb: Skb, device: u32, to: u32) -> u32 {
    let (answer, _) = ask(&Frame::new(skb), device, to, BPF_FIB_LOOKUP_OUTPUT);
    match answer {
        FORWARDING_DISABLED => 0,
        NOT_FORWARDED => 2,
        ..0 => 0,
        _ => 1,
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_source(skb: Skb, device: u32, to: u32) -> u32 {
    let flags = BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SKIP_NEIGH | BPF_FIB_LOOKUP_SRC;
    match ask(&Frame::new(skb), device, to, flags) {
        (SUCCESS | FRAGMENTATION_NEEDED, source) => source,
        _ => 0,
    }
}

/// Asks, and returns the answer with the source address, if that was asked for.
#[inline(always)]
fn ask(frame: &Frame, device: u32, to: u32, flags: u32) -> (i64, u32) {
    // SAFETY: the record is integers, for which zero is valid; the helper writes to it alone.
    unsafe {
        let mut record: bpf_fib_lookup = core::mem::zeroed();
        record.family = IPV4;
        record.ifindex = device;
        record.__bindgen_anon_4.ipv4_dst = to;
        let size = size_of::<bpf_fib_lookup>() as i32;
        let answer = bpf_fib_lookup(frame.raw(), &raw mut record, size, flags);
        (answer, record.__bindgen_anon_3.ipv4_src)
    }
}
