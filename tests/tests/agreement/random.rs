//! Numbers that look random and are the same for the same seed.

use std::env;
use std::str::FromStr;

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

/// Frames that a test tries every day.
const FRAMES: u64 = 4000;

/// The seed of this run, and how many frames it tries.
pub(crate) fn run() -> (u64, u64) {
    (wish("VNET_AGREEMENT_SEED", 1), wish("VNET_AGREEMENT_FRAMES", FRAMES))
}

fn wish<T: FromStr>(name: &str, usual: T) -> T {
    let Ok(text) = env::var(name) else { return usual };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
}

impl Random {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    /// Any 16 bits.
    pub(crate) fn half(&mut self) -> u16 {
        self.number() as u16
    }

    /// Any 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        self.number() as u32
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}
