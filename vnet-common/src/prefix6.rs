//! `prefixes6`: prefix translation of IPv6 without state (NPTv6, RFC 6296).
//!
//! An address gets another prefix, and one of its other 16-bit words makes up for what that did to
//! the one's-complement sum of the whole. So whatever checksum covers the address stays right, and
//! the way back is computed from the prefix alone.

use crate::{Ipv6, record};

/// Longest prefix that can be translated: what follows is the interface identifier.
pub const LENGTH_MAX: u32 = 64;

/// Bits up to which the word after them, the subnet, makes up for the prefix (RFC 6296 section 3.4).
/// Behind a longer prefix it is one of the interface identifier (section 3.5).
pub const SUBNET_AT: u32 = 48;

/// Value of `prefixes6`, keyed by a prefix of an address (the longest one counts).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix6 {
    /// The prefix that such an address gets instead.
    pub prefix: Ipv6,
    /// Its length in bits, the same on both sides.
    pub length: u32,
    /// One of [`side`].
    pub side: u32,
    /// What is added to one word of the address, in one's-complement arithmetic.
    pub adjustment: u32,
}
record!(Prefix6, 28);

/// Values of [`Prefix6::side`].
pub mod side {
    /// Addresses of inside hosts: as a source, translated on the way out.
    pub const INSIDE: u32 = 1;
    /// What they are outside: as a destination, translated on the way in.
    pub const OUTSIDE: u32 = 2;
    /// An address of this host itself, which is not translated.
    pub const KEEP: u32 = 3;
}

impl Prefix6 {
    /// The entries of both sides, that of `inside` first, for two prefixes of this length.
    #[must_use]
    pub const fn pair(inside: Ipv6, outside: Ipv6, length: u32) -> (Self, Self) {
        let adjustment = difference(inside, outside);
        let out = Self { prefix: outside, length, side: side::INSIDE, adjustment };
        // Subtracting is adding the complement.
        let adjustment = !adjustment & 0xffff;
        (out, Self { prefix: inside, length, side: side::OUTSIDE, adjustment })
    }

    /// The entry of an address that stays as it is.
    #[must_use]
    pub const fn keep() -> Self {
        Self { prefix: [0; 16], length: 128, side: side::KEEP, adjustment: 0 }
    }
}

/// Folds a sum of 16-bit words to one word (RFC 1071).
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// What makes up for writing `after` in the place of `before`: the one's-complement sum of `before`
/// less that of `after`.
const fn difference(before: Ipv6, after: Ipv6) -> u32 {
    let mut sum = 0;
    let mut at = 0;
    while at < 16 {
        sum += (before[at] as u32) << 8 | before[at + 1] as u32;
        sum += !((after[at] as u32) << 8 | after[at + 1] as u32) & 0xffff;
        at += 2;
    }
    fold(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6296 section 3.6: FD01:0203:0405::/48 and 2001:0DB8:0001::/48.
        let inside = [0xfd, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let outside = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (out, back) = Prefix6::pair(inside, outside, 48);
        assert_eq!((out.adjustment, back.adjustment), (0xd54f, !0xd54f & 0xffff));
        assert_eq!((out.prefix, back.prefix), (outside, inside));
    }
}
