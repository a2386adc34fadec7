//! Time and chance.

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns};

/// Nanoseconds of `CLOCK_MONOTONIC_COARSE`: a memory read, good to a few milliseconds.
#[inline(always)]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: the helper takes nothing and only returns a number.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The same in whole seconds.
#[inline(always)]
#[must_use]
pub fn seconds() -> u32 {
    (now() / 1_000_000_000) as u32
}

/// A number that changes about once a millisecond, or with each tick of a slower clock.
#[inline(always)]
#[must_use]
pub fn tick() -> u32 {
    tick_of(now())
}

/// That number at a time in nanoseconds.
#[inline(always)]
#[must_use]
pub fn tick_of(now: u64) -> u32 {
    (now >> 20) as u32
}

/// A random number.
#[inline(always)]
#[must_use]
pub fn random() -> u32 {
    // SAFETY: the helper takes nothing and only returns a number.
    unsafe { bpf_get_prandom_u32() }
}
