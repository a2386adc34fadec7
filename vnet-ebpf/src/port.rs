//! Which outside port: kept when it is free, found in constant time when it is not.
//!
//! The sets are shared by all CPUs and changed by atomic operations only. Who clears a port's bit
//! owns the port. The same code runs on the host under threads, which is where it is tested.

use vnet_common::port::{INDEX, PortPool, PortSet, WORDS, position};

use crate::kernel::atomic::{Atomic64, bound};

/// [`vnet_common::port::PortSet`], as the programs use it.
#[repr(C)]
pub struct Set {
    top: Atomic64,
    index: [Atomic64; INDEX],
    words: [Atomic64; WORDS],
}

/// [`vnet_common::port::PortPool`], as the programs use it.
#[repr(C)]
pub struct Pool {
    /// Ports anybody may have.
    pub free: Set,
    /// Ports given back more than one rest time ago.
    pub rested: Set,
    /// Ports given back since.
    pub resting: Set,
    /// Ports that forwards lead from.
    pub reserved: Set,
    /// When `resting` last became `rested`, in seconds.
    pub rotated: Atomic64,
}

const _: () = assert!(size_of::<Pool>() == size_of::<PortPool>());

/// Ports from the first to the last one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First port.
    pub min: u16,
    /// Last port.
    pub max: u16,
}

impl Range {
    /// No port.
    pub const NONE: Self = Self { min: 1, max: 0 };

    /// Whether `port` is in it.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.min <= port && port <= self.max
    }
}

impl Range {
    /// Positions (see [`position`]) of its ports of one parity, 0 or 1.
    #[inline(always)]
    #[must_use]
    pub fn positions(&self, parity: u16) -> Self {
        let skipped = |port: u16| (port ^ parity) & 1;
        // Wide enough for one past the last port.
        let min = (u32::from(self.min) + u32::from(skipped(self.min))) >> 1;
        let max = (i32::from(self.max) - i32::from(skipped(self.max))) >> 1;
        let half = u32::from(parity & 1) << 15;
        if max < min.cast_signed() {
            return Self::NONE;
        }
        Self { min: (half | min) as u16, max: (half | max.cast_unsigned()) as u16 }
    }
}

impl From<&PortSet> for Set {
    fn from(record: &PortSet) -> Self {
        Self {
            top: Atomic64::new(record.top),
            index: record.index.map(Atomic64::new),
            words: record.words.map(Atomic64::new),
        }
    }
}

impl From<&PortPool> for Pool {
    fn from(record: &PortPool) -> Self {
        Self {
            free: Set::from(&record.free),
            rested: Set::from(&record.rested),
            resting: Set::from(&record.resting),
            reserved: Set::from(&record.reserved),
            rotated: Atomic64::new(record.rotated),
        }
    }
}

impl Set {
    #[inline(always)]
    fn word(&self, word: usize) -> &Atomic64 {
        &self.words[word & (WORDS - 1)]
    }

    #[inline(always)]
    fn index(&self, group: usize) -> &Atomic64 {
        &self.index[group & (INDEX - 1)]
    }

    /// Takes `port` out; `true` for exactly one of all who try at once.
    #[inline(always)]
    pub fn claim(&self, port: u16) -> bool {
        let place = position(port);
        let (word, bit) = (usize::from(place >> 6), bit(place.into()));
        let before = self.word(word).and(!bit);
        if before & !bit == 0 {
            self.close(word);
        }
        before & bit != 0
    }

    /// Puts `port` in.
    #[inline(always)]
    pub fn add(&self, port: u16) {
        let place = position(port);
        self.add_word(usize::from(place >> 6), bit(place.into()));
    }

    /// Puts all of `bits` into word number `word`.
    #[inline(always)]
    pub fn add_word(&self, word: usize, bits: u64) {
        self.word(word).or(bits);
        self.index(word / 64).or(bit(word));
        self.top.or(bit(word / 64));
    }

    /// Empties word number `word` and returns what was in it.
    #[inline(always)]
    pub fn take_word(&self, word: usize) -> u64 {
        let bits = self.word(word).swap(0);
        if bits != 0 {
            self.close(word);
        }
        bits
    }

    /// Takes those of `bits` out of word number `word` that are in it, and returns them.
    #[inline(always)]
    pub fn take_bits(&self, word: usize, bits: u64) -> u64 {
        let before = self.word(word).and(!bits);
        if before != 0 && before & !bits == 0 {
            self.close(word);
        }
        before & bits
    }

    /// What is in word number `word` at this moment.
    #[inline(always)]
    #[must_use]
    pub fn bits(&self, word: usize) -> u64 {
        self.word(word).load()
    }

    /// Tells the upper levels that a word is empty. Whoever fills it at the same time sets the
    /// word first and the upper levels after it, so looking again after clearing cannot lose it.
    #[inline(always)]
    fn close(&self, word: usize) {
        let group = word / 64;
        let left = self.index(group).and(!bit(word)) & !bit(word);
        if self.word(word).load() != 0 {
            self.index(group).or(bit(word));
        }
        if left == 0 {
            self.close_group(group);
        }
    }

    /// Tells the top that a group of words is empty.
    #[inline(always)]
    fn close_group(&self, group: usize) {
        self.top.and(!bit(group));
        if self.index(group).load() != 0 {
            self.top.or(bit(group));
        }
    }

    /// Looks for the first position from `from` on whose port is in the set: in its own word, else
    /// in its own group of words, else in the first group after it that has any.
    #[inline(always)]
    pub fn look(&self, from: u16) -> Look {
        let word = usize::from(from >> 6);
        let here = self.word(word).load() & (u64::MAX << (from & 63));
        if here != 0 {
            return Look::Found(join(word, here));
        }
        let group = word / 64;
        let mut words = self.index(group).load() & after(word);
        let mut found = group;
        if words == 0 {
            let groups = self.top.load() & after(group);
            if groups == 0 {
                return Look::Empty;
            }
            found = lowest(groups);
            words = self.index(found).load();
        }
        if words == 0 {
            // It was emptied since, or whoever is emptying it has yet to say so here.
            self.close_group(found);
            return Look::beyond(found * 64 + 63);
        }
        let word = found * 64 + lowest(words);
        let bits = self.word(word).load();
        if bits == 0 {
            // The same, a level below.
            self.close(word);
            return Look::beyond(word);
        }
        Look::Found(join(word, bits))
    }
}

/// What one look at a set sees. Others may change it under the look, but a port that is free all the
/// time is seen by whoever looks on until there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The first position with a port, a moment ago.
    Found(u16),
    /// None before this position: look on from here.
    On(u16),
    /// None.
    Empty,
}

impl Look {
    /// Nothing up to the end of word number `word`.
    #[inline(always)]
    fn beyond(word: usize) -> Self {
        if word >= WORDS - 1 { Self::Empty } else { Self::On(((word + 1) << 6) as u16) }
    }
}

impl Pool {
    /// Takes this very port; `true` for exactly one of all who try at once. `unrested`: even if it
    /// has not rested.
    #[inline(always)]
    pub fn claim(&self, port: u16, unrested: bool) -> bool {
        self.free.claim(port) || unrested && (self.rested.claim(port) || self.resting.claim(port))
    }

    /// Reserves those of `bits` in word number `word` that nobody holds, and returns which of them
    /// are reserved then.
    #[inline(always)]
    pub fn reserve_word(&self, word: usize, bits: u64) -> u64 {
        // Ports move from resting to rested to free: in this order none slips through.
        for set in [&self.resting, &self.rested, &self.free] {
            let taken = set.take_bits(word, bits);
            if taken != 0 {
                self.reserved.add_word(word, taken);
            }
        }
        self.reserved.bits(word) & bits
    }

    /// Lets those of `bits` in word number `word` that are reserved rest.
    #[inline(always)]
    pub fn unreserve_word(&self, word: usize, bits: u64) {
        let taken = self.reserved.take_bits(word, bits);
        if taken != 0 {
            self.resting.add_word(word, taken);
        }
    }

    /// Whether the sets were last moved on at least `rest` seconds before `now`; if so, notes `now`.
    #[inline(always)]
    #[must_use]
    pub fn rotated_before(&self, now: u64, rest: u64) -> bool {
        let due = now.saturating_sub(self.rotated.load()) >= rest;
        if due {
            self.rotated.store(now);
        }
        due
    }

    /// Moves one word of ports on: rested ports become free, resting ones rested.
    #[inline(always)]
    pub fn rotate_word(&self, word: usize) {
        let rested = self.rested.take_word(word);
        if rested != 0 {
            self.free.add_word(word, rested);
        }
        let resting = self.resting.take_word(word);
        if resting != 0 {
            self.rested.add_word(word, resting);
        }
    }
}

/// The bit that stands for `number` in its word.
#[inline(always)]
fn bit(number: usize) -> u64 {
    1u64 << (number & 63)
}

/// The bits that stand for what comes after `number` in its word.
#[inline(always)]
fn after(number: usize) -> u64 {
    (u64::MAX << (number & 63)) << 1
}

#[inline(always)]
fn join(word: usize, bits: u64) -> u16 {
    ((word << 6) | lowest(bits)) as u16
}

/// Number of the lowest bit that is set.
#[inline(always)]
fn lowest(bits: u64) -> usize {
    bound::<63>(bits.trailing_zeros().into()) as usize
}
