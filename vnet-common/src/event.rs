//! `events`: mappings that begin and end (RFC 6888 section 4), or blocks of ports that hosts begin and
//! cease to use (REQ-14). Never who was talked to: destinations
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
    /// Inside port, or ICMP query identifier; of a block its first port outside.
    pub inside_port: u16,
    /// Outside port, or ICMP query identifier; of a block its last port.
    pub outside_port: u16,
    /// IP protocol; 0 for a block, which is for all.
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
    /// A host with no mapping yet has made one in its block.
    pub const BLOCK_CREATED: u8 = 2;
    /// The last mapping of that host has ended.
    pub const BLOCK_DELETED: u8 = 3;
}

/// What is told of.
pub mod telling {
    /// Nothing.
    pub const NOTHING: u8 = 0;
    /// Every mapping.
    pub const MAPPINGS: u8 = 1;
    /// Blocks that hosts have, and mappings of who has none: this host itself.
    pub const BLOCKS: u8 = 2;
}
