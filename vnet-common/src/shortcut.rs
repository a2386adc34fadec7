//! What the kernel decided about packets of a flow, remembered for those that follow: which device
//! they leave by, to which neighbour, and with which marks.

use crate::record;

/// A way through this host's kernel that packets have taken: the value of `hops`. Flows that go the same
/// way have the same one, by its number ([`Way::hop`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Interface index of the device they left by; 0 while it is written, and where there is none.
    pub device: u32,
    /// Interface index of the device they came in by.
    pub from: u32,
    /// Their `skb->mark` when they left.
    pub mark: u32,
    /// Their `skb->priority` when they left.
    pub priority: u32,
    /// Destination address of their Ethernet header: the neighbour's.
    pub dmac: [u8; 6],
    /// Source address of their Ethernet header: the device's.
    pub smac: [u8; 6],
    /// Bytes of link header that packets have where they leave: 14 (Ethernet) or 0.
    pub header: u8,
    /// The same where they come in.
    pub came: u8,
    /// Their traffic class, without the bits for congestion (RFC 2474, RFC 3168): routing may depend
    /// on it.
    pub class: u8,
    /// Always zero.
    pub reserved: u8,
    /// Destination address of the Ethernet header that packets come in with: the address of the device
    /// they come in by.
    pub to: [u8; 6],
    /// Always zero.
    pub spare: [u8; 2],
    /// When a packet last went this way and was noted, in the unit of [`Hop::stamp`]; 0 = never.
    pub noted: u32,
}
record!(Hop, 44);

impl Hop {
    /// How many there can be, number 0 not among them.
    pub const MOST: u32 = 4096;
    /// A second, in the unit of [`Hop::stamp`].
    pub const SECOND: u32 = 953;

    /// The lower 32 bits of the nanoseconds divided by 2^20 (so in units of 1.05 ms); 1 in the place of 0.
    #[inline(always)]
    #[must_use]
    pub const fn stamp(now: u64) -> u32 {
        let stamp = (now >> 20) as u32;
        if stamp == 0 { 1 } else { stamp }
    }

    /// How long ago a stamp is. One from a CPU that has read the clock since is not long ago, but now.
    #[inline(always)]
    #[must_use]
    pub const fn age(stamp: u32, now: u32) -> u32 {
        const AHEAD: u32 = 1 << 20;
        if stamp.wrapping_sub(now) < AHEAD { 0 } else { now.wrapping_sub(stamp) }
    }

    /// Where to look first for one like this.
    #[inline(always)]
    #[must_use]
    pub fn place(&self) -> u32 {
        let [a, b, c, d, e, f] = self.dmac;
        let mac = u32::from_ne_bytes([c, d, e, f]) ^ u32::from(u16::from_ne_bytes([a, b]));
        let devices = self.device ^ self.from.rotate_left(16);
        let marks = self.mark ^ self.priority.rotate_left(8) ^ u32::from(self.class);
        // Multiplicative hashing by the golden ratio.
        (mac ^ devices ^ marks).wrapping_mul(0x9e37_79b1) >> 20
    }
}

const _: () = assert!(Hop::MOST == 1 << (32 - 20));

/// What a flow remembers of the way that the last packet of one direction took, noted where it left and
/// repeated where the next ones come in, for [`Way::VALID`] at most. It is written and read whole.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Number of the [`Hop`]; 0 = nothing is known.
    pub hop: u16,
    /// Bytes of the largest packet that the kernel has let pass since, from the IP header on (of a
    /// GSO packet: of each segment).
    pub size: u16,
    /// When: bits 24 to 39 of the nanoseconds (so in units of 16.8 ms).
    pub learnt: u16,
    /// Lower half of [`crate::policy::Config::epoch`] at that time.
    pub epoch: u16,
}
record!(Way, 8);

impl Way {
    /// How long it may be repeated before the kernel is asked again: a second, in the unit of
    /// [`Way::learnt`].
    pub const VALID: u16 = 59;

    /// What [`Way::learnt`] says of a time in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn stamp(now: u64) -> u16 {
        (now >> 24) as u16
    }

    /// Whether what was learnt then still holds now, both as [`Way::learnt`] has them; only of a flow that
    /// has had a packet within the second before, because the number begins anew every 18 minutes.
    #[inline(always)]
    #[must_use]
    pub const fn holds(learnt: u16, now: u16) -> bool {
        // One ahead is from a CPU that has read the clock since.
        now.wrapping_sub(learnt).wrapping_add(1) <= Self::VALID
    }
}
