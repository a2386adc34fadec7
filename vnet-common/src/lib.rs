//! Records that both sides of the kernel line read: the eBPF programs write them, the control
//! plane shows them, and `bpftool map dump` prints them by field name.
//!
//! Promises kept here, once for both sides:
//! - every record is `repr(C)`, has no hidden padding, and its size is asserted beside it;
//! - addresses are in wire order (`[u8; 4]`, `[u8; 16]`), every other number is in host order, so that a map
//!   dump reads as a person would write it (`"sport": 5201`);
//! - times are nanoseconds of `CLOCK_MONOTONIC_COARSE` unless a field says seconds.
#![no_std]

pub mod account;
pub mod answer;
pub mod block;
pub mod call;
pub mod event;
pub mod expire;
pub mod flow;
pub mod forward;
pub mod fragment;
pub mod host;
pub mod nat66;
pub mod path;
pub mod policy;
pub mod port;
pub mod prefix6;
pub mod shortcut;
pub mod tcp;
pub mod translate;

/// Version of every map layout below. It is written to `config` when an instance is made; a
/// binary that finds another number refuses rather than misread.
pub const LAYOUT_VERSION: u32 = 8;

/// The oldest layout whose instances this one takes over: since then, records of the same size have meant
/// the same. A record that changes its meaning and not its size ends that.
pub const CARRIED_LAYOUT: u32 = 7;

/// IPv4 address in wire order.
pub type Ipv4 = [u8; 4];

/// IPv6 address in wire order.
pub type Ipv6 = [u8; 16];

/// Marks records as plain old data for aya and asserts their size, beside the type itself.
macro_rules! record {
    ($type:ty, $size:expr) => {
        const _: () = assert!(size_of::<$type>() == $size);
        #[cfg(feature = "user")]
        #[expect(unsafe_code, reason = "aya moves map values as bytes")]
        // SAFETY: repr(C), every byte belongs to a named integer field (the size assertion above
        // counts them), and every bit pattern is a valid value of an integer.
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use record;
