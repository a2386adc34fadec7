//! Internet checksum arithmetic (RFC 1071, RFC 1624 equation 3).
//!
//! Words are taken as they lie in memory: a one's-complement sum does not care about byte order,
//! and the kernel's helpers expect it so.

/// The difference that replacing some words makes to a one's-complement sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change(u64);

impl Change {
    /// Nothing replaced.
    pub const NONE: Self = Self(0);

    /// Replaces 16 bits.
    #[inline(always)]
    #[must_use]
    pub fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Replaces 32 bits, such as an address: 32-bit words fold to the same sum as their halves.
    #[inline(always)]
    #[must_use]
    pub fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The difference, folded: what `bpf_l4_csum_replace` takes as a difference.
    #[inline(always)]
    #[must_use]
    pub fn folded(self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The checksum field after the change: `~(~old + difference)`.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, field: u16) -> u16 {
        !Self(u64::from(!field) + u64::from(self.folded())).folded()
    }
}

/// Whether a checksum field only holds the sum of a pseudo-header, for hardware to go on from
/// (`CHECKSUM_PARTIAL`). One checksum in 65,535 looks the same.
#[inline(always)]
#[must_use]
pub fn is_begun(field: u16, pseudo: u64) -> bool {
    // 0 and 0xffff are the same number to a one's-complement sum.
    let same = |half: u16| if half == 0xffff { 0 } else { half };
    same(field) == same(Change(pseudo).folded())
}

/// The checksum of words that add up to `sum`.
#[inline(always)]
#[must_use]
pub fn of(sum: u64) -> u16 {
    !Change(sum).folded()
}
