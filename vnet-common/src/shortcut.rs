//! What the kernel decided about packets of a flow, remembered for those that follow: which device
//! they leave by, to which neighbour, and with which marks.

use crate::record;

/// The way that the last packet of one direction took through this host's kernel: noted where it
/// left, and repeated where the next ones come in, for [`Hop::VALID`] at most.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Interface index of the device it left by; 0 = nothing is known.
    pub device: u32,
    /// Interface index of the device it came in by.
    pub from: u32,
    /// Its `skb->mark` when it left.
    pub mark: u32,
    /// Its `skb->priority` when it left.
    pub priority: u32,
    /// When: the lower 32 bits of the nanoseconds divided by 2^20 (so in units of 1.05 ms).
    pub learnt: u32,
    /// Lower half of [`crate::policy::Config::epoch`] at that time.
    pub epoch: u16,
    /// Bytes of the largest packet that the kernel has let pass since, from the IP header on (of a
    /// GSO packet: of each segment).
    pub size: u16,
    /// Destination address of its Ethernet header: the neighbour's.
    pub dmac: [u8; 6],
    /// Source address of its Ethernet header: the device's.
    pub smac: [u8; 6],
    /// Bytes of link header that packets have where they leave: 14 (Ethernet) or 0.
    pub header: u8,
    /// The same where they come in.
    pub came: u8,
    /// Its traffic class, without the bits for congestion (RFC 2474, RFC 3168): routing may depend
    /// on it.
    pub class: u8,
    /// Always zero.
    pub reserved: u8,
    /// Destination address of the Ethernet header that packets come in with: the address of the device
    /// they come in by.
    pub to: [u8; 6],
    /// Always zero.
    pub spare: [u8; 2],
}
record!(Hop, 48);

impl Hop {
    /// How long it may be repeated before the kernel is asked again: one second, in the unit of
    /// [`Hop::learnt`].
    pub const VALID: u32 = 953;

    /// What [`Hop::learnt`] says of a time in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn stamp(now: u64) -> u32 {
        (now >> 20) as u32
    }

    /// Whether what was learnt then still holds now, both as [`Hop::learnt`] has them.
    #[inline(always)]
    #[must_use]
    pub const fn holds(learnt: u32, now: u32) -> bool {
        now.wrapping_sub(learnt) < Self::VALID
    }
}
