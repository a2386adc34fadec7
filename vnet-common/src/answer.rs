//! `answers`: how often who was told by ICMP that a connection is refused; `syns`: who shall be told
//! later.

use crate::record;

/// A budget of answers: the value of `answers`, keyed by who is told. Every answer moves `until` on
/// by its share of time, and none is given while it is too far ahead of now (a leaky bucket in one
/// number).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// When all of the budget is there again.
    pub until: u64,
}
record!(Budget, 8);

/// How many answers may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds of one answer's share.
    pub share: u64,
    /// Answers that may follow each other at once.
    pub burst: u64,
}

impl Limit {
    /// For one address: as the kernel's `icmp_ratelimit`.
    pub const EACH: Self = Self { share: 1_000_000_000, burst: 6 };
    /// For all together: as the kernel's `icmp_msgs_per_sec` and `icmp_msgs_burst`.
    pub const ALL: Self = Self { share: 1_000_000, burst: 50 };

    /// The budget after one more answer at `now`; `None` when there is nothing left of it.
    #[inline(always)]
    #[must_use]
    pub fn spend(&self, budget: Budget, now: u64) -> Option<Budget> {
        let until = budget.until.max(now) + self.share;
        (until - now <= self.burst * self.share).then_some(Budget { until })
    }
}

/// A SYN from outside that a mapping's filtering did not let in: the value of `syns`, keyed by its
/// tuple.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsolicited {
    /// When it came first.
    pub since: u64,
    /// Its sequence number: that of a retransmission is the same.
    pub sequence: u32,
    /// Always zero.
    pub reserved: u32,
}
record!(Unsolicited, 16);

/// Nanoseconds for which such a SYN gets no answer (RFC 5382 REQ-4).
pub const SYN_SILENCE: u64 = 6_000_000_000;
