//! Prefix translation of IPv6 (NPTv6, RFC 6296): the arithmetic.

use vnet_common::prefix6::{Prefix6, SUBNET_AT, fold};

use crate::packet6::Words;

/// The address with the other prefix of `to`, its sum unchanged; `None` for one that could not be
/// told from another on its way back.
#[inline(always)]
#[must_use]
pub fn translate(addr: &Words, to: &Prefix6) -> Option<Words> {
    let [a, b, ..] = to.prefix.as_chunks::<4>().0 else { return None };
    let mask = u64::MAX << (64u32.wrapping_sub(to.length) & 63);
    let prefix = join(u32::from_ne_bytes(*a), u32::from_ne_bytes(*b)) & mask;
    let mut upper = join(addr[0], addr[1]) & !mask | prefix;
    let mut lower = join(addr[2], addr[3]);
    if to.length <= SUBNET_AT {
        upper = adjust(upper, 0, to.adjustment)?;
    } else {
        // The first word that is not 0xffff, which none becomes: the way back finds the same.
        lower = adjust(lower, 48, to.adjustment)
            .or_else(|| adjust(lower, 32, to.adjustment))
            .or_else(|| adjust(lower, 16, to.adjustment))
            .or_else(|| adjust(lower, 0, to.adjustment))?;
    }
    let [(a, b), (c, d)] = [split(upper), split(lower)];
    Some([a, b, c, d])
}

/// Adds to the word that begins at bit `at`; `None` when it is 0xffff, which would become what 0
/// becomes.
#[inline(always)]
fn adjust(half: u64, at: u32, adjustment: u32) -> Option<u64> {
    let word = (half >> at) as u32 & 0xffff;
    if word == 0xffff {
        return None;
    }
    let sum = match fold(word + adjustment) {
        0xffff => 0,
        sum => sum,
    };
    Some(half & !(0xffff << at) | u64::from(sum) << at)
}

/// Half an address as a number.
#[inline(always)]
fn join(first: u32, second: u32) -> u64 {
    u64::from(u32::from_be(first)) << 32 | u64::from(u32::from_be(second))
}

#[inline(always)]
fn split(half: u64) -> (u32, u32) {
    (((half >> 32) as u32).to_be(), (half as u32).to_be())
}
