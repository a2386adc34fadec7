//! `fragments` and `strays`: what is known of datagrams that come in fragments.
//!
//! Only the first fragment of a datagram has ports. What became of it is noted here for those that
//! follow. Both maps are bounded, and forget first what was not used for longest.

use crate::{Ipv4, record};

/// What the fragments of one datagram have in common (RFC 791): the key of both maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub saddr: Ipv4,
    /// Destination address.
    pub daddr: Ipv4,
    /// Identification.
    pub id: u16,
    /// IP protocol.
    pub proto: u8,
    /// Always zero.
    pub reserved: u8,
}
record!(FragmentKey, 12);

/// A datagram that comes in fragments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// Source address to write.
    pub saddr: Ipv4,
    /// Destination address to write.
    pub daddr: Ipv4,
    /// Source port of its flow, as it arrives.
    pub sport: u16,
    /// Destination port of its flow, as it arrives.
    pub dport: u16,
    /// Identification to write.
    pub id: u16,
    /// Where its first fragment ends, in bytes behind the IP header: nothing may begin before.
    pub end: u16,
    /// When it was noted, in seconds of the monotonic clock.
    pub since: u32,
    /// Interface index of the uplink it crosses.
    pub link: u32,
    /// [`crate::flow::Direction`] in which it does.
    pub direction: u8,
    /// The [`crate::account::Reason`] that its fragments end by.
    pub reason: u8,
    /// While it is sorted: its TTL.
    pub ttl: u8,
    /// Always zero.
    pub reserved: u8,
    /// While it is sorted: interface index of the device it came in by; 0 when this host made it.
    pub arrived: u32,
    /// While it is sorted: destination and source of its link header, as they lie in memory.
    pub stations: [u32; 3],
}
record!(Datagram, 44);

/// Both ends of the cable to the sorter have this address, so that what goes in needs no neighbour
/// and what comes out none either. It is locally administered (IEEE 802).
pub const SORTER_MAC: [u8; 6] = [0x02, b'v', b'n', b'e', b't', 0x05];

/// TTL of fragments on their way through the sorter: any will do, because they get theirs back.
pub const SORTER_TTL: u8 = 64;

/// The one entry of `serial`: where identifications that nobody else uses come from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serial {
    /// The last one given away; they count down.
    pub id: u32,
}
record!(Serial, 4);
