//! The clock the datapath stamps its records with.

use rustix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of the coarse monotonic clock.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// Seconds from `then` to `now`, both in nanoseconds, to a tenth of a second.
#[must_use]
pub fn seconds(now: u64, then: u64) -> f64 {
    let tenths = now.saturating_sub(then) / 100_000_000;
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}
