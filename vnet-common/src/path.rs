//! `paths`: routed conversations that `flows4` does not have, which may take the shortcut all the same: those
//! whose addresses nobody translates, and those of IPv6.
//!
//! An entry per direction, keyed by the tuple **as the packet arrives**. Nothing depends on an entry but the
//! way past the kernel: where there is no room, the one used longest ago is forgotten (an LRU hash).

use crate::{Ipv6, flow::FlowKey, record, shortcut::Way};

/// A packet's own 5-tuple, of either family: the key of `paths`.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathKey {
    /// Source address; one of IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
    pub saddr: Ipv6,
    /// Destination address, likewise.
    pub daddr: Ipv6,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// IP protocol: TCP or UDP.
    pub proto: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}
record!(PathKey, 40);

impl PathKey {
    /// The same conversation seen from the other end.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self { saddr: self.daddr, daddr: self.saddr, sport: self.dport, dport: self.sport, ..*self }
    }

    /// Key of the other direction, given what is written into packets of this one.
    #[inline(always)]
    #[must_use]
    pub const fn twin(&self, path: &Path) -> Self {
        let twin = self.reversed();
        match path.written {
            written::SOURCE => Self { daddr: path.addr, dport: path.port, ..twin },
            written::DESTINATION => Self { saddr: path.addr, sport: path.port, ..twin },
            _ => twin,
        }
    }
}

/// One direction of such a conversation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// The way past the kernel's routing, while there is one.
    pub way: Way,
    /// When this direction last saw a packet.
    pub last_seen: u64,
    /// Packets on the wire seen in this direction (a GSO packet counts its segments); 0 where `flow` has them.
    pub packets: u64,
    /// Bytes of those packets from the IP header on; likewise.
    pub bytes: u64,
    /// Address to write, at the end that `written` says.
    pub addr: Ipv6,
    /// Key of the connection in `flows4`, where it has one (NAT66); else zeros.
    pub flow: FlowKey,
    /// IPv6's flow label (RFC 6437): routing may depend on it.
    pub label: u32,
    /// When it was first seen, as [`crate::flow::Flow::first_seen`] has it: of `flow`, where there is one.
    pub first_seen: u32,
    /// Port to write.
    pub port: u16,
    /// What is written into its packets: one of [`written`].
    pub written: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Computed from the key: who finds that it has changed holds what is another's by now.
    pub check: u32,
}
record!(Path, 80);

/// Values of [`Path::written`].
pub mod written {
    /// Nothing.
    pub const NOTHING: u8 = 0;
    /// Address and port of the source.
    pub const SOURCE: u8 = 1;
    /// Address and port of the destination.
    pub const DESTINATION: u8 = 2;
}

/// Bits of [`Path::flags`].
pub mod flag {
    /// The kernel has let packets pass in both directions: they may take the shortcut.
    pub const ACCEPTED: u8 = 1;
    /// The other direction was there before.
    pub const ANSWER: u8 = 2;
}
