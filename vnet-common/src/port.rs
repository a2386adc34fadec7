//! `pools`: which outside ports are free, per outside address and protocol.
//!
//! A set of ports is three levels of bits, so that finding one of 65,536 costs the same whether all
//! are free or one is left. A port that is given back rests before another host may get it: it
//! waits in `resting`, is moved to `rested` after one rest time, and is free after the next. A port
//! that a forward leads from is `reserved`: nobody is given it but the forward's own target.

use crate::record;

/// 64-bit words of a set: one bit for each port.
pub const WORDS: usize = 1024;
/// 64-bit words of the upper level: one bit for each word of the lower one.
pub const INDEX: usize = WORDS / 64;

/// Where a port's bit is in a set: even ports first, then odd ones, so that the ports of one parity
/// within a range follow each other.
#[inline(always)]
#[must_use]
pub const fn position(port: u16) -> u16 {
    (port & 1) << 15 | port >> 1
}

/// The port whose bit is at this position.
#[inline(always)]
#[must_use]
pub const fn port_at(position: u16) -> u16 {
    position.rotate_left(1)
}

/// A set of ports. A bit of an upper level says that the word it stands for may not be empty.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PortSet {
    /// Bit `i` is set while `index[i]` has a bit set.
    pub top: u64,
    /// Bit `w % 64` of `index[w / 64]` is set while `words[w]` has a bit set.
    pub index: [u64; INDEX],
    /// Bit `p % 64` of `words[p / 64]` is set while the port with [`position`] `p` is in the set.
    pub words: [u64; WORDS],
}
record!(PortSet, (1 + INDEX + WORDS) * 8);

impl PortSet {
    /// No port.
    pub const EMPTY: Self = Self { top: 0, index: [0; INDEX], words: [0; WORDS] };
    /// Every port from 0 to 65535.
    pub const FULL: Self =
        Self { top: (1 << INDEX) - 1, index: [u64::MAX; INDEX], words: [u64::MAX; WORDS] };

    /// Takes one port out.
    pub fn remove(&mut self, port: u16) {
        let place = position(port);
        let word = usize::from(place >> 6);
        self.words[word] &= !(1 << (place & 63));
        if self.words[word] == 0 {
            self.index[word / 64] &= !(1 << (word % 64));
            if self.index[word / 64] == 0 {
                self.top &= !(1 << (word / 64));
            }
        }
    }

    /// Whether the set has a port.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        let place = position(port);
        self.words[usize::from(place >> 6)] >> (place & 63) & 1 != 0
    }

    /// How many ports are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no port is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The ports of one outside address and protocol. A port is in at most one of the four sets; one
/// in none of them is held by a mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PortPool {
    /// Ports anybody may have.
    pub free: PortSet,
    /// Ports given back more than one rest time ago.
    pub rested: PortSet,
    /// Ports given back since.
    pub resting: PortSet,
    /// Ports that forwards lead from.
    pub reserved: PortSet,
    /// When `resting` last became `rested`, in seconds.
    pub rotated: u64,
}
record!(PortPool, 4 * (1 + INDEX + WORDS) * 8 + 8);

impl PortPool {
    /// A pool with every port free. Port 0 is no port (RFC 6335), but is a valid ICMP identifier,
    /// so it is taken out by the range of the pool's user, not here.
    pub const FULL: Self = Self {
        free: PortSet::FULL,
        rested: PortSet::EMPTY,
        resting: PortSet::EMPTY,
        reserved: PortSet::EMPTY,
        rotated: 0,
    };
}
