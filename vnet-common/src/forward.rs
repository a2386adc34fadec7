//! `forwards`, `forwarded` and `rules`: ports of an outside address that lead to an inside host.
//!
//! A range of ports is at most 30 prefixes of a trie, so that looking one up costs the same for one
//! port as for ten thousand. `rules` says what was asked for, and is the control plane's own; the two
//! tries are made from it: `forwards` leads from the outside to the inside, `forwarded` back.

use crate::{Ipv4, record};

/// A port of an address: what is looked up in `forwards` and `forwarded`. Ports are in wire order,
/// because a trie compares bits from the first byte on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Address.
    pub addr: Ipv4,
    /// IP protocol: TCP or UDP.
    pub proto: u8,
    /// Always zero.
    pub reserved: u8,
    /// Port, wire order.
    pub port: [u8; 2],
}
record!(Place, 8);

impl Place {
    /// Bits that come before the port.
    pub const BEFORE_PORT: u32 = 48;
    /// Bits of all of it.
    pub const BITS: u32 = 64;
    /// Stands where the number of an outside address does, for 127.0.0.0/8 and ::1: who asks this host
    /// from this host.
    pub const LOOPBACK: u32 = u32::MAX;

    /// This port of an inside host.
    #[inline(always)]
    #[must_use]
    pub fn inside(addr: Ipv4, proto: u8, port: u16) -> Self {
        Self { addr, proto, reserved: 0, port: port.to_be_bytes() }
    }

    /// This port of the outside address with that number, which is in the address's place: the
    /// address itself may change.
    #[inline(always)]
    #[must_use]
    pub fn outside(number: u32, proto: u8, port: u16) -> Self {
        Self::inside(number.to_be_bytes(), proto, port)
    }
}

/// Ports of an outside address and the ports of an inside host they lead to, one to one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Number of the outside address (see [`crate::translate::pool`]).
    pub outside: u32,
    /// Inside address.
    pub inside: Ipv4,
    /// First outside port.
    pub first: u16,
    /// Last outside port.
    pub last: u16,
    /// First inside port.
    pub inside_first: u16,
    /// Always zero.
    pub reserved: u16,
    /// Number of its rule.
    pub id: u32,
}
record!(Forward, 20);

impl Forward {
    /// The inside port that an outside port leads to.
    #[inline(always)]
    #[must_use]
    pub fn inward(&self, port: u16) -> u16 {
        port.wrapping_sub(self.first).wrapping_add(self.inside_first)
    }

    /// The outside port that leads to an inside port.
    #[inline(always)]
    #[must_use]
    pub fn outward(&self, port: u16) -> u16 {
        port.wrapping_sub(self.inside_first).wrapping_add(self.first)
    }
}

/// What was asked for: the value of `rules`, keyed by its number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The forward; which outside address it is on follows from `asked`.
    pub forward: Forward,
    /// The outside address that was asked for; 0.0.0.0 = the first one, whichever that is.
    pub asked: Ipv4,
    /// IP protocol.
    pub proto: u8,
    /// One of [`rule_state`].
    pub state: u8,
    /// Always zero.
    pub reserved: u16,
    /// Its name, NUL-padded.
    pub name: [u8; 32],
}
record!(Rule, 60);

/// Values of [`Rule::state`]: a command that is cut short leaves one that says how to go on.
pub mod rule_state {
    /// In force.
    pub const THERE: u8 = 0;
    /// Being made or changed.
    pub const COMING: u8 = 1;
    /// Being removed.
    pub const GOING: u8 = 2;
}

/// What `vnet_ports` is told to do, as the bytes of the packet it is run with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// One of [`order`].
    pub what: u32,
    /// Number of the pool.
    pub pool: u32,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
    /// With [`order::END`]: address of the connection's inside end.
    pub saddr: Ipv4,
    /// Address of its other end.
    pub daddr: Ipv4,
    /// Port of its inside end.
    pub sport: u16,
    /// Port of its other end.
    pub dport: u16,
    /// Its protocol.
    pub proto: u32,
}
record!(Order, 28);

/// Values of [`Order::what`]. Each can be repeated: what is done already is not done again.
pub mod order {
    /// Take the ports out of the pool, for a forward. Returns how many somebody holds.
    pub const TAKE: u32 = 1;
    /// Give the ports back that were taken.
    pub const GIVE: u32 = 2;
    /// End one connection.
    pub const END: u32 = 3;
}
