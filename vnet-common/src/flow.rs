//! `flows4`: two entries per connection, one per direction, each keyed by the tuple **as the
//! packet arrives**, so that a packet of a known flow costs one lookup.
//!
//! The twin of an entry is computed from the entry itself ([`Flow::twin`]): there is never half a
//! connection to search for.

use crate::{Ipv4, record, shortcut::Way};

/// IP protocol numbers that NAT tracks (IANA protocol-numbers).
pub mod proto {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
}

/// A packet's own 5-tuple: the key of `flows4`.
///
/// For ICMP queries both ports hold the query identifier (RFC 5508).
///
/// Aligned like the words that headers are made of: else an address is four loads of a byte.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub saddr: Ipv4,
    /// Destination address.
    pub daddr: Ipv4,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// IP protocol, one of [`proto`].
    pub proto: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}
record!(FlowKey, 16);

impl FlowKey {
    /// The same conversation seen from the other end.
    #[inline(always)]
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            saddr: self.daddr,
            daddr: self.saddr,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
            reserved: [0; 3],
        }
    }
}

/// What a flow entry carries about one direction of a connection.
///
/// The kernel's table puts 64 bytes before it, and eight before those: what packets on the shortcut need
/// are the first 56 bytes, which end with a cache line. All else is what they do not touch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Source address to write.
    pub saddr: Ipv4,
    /// Destination address to write.
    pub daddr: Ipv4,
    /// Source port to write.
    pub sport: u16,
    /// Destination port to write.
    pub dport: u16,
    /// [`Direction`] of this entry.
    pub direction: u8,
    /// [`crate::tcp::State`], the same in both entries of a connection.
    pub state: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Number of the outside address (see [`crate::translate::pool`]); between two inside hosts, of
    /// the one that its sender has.
    pub outside: u8,
    /// Packets on the wire seen in this direction (a GSO packet counts its segments).
    pub packets: u64,
    /// Bytes of those packets from the IP header on.
    pub bytes: u64,
    /// When this direction last saw a packet.
    pub last_seen: u64,
    /// TCP: end of the highest sequence number sent in this direction.
    pub seq_end: u32,
    /// TCP: last acknowledgement number sent in this direction.
    pub ack: u32,
    /// The way past the kernel's routing, while there is one.
    pub way: Way,
    /// When the connection was made: bits 24 to 55 of the nanoseconds (so in units of 16.8 ms, and
    /// good for an age of two years).
    pub first_seen: u32,
    /// [`crate::policy::Config::epoch`] under which the connection was made or last looked at anew.
    pub epoch: u32,
    /// Number of the one ticket that may expire this connection (see [`crate::expire`]).
    pub ticket: u32,
    /// Interface index of the uplink that translates.
    pub link: u32,
}
record!(Flow, 72);
const _: () = assert!(core::mem::offset_of!(Flow, first_seen) == 56);

impl Flow {
    /// What [`Flow::first_seen`] says of a time in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn stamp(now: u64) -> u32 {
        (now >> 24) as u32
    }

    /// When the connection was made, in nanoseconds, given the present time.
    #[must_use]
    pub fn made(&self, now: u64) -> u64 {
        let age = Self::stamp(now).wrapping_sub(self.first_seen);
        now.saturating_sub(u64::from(age) << 24)
    }

    /// Key of the entry for the other direction, given the protocol of this one.
    #[inline(always)]
    #[must_use]
    pub fn twin(&self, proto: u8) -> FlowKey {
        FlowKey {
            saddr: self.daddr,
            daddr: self.saddr,
            sport: self.dport,
            dport: self.sport,
            proto,
            reserved: [0; 3],
        }
    }
}

/// Bits of [`Flow::flags`].
pub mod flag {
    /// The connection belongs to a socket of this host, not to a host behind it.
    pub const HOST: u8 = 1;
    /// The other side has answered: no longer embryonic.
    pub const REPLIED: u8 = 2;
    /// Opened from outside, through a forward.
    pub const FORWARD: u8 = 4;
    /// Opened from outside, to a mapping that lets others in.
    pub const INVITED: u8 = 8;
    /// Between two inside hosts, by the outside address of one of them: the entry is met where
    /// packets come in from inside, which changes the destination; the source follows where they
    /// leave.
    pub const HAIRPIN: u8 = 16;
    /// Counted in `hosts`: it is one fewer there when it ends. Also of a mapping's owner.
    pub const COUNTED: u8 = 32;
    /// The kernel has let packets pass in both directions: they may take the shortcut.
    pub const ACCEPTED: u8 = 64;
}

/// Which way a packet crosses the uplink.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From inside (or from this host) to the outside.
    Out = 0,
    /// From outside towards the mapping.
    In = 1,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}
