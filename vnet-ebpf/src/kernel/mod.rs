//! The only door to the kernel: packets, maps, clock, timer, sockets and randomness.
//!
//! All unsafe code of the programs is here, behind functions that are safe to call.
//!
//! A map entry that was found stays readable until the program ends (RCU), but one that is removed
//! meanwhile may already be another's: the kernel reuses elements at once. A flow is removed only
//! after it was idle for its whole timeout, so that takes a packet in the very microsecond of its
//! expiry. What must never be mistaken, the owners of ports, is therefore in an array, whose slots
//! are never reused. Entries are plain integers that other CPUs and the control plane may change at
//! any time: they are read and written one field at a time, and counted up atomically.
#![expect(unsafe_code, reason = "this is the fence: helpers and map values are raw pointers")]

pub mod addresses6;
pub mod answers;
pub mod atomic;
pub mod calls;
pub mod clock;
pub mod desk;
pub mod detour;
pub mod early;
pub mod events;
pub mod fib;
pub mod flows;
pub mod forwards;
pub mod fragments;
pub mod fragments6;
pub mod frame;
pub mod hops;
pub mod hosts;
pub mod in_place;
pub mod maps;
pub mod outsides;
pub mod paths;
pub mod ports;
pub mod reply;
pub mod socket;
pub mod sum;
pub mod tickets;
pub mod timer;
pub mod uplinks6;

/// Runs `step` up to `times` times with the number of the turn, until it returns 1. The verifier
/// walks the step once, however often it runs (`bpf_loop`).
#[inline(always)]
pub fn repeat<T>(times: u32, step: extern "C" fn(u64, &mut T) -> i64, context: &mut T) {
    let context: *mut T = context;
    // SAFETY: the kernel hands the context back to the step unchanged, and it outlives the loop.
    unsafe { aya_ebpf::helpers::bpf_loop(times, step as *mut _, context.cast(), 0) };
}
