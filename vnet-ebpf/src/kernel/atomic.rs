//! Numbers that all CPUs change at once.
//!
//! BPF has atomic instructions, but Rust's target for it declares none, so they are written out
//! here. On the host the same methods are the standard library's atomics, so that what is built on
//! them can be tested under threads. Whatever changes a number and returns what it was, and
//! `publish`, orders all that comes before and after it; a load does not.

use core::cell::UnsafeCell;

/// A 64-bit number.
#[repr(transparent)]
pub struct Atomic64(UnsafeCell<u64>);

/// A 32-bit number.
#[repr(transparent)]
pub struct Atomic32(UnsafeCell<u32>);

impl Atomic64 {
    /// A number nobody shares yet.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }
}

// SAFETY: all access is atomic.
unsafe impl Sync for Atomic64 {}
// SAFETY: all access is atomic.
unsafe impl Sync for Atomic32 {}

/// `number & MASK`, where the compiler cannot see that the mask changes nothing and leave it out:
/// what it knows of a number's bounds, the verifier often does not.
#[inline(always)]
pub fn bound<const MASK: u32>(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: one instruction on one register.
        unsafe {
            core::arch::asm!("{number} &= {mask}", number = inout(reg) number, mask = const MASK);
        };
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number & u64::from(MASK)
    }
}

#[cfg(target_arch = "bpf")]
mod imp {
    use super::{Atomic32, Atomic64};
    use core::arch::asm;

    /// An instruction that replaces a 64-bit number and returns the old one.
    macro_rules! fetch64 {
        ($instruction:literal, $at:expr, $value:expr) => {{
            let mut value: u64 = $value;
            // SAFETY: the pointer is that of a live number, and the instruction is atomic.
            unsafe { asm!($instruction, at = in(reg) $at, value = inout(reg) value) };
            value
        }};
    }

    impl Atomic64 {
        /// Reads it.
        #[inline(always)]
        pub fn load(&self) -> u64 {
            // SAFETY: an aligned 64-bit load is one instruction.
            unsafe { self.0.get().read_volatile() }
        }

        /// Writes it.
        #[inline(always)]
        pub fn store(&self, value: u64) {
            // SAFETY: an aligned 64-bit store is one instruction.
            unsafe { self.0.get().write_volatile(value) }
        }

        /// Replaces it and returns what it was.
        #[inline(always)]
        pub fn swap(&self, value: u64) -> u64 {
            fetch64!("{value} = xchg_64({at} + 0, {value})", self.0.get(), value)
        }

        /// Keeps only `mask` and returns what it was.
        #[inline(always)]
        pub fn and(&self, mask: u64) -> u64 {
            fetch64!("{value} = atomic_fetch_and((u64 *)({at} + 0), {value})", self.0.get(), mask)
        }

        /// Sets `bits` and returns what it was.
        #[inline(always)]
        pub fn or(&self, bits: u64) -> u64 {
            fetch64!("{value} = atomic_fetch_or((u64 *)({at} + 0), {value})", self.0.get(), bits)
        }

        /// Adds to it.
        #[inline(always)]
        pub fn add(&self, more: u64) {
            // SAFETY: as in `fetch64`.
            unsafe {
                asm!("lock *(u64 *)({at} + 0) += {more}", at = in(reg) self.0.get(), more = in(reg) more);
            }
        }
    }

    impl Atomic32 {
        /// Reads it.
        #[inline(always)]
        pub fn load(&self) -> u32 {
            // SAFETY: an aligned 32-bit load is one instruction.
            unsafe { self.0.get().read_volatile() }
        }

        /// Writes it after all that was written before.
        #[inline(always)]
        pub fn publish(&self, value: u32) {
            // SAFETY: as in `fetch64`.
            unsafe {
                asm!(
                    "{value} = xchg32_32({at} + 0, {value})",
                    at = in(reg) self.0.get(), value = inout(wreg) value => _
                );
            }
        }

        /// Adds one and returns what it was.
        #[inline(always)]
        pub fn increment(&self) -> u32 {
            self.fetch_add(1)
        }

        /// Subtracts one and returns what it was.
        #[inline(always)]
        pub fn decrement(&self) -> u32 {
            self.fetch_add(u32::MAX)
        }

        #[inline(always)]
        fn fetch_add(&self, more: u32) -> u32 {
            let mut value = more;
            // SAFETY: as in `fetch64`.
            unsafe {
                asm!(
                    "{value} = atomic_fetch_add((u32 *)({at} + 0), {value})",
                    at = in(reg) self.0.get(), value = inout(wreg) value
                );
            }
            value
        }

        /// Replaces `old` by `new`; `false` when it was not `old` any more.
        #[inline(always)]
        pub fn replace(&self, old: u32, new: u32) -> bool {
            let mut found = old;
            // SAFETY: as in `fetch64`; the instruction compares with and returns in w0.
            unsafe {
                asm!(
                    "w0 = cmpxchg32_32({at} + 0, w0, {new})",
                    at = in(reg) self.0.get(), new = in(wreg) new, inout("w0") found
                );
            }
            found == old
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
mod imp {
    use super::{Atomic32, Atomic64};
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

    impl Atomic64 {
        fn std(&self) -> &AtomicU64 {
            // SAFETY: same size and alignment, and all access is atomic.
            unsafe { AtomicU64::from_ptr(self.0.get()) }
        }

        /// Reads it.
        pub fn load(&self) -> u64 {
            self.std().load(SeqCst)
        }

        /// Writes it.
        pub fn store(&self, value: u64) {
            self.std().store(value, SeqCst);
        }

        /// Replaces it and returns what it was.
        pub fn swap(&self, value: u64) -> u64 {
            self.std().swap(value, SeqCst)
        }

        /// Keeps only `mask` and returns what it was.
        pub fn and(&self, mask: u64) -> u64 {
            self.std().fetch_and(mask, SeqCst)
        }

        /// Sets `bits` and returns what it was.
        pub fn or(&self, bits: u64) -> u64 {
            self.std().fetch_or(bits, SeqCst)
        }

        /// Adds to it.
        pub fn add(&self, more: u64) {
            self.std().fetch_add(more, SeqCst);
        }
    }

    impl Atomic32 {
        fn std(&self) -> &AtomicU32 {
            // SAFETY: same size and alignment, and all access is atomic.
            unsafe { AtomicU32::from_ptr(self.0.get()) }
        }

        /// Reads it.
        pub fn load(&self) -> u32 {
            self.std().load(SeqCst)
        }

        /// Writes it after all that was written before.
        pub fn publish(&self, value: u32) {
            self.std().store(value, SeqCst);
        }

        /// Adds one and returns what it was.
        pub fn increment(&self) -> u32 {
            self.std().fetch_add(1, SeqCst)
        }

        /// Subtracts one and returns what it was.
        pub fn decrement(&self) -> u32 {
            self.std().fetch_sub(1, SeqCst)
        }

        /// Replaces `old` by `new`; `false` when it was not `old` any more.
        pub fn replace(&self, old: u32, new: u32) -> bool {
            self.std().compare_exchange(old, new, SeqCst, SeqCst).is_ok()
        }
    }
}
