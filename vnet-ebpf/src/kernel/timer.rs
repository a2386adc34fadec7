//! The one timer of an instance.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::bpf_timer,
    btf_maps::Array,
    helpers::{bpf_timer_init, bpf_timer_set_callback, bpf_timer_start},
    macros::btf_map,
};

/// Holds the timer; nothing else may touch it.
#[repr(C)]
pub struct Clock {
    timer: bpf_timer,
}

#[btf_map(name = "clock")]
static CLOCK: Array<Clock, 1> = Array::new();

const EBUSY: i64 = 16;
const ENOENT: i64 = 2;
const CLOCK_MONOTONIC: u64 = 1;

/// What the timer's callback is told by the kernel; nothing of it is used.
pub type Callback = extern "C" fn(*mut c_void, *mut u32, &mut Clock) -> i64;

/// Arms the timer so that `callback` runs `after` nanoseconds from now. A timer that is already
/// there gets the new callback: that is how a new version of the programs takes over.
#[inline(always)]
pub fn arm(callback: Callback, after: u64) -> i64 {
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return -ENOENT };
    // SAFETY: the timer lies in a live map entry, `CLOCK` is the map that holds it, and the
    // callback has the signature the kernel calls with.
    unsafe {
        let timer = &raw mut (*clock).timer;
        let map: *mut c_void = core::ptr::from_ref(&CLOCK).cast_mut().cast();
        let made = bpf_timer_init(timer, map, CLOCK_MONOTONIC);
        if made != 0 && made != -EBUSY {
            return made;
        }
        let set = bpf_timer_set_callback(timer, callback as *mut c_void);
        if set != 0 {
            return set;
        }
        bpf_timer_start(timer, after, 0)
    }
}

/// Starts the timer again from within its callback.
#[inline(always)]
pub fn rearm(clock: &mut Clock, after: u64) {
    // SAFETY: the kernel passes the callback the live entry the timer lies in.
    unsafe { bpf_timer_start(&raw mut clock.timer, after, 0) };
}
