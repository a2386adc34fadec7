//! `tickets`: expiry without a daemon and without a timer per flow.
//!
//! Every connection has exactly one ticket in one FIFO. A single `bpf_timer` looks at the head of
//! the FIFO once a second; a ticket that has waited [`period`] seconds is taken out, and its
//! connection is either removed or gets the ticket back at the tail. Nothing scans the table.

use crate::{flow::FlowKey, policy::Config, record};

/// A place in the expiry queue.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The entry of the connection whose direction is out.
    pub key: FlowKey,
    /// Must equal the connection's `ticket`, else the ticket is stale and is thrown away.
    pub number: u32,
    /// When it joined the queue, in seconds of the monotonic clock.
    pub since: u32,
}
record!(Ticket, 24);

/// Longest time between two looks at one connection, in seconds.
pub const PERIOD_MAX: u32 = 15;

/// Seconds between two looks at one connection: a quarter of the shortest timeout, so that no
/// connection outlives its timeout by more than a quarter, within 1 to [`PERIOD_MAX`].
#[inline(always)]
#[must_use]
pub fn period(config: &Config) -> u32 {
    let shortest =
        config.tcp_transitory.min(config.udp).min(config.icmp).min(config.tcp_established);
    (shortest / 4).clamp(1, PERIOD_MAX)
}
