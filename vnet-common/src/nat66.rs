//! `uplinks6`, `addresses6` and their like: IPv6 masquerading (NAT66).
//!
//! The tables of IPv4's NAT have room for 32 bits of address. An IPv6 address stands in them as a
//! *handle*: a number that no packet of IPv4 can have as an address of one host (240.0.0.0/4), and
//! that is never another address's while any flow has it.

use crate::{Ipv4, Ipv6, record};

/// Addresses, besides those of uplinks, that can be in flows at once.
pub const ADDRESSES6: u32 = 1 << 16;

/// An uplink where IPv6 is masqueraded: the value of `uplinks6`, keyed by interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uplink6 {
    /// The outside address.
    pub addr: Ipv6,
    /// Its handle: see [`Handle::outside`].
    pub handle: Ipv4,
    /// Number of its pools of ports (see [`crate::translate::pool`]).
    pub outside: u32,
    /// 1 when this address and no other was asked for.
    pub asked: u32,
}
record!(Uplink6, 28);

/// Which uplink masquerades by an address: the value of `own6`, keyed by the address, and by the
/// number of its pools in the place of one (::number).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own6 {
    /// Interface index.
    pub link: u32,
}
record!(Own6, 4);

impl Uplink6 {
    /// The keys of its entries in `own6`.
    #[inline(always)]
    #[must_use]
    pub const fn keys(&self) -> [Ipv6; 2] {
        [self.addr, numbered(self.outside as u8)]
    }
}

/// In the place of an address: the number of an uplink's pools.
#[inline(always)]
#[must_use]
pub const fn numbered(outside: u8) -> Ipv6 {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, outside]
}

/// The place of an address that is in flows: the value of `addresses6`, indexed by
/// [`Handle::place`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address6 {
    /// The address.
    pub addr: Ipv6,
    /// Flows that have it; 0 = the place is free, or about to be.
    pub uses: u32,
    /// Raised with every address that has left: handles of before are nobody's then.
    pub generation: u32,
}
record!(Address6, 24);

/// The handle of an address that is in flows: the value of `handles6`, keyed by the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What stands for it.
    pub handle: Ipv4,
}
record!(Standing, 4);

/// The one entry of `fresh6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fresh6 {
    /// Places of `addresses6` that have been used, ever: those behind are all free.
    pub used: u32,
}
record!(Fresh6, 4);

/// What the fragments of one IPv6 datagram have in common (RFC 8200 section 4.5): the key of
/// `fragments6` and `strays6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey6 {
    /// Source address.
    pub saddr: Ipv6,
    /// Destination address.
    pub daddr: Ipv6,
    /// Identification, as it lies in memory.
    pub id: u32,
}
record!(FragmentKey6, 36);

/// A datagram that comes in fragments: the value of `fragments6` and `strays6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram6 {
    /// The address to write: its source on its way out, its destination on its way in.
    pub addr: Ipv6,
    /// Key of its flow.
    pub key: crate::flow::FlowKey,
    /// Identification to write, as it shall lie in memory.
    pub id: u32,
    /// Where its first fragment ends, in bytes behind the fragment header: nothing may begin before.
    pub end: u32,
    /// When it was noted, in seconds of the monotonic clock.
    pub since: u32,
    /// Interface index of the uplink it crosses.
    pub link: u32,
    /// [`crate::flow::Direction`] in which it does.
    pub direction: u8,
    /// The [`crate::account::Reason`] that its fragments end by.
    pub reason: u8,
    /// While it is sorted: its hop limit.
    pub hops: u8,
    /// Always zero.
    pub reserved: u8,
    /// While it is sorted: the lower half of its flow label, as it lies in memory.
    pub label: u32,
    /// While it is sorted: interface index of the device it came in by; 0 when this host made it.
    pub arrived: u32,
    /// While it is sorted: destination and source of its link header, as they lie in memory.
    pub stations: [u32; 3],
}
record!(Datagram6, 72);

/// A handle: what stands for an IPv6 address in a table of IPv4's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(u32);

/// Generations a place can tell apart.
const GENERATIONS: u32 = 1 << 11;

impl Handle {
    /// That of an uplink's outside address. `change` tells it from one the uplink had before.
    #[inline(always)]
    #[must_use]
    pub const fn outside(change: u32, number: u32) -> Self {
        Self(0xf000_0000 | (change & 0x7_ffff) << 8 | number & 0xff)
    }

    /// That of an address in this place of `addresses6`, in its present generation.
    #[inline(always)]
    #[must_use]
    pub const fn at(place: u32, generation: u32) -> Self {
        Self(0xf800_0000 | (generation % GENERATIONS) << 16 | place & 0xffff)
    }

    /// What an address in a table is: a handle, or one of IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn read(addr: Ipv4) -> Option<Self> {
        if addr[0] < 0xf0 { None } else { Some(Self(u32::from_be_bytes(addr))) }
    }

    /// As it stands in tables.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self) -> Ipv4 {
        self.0.to_be_bytes()
    }

    /// Its place in `addresses6`; none when it is an outside address's.
    #[inline(always)]
    #[must_use]
    pub const fn place(self) -> Option<u32> {
        if self.0 >> 27 == 0x1f { Some(self.0 & 0xffff) } else { None }
    }

    /// Whether it is that of the address in its place.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, generation: u32) -> bool {
        self.0 >> 16 & (GENERATIONS - 1) == generation % GENERATIONS
    }
}
