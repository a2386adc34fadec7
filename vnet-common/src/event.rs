//! `events`: mappings that begin and end (RFC 6888 section 4). Never who was talked to: destinations
//! are nobody's business (REQ-12).

use crate::{Ipv4, record};

/// A record of `events`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: u64,
    /// Inside address.
    pub inside: Ipv4,
    /// Outside address.
    pub outside: Ipv4,
    /// Inside port, or ICMP query identifier.
    pub inside_port: u16,
    /// Outside port, or ICMP query identifier.
    pub outside_port: u16,
    /// IP protocol.
    pub proto: u8,
    /// One of [`kind`].
    pub kind: u8,
    /// Bits of [`crate::flow::flag`]: `HOST` when it is this host's own.
    pub flags: u16,
}
record!(Event, 24);

/// Values of [`Event::kind`].
pub mod kind {
    /// The mapping was made.
    pub const CREATED: u8 = 0;
    /// The mapping has ended.
    pub const DELETED: u8 = 1;
}
