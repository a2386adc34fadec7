//! `mappings` and `owners`: who has which outside port.
//!
//! A mapping is endpoint-independent (RFC 4787 REQ-1, RFC 5382 REQ-1): one inside address and
//! port has one outside address and port towards every destination. `mappings` is looked up by
//! the inside endpoint when a flow is new; `owners` is an array indexed by the outside port, so
//! its slots are never freed and a use count in it can never be mistaken for another mapping's.

use crate::{Ipv4, record};

/// An inside address and port: the key of `mappings`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Inside address.
    pub addr: Ipv4,
    /// Inside port, or ICMP query identifier.
    pub port: u16,
    /// IP protocol.
    pub proto: u8,
    /// Number of the outside address the mapping is on (see [`pool`]).
    pub outside: u8,
}
record!(Endpoint, 8);

/// The outside end of a mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Outside address.
    pub addr: Ipv4,
    /// Outside port, or ICMP query identifier.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
    /// When the mapping was made.
    pub created: u64,
}
record!(Mapping, 16);

/// Key of `peers`: an address a mapping's owner has flows to. Kept while filtering is
/// address-dependent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The address.
    pub addr: Ipv4,
    /// Outside port of the mapping.
    pub port: u16,
    /// IP protocol.
    pub proto: u8,
    /// Number of the mapping's outside address.
    pub outside: u8,
}
record!(Peer, 8);

/// Value of `peers`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFlows {
    /// How many flows there are.
    pub flows: u32,
}
record!(PeerFlows, 4);

/// Who holds an outside port: the value of `owners`, indexed by [`owner_index`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Flows that use the mapping; 0 = nobody holds the port. Changed atomically, and never
    /// raised from 0 except by the holder of the port's bit in its pool.
    pub uses: u32,
    /// Inside address (this host's outside address when the host itself holds it).
    pub addr: Ipv4,
    /// Inside port.
    pub port: u16,
    /// Bits of [`crate::flow::flag`]: `HOST` when this host itself holds the port.
    pub flags: u16,
}
record!(Owner, 12);

/// Pools of one outside address, one per protocol: `pools` and `owners` are indexed by it.
pub mod pool {
    use crate::flow::proto;

    /// Pools an outside address has.
    pub const PER_ADDRESS: u32 = 3;
    /// Most outside addresses an instance can have: their numbers are 8 bits wide.
    pub const ADDRESSES: u32 = 256;

    /// Number of the pool of `proto` on outside address number `outside`, if it is translated.
    #[inline(always)]
    #[must_use]
    pub fn number(outside: u8, proto: u8) -> Option<u32> {
        let base = outside as u32 * PER_ADDRESS;
        match proto {
            proto::TCP => Some(base),
            proto::UDP => Some(base + 1),
            proto::ICMP => Some(base + 2),
            _ => None,
        }
    }
}

/// Index into `owners` of `port` in pool number `pool`.
#[inline(always)]
#[must_use]
pub fn owner_index(pool: u32, port: u16) -> u32 {
    (pool << 16) | port as u32
}
